"""The slices that are watched: well spread, numbered, on their own grid, and drawn right."""

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from discs import STRUCTURES, make_pair, make_split, patch_reading, quick_settings
from matplotlib.image import imread
from untrained import untrained_model

from autoseg.data.cases import find_cases
from autoseg.data.split import Split, split_cases
from autoseg.errors import DataError
from autoseg.image.geometry import affine_from_spacing
from autoseg.image.image import Image, LabelMap
from autoseg.model.settings.settings import (
    AugmentationSettings,
    NetworkSettings,
    PreprocessSettings,
    VolumeSettings,
)
from autoseg.prediction import predict
from autoseg.prediction.watched import (
    WatchedSlice,
    choose_watched,
    draw_watched,
    needs_whole,
    predict_watched,
)
from autoseg.training.training import train


@pytest.fixture
def pairs(monkeypatch):
    """Let cases be read from a dictionary of made-up pairs."""
    known = {}
    monkeypatch.setattr("autoseg.prediction.watched.read_case", lambda case, structures: known[case.case_id])
    return known


def test_slices_are_spread_over_subjects_and_are_the_same_again(pairs):
    pairs |= {f"case{n}": make_pair(n, slices=4) for n in range(5)}
    split = make_split([0], [1, 2, 3, 4])
    chosen = choose_watched(split, STRUCTURES, most=6)
    subjects = [one.caption.split(",")[0] for one in chosen]
    assert sorted(set(subjects)) == ["patient 2", "patient 3", "patient 4", "patient 5"]
    assert subjects == sorted(subjects)
    assert max(map(subjects.count, subjects)) == 2
    assert {one.side for one in chosen} == {"validation"}
    assert len({one.caption for one in chosen}) == 6
    assert [one.caption for one in choose_watched(split, STRUCTURES, most=6)] == [one.caption for one in chosen]
    assert all(one.image.shape[0] == 1 and one.reference.voxels.any() for one in chosen)


def test_a_rare_structure_is_among_them(pairs):
    image, label_map = make_pair(0, slices=30)
    voxels = np.where(label_map.voxels == 5, 0, label_map.voxels)
    voxels[29] = label_map.voxels[29]
    pairs["case0"] = image, LabelMap(voxels, image.affine, STRUCTURES)
    chosen = choose_watched(make_split([9], [0]), STRUCTURES, most=4)
    assert any((one.reference.voxels == 5).any() for one in chosen)


def test_a_model_that_takes_brightness_from_whole_images_answers_as_on_them(pairs):
    pairs |= {f"case{n}": make_pair(n, slices=4) for n in (0, 1)}
    for image, _ in pairs.values():
        image.voxels[2:] *= 0.2
    model = untrained_model(spacing_mm=1.5)
    whole = replace(model.settings, preprocess=replace(model.settings.preprocess, normalise="image"))
    model = replace(model, settings=whole)
    chosen = choose_watched(make_split([9], [0, 1]), STRUCTURES, most=4, volumes=needs_whole(model.settings))
    for one, found in zip(chosen, predict_watched(model, chosen), strict=True):
        expected = predict(model, one.volume, precision="auto").voxels[one.index]
        np.testing.assert_array_equal(found.voxels[0], expected)


def test_a_slice_is_where_it_was_in_the_scan(pairs):
    pairs["case0"] = image, _ = make_pair(0, slices=3)
    last = choose_watched(make_split([9], [0]), STRUCTURES, most=3)[-1]
    assert last.caption == "patient 1, slice 3 of 3"
    assert last.image.slice_positions_mm[0] == pytest.approx(image.slice_positions_mm[2])
    assert np.array_equal(last.image.voxels[0], image.voxels[2])


def test_without_validation_they_are_training_slices(pairs):
    pairs["case0"] = make_pair(0)
    assert {one.side for one in choose_watched(make_split([0]), STRUCTURES)} == {"training"}
    assert choose_watched(Split(training=(), validation=(), test=()), STRUCTURES) == ()


def test_of_the_sample_each_case_is_an_image_of_its_subject(sample):
    cases = find_cases(sample / "train")
    split = split_cases(cases.cases, validation_subjects=["SCD0000501"])
    chosen = choose_watched(split, cases.structures)
    assert len(chosen) == 6
    assert all(one.caption.startswith("patient 4, image ") for one in chosen)  # as in the settings
    assert not any("SCD" in one.caption for one in chosen)


def test_a_prediction_is_that_of_each_slice_alone_and_draws_no_random_number(pairs, monkeypatch):
    patch_reading(monkeypatch)
    settings = quick_settings(epochs=3)
    model = train(make_split(range(4), [8]), settings, structures=STRUCTURES)
    pairs |= {"case8": make_pair(8), "case9": make_pair(9, size=(48, 80))}
    watched = choose_watched(make_split([0], [8, 9]), STRUCTURES)
    state = torch.get_rng_state()
    found = predict_watched(model, watched)
    assert torch.equal(torch.get_rng_state(), state)
    for one, labels in zip(watched, found, strict=True):
        alone = predict(model, one.image, precision="auto")
        assert labels.shape == one.image.shape
        assert np.array_equal(labels.voxels, alone.voxels)
        assert labels.source.case_id == one.image.source.case_id


def make_watched(voxels, *, zoom=None, annotated=None):
    affine = affine_from_spacing((1.0, 1.0, 1.0))
    image = Image(np.full((1, *voxels.shape), 50.0), affine)
    reference = LabelMap(voxels[None], affine, STRUCTURES, annotated)
    zoom = zoom or (0, voxels.shape[0], 0, voxels.shape[1])
    return WatchedSlice(image, reference, "subject 1", "validation", (0.0, 100.0), zoom)


def picture(watched, predicted=None):
    return imread(io.BytesIO(draw_watched(watched, predicted)), format="jpeg").astype(int)


def test_the_prediction_is_filled_and_the_reference_outlined():
    voxels = np.zeros((40, 40), dtype=np.uint8)
    voxels[10:30, 10:30] = 1
    watched = make_watched(voxels)
    alone, filled = picture(watched), picture(watched, watched.reference)
    scale = alone.shape[0] // 40
    middle, outside = (slice(15 * scale, 25 * scale),) * 2, (slice(0, 8 * scale),) * 2
    assert np.ptp(alone[middle]) < 6  # an outline, no fill
    orange = filled[middle].reshape(-1, 3).mean(axis=0)
    assert orange[0] - orange[2] > 60
    assert np.ptp(filled[outside]) < 6
    edge = alone[10 * scale, 12 * scale : 28 * scale].mean(axis=-1)
    assert edge.min() < 60
    assert edge.max() > 190


def test_what_was_not_drawn_has_no_outline():
    voxels = np.zeros((40, 40), dtype=np.uint8)
    voxels[10:30, 10:30] = 1
    assert np.ptp(picture(make_watched(voxels, annotated=frozenset({5})))) < 6


def test_small_structures_are_shown_large(pairs):
    image = Image(np.random.default_rng(0).normal(size=(1, 400, 300)), affine_from_spacing((1.0, 1.0, 1.0)))
    voxels = np.zeros((1, 400, 300), dtype=np.uint8)
    voxels[0, 380:395, 20:50] = 1
    pairs["case0"] = image, LabelMap(voxels, image.affine, STRUCTURES)
    (one,) = choose_watched(make_split([9], [0]), STRUCTURES)
    top, end, left, right = one.zoom
    assert (end - top, right - left) == (75, 75)
    assert top <= 380
    assert end >= 395
    assert left <= 20
    assert right >= 50
    assert picture(one).shape[0] == picture(one).shape[1]


def test_a_network_with_neighbours_sees_those_of_the_same_patient(pairs, monkeypatch):
    patch_reading(monkeypatch)
    settings = quick_settings(epochs=3, preprocess=PreprocessSettings(spacing_mm=3.0, neighbours=1))
    model = train(make_split(range(4)), settings, structures=STRUCTURES)
    pairs |= {"case8": make_pair(8, slices=3), "case9": make_pair(9, slices=3)}
    watched = choose_watched(make_split([0], [8, 9]), STRUCTURES, neighbours=1)
    assert len(watched) == 6
    found = predict_watched(model, watched)
    whole = {f"case{n}": predict(model, make_pair(n, slices=3)[0], precision="auto").voxels for n in (8, 9)}
    for one, labels in zip(watched, found, strict=True):
        index = int(one.caption.split("slice ")[1][0]) - 1
        np.testing.assert_array_equal(labels.voxels[0], whole[labels.source.case_id][index])
    # Where the neighbours were not kept, the slice itself stands in for them, never another patient's.
    alone = choose_watched(make_split([0], [8, 9]), STRUCTURES)
    for one, labels in zip(alone, predict_watched(model, alone), strict=True):
        np.testing.assert_array_equal(labels.voxels, predict(model, one.image, precision="auto").voxels)


# --- a model of volumes


def volume_model(monkeypatch, **reading):
    patch_reading(monkeypatch, **reading)
    settings = quick_settings(
        spatial_dims=3,
        epochs=1,
        batch_size=2,
        preprocess=PreprocessSettings(),
        network=NetworkSettings(filters=(4, 8)),
        volume=VolumeSettings(spacing_mm=(4.0, 4.0, 4.0)),
        augmentation=AugmentationSettings.volumes(),
    )
    return train(make_split([0, 1], [8]), settings, structures=STRUCTURES)


def test_slices_of_volumes_are_those_of_the_whole_prediction(pairs, monkeypatch):
    shape = {"slices": 12, "size": (32, 32), "spacing": (4.0, 3.0, 3.0)}
    model = volume_model(monkeypatch, **shape)
    pairs |= {f"case{n}": make_pair(n, **shape) for n in (6, 7, 8, 9)}
    watched = choose_watched(make_split([0], [6, 7, 8, 9]), STRUCTURES, volumes=True)
    assert len({id(one.volume) for one in watched}) == 3  # each is segmented for every picture
    assert len(watched) == 6
    state = torch.get_rng_state()
    found = predict_watched(model, watched)
    assert torch.equal(torch.get_rng_state(), state)
    drawn = 0
    for one, labels in zip(watched, found, strict=True):
        whole = predict(model, one.volume, precision="auto")
        assert one.caption.endswith(f"slice {one.index + 1} of 12")
        assert np.array_equal(labels.voxels[0], whole.voxels[one.index])
        assert np.array_equal(one.image.voxels[0], one.volume.voxels[one.index])
        drawn += np.count_nonzero(labels.voxels)
        assert draw_watched(one, labels)[:2] == b"\xff\xd8"
    assert drawn


def test_without_its_volume_a_slice_is_refused(pairs, monkeypatch):
    shape = {"slices": 12, "size": (32, 32), "spacing": (4.0, 3.0, 3.0)}
    pairs["case8"] = make_pair(8, **shape)
    (one, *_) = choose_watched(make_split([0], [8]), STRUCTURES)
    assert one.volume is None
    with pytest.raises(DataError, match="with their volumes"):
        predict_watched(volume_model(monkeypatch, **shape), [one])
