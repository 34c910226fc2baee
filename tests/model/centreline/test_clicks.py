"""Points on slices, the curve through them, and where it leaves the image; coordinates are worked out by hand."""

import numpy as np
import pytest
from tubes import make_tube, tube_middle

from autoseg.errors import DataError, GeometryError
from autoseg.image.geometry import affine_from_axes, affine_from_spacing
from autoseg.image.image import Image, Source
from autoseg.model.centreline import (
    Centreline,
    ChosenCurves,
    add_click,
    check_on,
    clicked,
    crop_sizes,
    from_labels,
    place_on,
    places_along,
    point_on,
    read_centreline,
    slices_outside,
    view_to_click,
    write_centreline,
)

AFFINE = affine_from_spacing((5.0, 0.5, 0.8), (-12.0, 30.0, -100.0))


def image(shape=(10, 40, 50), affine=AFFINE):
    source = Source("scan", spacing_source="header", slice_spacing_source="header")
    return Image(np.arange(np.prod(shape), dtype=np.float32).reshape(shape), affine, source=source)


def test_a_click_has_its_place_in_the_patient():
    # Slices of 5 mm from -100, rows of 0.5 mm from 30, columns of 0.8 mm from -12.
    assert point_on(image(), 3, 10.0, 20.5) == pytest.approx((-12 + 20.5 * 0.8, 30 + 10 * 0.5, -85))
    assert place_on(image(), (-12 + 20.5 * 0.8, 35, -85.9)) == (3, pytest.approx(10), pytest.approx(20.5))


@pytest.mark.parametrize("place", [(10, 5, 5), (-1, 5, 5), (3, -0.6, 5), (3, 39.6, 5), (3, 5, 49.6)])
def test_a_click_outside_is_refused(place):
    with pytest.raises(DataError, match=r"scan: the point on slice .* outside the image.*10 slices of 40 × 50"):
        point_on(image(), *place)


def test_one_point_a_slice_from_the_feet_to_the_head():
    view = image()
    points = ()
    for place in ((7, 3.0, 4.0), (2, 10.0, 20.0), (7, 5.0, 6.0)):
        points = add_click(view, points, point_on(view, *place))
    assert [place_on(view, point) for point in points] == [
        (2, pytest.approx(10), pytest.approx(20)),
        (7, pytest.approx(5), pytest.approx(6)),
    ]


def test_on_tilted_slices_two_clicks_on_one_slice_are_still_one_point():
    """Their heights differ by the tilt, and a curve through both would run across the slice."""
    tilt = np.radians(25)
    affine = affine_from_axes(
        position_mm=(0, 0, 0),
        orientation=(1, 0, 0, 0, np.cos(tilt), np.sin(tilt)),
        pixel_spacing_mm=(1, 1),
        slice_step_mm=(0, -4 * np.sin(tilt), 4 * np.cos(tilt)),
    )
    view = image(affine=affine)
    points = add_click(view, (), point_on(view, 3, 5.0, 5.0))
    points = add_click(view, points, point_on(view, 3, 30.0, 5.0))
    assert [place_on(view, point) for point in points] == [(3, pytest.approx(30), pytest.approx(5))]


def test_the_slices_on_which_a_curve_leaves_are_named():
    view = image()
    # Columns from -12 to 27.6 mm wide; the line crosses x = 27.6 at z = -79, between slices 4 and 5 (from 0).
    line = clicked([(-12, 40, -100), (27.6 + 39.6 * 24 / 21, 40, -55)])
    assert slices_outside(line, view) == (5, 6, 7, 8, 9)
    assert "On slices 6-10 the curve leaves the image" in check_on(line, view)
    assert [place[0] for place in places_along(line, view)] == [0, 1, 2, 3, 4]
    assert check_on(clicked([(0, 40, -100), (0, 40, -60)]), view) == ""


@pytest.mark.parametrize("points", [[(0, 40, 200), (0, 40, 300)], [(400, 40, -100), (400, 40, -60)]])
def test_a_curve_of_another_image_is_refused(points):
    with pytest.raises(
        DataError, match=r"scan: the centreline \(clicked\) does not meet the image.*-100 and -55 mm"
    ):
        check_on(clicked(points), image())


def test_crops_are_said_from_right_to_left_first():
    assert crop_sizes((40, 30), "RPI") == (40, 30)
    assert crop_sizes((40, 30), "PRI") == (30, 40)
    assert crop_sizes((40, 30), "SAL") == (30, 40)


# --- the slices to click on


def test_axial_slices_are_clicked_on_as_they_are():
    own = image()
    assert view_to_click(own) is own


def test_sagittal_slices_are_turned_and_a_click_still_has_its_place():
    tube, labels = make_tube(4)
    affine = tube.affine[:, [2, 0, 1, 3]].copy()
    affine[:3, 3] += affine[:3, 0] * (tube.shape[2] - 1)
    affine[:3, 0] *= -1
    sagittal = Image(np.moveaxis(tube.voxels, 2, 0)[::-1].copy(), affine, source=tube.source)
    view = view_to_click(sagittal)
    assert view.spacing_mm == pytest.approx((4, 1.5, 1.5))  # no closer than the image's own
    line = from_labels(labels)
    for index, row, column in places_along(line, view):
        z = (view.affine @ [index, row, column, 1])[2]
        if abs(z) > 30:
            continue
        assert view.channel_voxels[0, index, round(row), round(column)] > 60  # the tube is bright there
        x, y, _ = point_on(view, index, row, column)
        assert (x, y) == pytest.approx(tube_middle(4, z), abs=1.2)


def test_thin_slices_of_another_plane_are_seen_in_steps_of_a_millimetre():
    affine = affine_from_axes(
        position_mm=(-20, -10, 30),
        orientation=(0, 1, 0, 0, 0, -1),
        pixel_spacing_mm=(0.25, 0.25),
        slice_step_mm=(2, 0, 0),
    )
    view = view_to_click(image((10, 80, 80), affine))
    assert view.shape == (20, 40, 40)
    assert view.spacing_mm == pytest.approx((1, 0.5, 0.5))


def test_what_has_no_axial_slices_is_refused():
    with pytest.raises(DataError, match="single slice"):
        view_to_click(image((1, 40, 50)))
    with pytest.raises(GeometryError, match="no pixel spacing"):
        view_to_click(Image(np.zeros((3, 9, 9))))


# --- what was chosen


def points(*heights):
    return tuple((float(z), 1.0, float(z)) for z in heights)


def test_curves_are_chosen_image_by_image_and_changes_come_back():
    chosen = ChosenCurves()
    assert (chosen.points("a"), chosen.curve("a"), chosen.can_undo(["a"])) == ((), None, False)
    chosen.keep("a", points(0))
    assert chosen.curve("a") is None
    chosen.keep("a", points(0, 10))
    chosen.keep("b", points(3, 5))
    assert chosen.curve("a").at([5])[0].tolist() == pytest.approx([5, 1, 5])
    chosen.undo(["a"])  # that of b stays
    assert (chosen.points("a"), chosen.points("b")) == (points(0), points(3, 5))
    chosen.undo(["a"])
    assert (chosen.points("a"), chosen.can_undo(["a"]), chosen.can_undo(["b"])) == ((), False, True)


def test_points_without_a_curve_are_refused_and_the_former_stay():
    chosen = ChosenCurves()
    chosen.keep("a", points(0, 10))
    with pytest.raises(DataError, match="same height"):
        chosen.keep("a", (*points(0), *points(0)))
    assert chosen.points("a") == points(0, 10)


def test_a_loaded_curve_is_used_until_two_points_are_clicked():
    chosen = ChosenCurves()
    exact = Centreline(np.array([[0, 0, 0], [0, 0, 9.0]]), "labels")
    chosen.load("a", exact)
    chosen.keep("a", points(4))
    assert chosen.curve("a") is exact
    chosen.keep("a", points(4, 6))
    assert chosen.curve("a").source == "clicked"
    chosen.undo("a")
    assert chosen.curve("a") is exact
    chosen.keep("a", ())
    assert chosen.curve("a") is None
    chosen.load("a", clicked(points(1, 2, 3)))
    assert chosen.points("a") == points(1, 2, 3)


# --- saved


def test_clicks_are_saved_with_the_curve(tmp_path):
    line = clicked([(3.3, -1.7, 41.2), (0.1, 0.2, 0.3), (2, 0, 20)])
    assert line.clicks_mm == ((0.1, 0.2, 0.3), (2.0, 0.0, 20.0), (3.3, -1.7, 41.2))
    again = read_centreline(write_centreline(line, tmp_path / "line.csv"))
    assert again.clicks_mm == line.clicks_mm
    assert again.points_mm.tolist() == line.points_mm.tolist()


def test_tables_of_curves_that_nobody_clicked_are_as_before(tmp_path):
    exact = Centreline(np.array([[0, 0, 0], [0, 0, 9.0]]), "labels", 1.0, 8.0)
    path = write_centreline(exact, tmp_path / "line.csv")
    assert path.read_text().splitlines()[0] == "x_mm,y_mm,z_mm,begins_mm,ends_mm,source"
    assert read_centreline(path).clicks_mm == ()
