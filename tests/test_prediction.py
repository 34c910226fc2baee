"""Prediction lies on the image's own grid, and its areas are those of what was shown."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from discs import STRUCTURES, make_pair, make_split, patch_reading, quick_settings

from autoseg.errors import DataError, GeometryError
from autoseg.image import Image
from autoseg.prediction import predict
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
