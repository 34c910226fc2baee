"""What follows for a model from images of subjects whom it never saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from autoseg.model.model import TrainedModel
from autoseg.model.trust import How, Profile
from autoseg.training.trust.calibration import calibrate_model
from autoseg.training.trust.examine import Examined
from autoseg.training.trust.profile import scores
from autoseg.training.trust.quality import learn_quality


def learn_trust(
    model: TrainedModel,
    examined: Sequence[Examined],
    *,
    by_folds: bool = False,
    minutes: float | None = None,
    profile: Profile | None = None,
) -> TrainedModel:
    """Give the model with what it knows of its own limits.

    `examined` are images of subjects whom it never saw: its validation subjects, seen by itself, or `by_folds` all
    subjects, each seen by a twin that learnt without it (`autoseg.evaluation.calibrate`). Features of twins are of
    other networks than the model's, and signals may be of weaker ones: twins learn for a shorter time, `minutes`.
    `profile` is what it learnt from (`learn_profile`); None: as it is. Where nobody validated the model itself, its
    score is that of its twins.
    """
    kept = model.trust.profile if profile is None else profile
    if by_folds and kept is not None and (kept.by_folds or not kept.validated):
        dice, area_error = scores(model.structures, examined)
        count = len({one.subject_id for one in examined})
        profile = replace(kept, validated=count, by_folds=True, dice=dice, area_error=area_error)
    if profile is not None:
        model = replace(model, trust=replace(model.trust, profile=profile))
    model = replace(model, trust=replace(model.trust, quality=learn_quality(model, examined)))
    calibration = calibrate_model(model, examined, how=How.FOLDS if by_folds else How.VALIDATION, minutes=minutes)
    return replace(model, trust=replace(model.trust, calibration=calibration))
