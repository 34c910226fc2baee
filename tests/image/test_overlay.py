import numpy as np
import pytest

from autoseg.errors import DataError
from autoseg.image.geometry import affine_from_spacing
from autoseg.image.image import Image, LabelMap
from autoseg.image.overlay import (
    choose_slices,
    display_scale,
    display_window,
    overlay_rgb,
    overlay_slices,
    pad_to_same,
    pixel_aspect,
)
from autoseg.image.structures import Structure, default_colour

RED = Structure(1, "disc", colour=(255, 0, 0))


def square():
    labels = np.zeros((9, 9), np.uint8)
    labels[2:7, 2:7] = 1
    return labels


def test_the_fill_mixes_the_colour_and_the_outline_is_stronger():
    picture = overlay_rgb(np.full((9, 9), 50.0), square(), [RED], opacity=0.4, window=(0, 100))
    assert picture[0, 0].tolist() == [128, 128, 128]
    np.testing.assert_allclose(picture[4, 4], 0.6 * 128 + 0.4 * np.array(RED.rgb), atol=1)
    np.testing.assert_allclose(picture[2, 4], 0.05 * 128 + 0.95 * np.array(RED.rgb), atol=1)


def test_only_the_outline_is_drawn_at_opacity_0():
    picture = overlay_rgb(np.full((9, 9), 50.0), square(), [RED], opacity=0.0, window=(0, 100))
    coloured = (picture != 128).any(axis=-1)
    assert coloured.sum() == 16
    assert not coloured[3:6, 3:6].any()


def test_scaled_outlines_stay_one_pixel_of_the_picture_thin():
    picture = overlay_rgb(np.full((9, 9), 50.0), square(), [RED], opacity=0.0, window=(0, 100), scale=(4, 3))
    assert picture.shape == (36, 27, 3)
    coloured = (picture != 128).any(axis=-1)
    assert coloured[8:28, 13].sum() == 2
    assert coloured[18, 6:21].sum() == 2


def test_neighbouring_structures_have_a_border_between_them():
    labels = np.ones((6, 6), np.uint8)
    labels[:, 3:] = 2
    picture = overlay_rgb(np.zeros((6, 6)), labels, [Structure(1, "a"), Structure(2, "b")], window=(0, 1))
    np.testing.assert_allclose(picture[3, 2], 0.95 * np.array(default_colour(1)), atol=1)
    np.testing.assert_allclose(picture[3, 3], 0.95 * np.array(default_colour(2)), atol=1)
    np.testing.assert_allclose(picture[3, 0], 0.45 * np.array(default_colour(1)), atol=1)


def test_the_slice_itself_is_not_changed():
    intensities, labels = np.arange(81.0).reshape(9, 9), square()
    overlay_rgb(intensities, labels, [RED])
    np.testing.assert_array_equal(intensities, np.arange(81.0).reshape(9, 9))
    np.testing.assert_array_equal(labels, square())


def test_labels_of_another_shape_are_refused():
    with pytest.raises(DataError, match=r"\(9, 9\).*\(8, 9\)"):
        overlay_rgb(np.zeros((9, 9)), square()[1:], [RED])
    image = Image(np.zeros((2, 9, 9)))
    other = LabelMap(square()[None], structures=(RED,))
    with pytest.raises(DataError, match="do not fit"):
        list(overlay_slices(image, other))
    with pytest.raises(DataError, match="do not fit"):
        choose_slices(image, [other], most=3)


def test_a_few_very_bright_pixels_do_not_darken_the_rest():
    voxels = np.linspace(0, 100, 10_000)
    voxels[:20] = 1e6
    low, high = display_window(voxels)
    assert low == pytest.approx(0.7, abs=0.2)
    assert high == pytest.approx(99.7, abs=0.2)


def test_windows_of_odd_slices():
    assert display_window(np.array([np.nan, np.inf])) == (0.0, 1.0)
    sparse = np.zeros(10_000)
    sparse[0] = 5
    assert display_window(sparse) == (0.0, 5.0)
    assert overlay_rgb(np.full((3, 3), 7), None, []).tolist() == np.full((3, 3, 3), 128).tolist()
    broken = np.array([[np.nan, 0.0], [1.0, np.inf]])
    assert overlay_rgb(broken, None, [], window=(0, 1))[..., 0].tolist() == [[0, 0], [255, 255]]


def test_slices_of_one_image_share_their_window():
    voxels = np.stack([np.full((20, 20), 10.0), np.full((20, 20), 20.0)])
    dark, bright = overlay_slices(Image(voxels), None)
    assert (dark[0, 0, 0], bright[0, 0, 0]) == (0, 255)


def test_unequal_pixels_are_shown_in_proportion():
    image = Image(np.zeros((1, 64, 128)), affine_from_spacing((5.0, 2.0, 1.0)))
    assert pixel_aspect(image) == 2.0
    (picture,) = overlay_slices(image, None)
    assert picture.shape == (512, 512, 3)
    assert display_scale((2000, 1000)) == (1, 1)


def test_slices_are_chosen_among_those_with_labels():
    image = Image(np.zeros((9, 9, 9)))
    voxels = np.zeros((9, 9, 9), np.uint8)
    voxels[2:7, 4, 4] = 1
    labels = LabelMap(voxels, structures=(RED,))
    assert choose_slices(image, [labels, None], most=3) == [2, 4, 6]
    assert choose_slices(image, [None], most=20) == list(range(9))


def test_pictures_of_several_sizes_are_centred_in_one():
    small, large = np.full((2, 4, 3), 9, np.uint8), np.full((4, 3, 3), 9, np.uint8)
    padded = pad_to_same([small, large])
    assert [picture.shape for picture in padded] == [(4, 4, 3)] * 2
    assert padded[0][:, 0, 0].tolist() == [0, 9, 9, 0]
