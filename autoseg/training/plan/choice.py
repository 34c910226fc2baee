"""What a plan is: settings, each with its name and its reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

from autoseg.errors import SettingsError
from autoseg.model.settings.settings import Settings
from autoseg.training.plan.fingerprint import Fingerprint


@dataclass(frozen=True)
class Choice:
    """One planned setting: its name as in Settings ("batch_size", "preprocess.spacing_mm"), and why."""

    name: str
    value: object
    reason: str


@dataclass(frozen=True)
class Plan:
    """Settings to train with, the subjects to validate on, why each was chosen, and what the images are like."""

    settings: Settings
    validation_subjects: tuple[str, ...]
    choices: tuple[Choice, ...]
    fingerprint: Fingerprint | None = None


def change_settings(settings: Settings, values: Mapping[str, object]) -> Settings:
    """Give settings with other values, named as in a `Choice` ("batch_size", "preprocess.spacing_mm").

    All are changed at once, so that values that only fit together can be given.

    Raises
    ------
    SettingsError
        If a name is unknown or a value cannot work.
    """
    changed: Any = _changed(settings, values, "")
    return changed


def _changed(part: Any, values: Mapping[str, object], group: str) -> Any:
    known = {item.name: getattr(part, item.name) for item in fields(part)}
    new: dict[str, Any] = {}
    for name, value in values.items():
        first, _, rest = name.partition(".")
        if first not in known or bool(rest) != is_dataclass(known[first]):
            raise SettingsError(f"There is no setting {group + name!r}. Known: {', '.join(known)}.")
        if rest:
            new.setdefault(first, {})[rest] = value
        else:
            new[first] = value
    for name, inner in new.items():
        new[name] = _changed(known[name], inner, f"{name}.") if is_dataclass(known[name]) else inner
    return replace(part, **new)
