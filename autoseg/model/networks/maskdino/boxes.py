"""Boxes around structures, as (x, y, width, height) of their middle and size in parts of the frame."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


def boxes_of(masks: Tensor) -> Tensor:
    """Give the smallest box (batch, n, 4) around each mask (batch, n, rows, columns); of an empty one zeros.

    Examples
    --------
    >>> mask = torch.zeros(1, 1, 4, 8, dtype=torch.bool)
    >>> mask[..., 1:3, 2:6] = True
    >>> boxes_of(mask)
    tensor([[[0.5000, 0.5000, 0.5000, 0.5000]]])
    """
    sides = []
    for axis in (3, 2):
        touched = masks.any(5 - axis)  # which columns, then which rows
        size = touched.shape[2]
        first = touched.float().argmax(2)
        last = size - touched.flip(2).float().argmax(2)
        sides.append(torch.stack([(first + last) / 2, (last - first).float()], dim=2) / size)
    across, down = sides
    boxes = torch.stack([across[..., 0], down[..., 0], across[..., 1], down[..., 1]], dim=2)
    return boxes * masks.any(3).any(2)[..., None]


def corners(boxes: Tensor) -> Tensor:
    """Take boxes (…, 4) to the (left, top, right, bottom) of each."""
    middle, half = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat([middle - half, middle + half], dim=-1)


def generalised_iou(one: Tensor, other: Tensor) -> Tensor:
    """Give the generalised IoU of boxes, pair by pair.

    The area of both over the area of either, less the part of the smallest box around the two that is in neither
    (Rezatofighi et al., CVPR 2019): 1 for equal boxes, down to −1 for far ones.

    Examples
    --------
    Two unit squares side by side, a unit apart: none is shared, and a third of the box around them is empty.

    >>> generalised_iou(torch.tensor([0.5, 0.5, 1, 1]), torch.tensor([2.5, 0.5, 1, 1]))
    tensor(-0.3333)
    """
    a, b = corners(one), corners(other)
    shared = _area(torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:]))
    around = _area(torch.minimum(a[..., :2], b[..., :2]), torch.maximum(a[..., 2:], b[..., 2:]))
    either = one[..., 2] * one[..., 3] + other[..., 2] * other[..., 3] - shared
    tiny = torch.finfo(a.dtype).tiny
    return shared / either.clamp(min=tiny) - (around - either) / around.clamp(min=tiny)


def _area(low: Tensor, high: Tensor) -> Tensor:
    size = (high - low).clamp(min=0)
    return size[..., 0] * size[..., 1]


def to_logits(parts: Tensor) -> Tensor:
    """Undo the sigmoid of numbers between 0 and 1, with both ends drawn in a little."""
    return parts.clamp(1e-4, 1 - 1e-4).logit()


# --- what queries shall find on each image: a mask and a box for each structure that was drawn and is there


@dataclass(frozen=True, eq=False)
class Targets:
    """Each structure of an image in a slot of its own.

    `masks` (batch, structures, rows, columns) bool, `boxes` (batch, structures, 4), `drawn` (batch, structures)
    bool, and `present` (batch, structures) bool where it was drawn and is there.
    """

    masks: Tensor
    boxes: Tensor
    present: Tensor
    drawn: Tensor


def find_targets(labels: Tensor, drawn: Tensor) -> Targets:
    """Give what queries shall find; a structure that was not drawn is not present, whatever the labels say."""
    classes = torch.arange(1, drawn.shape[1] + 1, device=labels.device)
    masks = (labels[:, None] == classes[:, None, None]) & drawn[:, :, None, None]
    return Targets(masks, boxes_of(masks), masks.flatten(2).any(2), drawn)
