"""Carrying weights over: by the names of structures and channels, and what does not fit is said."""

from dataclasses import replace

import pytest
import torch

from autoseg.errors import DataError
from autoseg.image.structures import Structure
from autoseg.model.model import TrainedModel
from autoseg.model.networks import NETWORKS, build_network, part_of
from autoseg.model.settings.settings import FineTuneSettings, NetworkSettings, PreprocessSettings, Settings
from autoseg.training.finetuning import carry_over
from autoseg.training.finetuning.carry import Axis, changing_axes

FILTERS = {
    "unet": (4, 8, 8),
    "resunet": (4, 8, 8),
    "shallow": (4, 4, 4, 8, 4, 4),
    "unext": (8, 8, 16, 20, 25),
    "efficientnet": (4, 8, 8),
    "pyramid": (4, 4, 8, 8, 8),
    "maskdino": (4, 8, 16, 16, 16, 16),
}
KINDS = [(name, dims) for name in FILTERS for dims in NETWORKS[name].spatial_dims]
every_kind = pytest.mark.parametrize(("name", "dims"), KINDS)
THREE = (Structure(1, "cord"), Structure(2, "canal"), Structure(5, "disc"))
SIZES = {2: (64, 32), 3: (8, 12, 16)}


def make_base(name="unet", dims=2, *, structures=THREE, channels=("t1", "t2"), **options):
    torch.manual_seed(1)
    settings = Settings(spatial_dims=dims, network=NetworkSettings(name=name, filters=FILTERS[name], **options))
    inputs = len(channels) * (2 * settings.preprocess.neighbours + 1)
    network = build_network(
        settings.network, in_channels=inputs, out_channels=len(structures) + 1, spatial_dims=dims
    )
    network(torch.randn(2, inputs, *SIZES[dims]))  # moves the averages of batch normalisation
    return TrainedModel("base", settings, tuple(structures), tuple(channels), network.state_dict())


def carried(base, settings=None, *, structures=THREE, channels=("t1", "t2")):
    settings = settings or base.settings
    torch.manual_seed(2)
    network = build_network(
        settings.network,
        in_channels=len(channels) * (2 * settings.preprocess.neighbours + 1),
        out_channels=len(structures) + 1,
        spatial_dims=settings.spatial_dims,
    )
    return network.eval(), carry_over(network, base, settings, structures=structures, channels=channels)


def answers(network, image):
    with torch.inference_mode():
        return network(image)


def probabilities(network, image):
    """Of Mask DINO's logits, logarithms of shares near 0, rounding moves the least by much."""
    return answers(network, image).softmax(1)


@every_kind
def test_the_same_task_takes_over_every_weight(name, dims):
    base = make_base(name, dims)
    network, found = carried(base)
    assert found.new == found.notes == ()
    assert all(torch.equal(value, base.weights[key]) for key, value in network.state_dict().items())


@every_kind
def test_structures_keep_their_answers_by_their_names(name, dims):
    base = make_base(name, dims)
    image = torch.randn(1, 2, *SIZES[dims])
    before = probabilities(base.build(), image)
    network, found = carried(base, structures=(Structure(9, "Disc"), Structure(1, "cord"), Structure(2, "canal")))
    assert found.new == found.notes == ()
    assert torch.allclose(probabilities(network, image), before[:, [0, 3, 1, 2]], atol=1e-5)


@pytest.mark.parametrize(("name", "dims"), [kind for kind in KINDS if kind[0] not in ("pyramid", "maskdino")])
def test_other_structures_begin_anew_beside_those_that_stay(name, dims):
    base = make_base(name, dims)
    image = torch.randn(1, 2, *SIZES[dims])
    before = answers(base.build(), image)
    network, found = carried(base, structures=(Structure(1, "lesion"), Structure(2, "disc")))
    after = answers(network, image)
    assert torch.allclose(after[:, [0, 2]], before[:, [0, 3]], atol=1e-6)
    assert not after[:, 1].any()
    assert found.new == ("tail.weight", "tail.bias")
    assert found.notes == (
        "Structures: Taken over from 'base': the background, disc. New, so its answer is learnt from the start: "
        "lesion. No longer learnt: cord, canal.",
    )


def test_what_asks_for_fewer_structures_has_nothing_new():
    network, found = carried(make_base(), structures=THREE[1:2])
    assert found.new == ()
    assert "No longer learnt: cord, disc." in found.notes[0]
    assert network.tail.weight.shape[0] == 2


@pytest.mark.parametrize("name", ["pyramid", "maskdino"])
def test_what_has_no_place_in_the_base_is_named_in_other_networks_too(name):
    base = make_base(name)
    _, found = carried(base, structures=(*THREE, Structure(8, "lesion")))
    network = base.build()
    assert {part_of(network, key) for key in found.new} <= {"tail", "contraction"}
    assert {"pyramid": "fine.encoder.0.0.weight", "maskdino": "decoder.classes.weight"}[name] in found.new
    # Rows of those that stay are the base's.
    key = {"pyramid": "fine.tail.bias", "maskdino": "decoder.classes.bias"}[name]
    network, _ = carried(base, structures=(*THREE, Structure(8, "lesion")))
    assert torch.equal(network.state_dict()[key][: len(base.weights[key])], base.weights[key])


@pytest.mark.parametrize(("name", "dims"), [kind for kind in KINDS if kind[0] != "pyramid"])
def test_channels_keep_their_filters_by_their_names_and_a_new_one_has_no_effect(name, dims):
    """The pyramid alone also sees the mean of all channels."""
    base = make_base(name, dims)
    image = torch.randn(1, 2, *SIZES[dims])
    before = probabilities(base.build(), image)
    network, found = carried(base, channels=("t2", "flair", "t1"))
    seen = torch.stack([image[:, 1], torch.randn(1, *SIZES[dims]), image[:, 0]], dim=1)
    assert torch.allclose(probabilities(network, seen), before, atol=1e-5)
    assert found.notes == ("Channels: flair is new and at first has no effect.",)
    assert {part_of(network, key) for key in found.new} == {"contraction"}


def test_another_contrast_takes_the_place_of_the_one_that_is_gone():
    base = make_base()
    image = torch.randn(1, 2, 64, 32)
    network, found = carried(base, channels=("t1", "t2 star"))
    assert torch.equal(answers(network, image), answers(base.build(), image))
    assert found.new == ()
    assert found.notes == ("Channels: t2 star takes the place of t2.",)
    network, found = carried(base, channels=("t2",))
    assert found.notes == ("Channels: No longer seen: t1.",)
    assert torch.equal(network.contraction[0][0].weight, base.weights["contraction.0.0.weight"][:, 1:])


def test_the_pyramids_second_stage_sees_classes_first_and_channels_then():
    axes = changing_axes(NetworkSettings(name="pyramid", filters=FILTERS["pyramid"]), spatial_dims=2)
    assert axes["fine.encoder.0.0.weight"] == (Axis(1, channels=1, classes=1, rest=0),)
    base = make_base("pyramid")
    network, found = carried(base, structures=THREE[::-1], channels=("t2", "t1"))
    weights = network.state_dict()["fine.encoder.0.0.weight"]
    assert torch.equal(weights, base.weights["fine.encoder.0.0.weight"][:, [0, 3, 2, 1, 5, 4]])
    assert found.new == ()


def test_queries_answer_structures_without_the_background():
    axes = changing_axes(NetworkSettings(name="maskdino", filters=FILTERS["maskdino"]), spatial_dims=2)
    assert axes["decoder.classes.weight"] == (Axis(0, channels=0, classes=1, rest=-1),)


def test_slices_beside_are_matched_by_their_distance():
    base = make_base(channels=("t1",))
    settings = replace(base.settings, preprocess=PreprocessSettings(neighbours=1))
    image = torch.randn(1, 1, 64, 32)
    network, found = carried(base, settings, channels=("t1",))
    seen = torch.cat([torch.randn_like(image), image, torch.randn_like(image)], dim=1)
    assert torch.allclose(answers(network, seen), answers(base.build(), image), atol=1e-5)
    assert "preprocess.neighbours (0 there, 1 here)" in found.notes[0]


def test_finding_the_axes_draws_no_random_numbers():
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    changing_axes(NetworkSettings(name="unet"), spatial_dims=2)
    assert torch.equal(torch.rand(3), wanted)


def test_other_filters_begin_anew_and_it_is_said():
    base = make_base()
    settings = replace(base.settings, network=NetworkSettings(filters=(4, 8, 16)))
    network, found = carried(base, settings)
    assert {part_of(network, key) for key in found.new} == {"bottleneck", "expansion"}
    assert found.notes[0].endswith("network.filters (4, 8, 8 there, 4, 8, 16 here).")
    assert found.notes[1] == (
        "These sets of weights do not fit and are learnt anew: all of the bottleneck, 1 of 14 of the expansion."
    )
    assert torch.equal(network.contraction[1][0].weight, base.weights["contraction.1.0.weight"])


@pytest.mark.parametrize("part", ["contraction", "bottleneck", "expansion", "tail"])
def test_a_replaced_part_is_as_in_a_fresh_network(part):
    base = make_base(norm="batch")
    settings = replace(base.settings, finetune=FineTuneSettings(replaced=(part,)))
    network, found = carried(base, settings)
    torch.manual_seed(2)
    fresh = build_network(settings.network, in_channels=2, out_channels=4).state_dict()
    for key, value in network.state_dict().items():
        assert torch.equal(value, (fresh if part_of(network, key) == part else base.weights)[key]), key
    assert found.notes == (f"Replaced, and learnt anew: {part}.",)
    assert {part_of(network, key) for key in found.new} == {part}


def test_another_grid_is_said():
    base = make_base()
    base = replace(base, settings=replace(base.settings, preprocess=PreprocessSettings(spacing_mm=0.5)))
    settings = replace(base.settings, preprocess=PreprocessSettings(spacing_mm=0.75))
    _, found = carried(base, settings)
    assert "preprocess.spacing_mm (0.5 there, 0.75 here)" in found.notes[0]


def test_nothing_left_of_the_base_is_refused():
    base = make_base()
    everything = FineTuneSettings(frozen=(), replaced=("contraction", "bottleneck", "expansion", "tail"))
    with pytest.raises(DataError, match=r"Nothing of the base model 'base' would be left"):
        carried(base, replace(base.settings, finetune=everything))
