"""The multi-scale pyramid: a V-Net on the half-size image tells a second one at full size where to look.

Roth et al. 2018 (arXiv 1806.02237) stacked two such stages for abdominal organs; Dourthe et al. (Spine 2021) made
it two-dimensional for spinal muscles, and so the DICOM workbench published it. A stage is a V-Net (Milletari et
al. 2016) of four depths: 3 × 3 convolutions with PReLU, a shortcut around the convolutions of each, 2 × 2 strided
convolutions between them, wide dilations in the two deepest in place of a fifth, and dropout.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from autoseg.model.networks.layers import check_filters
from autoseg.model.networks.outputs import Outputs
from autoseg.model.settings.settings import NetworkSettings

# A 16th, an 8th, a 4th and a half of the input's size, and the size itself: those of 256 × 256.
STANDARD_FILTERS = (16, 32, 64, 128, 256)
# Of each 3 × 3 convolution at each depth of the encoder, and how many convolutions the decoder has in each.
DILATIONS = ((1,), (1, 1), (1, 2, 4), (3, 4, 5))
DECODED = (1, 2, 3, 3)
LEAST_PROBABILITY = 1e-12


def filters_of(size: int) -> tuple[int, ...]:
    """Give the feature channels that the published network has for an input of that many rows and columns.

    Examples
    --------
    >>> filters_of(320)
    (20, 40, 80, 160, 320)
    """
    return tuple(size // part for part in (16, 8, 4, 2, 1))


class Pyramid(nn.Module):
    """Segment slices at half their size, then at full size with the first answer beside the image.

    `filters` are the feature channels of the four depths, the finest first, and of the first step of the decoder.
    """

    def __init__(
        self, settings: NetworkSettings, *, in_channels: int, out_channels: int, spatial_dims: int = 2
    ) -> None:
        super().__init__()
        filters = check_filters(settings, STANDARD_FILTERS, "the pyramid needs 5 numbers")
        dropout = settings.dropout or 0.0
        self.stride = 16  # three halvings, at half the size
        self.coarse = _Stage(in_channels, out_channels, filters, dropout=dropout, shortcut=True)
        self.fine = _Stage(in_channels + out_channels, out_channels, filters, dropout=dropout, shortcut=False)

    def forward(self, image: Tensor) -> Tensor:
        """Take (batch, in_channels, rows, columns) to logits (batch, out_channels, rows, columns)."""
        return self._stages(image)[1]

    def learn(self, images: Tensor, labels: Tensor, drawn: Tensor) -> Outputs:
        """Answer with both stages, whose losses are added with the same weight.

        As published, the first stage is compared at full size, after its probabilities were enlarged.
        """
        first, logits = self._stages(images)
        return Outputs(logits, others=(first.clamp_min(LEAST_PROBABILITY).log(),), weights=(1.0, 1.0))

    def named_parts(self) -> dict[str, tuple[str, ...]]:
        """As `autoseg.model.networks.parts_of`: of both stages."""
        layers = {
            "contraction": ("encoder", "down"),
            "bottleneck": ("widen", "bottom"),
            "expansion": ("up", "decoder"),
            "tail": ("tail",),
        }
        return {
            part: tuple(f"{stage}.{name}" for stage in ("coarse", "fine") for name in names)
            for part, names in layers.items()
        }

    def _stages(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Give the first stage's probabilities, enlarged, and the second's logits."""
        # The mean of 2 × 2 pixels is what bilinear interpolation gives at half the size.
        answer = self.coarse(functional.avg_pool2d(image, 2)).float().softmax(1)
        answer = functional.interpolate(answer, scale_factor=2.0, mode="bilinear", align_corners=False)
        return answer, self.fine(torch.cat([answer, image.to(answer.dtype)], dim=1))


class _Stage(nn.Module):
    """A V-Net of four depths; with `shortcut` the image is added to its first features."""

    def __init__(
        self, in_channels: int, out_channels: int, filters: Sequence[int], *, dropout: float, shortcut: bool
    ) -> None:
        super().__init__()
        widths, widest = filters[:-1], filters[-1]
        self.shortcut = shortcut
        # torch's own start of the weights: the published one touches 3-D convolutions only.
        self.encoder = nn.ModuleList(
            _convolutions(width if index else in_channels, width, DILATIONS[index])
            for index, width in enumerate(widths)
        )
        self.down = nn.ModuleList(
            _activated(nn.Conv2d(here, below, kernel_size=2, stride=2), below) for here, below in pairwise(widths)
        )
        self.widen = _activated(nn.Conv2d(widths[-1], widest, kernel_size=3, padding=1), widest)
        self.bottom = _convolutions(widths[-1], widest, (1,) * DECODED[-1])
        # Every step up has as many channels as the encoder has below the one it joins.
        self.up, self.decoder = nn.ModuleList(), nn.ModuleList()
        for index in reversed(range(len(widths) - 1)):
            width = filters[index + 1]
            self.up.append(
                _activated(nn.ConvTranspose2d(filters[index + 2], width, kernel_size=2, stride=2), width)
            )
            self.decoder.append(_convolutions(width + filters[index], width, (1,) * DECODED[index]))
        self.dropout = nn.Dropout(dropout)
        self.tail = nn.Conv2d(filters[1], out_channels, kernel_size=1)

    def forward(self, image: Tensor) -> Tensor:
        features = self.encoder[0](image)
        if self.shortcut:
            features = features + image.mean(1, keepdim=True)
        passed_on = [features]
        for down, convolve in zip(self.down, list(self.encoder)[1:], strict=True):
            smaller = down(passed_on[-1])
            passed_on.append(self.dropout(convolve(smaller) + smaller))
        deepest = passed_on.pop()
        features = self.dropout(self.bottom(deepest) + self.widen(deepest))
        for up, convolve in zip(self.up, self.decoder, strict=True):
            larger = up(features)
            features = convolve(torch.cat([larger, passed_on.pop()], dim=1)) + larger
            if passed_on:
                features = self.dropout(features)
        return self.tail(features)


def _convolutions(before: int, after: int, dilations: Sequence[int]) -> nn.Sequential:
    """Give 3 × 3 convolutions of these dilations, each with its activation."""
    layers: list[nn.Module] = []
    for index, dilation in enumerate(dilations):
        channels = after if index else before
        convolution = nn.Conv2d(channels, after, kernel_size=3, padding=dilation, dilation=dilation)
        layers += [convolution, nn.PReLU(after)]
    return nn.Sequential(*layers)


def _activated(convolution: nn.Module, channels: int) -> nn.Sequential:
    return nn.Sequential(convolution, nn.PReLU(channels))
