"""What a network answers while it learns."""

from __future__ import annotations

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


def strides_of(network: nn.Module, spatial_dims: int) -> tuple[int, ...]:
    """Give the numbers of which the sizes of what a network sees must be multiples, one for each axis."""
    one = int(getattr(network, "stride", 1))
    return tuple(getattr(network, "axis_strides", (one,) * spatial_dims))


def learn(network: nn.Module, images: Tensor, labels: Tensor, drawn: Tensor) -> Outputs:
    """Run a network that learns.

    Parameters
    ----------
    network : torch.nn.Module
        From `build_network`. Most give their logits and nothing else.
    images : (batch, channels, rows, columns) Tensor
    labels : (batch, rows, columns) Tensor of int64
        Class of each pixel; a structure that was not drawn is 0.
    drawn : (batch, structures) Tensor of bool

    Returns
    -------
    Outputs
    """
    if isinstance(network, Learner):
        return network.learn(images, labels, drawn)
    return Outputs(network(images))
