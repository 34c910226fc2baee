"""Two groups of settings: which network, and what a training makes small."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args, get_type_hints

from autoseg.model.settings.rules import require, require_probability


@dataclass(frozen=True)
class NetworkSettings:
    """Which network, and how large.

    Parameters
    ----------
    name : {"unet", "resunet", "shallow", "unext", "pyramid", "maskdino", "dilated"}
        Name in `autoseg.model.networks`.
    filters : tuple of int, optional
        Feature channels of each level, the finest first; in the U-Nets every further level halves the size. In the
        shallow one those of each of its six convolutions. None: the network's own standard size.
    dropout : float, optional
        Probability with which a feature channel is left out while training. None: the network's own, 0.3 in the
        pyramid and 0 in the others.
    norm : {"instance", "batch"}
        Normalisation in U-Net and ResUNet: of each image by itself, or of the batch. The others have their own.
    deep_supervision : bool
        U-Net and ResUNet also learn from what their coarser levels answer.
    strides : tuple of tuples of int, optional
        Of the U-Nets: by how much each level divides the size that it is given, along every axis; one fewer than
        filters. Thick slices are halved later than pixels. None: by 2 everywhere.
    """

    name: Literal["unet", "resunet", "shallow", "unext", "pyramid", "maskdino", "dilated"] = "unet"
    filters: tuple[int, ...] | None = None
    dropout: float | None = None
    norm: Literal["instance", "batch"] = "instance"
    deep_supervision: bool = False
    strides: tuple[tuple[int, ...], ...] | None = None

    def __post_init__(self) -> None:
        if self.filters is not None:
            require(
                2 <= len(self.filters) <= 8 and all(1 <= n <= 2048 for n in self.filters),
                f"filters is {self.filters}; give 2 to 8 numbers of feature channels.",
            )
        if self.dropout is not None:
            require(0 <= self.dropout < 1, f"dropout is {self.dropout}; it lies between 0 and 1.")
        if self.strides is not None:
            object.__setattr__(self, "strides", tuple(tuple(step) for step in self.strides))  # JSON gives lists
            require(
                all(len(step) in (2, 3) and all(n in (1, 2, 3, 4) for n in step) for step in self.strides),
                f"strides is {self.strides}; give a tuple of 1, 2, 3 or 4 for every axis of each level.",
            )
        require(self.norm in ("instance", "batch"), f"norm is {self.norm!r}; give instance or batch.")


@dataclass(frozen=True)
class LossSettings:
    """What a training makes small: a part that compares shapes plus a part that compares pixels.

    Dice finds structures fast but enlarges unsure ones (Bertels et al., Medical Image Analysis 2021), which
    cross-entropy does not; so the shapes' part fades out on the way.

    Structures that were not drawn on an image are unknown to every loss; raters' shares are compared as they are.

    Parameters
    ----------
    overlap : {"dice", "iou", "tversky", "none"}
        How shapes are compared.
    pixel : {"cross_entropy", "bce", "focal", "none"}
        How pixels are compared. "bce", binary cross-entropy, asks of every structure apart whether the pixel is of
        it or of anything else, by the probability with which the network predicts it.
    overlap_weight, pixel_weight : float
        Weights of the two parts at the start.
    overlap_until : float
        Fraction of the training after which the shapes' part has faded away; infinity keeps it whole.
    late_pixel_weight : float
        Weight of the pixels' part then; its gradient, a mean over all pixels, is the smaller one. Without effect
        where the shapes' part stays, or where there is none.
    structure_weight : float, optional
        Weight of a structure's pixels in the pixels' part; a background pixel has 1. None: from the training
        images, as many times as they have more background than structures, at most 50.
    per_sample : bool
        Compare shapes image by image, not in the whole batch together.
    squared : bool
        Square the probabilities in the denominator, as the V-Net does (Milletari et al. 2016). Not of "tversky".
    background : bool
        The background counts as one structure more where shapes are compared.
    focal_gamma : float
        Of "focal": how much it passes over pixels that are right already; at 0 it is cross-entropy.
    missed_weight : float
        Of "tversky": weight of pixels that were missed; those found wrongly have 1 minus it. 0.5 is Dice.

    Examples
    --------
    What is often asked for; without a part that compares pixels, the other must not fade away:

    >>> bce_and_iou = LossSettings(overlap="iou", pixel="bce", structure_weight=None)
    >>> missed_more = LossSettings(overlap="tversky", pixel="none", overlap_until=float("inf"))
    >>> v_net = LossSettings(squared=True, pixel="none", overlap_until=float("inf"))
    """

    overlap: Literal["dice", "iou", "tversky", "none"] = "dice"
    pixel: Literal["cross_entropy", "bce", "focal", "none"] = "cross_entropy"
    overlap_weight: float = 1.0
    pixel_weight: float = 1.0
    overlap_until: float = 0.6
    late_pixel_weight: float = 10.0
    structure_weight: float | None = 1.0
    per_sample: bool = False
    squared: bool = False
    background: bool = False
    focal_gamma: float = 2.0
    missed_weight: float = 0.7

    def __post_init__(self) -> None:
        known = get_type_hints(LossSettings)
        for name in ("overlap", "pixel"):
            words = get_args(known[name])
            require(getattr(self, name) in words, f"{name} is {getattr(self, name)!r}; give {', '.join(words)}.")
        for name in ("per_sample", "squared", "background"):
            value = getattr(self, name)
            require(isinstance(value, bool), f"{name} is {value!r}; give True or False.")
        for name in ("overlap_weight", "pixel_weight", "late_pixel_weight"):
            value = getattr(self, name)
            require(0 <= value <= 1000, f"{name} is {value}; give 0 to 1000.")
        require(
            self.structure_weight is None or 0 < self.structure_weight <= 1000,
            f"structure_weight is {self.structure_weight}; give more than 0, at most 1000, or None.",
        )
        require(0 <= self.focal_gamma <= 10, f"focal_gamma is {self.focal_gamma}; give 0 to 10.")
        require(self.overlap_until > 0, f"overlap_until is {self.overlap_until}; give more than 0.")
        self._check_shapes()
        self._check_something_is_left()

    def _check_shapes(self) -> None:
        require_probability("missed_weight", self.missed_weight)
        require(
            self.overlap != "tversky" or 0 < self.missed_weight < 1,
            f"missed_weight is {self.missed_weight}; with tversky it lies between 0 and 1: at 0 the network would "
            "learn to find nothing, at 1 everything.",
        )
        require(
            not (self.squared and self.overlap == "tversky"),
            "squared is True and overlap is 'tversky', which has no squares; give squared=False, or 'dice'.",
        )

    def _check_something_is_left(self) -> None:
        """Something must be compared at the start of a training, and at its end."""
        shapes = 0.0 if self.overlap == "none" else self.overlap_weight
        pixels = 0.0 if self.pixel == "none" else self.pixel_weight
        require(
            shapes + pixels > 0,
            f"Both parts of the loss have weight 0 (overlap is {self.overlap!r} with overlap_weight "
            f"{self.overlap_weight}, pixel {self.pixel!r} with pixel_weight {self.pixel_weight}), so nothing is "
            "learnt; give one of them.",
        )
        until = f"overlap_until is {self.overlap_until}"
        require(
            self.overlap == "none" or self.pixel != "none" or self.overlap_until > 1,
            f"pixel is 'none' and {until}: without a part that compares pixels, the whole loss would fade out; "
            "give overlap_until = inf.",
        )
        require(
            self.overlap == "none" or self.late_pixel_weight > 0 or self.overlap_until > 1,
            f"late_pixel_weight is {self.late_pixel_weight} and {until}: the whole loss would fade out; give a "
            "weight above 0, or overlap_until = inf.",
        )
