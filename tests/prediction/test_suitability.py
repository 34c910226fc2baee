"""The light before the numbers: an image like those that were learnt from is green, and each difference is told."""

from dataclasses import replace

import numpy as np
import pytest
from untrained import STRUCTURES, untrained_model

from autoseg.errors import DataError
from autoseg.image.geometry import affine_from_spacing
from autoseg.image.image import Acquisition, Image, LabelMap, Source
from autoseg.model.model import load_model, save_model
from autoseg.model.settings.settings import VolumeSettings
from autoseg.model.trust import Light, Trust
from autoseg.prediction.appearance import look_at
from autoseg.prediction.suitability import SHARED, Doubts, _compare_turned, compare_image
from autoseg.training.trust.examine import Examined
from autoseg.training.trust.profile import profile_of, see

WINDOW = (16, 16)
PATIENTS = 8
SPIN_ECHO = Acquisition("SE", 2000.0, 90.0, False)
KNOWN = {"spacing_source": "header", "slice_spacing_source": "header", "modality": "MR", "acquisition": SPIN_ECHO}


def make(number, *, spacing=(8.0, 3.0, 3.0), size=(48, 48), slices=3, affine=True, channels=("image",), **source):
    """Give a bright disc above a dark one, on a ramp from top to bottom, and its labels."""
    rng = np.random.default_rng(number)
    down, across = np.mgrid[: size[0], : size[1]] / np.array(size)[:, None, None]
    place = 0.5 + rng.uniform(-0.03, 0.03, 2)
    upper = (down - place[0] + 0.18) ** 2 + (across - place[1]) ** 2 < 0.012
    lower = (down - place[0] - 0.18) ** 2 + (across - place[1]) ** 2 < 0.02
    picture = 60 * down + 100 * upper - 50 * lower
    voxels = picture + rng.normal(0, 4, (len(channels), slices, *size))
    labels = np.broadcast_to(np.where(upper, 1, np.where(lower, 2, 0)), (slices, *size)).astype(np.uint8)
    source = Source(case_id=f"case{number}", subject_id=f"subject{number}", **{**KNOWN, **source})
    matrix = affine_from_spacing(spacing) if affine else None
    voxels = voxels.astype(np.float32)
    image = Image(voxels if len(channels) > 1 else voxels[0], matrix, channels, source)
    return image, LabelMap(labels, matrix, STRUCTURES, source=source)


def examined(*, wrong=0.0, overlap=0.9):
    counts = np.full((3, 2), 100)
    return [
        Examined(
            "case", f"subject{n}", counts, (counts * (1 + wrong)).astype(int), (counts * overlap).astype(int),
            np.array([True, True]),
        )
        for n in range(2)
    ]  # fmt: skip


def taught(model, pairs, *, validated=2, scored=None):
    """Give a model that knows these pairs."""
    seen = [see(model, image, labels, WINDOW) for image, labels in pairs]
    profile = profile_of(
        seen, model.structures, WINDOW, examined() if scored is None else scored,
        subjects=len(pairs), validated=validated,
    )  # fmt: skip
    return replace(model, trust=Trust(profile=profile))


@pytest.fixture(scope="module")
def model():
    upright = untrained_model()
    augmentation = replace(upright.settings.augmentation, rotation_deg=20.0)
    upright = replace(upright, settings=replace(upright.settings, augmentation=augmentation))
    return taught(upright, [make(number) for number in range(PATIENTS)])


def light_of(model, image, labels=None):
    return compare_image([model], image).with_found(make(99)[1] if labels is None else labels)


@pytest.mark.parametrize("number", [50, 51, 52])
def test_a_new_patient_of_the_same_kind_is_green_and_says_why(model, number):
    found = light_of(model, *make(number))
    assert found.light is Light.GREEN
    assert "8 patients" in found.reasons[0]
    assert "0.90" in found.reasons[0]  # Dice of the validation patients


@pytest.mark.parametrize(
    ("changes", "light", "words"),
    [
        ({"spacing": (8.0, 7.5, 7.5)}, Light.RED, "Its pixels are 7.5 mm; the model learnt from 3, so areas"),
        ({"spacing": (8.0, 1.8, 1.8)}, Light.AMBER, "Its pixels are 1.8 mm"),
        ({"spacing": (20.0, 3.0, 3.0)}, Light.AMBER, "Its slices are 20 mm apart; the model learnt from 8"),
        ({"modality": "CT"}, Light.RED, "It is CT and the model learnt from MR"),
        ({"acquisition": replace(SPIN_ECHO, sequence="GR")}, Light.AMBER, "Its MR sequence is GR"),
        ({"acquisition": replace(SPIN_ECHO, echo_ms=10.0)}, Light.AMBER, "Its echo time is 10 ms"),
        ({"acquisition": replace(SPIN_ECHO, repetition_ms=9000.0)}, Light.AMBER, "Its repetition time is 9,000 ms"),
        ({"acquisition": replace(SPIN_ECHO, contrast=True)}, Light.AMBER, "taken with contrast agent"),
    ],
)
def test_what_files_tell_of_another_kind_is_told_with_numbers_and_a_remedy(model, changes, light, words):
    image, _ = make(50)
    source = {key: value for key, value in changes.items() if key != "spacing"}
    affine = affine_from_spacing(changes.get("spacing", (8.0, 3.0, 3.0)))
    changed = Image(image.voxels, affine, source=replace(image.source, **source))
    found = light_of(model, changed)
    assert any(words in reason for reason in found.reasons), found.reasons
    if "spacing" not in changes:  # other pixels also look unlike
        assert found.light is light
        assert len(found.reasons) == 1
    assert found.light is not Light.GREEN
    assert any(word in found.reasons[0] for word in ("Use a model", "Choose the", "Look at"))


@pytest.mark.parametrize(
    ("size", "remedy"),
    [((24, 24), "or choose the whole image if this is a part."), ((144, 144), "or cut the image.")],
)
def test_a_smaller_view_and_a_larger_one_have_remedies_of_their_own(model, size, remedy):
    found = light_of(model, *make(50, size=size))
    assert any(reason.startswith("It shows") and reason.endswith(remedy) for reason in found.reasons), found.reasons


def test_slices_in_another_plane_are_red(model):
    image, _ = make(50)
    affine = image.affine.copy()
    affine[:3, [0, 1]] = affine[:3, [1, 0]]
    affine[:3, 0] *= 8 / 3
    affine[:3, 1] *= 3 / 8
    found = light_of(model, replace(image, affine=affine))
    assert found.light is Light.RED
    assert "another plane: 90° from the nearest" in found.reasons[0]


def test_what_files_do_not_tell_is_not_compared(model):
    silent = replace(make(50)[0].source, modality="", acquisition=Acquisition(), slice_spacing_source="none")
    assert light_of(model, replace(make(50)[0], source=silent)).light is Light.GREEN


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda v: v[:, ::-1], "upside down"),
        (lambda v: v[:, ::-1, ::-1], "half"),
        (lambda v: -v, "black and white exchanged"),
    ],
)
def test_what_is_turned_or_inverted_is_red_and_called_so(model, change, words):
    image = make(50)[0]
    found = light_of(model, replace(image, voxels=np.ascontiguousarray(change(image.voxels))))
    assert found.light is Light.RED
    assert any(words in reason for reason in found.reasons), found.reasons


def test_a_turn_that_training_met_is_no_fault(model):
    image = make(50)[0]
    looks = look_at(model, replace(image, voxels=np.ascontiguousarray(image.voxels[:, ::-1, ::-1])), WINDOW)
    for degrees, light in ((20.0, Light.RED), (180.0, Light.GREEN)):
        doubts, augmentation = Doubts(), replace(model.settings.augmentation, rotation_deg=degrees)
        _compare_turned(doubts, model.trust.profile, looks, replace(model.settings, augmentation=augmentation))
        assert doubts.light(model.trust.profile).light is light


@pytest.mark.parametrize(("orientation", "light"), [("RPI", Light.AMBER), ("PRI", Light.RED)])
def test_of_a_volume_it_counts_whether_left_and_right_are_exchanged(model, orientation, light):
    settings = replace(model.settings, spatial_dims=3, volume=VolumeSettings(orientation=orientation))
    image = make(50)[0]
    turned = look_at(model, replace(image, voxels=np.ascontiguousarray(image.voxels[:, ::-1])), WINDOW)
    doubts = Doubts()
    _compare_turned(doubts, model.trust.profile, turned, settings)
    assert doubts.light(model.trust.profile).light is light


def test_noise_a_plain_picture_and_another_view_are_red(model):
    image, rng = make(50)[0], np.random.default_rng(0)
    down, across = np.mgrid[:48, :48]
    bars = np.broadcast_to(100.0 * ((down // 6) % 2), image.shape)
    for voxels in (rng.normal(0, 1, image.shape), np.zeros(image.shape), 1.0 * across + 0 * image.voxels, bars):
        found = light_of(model, replace(image, voxels=voxels.astype(np.float32)))
        assert found.light is Light.RED, found.reasons
        assert "times as far away as is usual among its 8 patients" in found.reasons[0]


def test_structures_that_come_out_oddly_are_named(model):
    image, labels = make(50)
    big = labels.voxels.copy()
    big[:, 2:46, 2:20] = 1
    speckled = np.where(labels.voxels == 1, 0, labels.voxels)
    for row in range(0, 48, 8):
        speckled[:, row : row + 4, 40:44] = 1
    moved = np.roll(np.where(labels.voxels == 2, 2, 0), (-16, -14), axis=(1, 2)).astype(np.uint8)
    odd = {"Cavity came out far larger": big, "Cavity came out in more pieces": speckled, "Myocardium was": moved}
    odd["none of its structures"] = np.zeros_like(big)
    for words, voxels in odd.items():
        found = light_of(model, image, replace(labels, voxels=voxels))
        assert found.light is not Light.GREEN
        assert any(words in reason for reason in found.reasons), (words, found.reasons)


def test_a_model_that_is_poor_or_knows_few_patients_is_never_green():
    pairs, image = [make(number) for number in range(PATIENTS)], make(50)[0]
    poor = taught(untrained_model(), pairs, scored=examined(overlap=0.5))
    off = taught(untrained_model(), pairs, scored=examined(wrong=0.4))
    unseen = taught(untrained_model(), pairs, validated=0, scored=[])
    alone = taught(untrained_model(), pairs[:1], validated=0, scored=[])
    known = replace(poor.trust.profile, dice=(0.9, None), area_error=(0.1, None))
    partly = replace(poor, trust=Trust(profile=known))
    for model, words in (
        (poor, "cavity Dice 0.50 and myocardium Dice 0.50"),
        (off, "cavity areas off by 40 %"),
        (unseen, "validated on no patient"),
        (alone, "a single patient"),
        (partly, "validated on 2 patients, and on nobody with myocardium"),
    ):
        found = light_of(model, image)
        assert found.light is Light.AMBER, (words, found.reasons)
        assert any(words in reason for reason in found.reasons), found.reasons


def test_a_score_by_folds_is_told_as_such_and_what_comes_with_autoseg_is_never_green(model):
    by_folds = replace(model.trust.profile, validated=8, by_folds=True)
    own = replace(model, trust=Trust(profile=by_folds))
    found = light_of(own, *make(50))
    assert found.light is Light.GREEN
    assert found.reasons[0].startswith(
        "It is like the images of 8 patients that the model learnt from (8 patients segmented by twins that never "
        "saw them: there its lowest Dice was 0.90"
    )
    poor = replace(own, trust=Trust(profile=replace(by_folds, dice=(0.9, 0.4))))
    assert light_of(poor, *make(50)).reasons == (
        "The model is not good enough by itself: on its 8 patients, segmented by twins that never saw them, "
        "myocardium Dice 0.40. Correct what it finds, and train it on more patients.",
    )
    shipped = replace(own, origin={"sources": ["Somebody's patients, CC0"]})
    found = light_of(shipped, *make(50))
    assert found.light is Light.AMBER
    assert "comes with autoseg and learnt from 8 patients of public data alone" in found.reasons[0]


def test_without_a_profile_nothing_is_known_and_of_several_models_the_worst_counts(model):
    image, _ = make(50)
    old = untrained_model()
    predicted = make(50)[1]
    alone = compare_image([old], image)
    assert alone.so_far == alone.with_found(predicted)
    assert alone.so_far.light is Light.AMBER
    assert "an earlier version" in alone.so_far.reasons[0]
    both = compare_image([model, old], image).with_found(predicted)
    assert both.light is Light.AMBER
    scan = replace(image, source=replace(image.source, modality="CT"))
    assert compare_image([old, model], scan).with_found(predicted).light is Light.RED


def test_what_is_found_adds_to_the_light_and_takes_nothing_from_it(model):
    image, labels = make(50)
    empty = replace(labels, voxels=np.zeros_like(labels.voxels))
    compared = compare_image([model], image)
    assert compared.so_far.light is Light.GREEN
    assert "none of its structures" in compared.with_found(empty).reasons[0]
    assert compared.with_found(labels) == compared.so_far  # asking once left nothing behind
    slow = replace(image, source=replace(image.source, acquisition=replace(SPIN_ECHO, repetition_ms=9000.0)))
    slow = compare_image([model], slow)
    assert slow.with_found(empty).reasons == (*slow.so_far.reasons, *compared.with_found(empty).reasons)
    scan = compare_image([model], replace(image, source=replace(image.source, modality="CT")))
    assert scan.so_far.light is scan.with_found(empty).light is Light.RED


def test_models_that_share_an_image_are_never_red(model):
    image, labels = make(50)
    scan = replace(image, source=replace(image.source, modality="CT"))
    shared = compare_image([model, model], scan, is_shared=True)
    for found in (shared.so_far, shared.with_found(labels)):
        assert found.light is Light.AMBER
        assert found.reasons[0] == SHARED
        assert "It is CT" in found.reasons[1]
    assert compare_image([model, model], image, is_shared=True).so_far.light is Light.GREEN


def test_an_image_that_the_model_refuses_is_refused_in_words(model):
    two = make(50, channels=("a", "b"))[0]
    with pytest.raises(DataError, match="was trained on 1"):
        compare_image([model], two)


def test_a_profile_stays_the_same_in_a_file_and_names_nobody(model, tmp_path):
    again = load_model(save_model(model, tmp_path / "heart.pt"))
    assert again.trust == model.trust
    assert "subject" not in str(again.trust.profile.images)
    assert light_of(again, make(50)[0]) == light_of(model, make(50)[0])


@pytest.mark.parametrize(
    "how", [{"affine": False}, {"slices": 1}, {"channels": ("a", "b")}, {"size": (30, 70)}], ids=str
)
def test_images_of_every_form_are_compared(how):
    settings = untrained_model(channels=how.get("channels", ("image",))).settings
    model = untrained_model(channels=how.get("channels", ("image",)))
    if not how.get("affine", True):
        preprocess = replace(settings.preprocess, spacing_mm=None, input_shape=(32, 32))
        model = replace(model, settings=replace(settings, preprocess=preprocess))
    model = taught(model, [make(number, **how) for number in range(PATIENTS)])
    assert light_of(model, *make(50, **how)).light is Light.GREEN
    noise = np.random.default_rng(1).normal(size=make(50, **how)[0].voxels.shape)
    assert light_of(model, replace(make(50, **how)[0], voxels=noise), make(50, **how)[1]).light is Light.RED
