"""Checks before training: each fault is found, named with its file and its remedy, and nothing is changed."""

import hashlib
import shutil

import numpy as np
import pytest
from folders import add_subject, change_label, edit, write_table

from autoseg.data.cases import find_cases
from autoseg.data.checks import Finding, check_cases, findings_table, raise_on_errors
from autoseg.errors import DataError
from autoseg.files.dicom.phantoms import Shape

NAMES = {1: "psoas", 2: "disc", 3: "fat"}
BERT = (
    Shape(1, "ellipse", (-18.3, 11.7), (11.0, 16.0)),
    Shape(2, "ellipse", (16.2, 9.9), (14.0, 12.0), 70.0),
    Shape(3, "rectangle", (4.1, -20.6), (24.5, 8.3), -10.0),
)


@pytest.fixture
def folder(tmp_path):
    """Two subjects with three slices each, of different build: two people are no copies of each other."""
    add_subject(tmp_path / "train", "Anna", slices=3)
    add_subject(tmp_path / "train", "Bert", slices=3, origin_mm=(0.0, 0.0, 0.0), slope=2.0, shapes=BERT)
    return tmp_path / "train"


def check(folder, names=NAMES, **options):
    return check_cases(find_cases(folder, structures=names), **options)


def the_finding(folder, words, **options):
    """Give the one finding whose problem has these words, after all others were shown to lack them."""
    found = [finding for finding in check(folder, **options) if words in finding.problem]
    assert len(found) == 1, found
    return found[0]


def digests(folder):
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def test_a_good_folder_has_no_finding_and_stays_as_it_was(folder):
    before = digests(folder)
    assert check(folder) == ()
    assert digests(folder) == before


def test_an_image_that_was_truncated_after_the_folder_was_searched(folder):
    path, found = folder / "dicoms" / "Anna_02.dcm", find_cases(folder, structures=NAMES)
    path.write_bytes(path.read_bytes()[:-1000])
    (finding,) = check_cases(found)
    assert (finding.severity, finding.case_id, finding.path) == ("error", "Anna_02", path)
    assert (finding.kind, finding.cases) == ("unreadable", ("Anna_02",))
    assert "truncated" in finding.problem


def test_a_damaged_label(folder):
    (folder / "labels" / "Bert_01.npy").write_bytes(b"nothing")
    finding = the_finding(folder, "Bert_01.npy")
    assert (finding.severity, finding.case_id) == ("error", "Bert_01")
    assert "cannot be read" in finding.problem


def test_a_shape_that_differs(folder):
    change_label(folder, "Anna_01", lambda a: a[:, :-2])
    finding = the_finding(folder, "1 × 40 × 46")
    assert finding.severity == "error"
    assert "1 × 40 × 48" in finding.problem
    assert "own grid" in finding.remedy


def test_values_without_a_name_are_counted(folder):
    def smear(a):
        a[0, :5], a[1, 0] = 77, 9
        return a

    change_label(folder, "Anna_01", smear)
    finding = the_finding(folder, "2 values without a name")
    assert finding.severity == "error"
    assert "9 (1 pixel, 0.05%), 77 (5 pixels, 0.26%)" in finding.problem
    assert "1 = psoas" in finding.problem
    assert "structures.csv" in finding.remedy


def test_drawn_although_the_table_says_no(folder):
    rows = [f"{case.case_id},1,1,{int(case.case_id != 'Bert_02')}" for case in find_cases(folder).cases]
    write_table(folder, "annotated.csv", "case_id,psoas,disc,fat", *rows)
    finding = the_finding(folder, "fat was not drawn on Bert_02")
    assert (finding.severity, finding.case_id) == ("error", "Bert_02")


def test_no_pixel_spacing(folder):
    for name in ("Anna_01", "Bert_03"):
        edit(folder / "dicoms" / f"{name}.dcm", PixelSpacing=None)
    finding = the_finding(folder, "2 of 6 images have no pixel spacing")
    assert finding.severity == "warning"
    assert "Anna_01, Bert_03" in finding.problem
    assert "PreprocessSettings" not in finding.remedy
    assert "--input-shape" in finding.remedy
    assert "field of view" in finding.remedy
    assert check(folder, pixel_spacing_mm=(2.0, 1.5)) == ()


def test_empty_label_files(folder):
    change_label(folder, "Anna_01", np.zeros_like)
    finding = the_finding(folder, "1 of 6 label files is empty")
    assert (finding.severity, finding.case_id) == ("warning", "Anna_01")


def test_a_label_file_is_not_empty_if_nothing_was_to_be_drawn(folder):
    change_label(folder, "Anna_01", np.zeros_like)
    rows = [
        f"{case.case_id}" + (",0,0,0" if case.case_id == "Anna_01" else ",1,1,1")
        for case in find_cases(folder).cases
    ]
    write_table(folder, "annotated.csv", "case_id,psoas,disc,fat", *rows)
    assert check(folder) == ()


def test_a_structure_that_is_drawn_nowhere(folder):
    finding = the_finding(folder, "heart (label 4) is drawn on no case", names=NAMES | {4: "heart"})
    assert finding.severity == "error"
    assert "Remove it from structures.csv" in finding.remedy


def without_fat(folder, names):
    for name in names:
        change_label(folder, name, lambda a: np.where(a == 3, 0, a))


def test_a_structure_that_is_often_absent(folder):
    without_fat(folder, ["Anna_01", "Bert_01"])
    finding = the_finding(folder, "fat is absent from 2 of 6 label files: not drawn, or not there?")
    assert finding.severity == "warning"
    assert "annotated.csv" in finding.remedy


def test_absent_on_a_single_slice_is_nothing_to_mention(folder):
    without_fat(folder, ["Anna_01"])
    assert check(folder) == ()


def test_what_the_table_says_is_not_asked_again(folder):
    without_fat(folder, ["Anna_01", "Bert_01"])
    rows = [f"{case.case_id},1,1,{int(not case.case_id.endswith('1'))}" for case in find_cases(folder).cases]
    write_table(folder, "annotated.csv", "case_id,psoas,disc,fat", *rows)
    assert check(folder) == ()


def test_one_subject(tmp_path):
    add_subject(tmp_path, "Anna")
    finding = the_finding(tmp_path, "of one patient (Anna)")
    assert finding.severity == "warning"
    assert "PatientID" in finding.remedy


def test_studies_without_a_patient_id(folder):
    for number in (1, 2, 3):
        edit(folder / "dicoms" / f"Anna_0{number}.dcm", PatientID="")
    finding = the_finding(folder, "1 of 2 patients has no PatientID: each study is taken as one person")
    assert finding.severity == "warning"
    assert "study-" in finding.problem
    assert "if one person has two studies here" in finding.problem.lower()
    assert "Write a PatientID" in finding.remedy


def test_a_very_small_structure(folder):
    def shrink(a):
        a[a == 2] = 0
        a[5, 5:14] = 2
        return a

    change_label(folder, "Bert_02", shrink)
    finding = the_finding(folder, "disc is smaller than 10 pixels on 1 case: Bert_02 (9)")
    assert (finding.severity, finding.case_id) == ("warning", "Bert_02")


def test_identical_pixels_of_one_subject_and_of_two(folder):
    shutil.copy(folder / "dicoms" / "Anna_01.dcm", folder / "dicoms" / "Anna_02.dcm")
    edit(folder / "dicoms" / "Anna_02.dcm", SOPInstanceUID="1.2.3")
    finding = the_finding(folder, "The images of Anna_01, Anna_02 have identical pixels.")
    assert finding.severity == "warning"
    edit(folder / "dicoms" / "Anna_02.dcm", PatientID="Carl")
    finding = the_finding(folder, "identical pixels, and are of Anna, Carl")
    assert finding.severity == "error"


def test_pixels_of_very_different_size(folder):
    add_subject(folder, "Carl", pixel_spacing_mm=(3.0, 3.0), slope=4.0)
    finding = the_finding(folder, "Pixels differ in size from 1.5 mm (Anna_01, of Anna) to 3 mm")
    assert finding.severity == "warning"
    assert "Carl_01" in finding.problem


def test_errors_come_first_and_are_quoted(folder):
    for name in ("Anna_01", "Anna_02", "Anna_03", "Bert_01"):
        change_label(folder, name, lambda a: a[1:])
    edit(folder / "dicoms" / "Bert_02.dcm", PixelSpacing=None)
    findings = check(folder)
    assert [finding.severity for finding in findings] == ["error"] * 4 + ["warning"]
    with pytest.raises(DataError, match=r"4 errors(.|\n)*Anna_01\.npy(.|\n)*Anna_03(.|\n)*1 more") as caught:
        raise_on_errors(findings)
    assert "Bert_01" not in str(caught.value)
    raise_on_errors(findings[4:])
    raise_on_errors(())


def test_the_table_of_findings(tmp_path):
    finding = Finding("note", "Anna_01", tmp_path / "secret" / "Anna_01.dcm", "Problem.", "Remedy.", cause="Cause.")
    table = findings_table([finding])
    assert table.to_dict("records") == [
        {
            "severity": "note",
            "case_id": "Anna_01",
            "path": "Anna_01.dcm",
            "problem": "Problem.",
            "cause": "Cause.",
            "remedy": "Remedy.",
        }
    ]
    nothing = findings_table(())
    assert list(nothing.columns) == list(table.columns)
    assert nothing["problem"].tolist() == ["Nothing is wrong with these cases."]


def test_the_real_sample_without_its_table(sample, tmp_path):
    for name in ("train", "test"):
        shutil.copytree(sample / name, tmp_path, dirs_exist_ok=True)
    (tmp_path / "annotated.csv").unlink()
    (finding,) = check_cases(find_cases(tmp_path))
    assert "myocardium is absent from 59 of 96 label files: not drawn, or not there?" in finding.problem
    assert "annotated.csv" in finding.remedy
