"""A run's report as a web page and as a PDF, from what a run gave or from its folder, as its labels are now."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from autoseg.data.corrections.kit import find_kits
from autoseg.data.corrections.read import Correction, read_corrections
from autoseg.errors import DataError
from autoseg.prediction.run import Run
from autoseg.report.export import tissue_tables
from autoseg.report.pages.document import Document
from autoseg.report.pages.files import WITHOUT_IDS, write_document
from autoseg.report.pages.run_report import report_run
from autoseg.report.written_run import WrittenRun, read_record, read_run

NAME = "report"
CORRECTED = "_corrected"


def run_document(run: Run, *, corrections: Sequence[Correction] = (), show_ids: bool = False) -> Document:
    """Give the report of a run that is in the memory; of its files only run.json is read.

    That of a run with corrected labels tells what was corrected, beside what the model drew.
    """
    if run.before is not None:
        run, corrections = run.before, corrections or run.corrections
    return report_run(written_run(run), corrections=corrections, show_ids=show_ids)


def written_run(run: Run) -> WrittenRun:
    """Give a run that is in the memory as its folder tells of it, with its images."""
    results = {image.source.case_id: (image, label_map) for image, label_map in run.results}
    record = read_record(run.folder)
    measured = run.measurements, run.patient_intervals, run.suitability
    return WrittenRun(run.folder, record, *measured, results, tissue_tables(run.tissue, run.measurements))


def write_report(
    run: Run | Path, *, by: str = "", show_ids: bool = True, corrections: Sequence[Correction] = ()
) -> tuple[Path, Path]:
    """Write the report of a run into its folder, as `report.html` and `report.pdf`; an earlier one is replaced.

    Where labels were corrected in the run's folder `to_correct`, the report is of the corrected ones and called
    `report_corrected`. Without IDs it is called `report_without_ids`.

    Parameters
    ----------
    run : Run or Path
        Or the folder of an earlier run, whose images are not there any more: key slices are then the overlays, and
        where labels were corrected the images that lie beside them.
    by : str
        Who corrected, where somebody did.
    show_ids : bool
        Name patients, images and files.
    corrections : sequence of Correction
        As they were read back; otherwise the folder is looked through.

    Returns
    -------
    tuple of Path
        The page and the PDF.

    Raises
    ------
    DataError
        If labels were corrected and nobody says by whom.
    AutosegError
        If the folder is not a run's, or cannot be read or written.
    """
    folder = run.folder if isinstance(run, Run) else Path(run)
    if isinstance(run, Run) and run.before is not None:
        corrections = corrections or run.corrections
    corrections = corrections or find_corrections(folder, by)
    if isinstance(run, Run):
        document = run_document(run, corrections=corrections, show_ids=show_ids)
    else:
        document = report_run(read_run(folder), corrections=corrections, show_ids=show_ids)
    name = NAME + (CORRECTED if corrections else "") + ("" if show_ids else WITHOUT_IDS)
    return write_document(document, folder, name)


def find_corrections(folder: Path, by: str = "") -> tuple[Correction, ...]:
    """Give what was changed in a run's folder to correct in; of several folders that which was changed last."""
    changed = []
    for kit in find_kits(folder):
        found = [one for one in read_corrections(kit, by=by or "?") if one.is_changed]
        if found:
            changed.append((max(one.date for one in found), tuple(found)))
    if not changed:
        return ()
    _, last = max(changed, key=lambda one: one[0])
    if not by.strip():
        raise DataError(
            f"Labels were corrected in {last[0].kit.folder}, so the report is of these. Say who corrected them "
            "(--by): initials are enough."
        )
    return last
