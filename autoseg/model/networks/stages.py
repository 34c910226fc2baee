"""By what a U-Net of volumes divides each axis, stage by stage."""

from __future__ import annotations

from collections.abc import Sequence

from autoseg.model.networks.unet import STANDARD_FILTERS
from autoseg.model.settings.settings import NetworkSettings

Step = tuple[int, int, int]

# No axis is halved to fewer voxels than this (nnU-Net, Isensee et al. 2021).
SMALLEST_MAP = 4
# An axis is halved together with the finest one as long as its voxels are less than so many times as long (as in
# nnU-Net). Stages that see far matter: on the hippocampus, whose two parts differ by where they lie, three of four
# trainings with 3 stages found one part only, and neither of two with 4 stages did.
HALVED_TOGETHER = 2.0


def divide_axes(size: Sequence[float], spacing_mm: Sequence[float]) -> tuple[Step, ...]:
    """Give by what each stage divides each axis: by 2 where enough voxels are left and they are not the long ones.

    `size` are the voxels seen at once. There is at least one step, and at most one fewer than the U-Net has stages.

    Examples
    --------
    Slices three times as thick as their pixels are halved once the pixels have caught up:

    >>> divide_axes((64, 64, 20), (1.0, 1.0, 3.0))
    ((2, 2, 1), (2, 2, 2), (2, 2, 2), (2, 2, 1))
    """
    sizes, lengths = list(size), list(spacing_mm)
    steps: list[Step] = []
    while len(steps) < len(STANDARD_FILTERS) - 1:
        able = [n / 2 >= SMALLEST_MAP for n in sizes]
        if not any(able):
            break
        finest = min(mm for mm, can in zip(lengths, able, strict=True) if can)
        x, y, z = (2 if can and mm < HALVED_TOGETHER * finest else 1 for mm, can in zip(lengths, able, strict=True))
        steps.append((x, y, z))
        sizes = [n / step for n, step in zip(sizes, steps[-1], strict=True)]
        lengths = [mm * step for mm, step in zip(lengths, steps[-1], strict=True)]
    return tuple(steps) or ((1, 1, 1),)


def volume_network(strides: Sequence[Step]) -> NetworkSettings:
    """Give the U-Net of volumes with these stages, as wide as the standard one."""
    return NetworkSettings(filters=STANDARD_FILTERS[: len(strides) + 1], strides=tuple(strides))
