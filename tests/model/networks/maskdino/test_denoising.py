"""Denoising: how far boxes move, and who may look at whom."""

import torch

from autoseg.model.networks.maskdino.boxes import corners, find_targets
from autoseg.model.networks.maskdino.decoder import Denoising, allowed_looks, noised


def test_the_first_box_moves_a_little_and_the_other_more():
    torch.manual_seed(0)
    box = torch.tensor([0.5, 0.4, 0.2, 0.4])
    moved = (corners(noised(box.expand(1, 200, 2, 3, 4))) - corners(box)).abs()
    part = moved / torch.tensor([0.1, 0.2, 0.1, 0.2])  # of half the box
    near, far = part[0, :, 0], part[0, :, 1]
    assert float(near.max()) <= 0.4 + 1e-5
    assert float(far.min()) >= 0.4 - 1e-5
    assert float(far.max()) <= 0.8 + 1e-5
    assert 0.15 < float(near.mean()) < 0.25


def test_boxes_stay_within_the_frame():
    torch.manual_seed(0)
    sides = corners(noised(torch.tensor([0.5, 0.1, 1.0, 0.2]).expand(2, 9, 2, 1, 4)))
    assert float(sides.min()) >= -1e-6
    assert float(sides.max()) <= 1 + 1e-6


def test_who_may_look_at_whom():
    allowed = allowed_looks(torch.tensor([[True, False]]), groups=2, queries=1)[0].int().tolist()
    # Of each group: a, b near and a, b far; b is not there. The last one searches.
    assert allowed == [
        [1, 0, 1, 0, 0, 0, 0, 0, 1],
        [1, 1, 1, 0, 0, 0, 0, 0, 1],
        [1, 0, 1, 0, 0, 0, 0, 0, 1],
        [1, 0, 1, 1, 0, 0, 0, 0, 1],
        [0, 0, 0, 0, 1, 0, 1, 0, 1],
        [0, 0, 0, 0, 1, 1, 1, 0, 1],
        [0, 0, 0, 0, 1, 0, 1, 0, 1],
        [0, 0, 0, 0, 1, 0, 1, 1, 1],
        [0, 0, 0, 0, 0, 0, 0, 0, 1],
    ]


def test_labels_are_changed_now_and_then():
    torch.manual_seed(0)
    denoising = Denoising(4, 8, groups=50)
    labels = torch.arange(25).reshape(1, 5, 5) % 5
    extra = denoising(find_targets(labels, torch.ones(1, 4, dtype=torch.bool)), queries=3)
    assert extra.content.shape == (1, 400, 8)
    assert extra.boxes.shape == (1, 400, 4)
    assert extra.allowed.shape == (1, 403, 403)
    own = denoising.labels.weight.repeat(100, 1)
    kept = (extra.content[0] == own).all(1).float().mean()
    assert 0.8 < float(kept) < 0.9  # a fifth is drawn anew, of which a quarter comes out as it was
