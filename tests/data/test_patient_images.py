"""Reading a patient's images with the millimetres in force."""

import cv2
import nibabel
import numpy as np
import psutil
import pydicom
import pytest

from autoseg.data.patients import read_patient, warn_of_memory
from autoseg.errors import DataError, GeometryError, ReadError
from autoseg.files.dicom.phantoms import Phantom, write_phantom
from autoseg.files.dicom.records import quiet
from autoseg.image.calibration import TypedCalibration
from autoseg.image.image import Image
from autoseg.words import GraveNote


def pictures(folder, *names):
    for name in names:
        cv2.imwrite(str(folder / f"{name}.png"), np.full((30, 20), 7, np.uint8))


def volume(folder, name):
    array = np.zeros((12, 10, 4), np.int16)
    array[3:5] = 9
    nibabel.save(nibabel.Nifti1Image(array, np.diag([-2.0, -2.0, 5.0, 1.0])), folder / f"{name}.nii.gz")


def test_pictures_have_no_millimetres_unless_a_field_of_view_is_typed(tmp_path):
    pictures(tmp_path, "a", "b")
    images, _, _ = read_patient(tmp_path)
    assert [image.affine for image in images] == [None, None]
    with pytest.raises(GeometryError, match="field of view"):
        read_patient(tmp_path, needs_mm=True)
    images, notes, _ = read_patient(
        tmp_path, typed=TypedCalibration(field_of_view_mm=(60, 40), matrix_size=(15, 10))
    )
    assert [image.spacing_mm[1:] for image in images] == [(2.0, 2.0)] * 2
    assert any("acquisition's" in note for note in notes)


def test_a_model_that_must_know_sizes_leaves_out_what_has_none(tmp_path):
    pictures(tmp_path, "silent")
    volume(tmp_path, "known")
    images, notes, _ = read_patient(tmp_path, needs_mm=True)
    assert [image.source.case_id for image in images] == ["known"]
    assert "Left out: " in notes[0]
    assert "silent.png has no pixel spacing" in notes[0]


def test_every_size_of_image_may_have_a_field_of_view_of_its_own(tmp_path):
    pictures(tmp_path, "a")
    cv2.imwrite(str(tmp_path / "large.png"), np.full((60, 40), 7, np.uint8))
    cv2.imwrite(str(tmp_path / "other.png"), np.full((10, 10), 7, np.uint8))

    def sizes(**typed):
        images, notes, _ = read_patient(tmp_path, typed=TypedCalibration(**typed))
        return {i.source.case_id: i.affine is not None and i.spacing_mm[1:] for i in images}, notes

    mm, notes = sizes(field_of_view_mm={(30, 20): (60, 40), (60, 40): (60, 40)})
    assert (mm, notes) == ({"a": (2.0, 2.0), "large": (1.0, 1.0), "other": False}, [])
    mm, notes = sizes(pixel_spacing_mm=(0.5, 0.25))
    assert (set(mm.values()), notes) == ({(0.5, 0.25)}, [])
    _, (note,) = sizes(field_of_view_mm=(60, 40))
    assert isinstance(note, GraveNote)
    assert "taken for images of 3 sizes: 30 × 20 (a pixel of 2 × 2 mm), 60 × 40 (a pixel of 1 × 1 mm)" in note
    with pytest.raises(GeometryError, match="not both"):
        TypedCalibration(field_of_view_mm=240, pixel_spacing_mm=(1, 1))


# --- levels


def test_the_level_file_beside_a_volume_is_read(tmp_path):
    volume(tmp_path, "cord")
    (tmp_path / "cord-levels.txt").write_text("1, L1\n2, T12\n3, -\n4, T11\n")
    (image,), notes, _ = read_patient(tmp_path)
    assert [place.level for place in image.source.slices] == ["L1", "T12", "", "T11"]
    assert notes == []
    (tmp_path / "cord-levels.txt").write_text("1, L1\n2, T12\n")
    _, (note,), _ = read_patient(tmp_path)
    assert isinstance(note, GraveNote)
    assert "names 2 slices, numbers 1 to 2, and cord has 4." in note


@pytest.mark.parametrize("name", ["levels.txt", "series-1-levels.txt", "anything_level.txt"])
def test_a_dicom_series_has_its_levels_by_the_numbers_of_its_slices(tmp_path, name):
    write_phantom(tmp_path, Phantom("leg", rows=40, columns=20))
    (image,), _, before = read_patient(tmp_path)
    assert {place.level for place in image.source.slices} == {""}
    count = image.shape[0]
    (tmp_path / name).write_text("".join(f"{n}, C{n}\n" for n in range(1, count + 1)))
    (image,), notes, skipped = read_patient(tmp_path)
    assert [place.level for place in image.source.slices] == [f"C{n}" for n in range(1, count + 1)]
    assert skipped == before  # what was read is not said to be left alone
    assert not any(isinstance(note, GraveNote) for note in notes)


def test_a_level_file_of_nobody_knows_which_series_is_said(tmp_path):
    for number in (1, 2):
        for path in write_phantom(tmp_path / str(number), Phantom("leg", rows=40, columns=20)):
            with quiet():
                dataset = pydicom.dcmread(path)
                dataset.SeriesInstanceUID = f"1.2.{number}"
                dataset.save_as(path)
    (tmp_path / "levels.txt").write_text("1, C1\n")
    images, notes, _ = read_patient(tmp_path)
    assert {place.level for image in images for place in image.source.slices} == {""}
    (note,) = [note for note in notes if isinstance(note, GraveNote) and "levels" in note]
    assert f"Name it after the series, such as {images[0].source.case_id}-levels.txt" in note


def test_a_broken_file_is_left_out_and_named(tmp_path):
    pictures(tmp_path, "good")
    (tmp_path / "bad.png").write_bytes(b"\x89PNG nothing")
    images, notes, _ = read_patient(tmp_path, typed=TypedCalibration(field_of_view_mm=(60, 40)))
    assert [image.source.case_id for image in images] == ["good"]
    assert notes[0].startswith("Left out: ")
    assert "bad.png" in notes[0]
    with pytest.raises(ReadError, match="bad"):
        read_patient(tmp_path, only=["bad"])


def test_a_typed_field_of_view_leaves_files_that_know_theirs(tmp_path):
    pictures(tmp_path, "silent")
    volume(tmp_path, "known")
    images, _, _ = read_patient(tmp_path, typed=TypedCalibration(field_of_view_mm=(60, 40)))
    sizes = {image.source.case_id: image.spacing_mm[1:] for image in images}
    assert sizes == {"silent": (2.0, 2.0), "known": pytest.approx((2.0, 2.0))}
    (alone,), _, _ = read_patient(tmp_path, only=["known"])
    rows, columns = alone.shape[1:]
    with pytest.raises(GeometryError, match="Choose"):
        read_patient(tmp_path, only=["known"], typed=TypedCalibration(field_of_view_mm=(3.0 * rows, 3.0 * columns)))


def test_an_unknown_name_is_told_with_those_that_are_there(tmp_path):
    pictures(tmp_path, "a", "b")
    with pytest.raises(DataError, match=r"no image c\. It has: a, b"):
        read_patient(tmp_path, only="c")


def test_short_memory_is_said_with_numbers(monkeypatch):
    images = [Image(np.zeros((40, 64, 64), np.uint8))]
    assert warn_of_memory(images, 3) == ""
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"available": 2**20})())
    assert "0.0 GiB are free" in warn_of_memory(images, 3)


def test_one_time_point_is_read_by_the_name_that_tables_print(tmp_path):
    write_phantom(tmp_path, Phantom("cine", rows=40, columns=20, moments=3))
    images, _, _ = read_patient(tmp_path, only=["series-1_t02"])
    assert [image.source.case_id for image in images] == ["series-1_t02"]
    both, _, _ = read_patient(tmp_path, only=["series-1_t03", "series-1_t01"])
    assert [image.source.case_id for image in both] == ["series-1_t01", "series-1_t03"]
    assert len(read_patient(tmp_path, only="series-1")[0]) == 3
    with pytest.raises(DataError, match=r"no image series-1_t04. It has: series-1, series-1_t01, series-1_t02"):
        read_patient(tmp_path, only=["series-1_t04"])


def test_the_same_pixels_twice_are_said_in_sight(tmp_path):
    for name in ("a", "b"):
        for path in write_phantom(tmp_path / name, Phantom("leg", rows=40, columns=20)):
            dataset = pydicom.dcmread(path)
            for keyword in ("SeriesInstanceUID", "SOPInstanceUID"):
                setattr(dataset, keyword, f"{getattr(dataset, keyword)[:-1]}{ord(name) % 10}")
            dataset.save_as(path)
    images, notes, _ = read_patient(tmp_path)
    (note,) = [note for note in notes if isinstance(note, GraveNote)]
    assert note.startswith("series-1-2 holds the same pixels as series-1")
    assert len(images) == 2
    assert not read_patient(tmp_path, only=["series-1"])[1]
