"""The training loop, readable from top to bottom."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import torch

from autoseg.checkpoint import Checkpoint
from autoseg.clock import Clock
from autoseg.dataset import SliceSet, sample_batch
from autoseg.device import keep_freed_memory
from autoseg.errors import DataError
from autoseg.model import EpochResult, TrainedModel, check_model_name
from autoseg.settings import Settings
from autoseg.split import Split
from autoseg.structures import Structure
from autoseg.training_state import Step, TrainingState, read_material
from autoseg.validation import SliceScores, evaluate_slices

OnEpoch = Callable[[EpochResult, TrainedModel, TrainedModel], bool | None]
OnCheckpoint = Callable[[Callable[[], Checkpoint], bool], object]

# What `origin["ended"]` of a model says, beside patience and a loss that is no number.
COMPLETE, STOPPED = "all epochs or minutes were used", "it was stopped"


def train(
    split: Split,
    settings: Settings,
    *,
    structures: Sequence[Structure],
    name: str = "model",
    on_epoch: OnEpoch | None = None,
    should_stop: Callable[[], bool] | None = None,
    on_checkpoint: OnCheckpoint | None = None,
    resume: Checkpoint | None = None,
) -> TrainedModel:
    """Train a network on the split's training cases and keep the epoch that is best on its validation cases.

    The test cases are not touched. Without validation cases the last epoch is kept, and nothing is known of
    how well the model does on a new patient.

    Parameters
    ----------
    split : Split
    settings : Settings
        With `epochs`, or with `minutes`, to which the learning-rate schedule is then fitted (reading the
        files comes on top). Same settings and data give the same weights on the same machine; a time budget
        does not, because the number of steps follows the clock.
    structures : sequence of Structure
    name : str
        Of the model, as part of its file's name.
    on_epoch : callable, optional
        Called after every epoch with its EpochResult, the best model so far and the latest one; returns True
        to stop. Interrupting (Ctrl-C, the notebook's stop button) also stops and keeps the best.
    should_stop : callable, optional
        Asked after every step. Once it says True, the epoch ends there, is validated and counts.
    on_checkpoint : callable, optional
        Called after every epoch, and after `on_epoch`, with a function that gives the Checkpoint, and with
        whether the training is being stopped. The function copies the network, so call it only for a checkpoint
        that will be kept.
    resume : Checkpoint, optional
        Go on from here instead of starting. Its settings and name count, not the arguments. With `epochs`, the
        model is the same, bit for bit, as of a training in one go on the same machine; an epoch that
        `should_stop` cut short stays short, and makes one more of them.

    Returns
    -------
    TrainedModel

    Raises
    ------
    DataError
        If there is nothing to learn from, the loss is not a number from the start, or the data are not those
        of the training that is resumed; the message then says what has changed.
    """
    settings, name = (settings, name) if resume is None else (resume.settings, resume.name)
    check_model_name(name)
    keep_freed_memory()
    torch.manual_seed(settings.seed)
    material = read_material(split, settings, structures, resume, fingerprints=on_checkpoint is not None)
    settings, slices, validation = material.settings, material.slices, material.validation
    step = Step(material, structures)
    clock = Clock(settings, steps_per_epoch=math.ceil(len(slices) / settings.batch_size))
    generator = torch.Generator().manual_seed(settings.seed)
    state = TrainingState(material, step, clock, generator)
    best = last = material.untrained(name, structures)
    if resume is not None:
        best, last = state.restore(resume)
    history, ended = list(last.history), COMPLETE
    try:
        while not clock.is_over():
            if _has_stalled(history, settings.patience):
                ended = f"no better {settings.best_by} in {settings.patience} epochs"
                break
            training_loss, stopped = _learn_epoch(step, slices, clock, generator, should_stop)
            if not math.isfinite(training_loss):
                ended = f"the loss became NaN in epoch {len(history) + 1}"
                break
            result = _result(len(history) + 1, training_loss, step, clock)
            due = result.epoch % settings.validate_every == 0 or stopped or clock.is_over()
            if validation is not None and due:
                network = step.averaged.module
                scores = evaluate_slices(network, validation, settings, structures=structures)
                result = _validated(result, scores)
            result = replace(result, is_best=validation is None or _is_better(result, history, settings.best_by))
            history.append(result)
            last = replace(last, weights=step.weights(), best_epoch=result.epoch, history=tuple(history))
            # As long as nothing was validated, the latest is the best that is known.
            unscored = all(row.merit(settings.best_by) is None for row in history)
            best = last if result.is_best or unscored else replace(best, history=tuple(history))
            if on_epoch is not None and on_epoch(result, best, last):
                stopped = True
            # It may also have been asked for while the epoch was validated and shown.
            stopped = (stopped or (should_stop is not None and should_stop())) and not clock.is_over()
            if on_checkpoint is not None and step.is_sound():
                on_checkpoint(partial(state.checkpoint, best, last), stopped)
            if stopped:
                ended = STOPPED
                break
    except KeyboardInterrupt:
        if not best.weights:
            raise
        ended = STOPPED
    return _finished(best, ended)


def _finished(best: TrainedModel, ended: str) -> TrainedModel:
    """Give the model with the reason for its end, or say that nothing could be learnt."""
    if not best.weights:
        raise DataError(
            "The loss is not a number (NaN) from the first epoch on. Check the images for damaged "
            "intensities, or choose a smaller learning_rate."
        )
    if "NaN" in ended:
        warnings.warn(
            f"Training stopped, because {ended}; the best epoch so far is kept. A smaller learning_rate usually "
            "helps.",
            stacklevel=3,
        )
    return replace(best, origin={**best.origin, "ended": ended})


def _learn_epoch(
    step: Step,
    slices: SliceSet,
    clock: Clock,
    generator: torch.Generator,
    should_stop: Callable[[], bool] | None,
) -> tuple[float, bool]:
    """See every slice once, or as many as time allows; return the mean loss, and whether it was stopped."""
    settings, losses, stopped = step.settings, [], False
    for indices in torch.randperm(len(slices), generator=generator).split(settings.batch_size):
        batch = sample_batch(slices, indices, augmentation=settings.augmentation, generator=generator)
        losses.append(step.learn(batch, clock.learning_rate(), clock.progress()))
        clock.count_step()
        stopped = should_stop is not None and should_stop()
        if stopped or clock.is_over():
            break
    return float(torch.stack(losses).mean()), stopped


def _result(epoch: int, training_loss: float, step: Step, clock: Clock) -> EpochResult:
    """Give what is known of an epoch before its validation."""
    dice, iou = step.take_scores()
    return EpochResult(
        epoch=epoch,
        training_loss=training_loss,
        learning_rate=clock.learning_rate(),
        elapsed_s=clock.elapsed_s(),
        seconds_left=clock.seconds_left(),
        training_dice=dice,
        training_iou=iou,
    )


def _validated(result: EpochResult, scores: SliceScores) -> EpochResult:
    return replace(
        result,
        validation_loss=scores.loss,
        validation_dice=scores.mean_dice,
        validation_iou=scores.mean_iou,
        dice=scores.dice,
        iou=scores.iou,
        erosion_iou=scores.erosion_iou,
    )


def _is_better(result: EpochResult, history: Sequence[EpochResult], best_by: str) -> bool:
    merit = result.merit(best_by)
    earlier = [value for row in history if (value := row.merit(best_by)) is not None]
    return merit is not None and (not earlier or merit > max(earlier))


def _has_stalled(history: Sequence[EpochResult], patience: int | None) -> bool:
    if patience is None:
        return False
    best = max((row.epoch for row in history if row.is_best), default=len(history))
    return len(history) - best >= patience
