"""The shallow U-Net: one pooling step, as in the Spinal Cord Toolbox's network for volumes of the cord.

Gros et al., NeuroImage 2019, whose second stage is the 3-D U-Net of Çiçek et al. 2016 with two stages: convolutions
over 3 pixels a side, batch normalisation and ReLU with 24 and 48 feature channels, the largest of 2 × 2 × 2 voxels,
48 and 96 channels, nearest upsampling, one concatenation, and 48 and 48 channels. With one channel and one output
it has 468,193 numbers to learn; that one output was a sigmoid's. Ours has a class for the background as well, and a
softmax over both: 49 numbers more, and what it can answer is the same.
"""

from __future__ import annotations

from math import lcm

import torch
from torch import Tensor, nn
from torch.nn import functional

from autoseg.errors import SettingsError
from autoseg.model.networks.layers import Parts, check_filters, initialise
from autoseg.model.settings.settings import PARTS, NetworkSettings

# Of each convolution in its order: two before the pooling, two after it, two after the concatenation.
STANDARD_FILTERS = (24, 48, 48, 96, 48, 48)
POOLS = {2: functional.max_pool2d, 3: functional.max_pool3d}


class Shallow(nn.Module):
    """Segment images with two stages and one concatenation.

    `filters` are those of each convolution in its order; `strides` has one tuple, by how much the pooling divides
    the size along each axis.
    """

    def __init__(
        self, settings: NetworkSettings, *, in_channels: int, out_channels: int, spatial_dims: int = 2
    ) -> None:
        super().__init__()
        needs = "the shallow U-Net needs 6 numbers, one for each convolution"
        first, second, third, fourth, fifth, sixth = check_filters(settings, STANDARD_FILTERS, needs)
        steps = ((2,) * spatial_dims,) if settings.strides is None else settings.strides
        if len(steps) != 1 or len(steps[0]) != spatial_dims:
            raise SettingsError(
                f"strides is {settings.strides}; the shallow U-Net divides the size once: give one tuple of "
                f"{spatial_dims} numbers, or None."
            )
        parts = Parts(spatial_dims, "batch", settings.dropout or 0.0)
        self.axis_strides = steps[0]
        self.stride = lcm(*self.axis_strides)
        self.contraction = _two_convolutions(in_channels, first, second, parts)
        self.bottleneck = _two_convolutions(second, third, fourth, parts)
        self.expansion = _two_convolutions(fourth + second, fifth, sixth, parts)
        self.tail = parts.convolution(sixth, out_channels, size=1, bias=True)
        self.pool = POOLS[parts.spatial_dims]
        self.apply(initialise)

    def forward(self, image: Tensor) -> Tensor:
        """Take (batch, in_channels, [slices,] rows, columns) to logits (batch, out_channels, …) of that size."""
        passed_on = self.contraction(image)
        deep = self.bottleneck(self.pool(passed_on, self.axis_strides))
        larger = functional.interpolate(deep, scale_factor=[float(n) for n in self.axis_strides], mode="nearest")
        return self.tail(self.expansion(torch.cat([larger, passed_on], dim=1)))

    def named_parts(self) -> dict[str, tuple[str, ...]]:
        """As `autoseg.model.networks.parts_of`."""
        return {part: (part,) for part in PARTS}


def _two_convolutions(before: int, between: int, after: int, parts: Parts) -> nn.Sequential:
    """Give two convolutions over 3 pixels a side, each with batch normalisation and ReLU."""
    layers: list[nn.Module] = []
    for channels, width in ((before, between), (between, after)):
        # With a bias, which the normalisation takes out again: as published.
        layers.append(parts.convolution(channels, width, bias=True))
        layers.append(parts.normalisation(width, slope=0.0))
        layers += parts.dropouts()
    return nn.Sequential(*layers)
