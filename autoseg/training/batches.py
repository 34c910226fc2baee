"""Which slices the network sees at once: their order, rare structures more often, no batch too small."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class EpochOrder:
    """The slices of one epoch in a random order, handed out batch by batch; every slice has one place in it.

    With `oversampling` at least this part of each batch are slices with a structure: empty ones give way to others
    drawn at random, as nnU-Net does for patches (Isensee et al., Nature Methods 2021). A network that normalises
    over the slices of a batch sees no slice alone where that can be helped: it joins the batch before, or, where
    that cannot be and the coarsest map of the `frame` is one pixel, comes twice.
    """

    def __init__(
        self,
        with_structure: Tensor,
        generator: torch.Generator,
        *,
        oversampling: float = 0.0,
        network: nn.Module | None = None,
        frame: tuple[int, ...] = (0, 0),
    ) -> None:
        self._with_structure, self._generator, self._oversampling = with_structure, generator, oversampling
        self._joins_single = network is not None and has_batch_norm(network)
        one_pixel = int(getattr(network, "stride", 1)) ** len(frame) >= math.prod(frame) > 0
        self._doubles_single = self._joins_single and one_pixel
        self._left = torch.randperm(len(with_structure), generator=generator)

    def __bool__(self) -> bool:
        return len(self._left) > 0

    def batches_left(self, batch_size: int) -> int:
        """Give the number of batches of this size that are left."""
        whole, rest = divmod(len(self._left), batch_size)
        joins = rest == 1 and whole > 0 and self._joins_single
        return whole + (rest > 0) - joins

    def next(self, batch_size: int) -> Tensor:
        """Give the indices of the next batch; it is given again until it is `done`."""
        taken = self._left[: self._size(batch_size)]
        if self._oversampling > 0:
            taken = oversample(taken, self._with_structure, self._oversampling, self._generator)
        return taken.repeat(2) if len(taken) == 1 and self._doubles_single else taken

    def done(self, batch_size: int) -> None:
        """Go on to the batch after the one that `next` gives for this size."""
        self._left = self._left[self._size(batch_size) :]

    def _size(self, batch_size: int) -> int:
        alone = self._joins_single and batch_size > 1 and len(self._left) == batch_size + 1
        return min(batch_size + alone, len(self._left))


def oversample(indices: Tensor, with_structure: Tensor, part: float, generator: torch.Generator) -> Tensor:
    """Exchange empty slices of a batch for ones with a structure, until these are at least the part wanted.

    None comes twice as long as there are enough different ones.
    """
    lacking = math.ceil(part * len(indices) - 1e-9) - int(with_structure[indices].sum())
    known = with_structure.nonzero()[:, 0]
    if lacking <= 0 or not len(known):
        return indices
    others = known[~torch.isin(known, indices)]
    drawn = others[torch.randperm(len(others), generator=generator)[:lacking]]
    if len(drawn) < lacking:
        again = torch.randint(len(known), (lacking - len(drawn),), generator=generator)
        drawn = torch.cat([drawn, known[again]])
    changed = indices.clone()
    changed[(~with_structure[indices]).nonzero()[:lacking, 0]] = drawn
    return changed


def has_batch_norm(network: nn.Module) -> bool:
    """Tell whether a network normalises over the slices of a batch, so that one slice alone is too few."""
    return any(isinstance(part, _BatchNorm) for part in network.modules())
