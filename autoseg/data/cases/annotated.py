"""Say once which structures were not drawn where, or really are not there, and keep that beside the data."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from autoseg.data.cases.case import Case, CaseFolder
from autoseg.data.cases.naming import refuse_other_table
from autoseg.data.cases.read import read_case
from autoseg.data.codes import original
from autoseg.errors import DataError, OutdatedError
from autoseg.files.atomic import one_step
from autoseg.files.tables import Drawn, read_annotated, write_annotated


def declare_missing(
    case_folder: CaseFolder,
    name: str,
    *,
    case_ids: Collection[str] | None = None,
    seen: Mapping[str, Collection[int]] | None = None,
) -> CaseFolder:
    """Declare that a structure was not drawn on some cases, so that it is not learnt or scored there as absent.

    `annotated.csv` in the folder keeps it; `find_cases` reads it again. Of the other structures it says no more
    than was known.

    Parameters
    ----------
    case_folder : CaseFolder
    name : str
        Of the structure.
    case_ids : collection of str, optional
        Where it was not drawn, and nothing is said of other cases; by default on every case whose labels do not
        show it, and drawn on the others.
    seen : mapping of collection of int by str, optional
        The values in the labels of each case (`Examination.seen`), where they were read just now; by default they
        are read.

    Returns
    -------
    CaseFolder
        With what is known now.

    Raises
    ------
    DataError
        If there is no such structure or case, it is visible on one of them, or cases are parts of a stack.
    OutputError
        If `annotated.csv` cannot be written.
    """
    label = _label(case_folder, name)
    asked = [case for case in case_folder.cases if case_ids is None or case.case_id in case_ids]
    shows = _shows(asked, case_folder, label) if seen is None else _shown(asked, case_folder, label, seen)
    wanted = {case_id for case_id, shown in shows.items() if not shown} if case_ids is None else set(case_ids)
    unknown = sorted(wanted - {case.case_id for case in asked})
    visible = sorted(case_id for case_id in wanted if shows.get(case_id))
    if unknown or visible:
        raise DataError(
            f"There is no case {', '.join(unknown[:5])}. Check the names."
            if unknown
            else f"{name} is drawn on {', '.join(visible[:5])}, so it cannot be missing there."
        )
    return _keep(case_folder, label, missing=wanted, said=None if case_ids is None else wanted)


def declare_absent(case_folder: CaseFolder, name: str, *, case_ids: Collection[str] | None = None) -> CaseFolder:
    """Declare that a structure was looked for on every case: where the labels do not show it, it is not there.

    `annotated.csv` in the folder keeps it, and `check_cases` does not ask again. Cases on which it is known not
    to have been drawn stay so.

    Parameters
    ----------
    case_folder : CaseFolder
    name : str
        Of the structure.
    case_ids : collection of str, optional
        Cases of which this is said; by default all.

    Returns
    -------
    CaseFolder
        With what is known now.

    Raises
    ------
    DataError
        If there is no such structure, or cases are parts of a stack.
    OutputError
        If `annotated.csv` cannot be written.
    """
    return _keep(case_folder, _label(case_folder, name), missing=(), said=case_ids)


def declare_drawn(case_folder: CaseFolder, name: str, *, case_ids: Collection[str]) -> CaseFolder:
    """Declare that a structure was looked for on these cases, also where it was said not to have been drawn.

    Where their labels do not show it, it is not there.
    """
    return _keep(case_folder, _label(case_folder, name), missing=(), drawn=case_ids, said=case_ids)


def declare_unknown(case_folder: CaseFolder, name: str) -> CaseFolder:
    """Take back what was declared of a structure: it counts as drawn everywhere, and `check_cases` asks again.

    OutdatedError if another program has declared something else since the folder was read.
    """
    return _keep(case_folder, _label(case_folder, name), missing=None)


def _label(case_folder: CaseFolder, name: str) -> int:
    label = case_folder.label_of(name)
    _refuse_parts(case_folder.folder, (case.slices for case in case_folder.cases if case.is_part))
    return label


def _shows(cases: Iterable[Case], case_folder: CaseFolder, label: int) -> dict[str, bool]:
    """Read whether the labels of cases show a structure."""
    return {c.case_id: bool(read_case(c, case_folder.structures)[1].mask(label).any()) for c in cases}


def _shown(
    cases: Iterable[Case], case_folder: CaseFolder, label: int, seen: Mapping[str, Collection[int]]
) -> dict[str, bool]:
    """Tell by the values in their labels whether cases show a structure; of what could not be read, nothing."""
    mine = next(s for s in case_folder.structures if s.label == label)
    values = {label, *mine.includes}
    return {c.case_id: not values.isdisjoint(seen[c.case_id]) for c in cases if c.case_id in seen}


def _refuse_parts(folder: Path, slices: Iterable[tuple[int, int] | None]) -> None:
    if any(part is not None for part in slices):
        raise DataError(
            f"Cases of {folder} are parts of a stack. Write into annotated.csv, in the column "
            "slices, where the structure was drawn."
        )


def _known(case: Case, every: frozenset[int]) -> Drawn:
    """Say what is known of a case that has no row yet."""
    if case.annotated is None:
        return Drawn(every, unsaid=every)
    return Drawn(case.annotated, unsaid=case.unsaid)


def _keep(
    case_folder: CaseFolder,
    label: int,
    *,
    missing: Collection[str] | None,
    drawn: Collection[str] = (),
    said: Collection[str] | None = None,
) -> CaseFolder:
    """Write what is known now, of the other structures as much as before; missing None: of this one nothing.

    `drawn` are cases on which it was drawn whatever was known; `said` those of which something is said, None: all.
    """
    every = frozenset(s.label for s in case_folder.structures)
    on, unsaid = {}, {}
    # The table knows cases by their own names.
    own = {case.case_id: original(case.case_id) if case.is_coded else case.case_id for case in case_folder.cases}
    path = Path(case_folder.folder) / "annotated.csv"
    with one_step(path.parent):
        refuse_other_table(case_folder)
        kept = read_annotated(path, case_folder.structures) if path.exists() else {}
        _refuse_parts(path.parent, (row.slices for rows in kept.values() for row in rows))
        for case in case_folder.cases:
            # As the table has it now: another program may have written there since the folder was read.
            (now,) = kept.pop(own[case.case_id], (_known(case, every),))
            before, open_ = now.labels, now.unsaid
            if missing is None:
                if (label in before, label in open_) != (case.is_drawn(label), case.is_open(label)):
                    raise OutdatedError(
                        f"Another program has answered in {path} what was drawn on {case.case_id} since the folder "
                        "was read here; that answer was not taken back. Read the folder again and look at it."
                    )
                on[case.case_id], unsaid[case.case_id] = before | {label}, open_ | {label}
            else:
                before = before | {label} if case.case_id in drawn else before
                on[case.case_id] = before - {label} if case.case_id in missing else before
                unsaid[case.case_id] = open_ if said is not None and case.case_id not in said else open_ - {label}
        write_annotated(
            path,
            {own[case_id]: labels for case_id, labels in on.items()}
            | {case_id: rows[0].labels for case_id, rows in kept.items()},
            case_folder.structures,
            unsaid={own[case_id]: labels for case_id, labels in unsaid.items()}
            | {case_id: rows[0].unsaid for case_id, rows in kept.items()},
        )
    cases = (replace(case, annotated=on[case.case_id], unsaid=unsaid[case.case_id]) for case in case_folder.cases)
    return replace(case_folder, cases=tuple(cases))
