"""How a training on volumes goes: time, patches at once, memory, validation; all that is chosen, in order."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from autoseg.data.split import Split
from autoseg.model.device import Computer
from autoseg.model.networks.stages import Step, divide_axes, volume_network
from autoseg.model.networks.unet import STANDARD_FILTERS
from autoseg.model.preprocessing.sliding_window import window_starts
from autoseg.model.preprocessing.volume_grids import axes_of, check_volume
from autoseg.model.settings.settings import AugmentationSettings, Settings, VolumeSettings
from autoseg.training.plan.choice import Choice
from autoseg.training.plan.resources import (
    LONGEST_MINUTES,
    Room,
    feature_bytes,
    find_room,
    learning_speed,
    tell_time,
)
from autoseg.training.plan.slice_choices import (
    MOST_COARSER,
    OPTIMIZER,
    PIXELS_ACROSS,
    PLANNED_NETWORKS,
    WHY_THIS_NETWORK,
)
from autoseg.training.plan.survey import Survey

# --- how the network sees volumes: the distance between its voxels, what it sees at once, and its stages

Three = tuple[float, float, float]

# Voxels seen at once, at most: as many as `dataset` takes where nothing is said.
MOST_IN_PATCH = 128**3
# No patch is made shorter than this along an axis to save time or memory.
SHORTEST = 32
# A volume larger than wanted by no more than this keeps its own voxels; coarser ones are tried in such steps.
NEARLY = 1.25
STEP_MM = 0.05


@dataclass(frozen=True)
class Volumes:
    """What the surveyed images are like as volumes, along the network's axes.

    `spacing_mm` and `size_mm` are the medians over the images, or over crops of them; `wholes` are the training
    volumes there are.
    """

    spacing_mm: Three
    size_mm: Three
    wholes: int

    def size(self, spacing_mm: Sequence[float]) -> Three:
        """Give the voxels of a typical volume at this spacing."""
        x, y, z = (max(1.0, length / mm) for length, mm in zip(self.size_mm, spacing_mm, strict=True))
        return x, y, z


def measure_volumes(survey: Survey, wholes: int, crop_mm: tuple[float, float] | None = None) -> Volumes:
    """Give what the images, or crops of this width and depth, are like along the default orientation's axes."""
    spacings, sizes = [], []
    for image in survey.images:
        check_volume(image)
        axes, _ = axes_of(image.calibrated_affine, VolumeSettings().orientation)
        spacings.append([image.spacing_mm[axis] for axis in axes])
        sizes.append([image.spacing_mm[axis] * image.shape[axis] for axis in axes])
    x, y, z = (round(float(mm), 4) for mm in np.median(spacings, axis=0))
    width, depth, height = (float(mm) for mm in np.median(sizes, axis=0))
    if crop_mm is not None:
        width, depth = min(width, crop_mm[0]), min(depth, crop_mm[1])
    return Volumes((x, y, z), (width, depth, height), wholes)


@dataclass(frozen=True)
class View:
    """What the network sees of a volume: its voxels, how many of them at once, and what its stages divide them by.

    `choices` say so with the reasons.
    """

    spacing_mm: Three
    patch_size: tuple[int, int, int]
    strides: tuple[Step, ...]
    choices: tuple[Choice, ...]


def choose_view(survey: Survey, volumes: Volumes, wanted: float, most: float) -> View:
    """Choose the distance between the network's voxels, what it sees at once, and how its stages divide that.

    Voxels are the images' own unless the time or the memory is short. The finest axes are made coarser first; thick
    slices stay as they are, and are never made thinner. A patch is a typical volume, not the largest one, because
    padding takes time and teaches nothing. A volume may have `wanted` voxels, as long as the smallest structure
    keeps some, and `most` may be seen at once.
    """
    spacing, spacing_why = _spacing(survey, volumes, wanted)
    whole = volumes.size(spacing)
    (x, y, z), strides = fit_patch(whole, spacing, most)
    shown = by_words(round(n) for n in whole)
    if all(one >= round(n) for n, one in zip(whole, (x, y, z), strict=True)):
        why = f"A typical volume, {shown} voxels, rounded up to what the stages need."
    else:
        share = math.prod(min(n, one) for n, one in zip(whole, (x, y, z), strict=True)) / math.prod(whole)
        why = f"{share:.0%} of a typical volume of {shown} voxels; there is no time or memory for more at once."
    left = by_words(n // math.prod(along) for n, *along in zip((x, y, z), *strides, strict=True))
    halved = f"Halved {len(strides)} times, {by_words((x, y, z))} voxels become {left}."
    if any(len(set(step)) > 1 for step in strides):
        halved += " An axis is halved where its voxels are no longer than the others', as long as enough are left."
    return View(
        spacing,
        (x, y, z),
        strides,
        (
            Choice("volume.spacing_mm", spacing, spacing_why),
            Choice("volume.patch_size", (x, y, z), why),
            Choice("network.strides", strides, halved),
        ),
    )


def fit_patch(
    size: Sequence[float], spacing_mm: Sequence[float], most: float
) -> tuple[tuple[int, int, int], tuple[Step, ...]]:
    """Give how many voxels of a volume are seen at once, about `most`, and by what the stages divide them.

    The longest axes are cut first, but none to fewer than 32 voxels.
    """
    part, limit = list(size), min(most, MOST_IN_PATCH)
    while math.prod(part) > limit and max(part) > SHORTEST:
        longest = max(range(3), key=lambda k: part[k])
        part[longest] = max(SHORTEST, 0.95 * part[longest])
    strides = divide_axes(part, spacing_mm)
    steps = [math.prod(along) for along in zip(*strides, strict=True)]
    x, y, z = (math.ceil(round(n) / step) * step for n, step in zip(part, steps, strict=True))
    return (x, y, z), strides


def _spacing(survey: Survey, volumes: Volumes, wanted: float) -> tuple[Three, str]:
    own, finest = volumes.spacing_mm, min(volumes.spacing_mm)
    smallest = min(survey.widths, key=lambda name: survey.widths[name], default="")
    limit = min(survey.widths.get(smallest, math.inf) / PIXELS_ACROSS, MOST_COARSER * finest)
    coarsest, wanted = finest, math.inf if math.prod(volumes.size(own)) <= NEARLY * wanted else wanted
    while coarsest + STEP_MM <= limit and math.prod(volumes.size(_at_least(own, coarsest))) > wanted:
        coarsest = math.floor(coarsest / STEP_MM + 1.001) * STEP_MM
    spacing = own if coarsest == finest else _at_least(own, round(coarsest, 2))
    shown, size = by_words(f"{mm:.3g}" for mm in own), by_words(round(n) for n in volumes.size(spacing))
    if spacing == own:
        why = f"The images' own, the median along each axis: a typical volume has {size} voxels."
    else:
        full = by_words(round(n) for n in volumes.size(own))
        why = f"A typical volume has {size} voxels; its own {full}, {shown} mm apart, would be seen too rarely."
    if smallest:
        width = survey.widths[smallest]
        why += f" The smallest structure, {smallest}, is about {width:.1f} mm wide."
    return spacing, why


def _at_least(own: Sequence[float], coarsest: float) -> Three:
    x, y, z = (max(mm, coarsest) for mm in own)
    return x, y, z


def by_words(parts: Iterable[object]) -> str:
    """Give sizes as words have them: 40 × 56 × 40."""
    return " × ".join(map(str, parts))


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
    """Choose all that volumes are learnt with."""
    volumes = measure_volumes(survey, len(split.training), crop_mm)
    cropped = [] if crop_mm is None else [Choice("volume.crop_mm", crop_mm, AROUND)]
    voxels = voxels_in_time(time, computer)
    room = voxel_room(survey, volumes, computer)
    views = min(ENOUGH_PATCHES, math.sqrt(voxels / VOXELS_BY_TIME))
    views = views if time.epochs is None else max(1, time.epochs * volumes.wholes)
    wanted = min(voxels / views, room.at_once / BATCH)
    most = min(max(wanted, voxels / FEWEST_VIEWS), room.at_once / BATCH)
    view = choose_view(survey, volumes, wanted, most)
    each = patches_of(volumes, view)
    patches = each * volumes.wholes
    per_s = voxels / (60 * (time.minutes or LONGEST_MINUTES)) / math.prod(view.patch_size)
    network = volume_network(view.strides)
    spacing, patch, strides = view.choices
    seen = f"each of {volumes.wholes} volumes" if volumes.wholes > 1 else "the volume"
    return [
        spacing,
        *cropped,
        patch,
        tell_time(time, seen, patches, per_s, ENOUGH_PATCHES, measured=computer.pixels_per_second is not None),
        choose_volume_batch(view.patch_size, patches, room),
        Choice("network.name", network.name, WHY_THIS_NETWORK),
        OPTIMIZER,
        Choice("network.filters", network.filters, f"{len(view.strides) + 1} stages, as wide as usual."),
        strides,
        _choose_volume_oversampling(volumes, view),
        *_choose_variation(),
        choose_validation(patches, each * len(split.validation)),
    ]


def fit_choices(planned: Sequence[Choice], given: Settings, typed: Collection[str]) -> list[Choice]:
    """Let patch and stages suit the voxels, the filters and the network that were typed."""
    values: dict[str, Any] = {choice.name: choice.value for choice in planned}
    spacing = given.volume.spacing_mm
    if spacing is not None:
        patch, own = values["volume.patch_size"], values["volume.spacing_mm"]
        size = [n * mm / new for n, mm, new in zip(patch, own, spacing, strict=True)]
        values["volume.patch_size"], values["network.strides"] = fit_patch(size, spacing, math.prod(patch))
        values["network.filters"] = values["network.filters"][: len(values["network.strides"]) + 1]
    if given.network.name not in PLANNED_NETWORKS:
        values = {name: value for name, value in values.items() if not name.startswith("network.")}
    elif "network.filters" in typed and given.network.filters is not None:
        steps, count = values["network.strides"], len(given.network.filters) - 1
        values["network.strides"] = (*steps, *[steps[-1]] * count)[:count]
    return [
        choice
        if values[choice.name] == choice.value
        else replace(choice, value=values[choice.name], reason="To suit what was typed.")
        for choice in planned
        if choice.name in values
    ]


def voxel_room(survey: Survey, volumes: Volumes, computer: Computer) -> Room:
    """Estimate how many voxels of all patches together the memory takes at once."""
    channels, classes = len(survey.images[0].channels), len(survey.fingerprint.structures) + 1
    # As `dataset` keeps them: float32 channels and labels, and one more while it is put together.
    stored = math.prod(volumes.size(volumes.spacing_mm)) * (4 * channels + 1) * (volumes.wholes + 2)
    return find_room(computer, stored, feature_bytes(computer, STANDARD_FILTERS, 3) + CLASS_BYTES * classes)


def patches_of(volumes: Volumes, view: View) -> int:
    """Give how many patches, overlapping by half, a typical volume has."""
    sizes = volumes.size(view.spacing_mm)
    return math.prod(len(window_starts(round(n), one, 0.5)) for n, one in zip(sizes, view.patch_size, strict=True))


def choose_volume_batch(patch: Sequence[int], patches: int, room: Room) -> Choice:
    """Choose how many patches are seen at once: few, so that there are many steps."""
    voxels, usual = math.prod(patch), BATCH if patches > 1 else 1
    size = usual if room.at_once >= usual * voxels else max(1, int(room.at_once / voxels))
    why = "Few at once, so that there are many steps."
    if size < usual:
        why = f"More of {by_words(patch)} voxels may need more than the {room.gib:.1f} GiB of memory that are free."
    return Choice("batch_size", size, why)


def choose_validation(patches: int, validated: int) -> Choice:
    """Choose how often it is validated: so often that it takes a twentieth of the time at most."""
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
