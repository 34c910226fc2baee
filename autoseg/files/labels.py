"""Read label files: NPY, PNG, TIFF, NIfTI, some JPEGs, contours as text, DICOM segmentations, structure sets.

A file is opened once (`_open`: what is accepted, on the image's axes); then its values are labels
(`read_label_volume`), or it marks structures (`read_marked`, `read_binary_file`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from autoseg.errors import LabelError, ReadError
from autoseg.files.arrays import HALF, is_soft, read_npy, whole_numbers
from autoseg.files.dicom import rtstruct, seg
from autoseg.files.nifti.images import lay_out, onto_image, read_nifti_labels
from autoseg.files.nifti.volumes import NIFTI_ENDINGS
from autoseg.files.pictures.labels import REMEDY, picture_labels, with_labels, without_alpha
from autoseg.files.pictures.pictures import Picture, read_picture
from autoseg.files.pictures.tiff import TIFF_SUFFIXES, read_tiff
from autoseg.files.sources import READABLE, LabelFile, ending
from autoseg.files.text_files import read_contour_file
from autoseg.image.contours import fill_contour
from autoseg.image.geometry import Affine
from autoseg.image.image import Image
from autoseg.image.orientation import Plane
from autoseg.image.structures import Structure

LABEL_SUFFIXES = (".npy", ".png", ".jpg", ".jpeg", *TIFF_SUFFIXES, ".nii", ".nii.gz")

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Settled:
    """What a person said of label files that leave something open.

    `threshold` is the share from which a pixel of a file of probabilities counts as marked; `nearest` gives the
    pixels of a JPEG that are in doubt the value they are most like.
    """

    threshold: float | None = None
    nearest: bool = False


NOTHING_SETTLED = Settled()


def read_label_file(
    path: Path,
    structures: Sequence[Structure] | None = None,
    *,
    values: Mapping[int, int] | None = None,
    slice_axis: Plane | None = None,
    settled: Settled = NOTHING_SETTLED,
) -> npt.NDArray[np.integer]:
    """Read the integers of one label file exactly, or not at all, shape (slices, rows, columns).

    Colour pictures and JPEGs need the structures (which colour is which label, which values there can be). `values`
    says which label a value of the file stands for; several may become one, or 0. Whether every value has a name is
    not asked here: `LabelMap` does.
    """
    return read_label_volume(path, structures=structures, values=values, slice_axis=slice_axis, settled=settled)[0]


def read_label_volume(
    path: Path,
    like: Image | None = None,
    *,
    structures: Sequence[Structure] | None = None,
    values: Mapping[int, int] | None = None,
    slice_axis: Plane | None = None,
    trust_array: bool = False,
    settled: Settled = NOTHING_SETTLED,
) -> tuple[npt.NDArray[np.integer], Affine | None]:
    """Read a label file in the order of axes of its image, and the affine where the file or the image has one.

    A NIfTI file that describes the image's grid with its axes reordered or turned is brought to the image's axes
    exactly; nothing is resampled. `like` is the whole image with the affine of its own file, not with a typed
    spacing. `trust_array` pairs voxels by their place in the two arrays, for files whose coordinates were reset.
    """
    path = Path(path)
    stored = _open(path, like, slice_axis, trust_array)
    if stored.pictures:
        known = tuple(structures or ())
        return picture_labels(
            path, _thresholded(stored, settled), known, values or None, nearest=settled.nearest
        ), None
    voxels = _above(stored.voxels, settled.threshold)
    whole = whole_numbers(path, voxels, within=stored.rounding)
    return with_labels(path, whole, values or None), stored.affine


def _above(voxels: npt.NDArray[Any], threshold: float | None) -> npt.NDArray[Any]:
    """Give what is marked, where shares are to be cut at a threshold; whole numbers stay as they are."""
    return voxels if threshold is None or not is_soft(voxels) else voxels >= threshold


def _thresholded(stored: _Stored, settled: Settled) -> list[Picture]:
    return [replace(picture, pixels=_above(picture.pixels, settled.threshold)) for picture in stored.pictures]


@dataclass(frozen=True, eq=False)
class _Stored:
    """What a label file holds before anything is made of it: numbers (slices, rows, columns), or its pictures.

    Numbers that were stored as multiples of something are whole only within `rounding`.
    """

    voxels: npt.NDArray[Any]
    pictures: tuple[Picture, ...] = ()
    affine: Affine | None = None
    rounding: float = 0.0


def _open(path: Path, like: Image | None, slice_axis: Plane | None, trust_array: bool) -> _Stored:
    """Open a file of any kind; ReadError where it is of none."""
    kind = ending(path)
    if kind in NIFTI_ENDINGS:
        header, voxels = read_nifti_labels(path, like)
        if like is not None:
            voxels = onto_image(path, header, voxels, like, slice_axis=slice_axis, trust_array=trust_array)
            return _Stored(voxels, affine=like.affine, rounding=header.rounding)
        arrangement, affine = lay_out(header, slice_axis)
        return _Stored(np.ascontiguousarray(arrangement.apply(voxels)), affine=affine, rounding=header.rounding)
    if kind not in LABEL_SUFFIXES:
        raise ReadError(f"{path} is no label file that autoseg reads. Use one of {', '.join(LABEL_SUFFIXES)}.")
    if kind == ".npy":
        array = read_npy(path)
        if array.ndim not in (2, 3):
            raise LabelError(
                f"{path} has the shape {array.shape}; labels have (rows, columns) or (slices, rows, columns)."
            )
        return _Stored(array if array.ndim == 3 else array[None])
    return _Stored(np.empty(0), read_tiff(path) if kind in TIFF_SUFFIXES else (read_picture(path),))


# --- files that mark structures: one each, or several with names


def marked_names(file: LabelFile) -> tuple[str, ...]:
    """Give the structures that a binary file is about, also those of which it marks nothing."""
    return (file.token,) if file.token else tuple(region.name for region in _regions(read_drawn_object(file.path)))


@dataclass(frozen=True, eq=False)
class Marked:
    """What a file marks on its image: masks with the structures' names, and sentences on how they were drawn."""

    masks: tuple[tuple[str, Mask], ...]
    notes: tuple[str, ...] = ()


def read_marked(
    file: LabelFile, image: Image, *, trust_array: bool = False, settled: Settled = NOTHING_SETTLED
) -> Marked:
    """Give the structures that a file marks on its image, by their names or by the token of the file's name."""
    if file.path.suffix.lower() == ".txt":
        return Marked(((file.token, fill_contour(read_contour_file(file.path), image.shape[1:])[None]),))
    if ending(file.path) in READABLE:
        mask, _ = read_binary_file(file.path, image, trust_array=trust_array, settled=settled)
        return Marked(((file.token, mask),))
    drawn = read_drawn_object(file.path)
    if isinstance(drawn, seg.Segmentation):
        masks, notes = seg.labels_on(drawn, image)
    else:
        masks, notes = rtstruct.labels_on(drawn, image)
    regions = [region for region in _regions(drawn) if region.number in masks]
    return Marked(tuple((region.name, masks[region.number]) for region in regions), notes)


def read_drawn_object(path: Path) -> seg.Segmentation | rtstruct.StructureSet:
    """Read what was drawn on a DICOM series: a segmentation or a structure set; ReadError where it is neither."""
    try:
        return seg.read_segmentation(path)
    except ReadError:
        return rtstruct.read_structure_set(path)


@dataclass(frozen=True)
class DrawnPlace:
    """Where a contour or a frame was drawn: the instances that it refers to, and a point of it in mm, if any."""

    sop_uids: frozenset[str]
    point_mm: tuple[float, ...] | None


def drawn_places(drawn: seg.Segmentation | rtstruct.StructureSet) -> tuple[DrawnPlace, ...]:
    """Give where each contour of a structure set, or each frame of a segmentation, was drawn."""
    if isinstance(drawn, seg.Segmentation):
        return tuple(
            DrawnPlace(frozenset(uid for uid, _ in frame.sources), frame.position_mm) for frame in drawn.frames
        )
    return tuple(
        DrawnPlace(frozenset(contour.sop_uids), tuple(contour.points_mm.mean(axis=0).tolist()))
        for roi in drawn.rois
        for contour in roi.contours
    )


def _regions(drawn: seg.Segmentation | rtstruct.StructureSet) -> Sequence[seg.Segment | rtstruct.Roi]:
    return drawn.segments if isinstance(drawn, seg.Segmentation) else drawn.rois


def read_binary_file(
    path: Path,
    like: Image | None = None,
    *,
    slice_axis: Plane | None = None,
    trust_array: bool = False,
    settled: Settled = NOTHING_SETTLED,
) -> tuple[Mask, str]:
    """Read which voxels a file marks, shape (slices, rows, columns), and a note where its edges are soft.

    It holds 0 and one other value, or floats from 0 to about 1, of which those of at least 0.5 (or half of the
    maximum, where that is below 1) count, or of the share that is settled.
    """
    path = Path(path)
    stored = _open(path, like, slice_axis, trust_array)
    if not stored.pictures:
        return _marked(path, stored.voxels, settled.threshold)
    if stored.pictures[0].is_jpeg and ending(path) not in TIFF_SUFFIXES:
        white = (Structure(255, "marked", (255, 255, 255)),)
        return picture_labels(path, stored.pictures, white, nearest=settled.nearest) > 0, ""
    return _marked(path, np.stack([_numbers_of(path, picture) for picture in stored.pictures]), settled.threshold)


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


def _marked(path: Path, values: npt.NDArray[Any], threshold: float | None) -> tuple[Mask, str]:
    if values.dtype.kind not in "iufb":
        raise LabelError(f"{path} holds {values.dtype} and no numbers. Save the mask as 0 and 1.")
    broken = int((~np.isfinite(values)).sum()) if values.dtype.kind == "f" else 0
    if broken:
        raise LabelError(f"{path} holds NaN or infinity on {broken} voxels. Save the mask as 0 and 1.")
    levels = np.unique(values[values != 0])
    if len(levels) < 2 and (levels > 0).all():
        return values != 0, ""
    high = float(levels[-1])
    if not is_soft(values):
        shown = ", ".join(f"{level:g}" for level in levels[:8].tolist()) + (", …" if len(levels) > 8 else "")
        raise LabelError(
            f"{path} is to mark one structure, but holds {len(levels)} values beside 0 ({shown}). Give each of "
            "them a name in structures.csv if they are several structures; if they are smoothed edges, save the "
            "mask without smoothing."
        )
    threshold = min(HALF, high / 2) if threshold is None else threshold
    between = int(((values > 0) & (values < 1)).sum())
    note = f"soft edges: voxels of {threshold:.3g} or more count, the highest is {high:.3g}, {between} lie between"
    return values >= threshold, note
