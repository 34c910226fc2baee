"""Costs of networks: by hand for single layers and for the whole U-Net."""

import pytest
import torch
from torch import Tensor, nn

from autoseg.model.networks import build_network
from autoseg.model.networks.cost import Cost, count_cost
from autoseg.model.settings.settings import NetworkSettings


class Attention(nn.Module):
    """Attention over all pixels, and a product of matrices written as a sum over indices."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, image: Tensor) -> Tensor:
        tokens = image.flatten(2).transpose(1, 2)
        answer = self.attention(tokens, tokens, tokens, need_weights=False)[0]
        return torch.einsum("bqc,bkc->bqk", answer, tokens)


@pytest.mark.parametrize(
    ("layer", "shape", "parameters", "multiply_adds"),
    [
        (nn.Conv2d(3, 8, kernel_size=3, padding=1), (3, 16, 20), 3 * 8 * 9 + 8, 16 * 20 * 3 * 8 * 9),
        (nn.Conv2d(3, 8, kernel_size=2, stride=2), (3, 16, 20), 3 * 8 * 4 + 8, 8 * 10 * 3 * 8 * 4),
        (nn.Conv2d(6, 6, kernel_size=3, padding=1, groups=6, bias=False), (6, 10, 10), 6 * 9, 100 * 6 * 9),
        # A pixel of the input goes to four of the output.
        (nn.ConvTranspose2d(8, 4, kernel_size=2, stride=2), (8, 6, 6), 8 * 4 * 4 + 4, 36 * 8 * 4 * 4),
        (nn.Linear(12, 5), (3, 7, 12), 12 * 5 + 5, 3 * 7 * 12 * 5),
        (nn.Conv3d(2, 4, kernel_size=3, padding=1), (2, 4, 6, 8), 2 * 4 * 27 + 4, 4 * 6 * 8 * 2 * 4 * 27),
        # In and out of attention 4 × 8 × 8 a token; queries with keys, weights with values, and the sum at the end.
        (Attention(), (8, 5, 4), 4 * (64 + 8), 20 * 4 * 64 + 3 * 20 * 20 * 8),
    ],
)
def test_single_layers_by_hand(layer, shape, parameters, multiply_adds):
    assert count_cost(layer, shape) == Cost(parameters, multiply_adds)


def test_whole_unet_by_hand():
    filters, classes, channels, side = (8, 16, 32), 3, 2, 32
    parameters = multiply_adds = 0
    before = channels
    for level, width in enumerate(filters):
        pixels = (side >> level) ** 2
        parameters += 9 * width * (before + width) + 4 * width  # two normalisations, two numbers a channel
        multiply_adds += pixels * 9 * width * (before + width)
        before = width
    for level in (1, 0):
        pixels, width, below = (side >> level) ** 2, filters[level], filters[level + 1]
        parameters += 4 * below * width + 9 * width * (2 * width + width) + 4 * width
        multiply_adds += pixels * below * width + pixels * 9 * width * (2 * width + width)
    parameters += filters[0] * classes + classes
    multiply_adds += side * side * filters[0] * classes
    network = build_network(NetworkSettings(filters=filters), in_channels=channels, out_channels=classes)
    assert count_cost(network, (channels, side, side)) == Cost(parameters, multiply_adds)


def test_a_size_between_strides_costs_what_the_padded_image_costs():
    network = build_network(NetworkSettings(filters=(4, 8, 16)), in_channels=1, out_channels=2)
    assert count_cost(network, (1, 30, 33)) == count_cost(network, (1, 32, 36))
    assert count_cost(network, (1, 64, 36)).multiply_adds == 2 * count_cost(network, (1, 32, 36)).multiply_adds


def test_the_network_is_left_as_it_was():
    network = build_network(NetworkSettings(name="unext", filters=(4, 4, 8, 8, 8)), in_channels=1, out_channels=2)
    network.train()
    network.tail.eval().requires_grad_(False)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    cost = count_cost(network, (1, 32, 32))
    assert [network.training, network.last.training, network.tail.training] == [True, True, False]
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    frozen = sum(parameter.numel() for parameter in network.tail.parameters())
    assert cost.parameters == sum(parameter.numel() for parameter in network.parameters()) - frozen
    assert torch.backends.mha.get_fastpath_enabled()


def test_unext_costs_what_its_paper_says():
    network = build_network(NetworkSettings(name="unext"), in_channels=3, out_channels=1)
    assert count_cost(network, (3, 256, 256)).multiply_adds == pytest.approx(0.57e9, rel=0.02)
