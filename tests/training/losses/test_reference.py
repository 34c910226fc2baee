"""References as shares: one-hot, and at the size of a smaller or larger answer."""

import pytest
import torch

from autoseg.training.losses import one_hot, reference_of_size


@pytest.mark.parametrize("shape", [(2, 5, 7), (2, 3, 5, 7)])
@pytest.mark.parametrize("first", [0, 1])
def test_one_hot_is_torchs(shape, first):
    labels = torch.randint(0, 4, shape)
    theirs = torch.nn.functional.one_hot(labels, 4).movedim(-1, 1)[:, first:].float()
    assert torch.equal(one_hot(labels, 4, first=first), theirs)


def test_labels_become_shares_of_the_area():
    labels = torch.tensor([[[0, 1, 2, 2], [1, 1, 2, 2]]])
    shares = reference_of_size(labels, (1, 2), 3)
    assert shares[0, :, 0].T.tolist() == [[0.25, 0.75, 0.0], [0.0, 0.0, 1.0]]


def test_shares_are_averaged():
    shares = torch.tensor([[0.2, 0.6], [0.8, 0.4]])[None, :, None]
    torch.testing.assert_close(reference_of_size(shares, (1, 1), 2).flatten(), torch.tensor([0.4, 0.6]))


def test_the_same_size_is_left_alone():
    labels = torch.randint(0, 3, (2, 4, 6))
    assert reference_of_size(labels, (4, 6), 3) is labels
    volume = torch.rand(2, 3, 2, 4, 6)
    assert reference_of_size(volume, (2, 4, 6), 3) is volume


@pytest.mark.parametrize("size", [(3, 5), (7, 4), (20, 30), (1, 1)])
def test_sizes_that_do_not_divide_keep_the_sum_of_one(size):
    shares = reference_of_size(torch.randint(0, 3, (2, 10, 9)), size, 3)
    assert shares.shape == (2, 3, *size)
    torch.testing.assert_close(shares.sum(1), torch.ones(2, *size))


def test_slices_are_averaged_too():
    labels = torch.zeros(1, 2, 2, 2, dtype=torch.int64)
    labels[0, 1, 0, 0] = 1
    assert reference_of_size(labels, (1, 1, 1), 2).flatten().tolist() == [0.875, 0.125]


def test_an_undrawn_structure_gets_no_share():
    labels = torch.randint(0, 2, (1, 9, 9))
    assert float(reference_of_size(labels, (4, 4), 3)[:, 2].max()) == 0
