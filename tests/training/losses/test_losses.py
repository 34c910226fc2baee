"""The loss as a whole: its parts and their weights, several answers, and structures that were not drawn."""

import itertools
import math
from dataclasses import replace

import pytest
import torch
from loops import for_each

from autoseg.errors import SettingsError
from autoseg.image.structures import Structure
from autoseg.model.networks import Outputs
from autoseg.model.preprocessing.classes import outer_classes
from autoseg.model.settings.settings import LossSettings
from autoseg.training.losses import LossParts, merge_undrawn, outputs_loss, segmentation_loss, soft_overlap

ALL = torch.ones(1, 2, dtype=torch.bool)
EVEN = LossSettings(pixel_weight=1.0)


def _loss(logits, labels, drawn, settings=EVEN):
    return segmentation_loss(logits, labels, drawn, settings).total(settings)


def test_dice_fades_out_and_cross_entropy_grows():
    parts = LossParts(overlap=torch.tensor(0.5), pixel=torch.tensor(0.1))
    settings = LossSettings(overlap_weight=2.0, overlap_until=0.5, late_pixel_weight=9.0)
    at = [float(parts.total(settings, progress=progress)) for progress in (0.0, 0.25, 0.5, 1.0)]
    assert at == pytest.approx([1.0 + 0.1, 0.5 + 0.5, 0.9, 0.9])
    whole = LossSettings(overlap_weight=2.0, overlap_until=math.inf)
    assert float(parts.total(whole, progress=1.0)) == pytest.approx(1.1)


def test_pixels_alone_do_not_fade():
    parts = LossParts(overlap=torch.tensor(0.0), pixel=torch.tensor(0.1))
    settings = LossSettings(overlap="none", pixel="focal", pixel_weight=2.0)
    assert [float(parts.total(settings, progress=progress)) for progress in (0.0, 1.0)] == pytest.approx([0.2, 0.2])


def test_what_the_network_compares_itself_is_added_as_it_is():
    parts = LossParts(overlap=torch.tensor(0.5), pixel=torch.tensor(0.1), own=torch.tensor(3.0))
    settings = LossSettings(overlap_until=0.5, late_pixel_weight=9.0)
    at = [float(parts.total(settings, progress=progress)) for progress in (0.0, 1.0)]
    assert at == pytest.approx([3.6, 3.9])


def test_soft_dice_by_hand():
    # Four pixels; class 1 predicted with 0.5 everywhere, drawn on two; class 2 perfect on one pixel.
    probabilities = torch.zeros(1, 3, 1, 4)
    probabilities[0, 1] = 0.5
    labels = torch.tensor([[[1, 1, 0, 2]]])
    probabilities[0, 2, 0, 3] = 1.0
    first = (2 * 1.0 + 1) / (2.0 + 2 + 1)
    second = (2 * 1.0 + 1) / (1.0 + 1 + 1)
    assert float(soft_overlap(probabilities, labels, ALL)) == pytest.approx((first + second) / 2)


def test_an_undrawn_structure_is_left_out_of_dice():
    probabilities = torch.rand(2, 3, 4, 4).softmax(1)
    labels = torch.randint(0, 2, (2, 4, 4))
    drawn = torch.tensor([[True, False], [True, False]])
    changed = probabilities.clone()
    changed[:, 2] = torch.rand(2, 4, 4)
    assert float(soft_overlap(probabilities, labels, drawn)) == float(soft_overlap(changed, labels, drawn))


def test_merging_adds_the_undrawn_probability_to_the_background():
    logits = torch.randn(2, 3, 2, 2)
    drawn = torch.tensor([[True, False], [True, True]])
    before, after = logits.softmax(1), merge_undrawn(logits, drawn).softmax(1)
    torch.testing.assert_close(after[0, 0], before[0, 0] + before[0, 2])
    torch.testing.assert_close(after[0, 1], before[0, 1])
    assert float(after[0, 2].max()) == 0
    torch.testing.assert_close(after[1], before[1])


@pytest.mark.parametrize("outer", [None, torch.tensor([0, 0, 1])])
def test_merging_leaves_an_undrawn_structure_nothing_however_low_the_others_are(outer):
    logits = torch.tensor([-1e4, -1e4, 1e4]).view(1, 3, 1, 1) - 1e4
    after = merge_undrawn(logits, torch.tensor([[True, False]]), outer).softmax(1).flatten()
    joined = 0 if outer is None else 1
    assert after.tolist() == [float(k == joined) for k in range(3)]
    low = merge_undrawn(logits[:, [0, 1, 1]], torch.tensor([[True, False]]), outer).softmax(1).flatten()
    assert float(low[2]) == 0
    assert float(low[joined]) == pytest.approx(2 / 3, abs=1e-3)


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
    assert float(parts.overlap) == pytest.approx(0.680370, abs=1e-5)
    assert float(parts.pixel) == pytest.approx(1.275764, abs=1e-5)


@pytest.mark.parametrize("weight", [1.0, 3.0])
def test_shares_that_are_all_or_nothing_are_labels(weight):
    logits = torch.randn(2, 3, 8, 8)
    labels = torch.randint(0, 2, (2, 8, 8))
    drawn = torch.tensor([[True, True], [True, False]])
    settings = LossSettings(structure_weight=weight)
    hard, soft = (segmentation_loss(logits, one, drawn, settings) for one in (labels, _one_hot(labels)))
    torch.testing.assert_close(soft.overlap, hard.overlap)
    torch.testing.assert_close(soft.pixel, hard.pixel)


def test_shares_by_hand():
    # Two pixels, of which three of four raters gave the first to class 1.
    shares = torch.tensor([[0.25, 1.0], [0.75, 0.0], [0.0, 0.0]])[None, :, None]
    even = torch.zeros(1, 3, 1, 2)
    parts = segmentation_loss(even, shares, ALL, LossSettings(structure_weight=2.0))
    assert float(parts.pixel) == pytest.approx(math.log(3))
    first = (2 * 0.75 / 3 + 1) / (2 / 3 + 0.75 + 1)
    second = 1 / (2 / 3 + 1)
    assert float(parts.overlap) == pytest.approx(1 - (first + second) / 2)


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
        assert parts.pixel < 1e-3
        assert segmentation_loss(logits, labels, drawn, LossSettings()).pixel > 1

    def test_classes_that_lie_in_others(self):
        structures = [Structure(7, "a", includes=(8, 9)), Structure(8, "b", includes=(9,)), Structure(9, "c")]
        assert outer_classes(structures).tolist() == [0, 0, 1, 2]


# --- every loss that the settings offer

WHOLE = {"overlap_until": math.inf}
OFFERED = [
    LossSettings(overlap=overlap, pixel=pixel, per_sample=per_sample, structure_weight=3.0, **WHOLE)
    for overlap, pixel, per_sample in itertools.product(
        ("dice", "iou", "tversky", "none"), ("cross_entropy", "bce", "focal", "none"), (False, True)
    )
    if (overlap, pixel) != ("none", "none")
]
every_loss = for_each(OFFERED, names=lambda s: f"{s.overlap}-{s.pixel}-{s.per_sample}")


def _random(shape=(6, 7), batch=3, classes=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(batch, classes, *shape, generator=generator)
    return logits, torch.randint(0, classes, (batch, *shape), generator=generator)


SOME = torch.tensor([[True, True, True], [True, False, True], [False, False, False]])


def _known(labels, drawn=SOME):
    """Labels in which what was not drawn is background."""
    first = torch.ones(len(drawn), 1, dtype=torch.bool)
    known = torch.cat([first, drawn], dim=1).gather(1, labels.flatten(1)).view_as(labels)
    return torch.where(known, labels, 0)


@every_loss
def test_no_loss_tells_background_from_an_undrawn_structure(settings):
    logits, labels = _random()
    drawn = torch.tensor([[True, False, True]] * 3)
    labels, swapped = _known(labels, drawn), logits[:, [2, 1, 0, 3]]
    for reference in (labels, _shares(labels)):
        one, other = (_loss(z, reference, drawn, settings) for z in (logits, swapped))
        torch.testing.assert_close(one, other)


@every_loss
def test_it_is_as_if_an_undrawn_structure_did_not_exist(settings):
    logits, labels = _random()
    drawn = torch.tensor([[True, True, False]] * 3)
    labels = _known(labels, drawn)
    without = torch.cat([logits[:, [0, 3]].logsumexp(1, keepdim=True), logits[:, 1:3]], dim=1)
    torch.testing.assert_close(
        _loss(logits, labels, drawn, settings), _loss(without, labels, drawn[:, :2], settings)
    )


@every_loss
def test_in_every_loss_shares_that_are_all_or_nothing_are_labels(settings):
    logits, labels = _random()
    labels = _known(labels)
    torch.testing.assert_close(
        _loss(logits, labels, SOME, settings), _loss(logits, _shares(labels), SOME, settings)
    )


@every_loss
def test_a_volume_of_one_slice_is_the_slice(settings):
    logits, labels = _random()
    labels = _known(labels)
    for reference in (labels, _shares(labels)):
        deep = reference.unsqueeze(-3)
        torch.testing.assert_close(
            _loss(logits[:, :, None], deep, SOME, settings), _loss(logits, reference, SOME, settings)
        )


@every_loss
def test_slices_of_a_volume_are_pixels_like_others(settings):
    logits, labels = _random((2, 6, 7))
    labels = _known(labels)
    flat, below = logits.flatten(2, 3), labels.flatten(1, 2)
    torch.testing.assert_close(_loss(logits, labels, SOME, settings), _loss(flat, below, SOME, settings))


@every_loss
def test_nested_structures_join_what_they_lie_in(settings):
    logits, labels = _random()
    outer, drawn = torch.tensor([0, 0, 1, 0]), torch.tensor([[True, False, True]] * 3)
    labels = torch.where(labels == 2, 1, labels)
    swapped = logits[:, [0, 2, 1, 3]]
    one, other = (segmentation_loss(z, labels, drawn, settings, outer=outer) for z in (logits, swapped))
    torch.testing.assert_close(one.total(settings), other.total(settings))


@every_loss
def test_the_slope_is_right(settings):
    logits, labels = _random((2, 2))
    labels = _known(labels)
    exact = logits.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda z: _loss(z, labels, SOME, settings), exact)


EVERYTHING, NOTHING = torch.ones_like(SOME), torch.zeros_like(SOME)


@every_loss
def test_it_is_a_number_and_so_is_its_slope(settings):
    signs, labels = _random()
    ways = itertools.product((0.0, 1e4), (SOME, EVERYTHING, NOTHING), (torch.float32, torch.bfloat16))
    for size, drawn, dtype in ways:
        logits = (signs.sign() * size).to(dtype).requires_grad_()
        for reference in (_known(labels, drawn), torch.zeros_like(labels), _shares(_known(labels, drawn))):
            loss = _loss(logits, reference, drawn, settings)
            (slope,) = torch.autograd.grad(loss, logits)
            assert torch.isfinite(loss), (size, drawn, dtype)
            assert torch.isfinite(slope).all(), (size, drawn, dtype)
            assert loss.dtype == torch.float32


@every_loss
def test_it_is_learnt_by_going_down(settings):
    _, labels = _random()
    labels = _known(labels)
    logits = torch.zeros(3, 4, 6, 7, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=0.3)
    for _ in range(60):
        optimizer.zero_grad()
        _loss(logits, labels, SOME, settings).backward()
        optimizer.step()
    found = merge_undrawn(logits.detach(), SOME).max(1).indices
    assert torch.equal(found[:2], labels[:2])


def _shares(labels):
    return torch.nn.functional.one_hot(labels, 4).movedim(-1, 1).float()


def test_bfloat16_answers_are_compared_in_float32():
    logits, labels = _random()
    rounded = logits.bfloat16()
    assert torch.equal(_loss(rounded, labels, SOME), _loss(rounded.float(), labels, SOME))


@pytest.mark.parametrize("background", [False, True])
@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("per_sample", [False, True])
def test_dice_with_cross_entropy_is_monais(background, squared, per_sample):
    from monai.losses import DiceCELoss

    logits, labels = _random()
    oracle = DiceCELoss(
        include_background=background,
        squared_pred=squared,
        batch=not per_sample,
        to_onehot_y=True,
        softmax=True,
        smooth_nr=1.0,
        smooth_dr=1.0,
        weight=torch.tensor([1.0, 3.0, 3.0, 3.0]),
        lambda_ce=0.5,
    )
    settings = LossSettings(
        background=background, squared=squared, per_sample=per_sample, structure_weight=3.0, pixel_weight=0.5
    )
    drawn = torch.ones(3, 3, dtype=torch.bool)
    # MONAI gives a weight to Dice too, class by class; here structures weigh in the pixels' part only.
    oracle.dice.class_weight = None
    assert float(_loss(logits, labels, drawn, settings)) == pytest.approx(
        float(oracle(logits, labels[:, None])), abs=1e-5
    )


def test_a_weight_that_was_never_counted_is_refused():
    logits, labels = _random()
    with pytest.raises(SettingsError, match=r"structure_weight is None.*with_counted_weight"):
        segmentation_loss(logits, _known(labels), SOME, LossSettings(structure_weight=None))
    no_pixels = LossSettings(structure_weight=None, pixel="none", **WHOLE)
    assert torch.isfinite(_loss(logits, _known(labels), SOME, no_pixels))


# --- several answers


class TestOutputs:
    def test_one_answer_is_its_loss_bit_for_bit(self):
        logits, labels = _random()
        settings, labels = LossSettings(structure_weight=3.0), _known(labels)
        slopes = []
        for answered in (lambda z: outputs_loss(Outputs(z), labels, SOME, settings), None):
            z = logits.clone().requires_grad_()
            parts = answered(z) if answered else segmentation_loss(z, labels, SOME, settings)
            slopes.append((parts.total(settings).detach(), *torch.autograd.grad(parts.total(settings), z)))
        assert torch.equal(slopes[0][0], slopes[1][0])
        assert torch.equal(slopes[0][1], slopes[1][1])

    @pytest.mark.parametrize("soft", [False, True])
    def test_the_sum_over_answers_with_their_weights(self, soft):
        logits, labels = _random((8, 8))
        coarse, _ = _random((4, 2), seed=1)
        reference = _shares(_known(labels)) if soft else _known(labels)
        outputs = Outputs(logits, others=(coarse,), weights=(0.5, 2.0))
        parts = outputs_loss(outputs, reference, SOME, LossSettings())
        # Averages over blocks of 2 × 4 pixels, by hand.
        small = _shares(_known(labels)).reshape(3, 4, 4, 2, 2, 4).mean((3, 5))
        fine, rough = (
            segmentation_loss(z, one, SOME, LossSettings()) for z, one in ((logits, reference), (coarse, small))
        )
        torch.testing.assert_close(parts.overlap, 0.5 * fine.overlap + 2 * rough.overlap)
        torch.testing.assert_close(parts.pixel, 0.5 * fine.pixel + 2 * rough.pixel)
        assert parts.own is None

    def test_undrawn_structures_stay_unknown_at_every_size(self):
        logits, labels = _random((8, 8))
        coarse, _ = _random((3, 5), seed=1)
        drawn = torch.tensor([[True, False, True]] * 3)
        labels, places = _known(labels, drawn), [2, 1, 0, 3]
        one = outputs_loss(Outputs(logits, (coarse,), (1.0, 1.0)), labels, drawn, LossSettings())
        swapped = Outputs(logits[:, places], (coarse[:, places],), (1.0, 1.0))
        other = outputs_loss(swapped, labels, drawn, LossSettings())
        torch.testing.assert_close(one.total(LossSettings()), other.total(LossSettings()))

    def test_volumes(self):
        logits, labels = _random((4, 6, 8))
        coarse, _ = _random((2, 3, 4), seed=1)
        parts = outputs_loss(Outputs(logits, (coarse,), (1.0, 0.5)), _known(labels), SOME, LossSettings())
        assert torch.isfinite(parts.total(LossSettings()))

    def test_a_network_that_compares_by_itself(self):
        logits, labels = _random()
        own = torch.tensor(2.0, requires_grad=True)
        parts = outputs_loss(Outputs(logits, (), (0.0,), own), _known(labels), SOME, LossSettings())
        total = parts.total(LossSettings(), progress=1.0)
        assert float(total.detach()) == 2
        total.backward()
        assert float(own.grad) == 1

    def test_an_answer_without_weight_is_not_compared(self):
        logits, labels = _random()
        outputs = Outputs(logits, (torch.full_like(logits, math.nan),), (1.0, 0.0))
        alone = segmentation_loss(logits, _known(labels), SOME, LossSettings())
        assert torch.equal(outputs_loss(outputs, _known(labels), SOME, LossSettings()).pixel, alone.pixel)

    def test_every_answer_needs_a_weight(self):
        logits, labels = _random()
        with pytest.raises(ValueError, match="zip"):
            outputs_loss(Outputs(logits, (logits,)), _known(labels), SOME, LossSettings())


class TestPublishedPyramid:
    """The sum of both stages' 1 − 2 Σ pt / (Σ p² + Σ t²), between 0 and 2."""

    SETTINGS = LossSettings(squared=True, pixel="none", overlap_until=math.inf)

    def _total(self, first, second, labels, settings=SETTINGS):
        outputs = Outputs(second, others=(first,), weights=(1.0, 1.0))
        drawn = torch.ones(1, 1, dtype=torch.bool)
        return float(outputs_loss(outputs, labels, drawn, settings).total(settings, progress=1.0))

    def test_by_hand(self):
        labels = torch.zeros(1, 4, 4, dtype=torch.int64)
        labels[0, :2, :2] = 1
        # Half sure everywhere, at both sizes: Σ pt = 2, Σ p² = 4, Σ t² = 4; at half size ½, 1 and 1.
        first, second = torch.zeros(1, 2, 2, 2), torch.zeros(1, 2, 4, 4)
        at_full, at_half = (2 * 2 + 1) / (4 + 4 + 1), (2 * 0.5 + 1) / (1 + 1 + 1)
        loss = self._total(first, second, labels)
        assert loss == pytest.approx((1 - at_full) + (1 - at_half))
        assert (2 - loss) / 2 == pytest.approx((at_full + at_half) / 2)

    def test_on_a_whole_image_it_is_the_papers_number(self):
        labels = torch.zeros(1, 64, 64, dtype=torch.int64)
        labels[0, :32] = 1
        p = torch.full((1, 64, 64), 0.2)
        p[0, :32] = 0.8
        logits = torch.stack([1 - p, p], dim=1).log()
        # 2 · 0.8 / (0.8² + 0.2² + 1); what is added to both against absent structures is 1 of 3440.
        paper = 1 - 1.6 / 1.68
        assert self._total(logits[..., ::2, ::2], logits, labels) == pytest.approx(2 * paper, abs=2e-4)

    @pytest.mark.parametrize(("sure", "loss"), [(50.0, 0.0), (-50.0, 2.0)])
    def test_it_lies_between_0_and_2(self, sure, loss):
        blocks = torch.zeros(1, 128, 128, dtype=torch.int64)
        blocks[0, 32:96] = 1
        answer = sure * torch.stack([1 - blocks, blocks], dim=1).float()
        for chosen in (self.SETTINGS, replace(self.SETTINGS, background=True)):
            total = self._total(answer[..., ::2, ::2], answer, blocks, chosen)
            assert total == pytest.approx(loss, abs=1e-3)
