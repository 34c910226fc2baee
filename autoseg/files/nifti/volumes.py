"""NIfTI files: written from and read to voxels (slice, row, column) in DICOM's patient coordinates."""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import nibabel
import numpy as np
import numpy.typing as npt
from nibabel.arrayproxy import ArrayProxy
from nibabel.filebasedimages import ImageFileError
from nibabel.nifti1 import Nifti1Header, Nifti1PairHeader
from nibabel.nifti2 import Nifti2Header, Nifti2PairHeader
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from autoseg.errors import GeometryError, OutputError, ReadError
from autoseg.files.arrays import BLANK, PACKED, ROUNDED, check_claim
from autoseg.files.atomic import whole_file
from autoseg.files.nifti.sizes import Holds, TwoSizes, kept_answer, steps_differ
from autoseg.image.geometry import LPS_TO_RAS, PLAUSIBLE_MM, Affine, check_affine, same_grid, spacing_from_affine
from autoseg.image.image import Image, LabelMap
from autoseg.words import size_words

# --- what a NIfTI file says of its voxels: their shape, and where they lie in the patient

# Bytes of a header of NIfTI-1 and NIfTI-2.
_LENGTHS = (348, 540)
# Code of the unit of length in the header: metre, mm, micrometre; 0 is unknown and taken as mm, as everyone does.
_MM_PER_UNIT = {1: 1000.0, 2: 1.0, 3: 0.001}
# So many bytes behind the last voxel, or as many as before it, may be what another program keeps there.
MOST_BEHIND = 2**26
DIFFERENT = "{}: what was written reads back differently; nothing was saved."
DAMAGED = (
    ImageFileError,
    HeaderDataError,
    WrapStructError,
    LookupError,
    EOFError,
    OSError,
    ValueError,
    OverflowError,
    zlib.error,
)


@dataclass(frozen=True, eq=False)
class NiftiHeader:
    """What a NIfTI file says of its voxels before they are read.

    `shape` is in the file's own order (x, y, z, then time and further axes; at least three, later ones of length 1
    left out), and `affine` takes an index in that order to DICOM patient coordinates in mm, None where even the
    spacing is unknown. Where the file does not say how it lies in the patient (sform and qform unset, or
    impossible) it is not `is_oriented`: left and right are unknown, and the affine holds only the spacing.
    `is_scaled` is True where stored values are multiplied or shifted (scl_slope, scl_inter); whole numbers then
    come
    back with an error of up to `rounding`. `sizes` are the two sizes of a voxel where sform and pixdim contradict
    each
    other, `holds` is which of them a person said to hold; as long as nobody did, `affine` is the sform's. `other`
    is then the affine by the other size.
    """

    shape: tuple[int, ...]
    affine: Affine | None
    is_oriented: bool
    is_scaled: bool
    rounding: float = 0.0
    sizes: TwoSizes | None = None
    holds: Holds | None = None
    other: Affine | None = None

    def refuse_two_sizes(self) -> None:
        """Ask which size of a voxel holds, where nobody has said so."""
        if self.sizes is not None and self.holds is None:
            raise self.sizes.question()


def nifti_header(path: Path) -> NiftiHeader:
    """Read the shape and the place of a NIfTI file's voxels, but not the voxels."""
    path = Path(path)
    return describe(path, parse_header(path, _beginning(path)))


def _beginning(path: Path) -> bytes:
    try:
        with pair_member(path, ".hdr").open("rb") as file:
            return _unpacked(file).read(max(_LENGTHS))
    except FileNotFoundError as error:
        raise ReadError(f"{path} does not exist. Check the name and the folder.") from error
    except DAMAGED as error:
        raise ReadError(broken(path, error)) from error


def _unpacked(file: BinaryIO) -> BinaryIO | gzip.GzipFile:
    """Give what is read from a file as it was before it was packed; its name does not count."""
    is_packed = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    return gzip.GzipFile(fileobj=file) if is_packed else file


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
    affine, is_oriented, other = _places(header, shape)
    sizes = holds = None
    if affine is not None and other is not None:
        sizes = TwoSizes(path, _steps(affine), _steps(other))
        holds = kept_answer(sizes)
        affine, other = (other, affine) if holds == "pixdim" else (affine, other)
    is_scaled = (slope or 1.0, shift or 0.0) != (1.0, 0.0)
    rounding = _rounding(slope or 1.0, stored) if is_scaled else 0.0
    return NiftiHeader(shape, affine, is_oriented, is_scaled, rounding, sizes, holds, other)


def _steps(affine: Affine) -> tuple[float, float, float]:
    x, y, z = spacing_from_affine(affine)
    return x, y, z


def _rounding(slope: float, stored: np.dtype[Any]) -> float:
    """Give how far whole numbers may come back from what was stored: half of a step, where steps are small."""
    # Steps of half a unit and more hide whether the numbers were whole.
    half = abs(slope) / 2 if stored.kind in "iu" and abs(slope) < 0.5 else 0.0
    return max(ROUNDED, 1.001 * half)


def _places(header: Nifti1Header, shape: tuple[int, ...]) -> tuple[Affine | None, bool, Affine | None]:
    """Give the affine to DICOM's coordinates, and whether the file itself says how the voxels lie.

    The last is a second affine, by the pixdim (and the qform, where that is set), if its steps contradict the
    first.
    """
    unit = np.diag([_MM_PER_UNIT.get(int(header["xyzt_units"]) & 7, 1.0)] * 3 + [1.0])
    by_sform, by_qform = (_coded(read, unit) for read in (header.get_sform, header.get_qform))
    steps = np.array(header["pixdim"][1:4], dtype=np.float64)
    # A single slice needs no distance to the next.
    steps[(np.array(shape[:3]) == 1) & (steps == 0)] = 1.0
    # Programs that know no spacing write 1, 1, 1.
    is_told = bool((steps > 0).all() and np.isfinite(steps).all() and not (steps == 1).all())
    if by_sform is not None:
        other = by_qform
        if other is None and is_told:
            directions = by_sform[:3, :3] / np.linalg.norm(by_sform[:3, :3], axis=0)
            matrix = by_sform.copy()
            matrix[:3, :3] = directions * steps * unit[0, 0]
            other = _plausible(matrix)
        differs = other is not None and steps_differ(by_sform, other, shape)
        return by_sform, True, other if differs else None
    if by_qform is not None:
        return by_qform, True, None
    return _plausible(unit @ np.diag([*steps, 1.0])) if is_told else None, False, None


def _coded(
    read: Callable[..., tuple[npt.NDArray[np.float64], int]], unit: npt.NDArray[np.float64]
) -> Affine | None:
    """Give the affine of an sform or a qform; None where its code is 0 or it is impossible."""
    try:
        with np.errstate(all="ignore"):
            matrix, code = read(coded=True)
    except (HeaderDataError, ValueError):
        return None
    return _plausible(unit @ LPS_TO_RAS @ matrix) if code else None


def _plausible(matrix: npt.NDArray[np.float64]) -> Affine | None:
    """Give the affine, or None if it is singular or its steps cannot be millimetres of a person."""
    try:
        affine = check_affine(matrix)
    except GeometryError:
        return None
    steps = spacing_from_affine(affine)
    low, high = PLAUSIBLE_MM
    return affine if low <= min(steps) and max(steps) <= high else None


NIFTI_ENDINGS = (".nii", ".nii.gz", ".hdr", ".img")

# Our index (slice, row, column) from NIfTI's (x = column, y = row, z = slice).
_REVERSED_AXES = np.eye(4)[[2, 1, 0, 3]]


def open_nifti(path: Path, *, is_image: bool = False) -> tuple[NiftiHeader, ArrayProxy]:
    """Read a NIfTI file (.nii, .nii.gz, or a pair .hdr and .img), its values still as they are stored.

    An `is_image` is refused where it is large and can only be blank; labels may be.
    """
    path = Path(path)
    header = parse_header(path, _beginning(path))
    described = describe(path, header)
    try:
        pixels = _read_voxels(path, header, described, is_image=is_image)
        return described, ArrayProxy(BytesIO(pixels), header)
    except DAMAGED as error:
        # What a damaged file makes of gzip has no number of the system's.
        if isinstance(error, OSError) and error.strerror:
            raise ReadError(f"{path} could not be read: {error.strerror}. Check the name.") from error
        raise ReadError(broken(path, error)) from error


def read_nifti(path: Path) -> tuple[npt.NDArray[np.generic], Affine]:
    """Read a 3-D NIfTI file, as autoseg writes it: voxels (slice, row, column), the file's last axis first.

    The affine takes that index to mm, x left, y back, z head (DICOM's coordinates, not NIfTI's).
    For files of other programs, `autoseg.files.nifti.images.read_nifti_image` finds slices by the affine.
    """
    header, data = open_nifti(path)
    header.refuse_two_sizes()
    if not header.is_oriented or header.affine is None:
        raise ReadError(f"{path} does not say where its voxels lie (sform and qform codes are 0). Export it again.")
    return _in_file_order(path, header, data), check_affine(header.affine @ _REVERSED_AXES)


def read_voxels(path: Path) -> npt.NDArray[np.generic]:
    """Read the voxels of a 3-D NIfTI file as `read_nifti` does, wherever they lie."""
    return _in_file_order(path, *open_nifti(path))


def write_nifti(path: Path, grid: Image | LabelMap, *, description: str = "", may_lack_mm: bool = False) -> Path:
    """Write a label map (unsigned 8 bit) or an image as NIfTI-1, and read it back before it takes its name.

    Axes are x = column, y = row, z = slice. The sform holds the affine in NIfTI's coordinates (right, front, head),
    and the qform the same, both with the code "scanner". A qform knows no shear: where the axes are not at right
    angles (a tilted gantry) it is left out, its code 0, rather than put the slices into another place; programs
    that are built on ITK (ITK-SNAP, 3D Slicer) refuse such a file. Units are mm; labels have the intent "label".
    Of the `description` the header holds 79 letters. A grid that `may_lack_mm` is written without a place where it
    lacks them (both codes 0, the unit unknown), and is read back without millimetres.
    """
    path = Path(path)
    affine = grid.affine if may_lack_mm else grid.calibrated_affine
    if not path.name.endswith((".nii", ".nii.gz")):
        raise OutputError(f"{path}: a NIfTI file's name ends in .nii or .nii.gz.")
    if grid.voxels.ndim != 3:
        raise OutputError(f"{path}: only images with one channel are written; this one has {grid.voxels.shape}.")
    voxels = _storable(grid, path)
    data = _as_file(grid, voxels, description)
    level = 6 if isinstance(grid, LabelMap) else 1  # noise packs little smaller with more effort
    with whole_file(path) as temporary:
        # Without the time in it, the same labels give the same file.
        temporary.write_bytes(gzip.compress(data, level, mtime=0) if path.suffix == ".gz" else data)
        header, stored = open_nifti(temporary)
        written = _in_file_order(temporary, header, stored)
        written_affine = None if header.affine is None else header.affine @ _REVERSED_AXES
        if not np.array_equal(written, voxels, equal_nan=voxels.dtype.kind == "f") or not same_grid(
            (written.shape, written_affine), (grid.shape, affine)
        ):
            raise OutputError(DIFFERENT.format(path))
    return path


class PackedLabels:
    """Labels that are written as .nii.gz again and again while slices change, each time in the time of those.

    Each slice is packed by itself; one behind the other they are one packed file (RFC 1952, section 2.2), as every
    program that reads .nii.gz takes it. `update` gives it the slices that have changed.
    """

    def __init__(self, labels: LabelMap) -> None:
        data = _as_file(labels, np.zeros(labels.shape, np.uint8), "")
        size = math.prod(labels.shape)
        self._parts = [_packed(data[:-size]), *(_packed(_bytes_of(slice_)) for slice_ in labels.voxels)]

    def update(self, index: int, labels: npt.NDArray[np.integer]) -> None:
        """Take a slice, counted from 0, as it is now."""
        self._parts[1 + index] = _packed(_bytes_of(labels))

    def write(self, path: Path) -> None:
        """Write all slices; what lies on the disk is compared before it takes its name."""
        data = b"".join(self._parts)
        with whole_file(path) as temporary:
            temporary.write_bytes(data)
            if temporary.read_bytes() != data:
                raise OutputError(DIFFERENT.format(path))


def _bytes_of(labels: npt.NDArray[np.integer]) -> bytes:
    return labels.astype(np.uint8).tobytes()


def _packed(data: bytes) -> bytes:
    packed = gzip.compress(data, 6, mtime=0)
    if gzip.decompress(packed) != data:
        raise OutputError("A slice could not be packed. Restart the computer and look whether its memory is sound.")
    return packed


def _as_file(grid: Image | LabelMap, voxels: npt.NDArray[np.generic], description: str) -> bytes:
    """Give header and voxels as they stand in a file that is not packed."""
    affine = grid.affine
    picture = nibabel.nifti1.Nifti1Image(voxels.transpose(2, 1, 0), None)
    if affine is not None:
        picture.header.set_xyzt_units("mm")
        picture.set_sform(LPS_TO_RAS @ affine @ _REVERSED_AXES, code="scanner")
        if _orthogonal(affine):
            picture.set_qform(LPS_TO_RAS @ affine @ _REVERSED_AXES, code="scanner")
        # Without a qform nothing else writes the steps, which some programs take from here.
        picture.header.set_zooms(spacing_from_affine(affine)[::-1])
    if isinstance(grid, LabelMap):
        picture.header.set_intent("label")
    picture.header["descrip"] = description.encode("ascii", "replace")[:79]
    return bytes(picture.to_bytes())


def _read_voxels(path: Path, header: Nifti1Header, described: NiftiHeader, *, is_image: bool) -> bytes:
    """Read the file to the last of its voxels, and no further than tells that it is whole."""
    needed = header.get_data_offset() + math.prod(described.shape) * header.get_data_dtype().itemsize
    place = pair_member(path, ".img")
    with place.open("rb") as file:
        unpacked, stored = _unpacked(file), place.stat().st_size
        is_packed = unpacked is not file
        what = f"{' × '.join(map(str, described.shape))} voxels"
        what += f" behind byte {header.get_data_offset():,}" if header.get_data_offset() > 2**20 else ""
        if is_packed or needed <= stored:
            most, blank = PACKED if is_packed else 1, BLANK if is_image else math.inf
            check_claim(path, needed, what, stored=stored, most=most, blank=blank)
            stored = len(pixels := unpacked.read(needed))
        if stored < needed:
            raise ReadError(broken(path, f"it is cut off: {stored:,} bytes of {needed:,}"))
        # The sum that tells damage stands behind the last byte, of which a hostile file has gigabytes.
        behind = 0
        while is_packed and (more := len(unpacked.read(2**20))):
            behind += more
            if behind > max(needed, MOST_BEHIND):
                raise ReadError(
                    broken(path, f"behind its {what} more than {size_words(behind)} follow that belong to none")
                )
    return pixels


def _in_file_order(path: Path, header: NiftiHeader, data: ArrayProxy) -> npt.NDArray[np.generic]:
    if len(header.shape) != 3:
        raise ReadError(f"{path} has the shape {header.shape}; only files with three axes are read.")
    voxels: npt.NDArray[np.generic] = np.asanyarray(data).reshape(header.shape)
    return voxels.transpose(2, 1, 0)


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
