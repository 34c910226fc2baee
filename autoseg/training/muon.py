"""Muon: steps whose hidden weights change in all directions alike, so that rare structures are learnt sooner."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

# Of the polynomial that brings singular values near 1 (Jordan et al., 2024), and how often it is applied.
COEFFICIENTS, TIMES = (3.4445, -4.7750, 2.0315), 5
MOMENTUM = 0.95

Convolution = nn.Conv2d | nn.Conv3d
Transposed = nn.ConvTranspose2d | nn.ConvTranspose3d


class Muon(torch.optim.AdamW):
    """Orthogonalised momentum for groups that are `hidden`, AdamW for all others.

    The momentum of a hidden weight, as a matrix (out, in times kernel), is brought near the nearest orthogonal
    one, and an entry of the step is as large as one of AdamW's first steps: the learning rate, as a root mean
    square. AdamW's learning rate and decay hold therefore for both. Source: K. Jordan et al., "Muon: an optimizer
    for hidden layers in neural networks", 2024; torch's own takes no convolutions.

    Parameters
    ----------
    groups : iterable of dict
        As of any optimiser, with "hidden": None, or by the weight's place "out" or "in" to tell which of its first
        two axes counts the outputs (see `split_hidden`).
    """

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Take a step by the gradients; those of hidden weights are None afterwards."""
        for group in self.param_groups:
            if not group["hidden"]:
                continue
            for weight in group["params"]:
                if weight.grad is not None:
                    self._turn(weight, weight.grad, group)
                    weight.grad = None  # AdamW leaves it alone
        super().step(closure)

    def _turn(self, weight: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[weight]
        if not state:  # "step" is what AdamW asks for when a state is brought back
            state |= {"step": torch.tensor(0.0), "momentum": torch.zeros_like(weight)}
        momentum = state["momentum"]
        momentum.lerp_(gradient, 1 - MOMENTUM)
        ahead = gradient.lerp(momentum, MOMENTUM)
        if group["hidden"] == "in":
            ahead = ahead.transpose(0, 1)
        matrix = ahead.flatten(1)
        step = orthogonal(matrix).reshape(ahead.shape)
        if group["hidden"] == "in":
            step = step.transpose(0, 1)
        weight.mul_(1 - group["lr"] * group["weight_decay"])
        weight.add_(step, alpha=-group["lr"] * math.sqrt(max(matrix.shape)))


def orthogonal(matrix: Tensor) -> Tensor:
    """Bring all singular values of a (rows, columns) matrix between about 0.7 and 1.2; zeros stay zeros.

    The polynomials of each round depend on the matrix times its own transpose alone, so that they are multiplied
    with each other at the size of the shorter side, and with the long matrix once: 2 to 5 times as fast.
    """
    first, third, fifth = COEFFICIENTS
    is_tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if is_tall else matrix
    x = x / (x.norm() + 1e-7)
    square = x @ x.T
    total = torch.eye(len(x), dtype=x.dtype, device=x.device)
    for _ in range(TIMES):
        factor = torch.addmm(square, square, square, beta=third, alpha=fifth)
        factor.diagonal().add_(first)
        total = factor @ total
        square = factor @ square @ factor
    turned = total @ x
    return turned.T if is_tall else turned


def split_hidden(network: nn.Module, groups: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Split each group in those of hidden weights, by the axis of their outputs, and the rest; none is empty.

    Hidden are weights of convolutions and linear layers between the first and the last of the network, unless
    each channel has a kernel of its own (depthwise): those are many small ones and no matrix.
    """
    layers = [one for one in network.modules() if isinstance(one, Convolution | Transposed | nn.Linear)]
    hidden = {
        id(one.weight): "in" if isinstance(one, Transposed) else "out"
        for one in layers[1:-1]
        if getattr(one, "groups", 1) == 1
    }
    found = []
    for group in groups:
        for kind in ("out", "in", None):
            weights = [one for one in group["params"] if hidden.get(id(one)) == kind]
            if weights:
                found.append({**group, "params": weights, "hidden": kind})
    return found
