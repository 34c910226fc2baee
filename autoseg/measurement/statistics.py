"""Statistics of agreement: bias and limits, ICC, CV, equivalence, intervals, and a test of paired differences."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from autoseg.errors import DataError

# A bootstrap of one or two values repeats them and tells nothing about others.
FEWEST_FOR_INTERVAL = 3
RESAMPLES = 9999
# With so many subjects every change of signs is tried, with more so many of them, drawn at random.
EXACT_UP_TO, DRAWN_SIGNS = 14, 10_000


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
    the spread of the targets: slices from thin to thick agree better by it than slices of one size. NaN with fewer
    than two targets or raters, or where nothing varies.
    """
    squares = _mean_squares(measurements)
    if squares is None:
        return math.nan
    n, k, targets, raters, residual = squares
    return (targets - residual) / (targets + (k - 1) * residual + k * (raters - residual) / n)


def icc_interval(measurements: npt.ArrayLike, *, level: float = 0.95) -> tuple[float, float]:
    """Give the confidence interval of `icc_agreement`; NaN where that is NaN, (1, 1) where raters never differ.

    With the mean squares of `icc_agreement`, a = k ICC / (n (1 - ICC)), b = 1 + a (n - 1), the degrees of freedom
    v = (a MSC + b MSE)² / ((a MSC)² / (k - 1) + (b MSE)² / ((n - 1)(k - 1))), and quantiles F of (n - 1, v) and F'
    of (v, n - 1) degrees:

        low  = n (MSR - F MSE) / (F (k MSC + (k n - k - n) MSE) + n MSR)
        high = n (F' MSR - MSE) / (k MSC + (k n - k - n) MSE + n F' MSR)

    Source: McGraw & Wong, Psychol Methods 1996, ICC(A,1).

    Examples
    --------
    >>> low, high = icc_interval([[9, 2], [6, 1], [8, 4], [7, 1], [10, 5], [6, 2]])
    >>> round(low, 2), round(high, 2)
    (-0.02, 0.6)
    """
    from scipy.stats import f

    squares = _mean_squares(measurements)
    if squares is None:
        return math.nan, math.nan
    n, k, targets, raters, residual = squares
    icc = icc_agreement(measurements)
    if icc > 1 - 1e-12:
        return 1.0, 1.0
    a = k * icc / (n * (1 - icc))
    b = 1 + a * (n - 1)
    parts = (a * raters) ** 2 / (k - 1) + (b * residual) ** 2 / ((n - 1) * (k - 1))
    # Without any residual but a bias the degrees are those of the raters.
    degrees = (a * raters + b * residual) ** 2 / parts if parts else 1.0
    below, above = (float(f.ppf((1 + level) / 2, *pair)) for pair in ((n - 1, degrees), (degrees, n - 1)))
    rest = k * raters + (k * n - k - n) * residual
    low = n * (targets - below * residual) / (below * rest + n * targets)
    return low, n * (above * targets - residual) / (rest + n * above * targets)


def minimal_detectable_change(mean_square: float) -> float:
    """Give the change between two measurements of one patient that is, with 95 %, more than they differ by chance.

    `mean_square` is that of the differences between two measurements of the same, with their bias. The standard
    error of one measurement is sqrt(mean_square / 2), and two differ by 1.96 sqrt(2) of it (de Vet et al., J Clin
    Epidemiol 2006; Bland & Altman's coefficient of repeatability).

    Examples
    --------
    >>> minimal_detectable_change(4.0)
    3.92
    """
    return 1.96 * math.sqrt(mean_square)


@dataclass(frozen=True)
class Equivalence:
    """Two one-sided t-tests: the mean, its 90 % interval, and p that it lies beyond the margin; NaN if unknown."""

    mean: float
    low: float
    high: float
    margin: float
    p: float


def equivalence(differences: npt.ArrayLike, *, margin: float) -> Equivalence:
    """Test by two one-sided t-tests (TOST) whether a mean difference lies within ± margin.

    p is the larger one of the two tests'. It is below 0.05 where the 90 % interval of the mean lies within the
    margin (Schuirmann, J Pharmacokinet Biopharm 1987). Give one difference a subject, never one a slice.

    Examples
    --------
    >>> found = equivalence([1, -1, 2, 0, 1, -1], margin=3)
    >>> round(found.mean, 2), round(found.low, 2), round(found.high, 2), round(found.p, 4)
    (0.33, -0.66, 1.33, 0.0015)
    """
    from scipy.stats import t

    known = np.asarray(differences, dtype=np.float64).ravel()
    n, mean = len(known), float(known.mean()) if len(known) else math.nan
    if n < 2 or math.isnan(margin):
        return Equivalence(mean, math.nan, math.nan, margin, math.nan)
    error = float(known.std(ddof=1)) / math.sqrt(n)
    half = float(t.ppf(0.95, n - 1)) * error
    # Where all differences are the same the statistic is without end, or 0 / 0 on the margin itself.
    away = (margin - abs(mean)) / error if error else math.copysign(math.inf, margin - abs(mean) or -1)
    return Equivalence(mean, mean - half, mean + half, margin, float(t.sf(away, n - 1)))


def ratio_interval(above: npt.ArrayLike, below: npt.ArrayLike, *, level: float = 0.9) -> tuple[float, float, float]:
    """Give mean(above) / mean(below) of positive values by subject, and its interval; NaN with fewer than three.

    The interval is symmetric on the scale of logarithms: a jackknife over subjects with the t distribution.

    Examples
    --------
    >>> [round(value, 2) for value in ratio_interval([4, 2, 6, 4], [2, 2, 2, 2])]
    [2.0, 1.23, 3.25]
    """
    from scipy.stats import t

    pairs = _columns(above, below)
    n, sums = len(pairs), pairs.sum(axis=0)
    rest = sums - pairs
    if n < FEWEST_FOR_INTERVAL or (sums <= 0).any():
        return math.nan, math.nan, math.nan
    ratio = float(sums[0] / sums[1])
    if (rest <= 0).any():  # one subject alone makes the ratio
        return ratio, math.nan, math.nan
    without = np.log(rest[:, 0] / rest[:, 1])
    error = math.sqrt((n - 1) / n * float(((without - without.mean()) ** 2).sum()))
    half = float(t.ppf((1 + level) / 2, n - 1)) * error
    return ratio, ratio * math.exp(-half), ratio * math.exp(half)


def within_target_cv(measurements: npt.ArrayLike) -> float:
    """Give the coefficient of variation in percent between repeated measurements of the same target.

        CV = 100 sqrt(mean over targets of (s_i² / m_i²))

    with the mean m_i and the variance s_i² (k - 1 in the denominator) of a target's k measurements; for two of them
    s_i² = (difference)² / 2. This is the root mean square method (Glüer et al., Osteoporos Int 1995). A difference
    that is the same on all targets, a bias, counts too.

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

    Examples
    --------
    >>> bootstrap_interval([0.8, 0.9])
    >>> low, high = bootstrap_interval([0.80, 0.85, 0.90, 0.95])
    >>> round(low, 2), round(high, 2)
    (0.82, 0.93)
    """
    known = np.asarray(values, dtype=np.float64)
    known = known[~np.isnan(known)]
    return None if len(known) < FEWEST_FOR_INTERVAL else _bootstrapped(tuple(known.tolist()), level, seed)


@lru_cache(maxsize=4096)  # a comparison asks for the same ones after every fold, and each takes 10 ms
def _bootstrapped(values: tuple[float, ...], level: float, seed: int) -> tuple[float, float]:
    from scipy.stats import bootstrap

    found = bootstrap(
        (values,), np.mean, confidence_level=level, n_resamples=RESAMPLES, method="percentile", rng=seed
    ).confidence_interval
    return float(found.low), float(found.high)


def mean_interval(
    sums: npt.ArrayLike, counts: npt.ArrayLike, *, level: float = 0.95, seed: int = 0
) -> tuple[float, float] | None:
    """Give the percentile bootstrap interval of a mean over slices, whole subjects being drawn, of 9,999 resamples.

    The mean is sum(sums) / sum(counts), in which a subject with many slices weighs more. With one slice each this
    is `bootstrap_interval`.

    Examples
    --------
    >>> low, high = mean_interval([8, 2, 3, 4], [2, 1, 1, 1])
    >>> round(low, 2), round(high, 2)
    (2.5, 4.0)
    """
    pairs = _columns(sums, counts)
    pairs = pairs[(pairs[:, 1] > 0) & ~np.isnan(pairs[:, 0])]
    if len(pairs) < FEWEST_FOR_INTERVAL:
        return None
    drawn = np.random.default_rng(seed).integers(len(pairs), size=(RESAMPLES, len(pairs)))
    totals = pairs[drawn].sum(axis=1)
    low, high = np.quantile(totals[:, 0] / totals[:, 1], [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def mean_of_known(values: Iterable[float | None]) -> float:
    """Give the mean of those that are neither None nor NaN; NaN without any."""
    known = [value for value in values if value is not None and not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


def sign_flip_test(differences: npt.ArrayLike, *, seed: int = 0) -> float:
    """Give how often chance alone would make the mean of paired differences as far from 0 as it is, a p-value.

    If two methods are alike, each subject's difference could as well have had the other sign. p is the share of the
    2^n changes of signs whose mean is at least as far from 0 as the one found; it counts itself, so p is never 0,
    and with n subjects at least `smallest_p(n)`. With more than 14 subjects 10,000 changes are drawn, and
    p = (1 + those as far) / 10,001 (Phipson & Smyth, Stat Appl Genet Mol Biol 2010).

    Examples
    --------
    >>> sign_flip_test([0.01, 0.02, 0.01, 0.03])
    0.125
    """
    known = np.asarray(differences, dtype=np.float64).ravel()
    known = known[~np.isnan(known)]
    n = len(known)
    if not n:
        return math.nan
    # Sums that differ by a rounding are the same.
    found = abs(known.sum()) - 1e-12 * np.abs(known).sum()
    if n <= EXACT_UP_TO:
        signs = 1 - 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
        return float((np.abs(signs @ known) >= found).mean())
    signs = np.random.default_rng(seed).integers(0, 2, size=(DRAWN_SIGNS, n)) * 2 - 1
    return float((1 + (np.abs(signs @ known) >= found).sum()) / (1 + DRAWN_SIGNS))


def smallest_p(n: int) -> float:
    """Give the smallest p that `sign_flip_test` can have with n subjects, 2 / 2^n; NaN without one.

    Examples
    --------
    >>> smallest_p(5)
    0.0625
    """
    if n < 1:
        return math.nan
    return min(1.0, 2.0 ** (1 - n)) if n <= EXACT_UP_TO else 1 / (1 + DRAWN_SIGNS)


def holm(p_values: npt.ArrayLike) -> list[float]:
    """Correct p-values for their number (Holm, Scand J Stat 1979); NaN stay and are not counted.

    The smallest of m is multiplied by m, the next by m - 1, and so on; none is smaller than the one before it.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    given = np.asarray(p_values, dtype=np.float64)
    known = np.flatnonzero(~np.isnan(given))
    order = known[np.argsort(given[known], kind="stable")]
    result = np.full(len(given), math.nan)
    result[order] = np.minimum(1, np.maximum.accumulate(given[order] * np.arange(len(order), 0, -1)))
    return [float(value) for value in result]


def _mean_squares(measurements: npt.ArrayLike) -> tuple[int, int, float, float, float] | None:
    """Give targets n, raters k, and MSR, MSC, MSE of an analysis of variance; None where nothing varies."""
    table = np.asarray(measurements, dtype=np.float64)
    if table.ndim != 2 or min(table.shape) < 2:
        return None
    n, k = table.shape
    mean = table.mean()
    of_targets, of_raters = table.mean(axis=1, keepdims=True), table.mean(axis=0, keepdims=True)
    targets = k * float(((of_targets - mean) ** 2).sum()) / (n - 1)
    raters = n * float(((of_raters - mean) ** 2).sum()) / (k - 1)
    residual = float(((table - of_targets - of_raters + mean) ** 2).sum()) / ((n - 1) * (k - 1))
    whole = targets + (k - 1) * residual + k * (raters - residual) / n
    return (n, k, targets, raters, residual) if whole > 1e-12 * mean**2 else None


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
