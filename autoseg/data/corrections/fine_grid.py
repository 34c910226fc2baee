"""A finer grid in the plane of the slices, for drawing by hand, and the exact way back.

The fine grid spans the same millimetres, from the outer edge of the first pixel to that of the last: each pixel
becomes `factor` by `factor` smaller ones. Slices stay.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from autoseg.errors import DataError, LabelError
from autoseg.image.geometry import Affine, check_affine
from autoseg.image.image import Image, LabelMap

MOST_TIMES = 8


def fine_affine(affine: Affine, factor: int) -> Affine:
    """Give the affine of the fine grid: steps of rows and columns are `factor` times shorter, outer edges stay.

    Examples
    --------
    >>> from autoseg.image.geometry import affine_from_spacing
    >>> fine_affine(affine_from_spacing((5, 3, 3)), 3)[:3, 3].tolist()
    [-1.0, -1.0, 0.0]
    """
    step = np.diag([1.0, 1 / factor, 1 / factor, 1.0])
    step[1:3, 3] = (1 / factor - 1) / 2
    return check_affine(affine @ step)


def upsample_image(image: Image, factor: int = 3, *, method: Literal["cubic", "linear"] = "cubic") -> Image:
    """Give an image on the fine grid, interpolated within each slice; no slice looks at its neighbours.

    Whole numbers stay whole and within the image's own range, which cubic interpolation would leave at sharp edges.
    """
    _check_factor(factor)
    if method not in ("cubic", "linear"):
        raise DataError(f"The image can be made finer by 'cubic' or 'linear', not by {method!r}.")
    if image.non_finite_count:
        raise DataError(
            f"{image.source.name} holds {image.non_finite_count} values that are no numbers (NaN or infinite), "
            "which would spread over their neighbours. Correct on the image's own grid (factor 1)."
        )
    *before, rows, columns = image.voxels.shape
    slices = image.voxels.reshape(-1, rows, columns)
    kind = slices.dtype
    fine = np.empty((len(slices), rows * factor, columns * factor), dtype=kind if kind.kind in "iuf" else np.uint8)
    for one, target in zip(slices, fine, strict=True):
        values = one.astype(np.float64)
        zoomed = ndimage.zoom(
            values, factor, order=3 if method == "cubic" else 1, mode="nearest", grid_mode=True
        ).clip(values.min(), values.max())
        target[:] = zoomed.round() if kind.kind != "f" else zoomed
    affine = None if image.affine is None else fine_affine(image.affine, factor)
    return replace(image, voxels=fine.reshape(*before, *fine.shape[1:]), affine=affine)


def upsample_labels(label_map: LabelMap, factor: int = 3) -> LabelMap:
    """Give labels on the fine grid: each pixel becomes a block of its own label, so outlines stay where they are.

    Raters' shares are left behind.
    """
    _check_factor(factor)
    voxels = label_map.voxels.repeat(factor, axis=1).repeat(factor, axis=2)
    affine = None if label_map.affine is None else fine_affine(label_map.affine, factor)
    return replace(label_map, voxels=voxels, affine=affine, shares=None)


def downsample_labels(
    label_map: LabelMap, factor: int = 3, *, affine: Affine | None = None, as_shares: bool = False
) -> LabelMap:
    """Bring labels from the fine grid back: a pixel takes the label that most of its small pixels have.

    Where two labels have equally many, the one of the block's middle pixel wins if it is among them (there is one
    where the factor is odd), else the smaller label, the background first. What was not touched on the fine grid
    comes back as it was. With `as_shares` the part of each pixel that every structure covers is kept beside the
    labels (`LabelMap.shares`): their sum times a pixel's area is the area that was drawn. `affine` is the image's
    own, to the last digit; by default it is worked out.
    """
    _check_factor(factor)
    slices, rows, columns = label_map.shape
    if rows % factor or columns % factor:
        raise LabelError(
            f"{label_map.source.name} has {rows} × {columns} pixels a slice, which are not blocks of {factor} × "
            f"{factor}. Save the labels on the grid of the image that was opened with them."
        )
    blocks = label_map.voxels.reshape(slices, rows // factor, factor, columns // factor, factor)
    labels = [0, *sorted(structure.label for structure in label_map.structures)]
    counts = np.stack([(blocks == label).sum(axis=(2, 4), dtype=np.uint8) for label in labels])
    most = counts.max(axis=0)
    # The first of equals is the smallest label.
    chosen = np.array(labels, dtype=np.uint8)[counts.argmax(axis=0)]
    if factor % 2:
        middle = blocks[:, :, factor // 2, :, factor // 2]
        own = np.take_along_axis(counts, np.searchsorted(labels, middle)[None], axis=0)[0]
        chosen = np.where(own == most, middle, chosen).astype(np.uint8)
    if affine is None and label_map.affine is not None:
        affine = _coarse_affine(label_map.affine, factor)
    shares = _shares(label_map, labels, counts, factor) if as_shares else None
    return replace(label_map, voxels=chosen, affine=affine, shares=shares)


def _shares(
    label_map: LabelMap, labels: list[int], counts: npt.NDArray[np.uint8], factor: int
) -> npt.NDArray[np.float32]:
    order = [labels.index(structure.label) for structure in label_map.structures]
    return (counts[order] / np.float32(factor**2)).astype(np.float32)


def _coarse_affine(affine: Affine, factor: int) -> Affine:
    step = np.diag([1.0, factor, factor, 1.0])
    step[1:3, 3] = (factor - 1) / 2
    return check_affine(affine @ step)


def _check_factor(factor: int) -> None:
    if factor not in range(2, MOST_TIMES + 1):
        raise DataError(f"Slices can be made 2 to {MOST_TIMES} times finer, not {factor} times.")
