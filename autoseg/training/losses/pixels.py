"""The part of a loss that compares pixels: cross-entropy, one against the rest, focal."""

from __future__ import annotations

from itertools import accumulate

import torch
from torch import Tensor
from torch.nn import functional

from autoseg.training.losses.reference import shares_of
from autoseg.training.processes import Add, alone


def cross_entropy(logits: Tensor, labels: Tensor, *, structure_weight: float = 1.0, add: Add = alone) -> Tensor:
    """Give the mean over pixels of −log p of the right class, weighted: a structure's pixels by their weight.

    As in all losses, logits are (batch, classes, …), labels (batch, …) classes or (batch, classes, …) shares. The
    sum is divided by all weights. Undrawn structures were merged into what they lie in (`merge_undrawn`). `add`
    adds up over the parts of a batch that several processes share.
    """
    weight = _class_weights(logits, structure_weight)
    if labels.dim() < logits.dim():
        if add is alone:
            return functional.cross_entropy(logits, labels, weight=weight)
        return add(functional.cross_entropy(logits, labels, weight=weight, reduction="sum")) / add(
            weight[labels].sum()
        )
    # torch divides shares by the number of pixels, labels by the sum of their weights; this is the latter for both.
    weighted = labels.to(logits.dtype) * _everywhere(weight, logits)
    return -add((weighted * logits.log_softmax(1)).sum()) / add(weighted.sum())


def focal_entropy(
    logits: Tensor, labels: Tensor, *, gamma: float, structure_weight: float = 1.0, add: Add = alone
) -> Tensor:
    """Give the mean over pixels of −(1 − p)^gamma log p of the right class, weighted as `cross_entropy` is.

    With gamma 0 it is `cross_entropy` (Lin et al., ICCV 2017).
    """
    log_right, log_wrong = log_probabilities(logits)
    # (1 − p)^gamma itself has no finite slope at p = 1 where gamma is below 1.
    costs = -(gamma * log_wrong).exp() * log_right
    weighted = shares_of(labels, logits) * _everywhere(_class_weights(logits, structure_weight), logits)
    return add((weighted * costs).sum()) / add(weighted.sum())


def balanced_binary_entropy(
    logits: Tensor, labels: Tensor, drawn: Tensor, *, structure_weight: float = 1.0, add: Add = alone
) -> Tensor:
    """Ask of every structure apart whether a pixel is of it: −w t log p − (1 − t) log(1 − p), the mean.

    p is the structure's softmax probability, the one that a prediction uses: one structure against all the rest.
    The mean is over the pixels of every structure that was drawn on an image; it is not divided by w.
    """
    log_right, log_wrong = (values[:, 1:] for values in log_probabilities(logits))
    shares = shares_of(labels, logits, first=1)
    costs = -torch.lerp(log_wrong, structure_weight * log_right, shares)
    means = costs.mean(tuple(range(2, costs.dim()))) * drawn
    return add(means.sum()) / add(drawn.sum()).clamp(min=1)


def log_probabilities(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Give log p and log(1 − p) of the softmax probability p of every class, however sure it is.

    Examples
    --------
    >>> right, wrong = log_probabilities(torch.tensor([[100.0, 0.0]]))
    >>> right.tolist(), wrong.tolist()
    ([[0.0, -100.0]], [[-100.0, 0.0]])
    """
    log_right = logits.log_softmax(1)
    # 1 − p is lost in rounding where p is near 1, so the others are added up: those before, and those after.
    classes = log_right.unbind(1)
    before = list(accumulate(classes, torch.logaddexp))
    after = list(accumulate(reversed(classes), torch.logaddexp))[::-1]
    between = [torch.logaddexp(*both) for both in zip(before[:-2], after[2:], strict=True)]
    log_wrong = torch.stack([after[1], *between, before[-2]], dim=1)
    return log_right, log_wrong


def _class_weights(logits: Tensor, structure_weight: float) -> Tensor:
    weight = logits.new_full((logits.shape[1],), structure_weight)
    weight[0] = 1.0
    return weight


def _everywhere(weight: Tensor, logits: Tensor) -> Tensor:
    return weight.view(-1, *[1] * (logits.dim() - 2))
