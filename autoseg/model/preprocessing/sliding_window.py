"""A network run over more than it sees at once, in overlapping windows, in 2-D and 3-D.

Windows go along the first axis row by row, and what no later row touches is given away, so that a whole volume's
logits are never held.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import product

import torch
from torch import Tensor

from autoseg.model.device import in_layout

# Standard deviation of a window's weight as a part of its size: as nnU-Net (Isensee et al. 2021) has it.
GAUSSIAN_SIGMA = 1 / 8
# The least weight, so that a voxel seen in one corner only is not lost to rounding.
LEAST_WEIGHT = 1e-3
# Logits given away at once, at most, but one plane at least.
AT_ONCE = 2**22
# Tiles of a slice share this part of their width with the next one.
TILE_OVERLAP = 0.25


def run_in_windows(
    network: Callable[[Tensor], Tensor],
    image: Tensor,
    size: Sequence[int],
    *,
    overlap: float,
    weight: Tensor | None = None,
) -> Tensor:
    """Run a network over larger images in windows, as `run_by_slabs`, and give the logits whole."""
    found: Tensor | None = None
    for where, logits in run_by_slabs(network, image, size, overlap=overlap, weight=weight):
        if logits.shape[2:] == image.shape[2:]:
            return logits
        if found is None:
            found = logits.new_empty(*logits.shape[:2], *image.shape[2:])
        found[:, :, where] = logits
    return torch.as_tensor(found)


def run_by_slabs(
    network: Callable[[Tensor], Tensor],
    image: Tensor,
    size: Sequence[int],
    *,
    overlap: float,
    weight: Tensor | None = None,
) -> Iterator[tuple[slice, Tensor]]:
    """Run a network over (batch, channels, …) in windows of a size, and give the logits slab by slab.

    A slab is a part of the first axis, one after the other: the float32 mean over the windows, each weighted
    (*size) by `gaussian_weight` or as given. Neighbours share this part of a window at least; no image is smaller
    than one.
    """
    first, *others = (window_starts(n, one, overlap) for n, one in zip(image.shape[2:], size, strict=True))
    depth, across = size[0], size[1:]
    weight = (gaussian_weight(size) if weight is None else weight).to(image.device)
    weights = image.new_zeros((depth, *image.shape[3:]), dtype=torch.float32)
    total: Tensor | None = None
    for start, following in zip(first, [*first[1:], first[-1] + depth], strict=True):
        for corner in product(*others):
            inner = tuple(slice(n, n + one) for n, one in zip(corner, across, strict=True))
            place = (slice(None), slice(None), slice(None), *inner)
            answer = network(in_layout(image[:, :, start : start + depth][place])).float()
            if total is None:
                total = answer.new_zeros(*answer.shape[:2], *weights.shape)
            total[place] += weight * answer
            weights[(slice(None), *inner)] += weight
        done, sums = following - start, torch.as_tensor(total)
        step = max(1, AT_ONCE // sums[:, :, 0].numel())
        for low in range(0, done, step):
            part = slice(low, min(low + step, done))
            yield slice(start + part.start, start + part.stop), sums[:, :, part] / weights[part]
        _move_on(sums, 2, done)
        _move_on(weights, 0, done)


def _move_on(sums: Tensor, axis: int, done: int) -> None:
    """Bring what is not done to the front, and let zeros follow it."""
    left = sums.shape[axis] - done
    for plane in range(left):
        sums.select(axis, plane).copy_(sums.select(axis, plane + done))
    sums.narrow(axis, left, done).zero_()


def run_in_tiles(network: Callable[[Tensor], Tensor], frames: Tensor, tile: tuple[int, int] | None) -> Tensor:
    """Run a network that was trained on crops over larger frames, in overlapping tiles of the crop's size.

    Seen whole, a frame has other means and deviations than a crop, and to these the network's instance
    normalisation is sensitive.
    """
    if tile is None:
        return network(frames)
    return run_in_windows(network, frames, tile, overlap=TILE_OVERLAP, weight=hat_weight(tile))


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


def hat_weight(size: Sequence[int]) -> Tensor:
    """Give the weight of every pixel of a window, falling evenly from the middle to the edges, shape `size`."""
    weight = torch.ones(())
    for n in size:
        where = (2 * torch.arange(n) + 1) / n - 1
        weight = weight[..., None] * (1 - where.abs())
    return weight
