"""The one place that turns network settings into a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

from torch import nn

from autoseg.errors import SettingsError
from autoseg.model.settings.settings import NetworkSettings

Build = Callable[..., nn.Module]


@dataclass(frozen=True)
class NetworkKind:
    """A kind of network: what it is called, what it is good for in a sentence, and the module that has it.

    The module `autoseg.model.networks.<module>` has STANDARD_FILTERS, used where the settings give none, and
    `build(settings, *, in_channels, out_channels, spatial_dims)`, which is given settings with filters and dropout.
    `dropout` is the standard one, `spatial_dims` what it can be built for.
    """

    title: str
    words: str
    module: str
    dropout: float = 0.0
    spatial_dims: tuple[int, ...] = (2,)


NETWORKS: dict[str, NetworkKind] = {
    "unet": NetworkKind("U-Net", "Fast, and the one to beat on most images.", "unet", spatial_dims=(2, 3)),
    "resunet": NetworkKind(
        "ResUNet", "A U-Net with shortcuts around its convolutions.", "resunet", spatial_dims=(2, 3)
    ),
    "shallow": NetworkKind(
        "Shallow U-Net",
        "Small, with one pooling step: as the Spinal Cord Toolbox's for volumes.",
        "shallow",
        spatial_dims=(2, 3),
    ),
    "unext": NetworkKind("UNeXt", "Very small: convolutions, then tokens mixed by shifted layers.", "unext"),
    "pyramid": NetworkKind(
        "Multi-scale pyramid", "Two stages, at half and at full size; the published workbench's.", "pyramid", 0.3
    ),
    "maskdino": NetworkKind(
        "Mask DINO", "Finds each structure by queries; about twice the U-Net's time.", "maskdino"
    ),
}

# Networks that find where a structure is, for others that segment it; nobody chooses them to segment with.
FINDERS: dict[str, NetworkKind] = {
    "dilated": NetworkKind("Dilated", "Small, and it sees far: finds centrelines on axial slices.", "dilated"),
}
KINDS = {**NETWORKS, **FINDERS}

# What is compared where nobody names networks; the shallow one is for fine-tuning.
USUAL_NETWORKS = tuple(name for name in NETWORKS if name != "shallow")


def build_network(
    settings: NetworkSettings, *, in_channels: int, out_channels: int, spatial_dims: int = 2
) -> nn.Module:
    """Build the network that the settings name, with fresh weights."""
    kind = KINDS[settings.name]
    if spatial_dims not in kind.spatial_dims:
        able = [name for name, other in NETWORKS.items() if spatial_dims in other.spatial_dims]
        raise SettingsError(
            f"The network {settings.name!r} has no {spatial_dims}-D form; those that have: {', '.join(able)}."
        )
    build: Build = _module(settings).build
    return build(
        standardised(settings), in_channels=in_channels, out_channels=out_channels, spatial_dims=spatial_dims
    )


def standardised(settings: NetworkSettings) -> NetworkSettings:
    """Fill in the network's own filters and dropout where the settings leave them open."""
    kind = KINDS[settings.name]
    return replace(
        settings,
        filters=_module(settings).STANDARD_FILTERS if settings.filters is None else settings.filters,
        dropout=kind.dropout if settings.dropout is None else settings.dropout,
    )


def stride_of(settings: NetworkSettings) -> int:
    """Give the number of which a frame's rows and columns must be multiples, without building the network."""
    return int(_module(settings).stride(standardised(settings).filters))


def _module(settings: NetworkSettings) -> Any:
    return import_module(f"autoseg.model.networks.{KINDS[settings.name].module}")
