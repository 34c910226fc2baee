"""The numbers of a training that tell why it went as it did."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from autoseg.image.structures import Structure
from autoseg.measurement.scores import Score
from autoseg.model.model import TrainedModel

Floats = npt.NDArray[np.float64]

# Pooled Dice over a subject's slices. Two readers of one image mostly agree by more than the first; below the
# second what is predicted has hardly to do with what was drawn.
GOOD_DICE, NEAR_ZERO = 0.80, 0.20
# Training batches are augmented and so the harder ones: scores on them that lie so far above those on validation
# were learnt by heart. The smaller gap counts where the losses say the same.
WIDE_GAP, GAP = 0.15, 0.05
# Steps of the network (batches seen). It starts from nothing: the sample's hearts need about twice as many.
FEW_STEPS = 300


@dataclass(frozen=True)
class Advice:
    """One thing that is seen of a training: a word for its kind, a sentence with the numbers, and what to do."""

    kind: str
    words: str
    remedy: str
    severity: Literal["good", "note", "warning"] = "warning"


@dataclass(frozen=True)
class Drawn:
    """What training had of one structure.

    `subjects` are the people who show it, `slices` those on which it was drawn or is known to be absent, `shown`
    those of them that show it.
    """

    label: int
    name: str
    subjects: int
    slices: int
    shown: int


class Appraised(Protocol):
    """What advice needs of an `autoseg.evaluation.validation_report.Appraisal`."""

    @property
    def structures(self) -> tuple[Structure, ...]:
        """Those of the model."""

    @property
    def subjects(self) -> tuple[str, ...]:
        """Who was validated on."""

    @property
    def scores(self) -> tuple[Score, ...]:
        """Of every validation slice."""

    @property
    def summary(self) -> pd.DataFrame:
        """`summarise` of the scores."""

    @property
    def drawn(self) -> tuple[Drawn, ...]:
        """What training had of each structure."""


class Seen:
    """The numbers that the causes look at."""

    def __init__(self, model: TrainedModel, appraisal: Appraised) -> None:
        self.model, self.appraisal = model, appraisal
        self.settings = model.settings
        self.ended = str(model.origin.get("ended", ""))
        self.subjects = model.origin.get("training_subjects")
        self.history = model.history
        self.training_loss = smooth([row.training_loss for row in model.history])
        self.validated = [row for row in model.history if row.validation_loss is not None]
        self.rows: dict[int, dict[str, Any]] = dict(_records(appraisal.summary))
        self.drawn = {drawn.label: drawn for drawn in appraisal.drawn}
        self.scored = [s for s in appraisal.structures if s.label in self.rows]
        self.poor = [s for s in self.scored if self.dice(s) < GOOD_DICE]

    def dice(self, structure: Structure) -> float:
        """Give the mean Dice over the validation subjects."""
        return float(self.rows[structure.label]["dice"])

    def training_dice(self, structure: Structure) -> float:
        """Give the Dice on training batches at the end; NaN where it is not known."""
        place = self.model.structures.index(structure)
        known = [row.training_dice[place] for row in self.history if row.training_dice]
        values = smooth([value for value in known if value is not None])
        return float(values[-1]) if values.size else math.nan

    def steps(self) -> float:
        """Give how many batches the network has seen; infinite where that is not known."""
        slices = self.model.origin.get("training_slices")
        return math.inf if slices is None else len(self.history) * math.ceil(slices / self.settings.batch_size)

    @property
    def has_hardly_begun(self) -> bool:
        """Whether so few steps were taken that poor scores need no other cause."""
        return bool(self.poor) and self.steps() < FEW_STEPS

    def network_pixels(self, structure: Structure) -> float:
        """Give the median size of a structure on a slice, in the network's pixels; infinite where not known."""
        scores = [s for s in self.appraisal.scores if s.label == structure.label and s.reference_pixels]
        areas = [s.reference_mm2 for s in scores if s.reference_mm2 is not None]
        if self.settings.spatial_dims == 3:
            spacing = self.settings.volume.spacing_mm
            # How slices lie to the network's axes is not known here; mostly its voxels are about cubes.
            known = spacing is not None and scores and len(areas) == len(scores)
            return float(np.median(areas)) / math.prod(spacing) ** (2 / 3) if known and spacing else math.inf
        prepared = self.settings.preprocess
        if not scores or prepared.crop_by_site or (prepared.crop_shape and prepared.input_shape):
            return math.inf
        if prepared.input_shape is not None:
            whole = math.prod(prepared.input_shape)
            return float(np.median([s.reference_pixels / s.slice_pixels for s in scores])) * whole
        if prepared.spacing_mm is None or len(areas) < len(scores):
            return math.inf
        return float(np.median(areas)) / prepared.spacing_mm**2

    def share(self) -> float:
        """Give the median share of a slice that all structures on it cover."""
        slices: dict[tuple[str, int], float] = {}
        for score in self.appraisal.scores:
            place = (score.case_id, score.slice_index)
            slices[place] = slices.get(place, 0) + score.reference_pixels / score.slice_pixels
        return float(np.median([share for share in slices.values() if share] or [1.0]))


def _records(summary: pd.DataFrame) -> Iterator[tuple[int, dict[str, Any]]]:
    for row in summary.to_dict("records"):
        yield int(row["label"]), {str(name): value for name, value in row.items()}


def smooth(values: Sequence[float]) -> Floats:
    """Give the running median over about a fifth of the values, which one odd epoch does not move."""
    known = np.array(values, dtype=np.float64)
    half = max(1, len(known) // 10)
    return np.array([np.median(known[max(0, n - half) : n + half + 1]) for n in range(len(known))])


def listed(names: Sequence[str]) -> str:
    """Give names as in a sentence.

    Examples
    --------
    >>> listed(["cavity", "myocardium", "fat"])
    'cavity, myocardium and fat'
    """
    return " and ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)


def counted(count: int, noun: str) -> str:
    """Give a number with its noun.

    Examples
    --------
    >>> counted(1, "slice"), counted(1200, "slice")
    ('1 slice', '1,200 slices')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


# --- why a structure scores poorly: for each the first cause that its numbers speak for

# Of the training batches, which are augmented: what a network cannot learn even by heart contradicts itself.
LOW_TRAINING_DICE = 0.70
# A rule of thumb; the sample's myocardium, drawn on 18 slices, stays at 0.77 where the cavity reaches 0.94.
FEW_SLICES = 30
# Of the network's grid: in a disc of so many pixels an outline half a pixel off changes the area by a quarter.
SMALL_PIXELS = 60
# Share of the image that all structures together cover; below, the network sees almost nothing but background.
SMALL_SHARE = 0.004


def of_structures(seen: Seen, *, learnt: bool) -> Iterator[Advice]:
    """Name for each structure that scores poorly the first cause that fits; `learnt`: the training was finished."""
    groups: dict[str, list[Structure]] = {}
    for structure in seen.poor:
        groups.setdefault(_cause(seen, structure, learnt), []).append(structure)
    say = {
        "small structures": _small,
        "few slices": _few_slices,
        "other labels": _other_labels,
        "overfitting": _by_heart,
        "labels": _contradictory,
        "nothing learnt": _nothing_learnt,
    }
    for kind, words in say.items():
        if kind in groups:
            yield words(seen, groups[kind])


def _cause(seen: Seen, structure: Structure, learnt: bool) -> str:
    dice, training = seen.dice(structure), seen.training_dice(structure)
    drawn = seen.drawn.get(structure.label)
    if drawn is not None and drawn.shown == 0:
        return "few slices"
    if seen.has_hardly_begun:
        return ""
    if dice < NEAR_ZERO and training >= LOW_TRAINING_DICE:
        return "other labels"
    if drawn is not None and drawn.shown < FEW_SLICES:
        return "few slices"
    if seen.network_pixels(structure) < SMALL_PIXELS:
        return "small structures"
    if training - dice >= WIDE_GAP:
        return "overfitting"
    if learnt and training < NEAR_ZERO and dice < NEAR_ZERO:
        return "small structures" if seen.share() < SMALL_SHARE else "nothing learnt"
    if learnt and training < LOW_TRAINING_DICE:
        return "small structures" if seen.share() < SMALL_SHARE else "labels"
    return ""


def _small(seen: Seen, structures: Sequence[Structure]) -> Advice:
    pixels = [seen.network_pixels(s) for s in structures]
    size = f" and about {min(pixels):.0f} of the network's pixels" if np.isfinite(min(pixels)) else ""
    prepared = seen.settings.preprocess
    cropped = prepared.crop_mm or prepared.crop_shape
    remedy = "Let the network see a crop around the structures only (crop_mm), with smaller pixels (spacing_mm)."
    if seen.settings.spatial_dims == 3:
        remedy = "Choose smaller voxels for the network (volume.spacing_mm)."
    elif cropped:
        remedy = "Choose smaller pixels for the network (spacing_mm), or a smaller crop."
    words = (
        f"The field of view is large for {listed(dices(seen, structures))}: what is drawn covers "
        f"{100 * seen.share():.2f} % of the image{size}."
    )
    return Advice("small structures", words, remedy)


def _few_slices(seen: Seen, structures: Sequence[Structure]) -> Advice:
    counts = [
        f"{_dice(seen, s)} is drawn on {counted(seen.drawn[s.label].shown, 'training slice')} of "
        f"{counted(seen.drawn[s.label].subjects, 'subject')}"
        for s in structures
    ]
    return Advice(
        "few slices",
        f"There is little to learn from: {listed(counts)}.",
        "Draw it on more slices of more people. If it was drawn on more, it has another value or name in those "
        "files: correct the structures table.",
    )


def _other_labels(seen: Seen, structures: Sequence[Structure]) -> Advice:
    words = [f"{s.name} (training {seen.training_dice(s):.2f}, validation {seen.dice(s):.2f})" for s in structures]
    return Advice(
        "labels",
        f"The network learnt {listed(words)}, but what it then finds is not what was drawn on the validation "
        "subjects: there the label value, the side or what was drawn seems to be another.",
        "Compare the drawings of the validation subjects with the others.",
    )


def _by_heart(seen: Seen, structures: Sequence[Structure]) -> Advice:
    words = [f"{s.name} ({seen.training_dice(s):.2f} against {seen.dice(s):.2f})" for s in structures]
    return Advice(
        "overfitting",
        "It knows the training slices by heart (overfitting): the Dice is much better there than on the validation "
        f"subjects, for {listed(words)}.",
        more_variety(seen),
    )


def _contradictory(seen: Seen, structures: Sequence[Structure]) -> Advice:
    words = [f"{s.name} ({seen.training_dice(s):.2f})" for s in structures]
    return Advice(
        "labels",
        f"Even on the slices that it learnt from the Dice stays low, for {listed(words)}: the drawings seem to "
        "contradict each other, or the images do not show what was drawn.",
        "Look through the drawings: one rule for every slice, the same value for the same structure, no outlier.",
    )


def _nothing_learnt(seen: Seen, structures: Sequence[Structure]) -> Advice:
    return Advice(
        "nothing learnt",
        f"Nothing was learnt of {listed(dices(seen, structures))}, not even on the training slices.",
        "Look at the preview: do the colours lie on the right anatomy, under the right names? Is the label value "
        "the same in every file?",
    )


def more_variety(seen: Seen) -> str:
    """Say what helps against learning by heart."""
    varied = seen.settings.augmentation
    if max(varied.rotation_probability, varied.scaling_probability, varied.zoom_probability) == 0:
        return "Switch the augmentation on, and label more people."
    dropout = "" if seen.settings.network.dropout else "; a dropout of 0.1 to 0.2 may help too"
    return f"Label more people{dropout}."


def _dice(seen: Seen, structure: Structure) -> str:
    return f"{structure.name} (Dice {seen.dice(structure):.2f})"


def dices(seen: Seen, structures: Sequence[Structure]) -> list[str]:
    """Give names with their Dice."""
    return [_dice(seen, structure) for structure in structures]
