"""Settings as text: read what was typed for one, write it as it is typed."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from functools import cache
from typing import Any

from autoseg.errors import SettingsError
from autoseg.model.settings.declare import Setting, SettingsGroup
from autoseg.model.settings.settings import Settings, group_kinds


@cache
def all_settings() -> dict[str, Setting]:
    """Give every setting by its name ("batch_size", "preprocess.spacing_mm"), in their order."""
    kinds: list[type[SettingsGroup]] = [Settings, *group_kinds().values()]
    return {declared.name: declared for kind in kinds for declared in kind.declared.values()}


def read_assignments(texts: Sequence[str]) -> dict[str, object]:
    """Read settings typed as NAME=VALUE; the same name twice takes the later value.

    Of `epochs` and `minutes`, of which a training has one, the other becomes None where only one is typed. Whether
    the values fit together is found where they are used (`autoseg.training.plan.change_settings`).

    Examples
    --------
    >>> read_assignments(["network.name=resunet", "network.filters=16,32,64", "patience=none"])
    {'network.name': 'resunet', 'network.filters': (16, 32, 64), 'patience': None}
    """
    known, values = all_settings(), dict[str, object]()
    for typed in texts:
        name, sign, value = (part.strip() for part in typed.partition("="))
        if not sign or not name:
            raise SettingsError(f"{typed!r} does not set anything; give NAME=VALUE, such as network.name=resunet.")
        if name not in known:
            raise SettingsError(f"There is no setting {name!r}. {_nearest(name, list(known))}")
        try:
            values[name] = known[name].read(value)
        except SettingsError as error:
            raise SettingsError(f"{typed!r}: {error}", name) from error
    for one, other in (("epochs", "minutes"), ("minutes", "epochs")):
        if values.get(one) is not None:
            values.setdefault(other, None)
    return values


def _nearest(name: str, known: Sequence[str]) -> str:
    """Say which settings may have been meant."""
    alike = [other for other in known if other.rpartition(".")[2] == name or other.startswith(f"{name}.")]
    if not alike:
        alike = difflib.get_close_matches(name, known, n=4, cutoff=0.5)
    if alike:
        return f"Did you mean {' or '.join(alike)}?"
    return f"Known: {', '.join(known)}."


def parse_value(name: str, text: str, hint: Any) -> object:
    """Read what was typed for a value of this type; nothing means None where it may be None.

    Examples
    --------
    >>> parse_value("crop_mm", "80 × 96", tuple[float, float] | None)
    (80.0, 96.0)
    >>> parse_value("frozen", "contraction bottleneck", tuple[str, ...])
    ('contraction', 'bottleneck')
    """
    return Setting(name, hint).read(text)


def show_value(value: object) -> str:
    """Write a setting as it is typed; `parse_value` reads it."""
    if value is None:
        return ""
    if isinstance(value, tuple):
        nested = any(isinstance(item, tuple) for item in value)
        return ("; " if nested else ", ").join(show_value(item) for item in value)
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def say_value(name: str, value: object) -> str:
    """Give a setting's value in words for people.

    Examples
    --------
    >>> say_value("loss.pixel", "bce"), say_value("network.filters", (16, 32)), say_value("patience", None)
    ('binary cross-entropy', '16, 32', 'none')
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    called = all_settings()[name].called
    return called[value] if called and value in called else show_value(value) or "none"


def value_of(settings: Any, name: str) -> object:
    """Give a setting by its name ("batch_size", "preprocess.spacing_mm")."""
    for part in name.split("."):
        settings = getattr(settings, part)
    return settings
