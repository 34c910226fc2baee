"""Obliquity and corrected area beside the areas of slices, on tubes whose course is known."""

from dataclasses import replace

import numpy as np
import pytest
from cords import cylinder, grid, label_map, tilt

from autoseg.measurement.areas import measure_areas
from autoseg.measurement.morphometry import measure_profile
from autoseg.measurement.morphometry.obliquity import with_obliquity
from autoseg.report.area_tables import explain_area, measurements_table


def tube(degrees, *, half=(30, 10, 24), **source):
    affine, points = grid((3.0, 0.5, 0.5), half)
    return label_map(cylinder(points, tilt(degrees), (4.0, 4.0)), affine, **source)


@pytest.mark.parametrize("degrees", [0, 20, 40])
def test_a_leaning_tube_has_the_area_across_its_course_on_every_slice(degrees):
    drawn = tube(degrees)
    rows = with_obliquity(measure_areas(drawn), drawn)
    inner = rows[2:-2]
    assert [row.obliquity_deg for row in inner] == pytest.approx([degrees] * len(inner), abs=1.5)
    assert np.mean([row.area_mm2 for row in inner]) == pytest.approx(
        16 * np.pi / np.cos(np.radians(degrees)), rel=0.01
    )
    assert np.mean([row.area_corrected_mm2 for row in inner]) == pytest.approx(16 * np.pi, rel=0.01)
    # The same as along the curve, which has had it before.
    along = {row.section_index: row for row in measure_profile(drawn, 1).rows}
    assert [row.area_corrected_mm2 for row in rows] == pytest.approx(
        [along[row.slice_index].area_corrected_mm2 for row in rows]
    )
    assert {"obliquity_deg", "area_corrected_mm2"} <= set(measurements_table(rows))
    assert f"cut at {rows[8].obliquity_deg:.0f}° to its course, across which it has " in explain_area(rows[8])


def test_what_has_no_course_has_no_obliquity():
    affine, points = grid((3.0, 0.5, 0.5), (10, 10, 10))
    ball = label_map((points**2).sum(axis=0) <= 64, affine)
    lying = label_map(cylinder(points, (1, 0, 0.05), (2.0, 2.0)), affine)  # within the slices
    unspaced = tube(20, slice_spacing_source="none")
    for drawn in (ball, lying, unspaced, tube(0).one_slice(3)):
        rows = measure_areas(drawn)
        assert with_obliquity(rows, drawn) == rows
        assert "obliquity_deg" not in measurements_table(rows)


def test_what_is_cut_off_has_no_area_across():
    drawn = tube(0)
    rows = [replace(row, touches_edge=row.slice == 5) for row in measure_areas(drawn)]
    assert [row.slice for row in with_obliquity(rows, drawn) if row.area_corrected_mm2 is None] == [5]
