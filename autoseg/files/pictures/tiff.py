"""TIFF files: pages, samples and palettes as they are stored."""

from __future__ import annotations

import logging
import math
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from lzma import LZMADecompressor, LZMAError
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Image as PillowImage
from PIL import ImageSequence

from autoseg.errors import ReadError
from autoseg.files.arrays import BLANK, BLANK_BYTES, Unpacker, check_claim, unpacked
from autoseg.files.pictures.pictures import Picture
from autoseg.words import size_words

TIFF_SUFFIXES = (".tif", ".tiff")

_DAMAGED = (
    *(OSError, ValueError, TypeError, LookupError, AssertionError, ArithmeticError, RuntimeError, MemoryError),
    *(
        ImportError,
        SyntaxError,
        UserWarning,
        struct.error,
        zlib.error,
        LZMAError,
        PillowImage.DecompressionBombError,
    ),
)
# So many bytes of pixels come out of one at most: bits that are stored eight to a byte; deflate reaches 1032.
_MOST_PLAIN, _MOST_PACKED = 8, 10_000
# By the number of the way to pack them; what else is read unpacks to what the pixels need, or little more.
_UNPACKERS: dict[int, Callable[[], Unpacker]] = {
    8: lambda: zlib.decompressobj(),
    32946: lambda: zlib.decompressobj(),
    34925: lambda: LZMADecompressor(),
}
# After so many faults nothing more of a file is looked at.
_MOST_FAULTS = 20
# Old and new JPEG, and WebP: values that are near the originals only.
_LOSSY = (6, 7, 50001)
_REMEDY = "Save it as a plain TIFF (uncompressed or deflate), or as PNG."


def read_tiff(path: Path) -> tuple[Picture, ...]:
    """Read the pages of a TIFF without changing a value.

    Resolutions are ignored: in a TIFF they tell how large to print it.
    """
    try:
        with _faults() as faults, tifffile.TiffFile(path) as file:
            if not file.pages:
                raise ReadError(f"{path} holds no picture. Save it again.")
            if len(file.series) > 1:
                shapes = sorted({series.shape for series in file.series})
                raise ReadError(
                    f"{path} holds several pictures of different kinds (shapes {shapes}). Save one a file."
                )
            series = file.series[0]
            page = series.keyframe
            _check_page(path, page)
            _check_size(path, file.filehandle.size, series)
            _check_parts(path, file, [page for page in series.pages if page is not None])
            stack = _stack(path, _decoded(path, file, series), series.axes)
            palette = _palette(page)
            alpha = bool(page.extrasamples) and page.extrasamples[-1] != tifffile.EXTRASAMPLE.UNSPECIFIED
            lossy = page.compression in _LOSSY
    except FileNotFoundError as error:
        raise ReadError(f"{path} does not exist. Check the name and the folder.") from error
    except _DAMAGED as error:
        reason = f"{type(error).__name__}: {error}"
        raise ReadError(f"{path} cannot be read as a TIFF picture ({reason}). {_REMEDY}") from error
    if faults:
        raise ReadError(f"{path} is cut off or damaged ({faults[0]}). Copy it again. {_REMEDY}")
    return tuple(Picture(pixels, palette, lossy, alpha) for pixels in stack)


def read_tiff_shape(path: Path) -> tuple[int, int, int]:
    """Give the pages, rows and columns of a TIFF, without its pixels."""
    try:
        with _faults(), tifffile.TiffFile(path) as file:
            page = file.pages.first
            return len(file.pages), page.imagelength, page.imagewidth
    except _DAMAGED as error:
        raise ReadError(f"{path} cannot be read as a TIFF picture ({error}). {_REMEDY}") from error


def read_tiff_palette(path: Path) -> npt.NDArray[np.uint8] | None:
    """Give the colours of the indices of a TIFF, shape (n, 3), without its pixels; None where it has none."""
    try:
        with _faults(), tifffile.TiffFile(path) as file:
            return _palette(file.pages.first) if file.pages else None
    except _DAMAGED as error:
        raise ReadError(f"{path} cannot be read as a TIFF picture ({error}). {_REMEDY}") from error


@contextmanager
def _faults() -> Iterator[list[str]]:
    """Collect the faults that tifffile only logs, such as pages that it leaves out."""
    found: list[str] = []

    def note(record: logging.LogRecord) -> bool:
        if record.levelno >= logging.ERROR:
            found.append(record.getMessage())
        if len(found) > _MOST_FAULTS:
            raise ValueError(f"{found[0]}, and more")  # damaged pages may go on for ever
        return False

    logger = logging.getLogger("tifffile")
    logger.addFilter(note)
    try:
        yield found
    finally:
        logger.removeFilter(note)


def _palette(page: tifffile.TiffPage) -> npt.NDArray[np.uint8] | None:
    if page.photometric != tifffile.PHOTOMETRIC.PALETTE or page.colormap is None:
        return None
    colours = np.asarray(page.colormap).T
    # Of 16 bits, but some programs write 8.
    return (colours >> 8 if colours.max() > 255 else colours).astype(np.uint8)


def _check_page(path: Path, page: tifffile.TiffPage) -> None:
    if 0 in page.shape:
        raise ReadError(f"{path} is empty: its shape is {page.shape}. Save it again.")
    turned = page.tags.get("Orientation")
    if turned is not None and turned.value != 1:
        raise ReadError(
            f"{path} asks to be shown turned or mirrored (orientation {turned.value}), so it is open how it lies "
            "on its image. Save it the way it should lie, without that mark."
        )
    if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
        raise ReadError(f"{path} stores white as 0, so bright and dark are open. Save it with black as 0.")


def _check_size(path: Path, size: int, series: tifffile.TiffPageSeries) -> None:
    """Refuse what announces more pixels than its bytes or the memory can hold, before memory is taken."""
    key, wide = series.keyframe, series.dtype.itemsize
    most = _MOST_PLAIN if key.compression == 1 else _MOST_PACKED
    what = f"pixels of shape {series.shape}"
    check_claim(path, math.prod(series.shape) * wide, what, stored=size, most=most, blank=BLANK)
    # A tile is decoded whole, however little of it lies in the picture.
    part = math.prod(key.chunks) * wide
    check_claim(path, part, f"tiles of shape {key.chunks}", stored=size, most=most, blank=BLANK)


def _check_parts(
    path: Path, file: tifffile.TiffFile, pages: Sequence[tifffile.TiffPage | tifffile.TiffFrame]
) -> None:
    """Refuse a strip or tile that unpacks to more than its pixels: tifffile unpacks it to its end."""
    start = _UNPACKERS.get(pages[0].compression)
    if start is None:
        return
    for page in pages:
        expected = math.prod(page.chunks) * np.dtype(page.dtype).itemsize + 2**20
        for at, count in zip(page.dataoffsets, page.databytecounts, strict=True):
            if count * _MOST_PACKED < expected + BLANK_BYTES:
                continue
            file.filehandle.seek(at)
            found = 0
            for piece in unpacked(start(), file.filehandle, count):
                found += len(piece)
                if found > expected:
                    raise ReadError(
                        f"{path} is damaged: a part of it unpacks to more than the {size_words(expected)} that its "
                        "pixels have. Copy it again."
                    )


def _decoded(path: Path, file: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> npt.NDArray[np.generic]:
    size = file.filehandle.size
    pages = [page for page in series.pages if page is not None]
    ends = [at + n for page in pages for at, n in zip(page.dataoffsets, page.databytecounts, strict=True)]
    if max(ends, default=0) > size:
        raise ReadError(f"{path} is cut off: {size:,} bytes of {max(ends):,}. Copy it again.")
    try:
        array = series.asarray()
    except (ValueError, ImportError):
        # tifffile needs a further package for LZW, JPEG and fax; Pillow knows them, but halves colours of 16 bits.
        key = series.keyframe
        if key.compression == 1 or (key.samplesperpixel > 1 and key.bitspersample != 8):
            raise
        with warnings.catch_warnings(), PillowImage.open(path, formats=("TIFF",)) as image:
            # Where a page is cut off, Pillow only warns.
            warnings.simplefilter("error", UserWarning)
            array = np.stack([np.array(frame) for frame in ImageSequence.Iterator(image)]).reshape(series.shape)
    array = array.astype(np.uint8) if array.dtype == bool else array
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _stack(path: Path, array: npt.NDArray[np.generic], axes: str) -> npt.NDArray[np.generic]:
    """Bring the axes into the order page, row, column and, where there are several, sample."""
    lengths = dict(zip(axes, array.shape, strict=True))
    samples = [axis for axis in axes if axis not in "YX" and axis in "SC" and lengths[axis] > 1]
    pages = [axis for axis in axes if axis not in "YXSC" and lengths[axis] > 1]
    if len(samples) > 1 or len(pages) > 1 or not {"Y", "X"} <= set(axes):
        raise ReadError(
            f"{path} has more axes than pages, rows, columns and channels ({axes} of {array.shape}). Save one file "
            "for each time point."
        )
    kept = [*pages, "Y", "X", *samples]
    squeezed = array[tuple(slice(None) if axis in kept else 0 for axis in axes)]
    left = [axis for axis in axes if axis in kept]
    ordered = squeezed.transpose([left.index(axis) for axis in kept])
    return ordered if pages else ordered[None]
