"""What a training works with, one step of it, and all of its state, which can be kept and brought back."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from autoseg.data.digests import Seal, Side
from autoseg.data.split import Split
from autoseg.errors import DataError, ModelFileError
from autoseg.image.structures import Structure
from autoseg.model.dataset import Batch, Samples, fix_patch
from autoseg.model.device import choose_device, choose_precision, halve_batch, with_layout
from autoseg.model.model import TrainedModel, describe_origin
from autoseg.model.networks import begin, build_network, learn
from autoseg.model.preprocessing.neighbouring_slices import network_channels
from autoseg.model.settings.settings import AugmentationSettings, Settings
from autoseg.training.batches import EpochOrder
from autoseg.training.checkpoint import Checkpoint, check_same_data, describe_now
from autoseg.training.clock import Clock
from autoseg.training.finetuning import Tuned, check_base, check_same_base, go_on_from
from autoseg.training.holding import hold_cases
from autoseg.training.inputs import Inputs
from autoseg.training.losses import outputs_loss, with_counted_weight
from autoseg.training.muon import Muon, split_hidden
from autoseg.training.plan import Fingerprint
from autoseg.training.processes import ALONE, Processes
from autoseg.training.validation import (
    Scores,
    Validation,
    class_members,
    count_pixels,
    most_likely,
    ratios,
)

# --- what turns gradients into steps: AdamW, Muon, Adam, or SGD with Nesterov's momentum


def build_optimizer(
    network: nn.Module, settings: Settings, device: torch.device, *, groups: Mapping[str, str] | None = None
) -> Optimizer:
    """Build the optimiser that the settings name; the learning rate is set anew at each step.

    AdamW and Muon take the decay off the weights themselves, the other two add it to the gradient, where it is much
    stronger: published recipes give Adam 0 and SGD 3e-5, not AdamW's 1e-2.
    """
    rate, decay = settings.learning_rate, settings.weight_decay
    weights = [{"params": list(network.parameters())}] if groups is None else _grouped(network, groups)
    fused = device.type in ("cpu", "cuda")  # one pass over the weights instead of a dozen
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(weights, lr=rate, weight_decay=decay, fused=fused)
    if settings.optimizer == "muon":
        return Muon(split_hidden(network, weights), lr=rate, weight_decay=decay, fused=fused)
    if settings.optimizer == "adam":
        return torch.optim.Adam(weights, lr=rate, weight_decay=decay, fused=fused)
    return torch.optim.SGD(
        weights,
        lr=rate,
        momentum=settings.momentum,
        weight_decay=decay,
        nesterov=settings.momentum > 0,
        foreach=True,
    )


def set_learning_rate(optimizer: Optimizer, rate: float, factors: Mapping[str, float] | None = None) -> None:
    """Set the learning rate of the next step, times its factor in a group that has one by its name."""
    for group in optimizer.param_groups:
        group["lr"] = rate * (factors or {}).get(group.get("name", ""), 1.0)


def _grouped(network: nn.Module, groups: Mapping[str, str]) -> list[dict[str, Any]]:
    found: dict[str, list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        found.setdefault(groups[name], []).append(parameter)
    return [{"params": parameters, "name": group} for group, parameters in found.items()]


Tensors = tuple[Tensor, ...] | list[Tensor]

# Devices that draw random numbers of their own, for dropout.
RANDOM_OF: dict[str, ModuleType] = {"cuda": torch.cuda, "mps": torch.mps}


@dataclass(frozen=True, eq=False)
class Material:
    """What a training works with, on its device: a fresh network and the slices, read once.

    `sides` stand for what is learnt from and validated on; they are empty where nobody will ask. The `seal` is that
    of all fingerprints of subjects.
    `modalities` are the kinds of images that are learnt from ("MR"), as far as their files tell, and
    `fingerprint` what they are like. `tuned` is there where the network goes on from a base, and `known` says what
    it knew before.
    """

    settings: Settings
    channels: tuple[str, ...]
    network: nn.Module
    slices: Samples
    validation: tuple[Validation, ...]
    sides: tuple[Side, Side]
    seal: Seal
    modalities: tuple[str, ...] = ()
    fingerprint: Fingerprint | None = None
    finder: TrainedModel | None = None
    tuned: Tuned | None = None
    known: str = ""

    def untrained(self, name: str, structures: Sequence[Structure]) -> TrainedModel:
        """Give the model without weights yet."""
        validated = [subject for images in self.validation for subject in images.subject_ids]
        origin = {
            **describe_origin(self.slices.subject_ids, validated, len(self.slices), self.seal),
            "modalities": list(self.modalities),
            "fingerprint": None if self.fingerprint is None else self.fingerprint.as_dict(),
            **({"began_with": self.known} if self.known else {}),
        }
        return TrainedModel(
            name=name,
            settings=self.settings,
            structures=tuple(structures),
            channels=self.channels,
            weights={},
            finder=self.finder,
            origin=origin if self.tuned is None else self.tuned.written_into(origin),
        )


def read_material(
    split: Split,
    settings: Settings,
    structures: Sequence[Structure],
    resume: Checkpoint | None,
    *,
    digests: bool,
    inputs: Inputs = Inputs(),  # noqa: B008  # it never changes
    base: TrainedModel | None = None,
) -> Material:
    """Read the cases once and build the network.

    Data that are not those of `resume` are refused before anything is prepared; `digests` gives the `sides`, for
    which every voxel is looked at.
    """
    if not split.training:
        raise DataError("There are no training cases. Put labelled images of at least one patient there.")
    record = None if resume is None else resume.last.origin.get("base")
    if resume is not None:
        check_same_base(resume.name, record, base)
    elif base is not None:
        check_base(base, split, settings)
    device = choose_device()
    held = hold_cases(split, settings, structures, inputs)
    seal = resume.seal if resume is not None else inputs.seal or Seal.new()
    sides = held.sides(seal) if digests or resume is not None else (Side(), Side())
    if resume is not None:
        check_same_data(resume, structures, *sides)
    settings = held.plan(settings)
    held, channels = held.ready(settings), held.channels
    network = build_network(
        settings.network,
        in_channels=network_channels(len(channels), settings.preprocess.neighbours),
        out_channels=len(structures) + 1,
        spatial_dims=settings.spatial_dims,
    )
    known = begin(network) if base is None and resume is None else ""
    tuned = go_on_from(network, settings, split, structures=structures, channels=channels, base=base, record=record)
    slices = held.samples(settings, network).to(device)
    settings = fix_patch(settings, slices)
    validation = held.validation(settings, network, device)
    loss = with_counted_weight(settings.loss, _seen(slices, settings))
    return Material(
        settings=replace(settings, loss=loss),
        channels=channels,
        network=with_layout(network, device),
        slices=slices,
        validation=validation,
        sides=sides,
        seal=seal,
        modalities=held.modalities,
        fingerprint=held.fingerprint(),
        finder=inputs.finder,
        tuned=tuned,
        known=known,
    )


def _seen(slices: Samples, settings: Settings) -> Iterator[tuple[Tensor, Tensor]]:
    """Give what training compares with, and what was drawn: of crops where it sees crops."""
    generator = torch.Generator().manual_seed(settings.seed)
    for indices in torch.arange(len(slices)).split(settings.batch_size):
        batch = slices.sample(indices, augmentation=AugmentationSettings.off(), generator=generator)
        yield batch.reference, batch.drawn


class Step:
    """One step of the optimiser with gradient clipping, and the running average of the weights.

    Batch normalisation's means and deviations are running averages already; the kept ones are the latest.
    `settings` are those of the material, with the batch size that fits into the memory. With several `processes`
    each runs the network on its share of a batch, and all take the same step.
    """

    def __init__(self, material: Material, structures: Sequence[Structure], processes: Processes = ALONE) -> None:
        self.processes = processes
        self.network, self.settings, self.slices = material.network, material.settings, material.slices
        self.device = device = material.slices.device
        self.members = class_members(structures, len(structures)).to(device)
        self.counts = torch.zeros(3, len(structures), device=device)
        network, settings = self.network, self.settings
        self.precision = choose_precision(settings.precision, device)
        self.tuned = material.tuned
        groups = None if self.tuned is None else self.tuned.groups
        self.optimizer = build_optimizer(network, settings, device, groups=groups)

        def average(averaged: Tensors, current: Tensors, count: Tensor | int) -> None:
            # Follows fast at first, so that the random start is soon forgotten.
            decay = min(settings.average_decay, (1 + int(count)) / (10 + int(count)))
            torch._foreach_lerp_(averaged, current, 1 - decay)

        self.averaged = AveragedModel(network, multi_avg_fn=average)

    def learn(self, batch: Batch, learning_rate: float, progress: float) -> Tensor:
        """Take one step; return the loss with its weights of the start, so that epochs can be compared.

        What a network compares in a way of its own is left out of it, as it is of the validation's loss.
        """
        loss = self.compare(batch, progress)
        self.update(learning_rate)
        return loss

    def compare(self, batch: Batch, progress: float) -> Tensor:
        """Run the network forward and back, so that it can be updated; return the loss as `learn` does."""
        batch, add = self.processes.share(batch)
        self.network.train()
        if self.tuned is not None:
            self.tuned.rest()
        with torch.autocast(self.device.type, self.precision, enabled=self.precision != torch.float32):
            outputs = learn(self.network, batch.images, batch.labels, batch.drawn)
        parts = outputs_loss(outputs, batch.reference, batch.drawn, self.settings.loss, outer=batch.outer, add=add)
        self.optimizer.zero_grad(set_to_none=True)
        parts.total(self.settings.loss, progress=progress).backward()
        self.processes.add_gradients(self.network)
        with torch.no_grad():
            predicted, reference = self.members[:, most_likely(outputs.logits)], self.members[:, batch.labels]
            self.counts += add(count_pixels(reference, predicted, batch.drawn))
        shown = replace(parts, own=None).total(self.settings.loss).detach()
        # Not to be seen, but a loss of its own that is no number must be.
        return shown if parts.own is None else shown + 0 * parts.own.detach()

    def update(self, learning_rate: float) -> None:
        """Change the weights by the gradients of `compare`, and their running average."""
        set_learning_rate(self.optimizer, learning_rate, self.tuned.factors if self.tuned else None)
        if math.isfinite(self.settings.gradient_clip):
            nn.utils.clip_grad_norm_(self.network.parameters(), self.settings.gradient_clip)
        self.optimizer.step()
        self.averaged.update_parameters(self.network)

    @cached_property
    def with_structure(self) -> Tensor:
        """Which slices have a structure that was drawn, (slices,) bool on the processor."""
        return self.slices.with_structure

    def order(self, generator: torch.Generator) -> EpochOrder:
        """Draw the order of the next epoch's slices."""
        slices = self.slices
        return EpochOrder(
            self.with_structure,
            generator,
            oversampling=self.settings.oversampling,
            network=self.network,
            frame=slices.seen_size,
        )

    def halve_batch(self) -> None:
        """See half as many slices at once from now on; raises as `autoseg.model.device.halve_batch` does."""
        self.optimizer.zero_grad(set_to_none=True)
        self.settings = replace(self.settings, batch_size=halve_batch(self.settings.batch_size, self.device))

    def take_scores(self) -> tuple[Scores, Scores]:
        """Give Dice and IoU of each structure over the batches since the last time, and start anew."""
        scores = ratios(self.counts)
        self.counts.zero_()
        return scores

    def weights(self) -> dict[str, Tensor]:
        """Copy the averaged weights to the processor."""
        return _copied(self.averaged.module.state_dict())

    def is_sound(self) -> bool:
        """Tell whether all weights are numbers; the last step may have spoilt them though its loss was one."""
        averaged = self.averaged.module.state_dict().values()
        return all(bool(torch.isfinite(value).all()) for value in (*self.network.parameters(), *averaged))


@dataclass(frozen=True, eq=False)
class TrainingState:
    """All of a training that changes from step to step."""

    material: Material
    step: Step
    clock: Clock
    generator: torch.Generator

    def checkpoint(self, best: TrainedModel, last: TrainedModel) -> Checkpoint:
        """Copy everything, on the processor."""
        step, device = self.step, self.step.device.type
        return Checkpoint(
            best=best,
            last=last,
            network=_copied(step.network.state_dict()),
            averaged_steps=int(step.averaged.n_averaged),
            optimizer={key: _copied_state(values) for key, values in step.optimizer.state_dict()["state"].items()},
            generator=self.generator.get_state(),
            torch_state=torch.get_rng_state(),
            device_state=RANDOM_OF[device].get_rng_state() if device in RANDOM_OF else None,
            steps=self.clock.steps,
            epochs_seen=str(self.clock.epochs_seen),
            elapsed_s=self.clock.elapsed_s(),
            training=self.material.sides[0],
            validation=self.material.sides[1],
            **describe_now(),
        )

    def restore(self, checkpoint: Checkpoint) -> tuple[TrainedModel, TrainedModel]:
        """Bring everything back to where it was; return the best and the latest model."""
        step, optimizer = self.step, self.step.optimizer
        try:
            step.network.load_state_dict(checkpoint.network)
            step.averaged.module.load_state_dict(checkpoint.last.weights)
            step.averaged.n_averaged.fill_(checkpoint.averaged_steps)
            # Copies, because the optimiser goes on in the tensors that it is given.
            state = {key: _copied_state(values) for key, values in checkpoint.optimizer.items()}
            optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
            self.generator.set_state(checkpoint.generator)
            torch.set_rng_state(checkpoint.torch_state)
            if checkpoint.device_state is not None and checkpoint.made_with["device"] == step.device.type:
                RANDOM_OF[step.device.type].set_rng_state(checkpoint.device_state)
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            raise ModelFileError(
                f"The checkpoint of {checkpoint.name!r} does not fit its own network: {error}. Start the training "
                "anew; the models that were saved of it can be used."
            ) from error
        # Earlier versions kept the steps alone; all of theirs were equal parts of an epoch.
        per_epoch = math.ceil(len(step.slices) / step.settings.batch_size)
        seen = Fraction(checkpoint.epochs_seen) if checkpoint.epochs_seen else Fraction(checkpoint.steps, per_epoch)
        self.clock.go_on(checkpoint.steps, seen, checkpoint.elapsed_s)
        models = []
        for model in (checkpoint.best, checkpoint.last):
            before = model.origin.get("resumed_after_epochs", [])
            origin = {**model.origin, "resumed_after_epochs": [*before, len(model.history)]}
            models.append(replace(model, origin=origin))
        return models[0], models[1]


def _copied(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key: value.detach().cpu().clone() for key, value in tensors.items()}


def _copied_state(values: Mapping[str, Tensor | None]) -> dict[str, Tensor | None]:
    return {key: value if value is None else value.detach().cpu().clone() for key, value in values.items()}
