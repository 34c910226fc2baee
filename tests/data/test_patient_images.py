"""Reading a patient's images with the millimetres in force."""

import cv2
import nibabel
import numpy as np
import psutil
import pytest

from autoseg.data.patients import read_patient, warn_of_memory
from autoseg.errors import DataError, GeometryError, ReadError
from autoseg.image.calibration import TypedCalibration
from autoseg.image.image import Image


def pictures(folder, *names):
    for name in names:
        cv2.imwrite(str(folder / f"{name}.png"), np.full((30, 20), 7, np.uint8))


def volume(folder, name):
    array = np.zeros((12, 10, 4), np.int16)
    array[3:5] = 9
    nibabel.save(nibabel.Nifti1Image(array, np.diag([-2.0, -2.0, 5.0, 1.0])), folder / f"{name}.nii.gz")


def test_pictures_need_a_typed_field_of_view(tmp_path):
    pictures(tmp_path, "a", "b")
    with pytest.raises(GeometryError, match="field of view"):
        read_patient(tmp_path)
    images, notes, _ = read_patient(
        tmp_path, typed=TypedCalibration(field_of_view_mm=(60, 40), matrix_size=(15, 10))
    )
    assert [image.spacing_mm[1:] for image in images] == [(2.0, 2.0)] * 2
    assert any("acquisition's" in note for note in notes)


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
