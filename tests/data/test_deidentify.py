"""Copies that leave: nothing tells of the patient any more, references are right, pixels and areas the same."""

import csv
import json

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from structure_sets import the_image

from autoseg.cli import main
from autoseg.data import codes
from autoseg.data.deidentify import RECORD, TABLE, deidentify_folder
from autoseg.errors import DataError, ReadError
from autoseg.files.dicom.seg import labels_on, read_segmentation
from autoseg.files.dicom.series import find_series, read_series
from autoseg.files.dicom.writing.confidentiality import Profile
from autoseg.files.dicom.writing.parts import Algorithm
from autoseg.files.dicom.writing.report import read_report_areas
from autoseg.image.image import LabelMap
from autoseg.image.structures import Structure
from autoseg.measurement.areas import measure_areas
from autoseg.report.archive import write_dicom

STRUCTURES = (Structure(1, "kidney left", side="left"), Structure(2, "Muster tumour"))
NAMES = (
    "pat4711x",
    "muster",
    "xenia",
    "house",
    "19500312",
    "acc774411",
    "station-one",
    "20240301",
    "geheim",
    "a note",
)


@pytest.fixture(autouse=True)
def key(tmp_path, monkeypatch):
    monkeypatch.setenv(codes.KEY, str(tmp_path / "own" / "key.csv"))
    return tmp_path / "own"


def spoil(path):
    """Write into a file what hospitals write into theirs."""
    dataset = pydicom.dcmread(path)
    dataset.PatientID, dataset.PatientName, dataset.PatientBirthDate = "PAT4711X", "Muster^Xenia", "19500312"
    dataset.PatientSex, dataset.PatientAge, dataset.PatientWeight = "F", "094Y", 61
    dataset.AccessionNumber, dataset.StationName, dataset.InstitutionName = (
        "ACC774411",
        "STATION-ONE",
        "House of Muster",
    )
    dataset.StudyDate, dataset.StudyTime, dataset.AcquisitionDateTime = "20240301", "101500", "20240301101533.5"
    dataset.SeriesDescription = "T2 tse sag Muster PAT4711X"
    dataset.ImageComments, dataset.ManufacturerModelName = "a note", "Model of PAT4711X"
    dataset.ReferringPhysicianName = "Geheim^Dr"
    dataset.BodyPartExamined = "MUSTER"
    dataset.add_new(0x0018FFF0, "UN", b"Muster")
    item = Dataset()
    item.PatientID, item.ScheduledProcedureStepDescription = "PAT4711X", "for Muster"
    dataset.RequestAttributesSequence = [item]
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = dataset.SOPClassUID, "1.2.3.4.5"
    dataset.ReferencedImageSequence = [reference]
    dataset.private_block(0x0029, "SIEMENS CSA", create=True).add_new(0x10, "LO", "Muster")
    dataset.save_as(path)


@pytest.fixture
def study(tmp_path):
    """Give a folder with a series and what was made of it, and the image and its labels."""
    folder = tmp_path / "scan"
    the_image(folder)
    for path in folder.glob("*.dcm"):
        spoil(path)
    (image,) = (one for series in find_series(folder).series for one in read_series(series))
    voxels = np.zeros(image.shape, np.uint8)
    voxels[1, 3:12, 3:10], voxels[2, 12:18, 12:20] = 1, 2
    labels = LabelMap(voxels, image.affine, STRUCTURES, source=image.source)
    rows = measure_areas(labels, image=image)
    write_dicom(folder / "Muster_4711", [(image, labels)], rows, algorithm=Algorithm("autoseg", "1"))
    (folder / "notes of Muster.txt").write_text("Xenia", encoding="utf-8")
    return folder, image, labels


def copies(into, kind=None):
    found = [pydicom.dcmread(path) for path in sorted(into.rglob("*.dcm"))]
    return [one for one in found if kind is None or kind == one.Modality]


def test_the_patient_is_gone_and_all_that_is_measured_is_the_same(study, tmp_path):
    folder, image, labels = study
    into = tmp_path / "out"
    made = deidentify_folder(folder, into, profile=Profile(descriptions=True))
    assert (made.patients, made.files, made.left_out) == (1, 6, (("no DICOM file", 1),))
    for path in into.rglob("*"):  # in the bytes, too
        told = str(path.relative_to(into)).casefold().encode() + (
            path.read_bytes().lower() if path.is_file() else b""
        )
        assert [name for name in NAMES if name.encode() in told] == [], path
    (copied,) = (one for series in find_series(into).series for one in read_series(series))
    np.testing.assert_array_equal(copied.voxels, image.voxels)
    np.testing.assert_array_equal(copied.affine, image.affine)
    (path,) = (one for one in into.rglob("*.dcm") if pydicom.dcmread(one).Modality == "SEG")
    masks, _ = labels_on(read_segmentation(path), copied)
    for label in (1, 2):
        np.testing.assert_array_equal(masks[label], labels.mask(label))
    names = [one.SegmentLabel for one in copies(into, "SEG")[0].SegmentSequence]
    assert names == ["kidney left", "tumour"]
    (path,) = (one for one in into.rglob("*.dcm") if pydicom.dcmread(one).Modality == "SR")
    (before,) = (folder / "Muster_4711").glob("*_SR.dcm")
    assert sorted(area for *_, area in read_report_areas(path)) == sorted(
        area for *_, area in read_report_areas(before)
    )


def test_references_lead_to_the_copies_and_later_copies_have_the_same_uids(study, tmp_path):
    folder, image, _ = study
    deidentify_folder(folder, tmp_path / "out")
    deidentify_folder(folder / "Muster_4711", tmp_path / "later")
    known = {one.SOPInstanceUID for one in copies(tmp_path / "out", "MR")}
    assert known.isdisjoint(source.sop_uid for source in image.source.slices)
    for one in (*copies(tmp_path / "out", "SEG"), *copies(tmp_path / "later", "SEG")):
        of = one.ReferencedSeriesSequence[0]
        assert {item.ReferencedSOPInstanceUID for item in of.ReferencedInstanceSequence} <= known
        assert of.SeriesInstanceUID == copies(tmp_path / "out", "MR")[0].SeriesInstanceUID
    first, second = (copies(tmp_path / name, "RTSTRUCT")[0] for name in ("out", "later"))
    assert first.SOPInstanceUID == second.SOPInstanceUID == first.file_meta.MediaStorageSOPInstanceUID
    assert [one.ROIName for one in first.StructureSetROISequence] == ["structure 1", "structure 2"]


def test_what_was_chosen_is_kept_and_what_was_done_is_told(study, tmp_path):
    folder, *_ = study
    into = tmp_path / "out"
    arguments = ["deidentify", str(folder), "--into", str(into), "--keep-descriptions", "--keep-characteristics"]
    assert main(arguments) == 0
    one = copies(into, "MR")[0]
    assert (one.SeriesDescription, one.PatientAge, one.PatientSex, one.PatientWeight) == (
        "T2 tse sag",
        "090Y",
        "F",
        61,
    )
    assert (one.PatientIdentityRemoved, one.LongitudinalTemporalInformationModified) == ("YES", "MODIFIED")
    assert one.StudyTime == "101500"
    assert one.AcquisitionDateTime == f"{one.StudyDate}101533.5"
    assert one.StudyDate < "20231201"
    methods = [item.CodeValue for item in one.DeidentificationMethodCodeSequence]
    assert methods == ["113100", "113104", "113107", "113105", "113108"]
    with (into / TABLE).open(encoding="utf-8", newline="") as file:
        done = {(row["attribute"], row["what_was_done"]) for row in csv.DictReader(file)}
    assert {("StudyDate", "date moved"), ("SOPInstanceUID", "another UID"), ("", "removed (private)")} <= done
    assert ("ManufacturerModelName", "replaced: it named the patient") in done
    assert "burnt into pixels" in " ".join(json.loads((into / RECORD).read_text(encoding="utf-8"))["not_known"])


def test_a_file_that_is_there_twice_is_copied_twice(study, tmp_path):
    folder, *_ = study
    first = min(folder.glob("*.dcm"))
    first.with_name("again.dcm").write_bytes(first.read_bytes())
    made = deidentify_folder(folder, tmp_path / "out")
    assert made.files == len(copies(tmp_path / "out")) == 7


def test_dates_can_be_removed(study, tmp_path):
    folder, *_ = study
    deidentify_folder(folder, tmp_path / "out", profile=Profile(dates="removed"))
    one = copies(tmp_path / "out", "MR")[0]
    assert (one.StudyDate, one.StudyTime, one.AcquisitionDateTime) == ("", "", "")
    assert one.LongitudinalTemporalInformationModified == "REMOVED"


def test_where_text_may_be_burnt_in_nothing_leaves_unasked(study, tmp_path):
    folder, *_ = study
    for path, change in zip(sorted(folder.glob("*.dcm")), ("burnt", "capture", "none"), strict=True):
        dataset = pydicom.dcmread(path)
        dataset.Modality = "OT" if change == "capture" else "MR"
        if change == "burnt":
            dataset.BurnedInAnnotation = "YES"
        dataset.save_as(path)
    made = deidentify_folder(folder, tmp_path / "out")
    reasons = " ".join(why for why, _ in made.left_out)
    assert made.files == 4
    assert "says itself" in reasons
    assert "does not say that there is none" in reasons
    assert deidentify_folder(folder, tmp_path / "all", take_burnt_in=True).files == 6


def test_a_folder_that_is_not_read_is_told_and_one_that_is_not_there_refused(study, tmp_path):
    folder, *_ = study
    (folder / "again").symlink_to(folder, target_is_directory=True)
    made = deidentify_folder(folder, tmp_path / "out")
    assert ("a link to a folder that is read already, or around this one", 1) in made.left_out
    with pytest.raises(ReadError, match="does not exist"):
        deidentify_folder(tmp_path / "nowhere", tmp_path / "gone")
    assert not (tmp_path / "gone").exists()


def test_a_folder_without_dicom_files_is_refused_and_leaves_nothing(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "a.txt").write_text("x", encoding="utf-8")
    with pytest.raises(DataError, match="1 file: no DICOM file"):
        deidentify_folder(tmp_path / "empty", tmp_path / "out")
    assert not (tmp_path / "out").exists()
