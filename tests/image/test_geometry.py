"""Affines, spacings and areas of one pixel against hand-computed cases."""

import numpy as np
import pytest

from autoseg.errors import GeometryError
from autoseg.image.geometry import (
    affine_from_axes,
    affine_from_spacing,
    check_affine,
    pixel_area_mm2,
    same_grid,
    slice_distance_mm,
    slice_normal,
    slice_positions_mm,
    spacing_from_affine,
)


def test_pixel_spacing_order_is_between_rows_then_between_columns():
    affine = affine_from_axes(
        position_mm=(10, 20, 30),
        orientation=(1, 0, 0, 0, 1, 0),
        pixel_spacing_mm=(2.0, 0.5),
        slice_step_mm=(0, 0, 4),
    )
    np.testing.assert_allclose(affine @ [1, 3, 5, 1], [10 + 5 * 0.5, 20 + 3 * 2.0, 34, 1])
    assert spacing_from_affine(affine) == (4.0, 2.0, 0.5)
    assert pixel_area_mm2(affine) == 1.0


def test_a_sheared_grid_has_the_cross_product_as_pixel_area():
    affine = affine_from_spacing((3, 0.5, 0.5)).copy()
    affine[:3, 2] = (0.5, 0.2, 0)  # rows lean
    assert pixel_area_mm2(affine) == pytest.approx(0.25)
    assert np.prod(spacing_from_affine(affine)[1:]) == pytest.approx(0.269, abs=1e-3)


def test_gantry_tilt_shortens_the_distance_between_slices():
    affine = affine_from_axes(
        position_mm=(0, 0, 0),
        orientation=(1, 0, 0, 0, 1, 0),
        pixel_spacing_mm=(1, 1),
        slice_step_mm=(0, 3, 4),
    )
    assert spacing_from_affine(affine)[0] == pytest.approx(5)
    assert slice_distance_mm(affine) == pytest.approx(4)
    np.testing.assert_allclose(slice_positions_mm(affine, 3), [0, 4, 8])


@pytest.mark.parametrize(
    ("orientation", "normal"),
    [
        ((1, 0, 0, 0, 1, 0), (0, 0, 1)),
        ((1, 0, 0, 0, -1, 0), (0, 0, 1)),
        ((0, 1, 0, 0, 0, -1), (1, 0, 0)),
        ((1, 0, 0, 0, 0, -1), (0, 1, 0)),
    ],
)
def test_normals_point_to_head_left_or_back(orientation, normal):
    np.testing.assert_allclose(slice_normal(orientation), normal)


def test_singular_broken_and_misshapen_affines_are_refused_but_tiny_steps_are_not():
    with pytest.raises(GeometryError, match=r"singular.*spacing is 0"):
        affine_from_spacing((1, 0, 1))
    with pytest.raises(GeometryError, match="NaN"):
        check_affine(np.full((4, 4), np.nan))
    with pytest.raises(GeometryError, match="shape"):
        check_affine(np.eye(3))
    with pytest.raises(GeometryError, match="parallel"):
        slice_normal((1, 0, 0, 1, 0, 0))
    assert spacing_from_affine(affine_from_spacing((1e-4, 1e-4, 1e-4))) == (1e-4, 1e-4, 1e-4)


def test_same_grid_tolerates_a_thousandth_of_a_voxel():
    one = affine_from_spacing((3, 1, 1))
    near, far = one.copy(), one.copy()
    near[0, 3] += 5e-4
    far[1, 1] += 1e-3  # adds up to 0.1 mm over 100 rows
    shape = (5, 101, 101)
    assert same_grid((shape, one), (shape, near))
    assert not same_grid((shape, one), (shape, far))
    assert not same_grid((shape, one), ((5, 101, 100), one))
    assert not same_grid((shape, one), (shape, None))
    assert same_grid((shape, None), (shape, None))
    square = (1, 50, 50)
    transposed = one.copy()
    transposed[:, [1, 2]] = one[:, [2, 1]]
    assert not same_grid((square, one), (square, transposed))
