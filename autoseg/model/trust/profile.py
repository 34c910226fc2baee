"""What a model learnt from, in numbers that name nobody, and how a new image compares with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from autoseg.model.stored.values import read_fields
from autoseg.model.trust.facts import ImageFacts, StructureFacts

Numbers = npt.NDArray[np.floating[Any]]
Shown = TypeVar("Shown")
Told = TypeVar("Told")

# The axes along which descriptions differ most; what lies across them has one spread.
AXES = 8
# Between patients of one kind of images numbers of a part vary by about so much: measured on hearts, hippocampi and
# lumbar discs. None: as all numbers of the part do on average, which differs from network to network.
USUAL_SPREAD: dict[str, float | None] = {"intensities": 0.2, "texture": 0.35, "layout": 0.5, "network": None}
# What is known beforehand counts as so many patients.
KNOWN_AS = 6
# How far the spreads along axes are drawn towards that of independent numbers, however many patients there are.
SHRINKAGE = 0.5
# Distances are counted in the usual one, which is no less than this: independent numbers have 1.
LEAST_USUAL = 0.9
# What share of the patients lies nearer than is usual: of few a quarter is beyond, of twenty and more a twentieth.
# So many of them are left out one by one.
NEARER_OF_FEW, NEARER_OF_MANY, FEW, MANY, LEFT_OUT = 0.75, 0.95, 8, 20, 16
# Of few patients the next one may well be the most unlike: the usual distance grows by this part of one over them.
NEXT = 3.0
# A single patient tells nothing of how others differ.
ALONE = 1.5
LEAST = 1e-10


@dataclass(frozen=True)
class Likeness:
    """How the images that a model learnt from lie around their mean, in one part of their description.

    A Gaussian: `mean` and `scale` of each number, the `axes` along which they vary together with the `spread`
    (variance) along each, and `rest` across them. `usual` is the distance within which patients lie, each compared
    with the others alone, with room for the next one.
    """

    part: str
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    axes: tuple[tuple[float, ...], ...]
    spread: tuple[float, ...]
    rest: float
    usual: float

    def __post_init__(self) -> None:
        size = len(self.mean)
        sizes = {len(self.scale), *(len(axis) for axis in self.axes)}
        if not size or sizes - {size} or len(self.axes) != len(self.spread):
            raise ValueError(f"of its profile's {self.part} some numbers are missing")
        if min(*self.scale, *self.spread, self.rest, self.usual) <= 0:
            raise ValueError(f"of its profile's {self.part} a spread is not above 0")

    @cached_property
    def _arrays(self) -> tuple[Numbers, Numbers, Numbers, Numbers]:
        axes = np.array(self.axes, dtype=np.float64).reshape(len(self.axes), len(self.mean))
        return np.array(self.mean), np.array(self.scale), axes, np.array(self.spread)

    def raw(self, described: Numbers) -> float:
        """Give the distance of an image whose slices are described so: the median of theirs."""
        mean, scale, axes, spread = self._arrays
        if described.shape[1] != len(mean):
            raise ValueError(f"{described.shape[1]} numbers are compared with {len(mean)}")
        away = (described - mean) / scale
        along = away @ axes.T
        across = np.maximum((away**2).sum(1) - (along**2).sum(1), 0)
        squares = (along**2 / spread).sum(1) + across / self.rest
        return float(np.median(np.sqrt(squares / len(mean))))

    def distance(self, described: Numbers) -> float:
        """Give it in the usual distance of patients from each other."""
        return self.raw(described) / self.usual


def fit_likeness(part: str, subjects: Sequence[Sequence[Numbers]]) -> Likeness:
    """Learn a part of the description from the images (slices, numbers) of each subject."""
    fitted, count = fit_gaussian(part, subjects), len(subjects)
    if count == 1:
        farthest = ALONE * max(fitted.raw(image) for image in subjects[0])
    else:
        found = leave_each_out(subjects, lambda others, images: max(map(fit_gaussian(part, others).raw, images)))
        share = np.interp(count, (FEW, MANY), (NEARER_OF_FEW, NEARER_OF_MANY))
        farthest = float(np.quantile(found, share))
    usual = max((count * farthest + KNOWN_AS) / (count + KNOWN_AS), LEAST_USUAL)
    return replace(fitted, usual=float(f"{usual * (1 + NEXT / count):.6g}"))


def leave_each_out(
    subjects: Sequence[Sequence[Shown]], tell: Callable[[Sequence[Sequence[Shown]], Sequence[Shown]], Told]
) -> list[Told]:
    """Give what is told of all others and of each subject; of many subjects some are left out."""
    step = max(1, len(subjects) // LEFT_OUT)
    return [
        tell([*subjects[:number], *subjects[number + 1 :]], subjects[number])
        for number in range(0, len(subjects), step)
    ]


def fit_gaussian(part: str, subjects: Sequence[Sequence[Numbers]]) -> Likeness:
    """Fit the Gaussian; each subject counts the same, however many slices it has."""
    groups = [np.concatenate(images).astype(np.float64) for images in subjects]
    mean, count = np.mean([group.mean(0) for group in groups], axis=0), len(groups)
    away = np.concatenate([(group - mean) / np.sqrt(len(group) * max(1, count - 1)) for group in groups])
    variance, known = (away**2).sum(0), USUAL_SPREAD[part]
    before = variance.mean() if known is None else known**2
    scale = np.sqrt((count * variance + KNOWN_AS * before) / (count + KNOWN_AS) + LEAST)
    away /= scale
    _, singular, axes = np.linalg.svd(away, full_matrices=False)
    kept = min(AXES, len(singular))
    spread = singular[:kept] ** 2
    across = max(0.0, float((away**2).sum() - spread.sum())) / max(1, len(mean) - kept)
    weight = SHRINKAGE * count / (count + KNOWN_AS)
    return Likeness(
        part=part,
        mean=_plain(mean),
        scale=_plain(scale),
        axes=tuple(map(_plain, axes[:kept])),
        spread=_plain(weight * spread + 1 - weight),
        rest=weight * across + 1 - weight,
        usual=1.0,
    )


def _plain(numbers: Numbers) -> tuple[float, ...]:
    """Give numbers as a file has them, in the six digits that they have in single precision."""
    return tuple(float(f"{number:.6g}") for number in numbers.tolist())


# --- everything that a model knows of what it learnt from


@dataclass(frozen=True)
class Profile:
    """What the images and structures were like that a model learnt from and was validated on.

    `subjects` and `validated` count patients, of all and of those on whom it was validated. `images` are what files
    tell of some of them (`ImageFacts`), `structures` what was drawn (`StructureFacts`), `likenesses` how they look
    to the model (`Likeness`), as plain values; `window` is the (rows, columns) of them that were looked at.
    `turned` tells by the name of a change (`autoseg.model.trust.turned`) from which evidence on an image seems to
    be changed so. `dice` and `area_error` have a number for each structure, of the validation
    patients: Dice of all their pixels, and the median of the relative errors of their areas; None where none was
    drawn. Of a model that learnt from all its patients and was calibrated `by_folds`, they are those of its twins,
    each on patients whom it never saw.
    """

    subjects: int
    validated: int
    window: tuple[int, int]
    images: tuple[dict[str, Any], ...]
    structures: tuple[dict[str, Any], ...] = ()
    likenesses: tuple[dict[str, Any], ...] = ()
    turned: dict[str, float] = field(default_factory=dict)
    dice: tuple[float | None, ...] = ()
    area_error: tuple[float | None, ...] = ()
    by_folds: bool = False

    def __post_init__(self) -> None:
        if min(self.window) < 1 or not 0 <= self.validated <= self.subjects or not self.images:
            raise ValueError("its profile counts no patients, or shows nothing of them")
        for numbers in (self.dice, self.area_error):
            if any(number is not None and not np.isfinite(number) for number in numbers):
                raise ValueError("its profile has scores that are no numbers")
        # Each is read, so that what is wrong shows when the file is read.
        _ = self.image_facts, self.structure_facts, self.parts

    @cached_property
    def image_facts(self) -> tuple[ImageFacts, ...]:
        """What files tell of images."""
        return tuple(read_fields(ImageFacts, one, "an image of its profile") for one in self.images)

    @cached_property
    def structure_facts(self) -> tuple[StructureFacts, ...]:
        """What was drawn of each structure."""
        return tuple(read_fields(StructureFacts, one, "a structure of its profile") for one in self.structures)

    @cached_property
    def parts(self) -> tuple[Likeness, ...]:
        """How images look to the model."""
        return tuple(read_fields(Likeness, one, "a part of its profile") for one in self.likenesses)


def as_plain(many: Sequence[ImageFacts | StructureFacts | Likeness]) -> tuple[dict[str, Any], ...]:
    """Give parts of a profile as it keeps them."""
    return tuple(asdict(one) for one in many)
