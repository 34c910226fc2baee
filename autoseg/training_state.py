"""What a training works with, one step of it, and all of its state, which can be kept and brought back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import ModuleType

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from autoseg.checkpoint import Checkpoint, check_same_data, describe_now
from autoseg.clock import Clock
from autoseg.dataset import Batch, SliceSet, build_slices, plan_spacing, read_cases
from autoseg.device import choose_device, choose_precision, with_layout
from autoseg.errors import DataError, ModelFileError
from autoseg.fingerprints import Side, describe_side
from autoseg.losses import segmentation_loss
from autoseg.model import TrainedModel, describe_origin
from autoseg.networks import build_network, learn
from autoseg.settings import Settings
from autoseg.split import Split
from autoseg.structures import Structure
from autoseg.validation import Scores, class_members, count_pixels, most_likely, ratios

Tensors = tuple[Tensor, ...] | list[Tensor]

# Devices that draw random numbers of their own, for dropout.
RANDOM_OF: dict[str, ModuleType] = {"cuda": torch.cuda, "mps": torch.mps}


@dataclass(frozen=True, eq=False)
class Material:
    """What a training works with, on its device: a fresh network and the slices, read once.

    `sides` stand for what is learnt from and validated on; they are empty where nobody will ask.
    `modalities` are the kinds of images that are learnt from ("MR"), as far as their files tell.
    """

    settings: Settings
    channels: tuple[str, ...]
    network: nn.Module
    slices: SliceSet
    validation: SliceSet | None
    sides: tuple[Side, Side]
    modalities: tuple[str, ...] = ()

    def untrained(self, name: str, structures: Sequence[Structure]) -> TrainedModel:
        """Give the model without weights yet."""
        validated = self.validation.subject_ids if self.validation is not None else ()
        return TrainedModel(
            name=name,
            settings=self.settings,
            structures=tuple(structures),
            channels=self.channels,
            weights={},
            origin={
                **describe_origin(self.slices.subject_ids, validated, len(self.slices)),
                "modalities": list(self.modalities),
            },
        )


def read_material(
    split: Split,
    settings: Settings,
    structures: Sequence[Structure],
    resume: Checkpoint | None,
    *,
    fingerprints: bool,
) -> Material:
    """Read the cases once and build the network.

    Parameters
    ----------
    split, settings, structures
        As for `autoseg.training.train`.
    resume : Checkpoint, optional
        Raise DataError, before anything is prepared, if these are not its data.
    fingerprints : bool
        Give `sides`; they take a look at every voxel.
    """
    if not split.training:
        raise DataError("There are no training cases. Put labelled images of at least one subject there.")
    device = choose_device()
    pairs, validation_pairs = read_cases(split.training, structures), read_cases(split.validation, structures)
    sides = (Side(), Side())
    if fingerprints or resume is not None:
        sides = describe_side(split.training, pairs), describe_side(split.validation, validation_pairs)
    if resume is not None:
        check_same_data(resume, structures, *sides)
    preprocess = plan_spacing(settings.preprocess, [image for image, _ in pairs])
    channels = pairs[0][0].channels
    network = build_network(settings.network, in_channels=len(channels), out_channels=len(structures) + 1)
    stride = int(getattr(network, "stride", 1))
    validation = None
    if validation_pairs:
        validation = build_slices(validation_pairs, preprocess, stride=stride).to(device)
    return Material(
        settings=replace(settings, preprocess=preprocess),
        channels=channels,
        network=with_layout(network, device),
        slices=build_slices(pairs, preprocess, stride=stride).to(device),
        validation=validation,
        sides=sides,
        modalities=tuple(sorted({image.source.modality for image, _ in pairs} - {""})),
    )


class Step:
    """One step of AdamW with gradient clipping, and the running average of the weights."""

    def __init__(self, material: Material, structures: Sequence[Structure]) -> None:
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
            outputs = learn(self.network, batch.images, batch.labels, batch.drawn)
        logits = outputs.logits
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
        return _copied(self.averaged.module.state_dict())

    def is_sound(self) -> bool:
        """Tell whether all weights are numbers; the last step may have spoilt them though its loss was one."""
        return all(bool(torch.isfinite(value).all()) for value in self.network.parameters())


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
            optimizer={key: _copied(values) for key, values in step.optimizer.state_dict()["state"].items()},
            generator=self.generator.get_state(),
            torch_state=torch.get_rng_state(),
            device_state=RANDOM_OF[device].get_rng_state() if device in RANDOM_OF else None,
            steps=self.clock.steps,
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
            state = {key: _copied(values) for key, values in checkpoint.optimizer.items()}
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
        self.clock.go_on(checkpoint.steps, checkpoint.elapsed_s)
        models = []
        for model in (checkpoint.best, checkpoint.last):
            before = model.origin.get("resumed_after_epochs", [])
            origin = {**model.origin, "resumed_after_epochs": [*before, len(model.history)]}
            models.append(replace(model, origin=origin))
        return models[0], models[1]


def _copied(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key: value.detach().cpu().clone() for key, value in tensors.items()}
