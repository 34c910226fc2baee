"""What was read of a file, held to the kinds that the fields of a dataclass have."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from functools import cache
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")


def read_fields(kind: Callable[..., T], values: object, what: str) -> T:
    """Build a dataclass from the values of its fields; ValueError says in words what of them cannot be.

    `what` is what the values are, in words, as in "epoch 3".
    """
    hints = _hints(kind)
    if not isinstance(values, Mapping) or not set(values) <= set(hints):
        raise ValueError(f"{what} is not described as autoseg describes it")
    for name, value in values.items():
        if not is_of_kind(value, hints[name]):
            raise ValueError(f"{what} has {shown(value)} in place of its {name.replace('_', ' ')}")
    try:
        return kind(**{name: _built(value, hints[name], what) for name, value in values.items()})
    except TypeError:
        raise ValueError(f"a part of {what} is missing") from None


def _built(value: Any, hint: Any, what: str) -> Any:
    """Turn lists into tuples, and the values of dataclasses in them into those."""
    if isinstance(hint, type) and is_dataclass(hint) and isinstance(value, Mapping):
        return read_fields(hint, value, what)
    if get_origin(hint) is tuple and get_args(hint)[-1] is ... and isinstance(value, list | tuple):
        return tuple(_built(one, get_args(hint)[0], what) for one in value)
    return tuple(value) if isinstance(value, list) else value


def needed(values: Mapping[str, Any], name: str, hint: Any) -> Any:
    """Give a value that must be there, and be of this kind."""
    if name not in values:
        raise ValueError(f"it lacks its {name.replace('_', ' ')}")
    if not is_of_kind(values[name], hint):
        raise ValueError(f"it has {shown(values[name])} in place of its {name.replace('_', ' ')}")
    return values[name]


def is_of_kind(value: object, hint: Any) -> bool:
    """Tell whether a value is of the kind that an annotation names; a list stands for a tuple, 1 for 1.0."""
    return _checker(hint)(value)


@cache
def _checker(hint: Any) -> Callable[[Any], bool]:
    """Give what tells whether a value is of a kind: made once, for an epoch has dozens of values."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        several = tuple(map(_checker, inner))
        return lambda value: any(fits(value) for fits in several)
    if origin is Literal:
        return lambda value: isinstance(value, str) and value in inner
    if origin is tuple and inner[-1] is ...:
        one = _checker(inner[0])
        return lambda value: isinstance(value, tuple | list) and all(map(one, value))
    if origin is tuple:
        each = tuple(map(_checker, inner))
        return lambda value: (
            isinstance(value, tuple | list)
            and len(value) == len(each)
            and all(fits(part) for fits, part in zip(each, value, strict=True))
        )
    if origin is dict:
        key_fits, fits = map(_checker, inner)
        return lambda value: (
            isinstance(value, dict) and all(map(key_fits, value)) and all(map(fits, value.values()))
        )
    if is_dataclass(hint):
        return lambda value: isinstance(value, Mapping | hint)
    if hint is Any:
        return lambda value: True
    if hint is float:
        return lambda value: type(value) in (float, int)
    if hint is int:
        return lambda value: type(value) is int
    return lambda value: isinstance(value, hint)


def shown(value: object) -> str:
    """Give a value in a few characters, for a sentence."""
    words = repr(value) if isinstance(value, str | int | float | None) else "something else"
    return words if len(words) <= 60 else f"{words[:60]}…"


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)
