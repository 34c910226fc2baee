"""The set loss: each part written out, and structures that were not drawn."""

from dataclasses import replace

import pytest
import torch

from autoseg.model.networks.maskdino.boxes import find_targets, generalised_iou
from autoseg.model.networks.maskdino.decoder import Answers, mask_logits
from autoseg.model.networks.maskdino.loss import focal_loss, mask_losses, pair_noised, pair_searching, set_loss

ALL = torch.ones(2, 2, dtype=torch.bool)


def made_up(queries=4, structures=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    answers = Answers(
        torch.randn(2, queries, structures, generator=generator).requires_grad_(),
        torch.rand(2, queries, 4, generator=generator).requires_grad_(),
        torch.randn(2, queries, 5, generator=generator).requires_grad_(),
    )
    labels = torch.randint(structures + 1, (2, 6, 7), generator=generator)
    return answers, torch.randn(2, 5, 6, 7, generator=generator), labels


def test_set_loss_is_the_sum_written_out():
    answers, pixels, labels = made_up()
    answers = Answers(answers.classes.detach(), answers.boxes.detach(), answers.masks.detach())
    targets = find_targets(labels, ALL)
    pairs = pair_searching(answers, pixels, targets)
    total = 0.0
    for image in range(2):
        for query in range(4):
            for k in range(2):
                likely = answers.classes[image, query, k].sigmoid()
                if pairs.found[image, k] == query:
                    total += 4 * -0.25 * (1 - likely) ** 2 * likely.log()
                    logits = mask_logits(answers.masks, pixels)[image, query]
                    bce, dice = mask_losses(logits[None, None], targets.masks[image, k][None, None])
                    box, wanted = answers.boxes[image, query], targets.boxes[image, k]
                    l1, giou = (box - wanted).abs().sum(), 1 - generalised_iou(box, wanted)
                    total += 5 * bce[0, 0] + 5 * dice[0, 0] + 5 * l1 + 2 * giou
                else:
                    total += 4 * -0.75 * likely**2 * (1 - likely).log()
    assert set_loss([pairs], pixels, targets).item() == pytest.approx(float(total) / 4, rel=1e-4)
    twice = set_loss([pairs, pairs], pixels, targets)
    assert twice.item() == pytest.approx(float(total) / 4, rel=1e-4)


def test_focal_loss_of_a_right_and_a_wrong_answer():
    logits = torch.tensor([0.9, 0.9]).logit()
    loss = focal_loss(logits, torch.tensor([True, False]), torch.tensor([True, True]))
    by_hand = [0.25 * 0.1**2 * 0.105361, 0.75 * 0.9**2 * 2.302585]
    assert loss.tolist() == pytest.approx(by_hand, rel=1e-4)


def test_what_was_not_drawn_is_not_punished():
    answers, pixels, labels = made_up()
    targets = find_targets(labels, torch.tensor([[True, False], [True, True]]))
    pairs = pair_searching(answers, pixels, targets)
    set_loss([pairs], pixels, targets).backward()
    slope = answers.classes.grad
    assert not slope[0, :, 1].any()
    assert slope[0, :, 0].all()
    assert slope[1].all()


def test_an_image_without_structures_says_only_that_there_are_none():
    answers, pixels, _ = made_up()
    targets = find_targets(torch.zeros(2, 6, 7, dtype=torch.int64), ALL)
    set_loss([pair_searching(answers, pixels, targets)], pixels, targets).backward()
    assert (answers.classes.grad > 0).all()
    assert not answers.boxes.grad.any()
    assert not answers.masks.grad.any()


def test_noised_queries_are_paired_with_what_they_were_made_of():
    answers, pixels, labels = made_up(queries=8)  # two groups of two a structure
    labels[1][labels[1] == 2] = 0
    targets = find_targets(labels, torch.tensor([[True, True], [True, True]]))
    pairs = pair_noised(answers, targets, 2)
    assert pairs.found[0].tolist() == [0, 1, 4, 5]
    assert pairs.slots[0].tolist() == [0, 1, 0, 1]
    assert pairs.valid.tolist() == [[True] * 4, [True, False, True, False]]
    assert pairs.wanted[0].int().tolist() == [[1, 0], [0, 1], [0, 0], [0, 0]] * 2
    assert pairs.counted[1].tolist() == [[True, True], [False, False]] * 4
    set_loss([pairs], pixels, targets).backward()
    assert not answers.classes.grad[1, 1::2].any()  # made of a structure that is not there
    assert not answers.masks.grad[:, [2, 3, 6, 7]].any()  # of those that shall become nothing
    assert answers.masks.grad[0, [0, 1, 4, 5]].any(1).all()


def test_perfect_answers_cost_next_to_nothing():
    labels = torch.zeros(1, 8, 8, dtype=torch.int64)
    labels[0, 2:5, 1:6], labels[0, 6:, 3:] = 1, 2
    targets = find_targets(labels, ALL[:1])
    pixels = targets.masks.float() * 40 - 20
    sure = torch.tensor([[[20.0, -20.0], [-20.0, 20.0], [-20.0, -20.0]]])
    answers = Answers(
        sure, torch.cat([targets.boxes, torch.rand(1, 1, 4)], 1), torch.tensor([[[1.0, 0], [0, 1], [1, 1]]])
    )
    pairs = pair_searching(answers, pixels, targets)
    assert pairs.found.tolist() == [[0, 1]]
    assert set_loss([pairs], pixels, targets).item() == pytest.approx(0, abs=1e-4)
    worse = replace(answers, boxes=answers.boxes + 0.1)
    assert set_loss([replace(pairs, answers=worse)], pixels, targets).item() > 1
