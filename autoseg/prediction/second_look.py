"""A second look at an image, turned a little and smaller: what a network is sure of, it finds there again."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from autoseg.model.settings.settings import AugmentationSettings

# Of what was tried on hippocampi (turns of 12 and 30 degrees, sizes of 0.75 to 1.15, other contrast, and several of
# these), a turn of 12 degrees at this size told most; smaller costs less than a first look, too.
TURN_DEG, SIZE = 12.0, 0.85
# What a network bears that was trained without turns or zooms.
LEAST_TURN_DEG, LEAST_SIZE = 3.0, 0.95
# Axes of a volume whose voxels differ more in length than this are not turned into each other.
THICK = 1.5


@dataclass(frozen=True)
class SecondLook:
    """By how much the anatomy is turned, anticlockwise, and the factor on its size."""

    turn_deg: float = TURN_DEG
    size: float = SIZE

    def frame(self, size: tuple[int, int], stride: int) -> tuple[int, int]:
        """Give how many rows and columns hold as much as these do, multiples of a network's stride."""
        return self.along(size[0], stride), self.along(size[1], stride)

    def along(self, count: int, stride: int = 1) -> int:
        """Give how many pixels hold as much as so many do, a multiple of a network's stride."""
        return max(stride, math.ceil(count * self.size / stride) * stride)

    def matrix(self, spacing: tuple[float, ...], device: torch.device) -> Tensor:
        """Give what takes a pixel's distance from the middle of the second look to that on the first.

        With three axes it turns in the plane of the two whose voxels are most alike.
        """
        count = len(spacing)
        pairs = [(a, b) for a in range(count) for b in range(a + 1, count)]
        one, other = min(pairs, key=lambda pair: abs(math.log(spacing[pair[0]] / spacing[pair[1]])))
        turn = torch.eye(count)
        if max(spacing[one] / spacing[other], spacing[other] / spacing[one]) < THICK:
            angle = math.radians(self.turn_deg)
            turn[one, one] = turn[other, other] = math.cos(angle)
            turn[one, other] = -math.sin(angle) * spacing[other] / spacing[one]
            turn[other, one] = math.sin(angle) * spacing[one] / spacing[other]
        return (turn / self.size).to(device)


def second_look(augmentation: AugmentationSettings) -> SecondLook:
    """Give a second look whose turn and size training saw.

    Examples
    --------
    >>> second_look(AugmentationSettings()), second_look(AugmentationSettings.off())
    (SecondLook(turn_deg=12.0, size=0.85), SecondLook(turn_deg=3.0, size=0.95))
    """
    turned = augmentation.rotation_deg if augmentation.rotation_probability > 0 else 0.0
    least = 1.0
    for chance, bounds in (
        (augmentation.zoom_probability, augmentation.zoom),
        (augmentation.scaling_probability, augmentation.scaling),
    ):
        least *= min(1.0, bounds[0]) if chance > 0 else 1.0
    return SecondLook(min(TURN_DEG, max(LEAST_TURN_DEG, turned)), max(SIZE, min(LEAST_SIZE, least)))
