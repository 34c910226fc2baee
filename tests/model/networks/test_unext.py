"""UNeXt: its published size, the shift against SciPy's."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import ndimage

from autoseg.errors import SettingsError
from autoseg.model.networks import build_network, stride_of
from autoseg.model.networks.unext import STANDARD_FILTERS, UNeXt, shifted
from autoseg.model.settings.settings import NetworkSettings

SMALL = NetworkSettings(name="unext", filters=(8, 16, 16, 20, 25))


def published_size(first, second, third, fourth, fifth):
    """Count by hand for three channels and one structure: weights, biases, two numbers a normalised channel."""

    def convolution(before, after):
        return 9 * before * after + after

    def mixing(channels):  # two linear layers, a depth-wise convolution, two layer norms
        return 2 * (channels * channels + channels) + 10 * channels + 4 * channels

    path = (3, first, second, third, fourth, fifth)
    down = sum(convolution(before, after) + 2 * after for before, after in pairwise(path))
    back = path[:0:-1]
    up = sum(convolution(before, after) + 2 * after for before, after in pairwise(back))
    mixed = mixing(fourth) + mixing(fifth) + mixing(fourth) + mixing(third)
    return down + up + mixed + convolution(first, first) + first + 1


def test_standard_size_has_the_published_number_of_parameters():
    network = build_network(NetworkSettings(name="unext"), in_channels=3, out_channels=1)
    parameters = sum(p.numel() for p in network.parameters())
    assert parameters == published_size(*STANDARD_FILTERS) == 1_471_921  # published as 1.47 M


def test_the_papers_own_channels_are_a_setting():
    network = build_network(
        NetworkSettings(name="unext", filters=(32, 64, 128, 160, 256)), in_channels=3, out_channels=1
    )
    parameters = sum(p.numel() for p in network.parameters())
    assert parameters == published_size(32, 64, 128, 160, 256) == 1_580_961


@pytest.mark.parametrize(("channels", "size"), [(1, (32, 32)), (1, (64, 96)), (3, (96, 32))])
def test_logits_have_the_images_size_and_every_parameter_learns(channels, size):
    torch.manual_seed(0)
    network = build_network(SMALL, in_channels=channels, out_channels=4)
    assert network.stride == stride_of(SMALL) == 32
    logits = network(torch.randn(2, channels, *size))
    assert logits.shape == (2, 4, *size)
    (logits * torch.randn(logits.shape)).sum().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_a_single_small_image_can_be_learnt_from():
    network = build_network(SMALL, in_channels=1, out_channels=2)
    logits = network(torch.randn(1, 1, 32, 32))  # one pixel is left at the bottom, whose spread is unknown
    assert bool(logits.isfinite().all())


@pytest.mark.parametrize("axis", [1, 2])
@pytest.mark.parametrize("channels", [20, 128])
def test_shift_moves_five_groups_of_channels_and_lets_zeros_in(axis, channels):
    tokens = np.random.default_rng(0).normal(size=(2, 7, 6, channels)).astype(np.float32)
    wanted = np.zeros_like(tokens)
    for group, shift in zip(np.array_split(np.arange(channels), 5), (-2, -1, 0, 1, 2), strict=True):
        steps = [0, 0, 0, 0]
        steps[axis] = shift
        wanted[..., group] = ndimage.shift(tokens[..., group], steps, order=0, mode="constant", cval=0.0)
    np.testing.assert_array_equal(shifted(torch.from_numpy(tokens), axis).numpy(), wanted)


@torch.no_grad()
def test_shifts_are_across_the_columns_then_the_rows():
    """A bright place tells what lies two places beside it, and at a corner two in both directions."""
    torch.manual_seed(0)
    mixing = UNeXt(NetworkSettings(filters=(4, 4, 10, 10, 10)), in_channels=1, out_channels=1).mixing[0].eval()
    mixing.place.weight.zero_()
    mixing.place.weight[:, 0, 1, 1] = 1  # the depth-wise convolution passes on
    dark = torch.zeros(1, 10, 9, 9)
    bright = dark.clone()
    bright[0, :, 4, 4] = torch.randn(10)
    reached = (mixing(bright) - mixing(dark)).abs().sum(1)[0] > 1e-9
    wanted = torch.zeros(9, 9, dtype=torch.bool)
    wanted[2:7, 2:7] = True
    assert torch.equal(reached, wanted)


@torch.no_grad()
def test_bfloat16_with_channels_last_stays_near_float32():
    torch.manual_seed(2)
    network = build_network(SMALL, in_channels=1, out_channels=3).eval()
    image = torch.randn(2, 1, 64, 64)
    exact = network(image).softmax(1)
    network.to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = network(image.contiguous(memory_format=torch.channels_last)).float().softmax(1)
    assert float((exact - rounded).abs().max()) < 0.02


def test_another_number_of_filters_is_refused_with_an_example():
    with pytest.raises(SettingsError, match=r"UNeXt needs 5 numbers, such as \(16, 32, 128, 160, 256\)"):
        build_network(NetworkSettings(name="unext", filters=(8, 16, 32)), in_channels=1, out_channels=2)
