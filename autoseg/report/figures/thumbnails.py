"""Small pictures of cases: one slice each, with what is drawn on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from autoseg.data.cases import Case, read_case_image, read_case_labels
from autoseg.errors import AutosegError
from autoseg.image.image import Image
from autoseg.image.overlay import overlay_rgb, pixel_aspect
from autoseg.image.structures import Structure
from autoseg.report.figures.slices import encode_picture

SIDE = 144  # pixels
_Number = TypeVar("_Number", bound=np.generic)


def draw_thumbnail(case: Case, structures: Sequence[Structure], index: int | None = None) -> bytes | None:
    """Draw a slice of a case in little, with its labels, in a square PNG file; None if it cannot be read.

    Parameters
    ----------
    case : Case
    structures : sequence of Structure
    index : int, optional
        Of the slice, from 0; by default that with most labelled pixels, without labels the middle one.
    """
    try:
        image = read_case_image(case)
    except AutosegError:
        return None  # the check says so
    labels = _labels(case, structures, image)
    if index is None:
        counts = np.zeros(1, int) if labels is None else np.count_nonzero(labels, axis=(1, 2))
        index = int(counts.argmax()) if counts.any() else image.shape[0] // 2
    index = min(index, image.shape[0] - 1)
    grey, drawn = image.channel_voxels[0, index], None if labels is None else np.maximum(labels[index], 0)
    shape = _shape(grey.shape, pixel_aspect(image))
    thinned = tuple(max(1, old // new) for old, new in zip(grey.shape, shape, strict=True))
    # Each pixel shows the mean of those that it stands for, so that fine texture gives no pattern.
    smooth = ndimage.uniform_filter(np.nan_to_num(grey.astype(np.float32), posinf=0, neginf=0), size=thinned)
    small = None if drawn is None else _sampled(drawn, shape)
    drawing = overlay_rgb(_sampled(smooth, shape), small, structures)
    square = np.zeros((SIDE, SIDE, 3), np.uint8)
    top, left = (SIDE - shape[0]) // 2, (SIDE - shape[1]) // 2
    square[top : top + shape[0], left : left + shape[1]] = drawing
    return encode_picture(square, "png")


def _labels(case: Case, structures: Sequence[Structure], image: Image) -> npt.NDArray[np.integer] | None:
    try:
        voxels = read_case_labels(case, structures)
    except AutosegError:
        return None
    return voxels if voxels.shape == image.shape else None


def _shape(shape: Sequence[int], aspect: float) -> tuple[int, int]:
    """Give rows and columns of the small picture, in which pixels are square.

    Examples
    --------
    >>> _shape((512, 512), 1.0), _shape((100, 200), 2.0), _shape((50, 200), 1.0)
    ((144, 144), (144, 144), (36, 144))
    """
    rows, columns = shape[0] * aspect, float(shape[1])
    scale = SIDE / max(rows, columns)
    return max(1, round(rows * scale)), max(1, round(columns * scale))


def _sampled(slice_: npt.NDArray[_Number], shape: tuple[int, int]) -> npt.NDArray[_Number]:
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(int) for new, old in zip(shape, slice_.shape, strict=True)
    )
    return slice_[rows[:, None], columns]
