"""A folder as one zip file, made in memory."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

from autoseg.errors import OutputError, ReadError
from autoseg.files.sources import walk
from autoseg.words import size_words

MOST_BYTES = 200 * 2**20  # what a page can take in one piece

# They are compressed already; to try again costs time and saves nothing.
PACKED = {".gz", ".jpg", ".jpeg", ".png", ".gif", ".xlsx", ".zip"}


def files_of(folder: Path) -> list[Path]:
    """Give the files in a folder and the folders within, in the order of their names; hidden ones left out."""
    folder = Path(folder)
    if not folder.is_dir():
        raise ReadError(f"The folder {folder} is not there any more; it was moved or deleted.")
    return walk(folder)[0]


def zip_folder(folder: Path, *, most_bytes: int = MOST_BYTES) -> bytes:
    """Pack a folder into a zip that unpacks to a folder of the same name."""
    folder = Path(folder)
    files = files_of(folder)
    size = sum(path.stat().st_size for path in files)
    if size > most_bytes:
        raise OutputError(
            f"{folder} holds {size_words(size)}, more than the {size_words(most_bytes)} that can be downloaded in "
            "one piece. Open the folder instead, or download its files one by one in JupyterLab's file list."
        )
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path in files:
            kind = zipfile.ZIP_STORED if path.suffix.lower() in PACKED else zipfile.ZIP_DEFLATED
            name = (Path(folder.name) / path.relative_to(folder)).as_posix()
            try:
                archive.write(path, name, kind)
            except OSError as error:
                raise ReadError(f"{path} cannot be read ({error.strerror or error}). Try again.") from error
    return packed.getvalue()
