"""The plain 2-D U-Net with instance normalisation.

Ronneberger, Fischer and Brox 2015, with the changes that nnU-Net (Isensee et al. 2021) found robust: padded
convolutions, instance normalisation, leaky ReLU, strided convolutions down and transposed ones up.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from autoseg.networks.layers import InstanceNormLeakyReLU
from autoseg.settings import NetworkSettings

STANDARD_FILTERS = (16, 32, 64, 128, 256, 256)


def build(settings: NetworkSettings, *, in_channels: int, out_channels: int, spatial_dims: int) -> nn.Module:
    """Build a U-Net."""
    return UNet(in_channels, out_channels, filters=settings.filters or (), dropout=settings.dropout or 0.0)


def stride(filters: Sequence[int]) -> int:
    """Give the number of which the sizes of what it sees must be multiples."""
    return int(2 ** (len(filters) - 1))


class UNet(nn.Module):
    """Segment slices with a contracting and an expanding path of the same levels.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the image; structures plus one for the background.
    filters : sequence of int
        Feature channels of each level, the full-size level first.
    dropout : float
        Probability with which a feature channel is left out while training.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, filters: Sequence[int], dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.stride = stride(filters)
        sizes = [in_channels, *filters]
        self.contraction = nn.ModuleList(
            _Level(before, after, stride=1 if index == 0 else 2, dropout=dropout)
            for index, (before, after) in enumerate(pairwise(sizes))
        )
        upward = list(pairwise(filters[::-1]))
        self.upsampling = nn.ModuleList(
            nn.ConvTranspose2d(below, here, kernel_size=2, stride=2, bias=False) for below, here in upward
        )
        self.expansion = nn.ModuleList(_Level(2 * here, here, stride=1, dropout=dropout) for _, here in upward)
        self.tail = nn.Conv2d(filters[0], out_channels, kernel_size=1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(module.weight, a=0.01)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, image: Tensor) -> Tensor:
        """Take (batch, in_channels, rows, columns) to logits (batch, out_channels, rows, columns)."""
        features, passed_on = image, []
        for level in self.contraction:
            features = level(features)
            passed_on.append(features)
        passed_on.pop()
        for upsample, level in zip(self.upsampling, self.expansion, strict=True):
            features = level(torch.cat([upsample(features), passed_on.pop()], dim=1))
        return self.tail(features)


class _Level(nn.Sequential):
    """Two 3 × 3 convolutions, each with normalisation and activation; the first may halve the size."""

    def __init__(self, before: int, after: int, *, stride: int, dropout: float) -> None:
        layers: list[nn.Module] = []
        for channels, step in ((before, stride), (after, 1)):
            layers.append(nn.Conv2d(channels, after, kernel_size=3, stride=step, padding=1, bias=False))
            layers.append(InstanceNormLeakyReLU(after))
            if dropout:
                layers.append(nn.Dropout2d(dropout))
        super().__init__(*layers)
