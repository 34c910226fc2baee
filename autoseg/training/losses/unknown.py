"""Structures that were not drawn: unknown, not absent."""

from __future__ import annotations

import torch
from torch import Tensor

# So far below any other logit that nothing of it is left, and still a number when it is multiplied by 0.
IMPOSSIBLE = -1e9


def merge_undrawn(logits: Tensor, drawn: Tensor, outer: Tensor | None = None) -> Tensor:
    """Add the probability of every undrawn structure to what it lies in, and leave it none of its own.

    Parameters
    ----------
    logits : (batch, classes, …) Tensor of float32
    drawn : (batch, classes - 1) Tensor of bool
    outer : (classes,) Tensor of int64, optional
        As `segmentation_loss`; by default every structure lies in the background.

    Returns
    -------
    (batch, classes, …) Tensor
        Logits whose softmax has the sums.
    """
    if bool(drawn.all()):
        return logits
    everywhere = (..., *[None] * (logits.dim() - 2))
    if outer is not None and bool(outer.any()):
        joins = _joined_classes(drawn, outer)[everywhere]
        classes = range(logits.shape[1])
        return torch.stack([logits.masked_fill(joins != k, IMPOSSIBLE).logsumexp(1) for k in classes], dim=1)
    structures_drawn = drawn[everywhere]
    unknown = logits[:, 1:].masked_fill(structures_drawn, IMPOSSIBLE)
    background = torch.cat([logits[:, :1], unknown], dim=1).logsumexp(1, keepdim=True)
    return torch.cat([background, logits[:, 1:].masked_fill(~structures_drawn, IMPOSSIBLE)], dim=1)


def _joined_classes(drawn: Tensor, outer: Tensor) -> Tensor:
    """Give the class that each class counts for on each image, (batch, classes): itself, or what it lies in."""
    known = torch.cat([drawn.new_ones(len(drawn), 1), drawn], dim=1)
    joined = torch.arange(known.shape[1], device=drawn.device).expand(known.shape)
    for _ in range(known.shape[1]):  # as deep as structures can lie in one another
        joined = torch.where(known.gather(1, joined), joined, outer[joined])
    return joined
