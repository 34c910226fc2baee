"""Calibrating a model: twins of it, by folds, measure patients whom they never saw; it learns its limits from that.

The twins learn within the time that was given: of a time budget the model gets half, and all twins together the
other half. They see fewer patients than the model and learn for a shorter time, so they are rather worse, and what
follows from their errors is rather too careful.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from autoseg.data.cases import Case
from autoseg.data.digests import known_subjects
from autoseg.data.split import Split, k_folds, subjects_of
from autoseg.errors import DataError, OutputError
from autoseg.evaluation.crossvalidation.examined import examine_fold
from autoseg.evaluation.crossvalidation.fold import (
    RESULT,
    FoldResult,
    OtherFoldsError,
    earlier_settings,
    plain_settings,
    read_content,
    read_model,
)
from autoseg.evaluation.crossvalidation.request import CrossValidationRequest
from autoseg.evaluation.crossvalidation.run import run_cross_validation
from autoseg.evaluation.crossvalidation.scenario import Scenario
from autoseg.files.atomic import one_step, settle
from autoseg.files.records import write_record
from autoseg.image.structures import Structure
from autoseg.model.card import save_with_card
from autoseg.model.model import TrainedModel, load_model, model_digest, model_files
from autoseg.model.settings.settings import Settings, settings_from_dict
from autoseg.model.shipped import check_not_shipped
from autoseg.model.trust import How
from autoseg.training.choose_postprocess import tune_postprocess
from autoseg.training.events import Event, OnEvent, listener
from autoseg.training.finder import finder_settings
from autoseg.training.inputs import sees_crop
from autoseg.training.keeping.alone import folds_alone
from autoseg.training.trust import Examined, learn_trust
from autoseg.words import are, counted

# Of a time budget, the model's own part; the twins' is the other.
MODEL_SHARE = 0.5
# As many folds as leave each twin a minute: with more folds it sees more patients, with fewer it has more time.
FOLDS, FEWEST_FOLDS, SHORTEST_MINUTES = 5, 3, 1.0
FEWEST_SUBJECTS = 3
ENDING, STATE = "_calibration", "calibration.json"


@dataclass(frozen=True)
class CalibrationPlan:
    """How the time is shared, and what the twins do; `str` says it in sentences.

    The model learns for `model_minutes`, each of `folds` twins with the settings `twin`, from all `subjects` but a
    fold of them. Where centrelines must be found, a finder learns for each fold, `finder_minutes` long. Minutes
    are None where epochs are counted; then each twin learns for as many as the model. Reading images, and trying
    the twins on the patients left out, come on top.
    """

    subjects: int
    folds: int
    twin: Settings
    model_minutes: float | None = None
    finder_minutes: float | None = None

    @property
    def twins_minutes(self) -> float | None:
        """Minutes of learning of all twins together; None where epochs are counted."""
        return None if self.twin.minutes is None else self.folds * self.twin.minutes

    @property
    def minutes(self) -> float | None:
        """Minutes of learning of the model and all twins, without finders; None where epochs are counted."""
        twins = self.twins_minutes
        return None if twins is None or self.model_minutes is None else self.model_minutes + twins

    @property
    def model_share(self) -> float:
        """The model's own part of all learning: of the minutes, or of the epochs."""
        if self.minutes is None or self.model_minutes is None:
            return 1 / (1 + self.folds)
        return self.model_minutes / self.minutes

    @property
    def twins_words(self) -> str:
        """What the twins do, from how many patients they learn, and what follows from that."""
        left_out = round(self.subjects / self.folds) or 1
        each, finding, shorter = self.twin.minutes, "", ""
        if each is not None:
            long, shorter = _minutes(each), " and learn for a shorter time"
        else:
            long = counted(self.twin.epochs or 0, "epoch")
        if self.finder_minutes is not None:
            finding = f" Finding centrelines takes {_minutes(self.folds * self.finder_minutes)} more."
        return (
            f"{self.folds} twins of the model learn for {long} each, from about {self.subjects - left_out} of the "
            f"{self.subjects} patients, and measure the other {left_out}, whom they never saw.{finding} They see "
            f"fewer patients than the model{shorter}, so that areas are rather said to be less sure than they are. "
            "Reading images and measuring come on top."
        )

    def __str__(self) -> str:
        model, both = self.model_minutes, self.minutes
        if model is None or both is None:
            epochs, times = counted(self.twin.epochs or 0, "epoch"), 1 + self.folds
            share = (
                f"The model, and then each of its {self.folds} twins, learns for {epochs}: at most {times} times "
                "as long as the model alone."
            )
        else:
            twins = f"{self.folds} twins of it together {_minutes(both - model)}"
            share = f"Of {_minutes(both)} of learning the model gets {_minutes(model)}, and then {twins}."
        return f"{share} {self.twins_words}"


@dataclass(frozen=True)
class CalibrationBegins(Event):
    """The twins of a model begin to learn, or what they had learnt before is read."""

    plan: CalibrationPlan

    def __str__(self) -> str:
        return f"Measuring how far areas can be off: {self.plan.twins_words}"


@dataclass(frozen=True)
class TwinTried(Event):
    """A twin has learnt, and is tried on the patients of its fold (from 1), whom it never saw."""

    fold: int
    folds: int

    def __str__(self) -> str:
        return f"Twin {self.fold} of {self.folds} measures the patients whom it never saw."


@dataclass(frozen=True)
class Calibrated(Event):
    """A model has learnt its limits from its twins, and lies in its file anew."""

    path: Path
    patients: int

    def __str__(self) -> str:
        return f"How far areas can be off is known from {counted(self.patients, 'patient')}; saved in {self.path}"


def models_time(settings: Settings) -> Settings:
    """Give the settings with the model's own part of the time, which settings of both together name."""
    if settings.minutes is None:
        return settings
    return replace(settings, minutes=settings.minutes * MODEL_SHARE)


def plan_calibration(settings: Settings, subjects: int, *, finder: Settings | None = None) -> CalibrationPlan:
    """Say what the twins of a model with these settings do; the same settings and patients give the same plan.

    Parameters
    ----------
    settings : Settings
        The model's own: with `minutes` the twins together get as many again (`models_time` halves a budget).
    subjects : int
        Patients to learn from and to validate on, without those set aside for a last test.
    finder : Settings, optional
        Of what finds the centrelines, where the model sees a crop around them.

    Raises
    ------
    DataError
        If there are fewer than three patients.
    """
    if subjects < FEWEST_SUBJECTS:
        raise DataError(
            f"How far areas can be off cannot be measured with {counted(subjects, 'patient')}: a twin of the model "
            f"learns without some of them, and needs two others. {FEWEST_SUBJECTS} are the fewest, from 9 on an "
            "interval assumes nothing of how errors are spread. Add patients, or learn without it."
        )
    folds = FOLDS
    if settings.minutes is not None:
        folds = max(FEWEST_FOLDS, min(FOLDS, int(settings.minutes * (1 / MODEL_SHARE - 1) / SHORTEST_MINUTES)))
    folds = min(folds, subjects)
    each = None if settings.minutes is None else settings.minutes * (1 / MODEL_SHARE - 1) / folds
    twin = replace(settings, minutes=each)
    finds = sees_crop(settings)
    return CalibrationPlan(
        subjects, folds, twin, settings.minutes, (finder or finder_settings()).minutes if finds else None
    )


def check_calibration(split: Split, settings: Settings, base: TrainedModel | None = None) -> None:
    """Refuse, before anything is trained, too few patients, or a base that knows some of them.

    Parameters
    ----------
    split : Split
    settings : Settings
        The model's own.
    base : TrainedModel, optional
    """
    cases = (*split.training, *split.validation)
    plan = plan_calibration(settings, len(subjects_of(cases)))
    if base is not None:
        try:
            Scenario(plan.twin, base).check(k_folds(cases, folds=plan.folds, seed=settings.seed), ())
        except DataError as error:
            raise DataError(
                f"How far areas can be off cannot be measured by folds of these patients. {error} Or learn without "
                "it."
            ) from error


def calibrate_by_folds(
    path: Path | str,
    cases: Sequence[Case],
    structures: Sequence[Structure],
    *,
    base: TrainedModel | None = None,
    folds_from: Path | str | None = None,
    tell: Callable[[str], object] | None = None,
    on_event: OnEvent | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> TrainedModel:
    """Let twins of a model measure patients whom they never saw, and keep what follows in the model's file.

    The twins have the model's settings, seed and network; each learns from all subjects but those of its fold
    (`plan_calibration` says for how long). They are kept beside the model in `<model's file>_calibration`, fold by
    fold, so that called again after a stop or a crash it goes on where it was; that folder may be deleted once the
    model is calibrated. The model's network stays as it is.

    Parameters
    ----------
    path : Path or str
        The model's file, which is written anew, whole or not at all.
    cases : sequence of Case
        Those that the model has learnt from and was validated on, without subjects set aside for a last test.
    structures : sequence of Structure
        Those of the cases; the model's own.
    base : TrainedModel, optional
        What the model was fine-tuned from, if it was.
    folds_from : Path or str, optional
        The folder of a finished cross-validation of the same cases and settings: its models are the twins, and
        nothing is trained.
    tell, on_event, should_stop
        As for `autoseg.training.save.train_and_save`.

    Returns
    -------
    TrainedModel
        As it lies in the file.

    Raises
    ------
    DataError
        If there are too few subjects, the cases are not those of the model, or the folds are not of such twins.
    OutputError
        If the folds or the model cannot be written; finished folds are kept.
    KeyboardInterrupt
        If it was stopped; finished folds are kept.
    """
    hear, path = listener(tell, on_event), Path(path)
    check_not_shipped(path)
    settle(path.parent)
    model = load_model(path)
    _check_data(model, cases, structures, base)
    finder = None if model.finder is None else model.finder.settings
    plan = plan_calibration(model.settings, len(subjects_of(cases)), finder=finder)
    place = calibration_folder(path, model)
    if folds_from is not None:
        place = Path(folds_from)
        plan, finder = _plan_of_folds(place, plan, model)
    hear(CalibrationBegins(plan))
    request = CrossValidationRequest(
        cases,
        structures,
        {model.name: Scenario(plan.twin, base)},
        place,
        folds=plan.folds,
        choose_post=_chose_post(model),
        finder=finder,
    )
    is_own = folds_from is None
    with folds_alone(place):
        if is_own:
            _write_state(place, path, model, plan, is_finished=False)
        try:
            examined, minutes = _examine(request, hear, should_stop)
        except OtherFoldsError as error:
            remedy = f"Move {place} away; its folds are then learnt anew." if is_own else "Leave --from out."
            raise DataError(f"{error} {remedy}") from error
        calibrated = learn_trust(model, examined, by_folds=True, minutes=minutes)
        with one_step(path.parent):
            _replace(path, model, calibrated)
            if is_own:
                _write_state(place, path, model, plan, is_finished=True)
    hear(Calibrated(path, plan.subjects))
    return calibrated


def calibration_folder(path: Path | str, model: TrainedModel) -> Path:
    """Give the folder in which the twins of a model's file are kept.

    It is that of this very model: one of an earlier model, whose file had the same name, stays as it is.
    """
    path, number = Path(path), 1
    place = first = path.with_name(f"{path.stem}{ENDING}")
    while place.exists() and _read_state(place).get("model") not in (None, model_digest(model)):
        number += 1
        place = first.with_name(f"{first.name}_{number}")
    return place


def is_calibrated(model: TrainedModel) -> bool:
    """Tell whether a model knows from twins how far its areas can be off, not only from its validation patients."""
    calibration = model.trust.calibration
    return calibration is not None and calibration.how == How.FOLDS


@dataclass(frozen=True)
class Uncalibrated:
    """A model whose twins have begun to learn and are not done: its file, and how many of how many folds are."""

    path: Path
    folds_done: int
    folds: int


def find_uncalibrated(folder: Path | str, name: str) -> Uncalibrated | None:
    """Give the newest model of this name whose calibration was begun and is not done; None if there is none."""
    found = []
    for path in model_files(folder):
        for place in sorted(path.parent.glob(f"{path.stem}{ENDING}*")) if path.stem.startswith(name) else ():
            state = _read_state(place)
            if (state.get("name"), state.get("file"), state.get("finished")) == (name, path.name, False):
                done = sum((fold / RESULT).is_file() for fold in place.glob("fold_*"))
                found.append((path.stat().st_mtime, Uncalibrated(path, done, int(state.get("folds") or 0))))
    return max(found, key=lambda one: one[0])[1] if found else None


def _examine(
    request: CrossValidationRequest, hear: OnEvent, should_stop: Callable[[], bool] | None
) -> tuple[list[Examined], float]:
    """Do the folds, and let each fold's model examine whom it never saw; what was done before is read.

    Also give for how many minutes a twin learnt, on average.
    """
    by_id = {case.case_id: case for case in request.cases}
    found: list[Examined] = []
    result = run_cross_validation(request, hear, should_stop)
    for fold in result.folds:
        if should_stop is not None and should_stop():
            raise KeyboardInterrupt
        hear(TwinTried(fold.number, len(result.folds)))
        cases = [by_id[case_id] for case_id in read_content(fold.folder)["made_from"]["test"]]
        found += examine_fold(fold, cases, request.structures)[0]
    return found, fmean(fold.cost.training_seconds for fold in result.folds) / 60


def _check_data(
    model: TrainedModel, cases: Sequence[Case], structures: Sequence[Structure], base: TrainedModel | None
) -> None:
    """See that these are the patients and structures that the model has learnt, and what it was fine-tuned from."""
    here, own = ([(one.label, one.name, one.includes) for one in some] for some in (structures, model.structures))
    if here != own:
        raise DataError(
            f"The model {model.name!r} knows {', '.join(name for _, name, _ in own)} and here are "
            f"{', '.join(name for _, name, _ in here)}. Its twins must learn the same: give the folder that it has "
            "learnt from, with the structures named as they were."
        )
    kept = model.origin.get("subject_fingerprints", ())  # those of its base are among them
    wanted = sum(model.origin.get(f"{side}_subjects") or 0 for side in ("training", "validation"))
    known = known_subjects(subjects_of(cases), kept)
    if kept and len(known) < wanted:
        raise DataError(
            f"The model {model.name!r} has learnt from or was validated on {counted(wanted, 'patient')}, of whom "
            f"{len(known)} {are(len(known))} here. Its twins must learn from the same: give the folder that it has "
            "learnt from."
        )
    begun_from = model.origin.get("base")
    if (begun_from or {}).get("digest") != (None if base is None else model_digest(base)):
        named = f"the model {begun_from.get('name')!r}" if begun_from else "no other model"
        raise DataError(
            f"The model {model.name!r} was learnt from {named}, and so must its twins be: give "
            f"{'that one as the base' if begun_from else 'no base'}."
        )


def _chose_post(model: TrainedModel) -> bool:
    """Tell whether a post-processing was chosen on its validation patients, or is that of the settings."""
    return model.postprocess != tune_postprocess(replace(model, postprocess=()), ())[0].postprocess


# Of settings, in what twins may differ from their model: how long they learn, and who is in which fold.
_OF_TIME = ("minutes", "epochs", "seed", "validate_every")


def _plan_of_folds(
    place: Path, plan: CalibrationPlan, model: TrainedModel
) -> tuple[CalibrationPlan, Settings | None]:
    """Give what the folds of a finished cross-validation are, with the finders' settings; refuse other twins."""
    settings = earlier_settings(place)
    folds = sorted(place.glob("fold_*"))
    if settings is None or not (place / "results.csv").is_file():
        raise DataError(
            f"{place} is not the folder of a finished cross-validation. 'autoseg crossvalidate' makes one, called "
            "<name>_folds."
        )
    twin = read_model(FoldResult(1, folds[0], (), ()))
    theirs, mine = (plain_settings(of.settings) for of in (twin, model))
    other = [name for name in mine if name not in _OF_TIME and theirs.get(name) != mine[name]]
    if other:
        raise DataError(
            f"The models of {place} are no twins of {model.name!r}: they were learnt with another "
            f"{', '.join(other)}. Leave --from out; twins are then learnt."
        )
    lines = read_content(folds[0])["made_from"].get("centrelines")
    finder = None if lines is None else settings_from_dict(lines)
    return replace(plan, folds=len(folds), twin=settings, finder_minutes=None), finder


def _replace(path: Path, model: TrainedModel, calibrated: TrainedModel) -> None:
    """Write the model anew in its place and with its time, if it is still the one that was read."""
    if not path.is_file() or model_digest(load_model(path)) != model_digest(model):
        raise OutputError(
            f"{path} was changed or moved away meanwhile, and is left as it is. Its twins are kept: bring it back "
            "and start again, which goes on after them."
        )
    written_ns = path.stat().st_mtime_ns
    save_with_card(calibrated, path)
    os.utime(path, ns=(written_ns, written_ns))  # by which the newest model of a name is found


def _write_state(place: Path, path: Path, model: TrainedModel, plan: CalibrationPlan, *, is_finished: bool) -> None:
    about = {"file": path.name, "name": model.name, "model": model_digest(model)}
    write_record(place / STATE, {**about, "folds": plan.folds, "finished": is_finished})


def _read_state(place: Path) -> dict[str, Any]:
    """Read what a folder of twins says of its model; {} where it says nothing."""
    try:
        state = json.loads((place / STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return state if isinstance(state, dict) else {}


def _minutes(number: float) -> str:
    """Write minutes, or seconds where they are short."""
    if number < 2:
        return counted(max(1, round(60 * number)), "second")
    return f"{number:.3g} minutes"
