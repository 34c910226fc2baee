"""Prediction lies on the image's own grid, and its areas are those of what was shown."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from discs import STRUCTURES, make_pair, make_split, patch_reading, quick_settings

from autoseg.errors import DataError, GeometryError
from autoseg.image import Image, LabelMap, Source
from autoseg.postprocess import StructurePostprocess
from autoseg.prediction import predict, predict_probabilities
from autoseg.settings import PreprocessSettings
from autoseg.training import train


@pytest.fixture(scope="module")
def model():
    with pytest.MonkeyPatch.context() as monkeypatch:
        patch_reading(monkeypatch)
        return train(make_split(range(12), [20]), quick_settings(epochs=14), structures=STRUCTURES)


def _dice(one, two):
    return 2 * (one & two).sum() / (one.sum() + two.sum())


@pytest.mark.parametrize(
    ("size", "spacing"), [((64, 64), (8, 1.5, 1.5)), ((50, 111), (8, 2.0, 0.9)), ((133, 90), (8, 0.8, 1.1))]
)
def test_it_lies_on_the_images_grid_whatever_that_is(model, size, spacing):
    image, reference = make_pair(33, size=size, spacing=spacing, slices=3)
    predicted = predict(model, image, batch_size=2)
    assert predicted.same_grid(image)
    assert predicted.source == image.source
    assert set(np.unique(predicted.voxels)) <= {0, 1, 5}
    assert _dice(predicted.mask(1), reference.mask(1)) > 0.85
    assert predicted.mask(1).sum() == pytest.approx(reference.mask(1).sum(), rel=0.15)


def test_batches_and_scale_of_intensities_do_not_matter(model):
    image, _ = make_pair(40, slices=5)
    one = predict(model, image, batch_size=1).voxels
    np.testing.assert_array_equal(one, predict(model, image, batch_size=5).voxels)
    louder = Image(image.voxels * 40 + 1000, image.affine, source=image.source)
    assert (one != predict(model, louder).voxels).mean() < 1e-3


def test_progress_is_told(model):
    told = []
    predict(model, make_pair(1, slices=5)[0], batch_size=2, on_slices=lambda *numbers: told.append(numbers))
    assert told == [(2, 5), (4, 5), (5, 5)]


def test_what_does_not_fit_is_refused(model):
    image, _ = make_pair(1)
    with pytest.raises(GeometryError, match="no pixel spacing"):
        predict(model, Image(image.voxels))
    two = Image(np.stack([image.voxels] * 2), image.affine, channels=("t1", "t2"))
    with pytest.raises(DataError, match=r"2 channel\(s\) and the model .* trained on 1"):
        predict(model, two)


def test_a_model_of_fixed_shape_needs_no_millimetres(monkeypatch):
    patch_reading(monkeypatch)
    settings = quick_settings(epochs=1, preprocess=PreprocessSettings(input_shape=(48, 48)))
    fixed = train(make_split([0], [1]), settings, structures=STRUCTURES)
    predicted = predict(fixed, Image(make_pair(1)[0].voxels))
    assert predicted.shape == (2, 64, 64)
    assert predicted.affine is None


def test_probabilities_lie_on_the_images_grid_and_predict_takes_the_largest(model):
    image, _ = make_pair(33, size=(50, 111), spacing=(8, 2.0, 0.9), slices=3)
    parts = list(predict_probabilities(model, image, batch_size=2))
    assert [part[0] for part in parts] == [slice(0, 2), slice(2, 3)]
    probabilities = np.concatenate([part[1] for part in parts])
    assert (probabilities.shape, probabilities.dtype) == ((3, 3, 50, 111), np.float32)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)
    np.testing.assert_array_equal(np.array([0, 1, 5])[probabilities.argmax(1)], predict(model, image).voxels)


def test_the_models_own_post_processing_is_applied(model):
    image, _ = make_pair(33)
    plain = predict(model, image)
    post = (StructurePostprocess(erosions=1), StructurePostprocess(threshold=0.05))
    cleaned = predict(replace(model, postprocess=post), image)
    assert (cleaned.voxels == 1).sum() < (plain.voxels == 1).sum()
    assert (cleaned.voxels == 5).sum() > (plain.voxels == 5).sum()
    assert cleaned.same_grid(image)


# --- crops


def _aside(number, corner, size=(150, 141), spacing=1.5):
    """A slanting stack whose structures lie at `corner`, far from the image's middle."""
    image, label_map = make_pair(number, slices=3)
    voxels = np.random.default_rng(number).normal(0, 8, (3, *size)).astype(np.float32)
    labels = np.zeros((3, *size), dtype=np.uint8)
    for index in range(3):
        here = (index, slice(corner[0] + 4 * index, corner[0] + 4 * index + 64), slice(corner[1], corner[1] + 64))
        voxels[here], labels[here] = image.voxels[index], label_map.voxels[index]
    affine = image.affine if spacing else None
    source = Source(case_id=f"case{number}", subject_id=f"subject{number}", spacing_source="header")
    return Image(voxels, affine, source=source), LabelMap(labels, affine, STRUCTURES, source=source)


def _cropped_model(preprocess, spacing=1.5):
    def read(case, structures):
        number = int(case.case_id.removeprefix("case"))
        corner = np.random.default_rng(number).integers(0, (60, 70))
        return _aside(number, corner, spacing=spacing)

    with pytest.MonkeyPatch.context() as monkeypatch:
        patch_reading(monkeypatch)
        monkeypatch.setattr("autoseg.dataset.read_case", read)
        return train(make_split(range(12)), quick_settings(epochs=14, preprocess=preprocess), structures=STRUCTURES)


@pytest.fixture(scope="module")
def cropped():
    return _cropped_model(PreprocessSettings(spacing_mm=3.0, crop_mm=(80, 80)))


@pytest.mark.parametrize("corner", [(2, 70), (60, 3), (30, 40)])
@pytest.mark.parametrize("find_region", ["coarse", "whole"])
def test_a_model_of_crops_finds_its_region_wherever_it_lies(cropped, corner, find_region):
    image, reference = _aside(77, corner)
    preprocess = replace(cropped.settings.preprocess, find_region=find_region)
    model = replace(cropped, settings=replace(cropped.settings, preprocess=preprocess))
    predicted = predict(model, image, batch_size=2)
    assert predicted.same_grid(image)
    assert _dice(predicted.mask(1), reference.mask(1)) > 0.85
    assert _dice(predicted.mask(5), reference.mask(5)) > 0.7


def test_outside_the_region_is_background(cropped):
    image, _ = _aside(77, (60, 3))
    probabilities = np.concatenate([part for _, part in predict_probabilities(cropped, image)])
    assert (probabilities[:, 0, :30] == 1).all()
    assert (probabilities[:, 1:, :30] == 0).all()
    seen = (probabilities[:, 1:].max(1) > 0).sum(axis=(1, 2)) * 1.5**2
    assert (seen < 1.1 * 84**2).all()


def test_a_structure_that_goes_on_beyond_its_region_is_told(cropped):
    image, _ = _aside(77, (30, 40))
    voxels = image.voxels.copy()
    voxels[1, 20:140, 60:70] = 100
    with pytest.warns(UserWarning, match=r"on 1 of 3 slices .* reaches the edge"):
        predict(cropped, Image(voxels, image.affine, source=image.source))


def test_crops_in_pixels_need_no_millimetres():
    settings = PreprocessSettings(input_shape=(75, 70), crop_shape=(27, 27))
    model = _cropped_model(settings, spacing=None)
    image, reference = _aside(77, (60, 3), spacing=None)
    predicted = predict(model, image)
    assert predicted.affine is None
    assert _dice(predicted.mask(1), reference.mask(1)) > 0.85


@pytest.mark.gpu
def test_a_gpu_gives_the_processors_areas(model, monkeypatch):
    image, _ = make_pair(50, slices=4)
    on_gpu = predict(model, image)
    monkeypatch.setattr("autoseg.prediction.choose_device", lambda: torch.device("cpu"))
    on_cpu = predict(model, image)
    assert on_gpu.mask(1).sum() == pytest.approx(on_cpu.mask(1).sum(), rel=0.01)


def test_areas_are_reported_in_float32_whatever_the_training_used(model):
    image, _ = make_pair(60, slices=3)
    in_bfloat16 = replace(model, settings=replace(model.settings, precision="bfloat16"))
    np.testing.assert_array_equal(predict(model, image).voxels, predict(in_bfloat16, image).voxels)
    fast = predict(model, image, precision="bfloat16")
    assert fast.mask(1).sum() == pytest.approx(predict(model, image).mask(1).sum(), rel=0.03)
