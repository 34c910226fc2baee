"""Brightness and fat as people read them, on a screen and on paper: all slices of an image together."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from autoseg.measurement.tissue import whole_images
from autoseg.report.area_tables import fixed_text

HEADERS = {
    "case_id": "Image",
    "name": "Structure",
    "channel": "Channel",
    "pixel_count": "Pixels",
    "mean_intensity": "Mean",
    "sd_intensity": "SD",
    "p5_intensity": "5th percentile",
    "p25_intensity": "25th",
    "median_intensity": "Median",
    "p75_intensity": "75th",
    "p95_intensity": "95th",
    "fat_fraction_percent": "Fat fraction (%)",
    "sd_fat_fraction_percent": "SD (%)",
    "median_fat_fraction_percent": "Median (%)",
    "fat_share_estimate_percent": "Estimated share of fat (%)",
    "threshold_intensity": "Threshold",
}
BRIGHTNESS = (
    "All slices together; the file has each. In CT numbers are Hounsfield units. In MR they have no unit; those "
    "of two scans cannot be compared."
)
FRACTION = (
    "Fat signal / (water + fat signal), pixel by pixel. Both channels must be of one Dixon scan, on the same scale."
)
ESTIMATE = (
    "An estimate, no fat fraction: the pixels of a structure that are brighter than a threshold, which is found "
    "where they are of two kinds. It depends on the scan, and changes with uneven brightness."
)
# By the names of their files (`export.tissue_tables`), in the order in which they are shown.
TABLES = {
    "fat_fraction": ("Fat fraction", FRACTION),
    "fat_estimate": ("Estimated share of fat", ESTIMATE),
    "intensities": ("Brightness", BRIGHTNESS),
}
NAMES = ("case_id", "name", "channel")


@dataclass(frozen=True)
class ShownTissue:
    """A table to be read: what it is called, a sentence on it, columns, rows; `numeric` are columns of numbers."""

    title: str
    words: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: frozenset[int]


def show_tissue(
    tables: Mapping[str, pd.DataFrame], *, without: Collection[tuple[str, int]] = ()
) -> list[ShownTissue]:
    """Give the tables that have rows, without those of some structures, by case_id and label."""
    shown = []
    for name, (title, words) in TABLES.items():
        if name not in tables:
            continue
        table = whole_images(tables[name])
        kept = [place not in without for place in zip(table["case_id"], table["label"], strict=True)]
        columns = [column for column in HEADERS if column in table]
        rows = tuple(
            tuple(_cell(column, one) for column, one in zip(columns, line, strict=True))
            for line in table.loc[kept, columns].astype(object).to_numpy().tolist()
        )
        if rows:
            numeric = frozenset(at for at, column in enumerate(columns) if column not in NAMES)
            shown.append(ShownTissue(title, words, tuple(HEADERS[one] for one in columns), rows, numeric))
    return shown


def _cell(column: str, value: Any) -> str:
    if column in NAMES:
        return str(value)
    if value is None or pd.isna(value):
        return "–"
    return f"{int(value):,}" if column == "pixel_count" else fixed_text(float(value), 1)
