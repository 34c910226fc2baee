"""U-Net and ResUNet: a contracting and an expanding path with the same stages, in 2-D and 3-D.

Ronneberger, Fischer and Brox 2015, with the changes that nnU-Net (Isensee et al. 2021) found robust: padded
convolutions, instance normalisation, leaky ReLU, strided convolutions down and transposed ones up. The ResUNet adds
what came into each stage to what its two convolutions make of it (He et al. 2016).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from itertools import pairwise
from math import lcm, prod

import torch
from torch import Tensor, nn

from autoseg.errors import SettingsError
from autoseg.model.networks.layers import Parts, Steps, initialise
from autoseg.model.networks.outputs import Outputs
from autoseg.model.settings.settings import NetworkSettings

STANDARD_FILTERS = (16, 32, 64, 128, 256, 256)


class PlainStage(nn.Sequential):
    """Two convolutions over 3 pixels a side, each with normalisation and activation; the first may be strided."""

    def __init__(self, before: int, after: int, parts: Parts, *, stride: Steps = 1) -> None:
        layers: list[nn.Module] = []
        for channels, steps in ((before, stride), (after, 1)):
            layers.append(parts.convolution(channels, after, stride=steps))
            layers.append(parts.normalisation(after))
            layers += parts.dropouts()
        super().__init__(*layers)


class ResidualStage(nn.Module):
    """Two convolutions over 3 pixels a side and a shortcut around both, added before the last activation.

    Where the size or the number of channels changes, what came in goes through a `Projection`.
    """

    def __init__(self, before: int, after: int, parts: Parts, *, stride: Steps = 1) -> None:
        super().__init__()
        self.first = nn.Sequential(
            parts.convolution(before, after, stride=stride), parts.normalisation(after), *parts.dropouts()
        )
        self.second = parts.convolution(after, after)
        self.norm = parts.normalisation(after)
        self.dropout = nn.Sequential(*parts.dropouts())
        steps = (stride,) * parts.spatial_dims if isinstance(stride, int) else tuple(stride)
        changes = before != after or any(step > 1 for step in steps)
        self.projection = Projection(before, after, parts, steps=steps) if changes else nn.Identity()

    def forward(self, features: Tensor) -> Tensor:
        """Take (batch, before, …) to (batch, after, …), each size divided by the stride."""
        return self.dropout(self.norm(self.second(self.first(features)), self.projection(features)))


class Projection(nn.Sequential):
    """A strided convolution of one pixel with normalisation.

    The pixels that the stride passes over are left out beforehand, because oneDNN's strided one writes beyond its
    memory where there are fewer than 16 channels (its issue 6035).
    """

    def __init__(self, before: int, after: int, parts: Parts, *, steps: tuple[int, ...]) -> None:
        super().__init__(parts.convolution(before, after, size=1), parts.normalisation(after, slope=1.0))
        every = slice(None)
        self.kept = (every, every, *(slice(None, None, step) for step in steps))

    def forward(self, features: Tensor) -> Tensor:
        """Take (batch, before, …) to (batch, after, …), each size divided by the stride."""
        return super().forward(features[self.kept])


class Expanding(nn.Module):
    """The expanding path of a U-Net, whatever contracts: each step up sees what was `contracted` to its size."""

    upsampling: nn.ModuleList
    expansion: nn.ModuleList
    tail: nn.Module
    heads: nn.ModuleList
    contraction: nn.ModuleList

    def contracted(self, image: Tensor) -> list[Tensor]:
        """Give the features of every size, the full one first."""
        raise NotImplementedError

    def forward(self, image: Tensor) -> Tensor:
        """Take (batch, in_channels, [slices,] rows, columns) to logits (batch, out_channels, …) of that size."""
        finest = deque(self._expanded(image), maxlen=1).pop()  # the coarser ones need not be kept
        return self.tail(finest)

    def learn(self, images: Tensor, labels: Tensor, drawn: Tensor) -> Outputs:
        """Answer at every stage that has a head; each counts half as much as the next finer one (nnU-Net)."""
        if not hasattr(self, "heads"):
            return Outputs(self(images))
        finest, *coarser = list(self._expanded(images))[::-1]
        others = tuple(head(features) for head, features in zip(self.heads, coarser, strict=False))
        shares = [0.5**index for index in range(1 + len(others))]
        return Outputs(self.tail(finest), others, tuple(share / sum(shares) for share in shares))

    def named_parts(self) -> dict[str, tuple[str, ...]]:
        """As `autoseg.model.networks.parts_of`: the bottleneck is the coarsest stage."""
        return {
            "contraction": ("contraction",),
            "bottleneck": (f"contraction.{len(self.contraction) - 1}",),
            "expansion": ("upsampling", "expansion"),
            "tail": ("tail", "heads"),
        }

    def _expanded(self, image: Tensor) -> Iterator[Tensor]:
        """Give the features of every stage of the expanding path, the coarsest first."""
        *passed_on, features = self.contracted(image)
        for upsample, stage in zip(self.upsampling, self.expansion, strict=True):
            features = stage(torch.cat([upsample(features), passed_on.pop()], dim=1))
            yield features


class UNet(Expanding):
    """Segment images with a contracting and an expanding path of the same stages.

    `filters` are those of the full-size stage first; `strides` by how much the size is divided along each axis from
    each stage to the next, one fewer than filters (None: by 2). With `deep_supervision` there are further heads,
    which answer at coarser stages while it learns; prediction does not use them.
    """

    def __init__(
        self,
        settings: NetworkSettings,
        *,
        in_channels: int,
        out_channels: int,
        spatial_dims: int = 2,
        stage: Callable[..., nn.Module] = PlainStage,
    ) -> None:
        super().__init__()
        filters = settings.filters or STANDARD_FILTERS
        steps = [(2,) * spatial_dims] * (len(filters) - 1) if settings.strides is None else settings.strides
        if len(steps) != len(filters) - 1 or any(len(step) != spatial_dims for step in steps):
            raise SettingsError(
                f"strides is {steps}; give {len(filters) - 1}, one from each of the {len(filters)} stages to the "
                f"next, each of {spatial_dims} numbers."
            )
        parts = Parts(spatial_dims, settings.norm, settings.dropout or 0.0)
        self.axis_strides = tuple(prod(along) for along in zip(*steps, strict=True))
        self.stride = lcm(*self.axis_strides)
        self.contraction = nn.ModuleList(
            stage(before, after, parts, stride=step)
            for (before, after), step in zip(pairwise([in_channels, *filters]), [1, *steps], strict=True)
        )
        upward = list(pairwise(filters[::-1]))
        self.upsampling = nn.ModuleList(
            parts.upsampling(below, here, step) for (below, here), step in zip(upward, steps[::-1], strict=True)
        )
        self.expansion = nn.ModuleList(stage(2 * here, here, parts) for _, here in upward)
        self.tail = parts.convolution(filters[0], out_channels, size=1, bias=True)
        self.apply(initialise)
        coarser = filters[1 : 1 + supervised_stages(len(filters))] if settings.deep_supervision else ()
        if coarser:  # made last, so that without them nothing changes, not even the random numbers
            self.heads = nn.ModuleList(parts.convolution(here, out_channels, size=1, bias=True) for here in coarser)
            self.heads.apply(initialise)

    def contracted(self, image: Tensor) -> list[Tensor]:
        """Give the features of every stage, the full size first."""
        found, features = [], image
        for stage in self.contraction:
            features = stage(features)
            found.append(features)
        return found


def supervised_stages(stages: int) -> int:
    """Give how many coarser stages answer under deep supervision: all but the two coarsest, but at least one.

    Examples
    --------
    >>> supervised_stages(6), supervised_stages(3)
    (3, 1)
    """
    if stages < 3:
        raise SettingsError(
            f"Deep supervision needs 3 stages or more, and filters has {stages}. Give more, or switch it off."
        )
    return max(1, stages - 3)
