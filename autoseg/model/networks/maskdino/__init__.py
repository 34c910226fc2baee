"""Mask DINO: structures found by queries, each with a class, a box and a mask.

Its `filters` are the feature channels of each level of the backbone, the full-size level first, and as the last
number the width of its transformer.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from autoseg.errors import SettingsError
from autoseg.model.networks.maskdino.encoder import HEADS, LEVELS
from autoseg.model.networks.maskdino.network import MaskDINO
from autoseg.model.settings.settings import NetworkSettings

STANDARD_FILTERS = (16, 32, 64, 128, 256, 256, 128)


def build(settings: NetworkSettings, *, in_channels: int, out_channels: int, spatial_dims: int) -> nn.Module:
    """Build a Mask DINO."""
    *filters, width = settings.filters or ()
    if len(filters) < LEVELS or width % HEADS:
        raise SettingsError(
            f"filters is {settings.filters}; Mask DINO needs the channels of at least {LEVELS} levels and then the "
            f"width of its transformer, a multiple of {HEADS}, such as {STANDARD_FILTERS}."
        )
    return MaskDINO(in_channels, out_channels, filters=filters, width=width, dropout=settings.dropout or 0.0)


def stride(filters: Sequence[int]) -> int:
    """Give the number of which the sizes of what it sees must be multiples."""
    return int(2 ** max(0, len(filters) - 2))
