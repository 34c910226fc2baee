"""Decode the pixels of DICOM files into plain arrays, one value a pixel, bright meaning much."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.dataset import FileDataset
from pydicom.pixels import apply_color_lut, get_decoder
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from autoseg.errors import ReadError
from autoseg.files.dicom_values import PYDICOM_ERRORS, quiet

Frames = npt.NDArray[np.generic]

# Luma of ITU-R BT.601, the Y of JPEG and of DICOM's YBR_FULL (PS3.3 C.7.6.3.1.2).
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float64)
UNCOMPRESSED = "Export the file again uncompressed (Explicit VR Little Endian) or as JPEG 2000."


def read_frames(path: Path) -> Frames:
    """Read a DICOM file's stored values, before rescale slope and intercept.

    MONOCHROME1 (bright means little) is mirrored within the range that BitsStored can hold, so that the
    same tissue has the same value in every slice and bright means much. Colours (RGB, YBR, palette) become
    their luminance, rounded to the stored type.

    Parameters
    ----------
    path : Path
        A DICOM image, compressed or not.

    Returns
    -------
    (frames, rows, columns) ndarray
        Of the smallest type that the file's bits allow, in the machine's byte order.

    Raises
    ------
    ReadError
        If the pixels are missing, cut off or damaged, or no decoder reads their transfer syntax; the message
        names the file, the transfer syntax and what to do.
    """
    with quiet():
        dataset = _open(path)
        if not any(name in dataset for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
            raise ReadError(
                f"{path}: the pixels are missing or cut off in the middle. Copy or export the file again."
            )
        syntax = _transfer_syntax(dataset)
        pixels, photometric = _decode(path, dataset, syntax)
        return _to_monochrome2(path, dataset, pixels, photometric)


def _open(path: Path) -> FileDataset:
    try:
        return pydicom.dcmread(path, force=True)
    except PYDICOM_ERRORS as error:
        raise ReadError(
            f"{path} cannot be read as DICOM ({_one_line(error)}): it is truncated or damaged. "
            "Copy or export it again."
        ) from error


def _transfer_syntax(dataset: FileDataset) -> UID:
    """Give the transfer syntax; a file without one is in the encoding that its header was found to have."""
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if syntax:
        return UID(syntax)
    implicit, little = dataset.original_encoding
    if implicit:
        return ImplicitVRLittleEndian
    return ExplicitVRLittleEndian if little else ExplicitVRBigEndian


def _decode(path: Path, dataset: FileDataset, syntax: UID) -> tuple[Frames, str]:
    """Give the pixels, shape (frames, rows, columns[, 3]), and their photometric interpretation."""
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError as error:
        raise ReadError(
            f"{path}: its pixels are compressed as {syntax.name}, which no decoder here reads. {UNCOMPRESSED}"
        ) from error
    if not decoder.is_available:
        raise ReadError(
            f"{path}: its pixels are compressed as {syntax.name}, and the decoder for it is not installed "
            f"({'; '.join(decoder.missing_dependencies)}). Install it: pip install python-gdcm pylibjpeg "
            f"pylibjpeg-openjpeg. Or: {UNCOMPRESSED}"
        )
    dataset.file_meta.TransferSyntaxUID = syntax
    try:
        pixels, found = decoder.as_array(dataset)
        colours = (3,) if found["samples_per_pixel"] == 3 else ()
        frames = pixels.reshape(-1, dataset.Rows, dataset.Columns, *colours)
    except PYDICOM_ERRORS as error:
        raise ReadError(
            f"{path}: its pixels ({syntax.name}) cannot be decoded: {_one_line(error)}. The file is "
            f"truncated or damaged, or of a kind that the decoders here do not read. {UNCOMPRESSED}"
        ) from error
    return frames.astype(frames.dtype.newbyteorder("="), copy=False), str(found["photometric_interpretation"])


def _to_monochrome2(path: Path, dataset: FileDataset, pixels: Frames, photometric: str) -> Frames:
    if photometric == "MONOCHROME2":
        return pixels
    if photometric == "MONOCHROME1" and pixels.dtype.kind in "iu":
        signed = pixels.dtype.kind == "i"
        ends = -1 if signed else 2 ** int(dataset.BitsStored) - 1  # lowest plus highest storable value
        return np.subtract(ends, pixels, dtype=pixels.dtype)
    if photometric == "PALETTE COLOR":
        return np.stack([_luminance(apply_color_lut(frame, dataset)) for frame in pixels])
    if photometric == "RGB":
        return np.stack([_luminance(frame) for frame in pixels])
    raise ReadError(
        f"{path}: its colours are stored as {photometric or 'nothing that the header names'}, which autoseg "
        "does not read. Export the file as greyscale (MONOCHROME2) or RGB."
    )


def _luminance(rgb: Frames) -> Frames:
    return np.rint(rgb[..., :3].astype(np.float64) @ LUMA).astype(rgb.dtype)


def _one_line(error: Exception) -> str:
    """Give an error's text on one line; pydicom lists the reasons of several decoders on several."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:3]).rstrip(".") or type(error).__name__
