"""The way through a stack of probability maps: the best of all ways, by dynamic programming."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Maps = npt.NDArray[np.float32]
# A probability below this counts as this: one blind slice must not decide over all the others.
FLOOR = 1e-3
# Places within this distance of the way are of the structure that it follows.
AROUND_MM = 6.0
# As often the middle is sought anew about the one that was found.
ROUNDS = 3


def find_path(
    probability: Maps, spacing_mm: tuple[float, float, float], *, stiffness: float = 1.0, steepest: float = 2.0
) -> npt.NDArray[np.intp]:
    """Find the way through a stack of maps that is best as a whole, one place a slice.

    Minimises the sum over slices of -log(probability) h + stiffness d² / h, where h is the distance between slices
    and d that of the places on two neighbours, in mm: what it costs does not depend on how thick slices are. All
    places of all slices are candidates, and the minimum is exact (Viterbi 1967); a step is not steeper than
    `steepest` along either axis, or one pixel. Where the probability is nil throughout, the way goes straight. Maps
    are (slices, rows, columns), as the spacing is; the way is (slices, 2), whole rows and columns.

    Examples
    --------
    A bright place that lies apart from the others on one slice is passed by:

    >>> maps = np.full((5, 9, 9), 1e-3, dtype=np.float32)
    >>> maps[[0, 1, 3, 4], 2, 2] = maps[2, 7, 7] = 0.9
    >>> find_path(maps, (1.0, 1.0, 1.0)).tolist()
    [[2, 2], [2, 2], [2, 2], [2, 2], [2, 2]]
    """
    between = spacing_mm[0]
    reach = [max(1, math.floor(steepest * between / mm + 1e-9)) for mm in spacing_mm[1:]]
    reach = [min(most, size - 1) for most, size in zip(reach, probability.shape[1:], strict=True)]
    steps = [
        (stiffness / between * (np.arange(-most, most + 1) * mm) ** 2).astype(np.float32)
        for most, mm in zip(reach, spacing_mm[1:], strict=True)
    ]
    came_from = np.zeros((len(probability), 2, *probability.shape[1:]), dtype=np.int16)
    total = np.zeros(probability.shape[1:], dtype=np.float32)
    for number, one in enumerate(probability):
        if number:
            for axis in range(2):  # d² is a sum over the axes, so each is minimised by itself
                total, came_from[number, axis] = _cheapest(total, steps[axis], axis)
        total = total - between * np.log(np.maximum(one, FLOOR))
    first = np.unravel_index(int(total.argmin()), total.shape)
    places = [(int(first[0]), int(first[1]))]
    for rows, columns in came_from[:0:-1]:
        row, column = places[-1]
        column += int(columns[row, column])
        row += int(rows[row, column])
        places.append((row, column))
    return np.array(places[::-1], dtype=np.intp)


def _cheapest(total: Maps, cost: Maps, axis: int) -> tuple[Maps, npt.NDArray[np.int16]]:
    """Give the least of every place's neighbours along an axis, their steps' costs added, and which one it was."""
    most = len(cost) // 2
    around = [(most, most) if k == axis else (0, 0) for k in range(2)]
    padded = np.pad(total, around, constant_values=np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(padded, len(cost), axis=axis) + cost
    which = windows.argmin(axis=-1)
    least = np.take_along_axis(windows, which[..., None], axis=-1)[..., 0]
    return least, (which - most).astype(np.int16)


def refine_path(
    probability: Maps, path: npt.NDArray[np.intp], spacing_mm: tuple[float, float, float]
) -> tuple[Floats, Floats]:
    """Move every place (n, 2) of a way to the middle of the probability within 6 mm, and give the largest there."""
    rows, columns = probability.shape[1:]
    middles, peaks = path.astype(np.float64), np.zeros(len(path))
    reach = [math.ceil(AROUND_MM / mm) for mm in spacing_mm[1:]]
    for number, one in enumerate(probability):
        for _ in range(ROUNDS):
            row, column = (int(place) for place in np.rint(middles[number]))
            near = (
                slice(max(0, row - reach[0]), min(rows, row + reach[0] + 1)),
                slice(max(0, column - reach[1]), min(columns, column + reach[1] + 1)),
            )
            r, c = (axis.astype(np.float64) for axis in np.mgrid[near])
            away = (r - middles[number, 0]) * spacing_mm[1], (c - middles[number, 1]) * spacing_mm[2]
            weight = np.where(np.hypot(*away) <= AROUND_MM, one[near], 0).astype(np.float64)
            peaks[number] = weight.max(initial=0.0)
            if weight.sum() > 0:
                middles[number] = (weight * r).sum() / weight.sum(), (weight * c).sum() / weight.sum()
    return middles, peaks


def longest_run(probability: Floats, *, threshold: float = 0.5) -> tuple[int, int] | None:
    """Give the first and the last slice on which a structure is: the run with the largest sum above the threshold.

    A slice in which it was missed does not end it, and a stray one does not lengthen it. None if there is none.

    Examples
    --------
    >>> longest_run(np.array([0.9, 0, 0, 0, 0.9, 0.9, 0.3, 0.9, 0]))
    (4, 7)
    """
    best, result, start, total = 0.0, None, 0, 0.0
    for number, value in enumerate(probability):
        if total <= 0:
            start, total = number, 0.0
        total += float(value) - threshold
        if total > best:
            best, result = total, (start, number)
    return result
