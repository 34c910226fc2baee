"""Pairing queries with structures: every possible pairing tried, and the cost written out."""

from itertools import permutations

import pytest
import torch
from torch.nn import functional

from autoseg.model.networks.maskdino.boxes import find_targets, generalised_iou
from autoseg.model.networks.maskdino.decoder import Answers
from autoseg.model.networks.maskdino.matching import pair, pairing_costs


def made_up(queries, seed=0, structures=3):
    generator = torch.Generator().manual_seed(seed)
    answers = Answers(
        torch.randn(2, queries, structures, generator=generator),
        torch.rand(2, queries, 4, generator=generator),
        torch.randn(2, queries, 5, generator=generator),
    )
    labels = torch.randint(structures + 1, (2, 6, 7), generator=generator)
    return answers, torch.randn(2, 5, 6, 7, generator=generator), labels


def test_costs_are_those_written_out():
    answers, pixels, labels = made_up(4)
    targets = find_targets(labels, torch.ones(2, 3, dtype=torch.bool))
    costs = pairing_costs(answers, pixels, targets)
    for image, query, k in torch.cartesian_prod(*map(torch.arange, (2, 4, 3))).tolist():
        likely = float(answers.classes[image, query, k].sigmoid())
        right = -0.25 * (1 - likely) ** 2 * torch.log(torch.tensor(likely))
        wrong = -0.75 * likely**2 * torch.log(torch.tensor(1 - likely))
        logits = torch.einsum("d,drc->rc", answers.masks[image, query], pixels[image])
        mask = (labels[image] == k + 1).float()
        bce = functional.binary_cross_entropy_with_logits(logits, mask)
        p = logits.sigmoid()
        dice = 1 - (2 * (p * mask).sum() + 1) / (p.sum() + mask.sum() + 1)
        box, wanted = answers.boxes[image, query], targets.boxes[image, k]
        l1, giou = (box - wanted).abs().sum(), generalised_iou(box, wanted)
        expected = 4 * (right - wrong) + 5 * bce + 5 * dice + 5 * l1 - 2 * giou
        assert float(costs[image, query, k]) == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.parametrize("seed", range(5))
def test_pairing_is_the_cheapest_of_all(seed):
    answers, pixels, labels = made_up(5, seed)
    targets = find_targets(labels, torch.ones(2, 3, dtype=torch.bool))
    costs, paired = pairing_costs(answers, pixels, targets), pair(answers, pixels, targets)
    for image in range(2):
        tried = {
            queries: float(sum(costs[image, query, k] for k, query in enumerate(queries)))
            for queries in permutations(range(5), 3)
        }
        assert tuple(paired[image].tolist()) == min(tried, key=tried.get)


def test_only_structures_that_are_there_get_a_query():
    answers, pixels, labels = made_up(5)
    labels[1][labels[1] == 3] = 0
    targets = find_targets(labels, torch.tensor([[True, False, True], [True, True, True]]))
    paired = pair(answers, pixels, targets)
    assert (paired >= 0).tolist() == [[True, False, True], [True, True, False]]


def test_too_few_queries_leave_a_structure_without():
    answers, pixels, labels = made_up(2)
    paired = pair(answers, pixels, find_targets(labels, torch.ones(2, 3, dtype=torch.bool)))
    assert [sorted(row) for row in paired.tolist()] == [[-1, 0, 1], [-1, 0, 1]]


def test_answers_that_are_no_numbers_can_be_paired():
    answers, pixels, labels = made_up(4)
    paired = pair(answers, pixels * torch.nan, find_targets(labels, torch.ones(2, 3, dtype=torch.bool)))
    assert (paired >= 0).all()
