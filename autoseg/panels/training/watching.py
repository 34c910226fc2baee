"""The slices that improve before one's eyes, redrawn for a small share of the time of learning."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from autoseg.data.split import Split
from autoseg.image.image import LabelMap
from autoseg.image.structures import Structure
from autoseg.model.model import TrainedModel
from autoseg.prediction.watched import WatchedSlice, choose_watched, draw_watched, predict_watched

# The slices are redrawn at most so often, and at most for this share of the time.
EVERY_S, SHARE = 3.0, 0.04


@dataclass(frozen=True)
class SlicePicture:
    """A watched slice as it was last drawn: JPEG, whose it is, and by which epoch (0: the reference alone)."""

    jpeg: bytes
    caption: str
    epoch: int


class Budget:
    """Says when work beside the learning may be done again: not too often, and for a small share of the time.

    Parameters
    ----------
    every_s : float
        Seconds between two pieces of work, at least.
    share : float
        Largest share of the time, more than 0 to 1: after costly work the pause is so much longer.
    """

    def __init__(self, every_s: float, share: float) -> None:
        self.every_s, self.share = every_s, share
        self.spent_s, self._next = 0.0, 0.0

    def is_due(self) -> bool:
        """Tell whether the work may be done now."""
        return time.monotonic() >= self._next

    def do(self, work: Callable[[], None]) -> None:
        """Do it, and note what it cost."""
        start = time.monotonic()
        try:
            work()
        finally:
            end = time.monotonic()
            self.spent_s += end - start
            self._next = end + max(self.every_s, (end - start) / self.share)


class SliceWatch:
    """A few fixed slices of a split, and their latest pictures.

    `pictures` is empty until `choose`; `side` says of which side they are, "validation" or "training"; `problem`
    says why they could not be drawn, in which case there are none. Nothing here raises: no picture is worth a
    training.

    Parameters
    ----------
    most : int
        How many slices; 0: none.
    """

    def __init__(self, *, most: int = 6) -> None:
        self.most, self.side, self.problem = most, "validation", ""
        self.pictures: tuple[SlicePicture, ...] = ()
        self.budget = Budget(EVERY_S, SHARE)
        self._slices: tuple[WatchedSlice, ...] = ()

    def choose(
        self, split: Split, structures: Sequence[Structure], neighbours: int = 0, *, volumes: bool = False
    ) -> None:
        """Choose the slices, and draw them with their reference alone.

        `neighbours` is that of the settings; `volumes` tells that volumes are learnt from.
        """
        try:
            if self.most:
                self._slices = choose_watched(
                    split, structures, most=self.most, neighbours=neighbours, volumes=volumes
                )
        except Exception as error:
            self.problem = str(error)
        if self._slices:
            self.side = self._slices[0].side
            self.draw(None)

    def draw_if_due(self, model: TrainedModel) -> None:
        """Draw the slices with what a model predicts, if that does not cost too much of the time."""
        if self._slices and self.budget.is_due():
            self.budget.do(lambda: self.draw(model))

    def draw(self, model: TrainedModel | None) -> None:
        """Draw the slices with what a model predicts, or with the reference alone."""
        try:
            predicted: tuple[LabelMap | None, ...] = (None,) * len(self._slices)
            if model is not None and self._slices:
                predicted = predict_watched(model, self._slices)
            self.pictures = tuple(
                SlicePicture(draw_watched(one, labels), one.caption, model.best_epoch if model else 0)
                for one, labels in zip(self._slices, predicted, strict=True)
            )
        except Exception as error:
            self.problem, self._slices, self.pictures = str(error), (), ()
