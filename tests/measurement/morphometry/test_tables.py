"""Tables section by section, at equal lengths and by level, against numbers worked out by hand."""

import numpy as np
import pandas as pd
import pytest
from cords import cylinder, grid, label_map, tilt

from autoseg.errors import DataError
from autoseg.measurement.morphometry import (
    MEASURES,
    arc_table,
    measure_morphometry,
    morphometry_levels,
    sections_table,
)
from autoseg.measurement.morphometry.tables import one_structure


def tube(degrees=30, *, radii=(6.0, 4.0), angle=0.0, gap=(), **source):
    affine, points = grid((3.0, 0.3, 0.3), (24, 12, 24))
    mask = cylinder(points, tilt(degrees), radii, angle_deg=angle)
    mask[list(gap)] = False
    return label_map(mask, affine, **source)


def test_rows_are_sections_with_units_in_the_names_of_their_columns():
    table = sections_table(measure_morphometry([tube(case_id="a", subject_id="S1")]))
    assert len(table) == 17
    assert table["section"].tolist() == list(range(1, 18))
    assert {"area_mm2", "area_corrected_mm2", "obliquity_deg", "arc_mm", "x_left_mm", "diameter_ap_mm"} <= set(
        table
    )
    assert "diameter_si_mm" not in table  # it runs that way
    assert (table["area_corrected_mm2"] < table["area_mm2"]).all()
    assert table["diameter_rl_mm"].dtype == float


def test_positions_are_equally_long_apart():
    found = measure_morphometry([tube()])
    table = arc_table(found, step_mm=2.5)
    length = found.profiles[0].curve.length_mm
    assert length == pytest.approx(48 / np.cos(np.radians(30)), rel=0.005)
    assert table["arc_mm"].tolist() == [2.5 * i for i in range(23)]
    points = table[["x_left_mm", "y_back_mm", "z_head_mm"]].to_numpy()
    assert np.linalg.norm(np.diff(points, axis=0), axis=1) == pytest.approx(np.full(22, 2.5), rel=0.005)
    assert table["arc_share"].iloc[-1] == pytest.approx(55 / length)
    assert table["from_end_mm"].iloc[-1] == pytest.approx(55 - length)
    assert table["area_corrected_mm2"].iloc[2:-2].mean() == pytest.approx(24 * np.pi, rel=0.01)
    assert set(table["ends_seen"]) == {"neither"}
    assert len(arc_table(found, step_mm=length)) == 2


def test_a_cone_is_interpolated_at_its_places():
    affine, points = grid((4.0, 0.25, 0.25), (9, 9, 28))
    mask = np.hypot(points[0], points[1]) <= 3 + (points[2] + 28) / 56 * 5
    table = arc_table(measure_morphometry([label_map(mask, affine)]), step_mm=1)
    true = np.pi * (3 + (table["z_head_mm"] + 28) / 56 * 5) ** 2
    assert table["area_corrected_mm2"].to_numpy() == pytest.approx(true.to_numpy(), rel=0.015)


def test_nothing_is_made_up_in_a_gap():
    table = arc_table(measure_morphometry([tube(0, gap=(6, 7))]), step_mm=1)
    empty = table[table["area_corrected_mm2"].isna()]["arc_mm"]
    assert empty.tolist() == [float(i) for i in range(16, 24)]  # strictly between 15 and 24 mm
    assert table.loc[table["arc_mm"] == 24, "area_corrected_mm2"].notna().all()
    assert table["z_head_mm"].notna().all()


def test_an_axis_passes_by_the_back_and_not_through_zero():
    """A twisted tube whose longer axis turns from 75 to 105 degrees, which is -75."""
    affine, points = grid((3.0, 0.3, 0.3), (9, 9, 15))
    turn = np.radians(90 + points[2])
    first = np.cos(turn) * points[0] + np.sin(turn) * points[1]
    second = np.cos(turn) * points[1] - np.sin(turn) * points[0]
    mask = (first / 6) ** 2 + (second / 3.5) ** 2 <= 1
    angles = arc_table(measure_morphometry([label_map(mask, affine)]), step_mm=0.5)["orientation_deg"]
    assert angles.abs().min() > 73
    assert (angles % 180).to_numpy() == pytest.approx(90 + np.arange(61) * 0.5 - 15, abs=1.0)


def test_levels_have_mean_and_sd():
    levels = ["", "2", "2", "2", "3", "3", "10", *[""] * 10]
    found = measure_morphometry([tube(levels=levels, subject_id="S1")])
    table = morphometry_levels(found)
    assert table["level"].tolist() == ["2", "3", "10"]
    assert table["n"].tolist() == [3, 2, 1]
    areas = sections_table(found)["area_corrected_mm2"]
    assert table["mean_area_corrected_mm2"].iloc[0] == pytest.approx(areas[1:4].mean())
    assert table["sd_area_corrected_mm2"].iloc[1] == pytest.approx(areas[4:6].std())
    assert np.isnan(table["sd_area_corrected_mm2"].iloc[2])
    assert arc_table(found)["level"].iloc[[0, 4, 13]].tolist() == ["", "2", "3"]


def test_the_mean_of_axes_is_a_direction():
    first, second = (tube(0, angle=angle, levels=["4"] * 17, subject_id="S") for angle in (85, -85))
    table = morphometry_levels(measure_morphometry([first, second]))
    assert abs(table["mean_orientation_deg"].iloc[0]) == pytest.approx(90, abs=1)
    assert table["sd_orientation_deg"].iloc[0] == pytest.approx(5, abs=1)


def test_without_levels_there_is_no_table_of_them():
    assert morphometry_levels(measure_morphometry([tube()])).empty


@pytest.mark.parametrize("step", [0, -1, float("nan"), 1e-9])
def test_a_step_that_cannot_be_is_refused(step):
    with pytest.raises(DataError, match="step"):
        arc_table(measure_morphometry([tube()]), step_mm=step)


def test_one_structure_of_one_image_is_asked_for():
    table = arc_table(measure_morphometry([tube(case_id="a"), tube(case_id="b")]))
    with pytest.raises(DataError, match="2 structures of images stand in the table where one is needed"):
        one_structure(table)
    with pytest.raises(DataError, match=r"0 structures .* \('psoas'\); it names: cord"):
        one_structure(table, "psoas")
    with pytest.raises(DataError, match="no column case_id"):
        one_structure(pd.DataFrame({"name": ["x"]}))
    assert set(MEASURES) >= {"solidity", "eccentricity"}


def test_sections_cut_off_by_the_edge_have_the_least_of_their_area_and_count_nowhere():
    # A straight cord of 4 mm that stands half outside the image on its four lowest sections.
    affine, points = grid((3.0, 0.3, 0.3), (12, 12, 24))
    mask = cylinder(points, (0, 0, 1), (4.0, 4.0)).astype(np.uint8)
    middle = mask.shape[2] // 2
    mask[:4] = np.roll(mask[:4], middle, axis=2)
    mask[:4, :, :middle] = 0
    mask[[0, -1]] = 0
    found = measure_morphometry([label_map(mask, affine, levels=["1"] * 8 + ["2"] * 9)])
    table = sections_table(found)
    cut = table["flags"].str.contains("touches edge")
    assert cut.tolist() == [True] * 3 + [False] * 12
    assert table["area_mm2"].isna().tolist() == cut.tolist()
    assert table["area_at_least_mm2"][cut].to_numpy() == pytest.approx(np.full(3, 8 * np.pi), rel=0.1)
    assert table.loc[cut, ["area_corrected_mm2", "diameter_rl_mm", "solidity"]].isna().all(axis=None)
    # Their centroids lie aside, and lead the curve nowhere.
    assert table["obliquity_deg"].max() < 1
    assert table["area_corrected_mm2"][~cut].to_numpy() == pytest.approx(np.full(12, 16 * np.pi), rel=0.01)
    level = morphometry_levels(found).set_index("level")["mean_area_corrected_mm2"]
    assert level.to_numpy() == pytest.approx([16 * np.pi] * 2, rel=0.01)
    along = arc_table(found)
    assert along["area_corrected_mm2"].isna().tolist() == (along["arc_mm"] < 9).tolist()
    assert not found.profiles[0].is_length_cut_off
