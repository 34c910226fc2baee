"""Multi-scale deformable attention in plain torch (Zhu et al., Deformable DETR, arXiv 2010.04159)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

Sizes = Sequence[tuple[int, int]]


def sample_scales(values: Tensor, places: Tensor, weights: Tensor, sizes: Sizes) -> Tensor:
    """Add up what lies at some places of several maps, each with its weight: (batch, queries, heads · depth).

    `values` (batch, tokens, heads, depth) are the maps one after the other, each row by row, `sizes` their (rows,
    columns). `places` (batch, queries, heads, scales, points, 2) are x and y in parts of the frame, between pixels'
    middles interpolated and 0 outside; `weights` have the same shape without the last axis.
    """
    batch, _, heads, depth = values.shape
    queries, scales, points = places.shape[1], places.shape[3], places.shape[4]
    maps = values.float().permute(0, 2, 3, 1).flatten(0, 1).split([r * c for r, c in sizes], dim=2)
    grids = (2 * places - 1).permute(3, 0, 2, 1, 4, 5).reshape(scales, batch * heads, queries, points, 2)
    shares = weights.permute(3, 0, 2, 1, 4).reshape(scales, batch * heads, 1, queries, points)
    total = values.new_zeros((), dtype=torch.float32)
    for scale, grid, share, size in zip(maps, grids, shares, sizes, strict=True):
        seen = functional.grid_sample(scale.unflatten(2, size), grid, padding_mode="zeros", align_corners=False)
        total = total + (seen * share).sum(3)
    return total.view(batch, heads, depth, queries).permute(0, 3, 1, 2).reshape(batch, queries, heads * depth)


class DeformableAttention(nn.Module):
    """Let each query look at a few places around its own on every scale, where and how much being learnt.

    Each head looks at so many `points` of each scale; `width`, of a query and of a token, is a multiple of `heads`.
    """

    def __init__(self, width: int, *, heads: int, scales: int, points: int) -> None:
        super().__init__()
        self.shape = (heads, scales, points)
        self.offsets = nn.Linear(width, 2 * heads * scales * points)
        self.shares = nn.Linear(width, heads * scales * points)
        self.values = nn.Linear(width, width)
        self.result = nn.Linear(width, width)
        # At first each head looks in a direction of its own, and each point a step farther than the one before.
        angles = torch.arange(heads) * (2 * math.pi / heads)
        away = torch.stack([angles.cos(), angles.sin()], dim=1)
        away = away / away.abs().amax(1, keepdim=True)
        steps = torch.arange(1, points + 1)[:, None] * away[:, None, None]
        for layer in (self.offsets, self.shares):
            nearly_zero(layer)
        with torch.no_grad():
            self.offsets.bias.copy_(steps.expand(heads, scales, points, 2).flatten())
        for layer in (self.values, self.result):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, queries: Tensor, reference: Tensor, tokens: Tensor, sizes: Sizes) -> Tensor:
        """Take queries (batch, queries, width) to the same shape; tokens (batch, tokens, width) scale after scale.

        `reference` (batch, queries, 2 or 4) are x and y of middles, from which offsets count in the scale's own
        pixels; or boxes, in which they count in parts of the box.
        """
        heads, _, points = self.shape
        offsets = self.offsets(queries).float().unflatten(2, (*self.shape, 2))
        shares = self.shares(queries).float().unflatten(2, (heads, -1)).softmax(3).unflatten(3, self.shape[1:])
        middles = reference[:, :, None, None, None, :2]
        if reference.shape[2] == 4:
            offsets = offsets * reference[:, :, None, None, None, 2:] / (2 * points)
        else:
            scale = torch.tensor([[columns, rows] for rows, columns in sizes], device=queries.device)
            offsets = offsets / scale[:, None]
        values = self.values(tokens).unflatten(2, (heads, -1))
        return self.result(sample_scales(values, middles + offsets, shares, sizes))


def sine_positions(places: Tensor, width: int) -> Tensor:
    """Write each coordinate (…, n), in parts of the frame, as `width` sines and cosines: (…, n · width)."""
    waves = 2 * math.pi * 10000 ** (-torch.arange(width // 2, device=places.device) * 2 / width)
    phases = places.float()[..., None] * waves * 10
    return torch.cat([phases.sin(), phases.cos()], dim=-1).flatten(-2)


def nearly_zero(layer: nn.Module) -> None:
    """Let a layer answer nearly zero at first, but not quite, or what lies before it would not learn at once."""
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=1e-3)


class FeedForward(nn.Sequential):
    """Two layers on each token by itself."""

    def __init__(self, width: int, *, dropout: float) -> None:
        super().__init__(nn.Linear(width, 4 * width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(4 * width, width))
