"""The plan: settings chosen from the data and the computer, each with its reason."""

from __future__ import annotations

from dataclasses import dataclass

from autoseg.settings import Settings


@dataclass(frozen=True)
class Choice:
    """One planned setting: its name as in Settings ("batch_size", "preprocess.spacing_mm"), and why."""

    name: str
    value: object
    reason: str


@dataclass(frozen=True)
class Plan:
    """Settings to train with, the subjects to validate on, and why each was chosen."""

    settings: Settings
    validation_subjects: tuple[str, ...]
    choices: tuple[Choice, ...]
