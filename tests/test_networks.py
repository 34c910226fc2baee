"""Networks: shapes, gradients, and a normalisation layer that equals torch's."""

import pytest
import torch
from torch import nn

from autoseg.errors import SettingsError
from autoseg.networks import build_network
from autoseg.networks.layers import InstanceNormLeakyReLU
from autoseg.settings import NetworkSettings


@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize("mean", [0.0, 30.0])
def test_norm_equals_torchs_instance_norm_and_leaky_relu(channels_last, mean):
    generator = torch.Generator().manual_seed(0)
    ours, torchs = InstanceNormLeakyReLU(6), nn.Sequential(nn.InstanceNorm2d(6, affine=True), nn.LeakyReLU(0.01))
    with torch.no_grad():
        ours.weight.copy_(torch.rand(6, generator=generator) + 0.5)
        ours.bias.copy_(torch.randn(6, generator=generator))
    torchs[0].load_state_dict(ours.state_dict())
    one = torch.randn(3, 6, 9, 7, generator=generator) * 2 + mean
    if channels_last:
        one = one.contiguous(memory_format=torch.channels_last)
    two = one.clone(memory_format=torch.contiguous_format)
    toward = torch.randn(3, 6, 9, 7, generator=generator)
    for layer, features in ((ours, one.requires_grad_()), (torchs, two.requires_grad_())):
        (layer(features) * toward).sum().backward()
    torch.testing.assert_close(ours(one), torchs(two), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(one.grad, two.grad, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(ours.weight.grad, torchs[0].weight.grad, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(ours.bias.grad, torchs[0].bias.grad, rtol=1e-3, atol=1e-3)


def test_norm_in_bfloat16_stays_near_float32():
    generator = torch.Generator().manual_seed(1)
    layer = InstanceNormLeakyReLU(8)
    features = torch.randn(2, 8, 64, 64, generator=generator) * 3 + 5
    with torch.no_grad():
        exact = layer(features)
        rounded = layer(features.bfloat16()).float()
    # A bfloat16 number near 5 is only known to 1/64, which becomes 1/190 of the deviation 3.
    assert float((exact - rounded).abs().max()) < 0.05
    assert abs(float(rounded.mean() - exact.mean())) < 2e-3


def test_unet_gives_logits_of_the_images_size_and_every_weight_learns():
    network = build_network(NetworkSettings(filters=(8, 16, 32)), in_channels=2, out_channels=4)
    logits = network(torch.randn(2, 2, 32, 48))
    assert logits.shape == (2, 4, 32, 48)
    assert network.stride == 4
    logits.square().mean().backward()
    still = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert still == []


def test_unet_overfits_four_images():
    torch.manual_seed(0)
    images, labels = torch.randn(4, 1, 32, 32) * 0.3, torch.zeros(4, 32, 32, dtype=torch.long)
    for index in range(4):
        labels[index, 4 + 3 * index : 14 + 3 * index, 6:20] = 1
    images[:, 0] += labels
    network = build_network(NetworkSettings(filters=(8, 16, 32)), in_channels=1, out_channels=2)
    optimizer = torch.optim.AdamW(network.parameters(), 1e-2)
    for _ in range(60):
        loss = nn.functional.cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    mask, reference = network(images).argmax(1) == 1, labels == 1
    assert 2 * (mask & reference).sum() / (mask.sum() + reference.sum()) > 0.95


def test_unknown_network_names_the_known_ones():
    with pytest.raises(SettingsError, match=r"no network 'vnet'.*unet"):
        build_network(NetworkSettings(name="vnet"), in_channels=1, out_channels=2)
