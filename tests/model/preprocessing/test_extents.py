"""Sizes on the image's, the stored and the network's grid, and how they are chosen."""

import numpy as np
import pytest

from autoseg.errors import DataError, GeometryError
from autoseg.image.geometry import affine_from_spacing
from autoseg.image.image import Image, Source
from autoseg.model.preprocessing.extents import (
    choose_input_shape,
    choose_spacing_mm,
    crop_size,
    extent_of,
    frame_size,
    plan_spacing,
)
from autoseg.model.settings.settings import PreprocessSettings


def _image(rows, columns, spacing=(5.0, 1.0, 1.0), **source):
    affine = None if spacing is None else affine_from_spacing(spacing)
    return Image(np.zeros((1, rows, columns), dtype=np.int16), affine, source=Source(**source))


def test_sizes_follow_millimetres_and_frames_the_stride():
    extent = extent_of(_image(256, 200, (5.0, 1.5, 1.0)), PreprocessSettings(spacing_mm=2.0))
    assert extent.network == (192, 100)
    assert extent.stored == (256, 200)
    assert frame_size([extent], 16) == (192, 112)
    fine = extent_of(_image(256, 256, (5.0, 0.25, 0.25)), PreprocessSettings(spacing_mm=1.0))
    assert fine.network == (64, 64)
    assert fine.stored == (128, 128)


def test_input_shape_needs_no_millimetres():
    image = Image(np.zeros((1, 50, 80), dtype=np.int16))
    assert extent_of(image, PreprocessSettings(input_shape=(64, 64))).network == (64, 64)
    with pytest.raises(GeometryError, match="pixel spacing"):
        extent_of(image, PreprocessSettings(spacing_mm=1.0))


def test_spacing_is_the_median_but_no_more_than_192_pixels_across():
    assert choose_spacing_mm([((128, 128), (1.5, 1.5)), ((128, 100), (1.4, 1.4)), ((90, 90), (1.5, 1.5))]) == 1.5
    assert choose_spacing_mm([((512, 512), (0.75, 0.75))]) == pytest.approx(2.0)
    with pytest.raises(DataError, match="no images"):
        choose_spacing_mm([])


def test_spacing_is_planned_only_where_it_was_not_given():
    images = [_image(64, 64, (8.0, 1.5, 1.5))]
    assert plan_spacing(PreprocessSettings(), images).spacing_mm == 1.5
    for given in (PreprocessSettings(spacing_mm=2.0), PreprocessSettings(input_shape=(64, 64))):
        assert plan_spacing(given, images) == given


def test_images_without_millimetres_get_their_median_shape():
    images = [_image(640, 512, None), _image(640, 512, None), _image(100, 900, None)]
    planned = plan_spacing(PreprocessSettings(), images)
    assert (planned.input_shape, planned.spacing_mm) == ((192, 154), None)
    assert extent_of(images[2], planned).network == (192, 154)
    assert choose_input_shape([(90, 60), (92, 62), (90, 60)]) == (90, 60)
    assert choose_input_shape([(20, 100)]) == (32, 100)  # the settings take no less than 32
    with pytest.raises(DataError, match="no images"):
        choose_input_shape([])


def test_millimetres_on_some_images_only_are_refused_with_the_ways_out():
    images = [_image(64, 64, None, case_id="plain"), _image(64, 64, case_id="measured")]
    with pytest.raises(DataError, match=r"1 of 2 .*plain.*measured.*field of view.*input_shape"):
        plan_spacing(PreprocessSettings(), images)
    shaped = PreprocessSettings(input_shape=(64, 64))
    assert plan_spacing(shaped, images) == shaped
    with pytest.raises(DataError, match=r"crop_mm.*no pixel spacing.*crop_shape"):
        plan_spacing(PreprocessSettings(crop_mm=(30, 30)), images[:1])


def test_a_crop_lets_the_network_see_finer_pixels():
    images = [_image(384, 384, (3, 0.5, 0.5))]
    assert plan_spacing(PreprocessSettings(), images).spacing_mm == pytest.approx(1.0)
    cropped = plan_spacing(PreprocessSettings(crop_mm=(48, 40)), images)
    assert cropped.spacing_mm == 0.5
    assert crop_size(cropped, (384, 384), 16) == (96, 80)
    in_pixels = plan_spacing(PreprocessSettings(crop_shape=(90, 80)), [_image(640, 512, None)])
    assert in_pixels.input_shape == (640, 512)
    assert crop_size(in_pixels, (640, 512), 16) == (96, 80)


def test_a_crop_is_no_larger_than_the_image_and_a_multiple_of_the_stride():
    settings = PreprocessSettings(spacing_mm=0.1, crop_mm=(4.8, 30.0))
    assert crop_size(settings, (96, 96), 16) == (48, 96)
    assert crop_size(settings, (48, 96), 16) is None  # nothing is left out
    assert crop_size(PreprocessSettings(spacing_mm=0.1), (96, 96), 16) is None


def test_a_site_has_a_crop_of_its_own_brought_to_the_same_size():
    by_site = (("site1", 50, 40), ("site10", 25, 20))
    in_pixels = PreprocessSettings(input_shape=(99, 99), crop_shape=(100, 80), crop_by_site=by_site)
    assert extent_of(_image(200, 160, None, case_id="site1-sc01"), in_pixels).network == (400, 320)
    assert extent_of(_image(200, 160, None, subject_id="site10"), in_pixels).network == (800, 640)
    assert extent_of(_image(200, 160, None, case_id="site2-sc01"), in_pixels).network == (99, 99)
    in_mm = PreprocessSettings(spacing_mm=0.5, crop_mm=(100, 80), crop_by_site=by_site)
    assert extent_of(_image(200, 160, case_id="site1-sc01"), in_mm).network == (800, 640)
    assert extent_of(_image(200, 160, case_id="elsewhere"), in_mm).network == (400, 320)


def test_an_absurd_grid_is_refused():
    with pytest.raises(GeometryError, match=r"\(10000, 10000\) pixels.*Check the pixel spacing"):
        extent_of(_image(100, 100, (5, 100, 100)), PreprocessSettings(spacing_mm=1.0))
