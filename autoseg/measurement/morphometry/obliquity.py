"""How obliquely each slice cuts an elongated structure, and its area across its course, beside those of slices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from autoseg.errors import AutosegError
from autoseg.image.image import LabelMap
from autoseg.measurement.areas import Measurement
from autoseg.measurement.morphometry.curve import FEWEST_SECTIONS
from autoseg.measurement.morphometry.measure import course_of, obliquities_deg
from autoseg.measurement.morphometry.sections import find_sections, long_axis


def with_obliquity(rows: Sequence[Measurement], label_map: LabelMap) -> list[Measurement]:
    """Give one image's measurements with `obliquity_deg` and `area_corrected_mm2` where a structure has a course.

    That is one at least three times longer than wide, which runs across the slices and is on three or more of them
    at known distances; others are given as they are.

    Examples
    --------
    A thin leaning rod moves 1 mm aside from one slice to the next, 2 mm apart: it is cut at 27 degrees.

    >>> import numpy as np
    >>> from autoseg.image.geometry import affine_from_spacing
    >>> from autoseg.image.image import Source
    >>> from autoseg.image.structures import Structure
    >>> from autoseg.measurement.areas import measure_areas
    >>> voxels = np.zeros((12, 5, 16), np.uint8)
    >>> for n in range(12):
    ...     voxels[n, 2, n + 1 : n + 3] = 1
    >>> known = Source(spacing_source="header", slice_spacing_source="header")
    >>> rod = LabelMap(voxels, affine_from_spacing((2.0, 1.0, 1.0)), (Structure(1, "rod"),), source=known)
    >>> row = with_obliquity(measure_areas(rod), rod)[5]
    >>> row.area_mm2, round(row.obliquity_deg), round(row.area_corrected_mm2, 2)
    (2.0, 27, 1.79)
    """
    angles = {label: slice_obliquity_deg(label_map, label) for label in {row.label for row in rows}}
    return [
        row if (angle := angles[row.label].get(row.slice_index)) is None else cut_at(row, angle) for row in rows
    ]


def cut_at(row: Measurement, angle_deg: float) -> Measurement:
    """Give a row with the angle at which its slice cuts the structure, and its area across."""
    return replace(row, obliquity_deg=angle_deg, area_corrected_mm2=_across(row, angle_deg))


def slice_obliquity_deg(label_map: LabelMap, label: int) -> dict[int, float]:
    """Give the angle between each slice's normal and the structure's course, by `slice_index`; empty without one.

    Slices that cut the structure off at the edge of the image do not lead the course, as in `measure_profile`.
    """
    try:
        sections = find_sections(label_map, label, along="slices")
    except AutosegError:  # one slice, no millimetres, or nothing drawn: then there is no course
        return {}
    shown = [bool(one.any()) for one in sections.weights]
    if sum(shown) < FEWEST_SECTIONS or long_axis(sections.weights >= 0.5, sections.affine) != 0:
        return {}
    angles = obliquities_deg(sections, course_of(sections))
    return {
        index: angle for index, angle, is_shown in zip(sections.indices, angles, shown, strict=True) if is_shown
    }


def _across(row: Measurement, angle_deg: float) -> float | None:
    if row.area_mm2 is None or row.is_cut_off or not row.pixel_count:
        return None
    return row.area_mm2 * math.cos(math.radians(angle_deg))
