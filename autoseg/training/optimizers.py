"""What turns gradients into steps: AdamW, Adam, or SGD with Nesterov's momentum."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from autoseg.model.settings.settings import Settings


def build_optimizer(
    network: nn.Module, settings: Settings, device: torch.device, *, groups: Mapping[str, str] | None = None
) -> Optimizer:
    """Build the optimiser that the settings name; the learning rate is set anew at each step.

    AdamW takes the decay off the weights themselves, the other two add it to the gradient, where it is much
    stronger: published recipes give Adam 0 and SGD 3e-5, not AdamW's 1e-2.

    Parameters
    ----------
    network : torch.nn.Module
    settings : Settings
    device : torch.device
        On which the network lies.
    groups : mapping of str by the parameter's name, optional
        The name of the group of each, for `set_learning_rate`; by default all are one.
    """
    rate, decay = settings.learning_rate, settings.weight_decay
    weights = list(network.parameters()) if groups is None else _grouped(network, groups)
    fused = device.type in ("cpu", "cuda")  # one pass over the weights instead of a dozen
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(weights, lr=rate, weight_decay=decay, fused=fused)
    if settings.optimizer == "adam":
        return torch.optim.Adam(weights, lr=rate, weight_decay=decay, fused=fused)
    return torch.optim.SGD(
        weights,
        lr=rate,
        momentum=settings.momentum,
        weight_decay=decay,
        nesterov=settings.momentum > 0,
        foreach=True,
    )


def set_learning_rate(optimizer: Optimizer, rate: float, factors: Mapping[str, float] | None = None) -> None:
    """Set the learning rate of the next step, times its factor in a group that has one by its name."""
    for group in optimizer.param_groups:
        group["lr"] = rate * (factors or {}).get(group.get("name", ""), 1.0)


def _grouped(network: nn.Module, groups: Mapping[str, str]) -> list[dict[str, Any]]:
    found: dict[str, list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        found.setdefault(groups[name], []).append(parameter)
    return [{"params": parameters, "name": group} for group, parameters in found.items()]
