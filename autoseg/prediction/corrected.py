"""A run with its labels as a person corrected them: measured, and written like every run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from autoseg.data.corrections.drawing import read_sessions
from autoseg.data.corrections.read import Correction, say_date
from autoseg.files.atomic import one_step, remove_folder
from autoseg.measurement.tissue import join_tissue, measure_tissue
from autoseg.prediction.run import Run
from autoseg.prediction.run_report import written_run
from autoseg.report.area_tables import areas_table, find_missing, missing_notes
from autoseg.report.corrected import WITHOUT_INTERVAL, correct_labels, correct_rows, place_of
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
