"""What the labels of all cases show, slice by slice: labels are small, so that no case need be left out."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from autoseg.data.cases import Case, read_case_labels
from autoseg.data.cases.read import file_stamp
from autoseg.errors import AutosegError
from autoseg.image.structures import Structure

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class LabelCounts:
    """The pixels of every label other than 0 that a case shows, one number a slice; `slice_pixels` of a slice."""

    pixels: Mapping[int, Counts]
    slices: int
    slice_pixels: int

    @property
    def labels(self) -> frozenset[int]:
        """The labels that occur."""
        return frozenset(self.pixels)

    def of(self, labels: Collection[int]) -> Counts:
        """Give the pixels of some labels together on each slice."""
        return sum((self.pixels[one] for one in labels if one in self.pixels), np.zeros(self.slices, np.int64))


def count_pixels(voxels: npt.NDArray[np.integer]) -> LabelCounts:
    """Count the pixels of every label on each slice of (slices, rows, columns)."""
    slices, size = len(voxels), 256
    flat = voxels.reshape(slices, -1)
    table = np.stack([np.bincount(one[(one > 0) & (one < size)], minlength=size) for one in flat]).astype(np.int64)
    return LabelCounts(
        {int(label): table[:, label] for label in np.flatnonzero(table.any(axis=0))}, slices, flat.shape[1]
    )


def count_labels(cases: Sequence[Case], structures: Sequence[Structure]) -> dict[str, LabelCounts]:
    """Count the labels of all cases, by case_id; one that cannot be read is left out, for its reader to tell.

    What was counted is kept as long as its files stay as they are.
    """
    found: dict[str, LabelCounts] = {}
    for case in cases:
        paths = (*(label.path for label in case.labels), *(image.path for image in case.images))
        try:
            found[case.case_id] = _counted(case, tuple(structures), file_stamp(*paths))
        except AutosegError:
            continue
    return found


@lru_cache(maxsize=2**14)
def _counted(case: Case, structures: tuple[Structure, ...], stamp: tuple[int, int]) -> LabelCounts:
    return count_pixels(read_case_labels(case, structures))
