"""The training loop, readable from top to bottom."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from autoseg.dataset import Batch, SliceSet, build_slices, plan_spacing, read_cases, sample_batch
from autoseg.device import choose_device, choose_precision, keep_freed_memory, with_layout
from autoseg.errors import DataError
from autoseg.losses import segmentation_loss
from autoseg.model import EpochResult, TrainedModel, check_model_name, describe_origin
from autoseg.networks import build_network
from autoseg.settings import Settings
from autoseg.split import Split
from autoseg.structures import Structure
from autoseg.validation import (
    Scores,
    SliceScores,
    class_members,
    count_pixels,
    evaluate_slices,
    most_likely,
    ratios,
)

Tensors = tuple[Tensor, ...] | list[Tensor]
OnEpoch = Callable[[EpochResult, TrainedModel, TrainedModel], bool | None]

# What `origin["ended"]` of a model says, beside patience and a loss that is no number.
COMPLETE, STOPPED = "all epochs or minutes were used", "it was stopped"


def train(
    split: Split,
    settings: Settings,
    *,
    structures: Sequence[Structure],
    name: str = "model",
    on_epoch: OnEpoch | None = None,
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

    Returns
    -------
    TrainedModel

    Raises
    ------
    DataError
        If there is nothing to learn from, or the loss is not a number from the start.
    """
    check_model_name(name)
    keep_freed_memory()
    torch.manual_seed(settings.seed)
    material = _read_material(split, settings, structures)
    settings, slices, validation = material.settings, material.slices, material.validation
    step = _Step(material, structures)
    clock = _Clock(settings, steps_per_epoch=math.ceil(len(slices) / settings.batch_size))
    generator = torch.Generator().manual_seed(settings.seed)
    history: list[EpochResult] = []
    ended = COMPLETE
    best = last = material.untrained(name, structures)
    try:
        while not clock.is_over():
            training_loss = _learn_epoch(step, slices, clock, generator)
            if not math.isfinite(training_loss):
                ended = f"the loss became NaN in epoch {len(history) + 1}"
                break
            dice, iou = step.take_scores()
            result = clock.result(len(history) + 1, training_loss)
            result = replace(result, training_dice=dice, training_iou=iou)
            if validation is not None and (clock.is_over() or result.epoch % settings.validate_every == 0):
                network = step.averaged.module
                scores = evaluate_slices(network, validation, settings, structures=structures)
                result = _validated(result, scores)
            result = replace(result, is_best=validation is None or _is_better(result, history, settings.best_by))
            history.append(result)
            last = replace(last, weights=step.weights(), best_epoch=result.epoch, history=tuple(history))
            # As long as nothing was validated, the latest is the best that is known.
            unscored = all(_merit(row, settings.best_by) is None for row in history)
            best = last if result.is_best or unscored else replace(best, history=tuple(history))
            if on_epoch is not None and on_epoch(result, best, last):
                ended = STOPPED
                break
            if _has_stalled(history, settings.patience):
                ended = f"no better {settings.best_by} in {settings.patience} epochs"
                break
    except KeyboardInterrupt:
        if not best.weights:
            raise
        ended = STOPPED
    if not best.weights:
        raise DataError(
            "The loss is not a number (NaN) from the first epoch on. Check the images for damaged "
            "intensities, or choose a smaller learning_rate."
        )
    if "NaN" in ended:
        warnings.warn(
            f"Training stopped, because {ended}; the best epoch so far is kept. A smaller learning_rate usually "
            "helps.",
            stacklevel=2,
        )
    return replace(best, origin={**best.origin, "ended": ended})


def _learn_epoch(step: _Step, slices: SliceSet, clock: _Clock, generator: torch.Generator) -> float:
    """See every slice once, or as many as time allows; return the mean loss of the steps."""
    settings, losses = step.settings, []
    for indices in torch.randperm(len(slices), generator=generator).split(settings.batch_size):
        batch = sample_batch(slices, indices, augmentation=settings.augmentation, generator=generator)
        losses.append(step.learn(batch, clock.learning_rate(), clock.progress()))
        clock.count_step()
        if clock.is_over():
            break
    return float(torch.stack(losses).mean())


@dataclass(frozen=True, eq=False)
class _Material:
    """What a training works with, on its device: a fresh network and the slices, read once."""

    settings: Settings
    channels: tuple[str, ...]
    network: nn.Module
    slices: SliceSet
    validation: SliceSet | None

    def untrained(self, name: str, structures: Sequence[Structure]) -> TrainedModel:
        """Give the model without weights yet."""
        validated = self.validation.subject_ids if self.validation is not None else ()
        return TrainedModel(
            name=name,
            settings=self.settings,
            structures=tuple(structures),
            channels=self.channels,
            weights={},
            origin=describe_origin(self.slices.subject_ids, validated, len(self.slices)),
        )


def _read_material(split: Split, settings: Settings, structures: Sequence[Structure]) -> _Material:
    if not split.training:
        raise DataError("There are no training cases. Put labelled images of at least one subject there.")
    device = choose_device()
    pairs = read_cases(split.training, structures)
    preprocess = plan_spacing(settings.preprocess, [image for image, _ in pairs])
    channels = pairs[0][0].channels
    network = build_network(settings.network, in_channels=len(channels), out_channels=len(structures) + 1)
    stride = int(getattr(network, "stride", 1))
    validation = None
    if split.validation:
        validation_pairs = read_cases(split.validation, structures)
        validation = build_slices(validation_pairs, preprocess, stride=stride).to(device)
    return _Material(
        settings=replace(settings, preprocess=preprocess),
        channels=channels,
        network=with_layout(network, device),
        slices=build_slices(pairs, preprocess, stride=stride).to(device),
        validation=validation,
    )


class _Step:
    """One step of AdamW with gradient clipping, and the running average of the weights."""

    def __init__(self, material: _Material, structures: Sequence[Structure]) -> None:
        self.network, self.settings = material.network, material.settings
        self.device = device = material.slices.images.device
        self.members = class_members(structures, len(structures)).to(device)
        self.counts = torch.zeros(3, len(structures), device=device)
        network, settings = self.network, self.settings
        self.precision = choose_precision(settings.precision, device)
        self.optimizer = torch.optim.AdamW(
            network.parameters(),
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
            fused=device.type in ("cpu", "cuda"),  # one pass over the weights instead of a dozen
        )

        def average(averaged: Tensors, current: Tensors, count: Tensor | int) -> None:
            # Follows fast at first, so that the random start is soon forgotten.
            decay = min(settings.average_decay, (1 + int(count)) / (10 + int(count)))
            torch._foreach_lerp_(averaged, current, 1 - decay)

        self.averaged = AveragedModel(network, multi_avg_fn=average)

    def learn(self, batch: Batch, learning_rate: float, progress: float) -> Tensor:
        """Take one step; return the loss with its weights of the start, so that epochs can be compared."""
        self.network.train()
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        with torch.autocast(self.device.type, self.precision, enabled=self.precision != torch.float32):
            logits = self.network(batch.images)
        parts = segmentation_loss(logits, batch.reference, batch.drawn, self.settings.loss, outer=batch.outer)
        self.optimizer.zero_grad(set_to_none=True)
        parts.total(self.settings.loss, progress=progress).backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), self.settings.gradient_clip)
        self.optimizer.step()
        self.averaged.update_parameters(self.network)
        with torch.no_grad():
            predicted, reference = self.members[:, most_likely(logits)], self.members[:, batch.labels]
            self.counts += count_pixels(reference, predicted, batch.drawn)
        return parts.total(self.settings.loss).detach()

    def take_scores(self) -> tuple[Scores, Scores]:
        """Give Dice and IoU of each structure over the batches since the last time, and start anew."""
        scores = ratios(self.counts)
        self.counts.zero_()
        return scores

    def weights(self) -> dict[str, Tensor]:
        """Copy the averaged weights to the processor."""
        state = self.averaged.module.state_dict()
        return {key: value.detach().cpu().clone() for key, value in state.items()}


class _Clock:
    """Progress from 0 to 1 by steps or by time, and the learning rate that belongs to it."""

    def __init__(self, settings: Settings, *, steps_per_epoch: int) -> None:
        self.settings, self.steps, self.start = settings, 0, time.monotonic()
        self.total_steps = None if settings.epochs is None else settings.epochs * steps_per_epoch

    def elapsed_s(self) -> float:
        return time.monotonic() - self.start

    def progress(self) -> float:
        if self.total_steps is not None:
            return self.steps / self.total_steps
        return self.elapsed_s() / (60 * (self.settings.minutes or 1))

    def count_step(self) -> None:
        self.steps += 1

    def is_over(self) -> bool:
        return self.progress() >= 1

    def learning_rate(self) -> float:
        progress, warmup = min(1.0, self.progress()), self.settings.warmup_fraction
        if progress < warmup:
            return self.settings.learning_rate * max(progress / warmup, 0.01)
        left = 1 - (progress - warmup) / (1 - warmup)
        if self.settings.schedule == "polynomial":
            return self.settings.learning_rate * left**0.9
        return self.settings.learning_rate * 0.5 * (1 - math.cos(math.pi * left))

    def result(self, epoch: int, training_loss: float) -> EpochResult:
        elapsed, progress = self.elapsed_s(), self.progress()
        return EpochResult(
            epoch=epoch,
            training_loss=training_loss,
            learning_rate=self.learning_rate(),
            elapsed_s=elapsed,
            seconds_left=max(0.0, elapsed / progress - elapsed),
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


def _merit(result: EpochResult, best_by: str) -> float | None:
    """Give what is larger in a better epoch; None where nothing was validated."""
    if best_by == "loss":
        return None if result.validation_loss is None else -result.validation_loss
    return result.validation_iou if best_by == "iou" else result.validation_dice


def _is_better(result: EpochResult, history: Sequence[EpochResult], best_by: str) -> bool:
    merit = _merit(result, best_by)
    earlier = [value for row in history if (value := _merit(row, best_by)) is not None]
    return merit is not None and (not earlier or merit > max(earlier))


def _has_stalled(history: Sequence[EpochResult], patience: int | None) -> bool:
    if patience is None:
        return False
    best = max((row.epoch for row in history if row.is_best), default=len(history))
    return len(history) - best >= patience
