"""What a training makes small: how far the answer is from the reference, in shapes and in pixels."""

from autoseg.training.losses.overlap import SMOOTHING, soft_dice, soft_overlap
from autoseg.training.losses.pixels import balanced_binary_entropy, cross_entropy, focal_entropy, log_probabilities
from autoseg.training.losses.reference import one_hot, reference_of_size
from autoseg.training.losses.total import (
    LARGEST_WEIGHT,
    LossParts,
    count_weight,
    merge_undrawn,
    outputs_loss,
    segmentation_loss,
    with_counted_weight,
)

__all__ = [
    "LARGEST_WEIGHT",
    "SMOOTHING",
    "LossParts",
    "balanced_binary_entropy",
    "count_weight",
    "cross_entropy",
    "focal_entropy",
    "log_probabilities",
    "merge_undrawn",
    "one_hot",
    "outputs_loss",
    "reference_of_size",
    "segmentation_loss",
    "soft_dice",
    "soft_overlap",
    "with_counted_weight",
]
