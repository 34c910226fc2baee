"""Read the image of a case, whatever kind of files it is kept in."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from autoseg.data.cases.case import Case
from autoseg.errors import DataError, ReadError
from autoseg.files.dicom.grouping import group_series
from autoseg.files.dicom.headers import FileHeader, read_header
from autoseg.files.dicom.records import quiet
from autoseg.files.dicom.series import read_dicom_file, read_series
from autoseg.files.levels import read_levels
from autoseg.files.nifti.images import read_nifti_image
from autoseg.files.pictures.images import read_picture_image
from autoseg.files.sources import PICTURE_ENDINGS, VOLUME_ENDINGS, ImageFile, ending
from autoseg.image.geometry import affine_from_spacing
from autoseg.image.image import Image
from autoseg.image.orientation import Plane

Stamp = tuple[int, int]


def read_case_image(case: Case, *, pixel_spacing_mm: tuple[float, float] | None = None) -> Image:
    """Read the image of a case, shape (slices, rows, columns), with channels in front where there are several.

    Further channels that lie on another grid are brought to the first one's by linear interpolation.
    """
    image = read_whole_image(case, pixel_spacing_mm)
    if case.slices is None:  # what is read is the caller's own, and the cached one stays as it is
        return replace(image, voxels=image.voxels.copy())
    return _cut(image, case.slices)


def read_whole_image(case: Case, typed: tuple[float, float] | None = None) -> Image:
    """Read all slices of the image of a case."""
    channels = [_read_channel(file, case, typed) for file in case.images]
    first = channels[0]
    if len(channels) > 1:
        voxels = np.stack([_on_grid_of(first, channel) for channel in channels])
        first = replace(first, voxels=voxels, channels=case.channels)
    slices = first.source.slices
    if case.levels_path is not None:
        levels = read_levels(case.levels_path)
        slices = tuple(replace(place, level=levels.get(place.frame, "")) for place in slices)
    return replace(
        first, source=replace(first.source, case_id=case.case_id, subject_id=case.subject_id, slices=slices)
    )


def _read_channel(file: ImageFile, case: Case, typed: tuple[float, float] | None) -> Image:
    images = read_image_file(
        file.path, file.others, file_stamp(file.path, *file.others), typed, case.reading.plane, _inside(case)
    )
    if ending(file.path) in PICTURE_ENDINGS or ending(file.path) in VOLUME_ENDINGS:
        images = images if file.frame is None else images[file.frame : file.frame + 1]
        if len(images) != 1:
            raise ReadError(
                f"{file.path} holds {len(images)} time points, and its labels do not say to which they belong. "
                "Save the time point that was drawn on as a file of its own."
            )
        image = images[0]
        spacing = typed or case.reading.pixel_spacing_mm
        if image.affine is None and spacing is not None:
            source = replace(image.source, spacing_source="typed", slice_spacing_source="none")
            image = replace(image, affine=affine_from_spacing((1.0, *spacing)), source=source)
        return image
    spacing = case.reading.pixel_spacing_mm
    if typed is None and spacing is not None and images[0].affine is None:
        return _read_channel(file, case, spacing)
    if file.frame is None:
        if len(images) != 1:
            raise ReadError(
                f"The series of {file.path} is {len(images)} stacks (time points, or parts with a gap between), "
                "and one label volume cannot lie on all of them. Keep the stack that was drawn on."
            )
        return images[0]
    for image in images:
        for index, place in enumerate(image.source.slices):
            if place.frame == file.frame:
                return _cut(image, (index, index + 1))
    raise ReadError(
        f"{file.path} has no frame {file.frame + 1}; it was changed after the folder was searched. "
        "Search the folder again."
    )


def _inside(case: Case) -> tuple[str, ...]:
    """Give the channels' names where one file holds them all."""
    return case.channels if len(case.images) == 1 else ()


def _on_grid_of(first: Image, other: Image) -> npt.NDArray[np.generic]:
    """Give another channel's voxels on the first one's grid."""
    if other.same_grid(first):
        return other.voxels
    if first.affine is None or other.affine is None or other.voxels.ndim != 3:
        raise DataError(
            f"{other.source.name} has the shape {other.shape} and {first.source.name} {first.shape}, and without "
            "coordinates the one cannot be laid on the other. Save all contrasts on one grid."
        )
    there = np.linalg.inv(other.affine) @ first.affine
    voxels = other.voxels.astype(np.float32)
    return ndimage.affine_transform(
        voxels, there[:3, :3], there[:3, 3], output_shape=first.shape, order=1, mode="nearest"
    )


def _cut(image: Image, slices: tuple[int, int] | None) -> Image:
    """Cut slices out of an image, in their place in the patient."""
    if slices is None:
        return image
    start, stop = slices
    affine = None if image.affine is None else image.affine.copy()
    if affine is not None:
        affine[:3, 3] += start * affine[:3, 0]
    return Image(
        voxels=image.voxels[..., start:stop, :, :].copy(),
        affine=affine,
        channels=image.channels,
        source=replace(image.source, slices=image.source.slices[start:stop]),
    )


def file_stamp(*paths: Path) -> Stamp:
    """Give what changes when one of the files does; zeros if it is not there, which its reader will tell."""
    times, sizes = [0], [0]
    for path in paths:
        try:
            status = path.stat()
        except OSError:
            continue
        times.append(status.st_mtime_ns)
        sizes.append(status.st_size)
    return hash(tuple(times)), sum(sizes)


# The frames of one file are neighbouring cases, and a label is read beside its image: the last few are kept.
@lru_cache(maxsize=2)
def read_image_file(
    path: Path,
    others: tuple[Path, ...],
    stamp: Stamp,
    typed: tuple[float, float] | None,
    plane: Plane | None,
    channels: tuple[str, ...],
) -> tuple[Image, ...]:
    """Read a file, or a series that starts with it, as one image a stack or time point."""
    if ending(path) in VOLUME_ENDINGS:
        return read_nifti_image(path, slice_axis=plane)
    if ending(path) in PICTURE_ENDINGS:
        return (read_picture_image(path, channels=channels or None),)
    if not others:
        return read_dicom_file(path, pixel_spacing_mm=typed)
    with quiet():
        headers = [header for header in map(read_header, (path, *others)) if isinstance(header, FileHeader)]
    return tuple(image for part in group_series(headers) for image in read_series(part, pixel_spacing_mm=typed))
