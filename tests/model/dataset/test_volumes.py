"""Cases brought to the network's grid: sizes of patches, and what is refused before anything is stored."""

import numpy as np
import psutil
import pytest
import torch

from autoseg.errors import DataError
from autoseg.image.geometry import affine_from_spacing
from autoseg.image.image import Image, LabelMap, Source
from autoseg.image.structures import Structure
from autoseg.model.dataset import build_volumes, patch_size
from autoseg.model.settings.settings import Settings, VolumeSettings

STRUCTURES = (Structure(5, "cord"), Structure(2, "canal"))
SETTINGS = Settings(spatial_dims=3, volume=VolumeSettings(spacing_mm=(1.0, 1.0, 2.0)))


def _pair(shape=(6, 12, 10), *, channels=("t1",), number=0, annotated=None, labels=None):
    rng, affine = np.random.default_rng(number), affine_from_spacing((2.0, 1.0, 1.0))
    source = Source(f"case{number}", f"subject{number}", spacing_source="header", slice_spacing_source="header")
    voxels = rng.normal(size=(len(channels), *shape))
    labels = rng.choice([0, 2, 5], shape).astype(np.uint8) if labels is None else labels
    label_map = LabelMap(labels, affine, STRUCTURES, annotated=annotated, source=source)
    return Image(voxels if len(channels) > 1 else voxels[0], affine, channels, source), label_map


def test_image_and_labels_are_laid_out_alike():
    image, label_map = _pair(channels=("t1", "t2"))
    volume = build_volumes([(image, label_map)], SETTINGS, strides=(1, 1, 1)).volumes[0]
    # From slices to the head, rows to the back and columns to the left: to the left, to the front, to the head.
    turned = image.channel_voxels.transpose(0, 3, 2, 1)[:, :, ::-1]
    for one, channel in zip(volume.image.numpy(), turned, strict=True):
        low, high = np.percentile(channel, (0.5, 99.5))
        clipped = np.clip(channel, low, high)
        np.testing.assert_allclose(one, (clipped - clipped.mean()) / clipped.std(), atol=1e-4)
    classes = np.select([label_map.voxels == 5, label_map.voxels == 2], [1, 2], 0)
    np.testing.assert_array_equal(volume.labels, classes.transpose(2, 1, 0)[:, ::-1])
    assert volume.labels.dtype == torch.uint8


def test_a_patch_is_the_largest_volume_rounded_up_or_as_asked():
    sizes = [(35, 50, 36), (40, 47, 30)]
    assert patch_size(VolumeSettings(), sizes, (8, 8, 4)) == (40, 56, 36)
    assert patch_size(VolumeSettings(patch_size=(64, 64, 48)), sizes, (16, 16, 16)) == (64, 64, 48)
    assert patch_size(VolumeSettings(patch_size=(60, 10, 1)), sizes, (16, 16, 1)) == (64, 16, 1)


def test_of_large_volumes_a_patch_is_a_part():
    x, y, z = patch_size(VolumeSettings(), [(512, 512, 40)], (16, 16, 8))
    assert z == 40  # the short axis stays whole
    assert abs(x - y) <= 64
    assert 0.7 * 128**3 < x * y * z < 1.3 * 128**3
    assert x % 16 == y % 16 == z % 8 == 0


def test_nothing_and_different_channels_are_refused():
    with pytest.raises(DataError, match="no cases to learn from"):
        build_volumes([], SETTINGS, strides=(1, 1, 1))
    with pytest.raises(DataError, match="different channels"):
        build_volumes([_pair(), _pair(channels=("t1", "t2"), number=1)], SETTINGS, strides=(1, 1, 1))


def test_too_little_memory_is_said_with_what_would_help(monkeypatch):
    class Free:
        available = 1000

    monkeypatch.setattr(psutil, "virtual_memory", Free)
    with pytest.raises(DataError, match=r"2 volumes .* GiB of memory .* free.*larger volume\.spacing_mm"):
        build_volumes([_pair(), _pair(number=1)], SETTINGS, strides=(1, 1, 1))


def test_a_structure_that_was_not_drawn_is_unknown():
    labels = np.full((6, 12, 10), 5, np.uint8)
    volumes = build_volumes([_pair(labels=labels, annotated=frozenset({5}))], SETTINGS, strides=(1, 1, 1))
    assert volumes.drawn.tolist() == [[True, False]]
