"""Adding offsets to probabilities."""

import numpy as np
import pytest
from untrained import STRUCTURES, untrained_model

from autoseg.errors import ModelFileError
from autoseg.image.geometry import affine_from_spacing
from autoseg.image.image import Image
from autoseg.model.model import load_model, save_model
from autoseg.model.offsets import add_offsets
from autoseg.prediction import predict, predict_probabilities


@pytest.fixture
def image():
    voxels = np.random.default_rng(0).normal(size=(3, 48, 40)).astype(np.float32)
    return Image(voxels, affine_from_spacing((8, 6, 6)))


def probabilities(models, image):
    return np.concatenate([part for _, part in predict_probabilities(models, image)])


def test_log_odds_against_each_other_and_the_background_grow_by_them(image):
    before = probabilities(untrained_model(), image)
    after = probabilities(untrained_model(offsets=(0.5, -0.25)), image)
    np.testing.assert_allclose(after.sum(1), 1, rtol=1e-5)
    odds = [np.log(after[:, k] / after[:, 0]) - np.log(before[:, k] / before[:, 0]) for k in (1, 2)]
    np.testing.assert_allclose(odds[0], 0.5, atol=1e-4)
    np.testing.assert_allclose(odds[1], -0.25, atol=1e-4)


def test_the_more_is_added_the_more_pixels_it_takes(image):
    counts = [
        int(predict(untrained_model(offsets=(offset, 0.0)), image).mask(1).sum()) for offset in (-0.5, 0.0, 0.5)
    ]
    assert counts[0] < counts[1] < counts[2]


def test_without_offsets_and_with_zeros_nothing_changes(image):
    before = probabilities(untrained_model(), image)
    np.testing.assert_array_equal(probabilities(untrained_model(offsets=(0.0, 0.0)), image), before)
    assert add_offsets(before, ()) is before


def test_of_several_models_each_has_its_own_before_the_mean(image):
    models = [untrained_model(offsets=(0.7, 0.0)), untrained_model(offsets=(0.0, 0.3))]
    single = [probabilities(one, image) for one in models]
    np.testing.assert_allclose(probabilities(models, image), (single[0] + single[1]) / 2, rtol=1e-5)


@pytest.mark.parametrize(
    ("offsets", "words"),
    [((0.1,), "1 offset for 2 structures"), ((0.1, 9.0), "from -1 to 1"), ((0.1, np.nan), "no number")],
)
def test_a_file_with_others_is_refused_in_words(tmp_path, offsets, words):
    path = save_model(untrained_model(offsets=offsets), tmp_path)
    with pytest.raises(ModelFileError, match=words):
        load_model(path)


def test_a_file_keeps_them(tmp_path):
    assert len(STRUCTURES) == 2
    assert load_model(save_model(untrained_model(offsets=(0.25, -0.5)), tmp_path)).offsets == (0.25, -0.5)
