"""The shallow U-Net: the published count, the published layout, in 2-D and 3-D."""

import pytest
import torch
from torch import nn

from autoseg.errors import SettingsError
from autoseg.model.networks import build_network, strides_of
from autoseg.model.networks.cost import count_cost
from autoseg.model.settings.settings import NetworkSettings

SHALLOW = NetworkSettings(name="shallow")


def parameters(**options):
    network = build_network(SHALLOW, in_channels=1, **options)
    return sum(parameter.numel() for parameter in network.parameters())


def test_it_has_as_many_parameters_as_published():
    # As published: one channel, one structure, one output with a sigmoid.
    assert parameters(out_channels=1, spatial_dims=3) == 468_193
    # Ours has an output for the background too: 48 weights and a bias more.
    assert parameters(out_channels=2, spatial_dims=3) == 468_193 + 49
    # In 2-D each filter has 9 weights in place of 27: biases, normalisations and the last layer stay.
    weights = 24 + 24 * 48 + 48 * 48 + 48 * 96 + 144 * 48 + 48 * 48
    assert parameters(out_channels=1, spatial_dims=2) == 468_193 - 18 * weights
    assert sum((24, 48, 48, 96, 48, 48)) * 3 + 27 * weights + 49 == 468_193


@pytest.mark.parametrize("dims", [2, 3])
def test_it_is_what_the_plain_layers_give(dims):
    """Against the layers written out once more, with the same weights."""
    torch.manual_seed(0)
    settings = NetworkSettings(name="shallow", filters=(3, 4, 5, 6, 7, 8))
    network = build_network(settings, in_channels=2, out_channels=3, spatial_dims=dims)
    convolution, norm = (nn.Conv2d, nn.BatchNorm2d) if dims == 2 else (nn.Conv3d, nn.BatchNorm3d)
    pool, up = (nn.MaxPool2d(2) if dims == 2 else nn.MaxPool3d(2)), nn.Upsample(scale_factor=2, mode="nearest")

    def two(before, between, after):
        layers = []
        for channels, width in ((before, between), (between, after)):
            layers += [convolution(channels, width, kernel_size=3, padding=1), norm(width), nn.ReLU()]
        return nn.Sequential(*layers)

    down, bottom, upward, tail = two(2, 3, 4), two(4, 5, 6), two(10, 7, 8), convolution(8, 3, kernel_size=1)
    plain = nn.ModuleList([down, bottom, upward, tail])
    with torch.no_grad():
        for mine, theirs in zip(network.parameters(), plain.parameters(), strict=True):
            theirs.copy_(mine)
    image = torch.randn(2, 2, *(8, 12, 6)[:dims])
    seen = down(image)
    expected = tail(upward(torch.cat([up(bottom(pool(seen))), seen], dim=1)))
    assert torch.allclose(network(image), expected, atol=1e-5)
    network.eval(), plain.eval()
    seen = down(image)
    expected = tail(upward(torch.cat([up(bottom(pool(seen))), seen], dim=1)))
    assert torch.allclose(network(image), expected, atol=1e-5)


def test_a_step_of_its_own_along_each_axis():
    settings = NetworkSettings(name="shallow", filters=(2, 2, 2, 2, 2, 2), strides=((2, 2, 1),))
    network = build_network(settings, in_channels=1, out_channels=2, spatial_dims=3)
    assert strides_of(network, 3) == (2, 2, 1)
    assert network(torch.randn(1, 1, 8, 6, 5)).shape == (1, 2, 8, 6, 5)
    # Five slices stay five where they are counted, too.
    whole = count_cost(network, (1, 8, 6, 10)).multiply_adds
    assert count_cost(network, (1, 8, 6, 5)).multiply_adds * 2 == whole


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"filters": (24, 48)}, r"shallow U-Net needs 6 numbers"),
        ({"strides": ((2, 2, 2), (2, 2, 2))}, "divides the size once"),
        ({"strides": ((2, 2),)}, "one tuple of 3 numbers"),
    ],
)
def test_what_cannot_be_built_is_refused(options, words):
    with pytest.raises(SettingsError, match=words):
        build_network(NetworkSettings(name="shallow", **options), in_channels=1, out_channels=2, spatial_dims=3)
