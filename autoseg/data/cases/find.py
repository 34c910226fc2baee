"""Find the cases of a folder: what is paired, which structures there are, what was drawn where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from autoseg.data.cases.case import Case, CaseFolder, Reading
from autoseg.data.cases.images import read_case_image
from autoseg.data.cases.read import marked_names
from autoseg.data.cases.structures_of import find_structures
from autoseg.data.pairing.by_name import find_images_by_name
from autoseg.data.pairing.pairs import pair_files, visible_files
from autoseg.data.pairing.subjects import subjects_by_name
from autoseg.data.repairs import Repair, is_left_out, read_repairs
from autoseg.errors import DataError
from autoseg.files.dicom.series import SkippedFile
from autoseg.files.pictures.images import read_picture_image
from autoseg.files.sources import PICTURE_ENDINGS, FilePair, ending, name_without_ending
from autoseg.files.tables import Drawn, correction_notes, read_annotated, read_structures, read_subjects
from autoseg.image.structures import Structure, check_structures
from autoseg.words import in_words


def find_cases(
    folder: Path,
    *,
    structures: Mapping[int, str] | Sequence[Structure] | None = None,
    unlabelled: Literal["refuse", "skip"] = "refuse",
    reading: Reading | None = None,
) -> CaseFolder:
    """Find the labelled images of a folder, whichever way it is laid out.

    - `dicoms` and `labels`: DICOM slices and a file for each with the same name but for the ending
      (`dicoms/leg_07.dcm` and `labels/leg_07.png`); where slices of several folders share a name, their labels lie
      in folders of the same names. The labels of a multi-frame file are one NPY of shape (frames, rows, columns),
      or one file a frame (`leg_001.png` and on).
    - DICOM series with NIfTI labels, segmentation objects or structure sets.
    - NIfTI files or pictures in `images` and `labels`; or side by side with an addition to the name
      (`TCGA_x_1.tif` and `TCGA_x_1_mask.tif`, `site1-sc01-image` and `site1-sc01-mask-r1`); or BIDS derivatives.

    Parameters
    ----------
    folder : Path
    structures : dict of str by int, or sequence of Structure, optional
        What each label means. By default as in `structures.csv` in the folder; without that file, the values
        in the labels are named "label 1", "label 2" and so on, and binary files by what their names add.
    unlabelled : {"refuse", "skip"}
        What to do if an image has no label file: raise, or leave it out and name it in `skipped`.
    reading : Reading, optional
        Channels, raters, levels, spacing: what the files leave open.

    Returns
    -------
    CaseFolder
        Cases series by series, 2.dcm before 10.dcm. If the folder has an `annotated.csv`, it says which
        structures were drawn on which case; otherwise all of them count as drawn on all. `subjects.csv` (case_id,
        subject_id), where it exists, says whose images they are.

    Raises
    ------
    DataError
        If the folder is not such a folder, or images and labels are not pairs; up to five are named.
    ReadError, LabelError
        If a table, or where there is no table a label file, cannot be read.
    """
    if unlabelled not in ("refuse", "skip"):
        raise DataError(f"unlabelled is {unlabelled!r}; give 'refuse' or 'skip'.")
    folder, reading = Path(folder), reading or Reading()
    table = read_structures(folder / "structures.csv") if (folder / "structures.csv").exists() else None
    tokens = [value for value, _ in table.values if isinstance(value, str)] if table else []
    pairing = pair_files(folder, unlabelled=unlabelled, channels=reading.channels, tokens=tokens)
    channels = pairing.channels if len(pairing.channels) > 1 else _picture_channels(pairing.pairs)
    cases = [_case(pair, reading, channels) for pair in pairing.pairs]
    values = table.values if table else ()
    notes: tuple[str, ...] = ()
    if structures is not None:
        known = _as_structures(structures)
    elif table is not None:
        known = table.structures
    else:
        known, values, notes = find_structures(folder, cases)
    cases = [replace(case, values=values) for case in cases]
    cases, subject_notes = _with_subjects(folder, cases, pairing.skipped)
    repairs = read_repairs(folder)
    cases = _with_repairs(cases, repairs)
    cases = _with_annotated(folder, _without_files(cases, known), known)
    cases = _with_levels(cases) if reading.only_levels else cases
    cases = _with_repairs(cases, repairs, of_parts=True)
    return CaseFolder(
        folder,
        tuple(cases),
        known,
        pairing.skipped,
        values,
        (*notes, *subject_notes, *_repair_notes(cases, repairs), *correction_notes(folder)),
    )


def find_images(folder: Path, *, channels: Sequence[str] = (), reading: Reading | None = None) -> tuple[Case, ...]:
    """Find the NIfTI files and pictures of a folder, without labels, as cases to read with `read_case_image`."""
    folder = Path(folder)
    found, names = find_images_by_name(folder, visible_files(folder), channels=channels)
    subjects, rule = subjects_by_name([name for name, _ in found])
    cases = [
        Case(name, subjects[name], files, (), channels=names, rule=rule, reading=reading or Reading())
        for name, files in found
    ]
    return tuple(_with_subjects(folder, cases)[0])


def _case(pair: FilePair, reading: Reading, channels: tuple[str, ...]) -> Case:
    return Case(
        case_id=pair.name,
        subject_id=pair.subject_id,
        images=pair.images,
        labels=pair.labels,
        channels=channels,
        site=pair.site,
        levels_path=pair.levels_path,
        rule=pair.rule,
        reading=reading,
    )


def _picture_channels(pairs: Sequence[FilePair]) -> tuple[str, ...]:
    """Give the channels of pictures, if one of them shows anything but grey."""
    paths = [pair.images[0].path for pair in pairs if ending(pair.images[0].path) in PICTURE_ENDINGS]
    if not paths:
        return ()
    # Where one picture has channels that differ, equal channels in another are a sequence that was filled in.
    return next((c for c in (read_picture_image(path).channels for path in paths) if len(c) > 1), ())


def _as_structures(given: Mapping[int, str] | Sequence[Structure]) -> tuple[Structure, ...]:
    if isinstance(given, Mapping):
        given = [Structure(label, name) for label, name in given.items()]
    known = tuple(given)
    check_structures(known)
    return known


def _with_subjects(
    folder: Path, cases: Sequence[Case], skipped: Sequence[SkippedFile] = ()
) -> tuple[list[Case], tuple[str, ...]]:
    """Take the subjects from the folder's table, if there is one."""
    path = folder / "subjects.csv"
    if not path.exists():
        return list(cases), ()
    subjects = read_subjects(path)
    known = {case.case_id for case in cases} | {name_without_ending(file.path) for file in skipped}
    unknown = sorted(set(subjects) - known)
    if unknown:
        raise DataError(
            f"{path}: {in_words(unknown, 'case')} that this folder does not have. Write each case_id as the table "
            "of pairs shows it; a person who is not recognised could be learnt from and tested on."
        )
    rule = "subject: subjects.csv"
    found = [
        replace(case, subject_id=subjects[case.case_id], rule=f"{case.rule.partition('; ')[0]}; {rule}")
        if case.case_id in subjects
        else case
        for case in cases
    ]
    left = [case.case_id for case in cases if case.case_id not in subjects]
    note = f"{in_words(left, 'case')} that subjects.csv does not name: their subjects are told by files and names."
    return found, (note,) if left else ()


def _without_files(cases: Sequence[Case], structures: Sequence[Structure]) -> list[Case]:
    """Where each structure has its own file, one without a file on a case was not drawn there."""
    result = []
    for case in cases:
        tokens = {name for file in case.labels if file.binary for name in marked_names(file)}
        names = {s.name: s.label for s in structures} | dict(case.values)
        drawn = {names[token] for token in tokens if names.get(token)}
        for repair in case.repairs:
            renamed = {int(old): int(new) for old, new in repair.arguments} if repair.kind == "relabel" else {}
            drawn = {renamed.get(label, label) for label in drawn} - {0}
        every = {s.label for s in structures}
        result.append(replace(case, annotated=frozenset(drawn & every)) if tokens and drawn != every else case)
    return result


def _with_annotated(folder: Path, cases: Sequence[Case], structures: Sequence[Structure]) -> list[Case]:
    path = folder / "annotated.csv"
    if not path.exists():
        return list(cases)
    annotated = read_annotated(path, structures)
    unlisted = [case.case_id for case in cases if case.case_id not in annotated]
    if unlisted:
        raise DataError(
            f"{path}: {in_words(unlisted, 'case')} without a row. Add a row for each, with 1 where a "
            "structure was drawn and 0 where it was not, or remove the file if everything was drawn "
            "everywhere."
        )
    return [part for case in cases for part in _parts(case, annotated[case.case_id])]


def _parts(case: Case, drawn: Sequence[Drawn]) -> list[Case]:
    """Give the case with what was drawn on it; where that differs from slice to slice, a case for each range."""
    if all(rows.slices is None for rows in drawn):
        return [replace(case, annotated=drawn[0].labels, unsaid=drawn[0].unsaid)]
    return [
        replace(
            case,
            case_id=f"{case.case_id}_s{rows.slices[0] + 1:03d}-{rows.slices[1]:03d}",
            slices=rows.slices,
            annotated=rows.labels,
            unsaid=rows.unsaid,
        )
        for rows in drawn
        if rows.slices is not None
    ]


def _with_levels(cases: Sequence[Case]) -> list[Case]:
    """Keep the slices that have a level: a case for each run of them."""
    result = []
    for case in cases:
        if case.levels_path is None:
            continue
        image = read_case_image(case)
        has = np.array([False, *(bool(place.level) for place in image.source.slices), False])
        edges = np.flatnonzero(has[1:] != has[:-1]).reshape(-1, 2).tolist()
        first = case.slices[0] if case.slices else 0
        for start, stop in edges:
            several = f"_s{first + start + 1:03d}-{first + stop:03d}" if len(edges) > 1 else ""
            result.append(
                replace(case, case_id=case.case_id + several, slices=(first + int(start), first + int(stop)))
            )
    if not result:
        raise DataError(
            "No slice of these cases has a level. Add level files (…-levels.txt) beside the images, or keep slices "
            "without level."
        )
    return result


def _with_repairs(cases: Sequence[Case], repairs: Sequence[Repair], *, of_parts: bool = False) -> list[Case]:
    """Give each case its repairs and drop those to be left out; the parts of a stack have names of their own."""
    kept = []
    for case in (case for case in cases if not is_left_out(case.case_id, repairs)):
        mine = tuple(repair for repair in repairs if repair.case_id == case.case_id)
        if not of_parts:
            kept.append(replace(case, repairs=mine))
        elif case.slices is not None:
            kept.append(replace(case, part_repairs=tuple(r for r in mine if r not in case.repairs)))
        else:
            kept.append(case)
    return kept


def _repair_notes(cases: Sequence[Case], repairs: Sequence[Repair]) -> tuple[str, ...]:
    if not repairs:
        return ()
    used = {repair for case in cases for repair in (*case.repairs, *case.part_repairs)}
    left_out = sorted({repair.case_id for repair in repairs if repair.kind == "leave_out"})
    lost = sorted({repair.case_id for repair in repairs if repair not in used} - set(left_out))
    notes = [f"repairs.csv mends the labels of {len({r.case_id for r in used})} case(s)."]
    notes += [f"repairs.csv leaves out {', '.join(left_out)}."] if left_out else []
    notes += (
        [f"repairs.csv names cases that are not there: {', '.join(lost)}. Correct or remove the rows."]
        if lost
        else []
    )
    return tuple(notes)
