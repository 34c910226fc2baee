"""Which scenarios of fine-tuning are compared: what fits, a tick for each, and what else is scored."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import ipywidgets as widgets

from autoseg.errors import DataError, SettingsError
from autoseg.evaluation.comparison import ComparisonRequest, EntryName
from autoseg.evaluation.comparison.scenarios import ORIGINAL, OWN, SCENARIOS, USUAL, scenarios_of
from autoseg.evaluation.crossvalidation import Material, describe_material
from autoseg.model.model import TrainedModel
from autoseg.model.settings.settings import Settings, VolumeSettings
from autoseg.model.settings.text import parse_value, show_value, value_of
from autoseg.panels.comparison.entries import LABEL, EntriesPanel, PreviousComparison, with_words
from autoseg.panels.parts.fields import field, tick
from autoseg.panels.parts.panel import Panel
from autoseg.panels.parts.settings_form import SettingsForm
from autoseg.panels.parts.style import heading, text
from autoseg.training.finder import finder_settings
from autoseg.training.finetuning import Fit, check_fit, settings_from_base
from autoseg.training.inputs import sees_crop
from autoseg.training.plan import change_settings, number_subjects, set_aside
from autoseg.words import escaped

# --- the fields with which scenarios are chosen; they do nothing themselves

WORDS = {
    **{name: one.words for name, one in SCENARIOS.items()},
    OWN: "What you type under “A scenario of your own”, below.",
}
PARTS = (
    "A network has four parts: the contraction takes the image in, the bottleneck is its middle, the expansion "
    "leads back to the image, and the tail gives the answer. A part that rests stays as the model learnt it. "
    "The numbers below are learning rates: 0.00001 are very small steps, 0.001 large ones."
)
CENTRELINE = (
    "For long structures such as the spinal cord: a small network first finds the middle on every slice, and the "
    "model then sees only what lies around it. What finds it in a patient has never seen that patient."
)
EXACTLY = "Every scenario is scored around the middle of your own drawing, too: what is lost by not finding it?"
OUTLIERS = (
    "One with patients who come out unusually low then learns once more without them, and all are scored again."
)
CROP_MM, FINDER_MINUTES = (40.0, 40.0), 2.0
SECTIONS = (
    "A scenario of your own: what rests, what begins anew, how fast",
    "Settings of all that learn: size of pixels, images at once, and how images are prepared",
)
# Settings that all share and that may be others than the model's, beside those of how images are prepared.
SHARED, NOT_SHARED = ("batch_size",), ("volume.crop_mm", "volume.landmarks")


class ScenariosForm(widgets.VBox):
    """A tick for each scenario, the centreline, and under "More" the settings themselves.

    `asked` (name, time and folds) is shown between. `changed` and `all_changed` are called after a person changed a
    field; `all_changed` where it is of how images are prepared.
    """

    def __init__(self, asked: widgets.Widget, changed: Callable[[], None], all_changed: Callable[[], None]) -> None:
        self.fit, self.time = widgets.HTML(), widgets.HTML()
        self._changed, self._all_changed = changed, all_changed
        self.boxes = {name: tick(name[0].upper() + name[1:], words, width="220px") for name, words in WORDS.items()}
        self.words = {name: widgets.HTML(text(words)) for name, words in WORDS.items()}
        self.without = tick("Also without outliers", OUTLIERS, width="220px")
        self.few = field(
            widgets.Text,
            "Learn from",
            "Or numbers such as 1, 2, 4: each scenario learns once from so many: how many must be drawn?",
            width="360px",
            label=LABEL,
            placeholder="all patients of a fold",
        )
        self.more = widgets.Accordion([widgets.VBox(), widgets.VBox()], titles=SECTIONS, selected_index=None)
        self.own = self.all = SettingsForm(Settings(), changed, without=_all_but(()))
        self._shown = Settings()
        rows = [with_words(box, self.words[name]) for name, box in self.boxes.items()]
        super().__init__(
            [
                self.fit,
                *(widgets.HTML(heading("Scenarios to compare")), widgets.HTML(text(PARTS)), *rows),
                self._make_centreline(),
                widgets.HTML(heading("Name, time and folds")),
                *(asked, self.few, with_words(self.without, widgets.HTML(text(OUTLIERS)))),
                *(self.more, self.time),
            ]
        )
        ticks = (*self.boxes.values(), self.follow, self.exact, self.without)
        for one in (*ticks, self.crop, self.finder, self.few):
            one.observe(lambda _: self._changed(), "value")
        self.boxes[OWN].observe(lambda change: self._unfold(bool(change["new"])), "value")
        self.follow.observe(lambda _: self._arrange(), "value")
        self._arrange()

    def _make_centreline(self) -> widgets.VBox:
        self.follow = tick("Follow the centreline", "Models that learn see only what lies around it")
        self.crop = field(
            widgets.Text,
            "Seen around it, mm",
            "Two lengths across the structure, with room for what is missed: twice its width, for instance",
            width="270px",
            label=LABEL,
            value=show_value(CROP_MM),
        )
        self.finder = field(
            widgets.Text,
            "Minutes to find it",
            "How long each network that finds the centreline learns, one in each fold",
            width="270px",
            label=LABEL,
            value=show_value(FINDER_MINUTES),
        )
        self.exact = tick("Also with exact centrelines", EXACTLY, width="220px")
        lengths = widgets.HBox([self.crop, self.finder], layout={"flex_flow": "row wrap"})
        self.details = widgets.VBox([lengths, with_words(self.exact, widgets.HTML(text(EXACTLY)))])
        head = (widgets.HTML(heading("Centreline")), widgets.HTML(text(CENTRELINE)))
        self.centreline = widgets.VBox([*head, self.follow, self.details])
        return self.centreline

    # --- what stands in it

    def read_all(self) -> dict[str, object]:
        """Give the settings of all that learn that are others than the model's, by name."""
        changed = {name: value for name, value in self.all.read().items() if value != value_of(self._shown, name)}
        if self._shown.spatial_dims == 3:
            changed["volume.crop_mm"] = self.read_crop()
        return changed

    def read_few(self) -> tuple[int, ...]:
        """Give the numbers of patients to learn from; none: from all."""
        numbers: Any = parse_value("subjects", self.few.value, tuple[int, ...])
        return tuple(numbers)

    def read_finder(self) -> Settings:
        """Give the settings of what finds centrelines."""
        minutes: Any = parse_value("minutes", self.finder.value, float)
        return finder_settings(minutes=minutes, seed=0)

    def read_crop(self) -> object:
        """Give the millimetres that are seen around the centreline; None where it is not followed."""
        if not self.follow.value:
            return None
        crop = parse_value("crop_mm", self.crop.value, tuple[float, ...])
        VolumeSettings(crop_mm=crop)  # type: ignore[arg-type]  # says what is wrong
        return crop

    # --- what is shown

    def show_model(self, model: TrainedModel, changed: Settings | None = None) -> None:
        """Show the fields that suit a model, with its settings, or with others that were begun with."""
        self._shown = settings_from_base(model)
        volume = self._shown.spatial_dims == 3
        group = "volume" if volume else "preprocess"
        self.own = SettingsForm(self._shown, self._own_changed, without=_all_but(("learning_rate", "finetune")))
        self.all = SettingsForm(self._shown, self._all_changed, without=[*_all_but((*SHARED, group)), *NOT_SHARED])
        if changed is not None:
            self.own.show(changed)
            self.all.show(changed)
        self.more.children = (self.own, self.all)
        self.centreline.layout.display = "" if volume else "none"
        crop = (changed or self._shown).volume.crop_mm
        self.follow.value = volume and crop is not None
        self.crop.value = show_value(crop or CROP_MM)

    def show_fit(self, notes: Sequence[str], unknown: Sequence[str]) -> None:
        """Say how the model fits, and offer it as it is only where it knows all structures."""
        items = "".join(f"<li>{escaped(note)}</li>" for note in notes)
        style = "margin:2px 0 6px;padding-left:20px;line-height:1.45;color:var(--jp-ui-font-color1,inherit)"
        self.fit.value = f'{heading("How the model fits your images")}<ul style="{style}">{items}</ul>'
        self.boxes[ORIGINAL].disabled = bool(unknown)
        why = f"Not possible: it does not know {', '.join(unknown)}." if unknown else WORDS[ORIGINAL]
        self.words[ORIGINAL].value = text(why)

    def _own_changed(self) -> None:
        self.boxes[OWN].value = True  # who types one wants it
        self._changed()

    def _unfold(self, on: bool) -> None:
        if on:
            self.more.selected_index = 0

    def _arrange(self) -> None:
        self.details.layout.display = "" if self.follow.value else "none"


def _all_but(names: Sequence[str]) -> list[str]:
    return [item.name for item in fields(Settings) if item.name not in names]


MODEL_FIRST = "Choose above the model to begin from."
DATA_FIRST = "Choose your images above; then it is seen how the model fits them."
LOOKING = "Looking how the model fits these images …"
AS_IT_IS = "It knows all structures here and sees images as these are: everything is taken over."
FEWEST = 2


class ScenariosPanel(EntriesPanel):
    """Choose which scenarios of fine-tuning are compared.

    Patients whom the model has seen are left out: no honest score of them is possible.

    Parameters
    ----------
    base : Panel
        Its value is a `panels.parts.values.ChosenModel`: the model to begin from.
    data : Panel
        Its value is a `panels.parts.values.Data`.
    chosen : collection of str, optional
        Names of scenarios: those of `autoseg.evaluation.comparison.scenarios.SCENARIOS`, and "own way".
    crop_mm : (2,) tuple of float, optional
        Follow the centreline, and see so much around it; for models of volumes only.
    exact, without_outliers : bool
        As for `autoseg.compare`.
    **asked
        `name`, `folder`, `minutes` or `epochs`, `folds`: as for `EntriesPanel`; by default 3 minutes and 5 folds.
    """

    kind, usual_name, usual_minutes, usual_folds = "scenario", "finetuned", 3.0, 5

    def __init__(
        self,
        base: Panel,
        data: Panel,
        *,
        chosen: Collection[str] = USUAL,
        crop_mm: tuple[float, float] | None = None,
        exact: bool = False,
        without_outliers: bool = False,
        **asked: Any,
    ) -> None:
        super().__init__(**asked)
        self._crop = crop_mm
        self._base_panel, self._data_panel = base, data
        self._model: TrainedModel | None = None
        self._shown: TrainedModel | None = None
        self._fit: Fit | None = None
        self._material: Material | None = None
        with self._silence():
            self.form = ScenariosForm(self.asked, self._changed, self._look)
            self.boxes, self.time = self.form.boxes, self.form.time
            self.form.exact.value, self.form.without.value = exact, without_outliers
            with self.attempt():
                self._tick(chosen)
        self.follow(base, lambda _: self._take())
        self.follow(data, lambda _: self._take())

    def people(self) -> tuple[str, ...]:
        """Give the patients whom the model has not seen and who are not set aside."""
        aside = set_aside(self._data.cases) if self._data is not None else frozenset()
        return tuple(s for s in self._fit.subjects if s not in aside) if self._fit is not None else ()

    def prepare(self) -> None:
        """Hand on: the time changes nothing else."""
        self.hand_on()

    def tick_previous(self, previous: PreviousComparison) -> None:
        """Tick what was scored beside the scenarios, and type their settings and numbers of patients."""
        self.form.exact.value, self.form.without.value = previous.exact, previous.without_outliers
        if previous.settings is not None and self._model is not None:
            self.form.show_model(self._model, previous.settings)
        counts = {EntryName.read(name).subjects for name in previous.entries} - {None}
        self.form.few.value = show_value(tuple(sorted(count for count in counts if count is not None)))

    # --- following the model and the data

    def _take(self) -> None:
        chosen, data = self._base_panel.value, self._data_panel.value
        model = None if chosen is None else chosen.model
        if self._model is model is not None and self._data is data is not None:
            return  # it was told twice
        self.give_up()
        self.body.children = ()
        self._model, self._data, self._fit = model, data, None
        self.hide_ids_of(data.cases.cases if data is not None else ())
        if model is None or data is None:
            self.give_up(MODEL_FIRST if model is None else DATA_FIRST)
            return
        if model is not self._shown:  # other images leave what was typed for a model
            self._shown = model
            with self._silence():
                self.form.show_model(model)
                if self._crop is not None and model.settings.spatial_dims == 3:
                    self.form.follow.value, self.form.crop.value = True, show_value(self._crop)
        self._look()

    def _look(self) -> None:
        """See how the model fits, and show all that can be chosen."""
        model, data = self._model, self._data
        if self._quiet or model is None or data is None:
            return
        self._fit = None
        with self.attempt():
            settings = change_settings(settings_from_base(model), self.form.read_all())
            self.start(
                lambda: check_fit(model, data.cases.cases, data.cases.structures, settings),
                self._show,
                saying=LOOKING,
            )

    def _show(self, fit: Fit) -> None:
        self._fit, data = fit, self._data
        self._material = None if data is None else describe_material(data.cases, data.findings)
        with self._silence():
            self.form.show_fit(fit.notes or (AS_IT_IS,), fit.unknown)
        self._offer_folds()
        # Where nobody is left to compare on, nothing is to be chosen, and the sentence is seen at once.
        self.body.children = (self.form if len(self.people()) >= FEWEST else self.form.fit,)
        self.hand_on()

    # --- handing on

    def request(self, folder: Path) -> ComparisonRequest | None:
        """Give the scenarios that are ticked, with what is typed for one or all of them."""
        model, data, fit, form = self._model, self._data, self._fit, self.form
        form.own.complain()
        form.all.complain()
        if model is None or data is None or fit is None or self._data_panel.value is not data:
            return None
        self._check(model, fit)
        chosen, aside = self.ticked(), set_aside(data.cases)
        # Settings from a base have epochs, of which a typed time takes the place.
        shared = {"minutes": None, "epochs": None, "seed": 0, **self.typed_time(), **form.read_all()}
        own = form.own.read() if OWN in chosen else {}
        entries = scenarios_of(
            model, data.cases.structures, chosen, changes=shared, subjects=form.read_few(), own=own
        )
        follows = any(sees_crop(one.settings) for one in entries.values() if one.learns)
        return ComparisonRequest(
            data.cases.cases,
            data.cases.structures,
            entries,
            folder,
            folds=self.folds.value,
            test_subjects=aside,
            base=change_settings(settings_from_base(model), shared | own),
            exact=form.exact.value and follows,
            without_outliers=form.without.value,
            finder=form.read_finder() if follows else None,
            known=fit.known - aside,
            material=self._material,
        )

    def _check(self, model: TrainedModel, fit: Fit) -> None:
        left, count = len(self.people()), len(self.ticked())
        if left < FEWEST:
            why = "These are images of one patient."
            if fit.known:
                who = "all patients here" if not left else "all patients here but one"
                why = f"The model {model.name!r} has learnt from {who}, or was validated on them."
            raise DataError(
                f"{why} Scenarios are compared on patients whom the model has never seen: two at least, better six "
                "or more. Add images of others to the folder, or choose another folder or another model above."
            )
        if count < 2:
            raise SettingsError(f"Tick at least two scenarios; {count or 'nothing'} is ticked.")

    def warning(self) -> str:
        """Say who is left out because the model knows them."""
        if self._fit is None or not self._fit.known or self._data is None or self._model is None:
            return ""
        names = number_subjects(self._data.cases.cases)
        who = [names[subject] for subject in sorted(self._fit.known)]
        shown = ", ".join(who) if len(who) <= 6 else f"{len(who)} patients"
        return (
            f"The model {self._model.name!r} knows {shown}: it has learnt from them or was validated on them, so "
            "that no score of them would be honest. They are left out here, and learnt from again when the best is "
            "kept."
        )

    def fail(self, error: BaseException) -> None:
        """Show why something failed, at the field that it names as well, and take back the value."""
        for form in (self.form.own, self.form.all):
            form.complain(error)
        super().fail(error)
