"""The part of a loss that compares shapes: soft Dice, IoU and Tversky, hand-countable."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from autoseg.training.losses.reference import shares_of
from autoseg.training.processes import Add, alone

# Added to numerator and denominator of Dice, so that a structure absent from a batch costs nothing.
SMOOTHING = 1.0


def soft_overlap(
    probabilities: Tensor,
    labels: Tensor,
    drawn: Tensor,
    *,
    kind: Literal["dice", "iou", "tversky"] = "dice",
    per_sample: bool = False,
    squared: bool = False,
    background: bool = False,
    missed_weight: float = 0.5,
    add: Add = alone,
) -> Tensor:
    """Give the mean over structures of how well probabilities p and reference t overlap.

    - dice: (2 Σ p·t + 1) / (Σ p + Σ t + 1), or squared (2 Σ p·t + 1) / (Σ p² + Σ t² + 1). The squared one is the
      V-Net's (Milletari et al., 3DV 2016, section 3); there it is of one structure against the background, which is
      not counted itself, and without the 1, by which an absent structure costs nothing here.
    - iou: dice / (2 − dice), which is the soft Jaccard index with the same 1.
    - tversky: (Σ p·t + ½) / (Σ p·t + w Σ (1 − p)·t + (1 − w) Σ p·(1 − t) + ½) with w the `missed_weight` (Salehi et
      al., MLMI 2017); at ½ it is dice.

    Sums go over the whole batch, or image by image (`per_sample`) and then the mean; a structure counts on images
    on which it was drawn, the background as one more where anything was. If nothing was drawn, the score is 1.
    `add` adds up over the parts of a batch that several processes share.
    """
    first = 0 if background else 1
    known = torch.cat([drawn.any(1, keepdim=True), drawn], dim=1) if background else drawn
    chosen, target = probabilities[:, first:], shares_of(labels, probabilities, first=first)
    pixels = tuple(range(2, chosen.dim()))
    counted = known.to(chosen.dtype)

    def added(values: Tensor) -> Tensor:
        sums = values * counted
        return sums if per_sample else add(sums.sum(0))

    both = added((chosen * target).sum(pixels))
    if squared:
        total = added(chosen.square().sum(pixels) + target.square().sum(pixels))
    elif kind == "tversky":
        total = added(2 * (1 - missed_weight) * chosen.sum(pixels) + 2 * missed_weight * target.sum(pixels))
    else:
        total = added(chosen.sum(pixels) + target.sum(pixels))
    scores = (2 * both + SMOOTHING) / (total + SMOOTHING)
    if kind == "iou":
        scores = scores / (2 - scores)
    # Where nothing was drawn every score is 1, and hangs on the probabilities as a loss must.
    if not per_sample:
        present = add(known.sum(0)) > 0
        return scores[present].mean() if bool(present.any()) else scores.mean()
    known = known if int(add(known.sum())) else torch.ones_like(known)
    return add(scores[known].sum()) / add(known.sum())
