"""Read files that mark one structure: whatever their value for it, and whether their edges are soft."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from autoseg.errors import LabelError
from autoseg.files.arrays import read_npy, whole_numbers
from autoseg.files.labels import read_label_file
from autoseg.files.nifti.images import lay_out
from autoseg.files.nifti.labels import onto_image, read_nifti_labels
from autoseg.files.nifti.volumes import NIFTI_ENDINGS
from autoseg.files.pictures.labels import REMEDY, without_alpha
from autoseg.files.pictures.pictures import Picture, read_picture
from autoseg.files.pictures.tiff import TIFF_SUFFIXES, read_tiff
from autoseg.files.sources import ending
from autoseg.image.image import Image
from autoseg.image.orientation import Plane
from autoseg.image.structures import Structure

# Interpolation swings past 0 and 1 at edges.
SOFT_RANGE = (-0.5, 1.5)


def read_binary_file(
    path: Path, like: Image | None = None, *, slice_axis: Plane | None = None, trust_array: bool = False
) -> tuple[npt.NDArray[np.bool_], str]:
    """Read which voxels a file marks.

    Parameters
    ----------
    path : Path
        As `autoseg.files.labels.read_label_file`, with 0 and one other value (1, 255, any colour), or with soft
        edges: floats from 0 to about 1, of which those of 0.5 and more count (of half the maximum, where that
        is below 1).
    like, slice_axis, trust_array
        As `autoseg.files.labels.read_label_volume`.

    Returns
    -------
    (slices, rows, columns) ndarray of bool
    str
        What a user should know of the reading (soft edges), or nothing.

    Raises
    ------
    ReadError
        If the file is missing, damaged, empty, or of another kind than its name says.
    LabelError
        If it holds more than one value beside 0, NaN or infinity, or lies on another grid than the image.
    """
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
