"""The settings of a training: planned, each with its reason, and everything open to change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import ipywidgets as widgets

from autoseg.data.cases import Case
from autoseg.data.label_counts import count_labels
from autoseg.data.split import Split, split_cases, subjects_of
from autoseg.errors import AutosegError, ModelFileError, SettingsError
from autoseg.evaluation.calibrate import check_calibration, models_time, plan_calibration
from autoseg.model.model import check_model_name, find_model
from autoseg.model.settings.settings import AugmentationSettings, Settings
from autoseg.model.settings.text import all_settings, parse_value, say_value, show_value, value_of
from autoseg.panels.parts.fields import button, field, tick
from autoseg.panels.parts.panel import Panel
from autoseg.panels.parts.settings_form import SettingsForm
from autoseg.panels.parts.style import heading, text
from autoseg.panels.parts.table import Cell, html_table
from autoseg.panels.parts.values import Data, Task
from autoseg.training.plan import (
    Choice,
    Fingerprint,
    Plan,
    StructureFacts,
    change_settings,
    contrast_words,
    describe_fingerprint,
    number_subjects,
    plan_settings,
    set_aside,
)
from autoseg.training.recipes import RECIPES, recipe
from autoseg.words import escaped

# --- the plan as a table: each setting as it stands, and why

VALIDATE_ON = "Validate on"
_HEAD = ("Setting", "Value", "Why")
_FACTS = ("Structure", "Width", "Beside what is around it", "Part of the pixels", "Slices that show it")


def plan_table(plan: Plan, settings: Settings, validation: str, *, as_planned: bool = True) -> str:
    """Give the table as HTML; `validation` says who validates, `as_planned` whether the plan chose them."""
    title = heading("Planned for your images and this computer")
    facts = "" if plan.fingerprint is None else fingerprint_table(plan.fingerprint)
    rows = [_row(choice, settings, validation, as_planned) for choice in plan.choices]
    return title + facts + html_table(_HEAD, rows, label="Planned settings", wrap=True)


def fingerprint_table(fingerprint: Fingerprint) -> str:
    """Give what the plan saw of the images as HTML: two lines, and a table of the structures to unfold."""
    rows = [_facts_row(structure, fingerprint.unit) for structure in fingerprint.structures]
    note = "SD: standard deviations of the intensities of a structure and of a ring around it."
    return (
        f"{text(describe_fingerprint(fingerprint))}"
        '<details style="color:var(--jp-ui-font-color1,inherit);margin-bottom:6px">'
        '<summary style="cursor:pointer">What the structures are like</summary>'
        f"{html_table(_FACTS, rows, label='Structures', wrap=True)}{text(note)}</details>"
    )


def _facts_row(structure: StructureFacts, unit: str) -> tuple[str, ...]:
    width = "not seen" if structure.width is None else f"{structure.width:.1f} {unit}"
    part = f"{structure.pixels:.2%}" if structure.pixels < 0.1 else f"{structure.pixels:.0%}"
    return (structure.name, width, contrast_words(structure.contrast), part, f"{structure.slices:.0%}")


def _row(choice: Choice, settings: Settings, validation: str, as_planned: bool) -> tuple[str | Cell, ...]:
    if choice.name == "validation_subjects":
        label, shown, same, planned = VALIDATE_ON, validation or "nobody", as_planned, ""
    else:
        now = value_of(settings, choice.name)
        label, shown, same = all_settings()[choice.name].label, say_value(choice.name, now), now == choice.value
        planned = f" {say_value(choice.name, choice.value)}"
    why = choice.reason if same else f"Your choice. Planned{planned}: {choice.reason}"
    return Cell(escaped(label), choice.name, "font-weight:inherit"), shown, why


# --- what the settings panel says, and how it takes what stands in it and in the preview together

DATA_FIRST = "Choose your images above first; then settings are planned for them."
CHANGED = "The images changed: these are the settings planned for them, in place of what stood here."
PREVIEW_FIRST = (
    "These settings can be used as soon as the preview above is there; if it says why not, mend that first."
)
# By the unit of the time.
CALIBRATE = {
    "minutes": "Also measure how far areas can be off (uses half of the time)",
    "epochs": "Also measure how far areas can be off (takes several times as long)",
}
NOBODY = "No patient is set aside: the score will be unknown for anyone whom the model has not seen."
PLANNING = "Planning …"
SEEN_AS = {2: "slices", 3: "volumes"}

OWN_VARIATION = (
    "The way to learn that you chose varies images as it says itself, and not as the preview above shows; what you "
    "change there counts in its place."
)


def say_other_dims(shown: int, learnt: int) -> str:
    """Say that the preview shows something else than what will be learnt from."""
    return (
        f"The preview above shows {SEEN_AS[shown]}, and you chose {SEEN_AS[learnt]}. "
        f"They are varied as planned for {SEEN_AS[learnt]}, unless you changed that in the preview."
    )


def say_name(folder: Path, name: str) -> str:
    """Say whether a model of this name is there already."""
    try:
        there = find_model(folder, name)
    except ModelFileError:
        return f"{name}: a new model."
    return f"{there.name} is there already; it stays, and the new one lies beside it."


def say_validation(chosen: Collection[str], cases: Sequence[Case], *, by_id: bool) -> str:
    """Say who validates: up to four by their numbers or IDs, more by their count."""
    names = {s: s for s in chosen} if by_id else number_subjects(cases)
    return ", ".join(names[s] for s in sorted(chosen)) if len(chosen) <= 4 else f"{len(chosen)} patients"


def subject_options(cases: Sequence[Case], offered: Sequence[str], *, by_id: bool) -> list[tuple[str, str]]:
    """Give the patients that are offered as (words, ID): by their numbers or IDs, each with its images' count."""
    names, counts = number_subjects(cases), Counter(case.subject_id for case in cases)
    return [(f"{s if by_id else names[s]} ({counts[s]} image{'' if counts[s] == 1 else 's'})", s) for s in offered]


def with_time(settings: Mapping[str, object]) -> dict[str, object]:
    """Take back the other one of minutes and epochs where one is given."""
    other = {"minutes": "epochs", "epochs": "minutes"}
    return {other[name]: None for name in settings if name in other} | dict(settings)


def time_of(settings: Settings) -> dict[str, float | None]:
    """Give the minutes or epochs of settings, as `plan_settings` takes them."""
    return {"minutes": settings.minutes, "epochs": settings.epochs}


def with_variation(
    settings: Settings,
    planned: Settings | None,
    variation: AugmentationSettings | None,
    *,
    has_own: bool = False,
) -> Settings:
    """Vary images as the preview has it.

    Where volumes are learnt from, or settings have a way of their own (`has_own`), only if it was changed there.
    """
    if variation is None:
        return settings
    other = has_own or (planned is not None and planned.spatial_dims != settings.spatial_dims)
    if other and planned is not None and variation == planned.augmentation:
        return settings
    return replace(settings, augmentation=variation)


def named_as_shown(error: BaseException) -> BaseException:
    """Name the field that an error is about as the panel does: the sentence has the name that scripts give it."""
    known = all_settings().get(error.setting) if isinstance(error, SettingsError) else None
    return error if known is None else SettingsError(f"{known.label}: {error}", known.name)


def problem_of_recipe(name: str) -> str:
    """Say that there is no recipe of this name, and which there are; "" where there is, or none is named."""
    try:
        if name:
            recipe(name)
    except SettingsError as error:
        return f"{error} The planned settings are chosen."
    return ""


# Settings with a place of their own above the form, or without effect in a training from scratch.
LABELS = "Structures and background"
FIXED = {LABELS: "num_labels: as the table of structures has them"}
APART = ("epochs", "minutes", "best_by", "finetune")


class SettingsPanel(Panel):
    """Show the planned settings with their reasons, and let a person change any of them.

    `value` is a `panels.parts.values.Task`. Arguments go before the plan, until a person changes what stands in the
    panel; other data bring their own plan.

    Parameters
    ----------
    data : Panel
        Its value is a `panels.parts.values.Data`.
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
    recipe : str
        Begin with the settings of a recipe of `autoseg.training.recipes`, made for what was planned.
    calibrate : bool
        Tick at first that twins of the model also measure how far areas can be off, in half of the time.
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
        recipe: str = "",
        calibrate: bool = False,
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
        with self._silence():
            self.calibrate.value = calibrate
        self._problem = problem_of_recipe(recipe)
        with self._silence():
            self.recipe.value = "" if self._problem else recipe
        self.follow(data, self._show_data)
        if preview is not None:
            self.follow(preview, lambda _: self._take())

    def _build(self, name: str) -> None:
        self.table, self.name_note = widgets.HTML(), widgets.HTML()
        self.name = field(
            widgets.Text,
            "Name of the model",
            "Becomes a part of the file's name: letters and digits",
            value=name,
            continuous_update=True,
        )
        self.unit = field(
            widgets.Dropdown,
            "Learn for",
            "A time budget, or how often every slice is seen",
            width="230px",
            options=["minutes", "epochs"],
        )
        self.amount = field(widgets.Text, "How many minutes or epochs", width="70px", label="0px")
        self.again = button(
            "Plan for this time",
            self.plan_for_this_time,
            "Plan pixel size and network anew for the time that stands here",
        )
        self.again.layout.flex = "0 0 auto"
        self.recipe = field(
            widgets.Dropdown,
            "Way to learn",
            "Settings as they were planned for your images, or those of a network or of a published way to train, "
            "on the planned pixels and time where it does not name its own",
            options=[("as planned", ""), *((one.title, name) for name, one in RECIPES.items())],
        )
        self.recipe_words = widgets.HTML()
        best_by = Settings.declared["best_by"]
        kept = [(say_value(best_by.name, choice), choice) for choice in best_by.choices]
        self.best_by = field(widgets.Dropdown, best_by.label, best_by.told, options=kept)
        self.calibrate, self.calibrate_words = tick(CALIBRATE["minutes"], width="450px"), widgets.HTML()
        self.validation = field(
            widgets.SelectMultiple,
            VALIDATE_ON,
            "Patients who are never trained on; Ctrl and click chooses several",
            rows=6,
        )
        self.show_ids = tick("Show IDs", "Show patients by their IDs", width="120px")
        self.back = button("Back to the plan", self.back_to_plan, "Forget what was changed here")
        without = [*APART, *(["augmentation"] if self._preview is not None else [])]
        self.form = SettingsForm(Settings(), self._changed, without=without, fixed=FIXED)
        self.more = widgets.Accordion([self.form], titles=("More",), selected_index=None)
        time = widgets.HBox([self.unit, self.amount, self.again])
        way = (self.recipe, self.recipe_words)
        off = (self.calibrate, self.calibrate_words)
        left = widgets.VBox([self.name, self.name_note, *way, time, self.best_by, *off], layout={"width": "454px"})
        right = widgets.VBox([self.validation, self.show_ids])
        asked = widgets.HBox([left, right], layout={"flex_flow": "row wrap"})
        self.body.children = [self.table, asked, self.more, widgets.HBox([self.back])]
        for control in (self.name, self.amount, self.best_by, self.validation, self.calibrate):
            control.observe(lambda _: self._changed(), "value")
        self.unit.observe(lambda _: self._switch_unit(), "value")
        self.recipe.observe(lambda _: self._switch_recipe(), "value")
        self.show_ids.observe(lambda _: self._list_subjects(), "value")

    # --- what a click does

    def back_to_plan(self) -> None:
        """Forget what a person changed here, but for the model's name."""
        with self._lock:
            if self._plan is not None:
                self.give_up()  # a plan that is under way is no longer wanted
                self._notes = []
                with self._silence():
                    self.recipe.value = ""
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
        """Give the settings that stand in the panel."""
        start = self._start()
        typed = self.form.read() | self._typed_time() | {"best_by": self.best_by.value}
        settings = change_settings(start, typed)
        shown = None if self._data is None else self._data.plan.settings
        variation = None if self._preview is None else self._preview.value
        return with_variation(settings, shown, variation, has_own=bool(self.recipe.value))

    def _start(self) -> Settings:
        """Give the planned settings, or those of the chosen recipe that are made of them."""
        planned = self._plan.settings if self._plan is not None else Settings()
        return recipe(self.recipe.value, base=planned) if self.recipe.value else planned

    # --- following the data

    def _show_data(self, data: Data | None) -> None:
        self.give_up()
        other = self._data is not None and data is not None
        self._data, self._plan = data or self._data, None
        if data is not None:
            self.hide_ids_of(data.cases.cases)
        self._enable(data is not None)
        if data is None:
            self._forget()
            self.give_up(DATA_FIRST)
            return
        self._notes = [CHANGED] if other else []
        planned = data.plan.settings
        self._dims = self._dims_for(planned)
        if self._time is not None or self._dims not in (None, planned.spatial_dims):
            self._replan(data, self._time or time_of(planned))
        else:
            self._show_plan(data.plan)

    def _forget(self) -> None:
        """Show nothing of a folder that is gone or being read."""
        self.table.value, self.name_note.value, self.more.layout.display = "", "", "none"
        self.calibrate_words.value = ""
        self.form.complain()
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
        if self._problem:
            self._notes.append(self._problem)
        if self._subjects is not None:
            unknown = set(self._subjects) - set(self._offered())
            chosen = plan.validation_subjects if unknown else tuple(self._subjects)
            if unknown:
                self._notes.append(
                    f"The validation patients {', '.join(sorted(unknown))} that were asked for are not among these "
                    "images: the planned ones are chosen."
                )
        with self.attempt(), self._silence():
            self.form.tell({LABELS: str(len(data.cases.structures) + 1)})
            wanted, self._wanted = self._wanted, {}
            self._show_settings(change_settings(self._start(), self._changes | with_time(wanted)))
            self._show_recipe()
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
            with self._silence():
                self.recipe.value = ""
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

    def _switch_recipe(self) -> None:
        """Show the settings of another recipe, for the time that stands in the panel."""
        data, plan = self._data, self._plan
        if self._quiet or data is None or plan is None:
            return
        with self.attempt():
            self._notes, self._wanted = [], self._typed_time()
            self._dims = self._dims_for(data.plan.settings)
            if (self._dims or data.plan.settings.spatial_dims) != plan.settings.spatial_dims:
                self._replan(data, self._typed_time())
            else:
                self._show_plan(plan)

    def _dims_for(self, planned: Settings) -> object:
        """Give the dimensions that the chosen recipe needs, or else those that were asked for, if any."""
        needed = recipe(self.recipe.value, base=planned) if self.recipe.value else planned
        return self._asked_dims if needed.spatial_dims == planned.spatial_dims else needed.spatial_dims

    def _show_recipe(self) -> None:
        """Say what the chosen recipe is, and for how many epochs it was published."""
        known = RECIPES.get(self.recipe.value)
        epochs = f" Published for {known.epochs} epochs." if known is not None and known.epochs else ""
        words = "" if known is None else text(known.words + epochs)
        self.recipe_words.value = f'<div style="margin-left:142px">{words}</div>' if words else ""

    def _take(self) -> None:
        """Hand on what stands in the panel, or say what is wrong with it."""
        with self._lock:  # not while other data are shown
            self._hand_on()

    def _hand_on(self) -> None:
        data, plan = self._data, self._plan
        if data is None or plan is None or self._source.value is not data:
            return
        self.form.complain()
        with self.attempt():
            self.name_note.value = self.calibrate_words.value = ""
            self.calibrate.description = CALIBRATE[self.unit.value]
            name = check_model_name(self.name.value.strip())
            self.name_note.value = f'<div style="margin-left:142px">{text(say_name(self.folder, name))}</div>'
            settings = self.settings()
            split = split_cases(
                data.cases.cases,
                validation_subjects=self.validation.value,
                test_subjects=set_aside(data.cases),
                facts=count_labels(data.cases.cases, data.cases.structures),
            )
            chosen = subjects_of(split.validation)
            words = say_validation(chosen, data.cases.cases, by_id=self.show_ids.value)
            same = chosen == tuple(sorted(plan.validation_subjects))
            self.table.value = plan_table(plan, settings, words, as_planned=same)
            lacking = split.say(data.cases.structures)
            notes = [*self._notes, *([lacking] if lacking else []), *([] if split.validation else [NOBODY])]
            shown, learnt = data.plan.settings.spatial_dims, settings.spatial_dims
            notes += [say_other_dims(shown, learnt)] if self._preview is not None and shown != learnt else []
            if self._preview is not None and self.recipe.value and settings.augmentation != self._preview.value:
                notes.append(OWN_VARIATION)
            if self._preview is not None and self._preview.value is None:
                self.say("\n".join([*notes, PREVIEW_FIRST]))
                self.value = None
                return
            own = self._shared_time(split, settings)
            self.say("\n".join(notes), "warning")
            calibrate = self.calibrate.value
            self.value = Task(split, own, data.cases.structures, name, self.folder, calibrate=calibrate)

    def _shared_time(self, split: Split, settings: Settings) -> Settings:
        """Give the settings with the model's part of the time, and say how it is shared, where twins learn too."""
        if not self.calibrate.value:
            return settings
        own = models_time(settings)
        check_calibration(split, own)
        plan = plan_calibration(own, len(subjects_of((*split.training, *split.validation))))
        self.calibrate_words.value = text(str(plan))
        return own

    def fail(self, error: BaseException) -> None:
        """Show why something failed, also under the field that it names, and take back the value."""
        if isinstance(error, AutosegError):
            error.args = (self.hidden(str(error)),)
        self.form.complain(error)
        super().fail(named_as_shown(error))

    def _typed_time(self) -> dict[str, Any]:
        hint, other = (float, "epochs") if self.unit.value == "minutes" else (int, "minutes")
        return {self.unit.value: parse_value(self.unit.value, self.amount.value, hint), other: None}

    def _enable(self, on: bool) -> None:
        if on:
            self.more.layout.display = ""
        asked = (
            *(self.recipe, self.unit, self.amount, self.again, self.best_by),
            *(self.validation, self.show_ids, self.back, self.calibrate),
        )
        for control in asked:
            control.disabled = not on

    @contextmanager
    def _silence(self) -> Iterator[None]:
        before, self._quiet = self._quiet, True
        try:
            yield
        finally:
            self._quiet = before
