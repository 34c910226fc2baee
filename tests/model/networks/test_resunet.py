"""The ResUNet: its residual block against MONAI's, its size, and memory that stays whole."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from autoseg.model.networks import build_network
from autoseg.model.networks.layers import Parts
from autoseg.model.networks.unet import ResidualStage
from autoseg.model.settings.settings import NetworkSettings

MONAIS_NORMS = {"instance": ("INSTANCE", {"affine": True}), "batch": ("BATCH", {})}


@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize(
    ("dims", "before", "after", "stride"),
    [(2, 4, 4, 1), (2, 4, 6, 1), (2, 4, 4, 2), (2, 4, 6, (1, 2)), (3, 4, 4, 1), (3, 4, 6, (1, 2, 2)), (3, 4, 8, 2)],
)
def test_block_and_its_gradients_equal_monais(norm, dims, before, after, stride):
    from monai.networks.blocks import UnetResBlock

    torch.manual_seed(0)
    ours = ResidualStage(before, after, Parts(dims, norm), stride=stride)
    theirs = UnetResBlock(dims, before, after, 3, stride, MONAIS_NORMS[norm])
    for parameter in ours.parameters():
        nn.init.uniform_(parameter, -0.5, 1.0)
    pairs = {"first.0": "conv1.conv", "first.1": "norm1", "second": "conv2.conv", "norm": "norm2"}
    if before != after or stride != 1:
        pairs |= {"projection.0": "conv3.conv", "projection.1": "norm3"}
    for mine, monais in pairs.items():
        layer = ours.get_submodule(mine)
        theirs.get_submodule(monais).load_state_dict(getattr(layer, "norm", layer).state_dict())
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())
    one = torch.randn(2, before, *(4, 8, 12)[-dims:]).requires_grad_()
    two = one.detach().clone().requires_grad_()
    toward = torch.randn(ours(one).shape)
    (ours(one) * toward).sum().backward()
    (theirs(two) * toward).sum().backward()
    torch.testing.assert_close(ours(one), theirs(two), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(one.grad, two.grad, rtol=1e-3, atol=1e-3)
    for mine, monais in pairs.items():
        mine, monais = (model.get_submodule(path) for model, path in ((ours, mine), (theirs, monais)))
        torch.testing.assert_close(
            next(mine.parameters()).grad, next(monais.parameters()).grad, rtol=1e-3, atol=1e-3
        )


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize("filters", [(4, 8), (4, 8, 8, 16)])
def test_number_of_parameters_by_hand(dims, norm, filters):
    settings = NetworkSettings(name="resunet", filters=filters, norm=norm)
    network = build_network(settings, in_channels=2, out_channels=5, spatial_dims=dims)
    window, corner = 3**dims, 2**dims
    # Every stage changes the size or the channels, so each has a projection: weights and two numbers a channel.
    down = sum(window * (b + a) * a + b * a + 6 * a for b, a in pairwise((2, *filters)))
    up = sum(
        corner * below * here + window * 3 * here * here + 2 * here * here + 6 * here
        for here, below in pairwise(filters)
    )
    assert sum(p.numel() for p in network.parameters()) == down + up + 5 * filters[0] + 5


def test_standard_size():
    network = build_network(NetworkSettings(name="resunet"), in_channels=1, out_channels=3)
    assert sum(p.numel() for p in network.parameters()) == 5_441_555
    assert network.stride == 32


def test_no_block_of_equal_size_and_channels_has_a_projection():
    assert isinstance(ResidualStage(8, 8, Parts()).projection, nn.Identity)
    assert len(list(ResidualStage(8, 8, Parts(), stride=2).projection.parameters())) == 3


def test_dropout_leaves_out_channels_while_training_only():
    torch.manual_seed(0)
    settings = NetworkSettings(name="resunet", filters=(8, 16), dropout=0.5)
    network = build_network(settings, in_channels=1, out_channels=2)
    image = torch.randn(1, 1, 16, 16)
    assert not torch.equal(network(image), network(image))
    assert torch.equal(network.eval()(image), network(image))
    left_out = (ResidualStage(1, 64, Parts(dropout=0.5))(image) == 0).all(dim=(2, 3)).float().mean()
    assert 0.3 < float(left_out) < 0.7


def test_no_convolution_of_one_pixel_is_strided():
    # oneDNN writes beyond its memory there, which ends the program or, worse, does not.
    network = build_network(NetworkSettings(name="resunet", filters=(4, 12, 20)), in_channels=3, out_channels=2)
    strided = [m for m in network.modules() if isinstance(m, nn.Conv2d) and m.stride != (1, 1)]
    assert len(strided) == 2
    assert {m.kernel_size for m in strided} == {(3, 3)}
