"""Siemens mosaics: many slices tiled into one picture, which becomes slices again.

A mosaic's ImagePositionPatient is that of a slice as large as the whole picture, centred where the first slice
is. Number and direction of the slices are in Siemens' private tags only. Source: the mosaic format as NiBabel
documents it ("DICOM mosaic format"); the positions equal those in the scanner's own protocol (tests).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from pydicom.dataset import FileDataset

from autoseg.files.dicom.records import PYDICOM_ERRORS, SliceHeader, number_of, quiet, read_dataset

REMEDY = "Export the series as single slices or as enhanced multi-frame DICOM, or without removing private tags."
ALONG_NORMAL = 0.999  # cosine between Siemens' SliceNormalVector and the plane's normal


def split_mosaic(picture: SliceHeader) -> tuple[tuple[SliceHeader, ...], str]:
    """Give the slices of a mosaic in the order of its tiles, without empty ones, or the reason why it has none.

    `position_mm` is None where the header does not tell how the slices lie.
    """
    with quiet():
        dataset = read_dataset(picture.path, pixels=False)
        count, normal = _private_values(dataset)
        spacing = number_of(dataset, "SpacingBetweenSlices")
    if count is None:
        return (picture,), (
            "A Siemens mosaic, many slices tiled into one picture, and how many they are is nowhere in the "
            f"header: Siemens' private tags are missing. {REMEDY}"
        )
    side = math.isqrt(count - 1) + 1
    if picture.rows % side or picture.columns % side:
        return (picture,), (
            f"A Siemens mosaic of {count} slices, but its {picture.rows} × {picture.columns} pixels cannot be cut "
            f"into {side} × {side} tiles. {REMEDY}"
        )
    rows, columns = picture.rows // side, picture.columns // side
    positions = _positions(picture, (rows, columns), count, (normal, spacing))
    faults = [*picture.faults, f"A Siemens mosaic, {side} × {side} tiles in one picture: read as {count} slices."]
    if positions is None:
        faults.append("Its header does not tell where the mosaic's slices lie or in which direction they run.")
    return tuple(
        replace(
            picture,
            frame=number,
            rows=rows,
            columns=columns,
            position_mm=None if positions is None else tuple(positions[number].tolist()),
            orientation=None if positions is None else picture.orientation,
            faults=tuple(faults),
            tiles=side,
        )
        for number in range(count)
    ), ""


def untile(frames: npt.NDArray[np.generic], tiles: int) -> npt.NDArray[np.generic]:
    """Cut the picture of a mosaic, shape (1, rows, columns), into its tiles (`tiles` across and down), row by row.

    Examples
    --------
    >>> untile(np.array([[[1, 2], [3, 4]]]), 2).ravel().tolist()
    [1, 2, 3, 4]
    """
    rows, columns = (size // tiles for size in frames.shape[1:])
    cut = frames[0].reshape(tiles, rows, tiles, columns)
    return cut.swapaxes(1, 2).reshape(tiles * tiles, rows, columns)


def _private_values(dataset: FileDataset) -> tuple[int | None, Sequence[float] | None]:
    """Give the number of slices and the direction in which they run, from Siemens' private tags."""
    with quiet():
        # Its package warns that its readers are experimental; only its parser of Siemens' tags is used.
        from nibabel.nicom import csareader
    try:
        csa = csareader.get_csa_header(dataset, "image")
        count = csareader.get_n_mosaic(csa) if csa else None
        normal = csareader.get_slice_normal(csa) if csa else None
    except (*PYDICOM_ERRORS, AssertionError, csareader.CSAReadError):  # NiBabel asserts where the file is damaged
        count, normal = None, None
    if not count:
        try:
            count = int(dataset.get_private_item(0x0019, 0x0A, "SIEMENS MR HEADER").value)
        except PYDICOM_ERRORS:
            count = None
    return (int(count) if count and count > 0 else None), normal


def _positions(
    picture: SliceHeader, size: tuple[int, int], count: int, steps: tuple[Sequence[float] | None, float | None]
) -> npt.NDArray[np.float64] | None:
    """Give each slice's position in mm, shape (count, 3); None where something is missing or contradicts."""
    normal, spacing = steps
    if picture.position_mm is None or picture.orientation is None or picture.spacing_mm is None:
        return None
    if normal is None or spacing is None or spacing <= 0:
        return None
    along_row, along_column = np.reshape(picture.orientation, (2, 3))
    across = np.cross(along_row, along_column)
    cosine = float(across @ np.asarray(normal, dtype=np.float64))
    if abs(cosine) < ALONG_NORMAL:
        return None
    between_rows, between_columns = picture.spacing_mm
    first = np.asarray(picture.position_mm, dtype=np.float64)
    first = first + along_row * between_columns * (picture.columns - size[1]) / 2
    first = first + along_column * between_rows * (picture.rows - size[0]) / 2
    return np.asarray(first + np.arange(count)[:, None] * spacing * math.copysign(1, cosine) * across)
