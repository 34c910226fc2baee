"""Features of an image: a convolutional backbone, and the pixel decoder with deformable attention."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from autoseg.model.networks.layers import Parts, initialise
from autoseg.model.networks.maskdino.attention import DeformableAttention, FeedForward, Sizes, sine_positions
from autoseg.model.networks.unet import PlainStage

SCALES, HEADS, POINTS = 3, 8, 4


@dataclass(frozen=True, eq=False)
class Memory:
    """What is known of an image.

    `tokens` (batch, tokens, width) of scales with these `sizes` (rows, columns) one after the other, their
    `middles` (tokens, 2) in parts of the frame, the `scale` (tokens,) of each, and `pixels` (batch, depth, rows,
    columns), the features of every pixel.
    """

    tokens: Tensor
    sizes: Sizes
    middles: Tensor
    scale: Tensor
    pixels: Tensor


class Encoder(nn.Module):
    """Backbone, deformable-attention layers over its three coarsest stages, and the way back up to every pixel.

    Published with pixel features at a quarter of the size, for photographs of 1024 pixels. A ring that is 3 pixels
    thick would be lost there, so the fusion goes on to the full size.
    """

    def __init__(
        self, in_channels: int, filters: Sequence[int], *, width: int, depth: int, layers: int, dropout: float
    ) -> None:
        super().__init__()
        parts = Parts(dropout=dropout)
        self.backbone = nn.ModuleList(
            PlainStage(before, after, parts, stride=1 if index == 0 else 2)
            for index, (before, after) in enumerate(pairwise([in_channels, *filters]))
        )
        # Over groups of channels: the coarsest scale of a small image may be a single pixel.
        self.inward = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels, width, kernel_size=1), nn.GroupNorm(8, width))
            for channels in filters[-SCALES:]
        )
        self.level_features = nn.Parameter(torch.empty(SCALES, width))
        nn.init.normal_(self.level_features, std=0.02)
        self.layers = nn.ModuleList(EncoderLayer(width, dropout=dropout) for _ in range(layers))
        finest = len(filters) - SCALES
        upward = list(pairwise([width, *filters[:finest][::-1]]))
        self.upsampling = nn.ModuleList(
            nn.ConvTranspose2d(below, here, kernel_size=2, stride=2, bias=False) for below, here in upward
        )
        self.fusion = nn.ModuleList(PlainStage(2 * here, here, parts) for _, here in upward)
        self.outward = nn.Conv2d(filters[0] if upward else width, depth, kernel_size=1)
        self.apply(initialise)

    def forward(self, images: Tensor) -> Memory:
        """Take (batch, in_channels, rows, columns) to what is known of the images."""
        features, passed_on = images, []
        for stage in self.backbone:
            features = stage(features)
            passed_on.append(features)
        coarse = passed_on[-SCALES:]
        sizes = [(scale.shape[2], scale.shape[3]) for scale in coarse]
        tokens = torch.cat(
            [inward(scale).flatten(2).mT for inward, scale in zip(self.inward, coarse, strict=True)], dim=1
        )
        middles, scale = token_places(sizes, images.device)
        where = sine_positions(middles, tokens.shape[2] // 2) + self.level_features[scale]
        reference = middles.expand(len(images), -1, -1)
        for layer in self.layers:
            tokens = layer(tokens, where, reference, sizes)
        rows, columns = sizes[0]
        features = tokens[:, : rows * columns].mT.unflatten(2, sizes[0])
        finer = passed_on[:-SCALES][::-1]
        for upsample, fuse, skipped in zip(self.upsampling, self.fusion, finer, strict=True):
            features = fuse(torch.cat([upsample(features), skipped], dim=1))
        return Memory(tokens, sizes, middles, scale, self.outward(features))


class EncoderLayer(nn.Module):
    """Each token looks around its own place on every scale, then goes through two layers by itself."""

    def __init__(self, width: int, *, dropout: float) -> None:
        super().__init__()
        self.attention = DeformableAttention(width, heads=HEADS, scales=SCALES, points=POINTS)
        self.forward_layers = FeedForward(width, dropout=dropout)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, where: Tensor, reference: Tensor, sizes: Sizes) -> Tensor:
        """Take tokens (batch, tokens, width) with their positions (tokens, width) to the same shape."""
        looked = self.attention(tokens + where, reference, tokens, sizes)
        tokens = self.norms[0](tokens + self.dropout(looked))
        return self.norms[1](tokens + self.dropout(self.forward_layers(tokens)))


def token_places(sizes: Sizes, device: torch.device) -> tuple[Tensor, Tensor]:
    """Give the middle of each token (tokens, 2), x and y in parts of the frame, and its scale (tokens,)."""
    middles, scales = [], []
    for index, (rows, columns) in enumerate(sizes):
        y = (torch.arange(rows, device=device) + 0.5) / rows
        x = (torch.arange(columns, device=device) + 0.5) / columns
        middles.append(torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=2).flatten(0, 1))
        scales.append(torch.full((rows * columns,), index, device=device))
    return torch.cat(middles), torch.cat(scales)
