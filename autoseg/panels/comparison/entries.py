"""What every comparison is asked: its name, how long each entry learns, the folds; and what was asked before."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ipywidgets as widgets

from autoseg.errors import ReadError, SettingsError
from autoseg.evaluation.comparison import TOGETHER, ComparisonRequest, EntryName, title_of
from autoseg.evaluation.comparison.compared import read_state
from autoseg.evaluation.comparison.entries import COPIED, EXACT, WITHOUT
from autoseg.evaluation.comparison.own_entries import entry_line
from autoseg.evaluation.comparison.request import ENDING
from autoseg.model.model import check_model_name
from autoseg.model.settings.settings import Settings, settings_from_dict
from autoseg.model.settings.text import parse_value, show_value
from autoseg.panels.comparison.comparison import describe_folder, describe_length
from autoseg.panels.comparison.running import finished_trainings
from autoseg.panels.parts.fields import button
from autoseg.panels.parts.fields import field as labelled
from autoseg.panels.parts.panel import Panel
from autoseg.panels.parts.style import text
from autoseg.panels.parts.values import Data
from autoseg.training.inputs import sees_crop
from autoseg.training.plan import change_settings

# --- what the previous comparison of the same name was begun with, so that one click goes on with it


@dataclass(frozen=True)
class PreviousComparison:
    """What a comparison was begun with: its entries, folds and time, and what was scored as well.

    `settings` are those that the entries were made from, `own` the lines of a person's own entries.
    """

    entries: tuple[str, ...]
    folds: int
    minutes: float | None
    epochs: int | None
    together: bool
    with_copies: bool
    exact: bool = False
    settings: Settings | None = field(default=None, compare=False)
    without_outliers: bool = field(default=False, compare=False)  # not known where there were none
    own: tuple[str, ...] = field(default=(), compare=False)

    @property
    def words(self) -> str:
        """Say it in a line: "It was begun with U-Net and UNeXt, 3 folds, 2 minutes each"."""
        titles = [title_of(one) for one in self.entries]
        named = f"{', '.join(titles[:-1])} and {titles[-1]}" if len(titles) > 1 else titles[0]
        unit, amount = ("minute", self.minutes) if self.minutes is not None else ("epoch", self.epochs)
        also = (", all together" if self.together else "") + (", mirrored copies" if self.with_copies else "")
        also += ", exact centrelines" if self.exact else ""
        crop = self.settings.volume.crop_mm if self.settings is not None and sees_crop(self.settings) else None
        also += f", a crop of {show_value(crop)} mm" if crop is not None else ""
        time = f"{show_value(amount)} {unit}{'s' * (amount != 1)}"
        return f"It was begun with {named}, {self.folds} folds, {time} each{also}."

    def is_like(self, request: ComparisonRequest) -> bool:
        """Tell whether the same is asked for."""
        settings = request.base or next(iter(request.entries.values())).settings
        if request.kind == "scenario" and self.settings is not None and self.settings != settings:
            return False  # a network's settings are a plan's, which may be another one today
        return self == PreviousComparison(
            tuple(request.entries),
            request.folds,
            settings.minutes,
            settings.epochs if settings.minutes is None else None,
            request.together,
            request.try_copies is not None,
            request.exact and any(sees_crop(one.settings) for one in request.entries.values()),
        )


def find_previous(folder: Path) -> PreviousComparison | None:
    """Read what the comparison in a folder was begun with; None where there is none, or its time is not known."""
    try:
        state = read_state(Path(folder))
    except ReadError:  # whoever compares says what is wrong with it
        return None
    base: Any = state.base or {}
    minutes, epochs = base.get("minutes"), base.get("epochs")
    if not state.entries or (minutes is None and epochs is None):
        return None
    try:
        settings = settings_from_dict(base)
    except SettingsError:  # of another version
        settings = None
    variants = {EntryName.read(name).variant for name in state.derived}
    return PreviousComparison(
        state.entries,
        state.folds,
        minutes,
        epochs if minutes is None else None,
        TOGETHER in state.derived,
        bool(COPIED & variants),
        EXACT in variants,
        settings,
        WITHOUT in variants,
        () if settings is None else _own_lines(state.own, settings),
    )


def _own_lines(own: Mapping[str, Mapping[str, Any]], base: Settings) -> tuple[str, ...]:
    """Write entries of a person's own as they are typed; those of another version are left out."""
    lines = []
    for name, values in own.items():
        with suppress(SettingsError):
            lines.append(entry_line(name, settings_from_dict(dict(values)), base))
    return tuple(lines)


# --- the fields of every comparison

LABEL = "145px"
USUAL_EPOCHS, MOST_FOLDS = 50, 10


def with_words(box: widgets.Checkbox, words: widgets.HTML) -> widgets.HBox:
    """Put a sentence beside a tick, which keeps its width."""
    box.layout.flex = "0 0 auto"
    return widgets.HBox([box, words], layout={"align_items": "center"})


class EntriesPanel(Panel):
    """Choose what is compared; `value` is a `ComparisonRequest`, or None with a sentence why there is none.

    The base of panels that tick entries of some `kind`. A subclass makes `boxes`, the ticks by the entry's name,
    shows them with `asked` (name, time and folds) and `time` (how long all takes), and fills in `people`,
    `prepare`, `request` and `tick_previous`. It calls `hand_on` once all is known that a request takes.

    Parameters
    ----------
    name : str, optional
        Of the comparison; its folder `<name>_comparison` lies in `folder`.
    folder : Path or str
    minutes, epochs : float or int, optional
        For which each learns; by default some minutes.
    folds : int, optional
        As many as there are patients where that is fewer.
    """

    kind, usual_name, usual_minutes, usual_folds = "network", "comparison", 2.0, 3

    def __init__(
        self,
        *,
        name: str | None = None,
        folder: Path | str = "../trained_model",
        minutes: float | None = None,
        epochs: int | None = None,
        folds: int | None = None,
    ) -> None:
        super().__init__()
        self.folder, self._folds = Path(folder), folds or self.usual_folds
        self._data: Data | None = None
        self._quiet = True
        self.boxes: Mapping[str, widgets.Checkbox] = {}
        self.previous: PreviousComparison | None = None
        self._build_fields(name or self.usual_name)
        self._show_time(minutes, epochs)
        self._quiet = False
        for one in (self.name, self.folds):
            one.observe(lambda _: self._changed(), "value")
        self.amount.observe(lambda _: self._time_changed(), "value")
        self.unit.observe(lambda _: self._switch_unit(), "value")

    def _build_fields(self, name: str) -> None:
        models = "networks" if self.kind == "network" else "models"
        self.name = labelled(
            widgets.Text,
            "Name",
            "Of the comparison; its folder gets this name",
            width="360px",
            label=LABEL,
            value=name,
        )
        self.amount = labelled(
            widgets.Text,
            "Each learns for",
            f"How long each {self.kind} learns in each fold",
            width="230px",
            label=LABEL,
        )
        self.unit = labelled(
            widgets.Dropdown,
            "Minutes or epochs",
            "The same time for all, or the same number of epochs",
            width="105px",
            label="0px",  # spoken, not seen
            options=["minutes", "epochs"],
        )
        self.folds = labelled(
            widgets.Dropdown,
            "Folds",
            f"Into how many groups the patients are divided; each group is scored once by {models} that never saw "
            "it. More folds: more patients to learn from in each, and longer.",
            width="360px",
            label=LABEL,
        )
        self.note, self.time, self.previous_words = widgets.HTML(), widgets.HTML(), widgets.HTML()
        self.previous_button = button(
            "As it was begun", self.take_previous, "Tick and type what it was begun with", panel=self
        )
        layout = {"margin": "0 0 0 150px", "align_items": "center", "flex_flow": "row wrap", "display": "none"}
        self.previous_row = widgets.HBox([self.previous_words, self.previous_button], layout=layout)
        how_long = widgets.HBox([self.amount, self.unit])
        self.asked = widgets.VBox([self.name, self.note, self.previous_row, how_long, self.folds])

    # --- what a subclass fills in

    def people(self) -> tuple[str, ...]:
        """Give the patients that are divided into folds."""
        raise NotImplementedError

    def prepare(self) -> None:
        """See to what depends on the time, then hand on."""
        raise NotImplementedError

    def request(self, folder: Path) -> ComparisonRequest | None:
        """Give what is asked for; None as long as not all is known. What cannot be is raised."""
        raise NotImplementedError

    def tick_previous(self, previous: PreviousComparison) -> None:
        """Tick and type what was scored beside the entries."""
        raise NotImplementedError

    # --- what a click does

    def choose(
        self,
        chosen: Collection[str] | None = None,
        *,
        minutes: float | None = None,
        epochs: int | None = None,
        folds: int | None = None,
        name: str | None = None,
    ) -> None:
        """Change what is given, as ticking and typing do."""
        with self.attempt():
            with self._silence():
                if chosen is not None:
                    self._tick(chosen)
                if minutes is not None or epochs is not None:
                    self._show_time(minutes, epochs)
                self._folds = folds or self._folds
                self.name.value = self.name.value if name is None else name
            self._offer_folds()
            self.prepare()

    def take_previous(self) -> None:
        """Tick and type what the comparison of this name was begun with, so that it can go on."""
        previous = self.previous
        if previous is None:
            return
        with self._silence():
            self.tick_previous(previous)
        stems = dict.fromkeys(EntryName.read(name).stem for name in previous.entries)
        # A person or a script may have added some of its own.
        stems = dict.fromkeys(stem for stem in stems if stem in self.boxes)
        self.choose(stems, minutes=previous.minutes, epochs=previous.epochs, folds=previous.folds)

    def ticked(self) -> list[str]:
        """Give the entries that are ticked and can be."""
        return [name for name, box in self.boxes.items() if box.value and not box.disabled]

    def _tick(self, chosen: Collection[str]) -> None:
        unknown = [name for name in chosen if name not in self.boxes]
        if unknown:
            kind = "network or recipe" if self.kind == "network" else self.kind
            raise SettingsError(
                f"There is no {kind} {', '.join(map(repr, unknown))}. Known: {', '.join(self.boxes)}."
            )
        with self._silence():
            for name, box in self.boxes.items():
                box.value = name in chosen

    # --- time and folds

    def typed_time(self) -> dict[str, Any]:
        """Give the minutes or epochs that were typed, by their name."""
        hint: type = float if self.unit.value == "minutes" else int
        typed = {self.unit.value: parse_value(self.unit.value, self.amount.value, hint)}
        change_settings(Settings(), {"minutes": None, "epochs": None} | typed)  # says what cannot be
        return typed

    def _show_time(self, minutes: float | None, epochs: int | None) -> None:
        self.unit.value = "minutes" if epochs is None else "epochs"
        self.amount.value = show_value(epochs if epochs is not None else minutes or self.usual_minutes)

    def _switch_unit(self) -> None:
        if not self._quiet:
            with self._silence():
                self.amount.value = show_value(self.usual_minutes if self.unit.value == "minutes" else USUAL_EPOCHS)
            self.prepare()

    def _time_changed(self) -> None:
        if not self._quiet:
            self.prepare()

    def _offer_folds(self) -> None:
        """Offer the folds that the patients allow; choose those that are wanted, or the most there are."""
        count = len(self.people())
        most = min(MOST_FOLDS, count)
        with self._silence(), self.folds.hold_sync():
            self.folds.options = [
                (f"{n}, each patient alone" if n == count else str(n), n) for n in range(2, most + 1)
            ]
            if most >= 2:
                self.folds.value = min(self._folds, most)

    # --- handing on

    def _changed(self) -> None:
        with self._lock:
            if not self._quiet:
                self._folds = self.folds.value or self._folds
                self.hand_on()

    def hand_on(self) -> None:
        """Hand on what stands in the panel, or say what is wrong with it."""
        with self._lock, self.attempt():  # not while other data are shown
            self.value, self.time.value = None, ""
            self._show_place(None)
            name = check_model_name(self.name.value.strip())
            request = self.request(self.folder / f"{name}{ENDING}")
            if request is not None:
                self.time.value = text(describe_length(request))
                self._show_place(request)
                self.say(self.warning(), "warning")
                self.value = request

    def warning(self) -> str:
        """Give what a person should know of what is asked for, if anything."""
        return ""

    def _show_place(self, request: ComparisonRequest | None) -> None:
        """Say where a comparison is kept and what lies there already; nothing where there is none."""
        words = "" if request is None else text(describe_folder(request))
        self.note.value = f'<div style="margin-left:150px">{words}</div>' if words else ""
        found = find_previous(request.folder) if request is not None and finished_trainings(request) else None
        is_other = found is not None and request is not None and not found.is_like(request)
        self.previous = found if is_other else None
        self.previous_words.value = text(self.previous.words) if self.previous else ""
        self.previous_row.layout.display = "" if is_other else "none"

    @contextmanager
    def _silence(self) -> Iterator[None]:
        before, self._quiet = self._quiet, True
        try:
            yield
        finally:
            self._quiet = before
