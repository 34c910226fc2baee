"""What follows for a model from images of subjects whom it never saw."""

from __future__ import annotations

from collections.abc import Sequence

from autoseg.model.model import TrainedModel
from autoseg.training.trust.examine import Examined


def learn_trust(model: TrainedModel, examined: Sequence[Examined]) -> TrainedModel:
    """Give the model with what it knows of its own limits.

    `examined` are images of subjects whom it never saw: its validation subjects, or by its twins of a
    cross-validation all subjects.
    """
    return model
