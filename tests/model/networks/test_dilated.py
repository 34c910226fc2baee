import pytest
import torch

from autoseg.errors import SettingsError
from autoseg.model.networks import build_network, stride_of
from autoseg.model.networks.build import FINDERS, NETWORKS
from autoseg.model.settings.settings import NetworkSettings

SETTINGS = NetworkSettings(name="dilated")


def test_it_is_small_and_sees_far():
    network = build_network(SETTINGS, in_channels=1, out_channels=2).eval()
    assert sum(value.numel() for value in network.parameters()) < 50_000
    assert network.stride == stride_of(SETTINGS) == 2
    # Without normalisation, which sees the whole slice, what a pixel's answer depends on is the field of view.
    for level in network.levels:
        level[1] = torch.nn.Identity()
    image = torch.zeros(1, 1, 320, 320, requires_grad=True)
    network(image)[0, 1, 160, 160].backward()
    seen = image.grad[0, 0].abs().sum(0).nonzero().ravel()
    assert 125 <= int(seen.max() - seen.min()) <= 140


def test_its_answer_has_the_size_of_the_image():
    network = build_network(SETTINGS, in_channels=3, out_channels=4)
    assert network(torch.zeros(2, 3, 10, 26)).shape == (2, 4, 10, 26)


def test_it_can_learn_in_bfloat16():
    network = build_network(SETTINGS, in_channels=1, out_channels=2).to(memory_format=torch.channels_last)
    image = torch.randn(4, 1, 64, 64).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        network(image).float().square().mean().backward()
    assert all(torch.isfinite(value.grad).all() for value in network.parameters())


def test_other_filters_are_refused_and_it_is_no_network_to_segment_with():
    with pytest.raises(SettingsError, match=r"filters is \(16, 24\).*multiples of 16"):
        build_network(NetworkSettings(name="dilated", filters=(16, 24)), in_channels=1, out_channels=2)
    with pytest.raises(SettingsError, match="no 3-D form"):
        build_network(SETTINGS, in_channels=1, out_channels=2, spatial_dims=3)
    assert not set(FINDERS) & set(NETWORKS)
