"""Plain values as JSON: nan is null, and every name comes back."""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hostile import HOSTILE

from autoseg.files.records import from_record, write_record


@dataclass(frozen=True)
class Row:
    """A row whose Dice is nan where nothing is known, and whose distance is None."""

    name: str
    dice: float
    hd95_mm: float | None


def strict(path):
    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, np.float32("nan"), np.float64("inf")])
def test_what_is_no_number_is_null(tmp_path, value):
    write_record(tmp_path / "r.json", {"a": value, "b": [value, (1.5, {"c": value})]})
    assert strict(tmp_path / "r.json") == {"a": None, "b": [None, [1.5, {"c": None}]]}


def test_numbers_keep_every_digit_and_other_things_become_words(tmp_path):
    content = {"a": 0.1 + 0.2, "n": np.int64(3), "f": np.float64(0.1), "path": Path("x"), "ok": True, 1: "one"}
    write_record(tmp_path / "r.json", content)
    assert strict(tmp_path / "r.json") == {"a": 0.1 + 0.2, "n": 3, "f": 0.1, "path": "x", "ok": True, "1": "one"}


def test_names_come_back(tmp_path):
    write_record(tmp_path / "r.json", {"names": HOSTILE, **dict.fromkeys(HOSTILE, 1)})
    assert strict(tmp_path / "r.json") == {"names": list(HOSTILE), **dict.fromkeys(HOSTILE, 1)}


def test_a_number_that_was_nan_is_nan_again_and_none_stays_none(tmp_path):
    write_record(tmp_path / "r.json", {"row": {"name": "a", "dice": math.nan, "hd95_mm": None}})
    row = from_record(Row, strict(tmp_path / "r.json")["row"])
    assert math.isnan(row.dice)
    assert row.hd95_mm is None
    # As earlier versions wrote it.
    assert math.isnan(from_record(Row, json.loads('{"name": "a", "dice": NaN, "hd95_mm": 1.0}')).dice)
