"""Running a cross-validation, fold by fold."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from autoseg.data.cases import Case
from autoseg.evaluation.crossvalidation.centrelines import Centrelines
from autoseg.evaluation.crossvalidation.cost import MemoryWatch, size_of
from autoseg.evaluation.crossvalidation.fold import FoldCost, FoldResult, plain_settings, read_fold, write_fold
from autoseg.evaluation.crossvalidation.scenario import Scenario, as_it_is
from autoseg.evaluation.crossvalidation.scoring import score_fold
from autoseg.evaluation.crossvalidation.splits import Folds, as_plain, in_words, prepare_folds
from autoseg.files.atomic import check_writable
from autoseg.image.structures import Structure, name_labels
from autoseg.measurement.scores import Score
from autoseg.measurement.summary import summarise
from autoseg.model.ended import Ended
from autoseg.model.model import EpochResult, TrainedModel, check_model_name, model_digest
from autoseg.model.settings.settings import Settings
from autoseg.prediction.ensemble import Copies
from autoseg.report.score_files import write_results
from autoseg.training.choose_postprocess import tune_postprocess
from autoseg.training.events import listener
from autoseg.training.finder import finder_settings
from autoseg.training.history import format_epoch
from autoseg.training.inputs import Inputs, sees_crop
from autoseg.training.training import train

Tell = Callable[[str], object]


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """All folds, their scores put together (every subject once), and the summary, one row a structure.

    `notes` are sentences that the reader of the numbers should know.
    """

    folder: Path
    folds: tuple[FoldResult, ...]
    scores: tuple[Score, ...]
    summary: pd.DataFrame
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class FoldPlan:
    """What is the same for every fold of one cross-validation.

    `base` is the model that every fold begins from, if any; without `learns` it is scored as it is. `name` is that
    of the models, `copies` as for `predict`. `on_epoch` is called with the fold's number and what the epoch gave,
    `should_stop` is asked after every step. Around `centrelines` models see a crop where the settings say so.
    """

    folds: Folds
    settings: Settings
    folder: Path
    name: str = "model"
    choose_post: bool = False
    copies: Copies = "none"
    tell: Tell = lambda line: None
    on_epoch: Callable[[int, EpochResult], object] | None = None
    should_stop: Callable[[], bool] | None = None
    base: TrainedModel | None = None
    learns: bool = True
    centrelines: Centrelines | None = None

    @property
    def finds_centrelines(self) -> bool:
        """Whether the fold's own finder is needed: the base as it is has its own, if it has one at all."""
        if not sees_crop(self.settings):
            return False
        return self.learns or self.base is None or self.base.finder is None

    def inputs(self, number: int) -> Inputs:
        """Give what the training of a fold is given beside its cases."""
        if self.centrelines is None or not self.finds_centrelines:
            return Inputs()
        return self.centrelines.inputs(number)

    def place(self, number: int) -> Path:
        """Give the folder of a fold."""
        return self.folder / f"fold_{number}"

    def made_from(self, number: int) -> dict[str, Any]:
        """Give everything on which a fold's result depends, as plain values that survive JSON."""
        own: dict[str, Any] = {"settings": plain_settings(self.settings), "choose_post": self.choose_post}
        if self.copies != "none":
            own["copies"] = self.copies
        if self.base is not None:
            own |= {"base model": model_digest(self.base), "learns": self.learns}
        if self.centrelines is not None and self.finds_centrelines:
            own |= self.centrelines.made_from()
        return as_plain(own) | self.folds.made_from(number)


def cross_validate(
    cases: Sequence[Case],
    structures: Sequence[Structure],
    settings: Settings,
    *,
    folder: Path,
    folds: int = 5,
    name: str = "model",
    choose_post: bool = False,
    test_subjects: Collection[str] = (),
    copies: Copies = "none",
    tell: Tell | None = None,
    base: TrainedModel | None = None,
    finder: Settings | None = None,
) -> CrossValidation:
    """Train one model a fold and score the subjects that it never saw, so that every subject is scored once.

    In each fold the best epoch and the post-processing are chosen on the fold's validation subjects, who are
    others than its test subjects (`k_folds`). Predictions are scored on the images' own grids.

    Each finished fold is kept in `folder/fold_<k>`: the model, its history, `scores.csv`, what post-processing
    was tried, the predicted labels, and `fold.json`. Called again with the same cases and settings, finished folds
    are read and not trained again, so that a stopped cross-validation goes on where it was. At the end `folder` has
    `results.csv` (one row a subject and structure) and beside it the tables of
    `autoseg.report.score_files.write_results`.

    Parameters
    ----------
    cases : sequence of Case
    structures : sequence of Structure
    settings : Settings
        `minutes` or `epochs` are of each fold; `seed` also draws the folds.
    folder : Path
    folds : int
        With fewer subjects, each is left out once.
    name : str
        Of the models.
    choose_post : bool
        Whether to choose a post-processing; otherwise predictions are scored as they are. With one or two
        validation subjects the choice follows those and did not help others.
    test_subjects : collection of str
        Subjects that are kept for a last test (`autoseg.data.test_subjects`); they are in no fold.
    copies : Copies
        Turned copies of each image whose mean is taken, as for `predict`.
    tell : callable, optional
        Gets lines of text; `print`, for instance.
    base : TrainedModel, optional
        Fine-tuned in every fold; take the settings from `settings_from_base`.
    finder : Settings, optional
        Of what finds the centrelines in each fold, from `autoseg.training.finder.finder_settings`, where the
        models see a crop around them (`volume.crop_mm`). They are kept in `folder/centrelines`.

    Raises
    ------
    DataError
        If there are not two subjects, a test subject has no case, two subjects share an image, the folder holds
        folds of other cases or settings, or the base knows a subject; the message says which.
    OutputError
        If the folder cannot be written.
    KeyboardInterrupt
        If it was stopped; the unfinished fold is not kept.
    """
    check_model_name(name)
    folder = Path(folder)
    check_writable(folder)
    prepared = prepare_folds(cases, structures, folds=folds, seed=settings.seed, test_subjects=test_subjects)
    Scenario(settings, base).check(prepared.splits, prepared.structures)
    say = tell or (lambda line: None)
    lines = Centrelines(
        prepared, finder or finder_settings(seed=settings.seed), folder / "centrelines", listener(say)
    )
    plan = FoldPlan(prepared, settings, folder, name, choose_post, copies, say, base=base, centrelines=lines)
    results = []
    for number, split in enumerate(prepared.splits, start=1):
        plan.tell(f"Fold {number} of {len(prepared.splits)}: {in_words(split)}")
        results.append(run_fold(plan, number))
    result = gather(folder, results)
    write_results(
        folder / "results.csv", result.scores, volumes=[score for fold in results for score in fold.volumes]
    )
    return result


def run_fold(plan: FoldPlan, number: int) -> FoldResult:
    """Read a finished fold, or train, choose, predict, score and keep it; a line a structure is told."""
    if plan.place(number).exists():
        plan.tell("  finished before")
        result = read_fold(plan.place(number), number, plan.made_from(number))
    else:
        result = _make_fold(plan, number)
    for row in summarise(result.scores).itertuples():
        plan.tell(f"  {row.name}: Dice {row.dice:.3f}, IoU {row.iou:.3f} over {row.n_subjects} subject(s)")
    return result


def gather(folder: Path, folds: Sequence[FoldResult]) -> CrossValidation:
    """Put the scores of some folds together."""
    scores = tuple(score for fold in folds for score in fold.scores)
    notes = tuple(dict.fromkeys(fold.note for fold in folds if fold.note))
    return CrossValidation(folder, tuple(folds), scores, summarise(scores), notes)


def _make_fold(plan: FoldPlan, number: int) -> FoldResult:
    split, structures = plan.folds.splits[number - 1], plan.folds.structures
    inputs = plan.inputs(number)
    with MemoryWatch() as memory:
        model = _model_of(plan, number, inputs)
    model, choice = tune_postprocess(model, split.validation if plan.choose_post else ())
    found = score_fold([model], split.test, structures, copies=plan.copies)
    parameters, multiply_adds = size_of(model, found.image)
    cost = FoldCost(
        # What learns nothing has no time of learning; 0 would make it the fastest of all.
        training_seconds=model.history[-1].elapsed_s if plan.learns else math.nan,
        epochs=len(model.history) if plan.learns else math.nan,
        ms_per_slice=found.ms_per_slice,
        peak_memory_mib=memory.peak_mib if plan.learns else math.nan,
        parameters=parameters,
        multiply_adds=multiply_adds,
    )
    note = name_labels(split.note, structures)
    result = FoldResult(
        number, plan.place(number), found.scores, found.volumes, note, cost, found.pixels, found.centrelines
    )
    write_fold(result, plan.made_from(number), predicted=found.predicted, model=model, choice=choice)
    return result


def _model_of(plan: FoldPlan, number: int, inputs: Inputs) -> TrainedModel:
    """Train the model of a fold, or take the base as it is, with the fold's finder where it has none."""
    structures, name = plan.folds.structures, f"{plan.name}_fold{number}"
    if plan.base is not None and not plan.learns:
        model = as_it_is(plan.base, structures, name=name)
        return model if inputs.finder is None else replace(model, finder=inputs.finder)

    def after_epoch(result: EpochResult, best: TrainedModel, last: TrainedModel) -> None:
        if result.epoch == 1:
            for note in last.origin.get("notes", ()):
                plan.tell(f"  {note}")
        if result.epoch % plan.settings.print_checkpoint == 0:
            plan.tell(f"  {format_epoch(result, structures, settings=plan.settings)}")
        if plan.on_epoch is not None:
            plan.on_epoch(number, result)

    model = train(
        plan.folds.splits[number - 1],
        plan.settings,
        structures=structures,
        name=name,
        on_epoch=after_epoch,
        should_stop=plan.should_stop,
        base=plan.base,
        inputs=inputs,
    )
    if model.ended is Ended.STOPPED:
        raise KeyboardInterrupt
    return model
