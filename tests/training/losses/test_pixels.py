"""Cross-entropy, one against the rest, focal: by hand, against torch and MONAI, and at extremes."""

import math

import pytest
import torch
from torch.nn import functional

from autoseg.training.losses import (
    balanced_binary_entropy,
    cross_entropy,
    focal_entropy,
    log_probabilities,
    one_hot,
)

SHAPES = pytest.mark.parametrize("shape", [(8, 9), (3, 8, 9)], ids=["slices", "volumes"])
WEIGHTS = pytest.mark.parametrize("weight", [1.0, 4.0])


def _random(shape=(8, 9), batch=3, classes=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(batch, classes, *shape, generator=generator)
    return logits, torch.randint(0, classes, (batch, *shape), generator=generator)


def _soft(shape=(8, 9), seed=1):
    return _random(shape, seed=seed)[0].softmax(1)


def _drawn(batch=3, classes=4):
    return torch.ones(batch, classes - 1, dtype=torch.bool)


def _weights(weight):
    return torch.tensor([1.0, weight, weight, weight])


# --- cross-entropy


@SHAPES
@WEIGHTS
def test_cross_entropy_is_torchs(shape, weight):
    logits, labels = _random(shape)
    theirs = functional.cross_entropy(logits, labels, weight=_weights(weight))
    for reference in (labels, one_hot(labels, 4)):
        torch.testing.assert_close(cross_entropy(logits, reference, structure_weight=weight), theirs)


@SHAPES
def test_cross_entropy_of_shares_is_torchs_where_all_weigh_the_same(shape):
    logits, shares = _random(shape)[0], _soft(shape)
    torch.testing.assert_close(cross_entropy(logits, shares), functional.cross_entropy(logits, shares))


# --- one against the rest


@pytest.mark.parametrize("classes", [2, 3, 4, 7])
def test_logarithms_of_p_and_of_all_the_rest(classes):
    logits, _ = _random(classes=classes)
    p = logits.double().softmax(1)
    right, wrong = log_probabilities(logits)
    torch.testing.assert_close(right.double(), p.log(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(wrong.double(), (1 - p).log(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_they_are_exact_where_a_class_is_sure(place):
    # 1 − p is 2 e^−60, which neither p nor log p in float32 can tell from none.
    logits = torch.zeros(1, 3)
    logits[0, place] = 60
    right, wrong = log_probabilities(logits)
    assert right[0].tolist() == pytest.approx([0.0 if k == place else -60 for k in range(3)], rel=1e-6)
    assert wrong[0].tolist() == pytest.approx([math.log(2) - 60 if k == place else 0.0 for k in range(3)], rel=1e-6)


def test_a_structure_by_hand():
    # p = ¼ of the structure on two pixels, of which one is of it: weight 3.
    logits = torch.tensor([math.log(3), 0.0]).view(1, 2, 1, 1).expand(1, 2, 1, 2)
    cost = balanced_binary_entropy(logits, torch.tensor([[[1, 0]]]), torch.tensor([[True]]), structure_weight=3.0)
    assert float(cost) == pytest.approx((3 * math.log(4) + math.log(4 / 3)) / 2)


@SHAPES
@WEIGHTS
@pytest.mark.parametrize("soft", [False, True])
def test_binary_entropy_is_torchs_on_the_odds(shape, weight, soft):
    logits, labels = _random(shape)
    shares = _soft(shape) if soft else one_hot(labels, 4)
    p = logits.double().softmax(1)[:, 1:]
    theirs = functional.binary_cross_entropy_with_logits(
        (p / (1 - p)).log(), shares[:, 1:].double(), pos_weight=torch.tensor(weight)
    )
    ours = balanced_binary_entropy(logits, shares if soft else labels, _drawn(), structure_weight=weight)
    assert float(ours) == pytest.approx(float(theirs), rel=1e-5)


def test_two_classes_are_the_usual_binary_cross_entropy():
    logits, labels = _random(classes=2)
    usual = functional.binary_cross_entropy_with_logits(
        logits[:, 1] - logits[:, 0], labels.float(), pos_weight=torch.tensor(5.0)
    )
    ours = balanced_binary_entropy(logits, labels, _drawn(classes=2), structure_weight=5.0)
    torch.testing.assert_close(ours, usual)


def test_structures_are_asked_for_only_where_they_were_drawn():
    logits, labels = _random()
    drawn = _drawn()
    drawn[0, 1] = drawn[2] = False
    cost = balanced_binary_entropy(logits, labels, drawn)
    p, target = logits.softmax(1)[:, 1:], one_hot(labels, 4, first=1)
    asked = functional.binary_cross_entropy(p, target, reduction="none")[drawn]
    assert asked.shape == (5, 8, 9)
    torch.testing.assert_close(cost, asked.mean())


def test_nothing_drawn_asks_nothing():
    logits, labels = _random()
    logits.requires_grad_()
    cost = balanced_binary_entropy(logits, labels, ~_drawn())
    cost.backward()
    assert float(cost.detach()) == 0
    assert float(logits.grad.abs().max()) == 0


# --- focal


@SHAPES
@pytest.mark.parametrize("gamma", [0.5, 2.0, 3.0])
@pytest.mark.parametrize("soft", [False, True])
def test_focal_is_monais(shape, gamma, soft):
    from monai.losses import FocalLoss

    logits, labels = _random(shape)
    shares = _soft(shape) if soft else one_hot(labels, 4)
    oracle = FocalLoss(gamma=gamma, use_softmax=True)
    # MONAI's mean is over the classes too.
    theirs = 4 * float(oracle(logits, shares))
    assert float(focal_entropy(logits, shares if soft else labels, gamma=gamma)) == pytest.approx(theirs, abs=1e-5)


def test_focal_with_weights_is_monais():
    from monai.losses import FocalLoss

    logits, labels = _random()
    weights = _weights(4.0)
    costs = FocalLoss(gamma=2.0, use_softmax=True, weight=weights, reduction="none")(logits, one_hot(labels, 4))
    theirs = float(costs.sum() / weights[labels].sum())
    assert float(focal_entropy(logits, labels, gamma=2.0, structure_weight=4.0)) == pytest.approx(theirs, abs=1e-5)


@WEIGHTS
@pytest.mark.parametrize("soft", [False, True])
def test_focal_without_gamma_is_cross_entropy(weight, soft):
    logits, labels = _random()
    reference = _soft() if soft else labels
    focal = focal_entropy(logits, reference, gamma=0.0, structure_weight=weight)
    torch.testing.assert_close(focal, cross_entropy(logits, reference, structure_weight=weight))


def test_focal_by_hand():
    logits = torch.tensor([math.log(3), 0.0]).view(1, 2, 1, 1)
    cost = focal_entropy(logits, torch.tensor([[[0]]]), gamma=2.0)
    assert float(cost) == pytest.approx(0.25**2 * math.log(4 / 3))


# --- all of them

COSTS = pytest.mark.parametrize(
    "cost",
    [
        lambda logits, labels: cross_entropy(logits, labels, structure_weight=3.0),
        lambda logits, labels: balanced_binary_entropy(logits, labels, _drawn(len(logits)), structure_weight=3.0),
        lambda logits, labels: focal_entropy(logits, labels, gamma=2.0, structure_weight=3.0),
        lambda logits, labels: focal_entropy(logits, labels, gamma=0.5, structure_weight=3.0),
    ],
    ids=["cross_entropy", "bce", "focal", "weakly_focal"],
)


@COSTS
@pytest.mark.parametrize("soft", [False, True])
def test_the_slope_is_right(cost, soft):
    logits, labels = _random((2, 3), batch=2)
    reference = _soft((2, 3))[:2].double() if soft else labels
    assert torch.autograd.gradcheck(lambda z: cost(z, reference), logits.double().requires_grad_())


@COSTS
def test_sure_and_wrong_costs_what_the_logits_say_and_still_teaches(cost):
    # 1e4 apart: probabilities are exactly 0 and 1 in float32.
    logits = torch.tensor([1e4, -1e4, 0.0, 0.0]).view(1, 4, 1, 1).requires_grad_()
    wrong = cost(logits, torch.tensor([[[1]]]))
    (slope,) = torch.autograd.grad(wrong, logits)
    assert torch.isfinite(slope).all()
    assert float(slope[0, 1]) < -0.3
    assert float(wrong.detach()) >= 2e4 / 3


@COSTS
def test_sure_and_right_costs_nothing(cost):
    logits = torch.tensor([-1e4, 1e4, -1e4, -1e4]).view(1, 4, 1, 1).requires_grad_()
    right = cost(logits, torch.tensor([[[1]]]))
    (slope,) = torch.autograd.grad(right, logits)
    assert float(right.detach()) == 0
    assert float(slope.abs().max()) == 0
