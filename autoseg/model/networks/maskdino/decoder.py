"""Queries that each look for one structure: their selection, the decoder's layers, and what they answer."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from autoseg.model.networks.maskdino.attention import DeformableAttention, FeedForward, nearly_zero, sine_positions
from autoseg.model.networks.maskdino.boxes import Targets, boxes_of, corners, to_logits
from autoseg.model.networks.maskdino.encoder import HEADS, POINTS, SCALES, Memory

# How likely a query is to be a structure before anything was learnt (focal loss, arXiv 1708.02002).
PRIOR = 0.05


@dataclass(frozen=True, eq=False)
class Answers:
    """What queries answer.

    `classes` (batch, queries, structures) logits, `boxes` (batch, queries, 4) in parts of the frame, and `masks`
    (batch, queries, depth), whose product with a pixel's features is the logit of the mask.
    """

    classes: Tensor
    boxes: Tensor
    masks: Tensor

    def part(self, queries: slice) -> Answers:
        """Give what some of the queries answer."""
        return Answers(self.classes[:, queries], self.boxes[:, queries], self.masks[:, queries])


@dataclass(frozen=True, eq=False)
class Extra:
    """Further queries while learning (denoising).

    `content` (batch, n, width) and `boxes` (batch, n, 4) are what they start with; `allowed` (batch, n + queries,
    n + queries) bool tells who may look at whom, the further ones first.
    """

    content: Tensor
    boxes: Tensor
    allowed: Tensor


class Decoder(nn.Module):
    """Choose the tokens most like a structure as queries, and refine their class, box and mask layer by layer.

    `width` is that of a token, `depth` that of a pixel; the background is no structure.
    """

    def __init__(
        self, structures: int, *, width: int, depth: int, queries: int, layers: int, dropout: float
    ) -> None:
        super().__init__()
        self.queries = queries
        self.proposal = nn.Sequential(nn.Linear(width, width), nn.LayerNorm(width))
        self.where = nn.Sequential(nn.Linear(2 * width, width), nn.ReLU(), nn.Linear(width, width))
        self.layers = nn.ModuleList(DecoderLayer(width, dropout=dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.classes = nn.Linear(width, structures)
        self.boxes = ThreeLayers(width, 4)
        self.masks = ThreeLayers(width, depth)
        nn.init.constant_(self.classes.bias, -math.log((1 - PRIOR) / PRIOR))
        # Boxes start where their reference is.
        nearly_zero(self.boxes[-1])

    def forward(self, memory: Memory, extra: Extra | None = None) -> tuple[Answers, list[Answers]]:
        """Give what the selected tokens answer, and after each layer the queries, the `extra` ones first."""
        selected, content = self.select(memory)
        boxes, allowed, width = self.start_boxes(selected, memory), None, content.shape[2]
        if extra is not None:
            content = torch.cat([extra.content.to(content.dtype), content], dim=1)
            boxes, allowed = torch.cat([extra.boxes, boxes], dim=1), extra.allowed
        answers = []
        for layer in self.layers:
            where = self.where(sine_positions(boxes, width // 2))
            content = layer(content, where, boxes, memory, allowed)
            answers.append(self.answer(self.norm(content), boxes))
            boxes = answers[-1].boxes.detach()
        return selected, answers

    def select(self, memory: Memory) -> tuple[Answers, Tensor]:
        """Choose the tokens most like a structure; give what they answer, and themselves as first content."""
        tokens = self.proposal(memory.tokens)
        with torch.autocast(tokens.device.type, enabled=False):
            likely = self.classes(tokens.detach().float()).amax(2)
        chosen = likely.topk(min(self.queries, tokens.shape[1]), dim=1).indices
        content = tokens.gather(1, chosen[..., None].expand(-1, -1, tokens.shape[2]))
        middles = memory.middles[chosen]
        size = 0.05 * 2.0 ** memory.scale[chosen]
        return self.answer(content, torch.cat([middles, size[..., None].expand_as(middles)], 2)), content.detach()

    def answer(self, content: Tensor, reference: Tensor) -> Answers:
        """Answer from each query's content and the box it looked around, in float32."""
        with torch.autocast(content.device.type, enabled=False):
            content = content.float()
            boxes = (to_logits(reference) + self.boxes(content)).sigmoid()
            return Answers(self.classes(content), boxes, self.masks(content))

    @torch.no_grad()
    def start_boxes(self, selected: Answers, memory: Memory) -> Tensor:
        """Take the box around each selected token's mask, which early on is better than its box."""
        coarse = functional.avg_pool2d(memory.pixels.float(), min(4, *memory.pixels.shape[2:]))
        masks = mask_logits(selected.masks, coarse) > 0
        around = boxes_of(masks)
        empty = ~masks.flatten(2).any(2, keepdim=True)
        return torch.where(empty, selected.boxes, around)


class DecoderLayer(nn.Module):
    """Queries look at each other, then around their boxes, then go through two layers by themselves."""

    def __init__(self, width: int, *, dropout: float) -> None:
        super().__init__()
        self.among = nn.Linear(width, 2 * width)
        self.values = nn.Linear(width, width)
        self.result = nn.Linear(width, width)
        self.attention = DeformableAttention(width, heads=HEADS, scales=SCALES, points=POINTS)
        self.forward_layers = FeedForward(width, dropout=dropout)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, content: Tensor, where: Tensor, boxes: Tensor, memory: Memory, allowed: Tensor | None
    ) -> Tensor:
        """Take content (batch, queries, width) with positions of the same shape and boxes to new content."""
        content = self.norms[0](content + self.dropout(self._look_at_each_other(content, where, allowed)))
        seen = self.attention(content + where, boxes, memory.tokens, memory.sizes)
        content = self.norms[1](content + self.dropout(seen))
        return self.norms[2](content + self.dropout(self.forward_layers(content)))

    def _look_at_each_other(self, content: Tensor, where: Tensor, allowed: Tensor | None) -> Tensor:
        asked, offered = self.among(content + where).chunk(2, dim=2)
        query, key, value = (_by_head(part) for part in (asked, offered, self.values(content)))
        mask = None if allowed is None else allowed[:, None]
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return self.result(mixed.transpose(1, 2).flatten(2))


def mask_logits(masks: Tensor, pixels: Tensor) -> Tensor:
    """Multiply queries' masks (batch, n, depth) with pixels (batch, depth, rows, columns)."""
    return torch.bmm(masks, pixels.flatten(2)).unflatten(2, pixels.shape[2:])


def _by_head(tokens: Tensor) -> Tensor:
    return tokens.unflatten(2, (HEADS, -1)).transpose(1, 2)


class ThreeLayers(nn.Sequential):
    """Three layers on each query by itself."""

    def __init__(self, width: int, after: int) -> None:
        layers = (nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        super().__init__(*layers, nn.Linear(width, after))


# --- denoising: queries that start near a reference structure and learn to find it, beside those that search

# Noise that the paper's code uses: sides move by up to this part of half the box, labels change in this share.
BOX_NOISE, LABEL_NOISE = 0.4, 0.2


class Denoising(nn.Module):
    """Make noised queries of the structures that are on an image.

    A group has two queries a structure: one whose box is moved a little and which shall become the structure, and
    one moved farther, which shall say that it is none (contrastive, as DINO does, arXiv 2203.03605). Queries see
    their own group and those that search; those that search see no noised one, or they would copy the answer.
    """

    def __init__(self, structures: int, width: int, *, groups: int) -> None:
        super().__init__()
        self.groups, self.structures = groups, structures
        self.labels = nn.Embedding(structures, width)

    def forward(self, targets: Targets, queries: int) -> Extra:
        """Give groups · 2 · structures queries; those of structures that are not there are seen by none."""
        batch, count = targets.present.shape
        shape = (batch, self.groups, 2, count)
        device = targets.present.device
        classes = torch.arange(count, device=device).expand(shape)
        changed = torch.rand(shape, device=device) < LABEL_NOISE
        classes = torch.where(changed, torch.randint(count, shape, device=device), classes)
        boxes = targets.boxes[:, None, None].expand(*shape, 4)
        boxes = boxes.where(targets.present[:, None, None, :, None], boxes.new_full((4,), 0.5))
        return Extra(
            content=self.labels(classes.flatten(1)),
            boxes=noised(boxes).flatten(1, 3),
            allowed=allowed_looks(targets.present, self.groups, queries),
        )


def noised(boxes: Tensor) -> Tensor:
    """Move the sides of boxes (batch, groups, 2, n, 4), of the first of the two a little, of the other more."""
    nearest = torch.tensor([0.0, 1.0], device=boxes.device)[:, None, None]
    amount = (torch.rand_like(boxes) + nearest) * BOX_NOISE
    sign = torch.randint(2, boxes.shape, device=boxes.device) * 2 - 1
    half = boxes[..., 2:].repeat(1, 1, 1, 1, 2) / 2
    sides = (corners(boxes) + sign * amount * half).clamp(0, 1)
    low, high = sides[..., :2], sides[..., 2:]
    return torch.cat([(low + high) / 2, (high - low).clamp(min=1e-3)], dim=-1)


def allowed_looks(present: Tensor, groups: int, queries: int) -> Tensor:
    """Tell who may look at whom: (batch, n, n), the row's query at the column's, the noised ones first."""
    batch, count = present.shape
    extra = groups * 2 * count
    group = torch.cat(
        [
            torch.arange(groups, device=present.device).repeat_interleave(2 * count),
            torch.full((queries,), -1, device=present.device),
        ]
    )
    allowed = (group[:, None] == group) | (group == -1)
    there = torch.cat([present.repeat(1, groups * 2), present.new_ones(batch, queries)], dim=1)
    itself = torch.eye(extra + queries, dtype=torch.bool, device=present.device)
    return (allowed & there[:, None]) | itself
