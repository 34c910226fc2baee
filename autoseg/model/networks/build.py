"""Every network, and the one place that turns network settings into one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from autoseg.errors import SettingsError
from autoseg.model.networks import dilated, efficientnet, pyramid, shallow, unet, unext
from autoseg.model.networks.maskdino import network as maskdino
from autoseg.model.settings.settings import NETWORK_NAMES, NetworkSettings


@dataclass(frozen=True)
class NetworkKind:
    """A kind of network: what it is called, what it is good for in a sentence, and how it is built.

    `build(settings, *, in_channels, out_channels, spatial_dims)` is given settings with filters and dropout, by
    default `filters` and `dropout`, and dimensions that are among `spatial_dims`. `halvings` tells from the number
    of filters how often an image is halved.
    """

    title: str
    words: str
    build: Callable[..., nn.Module]
    filters: tuple[int, ...]
    halvings: Callable[[int], int]
    dropout: float = 0.0
    spatial_dims: tuple[int, ...] = (2,)


NETWORKS: dict[str, NetworkKind] = {
    "unet": NetworkKind(
        NETWORK_NAMES["unet"],
        "Fast, and the one to beat on most images.",
        unet.UNet,
        unet.STANDARD_FILTERS,
        halvings=lambda filters: filters - 1,
        spatial_dims=(2, 3),
    ),
    "resunet": NetworkKind(
        NETWORK_NAMES["resunet"],
        "A U-Net with shortcuts around its convolutions.",
        partial(unet.UNet, stage=unet.ResidualStage),
        unet.STANDARD_FILTERS,
        halvings=lambda filters: filters - 1,
        spatial_dims=(2, 3),
    ),
    "shallow": NetworkKind(
        NETWORK_NAMES["shallow"],
        "Small, with one pooling step: as the Spinal Cord Toolbox's for volumes.",
        shallow.Shallow,
        shallow.STANDARD_FILTERS,
        halvings=lambda filters: 1,
        spatial_dims=(2, 3),
    ),
    "unext": NetworkKind(
        NETWORK_NAMES["unext"],
        "Very small: convolutions, then tokens mixed by shifted layers.",
        unext.UNeXt,
        unext.STANDARD_FILTERS,
        halvings=lambda filters: filters,
    ),
    "efficientnet": NetworkKind(
        NETWORK_NAMES["efficientnet"],
        "Begins with what it knows of photographs, so that it needs fewer of your images.",
        efficientnet.EfficientUNet,
        efficientnet.STANDARD_FILTERS,
        halvings=lambda filters: filters,
    ),
    "pyramid": NetworkKind(
        NETWORK_NAMES["pyramid"],
        "Two stages, at half and at full size; the published workbench's.",
        pyramid.Pyramid,
        pyramid.STANDARD_FILTERS,
        halvings=lambda filters: filters - 1,
        dropout=0.3,
    ),
    "maskdino": NetworkKind(
        NETWORK_NAMES["maskdino"],
        "Finds each structure by queries; about twice the U-Net's time.",
        maskdino.MaskDINO,
        maskdino.STANDARD_FILTERS,
        halvings=lambda filters: max(0, filters - 2),
    ),
}

# Networks that find where a structure is, for others that segment it; nobody chooses them to segment with.
FINDERS: dict[str, NetworkKind] = {
    "dilated": NetworkKind(
        NETWORK_NAMES["dilated"],
        "Small, and it sees far: finds centrelines on axial slices.",
        dilated.DilatedNetwork,
        dilated.STANDARD_FILTERS,
        halvings=lambda filters: 1,
    ),
}
KINDS = {**NETWORKS, **FINDERS}

# What is compared where nobody names networks; the shallow one is for fine-tuning, and EfficientNet's was not yet
# measured on enough kinds of images.
USUAL_NETWORKS = tuple(name for name in NETWORKS if name != "shallow")


def build_network(
    settings: NetworkSettings, *, in_channels: int, out_channels: int, spatial_dims: int = 2
) -> nn.Module:
    """Build the network that the settings name, with fresh weights.

    It takes (batch, in_channels, [slices,] rows, columns), neighbouring slices counted as channels, to logits
    (batch, out_channels, …) of that size: the background, then a class for each structure. Every size must be a
    multiple of its attribute `stride`, in 3-D of the axis's own (`strides_of`).
    """
    kind = KINDS[settings.name]
    if spatial_dims not in kind.spatial_dims:
        able = [name for name, other in NETWORKS.items() if spatial_dims in other.spatial_dims]
        raise SettingsError(
            f"The network {settings.name!r} has no {spatial_dims}-D form; those that have: {', '.join(able)}."
        )
    return kind.build(
        standardised(settings), in_channels=in_channels, out_channels=out_channels, spatial_dims=spatial_dims
    )


def network_to_load(
    settings: NetworkSettings, *, in_channels: int, out_channels: int, spatial_dims: int = 2
) -> nn.Module:
    """Build the network for weights that are loaded next; to draw others first would take most of the time."""
    with _WithoutDrawing():
        return build_network(
            settings, in_channels=in_channels, out_channels=out_channels, spatial_dims=spatial_dims
        )


class _WithoutDrawing(TorchFunctionMode):
    """Puts zeros where random numbers would be drawn."""

    def __torch_function__(
        self, function: Any, types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(function, "__name__", "").endswith(("normal_", "uniform_")):  # torch.nn.init's too
            drawn = args[0] if args else kwargs["tensor"]
            with torch.no_grad():
                # Not left as it is: what lies in the memory may not be what a draw that is repeated waits for.
                return drawn.zero_()
        return function(*args, **kwargs)


def network_sizes(
    settings: NetworkSettings, *, in_channels: int, out_channels: int, spatial_dims: int = 2
) -> dict[str, Tensor]:
    """Give the names, sizes and kinds of the weights that the network would have; it takes no memory."""
    with _WithoutNumbers():
        network = build_network(
            settings, in_channels=in_channels, out_channels=out_channels, spatial_dims=spatial_dims
        )
    return network.state_dict()


class _WithoutNumbers(TorchFunctionMode):
    """Makes weights on the device "meta", which takes no memory, and leaves out what only changes their numbers.

    `torch.device("meta")` alone would not: the first number drawn there takes torch two seconds.
    """

    def __torch_function__(
        self, function: Any, types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if function in (torch.empty, torch.ones, torch.zeros):
            return function(*args, **{**kwargs, "device": "meta"})
        name, changed = getattr(function, "__name__", ""), args[0] if args else kwargs.get("tensor")
        if name.endswith("_") and not name.endswith("__") and isinstance(changed, Tensor):
            return changed
        return function(*args, **kwargs)


def standardised(settings: NetworkSettings) -> NetworkSettings:
    """Fill in the network's own filters and dropout where the settings leave them open."""
    kind = KINDS[settings.name]
    return replace(
        settings,
        filters=kind.filters if settings.filters is None else settings.filters,
        dropout=kind.dropout if settings.dropout is None else settings.dropout,
    )


def stride_of(settings: NetworkSettings) -> int:
    """Give the number of which a frame's rows and columns must be multiples, without building the network."""
    kind = KINDS[settings.name]
    return int(2 ** kind.halvings(len(settings.filters or kind.filters)))
