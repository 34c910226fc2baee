"""A curve through known sizes: found again, carried on within its interval, refused where there is no ground."""

import numpy as np
import pytest

from autoseg.errors import DataError
from autoseg.measurement.learning_curve import Doubt, fit_learning_curve

SIZES = (2, 4, 8, 16)


def true_error(count):
    return 3 + 40 * count**-0.7


def draw(patients=24, folds=4, *, noise=0.1, sizes=SIZES, seed=0):
    """Give errors of patients around the known curve, and the fold of each."""
    rng = np.random.default_rng(seed)
    own = rng.lognormal(0, 0.3, (patients, 1))
    errors = true_error(np.array(sizes, float)) * own / own.mean() * rng.lognormal(0, noise, (patients, len(sizes)))
    return errors, np.arange(patients) % folds


def test_a_known_curve_is_carried_on():
    errors, folds = draw()
    curve = fit_learning_curve(errors, SIZES, folds)
    assert curve.doubt is None
    for count in (28, 32):
        found = curve.at(count)
        assert found.low < true_error(count) < found.high
        assert found.value == pytest.approx(true_error(count), rel=0.15)
        assert curve.doubt_at(count) is None
    # As many as were learnt from: the curve goes through what was measured.
    assert curve.at(16).value == pytest.approx(curve.measured[-1].value, rel=0.05)


def test_the_interval_grows_with_the_distance_and_with_fewer_patients():
    def width(patients, count):
        widths = []
        for seed in range(6):
            errors, folds = draw(patients, seed=seed)
            found = fit_learning_curve(errors, SIZES, folds).at(count)
            widths.append((found.high - found.low) / found.value)
        return np.mean(widths)

    assert width(24, 48) > width(24, 20)
    assert width(8, 32) > 1.2 * width(24, 32)


def test_a_score_that_is_best_where_it_is_large_is_turned():
    errors, folds = draw()
    of_errors = fit_learning_curve(errors / 100, SIZES, folds)
    dice = fit_learning_curve(1 - errors / 100, SIZES, folds, perfect=1.0)
    assert dice.at(32).value == pytest.approx(1 - of_errors.at(32).value)
    assert dice.at(32).low == pytest.approx(1 - of_errors.at(32).high)
    assert dice.measured[0].value == pytest.approx(1 - of_errors.measured[0].value)
    assert dice.measured[0].low < dice.measured[0].value < dice.measured[0].high
    assert np.allclose(dice.by_fold, 1 - of_errors.by_fold)


def test_who_lacks_a_score_of_a_size_does_not_count():
    errors, folds = draw()
    errors[3, 1] = np.nan
    curve = fit_learning_curve(errors, SIZES, folds)
    assert curve.n_patients == 23
    assert curve.measured[0].value == pytest.approx(np.delete(errors[:, 0], 3).mean())


def test_what_differs_between_folds_widens_the_interval():
    errors, folds = draw(noise=0.02)
    uneven = errors * np.array([0.6, 0.8, 1.2, 1.4])[folds][:, None]
    even, wide = (fit_learning_curve(one, SIZES, folds).at(32) for one in (errors, uneven))
    assert wide.high - wide.low > 1.3 * (even.high - even.low)


def test_folds_that_agree_by_luck_on_one_size_do_not_make_it_sure():
    folds = [1, 1, 2, 2, 3, 3]
    errors = np.array([[20, 14, 9], [60, 50, 11], [25, 12, 10], [70, 45, 12], [30, 40, 10], [40, 65, 11]])
    curve = fit_learning_curve(errors, (2, 4, 8), folds)
    share = [(found.high - found.low) / found.value for found in curve.measured]
    assert share[2] > 0.6 * np.mean(share[:2])


def test_a_curve_is_never_worse_with_more():
    curve = fit_learning_curve(draw(noise=0.4)[0], SIZES, draw()[1])
    values = [curve.at(count).value for count in (2, 4, 16, 32, 64)]
    assert values == sorted(values, reverse=True)
    assert (curve.draws[:, :2] >= 0).all()


@pytest.mark.parametrize(
    ("values", "sizes", "folds", "doubt"),
    [
        ([[20, 10]] * 8, (2, 4), [1, 2] * 4, Doubt.FEW_SIZES),
        ([[20, 10, 5]] * 5, (2, 4, 8), [1, 2, 1, 2, 1], Doubt.FEW_PATIENTS),
        ([[20, 10, 5]] * 8, (2, 4, 8), [1] * 8, Doubt.FEW_PATIENTS),
        ([[20, 10, 15]] * 8, (2, 4, 8), [1, 2] * 4, Doubt.RISES),
        ([[9, 11, 10], [11, 9, 10]] * 4, (2, 4, 8), [1, 1, 2, 2] * 2, Doubt.FLAT),
        ([], (2, 4, 8), [], Doubt.FEW_PATIENTS),
    ],
)
def test_without_ground_no_curve_is_told(values, sizes, folds, doubt):
    curve = fit_learning_curve(values, sizes, folds)
    assert curve.doubt is doubt
    assert curve.doubt_at(2 * sizes[-1]) is doubt
    with pytest.raises(DataError, match="no curve"):
        curve.at(16)


def test_too_far_and_too_wide_are_not_told():
    errors, folds = draw()
    assert fit_learning_curve(errors, SIZES, folds).doubt_at(49) is Doubt.FAR
    # Three sizes, six patients, of whom each has another curve: many exponents fit.
    errors, folds = draw(6, 3, noise=0.25, sizes=(2, 3, 4), seed=3)
    curve = fit_learning_curve(errors, (2, 3, 4), folds)
    assert curve.doubt is None
    assert curve.doubt_at(8) is Doubt.WIDE


def test_no_interval_reaches_beyond_what_a_score_can_be():
    # In one of two folds nothing was learnt.
    dice = [[0.0, 0.0, 0.0]] * 4 + [[0.5, 0.6, 0.7]] * 4
    for found in fit_learning_curve(dice, (2, 4, 8), [1] * 4 + [2] * 4, perfect=1.0).measured:
        assert 0 <= found.low < found.value < found.high <= 1


def test_the_same_again_is_the_same():
    errors, folds = draw()
    one, other = (fit_learning_curve(errors, SIZES, folds) for _ in range(2))
    assert one.at(20) == other.at(20)
