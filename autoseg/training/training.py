"""The training loop, readable from top to bottom."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial

import torch
from torch import Tensor

from autoseg.data.digests import Seal
from autoseg.data.split import Split
from autoseg.errors import DataError, SettingsError
from autoseg.image.structures import Structure
from autoseg.model.dataset import read_cases
from autoseg.model.device import keep_freed_memory, where_memory_allows
from autoseg.model.ended import Ended
from autoseg.model.model import EpochResult, TrainedModel, check_model_name
from autoseg.model.settings.settings import Settings
from autoseg.training.checkpoint import Checkpoint
from autoseg.training.clock import Clock, count_drops, epochs_without_gain
from autoseg.training.finetuning import seed_of
from autoseg.training.inputs import Inputs
from autoseg.training.processes import Processes, check_shareable, current_processes
from autoseg.training.step import Step, TrainingState, read_material
from autoseg.training.validation import Sample, SliceScores, evaluate_slices, sample_of, share_of

OnEpoch = Callable[[EpochResult, TrainedModel, TrainedModel], bool | None]
OnCheckpoint = Callable[[Callable[[], Checkpoint], bool], object]
# Told in place of the phase of another epoch: that it is validated, the kept one on all images, or that it is over.
OVER, VALIDATE, VALIDATE_KEPT = 0, -1, -2
# Of processes that write no file, so that none of their fingerprints has to be slow.
UNUSED_SEAL = Seal("00", n=2)


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
    inputs: Inputs = Inputs(),  # noqa: B008  # it never changes
    base: TrainedModel | None = None,
) -> TrainedModel:
    """Train a network on the split's training cases and keep the epoch that is best on its validation cases.

    The test cases are not touched. With `settings.best_by` "last" the last epoch is kept, whatever its scores.
    Without validation cases it is, too, and nothing is known of how well the model does on a new patient.

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
    inputs : Inputs
        Centrelines around which volumes are cropped, and what finds them on a new image.
    base : TrainedModel, optional
        Fine-tune this one: begin with its weights as far as they fit, learn as `settings.finetune` says. Take the
        settings from `settings_from_base`. What did not fit stands in the model's `origin["notes"]`.

    Returns
    -------
    TrainedModel

    Raises
    ------
    DataError
        If there is nothing to learn from, the loss is not a number from the start, the data or the base are not
        those of the training that is resumed (the message then says what has changed), or the base has learnt from
        a validation subject.
    SettingsError
        If the base is another kind of network than the settings ask for.
    """
    settings, name = (settings, name) if resume is None else (resume.settings, resume.name)
    check_model_name(name)
    work = _Work(split, settings, tuple(structures), resume, inputs, base, digests=on_checkpoint is not None)
    processes = current_processes()
    if processes.count > 1 and inputs.read is not read_cases:
        raise SettingsError(
            "What finds centrelines (volume.crop_mm) is learnt from images that only one process has. Start "
            "without torchrun, or without the crop."
        )
    processes.hand_out(replace(work, inputs=replace(inputs, tell=None, seal=UNUSED_SEAL)))
    state = _prepare(work, processes)
    material, step, clock = state.material, state.step, state.clock
    settings, validation = material.settings, material.validation
    untrained = material.untrained(name, structures)
    best, last = (untrained, untrained) if resume is None else state.restore(resume)
    history, ended = list(last.history), Ended.COMPLETE
    sample = sample_of(validation, settings.validate_slices, settings.seed)
    some, every = share_of(validation, sample)
    if some < every:
        inputs.say(
            f"Epochs are validated on {some:,} of {every:,} slices (the setting validate_slices), the best one on "
            "all of them at the end."
        )
    validating_s = 0.0
    try:
        # On a busy computer the time may be over before the first step, which is no reason to have learnt nothing.
        while not (history and clock.is_over()):
            if not _begin_epoch(step, clock, history, validated=bool(validation)):
                ended = Ended.PATIENCE
                break
            processes.tell(clock.phase)
            training_loss, stopped = _learn_epoch(step, clock, state.generator, should_stop)
            if not (math.isfinite(training_loss) and step.is_sound()):
                ended = Ended.NOT_A_NUMBER
                break
            result = _result(len(history) + 1, training_loss, step, clock)
            due = result.epoch % settings.validate_every == 0 or stopped or clock.is_over()
            if validation and due:
                processes.tell(VALIDATE)
                began = time.monotonic()
                scores = _validate(state, structures, sample)
                validating_s += time.monotonic() - began
                result = _validated(result, scores)
            result = replace(result, is_best=not validation or _is_better(result, history, settings.best_by))
            history.append(result)
            last = _latest(step, last, history)
            # As long as nothing was validated, the latest is the best that is known.
            better = result.is_best or all(row.merit(settings.best_by) is None for row in history)
            best = last if better else replace(last, weights=best.weights, best_epoch=best.best_epoch)
            if on_epoch is not None and on_epoch(result, best, last):
                stopped = True
            # It may also have been asked for while the epoch was validated and shown.
            stopped = (stopped or (should_stop is not None and should_stop())) and not clock.is_over()
            if on_checkpoint is not None and step.is_sound():
                on_checkpoint(partial(state.checkpoint, best, last), stopped)
            if stopped:
                ended = Ended.STOPPED
                break
    except KeyboardInterrupt:
        if not best.weights or processes.count > 1:  # the others may be in the middle of a step
            raise
        ended = Ended.STOPPED
    if some < every and best.weights:
        inputs.say(f"Validation took {validating_s / max(clock.elapsed_s(), 1e-9):.0%} of the time.")
        if ended in (Ended.COMPLETE, Ended.PATIENCE):
            processes.tell(VALIDATE_KEPT)
            processes.hand_out(best.weights)
            best = _validated_on_all(best, state, structures, f"{some:,} of {every:,}")
    processes.tell(OVER)
    return _finished(best, ended, settings, epochs=len(history))


@dataclass(frozen=True)
class _Work:
    """What every process of a training needs to know before it begins."""

    split: Split
    settings: Settings
    structures: tuple[Structure, ...]
    resume: Checkpoint | None
    inputs: Inputs
    base: TrainedModel | None
    digests: bool


def _prepare(work: _Work, processes: Processes) -> TrainingState:
    """Read the cases and build the network; DataError where processes come to different ones."""
    keep_freed_memory()
    torch.manual_seed(seed_of(work.settings, work.base))
    material = read_material(
        work.split,
        work.settings,
        work.structures,
        work.resume,
        digests=work.digests or processes.count > 1,
        inputs=work.inputs,
        base=work.base,
    )
    settings = material.settings
    if processes.count > 1:
        check_shareable(settings, material.network)
    read = [(side.cases, side.voxels_digest) for side in material.sides]
    processes.check_same(material.network, (settings, material.slices.case_ids, read))
    step = Step(material, work.structures, processes)
    clock = Clock(settings, () if material.tuned is None else material.tuned.phases)
    return TrainingState(material, step, clock, torch.Generator().manual_seed(settings.seed))


def follow(processes: Processes) -> None:
    """Learn with the first process whatever it begins to learn, until it has nothing more to do.

    It alone has a clock that counts, decides which epoch is the best, writes and speaks.
    """
    while (work := processes.receive()) is not None:
        state = _prepare(work, processes)
        if work.resume is not None:
            state.restore(work.resume)
        step = state.step
        sample = sample_of(state.material.validation, step.settings.validate_slices, step.settings.seed)
        while (told := int(processes.tell(OVER)[0])) != OVER:
            if told == VALIDATE:
                _validate(state, work.structures, sample)
            elif told == VALIDATE_KEPT:
                step.averaged.module.load_state_dict(processes.receive())
                _validate(state, work.structures, None)
            else:
                if step.tuned is not None:
                    step.tuned.enter(told)
                _learn_epoch(step, state.clock, state.generator, None)
                step.take_scores()


def _validate(state: TrainingState, structures: Sequence[Structure], sample: Sample | None) -> SliceScores:
    """Score the averaged weights; all processes together."""
    step = state.step
    return evaluate_slices(
        step.averaged.module,
        state.material.validation,
        step.settings,
        structures=structures,
        sample=sample,
        processes=step.processes,
    )


def _validated_on_all(
    best: TrainedModel, state: TrainingState, structures: Sequence[Structure], share: str
) -> TrainedModel:
    """Note how good the kept epoch is on all images to validate on, after epochs saw a share of their slices."""
    state.step.averaged.module.load_state_dict(best.weights)
    scores = _validate(state, structures, None)
    found = "unknown" if scores.mean_dice is None else f"{scores.mean_dice:.3f}"
    words = f"Epochs were validated on {share} slices; on all of them the kept epoch has the mean Dice {found}."
    return replace(best, origin={**best.origin, "notes": [*best.origin.get("notes", []), words]})


def _finished(best: TrainedModel, ended: Ended, settings: Settings, *, epochs: int) -> TrainedModel:
    """Give the model with the reason for its end, or say that nothing could be learnt."""
    if not best.weights:
        raise DataError(
            "The loss is not a number (NaN) from the first epoch on. Check the images for damaged "
            "intensities, or choose a smaller learning rate."
        )
    words = _end_words(ended, settings, epochs)
    if ended is Ended.NOT_A_NUMBER:
        warnings.warn(
            f"Training stopped, because {words}; the best epoch so far is kept. A smaller learning rate usually "
            "helps.",
            stacklevel=3,
        )
    return replace(best, origin={**best.origin, "ended": words, "ended_by": ended.value})


def _begin_epoch(step: Step, clock: Clock, history: Sequence[EpochResult], *, validated: bool) -> bool:
    """Enter the phase of the next epoch and count the drops in it; False if patience has come to its end."""
    phase = clock.begin_epoch()
    within = [row for row in history if row.phase == phase]
    if phase == len(clock.phases) and _has_stalled(within, clock.settings):
        return False
    clock.drops = _drops(within, clock.settings, validated=validated)
    if step.tuned is not None:
        step.tuned.enter(phase)
    return True


def _learn_epoch(
    step: Step, clock: Clock, generator: torch.Generator, should_stop: Callable[[], bool] | None
) -> tuple[float, bool]:
    """See every slice once, or as many as time allows; return the mean loss, and whether it was stopped."""
    order, left, losses, stopped = step.order(generator), Fraction(1), [], False
    tell = step.processes.tell
    while order:
        size = step.settings.batch_size
        progress, rate = tell(clock.progress(), clock.learning_rate())
        loss = where_memory_allows(partial(_compare_next, step, order.next(size), generator, progress))
        if loss is None:
            if step.processes.count > 1:  # the others have learnt this batch
                raise DataError(
                    f"The memory of process {step.processes.rank + 1} was not enough for its part of {size} images "
                    "at once. Start again with fewer at once (batch)."
                )
            step.halve_batch()
            warnings.warn(_memory_words(size, step.settings), stacklevel=3)
            continue
        step.update(rate)
        losses.append(loss)
        # Batches count the same, and together they are the whole epoch, whatever became of their size.
        part = left / order.batches_left(size)
        left -= part
        order.done(size)
        clock.count_step(part)
        stopped, over = map(bool, tell(should_stop is not None and bool(should_stop()), clock.is_over()))
        if stopped or over:
            break
    return float(torch.stack(losses).mean()), stopped


def _compare_next(step: Step, indices: Tensor, generator: torch.Generator, progress: float) -> Tensor:
    varied = step.settings.augmentation
    return step.compare(step.slices.sample(indices, augmentation=varied, generator=generator), progress)


def _memory_words(before: int, settings: Settings) -> str:
    """Say that the memory was not enough for so many at once, and with how many the training goes on."""
    seen, smaller = ("slices", "a crop") if settings.spatial_dims == 2 else ("patches", "smaller patches")
    return (
        f"The memory was not enough for {before} {seen} at once (batch); the training goes on with "
        f"{settings.batch_size}. Larger pixels, {smaller} or a smaller network would need less."
    )


def _latest(step: Step, before: TrainedModel, history: Sequence[EpochResult]) -> TrainedModel:
    """Give the model after the latest epoch, with the batch size that fits into the memory, and a note of that."""
    settings, origin, epoch = step.settings, before.origin, history[-1].epoch
    if before.settings.batch_size != settings.batch_size:
        words = _memory_words(before.settings.batch_size, settings)
        origin = {**origin, "notes": [*origin.get("notes", []), f"Epoch {epoch}: {words}"]}
    weights = step.weights()
    return replace(
        before, settings=settings, origin=origin, weights=weights, best_epoch=epoch, history=tuple(history)
    )


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
        phase=clock.phase,
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
    if best_by == "last":
        return True
    merit = result.merit(best_by)
    earlier = [value for row in history if (value := row.merit(best_by)) is not None and not math.isnan(value)]
    return merit is not None and (not earlier or merit > max(earlier))


def _has_stalled(history: Sequence[EpochResult], settings: Settings) -> bool:
    if settings.patience is None:
        return False
    return epochs_without_gain([row.merit(settings.best_by) for row in history]) >= settings.patience


def _end_words(ended: Ended, settings: Settings, epochs: int) -> str:
    """Say why a training ended after so many epochs."""
    if ended is Ended.COMPLETE:
        return "all epochs or minutes were used"
    if ended is Ended.STOPPED:
        return "it was stopped"
    if ended is Ended.NOT_A_NUMBER:
        return f"the loss became NaN in epoch {epochs + 1}"
    merits = {"iou": "better validation IoU", "loss": "lower validation loss"}
    what = merits.get(settings.best_by, "better validation Dice")
    unit = "epoch" if settings.validate_every == 1 else "validation"
    plural = "s" * (settings.patience != 1)
    return f"there was no {what} in {settings.patience} {unit}{plural}"


def _drops(history: Sequence[EpochResult], settings: Settings, *, validated: bool) -> int:
    """Count the drops of the learning rate on plateaus; without validation the training loss tells of them."""
    if settings.schedule != "plateau":
        return 0
    merits = [row.merit(settings.best_by) if validated else -row.training_loss for row in history]
    return count_drops(merits, settings.plateau_epochs)
