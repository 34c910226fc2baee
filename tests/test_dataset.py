"""Cases as tensors: what the network sees is what was drawn."""

import numpy as np
import psutil
import pytest
import torch
from discs import STRUCTURES, make_pair, make_split, patch_reading, quick_settings

from autoseg.dataset import build_slices, classes_of, mirrored_classes, plan_spacing, preview, sample_batch
from autoseg.errors import DataError
from autoseg.image import LabelMap
from autoseg.settings import AugmentationSettings, PreprocessSettings
from autoseg.structures import Structure

SETTINGS = PreprocessSettings(spacing_mm=1.5)


def test_without_augmentation_the_batch_is_the_slice():
    image, label_map = make_pair(0)
    slices = build_slices([(image, label_map)], SETTINGS, stride=16)
    batch = sample_batch(slices, torch.tensor([1, 0]))
    assert batch.images.shape == (2, 1, 64, 64)
    assert batch.labels.dtype == torch.int64
    expected = np.choose(np.searchsorted([1, 5], label_map.voxels[1], side="right"), [0, 1, 2])
    np.testing.assert_array_equal(batch.labels[0].numpy(), expected)
    low, high = np.percentile(image.voxels[1], (0.5, 99.5))
    clipped = np.clip(image.voxels[1], low, high)
    np.testing.assert_allclose(batch.images[0, 0].numpy(), (clipped - clipped.mean()) / clipped.std(), atol=1e-3)


def test_cases_of_different_sizes_and_spacings_share_a_frame():
    pairs = [make_pair(0, size=(64, 64)), make_pair(1, size=(50, 80), spacing=(8, 3.0, 1.5))]
    slices = build_slices(pairs, SETTINGS, stride=16)
    assert slices.frame == (112, 80)
    batch = sample_batch(slices, torch.arange(4))
    for index, (_, label_map) in ((0, pairs[0]), (3, pairs[1])):
        pixel = label_map.pixel_mm2
        for k, structure in enumerate(STRUCTURES, start=1):
            drawn_mm2 = (label_map.voxels[index % 2] == structure.label).sum() * pixel
            assert int((batch.labels[index] == k).sum()) * 1.5**2 == pytest.approx(drawn_mm2, rel=0.03)


def test_what_was_not_drawn_is_background_and_said_so():
    image, _ = make_pair(0)
    voxels = np.full(image.shape, 5, dtype=np.uint8)
    partly = LabelMap(voxels, image.affine, STRUCTURES, annotated=frozenset({1}))
    assert classes_of(partly).max() == 0
    slices = build_slices([(image, partly)], SETTINGS, stride=16)
    assert slices.drawn.tolist() == [[True, False]] * 2


def test_mirroring_exchanges_the_sides():
    muscles = (
        Structure(1, "psoas left", side="left"),
        Structure(2, "spine"),
        Structure(3, "psoas right", side="right"),
        Structure(4, "left kidney", side="left"),
    )
    assert mirrored_classes(muscles).tolist() == [0, 3, 2, 1, 4]
    assert mirrored_classes((Structure(4, "Psoas Left"), Structure(9, "psoas right"))).tolist() == [0, 2, 1]
    image, _ = make_pair(0)
    voxels = np.zeros(image.shape, dtype=np.uint8)
    voxels[:, 20:30, 5:15] = 1
    label_map = LabelMap(voxels, image.affine, muscles, annotated=frozenset({1, 2}))
    slices = build_slices([(image, label_map)], SETTINGS, stride=16)
    flip = AugmentationSettings(**{**vars(AugmentationSettings.off()), "flip_probability": 1.0})
    batch = sample_batch(slices, torch.tensor([0]), augmentation=flip, generator=torch.Generator().manual_seed(0))
    assert batch.labels.unique().tolist() == [0, 3]
    assert int((batch.labels[0, 20:30, 49:59] == 3).sum()) == 100
    assert batch.drawn.tolist() == [[False, True, True, False]]


def test_preview_repeats_with_the_seed(monkeypatch):
    patch_reading(monkeypatch)
    split = make_split([0, 1])
    one, two, other = (
        preview(split, quick_settings(seed=seed), structures=STRUCTURES, count=3) for seed in (5, 5, 6)
    )
    np.testing.assert_array_equal(one[0], two[0])
    np.testing.assert_array_equal(one[1], two[1])
    assert not np.array_equal(one[0], other[0])
    assert set(np.unique(one[1])) == {0, 1, 5}  # labels as in the files, not the network's classes


def test_spacing_is_planned_only_where_it_was_not_given():
    images = [make_pair(0)[0]]
    assert plan_spacing(PreprocessSettings(), images).spacing_mm == 1.5
    assert plan_spacing(SETTINGS, images) == SETTINGS
    fixed = PreprocessSettings(input_shape=(64, 64))
    assert plan_spacing(fixed, images) == fixed


def test_too_little_memory_is_said_before_it_is_used(monkeypatch):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"available": 1000}))
    with pytest.raises(DataError, match=r"GiB of memory.*Close other programs"):
        build_slices([make_pair(0)], SETTINGS, stride=16)


def test_nothing_to_learn_from():
    with pytest.raises(DataError, match="no cases"):
        build_slices([], SETTINGS, stride=16)
