"""Points that somebody clicks on slices, the curve through them, and where a curve leaves its image."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence

import numpy as np

from autoseg.errors import DataError
from autoseg.image.image import Image
from autoseg.model.centreline.curve import Centreline, Floats, Point, clicked
from autoseg.words import say_slices


def point_on(view: Image, slice_index: int, row: float, column: float) -> Point:
    """Give the place of a click in patient coordinates, in mm; slices count from 0, pixels' middles are whole."""
    slices, rows, columns = view.shape
    inside = 0 <= slice_index < slices and -0.5 <= row <= rows - 0.5 and -0.5 <= column <= columns - 0.5
    if not inside:
        raise DataError(
            f"{view.source.name}: the point on slice {slice_index + 1}, row {row:.1f}, column {column:.1f} lies "
            f"outside the image, which has {slices} slices of {rows} × {columns} pixels. Click inside the picture."
        )
    x, y, z = (view.calibrated_affine @ [slice_index, row, column, 1])[:3].tolist()
    return x, y, z


def place_on(view: Image, point: Point) -> tuple[int, float, float]:
    """Give the slice (from 0), row and column that are nearest to a point; perhaps outside the image."""
    index, row, column = (np.linalg.inv(view.calibrated_affine) @ [*point, 1])[:3].tolist()
    return round(index), row, column


def add_click(view: Image, points: Sequence[Point], point: Point) -> tuple[Point, ...]:
    """Give points, from the feet to the head, with a further one; it takes the place of one on the same slice."""
    slice_index, row, column = place_on(view, point)
    point_on(view, slice_index, row, column)
    others = [other for other in points if place_on(view, other)[0] != slice_index]
    return tuple(sorted([*others, point], key=lambda one: one[2]))


def slices_outside(centreline: Centreline, view: Image) -> tuple[int, ...]:
    """Give the axial slices of an image (from 0) on which a curve lies beside it."""
    places = _places(centreline, view)
    sizes = np.array(view.shape[1:])
    beside = ((places < -0.5) | (places > sizes - 0.5)).any(axis=1)
    return tuple(np.flatnonzero(beside).tolist())


def check_on(centreline: Centreline, view: Image) -> str:
    """Say on which slices a curve leaves an image, and what to do; "" where it does not.

    One that meets the image nowhere is another image's: that is an error.
    """
    outside = slices_outside(centreline, view)
    count = view.shape[0]
    points = np.column_stack([centreline.points_mm, np.ones(len(centreline.points_mm))])
    along = points @ np.linalg.inv(view.calibrated_affine)[0]
    if len(outside) == count or along.min() > count - 0.5 or along.max() < -0.5:
        low, high = centreline.points_mm[[0, -1], 2]
        first, last = sorted(view.calibrated_affine[2, 3] + view.calibrated_affine[2, 0] * np.array([0, count - 1]))
        raise DataError(
            f"{view.source.name}: the centreline ({centreline.source}) does not meet the image. It runs from z = "
            f"{low:.0f} to {high:.0f} mm, and the image lies between {first:.0f} and {last:.0f} mm. Use the "
            "centreline of this image, or click it."
        )
    if not outside:
        return ""
    where = f"slice{'s' if len(outside) > 1 else ''} {say_slices(outside)}"
    return (
        f"On {where} the curve leaves the image; what is seen there stays at its edge. Click a point on a slice "
        "near there, or move the nearest one."
    )


def crop_sizes(crop_mm: tuple[float, float], orientation: str) -> tuple[float, float]:
    """Give what a model sees around a centreline from right to left and from front to back, in mm.

    Examples
    --------
    >>> crop_sizes((40, 30), "RPI"), crop_sizes((30, 40), "IAR")
    ((40, 30), (40, 30))
    """
    across = [letter for letter in orientation if letter not in "IS"]
    first, second = crop_mm
    return (first, second) if across[0] in "RL" else (second, first)


def places_along(centreline: Centreline, view: Image) -> list[tuple[int, float, float]]:
    """Give where a curve meets each slice that it does not miss: slice, row, column."""
    outside = set(slices_outside(centreline, view))
    return [
        (index, row, column)
        for index, (row, column) in enumerate(_places(centreline, view).tolist())
        if index not in outside
    ]


def _places(centreline: Centreline, view: Image) -> Floats:
    return centreline.on_slices(view.calibrated_affine, view.shape[0])


# --- curves that a person chose, image by image: points that were clicked, or a curve that was loaded


class ChosenCurves:
    """Keeps for each image the points that were clicked, or a curve that was loaded; changes can be taken back.

    Keys stand for images. A first point beside a loaded curve leaves it in use; the second begins a new curve.
    """

    def __init__(self) -> None:
        self._kept: dict[Hashable, tuple[tuple[Point, ...], Centreline | None]] = {}
        self._former: list[tuple[Hashable, tuple[Point, ...], Centreline | None]] = []

    def points(self, key: Hashable) -> tuple[Point, ...]:
        """Give the points of an image, from the feet to the head."""
        return self._kept.get(key, ((), None))[0]

    def curve(self, key: Hashable) -> Centreline | None:
        """Give the curve that was chosen for an image; None as long as there is none."""
        points, loaded = self._kept.get(key, ((), None))
        return clicked(points) if len(points) > 1 else loaded

    def keep(self, key: Hashable, points: Sequence[Point]) -> None:
        """Take these points for an image in place of the former ones; none at all also forgets a loaded curve."""
        if len(points) > 1:
            clicked(points)
        former, loaded = self._kept.get(key, ((), None))
        self._former.append((key, former, loaded))
        self._kept[key] = (tuple(points), loaded if len(points) == 1 else None)

    def load(self, key: Hashable, line: Centreline) -> None:
        """Take a curve for an image; by its points, if it was clicked."""
        self._former.append((key, *self._kept.get(key, ((), None))))
        self._kept[key] = (line.clicks_mm, None) if len(line.clicks_mm) > 1 else ((), line)

    def can_undo(self, keys: Collection[Hashable]) -> bool:
        """Tell whether something of these images was changed."""
        return any(key in keys for key, _, _ in self._former)

    def undo(self, keys: Collection[Hashable]) -> None:
        """Take back the last change of these images."""
        for place in reversed(range(len(self._former))):
            key, points, loaded = self._former[place]
            if key in keys:
                self._kept[key] = (points, loaded)
                del self._former[place]
                return
