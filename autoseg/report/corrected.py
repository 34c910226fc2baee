"""The areas of a run whose labels a person corrected: measured anew where something was changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from autoseg.data.corrections.read import Correction
from autoseg.errors import DataError
from autoseg.files.sources import name_without_ending
from autoseg.image.image import Image, LabelMap
from autoseg.image.structures import Structure
from autoseg.measurement.areas import OF_ONE_MASK, Measurement, flags_along_stack, measure_areas
from autoseg.measurement.intervals import PatientInterval
from autoseg.measurement.morphometry.obliquity import cut_at, slice_obliquity_deg
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


Key = tuple[str, int, int]
"""An image (its case_id), a slice (from 0) and a label."""


@dataclass(frozen=True, eq=False)
class CorrectedRows:
    """The areas of a run with its labels as they were corrected, and the intervals that still hold.

    `changed` are the rows that are of other pixels than the model drew.
    """

    measurements: tuple[Measurement, ...]
    intervals: tuple[PatientInterval, ...]
    changed: frozenset[Key]


def correct_rows(run: WrittenRun, corrections: Sequence[Correction]) -> CorrectedRows:
    """Measure what was corrected anew; the rest stays as it was measured.

    Brightness is known where the images are in the memory (`run.results`).

    Raises
    ------
    DataError
        If a correction is of another run.
    """
    new: dict[Key, tuple[Measurement, str]] = {}
    for one in corrections:
        case_id, first = place_of(run, one)
        angles: dict[int, dict[int, float]] = {}
        for index in one.changed_slices:
            image = None if run.results is None else run.results[case_id][0].one_slice(first + index)
            before, now = (of.one_slice(index) for of in (one.before, one.label_map))
            for row in measure_changed(before, now, image=image):
                label = row.label
                if label not in angles:
                    angles[label] = slice_obliquity_deg(one.label_map, label)
                angle = angles[label].get(index)
                new[case_id, first + index, label] = row if angle is None else cut_at(row, angle), one.by
    structures = {s.label: s for one in corrections for s in one.label_map.structures}
    return put_in(run.measurements, run.intervals, new, structures=structures)


def measure_changed(before: LabelMap, now: LabelMap, *, image: Image | None) -> list[Measurement]:
    """Measure the structures of one slice of which any pixel is another than before."""
    return [
        row
        for row in measure_areas(now, image=image)
        if not np.array_equal(before.mask(row.label), now.mask(row.label))
    ]


def put_in(
    measurements: Sequence[Measurement],
    intervals: Sequence[PatientInterval],
    new: Mapping[Key, tuple[Measurement, str]],
    *,
    structures: Mapping[int, Structure],
) -> CorrectedRows:
    """Give the rows of a run with those that were measured anew, each with who corrected it.

    Flags that need other slices are told from all rows as they are now; rows that nobody changed keep theirs.
    """
    rows: list[Measurement] = []
    for case_id in dict.fromkeys(row.case_id for row in measurements):
        own = [row for row in measurements if row.case_id == case_id]
        keys = [(case_id, row.slice_index, row.label) for row in own]
        now = [corrected_row(row, *new[key]) if key in new else row for key, row in zip(keys, own, strict=True)]
        if any(key in new for key in keys):
            measured = [structures[label] for label in sorted({row.label for row in own})]
            for at, flags in enumerate(flags_along_stack(now, measured)):
                if keys[at] in new:
                    seen = [flag for flag in now[at].flags.split("; ") if flag in OF_ONE_MASK]
                    now[at] = replace(now[at], flags="; ".join((*seen, *flags)))
        rows += now
    touched = {(case_id, label) for case_id, _, label in new}
    kept = tuple(one for one in intervals if (one.image, one.label) not in touched)
    return CorrectedRows(tuple(rows), kept, frozenset(new))


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
