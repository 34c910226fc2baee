"""Which query answers for which structure: the pairing of least cost (Hungarian method)."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional

from autoseg.model.networks.maskdino.boxes import Targets, generalised_iou
from autoseg.model.networks.maskdino.decoder import Answers, mask_logits

# Weights of the authors' program, for pairing and loss alike.
CLASS_WEIGHT, BCE_WEIGHT, DICE_WEIGHT, L1_WEIGHT, GIOU_WEIGHT = 4.0, 5.0, 5.0, 5.0, 2.0
FOCAL_ALPHA, FOCAL_GAMMA = 0.25, 2.0


@torch.no_grad()
def pair(answers: Answers, pixels: Tensor, targets: Targets) -> Tensor:
    """Find the query of each structure, (batch, structures); −1 where it is not present or none is left."""
    costs = pairing_costs(answers, pixels, targets).cpu().numpy()
    present = targets.present.cpu().numpy()
    paired = np.full(present.shape, -1, dtype=np.int64)
    for image, (cost, there) in enumerate(zip(costs, present, strict=True)):
        slots = np.flatnonzero(there)
        queries, chosen = linear_sum_assignment(cost[:, slots])
        paired[image, slots[chosen]] = queries
    return torch.from_numpy(paired).to(pixels.device)


def pairing_costs(answers: Answers, pixels: Tensor, targets: Targets) -> Tensor:
    """Give the cost (batch, queries, structures) of each query for each structure, by class, mask and box."""
    likely = answers.classes.sigmoid()
    right = FOCAL_ALPHA * (1 - likely) ** FOCAL_GAMMA * -functional.logsigmoid(answers.classes)
    wrong = (1 - FOCAL_ALPHA) * likely**FOCAL_GAMMA * -functional.logsigmoid(-answers.classes)
    logits = mask_logits(answers.masks, pixels).flatten(2)
    masks = targets.masks.flatten(2).to(logits.dtype).mT
    # The entropies of a logit x where the mask is and where it is not differ by x: one product serves both.
    bce = (functional.softplus(logits).sum(2, keepdim=True) - logits @ masks) / masks.shape[1]
    probabilities = logits.sigmoid()
    total = probabilities.sum(2, keepdim=True) + masks.sum(1)[:, None]
    dice = 1 - (2 * (probabilities @ masks) + 1) / (total + 1)
    boxes, others = answers.boxes[:, :, None], targets.boxes[:, None]
    costs = (
        CLASS_WEIGHT * (right - wrong)
        + BCE_WEIGHT * bce
        + DICE_WEIGHT * dice
        + L1_WEIGHT * (boxes - others).abs().sum(3)
        - GIOU_WEIGHT * generalised_iou(boxes, others)
    )
    # A loss that is no number is found elsewhere; here it would be an error without a remedy.
    return costs.nan_to_num(nan=1e6, posinf=1e6, neginf=-1e6)
