"""Running a cross-validation, fold by fold."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pandas as pd

from autoseg.data.cases import Case
from autoseg.errors import OutputError, Told
from autoseg.evaluation.crossvalidation.begun import forget_begun, go_on_with, model_name
from autoseg.evaluation.crossvalidation.beside import FoldJob, do_jobs
from autoseg.evaluation.crossvalidation.cost import MemoryWatch, size_of
from autoseg.evaluation.crossvalidation.events import FoldBegins, FoldEpoch, speaking
from autoseg.evaluation.crossvalidation.fold import FoldCost, FoldResult, read_fold, settle_folds, write_fold
from autoseg.evaluation.crossvalidation.material import write_material
from autoseg.evaluation.crossvalidation.request import (
    CrossValidationRequest,
    FoldPlan,
    check_room_for,
    plan_entries,
)
from autoseg.evaluation.crossvalidation.scenario import Scenario, as_it_is
from autoseg.evaluation.crossvalidation.scoring import score_fold
from autoseg.evaluation.crossvalidation.splits import in_words
from autoseg.image.structures import Structure
from autoseg.measurement.scores import Score
from autoseg.measurement.summary import summarise
from autoseg.model.device.cluster import Workers, team
from autoseg.model.ended import Ended
from autoseg.model.model import EpochResult, TrainedModel
from autoseg.model.settings.settings import Settings
from autoseg.report.score_files import write_results
from autoseg.training.checkpoint import Checkpoint
from autoseg.training.choose_postprocess import tune_postprocess
from autoseg.training.events import Note, OnEvent
from autoseg.training.history import format_epoch
from autoseg.training.inputs import Inputs
from autoseg.training.keeping.alone import folds_alone
from autoseg.training.keeping.elsewhere import somewhere
from autoseg.training.training import OnCheckpoint, train
from autoseg.training.trust import with_offsets
from autoseg.words import counted

SHARED_MINUTES = (
    "Workers share this computer: in the same minutes each fold learns fewer steps than it would alone. With "
    "epochs in place of minutes the result is the same."
)


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


def cross_validate(
    cases: Sequence[Case],
    structures: Sequence[Structure],
    settings: Settings,
    *,
    folder: Path,
    name: str = "model",
    base: TrainedModel | None = None,
    tell: Callable[[str], object] | None = None,
    **asked: Any,
) -> CrossValidation:
    """Train one model a fold and score the subjects that it never saw, so that every subject is scored once.

    In each fold the epoch (`best_by`) and the post-processing are chosen on the fold's validation subjects, who are
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
    name : str
        Of the models.
    base : TrainedModel, optional
        Fine-tuned in every fold; take the settings from `settings_from_base`.
    tell : callable, optional
        Gets lines of text; `print`, for instance.
    folds : int
        Into how many groups the subjects are divided, 5 by default; with fewer subjects, each is left out once.
    choose_post : bool
        Whether to choose a post-processing; by default predictions are scored as they are. With one or two
        validation subjects the choice follows those and did not help others.
    test_subjects : collection of str
        Subjects that are kept for a last test (`autoseg.data.test_subjects`); they are in no fold.
    copies : Copies
        Turned copies of each image whose mean is taken, as for `predict`.
    finder : Settings, optional
        Of what finds the centrelines in each fold, from `autoseg.training.finder.finder_settings`, where the
        models see a crop around them (`volume.crop_mm`). They are kept in `folder/centrelines`.
    material : Material, optional
        From `describe_material`: what a report tells of the images beyond the folds; kept in `folder/study.json`.
    workers : Workers, optional
        Several folds at once, by processes of this computer or those of a cluster
        (`autoseg.model.device.cluster.Workers`); with `epochs` the result is the same.

    Raises
    ------
    DataError
        If there are not two subjects, a test subject has no case, two subjects share an image, the folder holds
        folds of other cases or settings, or the base knows a subject; the message says which.
    OutputError
        If the folder cannot be written, or another program learns folds in it.
    ClusterError
        If the workers cannot be reached, or are not as this computer; finished folds are kept.
    KeyboardInterrupt
        If it was stopped. The same call goes on, within the fold if that had learnt for a minute.
    """
    scenarios = {name: Scenario(settings, base)}
    request = CrossValidationRequest(cases, structures, scenarios, Path(folder), **asked)
    return run_cross_validation(request, speaking(tell))


def run_cross_validation(
    request: CrossValidationRequest, on_event: OnEvent, should_stop: Callable[[], bool] | None = None
) -> CrossValidation:
    """Do the folds of the one entry that is asked for, as `cross_validate` describes; `on_event` hears of them."""
    with folds_alone(request.folder):
        settle_folds(request.folder)
        (plan,) = plan_entries(request, on_event, should_stop).values()
        plan = replace(plan, folder=request.folder)
        check_room_for(request.folder, [plan])
        write_material(request.folder, request.material, aside=request.test_subjects, known=())
        numbers = range(1, len(plan.folds.splits) + 1)
        if request.workers is None:
            results = [begin_fold(plan, number) for number in numbers]
        else:
            results = _beside(request, plan, request.workers)
        result = gather(request.folder, results)
        volumes = [score for fold in results for score in fold.volumes]
        write_results(request.folder / "results.csv", result.scores, volumes=volumes)
    return result


def _beside(request: CrossValidationRequest, plan: FoldPlan, workers: Workers) -> list[FoldResult]:
    """Let workers do the folds that are not finished, and give all in their order."""
    jobs = [FoldJob(plan.name, number) for number in range(1, len(plan.folds.splits) + 1)]
    left = [job for job in jobs if not plan.place(job.number).exists()]
    found = {job: begin_fold(plan, job.number) for job in jobs if job not in left}
    if left:
        on_event, should_stop = plan.on_event, plan.should_stop
        if workers.count is not None and plan.scenario.settings.minutes is not None:
            on_event(Note(SHARED_MINUTES))
        with team(workers, request.folder, is_coded=request.is_coded, tell=lambda one: on_event(Note(one))) as them:
            for done in do_jobs(
                them, {plan.name: plan}, left, begin_fold, on_event=on_event, should_stop=should_stop
            ):
                found[done.item] = done.get()
    return [found[job] for job in jobs]


def begin_fold(plan: FoldPlan, number: int) -> FoldResult:
    """Tell of a fold, then do it (`run_fold`), unless all was stopped before."""
    split = plan.folds.splits[number - 1]
    words = Told(f"Fold {number} of {len(plan.folds.splits)}: {in_words(split)}")
    plan.on_event(FoldBegins(plan.name, number, words))
    is_stopping = plan.should_stop is not None and plan.should_stop()
    if is_stopping and not plan.place(number).exists():
        raise KeyboardInterrupt
    if split.notes and not plan.place(number).exists():
        plan.on_event(Note(f"  {split.say(plan.folds.structures)}"))
    return run_fold(plan, number)


def run_fold(plan: FoldPlan, number: int) -> FoldResult:
    """Read a finished fold, or train, choose, predict, score and keep it; a line a structure is told."""
    if plan.place(number).exists():
        plan.on_event(Note("  finished before"))
        result = read_fold(plan.place(number), number, plan.made_from(number))
    else:
        result = _make_fold(plan, number)
    forget_begun(plan, number)
    for row in summarise(result.scores).itertuples():
        over = counted(cast(int, row.n_subjects), "patient")
        words = f"  {row.name}: Dice {row.dice:.3f}, IoU {row.iou:.3f}"
        if not math.isnan(cast(float, row.total_area_error_percent)):
            words += f", area {row.total_area_error_percent:+.1f} %"
        words += f" over {over}"
        plan.on_event(Note(words))
    return result


def gather(folder: Path, folds: Sequence[FoldResult]) -> CrossValidation:
    """Put the scores of some folds together."""
    scores = tuple(score for fold in folds for score in fold.scores)
    notes = tuple(dict.fromkeys(fold.note for fold in folds if fold.note))
    return CrossValidation(folder, tuple(folds), scores, summarise(scores), notes)


def _make_fold(plan: FoldPlan, number: int) -> FoldResult:
    split, structures = plan.folds.splits[number - 1], plan.folds.structures
    learns = plan.scenario.learns
    inputs = plan.inputs(number)
    with MemoryWatch() as memory:
        model = _model_of(plan, number, inputs)
    model = with_offsets(model, split, centrelines=inputs.centrelines) if learns else model
    model, choice = tune_postprocess(model, split.validation if plan.choose_post else ())
    found = score_fold([model], split.test, structures, copies=plan.copies)
    parameters, multiply_adds = size_of(model, found.image)
    cost = FoldCost(
        # What learns nothing has no time of learning; 0 would make it the fastest of all.
        training_seconds=model.history[-1].elapsed_s if learns else math.nan,
        epochs=len(model.history) if learns else math.nan,
        ms_per_slice=found.ms_per_slice,
        peak_memory_mib=memory.peak_mib if learns else math.nan,
        parameters=parameters,
        multiply_adds=multiply_adds,
    )
    note = split.say(structures)
    result = FoldResult(
        number, plan.place(number), found.scores, found.volumes, note, cost, found.pixels, found.centrelines
    )

    def write(one: FoldResult) -> None:
        write_fold(one, plan.made_from(number), predicted=found.predicted, model=model, choice=choice)

    _keep(result, write)
    return result


def _keep(result: FoldResult, write: Callable[[FoldResult], None]) -> None:
    """Keep a fold in its folder, or, where that cannot be written, in another one, from which it can be moved."""
    try:
        write(result)
    except OutputError as error:
        saved = somewhere(result.folder.name, lambda place: write(replace(result, folder=place)))
        if saved is None:
            raise
        raise OutputError(
            f"{error} What was learnt is in {saved}: once there is room, move that folder to {result.folder}, "
            "then start again; it goes on after it."
        ) from error


def _model_of(plan: FoldPlan, number: int, inputs: Inputs) -> TrainedModel:
    """Train the model of a fold, or take the base as it is, with the fold's finder where it has none."""
    structures, name, scenario = plan.folds.structures, model_name(plan, number), plan.scenario
    if scenario.base is not None and not scenario.learns:
        model = as_it_is(scenario.base, structures, name=name)
        return model if inputs.finder is None else replace(model, finder=inputs.finder)

    def after_epoch(result: EpochResult, best: TrainedModel, last: TrainedModel) -> None:
        if result.epoch == 1:
            for note in last.origin.get("notes", ()):
                plan.on_event(Note(f"  {note}"))
        is_printed = result.epoch % scenario.settings.print_checkpoint == 0
        words = f"  {format_epoch(result, structures, settings=scenario.settings)}" if is_printed else ""
        plan.on_event(FoldEpoch(plan.name, number, words, result))

    def learn(begun: Checkpoint | None, keep: OnCheckpoint) -> TrainedModel:
        return train(
            plan.folds.splits[number - 1],
            scenario.settings,
            structures=structures,
            name=name,
            on_epoch=after_epoch,
            should_stop=plan.should_stop,
            on_checkpoint=keep,
            resume=begun,
            base=scenario.base,
            inputs=replace(inputs, seal=plan.folds.seal),
        )

    model = go_on_with(plan, number, inputs, learn)
    if model.ended is Ended.STOPPED:
        raise KeyboardInterrupt
    return model
