"""One file in place of a folder: its image, its series or the case that it belongs to."""

import nibabel
import numpy as np
import pytest
from folders import add_subject, write_table
from PIL import Image as PillowImage
from structure_sets import contour, the_image, write_rtstruct

from autoseg.data.cases import find_cases
from autoseg.data.patients import find_patient, read_patient
from autoseg.errors import DataError
from autoseg.files.dicom.series import find_series
from autoseg.measurement.drawn import measure_labels

SQUARE = np.array([(4.5, 5.5), (4.5, 15.5), (12.5, 15.5), (12.5, 5.5)])


def write(path, size):
    """A block of size × 3 × 2 voxels of 0.5 × 0.5 × 4 mm."""
    voxels = np.zeros((12, 12, 3), np.uint8)
    voxels[2 : 2 + size, 4:7, :2] = 1
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(voxels, np.diag([0.5, 0.5, 4.0, 1.0])), path)


def areas(path):
    return [row.area_mm2 for row in measure_labels(find_cases(path))]


class TestPatients:
    def test_a_dicom_file(self, tmp_path):
        image = the_image(tmp_path, "p1")
        path = image.source.slices[1].path
        (found,) = find_patient(path).candidates
        assert found.slices == 1
        (read,), _, _ = read_patient(path)
        np.testing.assert_array_equal(read.voxels[0], image.voxels[1])
        assert [series.files for series in find_series(path).series] == [(path,)]

    def test_a_nifti_file_among_others_even_with_a_table_of_subjects(self, tmp_path):
        write(tmp_path / "a.nii.gz", 4)
        write(tmp_path / "b_seg.nii.gz", 6)
        write_table(tmp_path, "subjects.csv", "case_id,subject_id", "a,anna", "b,bert")
        for name, voxels in (("a", 24), ("b_seg", 36)):
            (image,), _, _ = read_patient(tmp_path / f"{name}.nii.gz")
            assert (image.source.case_id, int(image.voxels.sum())) == (name, voxels)

    def test_a_picture(self, tmp_path):
        PillowImage.fromarray(np.full((9, 8), 7, np.uint8)).save(tmp_path / "leg.png")
        assert [c.case_id for c in find_patient(tmp_path / "leg.png").candidates] == ["leg"]

    def test_a_file_that_is_no_image(self, tmp_path):
        (tmp_path / "report.txt").write_text("no image " * 30)
        with pytest.raises(DataError, match=r"report\.txt is no DICOM image: not a DICOM file"):
            find_patient(tmp_path / "report.txt")


class TestCases:
    def test_an_image_or_a_label_of_two_folders(self, tmp_path):
        for name, size in (("a", 4), ("b", 6)):
            write(tmp_path / "images" / f"{name}.nii.gz", 2)
            write(tmp_path / "labels" / f"{name}.nii.gz", size)
        assert areas(tmp_path / "labels" / "b.nii.gz") == pytest.approx([4.5, 4.5, 0.0])
        assert areas(tmp_path / "images" / "a.nii.gz") == pytest.approx([3.0, 3.0, 0.0])

    def test_a_label_beside_its_image(self, tmp_path):
        write(tmp_path / "a.nii.gz", 2)
        write(tmp_path / "a_seg.nii.gz", 4)
        write(tmp_path / "lonely.nii.gz", 2)
        found = find_cases(tmp_path / "a_seg.nii.gz")
        assert [case.image_path.name for case in found.cases] == ["a.nii.gz"]

    def test_a_label_alone_is_measured_on_its_own_grid(self, tmp_path):
        write(tmp_path / "psoas.nii.gz", 4)
        found = find_cases(tmp_path / "psoas.nii.gz")
        assert [row.area_mm2 for row in measure_labels(found)] == pytest.approx([3.0, 3.0, 0.0])
        assert "taken for labels on their own grid" in found.notes[0]
        write_table(tmp_path, "structures.csv", "label,name", "1,psoas")
        assert [s.name for s in find_cases(tmp_path / "psoas.nii.gz").structures] == ["psoas"]

    def test_a_slice_and_a_structure_set(self, tmp_path):
        add_subject(tmp_path / "slices", "p1")
        (case,) = find_cases(tmp_path / "slices" / "dicoms" / "p1_02.dcm").cases
        assert case.label_path.name == "p1_02.npy"
        image = the_image(tmp_path / "rt" / "dicoms", "p1")
        (tmp_path / "rt" / "labels").mkdir()
        path = write_rtstruct(tmp_path / "rt" / "labels" / "rt.dcm", image, [[contour(image, 0, SQUARE)]])
        assert areas(path) == pytest.approx([150.0, 0.0, 0.0])

    def test_a_file_without_labels_beside_it(self, tmp_path):
        path = the_image(tmp_path, "p1").source.slices[0].path
        with pytest.raises(
            DataError, match=r"dcm is one file, and its image or its labels were not found beside it"
        ):
            find_cases(path)
