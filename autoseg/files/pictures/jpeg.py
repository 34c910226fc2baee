"""Give the pixels of a JPEG back their labels, where that is beyond doubt.

A JPEG rounds the coefficients of an orthonormal transform of 8 × 8 pixels (ITU-T T.81, annex A). By
Parseval's theorem the picture that was saved lies within a known radius of the one that is read, and two
labels whose values lie further apart than that cannot be mistaken for one another.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from autoseg.files.pictures.pictures import JpegPlanes

Array = npt.NDArray[np.float64]

BLOCK = 8
# A plain encoder rounds each coefficient to its nearest step (0.5); some round towards zero to save bytes.
ROUNDING = 0.75
# Grey levels are whole numbers before and after, and the transform is often one of integers.
BLOCK_SLACK = 6.0
# In grey levels: a coefficient this near to halfway may have been rounded to either step.
TIE = 0.5
COSINES = np.sqrt(2 / BLOCK) * np.cos(np.pi / BLOCK * np.outer(np.arange(BLOCK), np.arange(BLOCK) + 0.5))
COSINES[0] /= np.sqrt(2)


def nearest_levels(jpeg: JpegPlanes, levels: Array) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.bool_]]:
    """Give each pixel's nearest level, and whether it is in doubt.

    A block of 8 × 8 is beyond doubt if its nearest levels, coded again, give the very values that are in the
    file, and no other choice of levels lies within the radius. The best other choice changes the one pixel
    that loses least by it. Clipping to 0..255 only brings a picture nearer to the one that was saved.

    Parameters
    ----------
    jpeg : JpegPlanes
        Planes at full resolution.
    levels : (n, planes) ndarray of float
        At least two values that pixels can have had.

    Returns
    -------
    (rows, columns) ndarray of int
        Index into `levels`.
    (rows, columns) ndarray of bool
        True where another level explains the file as well, or these levels do not explain it at all.
    """
    squares = np.stack([((jpeg.planes - level[:, None, None]) ** 2).sum(axis=0) for level in levels])
    first, second = np.partition(squares, 1, axis=0)[:2]
    nearest = squares.argmin(axis=0)
    saved = np.moveaxis(np.round(levels)[nearest], -1, 0)
    coded = [_code(plane, steps) for plane, steps in zip(saved, jpeg.steps, strict=True)]
    again, ties = np.stack(coded, axis=1)
    left = ((jpeg.planes - again) ** 2).sum(axis=0)
    allowed = (BLOCK_SLACK + np.sqrt(ties.sum(axis=0))) ** 2
    inexplicable = (_block_sums(left) > allowed) & (left > allowed / BLOCK**2)
    explained_otherwise = _block_sums(first) - first + second <= block_radius(jpeg) ** 2
    return nearest, explained_otherwise | inexplicable


def block_radius(jpeg: JpegPlanes) -> float:
    """Give how far a block can lie from the one that was saved, as the root of its summed squares."""
    # Planes of colour are also rounded when they are computed from red, green and blue.
    slack = BLOCK_SLACK if len(jpeg.planes) == 1 else BLOCK_SLACK + BLOCK / 2
    per_plane = ROUNDING * np.sqrt((jpeg.steps**2).sum(axis=(1, 2))) + slack
    return float(np.sqrt((per_plane**2).sum()))


def ycbcr_of_rgb(rgb: Array) -> Array:
    """Turn (n, 3) red, green, blue, 0 to 255, into Y, Cb, Cr (ITU-T T.871, section 7).

    Examples
    --------
    >>> ycbcr_of_rgb(np.array([[255.0, 0.0, 0.0]])).round().tolist()
    [[76.0, 85.0, 256.0]]
    """
    weights = [(0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312)]
    return np.asarray(rgb @ np.array(weights).T + (0, 128, 128))


def _code(plane: Array, steps: Array) -> Array:
    """Give a plane as a JPEG with these steps shows it, and the summed squares that ties may change."""
    rows, columns = plane.shape
    padded = np.pad(plane - 128, ((0, -rows % BLOCK), (0, -columns % BLOCK)), mode="edge")
    blocks = padded.reshape(padded.shape[0] // BLOCK, BLOCK, -1, BLOCK).swapaxes(1, 2)
    exact = COSINES @ blocks @ COSINES.T / steps
    rounded = np.round(exact)
    ties = ((np.abs(exact - rounded) > 0.5 - TIE / steps) * steps**2).sum(axis=(2, 3), keepdims=True)
    shown = np.clip(COSINES.T @ (rounded * steps) @ COSINES + 128, 0, 255)
    both = np.stack([shown, np.broadcast_to(ties, shown.shape)])
    return both.swapaxes(2, 3).reshape(2, *padded.shape)[:, :rows, :columns]


def _block_sums(values: Array) -> Array:
    """Give every pixel the sum over its block; blocks are cut off at the picture's edge."""
    rows, columns = values.shape
    starts = np.arange(0, rows, BLOCK), np.arange(0, columns, BLOCK)
    sums = np.add.reduceat(np.add.reduceat(values, starts[0], axis=0), starts[1], axis=1)
    return np.asarray(sums.repeat(BLOCK, axis=0)[:rows].repeat(BLOCK, axis=1)[:, :columns])
