"""The enlargement and the tip of a cord whose shape is known."""

import numpy as np
import pytest
from cords import cord_radius_mm, label_map, lumbosacral_cord
from scipy.optimize import minimize_scalar

from autoseg.errors import DataError
from autoseg.measurement.morphometry import arc_table, describe_enlargement, locate_enlargement, measure_morphometry
from autoseg.measurement.morphometry.landmarks import running_mean


def table_of(mask, affine, **source):
    return arc_table(measure_morphometry([label_map(mask, affine, **source)]))


@pytest.fixture(scope="module")
def cord():
    return table_of(*lumbosacral_cord())


def test_the_largest_area_and_the_tip_are_found(cord):
    found = locate_enlargement(cord)
    top = minimize_scalar(lambda above: -cord_radius_mm(above), bounds=(26, 60), method="bounded").x
    assert found.largest.z_head_mm == pytest.approx(-40 + top, abs=1.0)
    assert found.largest.area_mm2 == pytest.approx(np.pi * cord_radius_mm(top) ** 2, rel=0.02)
    assert found.widest.z_head_mm == pytest.approx(-40 + top, abs=1.5)
    # Where the area, which grows as the height in the cone, is 5 % of the largest; the body is 3.6 mm there.
    tip = 25 * 0.05 * cord_radius_mm(top) ** 2 / 3.6**2
    assert found.tip.z_head_mm == pytest.approx(-40 + tip, abs=0.4)
    assert found.conus_length_mm == pytest.approx(top - tip, abs=1.2)
    assert found.notes == ()


def test_a_larger_share_lies_higher_up_the_cone(cord):
    assert locate_enlargement(cord, tip_share=0.3).tip.z_head_mm == pytest.approx(
        -40 + 25 * 0.3 * 4.5**2 / 3.6**2, abs=0.6
    )


def test_a_label_that_runs_on_along_the_filum_does_not_move_the_tip(cord):
    mask, affine = lumbosacral_cord(tip_z_mm=-20)
    _, rows, columns = mask.shape
    mask[5:32, rows // 2 - 1 : rows // 2 + 2, columns // 2 - 1 : columns // 2 + 2] = True  # a thread of 0.8 mm²
    found = locate_enlargement(table_of(mask, affine))
    alone = locate_enlargement(table_of(*lumbosacral_cord(tip_z_mm=-20)))
    assert found.tip.z_head_mm == pytest.approx(alone.tip.z_head_mm, abs=0.5)
    assert found.tip.arc_mm > 20
    assert found.conus_length_mm == pytest.approx(alone.conus_length_mm, abs=0.5)


def test_a_tip_below_the_image_is_not_made_up():
    mask, affine = lumbosacral_cord(tip_z_mm=-60)
    found = locate_enlargement(table_of(mask, affine))
    assert (found.tip, found.conus_length_mm) == (None, None)
    assert "reaches the lowest slice" in found.notes[0]
    assert found.largest.z_head_mm == pytest.approx(-60 + 40, abs=1.5)


def test_a_label_that_ends_blunt_inside_the_image_has_its_tip_there():
    mask, affine = lumbosacral_cord()
    mask[:25] = False
    found = locate_enlargement(table_of(mask, affine))
    assert found.tip.arc_mm == 0
    assert found.tip.z_head_mm == pytest.approx(-25, abs=0.01)


def test_a_cord_that_grows_to_the_top_has_no_enlargement():
    mask, affine = lumbosacral_cord()
    mask[70:] = False  # 20 mm above the origin, below the middle of the swelling were it there
    grows = table_of(mask[:62], affine)
    found = locate_enlargement(grows[grows["arc_mm"] < 35])
    assert (found.largest, found.tip) == (None, None)
    assert "may begin below the enlargement" in found.notes[0]
    assert describe_enlargement(found) == found.notes[0]


def test_it_is_told_in_a_line(cord):
    words = describe_enlargement(locate_enlargement(cord))
    assert words.startswith("tip at ")
    assert "largest area at" in words
    assert words.endswith("mm long.")


def test_a_running_mean_keeps_lines_and_leaves_gaps():
    arc = np.arange(20.0)
    values = 3 * arc
    assert running_mean(arc, values, 6) == pytest.approx(values)
    values[7] = np.nan
    found = running_mean(arc, values, 6)
    assert np.flatnonzero(np.isnan(found)).tolist() == [7]


def test_wrong_limits_and_structures_are_refused(cord):
    with pytest.raises(DataError, match=r"tip_share is 1\.5"):
        locate_enlargement(cord, tip_share=1.5)
    with pytest.raises(DataError, match="the smaller first"):
        locate_enlargement(cord, above_tip_mm=(50, 20))
    with pytest.raises(DataError, match="averaged_mm"):
        locate_enlargement(cord, averaged_mm=-1)
    with pytest.raises(DataError, match="runs anterior-posterior"):
        locate_enlargement(cord.assign(along="anterior-posterior"))
