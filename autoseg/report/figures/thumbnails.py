"""Small pictures of cases: one slice each, with what is drawn on it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from autoseg.data.cases import Case, read_case_image, read_case_labels
from autoseg.errors import AutosegError
from autoseg.image.image import Image
from autoseg.image.overlay import overlay_rgb, pixel_aspect, shrink
from autoseg.image.structures import Structure
from autoseg.report.figures.slices import encode_picture

SIDE = 144  # pixels


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
    smooth, small = shrink(grey, drawn, aspect=pixel_aspect(image), side=SIDE)
    shape, drawing = smooth.shape, overlay_rgb(smooth, small, structures)
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
