"""What queries shall find on each image: a mask and a box for each structure that was drawn and is there."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from autoseg.model.networks.maskdino.boxes import boxes_of


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
    """Give what queries shall find.

    Parameters
    ----------
    labels : (batch, rows, columns) Tensor of int64
        Class of each pixel; a structure that was not drawn is 0.
    drawn : (batch, structures) Tensor of bool

    Returns
    -------
    Targets
        A structure that was not drawn is not present, whatever the labels say.
    """
    classes = torch.arange(1, drawn.shape[1] + 1, device=labels.device)
    masks = (labels[:, None] == classes[:, None, None]) & drawn[:, :, None, None]
    return Targets(masks, boxes_of(masks), masks.flatten(2).any(2), drawn)
