"""Bring the labels of a NIfTI file to their image's axes, or say why they do not belong there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from autoseg.errors import LabelError
from autoseg.files.nifti.images import lay_out, read_values
from autoseg.files.nifti.volumes import NIFTI_ENDINGS, NiftiHeader, nifti_header, open_nifti
from autoseg.files.sources import ending
from autoseg.image.geometry import Affine, spacing_from_affine
from autoseg.image.image import Image
from autoseg.image.orientation import Arrangement, Plane, arrangement_onto, plane_of

Array = npt.NDArray[np.generic]


def read_nifti_labels(path: Path) -> tuple[NiftiHeader, Array]:
    """Read what a label file holds, whole numbers or not, in the file's own order (x, y, z)."""
    header, data = open_nifti(path)
    if len(header.shape) > 3:
        raise LabelError(
            f"{path} has the shape {header.shape}, but labels have three axes. Save one file for each time point "
            "or structure."
        )
    return header, read_values(header, data)


def onto_image(
    path: Path,
    header: NiftiHeader,
    array: Array,
    like: Image,
    *,
    slice_axis: Plane | None = None,
    trust_array: bool = False,
) -> Array:
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
        return arrangement_onto(header.affine, header.shape, like.affine, like.shape)
    # By place in the array: as the image's own file was turned, or where that is no NIfTI, each as it lies.
    if image is not None and image.shape[:3] == header.shape:
        if image.affine is None or like.affine is None:
            return lay_out(image, slice_axis)[0]
        return arrangement_onto(image.affine, header.shape, like.affine, like.shape)
    return lay_out(header, slice_axis if like.affine is None else plane_of(like.affine))[0]


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
            " If both hold the same voxels in the same order and only the coordinates were lost or reset, pair "
            "them by their arrays (trust_array=True)."
        )
    return text


def _in_words(shape: tuple[int, ...], affine: Affine | None) -> str:
    size = f"shape {shape} (slices, rows, columns)"
    if affine is None:
        return f"{size} without coordinates"
    spacing = " × ".join(f"{step:.4g}" for step in spacing_from_affine(affine))
    first = ", ".join(f"{value:.1f}" for value in affine[:3, 3])
    return f"{size}, {spacing} mm, first voxel at ({first}) mm"
