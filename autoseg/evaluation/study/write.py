"""A study's report as a web page and as a PDF, beside the folds."""

from __future__ import annotations

from pathlib import Path

from autoseg.evaluation.study.document import report_study
from autoseg.evaluation.study.study import read_study
from autoseg.report.pages.files import WITHOUT_IDS, write_document

NAME = "study_report"


def write_study_report(folder: Path, *, show_ids: bool = True) -> tuple[Path, Path]:
    """Write the report of a cross-validation into its folder, as `study_report.html` and `study_report.pdf`.

    Without IDs the files are called `study_report_without_ids`. Earlier ones are replaced.

    Parameters
    ----------
    folder : Path
        Of a cross-validation (`<name>_folds`), or in the folder of a comparison that of a network.
    show_ids : bool
        Name patients and images; otherwise they are numbered, as in the notebooks.

    Returns
    -------
    tuple of Path
        The page and the PDF.

    Raises
    ------
    AutosegError
        If the folder holds no folds, or cannot be read or written.
    """
    document = report_study(read_study(folder), show_ids=show_ids)
    return write_document(document, Path(folder), NAME + ("" if show_ids else WITHOUT_IDS))
