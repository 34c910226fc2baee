"""NIfTI files as images and as labels, in any orientation, with or without time points."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from nibabel.arrayproxy import ArrayProxy

from autoseg.errors import LabelError, ReadError
from autoseg.files.nifti.volumes import NIFTI_ENDINGS, NiftiHeader, nifti_header, open_nifti
from autoseg.files.sources import ending, name_without_ending
from autoseg.image.geometry import Affine, spacing_from_affine
from autoseg.image.image import Image, SliceSource, Source
from autoseg.image.orientation import Arrangement, Plane, arrangement_for, arrangement_onto, plane_of


def read_nifti_image(
    path: Path, *, slice_axis: Plane | None = None, time_point: int | None = None, channels_last: bool = False
) -> tuple[Image, ...]:
    """Read a NIfTI file as images whose slices lie as radiologists look at them.

    Axes are found by the affine, reordered and turned; every voxel keeps its value and its place in the patient,
    so areas are the file's. Where the file does not say how it lies (`nifti_header(path).is_oriented` is False),
    nothing is turned round, and left and right are unknown. By default slices lie across the axis whose steps are
    clearly longest (1.5 times), else they are axial.

    A file with four axes gives an image a time point (from 0; `_t01` and on), unless its fourth axis holds
    channels. Stored integers stay as they are, scaled ones become float32 (float64 where they have more than 16
    bits). A slice's `frame` is its number from 0 along the file's own axis (added to time point × slices),
    whichever way that axis runs.
    """
    path = Path(path)
    header, data = open_nifti(path, is_image=True)
    header.refuse_two_sizes()
    points = _time_points(path, header, time_point, channels_last)
    arrangement, affine = lay_out(header, slice_axis)
    images = []
    for point in points:
        voxels = arrangement.apply(read_values(header, data, point))
        if voxels.ndim == 4:
            voxels = np.moveaxis(voxels, -1, 0)
        count = voxels.shape[0] if voxels.ndim == 4 else 1
        images.append(
            Image(
                voxels=np.ascontiguousarray(voxels),
                affine=affine,
                channels=("image",) if count == 1 else tuple(f"channel {n}" for n in range(1, count + 1)),
                source=_source(path, header, arrangement, point),
            )
        )
    return tuple(images)


def lay_out(header: NiftiHeader, plane: Plane | None = None) -> tuple[Arrangement, Affine | None]:
    """Give how a file's axes become (slice, row, column), and the affine that they then have."""
    shape = header.shape[:3]
    arrangement = arrangement_for(np.eye(4) if header.affine is None else header.affine, shape, plane)
    if not header.is_oriented:
        # Nothing says which end is up, so nothing is turned round.
        arrangement = replace(arrangement, flipped=(False, False, False))
    return arrangement, None if header.affine is None else arrangement.affine(header.affine, shape)


def read_values(header: NiftiHeader, data: ArrayProxy, time_point: int | None = None) -> npt.NDArray[np.generic]:
    """Give the values in the file's own order (x, y, z) or (x, y, z, channels), of types that all programs know."""
    with np.errstate(all="ignore"):
        if time_point is None or len(header.shape) < 4:
            channels = header.shape[3:] if len(header.shape) < 5 else header.shape[4:]
            values = np.asanyarray(data).reshape(header.shape[:3] + channels)
        else:
            later = (time_point,) + (0,) * (data.ndim - 4)
            values = np.asanyarray(data[(slice(None),) * 3 + later])
        kind = values.dtype.newbyteorder("=")
        if kind.kind == "f" and header.is_scaled and data.dtype.itemsize <= 2:
            kind = np.dtype(np.float32)
        elif kind.kind == "f" and kind.itemsize > 8:
            kind = np.dtype(np.float64)
        return values.astype(kind, copy=False)


def _time_points(path: Path, header: NiftiHeader, wanted: int | None, channels_last: bool) -> list[int | None]:
    """Give the time points to read; None where the file is read as a whole."""
    shape = header.shape
    if len(shape) == 5 and channels_last and shape[3] == 1:
        return [None]
    if len(shape) > 4:
        raise ReadError(
            f"{path} has the shape {shape}: it holds several numbers a voxel (vectors, a deformation field) and is "
            "no image. Choose the image that it was made from."
        )
    if channels_last or len(shape) == 3:
        if wanted not in (None, 0):
            raise ReadError(f"{path} has no time point {wanted + 1}: its shape is {shape}.")
        return [None]
    if wanted is None:
        return list(range(shape[3]))
    if not 0 <= wanted < shape[3]:
        raise ReadError(f"{path} has {shape[3]} time points and none of number {wanted + 1}.")
    return [wanted]


def _source(path: Path, header: NiftiHeader, arrangement: Arrangement, point: int | None) -> Source:
    name = name_without_ending(path)
    count = header.shape[arrangement.axes[0]]
    if point is not None:
        name += f"_t{point + 1:0{max(2, len(str(header.shape[3])))}d}"
    numbers = reversed(range(count)) if arrangement.flipped[0] else range(count)
    return Source(
        case_id=name,
        spacing_source="none" if header.affine is None else "header",
        slice_spacing_source="none" if header.affine is None else "header",
        is_placed=header.is_oriented,
        slices=tuple(SliceSource(path, (point or 0) * count + number) for number in numbers),
        notes=_size_notes(header),
    )


def _size_notes(header: NiftiHeader) -> tuple[str, ...]:
    if header.sizes is None:
        return ()
    return (f"Its header gives two sizes of a voxel, {header.sizes.words}; {header.holds} was said to hold.",)


# --- labels: brought to their image's axes, or why they do not belong there


def read_nifti_labels(path: Path, like: Image | None = None) -> tuple[NiftiHeader, npt.NDArray[np.generic]]:
    """Read what a label file holds, whole numbers or not, in the file's own order (x, y, z).

    Where the image is known, one of another number of voxels is refused by its header.
    """
    header = nifti_header(path)
    if len(header.shape) > 3:
        raise LabelError(
            f"{path} has the shape {header.shape}, but labels have three axes. Save one file for each time point "
            "or structure."
        )
    if like is not None and math.prod(header.shape) != math.prod(like.shape):
        raise LabelError(_other_grid(path, header, like))
    return header, read_values(header, open_nifti(path)[1])


def onto_image(
    path: Path,
    header: NiftiHeader,
    array: npt.NDArray[np.generic],
    like: Image,
    *,
    slice_axis: Plane | None = None,
    trust_array: bool = False,
) -> npt.NDArray[np.generic]:
    """Give a NIfTI file's array in the order of axes of its image, shape (slices, rows, columns)."""
    found = _arrangement(header, like, slice_axis, trust_array)
    if found is None or found.shape(array.shape) != like.shape:
        raise LabelError(_other_grid(path, header, like))
    return np.ascontiguousarray(found.apply(array))


def _arrangement(
    header: NiftiHeader, like: Image, slice_axis: Plane | None, trust_array: bool
) -> Arrangement | None:
    """Find how the file's axes become the image's; None if nothing says so."""
    image = _header_of(like)
    is_image_oriented = like.affine is not None and (image is None or image.is_oriented)
    if not trust_array and (header.is_oriented or is_image_oriented):
        if not (header.is_oriented and is_image_oriented) or header.affine is None or like.affine is None:
            return None
        return onto_grid(header, like.affine, like.shape)
    # By place in the array: as the image's own file was turned, or where that is no NIfTI, each as it lies.
    if image is not None and image.shape[:3] == header.shape:
        if image.affine is None or like.affine is None:
            return lay_out(image, slice_axis)[0]
        return arrangement_onto(image.affine, header.shape, like.affine, like.shape)
    return lay_out(header, slice_axis if like.affine is None else plane_of(like.affine))[0]


def onto_grid(header: NiftiHeader, affine: Affine, shape: tuple[int, ...]) -> Arrangement | None:
    """Find how a label file lies on its image; where its header gives two sizes, by the one that fits the image."""
    candidates = [own for own in (header.affine, header.other) if own is not None]
    return next(filter(None, (arrangement_onto(own, header.shape, affine, shape) for own in candidates)), None)


def _header_of(image: Image) -> NiftiHeader | None:
    """Read the header of an image's own file, if that is a NIfTI file."""
    path = image.source.slices[0].path if image.source.slices else Path()
    return nifti_header(path) if ending(path) in NIFTI_ENDINGS else None


def _other_grid(path: Path, header: NiftiHeader, like: Image) -> str:
    arrangement, affine = lay_out(header, None if like.affine is None else plane_of(like.affine))
    shape = arrangement.shape(header.shape)
    text = (
        f"{path} lies on another grid than its image {like.source.name}: "
        f"{_in_words(shape, affine if header.is_oriented else None)}, but the image has "
        f"{_in_words(like.shape, like.affine)}. Draw or save the label on the image's own grid; autoseg does not "
        "stretch labels."
    )
    if sorted(shape) == sorted(like.shape):
        text += (
            " If both hold the same voxels in the same order and only the coordinates were lost or reset, say "
            "so: under 'How to read the files' in the notebook, with --trust-array on the command line."
        )
    return text


def _in_words(shape: tuple[int, ...], affine: Affine | None) -> str:
    size = f"shape {shape} (slices, rows, columns)"
    if affine is None:
        return f"{size} without coordinates"
    spacing = " × ".join(f"{step:.4g}" for step in spacing_from_affine(affine))
    first = ", ".join(f"{value:.1f}" for value in affine[:3, 3])
    return f"{size}, {spacing} mm, first voxel at ({first}) mm"
