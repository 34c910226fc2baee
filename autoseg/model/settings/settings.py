"""Every choice that a training can be given, declared once: kind, default, unit, limits and what it does."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any, Literal, get_type_hints

from autoseg.errors import SettingsError
from autoseg.model.settings.declare import NOTHING, SettingsGroup, setting
from autoseg.words import named

Pair = tuple[float, float]
Triple = tuple[float, float, float]
# The parts that every network has (`autoseg.model.networks.parts_of`), from the image to the answer.
PARTS = ("contraction", "bottleneck", "expansion", "tail")
# Which pair of directions each letter of an axis code belongs to.
SIDES = ("RL", "AP", "IS")
# What networks are called where people read of them (`autoseg.model.networks`).
NETWORK_NAMES = {
    "unet": "U-Net",
    "resunet": "ResUNet",
    "shallow": "Shallow U-Net",
    "unext": "UNeXt",
    "efficientnet": "EfficientNet U-Net",
    "pyramid": "Multi-scale pyramid",
    "maskdino": "Mask DINO",
    "dilated": "Dilated",
}
# What settings were called in the model files of earlier versions.
FORMER_NAMES = {
    "dice_weight": "overlap_weight",
    "cross_entropy_weight": "pixel_weight",
    "dice_until": "overlap_until",
    "late_cross_entropy_weight": "late_pixel_weight",
}


Problems = Iterator[tuple[str, str]]


def _probability(title: str, default: float, of: str, **more: Any) -> float:
    return setting(default, title, at_least=0, at_most=1, words=f"Probability of {of}.", **more)


def _size(title: str, **limits: Any) -> Any:
    return setting(None, title, written="(rows, columns)", **limits)


@dataclass(frozen=True)
class PreprocessSettings(SettingsGroup, group="preprocess", title="How images are prepared"):
    """How an image is brought to the network's grid."""

    spacing_mm: float | None = setting(None, "Pixel size", above=0, at_most=20, unit="mm", option=True, simple=True)
    """Distance between the network's pixels, the same along rows and columns. None: chosen from the training images
    (their median, but no more than about 192 pixels across an image, or across its crop)."""
    input_shape: tuple[int, int] | None = _size("Resize to", at_least=32, at_most=4096, unit="pixels", option=True)
    """Resize every image to this instead, whatever its spacing, as the published workbench does. The proportions of
    an image that is not of that shape change. None and no image with a spacing: chosen from the training images'
    median shape."""
    clip_percentiles: Pair = setting(
        (0.5, 99.5), "Clip beyond percentiles", at_least=0, at_most=100, ascending=True
    )
    """Each image's intensities are clipped to these of its own percentiles, then brought to mean 0 and standard
    deviation 1."""
    normalise: Literal["slice", "image"] = setting(
        "slice", "Even out brightness of each", option=True, called={"slice": "slice", "image": "whole image"}
    )
    """Whose intensities these percentiles, mean and deviation are: of each slice by itself, or of all slices of an
    image together, where slices at its ends show little. Of a whole image mean and deviation are those of what is
    brighter than its mean, so that the air around a head does not count. With `clahe` always of each slice; volumes
    (3-D) are always taken whole."""
    clahe: bool = setting(False, "Raise contrast locally (CLAHE)", option=True)
    """Equalise the contrast of each slice piece by piece first (CLAHE)."""
    clahe_limit: float = setting(2.0, "Most contrast by CLAHE", at_least=1)
    """How far CLAHE may raise the contrast; 1 hardly at all."""
    crop_mm: Pair | None = _size(
        "Region around structures", at_least=1, at_most=2000, unit="mm", option=True, simple=True
    )
    """The region that the network sees in place of the whole image, for small structures in large images. Rounded
    up to what the network's stages need."""
    crop_shape: tuple[int, int] | None = _size(
        "Region without mm", at_least=16, at_most=4096, unit="the network's pixels"
    )
    """The same as `crop_mm` for images without millimetres."""
    crop_by_site: tuple[tuple[str, float, float], ...] = setting(
        (), "Region of each site", above=0, written="(site, rows, columns) each"
    )
    """Regions of images whose case or subject is named after that site (`site1` of `site1-sc01`), in mm with
    `crop_mm` and in the image's own pixels with `crop_shape`. They are brought to the size of that crop. Other
    images have the crop as it is. Written as "site1, 50, 40; site2, 30, 30"."""
    crop_shift: float = setting(0.25, "Region beside the middle, part", at_least=0, at_most=0.5)
    """In training the crop lies this fraction of its size, at most, beside the middle of the case's labels, drawn
    anew each time: the network must not learn that the structure is in the middle."""
    crop_anywhere: float = _probability(
        "Region anywhere, probability",
        0.2,
        "a training crop anywhere in the image, so that the network meets the rest",
    )
    find_region: Literal["coarse", "whole"] = setting(
        "coarse", "In a new image", called={"coarse": "find the region first", "whole": "segment all of it"}
    )
    """How a new image is segmented where training saw crops. "coarse": a first pass over the whole image finds the
    region, a second segments it, and outside is background. "whole": the whole image is segmented."""
    neighbours: int = setting(0, "Slices seen on either side", at_least=0, at_most=8, simple=True)
    """Slices on either side that the network sees along with each slice ("2.5-D"), as further channels. At the ends
    of an image the last slice stands in for those that are not there."""

    def problems(self) -> Problems:
        """Find more than one way to a grid, or more than one crop."""
        given = {name for name in ("spacing_mm", "input_shape", "crop_mm", "crop_shape") if getattr(self, name)}
        for one, other in (("spacing_mm", "input_shape"), ("crop_mm", "crop_shape")):
            if given >= {one, other}:
                yield one, f"Give {one} or {other}, not both."
        if given >= {"crop_mm", "input_shape"}:
            yield (
                "crop_mm",
                "crop_mm needs the images' millimetres, which input_shape passes over; give crop_shape.",
            )
        if self.crop_by_site and not given & {"crop_mm", "crop_shape"}:
            yield "crop_by_site", "crop_by_site changes a crop; give crop_mm or crop_shape too."
        for site in self.crop_by_site:
            if not site[0]:
                yield "crop_by_site", f"crop_by_site holds {site}; give the site's name first."


@dataclass(frozen=True)
class AugmentationSettings(SettingsGroup, group="augmentation", title="How images are varied"):
    """How training slices are varied; every sample draws anew, each change with its own probability and range.

    The defaults turn and zoom far more than the published manual (`manual()`), which few subjects need.
    """

    rotation_probability: float = _probability("Turn", 1.0, "a turn by up to `rotation_deg`")
    rotation_deg: float = setting(
        180.0, "Turn up to", at_least=0, at_most=180, unit="degrees", option=True, simple=True
    )
    """Turn by up to this either way."""
    scaling_probability: float = _probability("Stretch", 1.0, "`scaling`")
    scaling: Pair = setting(
        (0.9, 1.1), "Stretch, from × to ×", at_least=0.1, at_most=10, ascending=True, simple=True
    )
    """Factor on the size of what is seen, drawn for rows and columns apart."""
    zoom_probability: float = _probability("Zoom", 1.0, "`zoom`")
    zoom: Pair = setting((0.7, 1.4), "Zoom, from × to ×", at_least=0.1, at_most=10, ascending=True, simple=True)
    """Factor on the size of what is seen, the same for rows and columns."""
    crop_probability: float = _probability("Crop", 0.0, "`crop`")
    crop: Pair = setting((0.5, 0.8), "Crop, part from, to", at_least=0.1, at_most=1, ascending=True)
    """Keep this fraction of the width and height at a random place and enlarge it to the full frame. (Not the crop
    around the structures, which is one of the `PreprocessSettings`.)"""
    shift_probability: float = _probability("Shift", 1.0, "a `shift`")
    shift: float = setting(0.1, "Shift, part of frame", at_least=0, at_most=1, simple=True)
    """Move by up to this fraction of the frame along each axis."""
    flip_probability: float = _probability(
        "Mirror left–right", 0.0, "a mirror left to right; labels of paired structures are exchanged", simple=True
    )
    flip_rows_probability: float = _probability(
        "Mirror up–down", 0.0, "a mirror up to down, which exchanges paired structures, too"
    )
    quarter_turn_probability: float = _probability("Quarter turns", 0.0, "a turn by 90, 180 or 270 degrees")
    brightness_probability: float = _probability("Brightness", 0.8, "a change of `brightness`")
    brightness: float = setting(0.3, "Brightness up to", at_least=0, at_most=100, unit="standard deviations")
    """Add or take away up to this."""
    contrast_probability: float = _probability("Contrast", 0.8, "a change of `contrast`")
    contrast: Pair = setting((0.7, 1.4), "Contrast, from × to ×", at_least=0.01, at_most=100, ascending=True)
    """Factor about the image's mean."""
    gamma_probability: float = _probability("Gamma", 0.8, "a change by `gamma`")
    gamma: Pair = setting((0.7, 1.5), "Gamma, from, to", at_least=0.01, at_most=100, ascending=True)
    """Exponent on the intensities scaled to 0 … 1."""
    noise_probability: float = _probability("Noise", 0.5, "`noise`")
    noise: float = setting(0.15, "Noise up to", at_least=0, at_most=100, unit="standard deviations")
    """Gaussian noise of up to this."""

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
        never: dict[str, Any] = {name: 0.0 for name in cls.declared if name.endswith("_probability")}
        return cls(**never)


@dataclass(frozen=True)
class Phase:
    """A stretch of a training: the parts that rest, the peak learning rate, where it begins and ends (0 to 1)."""

    frozen: tuple[str, ...]
    learning_rate: float
    start: float = 0.0
    end: float = 1.0


@dataclass(frozen=True)
class FineTuneSettings(SettingsGroup, group="finetune", title="What of a trained model goes on learning"):
    """What of a trained model goes on learning when it is fine-tuned; without effect in other trainings.

    The parts of a network are "contraction" (from the image downward), "bottleneck" (its deepest stage),
    "expansion" (upward again) and "tail" (the answer). The learning rate is `learning_rate` of all settings, for
    which 0.00001 was found good, with the contraction frozen and nothing replaced.
    """

    frozen: tuple[str, ...] = setting(
        ("contraction",), "Parts that rest", written=f"none or some of {', '.join(PARTS)}", simple=True
    )
    """Parts that stay as they are, to the last bit; empty or "none": all learn. What had to begin anew in them
    learns nevertheless. Without effect where there are `phases`, which have their own."""
    replaced: tuple[str, ...] = setting(
        (), "Parts that begin anew", written=f"none or some of {', '.join(PARTS)}", simple=True
    )
    """Parts that begin anew instead of going on from the trained ones ("network surgery")."""
    rates: tuple[tuple[str, float], ...] = setting(
        (), "Slower or faster parts", above=0, at_most=10000, written="(part, factor) each"
    )
    """Parts that learn more slowly or faster than the others: the part, and what its learning rate is multiplied
    by. Written as "contraction, 0.1; tail, 10". A part that is not to learn is one of `frozen`."""
    new_learning_rate: float = setting(1e-3, "Learning rate of new parts", above=0, below=10)
    """The learning rate's peak where a layer begins anew, because it was replaced or did not fit; that of the
    others where it is higher. What was learnt already wants small steps, what is new the usual ones. `rates` do not
    count there."""
    phases: tuple[tuple[str, float, float], ...] = setting(
        (), "Phases", above=0, below=1000000, written="(frozen parts, learning rate, length) each"
    )
    """Stretches of the training one after the other, each with the parts that are frozen in it ("none", or several
    with + between), its own learning rate, and how long it is in proportion to the others. With 40 epochs,
    "contraction+bottleneck, 0.0001, 10; none, 0.00001, 30" frees all parts after 10 of them. The schedule of the
    learning rate runs anew in each, and `patience` counts in the last one only. A phase begins with an epoch, and
    each has one at least where there is time."""

    def problems(self) -> Problems:
        """Find parts that there are not, and what leaves nothing to learn."""
        rates, phases = tuple(part for part, _ in self.rates), [_parts(names) for names, _, _ in self.phases]
        groups = (("frozen", self.frozen), ("replaced", self.replaced), ("rates", rates))
        for name, parts in (*groups, *(("phases", parts) for parts in phases)):
            unknown = [part for part in parts if part not in PARTS]
            if unknown:
                yield name, f"{name} names the {named('part', unknown)}; a network has {', '.join(PARTS)}."
            if name in ("frozen", "phases") and set(parts) == set(PARTS):
                yield name, f"{name} names all parts, so nothing would be learnt; leave one out."
        if len(set(rates)) < len(rates):
            yield "rates", f"rates is {self.rates}; give each part once."
        for _, rate, _ in self.phases:
            if rate >= 10:
                yield "phases", f"phases is {self.phases}; the learning rate {rate} is not below 10."

    def phases_at(self, learning_rate: float) -> tuple[Phase, ...]:
        """Give the phases of a fine-tuning; one of this learning rate where the settings have none.

        Examples
        --------
        >>> FineTuneSettings(phases=(("contraction", 1e-4, 10), ("none", 1e-5, 30))).phases_at(1e-5)[1]
        Phase(frozen=(), learning_rate=1e-05, start=0.25, end=1.0)
        """
        if not self.phases:
            return (Phase(self.frozen, learning_rate),)
        total, done, found = sum(length for _, _, length in self.phases), 0.0, []
        for names, rate, length in self.phases:
            found.append(Phase(_parts(names), rate, done / total, (done + length) / total))
            done += length
        return tuple(found)


def _parts(names: str) -> tuple[str, ...]:
    """Give the parts that stand with + between; "none" is no part."""
    return tuple(part.strip() for part in names.split("+") if part.strip().lower() not in NOTHING)


@dataclass(frozen=True)
class NetworkSettings(SettingsGroup, group="network", title="Network"):
    """Which network, and how large."""

    name: Literal["unet", "resunet", "shallow", "unext", "efficientnet", "pyramid", "maskdino", "dilated"] = (
        setting("unet", "Network", called=NETWORK_NAMES, simple=True)
    )
    """Name in `autoseg.model.networks`."""
    filters: tuple[int, ...] | None = setting(
        None, "Channels of each stage (filters)", at_least=1, at_most=2048, written="2 to 8 values"
    )
    """Feature channels of each stage, the finest first; in the U-Nets every further stage halves the size. In the
    shallow one those of each of its six convolutions, in EfficientNet's those of the expanding path, one for each
    time that the image is halved. None: the network's own standard size."""
    dropout: float | None = setting(None, "Left out at random (dropout)", at_least=0, below=1)
    """Probability with which a feature channel is left out while training. None: the network's own, 0.3 in the
    pyramid and 0 in the others."""
    norm: Literal["instance", "batch"] = setting(
        "instance", "Normalisation", called={"instance": "of each image", "batch": "of the batch"}
    )
    """Normalisation in U-Net and ResUNet: of each image by itself, or of the batch. In EfficientNet's U-Net "batch"
    takes means and variances of photographs, which never change. The others have their own."""
    deep_supervision: bool = setting(False, "Coarse stages answer, too")
    """U-Net, ResUNet and EfficientNet's U-Net also learn from what their coarser stages answer."""
    strides: tuple[tuple[int, ...], ...] | None = setting(
        None,
        "Each stage divides by",
        at_least=1,
        at_most=4,
        written='two or three for each stage, as in "2, 2; 1, 2"',
    )
    """Of the U-Nets: by how much each stage divides the size that it is given, along every axis; one fewer than
    filters. Thick slices are halved later than pixels. None: by 2 everywhere."""

    def problems(self) -> Problems:
        """Find too few or too many stages, and steps that are not along two axes or three."""
        if self.filters is not None and not 2 <= len(self.filters) <= 8:
            yield "filters", f"filters is {self.filters}; give 2 to 8 numbers of feature channels."
        if any(len(step) not in (2, 3) for step in self.strides or ()):
            yield "strides", f"strides is {self.strides}; give a number for each axis, two or three, of each stage."


@dataclass(frozen=True)
class LossSettings(SettingsGroup, group="loss", title="What a mistake costs (loss)"):
    """What a training makes small: a part that compares shapes plus a part that compares pixels.

    Dice finds structures fast but enlarges unsure ones (Bertels et al., Medical Image Analysis 2021), which
    cross-entropy does not; so the shapes' part fades out on the way.

    Structures that were not drawn on an image are unknown to every loss; raters' shares are compared as they are.

    Examples
    --------
    What is often asked for; without a part that compares pixels, the other must not fade away:

    >>> bce_and_iou = LossSettings(overlap="iou", pixel="bce", structure_weight=None)
    >>> missed_more = LossSettings(overlap="tversky", pixel="none", overlap_until=float("inf"))
    >>> v_net = LossSettings(squared=True, pixel="none", overlap_until=float("inf"))
    """

    overlap: Literal["dice", "iou", "tversky", "none"] = setting(
        "dice",
        "Shapes compared by",
        called={"dice": "Dice", "iou": "IoU", "tversky": "Tversky", "none": "not at all"},
    )
    """How shapes are compared."""
    pixel: Literal["cross_entropy", "bce", "focal", "none"] = setting(
        "cross_entropy",
        "Pixels compared by",
        called={
            "cross_entropy": "cross-entropy",
            "bce": "binary cross-entropy",
            "focal": "focal",
            "none": "not at all",
        },
    )
    """How pixels are compared. "bce", binary cross-entropy, asks of every structure apart whether the pixel is of
    it or of anything else, by the probability with which the network predicts it."""
    overlap_weight: float = setting(1.0, "Weight of shapes", at_least=0, at_most=1000)
    """Weight of the shapes' part at the start."""
    pixel_weight: float = setting(1.0, "Weight of pixels", at_least=0, at_most=1000)
    """Weight of the pixels' part at the start."""
    overlap_until: float = setting(0.6, "Shapes count until, part", above=0)
    """Fraction of the training after which the shapes' part has faded away; infinity (inf) keeps it whole."""
    late_pixel_weight: float = setting(10.0, "Weight of pixels then", at_least=0, at_most=1000)
    """Weight of the pixels' part then; its gradient, a mean over all pixels, is the smaller one. Without effect
    where the shapes' part stays, or where there is none."""
    structure_weight: float | None = setting(1.0, "Weight of a structure's pixels", above=0, at_most=1000)
    """Weight of a structure's pixels in the pixels' part; a background pixel has 1. None: from the training images,
    as many times as they have more background than structures, at most 50."""
    per_sample: bool = setting(False, "Shapes image by image")
    """Compare shapes image by image, not in the whole batch together."""
    squared: bool = setting(False, "Squared, as the V-Net")
    """Square the probabilities in the denominator, as the V-Net does (Milletari et al. 2016). Not of "tversky"."""
    background: bool = setting(False, "Background is a shape, too")
    """The background counts as one structure more where shapes are compared."""
    focal_gamma: float = setting(2.0, "Focal: passes over easy ones", at_least=0, at_most=10)
    """Of "focal": how much it passes over pixels that are right already; at 0 it is cross-entropy."""
    missed_weight: float = setting(0.7, "Tversky: weight of missed", at_least=0, at_most=1)
    """Of "tversky": weight of pixels that were missed; those found wrongly have 1 minus it. 0.5 is Dice."""

    def problems(self) -> Problems:
        """Find what "tversky" cannot do, and what would leave nothing to compare at the start or at the end."""
        if self.overlap == "tversky" and not 0 < self.missed_weight < 1:
            ends = "at 0 the network would learn to find nothing, at 1 everything"
            given = f"missed_weight is {self.missed_weight}"
            yield "missed_weight", f"{given}; with tversky it lies between 0 and 1: {ends}."
        if self.overlap == "tversky" and self.squared:
            known = "squared is chosen and overlap is tversky, which has no squares"
            yield "squared", f"{known}; leave one of them out."
        shapes = 0.0 if self.overlap == "none" else self.overlap_weight
        pixels = 0.0 if self.pixel == "none" else self.pixel_weight
        if shapes + pixels == 0:
            given = f"overlap is {self.overlap!r} with overlap_weight {self.overlap_weight}, "
            given += f"pixel {self.pixel!r} with pixel_weight {self.pixel_weight}"
            problem = f"Both parts of the loss have weight 0 ({given}), so nothing is learnt; give one of them."
            yield "overlap_weight", problem
        until, fades = f"overlap_until is {self.overlap_until}", self.overlap != "none" and self.overlap_until <= 1
        if fades and self.pixel == "none":
            why = "without a part that compares pixels, the whole loss would fade out"
            yield "pixel", f"pixel is none and {until}: {why}; give overlap_until = inf."
        if fades and self.late_pixel_weight == 0:
            fades_out = f"late_pixel_weight is {self.late_pixel_weight} and {until}: the whole loss would fade out"
            yield "late_pixel_weight", f"{fades_out}; give a weight above 0, or overlap_until = inf."


@dataclass(frozen=True)
class VolumeSettings(SettingsGroup, group="volume", title="Volumes (3-D)"):
    """How whole volumes are learnt from, in 3-D; without effect where `spatial_dims` is 2.

    A volume is turned by whole quarters so that its axes run as `orientation` says, brought to `spacing_mm`, and
    learnt from in patches. A prediction is put together from overlapping patches and brought back.
    """

    orientation: str = setting(
        "RPI",
        "Where the axes begin",
        written="three letters, one of R and L, one of A and P, one of I and S, such as RPI",
    )
    """Where each of the three axes begins: R or L, A or P, I or S, as the Spinal Cord Toolbox writes it. "RPI": the
    first axis runs from right to left, the second from the back (posterior) to the front, the third from the feet
    (inferior) to the head."""
    spacing_mm: Triple | None = setting(None, "Voxel size", above=0, at_most=50, unit="mm", simple=True)
    """Distance between the network's voxels along these axes. None: the training images' median of each."""
    patch_size: tuple[int, int, int] | None = setting(
        None, "Seen at once", at_least=1, at_most=1024, unit="voxels", simple=True
    )
    """What the network sees at once along these axes, rounded up to what its stages need. None: the whole volume
    where that is not more than about 128 × 128 × 128 voxels, else a part of it."""
    overlap: float = setting(0.5, "Overlap of patches, part", at_least=0, below=0.95)
    """Part of a patch that it shares with the next one, in training and in prediction."""
    standardise: Literal["image", "landmarks"] = setting(
        "image", "Even out brightness by", called={"image": "mean and deviation", "landmarks": "landmarks"}
    )
    """How intensities are made comparable after clipping: "image" brings each image to mean 0 and standard
    deviation 1; "landmarks" maps the percentiles of its intensities to those that are usual in the training images
    (Nyúl, Udupa and Zhang, IEEE TMI 2000) before."""
    landmarks: tuple[float, ...] = setting((), "Usual brightness (learnt)")
    """The usual intensities, learnt from the training images and saved with the model; empty before."""
    flips: Triple = setting((0.0, 0.0, 0.0), "Mirror along each axis", at_least=0, at_most=1)
    """Probability of a mirror along each axis in training. A body that was mirrored has its left on the right, so
    the labels of paired structures are exchanged; along two axes it is only turned, and they stay."""
    crop_mm: Pair | None = setting(None, "Seen around the centreline", at_least=1, at_most=2000, unit="mm")
    """What is seen around the centreline along the two axes that lie across it. None: the whole volume."""

    def problems(self) -> Problems:
        """Find an orientation that has not one letter of each pair."""
        sides = sorted(pair for letter in self.orientation for pair in SIDES if letter in pair)
        if len(self.orientation) != 3 or sides != sorted(SIDES):
            yield "orientation", f"orientation is {self.orientation!r}; give {self.declared['orientation'].wanted}."


@dataclass(frozen=True)
class PostprocessSettings(SettingsGroup, group="postprocess", title="How answers are cleaned"):
    """How every prediction of the model is cleaned, each structure on each slice, in this order.

    Without effect where the cleaning is chosen on the validation subjects (`choose_post`).
    """

    erosions: int = setting(0, "Layers taken off", at_least=0, at_most=3)
    """Layers of pixels that are taken off around each structure. Areas become smaller by them."""
    largest_component: bool = setting(False, "Keep the largest piece only", simple=True)
    """Keep the largest piece of each structure alone."""
    fill_holes: bool = setting(False, "Fill holes", simple=True)
    """Fill background that a structure encloses."""


@dataclass(frozen=True)
class Settings(SettingsGroup):
    """All settings of a training; saved in the model file."""

    epochs: int | None = setting(None, "Epochs (rounds over all)", at_least=1, option=True, simple=True)
    """Times that every training slice is seen. None: as many as fit into `minutes`. Settings made without a plan
    have 100 where `minutes` is not given either."""
    minutes: float | None = setting(
        None, "Minutes of learning", above=0, at_most=30 * 24 * 60, option=True, simple=True
    )
    """Time budget of the learning, 30 days at most. The learning-rate schedule is fitted to it, so that "cosine"
    and "polynomial" end low in time."""
    batch_size: int = setting(8, "Images at once (batch)", at_least=1, option=True, simple=True)
    """Slices seen at once. Halved, and said so, where the memory is not enough."""
    oversampling: float = setting(0.0, "With a structure, part", at_least=0, at_most=1)
    """At least this part of each batch are slices with a structure on them; empty ones give way. 0: as they are."""
    optimizer: Literal["adamw", "muon", "adam", "sgd"] = setting(
        "adamw", "Optimiser", called={"adamw": "AdamW", "muon": "Muon", "adam": "Adam", "sgd": "SGD"}
    )
    """What turns gradients into steps. "muon" is AdamW whose hidden weights change in all directions alike; "sgd"
    has Nesterov's momentum, and wants a learning rate of about 0.01."""
    learning_rate: float = setting(2e-3, "Learning rate (step size)", above=0, below=10, option=True, simple=True)
    """The learning rate's peak, reached after the warm-up."""
    schedule: Literal["cosine", "polynomial", "multistep", "plateau", "constant"] = setting(
        "cosine",
        "Learning rate falls",
        called={"multistep": "in steps", "plateau": "at a plateau", "constant": "not at all"},
    )
    """How the learning rate falls: smoothly to zero ("cosine", "polynomial"), in steps at the `milestones`, after
    `plateau_epochs` validated epochs without improvement, or not at all."""
    milestones: tuple[float, ...] = setting((0.5, 0.75), "Steps after these parts", above=0, below=1)
    """Of "multistep": the parts of the training after which the rate drops."""
    plateau_epochs: int = setting(10, "Epochs in vain before a step", at_least=1)
    """Of "plateau": validated epochs without improvement by `best_by`, with "last" by Dice (without validation
    subjects: epochs without a lower training loss), after which it drops."""
    drop_factor: float = setting(0.5, "Factor of each step", above=0, below=1)
    """By which the learning rate is multiplied at each drop."""
    warmup_fraction: float = setting(0.05, "Warm-up, part", at_least=0, below=1)
    """Part of the training in which the learning rate rises."""
    momentum: float = setting(0.99, "Momentum", at_least=0, below=1)
    """Of "sgd": how much of the last step the next one keeps."""
    weight_decay: float = setting(1e-2, "Weight decay", at_least=0, at_most=10)
    """The optimiser's decay of weights; "adam" and "sgd" want far less than "adamw", about 0.00003."""
    gradient_clip: float = setting(12.0, "Largest gradient", above=0)
    """Largest norm of a step's gradient; infinity (inf): any."""
    average_decay: float = setting(0.99, "Average of the weights", at_least=0, below=1)
    """The weights that are kept are a running average; near 1 averages more steps, 0 takes them as they are."""
    best_by: Literal["dice", "iou", "loss", "last"] = setting(
        "dice",
        "Keep the best by",
        option=True,
        called={"dice": "Dice", "iou": "IoU", "loss": "loss", "last": "no score: the last epoch"},
        simple=True,
    )
    """The kept epoch has the best of these on the validation subjects (Dice and IoU are means over structures), or
    is the last one, which they only score. The scores of few subjects waver, so that the best of many epochs may be
    luck, where the last steps were the smallest ("cosine", "polynomial")."""
    patience: int | None = setting(None, "Stop after epochs in vain", at_least=1, simple=True)
    """Stop after this many validated epochs in which `best_by` did not improve. None: never."""
    print_checkpoint: int = setting(1, "Print a line every", at_least=1, unit="epochs", option=True)
    """Epochs between printed lines."""
    save_checkpoint: int = setting(10, "Save a checkpoint every", at_least=1, unit="epochs", option=True)
    """Epochs between checkpoints on disk."""
    keep_checkpoints: bool = setting(False, "Keep each checkpoint's model", option=True)
    """Keep the model of each of these checkpoints as a file of its own (NAME_10.pt, NAME_20.pt …) that can be used
    like any other; that of the last epoch gives way to the model itself."""
    validate_every: int = setting(1, "Validate every", at_least=1, unit="epochs", option=True)
    """Epochs between validations; with few slices an epoch is short, and validation would take the time."""
    validate_slices: int = setting(1000, "Validate on about", at_least=1, unit="slices", option=True)
    """Where there are more to validate on, epochs are validated on whole images with about so many slices, the same
    each time, of as many subjects as can be; the best epoch is looked at on all of them at the end."""
    watch_erosion: bool = setting(False, "Also validate eroded")
    """Also validate with each structure eroded by one, two and three of the image's own pixels, slice by slice."""
    seed: int = setting(0, "Random seed", at_least=0, at_most=2**63 - 1, option=True)
    """Of everything random: same seed, same weights on the same machine."""
    precision: Literal["auto", "float32", "bfloat16"] = setting("auto", "Arithmetic", called={"auto": "automatic"})
    """"auto" takes bfloat16 where the processor is fast at it."""
    spatial_dims: Literal[2, 3] = setting(
        2, "Learn from", called={2: "slices (2-D)", 3: "volumes (3-D)"}, simple=True
    )
    """2: slices are learnt from; 3: volumes, as `volume` says."""
    preprocess: PreprocessSettings = field(default_factory=PreprocessSettings)
    volume: VolumeSettings = field(default_factory=VolumeSettings)
    network: NetworkSettings = field(default_factory=NetworkSettings)
    augmentation: AugmentationSettings = field(default_factory=AugmentationSettings)
    loss: LossSettings = field(default_factory=LossSettings)
    postprocess: PostprocessSettings = field(default_factory=PostprocessSettings)
    finetune: FineTuneSettings = field(default_factory=FineTuneSettings)

    def __post_init__(self) -> None:
        if self.epochs is None and self.minutes is None:
            object.__setattr__(self, "epochs", 100)
        super().__post_init__()

    def problems(self) -> Problems:
        """Find two lengths of a training, and settings of slices where volumes are learnt from."""
        if self.epochs is not None and self.minutes is not None:
            both = f"epochs is {self.epochs} and minutes is {self.minutes}"
            yield "epochs", f"{both}; give one of them, and leave the other empty (on the command line none)."
        for name, kind in group_kinds().items():
            if not isinstance(getattr(self, name), kind):
                yield name, f"{name} is {getattr(self, name)!r}, and has to be a group of settings."
        for name in ("neighbours", "crop_mm", "crop_shape", "input_shape"):
            value, full = getattr(self.preprocess, name), f"preprocess.{name}"
            if self.spatial_dims == 3 and value:
                yield full, f"{full} is {value} and spatial_dims is 3; it is of slices. Take it away, or give 2."


@cache
def group_kinds() -> dict[str, type[SettingsGroup]]:
    """Give the groups of `Settings` by their names, in their order."""
    kinds = get_type_hints(Settings).items()
    return {name: kind for name, kind in kinds if isinstance(kind, type) and issubclass(kind, SettingsGroup)}


def settings_to_dict(settings: Settings) -> dict[str, Any]:
    """Give the settings as nested plain dictionaries and lists, ready for JSON and for a model file."""
    return dataclasses.asdict(settings)


def settings_from_dict(values: dict[str, Any]) -> Settings:
    """Build settings from what `settings_to_dict` gave, also in earlier versions."""
    groups = group_kinds()
    read = {n: _build(groups[n], v) if n in groups and isinstance(v, dict) else v for n, v in values.items()}
    return _build(Settings, read)


def _build(kind: Any, values: dict[str, Any]) -> Any:
    values = {FORMER_NAMES.get(name, name): value for name, value in values.items()}
    unknown = sorted(set(values) - {item.name for item in fields(kind)})
    if unknown:
        raise SettingsError(f"This autoseg does not know the {named('setting', unknown)}; update autoseg.")
    return kind(**values)
