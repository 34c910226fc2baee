"""Boxes around structures: by hand, and beside MONAI's."""

import pytest
import torch
from monai.data.box_utils import box_pair_giou

from autoseg.model.networks.maskdino.boxes import boxes_of, corners, generalised_iou, to_logits


def test_boxes_lie_around_masks():
    masks = torch.zeros(2, 2, 10, 20, dtype=torch.bool)
    masks[0, 0, 2:6, 5:15] = True
    masks[0, 1, 0, 0] = masks[0, 1, 9, 19] = True  # two far pixels: the whole frame
    masks[1, 0, 7, 3] = True
    boxes = boxes_of(masks)
    expected = torch.tensor(
        [[[0.5, 0.4, 0.5, 0.4], [0.5, 0.5, 1, 1]], [[3.5 / 20, 0.75, 1 / 20, 0.1], [0, 0, 0, 0]]]
    )
    torch.testing.assert_close(boxes, expected)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ((0.5, 0.5, 0.4, 0.2), (0.5, 0.5, 0.4, 0.2), 1.0),
        ((0.5, 0.5, 1.0, 1.0), (0.5, 0.5, 0.5, 0.5), 0.25),  # one inside the other: nothing around is empty
        ((1.0, 1.0, 2.0, 2.0), (2.0, 2.0, 2.0, 2.0), 1 / 7 - 2 / 9),  # 1 shared of 7, and 2 of 9 empty
        ((0.5, 0.5, 1.0, 1.0), (3.5, 0.5, 1.0, 1.0), -0.5),  # apart: 2 of 4 empty
    ],
)
def test_generalised_iou_by_hand(one, other, expected):
    assert generalised_iou(torch.tensor(one), torch.tensor(other)).item() == pytest.approx(expected, abs=1e-6)


def test_generalised_iou_equals_monais():
    generator = torch.Generator().manual_seed(0)
    one, other = (torch.rand(50, 4, generator=generator) + 0.01 for _ in range(2))
    torch.testing.assert_close(generalised_iou(one, other), box_pair_giou(corners(one), corners(other)))


def test_boxes_without_size_have_an_iou_and_a_gradient():
    one = torch.zeros(1, 4, requires_grad=True)
    generalised_iou(one, torch.zeros(1, 4)).sum().backward()
    assert torch.isfinite(one.grad).all()


def test_logits_undo_the_sigmoid_and_stay_finite():
    parts = torch.tensor([0.0, 0.2, 0.9, 1.0])
    torch.testing.assert_close(to_logits(parts).sigmoid(), torch.tensor([1e-4, 0.2, 0.9, 1 - 1e-4]))
