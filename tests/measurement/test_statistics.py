import math

import numpy as np
import pytest
from scipy.stats import permutation_test, ttest_1samp, wilcoxon

from autoseg.errors import DataError
from autoseg.measurement.statistics import (
    bland_altman,
    bootstrap_interval,
    equivalence,
    holm,
    icc_agreement,
    icc_interval,
    mean_interval,
    minimal_detectable_change,
    ratio_interval,
    sign_flip_test,
    smallest_p,
    within_target_cv,
)

# Four judges rate six targets: table 2 of Shrout & Fleiss, Psychol Bull 1979; their ICC(2,1) is 0.29.
SHROUT_FLEISS = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]


def test_icc_of_shrout_and_fleiss():
    assert round(icc_agreement(SHROUT_FLEISS), 2) == 0.29


def test_icc_of_equal_raters_is_1_and_a_bias_lowers_it():
    assert icc_agreement([[1, 1], [2, 2], [5, 5]]) == pytest.approx(1.0)
    # MSR = 2, MSE = 0, MSC = 6: 2 / (2 + 2 x 6 / 3)
    assert icc_agreement([[1, 3], [2, 4], [3, 5]]) == pytest.approx(2 / 6)


@pytest.mark.parametrize("table", [[[1, 2]], [[1], [2]], [], [[3, 3], [3, 3]]])
def test_icc_needs_targets_and_raters_that_vary(table):
    assert math.isnan(icc_agreement(table))


def test_bias_and_limits():
    found = bland_altman([100, 100, 100, 100], [98, 102, 104, 108])  # differences -2, 2, 4, 8
    assert (found.n, found.bias) == (4, 3.0)
    deviation = math.sqrt((25 + 1 + 1 + 25) / 3)
    assert (found.lower, found.upper) == pytest.approx((3 - 1.96 * deviation, 3 + 1.96 * deviation))


def test_limits_over_subjects_with_several_slices():
    # Means 2 and 6: MSB = 2 (4 + 4) / 1 = 16, MSW = (2 + 2) / 2 = 2, m = 2, so SD² = 2 + 14 / 2 = 9.
    found = bland_altman([0, 0, 0, 0], [1, 3, 5, 7], subjects=["A", "A", "B", "B"])
    assert (found.bias, found.lower, found.upper) == pytest.approx((4, 4 - 1.96 * 3, 4 + 1.96 * 3))


def test_unequal_numbers_of_slices():
    # A: 0, 2, 4 (mean 2); B: 8. Mean 3.5; MSB = 3 x 2.25 + 20.25 = 27; MSW = 8 / 2 = 4; m = (16 - 10) / 4 = 1.5.
    found = bland_altman([0, 0, 0, 0], [0, 2, 4, 8], subjects=["A", "A", "A", "B"])
    assert found.upper - found.bias == pytest.approx(1.96 * math.sqrt(4 + 23 / 1.5))


def test_one_slice_each_or_one_subject_are_as_without_subjects():
    plain = bland_altman([1, 2, 3], [2, 2, 5])
    assert bland_altman([1, 2, 3], [2, 2, 5], subjects=["A", "B", "C"]) == plain
    assert bland_altman([1, 2, 3], [2, 2, 5], subjects=["A", "A", "A"]) == plain


def test_limits_need_two_pairs():
    found = bland_altman([1], [3])
    assert (found.n, found.bias) == (1, 2.0)
    assert math.isnan(found.lower)
    assert math.isnan(bland_altman([], []).bias)
    with pytest.raises(DataError, match="no pairs"):
        bland_altman([1, 2], [1])


def test_cv_of_pairs():
    # (90, 110): s² = 200, m = 100, 0.02; (200, 200): 0. The root of the mean 0.01 is 10 %.
    assert within_target_cv([[90, 110], [200, 200]]) == pytest.approx(10.0)
    assert within_target_cv([[90, 110], [0, 0]]) == pytest.approx(100 * math.sqrt(0.02))
    assert within_target_cv([[1, 2, 3]]) == pytest.approx(50.0)
    for nothing in ([], [[1], [2]], [[0, 0]]):
        assert math.isnan(within_target_cv(nothing))


def test_the_interval_of_a_mean_is_the_normal_one_for_many_values():
    values = np.random.default_rng(5).normal(10, 2, 400)
    low, high = bootstrap_interval(values)
    half = 1.96 * values.std(ddof=1) / 20
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.02)
    narrow = bootstrap_interval(values, level=0.5)
    assert low < narrow[0] < narrow[1] < high


def test_the_interval_is_the_same_each_time_and_leaves_unknown_values_out():
    values = [0.7, 0.8, 0.9, 0.95]
    assert bootstrap_interval(values) == bootstrap_interval([*values, math.nan])
    assert bootstrap_interval([0.5, 0.5, 0.5]) == (0.5, 0.5)
    low, high = bootstrap_interval(values)
    assert 0.7 <= low < np.mean(values) < high <= 0.95


def test_there_is_no_interval_over_two():
    assert bootstrap_interval([0.8, 0.9]) is None
    assert bootstrap_interval([0.8, 0.9, math.nan]) is None
    assert bootstrap_interval([]) is None


def test_an_interval_over_subjects_with_one_slice_each_is_the_plain_one():
    values = np.random.default_rng(3).normal(0.8, 0.1, 40)
    assert mean_interval(values, np.ones(40)) == pytest.approx(bootstrap_interval(values), abs=0.003)


def test_whole_subjects_are_drawn_for_the_interval_of_a_mean_over_slices():
    # Ten slices of each of six subjects are no sixty subjects.
    means = np.array([0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
    assert mean_interval(10 * means, [10] * 6) == pytest.approx(bootstrap_interval(means), abs=0.01)
    assert mean_interval([1.0, 2.0], [1, 1]) is None
    assert mean_interval([1.0, 2.0, math.nan, 4.0], [1, 1, 1, 0]) is None


@pytest.mark.parametrize("seed", range(6))
def test_signs_are_flipped_as_scipy_permutes_pairs(seed):
    differences = np.random.default_rng(seed).normal(0.02, 0.03, 4 + seed)
    other = permutation_test((differences,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert sign_flip_test(differences) == pytest.approx(other.pvalue)


def test_with_the_same_sizes_it_is_the_signed_rank_test():
    # Where the sizes are the ranks, the sum is the signed-rank statistic.
    differences = np.array([1, 2, -3, 4, 5, 6, -7, 8])
    assert sign_flip_test(differences) == pytest.approx(wilcoxon(differences, method="exact").pvalue)


def test_many_subjects_are_drawn_and_agree_with_all_of_them():
    differences = np.random.default_rng(2).normal(0.3, 1, 15)
    exact = permutation_test((differences,), np.mean, permutation_type="samples", n_resamples=np.inf).pvalue
    assert sign_flip_test(differences) == pytest.approx(exact, abs=0.015)
    assert sign_flip_test(differences) == sign_flip_test(differences)
    assert sign_flip_test(np.ones(40)) == pytest.approx(1 / 10_001)


def test_the_smallest_p_is_that_of_a_difference_in_all_subjects():
    for n in range(1, 15):
        assert sign_flip_test(np.arange(1, n + 1)) == pytest.approx(smallest_p(n))
    assert smallest_p(5) == 0.0625
    assert math.isnan(smallest_p(0))


def test_nothing_known_and_no_difference():
    assert math.isnan(sign_flip_test([math.nan]))
    assert sign_flip_test([0.0, 0.0, 0.0]) == 1.0
    assert sign_flip_test([0.1, 0.2, math.nan]) == sign_flip_test([0.1, 0.2])
    assert sign_flip_test([0.1 + 0.2, -0.3]) == 1.0  # equal but for a rounding


def test_holm_by_hand():
    assert holm([0.005, 0.01, 0.03, 0.04]) == pytest.approx([0.02, 0.03, 0.06, 0.06])
    found = holm([0.5, math.nan, 0.04])
    assert found[0] == pytest.approx(0.5)
    assert math.isnan(found[1])
    assert found[2] == pytest.approx(0.08)
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_the_interval_of_shrout_and_fleiss():
    # What R's psych and irr give for the same table: 0.29, from 0.019 to 0.761.
    low, high = icc_interval(SHROUT_FLEISS)
    assert (round(low, 3), round(high, 3)) == (0.019, 0.761)
    narrow = icc_interval(SHROUT_FLEISS, level=0.5)
    assert low < narrow[0] < icc_agreement(SHROUT_FLEISS) < narrow[1] < high


def test_the_interval_of_an_icc_holds_the_true_one_as_often_as_it_says():
    # Variances of targets 8, of raters 1 and of the rest 1: ICC(2,1) is 0.8.
    rng, held = np.random.default_rng(1), 0
    for _ in range(400):
        table = rng.normal(0, 8**0.5, (12, 1)) + rng.normal(0, 1, (1, 5)) + rng.normal(0, 1, (12, 5))
        low, high = icc_interval(table)
        held += low <= 0.8 <= high
    assert 0.9 <= held / 400 <= 0.99


def test_an_icc_without_a_value_has_no_interval_and_equal_raters_have_1():
    assert all(map(math.isnan, icc_interval([[1, 2]])))
    assert icc_interval([[1, 1], [2, 2], [5, 5]]) == (1, 1)


# Peak flow of 17 people by two meters, each twice: table 1 of Bland & Altman, Lancet 1986.
WRIGHT = (
    [494, 395, 516, 434, 476, 557, 413, 442, 650, 433, 417, 656, 267, 478, 178, 423, 427],
    [490, 397, 512, 401, 470, 611, 415, 431, 638, 429, 420, 633, 275, 492, 165, 372, 421],
)
MINI = (
    [512, 430, 520, 428, 500, 600, 364, 380, 658, 445, 432, 626, 260, 477, 259, 350, 451],
    [525, 415, 508, 444, 500, 625, 460, 390, 642, 432, 420, 605, 227, 467, 268, 370, 443],
)


def test_bland_and_altmans_meters():
    found = bland_altman(MINI[0], WRIGHT[0])  # large meter - mini meter: -2.1 l/min, SD 38.8
    assert round(found.bias, 1) == -2.1
    assert round((found.upper - found.bias) / 1.96, 1) == 38.8


@pytest.mark.parametrize(("meter", "coefficient"), [(WRIGHT, 43.2), (MINI, 56.4)])
def test_the_detectable_change_is_bland_and_altmans_coefficient_of_repeatability(meter, coefficient):
    # They took 2, where 1.96 is exact.
    differences = np.subtract(*meter)
    change = minimal_detectable_change((differences**2).mean())
    assert change * 2 / 1.96 == pytest.approx(coefficient, abs=0.5)
    # By an analysis of variance: 1.96 sqrt(2) times the standard error of one measurement.
    table = np.transpose(meter)
    error = np.sqrt(((table - table.mean(axis=1, keepdims=True)) ** 2).sum() / len(table))
    assert change == pytest.approx(1.96 * math.sqrt(2) * error)


@pytest.mark.parametrize("seed", range(4))
def test_equivalence_is_two_t_tests_and_an_interval_within_the_margin(seed):
    values = np.random.default_rng(seed).normal(0.5, 2, 9)
    for margin in (0.5, 1.5, 2.5, 4):
        found = equivalence(values, margin=margin)
        below = ttest_1samp(values, -margin, alternative="greater").pvalue
        above = ttest_1samp(values, margin, alternative="less").pvalue
        assert found.p == pytest.approx(max(below, above))
        assert (found.p < 0.05) == (-margin < found.low and found.high < margin)


def test_equivalence_of_the_same_difference_each_time():
    assert equivalence([1, 1, 1], margin=2).p == 0
    assert equivalence([1, 1, 1], margin=1).p == 1
    assert math.isnan(equivalence([1], margin=2).p)


def test_a_ratio_by_subjects():
    # Leaving out a subject gives ln of 4, 14/3, 10/3 and 4 over 2: spread by hand.
    logs = np.log([4 / 2, 14 / 3 / 2, 10 / 3 / 2, 4 / 2])
    half = 2.3533634 * math.sqrt(3 / 4 * ((logs - logs.mean()) ** 2).sum())
    expected = (2, 2 * math.exp(-half), 2 * math.exp(half))
    assert ratio_interval([4, 2, 6, 4], [2, 2, 2, 2]) == pytest.approx(expected)


@pytest.mark.parametrize("pair", [([1, 2], [1, 2]), ([0, 0, 0], [1, 2, 3]), ([1, 2, 3], [0, 0, 0])])
def test_a_ratio_that_is_not_known(pair):
    assert all(map(math.isnan, ratio_interval(*pair)))


def test_a_ratio_that_one_subject_makes_has_no_interval():
    ratio, low, high = ratio_interval([0, 0, 6], [1, 1, 1])
    assert ratio == 2
    assert math.isnan(low)
    assert math.isnan(high)
