"""What a cross-validation or a comparison tells while it works, beside the events of a training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from autoseg.model.model import EpochResult
from autoseg.training.events import Event, OnEvent

# Called with the entry's name, the fold's number from 1, and what the epoch gave.
OnEpoch = Callable[[str, int, EpochResult], object]


@dataclass(frozen=True)
class FoldEvent(Event):
    """Something that happened to an entry in a fold (from 1); `line` is for people, "" for none."""

    entry: str
    fold: int
    line: str

    def __str__(self) -> str:
        return self.line


@dataclass(frozen=True)
class FoldBegins(FoldEvent):
    """It is learnt or scored, or read where it was finished before."""


@dataclass(frozen=True)
class FoldEpoch(FoldEvent):
    """An epoch of its training was learnt."""

    result: EpochResult


@dataclass(frozen=True)
class FoldFailed(FoldEvent):
    """It failed; the other entries go on without this one."""


def speaking(tell: Callable[[str], object] | None, on_epoch: OnEpoch | None = None) -> OnEvent:
    """Give what hands the lines of events to `tell` and epochs to `on_epoch`, as the public functions do."""

    def hear(event: Event) -> None:
        if tell is not None and (line := str(event)):
            tell(line)
        if on_epoch is not None and isinstance(event, FoldEpoch):
            on_epoch(event.entry, event.fold, event.result)

    return hear
