"""Training folders: pairs by name, structures and what was drawn, and every fault in words."""

import pickle
import shutil

import numpy as np
import pytest
from folders import add_subject, change_label, edit, write_table
from PIL import Image as PillowImage

from autoseg.data.cases import find_cases, pairs_table, read_case
from autoseg.errors import DataError, LabelError, NoLabelsError, ReadError
from autoseg.files.dicom.phantoms import INTENSITY, Phantom, write_phantom
from autoseg.image.structures import Structure


@pytest.fixture
def folder(tmp_path):
    """Two subjects with two slices each."""
    add_subject(tmp_path / "train", "Anna")
    add_subject(tmp_path / "train", "Bert")
    return tmp_path / "train"


def ids(found):
    return [case.case_id for case in found.cases]


class TestPairing:
    def test_image_and_label_of_the_same_name(self, folder):
        found = find_cases(folder)
        assert ids(found) == ["Anna_01", "Anna_02", "Bert_01", "Bert_02"]
        assert [case.subject_id for case in found.cases] == ["Anna", "Anna", "Bert", "Bert"]
        for case in found.cases:
            assert case.image_path == folder / "dicoms" / f"{case.case_id}.dcm"
            assert case.label_path == folder / "labels" / f"{case.case_id}.npy"
            assert case.annotated is None
        assert found.skipped == ()
        assert pickle.loads(pickle.dumps(found)) == found

    def test_the_picture_belongs_to_the_labels(self, folder):
        found = find_cases(folder)
        for case in found.cases:
            image, label_map = read_case(case, found.structures)
            np.testing.assert_array_equal(label_map.voxels, image.voxels / INTENSITY)

    def test_names_not_the_order_of_lists(self, folder):
        # The images come series by series and 2 before 10, the labels sorted as text.
        for old, new in (("Anna_01", "2"), ("Anna_02", "10"), ("Bert_01", "1")):
            (folder / "dicoms" / f"{old}.dcm").rename(folder / "dicoms" / f"{new}.dcm")
            (folder / "labels" / f"{old}.npy").rename(folder / "labels" / f"{new}.npy")
        found = find_cases(folder)
        assert ids(found) == ["1", "Bert_02", "2", "10"]
        for case in found.cases:
            image, label_map = read_case(case, found.structures)
            np.testing.assert_array_equal(label_map.voxels, image.voxels / INTENSITY)

    @pytest.mark.parametrize(
        ("dicom", "label", "name"),
        [
            ("leg", "leg.npy", "leg"),
            ("leg.IMA", "leg.npy", "leg"),
            ("leg.dcm", "leg.dcm.npy", "leg"),
            ("leg.v2.dcm", "leg.v2.npy", "leg.v2"),
            ("leg.v2", "leg.v2.npy", "leg"),
            ("MR.1.2.840.99", "MR.1.2.840.99.npy", "MR.1.2.840.99"),
        ],
    )
    def test_endings_of_dicom_files(self, tmp_path, dicom, label, name):
        add_subject(tmp_path, "Anna", slices=1)
        (tmp_path / "dicoms" / "Anna_01.dcm").rename(tmp_path / "dicoms" / dicom)
        (tmp_path / "labels" / "Anna_01.npy").rename(tmp_path / "labels" / label)
        found = find_cases(tmp_path)
        assert ids(found) == [name]
        image, label_map = read_case(found.cases[0], found.structures)
        assert image.source.case_id == label_map.source.case_id == name

    def test_other_files_are_named_and_left_alone(self, folder):
        (folder / "dicoms" / "notes.txt").write_text("hello")
        (folder / "labels" / "Thumbs.db").write_text("hello")
        (folder / "labels" / "._Anna_01.npy").write_text("hidden, from a Mac")
        found = find_cases(folder)
        assert len(found.cases) == 4
        assert {item.path.name for item in found.skipped} == {"notes.txt"}

    def test_a_localiser_needs_no_label(self, folder):
        write_phantom(folder / "dicoms" / "scout", Phantom("scout", rows=20, columns=24))
        for path in (folder / "dicoms" / "scout").glob("*.dcm"):
            edit(path, PatientID="Anna", SeriesDescription="Localizer 3 planes")
        found = find_cases(folder)
        assert len(found.cases) == 4
        assert {item.reason for item in found.skipped} == {"a localiser, on which nothing was drawn"}

    def test_a_folder_of_a_patient_may_be_a_link(self, folder):
        for name in ("dicoms", "labels"):
            add_subject(folder.parent / "disk", "Carl")
            (folder / name / "Carl").symlink_to(folder.parent / "disk" / name)
        (folder / "labels" / "Carl" / "back").symlink_to(folder)
        found = find_cases(folder)
        assert len(found.cases) == 6
        for case in found.cases:
            image, label_map = read_case(case, found.structures)
            np.testing.assert_array_equal(label_map.voxels, image.voxels / INTENSITY)

    def test_an_image_without_label(self, folder):
        (folder / "labels" / "Bert_01.npy").unlink()
        with pytest.raises(DataError, match=r"1 image \(Bert_01\.dcm\).*Add label files.*--leave-out-unlabelled"):
            find_cases(folder)
        found = find_cases(folder, unlabelled="skip")
        assert ids(found) == ["Anna_01", "Anna_02", "Bert_02"]
        assert [(item.path.name, item.reason) for item in found.skipped] == [
            ("Bert_01.dcm", "an image without a label file")
        ]

    @pytest.mark.parametrize("unlabelled", ["refuse", "skip"])
    def test_labels_without_image(self, tmp_path, unlabelled):
        names = add_subject(tmp_path, "Anna", slices=8)
        for name in names[:7]:
            (tmp_path / "dicoms" / f"{name}.dcm").unlink()
        with pytest.raises(DataError, match=r"7 label files \(Anna_01\.npy, .*Anna_05\.npy and 2 more\)") as caught:
            find_cases(tmp_path, unlabelled=unlabelled)
        assert "Anna_06" not in str(caught.value)

    def test_a_label_whose_dicom_is_damaged_is_told_so(self, folder):
        (folder / "dicoms" / "Anna_01.dcm").write_bytes(b"nothing of use")
        with pytest.raises(DataError, match=r"Anna_01\.npy \(the file of that name in dicoms: not a DICOM file\)"):
            find_cases(folder)

    def test_a_label_whose_dicom_is_a_copy_is_told_so(self, folder):
        shutil.copy(folder / "dicoms" / "Anna_01.dcm", folder / "dicoms" / "Anna_09.dcm")
        shutil.copy(folder / "labels" / "Anna_01.npy", folder / "labels" / "Anna_09.npy")
        with pytest.raises(DataError, match=r"Anna_09\.npy \(.*a copy of another DICOM file\)"):
            find_cases(folder)

    def test_two_labels_of_one_name(self, folder):
        PillowImage.fromarray(np.zeros((40, 48), np.uint8)).save(folder / "labels" / "Anna_01.png")
        with pytest.raises(DataError, match=r"Two label files are called 'Anna_01'"):
            find_cases(folder)

    def test_two_images_of_one_name(self, folder):
        (folder / "dicoms" / "Bert_01.dcm").rename(folder / "dicoms" / "Anna_01.IMA")
        (folder / "labels" / "Bert_01.npy").unlink()
        with pytest.raises(
            DataError, match=r"Two images are called 'Anna_01': .*Anna_01\.\w+ \(frame 1\) and .*own"
        ):
            find_cases(folder)

    def test_one_label_for_two_images(self, folder):
        (folder / "dicoms" / "Bert_01.dcm").rename(folder / "dicoms" / "Anna_01.dcm.dcm")
        (folder / "labels" / "Bert_01.npy").unlink()
        (folder / "labels" / "Anna_01.npy").rename(folder / "labels" / "Anna_01.dcm.npy")
        with pytest.raises(DataError, match=r"Anna_01\.dcm\.npy would be used for .*Anna_01\.dcm.* and for"):
            find_cases(folder)


class TestPatientsWithEqualNames:
    @pytest.fixture
    def folder(self, tmp_path):
        """`dicoms/p1/IM0000.dcm` and `dicoms/p2/IM0000.dcm`, with labels in the same folders."""
        for subject in ("p1", "p2"):
            (name,) = add_subject(tmp_path, subject, slices=1)
            for kind, ending in (("dicoms", "dcm"), ("labels", "npy")):
                (tmp_path / kind / subject).mkdir()
                file = tmp_path / kind / f"{name}.{ending}"
                file.rename(tmp_path / kind / subject / f"IM0000.{ending}")
        return tmp_path

    def check(self, folder, names=("p1_IM0000", "p2_IM0000")):
        found = find_cases(folder)
        assert ids(found) == list(names)
        assert [case.subject_id for case in found.cases] == ["p1", "p2"]
        for case in found.cases:
            image, label_map = read_case(case, found.structures)
            assert image.source.case_id == label_map.source.case_id == case.case_id
            np.testing.assert_array_equal(label_map.voxels, image.voxels / INTENSITY)

    def test_labels_in_the_same_folders(self, folder):
        self.check(folder)
        change_label(folder, "p2/IM0000", lambda a: np.where(a == 3, 0, a))
        found = find_cases(folder)
        assert [case.label_path.parent.name for case in found.cases] == ["p1", "p2"]
        assert [read_case(c, found.structures)[1].voxels.max() for c in found.cases] == [3, 2]

    def test_names_of_their_own_need_no_folder(self, folder):
        (folder / "dicoms" / "p2" / "IM0000.dcm").rename(folder / "dicoms" / "p2" / "IM0001.dcm")
        (folder / "labels" / "p2" / "IM0000.npy").rename(folder / "labels" / "IM0001.npy")
        self.check(folder, names=("IM0000", "IM0001"))

    def test_what_was_drawn_is_found_by_the_long_name(self, folder):
        rows = ("case_id,label 1,label 2,label 3", "p1_IM0000,1,1,1", "p2_IM0000,1,1,0")
        write_table(folder, "annotated.csv", *rows)
        assert [sorted(case.annotated) for case in find_cases(folder).cases] == [[1, 2, 3], [1, 2]]

    def test_a_label_that_could_belong_to_both(self, folder):
        (folder / "labels" / "p1" / "IM0000.npy").rename(folder / "labels" / "IM0000.npy")
        with pytest.raises(DataError, match=r"\(IM0000\.npy \(.*more than once.*folders of the same name"):
            find_cases(folder)

    def test_a_label_that_is_missing_for_one(self, folder):
        (folder / "labels" / "p1" / "IM0000.npy").unlink()
        with pytest.raises(DataError, match=r"1 image \(p1/IM0000\.dcm\).*in folders of the same names"):
            find_cases(folder)
        assert ids(find_cases(folder, unlabelled="skip")) == ["p2_IM0000"]

    def test_a_long_name_that_is_there_already(self, folder):
        add_subject(folder, "Carl", slices=1)
        for kind, ending in (("dicoms", "dcm"), ("labels", "npy")):
            (folder / kind / f"Carl_01.{ending}").rename(folder / kind / f"p1_IM0000.{ending}")
        with pytest.raises(DataError, match="Two images are called 'p1_IM0000'"):
            find_cases(folder)


class TestFolders:
    def test_a_missing_folder(self, tmp_path):
        with pytest.raises(DataError, match=r"nowhere does not exist.*dicoms.*labels"):
            find_cases(tmp_path / "nowhere")

    def test_an_empty_folder(self, tmp_path):
        with pytest.raises(DataError, match="has no folder 'dicoms'; it holds nothing"):
            find_cases(tmp_path)

    def test_a_folder_without_labels(self, folder):
        (folder / "labels").rename(folder / "drawings")
        with pytest.raises(DataError, match="has no folder 'labels'; it holds dicoms, drawings"):
            find_cases(folder)

    def test_no_dicom(self, folder):
        for path in (folder / "dicoms").iterdir():
            path.unlink()
        with pytest.raises(DataError, match="dicoms is empty"):
            find_cases(folder)
        (folder / "dicoms" / "letter.doc").write_bytes(b"x" * 200)
        with pytest.raises(DataError, match="holds no DICOM image"):
            find_cases(folder)

    def test_no_label_file(self, folder):
        for path in (folder / "labels").iterdir():
            path.rename(path.with_suffix(".txt"))
        with pytest.raises(DataError, match=r"labels holds no label file.*\.npy or \.png"):
            find_cases(folder)

    @pytest.mark.parametrize("left", ["nothing", "an empty folder", "the images alone"])
    def test_images_of_which_nothing_was_drawn_are_told_from_other_faults(self, folder, left):
        shutil.rmtree(folder / "labels")
        if left == "an empty folder":
            (folder / "labels").mkdir()
        with pytest.raises(NoLabelsError, match="label"):
            find_cases(folder / "dicoms" if left == "the images alone" else folder)

    def test_an_unknown_word(self, folder):
        with pytest.raises(DataError, match="unlabelled is 'ignore'"):
            find_cases(folder, unlabelled="ignore")


class TestStructures:
    def test_from_the_values_in_the_files(self, folder):
        assert find_cases(folder).structures == tuple(Structure(n, f"label {n}") for n in (1, 2, 3))

    def test_from_the_table(self, folder):
        write_table(folder, "structures.csv", "label,name,colour", "1,a,#010203", "2,b,", "3,c,")
        assert find_cases(folder).structures == (Structure(1, "a", (1, 2, 3)), Structure(2, "b"), Structure(3, "c"))

    def test_the_argument_beats_the_table(self, folder):
        write_table(folder, "structures.csv", "label,name", "1,a")
        assert find_cases(folder, structures={3: "x", 1: "y"}).structures == (Structure(3, "x"), Structure(1, "y"))
        assert find_cases(folder, structures=[Structure(2, "z")]).structures == (Structure(2, "z"),)

    def test_two_of_one_name(self, folder):
        with pytest.raises(LabelError, match="more than once"):
            find_cases(folder, structures={1: "x", 2: "x"})

    def test_smoothed_labels_are_not_taken_for_structures(self, folder):
        change_label(folder, "Anna_01", lambda a: np.arange(a.size).reshape(a.shape) % 200)
        with pytest.raises(LabelError, match=r"199 different values.*smoothed"):
            find_cases(folder)

    def test_values_below_0(self, folder):
        change_label(folder, "Anna_01", lambda a: np.full(a.shape, -1))
        with pytest.raises(LabelError, match=r"-1.*from 1 to 255"):
            find_cases(folder)

    def test_empty_labels_name_nothing(self, tmp_path):
        for name in add_subject(tmp_path, "Anna"):
            change_label(tmp_path, name, np.zeros_like)
        with pytest.raises(LabelError, match="every pixel is 0"):
            find_cases(tmp_path)


class TestAnnotated:
    ROWS = ("case_id,label 1,label 2,label 3", "Anna_01,1,0,1", "Anna_02,1,1,1", "Bert_01,0,0,0")

    def test_what_was_drawn(self, folder):
        for name, labels in (("Anna_01", (1, 3)), ("Bert_01", ())):
            change_label(folder, name, lambda a, labels=labels: np.where(np.isin(a, labels), a, 0))
        write_table(folder, "annotated.csv", *self.ROWS, "Bert_02,1,1,1", "gone,1,1,1")
        found = find_cases(folder)
        assert [sorted(case.annotated) for case in found.cases] == [[1, 3], [1, 2, 3], [], [1, 2, 3]]
        _, label_map = read_case(found.cases[0], found.structures)
        assert [label_map.is_annotated(label) for label in (1, 2, 3)] == [True, False, True]
        assert found.cases[0].is_drawn(3)
        assert not found.cases[0].is_drawn(2)

    def test_a_case_without_a_row(self, folder):
        write_table(folder, "annotated.csv", *self.ROWS)
        with pytest.raises(DataError, match=r"annotated\.csv: There is 1 case \(Bert_02\) without a row"):
            find_cases(folder)


class TestReading:
    def test_labels_lie_on_the_images_grid(self, folder):
        found = find_cases(folder)
        image, label_map = read_case(found.cases[1], found.structures)
        assert image.shape == (1, 40, 48)
        assert label_map.same_grid(image)
        assert label_map.pixel_mm2 == pytest.approx(3.0)
        assert label_map.source.slices[0].path == found.cases[1].image_path
        assert label_map.annotated == {1, 2, 3}

    def test_a_shape_that_differs(self, folder):
        found = find_cases(folder)
        change_label(folder, "Anna_01", lambda a: a[:-1])
        with pytest.raises(LabelError, match=r"Anna_01\.npy.*\(1, 39, 48\).*Anna_01\.dcm has \(1, 40, 48\)"):
            read_case(found.cases[0], found.structures)

    def test_several_slices_for_one(self, folder):
        found = find_cases(folder)
        change_label(folder, "Anna_01", lambda a: np.stack([a, a]))
        with pytest.raises(LabelError, match=r"\(2, 40, 48\).*\(1, 40, 48\)"):
            read_case(found.cases[0], found.structures)

    def test_a_value_without_a_name(self, folder):
        found = find_cases(folder, structures={1: "a", 2: "b"})
        with pytest.raises(LabelError, match=r"Anna_01\.npy holds label 3 without a name.*= a"):
            read_case(found.cases[0], found.structures)

    def test_a_typed_spacing(self, folder):
        edit(folder / "dicoms" / "Anna_01.dcm", PixelSpacing=None)
        found = find_cases(folder)
        case = next(case for case in found.cases if case.case_id == "Anna_01")
        assert read_case(case, found.structures)[0].affine is None
        image, label_map = read_case(case, found.structures, pixel_spacing_mm=(0.5, 0.25))
        assert image.spacing_mm[1:] == (0.5, 0.25)
        assert label_map.pixel_mm2 == pytest.approx(0.125)

    def test_a_file_that_went_away(self, folder):
        found = find_cases(folder)
        found.cases[0].image_path.unlink()
        with pytest.raises(ReadError, match=r"Anna_01\.dcm does not exist"):
            read_case(found.cases[0], found.structures)

    def test_what_is_read_is_the_callers_own(self, folder):
        found = find_cases(folder)
        for _ in range(2):
            image, label_map = read_case(found.cases[0], found.structures)
            assert image.voxels.max() == 3 * INTENSITY
            assert label_map.voxels.max() == 3
            image.voxels[:] = 0
            label_map.voxels[:] = 0

    def test_a_file_that_was_saved_again_is_read_again(self, folder):
        found = find_cases(folder)
        read_case(found.cases[0], found.structures)
        change_label(folder, "Anna_01", lambda a: np.zeros(a.shape, np.int64))
        assert not read_case(found.cases[0], found.structures)[1].voxels.any()


class TestMultiFrame:
    PHANTOM = Phantom("enhanced", multiframe=True, places_mm=(8.0, 0.0, 4.0), moments=2, rows=40, columns=48)

    @pytest.fixture
    def folder(self, tmp_path):
        """Frames out of order along the normal, at two moments; labels in the order of the frames."""
        write_phantom(tmp_path / "dicoms", self.PHANTOM)[0].rename(tmp_path / "dicoms" / "heart.dcm")
        (tmp_path / "labels").mkdir()
        return tmp_path

    def pictures(self):
        return [self.PHANTOM.label_picture(p, m) for m in range(2) for p in self.PHANTOM.places_mm]

    def check(self, folder):
        found = find_cases(folder)
        assert ids(found) == [f"heart_{number:03d}" for number in range(1, 7)]
        for case, picture in zip(found.cases, self.pictures(), strict=True):
            image, label_map = read_case(case, found.structures)
            np.testing.assert_array_equal(image.voxels[0] / INTENSITY, picture)
            np.testing.assert_array_equal(label_map.voxels[0], picture)
            place = self.PHANTOM.places_mm[case.images[0].frame % 3]
            assert image.slice_positions_mm == pytest.approx([self.PHANTOM.slice_centre_mm(place)[2]])
            assert [source.frame for source in image.source.slices] == [case.images[0].frame]

    def test_one_label_file_for_all_frames(self, folder):
        np.save(folder / "labels" / "heart.npy", np.stack(self.pictures()))
        self.check(folder)

    def test_one_label_file_for_each_frame(self, folder):
        for number, picture in enumerate(self.pictures(), start=1):
            np.save(folder / "labels" / f"heart_{number:03d}.npy", picture)
        self.check(folder)

    @pytest.mark.parametrize("count", [1, 5])
    def test_too_few_slices(self, folder, count):
        np.save(folder / "labels" / "heart.npy", np.stack(self.pictures()[:count]))
        found = find_cases(folder)
        with pytest.raises(LabelError, match=rf"holds {count} slice.*6 frames"):
            read_case(found.cases[0], found.structures)

    def test_a_frame_without_label(self, folder):
        np.save(folder / "labels" / "heart_002.npy", self.pictures()[1])
        with pytest.raises(DataError, match=r"1 image \(heart\.dcm\) .*without a label file"):
            find_cases(folder)
        assert ids(find_cases(folder, unlabelled="skip")) == ["heart_002"]

    def test_a_single_frame_that_is_called_like_a_frame(self, folder):
        add_subject(folder, "Anna", slices=1)
        (folder / "dicoms" / "Anna_01.dcm").rename(folder / "dicoms" / "heart_001.dcm")
        (folder / "labels" / "Anna_01.npy").unlink()
        np.save(folder / "labels" / "heart.npy", np.stack(self.pictures()))
        PillowImage.fromarray(self.pictures()[0].astype(np.uint8)).save(folder / "labels" / "heart_001.png")
        with pytest.raises(DataError, match=r"Two images are called 'heart_001'.*heart\S*\.dcm \(frame 1\)"):
            find_cases(folder)

    def test_a_picture_cannot_be_the_label_of_several_frames(self, folder):
        PillowImage.fromarray(self.pictures()[0].astype(np.uint8)).save(folder / "labels" / "heart.png")
        with pytest.raises(DataError, match=r"heart\.png would be used for .*frame 1.*frame 2.*heart_001\.png"):
            find_cases(folder)

    @pytest.mark.parametrize("together", [True, False])
    def test_two_patients_with_equal_names(self, folder, together):
        for subject in ("p1", "p2"):
            (folder / "dicoms" / subject).mkdir()
            (folder / "labels" / subject).mkdir()
            shutil.copy(folder / "dicoms" / "heart.dcm", folder / "dicoms" / subject / "heart.dcm")
            edit(folder / "dicoms" / subject / "heart.dcm", PatientID=subject)
            if together:
                np.save(folder / "labels" / subject / "heart.npy", np.stack(self.pictures()))
            for number, picture in enumerate(() if together else self.pictures(), start=1):
                np.save(folder / "labels" / subject / f"heart_{number:03d}.npy", picture)
        (folder / "dicoms" / "heart.dcm").unlink()
        found = find_cases(folder)
        assert ids(found) == [f"{subject}_heart_{number:03d}" for subject in ("p1", "p2") for number in range(1, 7)]
        for case, picture in zip(found.cases, self.pictures() * 2, strict=True):
            np.testing.assert_array_equal(read_case(case, found.structures)[1].voxels[0], picture)


def test_the_table_of_pairs(folder):
    write_table(folder, "annotated.csv", "case_id,a,b", "Anna_01,1,0", "Anna_02,1,1", "Bert_01,0,0", "Bert_02,0,1")
    table = pairs_table(find_cases(folder, structures={1: "a", 2: "b"}))
    assert list(table.columns) == ["case_id", "subject_id", "image", "frame", "label", "drawn", "rule"]
    rule = "same name; patient: PatientID"
    assert table.iloc[0].tolist() == ["Anna_01", "Anna", "Anna_01.dcm", 0, "Anna_01.npy", "a", rule]
    assert table["drawn"].tolist() == ["a", "a, b", "", "b"]


def test_real_ct_whose_names_are_uids(shared_data, tmp_path):
    source = shared_data / "ct-mr-totalsegmentator-dicom"
    shutil.copytree(source / "ct_dicom", tmp_path / "dicoms")
    shutil.copytree(source / "ct_dicom_labels_png", tmp_path / "labels")
    found = find_cases(tmp_path)
    assert len(found.cases) == 20
    image, label_map = read_case(found.cases[7], found.structures)
    assert found.cases[7].label_path.stem in (found.cases[7].image_path.name, found.cases[7].case_id)
    # The vertebrae, which the labels name 26 to 50, are brighter than soft tissue in Hounsfield units.
    bone = np.isin(label_map.voxels, range(26, 51))
    assert bone.any()
    assert image.voxels[bone].mean() > 100
