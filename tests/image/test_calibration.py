import numpy as np
import pytest

from autoseg.errors import GeometryError
from autoseg.image.calibration import (
    area_effect_percent,
    calibrate,
    check_typed_spacing,
    pixel_spacing_from_field_of_view,
)
from autoseg.image.geometry import affine_from_axes, affine_from_spacing, pixel_area_mm2
from autoseg.image.image import Image, Source

OBLIQUE = affine_from_axes(
    position_mm=(5, 6, 7),
    orientation=(0.8, 0.6, 0, 0, 0, -1),
    pixel_spacing_mm=(0.5, 0.4),
    slice_step_mm=(2.4, -3.2, 0),
)


def image(affine=None, *, shape=(2, 256, 256), slices="none", name="scan"):
    source = Source(
        case_id=name, spacing_source="none" if affine is None else "header", slice_spacing_source=slices
    )
    return Image(np.zeros(shape, np.int16), affine, source=source)


def test_the_published_case_divides_by_the_reconstructed_matrix():
    choice = pixel_spacing_from_field_of_view(240, (256, 256), matrix_size=224)
    assert choice.spacing_mm == (0.9375, 0.9375)
    assert "224 × 224" in choice.note
    assert "256 × 256" in choice.note
    assert "30.6 % larger" in choice.note
    assert "not used" in choice.note


def test_a_typed_matrix_that_is_the_images_needs_no_word():
    assert pixel_spacing_from_field_of_view(240, (256, 256), matrix_size=(256, 256)).note == ""


def test_field_of_view_and_rows_belong_together():
    assert pixel_spacing_from_field_of_view((300, 200), (600, 800)).spacing_mm == (0.5, 0.25)


def test_one_field_of_view_does_not_squeeze_an_image_that_is_not_square():
    with pytest.raises(GeometryError, match=r"240 mm.*600 rows and 800 columns.*two numbers"):
        calibrate(image(shape=(1, 600, 800)), field_of_view_mm=240)


@pytest.mark.parametrize("typed", [0, -240, float("nan"), (240, 240, 240)])
def test_an_impossible_field_of_view_is_refused(typed):
    with pytest.raises(GeometryError, match="field of view"):
        pixel_spacing_from_field_of_view(typed, (256, 256))


@pytest.mark.parametrize("typed", [0, (224, -1), ()])
def test_an_impossible_matrix_is_refused(typed):
    with pytest.raises(GeometryError, match="matrix size"):
        pixel_spacing_from_field_of_view(240, (256, 256), matrix_size=typed)


def test_header_and_typed_may_differ_by_half_a_percent():
    assert check_typed_spacing((1.0, 1.0), (1.0049, 0.9951)) == ""
    assert "2.0 % larger" in check_typed_spacing((1.0, 1.0), (1.01, 1.01))
    assert "1.0 % smaller" in check_typed_spacing((1.0, 1.0), (1.0, 0.99))


def test_the_effect_on_areas_counts_both_spacings():
    assert area_effect_percent((1.1, 0.5), (1.0, 1.0)) == pytest.approx(-45.0)


def test_without_a_typed_field_of_view_the_image_stays_as_it_is():
    scan = image(OBLIQUE)
    assert calibrate(scan) is scan
    assert calibrate(image()).affine is None


def test_a_typed_field_of_view_calibrates_an_image_without_header():
    calibrated = calibrate(image(), field_of_view_mm=240)
    assert calibrated.spacing_mm == (1.0, 0.9375, 0.9375)
    assert (calibrated.source.spacing_source, calibrated.source.slice_spacing_source) == ("typed", "none")
    assert calibrated.pixel_mm2 == pytest.approx(0.9375**2)


def test_a_typed_slice_spacing_replaces_only_a_placeholder():
    stacked = calibrate(image(), field_of_view_mm=240, slice_spacing_mm=4)
    assert (stacked.spacing_mm[0], stacked.source.slice_spacing_source) == (4.0, "typed")
    placeholder = calibrate(image(affine_from_spacing((1.0, 0.5, 0.5))), slice_spacing_mm=4)
    assert (placeholder.spacing_mm, placeholder.source.slice_spacing_source) == ((4.0, 0.5, 0.5), "typed")
    known = image(affine_from_spacing((3.0, 0.5, 0.5)), slices="header")
    assert calibrate(known, slice_spacing_mm=4).spacing_mm[0] == 3.0
    with pytest.raises(GeometryError, match="slice spacing is -1"):
        calibrate(known, slice_spacing_mm=-1)


def test_header_and_typed_that_differ_need_a_choice():
    scan = image(affine_from_spacing((3.0, 1.0, 1.0)))
    with pytest.raises(GeometryError) as caught:
        calibrate(scan, field_of_view_mm=240)
    message = str(caught.value)
    for words in (
        "scan",
        "1 × 1 mm",
        "0.9375 × 0.9375 mm",
        "12.1 % smaller",
        "prefer header",
        "prefer typed",
    ):
        assert words in message


def test_the_matrix_is_explained_where_a_choice_is_needed():
    with pytest.raises(GeometryError, match="acquisition's"):
        calibrate(image(affine_from_spacing((3.0, 1.0, 1.0))), field_of_view_mm=240, matrix_size=224)


def test_the_header_can_be_preferred():
    scan = image(affine_from_spacing((3.0, 1.0, 1.0)))
    assert calibrate(scan, field_of_view_mm=240, prefer="header").spacing_mm == (3.0, 1.0, 1.0)


def test_the_typed_spacing_keeps_directions_and_the_first_pixel():
    calibrated = calibrate(image(OBLIQUE, slices="header"), field_of_view_mm=(256, 512), prefer="typed")
    assert calibrated.source.spacing_source == "typed"
    assert calibrated.spacing_mm == pytest.approx((4.0, 1.0, 2.0))
    assert pixel_area_mm2(calibrated.affine) == pytest.approx(2.0)
    np.testing.assert_allclose(calibrated.affine[:, 3], OBLIQUE[:, 3])
    np.testing.assert_allclose(calibrated.affine[:3, 1], OBLIQUE[:3, 1] * 2)


def test_where_both_agree_the_header_is_kept_with_its_digits():
    scan = image(affine_from_spacing((3.0, 0.93751, 0.93751)))
    kept = calibrate(scan, field_of_view_mm=240, prefer="typed")
    assert kept.spacing_mm[1] == 0.93751
    assert kept.source.spacing_source == "header"


def test_another_word_for_prefer_is_refused():
    with pytest.raises(GeometryError, match="'dicom'"):
        calibrate(image(), field_of_view_mm=240, prefer="dicom")
