"""Intensities of volumes: clipped and standardised, and landmarks that can be counted by hand."""

from dataclasses import replace

import numpy as np
import pytest

from autoseg.errors import DataError
from autoseg.image.geometry import affine_from_spacing
from autoseg.image.image import Image, Source
from autoseg.model.dataset import plan_samples
from autoseg.model.preprocessing.standardise import SEEN_VOXELS, learn_landmarks, standardise
from autoseg.model.settings.settings import PreprocessSettings, Settings, VolumeSettings

WHOLE = Settings(spatial_dims=3, preprocess=PreprocessSettings(clip_percentiles=(0.0, 100.0)))
SETTINGS = Settings(spatial_dims=3)


def _by_landmarks(settings, landmarks=()):
    return replace(settings, volume=VolumeSettings(standardise="landmarks", landmarks=landmarks))


def _ramp():
    """The numbers 0 to 100 once each, so that the n-th percentile is n."""
    return np.arange(101, dtype=np.float32).reshape(1, 1, 1, 101)


def test_each_channel_is_clipped_and_standardised():
    rng = np.random.default_rng(0)
    voxels = np.stack([rng.normal(300, 50, (6, 20, 20)), rng.gamma(2, 5, (6, 20, 20))]).astype(np.float32)
    found = standardise(voxels, SETTINGS)
    assert found.dtype == np.float32
    for one, channel in zip(found, voxels.astype(np.float64), strict=True):
        clipped = np.clip(channel, *np.percentile(channel, (0.5, 99.5)))
        np.testing.assert_allclose(one, (clipped - clipped.mean()) / clipped.std(), atol=1e-4)


def test_integers_and_doubles_are_the_same_image():
    voxels = np.random.default_rng(0).integers(0, 4000, (1, 5, 9, 9), dtype=np.int16)
    kept = voxels.copy()
    found = standardise(voxels, SETTINGS)
    np.testing.assert_array_equal(found, standardise(voxels.astype(np.float64), SETTINGS))
    np.testing.assert_array_equal(voxels, kept)


def test_a_constant_channel_is_0():
    assert not standardise(np.full((1, 3, 4, 4), 0.1), SETTINGS).any()


def test_a_small_part_of_an_empty_volume_is_seen():
    """Less than 0.5 % of the voxels are not 0: both clipping percentiles are, and yet the image is not constant."""
    voxels = np.zeros((1, 10, 40, 40), np.float32)
    voxels[0, 4:6, 10:15, 10:15] = np.random.default_rng(0).uniform(50, 100, (2, 5, 5))
    found = standardise(voxels, SETTINGS)
    assert found[0, 4, 12, 12] > found[0, 0, 0, 0]
    assert found.std() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("strange", [np.nan, np.inf, 1e300])
def test_what_is_no_number_is_named(strange):
    voxels = np.zeros((1, 3, 4, 4))
    voxels[0, 1, 2, :3] = strange
    with pytest.raises(DataError, match=r"knee holds NaN or infinite intensities in 3 of 48 voxels.*Set them to"):
        standardise(voxels, SETTINGS, name="knee")


def test_landmarks_are_the_mean_of_the_deciles():
    """A ramp has the deciles 10, 20 … of its range; its square root reaches half of the range at a quarter."""
    ramp = _ramp()
    rooted = np.sqrt(ramp / 100) * 7000 - 500  # another scale and another zero, which must not matter
    own = np.arange(0, 101, 10)
    assert learn_landmarks([ramp], WHOLE) == tuple(own)
    expected = (own + 100 * np.sqrt(own / 100)) / 2
    np.testing.assert_allclose(learn_landmarks([ramp, rooted], WHOLE), expected, atol=1e-3)


def test_clipping_percentiles_are_the_ends_of_the_scale():
    settings = replace(WHOLE, preprocess=PreprocessSettings(clip_percentiles=(15.0, 85.0)))
    # Deciles between them: 20 … 80 of a ramp, on a scale from 15 to 85.
    expected = [0, *((np.arange(20, 81, 10) - 15) / 70 * 100), 100]
    np.testing.assert_allclose(learn_landmarks([_ramp()], settings), expected, atol=1e-3)


def test_an_image_is_mapped_onto_the_landmarks():
    landmarks = learn_landmarks([_ramp()], WHOLE)
    settings = _by_landmarks(WHOLE, landmarks)
    strange = np.sqrt(_ramp() / 100) * 7000 - 500
    # At its own deciles the mapped image is the ramp; between them it is linear.
    found, ramp = standardise(strange, settings)[0, 0, 0], standardise(_ramp(), settings)[0, 0, 0]
    scale = np.polyfit(found[::10], ramp[::10], 1)
    np.testing.assert_allclose(np.polyval(scale, found[::10]), ramp[::10], atol=1e-4)
    middle = np.interp(strange[0, 0, 0], strange[0, 0, 0, ::10], np.arange(0, 101, 10))
    np.testing.assert_allclose(found, (middle - middle.mean()) / middle.std(), atol=1e-4)
    plain = standardise(strange, WHOLE)[0, 0, 0]
    assert np.abs(found - ramp).max() < 0.1 < np.abs(plain - ramp).max()  # more alike than without


def test_the_mapping_never_turns_intensities_round():
    rng = np.random.default_rng(0)
    images = [rng.gamma(shape, 20, (1, 4, 30, 30)) for shape in (0.5, 1, 4)]
    images[0][0, :, :18] = 0  # a wide empty background, in which several deciles are one
    settings = _by_landmarks(SETTINGS, learn_landmarks(images, SETTINGS))
    assert list(settings.volume.landmarks) == sorted(settings.volume.landmarks)
    for image in (*images, rng.normal(0, 1, (1, 4, 30, 30))):
        found = standardise(image, settings)
        order = image.ravel().argsort()
        assert (np.diff(found.ravel()[order]) >= -1e-6).all()
        assert found.mean() == pytest.approx(0, abs=1e-4)


def test_each_channel_has_its_own_landmarks():
    ramp = _ramp()
    both = np.concatenate([ramp, ramp**2])
    landmarks = learn_landmarks([both], WHOLE)
    assert landmarks == (*learn_landmarks([ramp], WHOLE), *learn_landmarks([ramp**2], WHOLE))
    found = standardise(both, _by_landmarks(WHOLE, landmarks))
    np.testing.assert_allclose(found, standardise(both, WHOLE), atol=1e-4)


def test_landmarks_are_learnt_from_the_training_images_and_kept():
    def image(power):
        voxels = (np.random.default_rng(power).uniform(0, 1, (4, 12, 12)) ** power).astype(np.float32)
        source = Source(spacing_source="header", slice_spacing_source="header")
        return Image(voxels, affine_from_spacing((2, 1, 1)), source=source)

    planned = plan_samples(_by_landmarks(SETTINGS), [image(1), image(2)])
    expected = learn_landmarks([image(1).channel_voxels, image(2).channel_voxels], SETTINGS)
    assert planned.volume.landmarks == expected
    assert plan_samples(planned, [image(5)]).volume.landmarks == expected  # a model's own stay
    assert plan_samples(SETTINGS, [image(1)]).volume.landmarks == ()


def test_landmarks_that_were_not_learnt_are_an_error():
    with pytest.raises(DataError, match=r"standardise is 'landmarks' and 0 of 11 are known"):
        standardise(_ramp(), _by_landmarks(SETTINGS))
    with pytest.raises(DataError, match="constant in every training image"):
        learn_landmarks([np.zeros((1, 2, 3, 3))], SETTINGS)
    with pytest.raises(DataError, match="no images"):
        learn_landmarks([], SETTINGS)


def test_large_volumes_are_seen_in_every_column():
    """Every n-th voxel tells the percentiles; n must not be a number of columns."""
    columns = 4
    voxels = np.zeros((1, 1, 4 * SEEN_VOXELS // columns, columns), np.uint8)
    voxels[..., 1] = 100
    voxels[..., 2:] = 200
    found = np.unique(standardise(voxels, SETTINGS))
    np.testing.assert_allclose(found, (np.array([0, 100, 200]) - 125) / np.sqrt(6875), atol=1e-4)
