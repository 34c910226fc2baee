"""The centreline of an elongated structure: a smooth curve from the feet to the head, in patient coordinates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from scipy.interpolate import CubicSpline

from autoseg.errors import DataError, ReadError
from autoseg.files.tables import read_rows, write_rows
from autoseg.image.geometry import Affine
from autoseg.words import counted

Floats = npt.NDArray[np.float64]
Point = tuple[float, float, float]
CentrelineSource = Literal["labels", "automatic", "clicked"]
# Distance between the points of a curve, and over how much of it its direction at an end is taken.
STEP_MM, END_MM = 1.0, 10.0
COLUMNS = ("x_mm", "y_mm", "z_mm", "begins_mm", "ends_mm", "source")
CLICKED = "clicked"  # a column of its own: 1 at the points that somebody clicked


@dataclass(frozen=True, eq=False)
class Centreline:
    """Where the middle of a structure lies at every height.

    Parameters
    ----------
    points_mm : (n, 3) ndarray
        DICOM patient coordinates (x to the left, y to the back, z to the head) in mm, from the feet to the head,
        close together. Between them the curve is straight, and beyond them it goes on straight.
    source : {"labels", "automatic", "clicked"}
        What it comes from: what somebody drew, a network, or points that somebody clicked.
    begins_mm, ends_mm : float, optional
        Height z at which the structure begins (below) and ends (above), as far as the image shows it.
    clicks_mm : tuple of (x, y, z)
        The points that somebody clicked, from the feet to the head; the curve runs through them.

    Raises
    ------
    DataError
        If there are fewer than two points, one of them is no number, or the curve does not rise throughout.
    """

    points_mm: Floats
    source: CentrelineSource
    begins_mm: float | None = None
    ends_mm: float | None = None
    clicks_mm: tuple[Point, ...] = ()

    def __post_init__(self) -> None:
        points = np.array(self.points_mm, dtype=np.float64)
        if points.ndim != 2 or points.shape[1:] != (3,) or len(points) < 2:
            raise DataError(
                f"A centreline is two or more points (x, y, z) in mm; these have the shape {points.shape}."
            )
        if not np.isfinite(points).all():
            raise DataError("A centreline's points hold NaN or infinite numbers. Find or click it anew.")
        if (np.diff(points[:, 2]) <= 0).any():
            place = int(np.argmax(np.diff(points[:, 2]) <= 0))
            raise DataError(
                f"A centreline rises from the feet to the head, and this one does not between the heights "
                f"{points[place, 2]:.1f} and {points[place + 1, 2]:.1f} mm. Sort its points, or click it anew."
            )
        if self.source not in get_args(CentrelineSource):
            raise DataError(
                f"The source of a centreline is {', '.join(get_args(CentrelineSource))}, not {self.source!r}."
            )
        points.flags.writeable = False
        object.__setattr__(self, "points_mm", points)

    def at(self, heights_mm: npt.ArrayLike) -> Floats:
        """Give the points (n, 3) at these heights z; beyond the ends the curve goes on straight."""
        z = np.asarray(heights_mm, dtype=np.float64)
        return np.column_stack([_read(self.points_mm[:, 2], self.points_mm[:, :2], z), z])

    def on_slices(self, affine: Affine, count: int, *, axis: int = 0) -> Floats:
        """Give where the curve meets each slice along an axis of a grid with this affine, (count, 2).

        That is the index along each of the two other axes, in their order; no whole numbers, and perhaps outside.
        """
        known = np.column_stack([self.points_mm, np.ones(len(self.points_mm))])
        index = np.asarray(known @ np.linalg.inv(affine)[:3].T, dtype=np.float64)
        index = index[np.argsort(index[:, axis])]
        across = [k for k in range(3) if k != axis]
        step = float(np.linalg.norm(affine[:3, axis]))
        return _read(index[:, axis], index[:, across], np.arange(count, dtype=np.float64), end=END_MM / step)

    def __repr__(self) -> str:
        low, high = self.points_mm[0, 2], self.points_mm[-1, 2]
        return f"Centreline({self.source}: {len(self.points_mm)} points, z from {low:.0f} to {high:.0f} mm)"


def clicked(points_mm: Sequence[Sequence[float]] | Floats) -> Centreline:
    """Lay a smooth curve through points that somebody clicked, in any order.

    A natural cubic spline over the height: it goes through every point, and straight on beyond the first and last.

    Parameters
    ----------
    points_mm : (n, 3) sequence of float
        Patient coordinates in mm (`image.affine @ (slice, row, column, 1)`), two or more at different heights.

    Raises
    ------
    DataError
        If there are fewer than two points, or two of them at the same height.

    Examples
    --------
    >>> clicked([(0, 0, 0), (2, 0, 20)]).at([10, 30]).tolist()
    [[1.0, 0.0, 10.0], [3.0, 0.0, 30.0]]
    """
    points = np.array(points_mm, dtype=np.float64)
    if points.ndim != 2 or points.shape[1:] != (3,) or len(points) < 2:
        raise DataError(
            f"Clicked: {counted(len(points), 'point')}; a centreline needs two or more, at different heights."
        )
    points = points[np.argsort(points[:, 2])]
    near = np.diff(points[:, 2]) < 1e-3
    if near.any():
        height = points[int(np.argmax(near)), 2]
        raise DataError(f"Two points were clicked at the same height (z = {height:.1f} mm). Take one of them away.")
    z = points[:, 2]
    heights = np.linspace(z[0], z[-1], max(2, math.ceil((z[-1] - z[0]) / STEP_MM) + 1))
    heights = np.union1d(heights, z)  # so that the curve, straight between its points, meets every click
    heights = heights[np.concatenate([[True], np.diff(heights) > 1e-6])]
    spline = CubicSpline(z, points[:, :2], bc_type="natural")
    curve = np.column_stack([spline(heights), heights])
    at = np.abs(heights[:, None] - z).argmin(axis=0)
    curve[at] = points  # to the last digit
    clicks = tuple((x, y, z) for x, y, z in points.tolist())
    return Centreline(curve, "clicked", clicks_mm=clicks)


def write_centreline(centreline: Centreline, path: Path | str) -> Path:
    """Write a centreline as a table (CSV), whole or not at all.

    A row a point: `x_mm, y_mm, z_mm` in DICOM patient coordinates, and in every row where the structure begins and
    ends (empty if unknown) and the source; of a clicked one also which of the points were clicked.

    Raises
    ------
    OutputError
        If it cannot be written; the message says why.
    """
    path = Path(path)
    ends = ["" if mm is None else repr(float(mm)) for mm in (centreline.begins_mm, centreline.ends_mm)]
    clicks = np.array(centreline.clicks_mm).reshape(-1, 3)[:, 2]
    # A click so near another point that the curve was not given a point of its own takes that one.
    own = {int(np.argmin(np.abs(centreline.points_mm[:, 2] - height))) for height in clicks}
    rows = [
        [*map(repr, point), *ends, centreline.source, *([int(number in own)] if own else [])]
        for number, point in enumerate(centreline.points_mm.tolist())
    ]
    write_rows(path, [*COLUMNS, CLICKED] if own else COLUMNS, rows)
    return path


def read_centreline(path: Path | str) -> Centreline:
    """Read what `write_centreline` wrote.

    Raises
    ------
    ReadError
        If the file is missing, or is no table of a centreline; the message names it and what is wrong.
    """
    path = Path(path)
    try:
        rows = [row for _, row in read_rows(path)[1]]
        points = np.array([[float(row[name]) for name in COLUMNS[:3]] for row in rows])
        begins, ends = (float(rows[0][name]) if rows[0][name] else None for name in COLUMNS[3:5])
        chosen = points[[row.get(CLICKED) == "1" for row in rows]].tolist()
        clicks = tuple((x, y, z) for x, y, z in chosen)
        return Centreline(points, rows[0]["source"], begins, ends, clicks)  # type: ignore[arg-type]  # it is checked there
    except (DataError, KeyError, IndexError, TypeError, ValueError) as error:
        raise ReadError(
            f"{path} is no table of a centreline ({error}); it has the columns {', '.join(COLUMNS)} and a row for "
            "each point. Find or click the centreline anew."
        ) from error


def _read(places: Floats, values: Floats, wanted: Floats, *, end: float = END_MM) -> Floats:
    """Read values (n, k) at growing places, between them linearly, beyond them in the direction of the ends."""
    result = np.column_stack([np.interp(wanted, places, column) for column in values.T])
    for last, inner, beyond in (
        (0, int(np.searchsorted(places, places[0] + end, side="left")), wanted < places[0]),
        (len(places) - 1, int(np.searchsorted(places, places[-1] - end, side="right")) - 1, wanted > places[-1]),
    ):
        inner = min(max(inner, 0), len(places) - 1)
        inner = inner if inner != last else len(places) - 1 - last
        slope = (values[last] - values[inner]) / (places[last] - places[inner])
        result[beyond] = values[last] + (wanted[beyond] - places[last])[:, None] * slope
    return result
