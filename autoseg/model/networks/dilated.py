"""A small network of dilated convolutions: it sees far with few parameters, and finds where a structure is.

After the first halving the size stays, and each convolution looks twice as far as the one before (Yu and Koltun,
ICLR 2016). Gros et al. (NeuroImage 2019) find the spinal cord's centreline by such a network on axial slices.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from autoseg.errors import SettingsError
from autoseg.model.networks.layers import Parts, initialise
from autoseg.model.settings.settings import NetworkSettings

STANDARD_FILTERS = (16, 16, 32, 32, 32, 32)
# With 24 channels torch 2.13 gives NaN for the gradient of a dilated convolution in bfloat16 on the processor.
MULTIPLE = 16


class DilatedNetwork(nn.Module):
    """Answer at half the size from convolutions that look 1, 2, 4 … pixels far, and enlarge the answer.

    Six of them, of which `filters` has one number each, see about 130 pixels across.
    """

    stride = 2

    def __init__(
        self, settings: NetworkSettings, *, in_channels: int, out_channels: int, spatial_dims: int = 2
    ) -> None:
        super().__init__()
        filters = settings.filters or STANDARD_FILTERS
        if any(channels % MULTIPLE for channels in filters):
            raise SettingsError(f"filters is {filters}; the network {settings.name!r} has multiples of {MULTIPLE}.")
        parts = Parts(2, settings.norm, settings.dropout or 0.0)
        self.levels = nn.ModuleList()  # a name that stands in model files
        for number, (before, after) in enumerate(pairwise([in_channels, *filters])):
            far = 2 ** max(0, number - 1)
            convolution = nn.Conv2d(
                before,
                after,
                kernel_size=3,
                stride=1 if number else 2,
                padding=far,
                dilation=far,
                bias=False,
            )
            self.levels.append(nn.Sequential(convolution, parts.normalisation(after), *parts.dropouts()))
        self.tail = parts.convolution(sum(filters), out_channels, size=1, bias=True)
        self.apply(initialise)

    def forward(self, image: Tensor) -> Tensor:
        """Take (batch, in_channels, rows, columns) to logits (batch, out_channels, rows, columns)."""
        features, seen = image, []
        for level in self.levels:
            features = level(features)
            seen.append(features)
        coarse = self.tail(torch.cat(seen, dim=1))
        return functional.interpolate(coarse, scale_factor=2.0, mode="bilinear", align_corners=False)

    def named_parts(self) -> dict[str, tuple[str, ...]]:
        """As `autoseg.model.networks.parts_of`: what looks nearby contracts, what looks far is the bottleneck."""
        last = len(self.levels) - 1
        return {
            "contraction": ("levels",),
            "bottleneck": (f"levels.{last - 1}",),
            "expansion": (f"levels.{last}",),
            "tail": ("tail",),
        }
