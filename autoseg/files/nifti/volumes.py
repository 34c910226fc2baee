"""NIfTI files: written from and read to voxels (slice, row, column) in DICOM's patient coordinates."""

from __future__ import annotations

import gzip
import math
from io import BytesIO
from pathlib import Path

import nibabel
import numpy as np
import numpy.typing as npt
from nibabel.arrayproxy import ArrayProxy

from autoseg.errors import OutputError, ReadError
from autoseg.files.atomic import whole_file
from autoseg.files.nifti.headers import (
    DAMAGED,
    NiftiHeader,
    broken,
    describe,
    is_pair,
    nifti_header,
    pair_member,
    parse_header,
)
from autoseg.image.geometry import LPS_TO_RAS, Affine, check_affine, same_grid, spacing_from_affine
from autoseg.image.image import Image, LabelMap

__all__ = ["NIFTI_ENDINGS", "NiftiHeader", "nifti_header", "open_nifti", "read_nifti", "write_nifti"]

NIFTI_ENDINGS = (".nii", ".nii.gz", ".hdr", ".img")

# Our index (slice, row, column) from NIfTI's (x = column, y = row, z = slice).
_REVERSED_AXES = np.eye(4)[[2, 1, 0, 3]]


def open_nifti(path: Path) -> tuple[NiftiHeader, ArrayProxy]:
    """Read a NIfTI file (.nii, .nii.gz, or a pair .hdr and .img), its values still packed.

    Returns
    -------
    NiftiHeader
    ArrayProxy
        Gives values, scaled where the header says so, when it is indexed in the file's own order of axes.

    Raises
    ------
    ReadError
        If a file is missing, damaged, empty, cut off, or holds colours or complex numbers.
    """
    path = Path(path)
    try:
        data = pair_member(path, ".hdr").read_bytes()
        pixels = pair_member(path, ".img").read_bytes() if is_pair(path) else data
    except OSError as error:
        raise ReadError(f"{path} could not be read: {error.strerror or error}. Check the name.") from error
    return _open(path, data, pixels)


def read_nifti(path: Path) -> tuple[npt.NDArray[np.generic], Affine]:
    """Read a 3-D NIfTI file, as autoseg writes it, in its own order of axes.

    For files of other programs, `autoseg.files.nifti.images.read_nifti_image` finds slices by the affine.

    Returns
    -------
    voxels : (slices, rows, columns) ndarray
        The last axis of the file is the slice. Scaled where the header says so.
    affine : (4, 4) ndarray
        Index (slice, row, column) to mm: x left, y back, z head.

    Raises
    ------
    ReadError
        If the file is damaged, is no NIfTI file, is not 3-D or has no coordinates (sform and qform codes 0).
    """
    return _in_file_order(path, *open_nifti(path))


def write_nifti(path: Path, grid: Image | LabelMap) -> Path:
    """Write a label map (unsigned 8 bit) or an image as NIfTI-1, and read it back before it takes its name.

    Axes are x = column, y = row, z = slice. The sform holds the affine in NIfTI's coordinates (right, front, head),
    and the qform the same, both with the code "scanner". A qform knows no shear: where the axes are not at right
    angles (a tilted gantry) it is left out, its code 0, rather than put the slices into another place; programs
    that are built on ITK (ITK-SNAP, 3D Slicer) refuse such a file. Units are mm; labels have the intent "label".

    Parameters
    ----------
    path : Path
        Ends in .nii or .nii.gz.
    grid : Image or LabelMap
        Calibrated; an image with one channel.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    GeometryError
        If the pixel size is unknown: a NIfTI file without millimetres would lie.
    OutputError
        If the ending is another, the image has several channels or values that do not fit, the file cannot
        be written, or what was written reads back differently.
    """
    path = Path(path)
    affine = grid.calibrated_affine
    if not path.name.endswith((".nii", ".nii.gz")):
        raise OutputError(f"{path}: a NIfTI file's name ends in .nii or .nii.gz.")
    if grid.voxels.ndim != 3:
        raise OutputError(f"{path}: only images with one channel are written; this one has {grid.voxels.shape}.")
    voxels = _storable(grid, path)
    picture = nibabel.nifti1.Nifti1Image(voxels.transpose(2, 1, 0), None)
    picture.header.set_xyzt_units("mm")
    picture.set_sform(LPS_TO_RAS @ affine @ _REVERSED_AXES, code="scanner")
    if _orthogonal(affine):
        picture.set_qform(LPS_TO_RAS @ affine @ _REVERSED_AXES, code="scanner")
    # Without a qform nothing else writes the steps, which some programs take from here.
    picture.header.set_zooms(spacing_from_affine(affine)[::-1])
    if isinstance(grid, LabelMap):
        picture.header.set_intent("label")
    with whole_file(path) as temporary:
        data = picture.to_bytes()
        # Without the time in it, the same labels give the same file.
        temporary.write_bytes(gzip.compress(data, 6, mtime=0) if path.suffix == ".gz" else data)
        written, written_affine = read_nifti(temporary)
        if not np.array_equal(written, voxels, equal_nan=voxels.dtype.kind == "f") or not same_grid(
            (written.shape, written_affine), (grid.shape, affine)
        ):
            raise OutputError(f"{path}: what was written reads back differently; nothing was saved.")
    return path


def _open(path: Path, data: bytes, pixels: bytes) -> tuple[NiftiHeader, ArrayProxy]:
    try:
        data, pixels = (gzip.decompress(part) if part[:2] == b"\x1f\x8b" else part for part in (data, pixels))
        header = parse_header(path, data)
        described = describe(path, header)
        needed = header.get_data_offset() + math.prod(described.shape) * header.get_data_dtype().itemsize
        # Asked before memory is, as a damaged header may promise any number of voxels.
        if len(pixels) < needed:
            raise ReadError(broken(path, f"it is cut off: {len(pixels):,} bytes of {needed:,}"))
        return described, ArrayProxy(BytesIO(pixels), header)
    except DAMAGED as error:
        raise ReadError(broken(path, error)) from error


def _in_file_order(path: Path, header: NiftiHeader, data: ArrayProxy) -> tuple[npt.NDArray[np.generic], Affine]:
    if len(header.shape) != 3:
        raise ReadError(f"{path} has the shape {header.shape}; only files with three axes are read.")
    if not header.is_oriented or header.affine is None:
        raise ReadError(f"{path} does not say where its voxels lie (sform and qform codes are 0). Export it again.")
    voxels = np.asanyarray(data).reshape(header.shape)
    return voxels.transpose(2, 1, 0), check_affine(header.affine @ _REVERSED_AXES)


def _storable(grid: Image | LabelMap, path: Path) -> npt.NDArray[np.generic]:
    """Give the voxels in a type that NIfTI has and readers know."""
    voxels = grid.voxels
    if isinstance(grid, LabelMap) or voxels.dtype == bool:
        return voxels.astype(np.uint8)
    if voxels.dtype.kind == "f":
        return voxels.astype(np.float64 if voxels.dtype.itemsize > 4 else np.float32)
    for kind in (np.uint8, np.int16, np.uint16, np.int32):
        if np.iinfo(kind).min <= voxels.min() and voxels.max() <= np.iinfo(kind).max:
            return voxels.astype(kind)
    raise OutputError(f"{path}: intensities of type {voxels.dtype} up to {voxels.max()} do not fit in 32 bits.")


def _orthogonal(affine: Affine) -> bool:
    """Tell whether a qform, which knows only rotations and zooms, can hold the affine."""
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return bool(np.allclose(directions.T @ directions, np.eye(3), atol=1e-5))
