"""What every comparison is asked: its name, how long each learns, and into how many folds people are divided."""

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
from autoseg.model.settings.text import parse_value, show_value
from autoseg.panels.comparison.comparing import describe_folder
from autoseg.panels.comparison.contest import finished_trainings
from autoseg.panels.parts.style import text
from autoseg.panels.parts.values import Contest
from autoseg.prediction.ensemble import COPY_WORDS
from autoseg.training.inputs import sees_crop
from autoseg.training.plan import change_settings

# --- what an earlier comparison of the same name was begun with, so that one click goes on with it

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


FIELD = {"description_width": "145px"}
USUAL_EPOCHS, MOST_FOLDS = 50, 10


class Asked(widgets.VBox):
    """The fields of a comparison that do not depend on what is compared; they do nothing themselves.

    Parameters
    ----------
    name : str
        Of the comparison.
    amount : float
        How long each learns.
    in_epochs : bool
        Whether that is epochs, not minutes.
    take_earlier : callable
        Called by the button that asks for what an earlier comparison was begun with.
    what : str
        What is compared: "network" or "way".
    """

    def __init__(
        self,
        name: str,
        amount: float,
        *,
        in_epochs: bool,
        take_earlier: Callable[[], object],
        what: str = "network",
    ) -> None:
        self.name = widgets.Text(
            name,
            description="Name",
            tooltip="Of the comparison; its folder gets this name",
            continuous_update=False,
            layout={"width": "360px"},
            style=FIELD,
        )
        self.amount = widgets.Text(
            show_value(amount),
            description="Each learns for",
            tooltip=f"How long each {what} learns in each fold",
            continuous_update=False,
            layout={"width": "230px"},
            style=FIELD,
        )
        self.unit = widgets.Dropdown(
            options=["minutes", "epochs"],
            value="epochs" if in_epochs else "minutes",
            description="Minutes or epochs",
            tooltip="The same time for all, or the same number of epochs",
            layout={"width": "105px"},
            style={"description_width": "0px"},  # spoken, not seen
        )
        models = "networks" if what == "network" else "models"
        self.folds = widgets.Dropdown(
            description="Folds",
            tooltip=f"Into how many groups the patients are divided; each group is scored once by {models} that "
            "never saw it. More folds: more patients to learn from in each, and longer.",
            layout={"width": "360px"},
            style=FIELD,
        )
        self.note, self.earlier = widgets.HTML(), EarlierRow(take_earlier)
        how_long = widgets.HBox([self.amount, self.unit])
        super().__init__([self.name, self.note, self.earlier, how_long, self.folds])

    def typed_time(self) -> dict[str, Any]:
        """Give the minutes or epochs that were typed, by their name."""
        hint: type = float if self.unit.value == "minutes" else int
        typed = {self.unit.value: parse_value(self.unit.value, self.amount.value, hint)}
        change_settings(Settings(), {"minutes": None, "epochs": None} | typed)  # says what cannot be
        return typed

    def show_time(self, minutes: float | None, epochs: int | None) -> None:
        """Show minutes, or epochs where they are given."""
        self.unit.value = "minutes" if epochs is None else "epochs"
        self.amount.value = show_value(minutes if epochs is None else epochs)

    def offer_folds(self, count: int, wanted: int) -> None:
        """Offer the folds that so many patients allow; choose those that are wanted, or the most there are."""
        most = min(MOST_FOLDS, count)
        with self.folds.hold_sync():
            self.folds.options = [
                (f"{n}, each patient alone" if n == count else str(n), n) for n in range(2, most + 1)
            ]
            if most >= 2:
                self.folds.value = min(wanted, most)

    def show_place(self, contest: Contest | None) -> None:
        """Say where a comparison is kept and what lies there already; nothing where there is none."""
        words = "" if contest is None else text(describe_folder(contest))
        self.note.value = f'<div style="margin-left:150px">{words}</div>' if words else ""
        self.earlier.show(contest)
