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

Tensors = tuple[Tensor, ...] | list[Tensor]
OnEpoch = Callable[[EpochResult, TrainedModel, TrainedModel], bool | None]


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
    step = _Step(material.network, settings, slices.images.device)
    clock = _Clock(settings, steps_per_epoch=math.ceil(len(slices) / settings.batch_size))
    generator = torch.Generator().manual_seed(settings.seed)
    history: list[EpochResult] = []
    best = last = material.untrained(name, structures)
    try:
        while not clock.is_over():
            losses = []
            for indices in torch.randperm(len(slices), generator=generator).split(settings.batch_size):
                batch = sample_batch(slices, indices, augmentation=settings.augmentation, generator=generator)
                losses.append(step.learn(batch, clock.learning_rate(), clock.progress()))
                clock.count_step()
                if clock.is_over():
                    break
            training_loss = float(torch.stack(losses).mean())
            if not math.isfinite(training_loss):
                if history:
                    warnings.warn(
                        f"The loss became NaN in epoch {len(history) + 1}; training stopped and the best epoch so "
                        "far is kept. A smaller learning_rate usually helps.",
                        stacklevel=2,
                    )
                break
            result = clock.result(len(history) + 1, training_loss)
            if validation is not None and (clock.is_over() or result.epoch % settings.validate_every == 0):
                result = _validated(result, evaluate_slices(step.averaged.module, validation, settings))
            result = replace(result, is_best=validation is None or _is_better(result, history))
            history.append(result)
            last = replace(last, weights=step.weights(), best_epoch=result.epoch, history=tuple(history))
            # As long as nothing was validated, the latest is the best that is known.
            unscored = all(row.validation_dice is None for row in history)
            best = last if result.is_best or unscored else replace(best, history=tuple(history))
            if (on_epoch is not None and on_epoch(result, best, last)) or _has_stalled(history, settings.patience):
                break
    except KeyboardInterrupt:
        if not best.weights:
            raise
    if not best.weights:
        raise DataError(
            "The loss is not a number (NaN) from the first epoch on. Check the images for damaged "
            "intensities, or choose a smaller learning_rate."
        )
    return best


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


@dataclass(frozen=True)
class SliceScores:
    """Loss, Dice of each structure (None where it was drawn on no slice) and their mean, on a SliceSet."""

    loss: float
    dice: tuple[float | None, ...]
    mean_dice: float | None


@torch.inference_mode()
def evaluate_slices(network: nn.Module, slices: SliceSet, settings: Settings) -> SliceScores:
    """Score a network on slices as they are, without augmentation, on the network's own grid.

    The Dice of a structure is 2 Σ overlap / (Σ predicted + Σ reference), pooled over every slice on which
    it was drawn. Where structures were not drawn, nothing is counted for them.
    """
    device = slices.images.device
    precision = choose_precision(settings.precision, device)
    network.eval()
    classes = slices.drawn.shape[1] + 1
    overlap, total = (torch.zeros(classes - 1, device=device) for _ in range(2))
    losses = []
    for indices in torch.arange(len(slices)).split(2 * settings.batch_size):
        batch = sample_batch(slices, indices)
        with torch.autocast(device.type, precision, enabled=precision != torch.float32):
            logits = network(batch.images)
        parts = segmentation_loss(logits, batch.labels, batch.drawn, settings.loss)
        losses.append(parts.total(settings.loss) * len(indices))
        predicted = logits.argmax(1)
        for k in range(1, classes):
            drawn = batch.drawn[:, k - 1]
            mask, reference = predicted[drawn] == k, batch.labels[drawn] == k
            overlap[k - 1] += (mask & reference).sum()
            total[k - 1] += mask.sum() + reference.sum()
    dice = [2 * float(o) / float(t) if t > 0 else None for o, t in zip(overlap, total, strict=True)]
    known = [value for value in dice if value is not None]
    return SliceScores(
        loss=float(torch.stack(losses).sum()) / len(slices),
        dice=tuple(dice),
        mean_dice=sum(known) / len(known) if known else None,
    )


class _Step:
    """One step of AdamW with gradient clipping, and the running average of the weights."""

    def __init__(self, network: nn.Module, settings: Settings, device: torch.device) -> None:
        self.network, self.settings, self.device = network, settings, device
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
        parts = segmentation_loss(logits, batch.labels, batch.drawn, self.settings.loss)
        self.optimizer.zero_grad(set_to_none=True)
        parts.total(self.settings.loss, progress=progress).backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), self.settings.gradient_clip)
        self.optimizer.step()
        self.averaged.update_parameters(self.network)
        return parts.total(self.settings.loss).detach()

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
    return replace(result, validation_loss=scores.loss, validation_dice=scores.mean_dice, dice=scores.dice)


def _is_better(result: EpochResult, history: Sequence[EpochResult]) -> bool:
    if result.validation_dice is None:
        return False
    earlier = [row.validation_dice for row in history if row.validation_dice is not None]
    return not earlier or result.validation_dice > max(earlier)


def _has_stalled(history: Sequence[EpochResult], patience: int | None) -> bool:
    if patience is None:
        return False
    best = max((row.epoch for row in history if row.is_best), default=len(history))
    return len(history) - best >= patience
