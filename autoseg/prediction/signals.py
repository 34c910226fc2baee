"""What tells, without a reference, how well a slice was segmented: how sure the answer is, and a second look."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from autoseg.image.image import LabelMap
from autoseg.image.structures import Structure, voxels_of
from autoseg.model.postprocess import StructurePostprocess, choose_classes, clean_labels
from autoseg.model.trust.quality import SIGNALS

TINY = 1e-6


class Signals:
    """Collects, some slices at a time, what tells of an image's labels how far to trust them."""

    def __init__(
        self,
        structures: Sequence[Structure],
        shape: tuple[int, int, int],
        post: Sequence[StructurePostprocess],
        pixel_area: float,
    ) -> None:
        self.structures, self.post, self.pixel_area = structures, post, pixel_area
        self.again = np.empty(shape, dtype=np.uint8)
        self.table = np.array([0, *(structure.label for structure in structures)], dtype=np.uint8)
        self.soft = np.zeros((shape[0], len(structures), 7))

    def add(
        self,
        chosen: slice,
        first: npt.NDArray[np.float32],
        second: npt.NDArray[np.float32],
        labels: npt.NDArray[np.uint8],
    ) -> None:
        """Take in the probabilities of both looks on some slices, and the labels that the first gave."""
        self.again[chosen] = self.table[choose_classes(second, self.post)]
        place = {structure.label: number for number, structure in enumerate(self.structures, start=1)}
        for column, structure in enumerate(self.structures):
            own = [place[label] for label in (structure.label, *structure.includes)]
            p, q = (one[:, own[0]] if len(own) == 1 else one[:, own].sum(1) for one in (first, second))
            inside = voxels_of(structure, labels)
            pp, qq, pq = (np.einsum("nrc,nrc->n", a, b) for a, b in ((p, p), (q, q), (p, q)))
            sums = p.sum((1, 2)), q.sum((1, 2)), np.einsum("nrc,nrc->n", p, inside)
            self.soft[chosen, column] = np.stack(
                [*sums, pp, 2 * pq / np.maximum(pp + qq, TINY), p.max((1, 2)), q.max((1, 2))], -1
            )

    def of(self, label_map: LabelMap) -> npt.NDArray[np.float32]:
        """Give the signals of the finished label map, (slices, structures, signals)."""
        again = clean_labels(
            LabelMap(self.again, label_map.affine, label_map.structures, source=label_map.source), self.post
        )
        found = np.empty((*self.soft.shape[:2], len(SIGNALS)), dtype=np.float32)
        for column, structure in enumerate(self.structures):
            mask, other = label_map.mask(structure.label), again.mask(structure.label)
            area, area_again = (_pixels(one).astype(float) for one in (mask, other))
            between = _dice(mask[1:], mask[:-1])
            total, total_again, inside, squares, soft, peak, peak_again = self.soft[:, column].T
            signals = {
                "area": area * self.pixel_area,
                "area_again": area_again * self.pixel_area,
                "sum": total * self.pixel_area,
                "sum_again": total_again * self.pixel_area,
                "agreement": _dice(mask, other),
                "soft_agreement": soft,
                "own_dice": 2 * inside / np.maximum(area + total, TINY),
                "spread": 1 - squares / np.maximum(total, TINY),
                "peak": peak,
                "peak_again": peak_again,
                "beside": _beside(between, between),
                "area_beside": _beside(area[:-1], area[1:]) * self.pixel_area,
            }
            found[:, column] = np.stack([signals[name] for name in SIGNALS], -1)
        return found


def _dice(one: npt.NDArray[np.bool_], other: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Give the Dice of two masks slice by slice, 1 where both are empty."""
    both, sizes = _pixels(one & other), _pixels(one) + _pixels(other)
    return np.where(sizes == 0, 1.0, 2 * both / np.maximum(sizes, 1))


def _pixels(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Count the pixels of a mask slice by slice, which is ten times as fast as a sum over its axes."""
    return np.array([np.count_nonzero(one) for one in mask], dtype=np.int64)


def _beside(before: npt.NDArray[np.float64], behind: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Give the mean of what is told of the slice before and of that behind; at the ends of the one; else NaN."""
    before, behind = np.append(np.nan, before), np.append(behind, np.nan)
    return np.where(np.isnan(before), behind, np.where(np.isnan(behind), before, 0.5 * (before + behind)))
