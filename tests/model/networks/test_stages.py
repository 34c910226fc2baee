"""Stages of U-Nets of volumes: every axis halved while voxels are left and about as long as the others."""

from itertools import accumulate
from math import prod

import pytest

from autoseg.model.networks import build_network
from autoseg.model.networks.outputs import strides_of
from autoseg.model.networks.stages import divide_axes, volume_network
from autoseg.model.networks.unet import STANDARD_FILTERS


def test_cubes_are_halved_until_four_voxels_are_left():
    assert divide_axes((64, 64, 64), (1, 1, 1)) == ((2, 2, 2),) * 4
    assert divide_axes((37, 50, 36), (1, 1, 1)) == ((2, 2, 2),) * 3  # 4.6 × 6.3 × 4.5
    assert divide_axes((7, 7, 7), (1, 1, 1)) == ((1, 1, 1),)
    assert len(divide_axes((4096, 4096, 4096), (1, 1, 1))) == len(STANDARD_FILTERS) - 1


def test_thick_slices_are_halved_only_when_the_pixels_are_about_as_large():
    steps = divide_axes((256, 256, 32), (0.5, 0.5, 3.0))
    along = [step[2] for step in steps]
    assert along[:2] == [1, 1]  # 1 mm and 2 mm pixels are less than half as long, or just about
    assert 2 in along
    # As nnU-Net's rule says: at every stage each halved axis was less than twice the finest that could be.
    sizes, spacing = [256, 256, 32], [0.5, 0.5, 3.0]
    for step in steps:
        able = [mm for n, mm in zip(sizes, spacing, strict=True) if n >= 8]
        assert all(mm < 2 * min(able) for mm, by in zip(spacing, step, strict=True) if by == 2)
        sizes = [n / by for n, by in zip(sizes, step, strict=True)]
        spacing = [mm * by for mm, by in zip(spacing, step, strict=True)]
    assert min(sizes) >= 4


@pytest.mark.parametrize(
    ("size", "spacing"), [((40, 56, 40), (1, 1, 1)), ((96, 80, 12), (1, 1, 4)), ((24, 40, 24), (1.5, 1.5, 1.5))]
)
def test_a_network_with_these_stages_divides_the_patch(size, spacing):
    steps = divide_axes(size, spacing)
    settings = volume_network(steps)
    network = build_network(settings, in_channels=1, out_channels=2, spatial_dims=3)
    assert strides_of(network, 3) == tuple(prod(along) for along in zip(*steps, strict=True))
    assert settings.filters == STANDARD_FILTERS[: len(steps) + 1]
    for axis, n in enumerate(size):
        assert all(n / by >= 4 for by in accumulate((step[axis] for step in steps), lambda a, b: a * b))
