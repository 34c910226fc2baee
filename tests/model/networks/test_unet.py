"""The U-Net: old files and seeds, MONAI's with the same weights, deep supervision, 3-D, export."""

import io
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn import functional

from autoseg.errors import SettingsError
from autoseg.model.networks import build_network, learn, stride_of
from autoseg.model.networks.unet import STANDARD_FILTERS
from autoseg.model.settings.settings import NetworkSettings

LAYOUTS = {2: torch.channels_last, 3: torch.channels_last_3d}
SHAPES = {2: (32, 48), 3: (8, 16, 24)}


def build(name="unet", *, in_channels=1, out_channels=3, dims=2, **options):
    options = {"filters": (4, 8, 12), **options}
    settings = NetworkSettings(name=name, **options)
    return build_network(settings, in_channels=in_channels, out_channels=out_channels, spatial_dims=dims)


def weights_of_the_first_release(filters, in_channels, out_channels):
    """Draw weights in the order in which version 0.1 did, with its names."""
    layers = {}
    for index, (before, after) in enumerate(pairwise((in_channels, *filters))):
        layers[f"contraction.{index}.0"] = nn.Conv2d(before, after, 3, bias=False)
        layers[f"contraction.{index}.2"] = nn.Conv2d(after, after, 3, bias=False)
    upward = list(pairwise(filters[::-1]))
    for index, (below, here) in enumerate(upward):
        layers[f"upsampling.{index}"] = nn.ConvTranspose2d(below, here, 2, bias=False)
    for index, (_, here) in enumerate(upward):
        layers[f"expansion.{index}.0"] = nn.Conv2d(2 * here, here, 3, bias=False)
        layers[f"expansion.{index}.2"] = nn.Conv2d(here, here, 3, bias=False)
    layers["tail"] = nn.Conv2d(filters[0], out_channels, 1)
    weights = {}
    for name, layer in layers.items():
        nn.init.kaiming_normal_(layer.weight, a=0.01)
        weights[f"{name}.weight"] = layer.weight
        if name == "tail":
            weights["tail.bias"] = nn.init.zeros_(layer.bias)
        elif not name.startswith("upsampling"):
            path, number = name.rsplit(".", 1)
            weights[f"{path}.{int(number) + 1}.weight"] = torch.ones(layer.out_channels)
            weights[f"{path}.{int(number) + 1}.bias"] = torch.zeros(layer.out_channels)
    return weights


@pytest.mark.parametrize("filters", [(4, 8), STANDARD_FILTERS])
def test_names_and_weights_of_a_seed_are_those_of_the_first_release(filters):
    torch.manual_seed(5)
    former = weights_of_the_first_release(filters, 2, 4)
    torch.manual_seed(5)
    now = build(filters=filters, in_channels=2, out_channels=4).state_dict()
    assert sorted(now) == sorted(former)
    assert [key for key in now if not torch.equal(now[key], former[key])] == []


def test_deep_supervision_adds_heads_and_changes_no_other_weight():
    plain, supervised = [], []
    for weights, options in ((plain, {}), (supervised, {"deep_supervision": True})):
        torch.manual_seed(5)
        weights.append(build(filters=(4, 8, 12, 16), **options).state_dict())
    assert {key for key in supervised[0] if key not in plain[0]} == {"heads.0.weight", "heads.0.bias"}
    assert all(torch.equal(plain[0][key], supervised[0][key]) for key in plain[0])


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize("filters", [(4, 8), (4, 8, 12, 16, 16)])
def test_number_of_parameters_by_hand(dims, norm, filters):
    network = build(filters=filters, norm=norm, in_channels=2, out_channels=5, dims=dims)
    window, corner = 3**dims, 2**dims
    down = sum(window * (b + a) * a + 4 * a for b, a in pairwise((2, *filters)))
    up = sum(corner * below * here + window * 3 * here * here + 4 * here for here, below in pairwise(filters))
    assert sum(p.numel() for p in network.parameters()) == down + up + 5 * filters[0] + 5


def test_standard_size():
    network = build(filters=None)
    assert sum(p.numel() for p in network.parameters()) == 5_155_395
    assert network.stride == 32


def copy_block(ours, theirs):
    for number in (1, 2):
        convolution, norm = ours[2 * number - 2], ours[2 * number - 1]
        getattr(theirs, f"conv{number}").conv.weight.copy_(convolution.weight)
        getattr(theirs, f"norm{number}").weight.copy_(norm.weight)
        getattr(theirs, f"norm{number}").bias.copy_(norm.bias)


@torch.no_grad()
def monais(network, *, in_channels, strides, dims):
    """Build MONAI's network of the same structure and give it our weights."""
    from monai.networks.nets import DynUNet

    filters = [level[0].out_channels for level in network.contraction]
    theirs = DynUNet(
        spatial_dims=dims,
        in_channels=in_channels,
        out_channels=network.tail.out_channels,
        kernel_size=[3] * len(filters),
        strides=[1, *strides],
        upsample_kernel_size=strides,
        filters=filters,
        deep_supervision=hasattr(network, "heads"),
        deep_supr_num=len(getattr(network, "heads", [0])),
    )
    blocks = [theirs.input_block, *theirs.downsamples, theirs.bottleneck]
    for ours, block in zip(network.contraction, blocks, strict=True):
        copy_block(ours, block)
    for upsampling, ours, block in zip(network.upsampling, network.expansion, theirs.upsamples, strict=True):
        block.transp_conv.conv.weight.copy_(upsampling.weight)
        copy_block(ours, block.conv_block)
    theirs.output_block.conv.conv.load_state_dict(network.tail.state_dict())
    for ours, head in zip(
        getattr(network, "heads", []), getattr(theirs, "deep_supervision_heads", []), strict=True
    ):
        head.conv.conv.load_state_dict(ours.state_dict())
    return theirs


def redraw_norms(network):
    """Give every normalisation weights of its own, which all start as 1 and 0."""
    for key, parameter in network.named_parameters():
        if parameter.dim() == 1 and "tail" not in key:
            nn.init.uniform_(parameter, 0.2, 1.5)


@pytest.mark.parametrize(
    ("dims", "strides", "shape"),
    [
        (2, ((2, 2),) * 3, (32, 48)),
        (2, ((1, 2), (2, 2), (2, 2)), (24, 48)),
        (3, ((2, 2, 2),) * 3, (16, 24, 32)),
        (3, ((1, 2, 2), (1, 2, 2), (2, 2, 2)), (6, 32, 40)),
    ],
)
def test_logits_equal_monais_with_the_same_weights(dims, strides, shape):
    torch.manual_seed(0)
    network = build(filters=(4, 8, 12, 16), strides=strides, in_channels=2, dims=dims)
    redraw_norms(network)
    theirs = monais(network, in_channels=2, strides=strides, dims=dims)
    image = torch.randn(2, 2, *shape)
    torch.testing.assert_close(network(image), theirs(image), rtol=1e-3, atol=1e-4)


def test_coarser_answers_equal_monais_deep_supervision():
    torch.manual_seed(0)
    network = build(filters=(4, 8, 12, 16, 16), deep_supervision=True)
    redraw_norms(network)
    theirs = monais(network, in_channels=1, strides=[2, 2, 2, 2], dims=2).train()
    image = torch.randn(2, 1, 64, 32)
    outputs = learn(network, image, torch.zeros(2, 64, 32, dtype=torch.long), torch.ones(2, 2, dtype=torch.bool))
    assert [tuple(other.shape[2:]) for other in outputs.others] == [(32, 16), (16, 8)]
    for mine, expected in zip((outputs.logits, *outputs.others), theirs(image).unbind(1), strict=True):
        torch.testing.assert_close(functional.interpolate(mine, (64, 32)), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("filters", "weights"),
    [
        ((4, 8, 8), (2 / 3, 1 / 3)),
        ((4, 8, 8, 8), (2 / 3, 1 / 3)),
        ((4, 8, 8, 8, 8), (4 / 7, 2 / 7, 1 / 7)),
        ((4, 8, 8, 8, 8, 8), (8 / 15, 4 / 15, 2 / 15, 1 / 15)),
    ],
)
@pytest.mark.parametrize("name", ["unet", "resunet"])
def test_each_coarser_answer_counts_half_and_the_two_coarsest_stages_do_not(name, filters, weights):
    network = build(name, filters=filters, deep_supervision=True)
    image = torch.randn(1, 1, 64, 64)
    outputs = network.learn(image, image[:, 0].long(), torch.ones(1, 2, dtype=torch.bool))
    assert outputs.weights == pytest.approx(weights)
    assert [other.shape[-1] for other in outputs.others] == [32, 16, 8][: len(weights) - 1]
    assert torch.equal(outputs.logits, network(image))


def test_deep_supervision_of_two_stages_is_refused():
    with pytest.raises(SettingsError, match="needs 3 stages or more, and filters has 2"):
        build(filters=(4, 8), deep_supervision=True)


@pytest.mark.parametrize("name", ["unet", "resunet"])
@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_in_3d_every_parameter_learns_at_any_size(name, norm):
    torch.manual_seed(0)
    network = build(name, dims=3, norm=norm, deep_supervision=True, in_channels=2)
    assert network.stride == 4
    images = torch.randn(2, 2, 4, 12, 8)
    outputs = network.learn(images, torch.zeros(2, 4, 12, 8, dtype=torch.long), torch.ones(2, 2, dtype=torch.bool))
    assert outputs.logits.shape == (2, 3, 4, 12, 8)
    assert [other.shape for other in outputs.others] == [(2, 3, 2, 6, 4)]
    sum((answer * torch.randn(answer.shape)).sum() for answer in (outputs.logits, *outputs.others)).backward()
    assert [key for key, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


@pytest.mark.parametrize("name", ["unet", "resunet"])
@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("norm", ["instance", "batch"])
@torch.no_grad()
def test_bfloat16_with_channels_last_stays_near_float32(name, dims, norm):
    torch.manual_seed(0)
    network = build(name, dims=dims, norm=norm)
    image = torch.randn(2, 1, *SHAPES[dims])
    exact = network(image).softmax(1)
    network.to(memory_format=LAYOUTS[dims])
    with torch.autocast("cpu", torch.bfloat16):
        rounded = network(image.contiguous(memory_format=LAYOUTS[dims])).float().softmax(1)
    assert float((exact - rounded).abs().mean()) < 0.005
    assert float((exact - rounded).abs().max()) < 0.08


def test_steps_that_do_not_fit_are_refused():
    for strides in (((2, 2, 2),), ((2, 2, 2), (2, 2))):
        with pytest.raises(SettingsError, match="give 2, one from each of the 3 stages to the next"):
            build(strides=strides, dims=3)


def test_stride_with_steps_of_each_axis_is_a_multiple_of_all():
    network = build(strides=((1, 2, 2), (2, 2, 2)), dims=3)
    assert network.stride == 4
    assert network(torch.randn(1, 1, 2, 8, 4)).shape == (1, 3, 2, 8, 4)
    assert stride_of(NetworkSettings(filters=(4, 8, 12))) == 4


@pytest.mark.parametrize("name", ["unet", "resunet"])
@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # others still run what it writes
def test_torchscript_gives_the_same_logits(name, dims, norm):
    torch.manual_seed(0)
    network = build(name, dims=dims, norm=norm, deep_supervision=True)
    images = torch.randn(3, 1, *SHAPES[dims]) + 1
    network(images)
    network.eval().requires_grad_(False)
    redraw_norms(network)
    file = io.BytesIO()
    torch.jit.save(torch.jit.trace(network, images[:1]), file)
    file.seek(0)
    script = torch.jit.load(file)
    for image in (images, images[..., :16, :16]):  # another number of images, another size
        torch.testing.assert_close(script(image), network(image), rtol=1e-3, atol=1e-4)
