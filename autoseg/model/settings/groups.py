"""Two groups of settings: how images are prepared, and how slices are varied."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args, get_type_hints

from autoseg.errors import SettingsError

# --- what values of settings are checked with

Range = tuple[float, float]


def require(condition: bool, message: str) -> None:
    """Raise SettingsError with this message unless the condition holds."""
    if not condition:
        raise SettingsError(message)


def require_range(name: str, value: Range, *, low: float, high: float) -> None:
    """Raise SettingsError unless the value is two numbers in order and within the limits."""
    require(
        len(value) == 2 and low <= value[0] <= value[1] <= high,
        f"{name} is {value}; give two numbers, the smaller first, between {low:g} and {high:g}.",
    )


def require_probability(name: str, value: float) -> None:
    """Raise SettingsError unless the value lies between 0 and 1."""
    require(0 <= value <= 1, f"{name} is {value}; a probability lies between 0 and 1.")


@dataclass(frozen=True)
class PreprocessSettings:
    """How an image is brought to the network's grid.

    Parameters
    ----------
    spacing_mm : float, optional
        Distance in mm between the network's pixels, the same along rows and columns. None: chosen from the
        training images (their median, but no more than about 192 pixels across an image, or across its crop).
    input_shape : (2,) tuple of int, optional
        Resize every image to these (rows, columns) instead, whatever its spacing, as the published
        workbench does. The proportions of an image that is not of that shape change. None and no image with
        a spacing: chosen from the training images' median shape.
    clip_percentiles : (2,) tuple of float
        Each image's intensities are clipped to these of its own percentiles, then brought to mean 0 and
        standard deviation 1.
    clahe : bool
        Equalise the contrast of each slice piece by piece first (CLAHE); off by default.
    clahe_limit : float
        How far CLAHE may raise the contrast; 1 hardly at all.
    crop_mm : (2,) tuple of float, optional
        (rows, columns) in mm of the region that the network sees in place of the whole image, for small
        structures in large images. Rounded up to what the network's levels need.
    crop_shape : (2,) tuple of int, optional
        The same in the network's pixels, for images without millimetres.
    crop_by_site : tuple of (str, float, float)
        Regions (site, rows, columns) of images whose case or subject is named after that site (`site1` of
        `site1-sc01`), in mm with `crop_mm` and in the image's own pixels with `crop_shape`. They are brought to
        the size of that crop. Other images have the crop as it is.
    crop_shift : float
        In training the crop lies this fraction of its size, at most, beside the middle of the case's labels, drawn
        anew each time: the network must not learn that the structure is in the middle.
    crop_anywhere : float
        Probability with which a training crop lies anywhere in the image, so that the network meets the rest.
    find_region : {"coarse", "whole"}
        How a new image is segmented where training saw crops. "coarse": a first pass over the whole image finds the
        region, a second segments it, and outside is background. "whole": the whole image is segmented.
    neighbours : int
        Slices on either side that the network sees along with each slice ("2.5-D"), as further channels. At the
        ends of an image the last slice stands in for those that are not there.
    """

    spacing_mm: float | None = None
    input_shape: tuple[int, int] | None = None
    clip_percentiles: Range = (0.5, 99.5)
    clahe: bool = False
    clahe_limit: float = 2.0
    crop_mm: Range | None = None
    crop_shape: tuple[int, int] | None = None
    crop_by_site: tuple[tuple[str, float, float], ...] = ()
    crop_shift: float = 0.25
    crop_anywhere: float = 0.2
    find_region: Literal["coarse", "whole"] = "coarse"
    neighbours: int = 0

    def __post_init__(self) -> None:
        if self.spacing_mm is not None:
            require(0 < self.spacing_mm <= 20, f"spacing_mm is {self.spacing_mm}; give mm between 0 and 20.")
            require(self.input_shape is None, "Give spacing_mm or input_shape, not both.")
        if self.input_shape is not None:
            require(
                len(self.input_shape) == 2 and all(32 <= n <= 4096 for n in self.input_shape),
                f"input_shape is {self.input_shape}; give (rows, columns) from 32 to 4096.",
            )
        require_range("clip_percentiles", self.clip_percentiles, low=0, high=100)
        require(
            isinstance(self.neighbours, int) and 0 <= self.neighbours <= 8,
            f"neighbours is {self.neighbours}; give a whole number of slices from 0 to 8.",
        )
        require(self.clahe_limit >= 1, f"clahe_limit is {self.clahe_limit}; give 1 or more.")
        self._check_crop()

    def _check_crop(self) -> None:
        for name, least, most in (("crop_mm", 1, 2000), ("crop_shape", 16, 4096)):
            size = getattr(self, name)
            require(
                size is None or (len(size) == 2 and all(least <= n <= most for n in size)),
                f"{name} is {size}; give (rows, columns) from {least} to {most}.",
            )
        require(self.crop_mm is None or self.crop_shape is None, "Give crop_mm or crop_shape, not both.")
        require(
            self.crop_mm is None or self.input_shape is None,
            "crop_mm needs the images' millimetres, which input_shape passes over; give crop_shape.",
        )
        sites: tuple[Any, ...] = tuple(tuple(site) for site in self.crop_by_site)  # JSON gives lists
        object.__setattr__(self, "crop_by_site", sites)
        require(
            not sites or self.crop_mm is not None or self.crop_shape is not None,
            "crop_by_site changes a crop; give crop_mm or crop_shape too.",
        )
        for site in sites:
            require(
                len(site) == 3 and bool(site[0]) and min(site[1:]) > 0,
                f"crop_by_site holds {site}; give (site, rows, columns), the sizes more than 0.",
            )
        require(0 <= self.crop_shift <= 0.5, f"crop_shift is {self.crop_shift}; give 0 to 0.5 of the crop.")
        require_probability("crop_anywhere", self.crop_anywhere)
        require(
            self.find_region in ("coarse", "whole"),
            f"find_region is {self.find_region!r}; give 'coarse' or 'whole'.",
        )


@dataclass(frozen=True)
class AugmentationSettings:
    """How training slices are varied; every sample draws anew, each change with its own probability and range.

    The defaults turn and zoom far more than the published manual (`manual()`), which few subjects need.

    Parameters
    ----------
    rotation_probability, rotation_deg : float, float
        Turn by up to this many degrees either way.
    scaling_probability, scaling : float, (2,) tuple of float
        Factor on the size of what is seen, drawn for rows and columns apart.
    zoom_probability, zoom : float, (2,) tuple of float
        Factor on the size of what is seen, the same for rows and columns.
    crop_probability, crop : float, (2,) tuple of float
        Keep this fraction of the width and height at a random place and enlarge it to the full frame. (Not the
        crop around the structures, which is one of the `PreprocessSettings`.)
    shift_probability, shift : float, float
        Move by up to this fraction of the frame along each axis.
    flip_probability : float
        Mirror left and right, and exchange the labels of paired structures; off by default.
    flip_rows_probability : float
        Mirror up and down; mirrors the anatomy too, so paired structures are exchanged. Off by default.
    quarter_turn_probability : float
        Turn by 90, 180 or 270 degrees; off by default.
    brightness_probability, brightness : float, float
        Add up to this many standard deviations.
    contrast_probability, contrast : float, (2,) tuple of float
        Factor about the image's mean.
    gamma_probability, gamma : float, (2,) tuple of float
        Exponent on the intensities scaled to 0 … 1.
    noise_probability, noise : float, float
        Gaussian noise of up to this many standard deviations.
    """

    rotation_probability: float = 1.0
    rotation_deg: float = 180.0
    scaling_probability: float = 1.0
    scaling: Range = (0.9, 1.1)
    zoom_probability: float = 1.0
    zoom: Range = (0.7, 1.4)
    crop_probability: float = 0.0
    crop: Range = (0.5, 0.8)
    shift_probability: float = 1.0
    shift: float = 0.1
    flip_probability: float = 0.0
    flip_rows_probability: float = 0.0
    quarter_turn_probability: float = 0.0
    brightness_probability: float = 0.8
    brightness: float = 0.3
    contrast_probability: float = 0.8
    contrast: Range = (0.7, 1.4)
    gamma_probability: float = 0.8
    gamma: Range = (0.7, 1.5)
    noise_probability: float = 0.5
    noise: float = 0.15

    def __post_init__(self) -> None:
        for item in fields(self):
            if item.name.endswith("_probability"):
                require_probability(item.name, getattr(self, item.name))
        require(0 <= self.rotation_deg <= 180, f"rotation_deg is {self.rotation_deg}; give 0 to 180.")
        require_range("scaling", self.scaling, low=0.1, high=10)
        require_range("zoom", self.zoom, low=0.1, high=10)
        require_range("crop", self.crop, low=0.1, high=1)
        require(0 <= self.shift <= 1, f"shift is {self.shift}; it is a fraction of the frame, 0 to 1.")
        require(0 <= self.brightness <= 100, f"brightness is {self.brightness}; give 0 to 100.")
        require_range("contrast", self.contrast, low=0.01, high=100)
        require_range("gamma", self.gamma, low=0.01, high=100)
        require(0 <= self.noise <= 100, f"noise is {self.noise}; give 0 to 100.")

    @classmethod
    def manual(cls) -> AugmentationSettings:
        """Give exactly the augmentation of the published workbench's manual."""
        half: dict[str, Any] = {"rotation_probability": 0.5, "scaling_probability": 0.5, "crop_probability": 0.5}
        return dataclasses.replace(cls.off(), **half, rotation_deg=5.0, scaling=(0.8, 1.0), crop=(0.5, 0.8))

    @classmethod
    def volumes(cls) -> AugmentationSettings:
        """Give what volumes are varied with: turned by 15 degrees at most about every axis, and zoomed less."""
        return cls(rotation_deg=15.0, zoom=(0.85, 1.2), scaling_probability=0.5)

    @classmethod
    def off(cls) -> AugmentationSettings:
        """Give settings that leave every sample as it is."""
        never: dict[str, Any] = {f.name: 0.0 for f in fields(cls) if f.name.endswith("_probability")}
        return cls(**never)


# --- A group of settings: what of a trained model goes on learning when it is fine-tuned, and how fast

# The parts that every network has (`autoseg.model.networks.parts_of`), from the image to the answer.
PARTS = ("contraction", "bottleneck", "expansion", "tail")
NOTHING = ("", "none")


@dataclass(frozen=True)
class Phase:
    """A stretch of a training: the parts that rest, the peak learning rate, where it begins and ends (0 to 1)."""

    frozen: tuple[str, ...]
    learning_rate: float
    start: float = 0.0
    end: float = 1.0


@dataclass(frozen=True)
class FineTuneSettings:
    """What of a trained model goes on learning when it is fine-tuned; without effect in other trainings.

    The parts of a network are "contraction" (from the image downward), "bottleneck" (its deepest level),
    "expansion" (upward again) and "tail" (the answer). The learning rate is `learning_rate` of all settings, for
    which 0.00001 was found good, with the contraction frozen and nothing replaced.

    Parameters
    ----------
    frozen : tuple of str
        Parts that stay as they are, to the last bit; empty or "none": all learn. What had to begin anew in them
        learns nevertheless. Without effect where there are `phases`, which have their own.
    replaced : tuple of str
        Parts that begin anew instead of going on from the trained ones ("network surgery").
    rates : tuple of (str, float)
        Parts that learn more slowly or faster than the others: the part, and what its learning rate is multiplied
        by. Written as "contraction, 0.1; tail, 10".
    new_learning_rate : float
        The learning rate's peak where a layer begins anew, because it was replaced or did not fit; that of the
        others where it is higher. What was learnt already wants small steps, what is new the usual ones. `rates` do
        not count there.
    phases : tuple of (str, float, float)
        Stretches of the training one after the other, each with the parts that are frozen in it ("none", or
        several with + between), its own learning rate, and how long it is in proportion to the others. With 40
        epochs, "contraction+bottleneck, 0.0001, 10; none, 0.00001, 30" frees all parts after 10 of them. The
        schedule of the learning rate runs anew in each, and `patience` counts in the last one only. A phase begins
        with an epoch, and each has one at least where there is time.
    """

    frozen: tuple[str, ...] = ("contraction",)
    replaced: tuple[str, ...] = ()
    rates: tuple[tuple[str, float], ...] = ()
    new_learning_rate: float = 1e-3
    phases: tuple[tuple[str, float, float], ...] = ()

    def __post_init__(self) -> None:
        for name in ("frozen", "replaced"):
            value = getattr(self, name)
            parts = (value,) if isinstance(value, str) else tuple(value)
            object.__setattr__(self, name, _known(name, parts))
        for name in ("rates", "phases"):
            object.__setattr__(self, name, tuple(tuple(row) for row in getattr(self, name)))  # JSON gives lists
        _require_some_learn("frozen", self.frozen)
        rate = self.new_learning_rate
        require(0 < rate < 10, f"new_learning_rate is {rate}; give more than 0, and less than 10.")
        self._check_rates()
        self._check_phases()

    def _check_rates(self) -> None:
        require(all(len(row) == 2 for row in self.rates), f"rates is {self.rates}; give pairs of part and factor.")
        parts = _known("rates", tuple(part for part, _ in self.rates))
        require(len(set(parts)) == len(parts), f"rates is {self.rates}; give each part once.")
        for part, factor in self.rates:
            require(
                0 < factor <= 10000,
                f"rates is {self.rates}; {part} has {factor}. Give more than 0, at most 10000; a part that is not "
                "to learn is one of frozen.",
            )

    def _check_phases(self) -> None:
        for row in self.phases:
            require(
                len(row) == 3,
                f"phases is {self.phases}; give each three values: frozen parts, learning rate and length.",
            )
            parts, rate, length = row
            _require_some_learn("phases", _known("phases", tuple(parts.split("+"))))
            require(0 < rate < 10, f"phases is {self.phases}; the learning rate {rate} is not between 0 and 10.")
            require(0 < length < 1e6, f"phases is {self.phases}; the length {length} is not more than 0.")


def phases_of(settings: FineTuneSettings, learning_rate: float) -> tuple[Phase, ...]:
    """Give the phases of a fine-tuning; one where the settings have none.

    Examples
    --------
    >>> phases_of(FineTuneSettings(phases=(("contraction", 1e-4, 10), ("none", 1e-5, 30))), 1e-5)[1]
    Phase(frozen=(), learning_rate=1e-05, start=0.25, end=1.0)
    """
    if not settings.phases:
        return (Phase(settings.frozen, learning_rate),)
    total, done, found = sum(length for _, _, length in settings.phases), 0.0, []
    for parts, rate, length in settings.phases:
        frozen = _known("phases", tuple(parts.split("+")))
        found.append(Phase(frozen, rate, done / total, (done + length) / total))
        done += length
    return tuple(found)


def _known(name: str, parts: tuple[str, ...]) -> tuple[str, ...]:
    """Give the parts, once each was found to be one; "none" is no part."""
    parts = tuple(part.strip() for part in parts)
    kept = tuple(part for part in parts if part.lower() not in NOTHING)
    unknown = [part for part in kept if part not in PARTS]
    require(not unknown, f"{name} names the part(s) {', '.join(unknown)}; a network has {', '.join(PARTS)}.")
    return kept


def _require_some_learn(name: str, frozen: tuple[str, ...]) -> None:
    require(set(frozen) != set(PARTS), f"{name} names all parts, so nothing would be learnt; leave one out.")


# --- two groups of settings: which network, and what a training makes small


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


# --- A group of settings: how whole volumes are learnt from, in 3-D

Triple = tuple[float, float, float]
# Which pair of directions each letter of an axis code belongs to.
SIDES = ("RL", "AP", "IS")


@dataclass(frozen=True)
class VolumeSettings:
    """How whole volumes are learnt from; without effect where `spatial_dims` is 2.

    A volume is turned by whole quarters so that its axes run as `orientation` says, brought to `spacing_mm`, and
    learnt from in patches. A prediction is put together from overlapping patches and brought back.

    Parameters
    ----------
    orientation : str
        Where each of the three axes begins: R or L, A or P, I or S, as the Spinal Cord Toolbox writes it. "RPI":
        the first axis runs from right to left, the second from the back (posterior) to the front, the third from
        the feet (inferior) to the head.
    spacing_mm : (3,) tuple of float, optional
        Distance in mm between the network's voxels along these axes. None: the training images' median of each.
    patch_size : (3,) tuple of int, optional
        Voxels that the network sees at once along these axes, rounded up to what its levels need. None: the whole
        volume where that is not more than about 128 × 128 × 128 voxels, else a part of it.
    overlap : float
        Part of a patch that it shares with the next one, in training and in prediction.
    standardise : {"image", "landmarks"}
        How intensities are made comparable after clipping: "image" brings each image to mean 0 and standard
        deviation 1; "landmarks" maps the percentiles of its intensities to those that are usual in the training
        images (Nyúl, Udupa and Zhang, IEEE TMI 2000) before.
    landmarks : tuple of float
        The usual intensities, learnt from the training images and saved with the model; empty before.
    flips : (3,) tuple of float
        Probability of a mirror along each axis in training. A body that was mirrored has its left on the right, so
        the labels of paired structures are exchanged; along two axes it is only turned, and they stay.
    crop_mm : (2,) tuple of float, optional
        What is seen around the centreline, in mm along the two axes that lie across it. None: the whole volume.
    """

    orientation: str = "RPI"
    spacing_mm: Triple | None = None
    patch_size: tuple[int, int, int] | None = None
    overlap: float = 0.5
    standardise: Literal["image", "landmarks"] = "image"
    landmarks: tuple[float, ...] = ()
    flips: Triple = (0.0, 0.0, 0.0)
    crop_mm: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        code = self.orientation
        sides = sorted(pair for letter in code for pair in SIDES if letter in pair)
        require(
            len(code) == 3 and sides == sorted(SIDES),
            f"orientation is {code!r}; give three letters, one of R and L, one of A and P, one of I and S, such as "
            "RPI.",
        )
        require(
            self.spacing_mm is None or (len(self.spacing_mm) == 3 and all(0 < mm <= 50 for mm in self.spacing_mm)),
            f"spacing_mm is {self.spacing_mm}; give three distances between 0 and 50 mm.",
        )
        require(
            self.patch_size is None or (len(self.patch_size) == 3 and all(1 <= n <= 1024 for n in self.patch_size)),
            f"patch_size is {self.patch_size}; give three numbers of voxels from 1 to 1024.",
        )
        require(0 <= self.overlap < 0.95, f"overlap is {self.overlap}; give 0 to 0.9 of a patch.")
        require(
            self.standardise in ("image", "landmarks"),
            f"standardise is {self.standardise!r}; give image or landmarks.",
        )
        require(len(self.flips) == 3, f"flips is {self.flips}; give three probabilities, one for each axis.")
        for probability in self.flips:
            require_probability("flips", probability)
        require(
            self.crop_mm is None or (len(self.crop_mm) == 2 and all(1 <= mm <= 2000 for mm in self.crop_mm)),
            f"crop_mm is {self.crop_mm}; give two lengths from 1 to 2000 mm.",
        )
