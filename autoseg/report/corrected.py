"""The areas of a run whose labels a person corrected: measured anew where something was changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from autoseg.data.corrections.read import Correction
from autoseg.errors import DataError
from autoseg.files.sources import name_without_ending
from autoseg.image.image import Image, LabelMap
from autoseg.measurement.areas import Measurement, measure_areas
from autoseg.measurement.intervals import PatientInterval
from autoseg.measurement.morphometry.obliquity import with_obliquity
from autoseg.report.written_run import WrittenRun

WITHOUT_INTERVAL = "Areas that a person corrected have no interval: it would be that of the model's error."
# What is known of a model's labels only.
OF_THE_MODEL: dict[str, Any] = dict.fromkeys(
    (
        *("expected_dice", "expected_error_percent", "area_low_mm2", "area_high_mm2"),
        *("pixel_count_low", "pixel_count_high", "interval_level"),
    )
)
SEEN = (
    *("pixel_count", "area_mm2", "mean_intensity", "components", "touches_edge", "flags"),
    *("obliquity_deg", "area_corrected_mm2"),
)


@dataclass(frozen=True, eq=False)
class CorrectedRows:
    """The areas of a run with its labels as they were corrected, and the intervals that still hold.

    `changed` are the (case_id, slice_index, label) that are another than the model drew.
    """

    measurements: tuple[Measurement, ...]
    intervals: tuple[PatientInterval, ...]
    changed: frozenset[tuple[str, int, int]]


def correct_rows(run: WrittenRun, corrections: Sequence[Correction]) -> CorrectedRows:
    """Measure what was corrected anew; the rest stays as it was measured.

    Brightness is known where the images are in the memory (`run.results`).

    Raises
    ------
    DataError
        If a correction is of another run.
    """
    new: dict[tuple[str, int, int], tuple[Measurement, str]] = {}
    for one in corrections:
        case_id, first = place_of(run, one)
        image = None if run.results is None else run.results[case_id][0]
        for row in _measure(one.label_map, image, first):
            was, now = (of.mask(row.label)[row.slice_index] for of in (one.before, one.label_map))
            if not np.array_equal(was, now):
                new[case_id, first + row.slice_index, row.label] = row, one.by
    rows = []
    for old in run.measurements:
        found = new.get((old.case_id, old.slice_index, old.label))
        rows.append(old if found is None else corrected_row(old, *found))
    touched = {(case_id, label) for case_id, _, label in new}
    intervals = tuple(one for one in run.intervals if (one.image, one.label) not in touched)
    return CorrectedRows(tuple(rows), intervals, frozenset(new))


def correct_labels(
    run: WrittenRun, results: Sequence[tuple[Image, LabelMap]], corrections: Sequence[Correction]
) -> tuple[tuple[Image, LabelMap], ...]:
    """Give the results of a run with their corrected labels; theirs are not changed."""
    voxels = {image.source.case_id: label_map.voxels.copy() for image, label_map in results}
    for one in corrections:
        case_id, first = place_of(run, one)
        voxels[case_id][first : first + one.label_map.shape[0]] = one.label_map.voxels
    return tuple(
        (image, replace(label_map, voxels=voxels[image.source.case_id], shares=None))
        for image, label_map in results
    )


def corrected_row(old: Measurement, seen: Measurement, by: str) -> Measurement:
    """Give a row of a run with what is seen now; what was known of the model's labels is not of these."""
    now: dict[str, Any] = {name: getattr(seen, name) for name in SEEN}
    model = f"{old.model}, corrected by {by}".lstrip(", ")
    return replace(old, **now, **OF_THE_MODEL, interval_basis="", model=model)


def _measure(label_map: LabelMap, image: Image | None, first: int) -> list[Measurement]:
    if image is not None and image.shape != label_map.shape:
        image = image.one_slice(first)
    rows = measure_areas(label_map, image=image)
    return with_obliquity(rows, label_map)


def place_of(run: WrittenRun, correction: Correction) -> tuple[str, int]:
    """Give the image of the run that was corrected, and its first slice there: pictures lie apart, one a slice."""
    own = correction.case.case_id
    for image in run.record["images"]:
        if str(image["case_id"]) == own and tuple(image["shape"]) == correction.label_map.shape:
            return own, 0
        for index, one in enumerate(image.get("slices", ())):
            if name_without_ending(Path(str(one.get("file", "")))) == own and correction.label_map.shape[0] == 1:
                return str(image["case_id"]), index
    raise DataError(f"{correction.kit.folder} does not belong to the run in {run.folder}: the run has no {own}.")
