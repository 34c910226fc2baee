"""The U-Net: a contracting and an expanding path with the same levels, in 2-D and 3-D.

Ronneberger, Fischer and Brox 2015, with the changes that nnU-Net (Isensee et al. 2021) found robust: padded
convolutions, instance normalisation, leaky ReLU, strided convolutions down and transposed ones up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from math import lcm, prod

import torch
from torch import Tensor, nn

from autoseg.errors import SettingsError
from autoseg.model.networks.layers import Parts, Steps, initialise
from autoseg.model.networks.outputs import Outputs
from autoseg.model.settings.settings import NetworkSettings

STANDARD_FILTERS = (16, 32, 64, 128, 256, 256)


def build(settings: NetworkSettings, *, in_channels: int, out_channels: int, spatial_dims: int) -> nn.Module:
    """Build a U-Net."""
    return UNet(
        settings,
        in_channels=in_channels,
        out_channels=out_channels,
        spatial_dims=spatial_dims,
        strides=settings.strides,
    )


def stride(filters: Sequence[int]) -> int:
    """Give the number of which the sizes of what it sees must be multiples."""
    return int(2 ** (len(filters) - 1))


class PlainLevel(nn.Sequential):
    """Two convolutions over 3 pixels a side, each with normalisation and activation; the first may be strided."""

    def __init__(self, before: int, after: int, parts: Parts, *, stride: Steps = 1) -> None:
        layers: list[nn.Module] = []
        for channels, steps in ((before, stride), (after, 1)):
            layers.append(parts.convolution(channels, after, stride=steps))
            layers.append(parts.normalisation(after))
            layers += parts.dropouts()
        super().__init__(*layers)


class UNet(nn.Module):
    """Segment images with a contracting and an expanding path of the same levels.

    Parameters
    ----------
    settings : NetworkSettings
        With filters, the full-size level's first. With `deep_supervision` the network has further heads, which
        answer at coarser levels while it learns, all but the two coarsest where there are enough; prediction does
        not use them.
    in_channels, out_channels : int
        Channels of the image; structures plus one for the background.
    spatial_dims : {2, 3}
    strides : sequence of int or of tuples of int, optional
        By how much the size is divided from each level to the next, one fewer than filters; a tuple gives it for
        each axis. None: by 2.
    level : callable
        Builds a level's convolutions from the channels before and after, the parts and the stride.

    Raises
    ------
    SettingsError
        If the strides do not fit the filters or the axes, or there are too few levels for deep supervision.
    """

    def __init__(
        self,
        settings: NetworkSettings,
        *,
        in_channels: int,
        out_channels: int,
        spatial_dims: int = 2,
        strides: Sequence[Steps] | None = None,
        level: Callable[..., nn.Module] = PlainLevel,
    ) -> None:
        super().__init__()
        filters = settings.filters or STANDARD_FILTERS
        parts = Parts(spatial_dims, settings.norm, settings.dropout or 0.0)
        steps = _steps_of(strides, len(filters), spatial_dims)
        self.axis_strides = tuple(prod(along) for along in zip(*steps, strict=True))
        self.stride = lcm(*self.axis_strides)
        self.contraction = nn.ModuleList(
            level(before, after, parts, stride=step)
            for (before, after), step in zip(pairwise([in_channels, *filters]), [1, *steps], strict=True)
        )
        upward = list(pairwise(filters[::-1]))
        self.upsampling = nn.ModuleList(
            parts.upsampling(below, here, step) for (below, here), step in zip(upward, steps[::-1], strict=True)
        )
        self.expansion = nn.ModuleList(level(2 * here, here, parts) for _, here in upward)
        self.tail = parts.convolution(filters[0], out_channels, size=1, bias=True)
        self.apply(initialise)
        coarser = filters[1 : 1 + supervised_levels(len(filters))] if settings.deep_supervision else ()
        if coarser:  # made last, so that without them nothing changes, not even the random numbers
            self.heads = nn.ModuleList(parts.convolution(here, out_channels, size=1, bias=True) for here in coarser)
            self.heads.apply(initialise)

    def forward(self, image: Tensor) -> Tensor:
        """Take (batch, in_channels, [slices,] rows, columns) to logits (batch, out_channels, …) of that size."""
        finest = deque(self._expanded(image), maxlen=1).pop()  # the coarser ones need not be kept
        return self.tail(finest)

    def learn(self, images: Tensor, labels: Tensor, drawn: Tensor) -> Outputs:
        """Answer at every level that has a head; each counts half as much as the next finer one (nnU-Net)."""
        if not hasattr(self, "heads"):
            return Outputs(self(images))
        finest, *coarser = list(self._expanded(images))[::-1]
        others = tuple(head(features) for head, features in zip(self.heads, coarser, strict=False))
        shares = [0.5**index for index in range(1 + len(others))]
        return Outputs(self.tail(finest), others, tuple(share / sum(shares) for share in shares))

    def named_parts(self) -> dict[str, tuple[str, ...]]:
        """As `autoseg.model.networks.parts_of`: the bottleneck is the coarsest level."""
        return {
            "contraction": ("contraction",),
            "bottleneck": (f"contraction.{len(self.contraction) - 1}",),
            "expansion": ("upsampling", "expansion"),
            "tail": ("tail", "heads"),
        }

    def _expanded(self, image: Tensor) -> Iterator[Tensor]:
        """Give the features of every level of the expanding path, the coarsest first."""
        features, passed_on = image, []
        for level in self.contraction:
            features = level(features)
            passed_on.append(features)
        passed_on.pop()
        for upsample, level in zip(self.upsampling, self.expansion, strict=True):
            features = level(torch.cat([upsample(features), passed_on.pop()], dim=1))
            yield features


def supervised_levels(levels: int) -> int:
    """Give how many coarser levels answer under deep supervision: all but the two coarsest, but at least one.

    Examples
    --------
    >>> supervised_levels(6), supervised_levels(3)
    (3, 1)
    """
    if levels < 3:
        raise SettingsError(
            f"Deep supervision needs 3 levels or more, and filters has {levels}. Give more, or switch it off."
        )
    return max(1, levels - 3)


def _steps_of(strides: Sequence[Steps] | None, levels: int, spatial_dims: int) -> list[tuple[int, ...]]:
    """Give the step along each axis from each level to the next."""
    given = [2] * (levels - 1) if strides is None else strides
    steps = [(step,) * spatial_dims if isinstance(step, int) else tuple(step) for step in given]
    if len(steps) != levels - 1 or any(len(step) != spatial_dims or min(step) < 1 for step in steps):
        raise SettingsError(
            f"strides is {given}; give {levels - 1}, one from each of the {levels} levels to the next, each a "
            f"number or {spatial_dims} numbers of 1 or more."
        )
    return steps
