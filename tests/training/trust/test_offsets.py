"""Offsets make areas right on average: blurred shapes of known areas, and what must not count."""

from dataclasses import replace

import numpy as np
import pytest
from discs import STRUCTURES as DISCS
from discs import make_pair, make_split, patch_reading, quick_settings
from scipy import ndimage

from autoseg.image.image import Image, LabelMap, Source
from autoseg.image.structures import Structure
from autoseg.model.model import load_model, model_digest
from autoseg.model.offsets import MOST, add_offsets
from autoseg.prediction import predict
from autoseg.training.save import train_and_save
from autoseg.training.training import train
from autoseg.training.trust import offsets as fitting
from autoseg.training.trust import with_offsets
from autoseg.training.validation import class_members

STRUCTURES = (Structure(1, "cord", includes=(2,)), Structure(2, "grey matter"), Structure(3, "vein"))
MEMBERS = class_members(STRUCTURES, 3).numpy()
SIZE = 64


def draw(number, *, drawn=(1, 2, 3), slices=6):
    """Give labels (slices, rows, columns) of a disc in a disc and of a small one beside them, and their subject."""
    rng = np.random.default_rng(number)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    labels = np.zeros((slices, SIZE, SIZE), np.uint8)
    for one in labels:
        row, column = rng.uniform(22, 26, 2)
        for label, place, radius in ((1, 0, rng.uniform(11, 14)), (2, 0, rng.uniform(5, 7)), (3, 26, 4.3)):
            if label in drawn:
                one[np.hypot(rows - row - place, columns - column - place) <= radius] = label
    source = Source(case_id=f"case{number}", subject_id=f"subject{number}")
    return LabelMap(labels, None, STRUCTURES, annotated=frozenset(drawn), source=source)


def blurred(reference, sigma=2.0):
    """Give probabilities (slices, classes, rows, columns) that are right on average about a blurred edge."""
    sharp = (reference.voxels[:, None] == np.arange(4)[:, None, None]).astype(np.float32)
    return ndimage.gaussian_filter(sharp, (0, 0, sigma, sigma), mode="nearest")


def pixels(classes):
    """Give the pixels of every structure, with those that it includes."""
    counts = np.bincount(classes.ravel(), minlength=4)
    return np.array([counts[own].sum() for own in MEMBERS])


@pytest.fixture
def answer(monkeypatch, made_up):
    """Give what a model answers that has these probabilities."""

    def answered(reference, probabilities, *, is_validation=False):
        parts = [(slice(n, n + 2), probabilities[n : n + 2]) for n in range(0, len(probabilities), 2)]
        monkeypatch.setattr(fitting, "predict_probabilities", lambda *_: iter(parts))
        image = Image(np.zeros(reference.shape, np.float32))
        return fitting.answer(made_up, image, reference, MEMBERS, is_validation=is_validation)

    return answered


@pytest.fixture
def made_up():
    from untrained import untrained_model

    return replace(untrained_model(), structures=STRUCTURES)


def test_blurred_discs_are_too_small_and_become_right_within_half_a_percent(answer):
    answered = [answer(draw(n), blurred(draw(n)), is_validation=n > 5) for n in range(24)]
    offsets = fitting.fit_offsets(answered, MEMBERS)
    true, plain, right = np.zeros(3), np.zeros(3), np.zeros(3)
    for number in range(30, 40):  # others than it was fitted on
        reference, likely = draw(number), blurred(draw(number))
        true += pixels(reference.voxels)
        plain += pixels(likely.argmax(1))
        right += pixels(add_offsets(likely, offsets).argmax(1))
    assert (plain / true < [0.99, 0.95, 0.9]).all()
    np.testing.assert_allclose(right, true, rtol=0.005)


def test_images_that_are_known_by_heart_do_not_hide_how_unsure_the_others_are(answer):
    sharp = [answer(draw(n), blurred(draw(n), 0.3)) for n in range(6)]
    unsure = [answer(draw(n), blurred(draw(n)), is_validation=True) for n in range(6, 24)]
    offsets = fitting.fit_offsets([*sharp, *unsure], MEMBERS)
    found = sum(pixels(add_offsets(blurred(draw(n)), offsets).argmax(1)) for n in range(30, 36))
    np.testing.assert_allclose(found, sum(pixels(draw(n).voxels) for n in range(30, 36)), rtol=0.02)
    # Of training images alone nothing follows for new ones.
    assert np.abs(fitting.fit_offsets(sharp, MEMBERS)).max() < 0.3


def test_sums_that_are_too_large_on_all_subjects_are_corrected_and_on_one_they_are_not(answer):
    def hazy(number):  # every structure is thought to be larger by a layer than it is
        grown = draw(number)
        voxels = ndimage.grey_dilation(np.where(grown.voxels == 3, 3, 0), (1, 3, 3))
        return blurred(replace(grown, voxels=np.where(voxels == 3, 3, grown.voxels).astype(np.uint8)))

    several = [answer(draw(n), hazy(n)) for n in range(16)]  # fewer are believed less, though they agree
    new = [pixels(add_offsets(hazy(n), fitting.fit_offsets(several, MEMBERS)).argmax(1))[2] for n in range(30, 36)]
    true = [pixels(draw(n).voxels)[2] for n in range(30, 36)]
    assert sum(new) == pytest.approx(sum(true), rel=0.01)
    assert fitting._excess(2, several) > 0.3
    assert fitting._excess(2, several[:1]) == 0
    # Subjects who disagree are believed less.
    assert 0 < fitting._excess(2, [several[0], *[answer(draw(n), blurred(draw(n))) for n in range(8, 11)]]) < 0.1


def test_what_was_not_drawn_or_is_not_found_has_no_offset(answer):
    known = [answer(draw(n), blurred(draw(n))) for n in range(3)]
    empty = np.zeros((6, 4, SIZE, SIZE), np.float32)
    empty[:, 0] = 1
    # The vein, of which the model is sure everywhere, was not drawn here, so that nothing is wrong with it.
    vein = empty.copy()
    vein[:, 3], vein[:, 0] = 1, 0
    undrawn = [answer(draw(n, drawn=(1, 2)), vein) for n in range(3, 5)]
    first, second = (fitting.fit_offsets(some, MEMBERS) for some in (known, [*known, *undrawn]))
    assert first[2] == second[2] > 0
    assert fitting.fit_offsets([answer(draw(n, drawn=(1, 2)), blurred(draw(n))) for n in range(3)], MEMBERS)[2] == 0
    assert not fitting.fit_offsets([answer(draw(n), empty) for n in range(3)], MEMBERS).any()


def test_no_offset_is_larger_than_the_most(answer):
    faint = blurred(draw(1))
    faint[:, 3] *= 0.35  # far too unsure of the vein
    faint[:, 0] += 1 - faint.sum(1)
    few = [answer(draw(1), faint) for _ in range(2)]
    few = [replace(one, expected=one.reference) for one in few]
    assert fitting.fit_offsets(few, MEMBERS)[2] == pytest.approx(MOST)


def test_of_a_model_that_is_unsure_everywhere_drawn_areas_count(answer):
    """Far from a structure its probabilities add up to more than it has, on one image more than on others."""

    def hazed(number, haze):
        likely = (1 - 3 * haze) * blurred(draw(number))
        likely[:, 1:] += haze
        return likely

    answered = [answer(draw(n), hazed(n, 0.06 if n > 5 else 0.04), is_validation=n > 5) for n in range(10)]
    offsets = fitting.fit_offsets(answered, MEMBERS)
    true = sum(pixels(draw(n).voxels) for n in range(20, 26))
    found = sum(pixels(add_offsets(hazed(n, 0.05), offsets).argmax(1)) for n in range(20, 26))
    np.testing.assert_allclose(found, true, rtol=0.02)


def test_areas_of_few_subjects_or_of_some_who_disagree_are_believed_in_part():
    def change(*ratios, pixels=1000.0):
        counts = [(f"subject{n}", pixels, pixels * ratio) for n, ratio in enumerate(ratios)]
        return 1 - fitting._likely_pixels(counts, 0.1) / sum(found for *_, found in counts)

    full = 1 - 1 / 1.16
    # Usual biases of 5 % and a subject's error of 10 %: a variance of 0.01 beside one of 0.0025.
    assert change(1.16) == pytest.approx(1 - 1.16**-0.2)
    some, alike, disagreeing = change(*[1.16] * 4), change(*[1.16] * 40), change(1.0, 1.32, 1.0, 1.32)
    assert 0.3 * full < disagreeing < some < alike < full
    assert alike > 0.98 * full
    # Two images of a subject are no two subjects.
    twice = [("a", 500.0, 580.0), ("a", 500.0, 580.0)]
    assert fitting._likely_pixels(twice, 0.1) == pytest.approx(1160 * 1.16**-0.2)
    assert fitting._likely_pixels([("a", 500.0, 0.0)], 0.1) == 500


def test_a_model_that_has_not_learnt_is_not_made_worse(answer):
    """Its probabilities add up to many times the structure, spread over the image."""

    def vague(number):
        likely = 0.2 * blurred(draw(number))
        likely[:, 0] += 0.25
        likely[:, 1:] += 0.55 / 3
        return likely

    answered = [answer(draw(n), vague(n), is_validation=n > 5) for n in range(8)]
    for some in (answered, answered[:1]):  # of one subject nobody knows that its sums are too large
        offsets = fitting.fit_offsets(some, MEMBERS)
        plain, after = np.zeros((3, 3)), np.zeros((3, 3))
        for number in range(20, 25):
            true, likely = draw(number), vague(number)
            for counts, found in ((plain, likely.argmax(1)), (after, add_offsets(likely, offsets).argmax(1))):
                for k, own in enumerate(MEMBERS):
                    one, other = own[found], own[true.voxels]
                    counts[k] += (one & other).sum(), one.sum(), other.sum()
        dice = [2 * both / (one + other) for both, one, other in (plain.T, after.T)]
        assert (dice[1] > dice[0] - 0.02).all()


@pytest.fixture(scope="module")
def trained():
    with pytest.MonkeyPatch.context() as monkeypatch:
        patch_reading(monkeypatch)
        return train(make_split(range(4), [9]), quick_settings(epochs=3), structures=DISCS)


def test_the_model_of_a_training_has_them_and_predicts_with_them(monkeypatch, tmp_path):
    patch_reading(monkeypatch)
    split = make_split(range(4), [9])
    settings = quick_settings(epochs=3)
    model, path = train_and_save(split, settings, structures=DISCS, name="discs", folder=tmp_path)
    again = load_model(path)
    assert len(model.offsets) == 2
    assert model.offsets == again.offsets
    plain = replace(model, offsets=())
    assert model.offsets == with_offsets(plain, split).offsets
    assert model_digest(plain) != model_digest(model)
    image, _ = make_pair(9)
    assert not np.array_equal(predict(again, image).voxels, predict(plain, image).voxels)


def test_only_some_training_images_of_a_short_training_are_asked(monkeypatch, trained):
    patch_reading(monkeypatch)
    asked = []
    monkeypatch.setattr(
        fitting, "read_reference", lambda case, _: asked.append(case.subject_id) or make_pair(int(case.case_id[4:]))
    )
    with_offsets(trained, make_split(range(40), [50, 51]))
    known = [f"subject{n}" for n in range(40)]
    assert len(set(asked) & set(known)) == 12  # a tenth of 40 images in 3 epochs
    assert asked[12:] == ["subject51", "subject50"] or asked[12:] == ["subject50", "subject51"]
    first = [*asked]
    asked.clear()
    with_offsets(trained, make_split(range(40), [50, 51]))
    assert asked == first
    asked.clear()
    monkeypatch.setattr(fitting, "MOST_PIXELS", 1)
    with_offsets(trained, make_split(range(40), [50, 51]))
    assert len(asked) == 2
