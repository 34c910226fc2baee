"""What a run gave as DICOM objects for an archive, as its labels are now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from autoseg.data.corrections.read import Correction
from autoseg.errors import OutputError
from autoseg.files.atomic import one_step, remove_folder
from autoseg.model.model import autoseg_version
from autoseg.prediction.run import Run

if TYPE_CHECKING:
    from autoseg.data.deidentify import Deidentified
    from autoseg.files.dicom.writing.segmentation import SegmentKind
    from autoseg.report.archive import Archived
    from autoseg.report.written_run import WrittenRun

DICOM, LEAVING = "dicom", "leaving"


def run_to_dicom(run: Run, kind: SegmentKind = "binary", *, corrections: Sequence[Correction] = ()) -> Archived:
    """Write what a run gave as DICOM objects to `dicom` in the run's folder; files that were there are replaced.

    SEG, SR and RTSTRUCT of each image, and the pages of the report as pictures (secondary capture), with IDs as
    the images have them.

    Parameters
    ----------
    run : Run
    kind : {"binary", "labelmap"}
        Of segmentations: a bit a pixel and structure, which viewers have read for years, or a number a pixel.
    corrections : sequence of Correction
        From folders to correct in that were written from this run. Labels and areas are then the corrected ones,
        and who corrected them is named as an observer.

    Returns
    -------
    Archived
        Its notes tell what was repaired in headers, and what was left out.

    Raises
    ------
    DataError
        If no object can refer to any image of the run, or a correction is of another run; the message says why.
    OutputError
        If the run's folder is not there any more, or what was written reads back differently.
    """
    # DICOM's codes and pictures, which few runs need.
    from autoseg.prediction.run_report import written_run
    from autoseg.report.archive import algorithm_of, write_dicom
    from autoseg.report.corrected import correct_labels, correct_rows
    from autoseg.report.pages.run_report import report_run

    if not run.folder.is_dir():
        raise OutputError(f"{run.folder} is not there any more; it was moved or deleted. Segment again.")
    folder = run.folder / DICOM
    if run.before is not None:
        run, corrections = run.before, corrections or run.corrections
    corrections = [one for one in corrections if one.is_changed]
    written = written_run(run)
    found = correct_rows(written, corrections)
    results, by = correct_labels(written, run.results, corrections), _correctors(written, corrections)
    anew = {(case_id, label) for case_id, _, label in found.changed}
    report = report_run(written, corrections=corrections)
    with one_step(run.folder):
        remove_folder(folder)
        return write_dicom(
            folder,
            results,
            found.measurements,
            algorithm_of(run.model, autoseg_version(), run.records, run.about_intervals),
            intervals=found.intervals,
            kind=kind,
            corrected_by={place: by[place[0]] for place in anew},
            report=report,
        )


def run_to_leave(run: Run) -> Deidentified:
    """Copy the images of a run, and its DICOM objects where they were written, without the patient, to `leaving`.

    As `autoseg.data.deidentify.deidentify_folder` does, with descriptions cleaned; files that were there are
    replaced.

    Raises
    ------
    DataError
        If the run is of no DICOM file that can be copied.
    OutputError
        If the run's folder is not there any more.
    """
    from autoseg.data.deidentify import deidentify_files
    from autoseg.files.dicom.writing.confidentiality import Profile

    if not run.folder.is_dir():
        raise OutputError(f"{run.folder} is not there any more; it was moved or deleted. Segment again.")
    slices = [one.origin or one for image, _ in run.results for one in image.source.slices]
    files = [*dict.fromkeys(one.path for one in slices), *sorted((run.folder / DICOM).glob("*.dcm"))]
    with one_step(run.folder):
        remove_folder(run.folder / LEAVING)
        return deidentify_files(files, run.folder / LEAVING, profile=Profile(descriptions=True))


def _correctors(written: WrittenRun, corrections: Sequence[Correction]) -> dict[str, str]:
    """Give who corrected each image."""
    from autoseg.report.corrected import place_of

    by: dict[str, str] = {}
    for one in corrections:
        case_id, _ = place_of(written, one)
        by[case_id] = ", ".join(dict.fromkeys([*filter(None, [by.get(case_id)]), one.by]))
    return by
