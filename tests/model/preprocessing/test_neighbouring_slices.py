"""Which slices stand beside each other as channels, and what is said where there are none."""

import numpy as np
import pytest
import torch

from autoseg.model.preprocessing.neighbouring_slices import (
    gather_slices,
    neighbour_indices,
    neighbours_note,
    network_channels,
    own_channel,
    plan_neighbours,
)
from autoseg.model.settings.settings import PreprocessSettings


@pytest.mark.parametrize("neighbours", [0, 1, 2, 5])
def test_slices_are_gathered_as_a_plain_loop_does(neighbours):
    stacks = [3, 1, 6]
    starts = np.cumsum([0, *stacks])
    ends = torch.tensor([(starts[n], starts[n + 1] - 1) for n, count in enumerate(stacks) for _ in range(count)])
    slices = torch.arange(10 * 2, dtype=torch.float32).reshape(10, 2, 1, 1)
    chosen = torch.tensor([9, 0, 3, 2, 4, 7])
    found = gather_slices(slices, chosen, ends[chosen], neighbours)
    expected = []
    for place in chosen.tolist():
        owner = next(n for n in range(3) if starts[n] <= place < starts[n + 1])
        row = []
        for step in range(-neighbours, neighbours + 1):
            there = min(max(place + step, starts[owner]), starts[owner + 1] - 1)
            row += [2 * there, 2 * there + 1]  # the slice's two channels
        expected.append(row)
    np.testing.assert_array_equal(found[:, :, 0, 0].numpy(), expected)
    assert found.shape[1] == network_channels(2, neighbours)
    own = own_channel(2, neighbours)
    np.testing.assert_array_equal(found[:, own : own + 2], slices[chosen])


def test_one_end_for_all_is_enough():
    assert neighbour_indices(torch.tensor([0, 4]), torch.tensor([[0, 4]]), 2).tolist() == [
        [0, 0, 0, 1, 2],
        [2, 3, 4, 4, 4],
    ]


def test_where_no_image_has_neighbours_none_are_learnt():
    wanted = PreprocessSettings(neighbours=2)
    assert plan_neighbours(wanted, [1, 1, 1]).neighbours == 0
    assert plan_neighbours(wanted, [1, 3, 1]) == wanted
    assert plan_neighbours(PreprocessSettings(), [1]).neighbours == 0


def test_it_is_said_where_neighbours_are_missing():
    assert "The only image is a single slice" in neighbours_note([1], 1)
    assert "All 3 images are single slices" in neighbours_note([1, 1, 1], 2)
    assert "2 of 3 images are single slices" in neighbours_note([1, 4, 1], 2)
    assert neighbours_note([1, 1], 0) == neighbours_note([4, 9], 1) == ""
