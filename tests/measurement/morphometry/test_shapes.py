"""Ellipse, solidity, pieces and holes of one section, beside scikit-image's."""

import math

import numpy as np
import pytest

from autoseg.measurement.morphometry.shapes import describe_pixels, fit_ellipse


def blob():
    """A bean with a bay and a tail, 17 x 23 pixels, as drawn by hand would be."""
    rows, columns = np.indices((40, 40))
    bean = ((rows - 18) / 8.3) ** 2 + ((columns - 20) / 11.6) ** 2 <= 1
    bay = ((rows - 9) / 5.2) ** 2 + ((columns - 22) / 4.1) ** 2 <= 1
    tail = (np.abs(rows - columns * 0.7 - 6) < 1.6) & (columns > 26) & (columns < 34)
    return (bean & ~bay) | tail


def ellipse(major=16.0, minor=9.0, angle_deg=33.0):
    rows, columns = np.indices((60, 60)) - 29.3
    turn = math.radians(angle_deg)
    first, second = (
        math.cos(turn) * rows + math.sin(turn) * columns,
        math.cos(turn) * columns - math.sin(turn) * rows,
    )
    return (first / major) ** 2 + (second / minor) ** 2 <= 1


# Counted once with scikit-image 0.26: regionprops' axis_major_length, axis_minor_length, eccentricity and
# orientation (degrees from the rows), and the pixels over those of convex_hull_image(offset_coordinates=False).
SCIKIT = {
    "blob": (26.150641608651288, 16.58152658122607, 0.7732697183473966, 74.47397339390355, 0.8487394957983193),
    "ellipse": (31.798363929529074, 18.017676150779266, 0.8239773471448071, 32.614135686173874, 1.0),
}


@pytest.mark.parametrize(("name", "mask"), [("blob", blob()), ("ellipse", ellipse())])
def test_shapes_are_those_of_scikit_image(name, mask):
    major, minor, eccentricity, orientation, solidity = SCIKIT[name]
    shape = describe_pixels(mask.astype(float))
    found = fit_ellipse(shape.covariance)
    assert found.major_mm == pytest.approx(major, rel=1e-9)
    assert found.minor_mm == pytest.approx(minor, rel=1e-9)
    assert found.eccentricity == pytest.approx(eccentricity, rel=1e-9)
    assert found.angle_deg == pytest.approx(orientation, abs=1e-6)
    assert shape.solidity == pytest.approx(solidity, rel=1e-9)


def test_shapes_are_those_of_the_scikit_image_installed_here():
    measure = pytest.importorskip("skimage.measure")
    morphology = pytest.importorskip("skimage.morphology")
    for mask in (blob(), ellipse(), ellipse(12, 7, -70)):
        theirs = measure.regionprops(mask.astype(int))[0]
        shape = describe_pixels(mask.astype(float))
        found = fit_ellipse(shape.covariance)
        assert found.eccentricity == pytest.approx(theirs.eccentricity)
        assert found.angle_deg == pytest.approx(math.degrees(theirs.orientation))
        hull = morphology.convex_hull_image(mask, offset_coordinates=False)
        assert shape.solidity == pytest.approx(mask.sum() / hull.sum())
        # Its own solidity takes a hull around the pixels' edges, which is wider.
        assert theirs.solidity < shape.solidity < theirs.solidity + 0.06


def test_every_disc_is_solid():
    rows, columns = np.indices((50, 50)) - 24.2
    for radius in (2.5, 4, 8, 20):
        assert describe_pixels((np.hypot(rows, columns) <= radius).astype(float)).solidity > 0.985


def test_solidity_counts_bays_and_holes():
    square = np.ones((10, 10))
    square[4:6, 4:6] = 0
    shape = describe_pixels(np.pad(square, 1))
    assert (shape.solidity, shape.holes, shape.components) == (0.96, 1, 1)
    angle = np.ones((10, 10))
    angle[:5, 5:] = 0  # of this quarter 10 pixels lie inside the slope of the hull
    assert describe_pixels(angle).solidity == pytest.approx(75 / 85)


def test_a_line_of_pixels_is_solid_and_a_broken_one_is_not():
    line = np.zeros((3, 20))
    line[1, 2:18] = 1
    assert describe_pixels(line).solidity == 1
    line[1, 10:14] = 0
    shape = describe_pixels(line)
    assert (shape.solidity, shape.components, shape.largest_share) == (12 / 16, 2, 8 / 12)


def test_pixels_that_touch_at_corners_are_one_piece_and_enclose_no_hole():
    ring = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], float)
    shape = describe_pixels(ring)
    assert (shape.components, shape.holes) == (1, 1)
    assert math.isnan(shape.solidity)


def test_shares_weigh_centroid_and_moments():
    shape = describe_pixels(np.array([[1.0, 0.5, 0.0]]))
    assert (shape.weight, shape.pixel_count) == (1.5, 2)
    assert shape.centroid[1] == pytest.approx(1 / 3)
    assert shape.covariance[1, 1] == pytest.approx((1 * (1 / 3) ** 2 + 0.5 * (2 / 3) ** 2) / 1.5)


@pytest.mark.parametrize(("angle", "first"), [(0, 8), (44, 8), (46, 6), (90, 6), (-44, 8), (-46, 6)])
def test_the_diameters_are_named_after_the_nearer_axis(angle, first):
    turn = math.radians(angle)
    axes = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    found = fit_ellipse(axes @ np.diag([4.0, 2.25]) @ axes.T)
    assert found.angle_deg == pytest.approx(angle)
    assert found.along_first_mm == pytest.approx(first)
    assert found.along_second_mm == pytest.approx(14 - first)


def test_a_circle_has_no_direction():
    found = fit_ellipse(np.eye(2) * 4)
    assert (found.major_mm, found.eccentricity, found.along_first_mm) == (8, 0, 8)
    assert math.isnan(found.angle_deg)
    assert math.isnan(fit_ellipse(np.zeros((2, 2))).major_mm)
