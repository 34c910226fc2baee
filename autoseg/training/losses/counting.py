"""How much a structure's pixel should weigh, from the training images themselves."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from torch import Tensor

from autoseg.model.settings.settings import LossSettings

LARGEST_WEIGHT = 50.0


def count_weight(seen: Iterable[tuple[Tensor, Tensor]]) -> float:
    """Give how many times as many pixels the background has as the structures, at most 50 times.

    An image on which nothing was drawn tells nothing and is left out. A structure that was not drawn is counted for
    what it lies in, as the loss does.

    Parameters
    ----------
    seen : iterable of (Tensor, Tensor)
        Of batches as training sees them: the reference, (batch, …) classes or (batch, classes, …) shares, and
        `drawn` (batch, structures).

    Returns
    -------
    float
        Between 1/50 and 50; 1 where no pixel of any structure was drawn.

    Examples
    --------
    >>> import torch
    >>> count_weight([(torch.tensor([[[0, 0, 0, 1]]]), torch.tensor([[True]]))])
    3.0
    """
    background = structures = 0.0
    for reference, drawn in seen:
        chosen = reference[drawn.any(1)]
        if chosen.is_floating_point():
            inside = float(chosen[:, 1:].double().sum())
            pixels = chosen[:, 0].numel()
        else:
            inside = int((chosen > 0).sum())
            pixels = chosen.numel()
        structures += inside
        background += pixels - inside
    if not structures:
        return 1.0
    return min(max(background / structures, 1 / LARGEST_WEIGHT), LARGEST_WEIGHT)


def with_counted_weight(settings: LossSettings, seen: Iterable[tuple[Tensor, Tensor]]) -> LossSettings:
    """Fill in the weight of structures from the training images, where the settings leave it open.

    `seen` is as for `count_weight`, and is not touched where a weight is given.
    """
    if settings.structure_weight is not None:
        return settings
    return replace(settings, structure_weight=count_weight(seen))
