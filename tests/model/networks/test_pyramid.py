"""The multi-scale pyramid: its published size, its two stages against a plain rewriting."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from autoseg.errors import SettingsError
from autoseg.model.networks import build_network, learn, stride_of
from autoseg.model.networks.pyramid import STANDARD_FILTERS, Pyramid, filters_of
from autoseg.model.settings.settings import NetworkSettings

SMALL = NetworkSettings(name="pyramid", filters=(4, 8, 16, 32, 64), dropout=0.0)


def published_size(inputs, outputs, *, size=256):
    """Count by hand: weights, biases and one slope a channel of every layer of one stage, as it is described."""
    a, b, c, d, e = size // 16, size // 8, size // 4, size // 2, size

    def layer(before, after, pixels):
        return before * after * pixels + 2 * after

    encoder = layer(inputs, a, 9) + 2 * layer(b, b, 9) + 3 * layer(c, c, 9) + 3 * layer(d, d, 9)
    steps = layer(a, b, 4) + layer(b, c, 4) + layer(c, d, 4) + layer(d, e, 9)
    steps += layer(e, d, 4) + layer(d, c, 4) + layer(c, b, 4)
    decoder = layer(d, e, 9) + 2 * layer(e, e, 9) + layer(d + c, d, 9) + 2 * layer(d, d, 9)
    decoder += layer(c + b, c, 9) + layer(c, c, 9) + layer(b + a, b, 9)
    return encoder + steps + decoder + b * outputs + outputs


def test_six_structures_at_256_have_the_published_number_of_parameters():
    network = build_network(NetworkSettings(name="pyramid"), in_channels=1, out_channels=7)
    parameters = sum(p.numel() for p in network.parameters())
    assert parameters == 6_368_414  # published as 6.37 M
    assert parameters == published_size(1, 7) + published_size(8, 7)


def test_widths_are_parts_of_the_input_size():
    assert filters_of(256) == STANDARD_FILTERS
    network = Pyramid(NetworkSettings(filters=filters_of(64)), in_channels=1, out_channels=4)
    assert sum(p.numel() for p in network.parameters()) == sum(published_size(n, 4, size=64) for n in (1, 5))


@pytest.mark.parametrize("channels", [1, 3])
def test_logits_have_the_images_size_and_every_parameter_learns(channels):
    torch.manual_seed(0)
    network = build_network(SMALL, in_channels=channels, out_channels=4)
    images = torch.randn(2, channels, 32, 48)
    outputs = learn(network, images, torch.zeros(2, 32, 48, dtype=torch.long), torch.ones(2, 3, dtype=torch.bool))
    assert outputs.logits.shape == outputs.others[0].shape == (2, 4, 32, 48)
    assert outputs.weights == (1.0, 1.0)
    assert network(images).shape == (2, 4, 32, 48)
    assert network.stride == stride_of(SMALL) == 16
    (outputs.logits.square().mean() + outputs.others[0].square().mean()).backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def activated(features, convolution, slopes, **options):
    kind = functional.conv_transpose2d if options.pop("up", False) else functional.conv2d
    return functional.prelu(kind(features, convolution.weight, convolution.bias, **options), slopes.weight)


def plain_stage(stage, image, *, add_image):
    """Rewrite one stage step by step, in the order of the description."""
    one, two, three, four = stage.encoder
    first = activated(image, *one, padding=1)
    first = first + image if add_image else first
    second = down = activated(first, *stage.down[0], stride=2)
    for at in (0, 2):
        second = activated(second, *two[at : at + 2], padding=1)
    second = second + down
    third = down = activated(second, *stage.down[1], stride=2)
    for at, dilation in ((0, 1), (2, 2), (4, 4)):
        third = activated(third, *three[at : at + 2], padding=dilation, dilation=dilation)
    third = third + down
    fourth = down = activated(third, *stage.down[2], stride=2)
    for at, dilation in ((0, 3), (2, 4), (4, 5)):
        fourth = activated(fourth, *four[at : at + 2], padding=dilation, dilation=dilation)
    fourth = fourth + down
    features = fourth
    for at in (0, 2, 4):
        features = activated(features, *stage.bottom[at : at + 2], padding=1)
    features = features + activated(fourth, *stage.widen, padding=1)
    for step, (beside, convolutions) in enumerate(((third, 3), (second, 2), (first, 1))):
        larger = activated(features, *stage.up[step], stride=2, up=True)
        features = torch.cat([larger, beside], 1)
        for at in range(0, 2 * convolutions, 2):
            features = activated(features, *stage.decoder[step][at : at + 2], padding=1)
        features = features + larger
    return functional.conv2d(features, stage.tail.weight, stage.tail.bias)


def test_both_stages_equal_a_plain_rewriting_of_the_description():
    torch.manual_seed(1)
    network = build_network(SMALL, in_channels=1, out_channels=3).eval()
    image = torch.randn(2, 1, 48, 32)
    half = functional.interpolate(image, size=(24, 16), mode="bilinear", align_corners=False)
    answer = plain_stage(network.coarse, half, add_image=True).softmax(1)
    answer = functional.interpolate(answer, size=(48, 32), mode="bilinear", align_corners=False)
    logits = plain_stage(network.fine, torch.cat([answer, image], 1), add_image=False)
    torch.testing.assert_close(network(image), logits, rtol=1e-4, atol=1e-5)
    outputs = learn(network, image, torch.zeros(2, 48, 32, dtype=torch.long), torch.ones(2, 2, dtype=torch.bool))
    torch.testing.assert_close(outputs.logits, logits, rtol=1e-4, atol=1e-5)
    # What the loss makes of the first stage's answer is the enlarged probabilities themselves.
    torch.testing.assert_close(outputs.others[0].softmax(1), answer, rtol=1e-4, atol=1e-5)


def test_dropout_leaves_out_numbers_while_training_only():
    network = build_network(NetworkSettings(name="pyramid", filters=SMALL.filters), in_channels=1, out_channels=2)
    assert {module.p for module in network.modules() if isinstance(module, nn.Dropout)} == {0.3}
    image = torch.randn(1, 1, 32, 32)
    assert not torch.equal(network(image), network(image))
    network.eval()
    assert torch.equal(network(image), network(image))


@torch.no_grad()
def test_bfloat16_with_channels_last_stays_near_float32():
    torch.manual_seed(2)
    network = build_network(SMALL, in_channels=1, out_channels=3).eval()
    image = torch.randn(2, 1, 32, 32)
    exact = network(image).softmax(1)
    network.to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = network(image.contiguous(memory_format=torch.channels_last)).float().softmax(1)
    assert float((exact - rounded).abs().max()) < 0.02


def test_another_number_of_filters_is_refused_with_an_example():
    with pytest.raises(SettingsError, match=r"pyramid needs 5 numbers, such as \(16, 32, 64, 128, 256\)"):
        build_network(NetworkSettings(name="pyramid", filters=(8, 16)), in_channels=1, out_channels=2)
