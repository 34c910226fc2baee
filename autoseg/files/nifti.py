"""NIfTI files: written from and read to voxels (slice, row, column) in DICOM's patient coordinates."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import nibabel
import numpy as np
import numpy.typing as npt
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from autoseg.errors import OutputError, ReadError
from autoseg.files.atomic import whole_file
from autoseg.geometry import LPS_TO_RAS, Affine, check_affine, same_grid
from autoseg.image import Image, LabelMap

# Our index (slice, row, column) from NIfTI's (x = column, y = row, z = slice).
_REVERSED_AXES = np.eye(4)[[2, 1, 0, 3]]


def write_nifti(path: Path, grid: Image | LabelMap) -> Path:
    """Write a label map (unsigned 8 bit) or an image as NIfTI-1, and read it back before it takes its name.

    Axes are x = column, y = row, z = slice, the sform holds the affine in NIfTI's coordinates (right, front,
    head), and the qform the same where the axes are at right angles. Units are mm.

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
    with whole_file(path) as temporary:
        data = picture.to_bytes()
        # Without the time in it, the same labels give the same file.
        temporary.write_bytes(gzip.compress(data, 6, mtime=0) if path.suffix == ".gz" else data)
        written, written_affine = _parse(temporary, temporary.read_bytes())
        if not np.array_equal(written, voxels, equal_nan=voxels.dtype.kind == "f") or not same_grid(
            (written.shape, written_affine), (grid.shape, affine)
        ):
            raise OutputError(f"{path}: what was written reads back differently; nothing was saved.")
    return path


def read_nifti(path: Path) -> tuple[npt.NDArray[np.generic], Affine]:
    """Read a 3-D NIfTI file as voxels (slice, row, column) and an affine in DICOM's patient coordinates.

    NIfTI does not name its slice axis; the last one is taken.

    Returns
    -------
    voxels : (slices, rows, columns) ndarray
        Scaled where the header says so.
    affine : (4, 4) ndarray
        Index (slice, row, column) to mm: x left, y back, z head.

    Raises
    ------
    ReadError
        If the file is damaged, is no NIfTI file, is not 3-D or has no coordinates (sform and qform codes 0).
    """
    path = Path(path)
    try:
        return _parse(path, path.read_bytes())
    except OSError as error:
        raise ReadError(f"{path} could not be read: {error.strerror or error}. Check the name.") from error


def _parse(path: Path, data: bytes) -> tuple[npt.NDArray[np.generic], Affine]:
    try:
        unpacked = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
        picture = nibabel.nifti1.Nifti1Image.from_bytes(unpacked)
        voxels = np.asanyarray(picture.dataobj)
    except (
        ImageFileError,
        HeaderDataError,
        WrapStructError,
        EOFError,
        OSError,
        ValueError,
        zlib.error,
    ) as error:
        raise ReadError(f"{path} is damaged or no NIfTI file ({error}). Export it again.") from error
    if voxels.ndim != 3:
        raise ReadError(f"{path} has the shape {voxels.shape}; only files with three axes are read.")
    if not (picture.header["sform_code"] or picture.header["qform_code"]):
        raise ReadError(f"{path} does not say where its voxels lie (sform and qform codes are 0). Export it again.")
    affine = check_affine(LPS_TO_RAS @ picture.affine @ _REVERSED_AXES)
    return voxels.transpose(2, 1, 0), affine


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
