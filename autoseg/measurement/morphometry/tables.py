"""Morphometry as tables: section by section, at equal lengths along the curve, and level by level."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.interpolate import PchipInterpolator

from autoseg.errors import DataError, ReadError
from autoseg.files.atomic import whole_folder
from autoseg.files.tables import csv_bytes, read_table
from autoseg.measurement.areas import worst_light
from autoseg.measurement.cut_off import least_apart
from autoseg.measurement.morphometry.measure import Morphometry, Profile, SectionRow
from autoseg.words import natural

Numbers = npt.NDArray[Any]

STEP_MM = 1.0
MOST_POSITIONS = 100_000

# What is measured, and how it is called with its unit.
MEASURES = {
    "area_corrected_mm2": "area across the curve (mm²)",
    "diameter_ap_mm": "anteroposterior diameter (mm)",
    "diameter_rl_mm": "right-left diameter (mm)",
    "diameter_si_mm": "superior-inferior diameter (mm)",
    "eccentricity": "eccentricity",
    "orientation_deg": "orientation (°)",
    "solidity": "solidity",
}
NEEDED = ("case_id", "name", "arc_mm", "area_corrected_mm2")
KEYS = ("case_id", "subject_id", "label", "name", "along")
ARC_COLUMNS = (
    *KEYS, "arc_mm", "arc_share", "from_end_mm", "ends_seen", "level", "x_left_mm", "y_back_mm", "z_head_mm",
    "obliquity_deg", *MEASURES, "morphometry_version",
)  # fmt: skip


def sections_table(morphometry: Morphometry) -> pd.DataFrame:
    """Give one row a section and structure, columns named like SectionRow's fields but for `section_index`.

    Diameters in a direction that no structure has are left out as columns. Of sections that are cut off by the edge
    of the image area_mm2 is empty, and area_at_least_mm2 has what is seen: a column where there is any. At the end
    is suitability, the light of the image, where one is known.
    """
    rows = [asdict(row) for profile in morphometry.profiles for row in profile.rows]
    columns = [field.name for field in fields(SectionRow) if field.name != "section_index"]
    table = pd.DataFrame(rows, columns=columns)
    table = least_apart(table, [row.is_cut_off for profile in morphometry.profiles for row in profile.rows])
    return _with_lights(_without_empty_diameters(table), morphometry)


def _with_lights(table: pd.DataFrame, morphometry: Morphometry) -> pd.DataFrame:
    if not morphometry.suitability:
        return table
    return table.assign(suitability=[morphometry.suitability.get(case_id, "") for case_id in table["case_id"]])


def arc_table(morphometry: Morphometry, *, step_mm: float = STEP_MM) -> pd.DataFrame:
    """Give every measure at equal lengths along each structure's curve: one row a position.

    Between two sections the measures are interpolated by monotone cubics (PCHIP: no value is larger or smaller than
    those beside it), the orientation as a direction, so that it passes from 89 to -89 degrees by 90. Nothing is
    given in a gap, where one or more sections miss the structure, nor beyond the first and the last section.

    Parameters
    ----------
    morphometry : Morphometry
    step_mm : float
        Distance of the positions.

    Returns
    -------
    pandas.DataFrame
        Columns case_id, subject_id, label, name, along, arc_mm (from the lowest, foremost or rightmost section),
        arc_share (0 there, 1 at the other end), from_end_mm (0 at the highest, hindmost or leftmost section,
        negative before it), ends_seen ("both", "first", "last" or "neither": where the image goes on beyond the
        structure), level (of the nearest section), the curve's point x_left_mm, y_back_mm, z_head_mm,
        obliquity_deg (of the sections), the measures (`MEASURES`), morphometry_version, and suitability (the light
        of the image) where one is known.

    Raises
    ------
    DataError
        If `step_mm` is not above 0, or so small that there would be more than 100,000 positions.
    """
    if not (math.isfinite(step_mm) and step_mm > 0):
        raise DataError(f"The step along the curve is {step_mm} mm; give a length above 0, for instance 1.")
    tables = [_positions(profile, step_mm) for profile in morphometry.profiles]
    if not tables:
        return pd.DataFrame(columns=list(ARC_COLUMNS))
    return _with_lights(_without_empty_diameters(pd.concat(tables, ignore_index=True)), morphometry)


def morphometry_levels(morphometry: Morphometry) -> pd.DataFrame:
    """Give mean and SD of every measure at each level: one row a subject, level and structure.

    A section counts once, also where several scans of a subject show the level. The SD is the sample's (n - 1), NaN
    with one section. The mean orientation and its SD are taken around the mean direction. At the end is
    suitability, the worst light of the images behind a row, where one is known.
    """
    table = sections_table(morphometry)
    measures = [name for name in MEASURES if name in table]
    columns = ["subject_id", "level", "name", "n", *(f"{word}_{m}" for m in measures for word in ("mean", "sd"))]
    columns += ["suitability"] if "suitability" in table else []
    lines = []
    for (subject, level, _), group in table[table["level"] != ""].groupby(["subject_id", "level", "label"]):
        line = {"subject_id": subject, "level": level, "name": group["name"].iloc[0], "n": len(group)}
        if "suitability" in group:
            line["suitability"] = worst_light(group["suitability"])
        for measure in measures:
            values = pd.to_numeric(group[measure]).dropna().to_numpy(dtype=np.float64)
            values = _around_mean(values) if measure == "orientation_deg" else values
            mean = float(values.mean()) if len(values) else math.nan
            line[f"mean_{measure}"] = _half_turn(mean) if measure == "orientation_deg" else mean
            line[f"sd_{measure}"] = float(values.std(ddof=1)) if len(values) > 1 else math.nan
        lines.append(line)
    lines.sort(key=lambda line: [natural(line[name]) for name in ("subject_id", "level", "name")])
    return pd.DataFrame(lines, columns=columns)


def _positions(profile: Profile, step_mm: float) -> pd.DataFrame:
    """Give the rows of one profile at equal lengths."""
    curve, rows, first = profile.curve, profile.rows, profile.rows[0]
    count = int(curve.length_mm / step_mm + 1e-9) + 1
    if count > MOST_POSITIONS:
        raise DataError(f"A step of {step_mm} mm gives {count:,} positions. Give a larger one, for instance 1 mm.")
    arc = step_mm * np.arange(count)
    points, _ = curve.at(arc)
    places = np.array(profile.curve_places)
    at_rows = curve.arc_mm[places]
    nearest = np.abs(arc[:, None] - at_rows[None, :]).argmin(axis=1)
    in_gap = _in_gap(arc, at_rows, places)
    ends = {(True, True): "both", (True, False): "first", (False, True): "last", (False, False): "neither"}
    table = pd.DataFrame({key: [getattr(first, key)] * count for key in KEYS})
    table["arc_mm"], table["arc_share"] = arc, arc / curve.length_mm
    table["from_end_mm"] = arc - curve.length_mm
    table["ends_seen"] = ends[profile.first_seen, profile.last_seen]
    table["level"] = ["" if gap else rows[near].level for near, gap in zip(nearest, in_gap, strict=True)]
    table[["x_left_mm", "y_back_mm", "z_head_mm"]] = points
    for name in ("obliquity_deg", *MEASURES):
        values = np.array([getattr(row, name) for row in rows], dtype=np.float64)  # None becomes NaN
        found = _along(arc, at_rows, places, values, is_direction=name == "orientation_deg")
        table[name] = np.where(in_gap, math.nan, found)
    table["morphometry_version"] = first.morphometry_version
    return table[list(ARC_COLUMNS)]


def _in_gap(arc: Numbers, at_rows: Numbers, places: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Tell which positions lie strictly between two sections that are no neighbours."""
    after = np.clip(np.searchsorted(at_rows, arc - 1e-9), 0, len(at_rows) - 1)
    before = np.maximum(after - 1, 0)
    is_on_one = np.abs(at_rows[after] - arc) <= 1e-9
    return np.asarray((places[after] - places[before] > 1) & ~is_on_one, dtype=bool)


def _along(
    arc: Numbers, at_rows: Numbers, places: npt.NDArray[np.int64], values: Numbers, *, is_direction: bool
) -> Numbers:
    """Interpolate one measure; NaN between sections of which one has none."""
    known = np.isfinite(values)
    if known.sum() < 2:
        return np.full(len(arc), math.nan)
    inside = (arc >= at_rows[known][0] - 1e-9) & (arc <= at_rows[known][-1] + 1e-9)
    inside &= ~_in_gap(arc, at_rows[known], places[known])
    if is_direction:
        doubled = np.radians(2 * values[known])
        sine, cosine = (PchipInterpolator(at_rows[known], part(doubled))(arc) for part in (np.sin, np.cos))
        found = np.degrees(np.arctan2(sine, cosine)) / 2
    else:
        found = PchipInterpolator(at_rows[known], values[known])(
            np.clip(arc, at_rows[known][0], at_rows[known][-1])
        )
    return np.where(inside, found, math.nan)


def _around_mean(angles_deg: Numbers) -> Numbers:
    """Give angles of axes, which repeat after 180 degrees, within 90 degrees of their mean direction."""
    if not len(angles_deg):
        return angles_deg
    doubled = np.radians(2 * angles_deg)
    mean = math.degrees(math.atan2(np.sin(doubled).mean(), np.cos(doubled).mean())) / 2
    return np.asarray(mean + (angles_deg - mean + 90) % 180 - 90)


def _half_turn(angle_deg: float) -> float:
    """Give an axis's angle above -90 and up to 90."""
    return angle_deg if math.isnan(angle_deg) else 90 - (90 - angle_deg) % 180


def _without_empty_diameters(table: pd.DataFrame) -> pd.DataFrame:
    along = {
        "diameter_ap_mm": "anterior-posterior",
        "diameter_rl_mm": "right-left",
        "diameter_si_mm": "superior-inferior",
    }
    table = table.drop(columns=[name for name, way in along.items() if set(table["along"]) == {way}])
    return table.astype({name: float for name in MEASURES if name in table})


def one_structure(table: pd.DataFrame, name: str | None = None) -> pd.DataFrame:
    """Give the rows of one structure of one image, in the order of their positions."""
    if lacking := [column for column in NEEDED if column not in table]:
        raise DataError(
            f"The table has no column {', '.join(lacking)}. Give a table of the curve, or its CSV file."
        )
    chosen = table if name is None else table[table["name"] == name]
    found: Sequence[object] = chosen[["case_id", "name"]].drop_duplicates().to_numpy().tolist()
    if len(found) != 1:
        have = ", ".join(sorted(set(map(str, table["name"])))) or "none"
        raise DataError(
            f"{len(found)} structures of images stand in the table where one is needed"
            f"{f' ({name!r})' if name else ''}; it names: {have}. Choose one image and structure."
        )
    return chosen.sort_values("arc_mm").reset_index(drop=True)


# --- morphometry as files: CSV tables in a new folder, and the cohort's table read back

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


def read_arc_tables(paths: Sequence[Path]) -> pd.DataFrame:
    """Read the arc tables of a cohort: files, or folders with `morphometry_arc.csv` in them or below."""
    files: list[Path] = []
    for path in map(Path, paths):
        found = sorted(path.rglob(ARC_FILE)) if path.is_dir() else [path]
        if not found:
            raise DataError(
                f"{path} holds no {ARC_FILE}. Measure each patient along the structures first, and save that (in "
                "2_test, or by 'autoseg morphometry' with --output)."
            )
        files += found
    if len({file.resolve() for file in files}) < len(files):
        raise DataError("A table of the cohort is given twice, which would count its patients twice.")
    if not files:
        raise DataError(f"There is no table for the cohort. Give files or folders with {ARC_FILE}.")
    return pd.concat([_read(file) for file in files], ignore_index=True)


def _read(path: Path) -> pd.DataFrame:
    table = read_table(path, words=("case_id", "subject_id", "name", "level"))
    if lacking := [column for column in NEEDED if column not in table]:
        raise ReadError(f"{path} has no column {', '.join(lacking)}; it is no {ARC_FILE}.")
    return table
