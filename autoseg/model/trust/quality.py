"""How well a slice is likely to be segmented, told by how much several answers on it agree."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Quality:
    """What turns the signals of a slice and structure into an expected Dice and an expected error of the area."""
