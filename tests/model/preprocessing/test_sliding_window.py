"""A network in windows gives what it gives at once, and what MONAI's sliding window gives with the same weights."""

from itertools import pairwise

import pytest
import torch
from monai.data.utils import compute_importance_map
from monai.inferers import sliding_window_inference
from torch import nn

from autoseg.model.preprocessing.sliding_window import (
    gaussian_weight,
    hat_weight,
    run_by_slabs,
    run_in_tiles,
    run_in_windows,
    window_starts,
)


def _network(dims=3, channels=1):
    torch.manual_seed(0)
    kinds = {2: (nn.Conv2d, nn.InstanceNorm2d), 3: (nn.Conv3d, nn.InstanceNorm3d)}
    convolution, norm = kinds[dims]
    layers = (convolution(channels, 6, 3, padding=1), norm(6), nn.ReLU(), convolution(6, 3, 3, padding=1))
    return nn.Sequential(*layers).eval()


@pytest.mark.parametrize("size", [(16, 16, 16), (8, 16, 12), (32, 40, 24)])
@torch.inference_mode()
def test_as_monais_sliding_window_with_the_same_windows(size):
    image = torch.randn(1, 1, 32, 40, 24)
    # Half a window fits a whole number of times, so that both put their windows in the same places.
    assert all((n - one) % (one // 2) == 0 for n, one in zip(image.shape[2:], size, strict=True))
    network = _network()
    theirs = sliding_window_inference(image, size, 1, network, overlap=0.5, mode="gaussian")
    ours = run_in_windows(network, image, size, overlap=0.5)
    assert ours.shape == theirs.shape
    assert float((ours - theirs).abs().max()) < 1e-4
    assert float((ours - network(image)).abs().max()) > 1e-2 or size == (32, 40, 24)  # windows do matter here


@pytest.mark.parametrize("size", [(16, 16, 16), (64, 64, 48), (5, 8, 31)])
def test_weights_are_monais(size):
    theirs = compute_importance_map(size, mode="gaussian", sigma_scale=0.125)
    torch.testing.assert_close(gaussian_weight(size), theirs.clamp(min=1e-3))


def test_weights_are_largest_in_the_middle_and_nowhere_0():
    weight = gaussian_weight((9, 12, 15))
    assert float(weight[4, 5, 7]) == float(weight.max())
    assert float(weight.min()) == pytest.approx(1e-3)
    assert torch.equal(weight, weight.flip((0, 1, 2)))


@pytest.mark.parametrize("shape", [(16, 16, 16), (17, 33, 20), (50, 16, 19)])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.7])
@torch.inference_mode()
def test_a_pointwise_network_answers_as_at_once(shape, overlap):
    torch.manual_seed(0)
    network, image = nn.Conv3d(2, 4, kernel_size=1), torch.randn(1, 2, *shape)
    found = run_in_windows(network, image, (16, 16, 16), overlap=overlap)
    torch.testing.assert_close(found, network(image), atol=1e-5, rtol=1e-5)
    same = run_in_windows(lambda patches: patches, image, (16, 16, 16), overlap=overlap)
    torch.testing.assert_close(same, image, atol=1e-6, rtol=1e-6)


@torch.inference_mode()
def test_slabs_follow_each_other_and_make_up_the_whole():
    network, image = _network(), torch.randn(2, 1, 37, 20, 18)
    slabs = list(run_by_slabs(network, image, (16, 12, 18), overlap=0.5))
    edges = [(where.start, where.stop) for where, _ in slabs]
    assert edges[0][0] == 0
    assert edges[-1][1] == 37
    assert all(stop == start for (_, stop), (start, _) in pairwise(edges))
    assert max(logits.shape[2] for _, logits in slabs) <= 16  # all that is ever held
    together = torch.cat([logits for _, logits in slabs], dim=2)
    assert torch.equal(together, run_in_windows(network, image, (16, 12, 18), overlap=0.5))
    # Several images at once are what each is alone.
    alone = run_in_windows(network, image[1:], (16, 12, 18), overlap=0.5)
    torch.testing.assert_close(together[1:], alone, atol=1e-5, rtol=1e-5)


def test_windows_cover_everything_and_overlap_enough():
    for size in range(1, 200):
        for window in (1, 7, 16, 48):
            for overlap in (0.0, 0.25, 0.5, 0.9):
                starts = window_starts(size, window, overlap)
                assert starts[0] == 0
                assert size <= window or starts[-1] == size - window
                steps = [b - a for a, b in pairwise(starts)]
                # At least one voxel further, at most the step asked for, rounded to whole voxels.
                assert all(1 <= step <= max(1, round(window * (1 - overlap) + 0.5)) for step in steps)


@torch.inference_mode()
def test_tiles_give_a_pointwise_networks_own_answer():
    torch.manual_seed(0)
    network = nn.Conv2d(2, 3, kernel_size=1)
    frames = torch.randn(2, 2, 80, 64)
    for tile in ((32, 32), (80, 16), (80, 64), None):
        torch.testing.assert_close(run_in_tiles(network, frames, tile), network(frames))


def test_no_tile_is_larger_than_the_crop():
    shapes = []

    def network(frames):
        shapes.append(tuple(frames.shape))
        return frames

    run_in_tiles(network, torch.randn(1, 1, 100, 50), (48, 32))
    assert set(shapes) == {(1, 1, 48, 32)}
    assert len(shapes) == 3 * 2


@torch.inference_mode()
def test_tiles_are_weighted_by_a_hat():
    """Two tiles of 4 overlapping by 2, of which the first answers 0 and the second 1."""
    answers = iter((0.0, 1.0))
    found = run_in_tiles(lambda tile: torch.full_like(tile, next(answers)), torch.zeros(1, 1, 4, 6), (4, 4))
    hat = torch.tensor([0.25, 0.75, 0.75, 0.25])
    torch.testing.assert_close(hat_weight((4,)), hat)
    shared = hat[:2] / (hat[:2] + hat[2:])
    torch.testing.assert_close(found[0, 0, 1], torch.tensor([0.0, 0.0, *shared, 1.0, 1.0]))
