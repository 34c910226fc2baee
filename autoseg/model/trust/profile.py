"""What a model learnt from, in numbers that name nobody, and how a new image compares with it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Profile:
    """What the images and structures were like that a model learnt from and was validated on."""
