"""What a NIfTI file says of its voxels: their shape, and where they lie in the patient."""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from nibabel.filebasedimages import ImageFileError
from nibabel.nifti1 import Nifti1Header, Nifti1PairHeader
from nibabel.nifti2 import Nifti2Header, Nifti2PairHeader
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from autoseg.errors import GeometryError, ReadError
from autoseg.image.geometry import LPS_TO_RAS, Affine, check_affine, spacing_from_affine

# Bytes of a header of NIfTI-1 and NIfTI-2.
_LENGTHS = (348, 540)
# Code of the unit of length in the header: metre, mm, micrometre; 0 is unknown and taken as mm, as everyone does.
_MM_PER_UNIT = {1: 1000.0, 2: 1.0, 3: 0.001}
# Steps outside are no millimetres of a person.
_PLAUSIBLE_MM = (0.001, 200.0)
DAMAGED = (
    ImageFileError,
    HeaderDataError,
    WrapStructError,
    LookupError,
    EOFError,
    OSError,
    ValueError,
    zlib.error,
)


@dataclass(frozen=True, eq=False)
class NiftiHeader:
    """What a NIfTI file says of its voxels before they are read.

    Parameters
    ----------
    shape : tuple of int
        In the file's own order (x, y, z, then time and further axes); at least three, later ones of length 1 left
        out.
    affine : (4, 4) ndarray or None
        The file's own index (x, y, z) to DICOM patient coordinates in mm. None where even the spacing is unknown.
    is_oriented : bool
        False where the file does not say how it lies in the patient (sform and qform unset, or impossible):
        left and right are then unknown, and the affine holds only the spacing.
    is_scaled : bool
        True where stored values are multiplied or shifted (scl_slope, scl_inter).
    """

    shape: tuple[int, ...]
    affine: Affine | None
    is_oriented: bool
    is_scaled: bool


def nifti_header(path: Path) -> NiftiHeader:
    """Read the shape and the place of a NIfTI file's voxels, but not the voxels.

    Raises
    ------
    ReadError
        If the file is missing, damaged, empty or no NIfTI file.
    """
    path = Path(path)
    try:
        with pair_member(path, ".hdr").open("rb") as file:
            data = file.read(max(_LENGTHS))
            if data[:2] == b"\x1f\x8b":
                file.seek(0)
                with gzip.open(file) as unpacked:
                    data = unpacked.read(max(_LENGTHS))
    except FileNotFoundError as error:
        raise ReadError(f"{path} does not exist. Check the name and the folder.") from error
    except DAMAGED as error:
        raise ReadError(broken(path, error)) from error
    return describe(path, parse_header(path, data))


def is_pair(path: Path) -> bool:
    """Tell whether header and voxels lie in two files, .hdr and .img."""
    return path.suffix.lower() in (".hdr", ".img")


def pair_member(path: Path, suffix: str) -> Path:
    """Give the file of a pair with this ending, or the path itself where one file holds everything."""
    if not is_pair(path) or path.suffix.lower() == suffix:
        return path
    return path.with_suffix(suffix.upper() if path.suffix.isupper() else suffix)


def broken(path: Path, reason: object) -> str:
    """Give the words for a file that cannot be read."""
    return f"{path} is damaged or no NIfTI file ({reason}). Export it again."


def parse_header(path: Path, data: bytes) -> Nifti1Header:
    """Give the header that a file begins with; ReadError if it is none."""
    # A header says its own length first, in either byte order.
    length = next((n for n in _LENGTHS if n in {int.from_bytes(data[:4], o) for o in ("little", "big")}), 0)
    if not length:
        raise ReadError(broken(path, "it does not begin like one"))
    kinds = {
        348: (Nifti1Header, Nifti1PairHeader),
        540: (Nifti2Header, Nifti2PairHeader),
    }
    try:
        # Unchecked, as nibabel would put 1 mm where the file has none.
        header = kinds[length][is_pair(path)](data[:length], check=False)
    except DAMAGED as error:
        raise ReadError(broken(path, error)) from error
    if bytes(header["magic"])[:2] not in (b"n+", b"ni"):
        raise ReadError(broken(path, "it lacks the mark of one"))
    if not is_pair(path) and not header["vox_offset"] >= length:
        raise ReadError(broken(path, f"its voxels begin at byte {header['vox_offset']}"))
    if header["pixdim"][0] not in (1, -1):
        header["pixdim"][0] = 1
    return header


def describe(path: Path, header: Nifti1Header) -> NiftiHeader:
    """Say what a header means; ReadError if there is no voxel, or a voxel is no number."""
    try:
        shape = tuple(int(n) for n in header.get_data_shape())
        slope, shift = header.get_slope_inter()
        stored = header.get_data_dtype()
    except DAMAGED as error:
        raise ReadError(broken(path, error)) from error
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    shape = shape + (1,) * (3 - len(shape))
    if min(shape) < 1:
        raise ReadError(f"{path} is empty: its shape is {shape}. Export it again.")
    if stored.kind not in "iufb":
        raise ReadError(
            f"{path} holds colours or complex numbers ({stored}) and not one number a voxel. "
            "Export it as magnitude or in grey."
        )
    affine, is_oriented = _place(header, shape)
    return NiftiHeader(shape, affine, is_oriented, (slope or 1.0, shift or 0.0) != (1.0, 0.0))


def _place(header: Nifti1Header, shape: tuple[int, ...]) -> tuple[Affine | None, bool]:
    """Give the affine to DICOM's coordinates, and whether the file itself says how the voxels lie."""
    unit = np.diag([_MM_PER_UNIT.get(int(header["xyzt_units"]) & 7, 1.0)] * 3 + [1.0])
    for read in (header.get_sform, header.get_qform):
        try:
            matrix, code = read(coded=True)
        except (HeaderDataError, ValueError):
            continue
        if code and (affine := _plausible(unit @ LPS_TO_RAS @ matrix)) is not None:
            return affine, True
    steps = np.array(header["pixdim"][1:4], dtype=np.float64)
    # A single slice needs no distance to the next.
    steps[(np.array(shape[:3]) == 1) & (steps == 0)] = 1.0
    # Programs that know no spacing write 1, 1, 1.
    if not (steps > 0).all() or (steps == 1).all():
        return None, False
    return _plausible(unit @ np.diag([*steps, 1.0])), False


def _plausible(matrix: npt.NDArray[np.float64]) -> Affine | None:
    """Give the affine, or None if it is singular or its steps cannot be millimetres of a person."""
    try:
        affine = check_affine(matrix)
    except GeometryError:
        return None
    steps = spacing_from_affine(affine)
    low, high = _PLAUSIBLE_MM
    return affine if low <= min(steps) and max(steps) <= high else None
