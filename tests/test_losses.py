"""The loss: hand-computed Dice, and structures that were not drawn."""

import math

import pytest
import torch

from autoseg.classes import outer_classes
from autoseg.losses import LossParts, merge_undrawn, segmentation_loss, soft_dice
from autoseg.settings import LossSettings
from autoseg.structures import Structure

ALL = torch.ones(1, 2, dtype=torch.bool)
EVEN = LossSettings(pixel_weight=1.0)


def _loss(logits, labels, drawn, settings=EVEN):
    return segmentation_loss(logits, labels, drawn, settings).total(settings)


def test_dice_fades_out_and_cross_entropy_grows():
    parts = LossParts(dice=torch.tensor(0.5), cross_entropy=torch.tensor(0.1))
    settings = LossSettings(overlap_weight=2.0, overlap_until=0.5, late_pixel_weight=9.0)
    at = [float(parts.total(settings, progress=progress)) for progress in (0.0, 0.25, 0.5, 1.0)]
    assert at == pytest.approx([1.0 + 0.1, 0.5 + 0.5, 0.9, 0.9])
    whole = LossSettings(overlap_weight=2.0, overlap_until=math.inf)
    assert float(parts.total(whole, progress=1.0)) == pytest.approx(1.1)


def test_soft_dice_by_hand():
    # Four pixels; class 1 predicted with 0.5 everywhere, drawn on two; class 2 perfect on one pixel.
    probabilities = torch.zeros(1, 3, 1, 4)
    probabilities[0, 1] = 0.5
    labels = torch.tensor([[[1, 1, 0, 2]]])
    probabilities[0, 2, 0, 3] = 1.0
    first = (2 * 1.0 + 1) / (2.0 + 2 + 1)
    second = (2 * 1.0 + 1) / (1.0 + 1 + 1)
    assert float(soft_dice(probabilities, labels, ALL)) == pytest.approx((first + second) / 2)


def test_soft_dice_equals_monais():
    from monai.losses import DiceLoss

    generator = torch.Generator().manual_seed(0)
    probabilities = torch.rand(3, 3, 8, 8, generator=generator).softmax(1)
    labels = torch.randint(0, 3, (3, 8, 8), generator=generator)
    oracle = DiceLoss(include_background=False, batch=True, smooth_nr=1.0, smooth_dr=1.0)
    target = torch.nn.functional.one_hot(labels, 3).permute(0, 3, 1, 2).float()
    ours = soft_dice(probabilities, labels, ALL.expand(3, 2))
    assert float(ours) == pytest.approx(1 - float(oracle(probabilities, target)), abs=1e-6)


def test_an_undrawn_structure_is_left_out_of_dice():
    probabilities = torch.rand(2, 3, 4, 4).softmax(1)
    labels = torch.randint(0, 2, (2, 4, 4))
    drawn = torch.tensor([[True, False], [True, False]])
    changed = probabilities.clone()
    changed[:, 2] = torch.rand(2, 4, 4)
    assert float(soft_dice(probabilities, labels, drawn)) == float(soft_dice(changed, labels, drawn))


def test_merging_adds_the_undrawn_probability_to_the_background():
    logits = torch.randn(2, 3, 2, 2)
    drawn = torch.tensor([[True, False], [True, True]])
    before, after = logits.softmax(1), merge_undrawn(logits, drawn).softmax(1)
    torch.testing.assert_close(after[0, 0], before[0, 0] + before[0, 2])
    torch.testing.assert_close(after[0, 1], before[0, 1])
    assert float(after[0, 2].max()) == 0
    torch.testing.assert_close(after[1], before[1])


def test_no_gradient_tells_background_from_an_undrawn_structure():
    logits = torch.randn(1, 3, 2, 2, requires_grad=True)
    labels = torch.zeros(1, 2, 2, dtype=torch.long)
    drawn = torch.tensor([[True, False]])
    sure_of_structure = logits.detach().clone()
    sure_of_structure[:, 2] += 5
    sure_of_background = logits.detach().clone()
    sure_of_background[:, 0], sure_of_background[:, 2] = sure_of_structure[:, 2], sure_of_structure[:, 0]
    losses = [float(_loss(one, labels, drawn)) for one in (sure_of_structure, sure_of_background)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    _loss(logits, labels, drawn).backward()
    assert torch.isfinite(logits.grad).all()


def test_perfect_answer_costs_nothing_and_weights_count():
    labels = torch.tensor([[[0, 1], [2, 0]]])
    perfect = torch.nn.functional.one_hot(labels, 3).permute(0, 3, 1, 2).float() * 50
    assert float(_loss(perfect, labels, ALL)) == pytest.approx(0, abs=1e-4)
    even = torch.zeros(1, 3, 2, 2)
    only_entropy = LossSettings(overlap_weight=0, pixel_weight=2.0)
    assert float(_loss(even, labels, ALL, only_entropy)) == pytest.approx(2 * math.log(3))


def test_nothing_drawn_at_all_is_a_finite_loss():
    loss = _loss(torch.randn(1, 3, 2, 2), torch.zeros(1, 2, 2, dtype=torch.long), ~ALL)
    assert float(loss) == pytest.approx(0, abs=1e-4)


def _one_hot(labels):
    return torch.nn.functional.one_hot(labels, 3).permute(0, 3, 1, 2).float()


def test_labels_give_the_numbers_they_always_gave():
    generator = torch.Generator().manual_seed(7)
    logits = torch.randn(2, 3, 16, 16, generator=generator)
    labels = torch.randint(0, 3, (2, 16, 16), generator=generator)
    drawn = torch.tensor([[True, True], [True, False]])
    labels[1][labels[1] == 2] = 0
    parts = segmentation_loss(logits, labels, drawn, LossSettings(structure_weight=3.0))
    assert float(parts.dice) == pytest.approx(0.680370, abs=1e-5)
    assert float(parts.cross_entropy) == pytest.approx(1.275764, abs=1e-5)


@pytest.mark.parametrize("weight", [1.0, 3.0])
def test_shares_that_are_all_or_nothing_are_labels(weight):
    logits = torch.randn(2, 3, 8, 8)
    labels = torch.randint(0, 2, (2, 8, 8))
    drawn = torch.tensor([[True, True], [True, False]])
    settings = LossSettings(structure_weight=weight)
    hard, soft = (segmentation_loss(logits, one, drawn, settings) for one in (labels, _one_hot(labels)))
    torch.testing.assert_close(soft.dice, hard.dice)
    torch.testing.assert_close(soft.cross_entropy, hard.cross_entropy)


def test_shares_by_hand():
    # Two pixels, of which three of four raters gave the first to class 1.
    shares = torch.tensor([[0.25, 1.0], [0.75, 0.0], [0.0, 0.0]])[None, :, None]
    even = torch.zeros(1, 3, 1, 2)
    parts = segmentation_loss(even, shares, ALL, LossSettings(structure_weight=2.0))
    assert float(parts.cross_entropy) == pytest.approx(math.log(3))
    first = (2 * 0.75 / 3 + 1) / (2 / 3 + 0.75 + 1)
    second = 1 / (2 / 3 + 1)
    assert float(parts.dice) == pytest.approx(1 - (first + second) / 2)


def test_the_best_answer_to_shares_is_the_shares():
    shares = torch.tensor([0.3, 0.6, 0.1])[None, :, None, None]
    entropy = LossSettings(overlap_weight=0)
    logits = torch.zeros(1, 3, 1, 1, requires_grad=True)
    for _ in range(300):
        (gradient,) = torch.autograd.grad(_loss(logits, shares, ALL, entropy), logits)
        logits = (logits - gradient).detach().requires_grad_()
    torch.testing.assert_close(logits.softmax(1).detach(), shares, atol=1e-3, rtol=0)


def test_an_undrawn_structure_is_unknown_in_shares_too():
    shares = torch.tensor([0.4, 0.6, 0.0])[None, :, None, None].expand(1, 3, 2, 2)
    drawn = torch.tensor([[True, False]])
    logits = torch.randn(1, 3, 2, 2)
    swapped = logits[:, [2, 1, 0]]
    assert float(_loss(logits, shares, drawn)) == pytest.approx(float(_loss(swapped, shares, drawn)), rel=1e-5)


class TestNestedStructures:
    """Class 1 includes class 2, which includes class 3; class 4 lies in the background."""

    OUTER = torch.tensor([0, 0, 1, 2, 0])

    def test_an_undrawn_inner_structure_counts_for_what_it_lies_in(self):
        logits = torch.randn(2, 5, 3, 3, generator=torch.Generator().manual_seed(0))
        drawn = torch.tensor([[True, False, False, True], [False, True, False, False]])
        before, after = logits.softmax(1), merge_undrawn(logits, drawn, self.OUTER).softmax(1)
        torch.testing.assert_close(after[0, 1], before[0, 1] + before[0, 2] + before[0, 3])
        torch.testing.assert_close(after[0, 4], before[0, 4])
        torch.testing.assert_close(after[1, 2], before[1, 2] + before[1, 3])
        torch.testing.assert_close(after[1, 0], before[1, 0] + before[1, 1] + before[1, 4])

    def test_grey_matter_is_no_error_where_only_the_cord_was_drawn(self):
        logits = torch.full((1, 5, 4, 4), -9.0)
        logits[:, 2] = 9.0
        labels, drawn = torch.ones(1, 4, 4, dtype=torch.int64), torch.tensor([[True, False, False, False]])
        parts = segmentation_loss(logits, labels, drawn, LossSettings(), outer=self.OUTER)
        assert parts.cross_entropy < 1e-3
        assert segmentation_loss(logits, labels, drawn, LossSettings()).cross_entropy > 1

    def test_classes_that_lie_in_others(self):
        structures = [Structure(7, "a", includes=(8, 9)), Structure(8, "b", includes=(9,)), Structure(9, "c")]
        assert outer_classes(structures).tolist() == [0, 0, 1, 2]
