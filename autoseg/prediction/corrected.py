"""A run with its labels as a person corrected them: measured, and written like every run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from autoseg.data.corrections.drawing import Drawing, Place, read_sessions
from autoseg.data.corrections.read import Correction, say_date
from autoseg.files.atomic import one_step, remove_folder
from autoseg.measurement.areas import Measurement
from autoseg.measurement.morphometry.obliquity import cut_at, slice_obliquity_deg
from autoseg.measurement.tissue import Tissue, join_tissue, measure_tissue
from autoseg.prediction.run import Run
from autoseg.prediction.run_report import written_run
from autoseg.report.area_tables import areas_table, find_missing, missing_notes
from autoseg.report.corrected import (
    WITHOUT_INTERVAL,
    Key,
    correct_labels,
    correct_rows,
    measure_changed,
    place_of,
    put_in,
)
from autoseg.report.export import write_run
from autoseg.report.written_run import WrittenRun
from autoseg.words import GraveNote, say_slices

FOLDER = "corrected"


def correct_run(run: Run, corrections: Sequence[Correction]) -> Run:
    """Measure a run with its labels as they were corrected, and write all its files to `corrected` in its folder.

    What the model drew stays as it is; files of an earlier correction are replaced. Where nothing is changed any
    more the run before is given, and `corrected` is removed. What nobody changed keeps its area, interval and
    expected Dice; what was changed is measured anew and has none (`report.corrected`).

    Parameters
    ----------
    run : Run
        Or one that was corrected before: the run before it counts.
    corrections : sequence of Correction
        From the folder to correct in that was written from this run.

    Raises
    ------
    DataError
        If a correction is of another run.
    OutputError
        If the files cannot be written; those that were there stay then.
    """
    run = run.before or run
    corrections = tuple(one for one in corrections if one.is_changed)
    folder = run.folder / FOLDER
    if not corrections:
        remove_folder(folder)
        return run
    written = written_run(run)
    results = correct_labels(written, run.results, corrections)
    found = correct_rows(written, corrections)
    tissue = join_tissue([measure_tissue(label_map, image, run.fat) for image, label_map in results])
    missing = find_missing(found.measurements)
    told = [_tell(run, written, one) for one in corrections]
    notes: list[str] = [GraveNote(f"{one['case_id']}: {one['words']}") for one in told]
    notes += [GraveNote(note) for note in missing_notes(missing)]
    before = {*missing_notes(run.not_found)}
    notes = list(dict.fromkeys([*notes, *(note for note in run.notes if note not in before)]))
    about = f"{run.about_intervals} {WITHOUT_INTERVAL}".strip()
    model = f"{run.model}, corrected by {', '.join(dict.fromkeys(one.by for one in corrections))}"
    details = {**written.details, "corrected": told, "notes": notes, "about_intervals": about}
    with one_step(run.folder):
        remove_folder(folder)
        write_run(
            folder,
            results,
            model_name=model,
            details=details,
            measurements=found.measurements,
            suitability=run.suitability,
            intervals=found.intervals,
            tissue=tissue,
            skipped=run.skipped,
        )
    return replace(
        run,
        folder=folder,
        results=results,
        measurements=found.measurements,
        areas=areas_table(found.measurements, found.intervals),
        notes=tuple(notes),
        model=model,
        not_found=missing,
        patient_intervals=found.intervals,
        about_intervals=about,
        tissue=tissue,
        before=run,
        corrections=corrections,
    )


class RunAsDrawn:
    """A run whose numbers follow what is drawn in its labels; only what was changed since is measured anew.

    No file is written: that is for `correct_run`, which gives the same numbers.

    Parameters
    ----------
    run : Run
        Or one that was corrected before: the run before it counts.
    drawing : Drawing
        Of the folder to correct in that was written from this run.
    """

    def __init__(self, run: Run, drawing: Drawing) -> None:
        self.run, self.drawing = run.before or run, drawing
        self._begin()

    def _begin(self) -> None:
        """Know nothing but what the model drew."""
        self._is_half_measured = False
        # Copies, because strokes go on while these are measured.
        self._labels = [replace(one, voxels=one.voxels.copy(), shares=None) for _, one in self.run.results]
        self._structures = {s.label: s for one in self._labels for s in one.structures}
        self._places: set[Place] = set()  # that are other than the model drew
        self._new: dict[Key, Measurement] = {}
        self._angles: dict[tuple[int, int], dict[int, float]] = {}
        self._tissue, self._whole = self.run.tissue, dict[int, Tissue]()

    def measure(self) -> Run:
        """Give the run with the labels as they are drawn now; `before` is the run without them."""
        if self._is_half_measured:  # an error came between labels and their numbers
            self._begin()
        self._is_half_measured = True
        touched: set[tuple[int, int]] = set()
        for place in sorted(self._places | self.drawing.changed):
            touched |= self._measure_slice(place)
        for number, label in sorted(touched):
            self._angles[number, label] = slice_obliquity_deg(self._labels[number], label)
        if touched:
            self._tissue = self._measure_tissue(touched)
        run, new = self.run, dict[Key, tuple[Measurement, str]]()
        numbers = {image.source.case_id: number for number, (image, _) in enumerate(run.results)}
        for (case_id, index, label), row in self._new.items():
            angle = self._angles[numbers[case_id], label].get(index)
            new[case_id, index, label] = row if angle is None else cut_at(row, angle), self.drawing.by
        found = put_in(run.measurements, run.patient_intervals, new, structures=self._structures)
        images = (image for image, _ in run.results)
        self._is_half_measured = False
        return replace(
            run,
            results=tuple(zip(images, self._labels, strict=True)),
            measurements=found.measurements,
            areas=areas_table(found.measurements, found.intervals),
            patient_intervals=found.intervals,
            tissue=self._tissue,
            before=run,
        )

    def _measure_slice(self, place: Place) -> set[tuple[int, int]]:
        """Measure a slice, if it was drawn on since; give the images and labels of which any pixel changed."""
        number, index = place
        held, drawn = self._labels[number], self.drawing.label_map(number)
        if np.array_equal(held.voxels[index], drawn.voxels[index]):
            return set()
        earlier = held.one_slice(index)
        held.voxels[index] = drawn.voxels[index]
        image, first = self.run.results[number]
        now, case_id = held.one_slice(index), image.source.case_id
        self._new = {key: row for key, row in self._new.items() if key[:2] != (case_id, index)}
        rows = measure_changed(first.one_slice(index), now, image=image.one_slice(index))
        self._new |= {(case_id, index, row.label): row for row in rows}
        (self._places.add if rows else self._places.discard)(place)
        return {
            (number, label)
            for label in self._structures
            if not np.array_equal(earlier.mask(label), now.mask(label))
        }

    def _measure_tissue(self, touched: set[tuple[int, int]]) -> Tissue:
        run, before = self.run, self._tissue
        images = [image for image, _ in run.results]
        if before.fat or before.estimates or before.notes or not before.intensities:
            # What is said of fat is of all structures of an image together.
            for number in {number for number, _ in touched} | (set(range(len(images))) - set(self._whole)):
                self._whole[number] = measure_tissue(self._labels[number], images[number], run.fat)
            return join_tissue([self._whole[number] for number in range(len(images))])
        parts = []
        for number, image in enumerate(images):
            own = [row for row in before.intensities if row.case_id == image.source.case_id]
            if labels := frozenset(label for one, label in touched if one == number):
                held = self._labels[number]
                part = replace(held, annotated=labels & (held.annotated or frozenset()))
                new = measure_tissue(part, image, run.fat).intensities
                own = sorted([*(row for row in own if row.label not in labels), *new], key=lambda row: row.label)
            parts.append(Tissue(tuple(own)))
        return join_tissue(parts)


def _tell(run: Run, written: WrittenRun, one: Correction) -> dict[str, Any]:
    """Say who corrected what of an image, when, and in how many minutes, where that is known."""
    case_id, first = place_of(written, one)
    image = next(image for image, _ in run.results if image.source.case_id == case_id)
    slices = [image.slice_number(first + index) for index in one.changed_slices]
    sessions = read_sessions(one.kit.folder)
    minutes = round(sum(session.minutes for session in sessions), 1) if sessions else None
    names = list(dict.fromkeys(change.name for change in one.changes))
    words = (
        f"corrected by {one.by} ({say_date(one.date)}) on slices {say_slices([n - 1 for n in slices])}: "
        f"{', '.join(names)}. Areas, pictures and files are those of the corrected labels; flags of slices on "
        "which a structure was not changed are still those of the model's."
    )
    return {
        "case_id": case_id,
        "by": one.by,
        "date": one.date,
        "minutes_of_drawing": minutes,
        "slices": slices,
        "structures": names,
        "words": words,
    }
