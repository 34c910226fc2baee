"""All that a model keeps of how far it can be trusted, as one value and as plain values for its file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from autoseg.model.stored.values import read_fields
from autoseg.model.trust.calibration import Calibration
from autoseg.model.trust.profile import Profile
from autoseg.model.trust.quality import Quality


@dataclass(frozen=True)
class Trust:
    """What a model knows of its own limits; None: that is not known of it.

    `profile` is what it learnt from, `quality` how well it does on a slice, `calibration` by how much its areas are
    off on patients whom it never saw.
    """

    profile: Profile | None = None
    quality: Quality | None = None
    calibration: Calibration | None = None


# The parts, by their names in a model's file.
PARTS: dict[str, type[Any]] = {"profile": Profile, "quality": Quality, "calibration": Calibration}


def trust_to_dict(trust: Trust) -> dict[str, Any]:
    """Give it as plain values; parts that are not known are left out."""
    found = {name: getattr(trust, name) for name in PARTS}
    return {name: asdict(part) for name, part in found.items() if part is not None}


def trust_from_dict(values: Mapping[str, Any]) -> Trust:
    """Build it from what `trust_to_dict` gave; ValueError says in words what cannot be."""
    if not set(values) <= set(PARTS):
        raise ValueError("how far it can be trusted is not described as autoseg describes it")
    return Trust(**{name: read_fields(PARTS[name], part, f"its {name}") for name, part in values.items()})
