"""What files tell of an image, and what was drawn on it, as plain numbers that are compared one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from autoseg.image.geometry import slice_distance_mm
from autoseg.image.image import Image, LabelMap

# Of the pieces of a structure on a slice, those with a tenth of the largest one's pixels count.
PIECE = 0.1


@dataclass(frozen=True)
class ImageFacts:
    """What files tell of an image; None, or an empty text, where they do not.

    `pixel_mm` and `field_mm` are (rows, columns), `slice_mm` is the distance between slices, `normal` the direction
    across them in patient coordinates. The rest is as of `autoseg.image.image.Acquisition`.
    """

    pixel_mm: tuple[float, float] | None = None
    field_mm: tuple[float, float] | None = None
    slice_mm: float | None = None
    normal: tuple[float, float, float] | None = None
    modality: str = ""
    sequence: str = ""
    repetition_ms: float | None = None
    echo_ms: float | None = None
    contrast: bool | None = None


def facts_of(image: Image) -> ImageFacts:
    """Give what an image's files tell."""
    source, acquisition = image.source, image.source.acquisition
    told: dict[str, tuple[float, ...] | float] = {}
    if image.affine is not None:
        _, row_mm, column_mm = image.spacing_mm
        rows, columns = image.shape[1:]
        told["pixel_mm"] = (round(row_mm, 4), round(column_mm, 4))
        told["field_mm"] = (round(rows * row_mm, 1), round(columns * column_mm, 1))
        if source.slice_spacing_source != "none" and image.shape[0] > 1:
            told["slice_mm"] = round(slice_distance_mm(image.affine), 3)
        if source.is_placed and source.spacing_source == "header":
            across = np.cross(image.affine[:3, 2], image.affine[:3, 1])
            across = across / np.linalg.norm(across)
            told["normal"] = tuple(round(float(part), 2) for part in across)
    return ImageFacts(
        **told,  # type: ignore[arg-type]  # each as its field has it
        modality=source.modality,
        sequence=acquisition.sequence,
        repetition_ms=acquisition.repetition_ms,
        echo_ms=acquisition.echo_ms,
        contrast=acquisition.contrast,
    )


@dataclass(frozen=True)
class StructureFacts:
    """What was drawn of a structure on slices that show it: the least and the most of each.

    `area` is in mm², or where `in_mm` is False a share of the slice; `row` and `column` are where its middle lies
    from that of the slice, in mm or in parts of the slice; `pieces` are those in which it lies.
    """

    label: int
    in_mm: bool
    area: tuple[float, float]
    row: tuple[float, float]
    column: tuple[float, float]
    pieces: tuple[int, int]


@dataclass(frozen=True)
class Drawing:
    """A structure on one slice, as of `StructureFacts`."""

    area: float
    row: float
    column: float
    pieces: int


def drawings_of(label_map: LabelMap, label: int, *, in_mm: bool, most: int = 12) -> list[Drawing]:
    """Measure a structure on at most so many of the slices that show it."""
    mask = label_map.mask(label)
    slices = np.flatnonzero(mask.any(axis=(1, 2)))
    chosen = slices[np.unique(np.linspace(0, len(slices) - 1, min(most, len(slices))).astype(int))]
    sizes = np.array(label_map.shape[1:], dtype=np.float64)
    unit = np.array(label_map.spacing_mm[1:]) if in_mm else 1 / sizes
    pixel = label_map.pixel_mm2 if in_mm else 1 / float(sizes.prod())
    found = []
    for one in mask[chosen]:
        row, column = (np.argwhere(one).mean(0) - (sizes - 1) / 2) * unit
        found.append(Drawing(float(one.sum()) * pixel, float(row), float(column), _pieces(one)))
    return found


def _pieces(mask: npt.NDArray[np.bool_]) -> int:
    numbered, count = ndimage.label(mask, np.ones((3, 3)))
    sizes = np.bincount(numbered.ravel())[1:]
    return int((sizes >= PIECE * sizes.max()).sum()) if count else 0


def structure_facts(label: int, drawn: Sequence[Drawing], *, in_mm: bool) -> StructureFacts:
    """Give the least and the most of what was drawn."""

    def ends(numbers: Sequence[float]) -> tuple[float, float]:
        return float(f"{min(numbers):.4g}"), float(f"{max(numbers):.4g}")

    pieces = [one.pieces for one in drawn]
    return StructureFacts(
        label,
        in_mm,
        ends([one.area for one in drawn]),
        ends([one.row for one in drawn]),
        ends([one.column for one in drawn]),
        (min(pieces), max(pieces)),
    )
