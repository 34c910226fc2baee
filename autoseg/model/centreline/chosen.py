"""Curves that a person chose, image by image: points that were clicked, or a curve that was loaded."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence

from autoseg.model.centreline.curve import Centreline, Point, clicked


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
        """Take these points for an image in place of the former ones; none at all also forgets a loaded curve.

        Raises
        ------
        DataError
            If no curve runs through them; the former ones stay then.
        """
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
