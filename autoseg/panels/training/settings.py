"""The settings of a training: planned, each with its reason, and everything open to change."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ipywidgets as widgets

from autoseg.data.split import split_cases, subjects_of
from autoseg.errors import AutosegError
from autoseg.model.model import check_model_name
from autoseg.model.settings.settings import Settings
from autoseg.model.settings.text import parse_value, show_value
from autoseg.panels.parts.panel import Panel
from autoseg.panels.parts.settings_form import SettingsForm
from autoseg.panels.parts.style import text
from autoseg.panels.parts.values import Data, Task
from autoseg.panels.training.plan_table import plan_table
from autoseg.panels.training.questions import Questions
from autoseg.panels.training.settings_words import (
    CHANGED,
    DATA_FIRST,
    NOBODY,
    PLANNING,
    PREVIEW_FIRST,
    say_name,
    say_other_dims,
    say_validation,
    subject_options,
    time_of,
    with_time,
    with_variation,
)
from autoseg.training.plan import Plan, change_settings, hide_ids, plan_settings, set_aside

# Settings with a place of their own above the form, or without effect in a training from scratch.
FIXED = {"num_labels": "Structures and background, as the table of structures has them"}
APART = ("epochs", "minutes", "best_by", "finetune")


class SettingsPanel(Panel):
    """Show the planned settings with their reasons, and let a person change any of them.

    `value` is a `panels.values.Task`. Arguments go before the plan, until a person changes what stands in the
    panel; other data bring their own plan.

    Parameters
    ----------
    data : Panel
        Its value is a `panels.values.Data`.
    preview : Panel, optional
        Its value is the augmentation; without it the augmentation stands in the form.
    name : str
        Of the model.
    folder : Path or str
        Where the model will lie.
    minutes, epochs : float or int, optional
        How long to learn; the rest is planned for it.
    validation_subjects : collection of str, optional
        Patients to validate on.
    changes : mapping of str to object, optional
        Any other settings, by name: `{"preprocess.spacing_mm": 2.0, "batch_size": 4}`.
    """

    def __init__(
        self,
        data: Panel,
        preview: Panel | None = None,
        *,
        name: str = "model",
        folder: Path | str = "../trained_model",
        minutes: float | None = None,
        epochs: int | None = None,
        validation_subjects: Collection[str] | None = None,
        changes: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__()
        self.folder = Path(folder)
        self._time = {"minutes": minutes, "epochs": epochs} if minutes is not None or epochs is not None else None
        self._subjects, self._changes = validation_subjects, dict(changes or {})
        self._asked_dims = self._dims = self._changes.pop("spatial_dims", None)
        self._wanted: dict[str, object] = {}
        self._source, self._preview = data, preview
        self._data: Data | None = None
        self._plan: Plan | None = None
        self._quiet, self._notes = False, list[str]()
        self._build(name)
        self.follow(data, self._show_data)
        if preview is not None:
            self.follow(preview, lambda _: self._take())

    def _build(self, name: str) -> None:
        self.table = widgets.HTML()
        asked = Questions(name)
        self.name, self.name_note, self.unit, self.amount = asked.name, asked.name_note, asked.unit, asked.amount
        self.again, self.best_by = asked.again, asked.best_by
        self.validation, self.show_ids = asked.validation, asked.show_ids
        self.back = widgets.Button(description="Back to the plan", tooltip="Forget what was changed here")
        without = [*APART, *(["augmentation"] if self._preview is not None else [])]
        self.form = SettingsForm(Settings(), self._changed, without=without, fixed=FIXED)
        self.more = widgets.Accordion([self.form], titles=("More",), selected_index=None)
        self.body.children = [self.table, asked, self.more, self.back]
        for field in (self.name, self.amount, self.best_by, self.validation):
            field.observe(lambda _: self._changed(), "value")
        self.unit.observe(lambda _: self._switch_unit(), "value")
        self.show_ids.observe(lambda _: self._list_subjects(), "value")
        self.again.on_click(lambda _: self.plan_for_this_time())
        self.back.on_click(lambda _: self.back_to_plan())

    # --- what a click does

    def back_to_plan(self) -> None:
        """Forget what a person changed here, but for the model's name."""
        with self._lock:
            if self._plan is not None:
                self.give_up()  # a plan that is under way is no longer wanted
                self._notes = []
                if self._dims != self._asked_dims and self._data is not None:
                    self._dims = self._asked_dims
                    self._replan(self._data, time_of(self._plan.settings))
                else:
                    self._show_plan(self._plan)

    def plan_for_this_time(self) -> None:
        """Plan anew for the minutes or epochs that stand in the panel."""
        with self.attempt():
            if self._data is not None:
                self._notes = []
                self._replan(self._data, self._typed_time())

    def choose(self, **settings: object) -> None:
        """Change settings, as typing them does: `choose(batch_size=4)`, `choose(minutes=3)`."""
        with self.attempt():
            dims = self._plan.settings.spatial_dims if self._plan is not None else None
            if settings.get("spatial_dims", dims) != dims:
                self._wanted = {name: value for name, value in settings.items() if name != "spatial_dims"}
                self.form.fields["spatial_dims"].value = settings["spatial_dims"]
                return
            new = change_settings(self.settings(), with_time(settings))
            with self._silence():
                self._show_settings(new)
            self._changed()

    def settings(self) -> Settings:
        """Give the settings that stand in the panel.

        Raises
        ------
        SettingsError
            If a value cannot work; the message names it.
        """
        start = self._plan.settings if self._plan is not None else Settings()
        typed = self.form.read() | self._typed_time() | {"best_by": self.best_by.value}
        settings = change_settings(start, typed)
        shown = None if self._data is None else self._data.plan.settings
        return with_variation(settings, shown, None if self._preview is None else self._preview.value)

    # --- following the data

    def _show_data(self, data: Data | None) -> None:
        self.give_up()
        other = self._data is not None and data is not None
        self._data, self._plan = data or self._data, None
        self._enable(data is not None)
        if data is None:
            self._forget()
            self.give_up(DATA_FIRST)
            return
        self._notes = [CHANGED] if other else []
        planned = data.plan.settings
        self._dims = self._asked_dims
        if self._time is not None or self._dims not in (None, planned.spatial_dims):
            self._replan(data, self._time or time_of(planned))
        else:
            self._show_plan(data.plan)

    def _forget(self) -> None:
        """Show nothing of a folder that is gone or being read."""
        self.table.value, self.name_note.value, self.more.layout.display = "", "", "none"
        self.form.complain("")
        with self._silence():
            self._offer_subjects([], ())

    def _replan(self, data: Data, time: Mapping[str, Any]) -> None:
        dims: Any = self._dims
        self.start(lambda: plan_settings(data.cases, **time, spatial_dims=dims), self._show_plan, saying=PLANNING)

    def _show_plan(self, plan: Plan) -> None:
        data = self._data
        if data is None:
            return
        self._plan = plan
        chosen = plan.validation_subjects
        if self._subjects is not None:
            unknown = set(self._subjects) - set(self._offered())
            chosen = plan.validation_subjects if unknown else tuple(self._subjects)
            if unknown:
                self._notes.append(
                    f"The validation subjects {', '.join(sorted(unknown))} that were asked for are not among these "
                    "patients: the planned ones are chosen."
                )
        with self.attempt(), self._silence():
            self.form.tell({"num_labels": str(len(data.cases.structures) + 1)})
            wanted, self._wanted = self._wanted, {}
            self._show_settings(change_settings(plan.settings, self._changes | with_time(wanted)))
            self._list_subjects()
            self.validation.value = chosen
        self._enable(True)
        self._take()

    def _show_settings(self, settings: Settings) -> None:
        self.form.show(settings)
        self.unit.value = "minutes" if settings.epochs is None else "epochs"
        self.amount.value = show_value(settings.minutes if settings.epochs is None else settings.epochs)
        self.best_by.value = settings.best_by

    def _offered(self) -> tuple[str, ...]:
        cases = None if self._data is None else self._data.cases
        return () if cases is None else tuple(s for s in subjects_of(cases.cases) if s not in set_aside(cases))

    def _list_subjects(self) -> None:
        if self._data is None:
            return
        cases, chosen = self._data.cases.cases, self.validation.value
        with self._silence():
            offered = subject_options(cases, self._offered(), by_id=self.show_ids.value)
            self._offer_subjects(offered, tuple(s for s in chosen if s in self._offered()))

    def _offer_subjects(self, options: Sequence[tuple[str, str]], chosen: Sequence[str]) -> None:
        # At once: the page fails where places in a longer list are still chosen in a shorter one.
        with self.validation.hold_sync():
            self.validation.options = options
            self.validation.value = tuple(chosen)

    # --- handing on

    def _changed(self) -> None:
        if self._quiet:
            return
        self._notes = []
        dims, data = self.form.fields["spatial_dims"].value, self._data
        if self._plan is None or data is None or dims == self._plan.settings.spatial_dims:
            self._take()
            return
        with self.attempt():  # what suits slices does not suit volumes
            self._dims = dims
            self._replan(data, self._typed_time())

    def _switch_unit(self) -> None:
        if self._quiet:
            return
        plan = self._plan.settings if self._plan is not None else Settings()
        planned = plan.minutes if self.unit.value == "minutes" else plan.epochs
        usual = planned if planned is not None else {"minutes": 5, "epochs": 100}[self.unit.value]
        with self._silence():
            self.amount.value = show_value(usual)
        self._changed()

    def _take(self) -> None:
        """Hand on what stands in the panel, or say what is wrong with it."""
        with self._lock:  # not while other data are shown
            self._hand_on()

    def _hand_on(self) -> None:
        data, plan = self._data, self._plan
        if data is None or plan is None or self._source.value is not data:
            return
        self.form.complain("")
        with self.attempt():
            self.name_note.value = ""
            name = check_model_name(self.name.value.strip())
            self.name_note.value = f'<div style="margin-left:142px">{text(say_name(self.folder, name))}</div>'
            settings = self.settings()
            split = split_cases(
                data.cases.cases,
                validation_subjects=self.validation.value,
                test_subjects=set_aside(data.cases),
            )
            chosen = subjects_of(split.validation)
            words = say_validation(chosen, data.cases.cases, by_id=self.show_ids.value)
            same = chosen == tuple(sorted(plan.validation_subjects))
            self.table.value = plan_table(plan, settings, words, as_planned=same)
            notes = [*self._notes, *([] if split.validation else [NOBODY])]
            shown, learnt = data.plan.settings.spatial_dims, settings.spatial_dims
            notes += [say_other_dims(shown, learnt)] if self._preview is not None and shown != learnt else []
            if self._preview is not None and self._preview.value is None:
                self.say("\n".join([*notes, PREVIEW_FIRST]))
                self.value = None
                return
            self.say("\n".join(notes), "warning")
            self.value = Task(split, settings, data.cases.structures, name, self.folder)

    def fail(self, error: BaseException) -> None:
        """Show why something failed, also under the field that it names, and take back the value."""
        if isinstance(error, AutosegError) and self._data is not None and not self.show_ids.value:
            error = AutosegError(hide_ids(self._data.cases.cases).hide(str(error)))
        self.form.complain(str(error))
        super().fail(error)

    def _typed_time(self) -> dict[str, Any]:
        hint, other = (float, "epochs") if self.unit.value == "minutes" else (int, "minutes")
        return {self.unit.value: parse_value(self.unit.value, self.amount.value, hint), other: None}

    def _enable(self, on: bool) -> None:
        if on:
            self.more.layout.display = ""
        for field in (self.unit, self.amount, self.again, self.best_by, self.validation, self.show_ids, self.back):
            field.disabled = not on

    @contextmanager
    def _silence(self) -> Iterator[None]:
        before, self._quiet = self._quiet, True
        try:
            yield
        finally:
            self._quiet = before
