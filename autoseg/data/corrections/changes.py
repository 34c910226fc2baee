"""What was changed between two label maps: slice by slice, structure by structure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields

import numpy as np
import pandas as pd

from autoseg.errors import LabelError
from autoseg.image.image import LabelMap


@dataclass(frozen=True)
class Change:
    """What happened to one structure on one slice.

    `slice` counts from 1, as in annotated.csv. Areas are of the structure with what it includes; `added_mm2` was
    drawn, `removed_mm2` was taken away. `added_mm3` and `removed_mm3` are those areas times the distance between
    slices.
    """

    case_id: str
    slice: int
    label: int
    name: str
    before_mm2: float
    after_mm2: float
    added_mm2: float
    removed_mm2: float
    added_mm3: float
    removed_mm3: float


def find_changes(before: LabelMap, after: LabelMap) -> tuple[Change, ...]:
    """Give what was changed, slice by slice and structure by structure; nothing where nothing was.

    Raises
    ------
    LabelError
        If the two do not lie on the same grid.
    GeometryError
        If the pixel size is unknown.
    """
    if not after.same_grid(before):
        raise LabelError(f"{after!r} does not lie on the grid of {before!r}, so they cannot be compared.")
    pixel, voxel = after.pixel_mm2, float(abs(np.linalg.det(after.calibrated_affine[:3, :3])))
    rows = []
    touched = np.flatnonzero((before.voxels != after.voxels).any(axis=(1, 2)))
    for structure in after.structures:
        was, now = before.mask(structure.label)[touched], after.mask(structure.label)[touched]
        for index, old, new in zip(touched.tolist(), was, now, strict=True):
            added, removed = int((new & ~old).sum()), int((old & ~new).sum())
            if added or removed:
                rows.append(
                    Change(
                        case_id=after.source.case_id,
                        slice=index + 1,
                        label=structure.label,
                        name=structure.name,
                        before_mm2=int(old.sum()) * pixel,
                        after_mm2=int(new.sum()) * pixel,
                        added_mm2=added * pixel,
                        removed_mm2=removed * pixel,
                        added_mm3=added * voxel,
                        removed_mm3=removed * voxel,
                    )
                )
    return tuple(sorted(rows, key=lambda row: row.slice))


def changed_slices(before: LabelMap, after: LabelMap) -> tuple[int, ...]:
    """Give the slices, from 0, on which any pixel has another label."""
    return tuple(np.flatnonzero((before.voxels != after.voxels).any(axis=(1, 2))).tolist())


def most_changed(changes: Sequence[Change]) -> int:
    """Give the slice, from 0, on which the largest area was drawn or taken away; 0 where nothing was."""
    areas: dict[int, float] = {}
    for change in changes:
        areas[change.slice - 1] = areas.get(change.slice - 1, 0.0) + change.added_mm2 + change.removed_mm2
    return max(areas, key=lambda index: areas[index], default=0)


def changes_table(changes: Sequence[Change]) -> pd.DataFrame:
    """Give the changes as a table, one row a slice and structure; empty with its columns if there is none."""
    return pd.DataFrame([asdict(change) for change in changes], columns=[item.name for item in fields(Change)])


def changes_by_structure(changes: Sequence[Change]) -> pd.DataFrame:
    """Give the changes structure by structure.

    Returns
    -------
    DataFrame
        Columns case_id, label, name, slices (how many were changed), added_mm2, removed_mm2 (sums over the slices),
        added_mm3, removed_mm3; empty with these columns if nothing was changed.
    """
    columns = ["case_id", "label", "name", "slices", "added_mm2", "removed_mm2", "added_mm3", "removed_mm3"]
    rows = []
    for case_id, label, name in dict.fromkeys((c.case_id, c.label, c.name) for c in changes):
        mine = [c for c in changes if (c.case_id, c.label) == (case_id, label)]
        sums = [sum(getattr(c, column) for c in mine) for column in columns[4:]]
        rows.append((case_id, label, name, len(mine), *sums))
    return pd.DataFrame(sorted(rows), columns=columns)


def compare_structures(before: LabelMap, after: LabelMap) -> pd.DataFrame:
    """Give what became of each structure: voxels, areas and overlap, before and after.

    Returns
    -------
    DataFrame
        A row a structure, in the order of `after`. Columns label, name, slices (how many were changed),
        voxels_before, voxels_after, voxels_added, voxels_removed, added_mm2, removed_mm2 (sums over the slices),
        dice (of before and after: 1 where nothing was changed, NaN where it is in neither). Structures count with
        what they include.

    Raises
    ------
    LabelError, GeometryError
        As `find_changes` does.
    """
    changes = find_changes(before, after)
    pixel = after.pixel_mm2
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
