"""The curve through the middle of a structure: its sections' centroids, smoothed by a regularised spline, in mm."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.interpolate import BSpline

from autoseg.errors import DataError

Points = npt.NDArray[np.float64]

SMOOTHING_MM = 6.0
FEWEST_SECTIONS = 3
# With fewer sections the curve bends towards a straight line, with more towards a parabola.
FEWEST_FOR_PARABOLA = 6
KNOTS_PER_SMOOTHING = 4
PARTS_PER_SECTION = 16  # for the length of the curve between two sections


@dataclass(frozen=True, eq=False)
class Curve:
    """A smooth curve in patient coordinates (x left, y back, z head), given where it meets each section.

    `points_mm` and the unit `tangents` have shape (sections, 3); `arc_mm` (sections,) is the length of the curve
    from the first section. `spline` gives the point for a distance from the first section along the stack.
    """

    points_mm: Points
    tangents: Points
    arc_mm: Points
    positions_mm: Points
    spline: BSpline

    @property
    def length_mm(self) -> float:
        """The length from the first section to the last."""
        return float(self.arc_mm[-1])

    def at(self, arc_mm: npt.ArrayLike) -> tuple[Points, Points]:
        """Give points and unit tangents at lengths along the curve, each of shape (n, 3)."""
        fine = _fine(self.positions_mm)
        lengths = _lengths(self.spline, fine)
        along = np.interp(np.asarray(arc_mm, dtype=np.float64), lengths, fine)
        return self.spline(along), _unit(self.spline(along, 1))


def smooth_curve(
    points_mm: npt.ArrayLike,
    positions_mm: npt.ArrayLike,
    *,
    weights: npt.ArrayLike | None = None,
    smoothing_mm: float = SMOOTHING_MM,
) -> Curve:
    """Lay a smooth curve along the centroids of a structure's sections.

    A cubic spline with equally spaced knots is fitted by least squares with a penalty on the third differences of
    its coefficients (a P-spline: Eilers and Marx, Statistical Science 11:89, 1996). Straight lines and parabolas
    are kept exactly, also at the ends, where a penalty on the second derivative would bend the curve straight.
    The penalty is set by a length: waves of the centroids shorter than about 2 pi times `smoothing_mm` are smoothed
    away, however far apart the sections are. A section whose weight is 0, where the structure is missing, has a
    point on the curve too.

    Examples
    --------
    A line that climbs 3 mm and runs 4 mm to the left with each section:

    >>> line = smooth_curve([[4.0 * i, 0.0, 3.0 * i] for i in range(5)], [3.0 * i for i in range(5)])
    >>> line.arc_mm.round(6).tolist(), line.tangents[2].round(6).tolist()
    ([0.0, 5.0, 10.0, 15.0, 20.0], [0.8, 0.0, 0.6])
    """
    points, positions = np.asarray(points_mm, dtype=np.float64), np.asarray(positions_mm, dtype=np.float64)
    counts = np.ones(len(points)) if weights is None else np.asarray(weights, dtype=np.float64)
    used = counts > 0
    if int(used.sum()) < FEWEST_SECTIONS:
        raise DataError(
            f"A curve needs the structure on at least {FEWEST_SECTIONS} sections; {int(used.sum())} show it."
        )
    if not (np.isfinite(smoothing_mm) and smoothing_mm > 0):
        raise DataError(f"The smoothing of the curve is {smoothing_mm} mm; give a length above 0, for instance 6.")
    length = positions[-1] - positions[0]
    step = length / (len(positions) - 1)
    pieces = max(1, int(np.ceil(length / max(step, smoothing_mm / KNOTS_PER_SMOOTHING))))
    between = length / pieces
    knots = positions[0] + between * np.arange(-3, pieces + 4)
    # The last section lies on the last knot; rounding must not put it behind.
    inside = np.clip(positions, knots[3], knots[-4])
    basis = BSpline.design_matrix(inside[used], knots, 3).toarray()
    order = 3 if int(used.sum()) >= FEWEST_FOR_PARABOLA else 2
    rough = np.diff(np.eye(pieces + 3), order, axis=0)
    penalty = smoothing_mm ** (2 * order) / (between ** (2 * order - 1) * step)
    middle = points[used].mean(axis=0)
    left = basis.T @ (counts[used, None] * basis) + penalty * rough.T @ rough
    right = basis.T @ (counts[used, None] * (points[used] - middle))
    spline = BSpline(knots, np.linalg.solve(left, right) + middle, 3)
    fine = _fine(inside)
    arc = _lengths(spline, fine)[::PARTS_PER_SECTION]
    return Curve(spline(inside), _unit(spline(inside, 1)), arc, inside, spline)


def _fine(positions: Points) -> Points:
    """Give every section's position and those between, `PARTS_PER_SECTION` steps from one to the next."""
    places = np.arange(PARTS_PER_SECTION * (len(positions) - 1) + 1) / PARTS_PER_SECTION
    return np.interp(places, np.arange(len(positions)), positions)


def _lengths(spline: BSpline, fine: Points) -> Points:
    steps = np.linalg.norm(np.diff(spline(fine), axis=0), axis=1)
    return np.concatenate([[0.0], np.cumsum(steps)])


def _unit(vectors: Points) -> Points:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / lengths, dtype=np.float64)
