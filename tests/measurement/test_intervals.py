import math

import numpy as np
import pytest
from crepes import ConformalRegressor
from scipy import stats

from autoseg.measurement.intervals import (
    AS_THEY_ARE,
    RELATIVE,
    Band,
    Basis,
    Expected,
    SliceKind,
    by_patient,
    coverage_by_patient,
    fewest_patients,
    find_band,
    fit_expected,
    random_effects,
    slice_kinds,
    weighted_quantile,
)

# Patients whose areas are off by 5 %, and their slices by 6 % beside, with heavy tails.
PATIENT_SD, SLICE_SD, SLICES, FREEDOM = 0.05, 0.06, 12, 5


def cohorts(n, count, seed=1):
    """Give ln(predicted / true area), shape (cohorts, patients, slices); the last patient is the new one."""
    rng = np.random.default_rng(seed)
    scale = math.sqrt((FREEDOM - 2) / FREEDOM)  # of a t distribution to a variance of 1
    patients = PATIENT_SD * scale * rng.standard_t(FREEDOM, (count, n + 1, 1))
    return patients + SLICE_SD * scale * rng.standard_t(FREEDOM, (count, n + 1, SLICES))


def simulated_coverage(n, count, level=0.9):
    """Give in what share of the slices of new patients the interval holds the true area, and its half-width."""
    held, halves = [], []
    for errors in cohorts(n, count):
        areas = 1000 * np.exp(errors)
        off = 1000 - areas
        expected = fit_expected(areas[:-1], off[:-1])
        band = find_band([own / expected.of(area) for own, area in zip(off[:-1], areas[:-1], strict=True)], level)
        ends = np.array([expected.interval(area, band) for area in areas[-1]])
        held.append(np.mean((ends[:, 0] <= 1000) & (ends[:, 1] >= 1000)))
        halves.append(np.mean(ends[:, 1] - ends[:, 0]) / 2000)
    return float(np.mean(held)), float(np.mean(halves))


@pytest.mark.parametrize("n", [9, 20, 30])
def test_a_slice_of_a_new_patient_is_held_as_often_as_promised(n):
    held, half = simulated_coverage(n, 500)
    assert held >= 0.885
    # Ever wider ones would hold everything.
    assert half < {9: 0.30, 20: 0.18, 30: 0.16}[n]


def test_slices_taken_for_patients_promise_too_much():
    # What weighing by patient is for: of all slices of a patient, pooled ones hold fewer in bad patients.
    errors = np.abs(cohorts(9, 500))
    pooled = np.quantile(errors[:, :-1].reshape(500, -1), 0.9, axis=1)
    mine = np.array([by_patient(list(own[:-1])) for own in errors])
    all_pooled = np.mean((errors[:, -1] <= pooled[:, None]).all(axis=1))
    all_mine = np.mean((errors[:, -1] <= mine[:, None]).all(axis=1))
    assert all_pooled < 0.5 < 0.85 < all_mine


@pytest.mark.parametrize(("level", "fewest"), [(0.5, 1), (0.8, 4), (0.9, 9), (0.95, 19), (0.99, 99)])
def test_with_fewer_patients_there_is_no_interval_by_patient(level, fewest):
    assert fewest_patients(level) == fewest
    scores = [[0.1, 0.3], *[[0.2]] * (fewest - 1)]
    assert math.isfinite(by_patient(scores, level))
    assert by_patient(scores[1:], level) == math.inf
    assert find_band(scores[1:], level) is None
    assert find_band(scores, level).basis is Basis.BY_PATIENT


def test_eight_patients_have_an_interval_only_by_an_assumption():
    scores = np.random.default_rng(2).normal(size=(8, 5))
    assert find_band(scores) is None
    assert find_band(scores, may_assume=True).basis is Basis.ASSUMING
    assert find_band(scores[:5], may_assume=True).basis is Basis.ASSUMING
    assert find_band(scores[:4], may_assume=True) is None


@pytest.mark.parametrize("level", [0.8, 0.9, 0.95])
@pytest.mark.parametrize("n", [19, 20, 33, 60])
def test_one_value_a_patient_is_what_crepes_gives(n, level):
    rng = np.random.default_rng(n)
    measured, true = rng.uniform(500, 900, n), rng.uniform(500, 900, n)
    expected = fit_expected(measured[:, None], (true - measured)[:, None])
    sigmas = expected.of(measured)
    oracle = ConformalRegressor().fit(true - measured, sigmas=sigmas)
    # Of 19 patients it rounds 0.1 × 20 down to 1 and not to 2, unless the level is a little less.
    new, confidence = [700.0, 40.0], level - 1e-9
    theirs = oracle.predict_int(new, sigmas=expected.of(new), confidence=confidence, y_min=0.0)
    band = find_band(((true - measured) / sigmas)[:, None], level)
    assert np.array([expected.interval(area, band) for area in new]) == pytest.approx(theirs)


def test_a_patient_weighs_the_same_with_many_slices_and_few():
    many, few = np.full(50, 3.0), [1.0]
    # Ten patients of whom one is bad: 1/11 of the weight, however many slices it has.
    assert by_patient([many, *[few] * 9], 0.8) == 1.0
    assert by_patient([many, *[few] * 9], 0.9) == 3.0
    # Nine patients: all of their weight is needed.
    assert by_patient([many, *[few] * 8], 0.9) == 3.0


def test_ties_and_patients_without_a_slice():
    assert by_patient([[2.0, 2.0]] * 9) == 2.0
    assert by_patient([[2.0]] * 8 + [[]]) == math.inf
    assert weighted_quantile([], [], 0.5) == math.inf


def test_signs_do_not_matter_to_the_half_width():
    scores = np.random.default_rng(3).normal(size=(12, 4))
    assert by_patient(scores) == by_patient(-scores) == by_patient(np.abs(scores))


def test_random_effects_of_one_value_a_patient_is_students_interval_for_one_more():
    values = np.array([0.1, 0.4, -0.2, 0.3, 0.05])
    half = stats.t.ppf(0.95, 4) * values.std(ddof=1) * math.sqrt(1 + 1 / 5)
    assert random_effects(values[:, None]) == pytest.approx((values.mean() - half, values.mean() + half))


def test_random_effects_take_the_spread_of_slices_out_of_that_of_patients():
    # Means 1 to 5 of two slices each that differ by 2: within² = 2, variance of the means 2.5, between² = 1.5.
    scores = [[0, 2], [1, 3], [2, 4], [3, 5], [4, 6]]
    half = stats.t.ppf(0.95, 4) * math.sqrt(1.5 + 2 + 2.5 / 5)
    assert random_effects(scores) == pytest.approx((3 - half, 3 + half))


@pytest.mark.parametrize("n", [5, 8])
def test_random_effects_hold_as_often_as_promised_where_the_assumption_is_nearly_true(n):
    errors = cohorts(n, 1000)
    ends = np.array([random_effects(list(own[:-1])) for own in errors])
    assert np.mean((errors[:, -1] >= ends[:, :1]) & (errors[:, -1] <= ends[:, 1:])) >= 0.9


def test_the_expected_error_is_found_with_its_base_and_its_share():
    rng = np.random.default_rng(4)
    areas = [rng.uniform(5, 500, 30) for _ in range(40)]
    off = [(12 + 0.05 * own) * rng.laplace(size=30) for own in areas]
    found = fit_expected(areas, off)
    assert found.base == pytest.approx(12, rel=0.15)
    assert found.share == pytest.approx(0.05, rel=0.15)
    # A doubt that tells nothing gets hardly any weight, one that tells all of it takes it.
    nothing = [rng.uniform(size=30) for _ in areas]
    assert fit_expected(areas, off, nothing).doubt * 0.5 < 0.02
    doubts = [rng.uniform(0.02, 0.5, 30) for _ in areas]
    off = [own * doubt * rng.laplace(size=30) for own, doubt in zip(areas, doubts, strict=True)]
    assert fit_expected(areas, off, doubts).doubt == pytest.approx(1, rel=0.15)


def test_a_small_area_is_held_as_often_as_a_large_one():
    rng = np.random.default_rng(5)
    areas = [rng.uniform(5, 500, 30) for _ in range(40)]
    off = [12 * rng.normal(size=30) for own in areas]
    expected = fit_expected(areas, off)
    half = by_patient([own / expected.of(area) for own, area in zip(off, areas, strict=True)])
    small, large = (
        np.mean([(np.abs(o) <= half * expected.of(a))[which(a)].mean() for o, a in zip(off, areas, strict=True)])
        for which in (lambda a: a < 100, lambda a: a > 400)
    )
    assert abs(small - large) < 0.03


def test_no_error_anywhere_gives_a_narrow_interval_and_no_nan():
    expected = fit_expected([[10.0, 20.0]] * 9, [[0.0, 0.0]] * 9)
    band = find_band([[0.0, 0.0]] * 9)
    assert expected.interval(15.0, band) == pytest.approx((15.0, 15.0))
    assert np.isfinite(expected.of([0.0, 15.0])).all()
    assert (expected.of([0.0, 15.0]) > 0).all()
    expected = fit_expected([[10.0, 20.0]] * 15, [[0.0, 0.0]] * 15)
    assert expected.interval(15.0, band) == pytest.approx((15.0, 15.0))
    assert np.isfinite(expected.of([0.0, 15.0])).all()
    assert (expected.of([0.0, 15.0]) > 0).all()


def test_nothing_is_fitted_to_few_errors():
    areas, off = [[10.0, 200.0]] * 14, [[5.0, 5.0]] * 14
    assert fit_expected(areas, off) == fit_expected([[]], [[]]) == RELATIVE
    assert fit_expected(areas + areas, off + off).base == pytest.approx(5)


def test_an_interval_holds_its_area_and_is_not_negative():
    expected, inside, off = Expected(2.0, 0.1), Band(-2, 2, Basis.BY_PATIENT), Band(0.5, 2, Basis.ASSUMING)
    assert expected.interval(100.0, inside) == (76.0, 124.0)
    assert expected.interval(1.0, inside) == (0.0, pytest.approx(5.2))
    assert expected.interval(100.0, off) == (100.0, 124.0)
    # Where nothing was found the errors count as they are.
    assert AS_THEY_ARE.interval(0.0, Band(-7, 7, Basis.BY_PATIENT)) == (0.0, 7.0)


def test_kinds_of_slices():
    assert slice_kinds([0, 0, 0]) == [SliceKind.EMPTY] * 3
    assert slice_kinds([5]) == [SliceKind.FOUND]
    assert slice_kinds([0, 5, 0, 0]) == [SliceKind.BESIDE, SliceKind.FOUND, SliceKind.BESIDE, SliceKind.EMPTY]


def test_coverage_leaves_each_patient_out():
    # Ten patients of whom one is bad: with it the half-width is 5, without it 1.
    scores = [[1.0]] * 9 + [[5.0]]
    assert coverage_by_patient(scores) == pytest.approx(0.9)
    assert coverage_by_patient(scores[:9]) is None
