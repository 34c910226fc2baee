"""What a long run tells while it works: one dataclass for each thing that happens.

Programs look at the event; people read its line, which is `str(event)`. No program reads the line.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from autoseg.errors import Told, private
from autoseg.image.structures import Structure
from autoseg.model.model import EpochResult
from autoseg.model.settings.settings import Settings
from autoseg.training.history import format_epoch
from autoseg.words import counted


@dataclass(frozen=True)
class Event:
    """Something that happened; `str` gives its line."""


@dataclass(frozen=True)
class Note(Event):
    """Words for people alone: nothing follows from them."""

    words: str

    def __str__(self) -> str:
        return self.words


@dataclass(frozen=True)
class Epoch(Event):
    """An epoch was learnt, of those that are told (`settings.print_checkpoint`)."""

    result: EpochResult
    structures: tuple[Structure, ...]
    settings: Settings
    indent: str = ""

    def __str__(self) -> str:
        return self.indent + format_epoch(self.result, self.structures, settings=self.settings)


@dataclass(frozen=True)
class Saved(Event):
    """A model was saved on the way: where, and of which epoch."""

    path: Path
    epoch: int

    def __str__(self) -> str:
        return f"Model saved at {self.path} (epoch {self.epoch})"


@dataclass(frozen=True)
class Finder(Event):
    """A finder of the centreline begins to learn, or is read: that of a fold, or the one of the model's own file.

    `subjects` are those whose centrelines it finds, or, where `fold` is None, those that it learns from.
    """

    subjects: tuple[str, ...]
    fold: int | None = None
    folds: int = 0

    @property
    def title(self) -> str:
        """What learns, in words."""
        return "The finder itself" if self.fold is None else f"Centrelines, fold {self.fold} of {self.folds}"

    def __str__(self) -> str:
        if self.fold is None:
            return f"{self.title}, from {counted(len(self.subjects), 'patient')}"
        return Told(f"{self.title}: {', '.join(map(private, self.subjects))}")


OnEvent = Callable[[Event], object]


def listener(tell: Callable[[str], object] | None, on_event: OnEvent | None = None) -> OnEvent:
    """Give what passes an event on: its line to `tell`, itself to `on_event`, whichever there is."""

    def hear(event: Event) -> None:
        if on_event is not None:
            on_event(event)
        if tell is not None:
            tell(str(event))

    return hear
