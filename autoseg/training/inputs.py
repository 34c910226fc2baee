"""What a training is given beside its cases: how they are read, and centrelines around which they are cropped."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from autoseg.data.cases import Case
from autoseg.data.digests import Seal, Side, describe_side
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
    default a new one; with one for all, further trainings on the same subjects begin faster.
    """

    centrelines: Mapping[str, Centreline] = field(default_factory=dict)
    finder: TrainedModel | None = None
    read: Read = read_cases
    seal: Seal | None = None

    def describe(self, cases: Sequence[Case], pairs: Sequence[tuple[Image, LabelMap]], seal: Seal) -> Side:
        """Give the digests of cases, read as `pairs`, and of their centrelines."""
        side = describe_side(cases, pairs, seal)
        lines = [
            (case.case_id, self.centrelines[case.case_id]) for case in cases if case.case_id in self.centrelines
        ]
        if not lines:
            return side
        digest = hashlib.sha256(side.voxels_digest.encode())
        for case_id, line in sorted(lines, key=lambda one: one[0]):
            digest.update(case_id.encode("utf-8", "surrogateescape") + np.round(line.points_mm, 3).tobytes())
        return replace(side, voxels_digest=digest.hexdigest())
