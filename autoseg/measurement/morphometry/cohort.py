"""A cohort's band along a structure: what is usual at each place, and how far people differ."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from autoseg.errors import DataError
from autoseg.measurement.morphometry.landmarks import locate_enlargement
from autoseg.measurement.morphometry.tables import MEASURES, STEP_MM, one_structure
from autoseg.words import counted

Numbers = npt.NDArray[Any]

PERCENTILES = (5, 25, 50, 75, 95)
SHARE_STEPS = 100
MOST_PLACES = 100_000

# What an alignment measures, with its unit.
ALIGNMENTS = {
    "lowest": "distance above the lowest section (mm)",
    "highest": "distance from the highest section (mm)",
    "share": "share of the length, 0 at the lowest section",
    "enlargement": "distance from the largest area (mm)",
    "conus": "share of the conus, 0 at its tip, 1 at the largest area",
}


def places_along(table: pd.DataFrame, *, align: str = "lowest", name: str | None = None) -> pd.Series[float]:
    """Give each position of one structure of one image its place on an axis that people share.

    `align` is one of `ALIGNMENTS`, or "level C3": mm from the middle of that level. For a structure that does not
    run superior-inferior lowest means foremost or rightmost.
    """
    rows = one_structure(table, name)
    arc = rows["arc_mm"].astype(float)
    where = f"{rows['case_id'].iloc[0]}, {rows['name'].iloc[0]}"
    if align == "lowest":
        return arc - arc.iloc[0]
    if align == "highest":
        return rows["from_end_mm"].astype(float) if "from_end_mm" in rows else arc - arc.iloc[-1]
    if align == "share":
        return rows["arc_share"].astype(float) if "arc_share" in rows else arc / arc.iloc[-1]
    if align in ("enlargement", "conus"):
        found = locate_enlargement(rows)
        if found.largest is None or (align == "conus" and found.tip is None):
            raise DataError(f"{where}: {' '.join(found.notes)} Choose another landmark, for instance 'lowest'.")
        if align == "enlargement" or found.tip is None:
            return arc - found.largest.arc_mm
        return (arc - found.tip.arc_mm) / (found.largest.arc_mm - found.tip.arc_mm)
    if align.startswith("level "):
        level = align.removeprefix("level ").strip()
        levels = rows["level"].fillna("").astype(str) if "level" in rows else pd.Series([""] * len(rows))
        if not (levels == level).any():
            known = ", ".join(dict.fromkeys(filter(None, levels))) or "none"
            raise DataError(f"{where}: level {level!r} is not on it; known levels: {known}.")
        return arc - float(arc[levels == level].mean())
    raise DataError(f"align is {align!r}; choose one of {', '.join(ALIGNMENTS)}, or 'level' and its name.")


def cohort_band(
    tables: Sequence[pd.DataFrame] | pd.DataFrame,
    *,
    name: str | None = None,
    measure: str = "area_corrected_mm2",
    align: str = "lowest",
    step: float | None = None,
    fewest: int = 3,
) -> pd.DataFrame:
    """Sum up a measure over people, place by place along a structure.

    Every image's curve is laid on the common axis and interpolated at the same places, by straight lines and only
    where it was measured. Several images of one subject are averaged first, so that nobody counts twice.

    Parameters
    ----------
    tables : DataFrame, or sequence of DataFrame
        From `arc_table`, of any number of images, joined or not, or read from CSV.
    name : str, optional
        Of the structure, where there are several.
    measure : str
        One of `tables.MEASURES`; the orientation is refused, as its mean needs directions.
    align : str
        See `places_along`.
    step : float, optional
        Distance of the places: by default 1 mm, or a hundredth of the length.
    fewest : int
        Places with fewer subjects are left out.

    Returns
    -------
    pandas.DataFrame
        One row a place: place (mm, or a share), n (subjects), mean, sd (of the sample), and the percentiles p5,
        p25, median, p75, p95 (linear between the people). Empty where no place has `fewest` subjects.

    Raises
    ------
    DataError
        If there is no table, no such structure or measure, or an image lacks the landmark.
    """
    if measure not in MEASURES or measure == "orientation_deg":
        allowed = ", ".join(word for word in MEASURES if word != "orientation_deg")
        raise DataError(f"measure is {measure!r}; choose one of {allowed}.")
    joined = tables if isinstance(tables, pd.DataFrame) else pd.concat(list(tables)) if len(tables) else None
    if joined is None or joined.empty:
        raise DataError("There is no table for the cohort. Measure at least one patient.")
    is_share = align in ("share", "conus")
    step = (1 / SHARE_STEPS if is_share else STEP_MM) if step is None else step
    if not (math.isfinite(step) and step > 0):
        raise DataError(f"The cohort's step is {step}; give a number above 0.")
    by_subject = _curves(joined, name, measure, align)
    ends = [edge for curves in by_subject.values() for place, _ in curves for edge in (place[0], place[-1])]
    first, last = math.ceil(min(ends) / step - 1e-6), math.floor(max(ends) / step + 1e-6)
    if last - first > MOST_PLACES:
        raise DataError(f"A step of {step} gives {last - first:,} places. Give a larger one.")
    grid = step * np.arange(first, last + 1)
    people = np.array([_mean_of([_on(grid, *curve) for curve in curves]) for curves in by_subject.values()])
    counts = np.isfinite(people).sum(axis=0)
    lines = []
    for column in np.flatnonzero(counts >= max(1, fewest)):
        values = people[np.isfinite(people[:, column]), column]
        sd = float(values.std(ddof=1)) if len(values) > 1 else math.nan
        lines.append((grid[column], len(values), values.mean(), sd, *np.percentile(values, PERCENTILES)))
    columns = ["place", "n", "mean", "sd", "p5", "p25", "median", "p75", "p95"]
    band = pd.DataFrame(lines, columns=columns)
    band.attrs.update(name=name or str(joined["name"].iloc[0]), measure=measure, align=align)
    return band


def _curves(
    joined: pd.DataFrame, name: str | None, measure: str, align: str
) -> dict[str, list[tuple[Numbers, Numbers]]]:
    """Give each subject's curves: places and values, without positions that have none."""
    if name is not None and "name" in joined:
        have = sorted(set(map(str, joined["name"])))
        joined = joined[joined["name"] == name]
        if joined.empty:
            raise DataError(f"No table of the cohort has {name!r}; they name: {', '.join(have)}.")
    keys = [column for column in ("subject_id", "case_id") if column in joined]
    found: dict[str, list[tuple[Numbers, Numbers]]] = {}
    for key, rows in joined.groupby(keys, dropna=False, sort=False):
        if measure not in rows:
            raise DataError(f"The table of {key[-1]} has no {measure}.")
        ordered = one_structure(rows, name)
        places = places_along(ordered, align=align).to_numpy(dtype=np.float64)
        values = ordered[measure].to_numpy(dtype=np.float64)
        if np.isfinite(values).any():
            # A blank subject is not everybody's: such an image stands for itself.
            said = str(key[0]) if len(keys) == 2 and isinstance(key[0], str) else ""
            subject = said or f"image {key[-1]}"
            found.setdefault(subject, []).append((places, values))
    if not found:
        raise DataError(f"No table of the cohort has a value of {measure}.")
    return found


def _on(grid: Numbers, places: Numbers, values: Numbers) -> Numbers:
    """Interpolate by straight lines; NaN outside, and beside a position without a value."""
    on_grid = np.interp(grid, places, values, left=math.nan, right=math.nan)
    edge = 1e-6 * max(1.0, float(np.abs(places).max()))
    for end in (0, -1):  # rounding must not lose the place that is the end itself
        on_grid[np.abs(grid - places[end]) <= edge] = values[end]
    return np.asarray(on_grid)


def _mean_of(curves: Sequence[Numbers]) -> Numbers:
    """Give the mean of the curves that have a value at a place; NaN where none has."""
    known = np.isfinite(curves)
    counts, sums = known.sum(axis=0), np.where(known, curves, 0.0).sum(axis=0)
    return np.where(counts > 0, sums / np.maximum(counts, 1), math.nan)


def without_band(table: pd.DataFrame, cohort: pd.DataFrame, *, align: str = "lowest") -> list[str]:
    """Say of which structures of one image a cohort gives no band, and why; empty where each has one."""
    if cohort.empty:
        return ["The cohort's tables are of this patient only, so there is no band."]
    known = list(dict.fromkeys(map(str, cohort["name"])))
    notes = []
    for name in dict.fromkeys(map(str, table["name"])):
        if name not in known:
            notes.append(f"The cohort has no {name!r}, so it has no band; the cohort has: {', '.join(known)}.")
        elif cohort_band(cohort, name=name, align=align).empty:
            rows = cohort[cohort["name"] == name]
            who = rows["subject_id"].mask(rows["subject_id"] == "", rows["case_id"]) if "subject_id" in rows else ()
            people = len(set(who if len(who) else rows["case_id"]))
            notes.append(
                f"{name} has no band: three people are needed at a place, and the cohort has "
                f"{counted(people, 'person')} with it."
            )
    return notes


def without_subject(cohort: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Give a cohort's tables without the subjects of a table: nobody is held against a band that holds him.

    Images without a subject are told by their case_id.
    """
    subjects = set(table["subject_id"]) - {""} if "subject_id" in table else set()
    mine = cohort["case_id"].isin(set(table["case_id"]))
    if "subject_id" in cohort:
        blank = cohort["subject_id"] == ""
        mine = cohort["subject_id"].isin(subjects) | (blank & mine)
    return cohort[~mine].reset_index(drop=True)
