"""Optimisers: each step as its paper says, and what they keep is what a checkpoint can hold."""

import pytest
import torch
from torch import nn

from autoseg.model.settings.settings import Settings
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
