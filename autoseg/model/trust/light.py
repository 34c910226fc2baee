"""The light before the numbers: whether an image is like those that a model learnt from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Light(StrEnum):
    """Green: like what the model learnt from, and good enough; amber: look twice; red: not for this model."""

    GREEN = "green"
    AMBER = "amber"
    RED = "red"


# From the best to the worst.
LIGHTS = (Light.GREEN, Light.AMBER, Light.RED)


@dataclass(frozen=True)
class Suitability:
    """A light, and the sentences that give its reasons: there is no light without one."""

    light: Light
    reasons: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.reasons:
            raise ValueError("A light needs its reasons.")


def worst(several: Iterable[Suitability]) -> Suitability:
    """Give the worst light of several, with the reasons for it, each once."""
    found = list(several)
    light = max((one.light for one in found), key=LIGHTS.index)
    reasons = dict.fromkeys(reason for one in found if one.light is light for reason in one.reasons)
    return Suitability(light, tuple(reasons))
