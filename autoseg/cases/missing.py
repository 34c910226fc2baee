"""Say once which structures were not drawn where, and keep that beside the data."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from autoseg.cases.case import CaseFolder, is_drawn
from autoseg.cases.read import read_case
from autoseg.errors import DataError
from autoseg.files.tables import read_annotated, write_annotated


def declare_missing(case_folder: CaseFolder, name: str, *, case_ids: Collection[str] | None = None) -> CaseFolder:
    """Declare that a structure was not drawn on some cases, so that it is not learnt or scored there as absent.

    `annotated.csv` in the folder keeps it; `find_cases` reads it again.

    Parameters
    ----------
    case_folder : CaseFolder
    name : str
        Of the structure.
    case_ids : collection of str, optional
        Where it was not drawn; by default on every case whose labels do not show it.

    Returns
    -------
    CaseFolder
        With what is known now.

    Raises
    ------
    DataError
        If there is no such structure or case, it is visible on one of them, or cases are parts of a stack.
    """
    label = next((s.label for s in case_folder.structures if s.name.casefold() == name.casefold()), None)
    if label is None:
        raise DataError(f"No structure is called {name!r}. Known: {[s.name for s in case_folder.structures]}.")
    if any(case.slices is not None for case in case_folder.cases):
        raise DataError(
            f"Cases of {case_folder.folder} are parts of a stack. Write into annotated.csv, in the column "
            "slices, where the structure was drawn."
        )
    shows = {c.case_id: bool(read_case(c, case_folder.structures)[1].mask(label).any()) for c in case_folder.cases}
    wanted = {case_id for case_id, shown in shows.items() if not shown} if case_ids is None else set(case_ids)
    unknown, visible = sorted(wanted - set(shows)), sorted(case_id for case_id in wanted if shows.get(case_id))
    if unknown or visible:
        raise DataError(
            f"There is no case {', '.join(unknown[:5])}. Check the names."
            if unknown
            else f"{name} is drawn on {', '.join(visible[:5])}, so it cannot be missing there."
        )
    every = [s.label for s in case_folder.structures]
    drawn = {
        case.case_id: frozenset(
            k for k in every if is_drawn(case, k) and not (k == label and case.case_id in wanted)
        )
        for case in case_folder.cases
    }
    path = Path(case_folder.folder) / "annotated.csv"
    before = read_annotated(path, case_folder.structures) if path.exists() else {}
    others = {case_id: rows[0].labels for case_id, rows in before.items() if case_id not in drawn}
    write_annotated(path, drawn | others, case_folder.structures)
    return replace(
        case_folder, cases=tuple(replace(case, annotated=drawn[case.case_id]) for case in case_folder.cases)
    )
