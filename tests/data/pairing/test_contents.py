"""What a folder holds, counted by content and told in words, quickly and without ever failing."""

import os
import threading
import time
from types import SimpleNamespace

import numpy as np
import pydicom
import pytest
from folders import add_subject, edit

from autoseg.data.pairing import contents
from autoseg.data.pairing.contents import Contents, folder_contents, is_away

SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
REPORT = "1.2.840.10008.5.1.4.1.1.88.11"


@pytest.fixture
def dicom(tmp_path):
    """One DICOM image with an ordinary name, outside the folder under test."""
    (name,) = add_subject(tmp_path / "made", "p1", slices=1)
    return tmp_path / "made" / "dicoms" / f"{name}.dcm"


def test_a_training_folder(tmp_path):
    add_subject(tmp_path, "p1", slices=3)
    found = folder_contents(tmp_path)
    assert (found.dicoms, found.labels, found.images, found.folders, found.whole) == (3, 3, 0, 2, True)
    assert found.words == "3 DICOM images, 3 labels, 2 folders"
    assert folder_contents(tmp_path / "labels").words == "3 labels"  # somebody walked into it


def test_dicom_is_told_by_content_whatever_the_name(tmp_path, dicom):
    place = tmp_path / "cd" / "ST00001" / "SE00001"
    place.mkdir(parents=True)
    for name in ("IM0001", "1.2.840.113619.2", "scan.bak"):
        (place / name).write_bytes(dicom.read_bytes())
    (place / "DICOMDIR.txt").write_bytes(b"not an image" * 40)
    assert folder_contents(tmp_path / "cd").words == "3 DICOM images, 1 folder"


def test_dicom_without_a_preamble_is_parsed(tmp_path, dicom):
    place = tmp_path / "old"
    place.mkdir()
    dataset = pydicom.dcmread(dicom)
    del dataset.file_meta
    dataset.preamble = None
    pydicom.dcmwrite(place / "IM1", dataset, implicit_vr=True, little_endian=True, enforce_file_format=False)
    assert (place / "IM1").read_bytes()[128:132] != b"DICM"
    (place / "noise").write_bytes(b"\x08\0" + bytes(range(256)) * 4)  # begins alike, and is nothing
    assert folder_contents(place).words == "1 DICOM image"


@pytest.mark.parametrize(("kind", "words"), [(SEGMENTATION, "1 label"), (REPORT, "no images")])
def test_dicom_objects_that_are_no_images(tmp_path, dicom, kind, words):
    edit(dicom, SOPClassUID=kind)
    dataset = pydicom.dcmread(dicom)
    dataset.file_meta.MediaStorageSOPClassUID = kind
    (tmp_path / "objects").mkdir()
    dataset.save_as(tmp_path / "objects" / "object")
    assert folder_contents(tmp_path / "objects").words == words


def test_other_images_and_labels_by_folder_and_by_name(tmp_path):
    for name in (
        "images/a.png",
        "images/b.nii.gz",
        "masks/a.png",
        "c.tif",
        "c_mask.tif",
        "notes.txt",
        ".hidden.png",
    ):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x" * 200)
    np.save(tmp_path / "images" / "d.npy", np.zeros((2, 2)))
    found = folder_contents(tmp_path)
    assert (found.images, found.labels) == (4, 2)
    assert found.words == "4 images, 2 labels, 2 folders"


def test_counting_ends_after_some_files_and_says_so(tmp_path):
    for number in range(30):
        (tmp_path / f"{number}.png").touch()
    found = folder_contents(tmp_path, most=20)
    assert (found.files, found.whole) == (20, False)
    assert found.words == "more than 20 files: 20 images among them"
    assert folder_contents(tmp_path, most=30).whole
    assert not folder_contents(tmp_path, seconds=0).whole


def test_words_for_folders_with_nothing():
    assert Contents("a").words == "empty"
    assert Contents("a", files=3).words == "no images"
    assert Contents("a", folders=1).words == "no images, 1 folder"
    assert Contents("a", dicoms=1, images=2).words == "1 DICOM image, 2 other images"
    assert "no image among the first" in Contents("a", files=3000, whole=False).words


def test_a_folder_that_is_not_there_or_may_not_be_read(tmp_path, monkeypatch):
    assert folder_contents(tmp_path / "nowhere").words == "not there"
    (tmp_path / "inner").mkdir()
    scan = os.scandir

    def refuse(path):
        if os.fspath(path) == os.fspath(locked):
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    locked = tmp_path
    assert folder_contents(tmp_path).words == "not allowed to look inside"
    locked = tmp_path / "inner"
    assert folder_contents(tmp_path).words == "no images, 1 folder, 1 folder locked"


def test_a_drive_that_hangs_costs_little_time(tmp_path, monkeypatch):
    answer = threading.Event()
    monkeypatch.setattr(os, "scandir", lambda path: answer.wait(60))
    start = time.monotonic()
    found = folder_contents(tmp_path, seconds=-1.8)  # and the two seconds more
    answer.set()
    assert "does not answer" in found.words
    assert time.monotonic() - start < 5


def test_files_in_a_cloud_are_not_downloaded(tmp_path, monkeypatch):
    assert is_away(SimpleNamespace(st_file_attributes=0x400000))  # Windows: recalled when opened
    assert is_away(SimpleNamespace(st_flags=0x40000000))  # macOS: without its data
    assert not is_away(os.stat(tmp_path))
    (tmp_path / "scan").write_bytes(b"x" * 200)
    monkeypatch.setattr(contents, "is_away", lambda facts: True)
    assert folder_contents(tmp_path).words == "no images, 1 file only in the cloud"


def test_links_to_folders_are_followed_but_not_in_circles(tmp_path):
    add_subject(tmp_path / "data", "p1", slices=1)
    (tmp_path / "data" / "loop").symlink_to(tmp_path)
    assert folder_contents(tmp_path / "data").words == "1 DICOM image, 1 label, 3 folders"
    add_subject(tmp_path / "disk", "p2", slices=2)
    (tmp_path / "data" / "dicoms" / "p2").symlink_to(tmp_path / "disk" / "dicoms")
    (tmp_path / "data" / "dicoms" / "again").symlink_to(tmp_path / "disk" / "dicoms")
    assert folder_contents(tmp_path / "data").words == "3 DICOM images, 1 label, 3 folders"


def test_the_sample(sample):
    assert folder_contents(sample / "train").words == "76 DICOM images, 76 labels, 2 folders"
