"""The one place that turns network settings into a network."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from autoseg.errors import SettingsError
from autoseg.networks.unet import UNet
from autoseg.settings import NetworkSettings

NETWORKS: dict[str, Callable[[NetworkSettings, int, int], nn.Module]] = {
    "unet": lambda settings, in_channels, out_channels: UNet(
        in_channels, out_channels, filters=settings.filters, dropout=settings.dropout
    ),
}


def build_network(settings: NetworkSettings, *, in_channels: int, out_channels: int) -> nn.Module:
    """Build the network that the settings name, with fresh weights.

    Parameters
    ----------
    settings : NetworkSettings
    in_channels : int
        Channels of the image.
    out_channels : int
        Structures plus one for the background.

    Returns
    -------
    torch.nn.Module
        Takes (batch, in_channels, rows, columns) to logits (batch, out_channels, rows, columns). Rows and
        columns must be multiples of its attribute `stride`.

    Raises
    ------
    SettingsError
        If there is no network of that name; the message lists the names.
    """
    if settings.name not in NETWORKS:
        raise SettingsError(f"There is no network {settings.name!r}. Known: {', '.join(NETWORKS)}.")
    return NETWORKS[settings.name](settings, in_channels, out_channels)
