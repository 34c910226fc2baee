"""What to compare: a tick for each network, the time, the folds, and the name under which it is kept."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import ipywidgets as widgets

from autoseg.data.split import subjects_of
from autoseg.errors import AutosegError, DataError, SettingsError
from autoseg.evaluation.comparison import earlier_base
from autoseg.model.model import check_model_name
from autoseg.model.networks import NETWORKS, USUAL_NETWORKS
from autoseg.model.settings.text import show_value
from autoseg.panels.comparison.asked import USUAL_EPOCHS, Asked
from autoseg.panels.comparison.comparing import describe_length
from autoseg.panels.parts.panel import Panel
from autoseg.panels.parts.style import heading, text
from autoseg.panels.parts.values import Contest, Data
from autoseg.panels.training.settings import plan_table
from autoseg.training.plan import Plan, hide_ids, plan_comparison, set_aside
from autoseg.training.recipes import RECIPES, recipe

DATA_FIRST = "Choose your images above first; then there is something to compare on."
ENDING = "_comparison"
MINUTES, FOLDS = 2.0, 3


class ContestantsPanel(Panel):
    """Choose what is compared; `value` is a `panels.values.Contest`, or None with a sentence why there is none.

    Parameters
    ----------
    data : Panel
        Its value is a `panels.values.Data`.
    name : str
        Of the comparison; its folder `<name>_comparison` lies in `folder`.
    folder : Path or str
    chosen : collection of str, optional
        Names of networks and recipes; by default all networks.
    minutes, epochs : float or int, optional
        For which each training learns; by default 2 minutes.
    folds : int, optional
        By default 3, or 2 where there are two patients.
    together, try_copies : bool
        Score the mean of all networks as well; score each with mirrored copies of the images as well.
    """

    def __init__(
        self,
        data: Panel,
        *,
        name: str = "comparison",
        folder: Path | str = "../trained_model",
        chosen: Collection[str] | None = None,
        minutes: float | None = None,
        epochs: int | None = None,
        folds: int | None = None,
        together: bool = False,
        try_copies: bool = False,
    ) -> None:
        super().__init__()
        self.folder, self._folds = Path(folder), folds
        self._source = data
        self._data: Data | None = None
        self._plan: Plan | None = None
        self._quiet = False
        self._build(name, epochs if epochs is not None else minutes or MINUTES, epochs is not None)
        with self._silence():  # a tick of a person keeps the folds that stand there
            self.together.value, self.copies.value = together, try_copies
        with self.attempt():
            self._tick(USUAL_NETWORKS if chosen is None else chosen)
        self.follow(data, self._take_data)

    def _build(self, name: str, amount: float, in_epochs: bool) -> None:
        ticks = self._make_ticks()
        asked = Asked(name, amount, in_epochs=in_epochs, take_earlier=self.take_earlier)
        self.asked, self.name, self.amount, self.unit = asked, asked.name, asked.amount, asked.unit
        self.folds, self.note, self.earlier = asked.folds, asked.note, asked.earlier
        self.time, self.table = widgets.HTML(), widgets.HTML()
        why = ("The settings that all share, and why",)
        self.reasons = widgets.Accordion([self.table], titles=why, selected_index=None)
        self.body.children = [*ticks, asked, self.reasons, self.time]
        for field in (*self.boxes.values(), self.name, self.folds, self.together, self.copies):
            field.observe(lambda _: self._changed(), "value")
        self.amount.observe(lambda _: self._replan(), "value")
        self.unit.observe(lambda _: self._switch_unit(), "value")

    def _make_ticks(self) -> list[widgets.Widget]:
        """Make a tick for each network and each recipe, with what it is, and those for means."""
        self.boxes = {
            one: widgets.Checkbox(
                description=kind.title,
                tooltip=_words(one),
                indent=False,
                layout={"width": "210px", "flex": "0 0 auto"},
            )
            for one, kind in RECIPES.items()
        }
        self.together, self.copies = (
            widgets.Checkbox(description=what, tooltip=words, indent=False, layout={"width": "auto"})
            for what, words in (
                (
                    "the mean of all of them together",
                    "Their probabilities are averaged: often a little better, and as slow as all of them",
                ),
                (
                    "each with mirrored copies of the images",
                    "Each slice is segmented four times, mirrored, and the mean counts: takes four times as long",
                ),
            )
        )
        rows: list[widgets.Widget] = []
        for published, title in ((False, "Networks"), (True, "Published ways to learn")):
            rows.append(widgets.HTML(heading(title)))
            rows += [
                widgets.HBox([self.boxes[one], widgets.HTML(text(_words(one)))], layout={"align_items": "center"})
                for one, known in RECIPES.items()
                if known.published == published
            ]
        return [*rows, widgets.HTML(heading("Also")), self.together, self.copies]

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
                    self.asked.show_time(minutes, epochs)
                self._folds = folds if folds is not None else self._folds
                self.name.value = self.name.value if name is None else name
            self._replan()

    def take_earlier(self) -> None:
        """Tick and type what the comparison of this name was begun with, so that it can go on."""
        if (earlier := self.earlier.found) is not None:
            with self._silence():
                self.together.value, self.copies.value = earlier.together, earlier.with_copies
            self.choose(earlier.chosen, minutes=earlier.minutes, epochs=earlier.epochs, folds=earlier.folds)

    def _tick(self, chosen: Collection[str]) -> None:
        unknown = [one for one in chosen if one not in self.boxes]
        if unknown:
            raise SettingsError(
                f"There is no network or recipe {', '.join(map(repr, unknown))}. Known: {', '.join(self.boxes)}."
            )
        with self._silence():
            for one, box in self.boxes.items():
                box.value = one in chosen

    # --- following the data

    def _take_data(self, data: Data | None) -> None:
        self.give_up()
        self._data, self._plan = data, None
        self.table.value = self.time.value = self.note.value = ""
        self.reasons.layout.display = "none"
        if data is None:
            self.give_up(DATA_FIRST)
            return
        self._offer_folds(data)
        self._replan()

    def _offer_folds(self, data: Data) -> None:
        with self._silence():
            self.asked.offer_folds(len(self._subjects(data)), self._folds or FOLDS)

    def _replan(self) -> None:
        data = self._data
        if self._quiet or data is None:
            return
        with self.attempt():
            if self._folds is not None:
                self._offer_folds(data)
            time = self.asked.typed_time()
            self.start(lambda: plan_comparison(data.cases, **time), self._show_plan, saying="Planning …")

    def _show_plan(self, plan: Plan) -> None:
        # Who validates is drawn anew in each fold.
        self._plan = replace(plan, choices=tuple(c for c in plan.choices if c.name != "validation_subjects"))
        self.table.value = plan_table(self._plan, plan.settings, "")
        self.reasons.layout.display = ""
        self._hand_on()

    # --- handing on

    def _changed(self) -> None:
        with self._lock:
            if not self._quiet:
                self._folds = self.folds.value
                self._hand_on()

    def _switch_unit(self) -> None:
        if not self._quiet:
            with self._silence():
                self.amount.value = show_value(MINUTES if self.unit.value == "minutes" else USUAL_EPOCHS)
            self._replan()

    def _hand_on(self) -> None:
        """Hand on what stands in the panel, or say what is wrong with it."""
        data, plan = self._data, self._plan
        if data is None or plan is None or self._source.value is not data:
            return
        self.value, self.time.value = None, ""
        self.asked.show_place(None)
        with self.attempt():
            name = check_model_name(self.name.value.strip())
            place = self.folder / f"{name}{ENDING}"
            chosen = [one for one, box in self.boxes.items() if box.value]
            self._check(data, chosen)
            base = earlier_base(place, plan.settings) or plan.settings
            entries = {one: recipe(one, base=base) for one in chosen}
            self.time.value = text(describe_length(entries, self.folds.value))
            contest = Contest(
                data.cases,
                entries,
                self.folds.value,
                name,
                place,
                test_subjects=set_aside(data.cases),
                together=self.together.value,
                try_copies="mirrored" if self.copies.value else None,
                base=base,
            )
            self.asked.show_place(contest)
            self.say("")
            self.value = contest

    def _check(self, data: Data, chosen: Collection[str]) -> None:
        if len(self._subjects(data)) < 2:
            raise DataError(
                "These are images of one patient. A comparison learns from some patients and is scored on others: "
                "add images of at least one other."
            )
        if len(chosen) < 2:
            raise SettingsError(f"Tick at least two; {len(chosen) or 'nothing'} is ticked.")

    def fail(self, error: BaseException) -> None:
        """Show why something failed, without patients' IDs, and take back the value."""
        if isinstance(error, AutosegError) and self._data is not None:
            error = type(error)(hide_ids(self._data.cases.cases).hide(str(error)))
        super().fail(error)

    def _subjects(self, data: Data) -> tuple[str, ...]:
        return tuple(s for s in subjects_of(data.cases.cases) if s not in set_aside(data.cases))

    @contextmanager
    def _silence(self) -> Iterator[None]:
        before, self._quiet = self._quiet, True
        try:
            yield
        finally:
            self._quiet = before


def _words(name: str) -> str:
    return NETWORKS[name].words if name in NETWORKS else RECIPES[name].words
