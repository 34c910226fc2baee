"""The sections of a structure: which planes of the grid cut it across, and which of its voxels are measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from autoseg.errors import DataError, GeometryError, SettingsError
from autoseg.image.geometry import Affine, nearest_axes
from autoseg.image.image import LabelMap
from autoseg.measurement.areas import FRAGMENT_SHARE

Along = Literal["auto", "slices", "superior-inferior", "anterior-posterior", "right-left"]

AXIS_NAMES = ("slice", "row", "column")
# By patient axis: x to the left, y to the back, z to the head.
DIRECTIONS: tuple[Along, ...] = ("right-left", "anterior-posterior", "superior-inferior")
# A structure this many times longer than wide is cut across its length, whatever the slices' plane.
ELONGATED = 3.0


@dataclass(frozen=True, eq=False)
class Sections:
    """The voxels of one structure, cut to its box, ordered so that the sections run to the head, back or left.

    `weights` has shape (sections, rows, columns): each voxel's share, 0 to 1. `affine` takes (section, row, column)
    of this box to mm. `axis` is the image's own axis that counts the sections (0 its slices), `indices` are their
    numbers on it, `along` the patient's direction nearest to them. `left_out` counts the pixels of other pieces on
    each section. `first_seen`, `last_seen` tell whether the image goes on beyond the structure there, so that its
    end is seen; `touches_edge` whether a section reaches the border of the image. `notes` are sentences.
    """

    weights: npt.NDArray[np.float64]
    affine: Affine
    axis: int
    indices: tuple[int, ...]
    along: Along
    left_out: npt.NDArray[np.int64]
    touches_edge: npt.NDArray[np.bool_]
    first_seen: bool
    last_seen: bool
    notes: tuple[str, ...]

    @property
    def normal(self) -> npt.NDArray[np.float64]:
        """The unit normal of the sections, turned the way they are counted."""
        normal = np.cross(self.affine[:3, 1], self.affine[:3, 2])
        normal = normal / np.linalg.norm(normal)
        return np.asarray(normal * np.sign(normal @ self.affine[:3, 0]), dtype=np.float64)

    @property
    def positions_mm(self) -> npt.NDArray[np.float64]:
        """Distance of each section from the first along the normal."""
        return np.asarray(np.arange(len(self.indices)) * float(self.normal @ self.affine[:3, 0]))


def find_sections(label_map: LabelMap, label: int, *, along: Along = "auto") -> Sections:
    """Find the planes that cut a structure across, and its voxels on them.

    The sections are planes of the voxel grid itself, so nothing is interpolated: the image's slices, or, where the
    structure runs within the slices (the cord on sagittal ones), the planes across its rows or columns. On those
    a pixel is as wide as the slices are apart; thick sagittal slices show the width of a cord coarsely.

    With "auto" a structure at least three times longer than wide is cut across its length, any other along the
    image's slices.

    The largest body of touching voxels is measured (corners count as touching), and with it every other that lies
    on sections where nothing of those was, if it holds at least a tenth of the largest: the cord below a gap in
    the labels. What lies beside is left out, counted in `left_out`, and told in `notes`.
    """
    name = _check(label_map, label, along)
    affine = label_map.calibrated_affine
    mask = label_map.mask(label)
    if not mask.any():
        raise DataError(f"{label_map.source.name}: {name} is on no slice, so there is nothing to measure.")
    soft = _soft(label_map, label)
    whole = _box(mask if soft is None else mask | (soft > 0))
    mask, soft = mask[whole], None if soft is None else soft[whole]
    (axis, kept), notes = _choose_axis_and_body(mask, affine, along, name)
    shares = _shares(soft, kept)
    order = (axis, *(other for other in range(3) if other != axis))
    shares, mask, kept = shares.transpose(order), mask.transpose(order), kept.transpose(order)
    inner = _box(shares > 0)
    starts = [whole[number].start + side.start for number, side in zip(order, inner, strict=True)]
    turned = affine[:, [*order, 3]]
    turned = np.column_stack([turned[:, :3], turned @ [*starts, 1.0]])
    weights, left_out = shares[inner], np.count_nonzero((mask & ~kept)[inner[0]], axis=(1, 2))
    indices = list(range(starts[0], starts[0] + len(weights)))
    sizes = [label_map.shape[number] for number in order]
    seen = [indices[0] > 0, indices[-1] < sizes[0] - 1]
    patient_axis = nearest_axes(affine)[axis]
    edge = np.zeros(len(weights), dtype=bool)
    for side in (1, 2):
        for place, at_border in ((0, starts[side] == 0), (-1, starts[side] + weights.shape[side] == sizes[side])):
            edge |= at_border & np.any(weights.take(place, axis=side) >= 0.5, axis=1)
    if turned[patient_axis, 0] < 0:
        turned = np.column_stack([-turned[:, 0], turned[:, 1:3], turned[:, 3] + (len(indices) - 1) * turned[:, 0]])
        weights, left_out, edge = weights[::-1], left_out[::-1], edge[::-1]
        indices, seen = indices[::-1], seen[::-1]
    return Sections(
        weights=weights,
        affine=turned,
        axis=axis,
        indices=tuple(indices),
        along=DIRECTIONS[patient_axis],
        left_out=left_out,
        touches_edge=edge,
        first_seen=seen[0],
        last_seen=seen[1],
        notes=notes,
    )


def _check(label_map: LabelMap, label: int, along: str) -> str:
    """Refuse what cannot be measured; give the structure's name."""
    source = label_map.source
    if along not in get_args(Along):
        raise SettingsError(f"along is {along!r}; choose one of {', '.join(get_args(Along))}.")
    name = next((s.name for s in label_map.structures if s.label == label), None)
    if name is None or not label_map.is_annotated(label):
        raise DataError(f"{source.name}: {name or f'label {label}'} was not drawn on this image.")
    _ = label_map.calibrated_affine  # refuses an image without millimetres, with the remedy
    if label_map.shape[0] == 1:
        raise DataError(
            f"{source.name} is one slice. A curve through a structure needs several; give the whole series."
        )
    if source.slice_spacing_source == "none":
        raise GeometryError(
            f"{source.name}: the distance between its slices is unknown, so nothing can be measured along "
            f"{name}. Give the DICOM series or a NIfTI file, whose headers tell it; areas slice by slice need none."
        )
    return name


def _choose_axis_and_body(
    mask: npt.NDArray[np.bool_], affine: Affine, along: Along, name: str
) -> tuple[tuple[int, npt.NDArray[np.bool_]], tuple[str, ...]]:
    """Give the axis that counts the sections and the voxels to measure, with sentences on both."""
    pieces, count = ndimage.label(mask, structure=np.ones((3, 3, 3)))
    sizes = np.bincount(pieces.ravel())[1:]
    largest = pieces == int(np.argmax(sizes)) + 1
    notes = []
    if along == "slices":
        axis = 0
    elif along == "auto":
        axis = long_axis(largest, affine) or 0
    else:
        axis = nearest_axes(affine).index(DIRECTIONS.index(along))
    if axis:
        notes.append(
            f"{name} runs within the slices, so it is cut across their {AXIS_NAMES[axis]}s; a pixel of such a "
            "section is as wide as the slices are apart."
        )
    kept, taken = largest.copy(), _present(largest, axis)
    spans = ndimage.find_objects(pieces)
    for number in np.argsort(sizes)[::-1][1:]:
        if sizes[number] < FRAGMENT_SHARE * sizes.max():
            break
        span = spans[number][axis]
        if not taken[span].any():
            kept |= pieces == number + 1
            taken[span] = True
    left_out = int(mask.sum() - kept.sum())
    if left_out:
        share = 100 * left_out / int(mask.sum())
        others = int(count) - len(np.unique(pieces[kept]))
        notes.append(
            f"{name} lies in {count} pieces. {others} beside the main one, with {share:.2g} % of its voxels, left "
            "out here (the areas slice by slice count them)."
        )
    return (axis, kept), tuple(notes)


def _present(body: npt.NDArray[np.bool_], axis: int) -> npt.NDArray[np.bool_]:
    return np.asarray(body.any(axis=tuple(other for other in range(3) if other != axis)))


def long_axis(body: npt.NDArray[np.bool_], affine: Affine) -> int | None:
    """Give the grid's axis whose planes cut an elongated body most squarely; None for one that is not elongated."""
    places = np.argwhere(body).astype(np.float64)
    if len(places) < 4:
        return None
    points = places @ affine[:3, :3].T
    values, vectors = np.linalg.eigh(np.cov(points.T))
    if values[2] < ELONGATED**2 * values[1]:
        return None
    steps = affine[:3, :3]
    normals = [np.cross(steps[:, (axis + 1) % 3], steps[:, (axis + 2) % 3]) for axis in range(3)]
    squareness = [abs(float(vectors[:, 2] @ normal)) / np.linalg.norm(normal) for normal in normals]
    return int(np.argmax(np.round(squareness, 3)))


def _box(mask: npt.NDArray[np.bool_]) -> tuple[slice, slice, slice]:
    """Give the smallest box around a mask; work inside it spares the memory of a large image."""
    spans = [np.flatnonzero(_present(mask, axis)) for axis in range(3)]
    first, second, third = (slice(int(span[0]), int(span[-1]) + 1) for span in spans)
    return first, second, third


def _soft(label_map: LabelMap, label: int) -> npt.NDArray[np.float64] | None:
    """Give the raters' shares of a structure and of what it includes, or None."""
    if label_map.shares is None:
        return None
    inner = next(s.includes for s in label_map.structures if s.label == label)
    numbers = [place for place, s in enumerate(label_map.structures) if s.label in (label, *inner)]
    return np.clip(label_map.shares[numbers].sum(axis=0, dtype=np.float64), 0.0, 1.0)


def _shares(soft: npt.NDArray[np.float64] | None, kept: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Give each voxel's share: 0 or 1, or where several raters drew theirs, without the pieces left out."""
    if soft is None:
        return kept.astype(np.float64)
    parts, _ = ndimage.label(soft > 0, structure=np.ones((3, 3, 3)))
    wanted = np.unique(parts[kept])
    return np.where(np.isin(parts, wanted[wanted > 0]), soft, 0.0)
