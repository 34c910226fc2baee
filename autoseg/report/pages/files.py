"""A document as two files, a web page and a PDF, both or none."""

from __future__ import annotations

from pathlib import Path

from autoseg.files.atomic import one_step, whole_file
from autoseg.report.figures.pdf import to_pdf
from autoseg.report.pages.document import Document
from autoseg.report.pages.html import to_page

WITHOUT_IDS = "_without_ids"


def write_document(document: Document, folder: Path, name: str) -> tuple[Path, Path]:
    """Write `<name>.html` and `<name>.pdf` into a folder and give their paths; earlier ones are replaced."""
    page, pdf = folder / f"{name}.html", folder / f"{name}.pdf"
    contents = {page: to_page(document).encode(), pdf: to_pdf(document)}
    with one_step(folder):
        for path, content in contents.items():
            with whole_file(path) as temporary:
                temporary.write_bytes(content)
    return page, pdf
