"""Read corrected labels back: on their image's own grid, with what was changed, by whom and when."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np

from autoseg.data.corrections.changes import Change, changed_slices, find_changes, swapped_labels
from autoseg.data.corrections.fine_grid import downsample_labels
from autoseg.data.corrections.kit import AS_WRITTEN, Kit, KitCase, read_kit
from autoseg.errors import DataError, LabelError, ReadError
from autoseg.files.labels import read_label_volume
from autoseg.files.nifti.volumes import nifti_header
from autoseg.files.sources import VOLUME_ENDINGS, ending, name_without_ending
from autoseg.image.image import Image, LabelMap, SliceSource, Source
from autoseg.image.orientation import arrangement_onto
from autoseg.words import say_slices


@dataclass(frozen=True, eq=False)
class Correction:
    """Labels that a person corrected, or looked at and left as they were.

    `label_map` lies on the image's own grid, `before` is what had been written there; `changes` tell what was
    changed, `changed_slices` (from 0) where. `path` is the file that was read; `is_touched` is False where it holds
    what had been written, down to the smallest pixel.
    `label_map.shares` holds, where the files were finer than the image, which part of each pixel every structure
    covers.
    """

    kit: Kit
    case: KitCase
    label_map: LabelMap
    before: LabelMap
    changes: tuple[Change, ...]
    changed_slices: tuple[int, ...]
    by: str
    date: str
    path: Path
    is_touched: bool = True

    @property
    def is_changed(self) -> bool:
        """Whether any pixel has another label than before."""
        return bool(self.changed_slices)

    @property
    def words(self) -> str:
        """What was changed, in a sentence."""
        if not self.is_changed and self.is_touched:
            return f"{self.case.case_id}: what was changed in {self.path.name} is less than half of any pixel."
        if not self.is_changed:
            return f"{self.case.case_id}: nothing was changed in {self.path.name}."
        names = dict.fromkeys(change.name for change in self.changes)
        slices = say_slices(self.changed_slices)
        return (
            f"{self.case.case_id}: corrected by {self.by} ({say_date(self.date)}) on {len(self.changed_slices)} of "
            f"{self.label_map.shape[0]} slices ({slices}): {', '.join(names)}."
        )


def read_correction(
    folder: Path,
    *,
    by: str,
    file: Path | None = None,
    case_id: str | None = None,
    date: str | None = None,
    exchanged_on_purpose: bool = False,
) -> Correction:
    """Read the corrected labels of one image back onto its own grid.

    Parameters
    ----------
    folder : Path
        As `write_kit` wrote it, with its file corrected.
    by : str
        Who corrected: initials or a name. It is kept with the labels.
    file : Path, optional
        Where the corrected labels were saved, if not in their place. They belong to the image whose name the file's
        begins with, else to the only image on whose grid they lie.
    case_id : str, optional
        Which image, if the folder holds several and no file is given.
    date : str, optional
        By default when the file was saved.
    exchanged_on_purpose : bool
        True if a structure was given another's place on purpose (left and right had been exchanged).

    Returns
    -------
    Correction

    Raises
    ------
    ReadError
        If the folder or the file cannot be read, or nobody is named.
    DataError
        If it is not clear which image is meant.
    LabelError
        If the file lies on another grid than its image (one whose axes were only reordered or turned is brought
        back exactly), holds a value without a name, or seems to have been numbered anew.
    """
    kit = read_kit(folder)
    if not by.strip():
        raise ReadError("Say who corrected the labels (by): initials are enough.")
    case = _case_of(kit, file, case_id)
    path = kit.folder / case.labels_name if file is None else Path(file)
    before = _read(kit, case, kit.folder / AS_WRITTEN / case.labels_name)
    after = _read(kit, case, path)
    swapped = {} if exchanged_on_purpose else swapped_labels(before, after)
    if swapped:
        names = {s.label: s.name for s in kit.structures}
        new, old = next(iter(swapped.items()))
        raise LabelError(
            f"{path}: what was {names[old]!r} (label {old}) has the value {new} now, which is {names[new]!r}. "
            "Programs number segments anew when they save; save with the numbers of structures.csv (3D Slicer: "
            '"Use color table values"). If it was exchanged on purpose, say so (exchanged_on_purpose).'
        )
    own_before, own_after = (_on_own_grid(case, labels) for labels in (before, after))
    return Correction(
        kit=kit,
        case=case,
        label_map=own_after,
        before=own_before,
        changes=find_changes(own_before, own_after),
        changed_slices=changed_slices(own_before, own_after),
        by=by.strip(),
        date=date or datetime.fromtimestamp(path.stat().st_mtime).astimezone().isoformat(timespec="seconds"),
        path=path,
        is_touched=not np.array_equal(before.voxels, after.voxels),
    )


def read_corrections(
    folder: Path, *, by: str, date: str | None = None, exchanged_on_purpose: bool = False
) -> tuple[Correction, ...]:
    """Read all label files of a folder back that were corrected in their places; untouched ones are not changed.

    Parameters are as of `read_correction`.

    Raises
    ------
    ReadError, LabelError
        As `read_correction` does.
    """
    return tuple(
        read_correction(folder, by=by, case_id=case.case_id, date=date, exchanged_on_purpose=exchanged_on_purpose)
        for case in read_kit(folder).cases
    )


def say_date(date: str) -> str:
    """Say a date and time as people write them; what is no such text stays as it is.

    Examples
    --------
    >>> say_date("2026-03-01T14:05:09+01:00")
    '2026-03-01 14:05'
    """
    return re.sub(r"^(\d{4}-\d\d-\d\d)T(\d\d:\d\d)\S*$", r"\1 \2", date)


def read_slices(text: str, count: int) -> tuple[int, ...]:
    """Read slices as people write them, counted from 1, with blanks or commas between; "all" are all.

    Raises
    ------
    DataError
        If it is no such text, or a slice is not there.

    Examples
    --------
    >>> read_slices("4-6, 12", 12)
    (3, 4, 5, 11)
    """
    if text.strip().lower() == "all":
        return tuple(range(count))
    found: set[int] = set()
    for word in text.replace(",", " ").replace("–", "-").split():
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", word)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if not 1 <= first <= last <= count:
            raise DataError(f"Slices {word!r}: write numbers from 1 to {count}, such as '4-9 12', or 'all'.")
        found.update(range(first - 1, last))
    if not found:
        raise DataError("No slice is named. Write numbers from 1, such as '4-9 12', or 'all'.")
    return tuple(sorted(found))


def _case_of(kit: Kit, file: Path | None, case_id: str | None) -> KitCase:
    if case_id is not None:
        for case in kit.cases:
            if case.case_id == case_id:
                return case
    elif file is not None:
        stem = name_without_ending(Path(file))
        named = [case for case in kit.cases if re.match(rf"{re.escape(case.name)}(?:[-_. ]|$)", stem)]
        if named:
            return max(named, key=lambda case: len(case.name))
        alike = [case for case in kit.cases if _lies_on(Path(file), case)]
        if len(alike) == 1:
            return alike[0]
    elif len(kit.cases) == 1:
        return kit.cases[0]
    what = f"no image {case_id}" if case_id is not None else "several images"
    if file is not None and case_id is None:
        what = f"no image that belongs to {Path(file).name}, neither by its name nor by its grid"
    known = ", ".join(case.case_id for case in kit.cases)
    raise DataError(f"{kit.folder} has {what}. Say which one is meant (case_id). There is: {known}.")


def _lies_on(path: Path, case: KitCase) -> bool:
    if ending(path) not in VOLUME_ENDINGS:
        return False
    header = nifti_header(path)
    if header.affine is None or len(header.shape) != 3:
        return False
    return arrangement_onto(header.affine, header.shape, case.file_affine, case.file_shape) is not None


def _read(kit: Kit, case: KitCase, path: Path) -> LabelMap:
    """Read labels on the grid of the files, in the order of our axes."""
    if ending(path) not in VOLUME_ENDINGS:
        raise ReadError(
            f"{path} is no NIfTI file. Save or export the corrected labels as NIfTI (.nii.gz); in 3D Slicer that "
            'is "Export to files" in the module Segmentations.'
        )
    grid = Image(
        np.broadcast_to(np.uint8(0), case.file_shape), case.file_affine, source=Source(f"{case.name}_image.nii.gz")
    )
    voxels, _ = read_label_volume(path, grid)
    return LabelMap(
        voxels=voxels,
        affine=case.file_affine,
        structures=kit.structures,
        source=Source(
            case_id=case.case_id, subject_id=case.subject_id, slices=(SliceSource(path),) * case.shape[0]
        ),
    )


def _on_own_grid(case: KitCase, labels: LabelMap) -> LabelMap:
    if case.factor > 1:
        return downsample_labels(labels, case.factor, affine=case.affine, as_shares=True)
    small = labels.voxels.astype(np.uint8) if labels.voxels.dtype != np.uint8 else labels.voxels
    return replace(labels, voxels=small, affine=case.affine)
