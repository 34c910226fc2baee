"""Optimisers: each step as its paper says, and what they keep is what a checkpoint can hold."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from autoseg.model.settings.settings import Settings
from autoseg.training.muon import orthogonal
from autoseg.training.step import build_optimizer

GRADIENTS = (1.5, -0.5, 2.0)
CPU = torch.device("cpu")


def steps(settings):
    """The weight after each of three gradients, from 1.0."""
    network = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        network.weight.fill_(1.0)
    optimizer, found = build_optimizer(network, settings, CPU), []
    for gradient in GRADIENTS:
        network.weight.grad = torch.full((1, 1), gradient)
        optimizer.step()
        found.append(float(network.weight.detach()))
    return found, optimizer


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sgd_has_nesterovs_momentum(momentum):
    found, _ = steps(Settings(optimizer="sgd", momentum=momentum, learning_rate=0.1, weight_decay=0.01))
    weight, speed, expected = 1.0, 0.0, []
    for gradient in GRADIENTS:
        slope = gradient + 0.01 * weight
        speed = momentum * speed + slope
        weight -= 0.1 * (slope + momentum * speed)
        expected.append(weight)
    assert found == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_adam_and_adamw_decay_in_their_own_ways(name):
    found, _ = steps(Settings(optimizer=name, learning_rate=0.1, weight_decay=0.05))
    weight, mean, square, expected = 1.0, 0.0, 0.0, []
    for count, gradient in enumerate(GRADIENTS, start=1):
        slope = gradient + (0.05 * weight if name == "adam" else 0.0)
        weight -= 0.1 * 0.05 * weight if name == "adamw" else 0.0
        mean, square = 0.9 * mean + 0.1 * slope, 0.999 * square + 0.001 * slope**2
        weight -= 0.1 * (mean / (1 - 0.9**count)) / ((square / (1 - 0.999**count)) ** 0.5 + 1e-8)
        expected.append(weight)
    assert found == pytest.approx(expected, rel=1e-5)


def test_without_momentum_there_is_nothing_to_keep():
    _, optimizer = steps(Settings(optimizer="sgd", momentum=0.0))
    assert all(value is None for values in optimizer.state_dict()["state"].values() for value in values.values())


def test_weights_that_had_no_gradient_yet_may_get_one_later():
    network = nn.ModuleList([nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)])
    optimizer = build_optimizer(network, Settings(optimizer="sgd", momentum=0.9), CPU)
    for used in ([0], [0, 1]):
        optimizer.zero_grad(set_to_none=True)
        for index in used:
            network[index].weight.grad = torch.ones(1, 1)
        before = float(network[1].weight.detach())
        optimizer.step()
    assert float(network[1].weight.detach()) != before


def test_orthogonal_steps_turn_alike_in_all_directions_wide_or_tall():
    generator = torch.Generator().manual_seed(0)
    wide = torch.randn((6, 40), generator=generator) * torch.logspace(0, -1, 6)[:, None]
    for matrix in (wide, wide.T):
        values = torch.linalg.svdvals(orthogonal(matrix))
        assert float(values.min()) > 0.6
        assert float(values.max()) < 1.3
        left, _, right = torch.linalg.svd(matrix, full_matrices=False)
        nearest = left @ right
        assert float((orthogonal(matrix) * nearest).sum() / nearest.square().sum()) == pytest.approx(1, abs=0.2)
    assert not orthogonal(torch.zeros(3, 5)).any()


@pytest.mark.parametrize("dims", [2, 3])
def test_muon_moves_hidden_weights_by_the_rate_and_all_others_as_adamw(dims):
    convolution, transposed = ((nn.Conv2d, nn.ConvTranspose2d), (nn.Conv3d, nn.ConvTranspose3d))[dims - 2]

    def fresh():
        torch.manual_seed(0)
        depthwise = convolution(8, 8, 3, groups=8)
        return nn.Sequential(
            convolution(1, 4, 3), convolution(4, 8, 3), depthwise, transposed(8, 4, 2), convolution(4, 2, 1)
        )

    networks, settings = (
        {name: fresh() for name in ("muon", "adamw")},
        Settings(learning_rate=0.01, weight_decay=0.1),
    )
    generator = torch.Generator().manual_seed(1)
    gradients = [[torch.randn(one.shape, generator=generator) for one in fresh().parameters()] for _ in range(3)]
    for name, network in networks.items():
        optimizer = build_optimizer(network, replace(settings, optimizer=name), CPU)
        for each in gradients:
            for weight, gradient in zip(network.parameters(), each, strict=True):
                weight.grad = gradient.clone()
            optimizer.step()
    start = fresh().state_dict()
    for name, weight in networks["muon"].state_dict().items():
        if name in ("1.weight", "3.weight"):
            moved = (weight - start[name] * (1 - 0.01 * 0.1) ** 3).square().mean().sqrt()
            assert 0.004 < float(moved) < 0.03, name
            assert not torch.allclose(weight, networks["adamw"].state_dict()[name], atol=1e-3)
        else:
            assert torch.equal(weight, networks["adamw"].state_dict()[name]), name


def test_a_transposed_convolution_is_turned_by_its_outputs():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(1, 1), nn.ConvTranspose2d(6, 3, 2, bias=False), nn.Linear(1, 1))
    optimizer = build_optimizer(network, Settings(optimizer="muon", learning_rate=1.0, weight_decay=0.0), CPU)
    before = network[1].weight.detach().clone()
    network[1].weight.grad = torch.randn_like(before)
    optimizer.step()
    step = (before - network[1].weight.detach()).transpose(0, 1).flatten(1) / 24**0.5
    values = torch.linalg.svdvals(step)
    assert values.shape == (3,)
    assert float(values.min()) > 0.6
    assert float(values.max()) < 1.3
