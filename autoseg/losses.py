"""What a training makes small: soft Dice over the structures plus weighted cross-entropy."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from autoseg.settings import LossSettings

# Added to numerator and denominator of Dice, so that a structure absent from a batch costs nothing.
SMOOTHING = 1.0


@dataclass(frozen=True)
class LossParts:
    """The two parts of the loss, each a () Tensor, not weighted yet."""

    dice: Tensor
    cross_entropy: Tensor

    def total(self, settings: LossSettings, *, progress: float = 0.0) -> Tensor:
        """Add the parts with their weights at this progress (0 start, 1 end) of the training."""
        fade = max(0.0, 1.0 - progress / settings.overlap_until)
        late = settings.late_pixel_weight
        pixel_weight = late + fade * (settings.pixel_weight - late)
        return fade * settings.overlap_weight * self.dice + pixel_weight * self.cross_entropy


def segmentation_loss(
    logits: Tensor, labels: Tensor, drawn: Tensor, settings: LossSettings, *, outer: Tensor | None = None
) -> LossParts:
    """Compare logits with labels, taking a structure that was not drawn as unknown rather than absent.

    Where structure k was not drawn on an image, its pixels carry the label 0 there. The probabilities of
    k and of the background are added before the comparison (the loss asks only that the pixel is one of the
    two), and k is left out of that image's Dice. Marginal loss: Shi et al., Medical Image Analysis 2021. A
    structure inside one that was drawn joins that one instead: where only the cord was drawn, grey matter is cord.

    Parameters
    ----------
    logits : (batch, classes, rows, columns) Tensor
        Class 0 is the background, class k the k-th structure.
    labels : (batch, rows, columns) Tensor of int64, or (batch, classes, rows, columns) Tensor of float32
        Class of each pixel, or the share of raters who gave it to each class.
    drawn : (batch, classes - 1) Tensor of bool
        Which structures were drawn on which image.
    settings : LossSettings
    outer : (classes,) Tensor of int64, optional
        The class of the smallest structure that includes each class, 0 where none does.

    Returns
    -------
    LossParts
        `dice` is 1 − the mean over structures of the soft Dice in the whole batch,
        (2 Σ p·t + 1) / (Σ p + Σ t + 1), background left out; `cross_entropy` the weighted mean over pixels.
    """
    logits = merge_undrawn(logits.float(), drawn, outer)
    weight = logits.new_full((logits.shape[1],), settings.structure_weight or 0.0)
    weight[0] = 1.0
    return LossParts(
        dice=1 - soft_dice(logits.softmax(1), labels, drawn),
        cross_entropy=_cross_entropy(logits, labels, weight),
    )


def _cross_entropy(logits: Tensor, labels: Tensor, weight: Tensor) -> Tensor:
    if labels.dim() == 3:
        return functional.cross_entropy(logits, labels, weight=weight)
    # torch divides shares by the number of pixels, labels by the sum of their weights; this is the latter for both.
    weighted = labels * weight[:, None, None]
    return -(weighted * logits.log_softmax(1)).sum() / weighted.sum()


def merge_undrawn(logits: Tensor, drawn: Tensor, outer: Tensor | None = None) -> Tensor:
    """Add the probability of every undrawn structure to what it lies in, and leave it none of its own.

    Parameters
    ----------
    logits : (batch, classes, rows, columns) Tensor of float32
    drawn : (batch, classes - 1) Tensor of bool
    outer : (classes,) Tensor of int64, optional
        As `segmentation_loss`; by default every structure lies in the background.

    Returns
    -------
    (batch, classes, rows, columns) Tensor
        Logits whose softmax has the sums.
    """
    if bool(drawn.all()):
        return logits
    impossible = -1e4
    if outer is not None and bool(outer.any()):
        joins = _joined_classes(drawn, outer)[:, :, None, None]
        classes = range(logits.shape[1])
        return torch.stack([logits.masked_fill(joins != k, impossible).logsumexp(1) for k in classes], dim=1)
    structures_drawn = drawn[:, :, None, None]
    unknown = logits[:, 1:].masked_fill(structures_drawn, impossible)
    background = torch.cat([logits[:, :1], unknown], dim=1).logsumexp(1, keepdim=True)
    return torch.cat([background, logits[:, 1:].masked_fill(~structures_drawn, impossible)], dim=1)


def _joined_classes(drawn: Tensor, outer: Tensor) -> Tensor:
    """Give the class that each class counts for on each image, (batch, classes): itself, or what it lies in."""
    known = torch.cat([drawn.new_ones(len(drawn), 1), drawn], dim=1)
    joined = torch.arange(known.shape[1], device=drawn.device).expand(known.shape)
    for _ in range(known.shape[1]):  # as deep as structures can lie in one another
        joined = torch.where(known.gather(1, joined), joined, outer[joined])
    return joined


def soft_dice(probabilities: Tensor, labels: Tensor, drawn: Tensor) -> Tensor:
    """Give the mean over structures of their soft Dice in the whole batch, images without them left out.

    Parameters
    ----------
    probabilities : (batch, classes, rows, columns) Tensor
    labels : (batch, rows, columns) Tensor of int64, or (batch, classes, rows, columns) Tensor of float32
    drawn : (batch, classes - 1) Tensor of bool

    Returns
    -------
    () Tensor
        Between 0 and 1. A structure drawn on no image of the batch is not counted; if none was drawn, 1.
    """
    classes = probabilities.shape[1]
    counted = drawn.to(probabilities.dtype)
    if labels.dim() == 3:
        labels = functional.one_hot(labels, classes).permute(0, 3, 1, 2)
    target = labels[:, 1:].to(probabilities.dtype)
    structures = probabilities[:, 1:]
    overlap = ((structures * target).sum((2, 3)) * counted).sum(0)
    total = ((structures.sum((2, 3)) + target.sum((2, 3))) * counted).sum(0)
    dice = (2 * overlap + SMOOTHING) / (total + SMOOTHING)
    present = drawn.any(0)
    if not bool(present.any()):
        return probabilities.new_ones(())
    return dice[present].mean()
