"""Slices with their neighbours as further channels ("2.5-D"): the order of the channels, and the ends of a stack.

For every neighbour from the k-th before to the k-th behind come all channels of the image, so those of the slice
itself stand in the middle. Where a stack ends, its last slice stands in for those that are not there; a slice of
another image never does. No slice is stored twice: neighbours are gathered batch by batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor

from autoseg.model.settings.settings import PreprocessSettings


def network_channels(channels: int, neighbours: int) -> int:
    """Give the number of channels that a network sees of images with so many channels.

    Examples
    --------
    >>> network_channels(2, 1), network_channels(1, 0)
    (6, 1)
    """
    return channels * (2 * neighbours + 1)


def own_channel(channels: int, neighbours: int) -> int:
    """Give the place among the network's channels of the first channel of the slice itself."""
    return channels * neighbours


def neighbour_indices(chosen: Tensor, ends: Tensor, neighbours: int) -> Tensor:
    """Give which slices the network sees for each chosen one, shape (n, 2 neighbours + 1).

    `ends` (n or 1, 2) are the places of the first and the last slice of the stack in which each lies.

    Examples
    --------
    >>> neighbour_indices(torch.tensor([3, 5]), torch.tensor([[3, 5]]), 1).tolist()
    [[3, 3, 4], [4, 5, 5]]
    """
    steps = torch.arange(-neighbours, neighbours + 1, device=chosen.device)
    return (chosen[:, None] + steps).clamp(ends[:, :1], ends[:, 1:])


class Rows(Protocol):
    """A tensor, or what gives the same where it is asked for some of its rows."""

    def __getitem__(self, chosen: Tensor, /) -> Tensor: ...


def gather_slices(slices: Rows, chosen: Tensor, ends: Tensor, neighbours: int) -> Tensor:
    """Give the chosen of (all, channels, rows, columns) slices with their neighbours as channels."""
    if neighbours == 0:
        return slices[chosen]
    return slices[neighbour_indices(chosen, ends, neighbours)].flatten(1, 2)


def plan_neighbours(settings: PreprocessSettings, slice_counts: Sequence[int]) -> PreprocessSettings:
    """Give the settings with as many neighbours as training can see: none if every image is a single slice.

    A network that had met each slice only beside itself would be led astray by a new patient's true neighbours.
    """
    if settings.neighbours and all(count == 1 for count in slice_counts):
        return replace(settings, neighbours=0)
    return settings


def neighbours_note(slice_counts: Sequence[int], neighbours: int) -> str:
    """Say in a sentence where neighbours are wanted and images have none; "" where there is nothing to say.

    Examples
    --------
    >>> neighbours_note([1, 1], 1)
    'All 2 images are single slices, so no slice has neighbours to be seen with it: training leaves them out.'
    >>> neighbours_note([12, 1], 1)
    '1 of 2 images is a single slice: there the slice itself stands in for its neighbours.'
    """
    alone = sum(count == 1 for count in slice_counts)
    if neighbours == 0 or alone == 0:
        return ""
    if alone == len(slice_counts):
        whose = "The only image is a single slice" if alone == 1 else f"All {alone} images are single slices"
        return f"{whose}, so no slice has neighbours to be seen with it: training leaves them out."
    what = "is a single slice" if alone == 1 else "are single slices"
    return f"{alone} of {len(slice_counts)} images {what}: there the slice itself stands in for its neighbours."
