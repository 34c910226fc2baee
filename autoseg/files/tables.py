"""Tables as CSV: structures.csv and annotated.csv of a training folder, and the one way all tables are written."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields
from itertools import islice
from pathlib import Path
from typing import Any, cast

import pandas as pd

from autoseg.errors import LabelError, ReadError
from autoseg.files.atomic import settle, whole_file
from autoseg.image.structures import Side, Structure, check_structures
from autoseg.words import counted, named, size_words

# Where pyarrow happens to be installed pandas keeps text in it, which refuses what names of files may hold (bytes
# that are no letters); Python's own text takes all of them.
pd.options.mode.string_storage = "python"

# Numbers as `write_table` writes them; "007" is a name.
_WHOLE = re.compile(r"-?(0|[1-9]\d{0,14})", re.ASCII)
_FIGURE = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?(e[+-]?\d+)?", re.ASCII)
# Ten thousand cases with a hundred structures each have half as many cells.
MOST_BYTES, MOST_CELLS = 20_000_000, 2_000_000

Row = tuple[int, dict[str, str]]
"""The number of the row as a spreadsheet counts it (the header is row 1), and its cells by column."""


@dataclass(frozen=True)
class StructureTable:
    """The structures of a folder, in the order in which they are drawn, and what stands for them in the files.

    `values` pairs a value of the label files, or the token of a binary file's name, with a label; 0 leaves it out.
    What is not among them stands for itself.
    """

    structures: tuple[Structure, ...]
    values: tuple[tuple[int | str, int], ...] = ()


def read_structures(path: Path) -> StructureTable:
    """Read which integer in the label files is which structure.

    Columns are label and name, and where wanted colour (#rrggbb), side, includes (labels inside this one, "2 3"),
    category and type (terms of SNOMED CT for DICOM objects: "10200004 Liver") and values (what stands for it in the
    files, "76 150" or "gmseg-manual; wmseg": several are merged). A row with label 0 leaves its values out. Where
    files of several structures overlap, a later row covers an earlier one.
    """
    columns, rows = read_rows(path)
    require_columns(path, columns, ("label", "name"), example="1,psoas left,#e69f00,left")
    structures = tuple(_structure(path, number, row) for number, row in rows if row["label"] != "0")
    if not structures:
        raise ReadError(f"{path} names no structure. Add a row for each label, for instance: 1,psoas left")
    try:
        check_structures(structures)
    except LabelError as error:
        raise LabelError(f"{path}: {error} Give every structure a label and a name of its own.") from error
    values: dict[int | str, int] = {}
    for number, row in rows:
        for word in _words(row.get("values", "")):
            value: int | str = int(word) if word.isdecimal() and len(word) < 10 else word
            if value in values:
                raise LabelError(
                    f"{path}, row {number}: the value {word} stands in another row too. Keep one of them."
                )
            values[value] = int(row["label"])
    return StructureTable(structures, tuple(values.items()))


def _words(cell: str) -> list[str]:
    """Split numbers at blanks too; names (of a segment: "Kidney left") only at semicolons and bars."""
    numbers = re.split(r"[\s;,|]+", cell.strip())
    words = numbers if all(map(str.isdecimal, numbers)) else re.split(r"[;|]", cell)
    return [word.strip() for word in words if word.strip()]


def write_structures(
    path: Path, structures: Sequence[Structure], *, values: Sequence[tuple[int | str, int]] = ()
) -> None:
    """Write the structures, and what stands for them in the files, as `read_structures` reads them.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    columns = ["label", "name", "colour", "side"]
    rows = [[s.label, s.name, "#{:02x}{:02x}{:02x}".format(*s.rgb), s.side] for s in structures]
    if any(label == 0 for _, label in values):
        rows.append([0, "left out", "", ""])
    if any(s.includes for s in structures):
        columns.append("includes")
        included = {s.label: s.includes for s in structures}
        rows = [[*row, " ".join(map(str, included.get(cast(int, row[0]), ())))] for row in rows]
    for what in ("category", "type"):
        terms = {s.label: getattr(s, what) for s in structures}
        if any(terms.values()):
            columns.append(what)
            rows = [[*row, terms.get(cast(int, row[0]), "")] for row in rows]
    if values:
        columns.append("values")
        rows = [[*row, "; ".join(str(value) for value, label in values if label == row[0])] for row in rows]
    write_rows(path, columns, rows)


@dataclass(frozen=True)
class Drawn:
    """What was drawn on a case, or on some of its slices: (start, stop) counted from 0.

    `unsaid` are those of the labels that only count as drawn because nobody has said otherwise.
    """

    labels: frozenset[int]
    slices: tuple[int, int] | None = None
    unsaid: frozenset[int] = frozenset()


def read_annotated(path: Path, structures: Sequence[Structure]) -> dict[str, tuple[Drawn, ...]]:
    """Read which structures were drawn on which case.

    1 is drawn (or looked for and found absent), 0 not drawn, so that nothing is known of it, ? counts as drawn
    until somebody says so. A column slices ("4-9" or "4", counted from 1) says where a row holds; slices that no
    row names are left out.
    """
    columns, rows = read_rows(path)
    names = {structure.name.lower(): structure.label for structure in structures}
    require_columns(path, columns, ("case_id", *names), example="case_001" + ",1" * len(names))
    unknown = [column for column in columns if column not in names and column not in ("case_id", "slices")]
    if unknown:
        raise ReadError(
            f"{path} has the column {unknown[0]!r}, which names no structure. Known: "
            f"{', '.join(s.name for s in structures)}. Correct the name, or add the structure to structures.csv."
        )
    annotated: dict[str, tuple[Drawn, ...]] = {}
    for number, row in rows:
        case_id, slices = row["case_id"], _slices(path, number, row.get("slices", ""))
        before = annotated.get(case_id, ())
        if not case_id or (before and (slices is None or any(_overlap(slices, other) for other in before))):
            problem = "stands there already" if case_id else "is empty"
            raise ReadError(f"{path}, row {number}: case_id {case_id!r} {problem}. Give each case one row.")
        for name in names:
            if row[name] not in ("0", "1", "?"):
                raise ReadError(
                    f"{path}, row {number}, column {name!r}: {row[name]!r} is neither 1 (drawn) nor 0 (not "
                    "drawn). Write one of them, or ? if nobody knows yet."
                )
        labels = frozenset(label for name, label in names.items() if row[name] != "0")
        unsaid = frozenset(label for name, label in names.items() if row[name] == "?")
        annotated[case_id] = (*before, Drawn(labels, slices, unsaid))
    return annotated


def read_subjects(path: Path) -> dict[str, str]:
    """Read whose image each case is: a CSV with the columns case_id and subject_id."""
    columns, rows = read_rows(path)
    require_columns(path, columns, ("case_id", "subject_id"), example="leg_07,patient3")
    subjects: dict[str, str] = {}
    for number, row in rows:
        if not row["case_id"] or not row["subject_id"] or row["case_id"] in subjects:
            raise ReadError(
                f"{path}, row {number}: {row['case_id']!r}, {row['subject_id']!r}. Give each case one row with its "
                "case_id and a code for the person."
            )
        subjects[row["case_id"]] = row["subject_id"]
    return subjects


def write_annotated(
    path: Path,
    annotated: Mapping[str, Iterable[int]],
    structures: Sequence[Structure],
    *,
    unsaid: Mapping[str, Iterable[int]] | None = None,
) -> None:
    """Write which structures were drawn on which case, as `read_annotated` reads it.

    `unsaid` are labels of a case of which nobody has said whether they were drawn.
    """
    rows: list[tuple[object, ...]] = []
    for case_id, labels in annotated.items():
        drawn, open_ = frozenset(labels), frozenset((unsaid or {}).get(case_id, ()))
        rows.append((case_id, *("?" if s.label in open_ else int(s.label in drawn) for s in structures)))
    write_rows(path, ("case_id", *(structure.name for structure in structures)), rows)


def _slices(path: Path, number: int, text: str) -> tuple[int, int] | None:
    if not text:
        return None
    match = re.fullmatch(r"(\d{1,9})(?:\s*[-–:]\s*(\d{1,9}))?", text)
    start, stop = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not 1 <= start <= stop:
        raise ReadError(f"{path}, row {number}: slices {text!r} is no range counted from 1, such as 4-9 or 4.")
    return start - 1, stop


def _overlap(slices: tuple[int, int], other: Drawn) -> bool:
    return other.slices is None or (slices[0] < other.slices[1] and other.slices[0] < slices[1])


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
            includes=tuple(int(word) for word in re.findall(r"\d{1,9}", row.get("includes", ""))),
            category=row.get("category", ""),
            type=row.get("type", ""),
        )
    except LabelError as error:
        raise LabelError(f"{where}: {error}") from error


def read_rows(path: Path) -> tuple[list[str], list[Row]]:
    """Give the column names in lower case and the rows that are not blank, as `write_rows` was given them."""
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise ReadError(_too_large(path, size_words(size)))
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
    (_, first), *others = read_cells(path, text, max(",;\t", key=header.count)) or [(1, [])]
    columns = [cell.lower() for cell in first]
    filled = [(number, row) for number, row in others if any(row)]
    while columns and not columns[-1]:
        columns.pop()
    # Rows may be shorter than the header; each is filled up to it.
    if len(columns) * len(filled) > MOST_CELLS:
        raise ReadError(_too_large(path, f"{counted(len(columns), 'column')} and {counted(len(filled), 'row')}"))
    return columns, [(number, _cells(path, number, columns, row)) for number, row in filled]


def read_cells(path: Path, text: str, separator: str) -> list[tuple[int, list[str]]]:
    """Give every row of a table's text, with the line that it ends on; cells as they were meant."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        return [(reader.line_num, [plain_cell(cell.strip()) for cell in row]) for row in reader]
    except csv.Error as error:
        raise ReadError(f"{path} is not a CSV table ({error}). Save it as 'CSV UTF-8', then try again.") from error


def _too_large(path: Path, size: str) -> str:
    return (
        f"{path} has {size}; a table that stands beside images has a row for each case or structure. Is it another "
        "file of this name? Move it away, or take away the rows and columns that do not belong there."
    )


def _cells(path: Path, number: int, columns: Sequence[str], row: Sequence[str]) -> dict[str, str]:
    if any(row[len(columns) :]):
        raise ReadError(
            f"{path}, row {number} has more cells than the header: {row[len(columns) :]}. Put quotation "
            "marks around a name that contains the separator, or remove the cells."
        )
    return dict.fromkeys(columns, "") | dict(zip(columns, row, strict=False))


def require_columns(path: Path, columns: Sequence[str], wanted: Sequence[str], *, example: str) -> None:
    """Raise ReadError if a table lacks a column, or has one twice."""
    missing = [column for column in wanted if column not in columns]
    twice = [column for column in wanted if columns.count(column) > 1]
    if missing or twice:
        problem = (
            f"lacks the {named('column', missing)}" if missing else f"has the column {twice[0]!r} more than once"
        )
        raise ReadError(
            f"{path} {problem}; its columns are {', '.join(columns)}. The first row must name the columns "
            f"{', '.join(wanted)}; a row below looks like: {example}"
        )


# --- every CSV that autoseg writes, and those of its own that it reads

# What a spreadsheet takes for the beginning of a formula, also in full width, behind what it strips: blanks,
# quotation marks, signs that nobody sees. Tabs and line ends it may strip itself. A number is none.
_STRIPPED = r"[\s\"'\x00-\x1f\u200b-\u200f\u202a-\u202e\u2060\ufeff]*"
_NUMBER = r" *[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)? *(?:[;\t\r\n]|$)"
_FORMULA = rf"(?!{_NUMBER}){_STRIPPED}[=+\-@\uff1d\uff0b\uff0d\uff20\t\r]"
# A cell begins also behind what parts cells elsewhere: in Germany a semicolon.
_HARMLESS = re.compile(rf"(^|[;\t\r\n])(?={_FORMULA})")
_AS_IT_WAS = re.compile(rf"(^|[;\t\r\n])'(?={_FORMULA})")
_NO_LETTER = re.compile(r"\\u(d[89a-f][0-9a-f]{2})")


def harmless_cell(value: object) -> object:
    """Give a cell of which no spreadsheet makes a formula: an apostrophe goes before words that look like one.

    Numbers, and words that are one, stay as they are. `plain_cell` takes the apostrophe away.

    Examples
    --------
    >>> [harmless_cell(value) for value in ("=1+2", "-7", -7, "psoas", "a;@b", "'=1")]
    ["'=1+2", '-7', -7, 'psoas', "a;'@b", "''=1"]
    """
    return _HARMLESS.sub(r"\1'", value) if isinstance(value, str) else value


def plain_cell(text: str) -> str:
    """Give the words that `harmless_cell` was given, and bytes that are no letters; others stay as they are."""
    return _NO_LETTER.sub(lambda found: chr(int(found[1], 16)), _AS_IT_WAS.sub(r"\1", text))


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]], *, mode: int = 0o644) -> None:
    """Write a table whole, or not at all, as `read_rows` reads it; no cell becomes a formula.

    `mode` says who may read and write it.
    """
    data = _csv([columns, *rows])
    with whole_file(path, mode=mode) as temporary:
        temporary.write_bytes(data)


def write_table(path: Path, table: pd.DataFrame, *, marked: bool = False) -> None:
    """Write a table whole, or not at all, as `csv_bytes` gives it."""
    data = csv_bytes(table, marked=marked)
    with whole_file(path) as temporary:
        temporary.write_bytes(data)


def csv_bytes(table: pd.DataFrame, *, marked: bool = False) -> bytes:
    """Give a table as the bytes of a CSV file: UTF-8, a decimal point; no cell becomes a formula.

    One that is `marked` tells Excel that the ² in the names of its columns is UTF-8.
    """
    rows = table.itertuples(index=False, name=None)
    return (b"\xef\xbb\xbf" if marked else b"") + _csv([table.columns, *([*map(_told, row)] for row in rows)])


def read_table(path: Path, words: Sequence[str] = ()) -> pd.DataFrame:
    """Read a table that `write_table` wrote; the columns of `words` hold nothing else: 007 stays 007, NA a name.

    Raises
    ------
    ReadError
        If the file cannot be read as a table.
    """
    try:
        # An empty cell is missing, but among words; whatever else stands there is meant.
        numbers = [name for name in pd.read_csv(path, nrows=0, encoding="utf-8-sig") if name not in words]
        missing = {name: ["", "nan"] for name in numbers}
        how: dict[str, Any] = {"dtype": dict.fromkeys(words, str), "na_values": missing, "keep_default_na": False}
        table = pd.read_csv(path, encoding="utf-8-sig", **how)
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise ReadError(f"{path} cannot be read as a table ({error}). Export it again.") from error
    known = [name for name in words if name in table]
    table[known] = table[known].map(plain_cell)
    return table.rename(columns=plain_cell)


def join_tables(
    path: Path,
    parts: Iterable[tuple[str, Path]],
    first: str,
    *,
    without: Collection[str] = (),
    marked: bool = False,
) -> int | None:
    """Write tables that `write_table` wrote as one, whole or not at all; give its length, None without any.

    Each part comes with a word that goes into the `first` column of its rows; parts that are not there are passed
    over. A column that a part lacks is empty in its rows; those in `without` are left out. However long the tables
    are, one row is in the memory.
    """
    found = [(word, part) for word, part in parts if part.is_file()]
    columns: list[str] = []
    for _, part in found:
        with _rows_of(part) as rows:
            place = 0
            for name in next(rows, []):
                if name not in columns:
                    columns.insert(place, name)
                place = columns.index(name) + 1
    kept = [name for name in columns if name not in without]
    if not found:
        return None
    count = 0
    with whole_file(path) as temporary, temporary.open("wb") as file:
        file.write((b"\xef\xbb\xbf" if marked else b"") + _csv([[first, *map(plain_cell, kept)]]))
        for word, part in found:
            with _rows_of(part) as rows:
                own = next(rows, [])
                for row in rows:
                    cells = dict(zip(own, row, strict=True))
                    file.write(_csv([[word, *(plain_cell(cells.get(name, "")) for name in kept)]]))
                    count += 1
    return count


def write_parquet(table: Path, path: Path, *, text: Collection[str]) -> bool:
    """Write a table that was written as CSV as Parquet, too, whole or not at all; False without pyarrow.

    A column is of numbers where each of its cells is one or empty, and it is not among those of `text` (a name "12"
    stays a name); empty cells of numbers are missing. However long the table is, few rows are in the memory.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        return False
    with _rows_of(table) as rows:
        columns = next(rows)
        kinds: list[set[type]] = [set() for _ in columns]
        for row in rows:
            for found, cell in zip(kinds, row, strict=True):
                if cell:
                    found.add(int if _WHOLE.fullmatch(cell) else float if _FIGURE.fullmatch(cell) else str)
    kind = [
        str if name in text or not found or str in found else float if float in found else int
        for name, found in zip(columns, kinds, strict=True)
    ]
    types = {int: pa.int64(), float: pa.float64(), str: pa.string()}
    schema = pa.schema([(name, types[one]) for name, one in zip(columns, kind, strict=True)])
    with (
        _rows_of(table) as rows,
        whole_file(path) as temporary,
        temporary.open("wb") as file,
        pq.ParquetWriter(file, schema) as writer,
    ):
        next(rows)
        while some := [*islice(rows, 10_000)]:
            cells = [
                [cell if one is str else one(cell) if cell else None for cell in column]
                for one, column in zip(kind, zip(*some, strict=True), strict=True)
            ]
            writer.write_table(pa.table(cells, schema=schema))
    return True


@contextmanager
def _rows_of(path: Path) -> Iterator[Iterator[list[str]]]:
    """Give the rows of a table that `write_table` wrote as they stand there, and what fails in words."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield csv.reader(file)
    except (UnicodeDecodeError, ValueError, csv.Error) as error:
        raise ReadError(
            f"{path} cannot be read as a table ({error}). Delete its folder, then segment again."
        ) from error


def _told(cell: object) -> object:
    # Ten digits are more than any area has, and spare the reader 3.1500000000000004.
    return ("" if math.isnan(cell) else f"{cell:.10g}") if isinstance(cell, float) else cell


def _csv(rows: Iterable[Iterable[object]]) -> bytes:
    r"""Give rows in UTF-8; a byte of a file's name that is no letter (old archives) is written as \udcff."""
    text = io.StringIO(newline="")
    # A cell with either sign of a line end must stand in quotation marks, and each line ends in one of them.
    writer = csv.writer(text, lineterminator="\r\n")
    lines = []
    for row in rows:
        writer.writerow(map(harmless_cell, row))
        lines.append(text.getvalue().removesuffix("\r\n"))
        text.seek(0)
        text.truncate()
    return "\n".join([*lines, ""]).encode("utf-8", "backslashreplace")


# --- who corrected which labels, and when: `corrections.csv` in a folder of cases, one row a correction

FILE_NAME = "corrections.csv"
# Where labels lie that were replaced; nothing in it is looked at when cases are searched.
EARLIER_FOLDER = "earlier_labels"


@dataclass(frozen=True)
class KeptCorrection:
    """One correction that was kept, a row of `corrections.csv`.

    `date` is when the corrected file was saved, `model` what had drawn the labels ("" where a person had).
    `label_file` holds the labels now, `earlier_file` those that it replaced (""), both below the folder. `checked`
    ("all", or slices counted from 1: "4-9 12") and `structures` (names, "; " between) say what was looked at;
    `changed` are the slices on which a pixel was changed. Areas are sums over slices and structures.
    """

    case_id: str
    by: str
    date: str
    model: str
    label_file: str
    earlier_file: str
    checked: str
    structures: str
    changed: str
    added_mm2: str
    removed_mm2: str
    note: str = ""


COLUMNS = tuple(item.name for item in fields(KeptCorrection))


def read_kept_corrections(folder: Path) -> tuple[KeptCorrection, ...]:
    """Read who corrected what in a folder of cases, the oldest first; empty if nobody did."""
    path = Path(folder) / FILE_NAME
    settle(path.parent)
    if not path.exists():
        return ()
    columns, rows = read_rows(path)
    require_columns(path, columns, COLUMNS[:3], example="leg_07,AB,2025-03-31T14:05:00")
    kept = []
    for number, row in rows:
        if not row["case_id"] or not row["by"]:
            raise ReadError(f"{path}, row {number} lacks the case_id or who corrected it. Complete the row.")
        kept.append(KeptCorrection(**{name: row.get(name, "") for name in COLUMNS}))
    return tuple(kept)


def write_kept_corrections(folder: Path, kept: Sequence[KeptCorrection]) -> None:
    """Write the table; OutputError if it cannot be written."""
    write_rows(Path(folder) / FILE_NAME, COLUMNS, [astuple(one) for one in kept])


def correction_notes(folder: Path) -> tuple[str, ...]:
    """Say in a sentence whose corrections a folder of cases holds; nothing where there is none."""
    kept = read_kept_corrections(folder)
    if not kept:
        return ()
    who = ", ".join(sorted({one.by for one in kept}))
    return (
        f"corrections.csv: {who} corrected the labels of {counted(len({one.case_id for one in kept}), 'case')}.",
    )
