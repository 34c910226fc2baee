"""Named parts: every parameter of every network in exactly one."""

import pytest
from torch import nn

from autoseg.model.networks import NETWORKS, build_network, part_of, parts_of
from autoseg.model.settings.settings import PARTS, NetworkSettings

KINDS = [
    *((name, {}, dims) for name, kind in NETWORKS.items() for dims in kind.spatial_dims),
    ("unet", {"deep_supervision": True}, 2),
    ("resunet", {"norm": "batch", "filters": (4, 8)}, 3),
]


@pytest.mark.parametrize(("name", "options", "dims"), KINDS)
def test_every_parameter_is_in_exactly_one_part(name, options, dims):
    network = build_network(NetworkSettings(name=name, **options), in_channels=1, out_channels=3, spatial_dims=dims)
    parts = parts_of(network)
    assert tuple(parts) == PARTS
    names = [name for part in parts.values() for name in part]
    assert sorted(names) == sorted(key for key, _ in network.named_parameters())
    assert all(parts.values())


@pytest.mark.parametrize(("name", "options", "dims"), KINDS)
def test_the_first_layer_contracts_and_the_last_answers(name, options, dims):
    few, more_channels, more_classes = (
        build_network(NetworkSettings(name=name, **options), in_channels=i, out_channels=o, spatial_dims=dims)
        for i, o in ((1, 3), (2, 3), (1, 4))
    )
    shapes = [{key: p.shape for key, p in one.named_parameters()} for one in (few, more_channels, more_classes)]
    by_channels = {part_of(few, key) for key in shapes[0] if shapes[0][key] != shapes[1][key]}
    by_classes = {part_of(few, key) for key in shapes[0] if shapes[0][key] != shapes[2][key]}
    assert by_channels == {"contraction"}
    # The pyramid's second stage sees what the first one answers.
    assert by_classes == ({"contraction", "tail"} if name == "pyramid" else {"tail"})


def test_the_bottleneck_is_the_unets_coarsest_level():
    network = build_network(NetworkSettings(filters=(4, 8, 16)), in_channels=1, out_channels=2)
    parts = parts_of(network)
    assert {name.split(".")[1] for name in parts["contraction"]} == {"0", "1"}
    assert {name.split(".")[1] for name in parts["bottleneck"]} == {"2"}
    assert parts["tail"] == ["tail.weight", "tail.bias"]
    assert part_of(network, "contraction.2.1.running_mean") == "bottleneck"
    assert part_of(network, "contraction") == "contraction"


def test_a_network_that_names_no_parts_is_all_rest():
    assert parts_of(nn.Linear(2, 3)) == {"rest": ["weight", "bias"]}
