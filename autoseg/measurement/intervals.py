"""Intervals in which a true area lies, by the errors on patients whom a model never saw.

An error counts in units of the error that is to be expected of such an area, so that one half-width serves small
and large areas: an interval is area ± half-width × expected error, never below 0. The patient is the unit: the
slices of one are alike, and ten patients with twenty slices each tell about ten things, not two hundred.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
from scipy import optimize

LEVEL = 0.9
# With three, one triple of patients in ten held less than 62 % where 90 % were promised (volumes of hippocampi).
FEWEST_TO_ASSUME = 5
# To fewer errors nothing is fitted: with nine patients of one value each, two fitted numbers cost 2 % of coverage.
FEWEST_TO_FIT = 30
# Where no area was off, so that nothing is divided by 0.
LEAST_EXPECTED = 1e-9
ROUNDS = 20  # of fitting the expected error; most often a few are enough

Floats = npt.NDArray[np.float64]


class Basis(StrEnum):
    """What an interval rests on."""

    BY_PATIENT = "by patient"  # on nothing but that a new patient is like those before
    ASSUMING = "assumes a distribution"  # of patients, and of slices in them: normal ones


class SliceKind(StrEnum):
    """How a structure was found on a slice: what goes wrong differs by it."""

    FOUND = "found"
    BESIDE = "beside"  # not here, but on the slice before or behind, or on slices on both sides
    EMPTY = "empty"


@dataclass(frozen=True)
class Band:
    """Between which errors, in units of the expected one, the true area minus the measured one lies."""

    low: float
    high: float
    basis: Basis


@dataclass(frozen=True)
class PatientInterval:
    """In which intervals the mean, the largest area and the volume of a structure lie, of one image of a patient.

    `image` is its case_id, or what the slices of a series of single slices have in common: `(subject_id, image)` is
    the key of `autoseg.report.area_tables.image_groups`. Areas are in `unit`. An end is None where there is nothing
    to say. `basis` is the value of a `Basis`.
    """

    subject_id: str
    image: str
    label: int
    name: str
    unit: str
    level: float
    basis: str
    mean_low: float | None = None
    mean_high: float | None = None
    max_low: float | None = None
    max_high: float | None = None
    volume_low_mm3: float | None = None
    volume_high_mm3: float | None = None


# --- from errors to the half-width of an interval


def fewest_patients(level: float = LEVEL) -> int:
    """Give from how many patients on an interval of this level can be had without assuming a distribution.

    Examples
    --------
    >>> fewest_patients(0.9), fewest_patients(0.8), fewest_patients(0.95)
    (9, 4, 19)
    """
    return math.ceil(level / (1 - level) - 1e-9)


def weighted_quantile(values: npt.ArrayLike, weights: npt.ArrayLike, level: float) -> float:
    """Give the smallest value at or below which this share of the weights lies; what lacks to 1 lies at infinity.

    Examples
    --------
    >>> weighted_quantile([3.0, 1.0, 2.0], [0.25, 0.25, 0.25], 0.5)
    2.0
    >>> weighted_quantile([3.0, 1.0, 2.0], [0.25, 0.25, 0.25], 0.9)
    inf
    """
    values = np.asarray(values, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(np.asarray(weights, dtype=np.float64)[order]) >= level - 1e-12
    return float(values[order][np.argmax(reached)]) if reached.any() else math.inf


def by_patient(scores: Sequence[npt.ArrayLike], level: float = LEVEL) -> float:
    """Give the half-width that holds an error of a new patient with at least the probability `level`.

    Each of n patients has the weight 1/(n+1), spread evenly over its slices; the last 1/(n+1) lies at infinity.
    With one score a patient (its mean, its volume) it is the ordinary split conformal interval. Source:
    hierarchical conformal prediction, Lee, Barber & Willett 2023, arXiv 2306.06342.

    Parameters
    ----------
    scores : sequence of array_like
        Of each patient the errors of its slices, in units of the expected error; patients without any do not count.
    level : float

    Returns
    -------
    float
        Infinite with fewer than `fewest_patients(level)` patients.

    Examples
    --------
    >>> by_patient([[0.1 * n] for n in range(1, 10)])
    0.9
    >>> by_patient([[0.1 * n] for n in range(1, 9)])
    inf
    """
    known = _known(scores)
    weights = [np.full(len(own), 1 / ((len(known) + 1) * len(own))) for own in known]
    return weighted_quantile(np.abs(np.concatenate(known)), np.concatenate(weights), level) if known else math.inf


def random_effects(scores: Sequence[npt.ArrayLike], level: float = LEVEL) -> tuple[float, float] | None:
    """Give between which errors that of a new patient's slice lies, if patients and slices are normal distributed.

    With the mean of each of n patients: their mean ± t(n - 1) · √(between² + within² + variance of the means / n),
    the variances between patients and within one by a one-way analysis of variance. None with fewer than
    `FEWEST_TO_ASSUME` patients.

    Examples
    --------
    Of one score a patient it is the interval of Student's t for one more:

    >>> low, high = random_effects([[1.0], [2.0], [3.0], [4.0], [5.0]], 0.9)
    >>> round((high - low) / 2, 3)
    3.692
    """
    from scipy.stats import t  # half a second, and few who measure come here

    known = _known(scores)
    n = len(known)
    if n < FEWEST_TO_ASSUME:
        return None
    means = np.array([own.mean() for own in known])
    slices = np.array([len(own) for own in known])
    freedom = int(slices.sum()) - n
    within = float(sum(((own - own.mean()) ** 2).sum() for own in known)) / freedom if freedom else 0.0
    of_means = float(means.var(ddof=1))
    between = max(0.0, of_means - within * float(np.mean(1 / slices)))
    half = float(t.ppf((1 + level) / 2, n - 1)) * math.sqrt(between + within + of_means / n)
    return float(means.mean()) - half, float(means.mean()) + half


def find_band(scores: Sequence[npt.ArrayLike], level: float = LEVEL, *, may_assume: bool = False) -> Band | None:
    """Give the interval of an error by patient; with too few of them, where one `may_assume` it, by random effects.

    Parameters
    ----------
    scores : sequence of array_like
        Of each patient (true - measured) / expected error, of each slice.
    level : float
    may_assume : bool

    Returns
    -------
    Band or None
        None: too few patients.
    """
    half = by_patient(scores, level)
    if math.isfinite(half):
        return Band(-half, half, Basis.BY_PATIENT)
    ends = random_effects(scores, level) if may_assume else None
    return None if ends is None else Band(*ends, Basis.ASSUMING)


def _known(scores: Sequence[npt.ArrayLike]) -> list[Floats]:
    arrays = [np.asarray(own, dtype=np.float64).ravel() for own in scores]
    return [own for own in arrays if own.size]


# --- the error to be expected of an area


@dataclass(frozen=True)
class Expected:
    """The expected error of an area: base + area × (share + doubt × (1 - expected Dice)).

    The `base` is in the unit of the area. The contour of a small structure is as uncertain as that of a large one,
    so that a share of the area alone would promise too much of small areas and too little of large ones.
    """

    base: float
    share: float
    doubt: float = 0.0

    def of(self, areas: npt.ArrayLike, doubts: npt.ArrayLike = 0.0) -> Floats:
        """Give the expected errors; `doubts` are 1 - expected Dice."""
        areas = np.asarray(areas, dtype=np.float64)
        expected = self.base + areas * (self.share + self.doubt * np.asarray(doubts, dtype=np.float64))
        return np.asarray(np.maximum(expected, LEAST_EXPECTED))

    def interval(self, area: float, band: Band, doubt: float = 0.0) -> tuple[float, float]:
        """Give the ends of an area's interval, which holds the area and does not reach below 0."""
        expected = float(self.of(area, doubt))
        return max(0.0, area + min(0.0, band.low) * expected), area + max(0.0, band.high) * expected


# Of slices on which nothing was found: their errors count as they are. Of others before more is known: as a share.
AS_THEY_ARE, RELATIVE = Expected(1.0, 0.0), Expected(0.0, 1.0)


def fit_expected(
    areas: Sequence[npt.ArrayLike], errors: Sequence[npt.ArrayLike], doubts: Sequence[npt.ArrayLike] | None = None
) -> Expected:
    """Fit the expected error to the errors of patients, each of whom counts once.

    Parameters
    ----------
    areas, errors : sequence of array_like
        Of each patient the measured areas, and by how much they are off.
    doubts : sequence of array_like, optional
        1 - expected Dice of each.

    Returns
    -------
    Expected
        None of its terms is negative, so that what tells nothing has no weight. `RELATIVE` of fewer than
        `FEWEST_TO_FIT` errors.
    """
    known = _known(areas)
    if sum(map(len, known)) < FEWEST_TO_FIT:
        return RELATIVE
    area, error = np.concatenate(known), np.abs(np.concatenate(_known(errors)))
    weights = np.concatenate([np.full(len(own), 1 / len(own)) for own in known])
    terms = [np.ones_like(area), area]
    if doubts is not None:
        terms.append(area * np.concatenate(_known(doubts)))
    columns = np.stack(terms, axis=1)
    scale = columns.mean(axis=0) + LEAST_EXPECTED
    least = 1e-3 * float(np.average(error, weights=weights)) + LEAST_EXPECTED
    expected, found = np.full_like(area, error.mean() + least), np.zeros(len(terms))
    for _ in range(ROUNDS):
        # An error as large as expected weighs the same wherever it is.
        root = np.sqrt(weights) / expected
        found, _ = optimize.nnls(columns / scale * root[:, None], error * root)
        before, expected = expected, np.maximum(columns / scale @ found, least)
        if np.allclose(before, expected, rtol=1e-4, atol=0.0):
            break
    found = found / scale
    base = float(found[0]) if float(found.max()) > 0 else least
    return Expected(base, float(found[1]), float(found[2]) if len(terms) == 3 else 0.0)


# --- slices of an image


def slice_kinds(areas: npt.ArrayLike) -> list[SliceKind]:
    """Say of each slice, in the order of the stack, how a structure was found there; areas have shape (slices,).

    Examples
    --------
    >>> [kind.value for kind in slice_kinds([0, 0, 7, 0, 0, 0, 9])]
    ['empty', 'beside', 'found', 'beside', 'beside', 'beside', 'found']
    """
    found = np.asarray(areas) > 0
    near = np.zeros_like(found)
    places = np.flatnonzero(found)
    if places.size:
        near[max(0, places[0] - 1) : places[-1] + 2] = True
    return [
        SliceKind.FOUND if here else SliceKind.BESIDE if beside else SliceKind.EMPTY
        for here, beside in zip(found.tolist(), near.tolist(), strict=True)
    ]


# --- how often intervals held


def coverage_by_patient(scores: Sequence[npt.ArrayLike], level: float = LEVEL) -> float | None:
    """Give how often the interval from the other patients held an error, each patient counting once.

    None where the others are too few.
    """
    known = _known(scores)
    if len(known) <= fewest_patients(level):
        return None
    held = []
    for number, own in enumerate(known):
        half = by_patient(known[:number] + known[number + 1 :], level)
        held.append(float(np.mean(np.abs(own) <= half)))
    return float(np.mean(held))
