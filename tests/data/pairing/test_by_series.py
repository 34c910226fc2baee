"""Labels of a whole stack beside several series: a localiser, a missing slice, time points."""

import nibabel
import numpy as np
import pytest
from folders import edit
from structure_sets import contour, the_image, write_rtstruct

from autoseg.data.cases import find_cases, read_case
from autoseg.data.checks import check_cases
from autoseg.errors import DataError
from autoseg.files.dicom.phantoms import Phantom, write_phantom
from autoseg.files.dicom.series import find_series, read_series
from autoseg.image.geometry import LPS_TO_RAS
from autoseg.measurement.drawn import measure_labels

GRID = {"rows": 20, "columns": 24, "pixel_spacing_mm": (0.5, 0.5)}
SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
SQUARE = np.array([(4.5, 5.5), (4.5, 15.5), (12.5, 15.5), (12.5, 5.5)])  # row, column; 80 pixels, 20 mm²


def add_series(folder, patient, prefix, *, series=None, **options):
    """Add the files of a phantom to a folder, `series` in place of its own series instance UID."""
    phantom = Phantom(f"{patient} {prefix}", **{**GRID, **options})
    paths = write_phantom(folder / "new", phantom)
    for path in paths:
        edit(path, PatientID=patient, **({"SeriesInstanceUID": series} if series else {}))
        path.rename(folder / f"{prefix}_{path.name}")
    (folder / "new").rmdir()


def write_label(path, affine, voxels):
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.ascontiguousarray(np.transpose(voxels, (2, 1, 0)))
    nibabel.save(nibabel.Nifti1Image(array, LPS_TO_RAS @ affine[:, [2, 1, 0, 3]]), path)


def drawn(count):
    """Rectangles of 12 rows and 10, 9, 8 … columns."""
    voxels = np.zeros((count, 20, 24), np.uint8)
    for k in range(count):
        voxels[k, 3:15, 2 : 12 - k] = 1
    return voxels


@pytest.fixture(params=[False, True], ids=["a series of its own", "the same series"])
def patients(request, tmp_path):
    """Two patients with the same places, each with a scan that was drawn on and a localiser."""
    for patient in ("p1", "p2"):
        place = tmp_path / "dicoms" / patient
        image = the_image(place, patient, **GRID, places_mm=(0.0, 4.0, 8.0, 12.0))
        for path in place.glob("*.dcm"):
            edit(path, PatientID=patient)
        series = image.source.series_uid if request.param else None
        add_series(place, patient, "scout", series=series, orientation=SAGITTAL)
        write_label(tmp_path / "labels" / f"{patient}.nii.gz", image.affine, drawn(4))
    return tmp_path


class TestLocaliser:
    def test_a_label_goes_to_the_series_whose_grid_it_has(self, patients):
        found = find_cases(patients)
        assert [case.subject_id for case in found.cases] == ["p1", "p2"]
        areas = [row.area_mm2 for row in measure_labels(found)]
        assert areas == pytest.approx(2 * [30.0, 27.0, 24.0, 21.0])
        assert "the only series in the folder p1 with its grid" in found.cases[0].rule
        left = [file.reason for file in found.skipped]
        assert len(left) == 2
        assert all("has no labels; of this patient" in reason for reason in left)

    def test_a_label_that_fits_two_series_is_asked_for(self, patients):
        add_series(patients / "dicoms" / "p1", "p1", "again", places_mm=(0.0, 4.0, 8.0, 12.0))
        with pytest.raises(DataError, match=r"p1\.nii\.gz: could be drawn on .* which have the same grid"):
            find_cases(patients)

    def test_a_label_on_another_grid_names_what_there_is(self, patients):
        write_label(patients / "labels" / "p1.nii.gz", np.eye(4), drawn(4))
        with pytest.raises(DataError, match=r"p1\.nii\.gz: has the grid of none of the series in the folder p1"):
            find_cases(patients)

    def test_a_patient_without_any_label_is_still_refused(self, patients):
        (patients / "labels" / "p2.nii.gz").unlink()
        with pytest.raises(DataError, match="There are 2 series"):
            find_cases(patients)
        assert len(find_cases(patients, unlabelled="skip").cases) == 1


def test_a_label_beside_its_dicom_files_without_folders_for_either(tmp_path):
    image = the_image(tmp_path / "p1", "p1", **GRID, places_mm=(0.0, 4.0))
    write_label(tmp_path / "p1" / "label.nii.gz", image.affine, drawn(2))
    assert [row.area_mm2 for row in measure_labels(find_cases(tmp_path))] == pytest.approx([30.0, 27.0])


class TestMissingSlice:
    @pytest.fixture
    def folder(self, tmp_path):
        """A patient with contours on six slices, of which the third was lost, and one with all."""
        for patient in ("p1", "p2"):
            place = tmp_path / "dicoms" / patient
            image = the_image(place, patient, **GRID, places_mm=tuple(4.0 * k for k in range(6)))
            contours = [contour(image, k, SQUARE + np.array([0, k])) for k in range(6)]
            (tmp_path / "labels").mkdir(exist_ok=True)
            write_rtstruct(tmp_path / "labels" / f"{patient}.dcm", image, [contours], names=["psoas"])
            if patient == "p1":
                image.source.slices[2].path.unlink()
        return tmp_path

    def test_the_rest_is_used_and_said(self, folder):
        found = find_cases(folder)
        shapes = [read_case(case, found.structures)[0].shape[0] for case in found.cases]
        assert shapes == [2, 3, 6]
        assert [row.area_mm2 for row in measure_labels(found)] == pytest.approx(11 * [20.0])
        assert any("p1.dcm: 1 of its 6 contours lies on slices that are not there" in note for note in found.notes)
        assert any("not evenly spaced" in note for note in found.notes)
        assert found.skipped == ()

    def test_each_part_is_checked_without_an_error(self, folder):
        findings = check_cases(find_cases(folder))
        assert not [finding for finding in findings if finding.severity == "error"]
        assert not [finding for finding in findings if finding.kind == "contours"]

    def test_a_label_of_one_part_goes_to_it(self, folder):
        for path in (folder / "labels").glob("*.dcm"):
            path.unlink()
        found = []
        for patient, part in (("p1", 3), ("p2", 6)):
            image = the_image(
                folder / "again" / patient, patient, **GRID, places_mm=tuple(4.0 * k for k in range(6))
            )
            affine = image.affine.copy()
            affine[:3, 3] += (6 - part) * affine[:3, 0]
            write_label(folder / "labels" / f"{patient}.nii.gz", affine, drawn(part))
        found = find_cases(folder)
        assert [row.area_mm2 for row in measure_labels(found)] == pytest.approx(
            [30, 27, 24, 30, 27, 24, 21, 18, 15]
        )
        assert "the part with its grid" in found.cases[0].rule


def test_contours_on_one_time_point_are_not_missing_on_the_others(tmp_path):
    write_phantom(tmp_path / "dicoms", Phantom("cine", **GRID, places_mm=(0.0, 4.0), moments=2))
    (series,) = find_series(tmp_path / "dicoms").series
    first, second = read_series(series)
    (tmp_path / "labels").mkdir()
    contours = [contour(second, k, SQUARE) for k in range(2)]
    write_rtstruct(tmp_path / "labels" / "rt.dcm", second, [contours], names=["cavity"])
    found = find_cases(tmp_path)
    (case,) = found.cases
    image, labels = read_case(case, found.structures)
    np.testing.assert_array_equal(image.voxels, second.voxels)
    assert not np.array_equal(first.voxels, second.voxels)
    assert labels.mask(1).sum(axis=(1, 2)).tolist() == [80, 80]


def test_contours_without_references_on_time_points_are_refused(tmp_path):
    write_phantom(tmp_path / "dicoms", Phantom("cine", **GRID, places_mm=(0.0, 4.0), moments=2))
    (series,) = find_series(tmp_path / "dicoms").series
    first, _ = read_series(series)
    (tmp_path / "labels").mkdir()
    contours = [contour(first, k, SQUARE, references=False) for k in range(2)]
    write_rtstruct(tmp_path / "labels" / "rt.dcm", first, [contours], listed=False)
    with pytest.raises(DataError, match="does not say on which of the stacks"):
        find_cases(tmp_path)


def test_a_structure_set_that_was_used_is_not_listed_as_left_alone(tmp_path):
    image = the_image(tmp_path / "data" / "p1", "p1", **GRID)
    write_rtstruct(tmp_path / "data" / "p1" / "rt.dcm", image, [[contour(image, 0, SQUARE)]])
    (tmp_path / "data" / "p1" / "Thumbs.db").write_bytes(b"of Windows")
    found = find_cases(tmp_path / "data")
    assert len(found.cases) == 1
    assert found.skipped == ()
