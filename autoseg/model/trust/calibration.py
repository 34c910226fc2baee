"""How far a model's areas were off on patients whom it never saw, and the intervals that follow from that."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Calibration:
    """The errors of areas on patients whom the model, or its fold's twin, never saw: patients, date, coverage."""
