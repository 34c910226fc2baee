"""Settings as text: read what was typed for one, write it as it is typed, say what it means."""

from __future__ import annotations

import difflib
import inspect
import re
import types
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from autoseg.errors import SettingsError
from autoseg.model.settings.settings import Settings

YES, NO, NOTHING = ("true", "yes", "on", "1"), ("false", "no", "off", "0"), ("", "none")


def read_assignments(texts: Sequence[str]) -> dict[str, object]:
    """Read settings typed as NAME=VALUE; the same name twice takes the later value.

    Of `epochs` and `minutes`, of which a training has one, the other becomes None where only one is typed. Whether
    the values fit together is found where they are used (`autoseg.training.plan.change_settings`).

    Examples
    --------
    >>> read_assignments(["network.name=resunet", "network.filters=16,32,64", "patience=none"])
    {'network.name': 'resunet', 'network.filters': (16, 32, 64), 'patience': None}
    """
    hints = setting_types()
    values: dict[str, object] = {}
    for typed in texts:
        name, sign, value = (part.strip() for part in typed.partition("="))
        if not sign or not name:
            raise SettingsError(f"{typed!r} does not set anything; give NAME=VALUE, such as network.name=resunet.")
        if name not in hints:
            raise SettingsError(f"There is no setting {name!r}. {_nearest(name, list(hints))}")
        try:
            values[name] = _read(name.rpartition(".")[2], value, hints[name])
        except SettingsError as error:
            raise SettingsError(f"{typed!r}: {error}") from error
    for one, other in (("epochs", "minutes"), ("minutes", "epochs")):
        if values.get(one) is not None:
            values.setdefault(other, None)
    return values


def _read(name: str, value: str, hint: Any) -> object:
    """Read one value of any type, also those that a form does not need text for."""
    if get_origin(hint) is Literal:
        words = {str(word): word for word in get_args(hint)}
        if value not in words:
            raise SettingsError(f"{name} is {value!r}; give {', '.join(words)}.")
        return words[value]
    if hint is bool:
        if value.lower() not in (*YES, *NO):
            raise SettingsError(f"{name} is {value!r}; give yes or no.")
        return value.lower() in YES
    may_be_none = type(None) in get_args(hint)
    return None if may_be_none and value.lower() in NOTHING else parse_value(name, value, hint)


def _nearest(name: str, known: Sequence[str]) -> str:
    """Say which settings may have been meant."""
    alike = [other for other in known if other.rpartition(".")[2] == name or other.startswith(f"{name}.")]
    if not alike:
        alike = difflib.get_close_matches(name, known, n=4, cutoff=0.5)
    if alike:
        return f"Did you mean {' or '.join(alike)}?"
    return f"Known: {', '.join(known)}."


def setting_types() -> dict[str, Any]:
    """Give the type of every setting by its name ("batch_size", "preprocess.spacing_mm"), in their order."""
    return {name: hint for name, _, hint in _settings(Settings, "")}


def setting_words() -> dict[str, str]:
    """Give what every setting means by its name ("batch_size", "preprocess.spacing_mm"), in their order."""
    found = _settings(Settings, "")
    return {name: describe_fields(kind).get(name.rpartition(".")[2], "") for name, kind, _ in found}


def _settings(kind: type, prefix: str) -> Iterator[tuple[str, type, Any]]:
    hints = get_type_hints(kind)
    groups = [item.name for item in fields(kind) if is_dataclass(hints[item.name])]
    yield from ((prefix + item.name, kind, hints[item.name]) for item in fields(kind) if item.name not in groups)
    for name in groups:
        yield from _settings(hints[name], f"{prefix}{name}.")


def describe_fields(kind: type) -> dict[str, str]:
    """Give what the docstring's "Parameters" say of every field; one that stands there is described.

    Examples
    --------
    >>> describe_fields(Settings)["print_checkpoint"]
    'Epochs between printed lines.'
    """
    words: dict[str, str] = {}
    names: list[str] = []
    lines = inspect.cleandoc(kind.__doc__ or "").partition("Parameters\n----------\n")[2].splitlines()
    for line in lines:
        if line and not line.startswith(" "):
            names = [name.strip() for name in line.partition(" : ")[0].split(",")]
        else:
            words.update({name: f"{words.get(name, '')} {line.strip()}".strip() for name in names})
    return words


def parse_value(name: str, text: str, hint: Any) -> object:
    """Read what was typed for a setting of this type; nothing means None where the setting may be None.

    Examples
    --------
    >>> parse_value("crop_mm", "80 × 96", tuple[float, float] | None)
    (80.0, 96.0)
    >>> parse_value("frozen", "contraction bottleneck", tuple[str, ...])
    ('contraction', 'bottleneck')
    """
    text = text.strip()
    if get_origin(hint) in (Union, types.UnionType):
        if not text:
            return None
        (hint,) = (kind for kind in get_args(hint) if kind is not type(None))
    if hint is str:
        return text
    if get_origin(hint) is tuple:
        inner = get_args(hint)[0]
        if get_origin(inner) is tuple:  # several of them, with a semicolon between
            return tuple(_mixed(name, part, get_args(inner)) for part in text.split(";") if part.strip())
        parts = [part for part in re.split(r"[\s,;×]+", text.strip("()[] ")) if part]
        if inner is str:
            return () if text.lower() in NOTHING else tuple(parts)
        return tuple(_number(name, part, inner) for part in parts)
    return _number(name, text.replace(",", "."), hint)  # a comma is a decimal point to half of Europe


def _mixed(name: str, text: str, kinds: tuple[Any, ...]) -> tuple[object, ...]:
    parts = [part.strip() for part in text.split(",")]
    if kinds[-1] is ...:  # any number of them
        kinds = (kinds[0],) * len(parts)
    if len(parts) != len(kinds):
        raise SettingsError(f"{name} is {text.strip()!r}; give {len(kinds)} values with commas between.")
    pairs = zip(parts, kinds, strict=True)
    return tuple(part if kind is str else _number(name, part, kind) for part, kind in pairs)


def _number(name: str, text: str, kind: type) -> float:
    try:
        return int(text) if kind is int else float(text)
    except ValueError:
        wanted = "a whole number" if kind is int else "a number"
        raise SettingsError(f"{name} is {text!r}; give {wanted}.") from None


def show_value(value: object) -> str:
    """Write a setting as it is typed; `parse_value` reads it."""
    if value is None:
        return ""
    if isinstance(value, tuple):
        nested = any(isinstance(item, tuple) for item in value)
        return ("; " if nested else ", ").join(show_value(item) for item in value)
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def value_of(settings: Any, name: str) -> object:
    """Give a setting by its name ("batch_size", "preprocess.spacing_mm")."""
    for part in name.split("."):
        settings = getattr(settings, part)
    return settings
