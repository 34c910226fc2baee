"""The series table and its thumbnails."""

import numpy as np
import pydicom
import pytest

from autoseg.errors import ReadError
from autoseg.files.dicom import table as module
from autoseg.files.dicom.phantoms import SAGITTAL, Phantom, write_phantom
from autoseg.files.dicom.series import find_series
from autoseg.files.dicom.table import series_table, thumbnail, why_unlikely


def write(folder, uid="1.2.3", change=None, **phantom):
    options = {"rows": 40, "columns": 36, "pixel_spacing_mm": (3.5, 4.0), "places_mm": (0.0, 4.0, 8.0), **phantom}
    files = write_phantom(folder, Phantom("leg", **options))
    for path in files:
        dataset = pydicom.dcmread(path)
        dataset.SeriesInstanceUID, dataset.PatientName, dataset.StudyDate = uid, "Doe^Jane", "20240229"
        if change:
            change(dataset)
        dataset.save_as(path)
    return files


def the_row(folder):
    (row,) = series_table(find_series(folder)).to_dict("records")
    return row


def test_one_row_tells_what_the_header_says(tmp_path):
    write(tmp_path)
    assert the_row(tmp_path) == {
        "case_id": "series-1",
        "description": "leg",
        "modality": "MR",
        "rows": 40,
        "columns": 36,
        "pixel_row_mm": 3.5,
        "pixel_column_mm": 4.0,
        "slice_spacing_mm": 4.0,
        "slices": 3,
        "time_points": 1,
        "orientation": "axial",
        "date": "2024-02-29",
        "notes": "",
        "refusal": "",
    }


def test_series_are_rows_without_a_name_of_a_person(tmp_path):
    write(tmp_path / "Doe Jane" / "a", "1.2.3")
    write(tmp_path / "Doe Jane" / "b", "1.2.4", orientation=SAGITTAL)
    table = series_table(find_series(tmp_path))
    assert table["case_id"].tolist() == ["series-1", "series-1-2"]
    assert table["orientation"].tolist() == ["axial", "sagittal"]
    assert "Doe" not in table.to_csv()


@pytest.mark.parametrize(
    ("orientation", "name"),
    [
        ((1, 0, 0, 0, 1, 0), "axial"),
        ((1, 0, 0, 0, 0.94, 0.342), "axial"),
        ((0, 1, 0, 0, 0, -1), "sagittal"),
        ((1, 0, 0, 0, 0, -1), "coronal"),
        ((1, 0, 0, 0, 0.8, 0.6), "oblique"),
    ],
)
def test_the_plane_has_its_name(tmp_path, orientation, name):
    write(tmp_path, orientation=orientation)
    assert the_row(tmp_path)["orientation"] == name


def test_time_points_and_parts_are_counted_apart(tmp_path):
    write(tmp_path, moments=3, places_mm=(0.0, 4.0, 8.0, 30.0, 34.0))
    row = the_row(tmp_path)
    assert (row["slices"], row["time_points"], row["slice_spacing_mm"]) == (5, 3, 4.0)
    assert "not evenly spaced" in row["notes"]


def test_a_sheared_stack_shows_the_distance_along_the_normal(tmp_path):
    write(tmp_path, shear=0.25)
    assert the_row(tmp_path)["slice_spacing_mm"] == pytest.approx(4.0)


def test_what_the_header_does_not_tell_is_nan_and_not_one(tmp_path):
    def strip(dataset):
        del dataset.PixelSpacing, dataset.ImagePositionPatient, dataset.SliceThickness

    write(tmp_path, change=strip)
    row = the_row(tmp_path)
    assert np.isnan([row["pixel_row_mm"], row["pixel_column_mm"], row["slice_spacing_mm"]]).all()
    assert row["orientation"] == ""


def test_a_refused_series_is_a_row_with_its_reason(tmp_path):
    write(tmp_path, change=lambda dataset: setattr(dataset, "ImageType", ["ORIGINAL", "PRIMARY", "MOSAIC"]))
    assert "Siemens mosaic" in the_row(tmp_path)["refusal"]
    with pytest.raises(ReadError, match=r"1\.dcm.*Siemens mosaic"):
        thumbnail(find_series(tmp_path).series[0])


@pytest.mark.parametrize("multiframe", [False, True])
def test_a_thumbnail_is_the_middle_slice_and_opens_one_file(tmp_path, monkeypatch, multiframe):
    files = write(tmp_path, multiframe=multiframe, places_mm=(8.0, 0.0, 4.0), slope=2.0)
    opened = []
    right = module.read_frames
    monkeypatch.setattr(
        module, "read_frames", lambda path, **options: (opened.append((path, options)), right(path, **options))[1]
    )
    picture = thumbnail(find_series(tmp_path).series[0])
    assert opened == [(files[0] if multiframe else files[2], {"frame": 2 if multiframe else 0})]
    middle = Phantom("leg", rows=40, columns=36, pixel_spacing_mm=(3.5, 4.0)).stored(4.0, 0)
    assert picture.dtype == np.uint8
    assert picture.shape == (40, 36)
    assert np.corrcoef(picture.ravel(), middle.ravel())[0, 1] > 0.99
    assert (picture.min(), picture.max()) == (0, 255)


def test_a_mosaic_s_thumbnail_is_one_tile(shared_data):
    (series,) = find_series(shared_data / "dicom-zoo" / "siemens-mosaic" / "ep2d-384x384").series
    assert thumbnail(series).shape == (64, 64)


def test_why_a_series_is_hardly_meant(tmp_path):
    def named(name):
        def change(dataset):
            dataset.SeriesDescription = name

        return change

    def captured(dataset):
        dataset.Modality = "SC"

    write(tmp_path / "a", "1.2.3")
    write(tmp_path / "b", "1.2.4", named("3-plane localizer"))
    write(tmp_path / "c", "1.2.5", captured)
    plain, scout, screenshot = map(why_unlikely, find_series(tmp_path).series)
    assert plain == ""
    assert scout.startswith("A localiser")
    assert "secondary capture" in screenshot
