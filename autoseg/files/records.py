"""Plain values as JSON: what is told of a run, a fold, a comparison, a folder to correct in."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from autoseg.files.atomic import whole_file


def write_record(path: Path, content: Mapping[str, Any], *, indent: int | None = 1) -> None:
    """Write plain values whole, or not at all, as JSON that every program reads.

    What is no number (nan, inf) is null; what JSON does not know is written as its words.
    """
    text = json.dumps(_plain(content), indent=indent, ensure_ascii=False, default=str, allow_nan=False)
    with whole_file(path) as temporary:
        # A byte of a file's name that is no letter becomes JSON's own spelling of it, which is read back.
        temporary.write_bytes((text + "\n").encode("utf-8", "backslashreplace"))


Kind = TypeVar("Kind")


def from_record(kind: type[Kind], row: Mapping[str, Any]) -> Kind:
    """Build a dataclass from what a record holds of it; null for a number that has no other word for it is nan."""
    numbers = {item.name for item in fields(kind) if item.type in ("float", float)}  # type: ignore[arg-type]
    return kind(**{key: math.nan if value is None and key in numbers else value for key, value in row.items()})


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
