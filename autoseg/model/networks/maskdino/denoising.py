"""Denoising: queries that start near a reference structure and learn to find it, beside those that search."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from autoseg.model.networks.maskdino.boxes import corners
from autoseg.model.networks.maskdino.decoder import Extra
from autoseg.model.networks.maskdino.targets import Targets

# Noise that the paper's code uses: sides move by up to this part of half the box, labels change in this share.
BOX_NOISE, LABEL_NOISE = 0.4, 0.2


class Denoising(nn.Module):
    """Make noised queries of the structures that are on an image.

    A group has two queries a structure: one whose box is moved a little and which shall become the structure, and
    one moved farther, which shall say that it is none (contrastive, as DINO does, arXiv 2203.03605). Queries see
    their own group and those that search; those that search see no noised one, or they would copy the answer.

    Parameters
    ----------
    structures, width : int
    groups : int
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
    """Tell who may look at whom.

    Parameters
    ----------
    present : (batch, structures) Tensor of bool
    groups, queries : int

    Returns
    -------
    (batch, n, n) Tensor of bool
        n = groups · 2 · structures + queries; true where the row's query may look at the column's.
    """
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
