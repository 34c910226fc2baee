"""The order of an epoch: every slice once, structures often enough, nobody alone who must not be."""

import pytest
import torch
from torch import nn

from autoseg.training.batches import EpochOrder, has_batch_norm, oversample


def drawn(order, batch_size):
    """All batches of an order, as lists."""
    found = []
    while order:
        assert order.batches_left(batch_size) > 0
        found.append(order.next(batch_size).tolist())
        order.done(batch_size)
    assert order.batches_left(batch_size) == 0
    return found


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def some(count, part=0.2):
    """Which of so many slices have a structure."""
    return torch.arange(count) < part * count


class Normalising(nn.Module):
    """A network with batch normalisation, the coarsest map of which has one pixel at 16 × 16."""

    stride = 16

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(3)


def test_without_oversampling_the_order_is_a_permutation_in_pieces():
    found = drawn(EpochOrder(some(11), seeded()), 4)
    expected = torch.randperm(11, generator=seeded()).split(4)
    assert found == [piece.tolist() for piece in expected]


def test_a_batch_is_given_again_until_it_is_done():
    order = EpochOrder(some(6), seeded())
    assert order.next(4).tolist() == order.next(4).tolist()
    assert order.next(2).tolist() == order.next(4).tolist()[:2]
    order.done(2)
    assert order.batches_left(2) == 2
    assert order.batches_left(3) == 2
    assert order.batches_left(4) == 1


@pytest.mark.parametrize("part", [0.1, 0.33, 0.5, 1.0])
@pytest.mark.parametrize("count", [24, 27])
def test_enough_slices_of_each_batch_have_a_structure(part, count):
    with_structure, generator = some(count), seeded()
    for _ in range(5):
        found = drawn(EpochOrder(with_structure, generator, oversampling=part), 8)
        assert [len(batch) for batch in found] == [8] * (count // 8) + [count % 8] * (count % 8 > 0)
        for batch in found:
            assert with_structure[batch].sum() >= part * len(batch)


def test_oversampling_takes_no_more_than_it_needs():
    with_structure = some(40, 0.5)
    few = torch.tensor([0, 25, 26, 27, 28, 29, 30, 31])
    changed = oversample(few, with_structure, 0.5, seeded())
    assert with_structure[changed].sum() == 4
    assert len(set(changed.tolist())) == 8
    assert set(changed[~with_structure[changed]].tolist()) < set(few.tolist())
    enough = torch.tensor([0, 1, 2, 3, 28, 29, 30, 31])
    assert torch.equal(oversample(enough, with_structure, 0.5, seeded()), enough)
    assert torch.equal(oversample(few, torch.zeros(40, dtype=torch.bool), 0.5, seeded()), few)


def test_one_slice_with_a_structure_comes_again_where_there_is_no_other():
    with_structure = torch.arange(9) == 4
    changed = oversample(torch.tensor([0, 1, 2, 3]), with_structure, 0.75, seeded())
    assert sorted(changed.tolist()) == [3, 4, 4, 4]


def test_every_slice_with_a_structure_has_the_same_chance():
    with_structure, generator = some(30, 0.2), seeded()
    counts = torch.zeros(30)
    for _ in range(400):
        changed = oversample(torch.arange(20, 24), with_structure, 0.5, generator)
        counts[changed] += 1
    assert counts[6:20].sum() == 0
    assert counts[:6].sum() == 800
    # 800 draws of one in six: 133 on average, with a standard deviation of 9 or so.
    assert counts[:6].min() > 95
    assert counts[:6].max() < 175


def test_the_generator_alone_draws():
    one, two, other = (drawn(EpochOrder(some(20), seeded(seed), oversampling=0.5), 6) for seed in (3, 3, 4))
    assert one == two != other


def test_a_last_slice_joins_where_the_batch_is_normalised():
    assert [len(b) for b in drawn(EpochOrder(some(9), seeded(), network=Normalising()), 4)] == [4, 5]
    assert [len(b) for b in drawn(EpochOrder(some(10), seeded(), network=Normalising()), 4)] == [4, 4, 2]
    assert [len(b) for b in drawn(EpochOrder(some(9), seeded(), network=nn.ReLU()), 4)] == [4, 4, 1]
    assert EpochOrder(some(9), seeded(), network=Normalising()).batches_left(4) == 2


def test_a_slice_that_must_be_alone_comes_twice_where_its_map_is_one_pixel():
    def batches(count, frame, batch_size):
        return drawn(EpochOrder(some(count), seeded(), network=Normalising(), frame=frame), batch_size)

    assert batches(1, (16, 16), 4) == [[0, 0]]
    assert [len(b) for b in batches(3, (16, 16), 1)] == [2, 2, 2]
    assert [len(b) for b in batches(3, (32, 16), 1)] == [1, 1, 1]
    assert [len(b) for b in batches(5, (16, 16), 4)] == [5]


def test_batch_norm_is_found():
    assert has_batch_norm(nn.Sequential(nn.Conv2d(1, 1, 1), nn.Sequential(nn.BatchNorm2d(1))))
    assert not has_batch_norm(nn.Sequential(nn.Conv2d(1, 1, 1), nn.InstanceNorm2d(1), nn.GroupNorm(1, 1)))
