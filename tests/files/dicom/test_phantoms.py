"""The phantoms themselves: files that say what their parameters say, truths that can be computed by hand."""

import numpy as np
import pydicom
import pytest

from autoseg.files.dicom.phantoms import PHANTOMS, SYNTAXES, Phantom, Shape, write_phantom


def test_a_rectangle_on_whole_pixels_has_its_exact_area():
    """6 x 4 pixels of 2 mm x 0.5 mm: pixel centres at ±0.25, ±0.75 … across and ±1, ±3 … down."""
    shape = Shape(1, "rectangle", (0.0, 0.0), (1.0, 6.0))
    phantom = Phantom("exact", pixel_spacing_mm=(2.0, 0.5), places_mm=(0.0,), shapes=(shape,))
    (truth,) = phantom.truth()
    assert (truth.pixel_count, truth.area_mm2, truth.shape_area_mm2) == (6 * 4, 24.0, 24.0)


def test_the_middle_of_a_shape_is_where_its_parameters_put_it():
    shape = Shape(1, "ellipse", (10.0, -5.0), (6.0, 6.0))
    phantom = Phantom("placed", places_mm=(7.0,), origin_mm=(1.0, 2.0, 3.0), shapes=(shape,))
    (truth,) = phantom.truth()
    assert truth.centre_mm == pytest.approx((11.0, -3.0, 10.0), abs=0.3)
    assert truth.position_mm == pytest.approx(10.0)


def test_shapes_grow_along_the_normal_and_lie_apart():
    for phantom in PHANTOMS:
        areas = [row.area_mm2 for row in phantom.truth() if row.label == 1]
        assert len(set(areas)) == len(areas), f"{phantom.name}: two slices look alike, so order cannot show"
        whole = [row.shape_area_mm2 / row.area_mm2 for row in phantom.truth()]
        assert min(whole) > 0.94, f"{phantom.name}: shapes overlap or leave the picture"
        assert max(whole) < 1.06, f"{phantom.name}: shapes overlap or leave the picture"


def test_every_way_of_storing_is_among_the_phantoms():
    assert {phantom.syntax for phantom in PHANTOMS} == set(SYNTAXES)
    for flag in ("inverted", "signed", "multiframe"):
        assert any(getattr(phantom, flag) for phantom in PHANTOMS)
    assert min(p.pixel_spacing_mm[0] for p in PHANTOMS) == 0.5
    assert max(p.pixel_spacing_mm[0] for p in PHANTOMS) == 3.0


@pytest.mark.parametrize("phantom", PHANTOMS, ids=lambda phantom: phantom.name)
def test_the_files_hold_what_the_phantom_says(tmp_path, phantom):
    files = write_phantom(tmp_path / "new", phantom)
    first = pydicom.dcmread(files[0])
    assert first.file_meta.TransferSyntaxUID == SYNTAXES[phantom.syntax]
    assert (first.Rows, first.Columns) == (phantom.rows, phantom.columns)
    assert "PatientName" not in first
    pixels = first.pixel_array.reshape(-1, phantom.rows, phantom.columns)
    np.testing.assert_array_equal(pixels[0], phantom.stored(phantom.places_mm[0], 0))
    assert len(pixels) * len(files) == len(phantom.places_mm) * phantom.moments


def test_the_first_pixels_position_is_the_header_s(tmp_path):
    phantom = Phantom("corner", rows=3, columns=5, pixel_spacing_mm=(2.0, 1.0), origin_mm=(0.0, 0.0, 0.0))
    header = pydicom.dcmread(write_phantom(tmp_path, phantom)[0])
    assert list(header.ImagePositionPatient) == [-2.0, -2.0, 0.0]
    assert list(header.PixelSpacing) == [2.0, 1.0]
