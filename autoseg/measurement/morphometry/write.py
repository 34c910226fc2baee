"""Morphometry as files: CSV tables in a new folder, and the cohort's table read back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from autoseg.errors import DataError, ReadError
from autoseg.files.atomic import whole_folder
from autoseg.measurement.morphometry.rows import Morphometry
from autoseg.measurement.morphometry.tables import STEP_MM, arc_table, morphometry_levels, sections_table

SECTIONS_FILE, ARC_FILE, LEVELS_FILE = "morphometry_sections.csv", "morphometry_arc.csv", "morphometry_levels.csv"
NOTES_FILE = "morphometry_notes.txt"


def write_morphometry(folder: Path, morphometry: Morphometry, *, step_mm: float = STEP_MM) -> Path:
    """Write the tables to a new folder.

    `morphometry_sections.csv` has one row a section and structure, `morphometry_arc.csv` one row a position at
    equal lengths along the curve, `morphometry_levels.csv` (where levels are known) mean and SD by level,
    `morphometry_notes.txt` (where there are any) what the reader should know. UTF-8, decimal point.

    Raises
    ------
    OutputError
        If the folder exists or cannot be written; nothing is left behind.
    """
    tables = {name: csv_bytes(table) for name, table in morphometry_tables(morphometry, step_mm=step_mm).items()}
    with whole_folder(Path(folder)) as temporary:
        for name, data in tables.items():
            (temporary / name).write_bytes(data)
        if morphometry.notes:
            text = "\n".join(morphometry.notes) + "\n"
            (temporary / NOTES_FILE).write_text(text, encoding="utf-8", errors="replace")
    return Path(folder)


def morphometry_tables(morphometry: Morphometry, *, step_mm: float = STEP_MM) -> dict[str, pd.DataFrame]:
    """Give the tables by the names of their files; the one by level only where levels are known."""
    levels = morphometry_levels(morphometry)
    return {
        SECTIONS_FILE: sections_table(morphometry),
        ARC_FILE: arc_table(morphometry, step_mm=step_mm),
        **({LEVELS_FILE: levels} if len(levels) else {}),
    }


def csv_bytes(table: pd.DataFrame) -> bytes:
    """Give a table as the bytes of a CSV file."""
    # Ten digits are more than any measure has, and spare the reader 3.1500000000000004.
    return table.to_csv(index=False, float_format="%.10g", lineterminator="\n").encode("utf-8", errors="replace")


def read_arc_tables(paths: Sequence[Path]) -> pd.DataFrame:
    """Read the arc tables of a cohort: files, or folders with `morphometry_arc.csv` in them or below.

    Raises
    ------
    DataError
        If a folder holds none, or a file stands twice.
    ReadError
        If a file is no such table; the message names it.
    """
    files: list[Path] = []
    for path in map(Path, paths):
        found = sorted(path.rglob(ARC_FILE)) if path.is_dir() else [path]
        if not found:
            raise DataError(
                f"{path} holds no {ARC_FILE}. Run 'autoseg morphometry' with --output for each subject."
            )
        files += found
    if len({file.resolve() for file in files}) < len(files):
        raise DataError("A table of the cohort is given twice, which would count its subjects twice.")
    if not files:
        raise DataError(f"There is no table for the cohort. Give files or folders with {ARC_FILE}.")
    return pd.concat([_read(file) for file in files], ignore_index=True)


def _read(path: Path) -> pd.DataFrame:
    # IDs are text: 007 stays 007.
    texts = {"case_id": str, "subject_id": str, "name": str, "level": str}
    try:
        table = pd.read_csv(path, dtype=texts, keep_default_na=True)
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise ReadError(f"{path} cannot be read as a table ({error}). Export it again.") from error
    lacking = [column for column in ("case_id", "name", "arc_mm", "area_corrected_mm2") if column not in table]
    if lacking:
        raise ReadError(f"{path} has no column {', '.join(lacking)}; it is no {ARC_FILE}.")
    texts_here = [column for column in texts if column in table]
    return table.fillna(dict.fromkeys(texts_here, ""))
