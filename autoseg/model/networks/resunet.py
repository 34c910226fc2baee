"""The ResUNet: a U-Net whose levels are residual blocks, in 2-D and 3-D.

Each level adds what came in to what its two convolutions make of it (He et al. 2016); where the size or the number
of channels changes, what came in goes through a convolution of one pixel with normalisation, in parallel.
"""

from __future__ import annotations

from torch import Tensor, nn

from autoseg.model.networks.layers import Parts, Steps
from autoseg.model.networks.unet import UNet, stride
from autoseg.model.settings.settings import NetworkSettings

__all__ = ["STANDARD_FILTERS", "ResidualLevel", "build", "stride"]

STANDARD_FILTERS = (16, 32, 64, 128, 256, 256)


class ResidualLevel(nn.Module):
    """Two convolutions over 3 pixels a side and a shortcut around both, added before the last activation."""

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


def build(settings: NetworkSettings, *, in_channels: int, out_channels: int, spatial_dims: int) -> nn.Module:
    """Build a ResUNet."""
    return UNet(
        settings,
        in_channels=in_channels,
        out_channels=out_channels,
        spatial_dims=spatial_dims,
        strides=settings.strides,
        level=ResidualLevel,
    )
