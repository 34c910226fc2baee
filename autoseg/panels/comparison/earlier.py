"""What an earlier comparison of the same name was begun with, so that one click goes on with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ipywidgets as widgets

from autoseg.errors import ReadError, SettingsError
from autoseg.evaluation.comparison import TOGETHER, title_of
from autoseg.evaluation.comparison.compared import read_state
from autoseg.evaluation.comparison.derived import EXACT
from autoseg.evaluation.comparison.run import WITHOUT
from autoseg.model.settings.settings import Settings, settings_from_dict
from autoseg.model.settings.text import show_value
from autoseg.panels.comparison.contest import finished_trainings
from autoseg.panels.parts.style import text
from autoseg.panels.parts.values import Contest
from autoseg.prediction.copies import COPY_WORDS
from autoseg.training.inputs import sees_crop

COPIED = tuple(f", {words}" for words in COPY_WORDS.values() if words)


@dataclass(frozen=True)
class Earlier:
    """What a comparison was begun with: its entries, folds and time, and what was scored as well.

    `settings` are those that the entries were made from.
    """

    chosen: tuple[str, ...]
    folds: int
    minutes: float | None
    epochs: int | None
    together: bool
    with_copies: bool
    exact: bool = False
    settings: Settings | None = field(default=None, compare=False)
    without_outliers: bool = field(default=False, compare=False)  # not known where there were none

    @property
    def words(self) -> str:
        """Say it in a line: "It was begun with U-Net and UNeXt, 3 folds, 2 minutes each"."""
        titles = [title_of(one) for one in self.chosen]
        named = f"{', '.join(titles[:-1])} and {titles[-1]}" if len(titles) > 1 else titles[0]
        unit, amount = ("minute", self.minutes) if self.minutes is not None else ("epoch", self.epochs)
        also = (", all together" if self.together else "") + (", mirrored copies" if self.with_copies else "")
        also += ", exact centrelines" if self.exact else ""
        crop = self.settings.volume.crop_mm if self.settings is not None and sees_crop(self.settings) else None
        also += f", a crop of {show_value(crop)} mm" if crop is not None else ""
        return f"It was begun with {named}, {self.folds} folds, {_count(amount, unit)} each{also}."

    def is_like(self, contest: Contest) -> bool:
        """Tell whether the contest asks for the same."""
        settings = contest.base or next(iter(contest.scenarios.values())).settings
        if contest.what == "way" and self.settings is not None and self.settings != settings:
            return False  # a network's settings are a plan's, which may be another one today
        return self == Earlier(
            tuple(contest.entries),
            contest.folds,
            settings.minutes,
            settings.epochs if settings.minutes is None else None,
            contest.together,
            contest.try_copies is not None,
            contest.exact and any(sees_crop(one.settings) for one in contest.scenarios.values()),
        )


def find_earlier(folder: Path) -> Earlier | None:
    """Read what the comparison in a folder was begun with; None where there is none, or its time is not known."""
    try:
        state = read_state(Path(folder))
    except ReadError:  # whoever compares says what is wrong with it
        return None
    base: Any = state.base or {}
    minutes, epochs = base.get("minutes"), base.get("epochs")
    if not state.entries or (minutes is None and epochs is None):
        return None
    return Earlier(
        state.entries,
        state.folds,
        minutes,
        epochs if minutes is None else None,
        TOGETHER in state.derived,
        any(name.endswith(COPIED) for name in state.derived),
        any(name.endswith(f", {EXACT}") for name in state.derived),
        _settings_of(base),
        any(name.endswith(f", {WITHOUT}") for name in state.derived),
    )


def _settings_of(base: dict[str, Any]) -> Settings | None:
    try:
        return settings_from_dict(base)
    except SettingsError:  # of another version
        return None


class EarlierRow(widgets.HBox):
    """Says what the comparison of a contest's folder was begun with, where that differs, and has a button for it.

    Parameters
    ----------
    take : callable
        Called at a click; `found` is then what it was begun with.
    """

    def __init__(self, take: Callable[[], object]) -> None:
        self.found: Earlier | None = None
        self.words = widgets.HTML()
        self.button = widgets.Button(
            description="As it was begun", tooltip="Tick and type what it was begun with", layout={"width": "auto"}
        )
        self.button.on_click(lambda _: take())
        layout = {"margin": "0 0 0 150px", "align_items": "center", "flex_flow": "row wrap", "display": "none"}
        super().__init__([self.words, self.button], layout=layout)

    def show(self, contest: Contest | None) -> None:
        """Show what differs from the contest; nothing where nothing does, or nothing was finished."""
        found = find_earlier(contest.folder) if contest is not None and finished_trainings(contest) else None
        is_other = found is not None and contest is not None and not found.is_like(contest)
        self.found = found if is_other else None
        self.words.value = text(self.found.words) if self.found else ""
        self.layout.display = "" if is_other else "none"


def _count(amount: float | None, unit: str) -> str:
    return f"{show_value(amount)} {unit}{'s' * (amount != 1)}"
