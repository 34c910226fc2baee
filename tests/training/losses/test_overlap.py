"""Soft Dice, IoU and Tversky: by hand, against MONAI, and with structures that were not drawn."""

import itertools

import pytest
import torch
from loops import for_each

from autoseg.training.losses import one_hot, soft_overlap

# Every way of comparing shapes.
WAYS = [
    {"kind": kind, "per_sample": per_sample, "squared": squared, "background": background, "missed_weight": 0.7}
    for kind, per_sample, squared, background in itertools.product(
        ("dice", "iou", "tversky"), (False, True), (False, True), (False, True)
    )
    if not (squared and kind == "tversky")
]


def _random(shape=(8, 9), batch=3, classes=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    probabilities = (3 * torch.randn(batch, classes, *shape, generator=generator)).softmax(1)
    return probabilities, torch.randint(0, classes, (batch, *shape), generator=generator)


def _drawn(batch=3, classes=4):
    return torch.ones(batch, classes - 1, dtype=torch.bool)


# One image of four pixels: p of the structure, and where it was drawn.
P = torch.tensor([0.5, 0.5, 1.0, 0.0])
T = torch.tensor([1, 0, 1, 0])


@pytest.mark.parametrize(
    ("way", "by_hand"),
    [
        # Σ pt = 1.5, Σ p = 2, Σ t = 2, Σ p² = 1.5; missed 0.5, wrongly found 0.5
        ({}, (2 * 1.5 + 1) / (2 + 2 + 1)),
        ({"squared": True}, (2 * 1.5 + 1) / (1.5 + 2 + 1)),
        ({"kind": "iou"}, (1.5 + 0.5) / (2 + 2 - 1.5 + 0.5)),
        ({"kind": "iou", "squared": True}, (1.5 + 0.5) / (1.5 + 2 - 1.5 + 0.5)),
        ({"kind": "tversky", "missed_weight": 0.9}, (1.5 + 0.5) / (1.5 + 0.9 * 0.5 + 0.1 * 0.5 + 0.5)),
        # of the background p = 0.5, 0.5, 0, 1 and t = 0, 1, 0, 1
        ({"background": True}, ((2 * 1.5 + 1) / (2 + 2 + 1) + (2 * 1.5 + 1) / (2 + 2 + 1)) / 2),
    ],
)
def test_by_hand(way, by_hand):
    probabilities = torch.stack([1 - P, P])[None, :, None]
    score = soft_overlap(probabilities, T[None, None], torch.tensor([[True]]), **way)
    assert float(score) == pytest.approx(by_hand)


def test_missed_pixels_cost_more_than_those_found_wrongly():
    one, two = torch.tensor([1.0, 0.0, 0.0]), torch.tensor([1.0, 1.0, 0.0])

    def score(found, drawn, weight):
        probabilities, labels = torch.stack([1 - found, found])[None, :, None], drawn.long()[None, None]
        known = torch.tensor([[True]])
        return float(soft_overlap(probabilities, labels, known, kind="tversky", missed_weight=weight))

    assert score(one, two, 0.5) == score(two, one, 0.5) == pytest.approx(1.5 / 2)
    assert score(one, two, 0.7) == pytest.approx(1.5 / (1 + 0.7 + 0.5))
    assert score(two, one, 0.7) == pytest.approx(1.5 / (1 + 0.3 + 0.5))


def test_image_by_image_by_hand():
    # The structure fills one image and is found; on the other one pixel is missed.
    found = torch.stack([torch.ones(4), torch.zeros(4)])
    labels = torch.tensor([[[1, 1, 1, 1]], [[1, 0, 0, 0]]])
    probabilities = torch.stack([1 - found, found], dim=1)[:, :, None]
    drawn = torch.tensor([[True], [True]])
    assert float(soft_overlap(probabilities, labels, drawn)) == pytest.approx((2 * 4 + 1) / (4 + 5 + 1))
    apart = soft_overlap(probabilities, labels, drawn, per_sample=True)
    assert float(apart) == pytest.approx(((8 + 1) / (8 + 1) + (0 + 1) / (1 + 1)) / 2)


@for_each(itertools.product(((8, 9), (3, 8, 9)), (False, True), WAYS))
def test_equal_to_monais(case):
    from monai.losses import DiceLoss, TverskyLoss

    shape, soft, way = case
    probabilities, labels = _random(shape)
    target = one_hot(labels, 4)
    if soft:
        target = 0.7 * target + 0.3 * _random(shape, seed=1)[0]
        labels = target
    options = {"include_background": way["background"], "batch": not way["per_sample"]}
    if way["kind"] == "tversky":
        options |= {"alpha": 0.3, "beta": 0.7, "smooth_nr": 0.5, "smooth_dr": 0.5}
        oracle = TverskyLoss(**options)
    else:
        options |= {"squared_pred": way["squared"], "smooth_nr": 1.0, "smooth_dr": 1.0}
        oracle = DiceLoss(jaccard=way["kind"] == "iou", **options)
    ours = soft_overlap(probabilities, labels, _drawn(), **way)
    assert float(ours) == pytest.approx(1 - float(oracle(probabilities, target)), abs=1e-5)


def test_tversky_at_a_half_is_dice():
    probabilities, labels = _random()
    half = soft_overlap(probabilities, labels, _drawn(), kind="tversky", missed_weight=0.5)
    torch.testing.assert_close(half, soft_overlap(probabilities, labels, _drawn()))


@for_each(WAYS)
def test_perfect_is_one_and_all_wrong_is_nearly_none(way):
    labels = torch.randint(0, 4, (2, 40, 40))
    right, wrong = one_hot(labels, 4), one_hot((labels + 1) % 4, 4)
    assert float(soft_overlap(right, labels, _drawn(2), **way)) == pytest.approx(1)
    assert 0 < float(soft_overlap(wrong, labels, _drawn(2), **way)) < 0.01


@for_each(WAYS)
def test_a_structure_on_no_image_and_nowhere_found_costs_nothing(way):
    labels = torch.randint(0, 3, (2, 8, 8))
    assert float(soft_overlap(one_hot(labels, 4), labels, _drawn(2), **way)) == pytest.approx(1)


@for_each(WAYS)
def test_what_was_not_drawn_is_left_out(way):
    probabilities, _ = _random()
    labels = torch.randint(0, 2, (3, 8, 9))
    drawn = torch.tensor([[True, False, False]] * 3)
    changed = probabilities.clone()
    changed[:, 2:] = changed[:, [3, 2]]
    score = soft_overlap(probabilities, labels, drawn, **way)
    assert float(score) == float(soft_overlap(changed, labels, drawn, **way))
    kept = probabilities[:, :2]
    assert float(score) == pytest.approx(float(soft_overlap(kept, labels, drawn[:, :1], **way)))


@for_each(WAYS)
def test_an_image_without_a_drawing_changes_nothing(way):
    probabilities, labels = _random()
    labels[2], drawn = 0, _drawn()
    drawn[2] = False
    score = soft_overlap(probabilities, labels, drawn, **way)
    assert float(score) == pytest.approx(float(soft_overlap(probabilities[:2], labels[:2], drawn[:2], **way)))


@for_each(WAYS)
def test_nothing_drawn_at_all_is_a_perfect_score_that_teaches_nothing(way):
    probabilities, labels = _random()
    probabilities.requires_grad_()
    score = soft_overlap(probabilities, torch.zeros_like(labels), ~_drawn(), **way)
    score.backward()
    assert float(score.detach()) == 1
    assert float(probabilities.grad.abs().max()) == 0


@for_each(WAYS)
def test_the_slope_is_right(way):
    probabilities, labels = _random((3, 3), batch=2)
    exact = probabilities.double().requires_grad_()
    drawn = torch.tensor([[True, True, False], [True, False, True]])
    labels[~drawn[:, 0], 0] = 0
    assert torch.autograd.gradcheck(lambda p: soft_overlap(p, labels, drawn, **way), exact)
