"""Every network that the settings can name: shapes, gradients, learning by heart, the model file."""

import pytest
import torch
from torch import nn

from autoseg.errors import SettingsError
from autoseg.image.structures import Structure
from autoseg.model.model import TrainedModel, load_model, save_model
from autoseg.model.networks import NETWORKS, build_network, learn, network_sizes, network_to_load, stride_of
from autoseg.model.networks.build import FINDERS
from autoseg.model.networks.build import KINDS as KINDS_OF_ALL
from autoseg.model.settings.settings import LossSettings, NetworkSettings, Settings
from autoseg.training.losses import outputs_loss

FILTERS = {
    "unet": (8, 16, 32),
    "resunet": (8, 16, 32),
    "shallow": (8, 16, 16, 32, 16, 16),
    "unext": (8, 16, 16, 20, 25),
    "efficientnet": (8, 8, 16),
    "pyramid": (8, 8, 16, 16, 32),
    "maskdino": (8, 16, 32, 32, 32, 32),
}
# U-Nets with deep supervision and batch normalisation are networks of their own here.
KINDS = [(name, {}) for name in NETWORKS] + [
    (name, options)
    for name in ("unet", "resunet", "efficientnet")
    for options in ({"norm": "batch"}, {"deep_supervision": True})
]
every_kind = pytest.mark.parametrize(("name", "options"), KINDS, ids=lambda value: str(value or "plain"))
every_name = pytest.mark.parametrize("name", NETWORKS)


def small(name, **options):
    return NetworkSettings(name=name, filters=FILTERS[name], **{"dropout": 0.0, **options})


def four_images(size=64):
    """Draw two structures on four noisy images, at places of their own."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.zeros(4, size, size, dtype=torch.long)
    for index in range(4):
        labels[index, 7 + 5 * index : 27 + 5 * index, 8:32] = 1
        labels[index, 26:50, 38 + index : 56 + index] = 2
    images = torch.randn(4, 1, size, size, generator=generator) * 0.3 + labels[:, None]
    return images, labels, torch.ones(4, 2, dtype=torch.bool)


def overall_loss(network, images, labels, drawn):
    settings = LossSettings()
    return outputs_loss(learn(network, images, labels, drawn), labels, drawn, settings).total(settings)


@every_kind
@pytest.mark.parametrize(("in_channels", "out_channels", "shape"), [(1, 2, (32, 64)), (5, 7, (64, 32))])
def test_logits_have_the_images_size_and_a_class_for_each_structure(
    name, options, in_channels, out_channels, shape
):
    settings = small(name, **options)
    network = build_network(settings, in_channels=in_channels, out_channels=out_channels)
    assert network.stride == stride_of(settings)
    images = torch.randn(2, in_channels, *shape)
    assert network(images).shape == (2, out_channels, *shape)
    outputs = learn(
        network, images, torch.ones(2, *shape, dtype=torch.long), torch.ones(2, out_channels - 1, dtype=torch.bool)
    )
    assert outputs.logits.shape == (2, out_channels, *shape)
    assert {other.shape[:2] for other in outputs.others} <= {(2, out_channels)}
    assert len(outputs.weights) == 1 + len(outputs.others)


@every_kind
def test_a_gradient_reaches_every_parameter(name, options):
    torch.manual_seed(0)
    network = build_network(small(name, **options), in_channels=1, out_channels=3)
    overall_loss(network, *four_images()).backward()
    assert [key for key, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def least_dice(network, images, labels):
    """Give the Dice of the structure that is found worst."""
    with torch.inference_mode():
        found = network.eval()(images).argmax(1)
    network.train()
    pairs = [(found == structure, labels == structure) for structure in (1, 2)]
    return min(float(2 * (mask & mine).sum() / (mask.sum() + mine.sum())) for mask, mine in pairs)


@every_kind
def test_overfits_four_images(name, options):
    torch.manual_seed(0)
    images, labels, drawn = four_images()
    network = build_network(small(name, **options), in_channels=1, out_channels=3)
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3 if name == "maskdino" else 5e-3)
    for step in range(1, 81):
        loss = overall_loss(network, images, labels, drawn)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 12.0)
        optimizer.step()
        if step % 20 == 0 and least_dice(network, images, labels) > 0.95:
            return
    pytest.fail(f"The Dice is {least_dice(network, images, labels):.3f} after {step} steps.")


@every_kind
def test_saved_and_loaded_gives_the_same_logits(name, options, tmp_path):
    settings = small(name, **options)
    network = build_network(settings, in_channels=1, out_channels=3)
    images, labels, drawn = four_images()
    learn(network, images, labels, drawn)  # moves the averages of batch normalisation, which the file must keep
    model = TrainedModel(
        name="two",
        settings=Settings(network=settings),
        structures=(Structure(1, "left"), Structure(2, "right")),
        channels=("mr",),
        weights=network.state_dict(),
    )
    loaded = load_model(save_model(model, tmp_path / "two.pt")).build()
    with torch.inference_mode():
        assert torch.equal(loaded(images), network.eval()(images))


@pytest.mark.parametrize(("name", "dims"), [(n, d) for n, kind in KINDS_OF_ALL.items() for d in kind.spatial_dims])
def test_sizes_are_known_without_taking_memory(name, dims):
    shape = {"in_channels": 2, "out_channels": 3, "spatial_dims": dims}
    sizes = network_sizes(NetworkSettings(name=name), **shape)
    weights = build_network(NetworkSettings(name=name), **shape).state_dict()
    assert {key: (value.shape, value.dtype) for key, value in sizes.items()} == {
        key: (value.shape, value.dtype) for key, value in weights.items()
    }
    assert all(value.is_meta for value in sizes.values() if value.numel() > 1)


@every_name
def test_what_is_loaded_next_is_not_drawn_before(name):
    drawn = build_network(small(name), in_channels=1, out_channels=3)
    state = torch.get_rng_state()
    blank = network_to_load(small(name), in_channels=1, out_channels=3)
    assert torch.equal(torch.get_rng_state(), state)
    blank.load_state_dict(drawn.state_dict())
    images = torch.rand(1, 1, 64, 64)
    with torch.inference_mode():
        assert torch.equal(blank.eval()(images), drawn.eval()(images))


@every_name
def test_a_structure_that_was_not_drawn_teaches_nothing_wrong(name):
    torch.manual_seed(0)
    network = build_network(small(name), in_channels=1, out_channels=3)
    images, labels, drawn = four_images()
    drawn[:, 1] = False
    loss = overall_loss(network, images, torch.where(labels == 2, 0, labels), drawn)
    loss.backward()
    assert torch.isfinite(loss)
    assert all(bool(torch.isfinite(p.grad).all()) for p in network.parameters() if p.grad is not None)


@every_name
def test_the_same_seed_gives_the_same_weights(name):
    weights = []
    for _ in range(2):
        torch.manual_seed(11)
        weights.append(build_network(small(name), in_channels=2, out_channels=3).state_dict())
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


@every_name
def test_standard_size_is_built_where_the_settings_give_none(name):
    network = build_network(NetworkSettings(name=name), in_channels=1, out_channels=3)
    assert isinstance(network, nn.Module)
    assert network.stride == stride_of(NetworkSettings(name=name))
    assert sum(p.numel() for p in network.parameters()) < 12e6


def test_settings_know_every_network_and_an_unknown_one_is_refused():
    with pytest.raises(SettingsError, match=r"name is 'vnet'; give unet, resunet"):
        NetworkSettings(name="vnet")
    assert NetworkSettings.declared["name"].choices == (*NETWORKS, *FINDERS)


@pytest.mark.parametrize("name", [name for name, kind in NETWORKS.items() if 3 not in kind.spatial_dims])
def test_a_network_for_slices_refuses_volumes_and_names_those_that_take_them(name):
    with pytest.raises(SettingsError, match=rf"{name}.*no 3-D form; those that have: unet, resunet"):
        build_network(NetworkSettings(name=name), in_channels=1, out_channels=2, spatial_dims=3)
