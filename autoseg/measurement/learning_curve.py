"""How a score gets better with more patients to learn from: a curve through some sizes, carried on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt

from autoseg.errors import DataError

Floats = npt.NDArray[np.float64]

# A curve of three numbers goes through any two sizes, and a handful of patients are no sample.
FEWEST_SIZES, FEWEST_PATIENTS, FEWEST_FOLDS = 3, 6, 2
# The interval in which the curve lies in so many of 100 cases, and the resamples that it is made of.
LEVEL, RESAMPLES = 0.8, 2000
# Exponents that are tried: from hardly bent to as if all were learnt at once.
EXPONENTS = np.geomspace(0.15, 2.0, 16)
# An interval wider than this share of today's error tells nothing; nor does a curve so many times beyond its end.
WIDEST, FARTHEST = 0.6, 3.0


class Doubt(Enum):
    """Why no curve is carried on."""

    FEW_SIZES = "few sizes"
    FEW_PATIENTS = "few patients"
    RISES = "rises"
    FLAT = "flat"
    WIDE = "wide"
    FAR = "far"


@dataclass(frozen=True)
class Estimate:
    """A value and the ends of its 80 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, eq=False, repr=False)
class LearningCurve:
    """Scores by number of patients to learn from, and the curves that may lie behind them.

    `by_fold` has a row a fold and a column a size. `measured` are the means over patients. `doubt` says why nothing
    can be told of more patients; then there are no `draws`. These are a, b and c of error = a + b n^(-c), a row a
    resample. `perfect` is the score without an error.
    """

    sizes: tuple[float, ...]
    n_patients: int
    perfect: float
    by_fold: Floats
    measured: tuple[Estimate, ...]
    doubt: Doubt | None
    draws: Floats

    def __repr__(self) -> str:
        return f"LearningCurve({self.sizes}, {self.doubt or 'a curve'})"

    def at(self, count: float) -> Estimate:
        """Give what is expected of so many patients: the median of the curves, and where 80 % of them lie."""
        if not len(self.draws):
            raise DataError("There is no curve through these sizes.")
        a, b, c = self.draws.T
        return _estimate(a + b * count**-c, self.perfect)

    def doubt_at(self, count: float) -> Doubt | None:
        """Say why nothing can be told of so many patients; None where it can."""
        if self.doubt is not None:
            return self.doubt
        if count > FARTHEST * self.sizes[-1]:
            return Doubt.FAR
        found, now = self.at(count), abs(self.measured[-1].value - self.perfect)
        return Doubt.WIDE if found.high - found.low > WIDEST * now else None


def fit_learning_curve(
    values: npt.ArrayLike, sizes: Sequence[float], folds: Sequence[int], *, perfect: float = 0.0, seed: int = 0
) -> LearningCurve:
    """Fit error = a + b n^(-c), a and b not below 0, to scores of the same patients by models of several sizes.

    Whole folds are drawn again and again, and in each its patients: what differs between folds (who taught, how the
    training went) counts as much as what differs between patients. Each resample is fitted once with every
    exponent, its sizes weighed by how surely their means are known, and keeps one of these curves, drawn by how
    well they fit: with three or four sizes many exponents fit, and the best one alone would be too sure of itself.

    Parameters
    ----------
    values : array of shape (patients, sizes)
        Scores, 1 for a perfect Dice or 0 for no error of the area; who lacks one of a size does not count.
    sizes : sequence of float
        Patients to learn from, ascending.
    folds : sequence of int
        Of each patient.
    perfect : float
        The score without an error: 0, or 1 of scores that are best where they are large.
    seed : int

    Returns
    -------
    LearningCurve

    Examples
    --------
    >>> errors = [[20 + p, 12 + p, 8 + p] for p in (-1, 0, 1, -1, 0, 1)]
    >>> curve = fit_learning_curve(errors, (2, 4, 8), (1, 1, 1, 2, 2, 2))
    >>> curve.doubt is None, 4 < curve.at(16).value < 8
    (True, True)
    """
    table = np.asarray(values, dtype=np.float64).reshape(-1, len(sizes))
    whole = np.isfinite(table).all(axis=1)
    errors, places = np.abs(table[whole] - perfect), np.asarray(folds)[whole]
    groups = [errors[places == fold] for fold in dict.fromkeys(places.tolist())]
    by_fold = np.array([group.mean(axis=0) for group in groups]).reshape(-1, len(sizes))
    rng = np.random.default_rng(seed)
    means = _resampled(groups, rng) if len(groups) > 1 else np.empty((0, len(sizes)))
    measured = tuple(
        _estimate(means[:, k] if len(means) else np.full(1, np.nan), perfect, value=value)
        for k, value in enumerate(errors.mean(axis=0) if len(errors) else np.full(len(sizes), np.nan))
    )
    doubt = _doubt(errors, means, len(groups))
    draws = np.empty((0, 3)) if doubt else _fitted(means, np.asarray(sizes, dtype=np.float64), rng)
    shown = perfect - by_fold if perfect else by_fold
    return LearningCurve(tuple(sizes), len(errors), perfect, shown, measured, doubt, draws)


def _estimate(errors: Floats, perfect: float, *, value: float | None = None) -> Estimate:
    ends = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    low, high = (float(end) for end in np.quantile(errors, ends))
    middle = float(np.median(errors)) if value is None else float(value)
    return Estimate(perfect - middle, perfect - high, perfect - low) if perfect else Estimate(middle, low, high)


def _resampled(groups: Sequence[Floats], rng: np.random.Generator) -> Floats:
    """Give the mean errors by size of resamples: of the folds, and of the patients in each."""
    sums, counts = np.zeros((RESAMPLES, groups[0].shape[1])), np.zeros((RESAMPLES, 1))
    for _ in groups:
        drawn = rng.integers(len(groups), size=RESAMPLES)
        for place, group in enumerate(groups):
            rows = np.flatnonzero(drawn == place)
            chosen = rng.integers(len(group), size=(len(rows), len(group)))
            sums[rows] += group[chosen].sum(axis=1)
            counts[rows] += len(group)
    errors = np.concatenate(groups)
    middle = errors.mean(axis=0)
    # A few folds drawn from themselves differ by less than folds do.
    wider = np.sqrt(len(groups) / (len(groups) - 1))
    apart = wider * (sums / counts - middle)
    # Where a few folds agree by luck, a size would be too sure of itself: none is surer than all are on average.
    spread = apart.std(axis=0) / np.maximum(middle, 1e-12)
    apart *= np.maximum(1.0, np.sqrt((spread**2).mean()) / np.maximum(spread, 1e-12))
    # A mean beyond the worst patient of all is none.
    return np.clip(middle + apart, 0.0, errors.max())


def _doubt(errors: Floats, means: Floats, folds: int) -> Doubt | None:
    if errors.shape[1] < FEWEST_SIZES:
        return Doubt.FEW_SIZES
    if len(errors) < FEWEST_PATIENTS or folds < FEWEST_FOLDS:
        return Doubt.FEW_PATIENTS
    surely = (1 + LEVEL) / 2
    if ((means[:, 1:] > means[:, :-1]).mean(axis=0) > surely).any():
        return Doubt.RISES
    return None if (means[:, -1] < means[:, 0]).mean() > surely else Doubt.FLAT


def _fitted(means: Floats, sizes: Floats, rng: np.random.Generator) -> Floats:
    """Give a, b and c of one curve a resample."""
    # The floor: no size is so sure that the others would not count.
    variance = means.var(axis=0) + (0.02 * means.mean(axis=0)) ** 2 + 1e-12
    weight = 1 / variance
    powers = sizes ** -EXPONENTS[:, None]
    x, xx = (weight * powers).sum(axis=1), (weight * powers**2).sum(axis=1)
    y, xy = means @ weight, (means * weight) @ powers.T
    all_weight = weight.sum()
    b = (all_weight * xy - x * y[:, None]) / (all_weight * xx - x**2)
    a = (y[:, None] - b * x) / all_weight
    a, b = np.where(a < 0, 0.0, a), np.where(a < 0, xy / xx, b)
    a, b = np.where(b < 0, y[:, None] / all_weight, a), np.maximum(0.0, b)
    misfit = ((means[:, None] - a[..., None] - b[..., None] * powers) ** 2 * weight).sum(axis=2)
    chances = np.exp(-(misfit - misfit.min(axis=1, keepdims=True)) / 2)
    heights = chances.cumsum(axis=1)
    drawn = (heights < rng.random((len(means), 1)) * heights[:, -1:]).sum(axis=1)
    rows = np.arange(len(means))
    return np.stack([a[rows, drawn], b[rows, drawn], EXPONENTS[drawn]], axis=1)
