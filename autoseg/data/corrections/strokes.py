"""What a brush, a polygon and two drawn slices cover: masks of one slice, exact to the pixel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from autoseg.errors import DataError

Mask = npt.NDArray[np.bool_]
Points = Sequence[tuple[float, float]]
# What arithmetic may add to a distance that is the brush's radius to the digit.
TINY = 1e-9
SMOOTHING = 1.5  # widths of a pixel: what is finer in an outline is drawn by chance


def brushed(shape: tuple[int, int], points: Points, *, size: float, aspect: float = 1.0) -> Mask:
    """Give the pixels whose middle lies under a round brush that was drawn along points.

    Parameters
    ----------
    shape : (rows, columns)
    points : sequence of (row, column)
        Whole numbers are in the middle of a pixel; points outside the slice are taken as they are.
    size : float
        The brush's diameter, in widths of a pixel.
    aspect : float
        A pixel's height over its width: where pixels are not square the brush is round in millimetres.

    Examples
    --------
    >>> brushed((3, 5), [(1, 1), (1, 3)], size=1).astype(int)
    array([[0, 0, 0, 0, 0],
           [0, 1, 1, 1, 0],
           [0, 0, 0, 0, 0]])
    """
    radius, mask = size / 2, np.zeros(shape, np.bool_)
    ends = [*points[1:], points[-1]] if points else []
    for (row, column), (next_row, next_column) in zip(points, ends, strict=True):
        rows = _near(row, next_row, radius / aspect, shape[0])
        columns = _near(column, next_column, radius, shape[1])
        down, right = (rows[:, None] - row) * aspect, columns[None] - column
        along_down, along_right = (next_row - row) * aspect, next_column - column
        length = along_down**2 + along_right**2
        share = np.clip((down * along_down + right * along_right) / length, 0, 1) if length else 0.0
        distance = (down - share * along_down) ** 2 + (right - share * along_right) ** 2
        mask[np.ix_(rows, columns)] |= distance <= radius**2 + TINY
    return mask


def _near(one: float, other: float, reach: float, count: int) -> npt.NDArray[np.int64]:
    first, last = min(one, other) - reach, max(one, other) + reach
    return np.arange(max(0, int(np.floor(first))), max(0, min(count, int(np.ceil(last)) + 1)))


def inside(shape: tuple[int, int], points: Points) -> Mask:
    """Give the pixels whose middle lies within a closed polygon of (row, column).

    What the outline encloses twice is outside again. Of a middle that lies on the outline, the upper and the left
    side count as within, so that two polygons with a side in common share no pixel.

    Raises
    ------
    DataError
        If there are fewer than three corners.

    Examples
    --------
    >>> int(inside((9, 9), [(1, 1), (1, 5), (4, 5), (4, 1)]).sum())
    12
    """
    if len(points) < 3:
        raise DataError("A polygon has three corners or more.")
    mask = np.zeros(shape, np.bool_)
    corners = np.array(points, np.float64)
    after = np.roll(corners, -1, axis=0)
    low, high = np.minimum(corners[:, 0], after[:, 0]), np.maximum(corners[:, 0], after[:, 0])
    for row in range(max(0, int(np.ceil(low.min()))), min(shape[0], int(np.floor(high.max())) + 1)):
        cut = (low <= row) & (row < high)
        share = (row - corners[cut, 0]) / (after[cut, 0] - corners[cut, 0])
        crossings = np.sort(corners[cut, 1] + share * (after[cut, 1] - corners[cut, 1]))
        for first, last in crossings.reshape(-1, 2):
            mask[row, max(0, int(np.ceil(first))) : max(0, int(np.ceil(last)))] = True
    return mask


def between(before: Mask, after: Mask, share: float, *, spacing: tuple[float, float] = (1.0, 1.0)) -> Mask:
    """Give what lies between two masks: at `share` 0 the first, at 1 the second, by signed distances.

    Where the mean of both distances to the outline, weighted by `share`, is inside (Raya and Udupa 1990,
    doi:10.1109/42.52980). `spacing` is between rows and columns.

    Raises
    ------
    DataError
        If one of them is empty.
    """
    if not (before.any() and after.any()):
        raise DataError("The structure is missing on one of the two slices, so nothing lies between them.")
    first, second = _signed_distance(before, spacing), _signed_distance(after, spacing)
    mean = (1 - share) * first + share * second
    # On the outline itself the nearer slice decides: if all such pixels were outside, areas would be too small.
    return np.where(np.abs(mean) < TINY, before if share <= 0.5 else after, mean > 0)


def _signed_distance(mask: Mask, spacing: tuple[float, float]) -> npt.NDArray[np.float64]:
    """Give the distance to the outline, inside above 0; beyond the edge of the slice is outside."""
    within = np.pad(mask, 1)
    distance = ndimage.distance_transform_edt(within, spacing) - ndimage.distance_transform_edt(~within, spacing)
    return np.asarray(distance[1:-1, 1:-1])


def largest_piece(mask: Mask) -> Mask:
    """Give the largest piece (pixels that touch, corners included) of a mask; the first of equals."""
    parts, count = ndimage.label(mask, structure=np.ones((3, 3)))
    if count < 2:
        return mask.copy()
    found: Mask = parts == 1 + int(np.argmax(np.bincount(parts.ravel())[1:]))
    return found


def holes_filled(mask: Mask) -> Mask:
    """Give a mask with the holes that it encloses; pixels that touch by corners enclose as well."""
    return np.asarray(ndimage.binary_fill_holes(mask), np.bool_)


def smoothed(mask: Mask, free: Mask, *, aspect: float = 1.0) -> Mask:
    """Give a mask with a rounder outline and as many pixels as before; only those of `free` change.

    The mask is blurred (a Gaussian of 1.5 widths of a pixel, round in millimetres by `aspect`), and of the free
    pixels those with most of it are taken. A limit of one half would make round structures smaller. Where
    pixels are equal, all or none of them are taken, whichever is nearer to the pixels before.

    Examples
    --------
    >>> spiked = np.zeros((12, 12), np.bool_)
    >>> spiked[4:11, 2:9] = True
    >>> spiked[1:4, 5] = True
    >>> round_one = smoothed(spiked, np.ones_like(spiked))
    >>> int(spiked.sum()), int(round_one.sum()), bool(round_one[1, 5])
    (52, 52, False)
    """
    count = int((mask & free).sum())
    if not count:
        return mask.copy()
    blurred = ndimage.gaussian_filter(mask.astype(np.float64), (SMOOTHING / aspect, SMOOTHING), mode="nearest")
    blurred = np.round(blurred, 9)  # what is alike by symmetry is equal
    limit = np.sort(blurred[free])[-count]
    more, fewer = blurred >= limit, blurred > limit
    is_more_nearer = (more & free).sum() - count <= count - (fewer & free).sum()
    return np.where(free, more if is_more_nearer else fewer, mask)
