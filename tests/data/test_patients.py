"""What a patient's folder offers, what is suggested, and what typed millimetres mean for it."""

import shutil

import cv2
import numpy as np
import pydicom
import pytest

from autoseg.data.patients import MOST_PICTURES, check_typed, find_patient, other_kind, suggest_series
from autoseg.errors import DataError, GeometryError
from autoseg.files.dicom.phantoms import Phantom, write_phantom
from autoseg.files.dicom.records import quiet
from autoseg.words import read_numbers


def write(folder, uid, description="T1", *, change=None, places_mm=(0.0, 4.0, 8.0)):
    shown = Phantom("leg", rows=40, columns=20, pixel_spacing_mm=(1.0, 2.0), places_mm=places_mm)
    paths = write_phantom(folder, shown)
    for path in paths:
        dataset = pydicom.dcmread(path)
        dataset.SeriesInstanceUID, dataset.SeriesDescription, dataset.PatientName = uid, description, "Doe^Jane"
        if change:
            change(dataset)
        dataset.save_as(path)
    return paths


def without_spacing(dataset):
    del dataset.PixelSpacing


def test_a_series_is_described_and_drawn_in_its_proportions(tmp_path):
    write(tmp_path, "1.2.3")
    (series,) = find_patient(tmp_path).candidates
    assert (series.case_id, series.description, series.modality) == ("series-1", "T1", "MR")
    assert (series.rows, series.columns, series.spacing_mm) == (40, 20, (1.0, 2.0))
    assert (series.slices, series.slice_spacing_mm, series.orientation) == (3, 4.0, "axial")
    picture = cv2.imdecode(np.frombuffer(series.png, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert picture.shape == (112, 112)  # 40 mm by 40 mm, though the pixels are twice as wide as tall
    assert picture.std() > 10
    assert "Doe" not in repr(series)


def test_one_usable_series_is_suggested_and_the_scout_is_not(tmp_path):
    write(tmp_path / "a", "1.2.3", "T1 axial")
    write(tmp_path / "b", "1.2.4", "Localizer")
    found = find_patient(tmp_path)
    chosen, why = suggest_series(found)
    assert chosen == ("series-1",)
    assert "series-1 is chosen." in why
    assert "series-1-2 is not: A localiser" in why


def test_of_several_kinds_none_is_suggested_of_one_kind_all(tmp_path):
    write(tmp_path / "a", "1.2.3", "T1")
    write(tmp_path / "b", "1.2.4", "t1")
    assert suggest_series(find_patient(tmp_path))[0] == ("series-1", "series-1-2")
    write(tmp_path / "c", "1.2.5", "T2")
    chosen, why = suggest_series(find_patient(tmp_path))
    assert chosen == ()
    assert "2 kinds" in why


def test_a_screenshot_is_not_suggested(tmp_path):
    def captured(dataset):
        dataset.Modality = "SC"

    write(tmp_path, "1.2.3", change=captured)
    chosen, why = suggest_series(find_patient(tmp_path))
    assert chosen == ()
    assert "secondary capture" in why


def test_a_refused_series_can_not_be_chosen(tmp_path):
    def mosaic(dataset):
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "MOSAIC"]

    write(tmp_path, "1.2.3", change=mosaic)
    found = find_patient(tmp_path)
    assert found.candidates[0].refusal
    assert found.choose() == ()
    assert suggest_series(found)[0] == ()


def test_a_damaged_middle_slice_costs_the_picture_not_the_series(tmp_path):
    paths = write(tmp_path, "1.2.3")
    paths[1].write_bytes(paths[1].read_bytes()[:-700])
    found = find_patient(tmp_path)
    assert any("cut off" in item.reason for item in found.skipped)
    assert [c.case_id for c in found.choose()] == ["series-1"]


def test_pictures_are_drawn_up_to_a_limit_and_then_listed(tmp_path):
    for number in range(MOST_PICTURES + 3):
        cv2.imwrite(str(tmp_path / f"p{number}.png"), np.full((30, 20), number, np.uint8))
    found = find_patient(tmp_path)
    assert not found.is_dicom
    assert [c.case_id for c in found.candidates[:3]] == ["p0", "p1", "p2"]
    assert sum(c.is_read for c in found.candidates) == MOST_PICTURES
    first = found.candidates[0]
    assert (first.rows, first.columns, first.spacing_mm) == (30, 20, None)
    assert first.png
    assert len(suggest_series(found)[0]) == MOST_PICTURES + 3


def test_a_broken_picture_says_so(tmp_path):
    cv2.imwrite(str(tmp_path / "good.png"), np.zeros((8, 8), np.uint8))
    (tmp_path / "bad.png").write_bytes(b"\x89PNG nothing")
    bad, good = find_patient(tmp_path).candidates
    assert "bad.png" in bad.refusal
    assert not good.refusal


def test_an_empty_folder_is_told(tmp_path):
    with pytest.raises(DataError, match="is empty"):
        find_patient(tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        find_patient(tmp_path / "nowhere")


def test_typed_millimetres_serve_the_silent_series_and_leave_the_others(tmp_path):
    write(tmp_path / "a", "1.2.3", change=without_spacing)
    write(tmp_path / "b", "1.2.4")
    check = check_typed(find_patient(tmp_path).candidates, field_of_view_mm=(80, 40), matrix_size=(40, 16))
    assert not check.differs
    assert check.lines[0] == "series-1: a pixel is 2 × 2 mm (field of view ÷ 40 × 20 pixels)."
    assert "acquisition's" in check.lines[1]
    assert "series-1-2: the header's pixel size is used." in check.lines


def test_typed_against_header_is_said_in_percent(tmp_path):
    write(tmp_path, "1.2.3")
    series = find_patient(tmp_path).candidates
    check = check_typed(series, field_of_view_mm=(80, 40))
    assert check.differs
    assert "100.0 % larger" in check.lines[0]
    assert not check_typed(series, field_of_view_mm=(40, 40)).differs
    with pytest.raises(GeometryError, match="Type two numbers"):
        check_typed(series, field_of_view_mm=40)


@pytest.mark.parametrize(
    ("words", "numbers"),
    [
        ("", None),
        ("240", 240.0),
        ("240 mm", 240.0),
        ("240mm x 180mm", (240.0, 180.0)),
        ("240x180", (240.0, 180.0)),
        ("[240, 180.5]", (240.0, 180.5)),
    ],
)
def test_numbers_as_a_person_types_them(words, numbers):
    assert read_numbers(words, "field of view") == numbers


@pytest.mark.parametrize("words", ["240,5", "wide", "1 x 2 x 3", "-3", "0", "1e3", "240 x 0"])
def test_what_is_no_number_or_may_be_two_is_refused(words):
    with pytest.raises(GeometryError, match="field of view"):
        read_numbers(words, "field of view")


def test_the_samples_patient_is_one_series_of_two_moments(sample, tmp_path):
    shutil.copytree(sample / "test" / "dicoms", tmp_path / "Doe Jane")
    with quiet():
        found = find_patient(tmp_path / "Doe Jane")
    (series,) = found.candidates
    assert (series.slices, series.time_points) == (10, 2)
    assert suggest_series(found)[0] == ("series-5",)


def test_labels_are_not_suggested_as_images(tmp_path):
    for number in range(MOST_PICTURES + 2):
        (tmp_path / "masks").mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / "masks" / f"p{number}.png"), np.full((30, 20), number, np.uint8))
    found = find_patient(tmp_path / "masks")
    chosen, why = suggest_series(found)
    assert chosen == ()
    assert "it is a label, not an image" in why
    assert why.count("label, not an image") == 1
    assert f"and {MOST_PICTURES - 1} more are not" in why
    assert len(found.choose()) == MOST_PICTURES + 2  # who knows better can tick them


def test_what_holds_for_many_images_is_said_once(tmp_path):
    for number in range(5):
        cv2.imwrite(str(tmp_path / f"p{number}.png"), np.full((30, 20), number, np.uint8))
    check = check_typed(find_patient(tmp_path).candidates, field_of_view_mm=(60, 20))
    assert check.lines == ("p0, p1, p2 and 2 more: a pixel is 2 × 1 mm (field of view ÷ 30 × 20 pixels).",)


def test_several_patients_in_one_folder_are_told_without_their_names(tmp_path):
    def another(dataset):
        dataset.PatientID, dataset.PatientName = "ID-ROE", "Roe^Rita"

    write(tmp_path / "a", "1.2.3")
    assert "patients" not in suggest_series(find_patient(tmp_path))[1]
    write(tmp_path / "b", "1.2.4", change=another)
    why = suggest_series(find_patient(tmp_path))[1]
    assert "holds images of 2 patients" in why
    assert "oe" not in why.replace("does", "")


@pytest.mark.parametrize(
    ("modality", "learnt", "said"),
    [
        ("CT", ("MR",), True),
        ("MR", ("MR",), False),
        ("MR", ("CT", "MR"), False),
        ("", ("MR",), False),
        ("CT", (), False),
    ],
)
def test_another_kind_of_images_than_the_model_learnt_is_said(modality, learnt, said):
    assert bool(other_kind(modality, learnt)) is said


def test_a_copy_under_another_uid_is_told_before_it_is_counted_twice(tmp_path):
    def other_pixels(dataset):
        dataset.PixelData = bytes(byte ^ 3 for byte in dataset.PixelData)

    write(tmp_path / "a", "1.2.3")
    write(tmp_path / "b", "1.2.4")
    write(tmp_path / "c", "1.2.5", change=other_pixels)
    first, copy, other = find_patient(tmp_path).candidates
    assert "the same as that of series-1: most likely a copy" in copy.notes
    assert first.notes == other.notes == ""


def test_empty_slices_are_no_copies(tmp_path):
    def empty(dataset):
        dataset.PixelData = bytes(len(dataset.PixelData))

    write(tmp_path / "a", "1.2.3", change=empty)
    write(tmp_path / "b", "1.2.4", change=empty)
    assert [c.notes for c in find_patient(tmp_path).candidates] == ["", ""]


def test_a_series_of_several_images_is_chosen_by_the_name_of_one(tmp_path):
    write_phantom(tmp_path, Phantom("cine", rows=40, columns=20, moments=3))
    found = find_patient(tmp_path)
    (series,) = found.candidates
    assert series.images == ("series-1_t01", "series-1_t02", "series-1_t03")
    assert found.choose(["series-1_t02"]) == found.choose(["series-1"]) == (series,)
    assert found.choose(["series-1_t04"]) == ()
