"""UNeXt: convolutions where the image is large, tokens mixed by shifted layers where it is small.

Valanarasu and Patel 2022 (arXiv 2203.04967). Three convolutions, each halving the image, then two stages of tokens,
one for each place on the grid: a linear layer sees a place and, since its channels were shifted, its neighbours.
The paper's text names 32, 64 and 128 channels for the convolutions; the 1.47 M parameters that it reports are those
of 16, 32 and 128, which its authors' program has, and which are therefore the standard here.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from autoseg.model.networks.layers import check_filters
from autoseg.model.settings.settings import NetworkSettings

# Three convolutional stages, two of tokens.
STANDARD_FILTERS = (16, 32, 128, 160, 256)
# The channels are shifted in as many groups, by −2 to 2 places.
SHIFTS = (-2, -1, 0, 1, 2)
ROWS, COLUMNS = 1, 2


class UNeXt(nn.Module):
    """Segment slices with convolutions and shifted layers, the paths joined by addition.

    `filters` are those of the three convolutional stages, the finest first, and of the two of tokens.
    """

    def __init__(
        self, settings: NetworkSettings, *, in_channels: int, out_channels: int, spatial_dims: int = 2
    ) -> None:
        super().__init__()
        self.stride = 32  # every stage halves
        first, second, third, fourth, fifth = check_filters(settings, STANDARD_FILTERS, "UNeXt needs 5 numbers")
        dropout = settings.dropout or 0.0
        self.contraction = nn.ModuleList(
            [_Halving(in_channels, first), _Halving(first, second), _Halving(second, third)]
        )
        self.tokens = nn.ModuleList(
            [
                nn.Sequential(_Tokens(third, fourth), _Mixing(fourth, dropout)),
                nn.Sequential(_Tokens(fourth, fifth), _Mixing(fifth, dropout)),
            ]
        )
        self.expansion = nn.ModuleList(
            [_Doubling(fifth, fourth), _Doubling(fourth, third), _Doubling(third, second), _Doubling(second, first)]
        )
        self.mixing = nn.ModuleList([_Mixing(fourth, dropout), _Mixing(third, dropout)])
        self.last = nn.Conv2d(first, first, kernel_size=3, padding=1)
        self.tail = nn.Conv2d(first, out_channels, kernel_size=1)

    def forward(self, image: Tensor) -> Tensor:
        """Take (batch, in_channels, rows, columns) to logits (batch, out_channels, rows, columns)."""
        features, passed_on = image, []
        for stage in [*self.contraction, *self.tokens]:
            features = stage(features)
            passed_on.append(features)
        passed_on.pop()
        mixing = [*self.mixing, nn.Identity(), nn.Identity()]
        for double, mix in zip(self.expansion, mixing, strict=True):
            features = mix(double(features) + passed_on.pop())
        return self.tail(functional.relu(_doubled(self.last(features))))

    def named_parts(self) -> dict[str, tuple[str, ...]]:
        """As `autoseg.model.networks.parts_of`: the bottleneck is both stages of tokens downward."""
        return {
            "contraction": ("contraction",),
            "bottleneck": ("tokens",),
            "expansion": ("expansion", "mixing", "last"),
            "tail": ("tail",),
        }


class _Norm(nn.BatchNorm2d):
    """Batch normalisation; a single pixel, of which no spread is known, is brought to the mean so far."""

    def forward(self, features: Tensor) -> Tensor:
        if self.training and features[:, 0].numel() == 1:
            return functional.batch_norm(
                features, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        return super().forward(features)


class _Halving(nn.Sequential):
    """A 3 × 3 convolution, batch normalisation, the largest of 2 × 2 pixels, and ReLU."""

    def __init__(self, before: int, after: int) -> None:
        convolution = nn.Conv2d(before, after, kernel_size=3, padding=1)
        super().__init__(convolution, _Norm(after), nn.MaxPool2d(2), nn.ReLU(inplace=True))


class _Doubling(nn.Module):
    """A 3 × 3 convolution, batch normalisation, twice the size, and ReLU."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(before, after, kernel_size=3, padding=1)
        self.norm = _Norm(after)

    def forward(self, features: Tensor) -> Tensor:
        return functional.relu(_doubled(self.norm(self.convolution(features))))


class _Tokens(nn.Module):
    """Overlapping patches of 3 × 3 pixels, two apart, each made a token and normalised."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(before, after, kernel_size=3, stride=2, padding=1)
        self.norm = nn.LayerNorm(after)
        nn.init.kaiming_normal_(self.convolution.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, features: Tensor) -> Tensor:
        return _as_image(self.norm(_as_tokens(self.convolution(features))))


class _Mixing(nn.Module):
    """Add to each token what it and its neighbours tell, and normalise.

    The channels are shifted along the columns before the first linear layer, and along the rows before the second;
    between the two a depth-wise convolution tells tokens where they stand.
    """

    def __init__(self, channels: int, dropout: float) -> None:
        super().__init__()
        self.before, self.after = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.across = nn.Linear(channels, channels)
        self.place = nn.Conv2d(channels, channels, kernel_size=3, padding=1, groups=channels)
        self.down = nn.Linear(channels, channels)
        self.dropout = nn.Dropout(dropout)
        for linear in (self.across, self.down):
            nn.init.trunc_normal_(linear.weight, std=0.02)
            nn.init.zeros_(linear.bias)
        nn.init.normal_(self.place.weight, std=(2 / 9) ** 0.5)

    def forward(self, features: Tensor) -> Tensor:
        tokens = _as_tokens(features)
        mixed = self.across(shifted(self.before(tokens), COLUMNS))
        mixed = self.dropout(functional.gelu(_as_tokens(self.place(_as_image(mixed)))))
        mixed = self.dropout(self.down(shifted(mixed, ROWS)))
        return _as_image(self.after(tokens + mixed))


def shifted(tokens: Tensor, axis: int) -> Tensor:
    """Shift five groups of channels by −2, −1, 0, 1 and 2 places along an axis; what comes in from outside is 0.

    `tokens` are (batch, rows, columns, channels).
    """
    most, size = max(SHIFTS), tokens.shape[axis]
    margins = (0, 0, most, most) if axis == COLUMNS else (0, 0, 0, 0, most, most)
    groups = functional.pad(tokens, margins).tensor_split(len(SHIFTS), dim=-1)
    return torch.cat(
        [group.narrow(axis, most - shift, size) for group, shift in zip(groups, SHIFTS, strict=True)], dim=-1
    )


def _as_tokens(features: Tensor) -> Tensor:
    """Put the channels last, which costs nothing where they lie so in memory."""
    return features.permute(0, 2, 3, 1)


def _as_image(tokens: Tensor) -> Tensor:
    return tokens.permute(0, 3, 1, 2)


def _doubled(features: Tensor) -> Tensor:
    return functional.interpolate(features, scale_factor=2.0, mode="bilinear", align_corners=False)
