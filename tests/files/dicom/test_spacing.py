"""Pixel sizes where PixelSpacing is missing: ultrasound regions."""

import pydicom
import pytest
from pydicom.dataset import Dataset

from autoseg.files.dicom.phantoms import Phantom, write_phantom
from autoseg.files.dicom.series import find_series, read_dicom_file, read_series


def region(delta_x=0.02, delta_y=0.03, kind=1, units=3):
    item = Dataset()
    item.RegionSpatialFormat, item.RegionDataType = kind, 1
    item.PhysicalUnitsXDirection = item.PhysicalUnitsYDirection = units
    item.PhysicalDeltaX, item.PhysicalDeltaY = delta_x, delta_y
    item.RegionLocationMinX0, item.RegionLocationMinY0 = 2, 3
    item.RegionLocationMaxX1, item.RegionLocationMaxY1 = 30, 20
    return item


def ultrasound(folder, *regions, spacing=None):
    """Write one slice with these regions and, if given, a PixelSpacing."""
    (path,) = write_phantom(folder, Phantom("us", rows=40, columns=36, places_mm=(0.0,)))
    dataset = pydicom.dcmread(path)
    del dataset.PixelSpacing, dataset.ImagePositionPatient, dataset.ImageOrientationPatient
    if spacing:
        dataset.PixelSpacing = spacing
    dataset.Modality = "US"
    dataset.SequenceOfUltrasoundRegions = list(regions)
    dataset.save_as(path)
    (series,) = find_series(folder).series
    return read_dicom_file(path)[0], " ".join(series.notes)


def test_centimetres_of_a_region_become_the_pixel_size_and_it_is_said_where(tmp_path):
    image, notes = ultrasound(tmp_path, region(), region(0.5, 0.0, kind=4, units=4))
    assert image.spacing_mm[1:] == pytest.approx((0.3, 0.2))
    assert image.source.spacing_source == "header"
    assert "0.3 × 0.2 mm" in notes
    assert "inside it only (rows 3 to 20, columns 2 to 30)" in notes


def test_pixel_spacing_comes_first(tmp_path):
    image, notes = ultrasound(tmp_path, region(), spacing=[0.7, 0.7])
    assert image.spacing_mm[1:] == pytest.approx((0.7, 0.7))
    assert "ultrasound" not in notes


def test_two_regions_of_one_size_are_used_and_of_two_are_not(tmp_path):
    same, notes = ultrasound(tmp_path / "same", region(), region(-0.02, 0.03))
    assert same.spacing_mm[1:] == pytest.approx((0.3, 0.2))
    assert notes.count("rows 3 to 20") == 2
    near, _ = ultrasound(tmp_path / "near", region(), region(0.02004, 0.03))  # 0.2 % is another magnification
    assert near.affine is None
    other, notes = ultrasound(tmp_path / "other", region(), region(0.04, 0.06))
    assert other.affine is None
    assert "2 ultrasound regions have pixels of several sizes" in notes
    assert "type the pixel size" in notes


@pytest.mark.parametrize("wrong", [region(units=4), region(kind=2), region(0.0, 0.0), region(float("nan"), 1.0)])
def test_regions_without_a_length_give_none(tmp_path, wrong):
    image, notes = ultrasound(tmp_path, wrong)
    assert image.affine is None
    assert "no PixelSpacing" in notes or "of none" in notes


def test_a_real_ultrasound_with_a_scale_and_two_doppler_strips(shared_data):
    folder = shared_data / "dicom-zoo" / "monochrome1-or-no-spacing"
    series = next(s for s in find_series(folder).series if s.modality == "US")
    (image,) = read_series(series)
    assert image.spacing_mm[1:] == pytest.approx((0.3305420890, 0.3305420890))
    assert "rows 60 to 518, columns 120 to 800" in " ".join(series.notes)


def slice_with(folder, change):
    (path,) = write_phantom(
        folder, Phantom("mr", rows=40, columns=36, pixel_spacing_mm=(0.7, 0.5), places_mm=(0.0,))
    )
    dataset = pydicom.dcmread(path)
    change(dataset)
    dataset.save_as(path)
    (series,) = find_series(folder).series
    return read_dicom_file(path)[0], " ".join(series.notes)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("LO", "0.7\\0.5"),
        ("SH", "0.7 \\ 0.5"),
        ("UT", "0.7\\0.5"),
        ("UN", b"0.7\\0.5 "),
        ("OB", b"0.7\\0.5\0"),
        ("FD", [0.7, 0.5]),
        ("FL", [0.7, 0.5]),
    ],
)
def test_a_pixel_size_of_another_value_representation_is_read(tmp_path, kind, value):
    def change(dataset):
        del dataset.PixelSpacing
        dataset.add_new("PixelSpacing", kind, value)

    image, notes = slice_with(tmp_path, change)
    assert image.spacing_mm[1:] == pytest.approx((0.7, 0.5))
    assert notes == ""


@pytest.mark.parametrize("wrong", [[0.0005, 0.0005], [0.5, 250], [700, 500], [0, 0], [-0.5, 0.5]])
def test_a_pixel_size_that_cannot_be_a_person_s_is_unknown_and_said(tmp_path, wrong):
    image, notes = slice_with(tmp_path, lambda dataset: setattr(dataset, "PixelSpacing", wrong))
    assert image.affine is None
    assert "which cannot be; it counts as unknown" in notes


@pytest.mark.parametrize("fine", [[0.001, 0.001], [200, 200]])
def test_the_smallest_and_the_largest_that_can_be_are_kept(tmp_path, fine):
    image, notes = slice_with(tmp_path, lambda dataset: setattr(dataset, "PixelSpacing", fine))
    assert image.spacing_mm[1:] == pytest.approx(fine)
    assert notes == ""


def test_regions_and_thickness_are_held_to_the_same(tmp_path):
    assert ultrasound(tmp_path, region(2000, 2000))[0].affine is None

    def thick(dataset):
        dataset.SpacingBetweenSlices, dataset.SliceThickness = 0.0001, 6

    assert slice_with(tmp_path / "thick", thick)[0].spacing_mm[0] == 6
