"""Areas by patient, checked by hand."""

import math

import numpy as np
import pytest

from autoseg.image.geometry import affine_from_spacing
from autoseg.image.image import LabelMap, Source
from autoseg.image.structures import Structure
from autoseg.measurement.areas import measure_areas
from autoseg.report.patient_tables import image_groups, is_by_slice, patient_names, patients_table

STRUCTURES = (Structure(1, "psoas"), Structure(2, "disc"))


def stack(case_id, subject, sizes, *, step=5.0, start=0.0, spaced=True, series=""):
    """Slices with a psoas of so many pixels of 4 mm² each."""
    voxels = np.zeros((len(sizes), 8, 8), np.uint8)
    for index, size in enumerate(sizes):
        inner = np.zeros(36, np.uint8)
        inner[:size] = 1
        voxels[index, 1:7, 1:7] = inner.reshape(6, 6)
    source = Source(
        case_id=case_id,
        subject_id=subject,
        series_uid=series,
        spacing_source="header",
        slice_spacing_source="header" if spaced else "none",
    )
    affine = affine_from_spacing((step, 2.0, 2.0), (0, 0, start))
    return measure_areas(LabelMap(voxels, affine, STRUCTURES, source=source))


def the_row(rows, structure="psoas"):
    table = patients_table(rows)
    (row,) = table[table["structure"] == structure].to_dict("records")
    return row


def test_mean_sd_largest_and_volume_of_one_stack():
    row = the_row(stack("a", "p", [0, 6, 12, 18]))
    assert (row["patient"], row["image"], row["slices"]) == ("patient 1", "a", 3)
    assert row["mean_area_mm2"] == 48.0
    assert row["sd_area_mm2"] == 24.0
    assert row["max_area_mm2"] == 72.0
    assert row["volume_mm3"] == pytest.approx((24 + 48 + 72) * 5)


def test_a_structure_that_is_nowhere_has_no_mean():
    row = the_row(stack("a", "p", [6, 6]), "disc")
    assert row["slices"] == 0
    assert math.isnan(row["mean_area_mm2"])
    assert row["volume_mm3"] == 0


@pytest.mark.parametrize("rows", [stack("a", "p", [6, 6], spaced=False), stack("a", "p", [6])])
def test_without_a_known_distance_or_with_one_slice_there_is_no_volume(rows):
    assert math.isnan(the_row(rows)["volume_mm3"])


def test_flags_are_counted():
    assert the_row(stack("a", "p", [6, 0, 6]))["flagged"] == 1


def test_images_of_one_patient_are_not_added_up():
    table = patients_table(stack("t01", "p", [6, 6]) + stack("t02", "p", [12, 12]))
    psoas = table[table["structure"] == "psoas"]
    assert psoas["image"].tolist() == ["t01", "t02"]
    assert psoas["volume_mm3"].tolist() == [240.0, 480.0]


def test_single_slices_of_a_series_are_one_image():
    rows = [
        row for k, size in enumerate((6, 12, 18)) for row in stack(f"s{k}", "p", [size], start=5.0 * k, series="u")
    ]
    assert is_by_slice(rows)
    row = the_row(rows)
    assert (row["image"], row["slices"], row["volume_mm3"]) == ("3 slice image(s)", 3, (24 + 48 + 72) * 5)


def test_single_slices_with_a_gap_have_no_volume():
    rows = [row for k in (0, 1, 3) for row in stack(f"s{k}", "p", [6], start=5.0 * k, series="u")]
    assert math.isnan(the_row(rows)["volume_mm3"])


def test_time_points_joined_slice_by_slice_have_no_mean():
    rows = [row for k in range(4) for row in stack(f"s{k}", "p", [6], start=5.0 * (k % 2), series="u")]
    row = the_row(rows)
    assert math.isnan(row["mean_area_mm2"])
    assert math.isnan(row["volume_mm3"])
    assert row["max_area_mm2"] == 24.0


def test_patients_are_numbered_in_natural_order_and_kept_apart():
    rows = stack("a", "p10", [6, 6]) + stack("b", "p2", [6, 6])
    assert patient_names(rows) == {"p2": "patient 1", "p10": "patient 2"}
    assert [subject for subject, _ in image_groups(rows)] == ["p2", "p10"]
    assert patients_table(rows)["subject_id"].tolist() == ["p2", "p2", "p10", "p10"]


def test_nothing_measured_is_an_empty_table_with_its_columns():
    table = patients_table([])
    assert table.empty
    assert "volume_mm3" in table.columns
