"""Mask DINO (Li et al., CVPR 2023, arXiv 2206.02777), small, for slices.

Its `filters` are the feature channels of each stage of the backbone, the full-size stage first, and as the last
number the width of its transformer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from autoseg.errors import SettingsError
from autoseg.model.networks.maskdino.boxes import Targets, find_targets
from autoseg.model.networks.maskdino.decoder import Answers, Decoder, Denoising, mask_logits
from autoseg.model.networks.maskdino.encoder import HEADS, SCALES, Encoder, Memory
from autoseg.model.networks.maskdino.loss import pair_noised, pair_searching, set_loss
from autoseg.model.networks.outputs import Outputs
from autoseg.model.settings.settings import NetworkSettings

STANDARD_FILTERS = (16, 32, 64, 128, 256, 256, 128)
QUERIES, LAYERS, DEPTH = 30, 3, 32
# Queries of denoising, as many as there is room for; at least one group of two a structure.
NOISED = 24
# Of the set loss beside that of the merged logits; with less, queries take longer to part ways.
SET_WEIGHT = 1.0
# No share is quite 0, so that its logarithm is a number and its gradient is not lost.
LEAST = 1e-4


class MaskDINO(nn.Module):
    """Find each structure by queries, each of which answers a class, a box and a mask."""

    def __init__(
        self, settings: NetworkSettings, *, in_channels: int, out_channels: int, spatial_dims: int = 2
    ) -> None:
        super().__init__()
        *filters, width = settings.filters or STANDARD_FILTERS
        if len(filters) < SCALES or width % HEADS:
            raise SettingsError(
                f"filters is {settings.filters}; Mask DINO needs the channels of at least {SCALES} stages and then "
                f"the width of its transformer, a multiple of {HEADS}, such as {STANDARD_FILTERS}."
            )
        structures, dropout = out_channels - 1, settings.dropout or 0.0
        self.stride = int(2 ** (len(filters) - 1))
        self.encoder = Encoder(in_channels, filters, width=width, depth=DEPTH, layers=LAYERS, dropout=dropout)
        self.decoder = Decoder(
            structures,
            width=width,
            depth=DEPTH,
            queries=max(QUERIES, 2 * structures),
            layers=LAYERS,
            dropout=dropout,
        )
        self.denoising = Denoising(structures, width, groups=max(1, NOISED // (2 * structures)))

    def forward(self, images: Tensor) -> Tensor:
        """Take (batch, in_channels, rows, columns) to logits (batch, out_channels, rows, columns)."""
        memory = self.encoder(images)
        _, answers = self.decoder(memory)
        return merged_logits(answers[-1], memory.pixels)

    def learn(self, images: Tensor, labels: Tensor, drawn: Tensor) -> Outputs:
        """Answer, and compare what the queries answer with the structures.

        The paper learns from the set loss alone, of the selection, of each layer and of the denoising. That takes
        very many images; the ordinary loss on the merged logits, which is our addition, makes few enough.
        """
        if not self.training:  # the validation looks at the answer alone
            return Outputs(self(images))
        targets = find_targets(labels, drawn)
        memory = self.encoder(images)
        queries = min(self.decoder.queries, memory.tokens.shape[1])
        extra = self.denoising(targets, queries)
        selected, answers = self.decoder(memory, extra)
        count = extra.content.shape[1]
        searching = [selected, *(one.part(slice(count, None)) for one in answers)]
        noised = [one.part(slice(count)) for one in answers]
        with torch.autocast(images.device.type, enabled=False):
            loss = self._own_loss(searching, noised, memory, targets)
        return Outputs(merged_logits(searching[-1], memory.pixels), own_loss=SET_WEIGHT * loss)

    def named_parts(self) -> dict[str, tuple[str, ...]]:
        """As `parts_of`: the bottleneck is the encoder's transformer, the tail the decoder."""
        return {
            "contraction": ("encoder.backbone",),
            "bottleneck": ("encoder.inward", "encoder.level_features", "encoder.layers"),
            "expansion": ("encoder.upsampling", "encoder.fusion", "encoder.outward"),
            "tail": ("decoder", "denoising"),
        }

    def _own_loss(
        self, searching: Sequence[Answers], noised: Sequence[Answers], memory: Memory, targets: Targets
    ) -> Tensor:
        # Every other row and column, another half each time, as the paper compares masks at random points.
        row, column = torch.randint(2, (2,)).tolist() if min(memory.pixels.shape[2:]) > 1 else (0, 0)
        pixels = memory.pixels.float()[:, :, row::2, column::2]
        seen = replace(targets, masks=targets.masks[:, :, row::2, column::2])
        coarse = replace(seen, masks=seen.masks[:, :, ::2, ::2])
        sets = [pair_searching(one, pixels[:, :, ::2, ::2], coarse) for one in searching]
        loss = set_loss(sets, pixels, seen)
        sets = [pair_noised(one, targets, self.denoising.groups) for one in noised]
        return loss + set_loss(sets, pixels, seen)


def merged_logits(answers: Answers, pixels: Tensor) -> Tensor:
    """Merge what all queries say into one answer for each pixel.

    A structure's share of a pixel is the sum over queries of the probabilities of class and mask; what is left to 1
    is background. Where shares add up to more than 1, none is left. The logarithm of the shares is given, (batch,
    structures + 1, rows, columns), whose softmax they are.
    """
    with torch.autocast(pixels.device.type, enabled=False):
        masks = mask_logits(answers.masks.float(), pixels.float()).sigmoid()
        shares = mask_logits(answers.classes.float().sigmoid().mT, masks)
        background = (1 - shares.sum(1, keepdim=True)).clamp(min=0)
        return (torch.cat([background, shares], dim=1) + LEAST).log()
