"""Areas: labelled pixels on the image's own grid times the area of one pixel; in pixels where nobody knows that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from autoseg.errors import LabelError
from autoseg.image.geometry import slice_distance_mm
from autoseg.image.image import Image, LabelMap
from autoseg.image.structures import Structure, side_pairs
from autoseg.measurement.scores import touches_edge

# Goes up whenever the same label map could give another number or flag.
MEASUREMENT_VERSION = 2

FRAGMENT_SHARE = 0.1  # of the structure's pixels on the slice
JUMP_FACTOR = 2.0
SIDE_FACTOR = 3.0
MM2, PIXELS = "mm²", "pixels"
# The flags of which a structure's own pixels on the slice tell; the others need other slices or structures.
OF_ONE_MASK = ("touches edge", "fragmented")
# The lights of images, from the best to the worst; one that nobody compared may be worse than green.
FROM_BEST = ("green", "", "amber", "red")


@dataclass(frozen=True)
class Usual:
    """What is usual of one structure, so that a flag says something rare.

    At most so many `pieces` on a slice (`count_pieces`), and so many times the `jump` from the slices beside it and
    from the other `side`. `always`: an image shows it on some slice.
    """

    pieces: int = 1
    jump: float = JUMP_FACTOR
    side: float = SIDE_FACTOR
    always: bool = False


@dataclass(frozen=True)
class Measurement:
    """One structure on one slice: a row of the tidy table, whose columns are these fields but for `slice_index`.

    `slice` is the slice's number for people, from 1 (`Image.slice_number`), and `file` the name of its file;
    `slice_index` is its place in the image's voxels, from 0. Positions run along the slice normal towards the head,
    the back or the left and are None where the distance between slices is unknown. `pixel_row_mm` is the distance
    between rows, `pixel_column_mm` between columns; they and `area_mm2` are None where the size of a pixel is
    unknown: `area` is then in pixels, as `unit` says. `mean_intensity` is None without an image or without a pixel.
    `flags` are joined by "; ". `level` is the slice's, where levels are known. A structure that includes others
    (`Structure.includes`) is measured with them. Where it `touches_edge` the image ends and the structure may go on
    (`is_cut_off`): all numbers are of what is seen, and its area is at least so large.

    What follows is known of predictions only. `suitability` says whether the image is like those that the model
    learnt from: "green", "amber" or "red". `expected_dice` is how well the structure is likely to be found here,
    and `expected_error_percent` by how much its area is likely to be off (half of such areas are off by less), None
    where it was not found. With the probability `interval_level` the true area lies between `area_low_mm2` and
    `area_high_mm2`, in pixels between `pixel_count_low` and `pixel_count_high`; `interval_basis` is what that rests
    on, the value of an `autoseg.measurement.intervals.Basis`.

    `obliquity_deg` is the angle between the slice's normal and the course of an elongated structure, and
    `area_corrected_mm2` = `area_mm2` x cos(`obliquity_deg`) its area across that
    (`autoseg.measurement.morphometry.obliquity`): None of others, the area also of one that is cut off.
    """

    case_id: str
    subject_id: str
    series_uid: str
    sop_uid: str
    slice: int
    file: str
    slice_index: int
    slice_position_mm: float | None
    slice_spacing_mm: float | None
    label: int
    name: str
    side: str
    pixel_count: int
    pixel_row_mm: float | None
    pixel_column_mm: float | None
    spacing_source: str
    area_mm2: float | None
    mean_intensity: float | None
    components: int
    touches_edge: bool
    flags: str
    model: str
    level: str = ""
    measurement_version: int = MEASUREMENT_VERSION
    suitability: str = ""
    expected_dice: float | None = None
    expected_error_percent: float | None = None
    area_low_mm2: float | None = None
    area_high_mm2: float | None = None
    pixel_count_low: float | None = None
    pixel_count_high: float | None = None
    interval_level: float | None = None
    interval_basis: str = ""
    obliquity_deg: float | None = None
    area_corrected_mm2: float | None = None

    @property
    def is_cut_off(self) -> bool:
        """Whether the image ends where the structure may go on; such an area counts in no mean or comparison."""
        return self.touches_edge

    @property
    def unit(self) -> str:
        """What `area` is in: "mm²", or "pixels" where the size of a pixel is unknown."""
        return PIXELS if self.area_mm2 is None else MM2

    @property
    def area(self) -> float:
        """The area in `unit`, of a structure that is cut off what is seen; two units are never put together."""
        return float(self.pixel_count) if self.area_mm2 is None else self.area_mm2

    @property
    def interval(self) -> tuple[float, float] | None:
        """Where the true area lies, in `unit`; None where nobody knows."""
        in_pixels = self.area_mm2 is None
        low, high = (
            (self.pixel_count_low, self.pixel_count_high) if in_pixels else (self.area_low_mm2, self.area_high_mm2)
        )
        return None if low is None or high is None else (low, high)

    @property
    def column(self) -> str:
        """The structure's column in wide tables, which names the unit."""
        return f"{self.name} {self.unit}"


def worst_light(lights: Iterable[str]) -> str:
    """Give the worst of several lights; "" where none is known, or one that is not known may be the worst.

    Examples
    --------
    >>> [worst_light(some) for some in (["red", ""], ["green", ""], ["green", "amber"], [])]
    ['red', '', 'amber', '']
    """
    return max(lights, key=FROM_BEST.index, default="")


def measure_areas(
    label_map: LabelMap,
    *,
    image: Image | None = None,
    model: str = "",
    usual: Mapping[int, Usual] | None = None,
) -> list[Measurement]:
    """Measure the cross-sectional area of every annotated structure on every slice.

    The area is the number of labelled pixels times the area of one pixel, on the slices as they were
    acquired. A slice that cuts a limb obliquely gives an oblique, and therefore larger, section. Where the size of
    a pixel is unknown, areas are in pixels (`Measurement.unit`).

    Nothing is left out on suspicion; what deserves a look carries a flag:

    - *touches edge*: a labelled pixel lies on the border of the image, so the structure may be cut off;
    - *fragmented*: a second component (pixels that touch, corners included) holds more than 10 % of it;
    - *missing between slices*: no pixel here, but some on slices before and behind;
    - *jump*: more than 2 times larger, or smaller, than both nearest slices that show the structure;
    - *side differs*: less than a third of its left or right counterpart on the same slice.

    Of what a model drew, `usual` tells what its labels had of each structure: they lie in more pieces, jump or
    differ from side to side by more before that is flagged. It adds

    - *other side*: more than three times its counterpart, which may be what is too small;
    - *absent*: on no slice of the image, though the labels show it on every image.

    Parameters
    ----------
    label_map : LabelMap
        Structures on a grid, shape (slices, rows, columns); one stack, one time point.
    image : Image, optional
        The image on the same grid, for `mean_intensity` (of its first channel).
    model : str
        Name of the model that drew the labels; repeated in every row.
    usual : mapping of Usual by label, optional
        What is usual of each structure in the labels from which the model learnt.

    Returns
    -------
    list of Measurement
        One row per slice and annotated structure, ordered by slice position and then by label. A structure
        absent from a slice has area 0 rather than no row; one that was not drawn at all has no rows.

    Raises
    ------
    LabelError
        If the image lies on another grid.

    Examples
    --------
    Two pixels of 0.5 mm x 0.5 mm cover half a square millimetre:

    >>> from autoseg.image.geometry import affine_from_spacing
    >>> thigh = LabelMap(
    ...     voxels=np.array([[[1, 1], [0, 0]]]),
    ...     affine=affine_from_spacing((3.0, 0.5, 0.5)),
    ...     structures=(Structure(1, "vastus lateralis"),),
    ... )
    >>> [row.area_mm2 for row in measure_areas(thigh)]
    [0.5]
    """
    if image is not None and not label_map.same_grid(image):
        raise LabelError(
            f"{image.source.name}: the image {image!r} and the labels {label_map!r} lie on different grids. "
            "Measure each label map with the image that it was drawn on."
        )
    source = label_map.source
    structures = annotated_structures(label_map)
    affine = label_map.affine
    positions = np.arange(label_map.shape[0]) if affine is None else label_map.slice_positions_mm
    order = np.argsort(positions, kind="stable")
    masks = [label_map.mask(s.label) for s in structures]
    limits = [(usual or {}).get(s.label, Usual()) for s in structures]
    shapes = [
        [_describe(mask[index], limit.pieces) for mask, limit in zip(masks, limits, strict=True)] for index in order
    ]
    counts = np.array([[shape.pixel_count for shape in row] for row in shapes]).reshape(len(order), -1)
    stack_flags = _flag_along_stack(counts, structures, limits, is_learnt=usual is not None)
    between = None if affine is None or source.slice_spacing_source == "none" else slice_distance_mm(affine)
    known = label_map.known_positions_mm
    _, row_mm, column_mm = (None, None, None) if affine is None else label_map.spacing_mm
    pixel_mm2 = None if affine is None else label_map.pixel_mm2
    rows = []
    for place, index in enumerate(order):
        for column, structure in enumerate(structures):
            shape = shapes[place][column]
            rows.append(
                Measurement(
                    case_id=source.case_id,
                    subject_id=source.subject_id,
                    series_uid=source.series_uid,
                    sop_uid=source.slices[index].sop_uid if source.slices else "",
                    slice=label_map.slice_number(int(index)),
                    file=source.slices[index].path.name if source.slices else "",
                    slice_index=int(index),
                    slice_position_mm=None if known is None else float(known[index]),
                    slice_spacing_mm=between,
                    label=structure.label,
                    name=structure.name,
                    side=structure.side,
                    pixel_count=shape.pixel_count,
                    pixel_row_mm=row_mm,
                    pixel_column_mm=column_mm,
                    spacing_source=source.spacing_source,
                    area_mm2=None if pixel_mm2 is None else shape.pixel_count * pixel_mm2,
                    mean_intensity=_mean_intensity(image, masks[column], index),
                    components=shape.components,
                    touches_edge=shape.touches_edge,
                    flags="; ".join(shape.flags + stack_flags[place][column]),
                    model=model,
                    level=source.slices[index].level if source.slices else "",
                )
            )
    return rows


def annotated_structures(label_map: LabelMap) -> tuple[Structure, ...]:
    """Give the structures that were drawn on this label map, by rising label."""
    drawn = [s for s in label_map.structures if label_map.is_annotated(s.label)]
    return tuple(sorted(drawn, key=lambda s: s.label))


@dataclass(frozen=True)
class _Shape:
    """What one mask on one slice looks like."""

    pixel_count: int
    components: int
    touches_edge: bool
    flags: tuple[str, ...]


def count_pieces(mask: npt.NDArray[np.bool_]) -> int:
    """Count the pieces (corners touch) of a mask (rows, columns) that hold more than a tenth of its largest."""
    parts, _ = ndimage.label(mask, structure=np.ones((3, 3)))
    sizes = np.bincount(parts.ravel())[1:]
    return int(np.count_nonzero(sizes > FRAGMENT_SHARE * sizes.max(initial=0)))


def _describe(mask: npt.NDArray[np.bool_], usual_pieces: int = 1) -> _Shape:
    count = int(np.count_nonzero(mask))
    if count == 0:
        return _Shape(0, 0, False, ())
    parts, components = ndimage.label(mask, structure=np.ones((3, 3)))
    sizes = np.sort(np.bincount(parts.ravel())[1:])
    edge = touches_edge(mask)
    fragmented = components > 1 and sizes[-2] > FRAGMENT_SHARE * count
    fragmented = fragmented and (usual_pieces == 1 or count_pieces(mask) > usual_pieces)
    flags = zip(OF_ONE_MASK, (edge, fragmented), strict=True)
    return _Shape(count, int(components), edge, tuple(flag for flag, raised in flags if raised))


def jumps_along(counts: npt.NDArray[np.integer]) -> list[float]:
    """Give how many times larger, or smaller, than both nearest slices that show the structure each slice is.

    `counts` are pixels (slices,); slices without the structure, or without one that shows it on either side, have
    no value. 1: between the two.

    Examples
    --------
    >>> jumps_along(np.array([10, 30, 0, 12, 3, 4]))
    [2.5, 1.0, 1.3333333333333333]
    """
    shown = counts[counts > 0].astype(np.float64)
    before, here, behind = shown[:-2], shown[1:-1], shown[2:]
    larger, smaller = here / np.maximum(before, behind), np.minimum(before, behind) / here
    found: list[float] = np.maximum(1.0, np.maximum(larger, smaller)).tolist()
    return found


def flags_along_stack(rows: Sequence[Measurement], structures: Sequence[Structure]) -> list[tuple[str, ...]]:
    """Give for each row the flags that need other slices or structures, by the pixels that rows tell.

    Parameters
    ----------
    rows : sequence of Measurement
        All of one image, in the order of `measure_areas`.
    structures : sequence of Structure
        Those that have rows, by rising label.

    Examples
    --------
    >>> drawn = np.zeros((3, 1, 9), np.uint8)
    >>> drawn[0, :, :1], drawn[1, :, :5], drawn[2, :, :2] = 1, 1, 1
    >>> flags_along_stack(measure_areas(LabelMap(drawn, structures=(one := Structure(1, "disc"),))), [one])
    [(), ('jump',), ()]
    """
    counts = np.array([row.pixel_count for row in rows]).reshape(-1, len(structures))
    found = _flag_along_stack(counts, structures, [Usual()] * len(structures), is_learnt=False)
    return [flags for of_slice in found for flags in of_slice]


def _flag_along_stack(
    counts: npt.NDArray[np.integer], structures: Sequence[Structure], limits: Sequence[Usual], *, is_learnt: bool
) -> list[list[tuple[str, ...]]]:
    """Give the flags that need other slices or structures; counts has shape (slices, structures)."""
    flags: list[list[tuple[str, ...]]] = [[() for _ in structures] for _ in counts]
    for column, limit in enumerate(limits):
        present = np.flatnonzero(counts[:, column])
        for place in np.flatnonzero(counts[:, column] == 0).tolist():
            if len(present) and present[0] < place < present[-1]:
                flags[place][column] += ("missing between slices",)
        for place, jump in zip(present[1:-1].tolist(), jumps_along(counts[:, column]), strict=True):
            flags[place][column] += ("jump",) if jump > limit.jump else ()
        if limit.always and not len(present):
            for row in flags:
                row[column] += ("absent",)
    columns = {structure.label: column for column, structure in enumerate(structures)}
    for pair in side_pairs(structures):
        for mine, other in (pair, pair[::-1]):
            column, beside = columns[mine], columns[other]
            smaller = limits[column].side * counts[:, column] < counts[:, beside]
            for place in np.flatnonzero(smaller).tolist():
                flags[place][column] += ("side differs",)
                flags[place][beside] += ("other side",) if is_learnt else ()
    return flags


def _mean_intensity(image: Image | None, mask: npt.NDArray[np.bool_], index: int) -> float | None:
    if image is None:
        return None
    inside = image.channel_voxels[0, index][mask[index]]
    return float(inside.mean(dtype=np.float64)) if inside.size else None
