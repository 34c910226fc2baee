"""Find the cases of a folder: what is paired, which structures there are, what was drawn where."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from autoseg.data.cases.alike import look_alikes, tell_alike
from autoseg.data.cases.case import PART, Case, CaseFolder, Reading
from autoseg.data.cases.naming import FreeLabels, table_of, unnamed
from autoseg.data.cases.palettes import by_colour, compare_palettes, in_their_colours, palette_notes
from autoseg.data.cases.read import (
    add_mask,
    label_values_of,
    labels_by_name,
    read_case_image,
    read_label_masks,
)
from autoseg.data.codes import (
    coded_names,
    hidden_errors,
    hide,
    hide_note,
    hide_skipped,
    is_without_ids,
    keep_words,
    learn_folder,
)
from autoseg.data.pairing.by_name import find_images_by_name, find_level_files
from autoseg.data.pairing.layout import FilePair, Pairing, visible_files
from autoseg.data.pairing.names import is_kind_folder, subjects_by_name
from autoseg.data.pairing.pairs import pair_files
from autoseg.data.repairs import Repair, find_kept_runs, is_left_out, read_repairs, rename
from autoseg.errors import AutosegError, DataError, LabelError, Told, UnclearLabelsError, private
from autoseg.files.atomic import settle
from autoseg.files.labels import marked_names
from autoseg.files.nnunet import read_dataset_json
from autoseg.files.pictures.images import read_picture_image
from autoseg.files.pictures.labels import ONE_LEVEL
from autoseg.files.sources import (
    PICTURE_ENDINGS,
    VOLUME_ENDINGS,
    ImageFile,
    LabelFile,
    SkippedFile,
    ending,
    name_without_ending,
)
from autoseg.files.tables import (
    Drawn,
    correction_notes,
    read_annotated,
    read_rows,
    read_structures,
    read_subjects,
)
from autoseg.image.structures import Structure, check_structures
from autoseg.words import counted, in_words, listed, name_private

One = TypeVar("One")
Result = TypeVar("Result")

# Says in a folder whose image each case is.
SUBJECTS_TABLE = "subjects.csv"


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
        Or one file in it: then only the cases that it belongs to, as image or as label.
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
        subject_id), where it exists, says whose images they are. Where the folder or one above it is without
        patient IDs, cases and subjects are called by their codes.

    Raises
    ------
    DataError
        If the folder is not such a folder, or images and labels are not pairs; up to five are named.
    ReadError, LabelError
        If a table, or where there is no table a label file, cannot be read.
    """
    folder = Path(folder)
    hidden = folder if is_without_ids(folder) else None
    with hidden_errors(hidden):
        found = find_own_cases(folder, structures=structures, unlabelled=unlabelled, reading=reading)
        return found if hidden is None else _coded(found)


def _coded(found: CaseFolder) -> CaseFolder:
    """Put codes in place of all that tells whose cases these are, but for where their files lie."""
    learn_folder(found.folder)
    keep_words(structure.name for structure in found.structures)
    cases = _coded_cases(found.cases)
    codes = {own.case_id: case.case_id for own, case in zip(found.cases, cases, strict=True)}
    alike = tuple(
        replace(
            one,
            cases=tuple(codes.get(name, hide(name)) for name in one.cases),
            both=tuple(codes.get(name, hide(name)) for name in one.both),
        )
        for one in found.alike
    )
    notes = tuple(map(hide_note, found.notes))
    return replace(found, cases=cases, skipped=hide_skipped(found.skipped), notes=notes, alike=alike)


def _coded_cases(cases: Sequence[Case]) -> tuple[Case, ...]:
    names = coded_names([(case.subject_id, case.case_id) for case in cases])
    return tuple(
        replace(
            case,
            case_id=code,
            subject_id=patient,
            site=hide(case.site),
            rule=hide(case.rule),
            subject_rule=hide(case.subject_rule),
            is_coded=True,
        )
        for case, (patient, code) in zip(cases, names, strict=True)
    )


def find_own_cases(
    folder: Path,
    *,
    structures: Mapping[int, str] | Sequence[Structure] | None = None,
    unlabelled: Literal["refuse", "skip"] = "refuse",
    reading: Reading | None = None,
) -> CaseFolder:
    """Find cases as `find_cases` does, always with their own names: for the folder's own tables."""
    if unlabelled not in ("refuse", "skip"):
        raise DataError(f"unlabelled is {unlabelled!r}; give 'refuse' or 'skip'.")
    folder, reading = Path(folder), reading or Reading()
    if folder.is_file():
        return _cases_of_file(folder, structures, reading)
    settle(folder)
    content = table_of(folder)
    table = read_structures(folder / "structures.csv") if (folder / "structures.csv").exists() else None
    tokens = [value for value, _ in table.values if isinstance(value, str)] if table else []
    repairs = read_repairs(folder)
    pairing = _pair(folder, unlabelled, reading, tokens, repairs)
    channels = pairing.channels if len(pairing.channels) > 1 else _picture_channels(pairing.pairs)
    cases = [
        Case(**vars(pair), reading=reading, channels=channels, repairs=_repairs_of(pair.case_id, repairs))
        for pair in pairing.pairs
    ]
    values = table.values if table else ()
    notes: tuple[str, ...] = ()
    given = _as_structures(structures) if structures is not None else table.structures if table else None
    alike = look_alikes(cases, _labels_of_names(given or (), values))
    # Where values are named, an index is no label, and colours of structures say nothing of indices.
    by_index = not any(isinstance(value, int) for value, _ in values)
    palettes = compare_palettes(cases, given or () if by_index else ())
    cases = by_colour(cases, palettes)
    if given is None:
        known, values, notes = find_structures(folder, cases, alike)
    else:
        known = given
    known = in_their_colours(known, palettes) if by_index else known
    labels = _labels_of_names(known, values)
    values = (*values, *((other, labels[name]) for other, name in alike.items() if name in labels))
    cases = [replace(case, values=values) for case in cases]
    cases, subject_notes = _with_subjects(folder, cases, pairing.skipped)
    cases = _with_repairs(cases, repairs)
    cases = _with_annotated(folder, _without_files(cases, known), known)
    is_said = (folder / "annotated.csv").exists()
    cases = [part for case in cases for part in _labelled_parts(case, known, is_said=is_said)]
    cases = _with_levels(cases) if reading.only_levels else cases
    for repair in (repair for repair in repairs if repair.kind == "leave_out_slices"):
        cases = [part for case in cases for part in _without_slices(case, repair)]
    cases = _with_repairs(cases, repairs, of_parts=True)
    told = tell_alike(cases, alike, labels, known)
    return CaseFolder(
        folder,
        tuple(cases),
        known,
        tuple(file for file in pairing.skipped if not file.hidden),
        values,
        (
            *notes,
            *(one.words for one in told),
            *pairing.notes,
            *palette_notes(palettes),
            *subject_notes,
            *_repair_notes(cases, repairs),
            *correction_notes(folder),
        ),
        told,
        repairs,
        content,
    )


def _pair(
    folder: Path,
    unlabelled: Literal["refuse", "skip"],
    reading: Reading,
    tokens: Collection[str],
    repairs: Sequence[Repair],
) -> Pairing:
    """Pair the files; pictures that the folder's own tables name one by one stay images of their own."""
    how: dict[str, Any] = {"unlabelled": unlabelled, "channels": reading.channels, "tokens": tokens}
    pairing = pair_files(folder, stacks=not reading.single_pictures, **how)
    if not pairing.stacked:
        return pairing
    named = {"repairs.csv": {repair.case_id for repair in repairs}}
    for name in ("annotated.csv", "subjects.csv"):
        rows = read_rows(folder / name)[1] if (folder / name).exists() else ()
        named[name] = {row.get("case_id", "") for _, row in rows}
    own = pairing.stacked - {pair.case_id for pair in pairing.pairs}
    by = [name for name, some in named.items() if own & some]
    if not by:
        return pairing
    note = (
        f"Pictures that are numbered in order stay images of their own, because {listed(by)} "
        f"{'names' if len(by) == 1 else 'name'} them one by one. To have each patient's read as one stack, name "
        "the stack in the table instead, or move the table away."
    )
    single = pair_files(folder, stacks=False, **how)
    return replace(single, notes=(*single.notes, note))


def find_images(folder: Path, *, channels: Sequence[str] = (), reading: Reading | None = None) -> tuple[Case, ...]:
    """Find the NIfTI files and pictures of a folder, without labels, as cases to read with `read_case_image`.

    One file in place of a folder is taken for an image, whatever its name.
    """
    cases = find_own_images(folder, channels=channels, reading=reading)
    return _coded_cases(cases) if is_without_ids(folder) else cases


def find_own_images(
    folder: Path, *, channels: Sequence[str] = (), reading: Reading | None = None, stacks: bool = False
) -> tuple[Case, ...]:
    """Find images as `find_images` does, by their own names; with numbered pictures as `stacks`."""
    folder, one = Path(folder), Path(folder).is_file()
    root = folder.parent if one else folder
    paths = [*visible_files(folder), *(find_level_files(root).values() if one else ())]
    found, names = find_images_by_name(root, paths, channels=channels, also_labels=one, stacks=stacks and not one)
    # A stack is of whom its pictures are of.
    subjects, rule = subjects_by_name([image.picture for image in found])
    cases = [
        Case(
            image.name,
            subjects[image.picture],
            image.files,
            (),
            channels=names,
            levels_path=image.levels_path,
            subject_rule=rule,
            reading=reading or Reading(),
        )
        for image in found
    ]
    return tuple(_with_subjects(root, cases, is_part=one)[0])


def _cases_of_file(
    path: Path, structures: Mapping[int, str] | Sequence[Structure] | None, reading: Reading
) -> CaseFolder:
    """Find the cases of which a file is the image or the labels; a NIfTI label alone is its own image."""
    why = ""
    for folder in _folders_around(path):
        try:
            found = find_own_cases(folder, structures=structures, unlabelled="skip", reading=reading)
        except AutosegError as error:
            why = why or f" {error}"
            continue
        mine = tuple(case for case in found.cases if path in _files_of(case))
        if mine:
            own = {case.case_id for case in mine}
            others = [one for one in found.alike if not own.intersection(one.cases)]
            notes = tuple(note for note in found.notes if note not in [one.words for one in others])
            alike = tuple(one for one in found.alike if one not in others)
            return replace(found, cases=mine, skipped=(), notes=notes, alike=alike)
    if ending(path) not in VOLUME_ENDINGS:
        raise DataError(f"{path} is one file, and its image or its labels were not found beside it.{why}")
    name = name_without_ending(path)
    case = Case(name, name, (ImageFile(path),), (LabelFile(path),), rule="the labels alone", reading=reading)
    note = f"{path.name} is taken for labels on their own grid: no image that belongs to it was found beside it."
    table = path.parent / "structures.csv"
    if structures is None and table.exists():
        named = read_structures(table)
        return CaseFolder(
            path.parent, (replace(case, values=named.values),), named.structures, (), named.values, notes=(note,)
        )
    if structures is not None:
        return CaseFolder(path.parent, (case,), _as_structures(structures), notes=(note,))
    known, values, notes = _from_values(path.parent, [case])
    return CaseFolder(path.parent, (replace(case, values=values),), known, (), values, notes=(note, *notes))


def _folders_around(path: Path) -> list[Path]:
    """Give the folders that may hold what belongs to a file: above one called images or labels, its own."""
    above = [folder.parent for folder in path.parents[:3] if is_kind_folder(folder.name)]
    return list(dict.fromkeys([*above[::-1], path.parent]))


def _files_of(case: Case) -> set[Path]:
    images = {path for image in case.images for path in (image.path, *image.others)}
    return images | {label.path for label in case.labels}


def _picture_channels(pairs: Sequence[FilePair]) -> tuple[str, ...]:
    """Give the channels of pictures, if one of them shows anything but grey."""
    images = [pair.images[0] for pair in pairs if ending(pair.images[0].path) in PICTURE_ENDINGS]
    paths = [path for image in images for path in (image.path, *image.others)]
    # Where one picture has channels that differ, equal channels in another are a sequence that was filled in.
    return next((c for c in (read_picture_image(path).channels for path in paths) if len(c) > 1), ())


def _labels_of_names(structures: Sequence[Structure], values: Sequence[tuple[int | str, int]]) -> dict[str, int]:
    return {s.name: s.label for s in structures} | {name: label for name, label in values if isinstance(name, str)}


def _as_structures(given: Mapping[int, str] | Sequence[Structure]) -> tuple[Structure, ...]:
    if isinstance(given, Mapping):
        given = [Structure(label, name) for label, name in given.items()]
    known = tuple(given)
    check_structures(known)
    return known


def _with_subjects(
    folder: Path, cases: Sequence[Case], skipped: Sequence[SkippedFile] = (), *, is_part: bool = False
) -> tuple[list[Case], tuple[str, ...]]:
    """Take the subjects from the folder's table, if any; it names others too where these cases are a part."""
    path = folder / SUBJECTS_TABLE
    if not path.exists():
        return list(cases), ()
    subjects = read_subjects(path)
    known = {case.case_id for case in cases} | {name_without_ending(file.path) for file in skipped}
    unknown = sorted(set(subjects) - known)
    if unknown and not is_part:
        raise DataError(
            f"{path}: {in_words(unknown, 'case')} that this folder does not have. Write each case_id as the table "
            "of pairs shows it; a person who is not recognised could be learnt from and tested on."
        )
    found = [
        replace(case, subject_id=subjects[case.case_id], subject_rule=SUBJECTS_TABLE)
        if case.case_id in subjects
        else case
        for case in cases
    ]
    left = [case.case_id for case in cases if case.case_id not in subjects]
    note = f"{in_words(left, 'case')} that subjects.csv does not name: their patients are told by files and names."
    return found, (Told(note),) if left else ()


def _without_files(cases: Sequence[Case], structures: Sequence[Structure]) -> list[Case]:
    """Where each structure has its own file, one without a file on a case was not drawn there."""
    result = []
    for case in cases:
        tokens = {name for file in case.labels if file.binary for name in marked_names(file)}
        names = labels_by_name(case, structures)
        drawn = {names[token] for token in tokens if names.get(token)}
        for repair in case.repairs:
            renamed = {int(old): int(new) for old, new in repair.arguments} if repair.kind == "relabel" else {}
            drawn = {renamed.get(label, label) for label in drawn | {0}} - {0}
        every = {s.label for s in structures}
        here = frozenset(drawn & every)
        result.append(replace(case, annotated=here, unsaid=here) if tokens and drawn != every else case)
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


def _labelled_parts(case: Case, structures: Sequence[Structure], *, is_said: bool) -> list[Case]:
    """Give the slices of a stack of pictures that have label files, a case for each run of them.

    Where each structure has its own file and nobody `is_said` to have said what was drawn, a run ends where other
    structures begin to have files.
    """
    if not case.is_picture_stack:
        return [case]
    names = labels_by_name(case, structures)
    drawn: dict[int | None, set[int]] = defaultdict(set)
    by_file = any(file.binary for file in case.labels) and not is_said
    for file in case.labels:
        drawn[file.slice_index] |= {names.get(name, 0) for name in marked_names(file)} - {0} if by_file else set()
    start, stop = case.slices or (0, case.file_count)
    ends = [start, *(n for n in range(start + 1, stop) if drawn.get(n) != drawn.get(n - 1)), stop]
    runs = [(first, last) for first, last in pairwise(ends) if first in drawn]
    if runs == [(start, stop)]:
        return [case]
    parts = []
    for first, last in runs:
        part = replace(case, case_id=f"{case.whole_id}_s{first + 1:03d}-{last:03d}", slices=(first, last))
        if by_file:
            here = frozenset(drawn[first])
            is_all = here == {structure.label for structure in structures}
            part = replace(part, annotated=None if is_all else here, unsaid=frozenset() if is_all else here)
        parts.append(part)
    return parts


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
        mine = _repairs_of(case.case_id, repairs)
        if not of_parts:
            kept.append(replace(case, repairs=mine))
        elif case.slices is not None:
            kept.append(replace(case, part_repairs=tuple(r for r in mine if r not in case.repairs)))
        else:
            kept.append(case)
    return kept


def _repairs_of(case_id: str, repairs: Sequence[Repair]) -> tuple[Repair, ...]:
    return tuple(repair for repair in repairs if repair.case_id == case_id and repair.kind != "leave_out_slices")


def _without_slices(case: Case, repair: Repair) -> list[Case]:
    """Give what is left of a case; where that is one piece of a whole stack, it keeps its name."""
    if repair.case_id not in (case.case_id, case.whole_id):
        return [case]
    runs = find_kept_runs(repair, case.slices)
    if case.slices in runs:
        return [case]
    if case.slices is None:
        case = replace(case, whole_slices=repair.of_slices)
    if len(runs) == 1 and not PART.search(case.case_id):
        return [replace(case, slices=runs[0])]
    named = [(f"{case.whole_id}_s{first + 1:03d}-{last:03d}", (first, last)) for first, last in runs]
    return [replace(case, case_id=name, slices=slices) for name, slices in named]


def _repair_notes(cases: Sequence[Case], repairs: Sequence[Repair]) -> tuple[str, ...]:
    if not repairs:
        return ()
    known = {name for case in cases for name in (case.case_id, case.whole_id)}
    used = {repair for case in cases for repair in (*case.repairs, *case.part_repairs)}
    used |= {repair for repair in repairs if repair.kind == "leave_out_slices" and repair.case_id in known}
    left_out = sorted({repair.case_id for repair in repairs if repair.kind == "leave_out"})
    lost = sorted({repair.case_id for repair in repairs if repair not in used} - set(left_out))
    mended, cut = ({r.case_id for r in used if r.mends is mends} for mends in (True, False))
    notes = [f"repairs.csv mends the labels of {counted(len(mended), 'case')}."] if mended or not used else []
    notes += [f"repairs.csv leaves out slices of {counted(len(cut), 'case')}."] if cut else []
    notes += [Told(f"repairs.csv leaves out {', '.join(map(private, left_out))}.")] if left_out else []
    notes += (
        [
            Told(
                f"repairs.csv names cases that are not there: {', '.join(map(private, lost))}. Correct or remove "
                "the rows."
            )
        ]
        if lost
        else []
    )
    return tuple(notes)


# --- which structures the label files hold, where nobody has named them yet

# More distinct values than this are hardly structures that someone drew one by one.
MOST_UNNAMED_VALUES = 32
# Share of a structure's voxels that lie inside another, from which it counts as a part of that one.
INSIDE = 0.95

Found = tuple[tuple[Structure, ...], tuple[tuple[int | str, int], ...], tuple[str, ...]]


def find_structures(folder: Path, cases: Sequence[Case], alike: Mapping[str, str]) -> Found:
    """Give structures, what stands for them in the files, and notes, from the label files themselves.

    `alike` are names that count as another one.
    """
    if any(file.binary for case in cases for file in case.labels):
        return _from_masks(cases, alike)
    described = read_dataset_json(folder).structures
    if described:
        return described, (), ("The names of the structures are those of dataset.json.",)
    return _from_values(folder, cases)


def _from_values(folder: Path, cases: Sequence[Case]) -> Found:
    """Give a structure for each value; its label is the value itself, or where that is above 255 a free one."""
    present, blurred, refused = dict[LabelFile, list[int]](), set[int](), list[AutosegError]()
    owners = {file: case for case in cases for file in case.labels}
    for file, case in owners.items():
        try:
            present[file] = label_values_of(case, file)
        except UnclearLabelsError as unclear:  # the check asks how the file is to be taken
            present[file] = [] if unclear.way == "nearest" else list(unclear.values)
            blurred |= set(unclear.values) if unclear.way == "nearest" else set()
        except AutosegError as error:  # one damaged file must not hide what is wrong elsewhere
            refused.append(error)
    if refused and not present:
        raise refused[0]
    found = {value for values in present.values() for value in values}
    for level in sorted(blurred):
        found |= {level} if all(abs(level - known) > ONE_LEVEL for known in found) else set()
    values = sorted(found - {0})
    places = folder / "labels" if (folder / "labels").is_dir() else folder
    if len(values) > MOST_UNNAMED_VALUES or any(value < 0 for value in values):
        raise LabelError(
            f"The label files in {places} hold {len(values)} different values "
            f"({', '.join(map(str, values[:8]))} …), which are hardly all structures. If edges were "
            f"smoothed, save the labels again without that; else name the values from 1 to 255 in "
            f"{folder / 'structures.csv'}."
        )
    if not values:
        raise LabelError(f"The label files in {places} are empty: every pixel is 0. Save the drawn labels.")
    free = FreeLabels(value for value in values if value < 256)
    label_of = {value: value if value < 256 else free.take(value) for value in values}
    names = {label: unnamed(value) for value, label in label_of.items()}
    # What repairs rename is no structure of its own any more, or is one from now on.
    kept = {label_of[value] for value in blurred if value in label_of}
    for file, own in present.items():
        kept |= set(rename([label_of.get(value, 0) for value in own], owners[file].repairs))
    structures = tuple(Structure(label, names.get(label, unnamed(label))) for label in sorted(kept - {0}))
    large = {value: label for value, label in label_of.items() if value != label}
    notes = tuple(
        f"The value {value} of the label files is kept as label {label}." for value, label in large.items()
    )
    return structures, tuple(label_of.items()) if large else (), notes


def _readable(read: Callable[[One], Result], those: Iterable[One]) -> Iterator[Result]:
    """Give what can be read: one damaged file must not hide what is wrong elsewhere; raise where nothing can be."""
    refused: AutosegError | None = None
    count = 0
    for one in those:
        try:
            result = read(one)
        except AutosegError as error:
            refused = refused or error
            continue
        count += 1
        yield result
    if refused is not None and not count:
        raise refused


def _masks_of(case: Case, alike: Mapping[str, str]) -> tuple[str, dict[str, npt.NDArray[np.bool_]]]:
    """Give what the files of a case mark, of all raters together."""
    masks: dict[str, npt.NDArray[np.bool_]] = {}
    for file in case.labels:
        for own, mask in read_label_masks(case, file).masks:
            add_mask(case, file, masks, alike.get(own, own), mask)
    return case.case_id, masks


def _from_masks(cases: Sequence[Case], alike: Mapping[str, str]) -> Found:
    """Name structures by the files' tokens, the largest first, and find those that lie inside others."""
    sizes: dict[str, list[int]] = defaultdict(list)
    shared: Counter[tuple[str, str]] = Counter()
    shares: dict[tuple[str, str], list[tuple[float, str]]] = defaultdict(
        list
    )  # of the first, where both were drawn
    for case_id, masks in _readable(lambda case: _masks_of(case, alike), cases):
        for name, mask in masks.items():
            sizes[name].append(int(np.count_nonzero(mask)))
            for other, other_mask in masks.items():
                if other != name:
                    both = int(np.count_nonzero(mask & other_mask))
                    shared[name, other] += both
                    if sizes[name][-1]:
                        shares[name, other].append((both / sizes[name][-1], case_id))
    if not any(map(sum, sizes.values())):
        raise LabelError("The label files are empty: every pixel is 0. Save the drawn labels.")
    names = sorted(sizes, key=lambda name: (-float(np.mean(sizes[name])), name))
    label_of = {name: label for label, name in enumerate(names, start=1)}
    structures, notes = [], []
    typical = {pair: float(np.median([share for share, _ in found])) for pair, found in shares.items()}
    for place, name in enumerate(names):
        smaller = [n for n in names[place + 1 :] if shared[n, name]]
        inner = [n for n in smaller if typical[n, name] >= INSIDE]
        inner += [
            n for n in names[place + 1 :] if n not in inner and any(typical.get((n, i), 0) >= INSIDE for i in inner)
        ]
        structures.append(Structure(label_of[name], name, includes=tuple(label_of[n] for n in inner)))
        for n in smaller:
            odd = [case_id for share, case_id in shares[n, name] if share < INSIDE] if n in inner else []
            apart = f" Not so on {name_private(odd)}: look at it." if odd else ""
            notes.append(
                Told(
                    f"{typical[n, name]:.1%} of {n} lies inside {name} on a typical case, so {name} is measured "
                    "and "
                    f"scored with it.{apart}"
                )
                if n in inner
                else f"{name} and {n} share {shared[n, name]} voxels, which count as {n}, so the area of {name} is "
                "without them. Another order of the rows in structures.csv, or includes, changes that."
            )
    return tuple(structures), tuple(label_of.items()), tuple(notes)
