"""The images of a patient's folder, each with the millimetres in force."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import psutil

from autoseg.data.cases import Case, Reading, find_images, read_case_image
from autoseg.errors import AutosegError, DataError, GeometryError, ReadError
from autoseg.files.dicom.series import DicomFolder, Series, SkippedFile, find_series, read_series
from autoseg.image.calibration import calibrate, pixel_spacing_from_field_of_view
from autoseg.image.image import Image
from autoseg.image.orientation import Plane

Named = TypeVar("Named", Case, Series)


def read_patient(
    folder: Path,
    *,
    only: Collection[str] | None = None,
    channels: Sequence[str] = (),
    plane: Plane | None = None,
    typed: Mapping[str, Any] | None = None,
) -> tuple[list[Image], list[str], tuple[SkippedFile, ...]]:
    """Read the images of a patient's folder, each with the millimetres in force.

    Parameters
    ----------
    folder, channels, plane
        As for `patients.find_patient`.
    only : collection of str, optional
        The case_id of each series or file to read; by default all.
    typed : mapping, optional
        field_of_view_mm, matrix_size and prefer, as of `calibration.calibrate`. Typed millimetres are meant for the
        images whose files are silent; where there are none, they are checked against the headers.

    Returns
    -------
    tuple of (list of Image, list of str, tuple of SkippedFile)
        The calibrated images, sentences that the reader should know, and the files that were left alone.

    Raises
    ------
    DataError
        If there is no image, or none of that name.
    GeometryError, ReadError
        If no image can be read or measured; where some can, the others are named in the sentences.
    """
    folder = Path(folder)
    typed = {"field_of_view_mm": None, "matrix_size": None, "prefer": None, **(typed or {})}
    try:
        found = find_series(folder)
    except DataError as error:
        reading = Reading(plane=plane)
        cases = find_images(folder, channels=channels, reading=reading) if folder.is_dir() else ()
        if not cases:
            raise error
        return *_read_files(_chosen(cases, only, folder), typed), ()
    return *_read_series(replace(found, series=_chosen(found.series, only, folder)), typed), found.skipped


def warn_of_memory(images: Sequence[Image], classes: int) -> str:
    """Say that free memory is short for segmenting these images; "" if it is not.

    `classes` is the number of structures and the background.
    """
    labels = sum(math.prod(image.shape) for image in images)
    batch = max((min(16, image.shape[0]) * math.prod(image.shape[1:]) for image in images), default=0)
    needed = labels + 4 * 4 * classes * batch  # labels; probabilities of a batch, and steps on the way to them
    free = psutil.virtual_memory().available
    if needed < 0.8 * free:
        return ""
    return (
        f"Memory is short: this needs about {needed / 2**30:.1f} GiB and {free / 2**30:.1f} GiB are free. Close "
        "other programs, or choose fewer series; otherwise the computer may become very slow."
    )


def _chosen(items: Sequence[Named], only: Collection[str] | None, folder: Path) -> tuple[Named, ...]:
    """Give the series or files with these names."""
    if only is None:
        return tuple(items)
    wanted, known = {only} if isinstance(only, str) else set(only), [item.case_id for item in items]
    unknown = sorted(wanted - set(known))
    if unknown:
        raise DataError(f"{folder} has no image {', '.join(unknown[:5])}. It has: {', '.join(known[:20])}.")
    return tuple(item for item in items if item.case_id in wanted)


def _read_files(cases: Sequence[Case], typed: Mapping[str, Any]) -> tuple[list[Image], list[str]]:
    """Read and calibrate NIfTI files or pictures; leave one out, and say why, where others can be measured."""
    read: list[tuple[Case, Image]] = []
    problems: list[AutosegError] = []
    for case in cases:
        try:
            image = read_case_image(case)
            if typed["field_of_view_mm"] is None:
                image.calibrated_affine  # noqa: B018 - raises where nothing can be measured
            read.append((case, image))
        except (GeometryError, ReadError) as error:
            problems.append(error)
    if not read:
        raise problems[0]
    notes = [f"Left out: {error}" for error in problems]
    silent = any(image.affine is None for _, image in read)
    images = []
    for case, image in read:
        if image.affine is None:
            choice = pixel_spacing_from_field_of_view(
                typed["field_of_view_mm"], image.shape[1:], matrix_size=typed["matrix_size"]
            )
            notes.extend([f"{case.case_id}: {choice.note}"] if choice.note else [])
            image = read_case_image(case, pixel_spacing_mm=choice.spacing_mm)
        elif not silent:
            image = calibrate(image, **typed)
        images.append(image)
    return images, notes


def _read_series(found: DicomFolder, typed: Mapping[str, Any]) -> tuple[list[Image], list[str]]:
    """Read and calibrate every series; leave one out, and say why, where others can be measured."""
    read: list[tuple[Series, tuple[Image, ...]]] = []
    problems: list[AutosegError] = []
    notes = [f"{series.case_id}: {note}" for series in found.series for note in series.notes]
    for series in found.series:
        try:
            images = read_series(series)
            if typed["field_of_view_mm"] is None:
                images[0].calibrated_affine  # noqa: B018 - raises where nothing can be measured
            notes.extend(f"{series.case_id}: {note}" for note in images[0].source.notes)
            read.append((series, images))
        except (GeometryError, ReadError) as error:
            problems.append(error)
    if not read:
        raise problems[0]
    notes.extend(f"Left out: {error}" for error in problems)
    # What is typed is meant for the images whose header is silent; where there are none, it is checked.
    silent = [images for _, images in read if images[0].affine is None]
    result: list[Image] = []
    for series, images in read:
        field_of_view = typed["field_of_view_mm"] if images[0].affine is None or not silent else None
        if field_of_view is None:
            result.extend(images)
            continue
        shape = images[0].shape[1:]
        choice = pixel_spacing_from_field_of_view(field_of_view, shape, matrix_size=typed["matrix_size"])
        notes.extend([f"{series.case_id}: {choice.note}"] if choice.note else [])
        if images[0].affine is None:
            result.extend(read_series(series, pixel_spacing_mm=choice.spacing_mm))
        else:
            result.extend(calibrate(image, **typed) for image in images)
    return result, notes
