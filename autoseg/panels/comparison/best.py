"""The last step of a comparison: the settings that won, ready to learn from all patients."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import ipywidgets as widgets

from autoseg.data.label_counts import count_labels
from autoseg.data.split import split_cases, subjects_of
from autoseg.errors import ModelFileError
from autoseg.evaluation.comparison import title_of
from autoseg.model.model import check_model_name, find_model
from autoseg.model.settings.settings import Settings
from autoseg.model.settings.text import parse_value, show_value
from autoseg.panels.comparison.entries import LABEL
from autoseg.panels.comparison.tables import best_entry
from autoseg.panels.parts.fields import field, tick
from autoseg.panels.parts.panel import Panel
from autoseg.panels.parts.style import heading, notice, text
from autoseg.panels.parts.values import Compared, Task
from autoseg.training.finetuning import split_for_base
from autoseg.training.plan import change_settings

FIRST = "Compare first; then the best can learn from all patients."
ALL = (
    "All patients teach it, so nobody is left to score it on: the comparison above says what it is worth. The last "
    "epoch is kept, and Stop keeps the latest."
)
NOTHING = "Nothing learnt in this comparison: the model that was scored is used as it is, in 2_test.ipynb."
ORIGINAL = (
    "{!r} was best here: the model as it is can be used in 2_test.ipynb, and a fine-tuned one may not be worth it."
)
SOME = "Patients who validate are not learnt from: {}."


class BestPanel(Panel):
    """Take over the settings of the best, or of another; `value` is a `panels.parts.values.Task` to learn.

    Parameters
    ----------
    comparison : Panel
        Its value is a `panels.parts.values.Compared`.
    name : str
        Of the model.
    folder : Path or str
        Where the model will lie.
    learn_from_all : bool
        Learn from all patients, but for those set aside for a last test.
    """

    def __init__(
        self,
        comparison: Panel,
        *,
        name: str = "best",
        folder: Path | str = "../trained_model",
        learn_from_all: bool = True,
    ) -> None:
        super().__init__()
        self.folder = Path(folder)
        self._compared: Compared | None = None
        self._quiet = False
        self.entry = field(
            widgets.Dropdown, "Network", "The best by Dice is chosen first", width="360px", label=LABEL
        )
        self.original = widgets.HTML()
        self.name = field(
            widgets.Text,
            "Name of the model",
            "Becomes a part of the file's name: letters and digits",
            width="360px",
            label=LABEL,
            value=name,
        )
        self.amount = field(
            widgets.Text,
            "Learn for",
            "More patients than in a fold deserve a little more time; longer rarely harms",
            width="230px",
            label=LABEL,
        )
        self.unit = widgets.HTML()
        self.all = tick("Learn from all patients", "Otherwise some validate, as in 1_train", value=learn_from_all)
        self.note = widgets.HTML()
        time = widgets.HBox([self.amount, self.unit], layout={"align_items": "center"})
        self._all = (
            widgets.HTML(heading("Use the best")),
            *(self.original, self.entry, self.name, time, self.all, self.note),
        )
        for one in (self.entry, self.name, self.amount, self.all):
            one.observe(self._changed, "value")
        self.follow(comparison, self._take)

    def choose(self, entry: str) -> None:
        """Choose an entry by its name, as the list does."""
        with self.attempt():
            self.entry.value = entry

    def _take(self, compared: Compared | None) -> None:
        self.body.children = ()
        self._compared = None
        if compared is None:
            self.give_up(FIRST)
            return
        request = compared.request
        entries = list(request.learning)
        if not entries:
            self.give_up(NOTHING)
            return
        self._quiet = True
        try:
            with self.entry.hold_sync():
                self.entry.options = [(title_of(one), one) for one in entries]
                self.entry.value = best_entry(compared.comparison, among=entries) or entries[0]
            self.entry.description = request.kind.capitalize()
            self.amount.value = show_value(time_of(request.entries[self.entry.value].settings)[1])
        finally:
            self._quiet = False
        self._compared = compared
        best = best_entry(compared.comparison, among=request.entries)
        is_original = best is not None and best not in entries
        self.original.value = notice(ORIGINAL.format(best), "warning") if is_original else ""
        self.body.children = self._all
        self._hand_on()

    def _changed(self, _: Any) -> None:
        with self._lock:
            if not self._quiet:
                self._hand_on()

    def _hand_on(self) -> None:
        compared = self._compared
        if compared is None:
            return
        self.value, self.note.value = None, ""
        with self.attempt():
            request = compared.request
            scenario = request.entries[self.entry.value]
            settings = scenario.settings
            unit, _ = time_of(settings)
            self.unit.value = text(unit)
            typed = parse_value(unit, self.amount.value, float if unit == "minutes" else int)
            settings = change_settings(settings, {unit: typed})
            name = check_model_name(self.name.value.strip())
            cases: dict[str, Any] = {
                "validation_subjects": () if self.all.value else None,
                "test_subjects": request.test_subjects,
                "seed": settings.seed,
                "facts": count_labels(request.cases, request.structures),
            }
            if scenario.base is None:
                split = split_cases(request.cases, **cases)
            else:
                split = split_for_base(scenario.base, request.cases, **cases)
            if self.all.value:
                split = replace(split, notes=())
            lacking = split.say(request.structures)
            count = len(subjects_of(split.validation))
            words = ALL if self.all.value else SOME.format(f"{count} patient{'s' * (count != 1)}")
            self.note.value = text(f"{words}\n{_say_name(self.folder, name)}")
            self.say(lacking, "warning")
            self.value = Task(
                split,
                settings,
                tuple(request.structures),
                name,
                self.folder,
                base=scenario.base,
                finder=request.finder,
            )


def time_of(settings: Settings) -> tuple[str, float]:
    """Give "minutes" or "epochs", and how many."""
    if settings.minutes is not None:
        return "minutes", settings.minutes
    return "epochs", settings.epochs or 100


def _say_name(folder: Path, name: str) -> str:
    try:
        there = find_model(folder, name)
    except ModelFileError:
        return f"{name}: a new model."
    return f"{there.name} is there already; it stays, and the new one lies beside it."
