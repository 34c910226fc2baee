"""Who corrected which labels, and when: `corrections.csv` in a folder of cases, one row a correction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from autoseg.errors import ReadError
from autoseg.files.tables import read_rows, require_columns, write_rows

FILE_NAME = "corrections.csv"
# Where labels lie that were replaced; nothing in it is looked at when cases are searched.
EARLIER_FOLDER = "earlier_labels"


@dataclass(frozen=True)
class KeptCorrection:
    """One correction that was kept, a row of `corrections.csv`.

    `date` is when the corrected file was saved, `model` what had drawn the labels ("" where a person had).
    `label_file` holds the labels now, `earlier_file` those that it replaced (""), both below the folder. `checked`
    ("all", or slices counted from 1: "4-9 12") and `structures` (names, "; " between) say what was looked at;
    `changed` are the slices on which a pixel was changed. Areas are sums over slices and structures.
    """

    case_id: str
    by: str
    date: str
    model: str
    label_file: str
    earlier_file: str
    checked: str
    structures: str
    changed: str
    added_mm2: str
    removed_mm2: str
    note: str = ""


COLUMNS = tuple(item.name for item in fields(KeptCorrection))


def read_kept_corrections(folder: Path) -> tuple[KeptCorrection, ...]:
    """Read who corrected what in a folder of cases, the oldest first; empty if nobody did.

    Raises
    ------
    ReadError
        If `corrections.csv` is no such table.
    """
    path = Path(folder) / FILE_NAME
    if not path.exists():
        return ()
    columns, rows = read_rows(path)
    require_columns(path, columns, COLUMNS[:3], example="leg_07,AB,2025-03-31T14:05:00")
    kept = []
    for number, row in rows:
        if not row["case_id"] or not row["by"]:
            raise ReadError(f"{path}, row {number} lacks the case_id or who corrected it. Complete the row.")
        kept.append(KeptCorrection(**{name: row.get(name, "") for name in COLUMNS}))
    return tuple(kept)


def write_kept_corrections(folder: Path, kept: Sequence[KeptCorrection]) -> None:
    """Write the table; OutputError if it cannot be written."""
    write_rows(Path(folder) / FILE_NAME, COLUMNS, [astuple(one) for one in kept])


def correction_notes(folder: Path) -> tuple[str, ...]:
    """Say in a sentence whose corrections a folder of cases holds; nothing where there is none."""
    kept = read_kept_corrections(folder)
    if not kept:
        return ()
    who = ", ".join(sorted({one.by for one in kept}))
    return (
        f"corrections.csv: the labels of {len({one.case_id for one in kept})} case(s) were corrected by {who}.",
    )
