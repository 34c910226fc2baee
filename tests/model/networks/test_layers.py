"""Layers that networks share: ours equal torch's, in 2-D and 3-D, where they learn and where they predict."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from autoseg.model.networks.layers import BatchNormLeakyReLU, InstanceNormLeakyReLU, Parts

LAYOUTS = {2: torch.channels_last, 3: torch.channels_last_3d}
NORMS = {
    ("instance", 2): nn.InstanceNorm2d,
    ("instance", 3): nn.InstanceNorm3d,
    ("batch", 2): nn.BatchNorm2d,
    ("batch", 3): nn.BatchNorm3d,
}


@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize("mean", [0.0, 30.0])
@pytest.mark.parametrize("dims", [2, 3])
def test_norm_equals_torchs_instance_norm_and_leaky_relu(channels_last, mean, dims):
    generator = torch.Generator().manual_seed(0)
    shape = (3, 6, 9, 7) if dims == 2 else (3, 6, 4, 9, 7)
    ours = InstanceNormLeakyReLU(6)
    torchs = nn.Sequential(NORMS["instance", dims](6, affine=True), nn.LeakyReLU(0.01))
    with torch.no_grad():
        ours.weight.copy_(torch.rand(6, generator=generator) + 0.5)
        ours.bias.copy_(torch.randn(6, generator=generator))
    torchs[0].load_state_dict(ours.state_dict())
    one = torch.randn(shape, generator=generator) * 2 + mean
    if channels_last:
        one = one.contiguous(memory_format=LAYOUTS[dims])
    two = one.clone(memory_format=torch.contiguous_format)
    toward = torch.randn(shape, generator=generator)
    for layer, features in ((ours, one.requires_grad_()), (torchs, two.requires_grad_())):
        (layer(features) * toward).sum().backward()
    torch.testing.assert_close(ours(one), torchs(two), rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        before = one.clone()
        torch.testing.assert_close(ours(one), torchs(two), rtol=1e-4, atol=1e-4)
        assert torch.equal(one, before)
    torch.testing.assert_close(one.grad, two.grad, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(ours.weight.grad, torchs[0].weight.grad, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(ours.bias.grad, torchs[0].bias.grad, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("norm", "dims"), NORMS)
@pytest.mark.parametrize("slope", [0.01, 1.0])
@pytest.mark.parametrize("with_shortcut", [True, False])
def test_shortcut_is_added_before_the_leaky_relu(norm, dims, slope, with_shortcut):
    generator = torch.Generator().manual_seed(2)
    shape = (3, 5, 8, 6) if dims == 2 else (2, 5, 3, 8, 6)
    ours = (
        InstanceNormLeakyReLU(5, slope=slope)
        if norm == "instance"
        else BatchNormLeakyReLU(5, spatial_dims=dims, slope=slope)
    )
    torchs = NORMS[norm, dims](5, affine=True)
    features, shortcut, toward = (torch.randn(shape, generator=generator) for _ in range(3))
    gradients = []
    for layer in (ours, torchs):
        one, two = features.clone().requires_grad_(), shortcut.clone().requires_grad_()
        if layer is ours:
            result = layer(one, two) if with_shortcut else layer(one)
        else:
            result = functional.leaky_relu(layer(one) + (two if with_shortcut else 0), slope)
        if layer is ours:
            with torch.no_grad():
                predicted = layer(one, two) if with_shortcut else layer(one)
            torch.testing.assert_close(predicted, result, rtol=1e-4, atol=1e-5)
        (result * toward).sum().backward()
        gradients.append((result.detach(), one.grad, *((two.grad,) if with_shortcut else ())))
    for mine, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


def test_gradient_is_that_of_finite_differences():
    layer = InstanceNormLeakyReLU(2).double()
    features, shortcut = (torch.randn(2, 2, 3, 4, dtype=torch.double).requires_grad_() for _ in range(2))
    # The layer keeps its small sums in float32, hence the tolerance.
    assert torch.autograd.gradcheck(layer, (features, shortcut), eps=1e-3, atol=1e-2)


def test_batch_norm_predicts_with_the_averages_of_training():
    torch.manual_seed(0)
    layer, torchs = BatchNormLeakyReLU(4), nn.BatchNorm2d(4)
    for _ in range(3):
        features = torch.randn(8, 4, 6, 6) * 2 + 3
        layer(features), torchs(features)
    features = torch.randn(1, 4, 6, 6)
    expected = functional.leaky_relu(torchs.eval()(features), 0.01)
    torch.testing.assert_close(layer.eval()(features), expected)


@pytest.mark.parametrize("dims", [2, 3])
def test_a_single_pixel_is_normalised_by_the_averages_so_far(dims):
    layer = BatchNormLeakyReLU(4, spatial_dims=dims)
    pixel = torch.rand(1, 4, *[1] * dims)
    with torch.no_grad():
        torch.testing.assert_close(layer(pixel), pixel / (1 + 1e-5) ** 0.5)  # mean 0 and variance 1 at the start


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("with_shortcut", [True, False])
def test_norm_in_bfloat16_stays_near_float32(dims, with_shortcut):
    generator = torch.Generator().manual_seed(1)
    layer = InstanceNormLeakyReLU(8)
    shape = (2, 8, 64, 64) if dims == 2 else (2, 8, 8, 32, 32)
    features = torch.randn(shape, generator=generator) * 3 + 5
    shortcut = torch.randn(shape, generator=generator) if with_shortcut else None
    with torch.no_grad():
        exact = layer(features, shortcut)
        rounded = layer(
            features.bfloat16(), shortcut
        )  # a float32 shortcut beside bfloat16 features, as autocast has
    assert rounded.dtype == torch.bfloat16
    # A bfloat16 number near 5 is only known to 1/64, which becomes 1/190 of the deviation 3.
    assert float((exact - rounded.float()).abs().max()) < 0.05
    assert abs(float(rounded.float().mean() - exact.mean())) < 2e-3


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN")
@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize(("size", "stride"), [(3, 1), (3, 2), (1, 1)])
def test_a_single_small_image_is_predicted_by_onednn_and_gives_what_torch_does(dims, size, stride, monkeypatch):
    torch.manual_seed(0)
    layer = Parts(dims).convolution(20, 12, size=size, stride=stride, bias=size == 1)
    features = torch.randn(1, 20, *[6] * dims).contiguous(memory_format=LAYOUTS[dims])
    expected = layer(features).detach()
    by_onednn, calls = torch.mkldnn_convolution, []

    def counted(*given):
        calls.append(given)
        return by_onednn(*given)

    monkeypatch.setattr(torch, "mkldnn_convolution", counted)
    with torch.inference_mode():
        torch.testing.assert_close(layer(features), expected, rtol=1e-4, atol=1e-5)
    assert len(calls) == 1
    layer(features).sum().backward()  # what learns, or is in another format, is left to torch
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        assert layer(features).dtype == torch.bfloat16
    with torch.inference_mode():
        assert layer.double()(features.double()).dtype == torch.float64
    assert len(calls) == 1
