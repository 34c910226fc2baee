"""The centrelines of a cross-validation: found once, for all that see a crop around them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from autoseg.data.cases import Case
from autoseg.errors import DataError
from autoseg.evaluation.crossvalidation.splits import Folds
from autoseg.image.image import Image, LabelMap
from autoseg.model.centreline import Centreline, from_labels, structure_mask
from autoseg.model.model import TrainedModel
from autoseg.model.settings.settings import Settings, settings_to_dict
from autoseg.prediction import find_centreline
from autoseg.training.events import OnEvent, listener
from autoseg.training.finder import CentrelineScore, inputs_of_folds, score_centreline
from autoseg.training.inputs import Inputs, sees_crop


@dataclass(frozen=True, eq=False)
class Centrelines:
    """Automatic centrelines of all cases, each by a finder of a fold that did not see the subject.

    They are found when the first fold asks for them, and kept in `folder`; `settings` are of the finders. With
    `subjects` the finders learn from so many of a fold's subjects (`with_few`), otherwise from all.
    """

    folds: Folds
    settings: Settings
    folder: Path
    on_event: OnEvent = listener(None)  # noqa: RUF009  # it never changes
    should_stop: Callable[[], bool] | None = None
    subjects: int | None = None

    @cached_property
    def _inputs(self) -> tuple[Inputs, ...]:
        return inputs_of_folds(
            self.folds.splits,
            self.folds.structures,
            self.settings,
            folder=self.folder,
            on_event=self.on_event,
            should_stop=self.should_stop,
        )

    def inputs(self, number: int) -> Inputs:
        """Give a fold (from 1) the centrelines of its cases, and the finder for its test cases."""
        return self._inputs[number - 1]

    def with_few(self, count: int, *, by_fold: bool = False) -> Centrelines:
        """Give those of finders that learn from so few subjects of each fold as well (`Folds.with_few`)."""
        folds = self.folds.with_few(count, by_fold=by_fold)
        if folds.splits == self.folds.splits:  # there are no more
            return self
        return replace(self, folds=folds, folder=self.folder / f"of_{count}_subjects", subjects=count)

    def made_from(self) -> dict[str, Any]:
        """Give what they depend on beside the cases of a fold, as plain values."""
        own: dict[str, Any] = {"centrelines": settings_to_dict(self.settings)}
        if self.subjects is not None:
            # Those of all subjects are in every fold; of few, a finder knows others than a fold's own.
            learnt = {c.case_id for split in self.folds.splits for c in (*split.training, *split.validation)}
            words = " ".join(f"{name} {self.folds.contents[name]}" for name in sorted(learnt))
            digest = hashlib.sha256(words.encode("utf-8", "surrogateescape"))
            own["centrelines learnt from"] = digest.hexdigest()[:16]
        return own


def centreline_of(model: TrainedModel, image: Image, reference: LabelMap, *, exact: bool) -> Centreline | None:
    """Give the centreline around which a model will see an image; None of a model that sees whole images."""
    if not sees_crop(model.settings):
        return None
    if exact and (_is_drawn(reference) or model.finder is None):
        return from_labels(reference)
    if model.finder is None:
        raise DataError(
            f"The model {model.name!r} sees a crop around a centreline and has nothing that finds it. Train it "
            "anew, or score it with exact centrelines only."
        )
    return find_centreline(model.finder, image)


def quality_of(line: Centreline, model: TrainedModel, case: Case, reference: LabelMap) -> CentrelineScore | None:
    """Say how good the centreline is around which a model saw a case; None where nothing was drawn."""
    if not _is_drawn(reference):
        return None
    score = score_centreline(line, reference, settings=model.settings.volume)
    return replace(score, case_id=case.case_id, subject_id=case.subject_id)


def _is_drawn(reference: LabelMap) -> bool:
    mask = structure_mask(reference)
    return mask is not None and bool(mask.any())
