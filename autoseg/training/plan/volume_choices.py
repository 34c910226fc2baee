"""How a training on volumes goes: time, patches at once, memory, validation; all that is chosen, in order."""

from __future__ import annotations

import math
from collections.abc import Sequence

from autoseg.data.split import Split
from autoseg.model.device import Computer
from autoseg.model.networks.levels import volume_network
from autoseg.model.networks.unet import STANDARD_FILTERS
from autoseg.model.preprocessing.sliding_window import window_starts
from autoseg.model.settings.settings import AugmentationSettings, Settings
from autoseg.training.plan.choice import Choice
from autoseg.training.plan.network import FEATURE_BYTES, SAFE_PART, TORCH_GIB, WHY_THIS_NETWORK
from autoseg.training.plan.speed import LONGEST_MINUTES, learning_speed
from autoseg.training.plan.survey import Survey
from autoseg.training.plan.volumes import (
    SHORTEST,
    View,
    Volumes,
    by_words,
    choose_view,
    measure_volumes,
)

# Voxels learnt from in a second, over the pixels that the default network of slices learns from: on two processor
# cores, by the hippocampus at 1.25 and at 1.5 mm.
VOXELS_PER_PIXEL = 1.1
# More voxels show finer detail and take the place of more views. Time is shared between them: four times the time
# gives twice the voxels of a volume and twice the views. On the hippocampus 31 s of two cores gave a mean Dice of
# 0.70 with 90 000 voxels at once (1 mm), and of 0.84 with 24 000 (1.5 mm); one run each.
VOXELS_BY_TIME = 22.5
# Where a volume is too large to be seen at once, a part may take this much of the time.
FEWEST_VIEWS = 400
# Patches seen in a training from which on it is learnt reasonably well.
ENOUGH_PATCHES = 3000
# With fewer than this, slices are learnt from.
FEWEST_PATCHES = 100
# Patches at once.
BATCH = 2
# Bytes that the logits of a class take while a voxel is learnt from: probabilities, gradients and the reference.
CLASS_BYTES = 20
# A patch this much smaller than the volume along any axis may show no structure.
NEARLY_WHOLE, OFTEN = 0.8, 0.5
AROUND = (
    "Only this is seen, around the centreline, which small networks find; typical volumes below are such crops."
)
# Of the time of learning, validating takes about so much.
VALIDATION_PART = 0.05


def smallest_parts(survey: Survey, time: Settings, computer: Computer) -> tuple[float, float]:
    """Give how many parts of volumes of the smallest size the time suffices for, and how many there must be."""
    smallest = math.prod(min(SHORTEST, n) for n in survey.images[0].shape)
    return voxels_in_time(time, computer) / smallest, FEWEST_PATCHES


def voxels_in_time(time: Settings, computer: Computer) -> float:
    """Give the voxels that are learnt from in the minutes there are, or with epochs in as many as it may take."""
    return VOXELS_PER_PIXEL * learning_speed(computer) * 60 * (time.minutes or LONGEST_MINUTES)


def choose_volume_settings(
    survey: Survey,
    time: Settings,
    computer: Computer,
    split: Split,
    crop_mm: tuple[float, float] | None = None,
) -> list[Choice]:
    """Choose all that volumes are learnt with.

    Parameters
    ----------
    survey : Survey
    time : Settings
        With minutes or epochs.
    computer : Computer
    split : Split
        Its sides are counted.
    crop_mm : (2,) tuple of float, optional
        What is seen around a centreline.

    Raises
    ------
    DataError, GeometryError
        If an image cannot be seen as a volume; the message names it and says what to do.
    """
    volumes = measure_volumes(survey, len(split.training), crop_mm)
    cropped = [] if crop_mm is None else [Choice("volume.crop_mm", crop_mm, AROUND)]
    voxels = voxels_in_time(time, computer)
    room = find_voxel_room(survey, volumes, computer)
    views = min(ENOUGH_PATCHES, math.sqrt(voxels / VOXELS_BY_TIME))
    views = views if time.epochs is None else max(1, time.epochs * volumes.wholes)
    wanted = min(voxels / views, room / BATCH)
    most = min(max(wanted, voxels / FEWEST_VIEWS), room / BATCH)
    view = choose_view(survey, volumes, wanted, most)
    each = patches_of(volumes, view)
    patches = each * volumes.wholes
    per_s = voxels / (60 * (time.minutes or LONGEST_MINUTES)) / math.prod(view.patch_size)
    network = volume_network(view.strides)
    spacing, patch, strides = view.choices
    return [
        spacing,
        *cropped,
        patch,
        tell_volume_time(time, per_s, patches, volumes.wholes, measured=computer.pixels_per_second is not None),
        choose_volume_batch(view.patch_size, patches, room, free_gib(computer)),
        Choice("network.name", network.name, WHY_THIS_NETWORK),
        Choice("network.filters", network.filters, f"{len(view.strides) + 1} levels, as wide as usual."),
        strides,
        _choose_volume_oversampling(volumes, view),
        *_choose_variation(),
        choose_validation(patches, each * len(split.validation)),
    ]


def find_voxel_room(survey: Survey, volumes: Volumes, computer: Computer) -> float:
    """Estimate, on the careful side, how many voxels of all patches together the free memory takes at once."""
    free = free_gib(computer)
    if free is None:
        return math.inf
    channels, classes = len(survey.images[0].channels), len(survey.fingerprint.structures) + 1
    # As `dataset` keeps them: float32 channels and labels, and one more while it is put together.
    stored = math.prod(volumes.size(volumes.spacing_mm)) * (4 * channels + 1) * (volumes.wholes + 2)
    left = SAFE_PART * max(free - TORCH_GIB, 0.05 * free) * 2**30 - stored
    features = sum(n / 8**level for level, n in enumerate(STANDARD_FILTERS))
    per_voxel = FEATURE_BYTES.get(computer.precision, FEATURE_BYTES["float32"]) * features + CLASS_BYTES * classes
    return max(left, 0.05 * free * 2**30) / per_voxel


def free_gib(computer: Computer) -> float | None:
    """Give the free memory of what learns; None where it is unknown."""
    return computer.device_free_gib if computer.device == "cuda" else computer.free_gib


def patches_of(volumes: Volumes, view: View) -> int:
    """Give how many patches, overlapping by half, a typical volume has."""
    sizes = volumes.size(view.spacing_mm)
    return math.prod(len(window_starts(round(n), one, 0.5)) for n, one in zip(sizes, view.patch_size, strict=True))


def choose_volume_batch(patch: Sequence[int], patches: int, room: float, free: float | None) -> Choice:
    """Choose how many patches are seen at once: few, so that there are many steps.

    Parameters
    ----------
    patch : (3,) sequence of int
    patches : int
        Of all training volumes.
    room : float
        Voxels that the memory takes at once.
    free : float or None
        GiB of memory that are free.
    """
    voxels, usual = math.prod(patch), BATCH if patches > 1 else 1
    size = usual if room >= usual * voxels else max(1, int(room / voxels))
    if size < usual and free is not None:
        why = f"More of {by_words(patch)} voxels may need more than the {free:.1f} GiB of memory that are free."
    else:
        why = "Few at once, so that there are many steps."
    return Choice("batch_size", size, why)


def tell_volume_time(time: Settings, patches_per_s: float, patches: int, wholes: int, *, measured: bool) -> Choice:
    """Give the minutes or epochs, with what they make of the volumes.

    Parameters
    ----------
    time : Settings
        With minutes or epochs.
    patches_per_s : float
        Learnt from in a second.
    patches, wholes : int
        Of all training volumes; the volumes themselves.
    measured : bool
        Whether the speed was measured here.
    """
    by = "by the speed measured here" if measured else "by estimate"
    if time.epochs is not None:
        about = _minutes(time.epochs * patches / patches_per_s / 60)
        return Choice("epochs", time.epochs, f"As you chose; {by} about {about}.")
    minutes = time.minutes or 0.0
    times = patches_per_s * 60 * minutes / max(1, patches)
    often = f"about {times:.0f} times" if times >= 1.5 else "about once" if times >= 0.7 else "less than once"
    seen = f"each of {wholes} volumes" if wholes > 1 else "the volume"
    why = f"{by[0].upper()}{by[1:]}, {seen} is seen {often}."
    enough = ENOUGH_PATCHES / patches_per_s / 60
    if enough > 1.5 * minutes:
        why += f" More time may help: about {_minutes(enough + 0.5)}."
    return Choice("minutes", minutes, why)


def choose_validation(patches: int, validated: int) -> Choice:
    """Choose how often it is validated: so often that it takes a twentieth of the time at most.

    Parameters
    ----------
    patches, validated : int
        Learnt from, and validated on, in an epoch.
    """
    # Looking at a patch takes about a third of learning from it.
    cost = validated / 3
    every = max(1, math.ceil(cost / (VALIDATION_PART * max(1, patches))))
    if every == 1:
        return Choice("validate_every", 1, "Validating takes little of the time.")
    part = cost / (cost + patches)
    why = f"After every epoch it would take {part:.0%} of the time. The last epoch is validated in any case."
    return Choice("validate_every", every, why)


def _choose_volume_oversampling(volumes: Volumes, view: View) -> Choice:
    sizes = volumes.size(view.spacing_mm)
    if all(one >= NEARLY_WHOLE * n for n, one in zip(sizes, view.patch_size, strict=True)):
        return Choice("oversampling", 0.0, "What is seen at once is nearly a whole volume, with its structures.")
    why = "A part of a volume may show no structure; at least half of those seen at once do."
    return Choice("oversampling", OFTEN, why)


def _choose_variation() -> list[Choice]:
    varied = AugmentationSettings.volumes()
    why = "Volumes are turned about three axes, and people lie the same way up: a little only."
    zoomed = "Less than slices: people differ in size by so much."
    stretched = "Stretched along each axis by itself, every second time."
    return [
        Choice("augmentation.rotation_deg", varied.rotation_deg, why),
        Choice("augmentation.zoom", varied.zoom, zoomed),
        Choice("augmentation.scaling_probability", varied.scaling_probability, stretched),
    ]


def _minutes(number: float) -> str:
    whole = max(1, round(number))
    return f"{whole} minute{'' if whole == 1 else 's'}"
