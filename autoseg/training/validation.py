"""Scoring a network while it learns: pixels counted on the network's own grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from autoseg.image.structures import Structure
from autoseg.model.dataset import Samples
from autoseg.model.device import choose_precision, halve_batch, where_memory_allows
from autoseg.model.settings.settings import Settings
from autoseg.training.losses import outputs_loss

EROSIONS = 4
Scores = tuple[float | None, ...]


@dataclass(frozen=True)
class SliceScores:
    """Loss, Dice and IoU of each structure (None where it was drawn on no slice) and their means, on whole images.

    `erosion_iou` has the IoU of each structure after 0, 1, 2 and 3 erosions, or is empty.
    """

    loss: float
    dice: Scores
    iou: Scores
    mean_dice: float | None
    mean_iou: float | None
    erosion_iou: tuple[Scores, ...] = ()


@torch.inference_mode()
def evaluate_slices(
    network: nn.Module, slices: Samples, settings: Settings, *, structures: Sequence[Structure] = ()
) -> SliceScores:
    """Score a network on whole images as they are, without augmentation, on the network's own grid.

    Of a structure with the reference pixels R and the predicted ones P, summed over every slice on which it was
    drawn, the Dice is 2 n(R and P) / (n(R) + n(P)) and the IoU n(R and P) / n(R or P). Where structures were not
    drawn, nothing is counted for them. With `structures`, one that includes others is scored with them.

    The loss is the training's, with its weights of the start and with everything that the network answers beside
    while it learns, but without what it compares in a way of its own (`Outputs.own_loss`), which is costly and
    partly drawn at random. In tiles only the answer itself is compared. Where the memory is not enough, fewer
    slices are looked at together.
    """
    device = slices.device
    precision = choose_precision(settings.precision, device)
    network.eval()
    members = class_members(structures, slices.drawn.shape[1]).to(device)
    erosions = EROSIONS if settings.watch_erosion else 1
    counts = torch.zeros(erosions, 3, len(members), device=device)
    losses, left = [], torch.arange(slices.wholes)
    size = min(2 * settings.batch_size, slices.wholes_at_once)

    def score(indices: Tensor) -> tuple[Tensor, Tensor]:
        batch = slices.whole(indices)
        with torch.autocast(device.type, precision, enabled=precision != torch.float32):
            outputs = slices.answer(network, batch)
        parts = outputs_loss(outputs, batch.reference, batch.drawn, settings.loss, outer=batch.outer)
        predicted, reference = members[:, most_likely(outputs.logits)], members[:, batch.labels]
        found = []
        for number in range(erosions):
            predicted = erode(predicted) if number else predicted
            found.append(count_pixels(reference, predicted, batch.drawn))
        return replace(parts, own=None).total(settings.loss) * len(indices), torch.stack(found)

    while len(left):
        scored = where_memory_allows(partial(score, left[:size]))
        if scored is None:
            size = halve_batch(min(size, len(left)), device)
            continue
        losses.append(scored[0])
        counts += scored[1]
        left = left[size:]
    dice, iou = ratios(counts[0])
    return SliceScores(
        loss=float(torch.stack(losses).sum()) / slices.wholes,
        dice=dice,
        iou=iou,
        mean_dice=_mean(dice),
        mean_iou=_mean(iou),
        erosion_iou=tuple(zip(*(ratios(one)[1] for one in counts), strict=True)) if erosions > 1 else (),
    )


def most_likely(logits: Tensor) -> Tensor:
    """Give each pixel's class, shape (batch, rows, columns)."""
    return logits.max(1).indices  # ten times as fast as argmax on some processors


def class_members(structures: Sequence[Structure], count: int) -> Tensor:
    """Tell which classes make up each structure, bool, shape (structures, classes).

    Its own and those of the structures that it includes; only its own where `structures` is empty.
    """
    members = torch.eye(count + 1, dtype=torch.bool)[1:]
    place = {structure.label: k for k, structure in enumerate(structures, start=1)}
    for k, structure in enumerate(structures):
        for label in structure.includes:
            members[k, place[label]] = True
    return members


def count_pixels(reference: Tensor, predicted: Tensor, drawn: Tensor) -> Tensor:
    """Count the pixels of each structure in both, in the reference and in the prediction, shape (3, structures).

    `reference` and `predicted` are masks (structures, batch, …); images on which a structure was not
    drawn (`drawn`, (batch, structures)) are left out of its counts.
    """
    counts = torch.stack([mask.flatten(2).sum(2) for mask in (reference & predicted, reference, predicted)])
    return (counts * drawn.T).sum(2)


def ratios(counts: Tensor) -> tuple[Scores, Scores]:
    """Give Dice and IoU of each structure from `count_pixels`; None where it is in neither."""
    rows = counts.T.tolist()
    dice = tuple(2 * both / (r + p) if r + p else None for both, r, p in rows)
    return dice, tuple(both / (r + p - both) if r + p else None for both, r, p in rows)


def erode(masks: Tensor) -> Tensor:
    """Take off the pixels of masks (structures, batch, …) that share a face with one outside.

    The image's edge is no such face.
    """
    kept = masks
    for axis in range(2, masks.dim()):
        count = masks.shape[axis]
        if count > 1:
            inner = masks.narrow(axis, 1, count - 1)
            before = masks.narrow(axis, 0, count - 1)
            ends = masks.narrow(axis, 0, 1), masks.narrow(axis, count - 1, 1)
            kept = kept & torch.cat([ends[0], before], axis) & torch.cat([inner, ends[1]], axis)
    return kept


def _mean(values: Scores) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
