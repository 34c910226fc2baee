import math
from dataclasses import fields, replace

import numpy as np
import pytest

from autoseg.errors import DataError, LabelError
from autoseg.image.geometry import affine_from_axes, affine_from_spacing
from autoseg.image.image import Image, LabelMap, SliceSource, Source
from autoseg.image.structures import Structure, side_pairs
from autoseg.measurement.areas import MEASUREMENT_VERSION, Measurement, Usual, measure_areas
from autoseg.report.area_tables import FLAG_WORDS, PERHAPS, areas_table, measurements_table

MUSCLE = (Structure(1, "muscle"),)
PSOAS = (Structure(1, "psoas left", side="left"), Structure(2, "psoas right", side="right"))
HEADER = Source(case_id="leg", spacing_source="header", slice_spacing_source="header")


def label_map(voxels, *, affine=None, structures=MUSCLE, source=HEADER, annotated=None):
    affine = affine_from_spacing((3.0, 1.0, 1.0)) if affine is None else affine
    return LabelMap(np.asarray(voxels, np.uint8), affine, structures, annotated, source)


def stack(*pixel_counts):
    """One slice for each count, its pixels in one component away from the edge."""
    voxels = np.zeros((len(pixel_counts), 12, 102), np.uint8)
    for index, count in enumerate(pixel_counts):
        block = np.zeros(1000, np.uint8)
        block[:count] = 1
        voxels[index, 1:11, 1:101] = block.reshape(10, 100)
    return voxels


def flags_of(rows):
    return [row.flags for row in rows]


def test_a_rectangle_with_unequal_pixels_has_its_area():
    voxels = np.zeros((1, 40, 50))
    voxels[0, 10:20, 10:30] = 1
    (row,) = measure_areas(label_map(voxels, affine=affine_from_spacing((3.0, 0.5, 0.25))))
    assert row.pixel_count == 200
    assert row.area_mm2 == pytest.approx(200 * 0.125)
    assert (row.pixel_row_mm, row.pixel_column_mm) == (0.5, 0.25)


@pytest.mark.parametrize("spacing", [(0.5, 0.5), (0.4, 0.9)])
def test_a_disc_has_pi_r_squared(spacing):
    rows, columns = np.mgrid[:200, :200]
    disc = np.hypot((rows - 99.3) * spacing[0], (columns - 99.6) * spacing[1]) <= 20
    (row,) = measure_areas(label_map(disc[None], affine=affine_from_spacing((3.0, *spacing))))
    assert row.area_mm2 == pytest.approx(math.pi * 400, rel=0.005)
    assert (row.components, row.flags) == (1, "")


def test_the_area_is_that_of_the_parallelogram_on_a_sheared_oblique_grid():
    turn = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]]) @ np.array(
        [[1, 0, 0], [0, 0.6, -0.8], [0, 0.8, 0.6]]
    )
    affine = np.eye(4)
    # Rows run 0.5 mm, columns 0.6 mm at 60 degrees to them.
    affine[:3, :3] = turn @ np.array([[0, 0.5, 0.3], [0, 0, 0.6 * math.sin(math.pi / 3)], [4, 0, 0]])
    voxels = np.zeros((1, 9, 9))
    voxels[0, 2:5, 2:6] = 1
    (row,) = measure_areas(label_map(voxels, affine=affine))
    assert row.area_mm2 == pytest.approx(12 * 0.5 * 0.6 * math.sin(math.pi / 3))


def test_rows_follow_the_position_along_the_stack_and_then_the_label():
    affine = affine_from_axes(
        position_mm=(0, 0, 30),
        orientation=(1, 0, 0, 0, 1, 0),
        pixel_spacing_mm=(1, 1),
        slice_step_mm=(0, 0, -5),
    )
    rows = measure_areas(label_map(np.zeros((3, 4, 4)), affine=affine, structures=PSOAS[::-1]))
    assert [(row.slice_position_mm, row.slice_index, row.label) for row in rows] == [
        (20.0, 2, 1), (20.0, 2, 2), (25.0, 1, 1), (25.0, 1, 2), (30.0, 0, 1), (30.0, 0, 2),
    ]  # fmt: skip
    assert {row.slice_spacing_mm for row in rows} == {5.0}


def test_an_absent_structure_has_area_0_and_one_that_was_not_drawn_has_no_row():
    voxels = stack(10)
    assert [row.area_mm2 for row in measure_areas(label_map(voxels, structures=PSOAS))] == [10.0, 0.0]
    assert [row.label for row in measure_areas(label_map(voxels, structures=PSOAS, annotated={1}))] == [1]


def test_positions_are_empty_where_the_slice_spacing_is_unknown():
    (row,) = measure_areas(label_map(stack(5), source=Source(spacing_source="typed", is_placed=False)))
    assert (row.slice_position_mm, row.slice_spacing_mm, row.spacing_source) == (None, None, "typed")
    rows = measure_areas(label_map(stack(5, 5), source=Source(spacing_source="header")))
    assert {row.slice_position_mm for row in rows} == {None}


def test_a_single_slice_that_knows_its_place_needs_no_distance_to_tell_it():
    drawn = label_map(stack(5), source=Source(spacing_source="header"))
    moved = drawn.calibrated_affine.copy()
    moved[2, 3] = -71.5
    (row,) = measure_areas(replace(drawn, affine=moved))
    assert (row.slice_position_mm, row.slice_spacing_mm) == (-71.5, None)


def test_every_row_can_be_traced_to_its_file(tmp_path):
    slices = tuple(SliceSource(tmp_path / f"{n}.dcm", 0, f"1.2.{n}") for n in range(2))
    source = replace(HEADER, subject_id="S7", series_uid="1.2", slices=slices)
    rows = measure_areas(label_map(stack(5, 5), source=source), model="psoas_40")
    assert [row.sop_uid for row in rows] == ["1.2.0", "1.2.1"]
    assert {(row.case_id, row.subject_id, row.series_uid, row.model) for row in rows} == {
        ("leg", "S7", "1.2", "psoas_40")
    }
    assert {row.measurement_version for row in rows} == {MEASUREMENT_VERSION}


def test_without_pixel_spacing_areas_are_in_pixels_and_say_so():
    rows = measure_areas(LabelMap(stack(5, 0, 7), None, MUSCLE, source=Source(case_id="knee")))
    assert [(row.area, row.unit, row.column, row.area_mm2) for row in rows] == [
        (5.0, "pixels", "muscle pixels", None), (0.0, "pixels", "muscle pixels", None),
        (7.0, "pixels", "muscle pixels", None),
    ]  # fmt: skip
    assert flags_of(rows) == ["", "missing between slices", ""]
    first = rows[0]
    assert (first.pixel_row_mm, first.pixel_column_mm, first.slice_position_mm) == (None, None, None)
    (known,) = measure_areas(label_map(stack(5), affine=affine_from_spacing((3.0, 0.5, 0.5))))
    assert (known.area, known.unit, known.column) == (1.25, "mm²", "muscle mm²")


def test_slices_have_the_numbers_of_their_whole_stack():
    whole = label_map(stack(1, 2, 3, 4, 5, 6))
    part = LabelMap(whole.voxels[3:6], whole.affine, MUSCLE, source=replace(HEADER, first_slice=4))
    assert [(row.slice, row.slice_index, row.pixel_count) for row in measure_areas(part)] == [
        (4, 0, 4), (5, 1, 5), (6, 2, 6),
    ]  # fmt: skip
    (alone,) = measure_areas(whole.one_slice(4))
    assert (alone.slice, alone.pixel_count) == (5, 5)


def test_mean_intensity_is_that_of_the_labelled_pixels():
    voxels = stack(3, 0)
    values = np.where(voxels == 1, 7, -50).astype(np.int16)
    values[0, 1, 1] = 13
    labels = label_map(voxels)
    rows = measure_areas(labels, image=Image(values, labels.affine, source=HEADER))
    assert [row.mean_intensity for row in rows] == [9.0, None]
    assert measure_areas(labels)[0].mean_intensity is None


def test_an_image_on_another_grid_is_refused():
    labels = label_map(stack(3))
    elsewhere = Image(np.zeros(labels.shape), affine_from_spacing((3.0, 1.0, 1.01)))
    with pytest.raises(LabelError, match="different grids"):
        measure_areas(labels, image=elsewhere)


@pytest.mark.parametrize(("row", "column"), [(0, 5), (9, 5), (5, 0), (5, 9)])
def test_a_structure_at_any_border_is_measured_and_flagged(row, column):
    voxels = np.zeros((1, 10, 10))
    voxels[0, row, column] = 1
    (measured,) = measure_areas(label_map(voxels))
    assert (measured.area_mm2, measured.touches_edge, measured.flags) == (1.0, True, "touches edge")


def test_a_structure_one_pixel_from_the_border_does_not_touch_it():
    voxels = np.zeros((1, 10, 10))
    voxels[0, 1:9, 1:9] = 1
    assert not measure_areas(label_map(voxels))[0].touches_edge


@pytest.mark.parametrize(("second", "flags"), [(10, ""), (12, "fragmented")])
def test_a_second_component_counts_from_a_tenth_of_the_pixels(second, flags):
    voxels = np.zeros((1, 12, 60))
    voxels[0, 2:4, 2:47] = 1  # 90 pixels
    voxels[0, 8, 2 : 2 + second] = 1
    (row,) = measure_areas(label_map(voxels))
    assert (row.components, row.flags) == (2, flags)


def test_pixels_that_touch_at_a_corner_are_one_component():
    voxels = np.zeros((1, 6, 6))
    voxels[0, [1, 2, 3], [1, 2, 3]] = 1
    assert measure_areas(label_map(voxels))[0].components == 1


def test_a_gap_in_the_stack_is_flagged_but_its_ends_are_not():
    rows = measure_areas(label_map(stack(0, 100, 0, 0, 100, 0)))
    assert flags_of(rows) == ["", "", "missing between slices", "missing between slices", "", ""]


@pytest.mark.parametrize(
    ("counts", "flags"),
    [
        ((100, 49, 100), "jump"),
        ((100, 50, 100), ""),
        ((100, 201, 100), "jump"),
        ((100, 200, 100), ""),
        ((20, 60, 150), ""),  # a muscle that grows fast
    ],
)
def test_a_jump_is_twice_or_half_of_both_neighbours(counts, flags):
    assert flags_of(measure_areas(label_map(stack(*counts)))) == ["", flags, ""]


def test_a_jump_beside_a_missing_slice_is_seen():
    assert flags_of(measure_areas(label_map(stack(100, 0, 10, 100))))[2] == "jump"


def test_the_failed_slice_of_the_published_example_is_flagged():
    # Right psoas 71 mm2 beside left 1239 mm2.
    voxels = np.zeros((1, 60, 60))
    voxels[0, 2:42, 2:32] = 1
    voxels[0, 2:42, 32] = 1
    voxels[0, 2:11, 40:48] = 2
    left, right = measure_areas(label_map(voxels, structures=PSOAS))
    assert (left.area_mm2, left.flags) == (1240.0, "")
    assert (right.area_mm2, right.flags) == (72.0, "side differs")


def test_a_third_of_the_other_side_is_not_yet_flagged():
    voxels = stack(90)
    voxels[0, 9, 1:31] = 2
    assert flags_of(measure_areas(label_map(voxels, structures=PSOAS))) == ["", ""]


def test_sides_are_paired_by_field_or_by_name():
    named = [Structure(3, "Left m. multifidus"), Structure(1, "m. multifidus right"), Structure(4, "cleft")]
    assert side_pairs(named) == ((3, 1),)
    assert side_pairs([Structure(1, "psoas (l)", side="left"), Structure(2, "psoas right")]) == ()


def test_the_tidy_table_has_the_fields_as_columns():
    rows = measure_areas(label_map(stack(5, 6)))
    table = measurements_table(rows)
    unknown = {"slice_index", *PERHAPS}
    assert list(table.columns) == [field.name for field in fields(Measurement) if field.name not in unknown]
    assert table["slice"].tolist() == [1, 2]
    assert table["area_mm2"].tolist() == [5.0, 6.0]
    assert list(measurements_table([]).columns) == list(table.columns)


def by_word(table):
    return table.set_index("slice")


def test_the_wide_table_has_slices_then_mean_sd_and_n_of_where_the_structure_is():
    table = areas_table(measure_areas(label_map(stack(0, 10, 14, 18))))
    assert list(table.columns) == ["slice", "slice_position_mm", "muscle mm²", "flags"]
    assert table["slice"].tolist() == [
        1, 2, 3, 4, "mean", "SD", "n", "mean (unflagged)", "SD (unflagged)", "n (unflagged)",
    ]  # fmt: skip
    assert table["slice_position_mm"].tolist()[:4] == [0.0, 3.0, 6.0, 9.0]
    muscle = by_word(table)["muscle mm²"]
    assert (muscle[1], muscle["mean"], muscle["SD"], muscle["n"]) == (0.0, 14.0, 4.0, 3)


def test_flagged_areas_are_left_out_of_the_second_mean_by_structure():
    voxels = stack(400, 400, 400)
    voxels[:, 9:11, 1:101] = 2  # 200 pixels on the right
    voxels[1, 9:11, 1:101] = 0
    voxels[1, 9, 1:11] = 2  # 10 of them on the failed slice
    table = by_word(areas_table(measure_areas(label_map(voxels, structures=PSOAS))))
    assert table.loc[2, "flags"] == "psoas right: jump; side differs"
    assert table.loc["mean", "psoas right mm²"] == pytest.approx(410 / 3)
    assert table.loc["mean (unflagged)", "psoas right mm²"] == 200.0
    assert table.loc["SD (unflagged)", "psoas right mm²"] == 0.0
    assert table.loc["n (unflagged)", ["psoas left mm²", "psoas right mm²"]].tolist() == [3, 2]


def test_one_slice_has_no_sd():
    muscle = by_word(areas_table(measure_areas(label_map(stack(10)))))["muscle mm²"]
    assert muscle["mean"] == 10.0
    assert math.isnan(muscle["SD"])


def test_several_cases_stand_one_after_the_other_in_natural_order():
    late, early = (replace(HEADER, case_id=f"t{n}") for n in (10, 2))
    rows = measure_areas(label_map(stack(10, 20), source=late)) + measure_areas(label_map(stack(30), source=early))
    table = areas_table(rows)
    assert table["case_id"].tolist() == ["t2"] * 7 + ["t10"] * 8
    muscle = table["muscle mm²"].tolist()
    assert (muscle[0], *muscle[7:9]) == (30.0, 10.0, 20.0)


def test_every_image_has_its_own_mean_and_none_is_over_several():
    sources = [replace(HEADER, case_id=f"leg_t0{n}", subject_id="S7", series_uid="1.2") for n in (1, 2)]
    counts = [(10, 20, 0), (100, 200, 400)]
    maps = [label_map(stack(*many), source=source) for many, source in zip(counts, sources, strict=True)]
    table = areas_table([row for one in maps for row in measure_areas(one)])
    words = ["mean", "SD", "n", "mean (unflagged)", "SD (unflagged)", "n (unflagged)"]
    assert table["slice"].tolist() == [1, 2, 3, *words] * 2
    means = table[table["slice"].isin(["mean", "n"])]
    assert means["case_id"].tolist() == ["leg_t01", "leg_t01", "leg_t02", "leg_t02"]
    assert means["muscle mm²"].tolist() == pytest.approx([15, 2, 700 / 3, 3])


def single_slice(case_id, position_mm, count, *, subject="S7", series="1.2", spacing="header"):
    affine = affine_from_axes(
        position_mm=(0, 0, position_mm),
        orientation=(1, 0, 0, 0, 1, 0),
        pixel_spacing_mm=(1, 1),
        slice_step_mm=(0, 0, 5),
    )
    source = Source(case_id, subject, series, spacing_source="header", slice_spacing_source=spacing)
    return measure_areas(label_map(stack(count), affine=affine, source=source))


def test_single_slices_of_a_series_stand_in_anatomical_order_above_one_mean():
    rows = single_slice("b", 5, 20) + single_slice("c", -5, 10) + single_slice("a", 15, 60)
    rows += single_slice("z", 0, 7, subject="S10") + single_slice("y", 0, 9, subject="S7", series="1.10")
    table = areas_table(rows)
    assert table["case_id"].tolist() == [
        "c", "b", "a", *["all of S7"] * 6, "y", *["all of S7"] * 6, "z", *["all of S10"] * 6,
    ]  # fmt: skip
    assert table["slice_position_mm"].tolist()[:3] == [-5.0, 5.0, 15.0]
    assert table[table["slice"] == "mean"]["muscle mm²"].tolist() == [30.0, 9.0, 7.0]


def test_single_slices_at_unknown_positions_stand_in_the_natural_order_of_their_names():
    rows = [row for n in (10, 9) for row in single_slice(f"s{n}", n, n, subject="", series="", spacing="none")]
    assert areas_table(rows)["case_id"].tolist() == ["s9", "s10", *["all"] * 6]


def test_a_single_slice_beside_a_stack_is_an_image_of_its_own():
    table = areas_table(single_slice("a", 0, 10) + measure_areas(label_map(stack(20, 40))))
    assert table[table["slice"] == "mean"]["case_id"].tolist() == ["a", "leg"]


def test_a_structure_drawn_on_one_case_only_is_empty_on_the_other():
    other = replace(HEADER, case_id="arm")
    rows = measure_areas(label_map(stack(10), structures=PSOAS, annotated={1}, source=other))
    table = areas_table(rows + measure_areas(label_map(stack(20), structures=PSOAS)))
    right = table.set_index(["case_id", "slice"])["psoas right mm²"]
    assert math.isnan(right["arm", 1])
    assert right["leg", 1] == 0.0


def test_the_same_slice_twice_is_an_error_and_not_an_average():
    rows = measure_areas(label_map(stack(10)))
    with pytest.raises(DataError, match=r"'muscle' was measured twice on slice 1 of 'leg'"):
        areas_table(rows + rows)


def test_no_measurements_give_an_empty_table():
    table = areas_table([])
    assert (len(table), list(table.columns)) == (0, ["slice", "slice_position_mm", "flags"])


PSOAS_LEFT, PSOAS_RIGHT = 1, 2


def test_what_is_usual_in_the_labels_is_not_flagged():
    discs = np.zeros((1, 20, 60))
    for place in range(5):
        discs[0, 4:14, 4 + 10 * place : 10 + 10 * place] = 1
    assert flags_of(measure_areas(label_map(discs))) == ["fragmented"]
    assert flags_of(measure_areas(label_map(discs), usual={1: Usual(pieces=5)})) == [""]
    assert flags_of(measure_areas(label_map(discs), usual={1: Usual(pieces=4)})) == ["fragmented"]
    jumping = label_map(stack(100, 250, 100))
    assert flags_of(measure_areas(jumping, usual={1: Usual()}))[1] == "jump"
    assert flags_of(measure_areas(jumping, usual={1: Usual(jump=2.6)}))[1] == ""


def test_a_side_three_times_the_other_is_flagged_on_both_of_a_prediction():
    voxels = np.zeros((1, 20, 60))
    voxels[0, 2:8, 2:20] = PSOAS_LEFT
    voxels[0, 2:8, 30:34] = PSOAS_RIGHT
    both = label_map(voxels, structures=PSOAS)
    assert flags_of(measure_areas(both)) == ["", "side differs"]
    assert flags_of(measure_areas(both, usual={})) == ["other side", "side differs"]
    assert flags_of(measure_areas(both, usual={1: Usual(side=5), 2: Usual(side=5)})) == ["", ""]


def test_what_the_labels_always_show_is_missed_where_it_is_on_no_slice():
    nothing = label_map(stack(0, 0))
    assert flags_of(measure_areas(nothing)) == ["", ""]
    assert flags_of(measure_areas(nothing, usual={1: Usual(always=True)})) == ["absent", "absent"]
    assert flags_of(measure_areas(label_map(stack(0, 7)), usual={1: Usual(always=True)})) == ["", ""]


def test_every_flag_has_its_words():
    assert {"other side", "absent", "poor"} <= set(FLAG_WORDS)
