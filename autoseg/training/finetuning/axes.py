"""Which axes of a network's weights belong to the image's channels and to the classes, found by building it."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from autoseg.model.networks import build_network
from autoseg.model.settings.settings import NetworkSettings


@dataclass(frozen=True)
class Axis:
    """An axis of a tensor whose size is `channels` × image channels + `classes` × classes + `rest`.

    Where it has both, the classes come first, as the pyramid's second stage sees them. A `rest` of −1 leaves out
    the background.
    """

    axis: int
    channels: int
    classes: int
    rest: int

    def size(self, channels: int, classes: int) -> int:
        """Give the axis's size for so many channels and classes."""
        return self.channels * channels + self.classes * classes + self.rest


def changing_axes(settings: NetworkSettings, *, spatial_dims: int) -> dict[str, tuple[Axis, ...]]:
    """Find the axes of each tensor of a network that depend on the image's channels and on the classes.

    Nothing is computed: networks are built without memory, of different numbers of both, and their sizes compared.

    Returns
    -------
    dict of tuple of Axis
        By the tensor's name in `state_dict`; those without such an axis are left out.
    """
    few = (2, 3)
    at_few, more_channels, more_classes = (
        _shapes(settings, channels, classes, spatial_dims) for channels, classes in (few, (3, 3), (2, 4))
    )
    found = {}
    for name, shape in at_few.items():
        axes = []
        for axis, size in enumerate(shape):
            by_channels, by_classes = more_channels[name][axis] - size, more_classes[name][axis] - size
            if by_channels or by_classes:
                axes.append(Axis(axis, by_channels, by_classes, size - by_channels * few[0] - by_classes * few[1]))
        if axes:
            found[name] = tuple(axes)
    return found


def _shapes(settings: NetworkSettings, channels: int, classes: int, dims: int) -> dict[str, torch.Size]:
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        network = build_network(settings, in_channels=channels, out_channels=classes, spatial_dims=dims)
    return {name: value.shape for name, value in network.state_dict().items()}
