"""What a run gave as DICOM objects for an archive, as its labels are now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from autoseg.data.corrections.read import Correction
from autoseg.errors import OutputError
from autoseg.files.atomic import one_step, remove_folder
from autoseg.image.image import Image, LabelMap
from autoseg.model.model import autoseg_version
from autoseg.prediction.run import Run

if TYPE_CHECKING:
    from autoseg.files.dicom.writing.segmentation import SegmentKind
    from autoseg.report.archive import Archived
    from autoseg.report.written_run import WrittenRun

DICOM = "dicom"


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
    from autoseg.report.pages.run_report import corrected_rows, report_run

    if not run.folder.is_dir():
        raise OutputError(f"{run.folder} is not there any more; it was moved or deleted. Segment again.")
    corrections = [one for one in corrections if one.is_changed]
    written = written_run(run)
    rows, changed = corrected_rows(written, corrections)
    results, by = _corrected(written, run.results, corrections)
    anew = {(case_id, label) for case_id, _, label in changed}
    report = report_run(written, corrections=corrections)
    with one_step(run.folder):
        remove_folder(run.folder / DICOM)
        return write_dicom(
            run.folder / DICOM,
            results,
            rows,
            algorithm_of(run.model, autoseg_version(), run.records, run.about_intervals),
            intervals=[one for one in run.patient_intervals if (one.image, one.label) not in anew],
            kind=kind,
            corrected_by={place: by[place[0]] for place in anew},
            report=report,
        )


def _corrected(
    written: WrittenRun, results: Sequence[tuple[Image, LabelMap]], corrections: Sequence[Correction]
) -> tuple[list[tuple[Image, LabelMap]], dict[str, str]]:
    """Give the results with their corrected labels, and who corrected each image."""
    from autoseg.report.pages.run_report import place_of

    labels = {image.source.case_id: label_map for image, label_map in results}
    by: dict[str, str] = {}
    for one in corrections:
        case_id, first = place_of(written, one)
        voxels = labels[case_id].voxels.copy()
        voxels[first : first + one.label_map.shape[0]] = one.label_map.voxels
        labels[case_id] = replace(labels[case_id], voxels=voxels)
        by[case_id] = ", ".join(dict.fromkeys([*filter(None, [by.get(case_id)]), one.by]))
    return [(image, labels[image.source.case_id]) for image, _ in results], by
