"""Tubes of known size, measured along their own curve: cut obliquely, on any grid, bent, tapering, turned."""

from dataclasses import replace

import numpy as np
import pytest
from cords import CORD, cylinder, grid, label_map, tilt

from autoseg.errors import DataError, GeometryError
from autoseg.image.geometry import affine_from_axes
from autoseg.image.structures import Structure
from autoseg.measurement.morphometry import measure_morphometry, measure_profile
from autoseg.measurement.morphometry.measure import plane_axes

WITHIN = 0.01


def values(profile, name, *, ends=2):
    """Give a measure of the sections, without `ends` sections on either side."""
    return np.array([getattr(row, name) for row in profile.rows], float)[ends : len(profile.rows) - ends]


def tilted(degrees, azimuth=0.0, *, spacing=(3.0, 0.3, 0.45), radii=(6.0, 6.0), angle=0.0):
    affine, points = grid(spacing, (32, 32, 24))
    return measure_profile(label_map(cylinder(points, tilt(degrees, azimuth), radii, angle_deg=angle), affine), 1)


@pytest.mark.parametrize("azimuth", [0, 37, 90])
@pytest.mark.parametrize("degrees", [0, 10, 20, 30, 40])
def test_a_tilted_cylinder_gives_its_true_cross_section(degrees, azimuth):
    profile = tilted(degrees, azimuth)
    true = 36 * np.pi
    assert values(profile, "area_corrected_mm2").mean() == pytest.approx(true, rel=WITHIN)
    # What the slice shows is larger by the cosine; no correction would be caught from 10 degrees (1.5 %) on.
    assert values(profile, "area_mm2").mean() == pytest.approx(true / np.cos(np.radians(degrees)), rel=WITHIN)
    assert values(profile, "obliquity_deg") == pytest.approx(np.full(len(profile.rows) - 4, degrees), abs=0.5)
    for name in ("diameter_ap_mm", "diameter_rl_mm"):
        assert values(profile, name).mean() == pytest.approx(12.0, rel=WITHIN), name
    assert profile.curve.length_mm == pytest.approx(48 / np.cos(np.radians(degrees)), rel=WITHIN)


@pytest.mark.parametrize("spacing", [(1.0, 0.5, 0.5), (5.0, 0.25, 0.5), (7.5, 0.5, 0.25)])
def test_pixels_need_not_be_square_nor_slices_thin(spacing):
    profile = tilted(25, 60, spacing=spacing)
    ends = max(1, round(4 / spacing[0]))
    assert values(profile, "area_corrected_mm2", ends=ends).mean() == pytest.approx(36 * np.pi, rel=WITHIN)
    assert values(profile, "diameter_rl_mm", ends=ends).mean() == pytest.approx(12.0, rel=WITHIN)


@pytest.mark.parametrize("angle", [-60, -44, -20, 0, 30, 44, 80])
@pytest.mark.parametrize("degrees", [0, 25])
def test_an_elliptical_cylinder_turned_about_its_axis(angle, degrees):
    profile = tilted(degrees, 50, spacing=(3.0, 0.3, 0.3), radii=(6.5, 4.0), angle=angle)
    # The longer axis is called right-left where it is nearer to that.
    wide, deep = ("rl", "ap") if abs(angle) < 45 else ("ap", "rl")
    assert values(profile, f"diameter_{wide}_mm").mean() == pytest.approx(13.0, rel=WITHIN)
    assert values(profile, f"diameter_{deep}_mm").mean() == pytest.approx(8.0, rel=WITHIN)
    assert values(profile, "area_corrected_mm2").mean() == pytest.approx(26 * np.pi, rel=WITHIN)
    assert values(profile, "eccentricity").mean() == pytest.approx(np.sqrt(1 - (8 / 13) ** 2), rel=WITHIN)
    assert values(profile, "orientation_deg").mean() == pytest.approx(angle, abs=0.9)
    assert values(profile, "solidity").min() > 0.99


def test_a_cone_has_the_area_of_each_of_its_places():
    affine, points = grid((2.0, 0.25, 0.25), (10, 10, 30))
    radius = 3 + (points[2] + 30) / 60 * 5  # 3 mm below, 8 mm above
    profile = measure_profile(label_map(np.hypot(points[0], points[1]) <= radius, affine), 1)
    heights = values(profile, "z_head_mm")
    true = np.pi * (3 + (heights + 30) / 12) ** 2
    assert values(profile, "area_corrected_mm2") == pytest.approx(true, rel=WITHIN)
    assert profile.curve.length_mm == pytest.approx(60, rel=1e-6)


def torus(spacing=(1.5, 0.25, 0.25), bend_mm=60.0, radius_mm=5.0, reach_mm=30.0):
    """Give a part of a torus about an axis that runs front to back; it bends towards the left at both ends."""
    affine, points = grid(spacing, (20, 7, reach_mm))
    from_middle = np.hypot(points[0] - bend_mm + 5, points[2])
    mask = (from_middle - bend_mm) ** 2 + points[1] ** 2 <= radius_mm**2
    return label_map(mask, affine), bend_mm


def test_a_bent_tube_is_cut_across_everywhere():
    bent, bend_mm = torus()
    profile = measure_profile(bent, 1)
    angles = np.degrees(np.arcsin(np.abs(values(profile, "z_head_mm")) / bend_mm))
    assert angles.max() > 25
    assert values(profile, "area_corrected_mm2") == pytest.approx(np.full(len(angles), 25 * np.pi), rel=WITHIN)
    assert values(profile, "obliquity_deg") == pytest.approx(angles, abs=1.0)
    for name in ("diameter_ap_mm", "diameter_rl_mm"):
        assert values(profile, name) == pytest.approx(np.full(len(angles), 10.0), rel=WITHIN), name
    assert profile.curve.length_mm == pytest.approx(2 * bend_mm * np.arcsin(30 / bend_mm), rel=WITHIN)


def test_sagittal_slices_are_cut_across_their_rows():
    """The same tilted cylinder, stored as sagittal slices 0.4 mm apart with rows that run to the feet."""
    affine, points = grid((0.6, 0.3, 0.4), (16, 10, 24))
    mask = cylinder(points, tilt(20, 30), (6.0, 5.0))
    axial = measure_profile(label_map(mask, affine), 1)
    sagittal = np.transpose(mask, (2, 0, 1))[:, ::-1]
    turned = affine[:, [2, 0, 1, 3]].copy()
    turned[:, 3] += (sagittal.shape[1] - 1) * turned[:, 1]
    turned[:, 1] *= -1
    profile = measure_profile(label_map(sagittal, turned), 1)
    assert profile.rows[0].section_axis == "row"
    assert profile.rows[0].section_index == sagittal.shape[1] - 1  # numbered as the image's rows are
    assert "runs within the slices" in profile.notes[0]
    for name in ("area_corrected_mm2", "diameter_ap_mm", "orientation_deg", "arc_mm", "z_head_mm", "solidity"):
        assert values(profile, name) == pytest.approx(values(axial, name)), name
    assert values(profile, "area_corrected_mm2").mean() == pytest.approx(30 * np.pi, rel=WITHIN)


def test_slices_that_lie_obliquely_and_a_tilted_gantry_change_nothing():
    """A cylinder along the head, on slices turned by 25 degrees and stacked along another direction."""
    turn = np.radians(25)
    affine = affine_from_axes(
        position_mm=(-14.13, -14.07, -25),
        orientation=(1, 0, 0, 0, np.cos(turn), np.sin(turn)),
        pixel_spacing_mm=(0.3, 0.4),
        slice_step_mm=(0, 0, 2.5),
    )
    index = np.indices((18, 100, 70)).reshape(3, -1)
    points = (affine[:3, :3] @ index + affine[:3, 3:]).reshape(3, 18, 100, 70)
    profile = measure_profile(label_map(cylinder(points, (0, 0, 1), (6.0, 4.5)), affine), 1)
    assert values(profile, "obliquity_deg") == pytest.approx(np.full(14, 25), abs=0.5)
    assert values(profile, "area_corrected_mm2").mean() == pytest.approx(27 * np.pi, rel=WITHIN)
    assert values(profile, "diameter_rl_mm").mean() == pytest.approx(12, rel=WITHIN)
    assert values(profile, "diameter_ap_mm").mean() == pytest.approx(9, rel=WITHIN)


def test_a_structure_that_runs_front_to_back_has_height_and_width():
    affine, points = grid((0.4, 0.5, 0.3), (7, 24, 7))
    mask = ((points[0] / 5) ** 2 + (points[2] / 3.5) ** 2 <= 1) & (np.abs(points[1]) < 20)
    profile = measure_profile(label_map(mask, affine), 1)
    row = profile.rows[10]
    assert (row.along, row.section_axis, row.diameter_ap_mm) == ("anterior-posterior", "row", None)
    assert values(profile, "diameter_rl_mm").mean() == pytest.approx(10, rel=WITHIN)
    assert values(profile, "diameter_si_mm").mean() == pytest.approx(7, rel=WITHIN)
    assert profile.rows[0].y_back_mm < profile.rows[-1].y_back_mm


def test_shares_count_by_their_part_of_the_voxel():
    """Coarse pixels whose shares are the part of each that is covered, counted on a lattice five times finer."""
    affine, points = grid((2.0, 1.5, 1.5), (9, 9, 10))
    parts = (np.arange(5) - 2) / 5 * 1.5
    covered = np.mean(
        [np.hypot(points[0] + x - 0.4, points[1] + y - 0.2) <= 5 for x in parts for y in parts], axis=0
    )
    soft = measure_profile(label_map(covered >= 0.5, affine, shares=covered[None].astype(np.float32)), 1)
    hard = measure_profile(label_map(covered >= 0.5, affine), 1)
    error = [abs(values(p, "area_corrected_mm2").mean() / (25 * np.pi) - 1) for p in (soft, hard)]
    assert error[0] < WITHIN < error[1]


def test_an_inner_structure_belongs_to_the_outer_one():
    affine, points = grid((3.0, 0.5, 0.5), (8, 8, 12))
    distance = np.hypot(points[0], points[1])
    labels = np.where(distance <= 3, 2, np.where(distance <= 6, 1, 0))
    both = (Structure(1, "cord", includes=(2,)), Structure(2, "grey matter"))
    found = measure_morphometry([label_map(labels, affine, structures=both)])
    cord, grey = found.profiles
    assert values(cord, "area_corrected_mm2").mean() == pytest.approx(36 * np.pi, rel=0.015)
    assert values(grey, "area_corrected_mm2").mean() == pytest.approx(9 * np.pi, rel=0.03)
    assert {row.holes for row in cord.rows} == {0}


def test_holes_pieces_and_borders_are_flagged():
    affine, points = grid((2.0, 0.5, 0.5), (12, 12, 12))
    mask = cylinder(points, (0, 0, 1), (6, 6))
    mask[3, 24, 24] = False
    mask[5] |= (np.hypot(points[0] - 9.5, points[1]) <= 1.5)[5]  # 7 mm² beside 113
    rows = measure_profile(label_map(mask, affine), 1).rows
    assert (rows[3].holes, rows[3].flags) == (1, "hole")
    assert rows[5].left_out_pixels > 0
    assert rows[5].flags == "other pieces"
    assert rows[5].area_mm2 == pytest.approx(rows[6].area_mm2)
    assert rows[0].flags == rows[-1].flags == "end of image"
    assert rows[4].flags == ""


def test_what_goes_on_below_a_gap_is_measured_and_the_gap_has_no_rows():
    affine, points = grid((2.0, 0.4, 0.4), (20, 12, 30))
    mask = cylinder(points, tilt(20), (5, 5))
    mask[12:15] = False
    profile = measure_profile(label_map(mask, affine), 1)
    assert {row.section_index for row in profile.rows} == set(range(31)) - {12, 13, 14}
    assert profile.curve.length_mm == pytest.approx(60 / np.cos(np.radians(20)), rel=WITHIN)
    assert values(profile, "area_corrected_mm2").mean() == pytest.approx(25 * np.pi, rel=WITHIN)


def test_the_plane_across_a_curve_keeps_the_patients_sides():
    assert plane_axes("right-left", [1, 0, 0]).tolist() == [[0, 1, 0], [0, 0, 1]]
    assert plane_axes("anterior-posterior", [0, 1, 0]).tolist() == [[1, 0, 0], [0, 0, 1]]
    first, second = plane_axes("superior-inferior", tilt(30, 40))
    assert first @ second == pytest.approx(0, abs=1e-12)
    assert first[0] > 0.8
    assert second[1] > 0.8
    assert np.array([first, second]) @ tilt(30, 40) == pytest.approx([0, 0], abs=1e-12)


# --- what cannot be measured is a sentence


def small(**source):
    affine, points = grid((2.0, 0.5, 0.5), (6, 6, 8))
    return label_map(cylinder(points, (0, 0, 1), (4, 4)), affine, **source)


def test_without_millimetres_it_refuses():
    with pytest.raises(GeometryError, match="no pixel spacing in its header"):
        measure_profile(replace(small(), affine=None), 1)
    with pytest.raises(GeometryError, match="distance between its slices is unknown"):
        measure_profile(small(slice_spacing_source="none"), 1)


def test_one_slice_two_slices_and_none():
    tube = small()
    for count, words in ((1, "is one slice"), (2, "cord is seen on 2 sections")):
        with pytest.raises(DataError, match=words):
            measure_profile(replace(tube, voxels=tube.voxels[:count]), 1, along="slices")
    with pytest.raises(DataError, match="cord is on no slice"):
        measure_profile(replace(tube, voxels=np.zeros_like(tube.voxels)), 1)
    with pytest.raises(DataError, match="cord was not drawn"):
        measure_profile(replace(tube, annotated=frozenset()), 1)
    with pytest.raises(DataError, match="label 7 was not drawn"):
        measure_profile(tube, 7)


def test_of_several_what_cannot_be_measured_is_a_note():
    tube = small(case_id="a")
    empty = replace(tube, voxels=np.zeros_like(tube.voxels), source=replace(tube.source, case_id="b"))
    found = measure_morphometry([tube, empty])
    assert [profile.rows[0].case_id for profile in found.profiles] == ["a"]
    assert found.notes == ("b: cord is on no slice, so there is nothing to measure.",)
    with pytest.raises(DataError, match="b: cord is on no slice"):
        measure_morphometry([empty])
    with pytest.raises(DataError, match="no labels to measure"):
        measure_morphometry([replace(tube, annotated=frozenset())])


def test_a_thread_of_few_pixels_has_areas_but_no_shape():
    voxels = np.zeros((6, 9, 9), np.uint8)
    voxels[:, 4, 3:6] = 1
    rows = measure_profile(label_map(voxels, grid((2.0, 0.5, 0.5), (2, 2, 5))[0]), 1).rows
    assert rows[2].area_mm2 == pytest.approx(0.75)
    assert (rows[2].diameter_rl_mm, rows[2].eccentricity, rows[2].solidity) == (None, None, None)
    assert rows[2].flags == "few pixels"


def test_real_cords_have_the_areas_of_cords(shared_data):
    """Cervical cords, C2 to C5: 60 to 100 mm², wider than deep, cut within 20 degrees of square."""
    from autoseg.data.cases import find_cases, read_case

    found = find_cases(shared_data / "cord-gm-t2star-bids", unlabelled="skip")
    maps = [read_case(case, found.structures)[1] for case in found.cases]
    for profile in measure_morphometry(maps).profiles:
        if profile.rows[0].label != 1:
            continue
        area = values(profile, "area_corrected_mm2", ends=0)
        assert 60 < area.min() < area.max() < 105
        assert values(profile, "obliquity_deg", ends=0).max() < 20
        assert (values(profile, "diameter_rl_mm", ends=0) > values(profile, "diameter_ap_mm", ends=0)).all()
        assert values(profile, "solidity", ends=0).min() > 0.95


def test_structures_keep_their_names():
    assert measure_profile(small(), 1).rows[0].name == CORD[0].name


def test_directions_that_differ_between_images_are_told():
    affine, points = grid((1.0, 1.0, 1.0), (24, 24, 24))
    upright = label_map(cylinder(points, (0, 0, 1), (4, 4)), affine, case_id="a")
    lying = label_map(cylinder(points, (0, 1, 0.01), (4, 4)), affine, case_id="b")
    found = measure_morphometry([upright, lying])
    assert "superior-inferior: 1 image, anterior-posterior: 1 image" in found.notes[-1]
    assert measure_morphometry([upright, upright]).notes == ()
