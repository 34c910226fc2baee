"""The DICOM series of a folder as a table and as thumbnails, from which one is chosen."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from autoseg.errors import ReadError
from autoseg.files.dicom.grids import Grid, plan_grids
from autoseg.files.dicom.grouping import Series
from autoseg.files.dicom.pixels import read_frames, slice_pixels
from autoseg.files.dicom.series import DicomFolder
from autoseg.image.geometry import slice_normal
from autoseg.image.overlay import Rgb, overlay_rgb, thinned

PLANES = ("sagittal", "coronal", "axial")  # by the axis x, y or z that the slices' normal is nearest to
OBLIQUE_DEG = 30.0
# What is not a scan: DICOM PS3.3 C.7.3.1.1.1.
DRAWN = {"SC": "secondary capture", "OT": "other", "DOC": "document", "PR": "presentation", "SR": "report"}
COLUMNS = (
    "case_id", "description", "modality", "rows", "columns", "pixel_row_mm", "pixel_column_mm",
    "slice_spacing_mm", "slices", "time_points", "orientation", "date", "notes", "refusal",
)  # fmt: skip


def series_table(found: DicomFolder) -> pd.DataFrame:
    """Show what was found in a folder, one row a series, without opening any file again.

    Parameters
    ----------
    found : DicomFolder
        From `find_series`.

    Returns
    -------
    DataFrame
        Columns case_id, description, modality, rows, columns, pixel_row_mm and pixel_column_mm (between rows,
        between columns), slice_spacing_mm (along the slices' normal), slices (of one time point), time_points,
        orientation (axial, sagittal, coronal, or oblique where the normal is more than 30° off all three axes),
        date, notes, and refusal, which says why a series cannot be read. Millimetres that the header does not
        tell are NaN; an orientation that it does not tell is empty.
    """
    return pd.DataFrame([_row(series) for series in found.series], columns=list(COLUMNS))


def thumbnail(series: Series) -> Rgb:
    """Read the middle slice of a series for showing; of all its files only this one is opened.

    Returns
    -------
    (rows, columns) ndarray of uint8
        Black and white are the slice's 0.5 and 99.5 percentiles.

    Raises
    ------
    ReadError
        If the series is refused or this file cannot be decoded.
    """
    if series.refusal:
        raise ReadError(f"{series.slices[0].path}: {series.refusal}")
    grid = _longest(plan_grids(series.slices)[0])
    header = grid.slices[len(grid.slices) // 2]
    if header.tiles > 1:
        pixels = slice_pixels(read_frames(header.path), header)
    else:
        pixels = slice_pixels(read_frames(header.path, frame=header.frame), replace(header, frame=0))
    return overlay_rgb(thinned(pixels), None, ())[..., 0]


def why_unlikely(series: Series) -> str:
    """Say why a series is hardly meant to be measured (a localiser, a screenshot, a picture in colours), or "".

    Such a series can be read; it is only not chosen by itself.
    """
    if series.scout:
        return series.scout
    if series.modality in DRAWN:
        return f"Its modality is {series.modality} ({DRAWN[series.modality]}), not that of a scan."
    if series.slices[0].photometric not in ("MONOCHROME1", "MONOCHROME2"):
        return "A picture in colours (a screenshot, a fused or computed map), not a scan in grey."
    return ""


def _longest(grids: Sequence[Grid]) -> Grid:
    return max(grids, key=lambda grid: len(grid.slices))


def _row(series: Series) -> tuple[object, ...]:
    grids, _ = plan_grids(series.slices)
    longest = _longest(grids)
    stacks: Counter[tuple[str, int]] = Counter()
    for grid in grids:
        stacks[grid.kind, grid.moment] += len(grid.slices)
    between_rows, between_columns = series.slices[0].spacing_mm or (math.nan, math.nan)
    return (
        series.case_id,
        series.description,
        series.modality,
        series.rows,
        series.columns,
        between_rows,
        between_columns,
        _slice_spacing(longest),
        max(stacks.values()),
        max(moment for _, moment in stacks),
        _orientation(series),
        series.date,
        " ".join(series.notes),
        series.refusal,
    )


def _slice_spacing(grid: Grid) -> float:
    if grid.step_source == "none":
        return math.nan
    orientation = grid.slices[0].orientation
    normal = (0.0, 0.0, 1.0) if orientation is None else slice_normal(orientation)
    return abs(float(np.dot(normal, grid.step_mm)))


def _orientation(series: Series) -> str:
    orientation = series.slices[0].orientation
    if orientation is None:
        return ""
    normal = np.abs(slice_normal(orientation))
    return PLANES[normal.argmax()] if normal.max() >= math.cos(math.radians(OBLIQUE_DEG)) else "oblique"
