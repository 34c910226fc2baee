"""Statistics of agreement: bias and limits, ICC, coefficient of variation, interval of a mean."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from autoseg.errors import DataError

# A bootstrap of one or two values repeats them and tells nothing about others.
FEWEST_FOR_INTERVAL = 3
RESAMPLES = 9999


@dataclass(frozen=True)
class BlandAltman:
    """Bias and 95 % limits of agreement of `n` differences, in the unit of the measurements; NaN if unknown."""

    n: int
    bias: float
    lower: float
    upper: float


def bland_altman(
    reference: npt.ArrayLike, measured: npt.ArrayLike, *, subjects: Sequence[str] | None = None
) -> BlandAltman:
    """Give the bias and the limits within which 95 % of the differences measured - reference are expected.

    With the differences d: bias = mean(d), limits = bias ± 1.96 SD (Bland & Altman, Lancet 1986). SD is the
    sample's (n - 1 in the denominator). Where `subjects` gave several differences each, which resemble each other,

        SD² = MSW + max(0, (MSB - MSW) / m),    m = (N² - sum(n_i²)) / ((k - 1) N)

    with the mean squares between (MSB) and within (MSW) the k subjects in a one-way analysis of variance, n_i
    differences each and N in all (Bland & Altman, J Biopharm Stat 2007, section 3).

    Parameters
    ----------
    reference, measured : (n,) array_like of float
        In the same unit and order.
    subjects : sequence of str, optional
        To whom each pair belongs.

    Returns
    -------
    BlandAltman
        The bias is NaN without a pair, the limits with fewer than two.

    Examples
    --------
    >>> bland_altman([10, 20, 30], [10, 22, 34])
    BlandAltman(n=3, bias=2.0, lower=-1.92, upper=5.92)
    """
    pairs = _columns(reference, measured)
    differences = pairs[:, 1] - pairs[:, 0]
    n = len(differences)
    bias = float(differences.mean()) if n else math.nan
    if n < 2:
        return BlandAltman(n, bias, math.nan, math.nan)
    deviation = math.sqrt(_variance(differences, list(subjects) if subjects is not None else []))
    return BlandAltman(n, bias, bias - 1.96 * deviation, bias + 1.96 * deviation)


def icc_agreement(measurements: npt.ArrayLike) -> float:
    """Give ICC(2,1): two-way random effects, absolute agreement, one measurement.

    With n targets in rows, k raters in columns, and the mean squares of targets (MSR), raters (MSC) and residual
    (MSE) in a two-way analysis of variance:

        ICC(2,1) = (MSR - MSE) / (MSR + (k - 1) MSE + k (MSC - MSE) / n)

    Source: Shrout & Fleiss, Psychol Bull 1979; the ICC(A,1) of McGraw & Wong, Psychol Methods 1996. It grows with
    the spread of the targets: slices from thin to thick agree better by it than slices of one size.

    Parameters
    ----------
    measurements : (n, k) array_like of float

    Returns
    -------
    float
        NaN with fewer than two targets or raters, or where nothing varies.
    """
    table = np.asarray(measurements, dtype=np.float64)
    if table.ndim != 2 or min(table.shape) < 2:
        return math.nan
    n, k = table.shape
    mean = table.mean()
    of_targets, of_raters = table.mean(axis=1, keepdims=True), table.mean(axis=0, keepdims=True)
    targets = k * float(((of_targets - mean) ** 2).sum()) / (n - 1)
    raters = n * float(((of_raters - mean) ** 2).sum()) / (k - 1)
    residual = float(((table - of_targets - of_raters + mean) ** 2).sum()) / ((n - 1) * (k - 1))
    whole = targets + (k - 1) * residual + k * (raters - residual) / n
    return (targets - residual) / whole if whole > 1e-12 * mean**2 else math.nan


def within_target_cv(measurements: npt.ArrayLike) -> float:
    """Give the coefficient of variation in percent between repeated measurements of the same target.

        CV = 100 sqrt(mean over targets of (s_i² / m_i²))

    with the mean m_i and the variance s_i² (k - 1 in the denominator) of a target's k measurements; for two of them
    s_i² = (difference)² / 2. This is the root mean square method (Glüer et al., Osteoporos Int 1995). A difference
    that is the same on all targets, a bias, counts too.

    Parameters
    ----------
    measurements : (n, k) array_like of float
        Positive; targets with the mean 0 are left out.

    Returns
    -------
    float
        NaN without a target or with one measurement each.

    Examples
    --------
    >>> round(within_target_cv([[98, 102], [196, 204]]), 3)
    2.828
    """
    table = np.asarray(measurements, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] < 2:
        return math.nan
    means = table.mean(axis=1)
    counted = means != 0
    if not counted.any():
        return math.nan
    squares = table[counted].var(axis=1, ddof=1) / means[counted] ** 2
    return 100 * math.sqrt(float(squares.mean()))


def bootstrap_interval(values: npt.ArrayLike, *, level: float = 0.95, seed: int = 0) -> tuple[float, float] | None:
    """Give the percentile bootstrap interval of a mean, of 9,999 resamples; None with fewer than three values.

    Give one value a subject, never one a slice: slices of one subject are not independent, and an interval over
    them is far too narrow. Over a handful of subjects it is still rather too narrow.

    Parameters
    ----------
    values : (n,) array_like of float
        NaN are left out.
    level : float
        Between 0 and 1.
    seed : int
        The same seed gives the same interval.

    Returns
    -------
    tuple of float, or None
        Lower and upper end.

    Examples
    --------
    >>> bootstrap_interval([0.8, 0.9])
    >>> low, high = bootstrap_interval([0.80, 0.85, 0.90, 0.95])
    >>> round(low, 2), round(high, 2)
    (0.82, 0.93)
    """
    from scipy.stats import bootstrap

    known = np.asarray(values, dtype=np.float64)
    known = known[~np.isnan(known)]
    if len(known) < FEWEST_FOR_INTERVAL:
        return None
    found = bootstrap(
        (known,), np.mean, confidence_level=level, n_resamples=RESAMPLES, method="percentile", rng=seed
    ).confidence_interval
    return float(found.low), float(found.high)


def _columns(reference: npt.ArrayLike, measured: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Give the pairs as a table of two columns."""
    columns = [np.asarray(values, dtype=np.float64).ravel() for values in (reference, measured)]
    if len(columns[0]) != len(columns[1]):
        raise DataError(
            f"{len(columns[0])} reference values and {len(columns[1])} measured ones are no pairs. Give one each."
        )
    return np.stack(columns, axis=1)


def _variance(differences: npt.NDArray[np.float64], subjects: Sequence[str]) -> float:
    """Give the variance of a difference on a new subject."""
    groups = [differences[np.array(subjects) == subject] for subject in dict.fromkeys(subjects)]
    counts = np.array([len(group) for group in groups])
    k, n = len(groups), len(differences)
    if k < 2 or k == n:
        return float(differences.var(ddof=1))
    means = np.array([group.mean() for group in groups])
    within = sum(float(((group - group.mean()) ** 2).sum()) for group in groups) / (n - k)
    between = float((counts * (means - differences.mean()) ** 2).sum()) / (k - 1)
    repeats = (n**2 - float((counts**2).sum())) / ((k - 1) * n)
    return within + max(0.0, (between - within) / repeats)
