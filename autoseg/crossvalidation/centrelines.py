"""The centrelines of a cross-validation: found once, for all that see a crop around them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from autoseg.cases import Case
from autoseg.centreline import Centreline, from_labels
from autoseg.crossvalidation.splits import Folds
from autoseg.errors import DataError
from autoseg.finder import CentrelineScore, Tell, inputs_of_folds, score_centreline
from autoseg.image import Image, LabelMap
from autoseg.inputs import Inputs, sees_crop
from autoseg.model import TrainedModel
from autoseg.prediction import find_centreline
from autoseg.settings import Settings, settings_to_dict


@dataclass(frozen=True, eq=False)
class Centrelines:
    """Automatic centrelines of all cases, each by a finder of a fold that did not see the subject.

    They are found when the first fold asks for them, and kept in `folder`.

    Parameters
    ----------
    folds : Folds
    settings : Settings
        Of the finders, from `autoseg.finder.finder_settings`.
    folder : Path
    tell, should_stop : callable
        As of `autoseg.finder.inputs_of_folds`.
    """

    folds: Folds
    settings: Settings
    folder: Path
    tell: Tell = lambda line: None
    should_stop: Callable[[], bool] | None = None

    @cached_property
    def _inputs(self) -> tuple[Inputs, ...]:
        return inputs_of_folds(
            self.folds.splits,
            self.folds.structures,
            self.settings,
            folder=self.folder,
            tell=self.tell,
            should_stop=self.should_stop,
        )

    def inputs(self, number: int) -> Inputs:
        """Give a fold (from 1) the centrelines of its cases, and the finder for its test cases."""
        return self._inputs[number - 1]

    def made_from(self) -> dict[str, Any]:
        """Give what they depend on beside the folds, as plain values."""
        return {"centrelines": settings_to_dict(self.settings)}


def centreline_of(
    model: TrainedModel, case: Case, image: Image, reference: LabelMap, *, exact: bool
) -> tuple[Centreline | None, CentrelineScore | None]:
    """Give the centreline around which a model will see an image, and how good it is.

    Parameters
    ----------
    model : TrainedModel
    case : Case
    image : Image
    reference : LabelMap
        What was drawn on it.
    exact : bool
        From what was drawn, not by the model's finder.

    Returns
    -------
    tuple of Centreline and CentrelineScore
        None and None of a model that sees whole images; no score where nothing was drawn.

    Raises
    ------
    DataError
        If the model has no finder, or the exact one is asked for and nothing was drawn.
    """
    if not sees_crop(model.settings):
        return None, None
    drawn = _exact(reference)
    if exact:
        line = from_labels(reference) if drawn is None else drawn
    elif model.finder is None:
        raise DataError(
            f"The model {model.name!r} sees a crop around a centreline and has nothing that finds it. Train it "
            "anew, or score it with exact centrelines only."
        )
    else:
        line = find_centreline(model.finder, image)
    if drawn is None:
        return line, None
    score = score_centreline(line, reference, exact=drawn, settings=model.settings.volume)
    return line, replace(score, case_id=case.case_id, subject_id=case.subject_id)


def _exact(reference: LabelMap) -> Centreline | None:
    """Give the centreline of what was drawn, None where nothing was."""
    return from_labels(reference) if reference.voxels.any() else None
