"""How the network sees volumes: the distance between its voxels, what it sees at once, and its levels."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from autoseg.model.networks.levels import Step, divide_axes
from autoseg.model.preprocessing.volume_grids import axes_of, check_volume
from autoseg.model.settings.settings import VolumeSettings
from autoseg.training.plan.choice import Choice
from autoseg.training.plan.grid import MOST_COARSER, PIXELS_ACROSS
from autoseg.training.plan.survey import Survey

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
    """Give what the images, or crops of this width and depth, are like along the axes of the default orientation.

    Raises
    ------
    DataError, GeometryError
        If an image cannot be seen as a volume: a single slice, or no millimetres; the message names it.
    """
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
    """What the network sees of a volume: its voxels, how many of them at once, and what its levels divide them by.

    `choices` say so with the reasons.
    """

    spacing_mm: Three
    patch_size: tuple[int, int, int]
    strides: tuple[Step, ...]
    choices: tuple[Choice, ...]


def choose_view(survey: Survey, volumes: Volumes, wanted: float, most: float) -> View:
    """Choose the distance between the network's voxels, what it sees at once, and how its levels divide that.

    Voxels are the images' own unless the time or the memory is short. The finest axes are made coarser first; thick
    slices stay as they are, and are never made thinner. A patch is a typical volume, not the largest one, because
    padding takes time and teaches nothing.

    Parameters
    ----------
    survey : Survey
    volumes : Volumes
    wanted : float
        Voxels that a volume may have, as long as the smallest structure keeps some.
    most : float
        Voxels that may be seen at once.
    """
    spacing, spacing_why = _spacing(survey, volumes, wanted)
    whole = volumes.size(spacing)
    (x, y, z), strides = fit_patch(whole, spacing, most)
    shown = by_words(round(n) for n in whole)
    if all(one >= round(n) for n, one in zip(whole, (x, y, z), strict=True)):
        why = f"A typical volume, {shown} voxels, rounded up to what the levels need."
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
    """Give how many voxels of a volume are seen at once, and by what the network's levels divide them.

    Parameters
    ----------
    size : (3,) sequence of float
        Voxels of the volume.
    spacing_mm : (3,) sequence of float
        Distance between them.
    most : float
        Voxels seen at once, about; the longest axes are cut, but none to fewer than 32.
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
