"""What morphometry gives: a row a section, a profile a structure, and all of them."""

from __future__ import annotations

from dataclasses import dataclass

from autoseg.measurement.morphometry.curve import Curve

# Goes up whenever the same labels could give another number.
MORPHOMETRY_VERSION = 1


@dataclass(frozen=True)
class SectionRow:
    """One section of one structure: a row of the table, whose columns are these fields.

    A section is a slice of the image, or where `section_axis` is "row" or "column" a plane across those, numbered
    from 0 in the image's own order. `x_left_mm`, `y_back_mm`, `z_head_mm` is the centroid in patient coordinates,
    `arc_mm` the length of the structure's curve from its first section (the lowest, foremost or rightmost).

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

    Below nine pixels there are areas, but no shapes. `left_out_pixels` belong to other pieces of the structure.
    """

    case_id: str
    subject_id: str
    label: int
    name: str
    side: str
    along: str
    section_axis: str
    section_index: int
    level: str
    arc_mm: float
    x_left_mm: float
    y_back_mm: float
    z_head_mm: float
    pixel_count: int
    area_mm2: float
    obliquity_deg: float
    area_corrected_mm2: float
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


@dataclass(frozen=True, eq=False)
class Profile:
    """One structure of one image along its curve.

    `rows` are the sections that show it, from the lowest (foremost, rightmost) on; `curve` is given at every
    section between the first and the last, also at those that miss it, and `curve_places` says at which of them
    each row lies. `first_seen` and `last_seen` tell whether the image goes on beyond the structure's ends.
    """

    rows: tuple[SectionRow, ...]
    curve: Curve
    curve_places: tuple[int, ...]
    first_seen: bool
    last_seen: bool
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Morphometry:
    """The profiles of every structure of every image that could be measured, and sentences on the rest."""

    profiles: tuple[Profile, ...]
    notes: tuple[str, ...] = ()
