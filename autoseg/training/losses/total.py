"""The loss of an answer, and of everything that a network answers while it learns."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from autoseg.errors import SettingsError
from autoseg.model.networks import Outputs
from autoseg.model.settings.settings import LossSettings
from autoseg.training.losses.overlap import soft_overlap
from autoseg.training.losses.pixels import balanced_binary_entropy, cross_entropy, focal_entropy
from autoseg.training.losses.reference import reference_of_size
from autoseg.training.processes import Add, alone

# --- structures that were not drawn: unknown, not absent

# So far below any other logit that nothing of it is left, and still a number when it is multiplied by 0.
IMPOSSIBLE = -1e9


def merge_undrawn(logits: Tensor, drawn: Tensor, outer: Tensor | None = None) -> Tensor:
    """Add the probability of every undrawn structure to what it lies in, and leave it none of its own.

    `drawn` is (batch, structures), `outer` (classes,) as `outer_classes` has it; None: all lie in the background.
    """
    if bool(drawn.all()):
        return logits
    everywhere = (..., *[None] * (logits.dim() - 2))
    if outer is not None and bool(outer.any()):
        joins = _joined_classes(drawn, outer)[everywhere]
        classes = range(logits.shape[1])
        return torch.stack([logits.masked_fill(joins != k, IMPOSSIBLE).logsumexp(1) for k in classes], dim=1)
    structures_drawn = drawn[everywhere]
    unknown = logits[:, 1:].masked_fill(structures_drawn, IMPOSSIBLE)
    background = torch.cat([logits[:, :1], unknown], dim=1).logsumexp(1, keepdim=True)
    return torch.cat([background, logits[:, 1:].masked_fill(~structures_drawn, IMPOSSIBLE)], dim=1)


def _joined_classes(drawn: Tensor, outer: Tensor) -> Tensor:
    """Give the class that each class counts for on each image, (batch, classes): itself, or what it lies in."""
    known = torch.cat([drawn.new_ones(len(drawn), 1), drawn], dim=1)
    joined = torch.arange(known.shape[1], device=drawn.device).expand(known.shape)
    for _ in range(known.shape[1]):  # as deep as structures can lie in one another
        joined = torch.where(known.gather(1, joined), joined, outer[joined])
    return joined


@dataclass(frozen=True)
class LossParts:
    """The parts of the loss, each a () Tensor, not weighted yet.

    `overlap` compares shapes, `pixel` compares pixels, `own` is what the network compares in a way of its own.
    """

    overlap: Tensor
    pixel: Tensor
    own: Tensor | None = None

    def total(self, settings: LossSettings, *, progress: float = 0.0) -> Tensor:
        """Add the parts with their weights at this progress (0 start, 1 end) of the training; `own` never fades."""
        # Where no shapes are compared, there is nothing that the pixels' part would have to take over from.
        fade = 1.0 if settings.overlap == "none" else max(0.0, 1.0 - progress / settings.overlap_until)
        late = settings.late_pixel_weight
        pixel_weight = late + fade * (settings.pixel_weight - late)
        total = fade * settings.overlap_weight * self.overlap + pixel_weight * self.pixel
        return total if self.own is None else total + self.own


def outputs_loss(
    outputs: Outputs,
    reference: Tensor,
    drawn: Tensor,
    settings: LossSettings,
    *,
    outer: Tensor | None = None,
    add: Add = alone,
) -> LossParts:
    """Compare everything that a network answered with the reference, and add it up with the network's weights.

    An answer of another size is compared with the reference's shares at that size (`reference_of_size`). `add` is
    there where several processes share the batch: all get the loss of the whole.
    """
    classes = outputs.logits.shape[1]
    overlap = pixel = outputs.logits.new_zeros((), dtype=_exact(outputs.logits).dtype)
    for logits, weight in zip((outputs.logits, *outputs.others), outputs.weights, strict=True):
        if weight:
            compared = reference_of_size(reference, logits.shape[2:], classes)
            parts = segmentation_loss(logits, compared, drawn, settings, outer=outer, add=add)
            overlap, pixel = overlap + weight * parts.overlap, pixel + weight * parts.pixel
    return LossParts(overlap=overlap, pixel=pixel, own=outputs.own_loss)


def segmentation_loss(
    logits: Tensor,
    labels: Tensor,
    drawn: Tensor,
    settings: LossSettings,
    *,
    outer: Tensor | None = None,
    add: Add = alone,
) -> LossParts:
    """Compare logits with labels, taking a structure that was not drawn as unknown rather than absent.

    Where structure k was not drawn on an image, its pixels carry the label 0 there. The probabilities of
    k and of the background are added before the comparison (the loss asks only that the pixel is one of the
    two), and k is left out of that image's Dice. Marginal loss: Shi et al., Medical Image Analysis 2021. A
    structure inside one that was drawn joins that one instead: where only the cord was drawn, grey matter is cord.
    """
    logits = merge_undrawn(_exact(logits), drawn, outer)
    return LossParts(
        overlap=_overlap_part(logits, labels, drawn, settings, add),
        pixel=_pixel_part(logits, labels, drawn, settings, add),
    )


def _exact(logits: Tensor) -> Tensor:
    return logits if logits.dtype.itemsize >= 4 else logits.float()


def _overlap_part(logits: Tensor, labels: Tensor, drawn: Tensor, settings: LossSettings, add: Add) -> Tensor:
    if settings.overlap == "none":
        return logits.new_zeros(())
    return 1 - soft_overlap(
        logits.softmax(1),
        labels,
        drawn,
        kind=settings.overlap,
        per_sample=settings.per_sample,
        squared=settings.squared,
        background=settings.background,
        missed_weight=settings.missed_weight,
        add=add,
    )


def _pixel_part(logits: Tensor, labels: Tensor, drawn: Tensor, settings: LossSettings, add: Add) -> Tensor:
    if settings.pixel == "none":
        return logits.new_zeros(())
    weight = settings.structure_weight
    if weight is None:
        raise SettingsError(
            "structure_weight is None, so it has to be counted from the training images before the loss can be "
            "taken; call losses.with_counted_weight, or give a number."
        )
    if settings.pixel == "bce":
        return balanced_binary_entropy(logits, labels, drawn, structure_weight=weight, add=add)
    if settings.pixel == "focal":
        return focal_entropy(logits, labels, gamma=settings.focal_gamma, structure_weight=weight, add=add)
    return cross_entropy(logits, labels, structure_weight=weight, add=add)


# --- how much a structure's pixel should weigh, from the training images themselves

LARGEST_WEIGHT = 50.0


def count_weight(seen: Iterable[tuple[Tensor, Tensor]]) -> float:
    """Give how many times as many pixels the background has as the structures, at most 50 times.

    An image on which nothing was drawn tells nothing and is left out. A structure that was not drawn is counted for
    what it lies in, as the loss does. `seen` gives the reference and `drawn` of batches as training sees them.

    Examples
    --------
    >>> import torch
    >>> count_weight([(torch.tensor([[[0, 0, 0, 1]]]), torch.tensor([[True]]))])
    3.0
    """
    background = structures = 0.0
    for reference, drawn in seen:
        chosen = reference[drawn.any(1)]
        if chosen.is_floating_point():
            inside = float(chosen[:, 1:].double().sum())
            pixels = chosen[:, 0].numel()
        else:
            inside = int((chosen > 0).sum())
            pixels = chosen.numel()
        structures += inside
        background += pixels - inside
    if not structures:
        return 1.0
    return min(max(background / structures, 1 / LARGEST_WEIGHT), LARGEST_WEIGHT)


def with_counted_weight(settings: LossSettings, seen: Iterable[tuple[Tensor, Tensor]]) -> LossSettings:
    """Fill in the weight of structures from the training images, where the settings leave it open.

    `seen` is as for `count_weight`, and is not touched where a weight is given.
    """
    if settings.structure_weight is not None:
        return settings
    return replace(settings, structure_weight=count_weight(seen))
