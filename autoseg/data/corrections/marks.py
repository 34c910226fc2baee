"""What counts as drawn, slice by slice: `annotated.csv` read, changed for one case, and written again."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from autoseg.data.cases import Case
from autoseg.data.corrections.place import PART, Place
from autoseg.files.tables import Drawn, read_annotated, write_rows
from autoseg.image.structures import Structure

Cells = dict[int, str]
Marks = list[Cells | None]
"""For every slice the cell of each label ("1" drawn, "0" not drawn, "?" nobody said), or None: left out."""


def mark_slices(
    folder: Path,
    structures: Sequence[Structure],
    cases: Sequence[Case],
    place: Place,
    voxels: npt.NDArray[np.integer],
    checked: Collection[int],
    labels: Collection[int],
) -> Marks:
    """Write into `annotated.csv` that some slices of a case were checked, and give what is known of the case now.

    Of a checked slice these structures count as drawn; of the others it stays known what was, if they still lie
    where they lay. Other slices of the case, and other cases, keep what was known of them; a new case has nothing
    else.

    Parameters
    ----------
    folder : Path
    structures : sequence of Structure
        Of the folder.
    cases : sequence of Case
        That the folder had before.
    place : Place
        The corrected case.
    voxels : (slices, rows, columns) ndarray of integers
        Its labels from now on.
    checked : collection of int
        Slices of the case, from 0.
    labels : collection of int
        Of the structures that were looked at.

    Raises
    ------
    ReadError, OutputError
        If the table cannot be read or written.
    """
    path = Path(folder) / "annotated.csv"
    every = [structure.label for structure in structures]
    rows = read_annotated(path, structures) if path.exists() else {}
    for case in cases:
        case_id = case.case_id if case.slices is None else PART.sub("", case.case_id)
        rows.setdefault(case_id, (_told_by_files(case.annotated, every),))
    marks: Marks = [None] * place.shape[0]
    for drawn in rows.pop(place.case_id, ()) if place.earlier is not None else ():
        for index in range(*(drawn.slices or (0, len(marks)))):
            marks[index] = _cells(drawn, every)
    for index in checked:
        cells, before = {label: str(int(label in labels)) for label in every}, marks[index]
        if before is not None and place.earlier is not None:
            was, now = place.earlier[index], voxels[index]
            same = [k for k in every if k not in labels and np.array_equal(was == k, now == k)]
            cells |= {label: before[label] for label in same}
            # What counts as drawn already is not set apart from the other slices, which would cut the volume up.
            if len(checked) < len(marks) and _drawn(cells) == _drawn(before):
                cells = before
        marks[index] = cells
    written = [(case_id, drawn.slices, _cells(drawn, every)) for case_id, some in rows.items() for drawn in some]
    written += [(place.case_id, slices, cells) for slices, cells in _ranges(marks)]
    has_slices = any(slices is not None for _, slices, _ in written)
    columns = ["case_id", *(["slices"] if has_slices else []), *(s.name for s in structures)]
    write_rows(path, columns, [_as_row(*row, has_slices=has_slices) for row in written])
    return marks


def _told_by_files(annotated: frozenset[int] | None, every: Collection[int]) -> Drawn:
    """Say what is known of a case without a row: what its files tell, or that nobody said."""
    if annotated is None:
        return Drawn(frozenset(every), unsaid=frozenset(every))
    return Drawn(annotated)


def _cells(drawn: Drawn, every: Iterable[int]) -> Cells:
    return {label: "?" if label in drawn.unsaid else str(int(label in drawn.labels)) for label in every}


def _drawn(cells: Cells) -> set[int]:
    return {label for label, cell in cells.items() if cell != "0"}


def _ranges(marks: Marks) -> list[tuple[tuple[int, int] | None, Cells]]:
    """Give the ranges of slices that have the same cells; one without a range where all have."""
    first = marks[0]
    if first is not None and all(one == first for one in marks):
        return [(None, first)]
    ranges: list[tuple[tuple[int, int] | None, Cells]] = []
    start = 0
    for stop in range(1, len(marks) + 1):
        if stop == len(marks) or marks[stop] != marks[start]:
            cells = marks[start]
            if cells is not None:
                ranges.append(((start, stop), cells))
            start = stop
    return ranges


def _as_row(
    case_id: str, slices: tuple[int, int] | None, cells: Mapping[int, str], *, has_slices: bool
) -> list[str]:
    where = "" if slices is None else f"{slices[0] + 1}-{slices[1]}"
    return [case_id, *([where] if has_slices else []), *cells.values()]
