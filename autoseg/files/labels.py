"""Read label files: NPY, PNG, TIFF, NIfTI, and those JPEGs whose every pixel can be given back its label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from autoseg.errors import LabelError, ReadError
from autoseg.files.arrays import read_npy, whole_numbers
from autoseg.files.nifti.images import lay_out
from autoseg.files.nifti.labels import onto_image, read_nifti_labels
from autoseg.files.nifti.volumes import NIFTI_ENDINGS
from autoseg.files.pictures.labels import REMEDY, read_picture_labels, with_labels, without_alpha
from autoseg.files.pictures.pictures import Picture, read_picture
from autoseg.files.pictures.tiff import TIFF_SUFFIXES, read_tiff
from autoseg.files.sources import ending
from autoseg.image.geometry import Affine
from autoseg.image.image import Image
from autoseg.image.orientation import Plane
from autoseg.image.structures import Structure

LABEL_SUFFIXES = (".npy", ".png", ".jpg", ".jpeg", *TIFF_SUFFIXES, ".nii", ".nii.gz")


def read_label_file(
    path: Path,
    structures: Sequence[Structure] | None = None,
    *,
    values: Mapping[int, int] | None = None,
    slice_axis: Plane | None = None,
) -> npt.NDArray[np.integer]:
    """Read the integers of one label file exactly, or not at all.

    Whether every value has a name is not asked here: `LabelMap` does.
    """
    return _read(Path(path), tuple(structures or ()), values or None, slice_axis)[0]


def read_label_volume(
    path: Path,
    like: Image | None = None,
    *,
    structures: Sequence[Structure] | None = None,
    values: Mapping[int, int] | None = None,
    slice_axis: Plane | None = None,
    trust_array: bool = False,
) -> tuple[npt.NDArray[np.integer], Affine | None]:
    """Read a label file in the order of axes of its image.

    A NIfTI file that describes the image's grid with its axes reordered or turned is brought to the image's axes
    exactly; nothing is resampled.
    """
    path, known = Path(path), tuple(structures or ())
    if like is None or ending(path) not in NIFTI_ENDINGS:
        return _read(path, known, values or None, slice_axis)
    header, voxels = read_nifti_labels(path)
    voxels = onto_image(path, header, voxels, like, slice_axis=slice_axis, trust_array=trust_array)
    return with_labels(path, whole_numbers(path, voxels, rounded=header.is_scaled), values or None), like.affine


def _read(
    path: Path, structures: tuple[Structure, ...], values: Mapping[int, int] | None, slice_axis: Plane | None
) -> tuple[npt.NDArray[np.integer], Affine | None]:
    kind = ending(path)
    if kind not in LABEL_SUFFIXES and kind not in NIFTI_ENDINGS:
        raise ReadError(f"{path} is no label file that autoseg reads. Use one of {', '.join(LABEL_SUFFIXES)}.")
    if kind in NIFTI_ENDINGS:
        header, voxels = read_nifti_labels(path)
        arrangement, affine = lay_out(header, slice_axis)
        whole = whole_numbers(path, np.ascontiguousarray(arrangement.apply(voxels)), rounded=header.is_scaled)
        return with_labels(path, whole, values), affine
    if kind != ".npy":
        return read_picture_labels(path, structures, values), None
    array = read_npy(path)
    if array.ndim not in (2, 3):
        raise LabelError(
            f"{path} has the shape {array.shape}; labels have (rows, columns) or (slices, rows, columns)."
        )
    voxels = with_labels(path, whole_numbers(path, array), values)
    return (voxels[None] if voxels.ndim == 2 else voxels), None


# --- read files that mark one structure: whatever their value for it, and whether their edges are soft

# Interpolation swings past 0 and 1 at edges.
SOFT_RANGE = (-0.5, 1.5)


def read_binary_file(
    path: Path, like: Image | None = None, *, slice_axis: Plane | None = None, trust_array: bool = False
) -> tuple[npt.NDArray[np.bool_], str]:
    """Read which voxels a file marks."""
    path = Path(path)
    kind = ending(path)
    if kind in NIFTI_ENDINGS:
        header, array = read_nifti_labels(path)
        if like is None:
            array = np.ascontiguousarray(lay_out(header, slice_axis)[0].apply(array))
        else:
            array = onto_image(path, header, array, like, slice_axis=slice_axis, trust_array=trust_array)
        return _marked(path, array)
    if kind == ".npy":
        array = read_npy(path)
        if array.ndim not in (2, 3):
            raise LabelError(
                f"{path} has the shape {array.shape}; masks have (rows, columns), with slices in front."
            )
        return _marked(path, array if array.ndim == 3 else array[None])
    if kind in TIFF_SUFFIXES:
        return _marked(path, np.stack([_numbers_of(path, picture) for picture in read_tiff(path)]))
    picture = read_picture(path)
    if picture.is_jpeg:
        return read_label_file(path, (Structure(255, "marked", (255, 255, 255)),)) > 0, ""
    return _marked(path, _numbers_of(path, picture)[None])


def _numbers_of(path: Path, picture: Picture) -> npt.NDArray[Any]:
    """Give one number a pixel: grey values, indices, or a number for each colour, black being 0."""
    if picture.is_jpeg:
        raise LabelError(f"{path} is a TIFF compressed as JPEG, which blurs values. {REMEDY}")
    if picture.pixels.ndim == 2:
        return picture.pixels
    pixels = whole_numbers(path, picture.pixels)
    if picture.has_alpha:
        pixels = without_alpha(path, pixels)
    _, number = np.unique(pixels.reshape(-1, pixels.shape[-1]), axis=0, return_inverse=True)
    return np.where(pixels.any(axis=-1), number.reshape(pixels.shape[:-1]) + 1, 0)


def _marked(path: Path, values: npt.NDArray[Any]) -> tuple[npt.NDArray[np.bool_], str]:
    if values.dtype.kind not in "iufb":
        raise LabelError(f"{path} holds {values.dtype} and no numbers. Save the mask as 0 and 1.")
    broken = int((~np.isfinite(values)).sum()) if values.dtype.kind == "f" else 0
    if broken:
        raise LabelError(f"{path} holds NaN or infinity on {broken} voxels. Save the mask as 0 and 1.")
    levels = np.unique(values[values != 0])
    if len(levels) < 2 and (levels > 0).all():
        return values != 0, ""
    low, high = float(levels[0]), float(levels[-1])
    is_soft = values.dtype.kind == "f" and SOFT_RANGE[0] <= low and 0 < high <= SOFT_RANGE[1]
    if not is_soft:
        shown = ", ".join(f"{level:g}" for level in levels[:8].tolist()) + (", …" if len(levels) > 8 else "")
        raise LabelError(
            f"{path} is to mark one structure, but holds {len(levels)} values beside 0 ({shown}). Give each of "
            "them a name in structures.csv if they are several structures; if they are smoothed edges, save the "
            "mask without smoothing."
        )
    threshold = min(0.5, high / 2)
    between = int(((values > 0) & (values < 1)).sum())
    note = f"soft edges: voxels of {threshold:.3g} or more count, the highest is {high:.3g}, {between} lie between"
    return values >= threshold, note
