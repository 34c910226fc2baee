"""The set loss: what the queries answer beside the structures that they were paired with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from autoseg.model.networks.maskdino.boxes import Targets, generalised_iou
from autoseg.model.networks.maskdino.decoder import Answers, mask_logits
from autoseg.model.networks.maskdino.matching import (
    BCE_WEIGHT,
    CLASS_WEIGHT,
    DICE_WEIGHT,
    FOCAL_ALPHA,
    FOCAL_GAMMA,
    GIOU_WEIGHT,
    L1_WEIGHT,
    pair,
)


@dataclass(frozen=True, eq=False)
class Pairs:
    """Answers with the structure that each shall become.

    `wanted` (batch, queries, structures) bool has the class that each shall say (none: no structure), `counted`
    (batch, queries, structures) where that is known. `found` (batch, n) are the indices of queries compared by mask
    and box, with `slots` (batch, n), the structures, and `valid` (batch, n).
    """

    answers: Answers
    wanted: Tensor
    counted: Tensor
    found: Tensor
    slots: Tensor
    valid: Tensor


def pair_searching(answers: Answers, pixels: Tensor, targets: Targets) -> Pairs:
    """Pair queries that search with the structures that are present.

    Of a structure that was not drawn nothing is known: no query is told whether it shows it.
    """
    query = pair(answers, pixels, targets)
    valid = query >= 0
    found = query.clamp(min=0)
    structures = torch.arange(query.shape[1], device=query.device)
    numbers = torch.arange(answers.classes.shape[1], device=query.device)
    wanted = numbers[None, :, None] == query[:, None]
    counted = targets.drawn[:, None].expand_as(wanted)
    return Pairs(answers, wanted, counted, found, structures.expand_as(query), valid)


def pair_noised(answers: Answers, targets: Targets, groups: int) -> Pairs:
    """Pair noised queries with what they were made of; the second half of each group shall become nothing."""
    batch, count = targets.present.shape
    shape = (batch, groups, 2, count, count)
    first = torch.tensor([True, False], device=targets.present.device)[:, None, None]
    same = torch.eye(count, dtype=torch.bool, device=targets.present.device)
    counted = (targets.present[:, None, None, :, None] & targets.drawn[:, None, None, None]).expand(shape)
    numbers = torch.arange(groups * 2 * count, device=targets.present.device).view(groups, 2, count)
    found = numbers[:, 0].flatten().expand(batch, -1)
    return Pairs(
        answers,
        wanted=(first & same).expand(shape).flatten(1, 3),
        counted=counted.flatten(1, 3),
        found=found,
        slots=found % count,
        valid=targets.present.repeat(1, groups),
    )


def set_loss(sets: Sequence[Pairs], pixels: Tensor, targets: Targets) -> Tensor:
    """Compare classes (focal loss), masks (cross-entropy and Dice) and boxes (L1 and generalised IoU).

    Masks are compared on `pixels` (batch, depth, rows, columns), on which those of the targets lie too. It is the
    mean over sets of the sum over queries, divided by the structures present in the batch (at least 1).
    """
    total = pixels.new_zeros(())
    for one in sets:
        structures = one.valid.sum().clamp(min=1)
        classes = focal_loss(one.answers.classes, one.wanted, one.counted).sum() / structures
        masks, boxes = (_at(values, one.found) for values in (one.answers.masks, one.answers.boxes))
        bce, dice = mask_losses(mask_logits(masks, pixels), _at(targets.masks, one.slots))
        wanted = _at(targets.boxes, one.slots)
        located = (
            BCE_WEIGHT * bce
            + DICE_WEIGHT * dice
            + L1_WEIGHT * (boxes - wanted).abs().sum(2)
            + GIOU_WEIGHT * (1 - generalised_iou(boxes, wanted))
        )
        total = total + CLASS_WEIGHT * classes + (located * one.valid).sum() / structures
    return total / len(sets)


def focal_loss(logits: Tensor, wanted: Tensor, counted: Tensor) -> Tensor:
    """Give the focal loss (arXiv 1708.02002) of each logit, 0 where it is not counted."""
    target = wanted.to(logits.dtype)
    entropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    likely = logits.sigmoid()
    missed = torch.where(wanted, 1 - likely, likely)
    alpha = torch.where(wanted, FOCAL_ALPHA, 1 - FOCAL_ALPHA)
    return alpha * missed**FOCAL_GAMMA * entropy * counted


def mask_losses(logits: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Give cross-entropy and 1 − Dice (batch, n) of masks (batch, n, rows, columns)."""
    target = masks.to(logits.dtype)
    bce = functional.binary_cross_entropy_with_logits(logits, target, reduction="none").mean((2, 3))
    probability = logits.sigmoid()
    overlap, total = (probability * target).sum((2, 3)), (probability + target).sum((2, 3))
    return bce, 1 - (2 * overlap + 1) / (total + 1)


def _at(values: Tensor, indices: Tensor) -> Tensor:
    """Take values (batch, many, …) at indices (batch, n)."""
    images = torch.arange(len(values), device=values.device)[:, None]
    return values[images, indices]
