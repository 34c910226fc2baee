"""Outlines of a mask along the borders of its pixels: closed polygons whose area is that of the pixels.

They are the way back from what `autoseg.image.contours` does. Points are (row, column) with the centres of pixels
at whole numbers, so that all corners lie at halves.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Mask = npt.NDArray[np.bool_]
Point = tuple[int, int]
# Clockwise on the screen, row first: the order in which a border turns to the right.
RIGHT, DOWN, LEFT, UP = (0, 1), (1, 0), (0, -1), (-1, 0)
TURNS = (RIGHT, DOWN, LEFT, UP)


def outline_mask(mask: Mask) -> list[npt.NDArray[np.float64]]:
    """Give one closed polygon for each piece of a mask, along the borders of its pixels.

    Pieces that touch at a corner only are two. A hole is joined to the outside by a line there and back (a keyhole,
    DICOM PS3.3 C.8.8.6.3), so that every rule of filling, and the shoelace formula, leave it out.

    Parameters
    ----------
    mask : (rows, columns) ndarray of bool

    Returns
    -------
    list of (points, 2) ndarray
        Row and column of each corner, in order; empty where the mask is. The last point is not the first again.

    Examples
    --------
    >>> outline_mask(np.array([[False, True, True]]))
    [array([[-0.5,  0.5],
           [-0.5,  2.5],
           [ 0.5,  2.5],
           [ 0.5,  0.5]])]
    """
    pieces, _ = ndimage.label(mask)
    found = []
    for number, window in enumerate(ndimage.find_objects(pieces), start=1):
        ring = _joined(_rings(pieces[window] == number))
        found.append(np.add(ring, (window[0].start - 0.5, window[1].start - 0.5)))
    return found


def _rings(piece: Mask) -> list[list[Point]]:
    """Walk along the borders of a piece, which lies to the right, from corner to corner of its pixels.

    The outer ring comes first, then the holes from left to right, each from its upper left corner.
    """
    padded = np.pad(piece, 1)
    steps: dict[Point, list[Point]] = defaultdict(list)
    # Of a pixel without a neighbour there, where that border begins, and which way it runs.
    for (down, across), begin, way in (
        (UP, (0, 0), RIGHT),
        (RIGHT, (0, 1), DOWN),
        (DOWN, (1, 1), LEFT),
        (LEFT, (1, 0), UP),
    ):
        beside = padded[1 + down : padded.shape[0] - 1 + down, 1 + across : padded.shape[1] - 1 + across]
        for row, column in (np.argwhere(piece & ~beside) + begin).tolist():
            steps[row, column].append(way)
    rings = []
    while steps:
        # The leftmost corner, of those the uppermost.
        start = min(steps, key=lambda point: (point[1], point[0]))
        ring, place, way = [], start, steps[start][0]
        while place in steps:
            ways = steps[place]
            # Where two pixels touch at a corner the border turns to the right, round the pixel that it is at.
            turn = (TURNS.index(way) + 1) % 4
            way = ways[0] if len(ways) == 1 else TURNS[turn] if TURNS[turn] in ways else ways[0]
            ways.remove(way)
            if not ways:
                del steps[place]
            ring.append(place)
            place = (place[0] + way[0], place[1] + way[1])
        rings.append(ring)
    return rings


def _joined(rings: list[list[Point]]) -> list[Point]:
    """Join holes to what lies to the left of them, and leave out all that is no corner."""
    whole, ends = rings[0], set[Point]()
    for hole in rings[1:]:
        row, column = hole[0]
        taken = set(whole)
        reached = next(place for place in ((row, at) for at in range(column, -1, -1)) if place in taken)
        at = whole.index(reached)
        whole = [*whole[: at + 1], *hole, hole[0], *whole[at:]]
        ends |= {reached, hole[0]}
    corners = []
    for before, point, after in zip([whole[-1], *whole[:-1]], whole, [*whole[1:], whole[0]], strict=True):
        is_straight = (point[0] - before[0]) * (after[1] - point[1]) == (point[1] - before[1]) * (
            after[0] - point[0]
        )
        if point != before and (point in ends or not is_straight):
            corners.append(point)
    return corners
