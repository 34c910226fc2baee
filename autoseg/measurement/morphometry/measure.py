"""Morphometry: the size and shape of a structure's sections, seen along its own curve."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from autoseg.errors import AutosegError, DataError
from autoseg.image.image import LabelMap
from autoseg.measurement.areas import FRAGMENT_SHARE, annotated_structures
from autoseg.measurement.morphometry.curve import FEWEST_SECTIONS, SMOOTHING_MM, Curve, smooth_curve
from autoseg.measurement.morphometry.sections import AXIS_NAMES, DIRECTIONS, Along, Sections, find_sections
from autoseg.measurement.morphometry.shapes import (
    FEWEST_PIXELS,
    NO_ELLIPSE,
    Ellipse,
    PixelShape,
    describe_pixels,
    fit_ellipse,
)
from autoseg.words import counted

# --- what morphometry gives: a row a section, a profile a structure, and all of them

CUT_OFF = "touches edge"
# Goes up whenever the same labels could give another number.
MORPHOMETRY_VERSION = 2


@dataclass(frozen=True)
class SectionRow:
    """One section of one structure: a row of the table, whose columns are these fields.

    A section is a slice of the image, or where `section_axis` is "row" or "column" a plane across those; `section`
    is its number from 1 (a slice's as everywhere), `section_index` its place in the voxels, which no table has.
    `x_left_mm`, `y_back_mm`, `z_head_mm` is the centroid in patient coordinates, `arc_mm` the length of the
    structure's curve from its first section (the lowest, foremost or rightmost).

    `area_mm2` is that of the pixels of the section; `obliquity_deg` the angle between the section's normal and the
    curve; `area_corrected_mm2` = `area_mm2` x cos(`obliquity_deg`), the area of the section across the curve.

    All shapes are those of the pixels projected along the curve onto the plane across it. The diameters are the
    axes of the ellipse with the same second moments (an axis is four standard deviations), each named after the
    patient's direction that it is nearer to, as the Spinal Cord Toolbox names them; that along which the structure
    runs is None. `eccentricity` is sqrt(1 - minor² / major²). `orientation_deg` is where the longer axis points:
    for a structure that runs superior-inferior the angle from the patient's left, positive towards the back; for
    anterior-posterior from the left towards the head; for right-left from the back towards the head. It lies above
    -90 and up to 90, and is None where the section is almost round. `solidity` is the pixels over those in their
    convex hull.

    Below nine pixels there are areas, but no shapes. Where a section `is_cut_off` by the edge of the image, its
    `area_mm2` is what is seen of it; there is no corrected area and no shape. `left_out_pixels` belong to other
    pieces of the structure.
    """

    case_id: str
    subject_id: str
    label: int
    name: str
    side: str
    along: str
    section_axis: str
    section: int
    section_index: int
    level: str
    arc_mm: float
    x_left_mm: float
    y_back_mm: float
    z_head_mm: float
    pixel_count: int
    area_mm2: float
    obliquity_deg: float
    area_corrected_mm2: float | None
    diameter_ap_mm: float | None
    diameter_rl_mm: float | None
    diameter_si_mm: float | None
    eccentricity: float | None
    orientation_deg: float | None
    solidity: float | None
    components: int
    holes: int
    left_out_pixels: int
    flags: str
    morphometry_version: int = MORPHOMETRY_VERSION

    @property
    def is_cut_off(self) -> bool:
        """Whether the image ends where the section may go on; `area_mm2` is then the least of its area."""
        return CUT_OFF in self.flags.split("; ")


@dataclass(frozen=True, eq=False)
class Profile:
    """One structure of one image along its curve.

    `rows` are the sections that show it, from the lowest (foremost, rightmost) on; `curve` is given at every
    section between the first and the last, also at those that miss it, and `curve_places` says at which of them
    each row lies. `first_seen` and `last_seen` tell whether the image goes on beyond the structure's ends;
    where it does not, the curve is at least so long (`is_length_cut_off`).
    """

    rows: tuple[SectionRow, ...]
    curve: Curve
    curve_places: tuple[int, ...]
    first_seen: bool
    last_seen: bool
    notes: tuple[str, ...] = ()

    @property
    def is_length_cut_off(self) -> bool:
        """Whether the structure may go on beyond the first or the last section."""
        return not (self.first_seen and self.last_seen)


@dataclass(frozen=True, eq=False)
class Morphometry:
    """The profiles of every structure of every image that could be measured, and sentences on the rest.

    `suitability` has the light of each image, by case_id, where a model drew the labels.
    """

    profiles: tuple[Profile, ...]
    notes: tuple[str, ...] = ()
    suitability: Mapping[str, str] = field(default_factory=dict)


STEEP_DEG = 45.0  # beyond, the section says little of the structure's true one
# The least that a section's centroid counts, however small it is beside the others.
LEAST_WEIGHT = 0.05

Vector = npt.NDArray[np.float64]


def measure_morphometry(
    label_maps: Sequence[LabelMap],
    *,
    along: Along = "auto",
    smoothing_mm: float = SMOOTHING_MM,
    suitability: Mapping[str, str] | None = None,
) -> Morphometry:
    """Measure every drawn structure of several images along its own curve.

    Parameters
    ----------
    label_maps : sequence of LabelMap
        Of a run: `[label_map for _, label_map in run.results]`.
    along, smoothing_mm : optional
        See `measure_profile`.
    suitability : mapping by case_id, optional
        The light of each image of a run ("red"), which the tables then have in a column.

    Returns
    -------
    Morphometry
        Profiles in the order of the images and of the labels; what could not be measured is a note.

    Raises
    ------
    DataError
        If nothing could be measured; the message says why.
    """
    profiles, notes, reasons = [], [], []
    for label_map in label_maps:
        for structure in annotated_structures(label_map):
            try:
                profile = measure_profile(label_map, structure.label, along=along, smoothing_mm=smoothing_mm)
            except AutosegError as error:
                reasons.append(error)
                continue
            profiles.append(profile)
            notes += [f"{label_map.source.case_id}: {note}" for note in profile.notes]
    if not profiles and reasons:
        if len({str(reason) for reason in reasons}) == 1:
            raise reasons[0]
        first = " ".join(dict.fromkeys(str(reason) for reason in reasons[:3]))
        raise DataError(f"No structure can be measured along its curve. {first}")
    if not profiles:
        raise DataError("There are no labels to measure. Give at least one label map with a drawn structure.")
    notes += _mixed_directions(profiles)
    said = tuple(dict.fromkeys([*map(str, reasons), *notes]))
    return Morphometry(tuple(profiles), said, dict(suitability or {}))


def measure_profile(
    label_map: LabelMap, label: int, *, along: Along = "auto", smoothing_mm: float = SMOOTHING_MM
) -> Profile:
    """Measure one structure section by section, corrected for the angle at which its curve is cut.

    The curve runs through the centroids of the sections (`curve.smooth_curve`). Each section's pixels are projected
    along the curve's tangent onto the plane across it. This is exact for any cylinder, however oblique the slices
    and whatever the pixels' shape, because a projection only changes where the pixels' steps point to; a bend
    within one section and a taper are second-order errors (below 1 % where the bend's radius is ten times the
    structure's). The structure is measured with what it includes.

    Holes are not filled: they are missing from the area, lower the solidity, and make the diameters a little
    larger. Several pieces on one section that hang together elsewhere are measured as one.

    Perimeters are not given: those counted on pixels are several percent too long, by an amount that depends on the
    orientation and the pixel size.

    Notes
    -----
    Diameters, eccentricity, orientation and solidity follow sct_process_segmentation of the Spinal Cord Toolbox
    (De Leener et al., NeuroImage 145:24, 2017; normal values by its means: Valošek et al., Imaging Neuroscience 2,
    2024, doi 10.1162/imag_a_00075), but are taken across the curve without resampling, orientation has a sign, and
    solidity is 1 for every convex section, also for a small one.
    """
    sections = find_sections(label_map, label, along=along)
    structure = next(s for s in label_map.structures if s.label == label)
    shapes = [describe_pixels(weights) if weights.any() else None for weights in sections.weights]
    shown = [place for place, shape in enumerate(shapes) if shape is not None]
    if len(shown) < FEWEST_SECTIONS:
        raise DataError(
            f"{label_map.source.name}: {structure.name} is seen on {counted(len(shown), 'section')}, and a curve "
            f"needs at least {FEWEST_SECTIONS}. Its areas are in the table slice by slice."
        )
    curve = course_of(sections, smoothing_mm)
    angles = obliquities_deg(sections, curve)
    source = label_map.source
    rows = []
    for place, shape in enumerate(shapes):
        if shape is None:
            continue
        index = sections.indices[place]
        angle = angles[place]
        area, ellipse = _across(sections, curve.tangents[place], shape)
        is_whole = not sections.touches_edge[place]
        ellipse = ellipse if is_whole else NO_ELLIPSE
        x, y, z = _centroid_mm(sections, place, shape)
        first, second = (name for name in DIRECTIONS if name != sections.along)
        diameters = {first: _known(ellipse.along_first_mm), second: _known(ellipse.along_second_mm)}
        rows.append(
            SectionRow(
                case_id=source.case_id,
                subject_id=source.subject_id,
                label=label,
                name=structure.name,
                side=structure.side,
                along=sections.along,
                section_axis=AXIS_NAMES[sections.axis],
                section=label_map.slice_number(index) if sections.axis == 0 else index + 1,
                section_index=index,
                level=source.slices[index].level if source.slices and sections.axis == 0 else "",
                arc_mm=float(curve.arc_mm[place]),
                x_left_mm=float(x),
                y_back_mm=float(y),
                z_head_mm=float(z),
                pixel_count=shape.pixel_count,
                area_mm2=area,
                obliquity_deg=angle,
                area_corrected_mm2=area * math.cos(math.radians(angle)) if is_whole else None,
                diameter_ap_mm=diameters.get("anterior-posterior"),
                diameter_rl_mm=diameters.get("right-left"),
                diameter_si_mm=diameters.get("superior-inferior"),
                eccentricity=_known(ellipse.eccentricity),
                orientation_deg=_known(ellipse.angle_deg),
                solidity=_known(shape.solidity) if is_whole else None,
                components=shape.components,
                holes=shape.holes,
                left_out_pixels=int(sections.left_out[place]),
                flags="; ".join(_flags(sections, place, shape, angle)),
            )
        )
    return Profile(tuple(rows), curve, tuple(shown), sections.first_seen, sections.last_seen, sections.notes)


def _mixed_directions(profiles: Sequence[Profile]) -> list[str]:
    """Say where one structure is cut across different directions on different images."""
    ways: dict[str, Counter[str]] = {}
    for profile in profiles:
        ways.setdefault(profile.rows[0].name, Counter())[profile.rows[0].along] += 1
    return [
        f"{name} is followed in different directions ({_ways(counts)}), which cannot be compared. Choose one of "
        "them for along."
        for name, counts in ways.items()
        if len(counts) > 1
    ]


def _ways(counts: Counter[str]) -> str:
    return ", ".join(f"{way}: {counted(number, 'image')}" for way, number in counts.items())


def course_of(sections: Sections, smoothing_mm: float = SMOOTHING_MM) -> Curve:
    """Lay the smooth curve through the centroids of the sections."""
    counts = sections.weights.sum(axis=(1, 2))
    rows, columns = (np.arange(size, dtype=np.float64) for size in sections.weights.shape[1:])
    of = np.maximum(counts, 1e-12)
    row = np.einsum("srk,r->s", sections.weights, rows) / of
    column = np.einsum("srk,k->s", sections.weights, columns) / of
    places = np.stack([np.arange(len(counts)), row, column, np.ones(len(counts))])
    return smooth_curve(
        (sections.affine @ places)[:3].T,
        sections.positions_mm,
        weights=_curve_weights(counts, sections.touches_edge),
        smoothing_mm=smoothing_mm,
    )


def obliquities_deg(sections: Sections, curve: Curve) -> list[float]:
    """Give the angle between the sections' normal and the curve at each of them."""
    squareness = np.minimum(1.0, np.abs(curve.tangents @ sections.normal))
    angles: list[float] = np.degrees(np.arccos(squareness)).tolist()
    return angles


def _centroid_mm(sections: Sections, place: int, shape: PixelShape) -> Vector:
    return np.asarray((sections.affine @ [place, *shape.centroid, 1.0])[:3], dtype=np.float64)


def _curve_weights(counts: Vector, touches_edge: npt.NDArray[np.bool_]) -> Vector:
    """Let small sections count less: the sliver where an oblique end is cut has its centroid aside.

    So has a section that is cut off by the edge of the image: it does not count, where enough others are whole.
    """
    whole = np.where(touches_edge, 0.0, counts)
    counts = whole if np.count_nonzero(whole) >= FEWEST_SECTIONS else counts
    usual = float(np.median(counts[counts > 0]))
    return np.where(counts > 0, np.clip(counts / usual, LEAST_WEIGHT, 1.0), 0.0)


def _across(sections: Sections, tangent: Vector, shape: PixelShape) -> tuple[float, Ellipse]:
    """Give a section's area in mm², and its ellipse in the plane across the curve."""
    steps = sections.affine[:3, 1:3]
    area = shape.weight * float(np.linalg.norm(np.cross(steps[:, 0], steps[:, 1])))
    if shape.pixel_count < FEWEST_PIXELS:
        return area, NO_ELLIPSE
    in_plane = plane_axes(sections.along, tangent) @ steps
    return area, fit_ellipse(in_plane @ shape.covariance @ in_plane.T)


def plane_axes(along: str, tangent: npt.ArrayLike) -> Vector:
    """Give the two unit axes, shape (2, 3), of the plane across a curve, nearest to the patient's own.

    The first is the patient's left (the back for a structure that runs right-left), the second is square to it,
    towards the back (the head for one that does not run superior-inferior).

    Examples
    --------
    >>> plane_axes("superior-inferior", [0.0, 0.0, 1.0]).tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    """
    direction = np.asarray(tangent, dtype=np.float64)
    runs = DIRECTIONS.index(along)
    first, second = (np.eye(3)[axis] for axis in range(3) if axis != runs)
    first = first - (first @ direction) * direction
    first = first / np.linalg.norm(first)
    across = np.cross(direction, first)
    return np.stack([first, across * (1.0 if across @ second >= 0 else -1.0)]) + 0.0


def _flags(sections: Sections, place: int, shape: PixelShape, angle: float) -> list[str]:
    last = len(sections.indices) - 1
    cut = (place == 0 and not sections.first_seen) or (place == last and not sections.last_seen)
    raised = {
        CUT_OFF: bool(sections.touches_edge[place]),
        "end of image": cut,
        "fragmented": shape.components > 1 and 1 - shape.largest_share > FRAGMENT_SHARE,
        "hole": shape.holes > 0,
        "few pixels": shape.pixel_count < FEWEST_PIXELS,
        "steep": angle > STEEP_DEG,
        "other pieces": bool(sections.left_out[place]),
    }
    return [flag for flag, is_raised in raised.items() if is_raised]


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
