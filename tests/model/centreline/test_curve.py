import numpy as np
import pytest
from scipy.interpolate import CubicSpline

from autoseg.errors import DataError, ReadError
from autoseg.image.geometry import affine_from_axes
from autoseg.model.centreline import Centreline, clicked, read_centreline, write_centreline


def tilted():
    """Slices turned by 20° about the left-right axis, from the head down, 4 mm apart."""
    c, s = np.cos(np.deg2rad(20)), np.sin(np.deg2rad(20))
    return affine_from_axes(
        position_mm=(-30, -40, 60),
        orientation=(1, 0, 0, 0, c, s),
        pixel_spacing_mm=(0.5, 0.8),
        slice_step_mm=(0, 4 * s, -4 * c),
    )


def test_a_straight_line_meets_the_slices_of_a_tilted_grid_where_geometry_says():
    start, direction = np.array([-10.0, 0.0, -80.0]), np.array([0.1, -0.2, 1.0])
    line = Centreline(start + np.arange(0, 120.0)[:, None] * direction, "clicked")
    affine, places = tilted(), None
    places = line.on_slices(affine, 60)
    for number in (0, 7, 59):  # the last lies beyond the curve's own points
        plane = affine[:3, 3] + number * affine[:3, 0]
        normal = np.cross(affine[:3, 1], affine[:3, 2])
        meets = start + direction * (normal @ (plane - start)) / (normal @ direction)
        index = np.linalg.inv(affine) @ [*meets, 1]
        assert index[0] == pytest.approx(number)
        assert places[number] == pytest.approx(index[1:3], abs=1e-6)
    assert line.at([-80, 100]).tolist()[1] == pytest.approx([8, -36, 100])


def test_a_clicked_curve_goes_through_every_click_and_on_straight():
    points = np.array([[0, 0, 40], [3, 1, 0], [5, -2, 17.3], [1, 4, 80]], dtype=float)
    line = clicked(points)
    assert line.source == "clicked"
    assert line.begins_mm is None
    assert line.at(points[:, 2]) == pytest.approx(points)
    ordered = points[np.argsort(points[:, 2])]
    spline = CubicSpline(ordered[:, 2], ordered[:, :2], bc_type="natural")
    between = np.arange(1, 79.0)
    assert line.at(between)[:, :2] == pytest.approx(spline(between), abs=0.02)
    beyond = line.at([80, 90, 100])
    assert beyond[2] - beyond[1] == pytest.approx(beyond[1] - beyond[0])


@pytest.mark.parametrize(
    ("points", "words"),
    [
        ([(0, 0, 0)], "1 point"),
        ([(0, 0, 0), (5, 0, 0), (0, 0, 9)], "same height .z = 0.0 mm"),
    ],
)
def test_too_few_clicks_are_refused(points, words):
    with pytest.raises(DataError, match=words):
        clicked(points)


def test_a_centreline_is_valid_once_built():
    with pytest.raises(DataError, match="rises from the feet to the head"):
        Centreline(np.array([[0, 0, 0], [0, 0, 5], [0, 0, 4.0]]), "labels")
    with pytest.raises(DataError, match="NaN"):
        Centreline(np.array([[0, 0, 0], [0, np.nan, 5]]), "labels")
    with pytest.raises(DataError, match="two or more points"):
        Centreline(np.zeros((1, 3)), "labels")
    with pytest.raises(DataError, match="not 'guess'"):
        Centreline(np.array([[0, 0, 0], [0, 0, 5.0]]), "guess")
    assert not Centreline(np.array([[0, 0, 0], [0, 0, 5.0]]), "labels").points_mm.flags.writeable


def test_the_file_gives_back_the_same_numbers(tmp_path):
    points = np.cumsum(np.random.default_rng(0).uniform(0.1, 1, (20, 3)), axis=0)
    for line in (Centreline(points, "automatic", points[2, 2], points[9, 2]), Centreline(points, "clicked")):
        again = read_centreline(write_centreline(line, tmp_path / "line.csv"))
        assert again.points_mm.tolist() == line.points_mm.tolist()
        assert (again.source, again.begins_mm, again.ends_mm) == (line.source, line.begins_mm, line.ends_mm)
    assert [path.name for path in tmp_path.iterdir()] == ["line.csv"]


def test_a_file_that_is_none_is_named(tmp_path):
    with pytest.raises(ReadError, match=r"nothing\.csv does not exist"):
        read_centreline(tmp_path / "nothing.csv")
    path = tmp_path / "other.csv"
    for text in ("", "a,b\n1,2\n", "x_mm,y_mm,z_mm,begins_mm,ends_mm,source\n1,2,three,,,labels\n", "x_mm\n1\n"):
        path.write_text(text)
        with pytest.raises(ReadError, match=r"other.csv is no table of a centreline"):
            read_centreline(path)
