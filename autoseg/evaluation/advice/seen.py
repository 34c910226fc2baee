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
