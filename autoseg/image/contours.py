"""Contours drawn by hand become pixels by the area that they cover; masks become one label map.

A contour is a polygon in pixel coordinates, points (row, column), with the centres of pixels at whole numbers:
pixel (0, 0) reaches from -0.5 to 0.5. It is closed from its last point to its first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


def fill_contours(contours: Sequence[npt.ArrayLike], shape: tuple[int, int]) -> Mask:
    """Give the pixels that several contours of one structure cover, shape (rows, columns), as `fill_contour` does.

    A contour inside another is a hole in it, one inside that an island, and so on; where two contours cross,
    what they share is left out (exclusive or). No contour gives an empty mask.
    """
    shares = contours_coverage([_checked(points) + NUDGE for points in contours], shape)
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
    inner ring and back (a keyhole) is a line without area. Where a contour crosses itself, as at the end of one
    drawn by hand, the loop belongs to the inside (non-zero winding).

    Examples
    --------
    >>> coverage([(-0.5, -0.5), (-0.5, 1.0), (0.5, 1.0), (0.5, -0.5)], (2, 3))
    array([[1. , 0.5, 0. ],
           [0. , 0. , 0. ]])
    """
    return np.minimum(np.abs(_winding(_checked(points), shape)), 1.0)


def contours_coverage(contours: Sequence[npt.ArrayLike], shape: tuple[int, int]) -> Points:
    """Give the share of every pixel, 0 to 1, inside an odd number of contours, shape (rows, columns).

    Exact where no two contours cross; in the pixels in which they do, it is an approximation.
    """
    rings = [coverage(points, shape) for points in contours]
    depth = [0] * len(rings)
    for first, second in combinations(range(len(rings)), 2):
        inner, outer = sorted((first, second), key=lambda ring: float(rings[ring].sum()))
        shared = np.minimum(rings[inner], rings[outer]).sum()
        depth[inner] += bool(shared > 0.5 * rings[inner].sum())
    # Holes are taken away rather than folded, so that a wall thinner than a pixel keeps its area.
    total = np.zeros(shape)
    for ring, level in zip(rings, depth, strict=True):
        total += ring if level % 2 == 0 else -ring
    # Twice covered is outside again: 0 at 0 and 2, 1 at 1.
    return np.abs((total + 1.0) % 2.0 - 1.0)


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
        raise LabelError(f"Masks of {len(masks)} structure(s) have the shapes {sorted(shapes)}; one is needed.")
    if len(set(order)) != len(order) or set(masks) - set(order) or not all(0 < label < 256 for label in masks):
        raise LabelError(
            f"Structures {sorted(masks)} are to be drawn in the order {list(order)}; name every one of them "
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
