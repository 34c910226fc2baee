"""What a training is given beside its cases: how they are read, and centrelines around which they are cropped."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from autoseg.data.cases import Case
from autoseg.data.digests import Seal, Side, describe_read, describe_side
from autoseg.image.image import Image, LabelMap
from autoseg.image.structures import Structure
from autoseg.model.centreline import Centreline
from autoseg.model.dataset import read_cases
from autoseg.model.model import TrainedModel
from autoseg.model.settings.settings import Settings

Read = Callable[[Sequence[Case], Sequence[Structure]], list[tuple[Image, LabelMap]]]


def sees_crop(settings: Settings) -> bool:
    """Tell whether a model sees a crop around a centreline, so that its training is given centrelines."""
    return settings.spatial_dims == 3 and settings.volume.crop_mm is not None


@dataclass(frozen=True, eq=False)
class Inputs:
    """What `train` is given beside its cases.

    `centrelines`, by case_id, are of every case of training and validation where `settings.volume.crop_mm` is
    given, else without effect; the `finder` finds them on a new image and is saved in the model's file. `read`
    reads cases in order, as `autoseg.model.dataset.read_cases` does. The subjects' fingerprints get the `seal`, by
    default a new one; with one for all, further trainings on the same subjects begin faster. Cases that would take
    more than `most_bytes` of memory (by default half of what is free) lie in the cache; `tell` hears of that.
    """

    centrelines: Mapping[str, Centreline] = field(default_factory=dict)
    finder: TrainedModel | None = None
    read: Read = read_cases
    seal: Seal | None = None
    most_bytes: float | None = None
    tell: Callable[[str], object] | None = None

    def say(self, words: str) -> None:
        """Tell something that may be known, if anybody listens."""
        if self.tell is not None:
            self.tell(words)

    def caution(self, words: str) -> None:
        """Tell something that should be known; where nobody listens, as a warning."""
        if self.tell is None:
            warnings.warn(words, stacklevel=2)
        self.say(words)

    def describe(self, cases: Sequence[Case], pairs: Sequence[tuple[Image, LabelMap]], seal: Seal) -> Side:
        """Give the digests of cases, read as `pairs`, and of their centrelines."""
        return self._with_lines(describe_side(cases, pairs, seal), cases)

    def describe_read(self, cases: Sequence[Case], read: Sequence[tuple[int, str]], seal: Seal) -> Side:
        """Give the same from the number of slices and the digest of each case."""
        return self._with_lines(describe_read(cases, read, seal), cases)

    def _with_lines(self, side: Side, cases: Sequence[Case]) -> Side:
        lines = [
            (case.case_id, self.centrelines[case.case_id]) for case in cases if case.case_id in self.centrelines
        ]
        if not lines:
            return side
        digest = hashlib.sha256(side.voxels_digest.encode())
        for case_id, line in sorted(lines, key=lambda one: one[0]):
            digest.update(case_id.encode("utf-8", "surrogateescape") + np.round(line.points_mm, 3).tobytes())
        return replace(side, voxels_digest=digest.hexdigest())
