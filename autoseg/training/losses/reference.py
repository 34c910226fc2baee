"""What an answer is compared with: labels or raters' shares, as shares of every class and at any size."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional


def one_hot(labels: Tensor, classes: int, *, first: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """Give the share of every class from `first` on: 1 where a pixel is of it, else 0.

    torch's own would take eight bytes for every pixel and class. Labels (batch, …) become (batch, classes − first,
    …).

    Examples
    --------
    >>> one_hot(torch.tensor([[0, 2]]), 3).tolist()
    [[[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]]]
    """
    numbers = torch.arange(first, classes, device=labels.device)
    return (labels[..., None] == numbers).to(dtype).movedim(-1, 1)


def shares_of(labels: Tensor, answer: Tensor, *, first: int = 0) -> Tensor:
    """Give the shares, from class `first` on, of labels or of shares, beside an answer (batch, classes, …)."""
    if labels.dim() < answer.dim():
        return one_hot(labels, answer.shape[1], first=first, dtype=answer.dtype)
    return labels[:, first:].to(answer.dtype)


def reference_of_size(reference: Tensor, size: Sequence[int], classes: int) -> Tensor:
    """Bring a reference to the size of an answer, by averaging over the area of each of its pixels.

    It stays as it is where it has this size; else it becomes shares, of which an undrawn structure has none.
    """
    size = tuple(size)
    if tuple(reference.shape[-len(size) :]) == size:
        return reference
    shares = reference if reference.is_floating_point() else one_hot(reference, classes)
    return functional.interpolate(shares, size, mode="area")
