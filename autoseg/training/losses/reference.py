"""What an answer is compared with: labels or raters' shares, as shares of every class and at any size."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional


def one_hot(labels: Tensor, classes: int, *, first: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """Give the share of every class from `first` on: 1 where a pixel is of it, else 0.

    torch's own would take eight bytes for every pixel and class.

    Parameters
    ----------
    labels : (batch, …) Tensor of int64
    classes : int
    first : int
        1 leaves the background out.
    dtype : torch.dtype

    Returns
    -------
    (batch, classes - first, …) Tensor
        The classes lie innermost in memory, as in a network that works so.

    Examples
    --------
    >>> one_hot(torch.tensor([[0, 2]]), 3).tolist()
    [[[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]]]
    """
    numbers = torch.arange(first, classes, device=labels.device)
    return (labels[..., None] == numbers).to(dtype).movedim(-1, 1)


def reference_of_size(reference: Tensor, size: Sequence[int], classes: int) -> Tensor:
    """Bring a reference to the size of an answer, by averaging over the area of each of its pixels.

    Parameters
    ----------
    reference : (batch, …) Tensor of int64, or (batch, classes, …) Tensor of float32
        Class of each pixel, or the share of every class.
    size : sequence of int
        Rows and columns of the answer; in 3-D the slices before them.
    classes : int

    Returns
    -------
    Tensor
        `reference` itself where it has this size already, else shares (batch, classes, *size), which add up to 1. A
        structure that was not drawn has none, and stays unknown.
    """
    size = tuple(size)
    if tuple(reference.shape[-len(size) :]) == size:
        return reference
    shares = reference if reference.is_floating_point() else one_hot(reference, classes)
    return functional.interpolate(shares, size, mode="area")
