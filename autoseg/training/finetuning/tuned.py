"""What of a network rests and what learns, phase by phase."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from autoseg.data.split import Split
from autoseg.errors import DataError
from autoseg.image.structures import Structure
from autoseg.model.model import FINGERPRINTS, TrainedModel, model_digest
from autoseg.model.networks import part_of
from autoseg.model.settings.settings import Phase, Settings
from autoseg.training.finetuning.base import describe_base, knows_validation
from autoseg.training.finetuning.carry import carry_over

# The group of parameters that began anew.
NEW = "new"


@dataclass(eq=False)
class Tuned:
    """A network that goes on from a base, and what of it rests.

    `record` is what is kept of the base (`describe_base`), `notes` say in sentences what did not fit, `factors` are
    what the learning rate of each group is multiplied by in the phase that was entered.
    """

    network: nn.Module
    settings: Settings
    record: dict[str, Any]
    notes: tuple[str, ...] = ()
    factors: dict[str, float] = field(default_factory=dict)
    _resting: list[nn.Module] = field(default_factory=list)

    @property
    def phases(self) -> tuple[Phase, ...]:
        """The phases of the training, one at least."""
        return self.settings.finetune.phases_at(self.settings.learning_rate)

    @property
    def groups(self) -> dict[str, str]:
        """The group in which each parameter learns: its part, or "new" where it began anew."""
        new = set(self.record["new"])
        return {
            name: NEW if name in new else part_of(self.network, name) for name, _ in self.network.named_parameters()
        }

    def enter(self, phase: int) -> None:
        """Let the parts rest that are frozen in a phase (from 1), and the others learn, each at its own rate.

        What began anew learns in every phase, since nothing is known of it.
        """
        now, chosen = self.phases[phase - 1], self.settings.finetune
        faster = max(1.0, chosen.new_learning_rate / now.learning_rate)
        self.factors = {**dict(chosen.rates), NEW: faster}
        groups = self.groups
        for name, parameter in self.network.named_parameters():
            parameter.requires_grad_(groups[name] not in now.frozen)
        still = [part for part in now.frozen if part not in chosen.replaced]
        self._resting = [
            module
            for name, module in self.network.named_modules()
            if part_of(self.network, name) in still
            and not any(one.requires_grad for one in module.parameters(recurse=False))
        ]

    def rest(self) -> None:
        """Put what rests back into the mode of prediction, after `network.train()`.

        Batch normalisation then neither uses the batch's means nor changes its own, and dropout leaves nothing out.
        """
        for module in self._resting:
            module.training = False  # its own alone: a module inside it may be new

    def written_into(self, origin: dict[str, Any]) -> dict[str, Any]:
        """Give a model's origin with what it began from; whom the base has seen counts as seen."""
        joined = {key: sorted({*origin.get(key, ()), *self.record[key]}) for key in FINGERPRINTS}
        return {**origin, **joined, "base": self.record, "notes": [*origin.get("notes", []), *self.notes]}


def go_on_from(
    network: nn.Module,
    settings: Settings,
    split: Split,
    *,
    structures: Sequence[Structure],
    channels: Sequence[str],
    base: TrainedModel | None,
    record: dict[str, Any] | None = None,
) -> Tuned | None:
    """Give a fresh network the weights of a base; of a training that is resumed, `record` is all that is needed."""
    if record is not None:
        return Tuned(network, settings, record)
    if base is None:
        return None
    carried = carry_over(network, base, settings, structures=structures, channels=channels)
    frozen = {part for phase in settings.finetune.phases_at(settings.learning_rate) for part in phase.frozen}
    free = sorted({part_of(network, name) for name in carried.new} & frozen - set(settings.finetune.replaced))
    notes = [*knows_validation(base, split), *carried.notes]
    if free:
        notes.append(f"What begins anew learns, though its part is frozen: in the {', '.join(free)}.")
    return Tuned(network, settings, describe_base(base, carried.new), tuple(notes))


def seed_of(settings: Settings, base: TrainedModel | None) -> int:
    """Give the seed of the fresh weights: with a base another one than that with which it may itself have begun.

    What is replaced would else begin where the base began, and not anew.
    """
    return settings.seed if base is None else (settings.seed + int(model_digest(base), 16)) % 2**63


def check_same_base(name: str, record: dict[str, Any] | None, base: TrainedModel | None) -> None:
    """Raise DataError if an unfinished training was begun from another base than is given now."""
    if base is None or (record is not None and record["digest"] == model_digest(base)):
        return
    begun = "without a base model" if record is None else f"from the base model {record['name']!r}"
    another = " another one" if record is not None and record["name"] == base.name else f" {base.name!r}"
    raise DataError(
        f"The unfinished training {name!r} was begun {begun}, and{another} is given now. Resume it without a base "
        "model (what it took from there is in it), or start a new training, with another name."
    )
