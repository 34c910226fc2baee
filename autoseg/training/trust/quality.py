"""Learning from patients whom a model never saw by what a poor slice is told, and what is usual of a structure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import optimize

from autoseg.image.structures import Structure, side_pairs
from autoseg.measurement.areas import Usual, jumps_along
from autoseg.model.model import TrainedModel
from autoseg.model.trust.quality import EMPTY, FOUND, LEAST_ERROR, Quality, features_of
from autoseg.training.trust.examine import Examined

Numbers = npt.NDArray[np.float64]

# Dice from which on a slice is good, and the part of good ones that may be called poor; and that of the slices on
# which a structure is truly absent. Just beyond an end nothing tells surely: on hippocampi nearly every second flag
# there is of a slice on which it was missed, and with 0.04 a quarter of those had none.
GOOD, CALLED_POOR, CALLED_MISSED = 0.7, 0.04, 0.1
# The part of labelled slices that is still usual.
USUAL = 0.95
# How much the weights that hold for any model count: as so many patients do.
STRENGTH = 3.0
# A patient of n slices weighs n to this power: slices of one patient tell less than as many patients.
POWER = 0.5


def learn_quality(
    model: TrainedModel, examined: Sequence[Examined], *, start: Quality | None = None
) -> Quality | None:
    """Give what tells how well a slice is segmented; None without an image of which anything was drawn.

    The weights are drawn towards those of `start`, which hold for any model, the more the fewer patients there are.
    """
    start = start or Quality()
    images = [one for one in examined if one.signals is not None and one.drawn.any()]
    if not images:
        return None
    in_mm = all(one.pixel_mm2 is not None for one in images)
    usual = learn_usual(model.structures, images)
    areas = [_usual_area(images, column, in_mm=in_mm) for column in range(len(usual))]
    rows = join([rows_of(one, areas if (one.pixel_mm2 is not None) == in_mm else ()) for one in images])
    found, empty = rows.is_found, ~rows.is_found
    _, weights_empty, weights_error = fit_weights(rows, start)
    count = len(model.structures)
    beside = np.hstack([rows.found, np.eye(count)[rows.columns]])
    # Together with what one structure is better or worse at than the others.
    found_and_own = fit_share(
        beside[found], rows.dice[found], rows.weights[found], (*start.found, *(0.0,) * count),
        (*FOUND.values(), *(0,) * count), offsets=count,
    )  # fmt: skip
    weights_found, offsets = found_and_own[: len(FOUND)], found_and_own[len(FOUND) :]
    quality = replace(
        start,
        found=weights_found,
        offsets=offsets,
        empty=weights_empty,
        error=weights_error,
        areas=tuple(areas),
        pieces=tuple(one.pieces for one in usual),
        jumps=tuple(one.jump for one in usual),
        sides=tuple(one.side for one in usual),
        always=tuple(one.always for one in usual),
        in_mm=in_mm,
        subjects=len({one.subject_id for one in images}),
        slices=sum(len(one.reference) for one in images),
    )
    expected = np.where(found, share(beside, found_and_own), share(rows.empty, weights_empty))
    is_good = rows.dice >= GOOD
    return replace(
        quality,
        poor_found=_threshold(expected[found & is_good], start.poor_found, CALLED_POOR),
        poor_empty=_threshold(expected[empty & is_good], start.poor_empty, CALLED_MISSED),
    )


@dataclass(frozen=True, eq=False)
class Rows:
    """Slices and structures that were drawn, one below the other.

    `found` and `empty` are features (n, …), `is_found` tells for which the structure was found; `dice` is 1 where
    it is neither found nor there, `error` the absolute logarithm of the ratio of the areas, `columns` the places of
    the structures.
    """

    found: Numbers
    empty: Numbers
    is_found: npt.NDArray[np.bool_]
    dice: Numbers
    error: Numbers
    weights: Numbers
    columns: npt.NDArray[np.int64]
    subjects: tuple[str, ...]


def rows_of(one: Examined, areas: Sequence[float]) -> Rows:
    """Give the rows of one image; `areas` are those that are usual of each structure."""
    found, empty = features_of(np.asarray(one.signals), areas)
    chosen = np.broadcast_to(one.drawn, one.reference.shape)
    reference, predicted, both = (
        counts[chosen].astype(float) for counts in (one.reference, one.predicted, one.both)
    )
    sizes = reference + predicted
    little = 1.0  # a pixel, so that what is missing has an error that is finite
    return Rows(
        found=found[chosen],
        empty=empty[chosen],
        is_found=predicted > 0,
        dice=np.where(sizes > 0, 2 * both / np.maximum(sizes, 1), 1.0),
        error=np.abs(np.log((predicted + little) / (reference + little))),
        weights=np.ones(len(sizes)),
        columns=np.broadcast_to(np.arange(len(one.drawn)), chosen.shape)[chosen],
        subjects=(one.subject_id,) * len(sizes),
    )


def join(parts: Sequence[Rows]) -> Rows:
    """Put the rows of several images together, each of a patient's n weighing n ** (POWER - 1)."""
    subjects = tuple(subject for part in parts for subject in part.subjects)
    _, whose, counts = np.unique(np.array(subjects), return_inverse=True, return_counts=True)
    return Rows(
        found=np.concatenate([part.found for part in parts]),
        empty=np.concatenate([part.empty for part in parts]),
        is_found=np.concatenate([part.is_found for part in parts]),
        dice=np.concatenate([part.dice for part in parts]),
        error=np.concatenate([part.error for part in parts]),
        columns=np.concatenate([part.columns for part in parts]),
        weights=counts[whose].astype(np.float64) ** (POWER - 1.0),
        subjects=subjects,
    )


def fit_weights(
    rows: Rows, start: Quality, *, strength: float = STRENGTH
) -> tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]:
    """Fit what tells Dice where a structure was found and where not, and the error of its area."""
    yes, no = rows.is_found, ~rows.is_found
    weights, signs, other = rows.weights, tuple(FOUND.values()), tuple(EMPTY.values())
    worse = [-sign for sign in signs]
    return (
        fit_share(rows.found[yes], rows.dice[yes], weights[yes], start.found, signs, strength=strength),
        fit_share(rows.empty[no], rows.dice[no], weights[no], start.empty, other, strength=strength),
        fit_error(rows.found[yes], rows.error[yes], weights[yes], start.error, worse, strength=strength),
    )


def fit_share(
    features: Numbers,
    shares: Numbers,
    weights: Numbers,
    start: Sequence[float],
    signs: Sequence[int],
    *,
    strength: float = STRENGTH,
    offsets: int = 0,
) -> tuple[float, ...]:
    """Fit a logistic regression to shares from 0 to 1, drawn towards weights to start from, each of its sign.

    The last weights are so many `offsets`, of a structure each.
    """
    first = np.array(start, dtype=np.float64)
    pull = _pull(len(first), strength, offsets)

    def loss(now: Numbers) -> tuple[float, Numbers]:
        value = features @ now
        # -ln of the likelihood, without an overflow.
        unlikely = weights @ (np.logaddexp(0.0, value) - shares * value)
        away = now - first
        slope = features.T @ (weights * (1 / (1 + np.exp(-value)) - shares)) + pull * away
        return float(unlikely + 0.5 * (pull * away) @ away), slope

    found = optimize.minimize(loss, first, jac=True, method="L-BFGS-B", bounds=_bounds(signs))
    return tuple(float(one) for one in found.x)


def fit_error(
    features: Numbers,
    errors: Numbers,
    weights: Numbers,
    start: Sequence[float],
    signs: Sequence[int],
    *,
    strength: float = STRENGTH,
) -> tuple[float, ...]:
    """Fit the logarithm of errors by a ridge regression, drawn towards weights to start from, each of its sign.

    Then the first weight, the constant's, is moved so that half of the errors are smaller than what is fitted: the
    mean of their logarithms lies lower, because of those that happen to be almost 0.
    """
    first = np.array(start, dtype=np.float64)
    target = np.log(np.maximum(errors, LEAST_ERROR / 2))
    pull = np.sqrt(_pull(len(first), strength))
    rows = np.vstack([features * np.sqrt(weights)[:, None], np.diag(pull)])
    values = np.concatenate([target * np.sqrt(weights), pull * first])
    low, high = zip(*_bounds(signs), strict=True)
    found: Numbers = optimize.lsq_linear(rows, values, bounds=(low, high)).x
    found[0] += _median(target - features @ found, weights) if len(target) else 0.0
    return tuple(float(one) for one in found)


def _median(values: Numbers, weights: Numbers) -> float:
    """Give the value with half of all weight below it."""
    order = np.argsort(values)
    upto = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(upto, upto[-1] / 2)])


def _pull(count: int, strength: float, offsets: int = 0) -> Numbers:
    """Give how strongly each weight is drawn: the constants, which tell how good a model is at all, less."""
    return np.array([strength / 10] + [strength] * (count - 1 - offsets) + [strength / 10] * offsets)


def _bounds(signs: Sequence[int]) -> list[tuple[float, float]]:
    return [(-np.inf if sign <= 0 else 0.0, np.inf if sign >= 0 else 0.0) for sign in signs]


def share(features: Numbers, weights: Sequence[float] | Numbers) -> Numbers:
    """Give the share between 0 and 1 that weights make of features."""
    return np.asarray(1 / (1 + np.exp(-np.clip(features @ np.array(weights), -30, 30))))


def _threshold(expected: Numbers, at_most: float, part: float) -> float:
    """Give the expected Dice below which a slice is poor: that of this part of the good ones, whose these are."""
    return min(at_most, float(np.quantile(expected, part))) if len(expected) else at_most


def _usual_area(images: Sequence[Examined], column: int, *, in_mm: bool) -> float:
    """Give the median area of a structure in the labels, on slices that show it; 0 where none does."""
    areas = list[float]()
    for one in images:
        if one.drawn[column] and (one.pixel_mm2 is not None or not in_mm):
            counts = one.reference[:, column]
            areas += (counts[counts > 0] * ((one.pixel_mm2 or 1.0) if in_mm else 1.0)).tolist()
    return float(np.median(areas)) if areas else 0.0


def learn_usual(structures: Sequence[Structure], images: Sequence[Examined]) -> list[Usual]:
    """Give what is usual of each structure in the labels, as far as it goes beyond what is usual of any."""
    found = []
    for column in range(len(structures)):
        drawn = [one for one in images if one.drawn[column]]
        pieces = [n for one in drawn if one.pieces is not None for n in one.pieces[:, column].tolist() if n > 0]
        jumps = [jump for one in drawn for jump in jumps_along(one.reference[:, column])]
        always = bool(drawn) and all(one.reference[:, column].any() for one in drawn)
        least = Usual()
        jump = max(least.jump, float(np.quantile(jumps, USUAL)) if jumps else 0.0)
        found.append(replace(least, pieces=max(least.pieces, _most(pieces)), jump=jump, always=always))
    places = {structure.label: column for column, structure in enumerate(structures)}
    for pair in side_pairs(structures):
        columns = [places[label] for label in pair]
        most = _most_unlike(images, columns)
        for column in columns:
            found[column] = replace(found[column], side=max(found[column].side, most))
    return found


def _most(counts: Sequence[int]) -> int:
    """Give the count that all but a few do not exceed."""
    return int(np.quantile(counts, USUAL, method="inverted_cdf")) if counts else 0


def _most_unlike(images: Sequence[Examined], columns: Sequence[int]) -> float:
    """Give how many times larger than the other side one is, on all but a few slices that show both."""
    ratios = list[float]()
    for one in images:
        if one.drawn[columns].all():
            pair = one.reference[:, columns].astype(float)
            pair = pair[(pair > 0).all(1)]
            ratios += (pair.max(1) / pair.min(1)).tolist()
    return float(np.quantile(ratios, USUAL)) if ratios else 0.0
