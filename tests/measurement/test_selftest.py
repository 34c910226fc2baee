"""The self-test passes, and fails when something is wrong."""

import math
from dataclasses import replace

import pytest

from autoseg.errors import ReadError
from autoseg.files.dicom import grids as dicom_grids
from autoseg.files.dicom import series as dicom
from autoseg.files.dicom.phantoms import PHANTOMS
from autoseg.files.dicom.series import read_series
from autoseg.measurement import selftest
from autoseg.measurement.selftest import SelftestReport, run_selftest

FEW = tuple(p for p in PHANTOMS if p.name in ("non-square pixels", "inverted order", "gap", "enhanced"))


def test_all_phantoms_are_measured_right_and_the_worst_error_is_printed():
    report = run_selftest()
    assert report.passed, report.table()
    assert {row.phantom for row in report.rows} == {phantom.name for phantom in PHANTOMS}
    assert len(report.rows) == sum(len(phantom.truth()) for phantom in PHANTOMS)
    assert report.worst_error_percent < 1e-9
    assert report.worst_offset_mm < 1e-6
    assert "Self-test passed" in report.table()
    assert f"worst error {report.worst_error_percent:.4f} %" in report.table()
    assert all(phantom.name in report.table() for phantom in PHANTOMS)


def test_the_ideal_shape_s_area_is_reported_beside_the_digital_one():
    report = run_selftest(phantoms=FEW)
    assert 0.1 < report.worst_shape_error_percent < 3


def test_files_stay_in_a_folder_that_is_given(tmp_path):
    assert run_selftest(tmp_path, phantoms=FEW[:1]).passed
    assert len(list((tmp_path / "non-square_pixels").glob("*.dcm"))) == 3


def test_swapped_row_and_column_spacing_fails(monkeypatch):
    right = dicom_grids.affine_from_axes

    def swapped(*, pixel_spacing_mm, **others):
        return right(pixel_spacing_mm=pixel_spacing_mm[::-1], **others)

    monkeypatch.setattr(dicom_grids, "affine_from_axes", swapped)
    report = run_selftest(phantoms=FEW)
    assert not report.passed
    assert report.worst_offset_mm > 1
    assert report.worst_error_percent < 1e-9, "the area alone does not notice, hence the places"
    assert "FAILED" in report.table()


@pytest.mark.parametrize(("factor", "passes"), [(1.004, True), (1.006, False)])
def test_areas_wrong_by_more_than_half_a_percent_fail(monkeypatch, factor, passes):
    right = selftest.measure_areas

    def wrong(label_map, *, image):
        return [replace(row, area_mm2=row.area_mm2 * factor) for row in right(label_map, image=image)]

    monkeypatch.setattr(selftest, "measure_areas", wrong)
    report = run_selftest(phantoms=FEW)
    assert report.passed is passes
    assert report.worst_error_percent == pytest.approx(100 * (factor - 1))


def test_slices_at_one_another_s_place_fail(monkeypatch):
    def turned(series):
        return tuple(replace(image, voxels=image.voxels[::-1]) for image in read_series(series))

    monkeypatch.setattr(selftest, "read_series", turned)
    report = run_selftest(phantoms=FEW[:1])
    assert not report.passed
    assert report.worst_error_percent > 5


def test_positions_that_run_the_other_way_fail(monkeypatch):
    right = dicom_grids.slice_normal
    monkeypatch.setattr(dicom_grids, "slice_normal", lambda orientation: -right(orientation))
    report = run_selftest(phantoms=FEW[2:3])
    assert not report.passed


def test_a_slice_that_gets_lost_fails(monkeypatch):
    right = selftest.find_series

    def without_one(folder):
        next(folder.glob("1.dcm")).unlink()
        return right(folder)

    monkeypatch.setattr(selftest, "find_series", without_one)
    report = run_selftest(phantoms=FEW[:1])
    assert not report.passed
    assert "6 areas were measured, 9 are there" in report.table()


def test_a_reader_that_refuses_is_a_failure_and_not_an_exception(monkeypatch):
    def refuse(series):
        raise ReadError("no decoder for this")

    monkeypatch.setattr(selftest, "read_series", refuse)
    report = run_selftest(phantoms=FEW[:1])
    assert not report.passed
    assert report.failures == ("non-square pixels: no decoder for this",)
    assert report.worst_error_percent == math.inf


def test_nothing_measured_is_not_passed():
    assert not SelftestReport(()).passed


def test_an_image_without_millimetres_fails(monkeypatch):
    monkeypatch.setattr(dicom, "grid_affine", lambda grid, typed: None)
    report = run_selftest(phantoms=FEW[:1])
    assert not report.passed
    assert "no pixel spacing" in report.failures[0]
