"""Read corrected labels back: on their image's own grid, with what was changed, by whom and when."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd

from autoseg.data.corrections.fine_grid import downsample_labels
from autoseg.data.corrections.kit import AS_WRITTEN, Kit, KitCase, read_kit
from autoseg.errors import DataError, LabelError, ReadError
from autoseg.files.atomic import settle
from autoseg.files.labels import read_label_volume
from autoseg.files.nifti.images import onto_grid
from autoseg.files.nifti.volumes import NiftiHeader, nifti_header
from autoseg.files.sources import VOLUME_ENDINGS, ending, name_without_ending
from autoseg.image.geometry import Affine, affine_from_spacing
from autoseg.image.image import Image, LabelMap, SliceSource, Source
from autoseg.words import say_slices

# --- what was changed between two label maps: slice by slice, structure by structure


@dataclass(frozen=True)
class Change:
    """What happened to one structure on one slice.

    `slice` counts from 1, as in annotated.csv. Areas are of the structure with what it includes; `added_mm2` was
    drawn, `removed_mm2` was taken away. `added_mm3` and `removed_mm3` are those areas times the distance between
    slices. Where the image has no millimetres all of these are NaN, and the areas are known in pixels alone.
    """

    case_id: str
    slice: int
    label: int
    name: str
    before_pixels: int
    after_pixels: int
    added_pixels: int
    removed_pixels: int
    before_mm2: float
    after_mm2: float
    added_mm2: float
    removed_mm2: float
    added_mm3: float
    removed_mm3: float


def find_changes(before: LabelMap, after: LabelMap) -> tuple[Change, ...]:
    """Give what was changed, slice by slice and structure by structure; nothing where nothing was."""
    if not after.same_grid(before):
        raise LabelError(f"{after!r} does not lie on the grid of {before!r}, so they cannot be compared.")
    pixel, voxel = _pixel_mm2(after), math.nan
    if after.affine is not None:
        voxel = float(abs(np.linalg.det(after.affine[:3, :3])))
    rows = []
    touched = np.flatnonzero((before.voxels != after.voxels).any(axis=(1, 2)))
    for structure in after.structures:
        was, now = before.mask(structure.label)[touched], after.mask(structure.label)[touched]
        for index, old, new in zip(touched.tolist(), was, now, strict=True):
            was_pixels, pixels = int(old.sum()), int(new.sum())
            added, removed = int((new & ~old).sum()), int((old & ~new).sum())
            if added or removed:
                rows.append(
                    Change(
                        case_id=after.source.case_id,
                        slice=index + 1,
                        label=structure.label,
                        name=structure.name,
                        before_pixels=was_pixels,
                        after_pixels=pixels,
                        added_pixels=added,
                        removed_pixels=removed,
                        before_mm2=was_pixels * pixel,
                        after_mm2=pixels * pixel,
                        added_mm2=added * pixel,
                        removed_mm2=removed * pixel,
                        added_mm3=added * voxel,
                        removed_mm3=removed * voxel,
                    )
                )
    return tuple(sorted(rows, key=lambda row: row.slice))


def _pixel_mm2(label_map: LabelMap) -> float:
    return math.nan if label_map.affine is None else label_map.pixel_mm2


def changed_slices(before: LabelMap, after: LabelMap) -> tuple[int, ...]:
    """Give the slices, from 0, on which any pixel has another label."""
    return tuple(np.flatnonzero((before.voxels != after.voxels).any(axis=(1, 2))).tolist())


def most_changed(changes: Sequence[Change]) -> int:
    """Give the slice, from 0, on which the largest area was drawn or taken away; 0 where nothing was."""
    areas: dict[int, int] = {}
    for change in changes:
        areas[change.slice - 1] = areas.get(change.slice - 1, 0) + change.added_pixels + change.removed_pixels
    return max(areas, key=lambda index: areas[index], default=0)


def changes_table(changes: Sequence[Change]) -> pd.DataFrame:
    """Give the changes as a table, one row a slice and structure; empty with its columns if there is none.

    Areas are in mm², without millimetres in pixels.
    """
    columns = [item.name for item in fields(Change)]
    return _in_one_unit(pd.DataFrame([asdict(change) for change in changes], columns=columns))


def _in_one_unit(table: pd.DataFrame) -> pd.DataFrame:
    """Leave out areas in pixels, or where no row has any in mm² those and volumes."""
    is_known = table.empty or bool(table["added_mm2"].notna().any())
    dropped = ("_pixels",) if is_known else ("_mm2", "_mm3")
    return table[[name for name in table.columns if not name.endswith(dropped)]]


def changes_by_structure(changes: Sequence[Change]) -> pd.DataFrame:
    """Give the changes structure by structure, in the unit of `changes_table`."""
    columns = ["case_id", "label", "name", "slices", "added_pixels", "removed_pixels"]
    columns += ["added_mm2", "removed_mm2", "added_mm3", "removed_mm3"]
    rows = []
    for case_id, label, name in dict.fromkeys((c.case_id, c.label, c.name) for c in changes):
        mine = [c for c in changes if (c.case_id, c.label) == (case_id, label)]
        sums = [sum(getattr(c, column) for c in mine) for column in columns[4:]]
        rows.append((case_id, label, name, len(mine), *sums))
    return _in_one_unit(pd.DataFrame(sorted(rows), columns=columns))


def compare_structures(before: LabelMap, after: LabelMap) -> pd.DataFrame:
    """Give what became of each structure: voxels, areas and overlap, before and after.

    Returns
    -------
    DataFrame
        A row a structure, in the order of `after`. Columns label, name, slices (how many were changed),
        voxels_before, voxels_after, voxels_added, voxels_removed, added_mm2, removed_mm2 (sums over the slices; NaN
        without millimetres), dice (of before and after: 1 where nothing was changed, NaN where it is in neither).
        Structures count with what they include.

    Raises
    ------
    LabelError
        As `find_changes` does.
    """
    changes = find_changes(before, after)
    pixel = _pixel_mm2(after)
    rows = []
    for structure in after.structures:
        was, now = before.mask(structure.label), after.mask(structure.label)
        old, new, shared = int(was.sum()), int(now.sum()), int((was & now).sum())
        slices = sum(change.label == structure.label for change in changes)
        dice = 2 * shared / (old + new) if old + new else float("nan")
        added, removed = new - shared, old - shared
        sums = (added * pixel, removed * pixel, dice)
        rows.append((structure.label, structure.name, slices, old, new, added, removed, *sums))
    columns = ["label", "name", "slices", "voxels_before", "voxels_after", "voxels_added", "voxels_removed"]
    return pd.DataFrame(rows, columns=[*columns, "added_mm2", "removed_mm2", "dice"])


def swapped_labels(before: LabelMap, after: LabelMap) -> dict[int, int]:
    """Give the values that seem to stand for another structure now: new value to the label that lay there before.

    Programs that count segments anew when they save give a structure another number. Found is a value whose voxels
    are nearly (nine tenths of both) those of another label before, and no longer those of its own.
    """
    found = {}
    known = [structure.label for structure in after.structures]
    sizes = {label: int((before.voxels == label).sum()) for label in known}
    for label in known:
        now = after.voxels == label
        count = int(now.sum())
        if not count:
            continue
        overlap = np.bincount(before.voxels[now].ravel(), minlength=256)
        for other in known:
            shared = int(overlap[other])
            if other != label and shared >= 0.9 * count and shared >= 0.9 * sizes[other]:
                found[label] = other
    return found


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
    settle(kit.folder)  # a stroke that was not saved whole is taken back first
    if not by.strip():
        raise ReadError("Say who corrected the labels (by): initials are enough.")
    case = _case_of(kit, file, case_id)
    path = kit.folder / case.labels_name if file is None else Path(file)
    before = read_kit_labels(kit, case, kit.folder / AS_WRITTEN / case.labels_name)
    after = read_kit_labels(kit, case, path)
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
    """
    return tuple(
        read_correction(folder, by=by, case_id=case.case_id, date=date, exchanged_on_purpose=exchanged_on_purpose)
        for case in read_kit(folder).cases
    )


def only_on(correction: Correction, slices: Sequence[int]) -> Correction:
    """Give a correction as if only these slices (from 0) had been corrected; the others are as they were before."""
    voxels = correction.before.voxels.copy()
    voxels[list(slices)] = correction.label_map.voxels[list(slices)]
    label_map = replace(correction.label_map, voxels=voxels, shares=None)
    return replace(
        correction,
        label_map=label_map,
        changes=find_changes(correction.before, label_map),
        changed_slices=changed_slices(correction.before, label_map),
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
    if len(header.shape) != 3:
        return False
    affine = _affine_of(case, header)
    if affine is None or header.affine is None:
        return affine is None and header.shape[::-1] == case.file_shape
    return onto_grid(header, affine, case.file_shape) is not None


def _affine_of(case: KitCase, header: NiftiHeader) -> Affine | None:
    """Give where a label file has to lie; programs that know no image without a place give it one of 1 mm."""
    return affine_from_spacing((1, 1, 1)) if case.file_affine is None and header.is_oriented else case.file_affine


def read_kit_labels(kit: Kit, case: KitCase, path: Path) -> LabelMap:
    """Read labels on the grid of the files, in the order of our axes."""
    if ending(path) not in VOLUME_ENDINGS:
        raise ReadError(
            f"{path} is no NIfTI file. Save or export the corrected labels as NIfTI (.nii.gz); in 3D Slicer that "
            'is "Export to files" in the module Segmentations.'
        )
    affine = _affine_of(case, nifti_header(path))
    grid = Image(np.broadcast_to(np.uint8(0), case.file_shape), affine, source=Source(f"{case.name}_image.nii.gz"))
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
        return replace(downsample_labels(labels, case.factor, as_shares=True), affine=case.affine)
    small = labels.voxels.astype(np.uint8) if labels.voxels.dtype != np.uint8 else labels.voxels
    return replace(labels, voxels=small, affine=case.affine)
