"""A poor slice is told from a good one on patients who taught nothing, with many patients to learn from or one."""

from dataclasses import replace

import numpy as np
import pytest
from discs import STRUCTURES, make_case, make_split, patch_reading, quick_settings
from untrained import untrained_model

from autoseg.image.structures import Structure
from autoseg.measurement.areas import Usual, measure_areas
from autoseg.model.model import load_model, save_model
from autoseg.model.trust.quality import POOR, POOR_EMPTY, SIGNALS, Quality
from autoseg.prediction import predict_and_look
from autoseg.prediction.ensemble import Inference
from autoseg.prediction.judge import expect_quality
from autoseg.training.choose_postprocess import read_reference
from autoseg.training.training import train
from autoseg.training.trust import Examined, examine_cases, learn_trust
from autoseg.training.trust.quality import fit_error, fit_share, learn_quality, learn_usual, share

MODEL = replace(untrained_model(), structures=(Structure(1, "muscle"),))
AT = {name: place for place, name in enumerate(SIGNALS)}


def _patients(count, *, seed, slices=20, poor=0.15, missing=0.1, haze=0.05):
    """Give patients whose slices are poor now and then; the signals tell, but not surely.

    Where the structure is absent its probability is up to `haze`, where it was missed 0.3 to 0.5.
    """
    rng = np.random.default_rng(seed)
    return [_patient(rng, f"p{seed}_{number}", slices, poor, missing, haze) for number in range(count)]


def _patient(rng, name, slices, poor, missing, haze):
    is_poor = rng.random(slices) < poor
    dice = np.where(is_poor, rng.uniform(0.05, 0.65, slices), rng.uniform(0.75, 0.97, slices))
    sure = np.clip(dice + rng.normal(0, 0.07, slices), 0.02, 0.98)
    reference = rng.integers(300, 500, slices)
    predicted = np.maximum(1, (reference * rng.uniform(1 - 0.4 * (1 - dice), 1 + 0.4 * (1 - dice)))).astype(int)
    both = np.round(dice * (reference + predicted) / 2).astype(int)
    signals = np.zeros((slices, 1, len(SIGNALS)), np.float32)
    for kind, value in {
        "area": predicted, "area_again": predicted * sure, "sum": predicted, "sum_again": predicted * sure,
        "agreement": sure, "soft_agreement": sure, "own_dice": np.clip(sure + 0.05, 0, 1), "spread": 1 - sure,
        "peak": np.sqrt(sure), "peak_again": np.sqrt(sure), "beside": 0.8, "area_beside": 400,
    }.items():  # fmt: skip
        signals[:, 0, AT[kind]] = value
    # Beyond the structure it is truly absent, but for some slices on which it was missed.
    absent = rng.random(slices) < 0.3
    missed = rng.random(slices) < missing
    reference = np.where(absent & ~missed, 0, reference)
    predicted, both = np.where(absent, 0, predicted), np.where(absent, 0, both)
    hope = np.where(missed, rng.uniform(0.3, 0.5, slices), rng.uniform(0.0, haze, slices))
    signals[absent] = 0
    signals[absent, 0, AT["agreement"]] = 1
    for kind, size in (("peak", 1), ("peak_again", 1), ("sum", 200)):
        signals[absent, 0, AT[kind]] = size * hope[absent]
    counts = [
        one.reshape(-1, 1) for one in (reference, predicted, np.minimum(both, np.minimum(reference, predicted)))
    ]
    pieces = (counts[0] > 0).astype(int)
    return Examined(name, name, *counts, np.array([True]), pieces, signals, pixel_mm2=1.0)


def _judged(quality, patients):
    """Give expected Dice, Dice, and which were called poor, of all slices."""
    expected, true, poor = [], [], []
    for one in patients:
        dice, _ = quality.expect(one.signals)
        sizes = one.reference + one.predicted
        true.append(np.where(sizes > 0, 2 * one.both / np.maximum(sizes, 1), 1.0).ravel())
        expected.append(dice.ravel())
        poor.append(quality.is_poor(one.signals, dice).ravel())
    return (np.concatenate(each) for each in (expected, true, poor))


def _auroc(expected, is_poor):
    pairs = expected[is_poor][:, None] - expected[~is_poor]
    return ((pairs < 0) + 0.5 * (pairs == 0)).mean()


@pytest.mark.parametrize(("count", "off"), [(1, 0.12), (4, 0.08), (30, 0.06)])
def test_poor_slices_of_other_patients_are_told(count, off):
    quality = learn_quality(MODEL, _patients(count, seed=1))
    assert quality.subjects == count
    assert quality.slices == 20 * count
    expected, dice, poor = _judged(quality, _patients(100, seed=2))
    assert _auroc(expected, dice < 0.7) > 0.95
    assert abs((expected - dice).mean()) < off
    assert poor[dice >= 0.7].mean() < 0.05
    assert poor[dice < 0.5].mean() > 0.7


def test_what_is_truly_absent_is_not_poor_and_what_was_missed_is():
    quality = learn_quality(MODEL, _patients(20, seed=3))
    others = _patients(50, seed=4)
    empty, there = _empty(others)
    _, _, poor = _judged(quality, others)
    assert poor[empty & there].mean() > 0.9
    assert poor[empty & ~there].mean() < 0.05


def _empty(patients):
    """Tell of all slices where nothing was found, and where something was drawn."""
    return (np.concatenate([(counts > 0).ravel() for counts in each]) for each in zip(
        *((one.predicted == 0, one.reference) for one in patients), strict=True
    ))  # fmt: skip


def test_where_nothing_tells_surely_what_was_missed_one_in_ten_of_the_absent_is_looked_at():
    quality = learn_quality(MODEL, _patients(20, seed=3, missing=0.3, haze=0.36))
    others = _patients(100, seed=4, missing=0.3, haze=0.36)
    empty, there = _empty(others)
    _, dice, poor = _judged(quality, others)
    assert 0.06 < poor[empty & ~there].mean() < 0.14
    assert poor[empty & there].mean() > 0.7
    assert poor[~empty & (dice >= 0.7)].mean() < 0.06


def test_where_hardly_anything_is_missed_hardly_any_absent_one_is_looked_at():
    quality = learn_quality(MODEL, _patients(20, seed=3, missing=0.0, haze=0.36))
    others = _patients(50, seed=4, missing=0.0, haze=0.36)
    empty, _ = _empty(others)
    assert empty.sum() > 200
    _, _, poor = _judged(quality, others)
    assert poor[empty].mean() < 0.01


def test_the_area_is_expected_to_be_off_by_more_where_the_dice_is_low():
    quality = learn_quality(MODEL, _patients(20, seed=5))
    (one,) = _patients(1, seed=6, slices=400, poor=0.5)
    dice, error = quality.expect(one.signals)
    found = (one.predicted > 0) & (one.reference > 0)
    off = np.abs(np.log(one.predicted[found] / one.reference[found]))
    low = dice[found] < np.median(dice[found])
    assert np.median(error[found][low]) > 1.5 * np.median(error[found][~low])
    assert np.corrcoef(error[found], off)[0, 1] > 0.3
    assert error.min() >= 0.02 - 1e-9
    assert error.max() <= 2 + 1e-9


def test_half_of_the_areas_of_others_are_off_by_less_than_is_expected():
    quality, (one,) = learn_quality(MODEL, _patients(20, seed=5)), _patients(1, seed=6, slices=2000)
    _, error = quality.expect(one.signals)
    found = (one.predicted > 0) & (one.reference > 0)
    off = np.abs(np.log(one.predicted[found] / one.reference[found]))
    assert 0.45 < (off < error[found]).mean() < 0.58
    # Where nothing tells of them it is their median, and not the smaller mean of their logarithms.
    errors, ones = np.abs(np.random.default_rng(0).normal(size=999)), np.ones((999, 1))
    (constant,) = fit_error(ones, errors, ones[:, 0], (0.0,), (0,))
    assert np.exp(constant) == pytest.approx(np.median(errors))


def test_sizes_count_only_in_the_unit_in_which_they_were_learnt():
    quality = learn_quality(MODEL, _patients(20, seed=5))
    (one,) = _patients(1, seed=6)
    large = one.signals.copy()
    for name in ("area", "area_again", "sum", "sum_again", "area_beside"):
        large[..., AT[name]] *= 100
    here, _ = quality.expect(one.signals)
    assert not np.allclose(here, quality.expect(large)[0], atol=1e-3)
    found = one.predicted > 0
    elsewhere = quality.expect(large, in_mm=False)[0]
    np.testing.assert_allclose(elsewhere[found], quality.expect(one.signals, in_mm=False)[0][found], atol=0.05)


def test_nothing_drawn_teaches_nothing():
    (one,) = _patients(1, seed=1)
    assert learn_quality(MODEL, []) is None
    assert learn_quality(MODEL, [replace(one, drawn=np.array([False]))]) is None
    assert learn_quality(MODEL, [replace(one, signals=None)]) is None


def test_regressions_find_what_made_the_numbers():
    rng = np.random.default_rng(0)
    features = np.column_stack([np.ones(4000), rng.normal(size=(4000, 2))])
    true = np.array([0.4, -1.0, 0.7])
    happened = (rng.random(4000) < share(features, true)).astype(float)
    ones, free = np.ones(4000), (0, 0, 0)
    np.testing.assert_allclose(fit_share(features, happened, ones, (0, 0, 0), free), true, atol=0.15)
    signed = fit_share(features, happened, ones, (0, 0, 0), (0, 1, 1))
    assert signed[1] == 0
    assert signed[2] == pytest.approx(0.6, abs=0.15)
    held = fit_share(features, happened, ones, (3, 2, 1), free, strength=1e9)
    assert held == pytest.approx((3, 2, 1), abs=1e-3)
    assert fit_share(features[:0], happened[:0], ones[:0], (3, 2, 1), free) == pytest.approx((3, 2, 1))
    off = np.exp(features @ np.array([-2.0, 0.5, 0.2]) + rng.normal(0, 0.3, 4000))
    np.testing.assert_allclose(fit_error(features, off, ones, (0, 0, 0), free), [-2, 0.5, 0.2], atol=0.05)
    np.testing.assert_allclose(fit_error(features, off, ones, (0, 0, 0), (0, -1, 1)), [-2, 0, 0.2], atol=0.05)
    assert fit_error(features[:0], off[:0], ones[:0], (3, 2, 1), free) == pytest.approx((3, 2, 1))


def test_a_structure_that_is_always_poor_is_expected_to_be_poor():
    """The same signals, of two structures: what the model says of the second one is never right."""
    model = replace(MODEL, structures=(Structure(1, "muscle"), Structure(2, "wall")))

    def two(one):
        both = [np.hstack([counts, counts]) for counts in (one.reference, one.predicted, one.both)]
        both[2][:, 1] = 0
        signals = np.repeat(one.signals, 2, axis=1)
        return Examined("a", one.subject_id, *both, np.array([True, True]), None, signals, pixel_mm2=1.0)

    quality = learn_quality(model, [two(one) for one in _patients(4, seed=8)])
    (other,) = _patients(1, seed=9)
    dice, _ = quality.expect(two(other).signals)
    found = other.predicted[:, 0] > 0
    assert dice[found, 1].mean() < 0.3
    assert dice[found, 0].mean() > 0.6
    assert quality.offsets[1] < 0 < quality.offsets[0]


def test_what_is_usual_is_learnt_from_the_labels():
    """Ten discs on most slices, a left side five times the right, areas that go up and down."""
    structures = (
        Structure(1, "discs"),
        Structure(2, "psoas left"),
        Structure(3, "psoas right"),
        Structure(4, "rest"),
    )
    (one,) = _patients(1, seed=1)
    rows = np.arange(20)
    counts = np.stack([np.where(rows % 2, 100, 300), np.full(20, 500), np.full(20, 100), np.zeros(20, int)], 1)
    pieces = np.stack([np.where(rows, 10, 14), *[(counts[:, k] > 0).astype(int) for k in (1, 2, 3)]], 1)
    seen = replace(one, reference=counts, pieces=pieces, drawn=np.array([True, True, True, True]))
    discs, left, right, rest = learn_usual(structures, [seen])
    assert discs == Usual(pieces=10, jump=3.0, always=True)
    assert left == right == Usual(side=5.0, always=True)
    assert rest == Usual()
    unknown = replace(seen, drawn=np.array([False, True, True, True]))
    assert learn_usual(structures, [unknown])[0] == Usual()


def test_a_training_learns_it_and_its_file_keeps_it(monkeypatch, tmp_path):
    patch_reading(monkeypatch)
    cases = [make_case(20), make_case(21)]
    model = train(make_split(range(6), [20, 21]), quick_settings(epochs=14), structures=STRUCTURES)
    model = learn_trust(model, examine_cases(model, cases))
    again = load_model(save_model(model, tmp_path))
    quality = again.trust.quality
    assert quality == model.trust.quality
    assert (quality.subjects, quality.slices, quality.pieces) == (2, 4, (1, 1))
    image, _ = read_reference(make_case(33), STRUCTURES)
    predicted = predict_and_look(again, image, Inference(look=True))
    rows = expect_quality((again,), predicted, tuple(measure_areas(predicted.label_map)))
    assert all(0 < row.expected_dice < 1 for row in rows)
    # Other voxels than any that a network saw: noise.
    voxels = np.random.default_rng(0).normal(size=image.shape).astype(np.float32)
    noise = predict_and_look(again, replace(image, voxels=voxels), Inference(look=True))
    worse = expect_quality((again,), noise, tuple(measure_areas(noise.label_map)))
    found = [row for row in worse if row.pixel_count]
    assert found
    assert all("poor" in row.flags for row in found)
    expected = [np.mean([row.expected_dice for row in each]) for each in (found, rows)]
    assert expected[0] < expected[1] - 0.1
    # Without a second look, and with a model of before, nothing is said.
    assert expect_quality((again,), replace(predicted, signals=None), rows) == rows
    of_before = replace(again, trust=replace(again.trust, quality=replace(quality, signals=("entropy",))))
    assert expect_quality((of_before,), predicted, rows) == rows


def test_what_cannot_be_is_refused_in_words():
    with pytest.raises(ValueError, match="another count of weights"):
        Quality(found=(1.0,))
    with pytest.raises(ValueError, match="a number that cannot be"):
        Quality(poor_found=float("nan"))
    with pytest.raises(ValueError, match="how good it is"):
        Quality(offsets=(1.0,))
    with pytest.raises(ValueError, match="what is usual"):
        Quality(areas=(1.0,))
    assert (Quality().poor_found, Quality().poor_empty) == (POOR, POOR_EMPTY)
