"""Folders as users have them, made up and real: what is found, and that pixels and labels belong together."""

import shutil

import nibabel
import numpy as np
import pydicom
import pytest
from PIL import Image as PillowImage

from autoseg.data.cases import (
    Reading,
    declare_missing,
    find_cases,
    find_images,
    pairs_table,
    read_case,
    read_case_image,
    read_rater_labels,
)
from autoseg.data.repairs import add_repair, leave_out, relabel
from autoseg.errors import DataError, LabelError, ReadError
from autoseg.files.tables import read_structures, write_structures
from autoseg.files.text_files import read_contour_file
from autoseg.image.contours import contour_area
from autoseg.image.structures import Structure, check_structures
from autoseg.measurement.drawn import measure_labels

AFFINE = np.diag([-0.5, -0.5, 3.0, 1.0])  # NIfTI's signs: x runs left, y back, z up, as slices are read


def write_nifti(path, array, affine=AFFINE):
    """Save (slice, row, column) voxels with axes x = column, y = row, z = slice."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(np.ascontiguousarray(np.asarray(array).transpose(2, 1, 0)), affine), path)


def ball(shape=(4, 12, 10), low=3, high=8, value=1):
    voxels = np.zeros(shape, np.uint8)
    voxels[:, low:high, low:high] = value
    return voxels


def noise(shape=(4, 12, 10), seed=0):
    return np.random.default_rng(seed).integers(0, 900, shape).astype(np.int16)


class TestBinaryFiles:
    @pytest.fixture
    def folder(self, tmp_path):
        for subject in ("1", "2"):
            stem = f"sub-{subject}_T2w"
            write_nifti(tmp_path / f"sub-{subject}" / "anat" / f"{stem}.nii.gz", noise(seed=int(subject)))
            there = tmp_path / "derivatives" / f"sub-{subject}" / "anat"
            write_nifti(there / f"{stem}_seg.nii.gz", ball().astype(float))
            if subject == "1":
                write_nifti(there / f"{stem}_gmseg.nii.gz", ball(low=4, high=6))
        return tmp_path

    def test_a_structure_inside_another_is_measured_with_it(self, folder):
        found = find_cases(folder)
        assert [(s.name, s.includes) for s in found.structures] == [("seg", (2,)), ("gmseg", ())]
        assert "gmseg lies inside seg" in found.notes[0]
        image, label_map = read_case(found.cases[0], found.structures)
        np.testing.assert_array_equal(image.voxels, noise(seed=1))
        np.testing.assert_array_equal(label_map.mask(1), ball() == 1)
        np.testing.assert_array_equal(label_map.mask(2), ball(low=4, high=6) == 1)
        assert image.spacing_mm == (3.0, 0.5, 0.5)

    def test_a_structure_without_a_file_is_missing_not_absent(self, folder):
        assert [case.annotated for case in find_cases(folder).cases] == [None, frozenset({1})]

    def test_the_table_renames_merges_and_leaves_out(self, folder):
        write_structures(folder / "structures.csv", [Structure(1, "cord")], values=[("seg", 1), ("gmseg", 0)])
        found = find_cases(folder)
        _, label_map = read_case(found.cases[0], found.structures)
        assert [s.name for s in found.structures] == ["cord"]
        np.testing.assert_array_equal(label_map.voxels, ball())
        assert [case.annotated for case in found.cases] == [None, None]

    def test_the_order_of_the_rows_is_the_order_of_drawing(self, folder):
        rows = [Structure(2, "grey"), Structure(1, "cord")]
        write_structures(folder / "structures.csv", rows, values=[("seg", 1), ("gmseg", 2)])
        found = find_cases(folder)
        _, label_map = read_case(found.cases[0], found.structures)
        assert not label_map.mask(2).any()


class TestRaters:
    @pytest.fixture
    def folder(self, tmp_path):
        for site, subject in ((1, 1), (2, 1)):
            stem = f"site{site}-sc0{subject}"
            write_nifti(tmp_path / f"{stem}-image.nii.gz", noise(seed=site))
            for rater in range(1, 5):
                write_nifti(tmp_path / f"{stem}-mask-r{rater}.nii.gz", ball(high=6 + rater))
            levels = ["slice#, level", "0, 2", "1, 2/3", "2, -", "3, 3+"]
            (tmp_path / f"{stem}-levels.txt").write_text("\n".join(levels) + "\n")
        return tmp_path

    @pytest.mark.parametrize(("agreeing", "high"), [(None, 8), (2, 9), (3, 8), (4, 7)])
    def test_as_many_as_wanted_must_agree(self, folder, agreeing, high):
        found = find_cases(folder, reading=Reading(agreeing=agreeing))
        _, label_map = read_case(found.cases[0], found.structures)
        np.testing.assert_array_equal(label_map.voxels, ball(high=high))

    def test_the_mean_as_soft_labels(self, folder):
        found = find_cases(folder, reading=Reading(raters="mean"))
        _, label_map = read_case(found.cases[0], found.structures)
        assert label_map.shares.shape == (1, 4, 12, 10)
        assert sorted(np.unique(label_map.shares).tolist()) == [0, 0.25, 0.5, 0.75, 1]

    def test_each_rater_alone(self, folder):
        found = find_cases(folder)
        label_maps, names = read_rater_labels(found.cases[0], found.structures)
        assert names == ["r1", "r2", "r3", "r4"]
        np.testing.assert_array_equal(label_maps[3].voxels, ball(high=10))

    def test_levels_reach_the_slices(self, folder):
        found = find_cases(folder)
        image = read_case_image(found.cases[1])
        assert [place.level for place in image.source.slices] == ["2", "2/3", "", "3+"]
        assert found.cases[1].site == "site2"

    def test_slices_without_level_can_be_left_out(self, folder):
        found = find_cases(folder, reading=Reading(only_levels=True))
        assert [case.slices for case in found.cases[:2]] == [(0, 2), (3, 4)]
        image, label_map = read_case(found.cases[1], found.structures)
        np.testing.assert_array_equal(image.voxels, noise(seed=1)[3:])
        assert label_map.shape[0] == 1
        whole = read_case_image(find_cases(folder).cases[0])
        assert image.slice_positions_mm[0] == pytest.approx(whole.slice_positions_mm[3])

    def test_what_is_no_rule(self):
        with pytest.raises(DataError, match="majority, staple or mean"):
            Reading(raters="best")


class TestPictures:
    @pytest.fixture
    def folder(self, tmp_path):
        rng = np.random.default_rng(0)
        for patient in (5, 22):
            for k in (1, 2):
                for part in ("images", "masks"):
                    (tmp_path / part).mkdir(exist_ok=True)
                grey = rng.integers(0, 255, (20, 16)).astype(np.uint8)
                name = f"{patient}_t2_slice{k}.png"
                mode = np.stack([grey] * 3 + [np.full_like(grey, 255)], axis=-1) if k == 2 else grey
                PillowImage.fromarray(mode).save(tmp_path / "images" / name)
                PillowImage.fromarray((ball((1, 20, 16))[0] * 76).astype(np.uint8)).save(tmp_path / "masks" / name)
        return tmp_path

    def test_grey_in_colour_is_one_channel_and_patients_are_told_apart(self, folder):
        found = find_cases(folder)
        assert {case.subject_id for case in found.cases} == {"5", "22"}
        assert {read_case_image(case).voxels.shape for case in found.cases} == {(1, 20, 16)}
        assert read_case_image(found.cases[0]).affine is None
        assert "before the slice's number" in pairs_table(found)["rule"][0]

    def test_grey_values_become_labels(self, folder):
        write_structures(folder / "structures.csv", [Structure(1, "vertebra")], values=[(76, 1)])
        found = find_cases(folder)
        _, label_map = read_case(found.cases[0], found.structures)
        assert np.unique(label_map.voxels).tolist() == [0, 1]

    def test_a_typed_spacing(self, folder):
        found = find_cases(folder, reading=Reading(pixel_spacing_mm=(0.4, 0.5)))
        image = read_case_image(found.cases[0])
        assert image.pixel_mm2 == pytest.approx(0.2)
        assert image.source.spacing_source == "typed"
        with pytest.raises(DataError, match="two numbers in mm"):
            Reading(pixel_spacing_mm=(0, 1))

    def test_channels_that_differ_stay_three_everywhere(self, folder):
        coloured = np.random.default_rng(1).integers(0, 255, (20, 16, 3)).astype(np.uint8)
        PillowImage.fromarray(coloured).save(folder / "images" / "5_t2_slice1.png")
        names = ("pre-contrast", "FLAIR", "post-contrast")
        (folder / "images" / "22_t2_slice2.png").unlink()
        (folder / "images" / "5_t2_slice2.png").unlink()
        for k in ("22_t2_slice1", "22_t2_slice2", "5_t2_slice2"):
            grey = np.full((20, 16, 3), 7, np.uint8)
            PillowImage.fromarray(grey).save(folder / "images" / f"{k}.png")
        found = find_cases(folder, reading=Reading(channels=names))
        assert {read_case_image(case).channels for case in found.cases} == {names}
        case = next(case for case in found.cases if case.case_id == "5_t2_slice1")
        np.testing.assert_array_equal(read_case_image(case).channel_voxels[:, 0], np.moveaxis(coloured, -1, 0))

    def test_subjects_by_table(self, folder):
        (folder / "subjects.csv").write_text("case_id,subject_id\n5_t2_slice1,a\n5_t2_slice2,a\n22_t2_slice1,a\n")
        assert [c.subject_id for c in find_cases(folder).cases] == ["a", "a", "a", "22"]
        (folder / "subjects.csv").write_text("case_id,subject_id\n5_t2_slice1,\n")
        with pytest.raises(ReadError, match="row 2"):
            find_cases(folder)

    def test_missing_is_declared_once_and_kept(self, folder):
        drawn = np.zeros((20, 16), np.uint8)
        drawn[2:5, 2:5] = 29
        PillowImage.fromarray(drawn).save(folder / "masks" / "22_t2_slice1.png")
        found = find_cases(folder)
        known = declare_missing(found, "label 29")
        assert sum(case.annotated == frozenset({76}) for case in known.cases) == 3
        assert find_cases(folder).cases == known.cases
        with pytest.raises(DataError, match="No structure is called 'disc'"):
            declare_missing(found, "disc")
        with pytest.raises(DataError, match="so it cannot be missing there"):
            declare_missing(found, "label 29", case_ids=["22_t2_slice1"])

    def test_images_without_labels(self, folder):
        assert len(find_images(folder)) == 4
        assert all(not case.labels for case in find_images(folder))


class TestChannels:
    def test_other_contrasts_on_the_first_ones_grid(self, tmp_path):
        ramp = np.broadcast_to(np.arange(10, dtype=np.float32), (4, 12, 10)).copy()
        write_nifti(tmp_path / "p1_T1w.nii.gz", ramp)
        fine = np.broadcast_to(np.arange(20, dtype=np.float32) / 2, (4, 24, 20)).copy()
        write_nifti(tmp_path / "p1_T2w.nii.gz", fine, np.diag([-0.25, -0.25, 3.0, 1.0]))
        write_nifti(tmp_path / "p1_mask.nii.gz", ball())
        found = find_cases(tmp_path, reading=Reading(channels=("T1w", "T2w")))
        image, label_map = read_case(found.cases[0], found.structures)
        assert image.channels == ("T1w", "T2w")
        np.testing.assert_allclose(image.voxels[0], image.voxels[1], atol=1e-5)
        assert label_map.shape == (4, 12, 10)


class TestPartlyAnnotated:
    def test_slices_have_their_own_answers(self, tmp_path):
        voxels = ball()
        voxels[2:, 5:7, 5:7] = 2
        write_nifti(tmp_path / "images" / "a.nii.gz", noise())
        write_nifti(tmp_path / "labels" / "a.nii.gz", voxels)
        (tmp_path / "annotated.csv").write_text("case_id,slices,label 1,label 2\na,1-2,1,0\na,3-4,1,1\n")
        found = find_cases(tmp_path)
        numbers = [
            [image.slice_number(n) for n in range(image.shape[0])]
            for image, _ in (read_case(case, found.structures) for case in found.cases)
        ]
        assert numbers == [[1, 2], [3, 4]]
        assert [case.first_slice for case in found.cases] == [1, 3]
        assert [(row.case_id, row.slice) for row in measure_labels(found) if row.label == 1][2:] == [
            ("a_s003-004", 3), ("a_s003-004", 4),
        ]  # fmt: skip
        assert [(c.case_id, c.slices, c.annotated) for c in found.cases] == [
            ("a_s001-002", (0, 2), frozenset({1})),
            ("a_s003-004", (2, 4), frozenset({1, 2})),
        ]
        image, label_map = read_case(found.cases[1], found.structures)
        np.testing.assert_array_equal(label_map.voxels, voxels[2:])
        np.testing.assert_array_equal(image.voxels, noise()[2:])

    @pytest.mark.parametrize("rows", ["a,1-2,1,0\na,2-3,1,1", "a,0-2,1,0", "a,three,1,0", "a,1-2,1,0\na,,1,1"])
    def test_ranges_that_cannot_be(self, tmp_path, rows):
        write_nifti(tmp_path / "images" / "a.nii.gz", noise())
        write_nifti(tmp_path / "labels" / "a.nii.gz", ball())
        (tmp_path / "annotated.csv").write_text(f"case_id,slices,label 1,label 2\n{rows}\n")
        with pytest.raises(ReadError, match=r"row \d"):
            find_cases(tmp_path, structures={1: "label 1", 2: "label 2"})


def test_a_label_on_another_grid_is_refused_with_both_named(tmp_path):
    write_nifti(tmp_path / "images" / "a.nii.gz", noise())
    write_nifti(tmp_path / "labels" / "a.nii.gz", ball(), np.diag([-0.7, -0.5, 3.0, 1.0]))
    found = find_cases(tmp_path, structures={1: "ball"})
    with pytest.raises(LabelError, match=r"0\.7"):
        read_case(found.cases[0], found.structures)


REAL = {
    # folder: (options, cases, subjects, structures)
    "lumbar-spider-sagittal-png": ({}, 50, 10, 3),
    "spine-sagittal-discs-npy": ({}, 20, 20, 2),
    "brain-lgg-flair-tiff": ({}, 4, 4, 1),
    "hippocampus-msd": ({"unlabelled": "skip"}, 66, 66, 2),
    "cord-gm-t2star-bids": ({"unlabelled": "skip"}, 5, 4, 2),
    "lumbar-muscle-myosegmentum": ({}, 2, 2, 4),
    "dicom-seg-rtstruct/dcmqi-liver-ct": ({"unlabelled": "skip"}, 1, 1, 6),
    "dicom-seg-rtstruct/rtstruct-rt-utils/mock_data": ({"unlabelled": "skip"}, 1, 1, 4),
}


@pytest.mark.parametrize("name", REAL)
def test_real_sets_are_found_and_read(shared_data, name):
    options, cases, subjects, structures = REAL[name]
    found = find_cases(shared_data / name, **options)
    assert len(found.cases) == cases
    assert len({case.subject_id for case in found.cases}) == subjects
    assert len(found.structures) == structures
    for case in found.cases[:: max(1, cases // 5)]:
        image, label_map = read_case(case, found.structures)
        assert label_map.same_grid(image)
    assert all(case.rule for case in found.cases)


def test_real_contours_are_found_and_follow_the_labels_made_otherwise(shared_data, tmp_path):
    """Cavity and epicardium as contours: their masks are nearly those of the 8 × 8 subsampled arrays."""
    source = shared_data / "cardiac-sunnybrook-dicom"
    for name in ("dicoms", "contourfiles"):
        shutil.copytree(source / name, tmp_path / name)
    shutil.copy(source / "link.csv", tmp_path)
    found = find_cases(tmp_path, unlabelled="skip")
    assert len(found.cases) == 96
    cavity = next(s.label for s in found.structures if s.name == "icontour")
    wrong = mine = whole = 0
    for case in found.cases:
        _, label_map = read_case(case, found.structures)
        patient, number = case.case_id.split("_")
        reference = np.load(source / "labels_npy" / patient / f"{number}.npy") == 1
        wrong += np.count_nonzero(label_map.mask(cavity)[0] != reference)
        mine += np.count_nonzero(label_map.mask(cavity))
        whole += np.count_nonzero(reference)
    assert wrong < 0.015 * whole
    drawn = sum(contour_area(read_contour_file(path)) for path in tmp_path.glob("contourfiles/*/i-contours/*.txt"))
    assert mine == pytest.approx(drawn, rel=0.001)
    assert sum(case.annotated is not None for case in found.cases) == 50


class TestWhatAReviewFound:
    """Layouts that were once read wrongly without a word."""

    def save(self, path, low, high=None, value=1):
        path.parent.mkdir(parents=True, exist_ok=True)
        voxels = np.zeros((20, 16), np.uint8)
        voxels[low : high or low + 4, low : high or low + 4] = value
        PillowImage.fromarray(voxels).save(path)

    def image(self, path, seed=0):
        path.parent.mkdir(parents=True, exist_ok=True)
        PillowImage.fromarray(np.random.default_rng(seed).integers(0, 255, (20, 16)).astype(np.uint8)).save(path)

    def test_short_names_of_structures_are_no_raters(self, tmp_path):
        self.image(tmp_path / "images" / "p1.png")
        self.save(tmp_path / "labels" / "p1_ra.png", 2)
        self.save(tmp_path / "labels" / "p1_rv.png", 9)
        found = find_cases(tmp_path)
        assert sorted(s.name for s in found.structures) == ["ra", "rv"]
        assert np.count_nonzero(read_case(found.cases[0], found.structures)[1].voxels) == 32

    def test_a_structure_that_one_rater_drew_is_kept(self, tmp_path):
        self.image(tmp_path / "images" / "p1.png")
        self.save(tmp_path / "labels" / "p1_cord-r1.png", 2, 12)
        self.save(tmp_path / "labels" / "p1_gm-r1.png", 4)
        self.save(tmp_path / "labels" / "p1_gm-r2.png", 4)
        found = find_cases(tmp_path)
        _, label_map = read_case(found.cases[0], found.structures)
        cord = next(s.label for s in found.structures if s.name == "cord")
        assert label_map.mask(cord).sum() == 100

    def test_a_file_of_a_named_structure_is_that_structure(self, tmp_path):
        for name in ("p1", "p2"):
            self.image(tmp_path / f"{name}.png", seed=int(name[1]))
        self.save(tmp_path / "p1_gmseg.png", 4)
        self.save(tmp_path / "p2_gmseg.png", 4)
        rows = [Structure(1, "cord", includes=(2,)), Structure(2, "grey matter")]
        write_structures(tmp_path / "structures.csv", rows, values=[("seg", 1), ("gmseg", 2)])
        found = find_cases(tmp_path)
        _, label_map = read_case(found.cases[0], found.structures)
        assert np.unique(label_map.voxels).tolist() == [0, 2]
        assert found.cases[0].annotated == frozenset({2})

    def test_numbered_slices_are_no_channels(self, tmp_path):
        for k in range(1, 4):
            self.image(tmp_path / "images" / f"p1_{k:04d}.png", seed=k)
            self.save(tmp_path / "labels" / f"p1_{k:04d}.png", 4)
        assert len(find_cases(tmp_path).cases) == 3
        assert len(find_images(tmp_path / "images")) == 3

    def test_repairs_hold_for_the_parts_of_a_stack(self, tmp_path):
        for name in ("p1", "p2"):
            write_nifti(tmp_path / "images" / f"{name}.nii.gz", noise(seed=int(name[1])))
            write_nifti(tmp_path / "labels" / f"{name}.nii.gz", ball())
        rows = "case_id,slices,label 1,label 2\np1,1-2,1,1\np1,3-4,1,1\np2,,1,1\n"
        (tmp_path / "annotated.csv").write_text(rows)
        add_repair(tmp_path, relabel("p1", {1: 2}))
        add_repair(tmp_path, leave_out("p2"))
        add_repair(tmp_path, leave_out("nobody"))
        found = find_cases(tmp_path, structures={1: "label 1", 2: "label 2"})
        assert [case.case_id for case in found.cases] == ["p1_s001-002", "p1_s003-004"]
        for case in found.cases:
            assert np.unique(read_case(case, found.structures)[1].voxels).tolist() == [0, 2]
        assert any("p2" in note for note in found.notes)

    def test_what_was_missing_stays_so_for_cases_left_out(self, tmp_path):
        for k in (1, 2, 3):
            self.image(tmp_path / "images" / f"p{k}.png", seed=k)
            self.save(tmp_path / "masks" / f"p{k}.png", 4, value=k % 2 + 1)
        add_repair(tmp_path, leave_out("p3"))
        declare_missing(find_cases(tmp_path, structures={1: "a", 2: "b"}), "b")
        assert [c.case_id for c in find_cases(tmp_path, structures={1: "a", 2: "b"}).cases] == ["p1", "p2"]

    def test_a_subject_table_with_a_slip_is_refused(self, tmp_path):
        self.image(tmp_path / "images" / "a1.png")
        self.save(tmp_path / "masks" / "a1.png", 4)
        (tmp_path / "subjects.csv").write_text("case_id,subject_id\na1.png,P\n")
        with pytest.raises(DataError, match=r"a1\.png.*does not have"):
            find_cases(tmp_path)

    def test_a_typed_spacing_serves_dicom_without_one(self, tmp_path, sample):
        dataset = pydicom.dcmread(sample / "test" / "dicoms" / "SCD0000301_007.dcm")
        del dataset.PixelSpacing
        (tmp_path / "dicoms").mkdir()
        dataset.save_as(tmp_path / "dicoms" / "a.dcm")
        voxels = np.zeros((dataset.Rows, dataset.Columns), np.uint8)
        voxels[9:14, 9:14] = 1
        (tmp_path / "labels").mkdir()
        PillowImage.fromarray(voxels).save(tmp_path / "labels" / "a.png")
        found = find_cases(tmp_path, reading=Reading(pixel_spacing_mm=(0.5, 0.5)))
        assert read_case(found.cases[0], found.structures)[0].pixel_mm2 == pytest.approx(0.25)

    def test_structures_inside_structures_inside_structures(self):
        with pytest.raises(LabelError, match="includes 'b', which includes"):
            check_structures(
                (Structure(1, "a", includes=(2,)), Structure(2, "b", includes=(3,)), Structure(3, "c"))
            )
        with pytest.raises(LabelError, match="never includes itself"):
            check_structures((Structure(1, "a", includes=(2,)), Structure(2, "b", includes=(1,))))

    def test_a_picture_between_dicoms_and_a_readme_between_labels(self, tmp_path, sample):
        shutil.copytree(sample / "test", tmp_path / "x")
        self.image(tmp_path / "x" / "dicoms" / "thumb.png")
        (tmp_path / "x" / "labels" / "README").write_text("Drawn by an expert.")
        assert len(find_cases(tmp_path / "x").cases) == 20

    def test_names_with_blanks_come_back(self, tmp_path):
        rows = [Structure(1, "left"), Structure(2, "right")]
        values = (("Kidney left", 1), ("Kidney right", 2), ("Renal mass", 2))
        write_structures(tmp_path / "structures.csv", rows, values=values)
        assert read_structures(tmp_path / "structures.csv").values == values
