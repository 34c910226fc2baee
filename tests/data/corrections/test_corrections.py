"""Labels out to be corrected, and back: places, names, what was changed, and what is learnt from then."""

import csv
import json
import os
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest

from autoseg.data.cases import Reading, find_cases, read_case
from autoseg.data.corrections.keep import (
    corrected_image,
    find_standing,
    keep_correction,
    keep_corrections,
    whole_cases,
)
from autoseg.data.corrections.kit import (
    STEPS,
    find_kits,
    further_files,
    read_kit,
    steps,
    straight_affine,
    write_kit,
)
from autoseg.data.corrections.read import (
    changes_by_structure,
    changes_table,
    compare_structures,
    find_changes,
    most_changed,
    read_correction,
    read_corrections,
)
from autoseg.errors import DataError, GeometryError, LabelError, OutputError, ReadError
from autoseg.files.nifti.volumes import read_nifti, write_nifti
from autoseg.files.tables import read_kept_corrections, write_structures
from autoseg.image.geometry import affine_from_axes, affine_from_spacing, slice_distance_mm, spacing_from_affine
from autoseg.image.image import Image, LabelMap, SliceSource, Source
from autoseg.image.structures import Structure

CORD = Structure(1, "cord", includes=(2,))
GREY, DISC = Structure(2, "grey matter"), Structure(7, "disc")
STRUCTURES = (CORD, GREY, DISC)
TILT, TURN = np.radians(20), np.radians(35)
AXIAL = affine_from_spacing((5.0, 0.5, 0.5), (-12.25, 30.5, -101.0))
OBLIQUE = affine_from_axes(
    position_mm=(-40.0, 12.5, 77.0),
    orientation=(
        np.cos(TURN),
        np.sin(TURN),
        0,
        -np.sin(TURN) * np.cos(TILT),
        np.cos(TURN) * np.cos(TILT),
        np.sin(TILT),
    ),
    pixel_spacing_mm=(0.7, 0.4),
    slice_step_mm=6.0 * np.array([np.sin(TURN) * np.sin(TILT), -np.cos(TURN) * np.sin(TILT), np.cos(TILT)]),
)
SAGITTAL = affine_from_axes(
    position_mm=(-20.0, -60.0, 120.0),
    orientation=(0, 1, 0, 0, 0, -1),
    pixel_spacing_mm=(0.8, 0.6),
    slice_step_mm=(3.0, 0.0, 0.0),
)
GRIDS = {"axial": AXIAL, "oblique": OBLIQUE, "sagittal": SAGITTAL}


def make_result(case_id="case7", *, affine=AXIAL, shape=(6, 20, 24), channels=("image",), **source):
    rng = np.random.default_rng(len(case_id))
    size = shape if len(channels) == 1 else (len(channels), *shape)
    labels = np.zeros(shape, np.uint8)
    labels[1:, 5:15, 6:16] = 1
    labels[1:, 8:11, 8:12] = 2
    labels[2:5, 16:19, 1:5] = 7
    told = {"spacing_source": "header", "slice_spacing_source": "header", "subject_id": f"P-{case_id}"}
    whence = Source(case_id=case_id, **{**told, **source})
    image = Image(rng.integers(0, 900, size).astype(np.int16), affine, channels, whence)
    return image, LabelMap(labels, affine, STRUCTURES, source=whence)


def edit(path, change, *, axes=None, flip=()):
    """Change the voxels (x, y, z) of a file as a program does, and save it, perhaps in another order of axes."""
    picture = nibabel.load(path)
    voxels = np.asarray(picture.dataobj).copy()
    change(voxels)
    changed = nibabel.Nifti1Image(voxels, picture.affine)
    if axes is not None:
        turned = nibabel.orientations.ornt_transform(
            nibabel.io_orientation(picture.affine), nibabel.orientations.axcodes2ornt(axes)
        )
        changed = changed.as_reoriented(turned)
    nibabel.save(changed, path)


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


# --- out


def test_the_folder_holds_what_three_programs_need_and_no_patient_name(tmp_path):
    kit = write_kit(tmp_path / "out", [make_result(), make_result("case8")], model_name="cervical")
    assert files(kit.folder) == [
        "READ_ME.txt",
        "as_written/case7_labels.nii.gz",
        "as_written/case8_labels.nii.gz",
        "case7_image.nii.gz",
        "case7_labels.nii.gz",
        "case8_image.nii.gz",
        "case8_labels.nii.gz",
        "correction.json",
        "labels_fsleyes.lut",
        "labels_itksnap.txt",
        "labels_slicer.ctbl",
        "structures.csv",
    ]
    again = read_kit(kit.folder)
    assert (again.model, again.structures, len(again.cases)) == ("cervical", STRUCTURES, 2)
    assert np.array_equal(again.cases[0].affine, AXIAL)
    assert "ITK-SNAP" in (kit.folder / "READ_ME.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", GRIDS)
def test_image_and_labels_lie_in_the_right_place_by_sform_and_by_qform(tmp_path, name):
    image, labels = make_result(affine=GRIDS[name])
    write_kit(tmp_path / "out", [(image, labels)])
    pictures = [nibabel.load(tmp_path / "out" / f"case7_{what}.nii.gz") for what in ("image", "labels")]
    index = np.array([[0, 0, 0, 1], [5, 19, 23, 1], [2, 17, 3, 1]]).T
    wanted = np.diag([-1, -1, 1]) @ (GRIDS[name] @ index)[:3]
    for picture in pictures:
        header = picture.header
        assert (header["sform_code"], header["qform_code"]) == (1, 1)
        for matrix in (header.get_sform(), header.get_qform()):
            assert np.allclose((matrix @ index[[2, 1, 0, 3]])[:3], wanted, atol=1e-3)
        assert np.allclose(header.get_zooms(), image.spacing_mm[::-1])
    # An image's integers stay integers, labels are bytes.
    assert [picture.get_data_dtype().name for picture in pictures] == ["int16", "uint8"]
    assert np.array_equal(np.asarray(pictures[1].dataobj).T, labels.voxels)


def test_a_tilted_gantry_is_straightened_for_the_programs_and_comes_back_to_its_place(tmp_path):
    tilted = AXIAL.copy()
    tilted[1, 0] = 1.5
    result = make_result(affine=tilted)
    kit = write_kit(tmp_path / "out", [result])
    assert "gantry tilt" in kit.notes[0]
    header = nibabel.load(kit.folder / "case7_labels.nii.gz").header
    assert header["qform_code"] == header["sform_code"] == 1
    assert np.allclose(header.get_qform(), header.get_sform(), atol=1e-3)
    edit(kit.folder / "case7_labels.nii.gz", lambda v: v.__setitem__((20, 2, 3), 7))
    correction = read_correction(kit.folder, by="AB")
    assert np.array_equal(correction.label_map.affine, tilted)
    assert [(change.slice, change.name) for change in correction.changes] == [(4, "disc")]
    row = keep_correction(correction, tmp_path / "cases", checked="all")
    found = find_cases(tmp_path / "cases")
    image, labels = read_case(found.cases[0], found.structures)
    assert np.allclose(image.affine, tilted, atol=1e-5)
    assert np.array_equal(image.voxels, result[0].voxels)
    assert labels.voxels[3, 2, 20] == 7
    assert row.changed == "4"


def test_a_straight_grid_stays_and_a_sheared_one_keeps_its_middle_and_distances():
    assert straight_affine(OBLIQUE, (6, 20, 24)) is OBLIQUE
    sheared = OBLIQUE.copy()
    sheared[:3, 0] += 0.9 * sheared[:3, 1]
    straight = straight_affine(sheared, (6, 20, 24))
    directions = straight[:3, :3] / np.linalg.norm(straight[:3, :3], axis=0)
    assert np.allclose(directions.T @ directions, np.eye(3), atol=1e-12)
    assert np.allclose(straight[:3, 1:3], sheared[:3, 1:3])
    assert spacing_from_affine(straight)[0] == pytest.approx(slice_distance_mm(sheared))
    middle = [2.5, 9.5, 11.5, 1]
    assert np.allclose(straight @ middle, sheared @ middle)


def test_a_stack_of_pictures_goes_out_picture_by_picture(tmp_path):
    """How far its slices lie apart nobody knows, and a file of all of them would have to say it."""
    whence = {"spacing_source": "typed", "slice_spacing_source": "none", "is_placed": False}
    slices = tuple(SliceSource(Path(f"leg_{n}.png")) for n in range(9, 15))
    image, labels = make_result(slices=slices)
    image, labels = (replace(one, source=replace(one.source, **whence)) for one in (image, labels))
    lights = {"case7": ("red", ("Another kind.",))}
    kit = write_kit(tmp_path / "out", [(image, labels)], suitability=lights)
    assert [case.case_id for case in kit.cases] == [f"leg_{n}" for n in range(9, 15)]
    assert {(case.subject_id, case.suitability, case.shape) for case in kit.cases} == {
        ("P-case7", "red", (1, 20, 24))
    }
    for index, case in enumerate(kit.cases):
        voxels, _ = read_nifti(kit.folder / case.labels_name)
        np.testing.assert_array_equal(voxels[0], labels.voxels[index])
        correction = read_correction(kit.folder, by="rk", case_id=case.case_id)
        assert (correction.changed_slices, correction.label_map.shape) == ((), (1, 20, 24))


def test_what_cannot_be_shown_in_its_place_is_refused_and_nothing_is_left(tmp_path):
    image, labels = make_result()
    apart = Source("deep", slice_spacing_source="none", slices=(SliceSource(tmp_path / "deep.tif"),) * 6)
    with pytest.raises(GeometryError, match="distance between its slices is unknown"):
        write_kit(tmp_path / "out", [(replace(image, source=apart), labels)])
    with pytest.raises(LabelError, match="do not lie on the image"):
        write_kit(tmp_path / "out", [(image, replace(labels, affine=OBLIQUE))])
    other = replace(labels, structures=(*STRUCTURES, Structure(9, "fat")))
    with pytest.raises(LabelError, match="other structures"):
        write_kit(tmp_path / "out", [(image, labels), (image, other)])
    with pytest.raises(DataError, match="no labels to write"):
        write_kit(tmp_path / "out", [])
    assert list(tmp_path.iterdir()) == []
    write_kit(tmp_path / "out", [(image, labels)])
    with pytest.raises(OutputError, match="exists already"):
        write_kit(tmp_path / "out", [(image, labels)])


# --- back


@pytest.mark.parametrize(("factor", "program"), [(1, "FSLeyes"), (1, "ITK-SNAP"), (3, "ITK-SNAP")])
def test_images_without_millimetres_stay_without_them(tmp_path, factor, program):
    told = {"spacing_source": "none", "slice_spacing_source": "none"}
    image, labels = make_result(affine=None, **told)
    kit = write_kit(tmp_path / "out", [(image, labels)], factor=factor)
    assert "does not tell the size of a pixel" in (kit.folder / "READ_ME.txt").read_text(encoding="utf-8")
    # The autoseg before knew version 1 alone, and would take a voxel for 1 mm.
    assert json.loads((kit.folder / "correction.json").read_text(encoding="utf-8"))["version"] == 2
    header = nibabel.load(kit.folder / "case7_image.nii.gz").header
    assert (header["qform_code"], header["sform_code"], header.get_xyzt_units()[0]) == (0, 0, "unknown")
    path = kit.folder / "case7_labels.nii.gz"
    voxels = np.asarray(nibabel.load(path).dataobj).copy()
    voxels[: 3 * factor, : 2 * factor, 0] = 7
    # ITK takes a file without a place for one of 1 mm from (0, 0, 0) on, and saves that.
    nibabel.save(nibabel.Nifti1Image(voxels, None if program == "FSLeyes" else np.diag([-1, -1, 1, 1])), path)
    correction = read_correction(kit.folder, by="AB", file=path)
    assert correction.label_map.affine is None
    wanted = labels.voxels.copy()
    wanted[0, :2, :3] = 7
    assert np.array_equal(correction.label_map.voxels, wanted)
    (change,) = correction.changes
    assert (change.before_pixels, change.added_pixels) == (0, 6)
    assert np.isnan(change.added_mm2)
    for table in (changes_table(correction.changes), changes_by_structure(correction.changes)):
        assert table["added_pixels"].tolist() == [6]
        assert not [name for name in table.columns if name.endswith(("_mm2", "_mm3"))]
    for _ in range(2):  # as a new case, then onto it
        row = keep_correction(correction, tmp_path / "cases", checked="all")
        assert (row.added_mm2, row.removed_mm2) == ("", "")
        found = find_cases(tmp_path / "cases")
        picture, again = read_case(found.cases[0], found.structures)
        assert (picture.affine, again.affine) == (None, None)
        assert np.array_equal(picture.voxels, image.voxels)
        assert np.array_equal(again.voxels, wanted)
    assert len(found.cases) == 1


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("axes", [None, "LPS", "SAR", "PIR"])
def test_corrected_voxels_come_back_whatever_the_order_of_axes_they_were_saved_in(tmp_path, name, axes):
    image, labels = make_result(affine=GRIDS[name])
    write_kit(tmp_path / "out", [(image, labels)], model_name="cervical")

    def change(voxels):
        voxels[6:8, 5:8, 3] = 0  # x, y, z: six pixels of cord on slice 4
        voxels[9, 8, 5] = 1  # grey matter becomes white matter on slice 6

    wanted = labels.voxels.copy()
    change(wanted.T)
    edit(tmp_path / "out" / "case7_labels.nii.gz", change, axes=axes)
    correction = read_correction(tmp_path / "out", by=" AB ", date="2026-03-01")
    assert np.array_equal(correction.label_map.voxels, wanted)
    assert np.array_equal(correction.label_map.affine, GRIDS[name])
    assert (correction.by, correction.date, correction.kit.model) == ("AB", "2026-03-01", "cervical")
    assert correction.changed_slices == (3, 5)
    pixel = image.pixel_mm2
    table = changes_table(correction.changes)
    assert table[["slice", "name"]].to_numpy().tolist() == [[4, "cord"], [6, "grey matter"]]
    assert table["removed_mm2"].tolist() == pytest.approx([6 * pixel, pixel])
    # The grey matter lies inside the cord: what it loses there is no loss of the cord.
    assert table["before_mm2"].tolist() == pytest.approx([100 * pixel, 12 * pixel])
    assert table["after_mm2"].tolist() == pytest.approx([94 * pixel, 11 * pixel])
    by_structure = changes_by_structure(correction.changes)
    assert by_structure["removed_mm3"].tolist() == pytest.approx(
        [6 * pixel * image.spacing_mm[0], pixel * image.spacing_mm[0]]
    )
    assert "corrected by AB (2026-03-01) on 2 of 6 slices (4 6): cord, grey matter" in correction.words


def test_an_untouched_file_is_noticed(tmp_path):
    write_kit(tmp_path / "out", [make_result(), make_result("case8")])
    edit(tmp_path / "out" / "case8_labels.nii.gz", lambda v: v.__setitem__((0, 0, 0), 7))
    first, second = read_corrections(tmp_path / "out", by="AB")
    assert not first.is_changed
    assert "nothing was changed" in first.words
    assert changes_table(first.changes).empty
    assert second.is_changed
    with pytest.raises(DataError, match=r"nothing was changed.*all"):
        keep_correction(first, tmp_path / "cases")
    assert not (tmp_path / "cases").exists()
    # Looked at and found right is worth keeping, if somebody says so.
    assert keep_correction(first, tmp_path / "cases", checked="all").changed == ""


def test_another_grid_is_refused_with_both_grids_named(tmp_path):
    kit = write_kit(tmp_path / "out", [make_result()])
    path = kit.folder / "case7_labels.nii.gz"
    picture = nibabel.load(path)
    moved = picture.affine.copy()
    moved[2, 3] += 5.0
    nibabel.save(nibabel.Nifti1Image(np.asarray(picture.dataobj), moved), path)
    with pytest.raises(LabelError, match="another grid than its image case7_image"):
        read_correction(kit.folder, by="AB")
    nibabel.save(nibabel.Nifti1Image(np.asarray(picture.dataobj)[1:], picture.affine), path)
    with pytest.raises(LabelError, match=r"\(6, 20, 23\).*\(6, 20, 24\)"):
        read_correction(kit.folder, by="AB")


def test_values_without_a_name_are_named_and_a_new_structure_can_be_given_one(tmp_path):
    kit = write_kit(tmp_path / "out", [make_result()])
    edit(kit.folder / "case7_labels.nii.gz", lambda v: v.__setitem__((0, 0, 0), 9))
    with pytest.raises(LabelError, match=r"label 9 without a name.*structures.csv"):
        read_correction(kit.folder, by="AB")
    write_structures(kit.folder / "structures.csv", (*STRUCTURES, Structure(9, "lesion")))
    correction = read_correction(kit.folder, by="AB")
    row = keep_correction(correction, tmp_path / "cases")
    assert (row.changed, row.structures) == ("1", "cord; grey matter; disc; lesion")


def test_segments_that_a_program_numbered_anew_are_noticed(tmp_path):
    kit = write_kit(tmp_path / "out", [make_result()])

    def number_anew(voxels):
        voxels[voxels == 1] = 0
        voxels[voxels == 2] = 1
        voxels[voxels == 7] = 2

    edit(kit.folder / "case7_labels.nii.gz", number_anew)
    with pytest.raises(LabelError, match=r"'grey matter' .label 2. has the value 1 now, which is 'cord'"):
        read_correction(kit.folder, by="AB")
    assert read_correction(kit.folder, by="AB", exchanged_on_purpose=True).is_changed


def test_a_file_saved_elsewhere_is_matched_by_its_name_and_else_by_its_grid(tmp_path):
    first, second = make_result(), make_result("case71", affine=OBLIQUE)
    kit = write_kit(tmp_path / "out", [first, second])
    (kit.folder / "case71_labels.nii.gz").rename(tmp_path / "case71-final.nii.gz")
    (kit.folder / "case7_labels.nii.gz").rename(tmp_path / "Segmentation.nii.gz")
    named = read_correction(kit.folder, by="AB", file=tmp_path / "case71-final.nii.gz")
    by_grid = read_correction(kit.folder, by="AB", file=tmp_path / "Segmentation.nii.gz")
    assert (named.case.case_id, by_grid.case.case_id) == ("case71", "case7")
    with pytest.raises(DataError, match=r"several images.*case7, case71"):
        read_correction(kit.folder, by="AB")
    with pytest.raises(DataError, match="no image case9"):
        read_correction(kit.folder, by="AB", case_id="case9")
    with pytest.raises(ReadError, match=r"does not exist|could not be read"):
        read_correction(kit.folder, by="AB", case_id="case7")
    (tmp_path / "case7.seg.nrrd").write_bytes(b"NRRD0004")
    with pytest.raises(ReadError, match=r"NIfTI.*3D Slicer"):
        read_correction(kit.folder, by="AB", file=tmp_path / "case7.seg.nrrd")


def test_a_strange_folder_and_nobody_are_refused(tmp_path):
    with pytest.raises(ReadError, match=r"no correction\.json"):
        read_kit(tmp_path)
    (tmp_path / "correction.json").write_text('{"kind": "something"}', encoding="utf-8")
    with pytest.raises(ReadError, match=r"correction\.json"):
        read_kit(tmp_path)
    kit = write_kit(tmp_path / "out", [make_result()])
    with pytest.raises(ReadError, match="who corrected"):
        read_correction(kit.folder, by=" ")


# --- kept


def corrected(folder, *, case_id="case7", slices=(2, 3), affine=AXIAL, value=7, model="cervical", **source):
    """Write a kit, draw a pixel of the disc on some slices (from 0), and read it back."""
    kit = write_kit(folder, [make_result(case_id, affine=affine, **source)], model_name=model)

    def draw(voxels):
        for index in slices:
            voxels[-2:, -2:, index] = value

    edit(folder / f"{case_id}_labels.nii.gz", draw)
    return read_correction(kit.folder, by="AB", date="2026-03-01T10:00:00")


@pytest.mark.parametrize("name", ["axial", "oblique", "sagittal"])
def test_a_folder_of_corrected_cases_is_read_as_training_reads_it_with_who_and_when(tmp_path, name):
    correction = corrected(tmp_path / "out", affine=GRIDS[name])
    row = keep_correction(correction, tmp_path / "cases", checked="all", note="second look")
    assert files(tmp_path / "cases") == [
        "annotated.csv",
        "corrections.csv",
        "images/case7.nii.gz",
        "labels/case7.nii.gz",
        "structures.csv",
        "subjects.csv",
    ]
    found = find_cases(tmp_path / "cases")
    assert found.structures == STRUCTURES
    (case,) = found.cases
    assert (case.case_id, case.subject_id) == ("case7", "P-case7")
    image, labels = read_case(case, found.structures)
    # The same voxels in the same places, in whatever order of axes the folder is read.
    there = np.linalg.inv(image.affine) @ correction.label_map.affine
    for voxel in ((2, 19, 23), (3, 8, 9), (0, 0, 0), (4, 17, 2)):
        at = tuple(np.round(there @ [*voxel, 1])[:3].astype(int))
        assert labels.voxels[at] == correction.label_map.voxels[voxel]
    assert labels.annotated == {1, 2, 7}
    assert any("AB corrected the labels of 1 case" in note for note in found.notes)
    assert read_kept_corrections(tmp_path / "cases") == (row,)
    assert (row.by, row.date, row.model, row.checked, row.note) == (
        "AB",
        "2026-03-01T10:00:00",
        "cervical",
        "all",
        "second look",
    )
    assert float(row.added_mm2) == pytest.approx(8 * image.pixel_mm2)


def test_slices_that_nobody_checked_are_not_learnt_as_empty(tmp_path):
    correction = corrected(tmp_path / "out", slices=(2, 4))
    row = keep_correction(correction, tmp_path / "cases")
    assert (row.checked, row.changed) == ("3 5", "3 5")
    found = find_cases(tmp_path / "cases")
    assert [case.slices for case in found.cases] == [(2, 3), (4, 5)]
    with pytest.raises(DataError, match="slices 5 were changed but"):
        keep_correction(correction, tmp_path / "other", checked="1-4")
    row = keep_correction(correction, tmp_path / "other", checked="2-6", structures=["Disc"])
    assert (row.checked, row.structures) == ("2-6", "disc")
    found = find_cases(tmp_path / "other")
    assert [(case.slices, case.annotated) for case in found.cases] == [((1, 6), {7})]
    with pytest.raises(DataError, match="No structure is called 'bone'"):
        keep_correction(correction, tmp_path / "third", structures=["bone"])
    for text in ("7", "0-2", "3-2", "x", ""):
        with pytest.raises(DataError, match="numbers from 1"):
            keep_correction(correction, tmp_path / "third", checked=text)
    assert not (tmp_path / "third").exists()


def test_slices_in_another_plane_than_training_reads_must_all_be_checked(tmp_path):
    """Voxels of 1 mm are read as axial slices, whatever the scanner's slices were."""
    sagittal = affine_from_axes(
        position_mm=(0, 0, 0),
        orientation=(0, 1, 0, 0, 0, -1),
        pixel_spacing_mm=(1, 1),
        slice_step_mm=(1, 0, 0),
    )
    correction = corrected(tmp_path / "out", affine=sagittal)
    with pytest.raises(DataError, match=r"another plane.*all"):
        keep_correction(correction, tmp_path / "cases")
    assert not (tmp_path / "cases").exists()
    keep_correction(correction, tmp_path / "cases", checked="all")
    found = find_cases(tmp_path / "cases", reading=Reading(plane="sagittal"))
    _, labels = read_case(found.cases[0], found.structures)
    assert np.array_equal(labels.voxels, correction.label_map.voxels)


def test_a_second_correction_keeps_the_first_and_the_earlier_file(tmp_path):
    cases = tmp_path / "cases"
    keep_correction(corrected(tmp_path / "one", slices=(2,)), cases)
    before = (cases / "labels" / "case7.nii.gz").read_bytes()
    # From the model's labels again: on slice 3 they know nothing of the first correction.
    second = corrected(tmp_path / "two", slices=(4,), value=1, model="lumbar")
    row = keep_correction(second, cases)
    found = find_cases(cases)
    assert [case.slices for case in found.cases] == [(2, 3), (4, 5)]
    first_part, second_part = (read_case(case, found.structures)[1].voxels for case in found.cases)
    assert first_part[0, -1, -1] == 7
    assert second_part[0, -1, -1] == 1
    assert (cases / row.earlier_file).read_bytes() == before
    assert row.earlier_file.startswith("earlier_labels/case7_")
    assert [(one.model, one.checked) for one in read_kept_corrections(cases)] == [
        ("cervical", "3"),
        ("lumbar", "5"),
    ]


def test_corrected_cases_go_round_again_with_all_their_slices(tmp_path):
    cases = tmp_path / "cases"
    keep_correction(corrected(tmp_path / "one", slices=(2,)), cases)
    keep_correction(corrected(tmp_path / "other", case_id="case8"), cases, checked="all")
    found = find_cases(cases)
    assert [case.case_id for case in found.cases] == ["case7_s003-003", "case8"]
    whole = whole_cases(found)
    assert [case.case_id for case in whole] == ["case7", "case8"]
    kit = write_kit(tmp_path / "two", [read_case(case, found.structures) for case in whole])
    edit(kit.folder / "case7_labels.nii.gz", lambda v: v.__setitem__((0, 0, 5), 7))
    keep_correction(read_correction(kit.folder, by="CD", case_id="case7"), cases)
    found = find_cases(cases)
    assert [case.case_id for case in found.cases] == ["case7_s003-003", "case7_s006-006", "case8"]
    with (cases / "annotated.csv").open(encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["case_id", "slices", "cord", "grey matter", "disc"]
    assert sorted(rows[1:]) == [
        ["case7", "3-3", "1", "1", "1"],
        ["case7", "6-6", "1", "1", "1"],
        ["case8", "", "1", "1", "1"],
    ]


def users_folder(folder, *, marks=None):
    """A user's own folder of two volumes and their labels."""
    for name in ("case7", "case8"):
        image, labels = make_result(name)
        # Read back, each image is a subject of its own.
        write_nifti(folder / "images" / f"{name}.nii.gz", image)
        write_nifti(folder / "labels" / f"{name}.nii.gz", labels)
    write_structures(folder / "structures.csv", STRUCTURES)
    return folder


def test_a_users_own_labels_are_corrected_where_they_lie_and_others_stay_as_they_were(tmp_path):
    folder = users_folder(tmp_path / "train")
    found = find_cases(folder)
    kit = write_kit(tmp_path / "out", [read_case(case, found.structures) for case in found.cases])
    edit(kit.folder / "case7_labels.nii.gz", lambda v: v.__setitem__((0, 0, 1), 7))
    row = keep_correction(read_correction(kit.folder, by="AB", case_id="case7"), folder)
    after = find_cases(folder)
    assert [(case.case_id, case.annotated) for case in after.cases] == [("case7", {1, 2, 7}), ("case8", {1, 2, 7})]
    # Of what was not corrected nobody has said whether it is complete, so the checks still ask.
    assert after.cases[1].unsaid == {1, 2, 7}
    labels = read_case(after.cases[0], after.structures)[1]
    assert labels.voxels[1, 0, 0] == 7
    assert row.model == ""


def test_a_folder_that_cannot_take_a_correction_stays_as_it_was(tmp_path, monkeypatch):
    folder = users_folder(tmp_path / "train")
    correction = corrected(tmp_path / "out", subject_id="case7")
    before = {name: (folder / name).read_bytes() for name in files(folder)}
    (folder / "repairs.csv").write_text("case_id,kind,arguments\ncase7,relabel,1=2; 2=1\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"repairs\.csv.*again"):
        keep_correction(correction, folder)
    row = "case_id,kind,arguments\ncase7,leave_out_slices,slices=1; of=3\n"
    (folder / "repairs.csv").write_text(row, encoding="utf-8")
    with pytest.raises(DataError, match=r"leaves out slices of case7, .*Undo that first"):
        keep_correction(correction, folder)
    (folder / "repairs.csv").unlink()
    write_structures(folder / "structures.csv", (CORD, GREY, Structure(7, "vertebra")))
    with pytest.raises(DataError, match="Label 7 is 'disc' in the correction and 'vertebra'"):
        keep_correction(correction, folder)
    write_structures(folder / "structures.csv", STRUCTURES)
    monkeypatch.setattr("autoseg.data.corrections.keep.read_case", lambda *_: (None, make_result()[1]))
    with pytest.raises(OutputError, match="reads back differently"):
        keep_correction(correction, folder)
    assert {name: (folder / name).read_bytes() for name in files(folder)} == before
    for fault in (KeyboardInterrupt, MemoryError):

        def fail(*_, fault=fault):
            raise fault

        monkeypatch.setattr("autoseg.data.corrections.keep.read_case", fail)
        with pytest.raises(fault):
            keep_correction(correction, folder)
        assert {name: (folder / name).read_bytes() for name in files(folder)} == before
    monkeypatch.undo()
    moved = make_result(affine=OBLIQUE)
    write_nifti(folder / "images" / "case7.nii.gz", moved[0])
    write_nifti(folder / "labels" / "case7.nii.gz", moved[1])
    with pytest.raises(DataError, match="another grid than the one that was corrected"):
        keep_correction(correction, folder)


def test_two_patients_whose_series_are_called_alike_stay_apart(tmp_path):
    """The same name, the same grid: only the image tells that it is somebody else."""
    cases = tmp_path / "cases"
    for number, patient in enumerate(("one", "two")):
        image, labels = make_result("series-4", subject_id=patient)
        image = replace(image, voxels=image.voxels + np.int16(number))
        kit = write_kit(tmp_path / patient, [(image, labels)])
        edit(kit.folder / "series-4_labels.nii.gz", lambda v: v.__setitem__((0, 0, 2), 7))
        keep_correction(read_correction(kit.folder, by="AB"), cases, checked="all")
    found = find_cases(cases)
    assert [(c.case_id, c.subject_id) for c in found.cases] == [("series-4", "one"), ("series-4_2", "two")]
    assert not (cases / "earlier_labels").exists()
    # A second look at the second patient finds the second case.
    row = keep_correction(read_correction(tmp_path / "two", by="CD"), cases)
    assert (row.case_id, row.earlier_file.startswith("earlier_labels/series-4_2_")) == ("series-4_2", True)
    # The same patient, the same name, another image: nobody can say which is meant.
    image, labels = make_result("series-4", subject_id="one")
    write_kit(tmp_path / "other", [(replace(image, voxels=image.voxels * 2), labels)])
    with pytest.raises(DataError, match="has other intensities than the one that was corrected"):
        keep_correction(read_correction(tmp_path / "other", by="CD"), cases, checked="all")


def test_labels_in_other_files_are_refused_with_the_way_out(tmp_path):
    folder = users_folder(tmp_path / "train")
    np.save(folder / "labels" / "case7.npy", make_result()[1].voxels)
    (folder / "labels" / "case7.nii.gz").unlink()
    with pytest.raises(DataError, match=r"case7\.npy.*new folder"):
        keep_correction(corrected(tmp_path / "out"), folder)


def test_several_contrasts_go_out_and_come_back(tmp_path):
    image, labels = make_result(channels=("T1w", "T2w"))
    kit = write_kit(tmp_path / "out", [(image, labels)])
    assert {"case7_image_T1w.nii.gz", "case7_image_T2w.nii.gz"} <= set(files(kit.folder))
    correction = read_correction(kit.folder, by="AB")
    keep_correction(correction, tmp_path / "cases", checked="all")
    found = find_cases(tmp_path / "cases", reading=Reading(channels=("T1w", "T2w")))
    back, _ = read_case(found.cases[0], found.structures)
    assert np.array_equal(back.voxels, image.voxels)
    assert keep_correction(correction, tmp_path / "cases", checked="all").earlier_file


# --- finer


def test_labels_corrected_three_times_finer_come_back_exactly(tmp_path):
    image, labels = make_result(affine=OBLIQUE)
    kit = write_kit(tmp_path / "out", [(image, labels)], factor=3, model_name="cervical")
    fine = nibabel.load(kit.folder / "case7_labels.nii.gz")
    assert fine.shape == (72, 60, 6)
    assert np.allclose(fine.header.get_zooms(), (0.4 / 3, 0.7 / 3, 6.0), atol=1e-6)
    untouched = read_correction(kit.folder, by="AB")
    assert np.array_equal(untouched.label_map.voxels, labels.voxels)
    assert not untouched.is_touched

    def draw(voxels):
        voxels[0:3, 0:2, 1] = 7  # six of nine small pixels: the pixel is taken
        voxels[30:33, 0:1, 2] = 7  # three of nine: it is not

    edit(kit.folder / "case7_labels.nii.gz", draw)
    correction = read_correction(kit.folder, by="AB")
    wanted = labels.voxels.copy()
    wanted[1, 0, 0] = 7
    assert np.array_equal(correction.label_map.voxels, wanted)
    assert correction.changed_slices == (1,)
    # The shares hold the area as it was drawn: nine small pixels in all are one pixel.
    drawn = correction.label_map.shares[2].sum() - (labels.voxels == 7).sum()
    assert drawn == pytest.approx(1.0)
    keep_correction(correction, tmp_path / "cases", checked="all")
    found = find_cases(tmp_path / "cases")
    back, again = read_case(found.cases[0], found.structures)
    assert np.array_equal(back.voxels, image.voxels)
    assert np.array_equal(again.voxels, wanted)


def test_what_is_smaller_than_half_a_pixel_is_not_called_untouched(tmp_path):
    kit = write_kit(tmp_path / "out", [make_result()], factor=3)
    edit(kit.folder / "case7_labels.nii.gz", lambda v: v.__setitem__((0, 0, 0), 7))
    correction = read_correction(kit.folder, by="AB")
    assert (correction.is_changed, correction.is_touched) == (False, True)
    assert "less than half of any pixel" in correction.words


# --- real


REAL = Path(__file__).resolve().parents[4] / "shared" / "data" / "cord-sct-testing"


@pytest.mark.skipif(not REAL.is_dir(), reason="needs cord-sct-testing beside the checkout")
@pytest.mark.parametrize(("image", "label"), [("t2/t2", "t2/t2_seg-manual"), ("t2s/t2s", "t2s/t2s_seg")])
def test_real_volumes_in_odd_orientations_go_round(tmp_path, image, label):
    for kind, name in (("images", image), ("labels", label)):
        target = tmp_path / "train" / kind / "sub1.nii.gz"
        target.parent.mkdir(parents=True)
        target.write_bytes((REAL / f"{name}.nii.gz").read_bytes())
    found = find_cases(tmp_path / "train", structures={1: "cord"})
    picture, labels = read_case(found.cases[0], found.structures)
    kit = write_kit(tmp_path / "out", [(picture, labels)])
    # In the same place as in the maker's own file.
    own = nibabel.load(REAL / f"{image}.nii.gz")
    ours = nibabel.load(kit.folder / "sub1_image.nii.gz")
    assert np.allclose(
        nibabel.as_closest_canonical(ours).affine, nibabel.as_closest_canonical(own).affine, atol=1e-3
    )
    assert np.allclose(
        np.asarray(nibabel.as_closest_canonical(ours).dataobj),
        np.asarray(nibabel.as_closest_canonical(own).dataobj),
    )
    edit(kit.folder / "sub1_labels.nii.gz", lambda v: v.__setitem__((0, 0, 0), 1), axes="PSR")
    correction = read_correction(kit.folder, by="AB")
    assert [change.added_mm2 for change in correction.changes] == [pytest.approx(picture.pixel_mm2)]
    keep_correction(correction, tmp_path / "cases", checked="all")
    again = find_cases(tmp_path / "cases")
    _, back = read_case(again.cases[0], again.structures)
    assert np.array_equal(back.voxels, correction.label_map.voxels)


# --- what panels and the guide ask


def test_the_guide_names_the_files_and_every_program(tmp_path):
    kit = write_kit(tmp_path / "out", [make_result()])
    text = (kit.folder / "READ_ME.txt").read_text(encoding="utf-8")
    for program in STEPS:
        assert program in text
        words = " ".join(steps(program, image="a_image.nii.gz", labels="a_labels.nii.gz"))
        assert words.count("a_labels.nii.gz") >= 2
        assert "a_image.nii.gz" in words
        assert "{" not in words
    # What it tells people to open is there.
    for name in ("labels_itksnap.txt", "labels_slicer.ctbl", "labels_fsleyes.lut"):
        assert name in text
        assert (kit.folder / name).is_file()


def test_folders_are_found_again_the_last_one_first(tmp_path):
    first = write_kit(tmp_path / "run1" / "to_correct", [make_result()])
    second = write_kit(tmp_path / "run2" / "to_correct", [make_result()])
    for folder, age in ((first.folder, 100), (second.folder, 50)):
        os.utime(folder / "correction.json", (1e9 - age, 1e9 - age))
    write_kit(tmp_path / "run3" / ".unfinished-x", [make_result()])
    assert find_kits(tmp_path) == (second.folder, first.folder)
    assert find_kits(first.folder) == (first.folder,)
    assert find_kits(tmp_path / "nowhere") == ()
    assert further_files(first) == ()
    for name in ("mine.nii.gz", "case7_labels.seg.nrrd", "notes.txt"):
        (first.folder / name).write_bytes(b"x")
    assert {path.name for path in further_files(first)} == {"mine.nii.gz", "case7_labels.seg.nrrd"}


def test_what_became_of_each_structure_is_counted(tmp_path):
    image, before = make_result()
    voxels = before.voxels.copy()
    voxels[3, 8:11, 8:12] = 1  # twelve voxels of grey matter become white matter
    voxels[2, 16, 1:5] = 0  # four of the disc's 36 are taken away
    table = compare_structures(before, replace(before, voxels=voxels)).set_index("name")
    pixel = image.pixel_mm2
    # The cord holds its grey matter, so it stays as it was.
    cord, grey, disc = (table.loc[name] for name in ("cord", "grey matter", "disc"))
    assert (cord.slices, cord.voxels_before, cord.voxels_after, cord.dice) == (0, 500, 500, 1.0)
    assert (grey.slices, grey.voxels_before, grey.voxels_after) == (1, 60, 48)
    assert (grey.voxels_added, grey.voxels_removed) == (0, 12)
    assert grey.removed_mm2 == pytest.approx(12 * pixel)
    assert grey.dice == pytest.approx(2 * 48 / 108)
    assert (disc.voxels_before, disc.voxels_removed) == (36, 4)
    assert disc.dice == pytest.approx(2 * 32 / 68)
    nothing = replace(before, voxels=np.zeros_like(before.voxels))
    assert compare_structures(nothing, nothing)["dice"].isna().all()
    assert most_changed(find_changes(before, replace(before, voxels=voxels))) == 3
    assert most_changed(()) == 0


def test_the_image_that_was_corrected_lies_where_it_lay(tmp_path):
    image, labels = make_result(affine=OBLIQUE, channels=("t1", "t2"))
    write_kit(tmp_path / "out", [(image, labels)], factor=2)
    again = corrected_image(read_correction(tmp_path / "out", by="AB"))
    assert np.array_equal(again.voxels, image.voxels)
    assert again.same_grid(image)
    assert (again.channels, again.source.case_id) == (image.channels, "case7")


def test_labels_that_stand_there_are_replaced_only_if_that_is_wished_for(tmp_path):
    cases = tmp_path / "cases"
    first = corrected(tmp_path / "one", slices=(2,))
    assert find_standing(first, cases) is None
    done = keep_corrections([first], cases)
    assert len(done.kept) == 1
    standing = find_standing(first, cases)
    assert (standing.is_same, standing.is_kept, standing.last.by) == (True, True, "AB")
    again = keep_corrections([first], cases)
    assert (again.kept, [one.case_id for one in again.already]) == ((), ["case7"])
    second = corrected(tmp_path / "two", slices=(2,), value=1)
    other = corrected(tmp_path / "other", case_id="case8")
    before = {name: (cases / name).read_bytes() for name in files(cases)}
    asked = keep_corrections([other, second], cases)
    assert asked.kept == ()
    assert "corrected by AB" in asked.standing[0].words
    assert {name: (cases / name).read_bytes() for name in files(cases)} == before
    done = keep_corrections([other, second], cases, replace=True)
    assert [row.case_id for row in done.kept] == ["case8", "case7"]
    assert done.kept[1].earlier_file
    with pytest.raises(DataError, match="are of one image, and 2 were read"):
        keep_corrections([other, second], cases, checked="3")


def test_a_users_own_labels_are_not_replaced_unasked_either(tmp_path):
    folder = users_folder(tmp_path / "train")
    correction = corrected(tmp_path / "out", subject_id="case7")
    done = keep_corrections([correction], folder)
    assert done.kept == ()
    assert "that nobody corrected yet" in done.standing[0].words
    # Labels that somebody looked at and left as they are change nothing, so nobody needs to be asked.
    kit = write_kit(tmp_path / "seen", [make_result(subject_id="case7")])
    seen = read_correction(kit.folder, by="CD")
    assert keep_corrections([seen], folder, checked="all").kept[0].by == "CD"


def test_what_fails_half_way_tells_what_was_kept(tmp_path, monkeypatch):
    both = [corrected(tmp_path / name, case_id=name) for name in ("case7", "case8")]
    real = keep_correction

    def failing(correction, folder, **more):
        if correction.case.case_id == "case8":
            raise OutputError("the disk is full")
        return real(correction, folder, **more)

    monkeypatch.setattr("autoseg.data.corrections.keep.keep_correction", failing)
    done = keep_corrections(both, tmp_path / "cases")
    assert [row.case_id for row in done.kept] == ["case7"]
    assert "disk is full" in str(done.error)


def test_a_file_is_no_folder_to_keep_in(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="is a file"):
        keep_correction(corrected(tmp_path / "out"), tmp_path / "file")
