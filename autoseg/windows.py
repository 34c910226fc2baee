"""A network run over more than it sees at once, in overlapping windows, in 2-D and 3-D."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import product

import torch
from torch import Tensor

from autoseg.device import in_layout

# Standard deviation of a window's weight as a part of its size: as nnU-Net (Isensee et al. 2021) has it.
GAUSSIAN_SIGMA = 1 / 8
# The least weight, so that a voxel seen in one corner only is not lost to rounding.
LEAST_WEIGHT = 1e-3


def run_in_windows(
    network: Callable[[Tensor], Tensor], image: Tensor, size: Sequence[int], *, overlap: float, batch_size: int = 1
) -> Tensor:
    """Run a network over a larger image in windows, weighted by a Gaussian about each one's middle.

    Parameters
    ----------
    network : callable
        From (batch, channels, *size) to logits (batch, classes, *size).
    image : (1, channels, …) Tensor
        At least as large as a window along every axis.
    size : sequence of int
        Of a window.
    overlap : float
        Part of a window that it shares with the next one, at least.
    batch_size : int
        Windows computed at once.

    Returns
    -------
    (1, classes, …) Tensor of float32
        Logits, the weighted mean over the windows.
    """
    size = tuple(size)
    if tuple(image.shape[2:]) == size:
        return network(image).float()
    starts = list(product(*(window_starts(n, one, overlap) for n, one in zip(image.shape[2:], size, strict=True))))
    weight = gaussian_weight(size).to(image.device)
    weights = image.new_zeros(image.shape[2:], dtype=torch.float32)
    total: Tensor | None = None
    for first in range(0, len(starts), batch_size):
        places = [
            tuple(slice(n, n + one) for n, one in zip(start, size, strict=True))
            for start in starts[first : first + batch_size]
        ]
        parts = [image[(slice(None), slice(None), *place)] for place in places]
        answers = network(in_layout(torch.cat(parts))).float()
        if total is None:
            total = answers.new_zeros(1, answers.shape[1], *image.shape[2:])
        for place, answer in zip(places, answers, strict=True):
            total[0][(slice(None), *place)] += weight * answer
            weights[place] += weight
    return torch.as_tensor(total).div_(weights)


def window_starts(size: int, window: int, overlap: float) -> list[int]:
    """Give where windows start along an axis, evenly over it, neighbours overlapping by this part at least.

    Examples
    --------
    >>> window_starts(10, 4, 0.5)
    [0, 2, 4, 6]
    >>> window_starts(4, 4, 0.5)
    [0]
    """
    if size <= window:
        return [0]
    count = math.ceil((size - window) / max(1.0, window * (1 - overlap)) - 1e-9) + 1
    return [round(i * (size - window) / max(1, count - 1)) for i in range(count)]


def gaussian_weight(size: Sequence[int]) -> Tensor:
    """Give the weight of every voxel of a window, largest in the middle, shape `size`."""
    weight = torch.ones(())
    for n in size:
        where = torch.arange(n) - (n - 1) / 2
        along = torch.exp(-0.5 * (where / (n * GAUSSIAN_SIGMA)) ** 2)
        weight = weight[..., None] * along
    return weight.clamp(min=LEAST_WEIGHT)
