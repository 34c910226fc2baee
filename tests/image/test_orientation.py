"""Axes are reordered and turned so that slices lie as radiologists look at them, and no voxel moves."""

from itertools import permutations, product

import numpy as np
import pytest

from autoseg.errors import DataError
from autoseg.image.geometry import affine_from_spacing, pixel_area_mm2, spacing_from_affine
from autoseg.image.orientation import Arrangement, arrangement_for, arrangement_onto, plane_of

ORIENTATIONS = [(axes, signs) for axes in permutations(range(3)) for signs in product((1, -1), repeat=3)]
# Which way slices, rows and columns run, in DICOM's coordinates (left, back, head).
DIRECTIONS = {
    "axial": [(0, 0, 1), (0, 1, 0), (1, 0, 0)],
    "coronal": [(0, 1, 0), (0, 0, -1), (1, 0, 0)],
    "sagittal": [(1, 0, 0), (0, 0, -1), (0, 1, 0)],
}
SHAPE = (3, 4, 5)


def turned(axes, signs, spacing=(0.7, 0.8, 0.9), tilt_deg=10):
    """An affine whose array axis k runs along patient axis axes[k], all tilted a little."""
    affine = np.eye(4)
    affine[:3, :3] = np.eye(3)[:, list(axes)] * signs * spacing
    c, s = np.cos(np.deg2rad(tilt_deg)), np.sin(np.deg2rad(tilt_deg))
    affine[:3, :3] = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ affine[:3, :3]
    affine[:3, 3] = (-30, 12.5, 7)
    return affine


def places(affine, shape):
    indices = np.indices(shape).reshape(3, -1)
    return (affine[:3, :3] @ indices + affine[:3, 3:]).T


@pytest.mark.parametrize("plane", DIRECTIONS)
def test_every_voxel_keeps_its_value_and_its_place(plane):
    array = np.arange(60).reshape(SHAPE)
    for axes, signs in ORIENTATIONS:
        affine = turned(axes, signs)
        found = arrangement_for(affine, SHAPE, plane)
        voxels, new = found.apply(array), found.affine(affine, SHAPE)
        assert voxels.shape == found.shape(SHAPE)
        before, after = places(affine, SHAPE), places(new, voxels.shape)
        np.testing.assert_allclose(after[np.argsort(voxels.ravel())], before, atol=1e-9)
        for axis, direction in enumerate(DIRECTIONS[plane]):
            assert new[:3, axis] @ direction > 0.9 * np.linalg.norm(new[:3, axis])
        assert plane_of(new) == plane
        assert pixel_area_mm2(new) == pytest.approx(np.prod(spacing_from_affine(new)[1:]))


def test_one_grid_in_two_orientations_is_found_to_be_one():
    image_affine, image_shape = affine_from_spacing((0.9, 0.8, 0.7), (5, 6, 7)), (5, 4, 3)
    image = np.arange(60).reshape(image_shape)
    for axes, signs in ORIENTATIONS:
        back = Arrangement(tuple(int(np.argsort(axes)[k]) for k in range(3)), (False,) * 3)
        # The label's array: the image's with its axes in another order, some of them backwards.
        label = image.transpose(axes)[tuple(slice(None, None, sign) for sign in signs)]
        step = np.eye(4)
        step[:3, :3] = np.eye(3)[:, list(axes)] * signs
        step[:3, 3] = [(image_shape[axis] - 1) * (signs[list(axes).index(axis)] < 0) for axis in range(3)]
        found = arrangement_onto(image_affine @ step, label.shape, image_affine, image_shape)
        assert found.axes == back.axes
        np.testing.assert_array_equal(found.apply(label), image)
        np.testing.assert_allclose(found.affine(image_affine @ step, label.shape), image_affine)


def test_another_grid_is_not_taken_for_the_same():
    affine, shape = affine_from_spacing((3, 0.5, 0.5)), (5, 40, 40)
    assert arrangement_onto(affine, shape, affine, shape) is not None
    moved, wider, tilted = affine.copy(), affine.copy(), affine.copy()
    moved[0, 3] += 0.2
    wider[0, 2] *= 1.01
    tilted[:3, :3] = affine[:3, :3] @ np.array(
        [[1, 0, 0], [0, np.cos(0.1), -np.sin(0.1)], [0, np.sin(0.1), np.cos(0.1)]]
    )
    for other in (moved, wider, tilted, np.diag([2, 2, 2, 1.0]) @ affine):
        assert arrangement_onto(other, shape, affine, shape) is None
    assert arrangement_onto(affine, (5, 40, 39), affine, shape) is None
    # What headers round away (here a tenth of a voxel at the far end) makes no other grid.
    rounded = affine.copy()
    rounded[0, 2] += 0.05 / 39
    assert arrangement_onto(rounded, shape, affine, shape) is not None


@pytest.mark.parametrize(
    ("spacing", "shape", "plane"),
    [
        ((1, 1, 1), SHAPE, "axial"),
        ((1, 1, 3), SHAPE, "axial"),
        ((3, 1, 1), SHAPE, "sagittal"),
        ((1, 3, 1), SHAPE, "coronal"),
        ((1.4, 1, 1), SHAPE, "axial"),
        ((1.5, 1, 1), SHAPE, "sagittal"),
        ((3, 2.5, 1), SHAPE, "axial"),
        ((3, 1, 1), (4, 5, 1), "axial"),
        ((1, 1, 1), (1, 4, 5), "sagittal"),
        ((1, 1, 3), (1, 4, 1), "axial"),
    ],
)
def test_slices_lie_across_the_clearly_longest_step(spacing, shape, plane):
    found = arrangement_for(np.diag([*spacing, 1.0]), shape)
    assert plane_of(found.affine(np.diag([*spacing, 1.0]), shape)) == plane


def test_a_plane_of_another_name_is_refused():
    with pytest.raises(DataError, match="'axial', 'coronal' or 'sagittal', not 'transverse'"):
        arrangement_for(np.eye(4), SHAPE, "transverse")


def test_at_45_degrees_the_last_digit_decides_nothing():
    results = set()
    for hair in (-1e-9, 0, 1e-9):
        affine = turned((0, 1, 2), (1, 1, 1), (1, 1, 1), tilt_deg=45 + hair)
        results.add(arrangement_for(affine, SHAPE))
    assert len(results) == 1
