"""Ways to bring a model to other images: what fits, a tick for each way, the time, and what else is scored."""

from __future__ import annotations

import html
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import ipywidgets as widgets

from autoseg.errors import AutosegError, DataError, SettingsError
from autoseg.evaluation.comparison.scenarios import ORIGINAL, SCRATCH, USUAL, WAYS, scenarios_of
from autoseg.evaluation.crossvalidation import Scenario
from autoseg.model.model import TrainedModel, check_model_name
from autoseg.model.settings.settings import Settings, VolumeSettings
from autoseg.model.settings.text import parse_value, show_value, value_of
from autoseg.panels.comparison.asked import FIELD, USUAL_EPOCHS, Asked
from autoseg.panels.comparison.comparing import describe_length
from autoseg.panels.comparison.contestants import ENDING
from autoseg.panels.parts.panel import Panel
from autoseg.panels.parts.settings_form import SettingsForm
from autoseg.panels.parts.style import heading, text
from autoseg.panels.parts.values import Contest, Data
from autoseg.training.finder import finder_settings
from autoseg.training.finetuning import Fit, check_fit, settings_from_base
from autoseg.training.inputs import sees_crop
from autoseg.training.plan import change_settings, hide_ids, number_subjects, set_aside

# --- the fields with which ways to fine-tune are chosen; they do nothing themselves

OWN = "own way"
WORDS = {
    ORIGINAL: "The model as it is. It learns nothing here: how much is there to gain?",
    SCRATCH: "The same network, learnt from these images alone: is the model a help at all?",
    **{name: way.words for name, way in WAYS.items()},
    OWN: "What you type under “A way of your own”, below.",
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
EXACTLY = "Every way is scored around the middle of your own drawing, too: what is lost by not finding it?"
OUTLIERS = (
    "A way with patients who come out unusually low then learns once more without them, and all are scored again."
)
CROP_MM, FINDER_MINUTES = (40.0, 40.0), 2.0
SECTIONS = (
    "A way of your own: what rests, what begins anew, how fast",
    "Settings of all that learn: spacing_mm, batch_size, and how images are prepared",
)
# Settings that all ways share and that may be others than the model's, beside those of how images are prepared.
SHARED, NOT_SHARED = ("batch_size",), ("volume.crop_mm", "volume.landmarks")


class WaysForm(widgets.VBox):
    """A tick for each way, the centreline, and under "More" the settings themselves.

    Parameters
    ----------
    asked : Widget
        Name, time and folds, shown between.
    changed, all_changed : callable
        Called after a person changed a field; `all_changed` where it is of how images are prepared.
    """

    def __init__(self, asked: widgets.Widget, changed: Callable[[], None], all_changed: Callable[[], None]) -> None:
        self.fit, self.time = widgets.HTML(), widgets.HTML()
        self._changed, self._all_changed = changed, all_changed
        self.boxes = {name: _tick(name[0].upper() + name[1:], WORDS[name], width="150px") for name in WORDS}
        self.words = {name: widgets.HTML(text(words)) for name, words in WORDS.items()}
        self._make_centreline()
        self.without = _tick("Also without outliers", OUTLIERS)
        self.few = widgets.Text(
            description="Learn from",
            placeholder="all patients of a fold",
            tooltip="Or numbers such as 1, 2, 4: each way learns once from so many: how many must be drawn?",
            continuous_update=False,
            layout={"width": "360px"},
            style=FIELD,
        )
        self.more = widgets.Accordion([widgets.VBox(), widgets.VBox()], titles=SECTIONS, selected_index=None)
        self.own = self.all = SettingsForm(Settings(), changed, without=_all_but(()))
        self._shown = Settings()
        rows = [
            widgets.HBox([self.boxes[name], self.words[name]], layout={"align_items": "center"}) for name in WORDS
        ]
        ways = (widgets.HTML(heading("Ways to compare")), widgets.HTML(text(PARTS)), *rows)
        how = widgets.HTML(heading("Name, time and folds"))
        super().__init__(
            [
                self.fit,
                *ways,
                self.centreline,
                how,
                asked,
                self.few,
                _with_words(self.without, OUTLIERS),
                self.more,
                self.time,
            ]
        )
        ticks = (*self.boxes.values(), self.follow, self.exact, self.without)
        for field in (*ticks, self.crop, self.finder, self.few):
            field.observe(lambda _: self._changed(), "value")
        self.boxes[OWN].observe(lambda change: self._unfold(bool(change["new"])), "value")
        self.follow.observe(lambda _: self._arrange(), "value")
        self._arrange()

    def _make_centreline(self) -> None:
        self.follow = _tick("Follow the centreline", "Models that learn see only what lies around it")
        narrow = {"width": "270px"}
        self.crop = widgets.Text(
            show_value(CROP_MM),
            description="Seen around it, mm",
            tooltip="Two lengths across the structure, with room for what is missed: twice its width, for instance",
            continuous_update=False,
            layout=dict(narrow),
            style=FIELD,
        )
        self.finder = widgets.Text(
            show_value(FINDER_MINUTES),
            description="Minutes to find it",
            tooltip="How long each network that finds the centreline learns, one in each fold",
            continuous_update=False,
            layout=dict(narrow),
            style=FIELD,
        )
        self.exact = _tick("Also with exact centrelines", EXACTLY)
        fields_in_a_row = widgets.HBox([self.crop, self.finder], layout={"flex_flow": "row wrap"})
        self.details = widgets.VBox([fields_in_a_row, _with_words(self.exact, EXACTLY)])
        head = (widgets.HTML(heading("Centreline")), widgets.HTML(text(CENTRELINE)))
        self.centreline = widgets.VBox([*head, self.follow, self.details])

    # --- what stands in it

    def chosen(self) -> list[str]:
        """Give the ways that are ticked and can be."""
        return [name for name, box in self.boxes.items() if box.value and not box.disabled]

    def read_own(self) -> dict[str, object]:
        """Give the settings of a way of one's own, by name."""
        return self.own.read()

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
        items = "".join(f"<li>{html.escape(note)}</li>" for note in notes)
        style = "margin:2px 0 6px;padding-left:20px;line-height:1.45;color:var(--jp-ui-font-color1,inherit)"
        self.fit.value = f'{heading("How the model fits your images")}<ul style="{style}">{items}</ul>'
        self.boxes[ORIGINAL].disabled = bool(unknown)
        why = f"Not possible: it does not know {', '.join(unknown)}." if unknown else WORDS[ORIGINAL]
        self.words[ORIGINAL].value = text(why)

    def _own_changed(self) -> None:
        self.boxes[OWN].value = True  # who types a way wants it
        self._changed()

    def _unfold(self, on: bool) -> None:
        if on:
            self.more.selected_index = 0

    def _arrange(self) -> None:
        self.details.layout.display = "" if self.follow.value else "none"


def _tick(words: str, tooltip: str, *, width: str = "auto") -> Any:
    layout: Mapping[str, str] = {"width": width, "flex": "0 0 auto"}
    return widgets.Checkbox(description=words, tooltip=tooltip, indent=False, layout=dict(layout))


def _with_words(tick: Any, words: str) -> widgets.HBox:
    """Put a sentence beside a tick."""
    tick.layout.width = "220px"
    return widgets.HBox([tick, widgets.HTML(text(words))], layout={"align_items": "center"})


def _all_but(names: Sequence[str]) -> list[str]:
    return [item.name for item in fields(Settings) if item.name not in names]


MODEL_FIRST = "Choose above the model to begin from."
DATA_FIRST = "Choose your images above; then it is seen how the model fits them."
LOOKING = "Looking how the model fits these images …"
MINUTES, FOLDS, FEWEST = 3.0, 5, 2
# Settings from a base have epochs, of which a typed time takes the place.
NO_TIME: Mapping[str, object] = {"minutes": None, "epochs": None}


class WaysPanel(Panel):
    """Choose what is compared; `value` is a `panels.values.Contest`, or None with a sentence why there is none.

    Patients whom the model has seen are left out: no honest score of them is possible.

    Parameters
    ----------
    base : Panel
        Its value is a `panels.values.ChosenModel`: the model to begin from.
    data : Panel
        Its value is a `panels.values.Data`.
    name : str
        Of the comparison; its folder `<name>_comparison` lies in `folder`.
    folder : Path or str
    chosen : collection of str, optional
        Names of ways: "original", "from scratch", those of `autoseg.evaluation.comparison.scenarios.WAYS`, and
        "own way".
    minutes, epochs : float or int, optional
        For which each learns; by default 3 minutes.
    folds : int
        As many as there are patients where that is fewer.
    crop_mm : (2,) tuple of float, optional
        Follow the centreline, and see so much around it; for models of volumes only.
    exact, without_outliers : bool
        As for `autoseg.evaluation.comparison.compare`.
    """

    def __init__(
        self,
        base: Panel,
        data: Panel,
        *,
        name: str = "finetuned",
        folder: Path | str = "../trained_model",
        chosen: Collection[str] = USUAL,
        minutes: float | None = None,
        epochs: int | None = None,
        folds: int = FOLDS,
        crop_mm: tuple[float, float] | None = None,
        exact: bool = False,
        without_outliers: bool = False,
    ) -> None:
        super().__init__()
        self.folder, self._folds, self._crop = Path(folder), folds, crop_mm
        self._base_panel, self._data_panel = base, data
        self._model: TrainedModel | None = None
        self._shown: TrainedModel | None = None
        self._data: Data | None = None
        self._fit: Fit | None = None
        self._quiet = True
        amount = epochs if epochs is not None else minutes or MINUTES
        self.asked = Asked(name, amount, in_epochs=epochs is not None, take_earlier=self.take_earlier, what="way")
        self.name, self.amount, self.unit, self.folds = (
            *(self.asked.name, self.asked.amount, self.asked.unit, self.asked.folds),
        )
        self.form = WaysForm(self.asked, self._changed, self._look)
        self.form.exact.value, self.form.without.value = exact, without_outliers
        for field in (self.name, self.amount, self.folds):
            field.observe(lambda _: self._changed(), "value")
        self.unit.observe(lambda _: self._switch_unit(), "value")
        with self.attempt():
            self._tick(chosen)
        self._quiet = False
        self.follow(base, lambda _: self._take())
        self.follow(data, lambda _: self._take())

    @property
    def boxes(self) -> Mapping[str, widgets.Checkbox]:
        """The ticks, by the name of the way."""
        return self.form.boxes

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
                if folds is not None:
                    self._folds = folds
                    self.asked.offer_folds(len(self._strangers()), folds)
                self.name.value = self.name.value if name is None else name
            self._changed()

    def take_earlier(self) -> None:
        """Tick and type what the comparison of this name was begun with, so that it can go on."""
        earlier, model = self.asked.earlier.found, self._model
        if earlier is None or model is None:
            return
        with self._silence():
            self.form.exact.value, self.form.without.value = earlier.exact, earlier.without_outliers
            if earlier.settings is not None:
                self.form.show_model(model, earlier.settings)
            counts = sorted({int(count.split()[0]) for _, _, count in map(_parted, earlier.chosen) if count})
            self.form.few.value = show_value(tuple(counts))
        known = dict.fromkeys(name for name, _, _ in map(_parted, earlier.chosen) if name in self.boxes)
        self.choose(known, minutes=earlier.minutes, epochs=earlier.epochs, folds=earlier.folds)

    def _tick(self, chosen: Collection[str]) -> None:
        unknown = [name for name in chosen if name not in self.boxes]
        if unknown:
            raise SettingsError(f"There is no way {', '.join(map(repr, unknown))}. Known: {', '.join(self.boxes)}.")
        for name, box in self.boxes.items():
            box.value = name in chosen

    # --- following the model and the data

    def _take(self) -> None:
        chosen, data = self._base_panel.value, self._data_panel.value
        model = None if chosen is None else chosen.model
        if self._model is model is not None and self._data is data is not None:
            return  # it was told twice
        self.give_up()
        self.body.children = ()
        self._model, self._data, self._fit = model, data, None
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
        self._fit = fit
        with self._silence():
            self.form.show_fit(fit.notes or (AS_IT_IS,), fit.unknown)
            self.asked.offer_folds(len(self._strangers()), self._folds)
        # Where nobody is left to compare on, nothing is to be chosen, and the sentence is seen at once.
        self.body.children = (self.form if len(self._strangers()) >= FEWEST else self.form.fit,)
        self._hand_on()

    # --- handing on

    def _changed(self) -> None:
        with self._lock:
            if not self._quiet:
                self._folds = self.folds.value or self._folds
                self._hand_on()

    def _switch_unit(self) -> None:
        if not self._quiet:
            with self._silence():
                self.amount.value = show_value(MINUTES if self.unit.value == "minutes" else USUAL_EPOCHS)
            self._changed()

    def _hand_on(self) -> None:
        """Hand on what stands in the panel, or say what is wrong with it."""
        model, data, fit = self._model, self._data, self._fit
        if model is None or data is None or fit is None or self._data_panel.value is not data:
            return
        self.value, self.form.time.value = None, ""
        self.asked.show_place(None)
        self.form.own.complain()
        self.form.all.complain()
        with self.attempt():
            name = check_model_name(self.name.value.strip())
            self._check(model, data, fit)
            contest = self._contest(model, data, fit, name)
            length = describe_length(contest.entries, contest.folds, what=contest.what, finder=contest.finder)
            self.form.time.value = text(length)
            self.asked.show_place(contest)
            self.say(self._say_known(model, data, fit), "warning")
            self.value = contest

    def _contest(self, model: TrainedModel, data: Data, fit: Fit, name: str) -> Contest:
        form, time = self.form, self.asked.typed_time()
        chosen, shared = form.chosen(), form.read_all()
        own = form.read_own() if OWN in chosen else {}
        named, few = [one for one in chosen if one != OWN], form.read_few()
        entries: dict[str, Scenario] = {}
        if named:
            entries = scenarios_of(model, data.cases.structures, names=named, **time, changes=shared, subjects=few)
        start = change_settings(settings_from_base(model), {**NO_TIME, **time, "seed": 0} | shared | own)
        if OWN in chosen:
            entries |= {_named(OWN, count): Scenario(start, model, subjects=count) for count in few or (None,)}
        follows = any(sees_crop(one.settings) for one in entries.values() if one.learns)
        return Contest(
            data.cases,
            entries,
            self.folds.value,
            name,
            self.folder / f"{name}{ENDING}",
            test_subjects=set_aside(data.cases),
            base=start,
            exact=form.exact.value and follows,
            without_outliers=form.without.value,
            finder=self._finder() if follows else None,
            known=fit.known - set_aside(data.cases),
            what="way",
        )

    def _finder(self) -> Settings:
        minutes: Any = parse_value("minutes", self.form.finder.value, float)
        return finder_settings(minutes=minutes, seed=0)

    def _check(self, model: TrainedModel, data: Data, fit: Fit) -> None:
        left = len(self._strangers())
        if left < FEWEST:
            why = "These are images of one patient."
            if fit.known:
                who = "all patients here" if not left else "all patients here but one"
                why = f"The model {model.name!r} has learnt from {who}, or was validated on them."
            raise DataError(
                f"{why} Ways are compared on patients whom the model has never seen: two at least, better six or "
                "more. Add images of others to the folder, or choose another folder or another model above."
            )
        count = len(self.form.chosen())
        if count < 2:
            raise SettingsError(f"Tick at least two ways; {count or 'nothing'} is ticked.")

    def _say_known(self, model: TrainedModel, data: Data, fit: Fit) -> str:
        """Say who is left out because the model knows them."""
        if not fit.known:
            return ""
        names = number_subjects(data.cases.cases)
        who = [names[subject] for subject in sorted(fit.known)]
        shown = ", ".join(who) if len(who) <= 6 else f"{len(who)} patients"
        return (
            f"The model {model.name!r} knows {shown}: it has learnt from them or was validated on them, so that no "
            "score of them would be honest. They are left out here, and learnt from again when the best is kept."
        )

    def _strangers(self) -> tuple[str, ...]:
        aside = set_aside(self._data.cases) if self._data is not None else frozenset()
        return tuple(s for s in self._fit.subjects if s not in aside) if self._fit is not None else ()

    def fail(self, error: BaseException) -> None:
        """Show why something failed, without patients' IDs, and take back the value."""
        if isinstance(error, AutosegError) and self._data is not None:
            error.args = (hide_ids(self._data.cases.cases).hide(str(error)),)
        self.form.own.complain(error)
        self.form.all.complain(error)
        super().fail(error)

    @contextmanager
    def _silence(self) -> Iterator[None]:
        before, self._quiet = self._quiet, True
        try:
            yield
        finally:
            self._quiet = before


def _named(way: str, count: int | None) -> str:
    """Name a way that learns from so many subjects, as `scenarios_of` does."""
    return way if count is None else f"{way} with {count} subject{'s' * (count != 1)}"


def _parted(entry: str) -> tuple[str, str, str]:
    return entry.partition(" with ")


AS_IT_IS = "It knows all structures here and sees images as these are: everything is taken over."
