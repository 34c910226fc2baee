"""Tables as a workbook of the kind that Excel and LibreOffice open, whose numbers are numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from openpyxl import Workbook
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE, Cell
from openpyxl.styles import Alignment, Font, PatternFill
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.worksheet import Worksheet

from autoseg.files.atomic import whole_file

WIDEST = 60
MARK = PatternFill("solid", fgColor="FFE08A")  # amber; the flag's words stand beside it
RED, ON_RED = "B00020", Font(bold=True, color="FFFFFF")


@dataclass(frozen=True, eq=False)
class Sheet:
    """A table to write: its title, which cells are marked as (row, column) of the table, which rows are bold.

    `red` cells are marked in red, and with any of them the sheet's tab is red too.
    """

    title: str
    table: pd.DataFrame
    marked: frozenset[tuple[int, int]] = frozenset()
    bold: frozenset[int] = frozenset()
    red: frozenset[tuple[int, int]] = frozenset()


def write_workbook(path: Path, sheets: Sequence[Sheet]) -> Path:
    """Write tables to an .xlsx file, one sheet each, and return its path.

    Numbers are written as numbers and words as words: a name that starts with "=" is no formula. NaN and None
    are empty cells. The header stays in sight, columns are as wide as their words.
    """
    book = Workbook()
    for place, sheet in enumerate(sheets):
        page = book.active if place == 0 else book.create_sheet()
        page.title = sheet.title
        _fill(page, sheet)
    with whole_file(Path(path)) as temporary:
        book.save(temporary)
    return Path(path)


def _fill(page: Worksheet, sheet: Sheet) -> None:
    bold = Font(bold=True)
    for column, name in enumerate(sheet.table.columns, start=1):
        cell = page.cell(1, column)
        _set(cell, str(name))
        cell.font, cell.alignment = bold, Alignment(wrap_text=True, vertical="top")
        values = sheet.table.iloc[:, column - 1].tolist()
        for row, value in enumerate(values):
            cell = page.cell(row + 2, column)
            _set(cell, value)
            if row in sheet.bold:
                cell.font = bold
            if (row, column - 1) in sheet.marked:
                cell.fill = MARK
            if (row, column - 1) in sheet.red:
                cell.fill, cell.font = PatternFill("solid", fgColor=RED), ON_RED
        longest = max((len(_shown(value)) for value in [str(name), *values]), default=8)
        page.column_dimensions[get_column_letter(column)].width = min(WIDEST, longest + 2)
    if sheet.red:
        page.sheet_properties.tabColor = RED
    page.freeze_panes = "A2"


def _set(cell: Cell, value: object) -> None:
    """Put a value into a cell as what it is."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return
    if isinstance(value, bool):
        value = "yes" if value else "no"
    if isinstance(value, int | float):
        cell.value = value
        if isinstance(value, float):
            cell.number_format = "0.0###"
        return
    cell.value = _words(str(value))
    cell.data_type = "s"  # never a formula


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _words(text: str) -> str:
    """Take out what a workbook cannot hold: control characters, bytes that are no UTF-8."""
    return ILLEGAL_CHARACTERS_RE.sub("?", text.encode("utf-8", "replace").decode("utf-8"))
