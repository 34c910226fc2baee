"""Ways to bring a model to other images: what fits, a tick for each way, the time, and what else is scored."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ipywidgets as widgets

from autoseg.errors import AutosegError, DataError, SettingsError
from autoseg.evaluation.comparison.scenarios import USUAL, scenarios_of
from autoseg.evaluation.crossvalidation import Scenario
from autoseg.model.model import TrainedModel, check_model_name
from autoseg.model.settings.settings import Settings
from autoseg.model.settings.text import parse_value, show_value
from autoseg.panels.comparison.asked import USUAL_EPOCHS, Asked
from autoseg.panels.comparison.comparing_words import describe_length
from autoseg.panels.comparison.contestants import ENDING
from autoseg.panels.comparison.ways_form import OWN, WaysForm
from autoseg.panels.parts.panel import Panel
from autoseg.panels.parts.style import text
from autoseg.panels.parts.values import Contest, Data
from autoseg.training.finder import finder_settings
from autoseg.training.finetuning import Fit, check_fit, settings_from_base
from autoseg.training.inputs import sees_crop
from autoseg.training.plan import change_settings, hide_ids, number_subjects, set_aside

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
        self.form.own.complain("")
        self.form.all.complain("")
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
            error = type(error)(hide_ids(self._data.cases.cases).hide(str(error)))
        self.form.own.complain(str(error))
        self.form.all.complain(str(error))
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
