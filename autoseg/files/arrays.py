"""Arrays from files: what a header announces of them, plain NumPy arrays, and the whole numbers in them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from tokenize import TokenError
from typing import Any, BinaryIO, Protocol

import numpy as np
import numpy.typing as npt
import psutil

from autoseg.errors import LabelError, ReadError, UnclearLabelsError
from autoseg.words import size_words

# Whatever NumPy makes of a damaged header, which it reads as a piece of Python.
DAMAGED = (
    *(OSError, ValueError, EOFError, MemoryError, OverflowError, SyntaxError, TokenError),
    *(TypeError, KeyError, AttributeError),
)
# Programs that store 3 as a multiple of something give back 2.99998.
ROUNDED = 0.005
# What arithmetic in 32 bits leaves of a whole number.
SLIGHT = 1e-5
# Interpolation swings past 0 and 1 at edges.
SOFT_RANGE = (-0.5, 1.5)
# From this share on a pixel counts as marked, if nobody says otherwise.
HALF = 0.5


# Of a byte that is packed by deflate come so many at most, and hardly more by JPEG.
PACKED = 1032
# An image so large that shrinks so much has one value throughout; one of a body shrinks ten times at best, and to
# a JPEG fifty times.
BLANK_BYTES, BLANK, BLANK_JPEG = 2**28, 800, 200


def check_claim(
    path: Path, needed: int, what: str, *, stored: int, most: float = 1.0, blank: float = math.inf
) -> None:
    """Refuse what a header announces where the file or this computer's memory cannot hold it.

    Asked before memory is taken: `needed` are the bytes of `what` is announced, `stored` those that are there, of
    which each gives `most` at most. A large image, other than labels, is refused too where each gives more than
    `blank`: there is nothing in it.
    """
    if needed > stored * most:
        raise ReadError(
            f"{path} is cut off or damaged: its header announces {what} ({size_words(needed)}), which the "
            f"{size_words(stored)} that are there cannot hold. Copy or export it again."
        )
    free = psutil.virtual_memory().available
    if 2 * needed > free:  # as stored, and as it is used
        raise ReadError(
            f"{path} announces {what}: to read it takes {size_words(2 * needed)} of memory, and "
            f"{size_words(free)} are free. Close other programs, save it in smaller parts, or use a computer with "
            "more memory."
        )
    if needed > max(BLANK_BYTES, stored * blank):
        raise ReadError(
            f"{path} announces {what} ({size_words(needed)}) in {size_words(stored)}, which can only be one value "
            "throughout: there is nothing to see in it. Export it again, or choose another image."
        )


class Readable(Protocol):
    """A file that is open, of whatever kind."""

    def read(self, size: int, /) -> bytes:
        """Give so many bytes, or fewer at its end."""


class Unpacker(Protocol):
    """Unpacks bytes one piece after the other, as those of zlib and lzma do."""

    @property
    def eof(self) -> bool:
        """Whether all is unpacked."""

    def decompress(self, data: bytes, /) -> bytes:
        """Give what follows from the next piece."""


def unpacked(unpacker: Unpacker, file: Readable, stored: int) -> Iterator[bytes]:
    """Unpack so many stored bytes of a file in small pieces, so that whoever takes them can stop."""
    while stored > 0 and not unpacker.eof and (piece := file.read(min(stored, 4096))):
        stored -= len(piece)
        yield unpacker.decompress(piece)


def read_npy(path: Path) -> npt.NDArray[np.generic]:
    """Read the one array of an .npy file; a pickle is never opened."""
    try:
        with path.open("rb") as file:
            _check_npy(path, file)
            array = np.lib.format.read_array(file, allow_pickle=False)
    except FileNotFoundError as error:
        raise ReadError(f"{path} does not exist. Check the name and the folder.") from error
    except DAMAGED as error:
        raise ReadError(
            f"{path} cannot be read as a plain NumPy array ({error}). Arrays of objects (pickles) can "
            "run programs and are never opened. Save the array again with numpy.save(path, array)."
        ) from error
    if not array.size:
        raise ReadError(f"{path} is empty: its shape is {array.shape}. Save it again.")
    return array


def read_npy_shape(path: Path) -> tuple[int, ...]:
    """Give the shape of an .npy file's array, without its numbers."""
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False).shape
    except DAMAGED as error:
        raise ReadError(f"{path} cannot be read as a plain NumPy array ({error}). Save it again.") from error


def _check_npy(path: Path, file: BinaryIO) -> None:
    """Ask what the header of an .npy file announces, and go back to its beginning."""
    version = np.lib.format.read_magic(file)
    # Later versions are of tables only, whose columns have names.
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version in read:
        shape, _, kind = read[version](file)
        needed, stored = math.prod(shape) * kind.itemsize, path.stat().st_size
        if kind.kind != "O":
            check_claim(path, needed, f"{kind} of shape {shape}", stored=stored)
    file.seek(0)


def whole_numbers(path: Path, voxels: npt.NDArray[Any], *, within: float = 0.0) -> npt.NDArray[np.integer]:
    """Give integers as they are, booleans as 0 and 1, and floats if they are whole; LabelError otherwise.

    `within` is by how much whole numbers may be off because the file stores them as multiples of something.
    """
    if voxels.dtype.kind == "b":
        return voxels.astype(np.uint8)
    if voxels.dtype.kind in "iu":
        return voxels
    if voxels.dtype.kind != "f":
        raise LabelError(f"{path} holds {voxels.dtype} and not whole numbers. Save the labels as uint8.")
    with np.errstate(invalid="ignore"):
        whole = np.round(voxels)
        broken = ~(np.abs(voxels - whole) <= max(within, SLIGHT)) | (np.abs(voxels) > 2**31)
    if broken.any() and is_soft(voxels):
        raise _are_probabilities(path, voxels, broken)
    if broken.any():
        raise LabelError(
            f"{path} holds numbers that are not whole, for instance {voxels[broken].ravel()[:5].tolist()} on "
            f"{int(broken.sum())} pixels; are these probabilities, or resized? Save the labels as uint8."
        )
    is_small = whole.size and whole.min() >= 0 and whole.max() <= 255
    return whole.astype(np.uint8 if is_small else np.int64)


def is_soft(values: npt.NDArray[Any]) -> bool:
    """Tell whether floats can be the share of each pixel that is marked: from 0 to about 1."""
    if values.dtype.kind != "f" or not values.size or not np.isfinite(values).all():
        return False
    return bool(SOFT_RANGE[0] <= values.min() and 0 < values.max() <= SOFT_RANGE[1])


def _are_probabilities(path: Path, voxels: npt.NDArray[Any], between: npt.NDArray[np.bool_]) -> UnclearLabelsError:
    """Give the error that asks from which share on a pixel counts."""
    counts = ", ".join(f"{int((voxels >= share).sum()):,} from {share:g} on" for share in (0.25, HALF, 0.75))
    levels = np.unique(np.round(voxels[between], 3))
    shown = ", ".join(f"{level:g}" for level in levels[:6].tolist()) + (", …" if len(levels) > 6 else "")
    pixels = int(between.sum())
    return UnclearLabelsError(
        f"{path} holds numbers that are not whole but shares from {voxels.min():.3g} to {voxels.max():.3g} "
        f"(probabilities, or smoothed edges): {pixels:,} pixels lie between ({shown}). Say from which share on "
        "a pixel belongs to the "
        f"structure (the check of the folder, 1_train or autoseg check, asks it); there are {counts}.",
        "threshold",
        (1,),
        pixels,
    )
