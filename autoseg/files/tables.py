"""Reading and writing the two tables of a training folder: structures.csv and annotated.csv."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import cast

from autoseg.errors import LabelError, ReadError
from autoseg.files.atomic import whole_file
from autoseg.structures import Side, Structure, check_structures

Row = tuple[int, dict[str, str]]
"""The number of the row as a spreadsheet counts it (the header is row 1), and its cells by column."""


def read_structures(path: Path) -> tuple[Structure, ...]:
    """Read which integer in the label files is which structure.

    Parameters
    ----------
    path : Path
        CSV in UTF-8 with the columns label and name, and where wanted colour (#rrggbb) and side (left, right,
        both or empty). Commas, semicolons or tabs between the columns; other columns are ignored.

    Returns
    -------
    tuple of Structure
        In the order of the file.

    Raises
    ------
    ReadError
        If the file is no such table.
    LabelError
        If a row cannot be a structure; the message names the row and the value.
    """
    columns, rows = _read_rows(path)
    _require_columns(path, columns, ("label", "name"), example="1,psoas left,#e69f00,left")
    structures = tuple(_structure(path, number, row) for number, row in rows)
    if not structures:
        raise ReadError(f"{path} names no structure. Add a row for each label, for instance: 1,psoas left")
    try:
        check_structures(structures)
    except LabelError as error:
        raise LabelError(f"{path}: {error} Give every structure a label and a name of its own.") from error
    return structures


def write_structures(path: Path, structures: Sequence[Structure]) -> None:
    """Write the structures as `read_structures` reads them.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    rows = [(s.label, s.name, "#{:02x}{:02x}{:02x}".format(*s.rgb), s.side) for s in structures]
    _write_rows(path, ("label", "name", "colour", "side"), rows)


def read_annotated(path: Path, structures: Sequence[Structure]) -> dict[str, frozenset[int]]:
    """Read which structures were drawn on which case.

    Parameters
    ----------
    path : Path
        CSV with the column case_id and one column for each structure's name: 1 where it was drawn (or looked
        for and found absent), 0 where it was not drawn, so that nothing is known of it.
    structures : sequence of Structure

    Returns
    -------
    dict of frozenset of int
        Labels drawn, by case_id.

    Raises
    ------
    ReadError
        If a column is missing or has no structure, a cell is neither 0 nor 1, or a case stands there twice.
    """
    columns, rows = _read_rows(path)
    names = {structure.name.lower(): structure.label for structure in structures}
    _require_columns(path, columns, ("case_id", *names), example="case_001" + ",1" * len(names))
    unknown = [column for column in columns if column not in names and column != "case_id"]
    if unknown:
        raise ReadError(
            f"{path} has the column {unknown[0]!r}, which names no structure. Known: "
            f"{[s.name for s in structures]}. Correct the name, or add the structure to structures.csv."
        )
    annotated: dict[str, frozenset[int]] = {}
    for number, row in rows:
        case_id = row["case_id"]
        if not case_id or case_id in annotated:
            problem = "stands there already" if case_id else "is empty"
            raise ReadError(f"{path}, row {number}: case_id {case_id!r} {problem}. Give each case one row.")
        for name in names:
            if row[name] not in ("0", "1"):
                raise ReadError(
                    f"{path}, row {number}, column {name!r}: {row[name]!r} is neither 1 (drawn) nor 0 (not "
                    "drawn). Write one of them."
                )
        annotated[case_id] = frozenset(label for name, label in names.items() if row[name] == "1")
    return annotated


def write_annotated(path: Path, annotated: Mapping[str, Iterable[int]], structures: Sequence[Structure]) -> None:
    """Write which structures were drawn on which case, as `read_annotated` reads it.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    rows = [
        (case_id, *(int(structure.label in labels) for structure in structures))
        for case_id, labels in ((case_id, frozenset(drawn)) for case_id, drawn in annotated.items())
    ]
    _write_rows(path, ("case_id", *(structure.name for structure in structures)), rows)


def _structure(path: Path, number: int, row: Mapping[str, str]) -> Structure:
    where = f"{path}, row {number}"
    if not re.fullmatch(r"\d{1,3}", row["label"]):
        raise LabelError(f"{where}: label {row['label']!r} is not a whole number from 1 to 255. Correct it.")
    colour = row.get("colour", row.get("color", ""))
    if colour and not re.fullmatch(r"#[0-9a-fA-F]{6}", colour):
        raise LabelError(f"{where}: colour {colour!r} is not of the form #rrggbb, for instance #e69f00.")
    try:
        return Structure(
            label=int(row["label"]),
            name=row["name"],
            colour=cast(tuple[int, int, int], tuple(bytes.fromhex(colour[1:]))) if colour else None,
            side=cast(Side, row.get("side", "").lower()),
        )
    except LabelError as error:
        raise LabelError(f"{where}: {error}") from error


def _read_rows(path: Path) -> tuple[list[str], list[Row]]:
    """Give the column names in lower case and the rows that are not blank."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError as error:
        raise ReadError(f"{path} does not exist. Check the name and the folder.") from error
    except UnicodeDecodeError as error:
        raise ReadError(
            f"{path} is not text in UTF-8. In Excel save it with the file type 'CSV UTF-8', then try again."
        ) from error
    except OSError as error:
        raise ReadError(f"{path} cannot be read ({error.strerror}). Check that you may open the file.") from error
    # Excel writes semicolons wherever the comma is the decimal sign, as in Germany.
    header = text.partition("\n")[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=header.count))
    try:
        columns = [cell.strip().lower() for cell in next(reader, [])]
        filled = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if any(map(str.strip, row))]
    except csv.Error as error:
        raise ReadError(f"{path} is not a CSV table ({error}). Save it as 'CSV UTF-8', then try again.") from error
    while columns and not columns[-1]:
        columns.pop()
    return columns, [(number, _cells(path, number, columns, row)) for number, row in filled]


def _cells(path: Path, number: int, columns: Sequence[str], row: Sequence[str]) -> dict[str, str]:
    if any(row[len(columns) :]):
        raise ReadError(
            f"{path}, row {number} has more cells than the header: {row[len(columns) :]}. Put quotation "
            "marks around a name that contains the separator, or remove the cells."
        )
    return dict.fromkeys(columns, "") | dict(zip(columns, row, strict=False))


def _require_columns(path: Path, columns: Sequence[str], wanted: Sequence[str], *, example: str) -> None:
    missing = [column for column in wanted if column not in columns]
    twice = [column for column in wanted if columns.count(column) > 1]
    if missing or twice:
        problem = f"lacks the column(s) {missing}" if missing else f"has the column {twice[0]!r} more than once"
        raise ReadError(
            f"{path} {problem}; its columns are {list(columns)}. The first row must name the columns "
            f"{', '.join(wanted)}; a row below looks like: {example}"
        )


def _write_rows(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with whole_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
