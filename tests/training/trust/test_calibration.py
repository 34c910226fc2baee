"""What is kept of errors on unseen patients: by structure and patient, and without a name."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from discs import STRUCTURES, make_split, patch_reading
from untrained import untrained_model

from autoseg.measurement.areas import MM2, PIXELS
from autoseg.measurement.intervals import find_band
from autoseg.model.model import EpochResult
from autoseg.model.trust import How, Profile, Trust, trust_to_dict
from autoseg.model.trust.facts import ImageFacts
from autoseg.training.trust import Examined, calibration, examine_cases, learn_trust
from autoseg.training.trust.calibration import MOST_KEPT, calibrate_model

MODEL = untrained_model()  # of a cavity and a myocardium


def patient(number, predicted, reference, *, drawn=(True, True), pixel_mm2=2.0, case="", **changes):
    """Give an image with these pixels of both structures on each slice."""
    columns = [np.stack([np.asarray(counts)] * 2, axis=1) for counts in (predicted, reference)]
    known = {"pixel_mm2": pixel_mm2, "slice_mm": 5.0, **changes}
    both = np.minimum(*columns)
    name = f"Smith{number}"
    return Examined(f"{name}{case}", name, columns[1], columns[0], both, np.array(drawn), **known)


def patients(count, *, slices=10, seed=1, **changes):
    """Give patients whose areas are off by about 3 pixels and a tenth, each too large or too small throughout."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(count):
        reference = rng.integers(20, 600, slices)
        off = (3 + 0.1 * reference) * rng.choice([-1, 1]) * rng.uniform(0.2, 1.8, slices)
        found.append(patient(number, np.maximum(1, reference + off).astype(int), reference, **changes))
    return found


def test_errors_are_kept_by_patient_in_units_of_what_is_to_be_expected():
    kept = calibrate_model(MODEL, patients(20), how=How.FOLDS, minutes=2.5)
    assert (kept.how, kept.patients, kept.unit, kept.minutes) == ("folds", 20, MM2, 2.5)
    assert kept.structures == ("cavity", "myocardium")
    found = kept.errors_of("cavity", "found")
    # 3 pixels of 2 mm² and a tenth of the area.
    assert found.base == pytest.approx(6, abs=2.5)
    assert found.share == pytest.approx(0.1, abs=0.03)
    assert [len(own) for own in found.scores] == [10] * 20
    assert {len(own) for own in kept.errors_of("cavity", "mean").scores} == {1}
    assert kept.coverage[0] == pytest.approx(0.93, abs=0.07)
    band = find_band(found.scores)
    assert 1.2 < band.high < 2.2


def test_a_model_that_nobody_validated_has_the_score_of_its_twins():
    examined = [patient(n, [90, 50], [100, 50]) for n in range(3)]
    unseen = Profile(3, 0, (16, 16), images=(asdict(ImageFacts(modality="MR")),))
    model = replace(MODEL, trust=Trust(profile=unseen))
    profile = learn_trust(model, examined, by_folds=True).trust.profile
    assert (profile.subjects, profile.validated, profile.by_folds) == (3, 3, True)
    assert profile.dice == (pytest.approx(280 / 290, abs=1e-4),) * 2
    assert profile.area_error == (pytest.approx(10 / 150, abs=1e-4),) * 2
    # One that was validated keeps the score by which its epoch was chosen: it is of the model itself.
    scored = replace(unseen, validated=1, dice=(0.5, 0.5))
    model = replace(MODEL, trust=Trust(profile=scored))
    assert learn_trust(model, examined, by_folds=True).trust.profile == scored


def test_mean_largest_and_volume_of_a_patient():
    # Too large by 10 pixels on both slices that show it, and one more slice is missed.
    images = [patient(n, [110, 60, 0, 0], [100, 50, 30, 0]) for n in range(9)]
    kept = calibrate_model(MODEL, images)
    # (true - measured) / measured: of so few nothing is fitted.
    known = {what: kept.errors_of("cavity", what) for what in ("mean", "max", "volume")}
    assert {(one.base, one.share) for one in known.values()} == {(0.0, 1.0)}
    for what, score in {"mean": (60 - 85) / 85, "max": -10 / 110, "volume": (180 - 170) / 170}.items():
        assert np.array(known[what].scores) == pytest.approx(np.full((9, 1), score))
    # What was missed: 30 pixels of 2 mm² beside the structure, and nothing farther away.
    assert set(kept.errors_of("cavity", "beside").scores) == {(60.0,)}
    assert set(kept.errors_of("cavity", "empty").scores) == {(0.0,)}


def test_a_structure_counts_the_patients_on_whom_it_was_drawn():
    images = [*patients(9), *(replace(one, drawn=np.array([True, False])) for one in patients(4, seed=2))]
    images[9:] = [replace(one, subject_id=f"Miller{n}") for n, one in enumerate(images[9:])]
    kept = calibrate_model(MODEL, images)
    assert kept.patients == 13
    assert [len(kept.errors_of(name, "found").scores) for name in kept.structures] == [13, 9]
    never = calibrate_model(MODEL, [replace(one, drawn=np.array([True, False])) for one in images])
    assert never.errors_of("myocardium", "found") is None
    assert never.coverage[1] is None


def test_images_of_one_patient_are_one_patient():
    one, other = patient(1, [100, 0], [90, 0]), patient(1, [50, 40], [55, 44], case="b")
    kept = calibrate_model(MODEL, [one, other, patient(2, [10, 10], [9, 9])])
    assert kept.patients == 2
    assert sorted(map(len, kept.errors_of("cavity", "found").scores)) == [2, 3]
    assert sorted(map(len, kept.errors_of("cavity", "volume").scores)) == [1, 2]


def test_single_slices_of_a_patient_are_one_image_without_a_volume():
    images = [patient(n, [size], [size + 10], case=str(size)) for n in range(3) for size in (40, 60, 80)]
    kept = calibrate_model(MODEL, images)
    mean = kept.errors_of("cavity", "mean")
    assert [len(own) for own in mean.scores] == [1] * 3
    assert mean.scores[0] == (pytest.approx(10 / 60),)
    assert kept.errors_of("cavity", "volume") is None


def test_one_image_without_millimetres_leaves_all_in_pixels():
    images = [*patients(9), patient(10, [100], [90], pixel_mm2=None, slice_mm=None)]
    kept = calibrate_model(MODEL, images)
    assert kept.unit == PIXELS
    assert kept.errors_of("cavity", "volume") is None
    assert calibrate_model(MODEL, images[:9]).unit == MM2


def test_nothing_that_is_kept_names_a_patient_or_tells_their_order():
    images = patients(12)
    kept = trust_to_dict(Trust(calibration=calibrate_model(MODEL, images)))
    assert "Smith" not in json.dumps(kept)
    turned = trust_to_dict(Trust(calibration=calibrate_model(MODEL, images[::-1])))
    for one, other in zip(kept["calibration"]["errors"], turned["calibration"]["errors"], strict=True):
        assert [len(own) for own in one["scores"]] == [len(own) for own in other["scores"]]
        assert np.concatenate(one["scores"]) == pytest.approx(np.concatenate(other["scores"]))


def test_of_many_slices_some_are_kept_from_the_smallest_to_the_largest():
    images = patients(9, slices=5 * MOST_KEPT)
    thinned = calibrate_model(MODEL, images).errors_of("cavity", "found")
    assert {len(own) for own in thinned.scores} == {MOST_KEPT}
    off = [(one.reference - one.predicted)[:, 0] * 2.0 for one in images]
    expected = [thinned.base + thinned.share * one.predicted[:, 0] * 2.0 for one in images]
    whole = [own / size for own, size in zip(off, expected, strict=True)]
    assert find_band(thinned.scores, 0.8).high == pytest.approx(find_band(whole, 0.8).high, rel=0.02)


def test_no_image_gives_no_calibration():
    assert calibrate_model(MODEL, []) is None
    assert learn_trust(MODEL, []).trust.calibration is None


def test_a_models_own_minutes_are_kept_and_not_those_of_twins():
    model = replace(MODEL, history=(EpochResult(1, 0.5, 1e-3, elapsed_s=90.0, seconds_left=0.0),))
    assert calibrate_model(model, patients(2)).minutes == 1.5
    assert calibrate_model(model, patients(2), how=How.FOLDS).minutes is None


# --- what was to be expected of the Dice


class Told:
    """A quality that tells of each slice what Dice it will have, and who taught it."""

    def __init__(self, dice):
        self.dice = dice

    def expect(self, signals, *, in_mm):
        return self.dice[signals[0, 0, 0]], np.zeros(signals.shape[:2])


def doubtful(monkeypatch, *, telling):
    """Give patients of whose slices a part is poor, and let the quality tell which, or nothing."""
    rng, dice, images, taught = np.random.default_rng(3), {}, [], []
    for number in range(20):
        poor = rng.random(30) < 0.2
        off = np.where(poor, 0.5, 0.03) * rng.uniform(-1, 1, 30)
        reference = np.full(30, 400)
        told = poor if telling else rng.permutation(poor)
        dice[number] = np.stack([np.where(told, 0.4, 0.95)] * 2, axis=1)
        signals = np.full((30, 2, 1), number, np.float32)
        images.append(patient(number, (400 * (1 + off)).astype(int), reference, signals=signals))

    def learn(model, others):
        taught.append({one.subject_id for one in others})
        return Told(dice)

    monkeypatch.setattr(calibration, "learn_quality", learn)
    return images, taught


def test_the_expected_dice_counts_where_it_tells_and_only_as_others_taught_it(monkeypatch):
    images, taught = doubtful(monkeypatch, telling=True)
    kept = calibrate_model(MODEL, images)
    plain, wise = kept.errors_of("cavity", "found"), kept.errors_of("cavity", "found", expects=True)
    assert plain.doubt == 0 < wise.doubt
    # Of a good slice much narrower, of a poor one wider.
    halves = [
        find_band(one.scores).high * (one.base + 800 * (one.share + one.doubt * doubt))
        for one, doubt in ((plain, 0), (wise, 0.05), (wise, 0.6))
    ]
    assert halves[1] < 0.5 * halves[0]
    assert halves[2] > halves[1]
    everyone = {one.subject_id for one in images}
    assert len(taught) == 5
    assert set.union(*(everyone - who for who in taught)) == everyone
    assert all(len(everyone - who) == 4 for who in taught)


def test_an_expected_dice_that_tells_nothing_is_left_out(monkeypatch):
    images, _ = doubtful(monkeypatch, telling=False)
    kept = calibrate_model(MODEL, images)
    assert kept.errors_of("cavity", "found", expects=True) == kept.errors_of("cavity", "found")


# --- of a model and its validation patients


def test_a_model_learns_it_from_its_validation_cases(monkeypatch):
    patch_reading(monkeypatch)
    split = make_split((0, 1), (8, 9))
    model = replace(untrained_model(), structures=STRUCTURES)
    known = learn_trust(model, examine_cases(model, split.validation)).trust.calibration
    assert (known.how, known.patients) == ("validation", 2)
    by_folds = learn_trust(model, examine_cases(model, split.validation), by_folds=True).trust.calibration
    assert by_folds.how == "folds"
