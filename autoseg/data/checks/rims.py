"""Values that stand only between two others: what smoothing, resizing or a JPEG leaves at borders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage


@dataclass(frozen=True)
class Rim:
    """Pixels of one value that are rims, their share of its pixels, and of all places where they could be.

    They could be wherever a lower value touches a higher one; smoothing leaves hardly any such place.
    """

    pixels: int
    share: float
    between: float


# Of a volume so many slices with labels are looked at, evenly chosen.
MOST_SLICES = 12


def find_rims(codes: npt.NDArray[np.integer], values: Sequence[int], drawn: npt.NDArray[np.intp]) -> dict[int, Rim]:
    """Give, for each value, how much of it is rim.

    A rim is at most two pixels wide, with a lower and a higher value beside it.

    Parameters
    ----------
    codes : (slices, rows, columns) ndarray of integers
        Labels numbered from 1 on in the order of their values, 0 for background.
    values : sequence of int
        The values behind those numbers, in rising order.
    drawn : (n,) ndarray of int
        Slices with labels.

    Examples
    --------
    >>> smeared = np.array([[[0, 0, 1, 2, 2], [0, 0, 1, 2, 2], [0, 0, 1, 2, 2]]])
    >>> find_rims(smeared, (128, 255), np.array([0]))[128]
    Rim(pixels=3, share=1.0, between=1.0)
    """
    size = len(values) + 1
    rims, pixels, direct = (np.zeros(size, dtype=np.int64) for _ in range(3))
    places = np.linspace(0, len(drawn) - 1, min(MOST_SLICES, len(drawn))).round().astype(int)
    for index in drawn[places].tolist() if len(values) > 1 else ():
        one = codes[index]
        lowest = ndimage.minimum_filter(one, size=3, mode="nearest")
        highest = ndimage.maximum_filter(one, size=3, mode="nearest")
        # The inside of something wider than two pixels, grown back: no rim.
        wide = ndimage.maximum_filter(np.where(lowest == highest, one, 0), size=3, mode="nearest") == one
        pixels += np.bincount(one.ravel(), minlength=size)
        rims += np.bincount(one[(lowest < one) & (one < highest) & ~wide], minlength=size)
        # Where a lower and a higher value touch, every value between the two is passed over.
        touching = (one == highest) & (lowest < highest)
        steps = np.bincount(lowest[touching] + 1, minlength=size + 1)[:size]
        steps -= np.bincount(highest[touching], minlength=size)
        direct += np.cumsum(steps)
    found = zip(values, rims[1:].tolist(), pixels[1:].tolist(), direct[1:].tolist(), strict=True)
    return {v: Rim(rim, rim / max(all_, 1), rim / max(rim + passed, 1)) for v, rim, all_, passed in found}
