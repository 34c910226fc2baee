"""Files of tensors and plain values, from which nothing is ever executed: models and unfinished trainings."""

from __future__ import annotations

import errno
import pickle
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from autoseg.errors import ModelFileError
from autoseg.files.atomic import whole_file


@dataclass(frozen=True)
class FileKind:
    """One kind of file: the word for it in the file, what a reader calls it, versions written and readable.

    `remedy` is a sentence for whoever chose a file of another kind, `otherwise` what helps if it is damaged.
    """

    format: str
    what: str
    version: int
    readable: tuple[int, ...]
    remedy: str
    otherwise: str


MODEL = FileKind(
    format="autoseg model",
    what="a model file",
    # 2 adds the post-processing, which an older autoseg would leave out without a word.
    version=2,
    readable=(1, 2),
    remedy="Use a .pt file from trained_model.",
    otherwise="train anew",
)
UNFINISHED = FileKind(
    format="autoseg unfinished training",
    what="an unfinished training",
    # 2 adds the epochs seen, in exact parts.
    version=2,
    readable=(1, 2),
    remedy="Those end in _resume.pt and lie in trained_model.",
    otherwise="start the training anew; the models that were saved of it can be used",
)
KINDS = {kind.format: kind for kind in (MODEL, UNFINISHED)}


def write_tensors(content: dict[str, Any], path: Path, kind: FileKind) -> Path:
    """Write tensors and plain values; the file is whole, or it stays as it was."""
    path = Path(path)
    with whole_file(path) as temporary, _full_disk_as_oserror():
        torch.save({"format": kind.format, "format_version": kind.version, **content}, temporary)
    return path


@contextmanager
def _full_disk_as_oserror() -> Iterator[None]:
    """torch.save reports a full disk as RuntimeError; give it back as the OSError that it was."""
    try:
        yield
    except RuntimeError as error:
        if not re.search(r"write|enforce fail|PytorchStream", str(error)):
            raise
        raise OSError(errno.ENOSPC, "the disk is full or the file could not be written") from error


def read_tensors(path: Path, kind: FileKind, *, lazily: bool = False) -> dict[str, Any]:
    """Read a file of this kind; nothing in it is ever executed.

    `lazily` leaves the tensors on the disk until they are used; as long, Windows does not let the file be replaced.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelFileError(f"{path} is not there. Choose a .pt file that autoseg saved in trained_model.")
    if not zipfile.is_zipfile(path):  # torch's own format; older ones are plain pickles, which are never opened
        raise ModelFileError(
            f"{path} is not {kind.what} of autoseg, or only a part of one; it was not opened, because such files "
            f"can hold code. Copy it again from where it was trained, or {kind.otherwise}."
        )
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=lazily)
    except pickle.UnpicklingError as error:
        raise ModelFileError(
            f"{path} is not {kind.what} of autoseg: it holds code or objects, which are never loaded because "
            "they could run anything on this computer. Use a file that autoseg saved."
        ) from error
    except Exception as error:  # a damaged pickle makes torch raise whatever its next step raises
        raise ModelFileError(
            f"{path} cannot be read as {kind.what}; it is damaged or of another program. "
            f"Copy it again from where it was trained, or {kind.otherwise}."
        ) from error
    if not isinstance(content, dict) or str(content.get("format")) not in KINDS:
        raise ModelFileError(f"{path} was not written by autoseg. {kind.remedy}")
    if content["format"] != kind.format:
        found = KINDS[content["format"]].what
        raise ModelFileError(f"{path} is {found}, not {kind.what}. {kind.remedy}")
    if content.get("format_version") not in kind.readable:
        raise ModelFileError(
            f"{path} has the file format {content.get('format_version')} and this autoseg reads "
            f"up to {kind.version}. Install the newer autoseg, or {kind.otherwise}."
        )
    return content
