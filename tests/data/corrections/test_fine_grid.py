"""Slices made finer for the hand, and the way back: no label, no area and no place is lost."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from autoseg.data.corrections.fine_grid import downsample_labels, fine_affine, upsample_image, upsample_labels
from autoseg.errors import DataError, LabelError
from autoseg.image.geometry import affine_from_spacing
from autoseg.image.image import Image, LabelMap
from autoseg.image.structures import Structure
from autoseg.measurement.areas import measure_areas

STRUCTURES = (Structure(1, "cord"), Structure(3, "canal"), Structure(200, "disc"))
SHEARED = np.array([[0.1, 0.3, 0.4, -20], [0.5, 0.6, -0.2, 7], [5, 0.05, 0.1, 3], [0, 0, 0, 1.0]])


def random_labels(seed, shape=(3, 7, 5), affine=SHEARED):
    rng = np.random.default_rng(seed)
    return LabelMap(rng.choice([0, 1, 3, 200], shape).astype(np.uint8), affine, STRUCTURES)


def corners(affine, shape):
    """Outer corners of a slice, half a pixel beyond the outermost centres."""
    ends = [(s, r, c, 1) for s in (0, shape[0] - 1) for r in (-0.5, shape[1] - 0.5) for c in (-0.5, shape[2] - 0.5)]
    return (affine @ np.array(ends).T)[:3]


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    factor=st.integers(2, 5),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 6)),
    steps=st.lists(st.floats(-3, 3), min_size=12, max_size=12),
)
def test_up_and_back_is_the_identity_on_any_grid(seed, factor, shape, steps):
    affine = np.eye(4)
    affine[:3] = np.array(steps).reshape(3, 4) + 10 * np.eye(4)[:3]
    labels = random_labels(seed, shape, affine)
    fine = upsample_labels(labels, factor)
    assert np.allclose(corners(fine.affine, fine.shape), corners(labels.affine, labels.shape), atol=1e-9)
    back = downsample_labels(fine, factor)
    assert np.array_equal(back.voxels, labels.voxels)
    assert np.allclose(back.affine, labels.affine, atol=1e-9)
    assert np.array_equal(downsample_labels(fine, factor, affine=labels.affine).affine, labels.affine)


def test_a_structure_keeps_its_centroid_and_its_area():
    labels = random_labels(1)
    fine = upsample_labels(labels, 3)
    for label in (1, 3, 200):
        places = [
            (one.affine @ np.append(np.argwhere(one.voxels == label).mean(0), 1))[:3] for one in (labels, fine)
        ]
        assert np.abs(places[0] - places[1]).max() < 1e-6
    areas = [[row.area_mm2 for row in measure_areas(one)] for one in (labels, fine)]
    assert areas[0] == pytest.approx(areas[1])


@pytest.mark.parametrize("method", ["linear", "cubic"])
def test_an_intensity_ramp_stays_where_it_is(method):
    """Intensity equal to the place in mm, read at the fine pixels, is the fine pixels' place."""
    affine = affine_from_spacing((4.0, 0.6, 0.9), (10, 20, 30))
    rows, columns = np.mgrid[:12, :14]
    voxels = np.stack([20 + 0.6 * rows + 100 * s + 0 * columns for s in range(2)])
    fine = upsample_image(Image(voxels, affine), 3, method=method)
    index = np.array([[1, r, 20, 1] for r in range(36)]).T
    place = (fine.affine @ index)[1] + 100
    # At the rim there is nothing to interpolate with.
    assert np.allclose(fine.voxels[1, 8:-8, 20], place[8:-8], atol=0.01 if method == "cubic" else 1e-9)


@pytest.mark.parametrize("method", ["linear", "cubic"])
def test_the_image_agrees_with_scipy_asked_point_by_point(method):
    rng = np.random.default_rng(0)
    image = Image(rng.normal(0, 50, (2, 9, 8)), SHEARED)
    fine = upsample_image(image, 3, method=method)
    places = np.linalg.inv(image.affine) @ fine.affine @ np.array([[1, 11, 10, 1], [1, 13, 12, 1], [0, 12, 9, 1]]).T
    for number, (s, r, c) in enumerate([(1, 11, 10), (1, 13, 12), (0, 12, 9)]):
        expected = ndimage.map_coordinates(
            image.voxels[s], places[1:3, number, None], order=3 if method == "cubic" else 1, mode="nearest"
        )[0]
        low, high = image.voxels[s].min(), image.voxels[s].max()
        assert fine.voxels[s, r, c] == pytest.approx(np.clip(expected, low, high))


def test_whole_numbers_stay_whole_and_in_range_and_channels_stay_apart():
    voxels = np.zeros((2, 1, 6, 6), np.uint16)
    voxels[0, 0, 2:4, 2:4] = 1000
    fine = upsample_image(Image(voxels, SHEARED, ("a", "b")), 2)
    assert (fine.voxels.dtype, fine.voxels.shape) == (np.uint16, (2, 1, 12, 12))
    assert fine.voxels[0].max() == 1000
    assert fine.voxels[1].max() == 0


def block(*values):
    """One pixel's nine small ones."""
    return LabelMap(np.array(values, np.uint8).reshape(1, 3, 3), SHEARED, STRUCTURES)


def test_most_small_pixels_decide_and_ties_go_to_the_middle_then_to_the_smaller_label():
    assert downsample_labels(block(1, 1, 1, 1, 3, 3, 3, 3, 3)).voxels.item() == 3
    # Four each: the middle one decides, unless it is the odd one.
    assert downsample_labels(block(1, 1, 1, 1, 3, 3, 3, 3, 200)).voxels.item() == 3
    assert downsample_labels(block(3, 3, 3, 3, 1, 1, 1, 1, 200)).voxels.item() == 1
    assert downsample_labels(block(3, 3, 3, 3, 200, 1, 1, 1, 1)).voxels.item() == 1
    assert downsample_labels(block(0, 0, 0, 0, 200, 1, 1, 1, 1)).voxels.item() == 0
    even = LabelMap(np.array([[[1, 1], [0, 0]]], np.uint8), SHEARED, STRUCTURES)
    assert downsample_labels(even, 2).voxels.item() == 0


def test_shares_keep_the_area_that_was_drawn():
    rng = np.random.default_rng(2)
    fine = LabelMap(rng.choice([0, 1, 3, 200], (2, 12, 9)).astype(np.uint8), fine_affine(SHEARED, 3), STRUCTURES)
    back = downsample_labels(fine, as_shares=True)
    assert back.shares.shape == (3, 2, 4, 3)
    for share, structure in zip(back.shares, STRUCTURES, strict=True):
        drawn = (fine.voxels == structure.label).sum() * fine.pixel_mm2
        assert share.sum() * back.pixel_mm2 == pytest.approx(drawn, rel=1e-6)
    assert back.shares.sum(0).max() <= 1 + 1e-6


def test_what_cannot_be_is_refused():
    labels = random_labels(0)
    for factor in (0, 1, 9, 2.5):
        with pytest.raises(DataError, match="2 to 8 times finer"):
            upsample_labels(labels, factor)
    with pytest.raises(LabelError, match=r"7 × 5 pixels.*blocks of 3 × 3"):
        downsample_labels(labels, 3)
    image = Image(np.full((1, 4, 4), np.nan), SHEARED)
    with pytest.raises(DataError, match="16 values that are no numbers"):
        upsample_image(image)
    with pytest.raises(DataError, match="'sinc'"):
        upsample_image(image, method="sinc")
