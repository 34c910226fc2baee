"""Names of structures that look alike: taken for one, asked once, never exchanged."""

import nibabel
import numpy as np
import pytest
from structure_sets import contour, the_image, write_rtstruct

from autoseg.data.cases import find_cases, keep_names, read_case
from autoseg.data.checks import check_cases
from autoseg.files.tables import read_structures, write_structures
from autoseg.image.structures import Structure, plain_name
from autoseg.measurement.drawn import measure_labels

GRID = {"rows": 20, "columns": 24, "pixel_spacing_mm": (0.5, 0.5)}
LARGE = np.array([(3.5, 1.5), (3.5, 11.5), (15.5, 11.5), (15.5, 1.5)])  # 120 pixels, 30 mm²
SMALL = np.array([(4.5, 14.5), (4.5, 20.5), (10.5, 20.5), (10.5, 14.5)])  # 36 pixels, 9 mm²


def add_patient(folder, patient, *regions):
    """A patient with structures on every slice: (name, outline)."""
    image = the_image(folder / "dicoms" / patient, patient, **GRID)
    (folder / "labels").mkdir(exist_ok=True)
    drawn = [[contour(image, k, outline) for k in range(3)] for _, outline in regions]
    path = folder / "labels" / f"{patient}.dcm"
    write_rtstruct(path, image, drawn, names=[name for name, _ in regions])


@pytest.fixture
def folder(tmp_path):
    """The order of the regions differs by patient, and the third writes the names otherwise."""
    add_patient(tmp_path, "p1", ("Psoas left", LARGE), ("Psoas right", SMALL))
    add_patient(tmp_path, "p2", ("Psoas right", SMALL), ("Psoas left", LARGE))
    add_patient(tmp_path, "p3", ("Psoas_right", SMALL), (" psoas LEFT ", LARGE))
    return tmp_path


def areas(folder):
    return {
        (row.case_id, row.name): row.area_mm2 for row in measure_labels(find_cases(folder)) if not row.slice_index
    }


def asked(folder):
    return [finding for finding in check_cases(find_cases(folder)) if finding.kind == "names"]


def test_names_that_differ_in_writing_are_one_structure_and_never_exchanged(folder):
    found = areas(folder)
    assert len(found) == 6
    for (_, name), area in found.items():
        assert area == pytest.approx({"Psoas left": 30.0, "Psoas right": 9.0}[name])


def test_each_is_asked_for_until_it_is_answered(folder):
    first, second = asked(folder)
    assert first.problem == "'psoas LEFT' on series-1-3 is taken for 'Psoas left'."
    assert (first.severity, first.cases, second.label) == ("warning", ("series-1-3",), 2)
    assert keep_names(find_cases(folder)).alike == ()
    assert asked(folder) == []
    assert areas(folder)["series-1-3", "Psoas left"] == pytest.approx(30.0)
    assert ("psoas LEFT", 1) in read_structures(folder / "structures.csv").values


def test_they_can_be_told_apart_by_hand(folder):
    rows = [Structure(1, "a"), Structure(2, "b"), Structure(3, "another")]
    values = [("Psoas left", 1), ("Psoas right", 2), ("psoas LEFT", 3), ("Psoas_right", 2)]
    write_structures(folder / "structures.csv", rows, values=values)
    assert asked(folder) == []
    case = find_cases(folder).cases[2]
    assert read_case(case, rows)[1].mask(3).sum() == 3 * 120


def test_a_patient_who_came_later_with_another_spelling_is_asked_for(folder):
    keep_names(find_cases(folder))
    add_patient(folder, "p4", ("PSOAS-LEFT", LARGE), ("psoas right", SMALL))
    assert len(asked(folder)) == 2
    assert areas(folder)["series-1-4", "Psoas right"] == pytest.approx(9.0)


def test_both_names_in_one_file_are_said(tmp_path):
    add_patient(tmp_path, "p1", ("Psoas", LARGE), ("psoas", SMALL))
    (finding,) = asked(tmp_path)
    assert "both names stand side by side" in finding.cause
    assert list(areas(tmp_path).values()) == pytest.approx([39.0])


def test_files_of_one_structure_each_in_folders_of_patients(tmp_path):
    names = {"p1": ("psoas_left", "psoas_right"), "p2": ("Psoas-Left", "psoas right")}
    for patient, both in names.items():
        for name, columns in zip(("ct", *both), (0, 10, 3), strict=True):
            voxels = np.zeros((12, 12, 3), np.int16)
            voxels[1:3, :columns] = 1
            path = tmp_path / patient / ("segmentations" if columns else "") / f"{name}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(voxels + (0 if columns else 7), np.eye(4)), path)
    found = areas(tmp_path)
    assert {name for _, name in found} == {"psoas_left", "psoas_right"}
    assert sorted(found.values()) == pytest.approx([6.0, 6.0, 20.0, 20.0])
    assert len(asked(tmp_path)) == 2
    keep_names(find_cases(tmp_path))
    assert asked(tmp_path) == []
    assert sorted(areas(tmp_path).values()) == pytest.approx([6.0, 6.0, 20.0, 20.0])
    path = tmp_path / "p2" / "segmentations" / "psoas right.nii.gz"
    path.rename(path.with_name("PSOAS_Right.nii.gz"))  # spelt as nobody did when the names were kept
    assert sorted(areas(tmp_path).values()) == pytest.approx([6.0, 6.0, 20.0, 20.0])
    assert [finding.cases for finding in asked(tmp_path)] == [("p2_ct",)]


@pytest.mark.parametrize(("one", "other"), [("T1-2", "T12"), ("L1 2", "L12"), ("psoas", "psoas 2"), ("a+", "a")])
def test_names_that_mean_something_else_are_not_alike(one, other):
    assert plain_name(one) != plain_name(other)
