"""Workbooks read back as they were meant: numbers, words, marks."""

import math
import re

import openpyxl
import pandas as pd
import pytest
from hostile import HOSTILE

from autoseg.errors import OutputError
from autoseg.files.workbooks import Sheet, write_workbook


def written(path, *sheets):
    return openpyxl.load_workbook(write_workbook(path, sheets))


def test_numbers_are_numbers_and_words_are_words(tmp_path):
    table = pd.DataFrame({"slice": [0, "mean"], "psoas mm²": [1238.4, math.nan], "cut": [True, False]})
    page = written(tmp_path / "a.xlsx", Sheet("areas", table))["areas"]
    rows = list(page.iter_rows(values_only=True))
    assert rows == [("slice", "psoas mm²", "cut"), (0, 1238.4, "yes"), ("mean", None, "no")]
    assert page.freeze_panes == "A2"
    assert page["B2"].data_type == "n"
    assert page["A1"].font.bold


def test_a_name_that_looks_like_a_formula_is_no_formula(tmp_path):
    page = written(tmp_path / "a.xlsx", Sheet("x", pd.DataFrame({"=1+1": ["=HYPERLINK(1)"]})))["x"]
    assert (page["A1"].value, page["A1"].data_type) == ("=1+1", "s")
    assert (page["A2"].value, page["A2"].data_type) == ("=HYPERLINK(1)", "s")


def test_marked_cells_and_bold_rows_are_where_they_were_said(tmp_path):
    table = pd.DataFrame({"a": [1, 2], "b": [3, 4]})
    page = written(tmp_path / "a.xlsx", Sheet("x", table, frozenset({(0, 1)}), frozenset({1})))["x"]
    filled = [cell.coordinate for row in page.iter_rows() for cell in row if cell.fill.fill_type == "solid"]
    assert filled == ["B2"]
    assert [page[place].font.bold for place in ("A2", "A3", "B3")] == [False, True, True]


def test_columns_are_as_wide_as_their_words_within_reason(tmp_path):
    table = pd.DataFrame({"n": [1], "long": ["word " * 40]})
    page = written(tmp_path / "a.xlsx", Sheet("x", table))["x"]
    assert page.column_dimensions["A"].width < 10
    assert page.column_dimensions["B"].width == 60


def test_what_a_workbook_cannot_hold_becomes_a_question_mark(tmp_path):
    page = written(tmp_path / "a.xlsx", Sheet("x", pd.DataFrame({"a": ["caf\udce9", "a\x00b"]})))["x"]
    assert [page["A2"].value, page["A3"].value] == ["caf?", "a?b"]


def test_a_disk_that_is_full_leaves_nothing(tmp_path, monkeypatch):
    def full(self, path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(openpyxl.Workbook, "save", full)
    with pytest.raises(OutputError, match="No space left"):
        write_workbook(tmp_path / "a.xlsx", [Sheet("x", pd.DataFrame({"a": [1]}))])
    assert list(tmp_path.iterdir()) == []


def test_hostile_names_are_words_and_no_formula(tmp_path):
    path = tmp_path / "a.xlsx"
    page = written(path, Sheet("x", pd.DataFrame({"=A1": HOSTILE, "n": [-1.5] * len(HOSTILE)})))["x"]
    cells = [row[0] for row in page.iter_rows(min_row=1)]
    assert {cell.data_type for cell in cells} == {"s"}
    assert cells[0].value == "=A1"
    # What a workbook holds comes back: 32,767 letters, no control signs, no halves of letters.
    plain = [name for name in HOSTILE if not re.search("[\x00-\x08\x0b\x0c\r\x0e-\x1f\ud800-\udfff]", name)]
    assert set(plain) <= {cell.value for cell in cells}
