"""Folders whose headers contradict themselves: one question, one answer, the same areas everywhere."""

import pytest
from folders import add_two_sizes

from autoseg.data.cases import find_cases
from autoseg.data.cases.sizes import answer_voxel_sizes
from autoseg.data.checks import check_cases
from autoseg.data.patients import find_patient, read_patient
from autoseg.errors import TwoSizesError
from autoseg.files.nifti.sizes import FILE_NAME
from autoseg.measurement.drawn import measure_labels


@pytest.fixture
def folder(tmp_path):
    return add_two_sizes(tmp_path)


def areas(folder):
    return {round(row.area_mm2, 3) for row in measure_labels(find_cases(folder))}


def test_the_check_asks_once_and_measuring_refuses_until_it_is_answered(folder):
    found = find_cases(folder)
    (finding,) = [finding for finding in check_cases(found) if finding.severity == "error"]
    assert (finding.kind, finding.cases) == ("sizes", ("p0", "p1", "p2"))
    assert "3 images" in finding.problem
    assert "1 × 1 × 1 mm by its sform and 0.5 × 0.5 × 4 mm by its pixdim" in finding.problem
    assert "300 % larger" in finding.problem
    with pytest.raises(TwoSizesError):
        measure_labels(found)


def test_the_answer_decides_the_areas_and_can_be_changed(folder):
    # Twelve times ten pixels.
    for holds, area in (("pixdim", 30.0), ("sform", 120.0), ("pixdim", 30.0)):
        assert len(answer_voxel_sizes(folder, holds)) == 6
        assert areas(folder) == {area}
    assert not [finding for finding in check_cases(find_cases(folder)) if finding.kind in ("sizes", "unreadable")]


def test_a_patients_folder_asks_and_takes_the_answer(folder):
    patient = find_patient(folder / "images")
    assert [candidate.has_two_sizes for candidate in patient.candidates] == [True] * 3
    with pytest.raises(TwoSizesError, match="--voxel-sizes"):
        read_patient(folder / "images")
    answer_voxel_sizes(folder / "images", "pixdim")
    assert (folder / "images" / FILE_NAME).exists()
    assert find_patient(folder / "images").candidates[0].spacing_mm == (0.5, 0.5)
    images, notes, _ = read_patient(folder / "images")
    assert {image.spacing_mm for image in images} == {(4, 0.5, 0.5)}
    assert any("pixdim was said to hold" in note for note in notes)


def test_where_nothing_contradicts_nothing_is_written(folder):
    (folder / "empty").mkdir()
    assert answer_voxel_sizes(folder / "empty", "sform") == ()
    assert not (folder / "empty" / FILE_NAME).exists()
