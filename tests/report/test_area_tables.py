import math
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from autoseg.errors import DataError
from autoseg.image.geometry import affine_from_spacing
from autoseg.image.image import LabelMap, Source
from autoseg.image.structures import Structure
from autoseg.measurement.areas import Measurement, measure_areas
from autoseg.measurement.intervals import PatientInterval
from autoseg.report.area_tables import (
    FLAG_WORDS,
    area_blocks,
    area_text,
    areas_table,
    explain_area,
    explain_flags,
    find_missing,
    image_groups,
    in_pixels_note,
    is_by_slice,
    levels_table,
    measurements_table,
    missing_notes,
    patient_names,
    patients_table,
    with_intervals,
)

CORD = (Structure(1, "cord", includes=(2,)), Structure(2, "grey matter"))


def measured(
    case_id="leg", *, slices=4, spacing=(3.0, 0.9375, 0.9375), source="header", subject="", structures=CORD
):
    voxels = np.zeros((slices, 60, 60), np.uint8)
    for index in range(slices):
        voxels[index, 5 : 20 + index, 5:30] = 1
        voxels[index, 10 : 13 + index, 10:14] = 2
    voxels[0] = 0
    place = Source(case_id, subject, spacing_source="header", slice_spacing_source="header")
    return measure_areas(LabelMap(voxels, affine_from_spacing(spacing), structures, source=place))


def product(line):
    """Both sides of the equation in a line, as they are written."""
    area, count, pixel = re.match(r"([\d,.]+) mm² = ([\d,]+) pixels? × ([\d.]+) mm²", line).groups()
    return area, int(count.replace(",", "")) * float(pixel)


@pytest.mark.parametrize("spacing", [(3, 0.9375, 0.9375), (3, 0.351, 0.351), (3, 1.2890625, 1.289), (3, 0.1, 7)])
@pytest.mark.parametrize("count", [1, 3, 7, 99, 1409, 20_001, 123_457])
def test_the_product_in_the_line_gives_the_area_in_the_line(count, spacing):
    (row, *_) = measured(spacing=spacing)
    row = replace(row, pixel_count=count, area_mm2=count * spacing[1] * spacing[2])
    area, by_hand = product(explain_area(row))
    decimals = len(area.partition(".")[2])
    assert float(area.replace(",", "")) == pytest.approx(row.area_mm2, abs=0.5 * 10**-decimals)
    assert f"{by_hand:.{decimals}f}" == area.replace(",", "")


def test_the_line_reads_as_the_clinicians_asked_for():
    row = replace(measured()[0], pixel_count=1409, area_mm2=1409 * 0.9375**2, name="psoas")
    assert explain_area(row) == "1,238 mm² = 1,409 pixels × 0.8789 mm² (header)"
    assert explain_area(replace(row, spacing_source="typed")).endswith("(typed)")
    assert "nobody said" in explain_area(replace(row, spacing_source="none"))
    assert "1 pixel × " in explain_area(replace(row, pixel_count=1, area_mm2=0.9375**2))


def test_the_line_tells_of_what_lies_inside_and_of_nothing_where_nothing_is():
    cord, grey = measured()[2:4]
    assert explain_area(cord, CORD).endswith("; grey matter inside it is counted too")
    assert "inside" not in explain_area(grey, CORD)
    assert "inside" not in explain_area(cord)
    empty = measured()[0]
    assert explain_area(empty) == "0 mm² = 0 pixels: cord is not on this slice"


def test_the_area_of_a_sheared_pixel_is_that_of_the_parallelogram():
    affine = affine_from_spacing((3, 1, 1)).copy()
    affine[:3, 2] = (0.8, 0.6, 0)  # 1 mm apart, yet the pixel is 0.8 mm²
    voxels = np.zeros((1, 30, 30), np.uint8)
    voxels[0, 5:15, 5:15] = 1
    (row,) = measure_areas(LabelMap(voxels, affine, (Structure(1, "disc"),)))
    assert explain_area(row).startswith("80 mm² = 100 pixels × 0.8 mm²")


def test_every_flag_has_words_and_an_unknown_one_stays():
    for flag, words in FLAG_WORDS.items():
        assert explain_flags(flag) == words
    assert explain_flags("") == ""
    assert explain_flags("jump; new kind") == f"{FLAG_WORDS['jump']}; new kind"


def test_numbers_are_never_cut_before_the_point():
    assert [area_text(area) for area in (123_456.7, 9_999.6, 16.724, 0.25)] == [
        "123,457",
        "10,000",
        "16.72",
        "0.25",
    ]


def assert_same_numbers(rows: list[Measurement]):
    """Blocks and table hold the same rows, words and numbers, in the same order."""
    table = areas_table(rows)
    columns = [column for column in table if column.endswith(" mm²") and column != "slice_position_mm"]
    lines = []
    for block in area_blocks(rows):
        for group in block.rows:
            lines.append([group[0].slice, *[_area(group, column) for column in columns]])
        for word, values in block.statistics.items():
            lines.append([word, *[values.get(column, _missing(word)) for column in columns]])
    assert [line[0] for line in lines] == list(table["slice"])
    pd.testing.assert_frame_equal(
        pd.DataFrame([line[1:] for line in lines], columns=columns).astype(float),
        table[columns].reset_index(drop=True),
    )


def _area(group, column):
    return next((row.area_mm2 for row in group if f"{row.name} mm²" == column), math.nan)


def _missing(word):
    return 0.0 if word.startswith("n") else math.nan


def test_blocks_are_the_table():
    psoas = measured("b10", structures=(Structure(1, "psoas"), Structure(2, "disc")), slices=3)
    assert_same_numbers([*measured("b2"), *psoas])
    assert [block.case_id for block in area_blocks([*psoas, *measured("b2")])] == ["b2", "b10"]


def test_single_slices_of_a_patient_are_one_block():
    rows = [row for n in range(3) for row in singles(n)]
    assert_same_numbers(rows)
    (block,) = area_blocks(rows)
    assert block.is_single_slices
    assert block.case_id == "all of P7"
    assert block.statistics["n"]["cord mm²"] == 2


def test_moments_at_one_place_have_no_mean():
    rows = [*singles(1), *[replace(row, case_id="later") for row in singles(1)]]
    (block,) = area_blocks(rows)
    assert block.statistics == {}
    assert_same_numbers(rows)


def singles(number):
    rows = [row for row in measured(subject="P7") if row.slice_index == number]
    return [replace(row, case_id=f"image-{number}", slice_index=0) for row in rows]


def without_mm(rows):
    """The same slices, as files without millimetres give them."""
    silent = {"area_mm2": None, "pixel_row_mm": None, "pixel_column_mm": None, "spacing_source": "none"}
    return [replace(row, slice_position_mm=None, slice_spacing_mm=None, **silent) for row in rows]


def test_pixels_and_mm2_never_share_a_column_or_a_mean():
    known, silent = measured("known"), without_mm(measured("silent"))
    table = areas_table([*known, *silent]).set_index(["case_id", "slice"])
    assert list(table.columns)[1:5] == ["cord mm²", "cord pixels", "grey matter mm²", "grey matter pixels"]
    for mine, case_id, other in (("mm²", "known", "pixels"), ("pixels", "silent", "mm²")):
        assert table.loc[case_id, f"cord {other}"].isna().all()
        assert table.loc[(case_id, "mean"), f"cord {mine}"] == pytest.approx(
            np.mean([row.area for row in (known if case_id == "known" else silent) if row.area and row.label == 1])
        )
    words = f"{silent[2].pixel_count} pixels; the size of a pixel is unknown, so there are no mm²"
    assert explain_area(silent[2]).startswith(words)
    assert explain_area(silent[0]) == "0 pixels: cord is not on this slice"
    assert in_pixels_note(known) == ""
    assert in_pixels_note([*known, *silent]).startswith("The file of silent does not tell the size of a pixel")


def test_a_series_of_single_slices_of_which_some_have_no_millimetres_is_two_blocks():
    rows = [*singles(1), *singles(2), *without_mm(singles(3))]
    blocks = area_blocks(rows)
    assert [{row.unit for group in block.rows for row in group} for block in blocks] == [{"mm²"}, {"pixels"}]
    assert [block.statistics["n"] for block in blocks] == [
        {"cord mm²": 2, "grey matter mm²": 2}, {"cord pixels": 1, "grey matter pixels": 1},
    ]  # fmt: skip
    assert "mean_area_mm2" not in patients_table(without_mm(measured()))
    table = patients_table(rows)
    assert table["mean_area_mm2"].isna().tolist() == [False, False, True, True]
    assert table["mean_area_pixels"].isna().tolist() == [True, True, False, False]


def test_levels_have_rows_of_their_own_for_pixels():
    rows = [replace(row, level="T12") for row in measured("known")]
    table = levels_table([*rows, *without_mm(rows)])
    assert list(table.columns)[4:] == ["mean_area_mm2", "sd_area_mm2", "mean_area_pixels", "sd_area_pixels"]
    assert table["mean_area_mm2"].isna().sum() == table["mean_area_pixels"].isna().sum() == len(table) // 2
    assert list(levels_table(rows).columns)[4:] == ["mean_area_mm2", "sd_area_mm2"]


def test_the_files_names_stand_beside_the_numbers_where_slices_have_files():
    rows = [replace(row, file=f"IM{9 - row.slice}.dcm") for row in measured()]
    assert areas_table(rows)["file"][:2].tolist() == ["IM8.dcm", "IM7.dcm"]
    assert "file" not in areas_table([replace(row, file="leg.nii.gz") for row in rows])


def test_what_is_on_no_slice_is_found():
    rows = measured("a")
    gone = [replace(row, pixel_count=0, area_mm2=0.0) if row.label == 2 else row for row in measured("b")]
    nothing = [replace(row, pixel_count=0, area_mm2=0.0) for row in measured("c")]
    found = find_missing([*rows, *gone, *nothing])
    assert [(one.case_id, one.name, one.is_everything) for one in found] == [
        ("b", "grey matter", False), ("c", "cord", True), ("c", "grey matter", True),
    ]  # fmt: skip
    first, second = missing_notes(found)
    assert first.startswith("grey matter was found on no slice of b: the area is 0 there.")
    assert second.startswith("Nothing was found on any slice of c: every area is 0.")
    # On single slices of a series a structure need not be on each.
    assert find_missing([*singles(0), *singles(1)]) == ()
    (cord, _) = find_missing([*singles(0), *[replace(row, case_id="x") for row in singles(0)]])
    assert (cord.images, cord.where) == (2, "the 2 images from image-0 on")


def test_what_was_measured_twice_is_refused():
    with pytest.raises(DataError, match="twice"):
        area_blocks([*measured(), *measured()])
    assert area_blocks([]) == ()


def test_a_half_is_rounded_up_as_the_page_rounds_it():
    assert [area_text(area) for area in (113.25, 1002.5, 20.125)] == ["113.3", "1,003", "20.13"]
    row = replace(measured()[0], pixel_count=453, area_mm2=453 * 0.25)
    assert explain_area(row).startswith("113.3 mm² = 453 pixels × 0.25 mm²")


# --- by patient

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
    row = the_row(stack("a", "p", [0, 6, 12, 18, 0]))
    assert (row["patient"], row["image"], row["slices"]) == ("patient 1", "a", 3)
    assert row["mean_area_mm2"] == 48.0
    assert row["sd_area_mm2"] == 24.0
    assert row["max_area_mm2"] == 72.0
    assert row["volume_mm3"] == pytest.approx((24 + 48 + 72) * 5)
    assert row["volume_ml"] == pytest.approx(0.72)


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
    table = patients_table(stack("t01", "p", [0, 6, 6, 0]) + stack("t02", "p", [0, 12, 12, 0]))
    psoas = table[table["structure"] == "psoas"]
    assert psoas["image"].tolist() == ["t01", "t02"]
    assert psoas["volume_mm3"].tolist() == [240.0, 480.0]


def test_single_slices_of_a_series_are_one_image():
    rows = [
        row
        for k, size in enumerate((0, 6, 12, 18, 0))
        for row in stack(f"s{k}", "p", [size], start=5.0 * k, series="u")
    ]
    assert is_by_slice(rows)
    row = the_row(rows)
    assert (row["image"], row["slices"], row["volume_mm3"]) == ("5 slice images", 3, (24 + 48 + 72) * 5)


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


# --- cut off by the edge of the image


def cut_stack():
    """A psoas of 24 mm² on the second and third slice and 72 mm² on the fourth, which cuts it off."""
    rows = stack("a", "p", [0, 6, 12, 18, 0])
    return [
        replace(row, touches_edge=True, flags="touches edge", level="L3") if row.pixel_count == 18 else row
        for row in rows
    ]


def test_what_is_cut_off_has_a_column_of_its_own_and_counts_nowhere():
    rows = cut_stack()
    tidy = measurements_table(rows)
    seen = tidy[tidy["name"] == "psoas"].set_index("slice")
    assert seen["area_mm2"].isna().tolist() == [False, False, False, True, False]
    assert seen["area_at_least_mm2"].dropna().to_dict() == {4: 72.0}
    wide = areas_table(rows).set_index("slice")
    assert wide.loc[[2, 3, "mean", "SD", "n"], "psoas mm²"].tolist() == pytest.approx([24, 48, 36, 288**0.5, 2])
    assert math.isnan(wide.loc[4, "psoas mm²"])
    assert wide["psoas mm² at least"].dropna().to_dict() == {4: 72.0}
    assert "disc mm² at least" not in wide
    row = the_row(rows)
    assert (row["slices"], row["cut_off"], row["mean_area_mm2"]) == (3, 1, 36.0)
    whole = [row[name] for name in ("max_area_mm2", "volume_mm3", "volume_ml")]
    assert all(math.isnan(value) for value in whole)
    least = [row[f"{name}_at_least_{unit}"] for name, unit in (("max_area", "mm2"), ("volume", "ml"))]
    assert least == [72.0, pytest.approx(0.72)]
    disc = the_row(rows, "disc")
    assert (disc["volume_ml"], math.isnan(disc["volume_at_least_ml"])) == (0.0, True)


def test_a_level_with_nothing_but_what_is_cut_off_has_no_mean():
    (line,) = levels_table(cut_stack()).to_dict("records")
    assert (line["level"], line["n"], math.isnan(line["mean_area_mm2"])) == ("L3", 0, True)


def test_what_is_cut_off_is_told_in_words():
    rows = cut_stack()
    row = next(row for row in rows if row.is_cut_off)
    assert explain_area(row) == "at least 72 mm² (cut off) = 18 pixels × 4 mm² (header)"
    bare = explain_area(without_mm([row])[0])
    assert bare.startswith("at least 18 pixels (cut off); the size of a pixel is unknown")
    shown = with_intervals(areas_table(rows))
    assert shown["psoas mm²"].tolist()[1:6] == ["24", "48", "at least 72 (cut off)", "0", "36"]
    assert "psoas mm² at least" not in shown
    summed = with_intervals(patients_table(rows))
    assert summed["volume_ml"][0] == "at least 0.72 (cut off)"
    assert not [name for name in summed if "at_least" in name]


@pytest.mark.parametrize(("sizes", "is_cut"), [([0, 6, 0], False), ([6, 6, 0], True), ([0, 6, 6], True)])
def test_a_volume_is_cut_off_on_the_first_and_the_last_slice(sizes, is_cut):
    row = the_row(stack("a", "p", sizes))
    assert math.isnan(row["volume_ml"]) == is_cut
    assert math.isnan(row.get("volume_at_least_ml", math.nan)) != is_cut
    assert row["mean_area_mm2"] == 24.0


# --- how far to trust an area


def judged(rows, light="green", share=0.1):
    """The rows with a light, and with bounds this share below and above each area."""
    known = {"suitability": light, "expected_dice": 0.9, "expected_error_percent": 8.0, "interval_level": 0.9}
    return [
        replace(row, area_low_mm2=(1 - share) * row.area_mm2, area_high_mm2=(1 + share) * row.area_mm2, **known)
        for row in rows
    ]


def test_drawn_labels_have_no_columns_of_predictions():
    rows = [replace(row, level="T12") for row in measured()]
    for table in (measurements_table(rows), areas_table(rows), patients_table(rows), levels_table(rows)):
        assert not [name for name in table if re.search("suitab|expected|low|high|interval", name)]


def test_bounds_stand_behind_all_areas_and_are_never_averaged():
    table = areas_table(judged(measured(subject="p")))
    assert list(table.columns) == [
        "slice", "slice_position_mm", "cord mm²", "grey matter mm²", "cord mm² low", "cord mm² high",
        "grey matter mm² low", "grey matter mm² high", "flags", "suitability",
    ]  # fmt: skip
    slices, below = table[:4], table[4:]
    assert slices["cord mm² low"].tolist() == pytest.approx((0.9 * slices["cord mm²"]).tolist())
    assert slices["cord mm² high"].tolist() == pytest.approx((1.1 * slices["cord mm²"]).tolist())
    plain = areas_table(measured(subject="p"))
    pd.testing.assert_frame_equal(table[plain.columns], plain)
    assert below[[name for name in table if name.endswith(("low", "high"))]].isna().all(axis=None)
    assert set(table["suitability"]) == {"green"}


def test_bounds_in_pixels_and_of_some_images_only():
    silent = [
        replace(row, pixel_count_low=1.0, pixel_count_high=row.pixel_count + 7.0)
        for row in without_mm(measured("silent"))
    ]
    table = areas_table([*measured("known"), *silent]).set_index("case_id")
    assert [name for name in table if name.endswith("low")] == ["cord pixels low", "grey matter pixels low"]
    assert table.loc["known", "cord pixels low"].isna().all()
    assert table.loc["silent", "cord pixels high"].tolist()[1:4] == [16 * 25 + 7, 17 * 25 + 7, 18 * 25 + 7]


def test_every_table_has_the_light_and_one_row_has_the_worst():
    rows = [
        *[replace(row, level="T12", suitability="red") for row in measured("a", subject="p")],
        *[replace(row, level="T12") for row in measured("b", subject="p")],
        *[replace(row, level="T12", suitability="green") for row in measured("c", subject="q")],
        *[replace(row, level="T12") for row in measured("d", subject="q")],
    ]
    lights = {"a": "red", "b": "", "c": "green", "d": ""}
    for table in (measurements_table(rows), areas_table(rows)):
        assert dict(zip(table["case_id"], table["suitability"], strict=True)) == lights
    by_patient = patients_table(rows)
    assert dict(zip(by_patient["image"], by_patient["suitability"], strict=True)) == lights
    # One that nobody compared may be worse than green.
    by_level = levels_table(rows)
    assert dict(zip(by_level["subject_id"], by_level["suitability"], strict=True)) == {"p": "red", "q": ""}
    assert areas_table(rows).groupby("case_id")["suitability"].nunique().tolist() == [1] * 4


def interval_of(image, label, name, *, subject="p", unit="mm²", **ends):
    return PatientInterval(subject, image, label, name, unit, 0.9, "by patient", **ends)


def test_intervals_of_means_and_volumes_stand_with_them_and_nowhere_else():
    rows = [*measured("a", subject="p"), *measured("b", subject="p")]
    rows = judged([replace(row, pixel_count=0, area_mm2=0.0) if row.slice == 4 else row for row in rows])
    known = [
        interval_of("a", 1, "cord", mean_low=300.0, mean_high=450.0, volume_low_mm3=1500.0, volume_high_mm3=2500.0),
        interval_of("b", 2, "grey matter", max_low=10.0, max_high=20.0),
        interval_of("elsewhere", 1, "cord", mean_low=1.0, mean_high=2.0),
    ]
    table = areas_table(rows, known)
    below = table[table["slice"].isin(["mean", "SD", "n", "mean (unflagged)", "SD (unflagged)", "n (unflagged)"])]
    ends = below[["case_id", "slice", "cord mm² low", "cord mm² high"]].dropna()
    assert ends.to_numpy().tolist() == [["a", "mean", 300.0, 450.0]]
    assert below["grey matter mm² low"].isna().all()
    by_patient = patients_table(rows, known)
    assert list(by_patient.columns)[-9:] == [
        "mean_area_low_mm2", "mean_area_high_mm2", "max_area_low_mm2", "max_area_high_mm2", "volume_low_ml",
        "volume_high_ml", "interval_level", "interval_basis", "suitability",
    ]  # fmt: skip
    cord, grey = by_patient.iloc[0], by_patient.iloc[3]
    assert (cord["image"], cord["structure"], grey["image"], grey["structure"]) == ("a", "cord", "b", "grey matter")
    assert (cord["mean_area_low_mm2"], cord["volume_high_ml"], cord["interval_level"]) == (300.0, 2.5, 0.9)
    assert (grey["max_area_high_mm2"], math.isnan(grey["mean_area_low_mm2"])) == (20.0, True)
    assert by_patient.iloc[[1, 2]][["mean_area_low_mm2", "interval_level"]].isna().all(axis=None)
    shown = with_intervals(by_patient)
    assert not [name for name in shown if re.search("low|high|interval", name)]
    assert shown["mean_area_mm2"][0].endswith(" (300–450)")
    assert shown["volume_ml"][0].endswith(" (1.5–2.5)")
    assert shown["mean_area_mm2"][1] == area_text(by_patient["mean_area_mm2"][1])


def test_the_interval_of_a_series_of_single_slices_stands_below_it():
    rows = judged([row for n in (1, 2, 3) for row in singles(n)])
    (key, *_) = image_groups(rows)
    known = [interval_of(key[1], 1, "cord", subject=key[0], mean_low=300.0, mean_high=450.0)]
    table = areas_table(rows, known).set_index("slice")
    assert table.loc["mean", ["cord mm² low", "cord mm² high"]].tolist() == [300.0, 450.0]
    assert patients_table(rows, known)["mean_area_high_mm2"].tolist()[0] == 450.0
