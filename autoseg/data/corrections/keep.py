"""Keep corrected labels in a folder of cases, with who and when, so that training can simply use it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt

from autoseg.data.cases import Case, CaseFolder, Reading, find_own_cases, read_case, read_case_image
from autoseg.data.codes import need_key
from autoseg.data.corrections.drawing import read_filled
from autoseg.data.corrections.kit import AS_WRITTEN, KitCase, channel_words
from autoseg.data.corrections.read import Correction, only_on, read_slices, say_date
from autoseg.data.pairing.layout import visible_files
from autoseg.data.pairing.names import IMAGE_WORD
from autoseg.errors import AutosegError, DataError, OutputError
from autoseg.files.atomic import one_step, settle, whole_file
from autoseg.files.nifti.images import lay_out
from autoseg.files.nifti.volumes import nifti_header, read_voxels, write_nifti
from autoseg.files.sources import VOLUME_ENDINGS, ending, name_without_ending
from autoseg.files.tables import (
    EARLIER_FOLDER,
    Drawn,
    KeptCorrection,
    read_annotated,
    read_kept_corrections,
    read_subjects,
    write_kept_corrections,
    write_rows,
    write_structures,
)
from autoseg.image.geometry import Affine
from autoseg.image.image import Image, LabelMap, SpacingSource
from autoseg.image.orientation import Arrangement, arrangement_onto
from autoseg.image.structures import Structure
from autoseg.words import say_slices

# --- where a correction goes in a folder of cases: onto the labels of a case, or as a new one

ELSEWHERE = "Keep the correction in a new folder."


@dataclass(frozen=True, eq=False)
class Place:
    """Where a correction goes: the case's name and files, and how the correction's slices become the case's.

    `earlier` are the labels that stand there, on the case's own axes; None for a new case, whose images are written
    to `image_paths`. `annotated` is what the case's files themselves tell of what was drawn.
    """

    case_id: str
    label_path: Path
    image_paths: tuple[Path, ...]
    arrangement: Arrangement
    shape: tuple[int, int, int]
    affine: Affine | None
    earlier: npt.NDArray[np.integer] | None = None
    annotated: frozenset[int] | None = None

    def own_slices(self, slices: Sequence[int]) -> tuple[int, ...] | None:
        """Give slices of the correction as slices of the case; None if the case's lie in another plane."""
        if self.arrangement.axes[0] != 0:
            return None
        last = self.shape[0] - 1
        return tuple(sorted(last - n if self.arrangement.flipped[0] else n for n in slices))


def whole_cases(found: CaseFolder) -> tuple[Case, ...]:
    """Give the cases of a folder with all their slices, also where only some count as drawn.

    To correct them once more; what was drawn on any of the slices counts as drawn.
    """
    whole: dict[tuple[Path, str], Case] = {}
    for case in found.cases:
        known = frozenset(s.label for s in found.structures) if case.annotated is None else case.annotated
        case_id = case.whole_id
        key = (case.image_path, case_id)
        before = (whole[key].annotated or frozenset()) if key in whole else frozenset()
        whole[key] = replace(case, case_id=case_id, slices=None, part_repairs=(), annotated=known | before)
    return tuple(whole.values())


def find_place(correction: Correction, folder: Path, found: CaseFolder | None) -> Place:
    """Find the case of the folder that was corrected, or choose the files of a new one."""
    return (_existing(correction, found) if found else None) or _new(correction, folder, found)


def _existing(correction: Correction, found: CaseFolder) -> Place | None:
    """Find the case with this image; its name tells where to look, and the image itself whether it is the one."""
    name = re.compile(rf"{re.escape(_new_name(correction))}(_\d+)?")
    own = correction.case
    for case in whole_cases(found):
        if case.case_id != own.case_id and not name.fullmatch(case.case_id):
            continue
        image = read_case_image(case)
        arrangement = _arrangement(correction, image.affine, image.shape)
        if arrangement is not None and _is_image(correction, image, arrangement):
            return _on_labels(case, image, arrangement, found)
        if case.case_id == own.case_id and case.subject_id == own.subject_id:
            what = "lies on another grid than" if arrangement is None else "has other intensities than"
            raise DataError(
                f"The image of {case.case_id} in {found.folder} ({image!r}) {what} the one that was corrected "
                f"({correction.label_map!r}). {ELSEWHERE}"
            )
    return None


def _on_labels(case: Case, image: Image, arrangement: Arrangement, found: CaseFolder) -> Place:
    """Give the place of a case's own label file, if a correction can go there."""
    parts = [part for part in found.cases if part.image_path == case.image_path]
    if len(case.labels) != 1 or case.labels[0].binary or ending(case.label_path) not in VOLUME_ENDINGS:
        further = " and further files" if len(case.labels) > 1 else ""
        raise DataError(
            f"The labels of {case.case_id} in {found.folder} are {case.label_path.name}{further}, and only a "
            f"single NIfTI file with the values of all structures is replaced by a correction. {ELSEWHERE}"
        )
    if case.repairs or any(part.part_repairs for part in parts):
        raise DataError(
            f"repairs.csv in {found.folder} mends the labels of {case.case_id} and would mend the corrected ones "
            "again. Remove its rows first, if the corrected file holds what they mend."
        )
    if any(one.kind == "leave_out_slices" and one.case_id == case.case_id for one in found.repairs):
        raise DataError(
            f"repairs.csv in {found.folder} leaves out slices of {case.case_id}, also when they are corrected. "
            "Undo that first."
        )
    return Place(
        case_id=case.case_id,
        label_path=case.label_path,
        image_paths=(),
        arrangement=arrangement,
        shape=image.shape,
        affine=image.affine,
        earlier=read_case(case, found.structures)[1].voxels,
        annotated=parts[0].annotated,
    )


def read_own_images(correction: Correction) -> list[npt.NDArray[np.generic]]:
    """Read the image that was corrected, on its own grid, channel by channel."""
    case = correction.case
    folder = correction.kit.folder / ("" if case.keeps_grid else AS_WRITTEN)
    channels = []
    for name in case.image_names:
        voxels = read_voxels(folder / name)
        if voxels.shape != case.shape:
            raise OutputError(
                f"{folder / name} is not the image that was written with the labels. Take it from a copy."
            )
        channels.append(voxels)
    return channels


def corrected_image(correction: Correction) -> Image:
    """Read the image that was corrected, where it lies in the patient."""
    case = correction.case
    channels = read_own_images(correction)
    voxels = channels[0] if len(channels) == 1 else np.stack(channels)
    told: SpacingSource = "none" if case.affine is None else "header"
    source = replace(correction.label_map.source, slices=(), spacing_source=told, slice_spacing_source=told)
    return Image(voxels, case.affine, case.channels, source)


def _is_image(correction: Correction, image: Image, arrangement: Arrangement) -> bool:
    """Tell whether an image of the folder is the one that was corrected: two patients may lie on one grid."""
    own = [arrangement.apply(voxels) for voxels in read_own_images(correction)]
    if len(own) != len(image.channel_voxels):
        return False
    return all(
        np.allclose(mine.astype(np.float64), theirs.astype(np.float64), rtol=1e-5, equal_nan=True)
        for mine, theirs in zip(own, image.channel_voxels, strict=True)
    )


def _new(correction: Correction, folder: Path, found: CaseFolder | None) -> Place:
    if found is not None and not ((folder / "images").is_dir() and (folder / "labels").is_dir()):
        raise DataError(
            f"{folder} has no case {correction.case.case_id}, and keeps its images in another way than as NIfTI in "
            f"'images' and 'labels'. {ELSEWHERE}"
        )
    case = correction.case
    taken = {one.case_id for one in found.cases} | {one.case_id for one in whole_cases(found)} if found else set()
    first = _new_name(correction)
    # Series of two patients are often called alike.
    names = (first if number == 1 else f"{first}_{number}" for number in range(1, 1000))
    name = next(name for name in names if name not in taken)
    endings = [f"_{word}" for word in channel_words(case.channels)] if len(case.channels) > 1 else [""]
    images = tuple(folder / "images" / f"{name}{end}.nii.gz" for end in endings)
    label = folder / "labels" / f"{name}.nii.gz"
    for path in (*images, label):
        if path.exists():
            raise OutputError(f"{path} is there already and belongs to another case. {ELSEWHERE}")
    arrangement = _arrangement_when_read(correction)
    shape = arrangement.shape(case.shape)
    affine = None if case.affine is None else arrangement.affine(case.affine, case.shape)
    return Place(name, label, images, arrangement, shape, affine)


def _new_name(correction: Correction) -> str:
    """Give the name that a new case has when it is read: without a word such as _image at its end."""
    return IMAGE_WORD.sub("", correction.case.name) or correction.case.name


def _arrangement(correction: Correction, affine: Affine | None, shape: tuple[int, ...]) -> Arrangement | None:
    case = correction.case
    if affine is None or case.affine is None:
        is_same = affine is case.affine and shape == case.shape
        return Arrangement((0, 1, 2), (False, False, False)) if is_same else None
    return arrangement_onto(case.affine, case.shape, affine, shape)


def _arrangement_when_read(correction: Correction) -> Arrangement:
    """Give how the correction's axes become those of the image once it is read from its NIfTI file."""
    case = correction.case
    path = correction.kit.folder / ("" if case.keeps_grid else AS_WRITTEN) / case.image_names[0]
    header = nifti_header(path)
    layout, affine = lay_out(header)
    found = _arrangement(correction, affine, layout.shape(header.shape))
    if found is None:
        raise OutputError(f"{path} is not the image that was written with the labels. Take it from a copy.")
    return found


# --- what counts as drawn, slice by slice: `annotated.csv` read, changed for one case, and written again

Cells = dict[int, str]
Marks = list[Cells | None]
"""For every slice the cell of each label ("1" drawn, "0" not drawn, "?" nobody said), or None: left out."""


@dataclass(frozen=True, eq=False)
class _ToKeep:
    """What is about to be kept, and where: the labels `voxels` that the case has from now on, on its own axes.

    `slices` of it were checked and `labels` looked at there; `structures` are the folder's, `found` its cases, if
    there are any yet.
    """

    correction: Correction
    folder: Path
    found: CaseFolder | None
    place: Place
    voxels: npt.NDArray[np.uint8]
    slices: tuple[int, ...]
    labels: frozenset[int]

    @property
    def structures(self) -> tuple[Structure, ...]:
        return self.found.structures if self.found else self.correction.label_map.structures


def mark_slices(keeping: _ToKeep) -> Marks:
    """Write into `annotated.csv` that some slices of a case were checked, and give what is known of the case now.

    Of a checked slice these structures count as drawn; of the others it stays known what was, if they still lie
    where they lay. Other slices of the case, and other cases, keep what was known of them; a new case has nothing
    else.
    """
    place, voxels, checked, labels = keeping.place, keeping.voxels, keeping.slices, keeping.labels
    path = keeping.folder / "annotated.csv"
    every = [structure.label for structure in keeping.structures]
    rows = read_annotated(path, keeping.structures) if path.exists() else {}
    for case in keeping.found.cases if keeping.found else ():
        case_id = case.whole_id
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
    columns = ["case_id", *(["slices"] if has_slices else []), *(s.name for s in keeping.structures)]
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


# --- keeping one correction


def keep_correction(
    correction: Correction,
    folder: Path,
    *,
    checked: str = "changed",
    structures: Collection[str] | None = None,
    note: str = "",
    reading: Reading | None = None,
    replace: bool = True,
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
        "changed": the slices on which something was changed, but for those that were filled between two others and
        not drawn on since (`drawing.read_filled`). "all": somebody looked at every slice. Or slices
        counted from 1: "4-9 12". A model that sees volumes needs all.
    structures : collection of str, optional
        Names of the structures that were looked at there; by default those that had been drawn, and those that were
        changed. The others count as not drawn on these slices, unless they were and lie where they lay.
    note : str
        Kept in the table.
    reading : Reading, optional
        How the folder is read (`find_cases`); by default with the channels of the correction's image.
    replace : bool
        False to refuse where other labels stand already.

    Returns
    -------
    KeptCorrection
        The row of `corrections.csv`.

    Raises
    ------
    DataError
        If nothing was changed and nobody says that it was looked at, a changed slice is not among those that were
        checked, the folder's case has another grid or labels of another kind, or its labels would be replaced
        against `replace`.
    OutputError
        If a file cannot be written, or the folder reads back differently; the folder is then as it was.
    """
    folder, correction = Path(folder), _of_own_case(correction)
    slices = checked_slices(correction, checked)
    if checked == "changed" and slices != correction.changed_slices:
        correction = only_on(correction, slices)  # what was filled between them stays as it was
    labels = _checked_labels(correction, structures)
    reading = _reading(correction, reading)
    _refuse_file(folder)
    # What is read there is what is merged: another program may keep corrections at the same time.
    with one_step(folder):
        found = cases_of(correction, folder, reading)
        _check_structures(correction, found, folder)
        place = find_place(correction, folder, found)
        voxels, own = merged_labels(correction, place, slices)
        keeping = _ToKeep(correction, folder, found, place, voxels, own, labels)
        earlier = _earlier_path(folder, place) if place.earlier is not None else None
        if not replace and place.earlier is not None and not np.array_equal(voxels, place.earlier):
            raise DataError(
                f"{place.case_id} has other labels by now: {place.label_path}. Look at them, then keep the "
                "correction in their place, if it is the better one."
            )
        if earlier is not None:
            with whole_file(earlier) as temporary:
                shutil.copy2(place.label_path, temporary)
        else:
            _write_images(correction, place)
            _write_subject(folder, place.case_id, correction.case.subject_id)
        write_nifti(place.label_path, LabelMap(voxels, place.affine, keeping.structures), may_lack_mm=True)
        if found is None:
            write_structures(folder / "structures.csv", keeping.structures)
        marks = mark_slices(keeping)
        row = _row(keeping, earlier, note)
        write_kept_corrections(folder, (*read_kept_corrections(folder), row))
        _check_read_back(keeping, reading, marks)
    return row


def _of_own_case(correction: Correction) -> Correction:
    """Give a correction made without patient IDs the names of its patient and image, by which folders know them."""
    case = correction.case
    if not case.is_coded:
        return correction
    own = replace(case, case_id=need_key(case.case_id), subject_id=need_key(case.subject_id), is_coded=False)
    return replace(correction, case=own)


def cases_of(correction: Correction, folder: Path, reading: Reading | None) -> CaseFolder | None:
    """Find the cases of a folder as a correction is kept there; None if there is nothing yet."""
    _refuse_file(folder)
    settle(folder)
    is_there = folder.is_dir() and bool(visible_files(folder))
    return find_own_cases(folder, unlabelled="skip", reading=_reading(correction, reading)) if is_there else None


def _refuse_file(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file. Name a folder of cases, or a new one.")


def _reading(correction: Correction, reading: Reading | None) -> Reading | None:
    return reading_of(correction.case) if reading is None else reading


def reading_of(case: KitCase) -> Reading | None:
    """Give how a folder is read in which corrections of such an image are kept; None as any other."""
    return Reading(channels=tuple(channel_words(case.channels))) if len(case.channels) > 1 else None


def checked_slices(correction: Correction, checked: str) -> tuple[int, ...]:
    """Give the slices (from 0) that somebody looked at; DataError where that cannot be."""
    changed = correction.changed_slices
    if checked == "changed":
        if not changed:
            raise DataError(
                f"{correction.words} If somebody looked at it and found it right, say which slices were "
                "checked: all, or their numbers, such as 4-9."
            )
        filled = read_filled(correction.kit.folder).get(correction.case.name, ())
        seen = tuple(index for index in changed if index not in filled)
        if not seen:
            raise DataError(
                f"{correction.case.case_id}: slices {say_slices(changed)} were filled between others, and nobody "
                "drew on them since. Look at them, then say by their numbers which were checked."
            )
        return seen
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
            f"{', '.join(s.name for s in correction.label_map.structures)}."
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
                "slices, and say that all were checked."
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
        write_nifti(path, Image(voxels, correction.case.affine), may_lack_mm=True)


def _earlier_path(folder: Path, place: Place) -> Path:
    stem, now = name_without_ending(place.label_path), f"{datetime.now():%Y-%m-%d_%H%M%S}"
    names = (f"{stem}_{now}{'' if n == 1 else f'_{n}'}{ending(place.label_path)}" for n in range(1, 1000))
    return next(path for name in names if not (path := folder / EARLIER_FOLDER / name).exists())


def _write_subject(folder: Path, case_id: str, subject_id: str) -> None:
    path = folder / "subjects.csv"
    subjects = read_subjects(path) if path.exists() else {}
    if subject_id and case_id not in subjects:
        write_rows(path, ("case_id", "subject_id"), [*subjects.items(), (case_id, subject_id)])


def _row(keeping: _ToKeep, earlier: Path | None, note: str) -> KeptCorrection:
    correction, place, folder = keeping.correction, keeping.place, keeping.folder
    changed = place.own_slices(correction.changed_slices)
    return KeptCorrection(
        case_id=place.case_id,
        by=correction.by,
        date=correction.date,
        model=correction.kit.model,
        label_file=place.label_path.relative_to(folder).as_posix(),
        earlier_file=earlier.relative_to(folder).as_posix() if earlier is not None else "",
        checked=_say_checked(keeping.slices, place),
        structures="; ".join(s.name for s in correction.label_map.structures if s.label in keeping.labels),
        # In another plane than the case's slices they have no numbers there.
        changed=say_slices(changed) if changed is not None else "",
        # Nothing of an image without millimetres.
        added_mm2="" if place.affine is None else f"{sum(c.added_mm2 for c in correction.changes):.6g}",
        removed_mm2="" if place.affine is None else f"{sum(c.removed_mm2 for c in correction.changes):.6g}",
        note=note,
    )


def _say_checked(slices: Sequence[int], place: Place) -> str:
    return "all" if len(slices) == place.shape[0] else say_slices(slices)


def _check_read_back(keeping: _ToKeep, reading: Reading | None, marks: Marks) -> None:
    """Read the folder as training will, and compare."""
    folder, place, voxels = keeping.folder, keeping.place, keeping.voxels
    found = find_own_cases(folder, unlabelled="skip", reading=reading)
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


# --- keeping several, and only where no labels are replaced unasked


@dataclass(frozen=True)
class Standing:
    """Labels that stand already where a correction is to be kept.

    `last` is the last correction that was kept there, None where nobody corrected them yet. `is_same` tells whether
    keeping would change no label, `is_kept` whether the same person has kept the same already.
    """

    case_id: str
    label_path: Path
    last: KeptCorrection | None
    is_same: bool
    is_kept: bool

    @property
    def words(self) -> str:
        """What stands there, in a sentence."""
        last = self.last
        who = "that nobody corrected yet" if last is None else f"corrected by {last.by} ({say_date(last.date)})"
        return f"{self.case_id} has labels already, {who}: {self.label_path}."


def find_standing(
    correction: Correction, folder: Path, *, checked: str = "changed", reading: Reading | None = None
) -> Standing | None:
    """Look which labels `keep_correction` would replace; None if none."""
    folder, correction = Path(folder), _of_own_case(correction)
    slices = checked_slices(correction, checked)
    found = cases_of(correction, folder, reading)
    place = find_place(correction, folder, found) if found is not None else None
    if place is None or place.earlier is None:
        return None
    voxels, own = merged_labels(correction, place, slices)
    kept = [row for row in read_kept_corrections(folder) if row.case_id == place.case_id]
    last, is_same = kept[-1] if kept else None, np.array_equal(voxels, place.earlier)
    whose = (correction.by, _say_checked(own, place))
    is_kept = is_same and last is not None and (last.by, last.checked) == whose
    return Standing(place.case_id, place.label_path, last, is_same, is_kept)


@dataclass(frozen=True)
class Keeping:
    """What became of corrections that were to be kept.

    `kept` are the new rows of `corrections.csv`, `standing` the labels that would have been replaced and were not
    (nothing was kept then), `already` those that held the same before, `error` what stopped the rest.
    """

    kept: tuple[KeptCorrection, ...] = ()
    standing: tuple[Standing, ...] = ()
    already: tuple[Standing, ...] = ()
    error: AutosegError | None = None


def keep_corrections(
    corrections: Sequence[Correction], folder: Path, *, checked: str = "changed", replace: bool = False
) -> Keeping:
    """Keep corrections as labels to learn from; labels that are there are replaced only if that is wished for.

    Parameters
    ----------
    corrections : sequence of Correction
    folder, checked
        As of `keep_correction`; slices by their numbers are of a single image.
    replace : bool
        True to replace labels that differ; they stay in `earlier_labels`.

    Returns
    -------
    Keeping

    Raises
    ------
    DataError
        If slices are given by their numbers for several images.
    AutosegError
        Of the kinds that `keep_correction` raises, before anything was kept.
    """
    if len(corrections) > 1 and checked not in ("changed", "all"):
        names = ", ".join(one.case.case_id for one in corrections)
        raise DataError(
            f"Slices {checked} are of one image, and {len(corrections)} were read: {names}. Choose one."
        )
    found = [find_standing(one, folder, checked=checked) for one in corrections]
    differing = tuple(one for one in found if one is not None and not one.is_same)
    if differing and not replace:
        return Keeping(standing=differing)
    kept: list[KeptCorrection] = []
    already = tuple(one for one in found if one is not None and one.is_kept)
    for correction, there in zip(corrections, found, strict=True):
        if there is not None and there.is_kept:
            continue
        try:
            kept.append(keep_correction(correction, folder, checked=checked, replace=replace))
        except AutosegError as error:
            if not kept:
                raise
            return Keeping(tuple(kept), (), already, error)
    return Keeping(tuple(kept), (), already)
