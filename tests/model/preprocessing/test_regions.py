"""Where crops lie: beside the labels in training, and where the network itself finds something afterwards."""

import numpy as np
import pytest
import torch

from autoseg.model.preprocessing.extents import Extent
from autoseg.model.preprocessing.regions import Crops, count_cut_off, find_centres, measure_region, room_for

NETWORK = torch.tensor([[100, 60]])


def _generator():
    return torch.Generator().manual_seed(0)


def test_room_is_what_a_crop_leaves_on_each_side():
    assert room_for((40, 80), NETWORK).tolist() == [[30.0, 0.0]]


def test_crops_lie_beside_the_labels_and_inside_the_image():
    crops = Crops((40, 40), torch.tensor([[0.0, 0.0], [12.0, -5.0], [49.0, 0.0]]), shift=0.25, anywhere=0.0)
    chosen = torch.tensor([1] * 500)
    drawn = crops.draw(chosen, NETWORK.expand(500, 2), _generator()) - crops.centres[1]
    assert float(drawn[:, 0].min()) == pytest.approx(-10, abs=0.3)
    assert float(drawn[:, 0].max()) == pytest.approx(10, abs=0.3)
    assert float(drawn[:, 1].min()) == -5  # the image ends there
    assert abs(float(drawn[:, 0].mean())) < 1
    edge = crops.draw(torch.tensor([2]), NETWORK, _generator())
    assert edge[0, 0] == 30


def test_some_crops_lie_anywhere():
    crops = Crops((40, 40), torch.zeros(1, 2), shift=0.0, anywhere=0.3)
    drawn = crops.draw(torch.zeros(1000, dtype=torch.long), NETWORK.expand(1000, 2), _generator())
    away = drawn[drawn.abs().sum(1) > 0]
    assert len(away) == pytest.approx(300, abs=60)
    assert float(away[:, 0].min()) == pytest.approx(-30, abs=1)
    assert float(away[:, 0].max()) == pytest.approx(30, abs=1)
    assert float(away[:, 1].abs().max()) == pytest.approx(10, abs=1)


def test_a_region_is_measured_in_the_networks_pixels():
    drawn = np.zeros((3, 100, 50), dtype=bool)
    drawn[0, 10:30, 5:15] = True
    drawn[1, 40:60, 5:25] = True
    middle, size = measure_region(drawn, Extent((100, 50), (100, 50), (50, 100)))
    # 20 × 10 pixels about (20, 10) and 20 × 20 about (50, 15), from the middle (50, 25).
    assert middle == pytest.approx((-10 / 2, -11.6667 * 2), abs=1e-3)
    assert size == pytest.approx((10, 40))
    assert measure_region(drawn[2:], Extent((100, 50), (100, 50), (50, 100))) == ((0, 0), (0, 0))


def _slanting(slices=9):
    """A disc that moves 3 pixels down from slice to slice, on a frame of 128 × 96."""
    rows, columns = np.mgrid[:128, :96]
    centres = [(30.5 + 3 * index, 60.5) for index in range(slices)]
    foreground = np.stack([np.hypot(rows - r, columns - c) <= 7 for r, c in centres]).astype(np.float32)
    return foreground, np.array(centres) - (63.5, 47.5)


def test_the_region_is_found_where_the_structures_are():
    foreground, true = _slanting()
    found = find_centres(foreground, (32, 32), (128, 96))
    assert np.abs(found - true)[1:-1].max() <= 1.0
    assert np.abs(found - true).max() <= 5.0  # the ends of the stack follow their neighbours


def test_a_slice_without_an_answer_and_a_false_spot_follow_the_stack():
    foreground, true = _slanting()
    foreground[4] = 0
    foreground[5, 110:112, 5:8] = 1
    found = find_centres(foreground, (32, 32), (128, 96))
    assert np.abs(found - true)[4:6].max() <= 2.0


def test_haze_does_not_outweigh_a_small_sure_structure():
    foreground = np.zeros((1, 128, 96), dtype=np.float32)
    foreground[:, 64:] = 0.05  # 51 pixels' worth in the window
    foreground[:, 20:24, 20:24] = 0.9
    assert find_centres(foreground, (32, 32), (128, 96))[0].tolist() == [-42, -26]


def test_regions_stay_inside_the_image_and_nothing_found_is_its_middle():
    foreground = np.zeros((2, 128, 96), dtype=np.float32)
    assert find_centres(foreground, (32, 32), (128, 96)).tolist() == [[0, 0], [0, 0]]
    foreground[:, 4:8, 90:] = 1
    found = find_centres(foreground, (32, 32), (128, 96))
    assert found.tolist() == [[-48, 32]] * 2
    assert find_centres(foreground, (32, 96), (128, 90)).tolist() == [[-48, 0]] * 2


def test_the_regions_pixels_lie_on_the_images():
    foreground, true = _slanting()
    for network in ((127, 96), (128, 95), (121, 90)):
        half = np.array(network) % 2 / 2
        found = find_centres(foreground, (32, 32), network)
        np.testing.assert_array_equal((found - half) % 1, 0)
        # The frame lies half a pixel beside the middle of an odd image, and so does what was found in it.
        assert np.abs(found - half - true)[1:-1].max() <= 1.0
    assert find_centres(foreground, (32, 96), (127, 95))[0, 1] == 0.5  # as the whole frame would lie


def test_what_reaches_the_edge_of_its_region_is_counted_but_not_at_the_images_own():
    found = torch.zeros(4, 32, 32, dtype=torch.bool)
    found[0, 10:20, 10:20] = True
    found[1, :5, 10:20] = True
    found[2, 20:, 10:20] = True
    found[3, 10:20, 31] = True
    network = torch.tensor([[101, 32]])
    middle, top = torch.tensor([0.5, 0.0]), torch.tensor([-34.5, 0.0])
    assert count_cut_off(found, middle.expand(4, 2), network) == 2  # the columns are all seen
    assert count_cut_off(found, top.expand(4, 2), network) == 1
    assert count_cut_off(found, (-top).expand(4, 2), network) == 1
