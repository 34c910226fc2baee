"""What turns gradients into steps: AdamW, Adam, or SGD with Nesterov's momentum."""

from __future__ import annotations

import torch
from torch import nn
from torch.optim import Optimizer

from autoseg.settings import Settings


def build_optimizer(network: nn.Module, settings: Settings, device: torch.device) -> Optimizer:
    """Build the optimiser that the settings name; the learning rate is set anew at each step.

    AdamW takes the decay off the weights themselves, the other two add it to the gradient, where it is much
    stronger: published recipes give Adam 0 and SGD 3e-5, not AdamW's 1e-2.

    Parameters
    ----------
    network : torch.nn.Module
    settings : Settings
    device : torch.device
        On which the network lies.
    """
    weights, rate, decay = network.parameters(), settings.learning_rate, settings.weight_decay
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
