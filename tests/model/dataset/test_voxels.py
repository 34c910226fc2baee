"""Volumes read between voxels as scipy does it, and padded."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from autoseg.model.dataset.voxels import is_inside, pad_to, padded_before, read_linear, read_nearest


def _places(seed=0):
    return torch.from_numpy(np.random.default_rng(seed).uniform(-3, 12, (4, 5, 6, 3)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_between_voxels_as_scipy(dtype):
    voxels = torch.rand(2, 7, 9, 8).to(dtype)
    places = _places()
    found = read_linear(voxels, places.float())
    for k in range(2):
        expected = ndimage.map_coordinates(
            voxels[k].double().numpy(), places.reshape(-1, 3).numpy().T, order=1, mode="nearest"
        )
        np.testing.assert_allclose(found[k].double().numpy().ravel(), expected, atol=2e-5)


def test_half_precision_far_outside_is_the_nearest_edge():
    voxels = torch.arange(8.0).reshape(1, 2, 2, 2).half()
    assert read_linear(voxels, torch.full((1, 1, 1, 3), 50.0)).item() == 7
    assert read_linear(voxels, torch.full((1, 1, 1, 3), -50.0)).item() == 0


def test_labels_are_the_nearest_and_0_outside():
    labels = torch.from_numpy(np.random.default_rng(0).integers(1, 9, (7, 9, 8)).astype(np.uint8))
    places = _places(1).float()
    found = read_nearest(labels, places).numpy().ravel()
    flat = places.reshape(-1, 3).numpy()
    index = np.floor(flat + 0.5).astype(int)
    inside = ((index >= 0) & (index < labels.shape)).all(1)
    expected = np.where(inside, labels.numpy()[tuple(np.clip(index, 0, np.array(labels.shape) - 1).T)], 0)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(inside, found > 0)
    np.testing.assert_array_equal(is_inside(labels.shape, places).numpy().ravel(), inside)


def test_padding_is_even_and_repeats_the_edge_or_is_0():
    voxels = torch.arange(1.0, 61).reshape(1, 3, 4, 5)
    patch = (8, 4, 6)
    assert padded_before((3, 4, 5), patch) == (3, 0, 1)
    for mode, numpy_mode in (("zero", "constant"), ("edge", "edge")):
        expected = np.pad(voxels[0].numpy(), ((3, 2), (0, 0), (1, 0)), mode=numpy_mode)
        np.testing.assert_array_equal(pad_to(voxels, patch, mode=mode)[0].numpy(), expected)
    assert pad_to(voxels, (2, 4, 5)) is voxels
