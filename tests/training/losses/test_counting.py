"""The weight of structures, counted by hand."""

import pytest
import torch

from autoseg.model.settings.settings import LossSettings
from autoseg.training.losses import count_weight, with_counted_weight


def _labels(structure, background):
    return torch.tensor([1] * structure + [0] * background)[None, None]


YES, NO = torch.tensor([[True, True]]), torch.tensor([[False, False]])


def test_background_pixels_for_every_structure_pixel():
    assert count_weight([(_labels(3, 5), YES), (_labels(1, 11), YES)]) == 4


def test_batches_or_one_by_one_is_the_same():
    labels, drawn = torch.randint(0, 3, (6, 8, 8)), torch.rand(6, 2) > 0.5
    drawn[0] = True
    apart = [(labels[k : k + 1], drawn[k : k + 1]) for k in range(6)]
    assert count_weight([(labels, drawn)]) == count_weight(apart)


def test_an_image_on_which_nothing_was_drawn_tells_nothing():
    assert count_weight([(_labels(2, 6), YES), (_labels(0, 100), NO)]) == 3


def test_one_structure_drawn_is_enough():
    assert count_weight([(_labels(2, 6), torch.tensor([[True, False]]))]) == 3


@pytest.mark.parametrize(("structure", "background", "weight"), [(1, 5000, 50), (5000, 1, 1 / 50), (0, 9, 1)])
def test_the_weight_has_limits(structure, background, weight):
    assert count_weight([(_labels(structure, background), YES)]) == weight


def test_nothing_to_count():
    assert count_weight([]) == 1


def test_shares_count_as_much_as_they_are():
    shares = torch.tensor([[0.5, 1.0, 1.0, 0.0], [0.25, 0.0, 0.0, 0.5], [0.25, 0.0, 0.0, 0.5]])[None, :, None]
    assert count_weight([(shares, YES)]) == pytest.approx(2.5 / 1.5)


def test_volumes():
    labels = torch.zeros(1, 2, 3, 4, dtype=torch.int64)
    labels[0, 0, 0] = 2
    assert count_weight([(labels, YES)]) == 5


def test_only_an_open_weight_is_filled_in():
    open_one = LossSettings(pixel="bce", structure_weight=None)
    assert with_counted_weight(open_one, [(_labels(2, 6), YES)]) == LossSettings(pixel="bce", structure_weight=3.0)
    given = LossSettings(structure_weight=7.0)
    assert with_counted_weight(given, iter(lambda: pytest.fail("nothing need be read"), None)) is given
