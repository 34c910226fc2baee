"""Name what stands in the label files, merge values or leave them out, and keep that beside the data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from autoseg.data.cases.case import CaseFolder
from autoseg.errors import DataError, LabelError, OutdatedError, ReadError
from autoseg.files.atomic import one_step
from autoseg.files.tables import StructureTable, read_rows, read_structures, write_rows, write_structures
from autoseg.image.structures import Side, Structure, check_structures

UNNAMED = -1
"""`Naming.counts_as` of a value of which nobody has said what it is."""
LEFT_OUT = 0
"""`Naming.counts_as` of a value that is background."""

# Columns of annotated.csv, where structures are columns too.
RESERVED = ("case_id", "slices")


def unnamed(value: int) -> str:
    """Give the name of a structure that nobody has named, by its value in the label files."""
    return f"label {value}"


@dataclass(frozen=True)
class Naming:
    """What one value of the label files, or the addition to a binary file's name, stands for.

    `label` is its label where it is a structure of its own, and the fields below are then that `Structure`'s.
    `counts_as` is its own label, or another structure's of which it is a part, or `LEFT_OUT`, or `UNNAMED`.
    """

    value: int | str
    label: int
    name: str = ""
    colour: tuple[int, int, int] | None = None
    side: Side = ""
    includes: tuple[int, ...] = ()
    category: str = ""
    type: str = ""
    counts_as: int = UNNAMED


def list_namings(case_folder: CaseFolder, *, unnamed: Iterable[int] = ()) -> tuple[Naming, ...]:
    """List what stands in a folder's label files, and what it means so far.

    Structures in their order, each followed by the values that are part of it; then values left out, then
    `unnamed`.
    """
    stands: dict[int, list[int | str]] = {}
    for value, label in case_folder.values:
        stands.setdefault(label, []).append(value)
    binary = any(file.binary for case in case_folder.cases for file in case.labels)
    unnamed = tuple(unnamed)
    labels = FreeLabels([*(s.label for s in case_folder.structures), *unnamed])
    rows = []
    for s in case_folder.structures:
        first, *more = stands.get(s.label) or [s.name if binary else s.label]
        rows.append(Naming(first, s.label, s.name, s.rgb, s.side, s.includes, s.category, s.type, s.label))
        rows += [Naming(value, labels.take(value), counts_as=s.label) for value in more]
    rows += [Naming(value, labels.take(value), counts_as=LEFT_OUT) for value in stands.get(LEFT_OUT, ())]
    rows += [Naming(value, value if 0 < value < 256 else labels.take(value)) for value in unnamed]
    return tuple(rows)


class FreeLabels:
    """Gives each value a label that no other has, its own number where it can."""

    def __init__(self, taken: Iterable[int]) -> None:
        self.taken = set(taken)

    def take(self, value: int | str) -> int:
        """Give a value its label."""
        label = value if isinstance(value, int) else 0
        if not 0 < label < 256 or label in self.taken:
            label = next(k for k in range(1, 1000) if k not in self.taken)
        self.taken.add(label)
        return label


def new_naming(value: int, taken: Iterable[int] = ()) -> Naming:
    """Give a row for a value of the label files that is not listed yet; its label is none of those taken."""
    return Naming(value, FreeLabels(taken).take(value))


def build_table(namings: Sequence[Naming]) -> StructureTable:
    """Build the table of structures from what each value stands for."""
    own = [row for row in namings if row.counts_as == row.label]
    if not own:
        raise LabelError("No structure remains. Keep at least one value as a structure of its own.")
    labels = {row.label: row for row in own}
    for row in namings:
        if row.counts_as > LEFT_OUT and row.counts_as not in labels:
            raise LabelError(
                f"The value {row.value} is to be part of label {row.counts_as}, which is no structure of its own. "
                "Choose another one."
            )
    for row in own:
        gone = [label for label in row.includes if label not in labels]
        parts = {other.label for other in namings if other.counts_as == row.label}
        if set(gone) - parts:
            raise LabelError(
                f"{row.name} includes the label {min(set(gone) - parts)}, which is no structure of its own: its "
                f"pixels would be missing from {row.name}. Let it be part of {row.name}, or correct 'includes'."
            )
    structures = tuple(_structure(row, labels) for row in own)
    check_structures(structures)
    values = tuple((row.value, row.counts_as) for row in namings if row.counts_as >= LEFT_OUT)
    # Once one value stands for something else, a value that is not among them is refused: then all are named.
    return StructureTable(structures, values if any(value != label for value, label in values) else ())


def _structure(row: Naming, labels: Mapping[int, Naming]) -> Structure:
    name = row.name.strip()
    if not name or not name.isprintable() or name.casefold() in RESERVED:
        problem = f"has the name {row.name!r}, which cannot be used" if name else "has no name"
        raise LabelError(f"The value {row.value} {problem}. Type one, or leave the value out.")
    # What became a part of it is no structure inside it any more.
    includes = tuple(label for label in row.includes if label in labels)
    return Structure(row.label, name, row.colour, row.side, includes, row.category, row.type)


def name_structures(case_folder: CaseFolder, table: StructureTable) -> None:
    """Keep the structures of a folder in its `structures.csv`, and rename the columns of its `annotated.csv`.

    `find_cases` reads both again. Of a structure that is new nobody has said where it was drawn; two that become
    one were drawn where both were.
    """
    folder = Path(case_folder.folder)
    check_structures(table.structures)
    path = folder / "structures.csv"
    with one_step(folder):
        refuse_other_table(case_folder)
        columns, rows = _annotated(folder / "annotated.csv", case_folder, table)
        write_structures(path, table.structures, values=table.values)
        if not _same(read_structures(path), table):
            raise LabelError(
                f"{path} would not be read as it was meant: a name of the files holds a semicolon or a bar, or is "
                "only digits. Rename those label files."
            )
        if columns:
            write_rows(folder / "annotated.csv", columns, rows)


def table_of(folder: Path) -> bytes:
    """Give what structures.csv of a folder is now, to the letter; empty where there is none."""
    path = Path(folder) / "structures.csv"
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise ReadError(f"{path} cannot be read ({error.strerror}). Check that you may open the file.") from error


def refuse_other_table(case_folder: CaseFolder) -> None:
    """Raise OutdatedError if structures.csv was changed since the folder was read."""
    if case_folder.table is not None and table_of(case_folder.folder) != case_folder.table:
        raise OutdatedError(
            f"{Path(case_folder.folder) / 'structures.csv'} was changed by another program since the folder was "
            "read here, and nothing was written over it. Read the folder again, look at the structures, then say "
            "it once more."
        )


def keep_names(case_folder: CaseFolder) -> CaseFolder:
    """Keep which names in the files stand for which structure, so that look-alikes are not asked for again."""
    name_structures(case_folder, build_table(list_namings(case_folder)))
    return replace(case_folder, alike=(), table=table_of(case_folder.folder))


def leave_out_structures(case_folder: CaseFolder, names: Iterable[str]) -> None:
    """Leave structures out of a folder's table: their pixels count as background from now on."""
    labels, rows = set(map(case_folder.label_of, names)), list_namings(case_folder)
    left = [replace(row, counts_as=LEFT_OUT) if row.counts_as in labels else row for row in rows]
    name_structures(case_folder, build_table(left))


def _same(one: StructureTable, other: StructureTable) -> bool:
    return one.structures == other.structures and set(one.values) == set(other.values)


def _annotated(path: Path, case_folder: CaseFolder, table: StructureTable) -> tuple[list[str], list[list[str]]]:
    """Give the table of what was drawn with the new names; no columns where there is none."""
    if not path.exists():
        return [], []
    columns, rows = read_rows(path)
    stood = {row.value: row.counts_as for row in list_namings(case_folder)}
    stands = dict(table.values)
    names = {s.label: s.name.casefold() for s in case_folder.structures}
    sources: dict[int, list[str]] = {}
    for value, label in stood.items():
        new = stands.get(value, value if isinstance(value, int) else label)
        if label in names and names[label] in columns and names[label] not in sources.setdefault(new, []):
            sources[new].append(names[label])
    kept = [column for column in columns if column in ("case_id", "slices")]
    lost = set(columns) - set(kept) - set(names.values())
    if lost:
        raise DataError(f"{path} has the column {sorted(lost)[0]!r}, which names no structure. Correct it first.")
    written = [
        [*(row[column] for column in kept), *(_together(row, sources.get(s.label, ())) for s in table.structures)]
        for _, row in rows
    ]
    return [*kept, *(s.name for s in table.structures)], written


def _together(row: Mapping[str, str], columns: Sequence[str]) -> str:
    cells = {row[column] for column in columns}
    return "0" if "0" in cells else "1" if cells == {"1"} else "?"
