"""Contours drawn by hand become pixels by the area that they cover; masks become one label map.

A contour is a polygon in pixel coordinates, points (row, column), with the centres of pixels at whole numbers:
pixel (0, 0) reaches from -0.5 to 0.5. It is closed from its last point to its first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from autoseg.errors import LabelError

Points = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

# A pixel is in doubt where its share is within this of one half. Taking exactly those of at least half loses
# 2 pi / 24 of a pixel or more around every contour, because its outside is the larger side of a bent line, and
# scatters by as much as the line happens to lie between pixels (benchmarks/contours.py).
DOUBT = 0.1
# Contours drawn on half pixels cover many pixels exactly half. Moved by a millionth of a pixel in no simple
# direction, they take a whole side of them and not every other one.
NUDGE = np.array([1.0e-6, 1.618e-6])
# Where contours overlap, each pixel is looked at in so many parts across and down, so many at once.
PARTS, MOST_PARTS = 8, 4_000_000
# Two contours that share less of the smaller one than this only touch.
TOUCHES = 0.01
# A contour strays out of another, and lies within it all the same, by up to this part of its own area and of what
# it leaves of the other.
STRAYS = 0.1
# Two contours are one that was drawn twice where the smaller leaves no more of the larger than this.
TWICE = 0.001
# What sums of floats leave over; digits after which two points are one.
ROUNDING, SAME_POINT = 1e-9, 6


def fill_contour(points: npt.ArrayLike, shape: tuple[int, int]) -> Mask:
    """Give the pixels of which a contour covers about half or more, as many as its area asks for.

    A pixel of which 60 % lie inside always belongs, and one of which less than 40 % do never; of those between,
    the most covered ones are taken until the mask has the polygon's area. That is the rule "at least half" but
    for one to three pixels in a contour. Filling every pixel that the line touches, as drawing libraries do,
    makes a structure half a pixel larger all around.

    Examples
    --------
    A square of 2 × 2 pixels whose corners are corners of pixels:

    >>> fill_contour([(0.5, 0.5), (0.5, 2.5), (2.5, 2.5), (2.5, 0.5)], (4, 4)).astype(int)
    array([[0, 0, 0, 0],
           [0, 1, 1, 0],
           [0, 1, 1, 0],
           [0, 0, 0, 0]])
    """
    return fill_contours([points], shape)


@dataclass(frozen=True)
class Nesting:
    """How the contours of one structure on one slice lie, each by its number from 0.

    `around` gives for each contour those that it lies within, `depths` how deep it lies: at 0 and 2 it fills, at 1
    and 3 it is a hole. `overlapping` are the pairs of which neither lies within the other, or that are drawn twice.
    """

    around: tuple[frozenset[int], ...]
    depths: tuple[int, ...]
    overlapping: tuple[tuple[int, int], ...] = ()


def nest_contours(contours: Sequence[npt.ArrayLike], shape: tuple[int, int]) -> Nesting:
    """Tell which contours of one structure lie within which, and which overlap only partly.

    A contour that strays a little over another's border lies within it. Two that hardly differ are one contour
    drawn twice; the two borders of a thin wall are told from these because they do not cross.
    """
    points = [_checked(one) for one in contours]
    rings = [coverage(one, shape) for one in points] if len(points) > 1 else [np.zeros(shape)] * len(points)
    areas = [float(ring.sum()) for ring in rings]
    around: list[frozenset[int]] = [frozenset()] * len(rings)
    overlapping = []
    for pair in combinations(range(len(rings)), 2):
        inner, outer = sorted(pair, key=areas.__getitem__)
        if not areas[inner] or _are_far(points[inner], points[outer]):
            continue
        shared = _shared(points[inner], points[outer], rings[inner], rings[outer])
        stray, wall = areas[inner] - shared, areas[outer] - shared
        if shared <= TOUCHES * areas[inner]:
            continue
        if wall > TWICE * areas[outer] and stray <= STRAYS * min(areas[inner], wall) + ROUNDING:
            around[inner] |= {outer}
        else:
            overlapping.append(pair)
    depths = [0] * len(rings)
    for ring in sorted(range(len(rings)), key=areas.__getitem__, reverse=True):
        depths[ring] = 1 + max((depths[outer] for outer in around[ring]), default=-1)
    return Nesting(tuple(around), tuple(depths), tuple(overlapping))


def fill_contours(
    contours: Sequence[npt.ArrayLike],
    shape: tuple[int, int],
    *,
    nesting: Nesting | None = None,
    exclusive: bool = False,
) -> Mask:
    """Give the pixels that several contours of one structure cover, shape (rows, columns), as `fill_contour` does.

    A contour inside another is a hole in it, one inside that an island, and so on; of two that overlap only partly,
    everything inside either belongs to the structure, or where they are `exclusive` what is inside one of them
    only. `nesting` is that of `nest_contours`, where it is known. No contour gives an empty mask.
    """
    shares = contours_coverage(
        [_checked(points) + NUDGE for points in contours], shape, nesting=nesting, exclusive=exclusive
    )
    filled = shares >= 0.5 + DOUBT
    doubtful = np.flatnonzero(~filled & (shares >= 0.5 - DOUBT))
    missing = max(round(float(shares.sum())) - int(np.count_nonzero(filled)), 0)
    # Rounded, so that the last bit of a sum does not decide which of two equal pixels comes first.
    order = np.argsort(-shares.flat[doubtful].round(9), kind="stable")
    filled.flat[doubtful[order[:missing]]] = True
    return filled


def coverage(points: npt.ArrayLike, shape: tuple[int, int]) -> Points:
    """Give the share of every pixel, 0 to 1, that lies inside a contour, shape (rows, columns).

    Source: Green's theorem summed along the edges pixel by pixel, as anti-aliasing font rasterisers do.

    The shares are exact for a contour that does not cross itself, whichever way around it runs; a bridge to an
    inner ring and back (a keyhole) is a line without area, and the ring a hole, whichever way around that runs.
    Where a contour crosses itself, as at the end of one drawn by hand, the loop belongs to the inside (non-zero
    winding).

    Examples
    --------
    >>> coverage([(-0.5, -0.5), (-0.5, 1.0), (0.5, 1.0), (0.5, -0.5)], (2, 3))
    array([[1. , 0.5, 0. ],
           [0. , 0. , 0. ]])
    """
    rings = _rings(_checked(points))
    if len(rings) > 1:
        return contours_coverage(rings, shape)
    return np.minimum(np.abs(_winding(rings[0], shape)), 1.0) if rings else np.zeros(shape)


def contours_coverage(
    contours: Sequence[npt.ArrayLike],
    shape: tuple[int, int],
    *,
    nesting: Nesting | None = None,
    exclusive: bool = False,
) -> Points:
    """Give the share of every pixel, 0 to 1, inside several contours of one structure, shape (rows, columns).

    What is inside them is told as by `fill_contours`. Exact where no two contours overlap only partly; where they
    do, the shares are counted in parts of an eighth of a pixel.
    """
    points = [_checked(one) for one in contours]
    nesting = nesting or nest_contours(points, shape)
    if nesting.overlapping:
        return _in_parts(points, shape, nesting, exclusive=exclusive)
    total = np.zeros(shape)
    for ring, depth in zip(points, nesting.depths, strict=True):
        # Holes are taken away rather than folded, so that a wall thinner than a pixel keeps its area.
        total += coverage(ring, shape) if depth % 2 == 0 else -coverage(ring, shape)
    return np.clip(total, 0.0, 1.0)


def _in_parts(points: Sequence[Points], shape: tuple[int, int], nesting: Nesting, *, exclusive: bool) -> Points:
    """Give the shares inside contours that overlap, by counting parts of pixels that lie inside each."""
    shares = np.zeros(shape)
    first, last = _window(points, shape)
    # In bands of rows, because the parts of a whole slice fill the memory.
    step = max(1, MOST_PARTS // max(1, (last[1] - first[1]) * PARTS**2))
    for top in range(first[0], last[0], step):
        corner, end = (top, first[1]), (min(top + step, last[0]), last[1])
        inside = [_parts(one, corner, end) >= 0.5 for one in points]
        filled = np.zeros_like(inside[0])
        if exclusive:
            for mask in inside:
                filled ^= mask
        else:
            # What lies innermost decides; where several do, one of them that fills.
            for ring in (n for n, depth in enumerate(nesting.depths) if depth % 2 == 0):
                own = inside[ring].copy()
                for within in (n for n, outer in enumerate(nesting.around) if ring in outer):
                    own &= ~inside[within]
                filled |= own
        rows, columns = end[0] - corner[0], end[1] - corner[1]
        shares[corner[0] : end[0], corner[1] : end[1]] = filled.reshape(rows, PARTS, columns, PARTS).mean((1, 3))
    return shares


def _shared(inner: Points, outer: Points, inside: Points, around: Points) -> float:
    """Give the area that two contours share, in pixels; `inside` and `around` are their shares of each pixel."""
    could_be_within = bool((inside <= around + ROUNDING).all())
    could_be_apart = bool((inside + around <= 1 + ROUNDING).all())
    if could_be_within != could_be_apart:
        return float(inside.sum()) if could_be_within else 0.0
    first, last = _window([inner], (inside.shape[0], inside.shape[1]))
    both = np.minimum(_parts(inner, first, last), _parts(outer, first, last))
    return float(both.sum()) / PARTS**2


def _are_far(one: Points, other: Points) -> bool:
    """Tell whether the boxes around two contours do not even touch."""
    return bool((one.max(axis=0) < other.min(axis=0)).any() or (other.max(axis=0) < one.min(axis=0)).any())


def _parts(points: Points, first: tuple[int, int], last: tuple[int, int]) -> Points:
    """Give the share of each part of each pixel of a window that lies inside a contour."""
    shape = ((last[0] - first[0]) * PARTS, (last[1] - first[1]) * PARTS)
    return coverage((points - first + 0.5) * PARTS - 0.5, shape)


def _window(contours: Sequence[Points], shape: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Give the first row and column that contours touch, and those behind the last."""
    every = np.concatenate(contours)
    low = np.clip(np.floor(every.min(axis=0)), 0, shape).astype(int)
    high = np.clip(np.ceil(every.max(axis=0)) + 1, low, shape).astype(int)
    return (int(low[0]), int(low[1])), (int(high[0]), int(high[1]))


def _rings(points: Points) -> list[Points]:
    """Cut a contour where it runs along a line there and back: the bridge to the inner ring of a keyhole."""
    rings, waiting = [], [points]
    while waiting:
        ring = waiting.pop()
        bridge = _bridge(ring)
        if bridge is None:
            rings.append(ring)
        else:
            there, back = bridge
            parts = (ring[there + 1 : back + 1], np.concatenate([ring[back + 1 :], ring[: there + 1]]))
            waiting += [part for part in parts if len(part) >= 3]
    return rings


def _bridge(points: Points) -> tuple[int, int] | None:
    """Give the places of two edges that are one line in opposite directions; None if there are none."""
    places = list(map(tuple, points.round(SAME_POINT).tolist()))
    if len(set(places)) == len(places):
        return None
    edges: dict[tuple[object, object], int] = {}
    for number, edge in enumerate(zip(places, [*places[1:], places[0]], strict=True)):
        if edge[0] != edge[1] and edge[::-1] in edges:
            return edges[edge[::-1]], number
        edges[edge] = number
    return None


def contour_area(points: npt.ArrayLike) -> float:
    """Give the area inside a contour that does not cross itself, in pixels (the shoelace formula).

    Examples
    --------
    >>> contour_area([(0, 0), (0, 4), (3, 0)])
    6.0
    """
    checked = _checked(points)
    if len(checked) < 3:
        return 0.0
    row, column = (checked - checked.mean(axis=0)).T
    return abs(float(row @ np.roll(column, -1) - column @ np.roll(row, -1))) / 2


def combine_masks(
    masks: Mapping[int, Mask], order: Sequence[int]
) -> tuple[npt.NDArray[np.uint8], dict[tuple[int, int], int]]:
    """Draw the masks of several structures into one array; where they overlap, the later in `order` wins.

    With it come the numbers of voxels that two structures share, by (earlier, later).

    Examples
    --------
    >>> combine_masks({1: np.array([True, True, False]), 2: np.array([False, True, True])}, order=(2, 1))
    (array([1, 1, 2], dtype=uint8), {(2, 1): 1})
    """
    shapes = {np.shape(mask) for mask in masks.values()}
    if len(shapes) != 1:
        problem = "have different shapes" if masks else "are missing"
        raise LabelError(f"The masks to be combined {problem}; one at least is needed, and all of one shape.")
    if len(set(order)) != len(order) or set(masks) - set(order) or not all(0 < label < 256 for label in masks):
        raise LabelError(
            "The structures to be drawn do not fit their order; name every one of them "
            "once, as a label from 1 to 255. What comes later covers what came before."
        )
    drawn = [label for label in order if label in masks]
    voxels = np.zeros(shapes.pop(), dtype=np.uint8)
    for label in drawn:
        voxels[masks[label]] = label
    shared = {(a, b): int(np.count_nonzero(masks[a] & masks[b])) for a, b in combinations(drawn, 2)}
    return voxels, {pair: count for pair, count in shared.items() if count}


def _checked(points: npt.ArrayLike) -> Points:
    array = np.asarray(points, dtype=np.float64)
    if array.size == 0:
        return np.zeros((0, 2))
    if array.ndim != 2 or array.shape[1] != 2:
        raise LabelError(f"A contour has the shape (points, 2), row and column; this one has {array.shape}.")
    if not np.isfinite(array).all():
        raise LabelError("A contour holds NaN or infinite numbers. Draw it again.")
    return array


def _winding(points: Points, shape: tuple[int, int]) -> Points:
    """Give the winding number around each place, averaged over each pixel."""
    rows, columns = shape
    before, after = _pieces(points + 0.5, shape)
    middle = (before + after) / 2
    row = np.floor(middle[:, 0]).astype(np.int64)
    kept = (row >= 0) & (row < rows) & (middle[:, 1] < columns)
    row, column, fall = row[kept], middle[kept, 1], (after - before)[kept, 0]
    # A piece fills everything to its right: its own pixel in part, the next ones wholly. What lies to the left
    # of the image fills whole rows.
    place = np.floor(np.maximum(column, 0.0)).astype(np.int64)
    part = fall * np.clip(column - place, 0.0, 1.0)
    start = row * (columns + 1) + place
    size = rows * (columns + 1)
    steps = np.bincount(start, fall - part, size) + np.bincount(start + 1, part, size)
    return np.asarray(np.cumsum(steps.reshape(rows, columns + 1), axis=1)[:, :columns])


def _pieces(points: Points, shape: tuple[int, int]) -> tuple[Points, Points]:
    """Cut the closed polygon at every border between pixels of the image; give starts and ends."""
    step = np.roll(points, -1, axis=0) - points
    edges = [np.arange(len(points)), np.arange(len(points))]
    shares = [np.zeros(len(points)), np.ones(len(points))]
    for axis, size in enumerate(shape):
        start, along = points[:, axis], step[:, axis]
        # Borders outside the image do not count, so that a contour far outside costs nothing.
        low = np.ceil(np.clip(np.minimum(start, start + along), 0, size + 1)).astype(np.int64)
        high = np.floor(np.clip(np.maximum(start, start + along), -1, size)).astype(np.int64)
        count = np.where(along == 0, 0, np.maximum(high - low + 1, 0))
        edge = np.repeat(np.arange(len(points)), count)
        border = low[edge] + np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count)
        edges.append(edge)
        shares.append(np.clip((border - start[edge]) / along[edge], 0.0, 1.0))
    edge, share = np.concatenate(edges), np.concatenate(shares)
    order = np.lexsort((share, edge))
    edge, share = edge[order], share[order]
    place = points[edge] + share[:, None] * step[edge]
    same = edge[1:] == edge[:-1]
    return place[:-1][same], place[1:][same]
