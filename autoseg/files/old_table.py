"""Read the area table of the published workbench: a row a slice, a column a structure, written in many ways."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from autoseg.errors import ReadError
from autoseg.files.tables import MOST_BYTES, MOST_CELLS, read_cells
from autoseg.words import name_some, named, size_words

Decimal = Literal["point", "comma"]
SIGNS: dict[str, str] = {"point": ".", "comma": ","}
# What a column is called that autoseg adds when it puts a table right, and those of its own tables.
ADDED = ("factor", "why")
OURS = {"slice_position_mm", "measurement_version", "case_id"}

_UNIT = re.compile(r"\s*(mm2|mm²|mm\^2|cm2|cm²|cm\^2)\s*$", re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d+)*|[.,]\d+)(e[+-]?\d+)?", re.IGNORECASE)
_GAP = re.compile(r"(?<=\d)[\s'\u2019\u00a0\u2009\u202f](?=\d{3})")
_MISSING = {"", "-", "–", "—", "na", "n/a", "nan", "none", "null"}
_PIXELS = re.compile(r"\b(pixels?|px|voxels?|counts?)\b", re.IGNORECASE)
_AREA = re.compile(r"area|fläche|flaeche|superficie|surface|mm2|mm²|mm\^2|cm2|cm²|cm\^2", re.IGNORECASE)
_NO_AREA = re.compile(
    r"^(unnamed: \d+|#)?$|\b(slices?|images?|imgs?|files?|filenames?|names?|cases?|patients?|subjects?|ids?|index|"
    r"no|nr|numbers?|levels?|frames?|instances?|positions?|pos|locations?|dates?|age|sex|n|z|schicht|scheibe|bild|"
    r"datei|coupe|corte|dice|iou|scores?|percent|ratio|volumes?|mm3|mm³|ml|cm3|cm³|spacing|thickness|fov|matrix|"
    r"intensity|perimeter|length|width|diameter|mm)\b|%",
    re.IGNORECASE,
)
_SUMMARY = re.compile(
    r"(mean|average|avg|median|min|minimum|max|maximum|sum|total|sd|std|stdev|std\.? ?dev\.?|standard deviation|"
    r"mittel|mittelwert|summe|standardabweichung|moyenne|media|promedio)(\s*\(.*\))?[.:]?",
    re.IGNORECASE,
)
_COUNT = re.compile(r"(n|count|number|anzahl|cv|variance|var)(\s*\(.*\))?[.:]?", re.IGNORECASE)


@dataclass(frozen=True)
class OldArea:
    """A number of the table, and by how much it may be off because it was rounded when it was written."""

    value: float
    rounding: float


@dataclass(frozen=True)
class OldRow:
    """A row: its cells as they stand there, its areas by column, and what it is.

    "slice" is of one slice, "summary" a mean, SD or sum of slices, "count" a line whose numbers are no areas.
    """

    number: int
    cells: tuple[str, ...]
    areas: dict[int, OldArea]
    kind: Literal["slice", "summary", "count"]

    def name(self, column: int | None) -> str:
        """Give what the row calls its slice, or its place as a spreadsheet counts it."""
        return (self.cells[column] if column is not None else "") or f"row {self.number}"


@dataclass(frozen=True)
class OldTable:
    """The table as it was read; `areas` are the places of the columns of areas, `names` that of the slices."""

    path: Path
    columns: tuple[str, ...]
    rows: tuple[OldRow, ...]
    areas: tuple[int, ...]
    names: int | None


def read_old_table(
    path: Path, *, data: bytes | None = None, areas: Sequence[str] = (), decimal: Decimal | None = None
) -> OldTable:
    """Read areas with whatever separator, decimal sign and header words a spreadsheet gave them.

    Parameters
    ----------
    path : Path
        A CSV file: semicolons, tabs, commas or bars; UTF-8, UTF-16 or a spreadsheet's own letters.
    data : bytes, optional
        What is in the file, where it lies on another computer and only its name is known.
    areas : sequence of str, optional
        The columns that hold areas, by their names; without, all columns of numbers but those whose names say
        otherwise (slice, pixels, Dice, volume …).
    decimal : {"point", "comma"}, optional
        The decimal sign, needed only where numbers such as 1,239 leave it open.

    Raises
    ------
    ReadError
        If it is no such table, or leaves open what a number means; the message says what to type.
    """
    path = Path(path)
    header, lines, separator = _lines(path, _bytes(path) if data is None else data)
    _refuse_ours(path, header)
    cells = [cell for _, line in lines for cell in line]
    sign = SIGNS[decimal] if decimal else _decimal_sign(path, cells, separator)
    numbers = [(number, line, [_area(cell, sign) for cell in line]) for number, line in lines]
    chosen = _area_columns(path, header, numbers, areas)
    others = [place for place in range(len(header)) if place not in chosen]
    rows = []
    for number, line, found in numbers:
        kept = {place: one for place in chosen if (one := found[place]) is not None}
        for place in chosen:
            if found[place] is None and line[place].lower() not in _MISSING:
                raise ReadError(
                    f"{path}, row {number}, column {header[place]!r}: {line[place]!r} is no area. Correct the "
                    "cell, or leave it empty."
                )
            if place in kept and kept[place].value < 0:
                raise ReadError(f"{path}, row {number}, column {header[place]!r}: {line[place]} is below 0.")
        rows.append(OldRow(number, tuple(line), kept, _kind(line, others)))
    if not any(row.areas for row in rows if row.kind == "slice"):
        raise ReadError(f"{path} has no area of a slice. Choose the table with a row for each slice.")
    return OldTable(path, tuple(header), tuple(rows), chosen, others[0] if others else None)


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MOST_BYTES + 1)
    except OSError as error:
        raise ReadError(f"{path} cannot be read ({error.strerror}). Check the name and the folder.") from error


def _lines(path: Path, data: bytes) -> tuple[list[str], list[tuple[int, list[str]]], str]:
    """Give the header, the rows below it with their numbers, and what parts the cells."""
    if len(data) > MOST_BYTES:
        raise ReadError(f"{path} has more than {size_words(MOST_BYTES)}: it is no table of areas.")
    text = _decoded(path, data)
    lines = text.splitlines()
    said = re.fullmatch(r"sep=(.)", lines[0].strip(), re.IGNORECASE) if lines else None
    unquoted = re.sub(r'"[^"]*"', "", text)
    separator = said[1] if said else next((sign for sign in ";\t,|" if sign in unquoted), ",")
    found = read_cells(path, text, separator)[1 if said else 0 :]
    found = [(number, row) for number, row in found if any(row)]
    widest = max((sum(map(bool, row)) for _, row in found), default=0)
    while found and sum(map(bool, found[0][1])) < min(2, widest):  # a title above the table
        del found[0]
    if len(found) < 2:
        raise ReadError(f"{path} holds no table: a row of names and a row for each slice.")
    blank = {place for place in range(len(found[0][1])) if not any(any(row[place : place + 1]) for _, row in found)}
    found = [(number, [cell for place, cell in enumerate(row) if place not in blank]) for number, row in found]
    header = found[0][1]
    if all(not cell or _NUMBER.fullmatch(cell) for cell in header):
        raise ReadError(f"{path} has no row that names its columns. Write the names of the structures above them.")
    twice = sorted({cell for cell in header if header.count(cell) > 1})
    if twice:
        raise ReadError(f"{path} has more than one column {twice[0]!r}. Give each a name of its own.")
    if len(header) * len(found) > MOST_CELLS:
        raise ReadError(f"{path} is too large for a table of areas. Is it another file?")
    for number, row in found[1:]:
        if any(row[len(header) :]):
            comma = (
                " A comma parts the cells: if it is the decimal sign too, save the table with semicolons."
                if separator == ","
                else ""
            )
            raise ReadError(f"{path}, row {number} has more cells than the row of names has.{comma}")
    rows = [(number, (row + [""] * len(header))[: len(header)]) for number, row in found[1:]]
    return header, rows, separator


def _decoded(path: Path, data: bytes) -> str:
    is_wide = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    for coding in ("utf-16",) if is_wide else ("utf-8-sig", "cp1252"):
        try:
            text = data.decode(coding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text
    raise ReadError(f"{path} is no text. Save the table as CSV, not as a workbook, and choose that file.")


def _refuse_ours(path: Path, header: Sequence[str]) -> None:
    names = {cell.lower() for cell in header}
    added = [name for name in ADDED if name in names]
    if added:
        raise ReadError(f"{path} has a column {added[0]!r}, so it was put right already. Choose the old table.")
    if OURS & names:
        raise ReadError(
            f"{path} is a table of autoseg, whose areas are of the image's own pixels: nothing has to be put right."
        )


def _plain(cell: str) -> str:
    """Give a cell without its unit and without the gaps between thousands."""
    return _GAP.sub("", _UNIT.sub("", cell).strip())


def _decimal_sign(path: Path, cells: Sequence[str], separator: str) -> str:
    """Find the decimal sign of a table: by numbers that can be read in one way only."""
    sure: dict[str, str] = {}
    unsure = ""
    for cell in map(_plain, cells):
        if not _NUMBER.fullmatch(cell):
            continue
        digits = re.split("e", cell, flags=re.IGNORECASE)[0].lstrip("+-")
        signs = re.sub(r"\d", "", digits)
        if not signs:
            continue
        last = signs[-1]
        if len(set(signs)) == 2:
            sure.setdefault(last, cell)
        elif len(signs) > 1:  # 1,234,567
            sure.setdefault("," if last == "." else ".", cell)
        else:
            before, _, after = digits.partition(last)
            if len(after) != 3 or len(before) > 3 or before in ("", "0"):
                sure.setdefault(last, cell)
            else:
                unsure = cell
    if len(sure) == 2:
        raise ReadError(
            f"{path} has numbers with a decimal point ({sure['.']}) and with a decimal comma ({sure[',']}). Write "
            "all of them in one way."
        )
    if not sure and unsure and separator != ",":
        raise ReadError(
            f"{path}: is {unsure} more than a thousand, or less? Say what the decimal sign is (on the command line "
            "--decimal point or --decimal comma)."
        )
    return next(iter(sure), ".")


def _area(cell: str, sign: str) -> OldArea | None:
    text = _plain(cell)
    if not _NUMBER.fullmatch(text):
        return None
    text = text.replace("." if sign == "," else ",", "").replace(sign, ".")
    if text.count(".") > 1:
        return None
    digits, _, power = text.lower().partition("e")
    rounding = 0.5 * 10.0 ** (int(power or 0) - len(digits.partition(".")[2]))
    return OldArea(float(text), rounding)


def _area_columns(
    path: Path,
    header: Sequence[str],
    rows: Sequence[tuple[int, list[str], list[OldArea | None]]],
    typed: Sequence[str],
) -> tuple[int, ...]:
    unknown, known = [name for name in typed if name not in header], name_some([*filter(None, header)], 20)
    if unknown:
        raise ReadError(f"{path} has no {named('column', unknown)}; it has: {known}.")
    if typed:
        return tuple(place for place, name in enumerate(header) if name in typed)
    found = tuple(
        place
        for place, name in enumerate(header)
        if _is_area(name) and 2 * sum(row[place] is not None for _, _, row in rows) > _filled(rows, place)
    )
    if not found:
        raise ReadError(
            f"{path} has no column that can be told to hold areas; it has: {known}. Name those that do, "
            "as columns of areas (on the command line --areas COLUMN COLUMN)."
        )
    return found


def _filled(rows: Sequence[tuple[int, list[str], list[OldArea | None]]], place: int) -> int:
    return sum(line[place].lower() not in _MISSING for _, line, _ in rows)


def _is_area(name: str) -> bool:
    words = name.replace("_", " ")
    return not _PIXELS.search(words) and bool(_AREA.search(words) or not _NO_AREA.search(words))


def _kind(line: Sequence[str], others: Sequence[int]) -> Literal["slice", "summary", "count"]:
    # In the first two columns: a table with the patient in front has the word behind.
    words = [line[place] for place in others[:2]]
    if any(_SUMMARY.fullmatch(cell) for cell in words):
        return "summary"
    return "count" if any(_COUNT.fullmatch(cell) for cell in words) else "slice"
