"""What a training makes small: how far the answer is from the reference, in shapes and in pixels."""

from autoseg.training.losses.overlap import soft_overlap
from autoseg.training.losses.pixels import balanced_binary_entropy, cross_entropy, focal_entropy, log_probabilities
from autoseg.training.losses.reference import one_hot, reference_of_size
from autoseg.training.losses.total import (
    LossParts,
    count_weight,
    merge_undrawn,
    outputs_loss,
    segmentation_loss,
    with_counted_weight,
)
