"""Keep corrected labels in a folder of cases, with who and when, so that training can simply use it."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt

from autoseg.data.cases import Case, CaseFolder, Reading, find_cases, read_case
from autoseg.data.corrections.kit import channel_words
from autoseg.data.corrections.place import PART, Place, find_place, read_own_images
from autoseg.data.corrections.read import Correction, read_slices
from autoseg.data.pairing.layout import visible_files
from autoseg.errors import DataError, OutputError
from autoseg.files.nifti.volumes import write_nifti
from autoseg.files.sources import ending, name_without_ending
from autoseg.files.tables import (
    EARLIER_FOLDER,
    FILE_NAME,
    Drawn,
    KeptCorrection,
    read_annotated,
    read_kept_corrections,
    read_subjects,
    write_kept_corrections,
    write_rows,
    write_structures,
)
from autoseg.image.image import Image, LabelMap
from autoseg.image.structures import Structure
from autoseg.words import say_slices

# --- what counts as drawn, slice by slice: `annotated.csv` read, changed for one case, and written again

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


TABLES = ("structures.csv", "annotated.csv", "subjects.csv", FILE_NAME)


def keep_correction(
    correction: Correction,
    folder: Path,
    *,
    checked: str = "changed",
    structures: Collection[str] | None = None,
    note: str = "",
    reading: Reading | None = None,
) -> KeptCorrection:
    """Keep corrected labels in a folder of cases, from which training and fine-tuning then learn.

    A slice that nobody looked at must not teach what a model made of it. So only the slices in `checked` count as
    drawn; `annotated.csv` says which they are, and the others are left out when the folder is read. Where the case
    is in the folder already, the checked slices replace those of its label file; the others stay as they were,
    labels and what is known of them. The file that was there is kept in `earlier_labels`.

    Parameters
    ----------
    correction : Correction
        As `read_correction` gives it.
    folder : Path
        A folder of cases with NIfTI labels, or one that is not there yet: it becomes one, with the images.
    checked : str
        "changed": the slices on which something was changed. "all": somebody looked at every slice. Or slices
        counted from 1: "4-9 12". A model that sees volumes needs all.
    structures : collection of str, optional
        Names of the structures that were looked at there; by default those that had been drawn, and those that were
        changed. The others count as not drawn on these slices, unless they were and lie where they lay.
    note : str
        Kept in the table.
    reading : Reading, optional
        How the folder is read (`find_cases`); by default with the channels of the correction's image.

    Returns
    -------
    KeptCorrection
        The row of `corrections.csv`.

    Raises
    ------
    DataError
        If nothing was changed and nobody says that it was looked at, a changed slice is not among those that were
        checked, or the folder's case has another grid or labels of another kind.
    OutputError
        If a file cannot be written, or the folder reads back differently; the folder is then as it was.
    """
    folder = Path(folder)
    slices = checked_slices(correction, checked)
    labels = _checked_labels(correction, structures)
    reading = _reading(correction, reading)
    found = cases_of(correction, folder, reading)
    _check_structures(correction, found, folder)
    place = find_place(correction, folder, found)
    voxels, own = merged_labels(correction, place, slices)
    known = found.structures if found else correction.label_map.structures
    earlier = _earlier_path(folder, place) if place.earlier is not None else None
    touched = [place.label_path, *place.image_paths, *(folder / name for name in TABLES)]
    with _as_before_if_it_fails(touched, earlier):
        if earlier is not None:
            earlier.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(place.label_path, earlier)
        else:
            _write_images(correction, place)
            _write_subject(folder, place.case_id, correction.case.subject_id)
        write_nifti(place.label_path, LabelMap(voxels, place.affine, known))
        if found is None:
            write_structures(folder / "structures.csv", known)
        marks = mark_slices(folder, known, found.cases if found else (), place, voxels, own, labels)
        row = _row(correction, folder, place, earlier, own, labels, note)
        write_kept_corrections(folder, (*read_kept_corrections(folder), row))
        _check_read_back(folder, reading, place, voxels, marks)
    return row


def cases_of(correction: Correction, folder: Path, reading: Reading | None) -> CaseFolder | None:
    """Find the cases of a folder as a correction is kept there; None if there is nothing yet."""
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file. Name a folder of cases, or a new one.")
    is_there = folder.is_dir() and bool(visible_files(folder))
    return find_cases(folder, unlabelled="skip", reading=_reading(correction, reading)) if is_there else None


def _reading(correction: Correction, reading: Reading | None) -> Reading | None:
    if reading is None and len(correction.case.channels) > 1:
        return Reading(channels=tuple(channel_words(correction.case.channels)))
    return reading


def checked_slices(correction: Correction, checked: str) -> tuple[int, ...]:
    """Give the slices (from 0) that somebody looked at; DataError where that cannot be."""
    changed = correction.changed_slices
    if checked == "changed":
        if not changed:
            raise DataError(
                f"{correction.words} If somebody looked at it and found it right, say on which slices: "
                "checked='all', or numbers such as '4-9'."
            )
        return changed
    slices = read_slices(checked, correction.label_map.shape[0])
    left = sorted(set(changed) - set(slices))
    if left:
        raise DataError(
            f"{correction.case.case_id}: slices {say_slices(left)} were changed but do not stand among those that "
            f"were checked ({checked}). Name them too, or undo what was changed there."
        )
    return slices


def _checked_labels(correction: Correction, names: Collection[str] | None) -> frozenset[int]:
    known = {s.name.casefold(): s.label for s in correction.label_map.structures}
    if names is None:
        return correction.case.annotated | {change.label for change in correction.changes}
    unknown = [name for name in names if name.casefold() not in known]
    if unknown or not names:
        raise DataError(
            f"No structure is called {unknown[0] if unknown else ''!r}. Known: "
            f"{[s.name for s in correction.label_map.structures]}."
        )
    return frozenset(known[name.casefold()] for name in names)


def merged_labels(
    correction: Correction, place: Place, slices: Sequence[int]
) -> tuple[npt.NDArray[np.uint8], tuple[int, ...]]:
    """Give the labels that a case has from now on, and the checked slices, both on the case's own axes."""
    voxels = np.ascontiguousarray(place.arrangement.apply(correction.label_map.voxels)).astype(np.uint8)
    own = place.own_slices(slices)
    if own is None:
        if len(slices) < correction.label_map.shape[0]:
            raise DataError(
                f"{correction.case.case_id}: when its volume is read for training, its slices lie in another plane "
                "than those that were corrected, so it cannot be said which of them were checked. Look at all "
                "slices, and say so (checked='all')."
            )
        return voxels, tuple(range(place.shape[0]))
    if place.earlier is None:
        return voxels, own
    merged = place.earlier.astype(np.uint8)
    merged[list(own)] = voxels[list(own)]
    return merged, own


def _check_structures(correction: Correction, found: CaseFolder | None, folder: Path) -> None:
    known = {s.label: s.name for s in found.structures} if found else {}
    for structure in correction.label_map.structures if found else ():
        there = known.get(structure.label)
        if there != structure.name:
            raise DataError(
                f"Label {structure.label} is {structure.name!r} in the correction and "
                f"{'has no name' if there is None else repr(there)} in {folder}. Write the same structures into "
                "structures.csv there, or keep the correction in a new folder."
            )


def _write_images(correction: Correction, place: Place) -> None:
    # Files' affines are rounded; the record has every digit.
    for path, voxels in zip(place.image_paths, read_own_images(correction), strict=True):
        write_nifti(path, Image(voxels, correction.case.affine))


def _earlier_path(folder: Path, place: Place) -> Path:
    stem, now = name_without_ending(place.label_path), f"{datetime.now():%Y-%m-%d_%H%M%S}"
    names = (f"{stem}_{now}{'' if n == 1 else f'_{n}'}{ending(place.label_path)}" for n in range(1, 1000))
    return next(path for name in names if not (path := folder / EARLIER_FOLDER / name).exists())


def _write_subject(folder: Path, case_id: str, subject_id: str) -> None:
    path = folder / "subjects.csv"
    subjects = read_subjects(path) if path.exists() else {}
    if subject_id and case_id not in subjects:
        write_rows(path, ("case_id", "subject_id"), [*subjects.items(), (case_id, subject_id)])


def _row(
    correction: Correction,
    folder: Path,
    place: Place,
    earlier: Path | None,
    own: Sequence[int],
    labels: frozenset[int],
    note: str,
) -> KeptCorrection:
    changed = place.own_slices(correction.changed_slices)
    return KeptCorrection(
        case_id=place.case_id,
        by=correction.by,
        date=correction.date,
        model=correction.kit.model,
        label_file=place.label_path.relative_to(folder).as_posix(),
        earlier_file=earlier.relative_to(folder).as_posix() if earlier is not None else "",
        checked="all" if len(own) == place.shape[0] else say_slices(own),
        structures="; ".join(s.name for s in correction.label_map.structures if s.label in labels),
        # In another plane than the case's slices they have no numbers there.
        changed=say_slices(changed) if changed is not None else "",
        added_mm2=f"{sum(change.added_mm2 for change in correction.changes):.6g}",
        removed_mm2=f"{sum(change.removed_mm2 for change in correction.changes):.6g}",
        note=note,
    )


def _check_read_back(
    folder: Path, reading: Reading | None, place: Place, voxels: npt.NDArray[np.uint8], marks: Marks
) -> None:
    """Read the folder as training will, and compare."""
    found = find_cases(folder, unlabelled="skip", reading=reading)
    seen: set[int] = set()
    for case in found.cases:
        if all(file.path != place.label_path for file in case.labels):
            continue
        _, label_map = read_case(case, found.structures)
        part = range(*(case.slices or (0, len(voxels))))
        seen.update(part)
        drawn = frozenset(label for label, cell in (marks[part.start] or {}).items() if cell != "0")
        if not np.array_equal(label_map.voxels, voxels[part.start : part.stop]) or label_map.annotated != drawn:
            raise OutputError(f"{case.case_id} in {folder} reads back differently; the folder was left as it was.")
    if seen != {index for index, one in enumerate(marks) if one is not None}:
        raise OutputError(f"{place.case_id} does not read back from {folder}; the folder was left as it was.")


@contextmanager
def _as_before_if_it_fails(paths: Sequence[Path], earlier: Path | None) -> Iterator[None]:
    """Give every file its earlier content back if the block fails or is interrupted."""
    before = {path: path.read_bytes() if path.is_file() else None for path in paths}
    try:
        yield
    except BaseException:  # also of a full memory and of Ctrl-C; it goes on
        for path, content in before.items():
            if content is not None:
                path.write_bytes(content)
            else:
                path.unlink(missing_ok=True)
        if earlier is not None:
            earlier.unlink(missing_ok=True)
        raise
