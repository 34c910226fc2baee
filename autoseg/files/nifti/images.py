"""Images from NIfTI files, in any orientation, with or without time points."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from nibabel.arrayproxy import ArrayProxy

from autoseg.errors import ReadError
from autoseg.files.nifti.volumes import NiftiHeader, open_nifti
from autoseg.files.sources import name_without_ending
from autoseg.image.geometry import Affine
from autoseg.image.image import Image, SliceSource, Source
from autoseg.image.orientation import Arrangement, Plane, arrangement_for


def read_nifti_image(
    path: Path, *, slice_axis: Plane | None = None, time_point: int | None = None, channels_last: bool = False
) -> tuple[Image, ...]:
    """Read a NIfTI file as images whose slices lie as radiologists look at them.

    Axes are found by the affine, reordered and turned; every voxel keeps its value and its place in the patient,
    so areas are the file's. Where the file does not say how it lies (`nifti_header(path).is_oriented` is False),
    nothing is turned round, and left and right are unknown.
    """
    path = Path(path)
    header, data = open_nifti(path)
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
        slices=tuple(SliceSource(path, (point or 0) * count + number) for number in numbers),
    )
