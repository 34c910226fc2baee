"""Decode the pixels of DICOM files into plain arrays, one value a pixel, bright meaning much."""

from __future__ import annotations

import math
import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom.dataset import FileDataset
from pydicom.encaps import generate_frames, get_frame
from pydicom.pixels import apply_color_lut, apply_modality_lut, get_decoder
from pydicom.pixels.utils import get_expected_length
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGExtended12Bit,
    JPEGTransferSyntaxes,
    RLELossless,
)

from autoseg.errors import ReadError
from autoseg.files.arrays import BLANK, check_claim
from autoseg.files.dicom.mosaic import untile
from autoseg.files.dicom.records import PYDICOM_ERRORS, SliceHeader, pixels_words, quiet, read_dataset

Frames = npt.NDArray[np.generic]

# Luma of ITU-R BT.601, the Y of JPEG and of DICOM's YBR_FULL (PS3.3 C.7.6.3.1.2).
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float64)
UNCOMPRESSED = "Export the file again uncompressed (Explicit VR Little Endian) or as JPEG 2000."
# A line of exchanged rows and columns differs from its neighbour at least so much less than the header's.
EXCHANGED = 0.5
PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
# SOF of JPEG (all but DHT, JPG and DAC, which lie between) and of JPEG-LS: where size and depth stand.
FRAME_MARKERS = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}


def read_frames(path: Path, *, frame: int | None = None) -> Frames:
    """Read a DICOM file's stored values, before rescale slope and intercept, shape (frames, rows, columns).

    MONOCHROME1 (bright means little) is mirrored within the range that BitsStored can hold, so that the
    same tissue has the same value in every slice and bright means much. Colours (RGB, YBR, palette) become
    their luminance, rounded to the stored type. A modality look-up table is applied. `frame` (from 0) is the only
    one to decode.
    """
    with quiet():
        dataset = _open(path)
        if not any(name in dataset for name in PIXELS):
            raise ReadError(
                f"{path}: the pixels are missing or cut off in the middle. Copy or export the file again."
            )
        pixels, photometric = _decode(path, dataset, frame)
        try:
            return _to_monochrome2(path, dataset, pixels, photometric)
        except PYDICOM_ERRORS as error:
            raise ReadError(
                f"{path}: its palette or look-up table cannot be applied: {_one_line(error)}. Export the file "
                "as greyscale (MONOCHROME2) without a look-up table."
            ) from error


def slice_pixels(frames: Frames, header: SliceHeader) -> Frames:
    """Take one slice, shape (rows, columns), out of its file's frames, and apply its rescale slope and intercept.

    It is float32 where the slope is not 1 or the intercept not 0, and of the stored type otherwise.
    """
    if header.frame < len(frames) * header.tiles**2 and frames.shape[1:] == (
        header.rows * header.tiles,
        header.columns * header.tiles,
    ):
        pixels = (untile(frames, header.tiles) if header.tiles > 1 else frames)[header.frame]
        if (header.slope, header.intercept) == (1.0, 0.0):
            return pixels
        return np.asarray(pixels * np.float64(header.slope) + header.intercept).astype(np.float32)
    raise ReadError(
        f"{header.path}: frame {header.frame + 1} of {header.rows} × {header.columns} was announced, but "
        f"the pixels are {len(frames)} of {frames.shape[1]} × {frames.shape[2]}. Export it again."
    )


def transfer_syntax(dataset: FileDataset) -> UID:
    """Give the transfer syntax; a file without one is in the encoding that its header was found to have."""
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if syntax:
        return UID(syntax)
    implicit, little = dataset.original_encoding
    if implicit:
        return ImplicitVRLittleEndian
    return ExplicitVRLittleEndian if little else ExplicitVRBigEndian


def why_undecodable(syntax: UID, bits: int = 8) -> str:
    """Say which decoder is missing for a transfer syntax and so many stored bits, or "" where there is one."""
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        return f"its pixels are compressed as {syntax.name}, which no decoder here reads. {UNCOMPRESSED}"
    if syntax == JPEGExtended12Bit and bits > 8 and any("libjpeg" in what for what in decoder.missing_dependencies):
        return (
            f"its pixels are compressed as {syntax.name} of {bits} bits, which no decoder here reads; the file "
            f"itself may be whole. {UNCOMPRESSED}"
        )
    if decoder.is_available:
        return ""
    return (
        f"its pixels are compressed as {syntax.name}, and the decoder for it is not installed "
        f"({'; '.join(decoder.missing_dependencies)}). Install it: pip install python-gdcm pylibjpeg "
        f"pylibjpeg-openjpeg. Or: {UNCOMPRESSED}"
    )


def _open(path: Path) -> FileDataset:
    try:
        return read_dataset(path)
    except PYDICOM_ERRORS as error:
        raise ReadError(
            f"{path} cannot be read as DICOM ({_one_line(error)}): it is truncated or damaged. "
            "Copy or export it again."
        ) from error


def _decode(path: Path, dataset: FileDataset, frame: int | None) -> tuple[Frames, str]:
    """Give the pixels, shape (frames, rows, columns[, 3]), and their photometric interpretation."""
    syntax = transfer_syntax(dataset)
    refusal = why_undecodable(syntax, int(dataset.get("BitsStored") or 8))
    if refusal:
        raise ReadError(f"{path}: {refusal}")
    dataset.file_meta.TransferSyntaxUID = syntax
    decoder = get_decoder(syntax)
    try:
        wrong = why_unlike_its_pixels(dataset, syntax, frame)
        if wrong:
            raise ReadError(f"{path}: {wrong} The header was changed or is damaged. Export the file again.")
        _check_claim(path, dataset, syntax, frame)
        pixels, found = decoder.as_array(dataset, index=frame)
        colours = (3,) if found["samples_per_pixel"] == 3 else ()
        frames = pixels.reshape(-1, dataset.Rows, dataset.Columns, *colours)
    except PYDICOM_ERRORS as error:
        more = "; ".join(decoder.missing_dependencies)
        raise ReadError(
            f"{path}: its pixels ({syntax.name}) cannot be decoded: {_one_line(error)}. The file is truncated or "
            f"damaged, or of a kind that the decoders here do not read. {UNCOMPRESSED}"
            + (f" A decoder that is not installed may read it ({more})." if more else "")
        ) from error
    return frames.astype(frames.dtype.newbyteorder("="), copy=False), str(found["photometric_interpretation"])


def _check_claim(path: Path, dataset: FileDataset, syntax: UID, frame: int | None) -> None:
    """Refuse more pixels than are there or than the memory holds; decoders take it first."""
    if "PixelData" not in dataset:
        return
    frames = 1 if frame is None or not syntax.is_encapsulated else int(dataset.get("NumberOfFrames") or 1)
    needed = get_expected_length(dataset) // frames
    # Nothing bounds how much JPEG 2000 makes of a byte.
    most, blank = (math.inf, BLANK) if syntax.is_encapsulated else (1.0, math.inf)
    check_claim(path, needed, pixels_words(dataset), stored=len(dataset.PixelData) + 1, most=most, blank=blank)


def why_unlike_its_pixels(dataset: FileDataset, syntax: UID, frame: int | None = None) -> str:
    """Say how a header contradicts the pixels' own header or their length, which would scramble them; or ""."""
    rows, columns, samples, bits = (
        int(dataset.get(word, least) or least)
        for word, least in (("Rows", 0), ("Columns", 0), ("SamplesPerPixel", 1), ("BitsAllocated", 0))
    )
    told = f"Its header says {rows} × {columns} pixels of {samples} × {bits} bits"
    if not syntax.is_encapsulated:
        if "PixelData" not in dataset or (bits != 1 and bits % 8):
            return ""
        present, expected = len(dataset.PixelData), get_expected_length(dataset)
        row = max(1, columns * samples * bits // 8)
        # Less than a row is padding, and so are zeros; what is missing the decoder tells.
        if present - expected >= row and dataset.PixelData[expected:].strip(b"\0"):
            return f"{told}, which are {expected:,} bytes, but {present:,} bytes of pixels are there."
        wider, rest = divmod(present, expected // columns)
        if wider > columns and not rest and _line_fits(dataset, columns, wider) < 1:
            return f"{told}, but its lines seem to be of {wider} pixels."
        is_oblong = rows % columns and columns % rows
        if is_oblong and _line_fits(dataset, columns, rows) < EXCHANGED:
            return f"{told}, but its pixels look like {columns} × {rows}: rows and columns are exchanged."
        return ""
    count = int(dataset.get("NumberOfFrames") or 1)
    if frame is not None or syntax == RLELossless:
        pictures = iter([get_frame(dataset.PixelData, frame or 0, number_of_frames=count)])
    else:
        pictures = generate_frames(dataset.PixelData, number_of_frames=count)
    wrong = (_why_unlike_picture(picture, syntax, (rows, columns, samples, bits)) for picture in pictures)
    return next((f"{told}, but {words}" for words in wrong if words), "")


def _why_unlike_picture(picture: bytes, syntax: UID, announced: tuple[int, int, int, int]) -> str:
    """Say how a compressed picture differs from what is announced: rows, columns, samples and bits; or ""."""
    rows, columns, samples, bits = announced
    if syntax == RLELossless:
        length = _rle_length(picture)
        if length - rows * columns >= columns:
            return f"its compressed picture holds {length:,} pixels."
        return ""
    coded = _coded_size(picture)
    if coded is None:
        return ""
    high, wide, planes, depth = coded
    # JPEG's decoders fill what the header announces, or end the whole program where that is larger than a pixel.
    larger = syntax in JPEGTransferSyntaxes and bits > 8 * -(-depth // 8)
    if (high or rows, wide, planes) != (rows, columns, samples) or depth > bits or larger:
        return f"the compressed picture itself is {high} × {wide} pixels of {planes} × {depth} bits."
    return ""


def _line_fits(dataset: FileDataset, columns: int, other: int) -> float:
    """Give how much a pixel differs from that another line's length further on, as a share of this length's.

    Neighbours in a column are alike; pixels laid out in lines of a wrong length have none.
    """
    size = int(dataset.get("BitsAllocated") or 0) // 8
    if dataset.get("SamplesPerPixel") != 1 or size not in (1, 2):
        return 1.0
    order = "<" if dataset.original_encoding[1] else ">"
    values = np.frombuffer(dataset.PixelData, f"{order}{'i' if dataset.get('PixelRepresentation') else 'u'}{size}")
    values = values[: int(dataset.Rows) * columns].astype(np.float64)
    own, others = (np.abs(values[step:] - values[:-step]).mean() for step in (columns, other))
    return float(others / own) if own > 0 else 1.0


def _rle_length(picture: bytes) -> int:
    """Give the pixels of a picture in RLE: the bytes of its first segment (PS3.5 annex G)."""
    count, start, stop = struct.unpack("<3L", picture[:12])
    segment = picture[start : stop if count > 1 else None]
    place = length = 0
    while place < len(segment) - 1:
        code = segment[place]
        if code < 128:  # so many bytes as they are, and one more
            length += min(code + 1, len(segment) - place - 1)
            place += code + 2
        elif code > 128:  # one byte, repeated
            length += 257 - code
            place += 2
        else:
            place += 1
    return length


def _coded_size(picture: bytes) -> tuple[int, int, int, int] | None:
    """Give rows, columns, values a pixel and bits by the own header of JPEG, JPEG-LS or JPEG 2000, else None."""
    start = picture.find(b"\xff\x4f\xff\x51")
    if start >= 0 and picture[:2] != b"\xff\xd8":
        place = start + 8  # behind the marker, the length and the capabilities
        right, bottom, left, top = struct.unpack(">4I", picture[place : place + 16])
        (planes,) = struct.unpack(">H", picture[place + 32 : place + 34])
        return bottom - top, right - left, planes, (picture[place + 34] & 0x7F) + 1
    place = 2
    while picture[:2] == b"\xff\xd8" and place + 10 <= len(picture) and picture[place] == 0xFF:
        marker = picture[place + 1]
        if marker in FRAME_MARKERS:
            depth, high, wide, planes = struct.unpack(">BHHB", picture[place + 4 : place + 10])
            return high, wide, planes, depth
        # A marker may be led by filling bytes; a length counts itself.
        place += 1 if marker == 0xFF else 2 + int.from_bytes(picture[place + 2 : place + 4], "big")
    return None


def _to_monochrome2(path: Path, dataset: FileDataset, pixels: Frames, photometric: str) -> Frames:
    if photometric == "PALETTE COLOR":
        return np.stack([_luminance(apply_color_lut(frame, dataset)) for frame in pixels])
    if photometric == "RGB":
        return np.stack([_luminance(frame) for frame in pixels])
    if photometric not in ("MONOCHROME1", "MONOCHROME2") or (photometric[-1] == "1" and pixels.dtype.kind == "f"):
        raise ReadError(
            f"{path}: its colours are stored as {photometric or 'nothing that the header names'}, which autoseg "
            "does not read. Export the file as greyscale (MONOCHROME2) or RGB."
        )
    has_table = bool(dataset.get("ModalityLUTSequence"))
    if has_table:
        # Wider, because a table may begin below the lowest or end above the highest stored value.
        pixels = np.asarray(apply_modality_lut(pixels.astype(np.int64), dataset))
    if photometric == "MONOCHROME2":
        return pixels
    bits = pixels.dtype.itemsize * 8 if has_table else int(dataset.BitsStored)
    ends = -1 if pixels.dtype.kind == "i" else 2**bits - 1  # lowest plus highest storable value
    return np.subtract(ends, pixels, dtype=pixels.dtype)


def _luminance(rgb: Frames) -> Frames:
    return np.rint(rgb[..., :3].astype(np.float64) @ LUMA).astype(rgb.dtype)


def _one_line(error: Exception) -> str:
    """Give an error's text on one line; pydicom lists the reasons of several decoders on several."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:3]).rstrip(".") or type(error).__name__
