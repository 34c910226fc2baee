"""Numbered pictures of one patient are the slices of one stack, and a person can say that they are not."""

import numpy as np
import pytest
import tifffile
from PIL import Image as PillowImage

from autoseg.data.cases import Reading, find_cases, pairs_table, read_case, read_case_image
from autoseg.data.cases.find import find_own_images
from autoseg.data.checks import check_cases
from autoseg.data.label_counts import count_labels
from autoseg.data.patients import find_patient, read_patient
from autoseg.errors import LabelError, ReadError
from autoseg.image.structures import Structure

SHAPE = (20, 16)


def grey(patient, number, shape=SHAPE):
    return np.random.default_rng(100 * patient + number).integers(1, 200, shape).astype(np.uint8)


def drawn(number, value=255, shape=SHAPE):
    """A label picture whose rectangle is as wide as the slice's number; nothing on the first slice."""
    labels = np.zeros(shape, np.uint8)
    labels[4:8, 2 : 2 + number % 12] = value if number > 1 else 0
    return labels


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".tif":
        tifffile.imwrite(path, pixels)
    else:
        PillowImage.fromarray(pixels).save(path)
    return path


def write_patient(folder, patient, numbers, *, ending=".png", value=255):
    stem = f"sub-{patient}"
    for number in numbers:
        save(folder / stem / f"{stem}_{number}{ending}", grey(patient, number))
        save(folder / stem / f"{stem}_{number}_mask{ending}", drawn(number, value))


@pytest.fixture
def folder(tmp_path):
    write_patient(tmp_path, 1, range(1, 13))
    write_patient(tmp_path, 2, range(1, 6), ending=".tif")
    return tmp_path


def test_they_are_read_in_the_order_of_their_numbers(folder):
    found = find_cases(folder)
    assert [(case.case_id, case.subject_id, case.file_count) for case in found.cases] == [
        ("sub-1", "sub-1", 12),
        ("sub-2", "sub-2", 5),
    ]
    image, label_map = read_case(found.cases[0], found.structures)
    np.testing.assert_array_equal(image.voxels, [grey(1, number) for number in range(1, 13)])
    np.testing.assert_array_equal(label_map.voxels > 0, [drawn(number) > 0 for number in range(1, 13)])
    assert [place.path.name for place in image.source.slices][:2] == ["sub-1_1.png", "sub-1_2.png"]
    assert image.affine is None
    shown = pairs_table(found).iloc[0]
    assert shown["image"] == "sub-1_1.png … sub-1_12.png (12 slices)"
    assert "(12 files)" in shown["label"]


def test_it_is_said_and_can_be_said_otherwise(folder):
    (note,) = find_cases(folder).notes
    assert "17 pictures" in note
    assert "2 stacks (sub-1, 12 slices, sub-2, 5 slices)" in note
    assert "--single-pictures" in note
    single = find_cases(folder, reading=Reading(single_pictures=True))
    assert len(single.cases) == 17
    assert single.notes == ()


def test_a_typed_pixel_size_serves_and_slices_stay_of_unknown_distance(folder):
    image = read_case_image(find_cases(folder, reading=Reading(pixel_spacing_mm=(0.5, 0.4))).cases[0])
    assert image.pixel_mm2 == pytest.approx(0.2)
    assert image.source.slice_spacing_source == "none"


@pytest.mark.parametrize(
    ("file", "row"),
    [
        ("annotated.csv", "case_id,label 255\n" + "".join(f"sub-1_{n},1\n" for n in range(1, 13))),
        ("subjects.csv", "case_id,subject_id\nsub-1_1,a\nsub-1_2,a\n"),
        ("repairs.csv", "case_id,kind,arguments,reason,date\nsub-1_3,leave_out,,,2026-12-01\n"),
    ],
)
def test_pictures_that_the_folders_tables_name_stay_images_of_their_own(folder, file, row):
    if file == "annotated.csv":
        row += "".join(f"sub-2_{n},1\n" for n in range(1, 6))
    (folder / file).write_text(row)
    found = find_cases(folder)
    assert len(found.cases) == 17 - (file == "repairs.csv")
    assert any(f"{file} names them one by one" in note for note in found.notes)


def test_a_table_may_name_the_stack(folder):
    (folder / "subjects.csv").write_text("case_id,subject_id\nsub-1,a\nsub-2,b\n")
    (folder / "annotated.csv").write_text("case_id,slices,label 255\nsub-1,2-4,1\nsub-1,5-12,0\nsub-2,,1\n")
    found = find_cases(folder)
    assert [(case.case_id, case.subject_id) for case in found.cases] == [
        ("sub-1_s002-004", "a"),
        ("sub-1_s005-012", "a"),
        ("sub-2", "b"),
    ]
    image, label_map = read_case(found.cases[0], found.structures)
    np.testing.assert_array_equal(image.voxels, [grey(1, number) for number in (2, 3, 4)])
    np.testing.assert_array_equal(label_map.voxels > 0, [drawn(number) > 0 for number in (2, 3, 4)])


def test_what_is_no_stack_stays_as_it_is_and_why_is_said(tmp_path):
    write_patient(tmp_path, 1, (1, 2, 3))
    save(tmp_path / "sub-1" / "sub-1_2.png", grey(1, 2, (22, 16)))
    save(tmp_path / "sub-1" / "sub-1_2_mask.png", drawn(2, shape=(22, 16)))
    write_patient(tmp_path, 2, (1, 5, 9, 13))
    write_patient(tmp_path, 3, (1, 2))
    found = find_cases(tmp_path)
    assert len(found.cases) == 9
    sizes, apart = found.notes
    assert sizes == "Numbered pictures of sub-1 are no stack: their sizes differ."
    assert "sub-2 are no stack: most numbers" in apart


def test_single_patients_with_a_number_each_are_no_stack(tmp_path):
    for number in range(1, 8):
        save(tmp_path / "images" / f"leg_{number:02d}.png", grey(1, number))
        save(tmp_path / "labels" / f"leg_{number:02d}.png", drawn(number))
    found = find_cases(tmp_path)
    assert (len(found.cases), len({case.subject_id for case in found.cases})) == (7, 7)


def test_missing_numbers_are_told(tmp_path):
    write_patient(tmp_path, 1, (1, 2, 3, 6, 7, 9))
    found = find_cases(tmp_path)
    assert read_case_image(found.cases[0]).shape[0] == 6
    assert "sub-1 (4 to 5, 8)" in found.notes[1]


def test_slices_without_a_label_file_are_left_out_and_not_empty(folder):
    for number in (1, 6, 7):
        (folder / "sub-1" / f"sub-1_{number}_mask.png").unlink()
    found = find_cases(folder, unlabelled="skip")
    parts = [case for case in found.cases if case.subject_id == "sub-1"]
    assert [case.case_id for case in parts] == ["sub-1_s002-005", "sub-1_s008-012"]
    assert [case.annotated for case in parts] == [None, None]
    image, label_map = read_case(parts[1], found.structures)
    np.testing.assert_array_equal(image.voxels[0], grey(1, 8))
    np.testing.assert_array_equal(label_map.voxels[0] > 0, drawn(8) > 0)
    assert [file.path.name for file in found.skipped] == ["sub-1_1.png", "sub-1_6.png", "sub-1_7.png"]


def test_a_file_for_each_structure_tells_slice_by_slice_what_was_drawn(tmp_path):
    for number in range(1, 7):
        save(tmp_path / f"sub-1_{number}.png", grey(1, number))
        save(tmp_path / f"sub-1_{number}_liver.png", drawn(number))
        if number > 3:
            inside = np.zeros(SHAPE, np.uint8)
            inside[5, 3] = 1
            save(tmp_path / f"sub-1_{number}_tumour.png", inside)
    for name in ("liver", "tumour"):
        for path in tmp_path.glob(f"*_{name}.png"):
            (tmp_path / "masks").mkdir(exist_ok=True)
            path.rename(tmp_path / "masks" / path.name)
    found = find_cases(tmp_path)
    assert [(case.case_id, case.annotated) for case in found.cases] == [
        ("sub-1_s001-003", frozenset({1})),
        ("sub-1_s004-006", None),
    ]
    _, label_map = read_case(found.cases[1], found.structures)
    assert [int(mask.sum()) for mask in label_map.mask(1)] == [16, 20, 24]
    assert [int(mask.sum()) for mask in label_map.mask(2)] == [1, 1, 1]


def test_channels_are_those_of_the_whole_stack(tmp_path):
    """A blank picture, whose three channels are equal, does not make its stack grey."""
    colours = np.random.default_rng(5).integers(1, 200, (*SHAPE, 3)).astype(np.uint8)
    write_patient(tmp_path, 1, range(1, 5))
    for number in range(1, 5):
        pixels = np.zeros((*SHAPE, 3), np.uint8) if number in (1, 4) else colours
        save(tmp_path / "sub-1" / f"sub-1_{number}.png", pixels)
    image = read_case_image(find_cases(tmp_path).cases[0])
    assert image.voxels.shape == (3, 4, *SHAPE)
    np.testing.assert_array_equal(np.moveaxis(image.voxels[:, 1], 0, -1), colours)


def test_the_file_that_holds_a_value_without_a_name_is_named(folder):
    save(folder / "sub-1" / "sub-1_7_mask.png", drawn(7, 9))
    found = find_cases(folder, structures=[Structure(255, "disc")])
    (finding,) = [one for one in check_cases(found) if one.kind == "values"]
    assert "sub-1_7_mask.png holds 1 value" in finding.problem
    assert finding.path.name == "sub-1_7_mask.png"
    assert count_labels(found.cases, found.structures)["sub-1"].pixels[9].tolist() == [0] * 6 + [28] + [0] * 5


def test_a_label_of_another_size_is_named(folder):
    save(folder / "sub-1" / "sub-1_7_mask.png", drawn(7, shape=(22, 16)))
    found = find_cases(folder)
    with pytest.raises(LabelError, match=r"sub-1_7_mask.png has 1 × 22 × 16"):
        read_case(found.cases[0], found.structures)


def test_a_picture_that_changed_its_size_meanwhile_is_named(folder):
    found = find_cases(folder)
    save(folder / "sub-1" / "sub-1_7.png", grey(1, 7, (22, 16)))
    with pytest.raises(ReadError, match=r"sub-1_7.png has 22 × 16 pixels"):
        read_case_image(found.cases[0])


def test_levels_count_the_slices_of_the_stack(folder):
    lines = ["slice, level", *(f"{n}, L{n}" for n in range(5))]
    (folder / "sub-2" / "sub-2-levels.txt").write_text("\n".join(lines))
    found = find_cases(folder)
    image = read_case_image(found.cases[1])
    assert [place.level for place in image.source.slices] == ["L0", "L1", "L2", "L3", "L4"]
    assert not [one for one in check_cases(found) if one.kind == "levels"]


class TestNewPatient:
    def test_for_a_model_that_learnt_from_stacks(self, folder):
        for place in (folder, folder / "sub-1"):  # of two patients, and of one
            cases = find_own_images(place, stacks=True)
            assert (cases[0].case_id, cases[0].subject_id, cases[0].file_count) == ("sub-1", "sub-1", 12)
        patient = find_patient(folder / "sub-1", stacks=True)
        assert [(one.case_id, one.slices) for one in patient.candidates] == [("sub-1", 12)]
        (image,), notes, _ = read_patient(folder / "sub-1", stacks=True)
        np.testing.assert_array_equal(image.voxels, [grey(1, number) for number in range(1, 13)])
        assert "12 pictures that are numbered in order, sub-1_1.png to sub-1_12.png" in notes[0]

    def test_for_others_pictures_are_as_they_were(self, folder):
        images, notes, _ = read_patient(folder / "sub-1")
        assert [image.source.case_id for image in images][:2] == ["sub-1_1", "sub-1_2"]
        assert notes == []

    def test_names_that_are_numbers_take_that_of_the_folder(self, tmp_path):
        for number in range(9, 13):
            save(tmp_path / "anna" / f"{number}.png", grey(1, number))
        (case,) = find_own_images(tmp_path / "anna", stacks=True)
        assert (case.case_id, case.image_path.name, case.images[0].others[0].name) == ("anna", "9.png", "10.png")
