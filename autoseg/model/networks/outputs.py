"""What a network answers while it learns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor, nn


@dataclass(frozen=True, eq=False)
class Outputs:
    """What a network answers while it learns.

    `logits` (batch, classes, …) are its answer; `others` are further ones with the same classes, each of a size of
    its own (deep supervision, an earlier stage). `weights` are those of the loss of `logits` and of each of
    `others`. `own_loss` () is added, where a network compares in a way of its own.
    """

    logits: Tensor
    others: tuple[Tensor, ...] = ()
    weights: tuple[float, ...] = (1.0,)
    own_loss: Tensor | None = None


@runtime_checkable
class Learner(Protocol):
    """A network that answers more while it learns than its logits."""

    def learn(self, images: Tensor, labels: Tensor, drawn: Tensor) -> Outputs:
        """Answer, knowing the (batch, …) classes and the (batch, structures) that were drawn.

        Validation asks too, in eval mode, and takes no `own_loss`: it need not be computed then.
        """
        ...


@runtime_checkable
class Beginner(Protocol):
    """A network that begins to learn with something that it knows already."""

    def begin(self) -> str:
        """Take over what is known, and say in a sentence what that is."""
        ...


def begin(network: nn.Module) -> str:
    """Give a fresh network what it knows before it learns; say what that is, or "", for most know nothing."""
    return network.begin() if isinstance(network, Beginner) else ""


def strides_of(network: nn.Module, spatial_dims: int) -> tuple[int, ...]:
    """Give the numbers of which the sizes of what a network sees must be multiples, one for each axis."""
    one = int(getattr(network, "stride", 1))
    return tuple(getattr(network, "axis_strides", (one,) * spatial_dims))


def learn(network: nn.Module, images: Tensor, labels: Tensor, drawn: Tensor) -> Outputs:
    """Run a network that learns; most give their logits and nothing else.

    `labels` (batch, …) are classes, 0 where a structure was not drawn; `drawn` is (batch, structures).
    """
    if isinstance(network, Learner):
        return network.learn(images, labels, drawn)
    return Outputs(network(images))


# --- the named parts of a network: what of it looks, what decides, what answers

# What a network that names no parts is.
REST = "rest"


@runtime_checkable
class Parted(Protocol):
    """A network that tells what its parts are."""

    def named_parts(self) -> Mapping[str, tuple[str, ...]]:
        """Give the names of modules and parameters in each part; of two that fit a name the longer one counts."""
        ...


def part_of(network: nn.Module, name: str) -> str:
    """Give the part in which a module, a parameter or a buffer of this name lies; "rest" where none names it.

    Examples
    --------
    >>> from autoseg.model.networks import build_network
    >>> from autoseg.model.settings.settings import NetworkSettings
    >>> part_of(build_network(NetworkSettings(), in_channels=1, out_channels=2), "tail.bias")
    'tail'
    """
    named = _modules_in(network)
    found = [prefix for prefix in named if name == prefix or name.startswith(f"{prefix}.")]
    return named[max(found, key=len)] if found else REST


def parts_of(network: nn.Module) -> dict[str, list[str]]:
    """Give the names of the parameters of each part of a network, from the image to the answer.

    The parts are contraction, bottleneck, expansion and tail, and "rest" if some parameters are in none of them.
    """
    order = [*dict.fromkeys(_modules_in(network).values()), REST]
    found: dict[str, list[str]] = {part: [] for part in order}
    for name, _ in network.named_parameters():
        found[part_of(network, name)].append(name)
    return {part: names for part, names in found.items() if names}


def deepest_of(network: nn.Module) -> nn.Module:
    """Give the module that answers with the network's deepest features: the last one of its bottleneck.

    It answers (batch, features, …) as an image, or (batch, tokens, features).
    """
    names = network.named_parts().get("bottleneck", ()) if isinstance(network, Parted) else ()
    found = network.get_submodule(names[-1]) if names else network
    while isinstance(found, nn.ModuleList):
        found = list(found)[-1]
    return found


def _modules_in(network: nn.Module) -> dict[str, str]:
    """Give the part of each module or parameter that a network names."""
    parts = network.named_parts() if isinstance(network, Parted) else {}
    return {prefix: part for part, prefixes in parts.items() for prefix in prefixes}
