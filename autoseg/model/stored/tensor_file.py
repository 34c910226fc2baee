"""Files of tensors and plain values, from which nothing is ever executed: models and unfinished trainings."""

from __future__ import annotations

import errno
import math
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from autoseg.errors import AutosegError, ModelFileError
from autoseg.files.atomic import whole_file
from autoseg.model.stored.archive import Archive, NotOursError, add_digests
from autoseg.model.stored.pickled import ForeignError, Storage, StoredTensor, plain_values, read_pickle


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
    # What an older autoseg would leave out without a word: 2 adds the post-processing, 3 what is added to log-odds.
    version=3,
    readable=(1, 2, 3),
    remedy="Use a .pt file from trained_model.",
    otherwise="train anew",
)
UNFINISHED = FileKind(
    format="autoseg unfinished training",
    what="an unfinished training",
    # 2 adds the epochs seen, in exact parts, 3 for which work it was begun.
    version=3,
    readable=(1, 2, 3),
    remedy="Those end in _resume.pt and lie in trained_model.",
    otherwise="start the training anew; the models that were saved of it can be used",
)
KINDS = {kind.format: kind for kind in (MODEL, UNFINISHED)}


def write_tensors(content: dict[str, Any], path: Path, kind: FileKind) -> Path:
    """Write tensors and plain values with digests of all of them; the file is whole, or it stays as it was."""
    path = Path(path)
    with whole_file(path) as temporary, _full_disk_as_oserror():
        torch.save({"format": kind.format, "format_version": kind.version, **content}, temporary)
        add_digests(temporary)
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


def read_tensors(
    path: Path, kind: FileKind, *, check: Callable[[dict[str, Any]], object] | None = None
) -> dict[str, Any]:
    """Read a file of this kind, of which every byte is as it was written; nothing in it is ever executed.

    `check` is called with what `read_plain` gives, before memory is taken for the tensors.
    """
    with _opened(path, kind) as archive:
        with _in_words(path, kind):
            header, sizes = archive.header(), archive.storage_sizes()
            values, length = read_pickle(header), len(header)
            content = plain_values(values, lambda tensor: _without_numbers(tensor, sizes), header_bytes=length)
        _check_kind(content, path, kind)
        if check is not None:
            check(content)
        with _in_words(path, kind):
            storages = archive.read_storages(sizes)
            return dict(plain_values(values, lambda tensor: _with_numbers(tensor, storages), header_bytes=length))


def read_plain(path: Path, kind: FileKind) -> dict[str, Any]:
    """Read the plain values of a file of this kind alone; its tensors have sizes and kinds, but no numbers."""
    with _opened(path, kind) as archive, _in_words(path, kind):
        header, sizes = archive.header(), archive.storage_sizes()
        values, length = read_pickle(header), len(header)
        content = plain_values(values, lambda tensor: _without_numbers(tensor, sizes), header_bytes=length)
    _check_kind(content, path, kind)
    return dict(content)


@contextmanager
def _opened(path: Path, kind: FileKind) -> Iterator[Archive]:
    """Open a file and find its parts; what is no file, or not to be read, is told apart."""
    path = Path(path)
    try:
        if path.is_dir():
            raise ModelFileError(f"{path} is a folder. {kind.remedy}")
        if not path.exists():
            leads = " leads to a file that" if path.is_symlink() else ""
            raise ModelFileError(
                f"{path}{leads} is not there. Choose a .pt file that autoseg saved in trained_model."
            )
        if not path.is_file():
            raise ModelFileError(f"{path} is no ordinary file. {kind.remedy}")
        with path.open("rb") as file:
            with _in_words(path, kind):
                archive = Archive.of(file)
            yield archive
    except OSError as error:
        raise ModelFileError(
            f"{path} could not be read: {error.strerror or error}. Make sure that you may read it and that its "
            "disk or network drive can be reached, then try again."
        ) from error


@contextmanager
def _in_words(path: Path, kind: FileKind) -> Iterator[None]:
    """Tell as a sentence what is wrong with the inside of a file."""
    try:
        yield
    except NotOursError as error:
        raise ModelFileError(
            f"{path} is not {kind.what} of autoseg, or only a part of one; it was not opened, because such files "
            f"can hold code. Copy it again from where it was trained, or {kind.otherwise}."
        ) from error
    except ForeignError as error:
        raise ModelFileError(
            f"{path} is not {kind.what} of autoseg: it holds code or objects, which are never loaded because "
            "they could run anything on this computer. Use a file that autoseg saved."
        ) from error
    except ValueError as error:
        raise ModelFileError(
            f"{path} cannot be read as {kind.what}; it is damaged or of another program: {error}. "
            f"Copy it again from where it was trained, or {kind.otherwise}."
        ) from error


@contextmanager
def values_in_words(path: Path, kind: FileKind) -> Iterator[None]:
    """Tell as a sentence what is wrong with the values of a file that is whole."""
    try:
        yield
    except (
        AutosegError,
        ArithmeticError,
        AttributeError,
        LookupError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        # The others come from values that go together in a way that nobody thought of.
        told = isinstance(error, AutosegError | ValueError)
        words = str(error)[:500].rstrip(".") if told else "its values do not go together"
        raise ModelFileError(
            f"{path} is incomplete or damaged: {words}. Copy it again from where it was trained, or "
            f"{kind.otherwise}."
        ) from error


def _check_kind(content: object, path: Path, kind: FileKind) -> None:
    """Raise ModelFileError if this is what another program wrote, a file of another kind, or of a later autoseg."""
    if not isinstance(content, dict) or str(content.get("format")) not in KINDS:
        raise ModelFileError(f"{path} was not written by autoseg. {kind.remedy}")
    if content["format"] != kind.format:
        found = KINDS[content["format"]].what
        raise ModelFileError(f"{path} is {found}, not {kind.what}. {kind.remedy}")
    if content.get("format_version") not in kind.readable:
        raise ModelFileError(
            f"{path} has the file format {str(content.get('format_version'))[:20]} and this autoseg reads "
            f"up to {kind.version}. Install the newer autoseg, or {kind.otherwise}."
        )


def _without_numbers(tensor: StoredTensor, sizes: Mapping[str, int]) -> Tensor:
    """Give the tensor's size and kind alone, if its numbers lie within its storage and that within the file."""
    storage, offset, size, stride = tensor
    numbers = (offset, *size, *stride) if isinstance(size, tuple) and isinstance(stride, tuple) else (None,)
    sound = isinstance(storage, Storage) and all(type(number) is int and 0 <= number < 2**40 for number in numbers)
    if not sound or len(size) != len(stride) or len(size) > 16:
        raise ValueError("it describes numbers in a way that autoseg does not write")
    bytes_there = sizes.get(storage.key) if isinstance(storage.key, str) else None
    if type(storage.numbers) is not int or bytes_there != storage.numbers * storage.dtype.itemsize:
        raise ValueError("it describes other numbers than it holds")
    # A repeated number would take more memory than the file has bytes.
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if 0 not in size and max(math.prod(size), last + 1) > storage.numbers:
        raise ValueError("it describes more numbers than it holds")
    return torch.empty(size, dtype=storage.dtype, device="meta")


def _with_numbers(tensor: StoredTensor, storages: Mapping[str, Tensor]) -> Tensor:
    storage, offset, size, stride = tensor
    return torch.as_strided(storages[storage.key].view(storage.dtype), size, stride, offset)
