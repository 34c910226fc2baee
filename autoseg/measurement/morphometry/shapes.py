"""The shape of one section: the ellipse with the same second moments, solidity, pieces and holes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import ConvexHull, QhullError

Matrix = npt.NDArray[np.float64]

FEWEST_PIXELS = 9  # of fewer no shape is told
ROUND = 0.97  # an ellipse whose axes are more alike than this has no direction
_CORNERS_TOO = np.ones((3, 3), dtype=bool)


@dataclass(frozen=True, eq=False)
class PixelShape:
    """What the pixels of a section tell, counted in pixels; rows and columns as in the array.

    `weight` is the number of pixels, or the sum of their shares; `centroid` (2,) and `covariance` (2, 2) are of
    (row, column). `solidity` is NaN below nine pixels. `largest_share` is the largest piece's share of the pixels.
    """

    pixel_count: int
    weight: float
    centroid: Matrix
    covariance: Matrix
    solidity: float
    components: int
    largest_share: float
    holes: int


@dataclass(frozen=True)
class Ellipse:
    """An ellipse in a plane: the lengths of its axes in mm, its eccentricity, and the direction of the longer one.

    `angle_deg` is counted from the plane's first axis towards the second, above -90 and up to 90; NaN where the
    ellipse is almost a circle.
    """

    major_mm: float
    minor_mm: float
    eccentricity: float
    angle_deg: float

    @property
    def along_first_mm(self) -> float:
        """The axis that lies nearer to the plane's first direction; of a circle its diameter."""
        return self.major_mm if math.isnan(self.angle_deg) or abs(self.angle_deg) <= 45 else self.minor_mm

    @property
    def along_second_mm(self) -> float:
        """The axis that lies nearer to the plane's second direction."""
        return self.minor_mm if math.isnan(self.angle_deg) or abs(self.angle_deg) <= 45 else self.major_mm


NO_ELLIPSE = Ellipse(math.nan, math.nan, math.nan, math.nan)


def describe_pixels(weights: npt.NDArray[np.floating]) -> PixelShape:
    """Describe one section from each pixel's share, 0 to 1, (rows, columns); a pixel counts from one half on.

    Examples
    --------
    >>> shape = describe_pixels(np.ones((3, 5)))
    >>> shape.pixel_count, shape.centroid.tolist(), shape.covariance.round(3).tolist(), shape.solidity
    (15, [1.0, 2.0], [[0.667, 0.0], [0.0, 2.0]], 1.0)
    """
    rows, columns = np.nonzero(weights)
    of = weights[rows, columns].astype(np.float64)
    places = np.stack([rows, columns]).astype(np.float64)
    total = float(of.sum())
    centroid = places @ of / total
    apart = places - centroid[:, None]
    covariance = (apart * of) @ apart.T / total
    mask = weights >= 0.5
    pieces, components = ndimage.label(mask, structure=_CORNERS_TOO)
    count = int(np.count_nonzero(mask))
    largest = int(np.bincount(pieces.ravel())[1:].max()) if components else 0
    holes = int(ndimage.label(np.pad(~mask, 1, constant_values=True))[1]) - 1
    return PixelShape(
        pixel_count=count,
        weight=total,
        centroid=centroid,
        covariance=covariance,
        solidity=_solidity(mask) if count >= FEWEST_PIXELS else math.nan,
        components=int(components),
        largest_share=largest / count if count else math.nan,
        holes=holes,
    )


def fit_ellipse(covariance_mm2: npt.ArrayLike) -> Ellipse:
    """Give the ellipse with these second moments: an axis is four standard deviations long.

    Examples
    --------
    An ellipse of 8 mm x 6 mm whose longer axis is turned by 30 degrees:

    >>> turn = np.array([[np.cos(np.pi / 6), -0.5], [0.5, np.cos(np.pi / 6)]])
    >>> found = fit_ellipse(turn @ np.diag([4.0, 2.25]) @ turn.T)
    >>> round(found.major_mm, 6), round(found.minor_mm, 6), round(found.angle_deg, 6)
    (8.0, 6.0, 30.0)
    """
    values, vectors = np.linalg.eigh(np.asarray(covariance_mm2, dtype=np.float64))
    minor, major = 4 * np.sqrt(np.maximum(values, 0.0))
    if major == 0:
        return NO_ELLIPSE
    first, second = vectors[:, 1]
    angle = math.degrees(math.atan2(second, first))
    angle = angle - 180 if angle > 90 else angle + 180 if angle <= -90 else angle
    direction = math.nan if minor > ROUND * major else angle
    return Ellipse(float(major), float(minor), math.sqrt(max(0.0, 1 - (minor / major) ** 2)), direction)


def _solidity(mask: npt.NDArray[np.bool_]) -> float:
    """Give the pixels over the pixels whose centres lie in the convex hull of the centres.

    A hull around the pixels' edges would call a small disc less solid than a large one.
    """
    rows, columns = np.nonzero(mask)
    centres = np.stack([rows, columns], axis=1).astype(np.float64)
    try:
        sides = ConvexHull(centres).equations
    except QhullError:  # all on one line
        return len(centres) / (max(np.ptp(rows), np.ptp(columns)) + 1)
    size = (int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1)
    grid = np.indices(size).reshape(2, -1) + centres.min(axis=0)[:, None]
    inside = (sides[:, :2] @ grid + sides[:, 2:] <= 1e-9).all(axis=0)
    return len(centres) / int(inside.sum())
