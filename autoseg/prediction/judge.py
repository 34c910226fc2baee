"""How far to trust what was measured on a new image: its light, the quality of each slice, and intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from autoseg.image.image import LabelMap
from autoseg.measurement.areas import Measurement, Usual
from autoseg.model.model import TrainedModel
from autoseg.model.trust import Quality, Suitability
from autoseg.prediction.intervals import add_intervals
from autoseg.prediction.predict import Predicted
from autoseg.prediction.suitability import Compared


@dataclass(frozen=True, eq=False)
class Judged:
    """The areas of an image with what is known of each, and the light of the image."""

    measurements: tuple[Measurement, ...]
    suitability: Suitability


def judge(
    models: Sequence[TrainedModel], compared: Compared, predicted: Predicted, measurements: Sequence[Measurement]
) -> Judged:
    """Add to the areas of an image its light, what Dice and error are to be expected, flags, and intervals."""
    lit = add_light(compared, predicted.label_map, measurements)
    rows = expect_quality(models, predicted, lit.measurements)
    return Judged(add_intervals(models, rows), lit.suitability)


def add_light(compared: Compared, label_map: LabelMap, measurements: Sequence[Measurement]) -> Judged:
    """Add the light of an image to its areas, with what was found on it."""
    suitability = compared.with_found(label_map)
    rows = tuple(replace(row, suitability=suitability.light.value) for row in measurements)
    return Judged(rows, suitability)


def expect_quality(
    models: Sequence[TrainedModel], predicted: Predicted, measurements: tuple[Measurement, ...]
) -> tuple[Measurement, ...]:
    """Add the expected Dice and error of the area, and a flag where it is poor; of several models the mean.

    All have to know their quality. Of a slice without the structure the expected Dice is the probability that it is
    truly absent, and no error is expected of its area.
    """
    known = [(one, its) for one in models if (its := _quality(one)) is not None]
    if predicted.signals is None or not known or len(known) < len(models):
        return measurements
    first, in_mm = models[0].structures, predicted.label_map.affine is not None
    expected, errors = list[npt.NDArray[np.float64]](), list[npt.NDArray[np.float64]]()
    poor = list[npt.NDArray[np.bool_]]()
    for model, quality in known:
        places = {structure.label: column for column, structure in enumerate(first)}
        own = [places[structure.label] for structure in model.structures]
        signals = predicted.signals[:, own]
        dice, error = quality.expect(signals, in_mm=in_mm)
        back = np.argsort(own)
        expected.append(dice[:, back])
        errors.append(error[:, back])
        poor.append(quality.is_poor(signals, dice)[:, back])
    dice, error, votes = (np.mean(each, axis=0) for each in (expected, errors, poor))
    column = {structure.label: place for place, structure in enumerate(first)}
    found = []
    for row in measurements:
        place = row.slice_index, column[row.label]
        flags = f"{row.flags}; poor" if row.flags else "poor"
        flags = flags if votes[place] > 0.5 else row.flags
        off = 100 * float(error[place]) if row.pixel_count else None
        dice_here = float(dice[place])
        found.append(replace(row, expected_dice=dice_here, expected_error_percent=off, flags=flags))
    return tuple(found)


def _quality(model: TrainedModel) -> Quality | None:
    """Give what a model knows of its quality, if that is of the signals that are given today."""
    quality = model.trust.quality
    return quality if quality is not None and quality.is_known else None


def can_expect(models: Sequence[TrainedModel]) -> bool:
    """Tell whether all of the models know by what a poor slice is told: a second look is of no use without."""
    return all(_quality(one) is not None for one in models)


def usual_of(models: Sequence[TrainedModel]) -> dict[int, Usual] | None:
    """Give what is usual of each structure by its label, of several models what any knows; None if one does not."""
    found = dict[int, Usual]()
    for model in models:
        quality = model.trust.quality
        if quality is None or not quality.pieces:
            return None
        each = zip(quality.pieces, quality.jumps, quality.sides, quality.always, strict=True)
        for structure, one in zip(model.structures, (Usual(*own) for own in each), strict=True):
            before = found.setdefault(structure.label, one)
            found[structure.label] = Usual(
                max(before.pieces, one.pieces),
                max(before.jump, one.jump),
                max(before.side, one.side),
                before.always and one.always,
            )
    return found
