"""Reading DICOM: phantoms with known answers for every rule, and real files of many makers."""

import functools
import pickle
import re
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from autoseg.errors import AutosegError, DataError, GeometryError, ReadError
from autoseg.files.dicom import pixels as dicom_pixels
from autoseg.files.dicom.phantoms import SAGITTAL, Phantom, write_phantom
from autoseg.files.dicom.pixels import read_frames
from autoseg.files.dicom.series import find_series, is_dicom, read_dicom_file, read_series
from autoseg.image.image import Acquisition

RAMP = (0.0, 4.0, 8.0, 12.0)


def write(folder, change=None, **phantom):
    """Write a phantom; `change` edits the data set of the n-th file (from 0) in place."""
    options = {"rows": 40, "columns": 36, "pixel_spacing_mm": (3.5, 4.0), "places_mm": RAMP, **phantom}
    files = write_phantom(folder, Phantom("test", **options))
    for number, path in enumerate(files if change else ()):
        dataset = pydicom.dcmread(path)
        change(dataset, number)
        dataset.save_as(path)
    return files


def the_series(folder):
    (series,) = find_series(folder).series
    return series


def the_image(folder, **options):
    (image,) = read_series(the_series(folder), **options)
    return image


def notes(folder):
    return " ".join(the_series(folder).notes)


def names(image):
    return [source.path.name for source in image.source.slices]


def tried(function, argument):
    """Give a result, or the text of one of autoseg's own errors; any other exception fails the test."""
    try:
        return function(argument), ""
    except AutosegError as error:
        return None, str(error)


class TestFinding:
    def test_content_counts_and_not_the_name(self, tmp_path):
        image = write(tmp_path)[0].rename(tmp_path / "picture.txt")
        (tmp_path / "liar.dcm").write_text("not at all DICOM" * 50)
        (tmp_path / "empty.dcm").touch()
        assert is_dicom(image)
        assert not is_dicom(tmp_path / "liar.dcm")
        assert not is_dicom(tmp_path / "empty.dcm")
        assert not is_dicom(tmp_path / "missing.dcm")
        assert not is_dicom(tmp_path)

    @pytest.mark.parametrize("syntax", ["implicit", "explicit", "big endian"])
    def test_a_file_without_preamble_and_meta_is_read(self, tmp_path, syntax):
        path = write(tmp_path, syntax=syntax)[0]
        expected = read_dicom_file(path)[0].voxels
        meta = pydicom.dcmread(path).file_meta
        path.write_bytes(path.read_bytes()[144 + meta.FileMetaInformationGroupLength :])
        assert is_dicom(path)
        np.testing.assert_array_equal(read_dicom_file(path)[0].voxels, expected)

    def test_foreign_and_hidden_files_are_named_and_left_alone(self, tmp_path):
        write(tmp_path / "deep" / "er")
        for name in ("notes.txt", "table.csv", "Thumbs.db", ".DS_Store", "__MACOSX/1.dcm", ".git/x"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text("hello")
        before = sorted(tmp_path.rglob("*"))
        found = find_series(tmp_path)
        reasons = {str(item.path.relative_to(tmp_path)): item.reason for item in found.skipped}
        assert reasons == {
            "notes.txt": "not a DICOM file",
            "table.csv": "not a DICOM file",
            "Thumbs.db": "a hidden file",
            ".DS_Store": "a hidden file",
            "__MACOSX": "a hidden folder",
            ".git": "a hidden folder",
        }
        assert len(found.series) == 1
        assert sorted(tmp_path.rglob("*")) == before

    def test_objects_that_are_no_images_are_skipped_with_their_kind(self, tmp_path):
        def change(dataset, number):
            if number == 0:
                dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.66.4"
            if number == 1:
                del dataset.PixelData
            if number == 2:
                dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.88.11"
                del dataset.Rows

        files = write(tmp_path, change)
        reasons = [item.reason for item in find_series(tmp_path).skipped]
        assert reasons == [
            "a DICOM segmentation: labels, not an image",
            "a DICOM image header without pixel data",
            "a DICOM object without an image (Basic Text SR Storage)",
        ]
        with pytest.raises(ReadError, match=r"1\.dcm.*labels, not an image.*Choose"):
            read_dicom_file(files[0])

    def test_links_names_and_lengths_that_disks_allow(self, tmp_path):
        deep = tmp_path
        for name in ("Jürgen Größe & Söhne", "x" * 100, "y" * 100, "z" * 100):
            deep = deep / name
        files = write(deep)
        files[0].rename(deep / "Müller, 1. Bild (Kopie).dcm")
        try:
            (deep / "back").symlink_to(tmp_path, target_is_directory=True)
            (deep / "a").symlink_to(deep / "b")
            (deep / "b").symlink_to(deep / "a")
        except OSError:
            pytest.skip("links may not be made here")
        assert len(str(deep)) > 300
        found = find_series(tmp_path)
        assert [len(series.slices) for series in found.series] == [4]
        assert {item.path.name: item.reason for item in found.skipped} == {
            "back": "a link to a folder that is read already, or around this one",
            "a": "not an ordinary file",
            "b": "not an ordinary file",
        }
        assert not is_dicom(deep / "a")
        assert the_image(tmp_path).shape[0] == 4

    @pytest.mark.parametrize("name", ["x" * 300, "a/" * 3000])
    def test_a_name_that_no_disk_allows_is_an_error_in_words(self, tmp_path, name):
        with pytest.raises(DataError, match="does not exist"):
            find_series(tmp_path / name)
        with pytest.raises(ReadError, match="does not exist"):
            read_dicom_file(tmp_path / name)
        assert not is_dicom(tmp_path / name)

    @pytest.mark.parametrize(
        "data",
        [b"", b"\0", bytes(132), bytes(128) + b"DICM", b"\x08\0\x05\0CS", b"\x08\0" * 5000, "Ä".encode() * 999],
        ids=["nothing", "a zero", "zeros", "only the magic word", "one tag", "nonsense", "text"],
    )
    def test_a_file_that_holds_nothing_of_use_is_left_alone_with_a_reason(self, tmp_path, data):
        write(tmp_path)
        (tmp_path / "odd.dcm").write_bytes(data)
        (skipped,) = find_series(tmp_path).skipped
        assert skipped.path.name == "odd.dcm"
        assert skipped.reason
        with pytest.raises(ReadError, match=r"odd\.dcm cannot be read as an image"):
            read_dicom_file(tmp_path / "odd.dcm")

    @pytest.mark.parametrize(
        ("make", "words"),
        [
            (lambda folder: None, "does not exist. Check the spelling"),
            (lambda folder: folder.mkdir(), "is empty. Copy"),
            (lambda folder: (folder.mkdir(), (folder / ".x").touch()), r"is empty \(hidden files aside\)"),
            (lambda folder: folder.write_text("x"), "is no DICOM image: not a DICOM file"),
            (
                lambda folder: (folder.mkdir(), (folder / "a.txt").write_text("x")),
                r"holds no DICOM image; 1 other file.*not a DICOM file.*a\.txt.*Choose the folder",
            ),
        ],
    )
    def test_a_folder_without_images_says_what_is_wrong(self, tmp_path, make, words):
        folder = tmp_path / "patient 7"
        make(folder)
        with pytest.raises(DataError, match=f"patient 7.*{words}"):
            find_series(folder)

    def test_series_survive_pickling_and_hold_no_patient_name(self, tmp_path):
        write(tmp_path, lambda dataset, _: setattr(dataset, "PatientName", "Doe^Jane"))
        found = find_series(tmp_path)
        assert pickle.loads(pickle.dumps(found)) == found
        assert b"Doe" not in pickle.dumps(found)
        assert "Doe" not in repr(read_series(found.series[0])[0].source)

    def test_the_subject_is_the_patient_id_or_else_the_study(self, tmp_path):
        def nameless(study, series):
            def change(dataset, _):
                dataset.PatientID, dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "", study, series

            return change

        write(tmp_path / "known")
        for study, series in (("1.2.3", "1.2.3.1"), ("1.2.3", "1.2.3.2"), ("1.2.4", "1.2.4.1")):
            write(tmp_path / "Doe Jane" / series, nameless(study, series))
        found = {series.uid: series for series in find_series(tmp_path).series}
        subjects = {uid: series.subject_id for uid, series in found.items()}
        # The first eight digits of `printf 1.2.3 | sha256sum`.
        assert subjects["1.2.3.1"] == subjects["1.2.3.2"] == "study-c47f5b18"
        assert len(set(subjects.values())) == 3
        assert "phantom" in subjects.values()
        assert read_series(found["1.2.3.1"])[0].source.subject_id == subjects["1.2.3.1"]

    def test_without_any_uid_the_subject_is_the_folder_but_not_its_name(self, tmp_path, monkeypatch):
        def nameless(dataset, _):
            del dataset.PatientID, dataset.StudyInstanceUID

        for name in ("Doe Jane", "Doe John"):
            write(tmp_path / name, nameless)
        subjects = [series.subject_id for series in find_series(tmp_path).series]
        assert len(set(subjects)) == 2
        assert all(re.fullmatch("folder-[0-9a-f]{8}", subject) for subject in subjects)
        monkeypatch.chdir(tmp_path / "Doe Jane")
        assert the_series(Path()).subject_id == subjects[0]

    def test_two_patients_under_one_series_uid_never_become_one(self, tmp_path):
        write(tmp_path, lambda dataset, number: setattr(dataset, "PatientID", f"P{number % 2}"))
        series = find_series(tmp_path).series
        assert [(s.subject_id, len(s.slices)) for s in series] == [("P0", 2), ("P1", 2)]
        assert len({s.case_id for s in series}) == 2

    def test_case_ids_are_readable_and_unique(self, tmp_path):
        write(tmp_path / "a")
        write(tmp_path / "b", lambda dataset, _: setattr(dataset, "SeriesInstanceUID", "1.2.3"))
        write(
            tmp_path / "c",
            lambda dataset, _: setattr(dataset, "SeriesInstanceUID", "1.2.4"),
            places_mm=(0.0,),
        )
        assert [s.case_id for s in find_series(tmp_path).series] == ["series-1", "series-1-2", "1"]

    def test_case_ids_stay_apart_where_names_collide(self, tmp_path):
        """On Windows and macOS, results named A and a would be one file."""
        for number, name in enumerate(("d/a-2.dcm", "e/a.dcm", "f/A.dcm", "g/a.dcm")):
            path = write(
                tmp_path / name[0],
                lambda dataset, _, n=number: setattr(dataset, "SeriesInstanceUID", f"1.{n}"),
            )
            for other in path[1:]:
                other.unlink()
            path[0].rename(tmp_path / name)
        case_ids = [s.case_id for s in find_series(tmp_path).series]
        assert case_ids == ["a-2", "a", "A-3", "a-4"]

    def test_one_file_is_named_after_itself(self, tmp_path):
        path = write(tmp_path)[2].rename(tmp_path / "patient1_L3.dcm")
        (image,) = read_dicom_file(path)
        assert image.shape == (1, 40, 36)
        assert image.source.case_id == "patient1_L3"
        assert image.source.slices[0].path == path

    def test_odd_uids_and_values_make_no_warning(self, tmp_path):
        for path in write(tmp_path):
            data = path.read_bytes()
            uid = pydicom.dcmread(path).SeriesInstanceUID.encode()
            path.write_bytes(data.replace(uid, b"1.02.003" + b"4" * (len(uid) - 8)))
        assert the_image(tmp_path).shape == (4, 40, 36)
        assert the_series(tmp_path).uid.startswith("1.02.003")


class TestGrids:
    def test_slices_are_sorted_along_the_normal_whatever_their_names(self, tmp_path):
        write(tmp_path, places_mm=(8.0, 0.0, 12.0, 4.0), orientation=SAGITTAL)
        image = the_image(tmp_path)
        assert names(image) == ["3.dcm", "1.dcm", "4.dcm", "2.dcm"], "SAGITTAL's normal points to the right"
        assert np.all(np.diff(image.slice_positions_mm) > 0)
        assert image.spacing_mm == pytest.approx((4.0, 3.5, 4.0))
        for index, source in enumerate(image.source.slices):
            header = pydicom.dcmread(source.path)
            assert (image.affine @ [index, 0, 0, 1])[:3] == pytest.approx(list(header.ImagePositionPatient))

    def test_repeated_positions_become_time_points(self, tmp_path):
        write(tmp_path, moments=3, places_mm=(4.0, 0.0))
        series = the_series(tmp_path)
        images = read_series(series)
        assert [image.source.case_id for image in images] == [f"series-1_t0{k}" for k in (1, 2, 3)]
        assert [names(image) for image in images] == [
            ["2.dcm", "1.dcm"],
            ["4.dcm", "3.dcm"],
            ["6.dcm", "5.dcm"],
        ]
        assert "2 slice positions are there 3 times" in " ".join(series.notes)

    def test_a_lost_slice_does_not_move_the_later_time_points(self, tmp_path):
        """With its trigger times, the second repeat at the hurt position is still the third time point."""
        write(tmp_path, moments=3, places_mm=(0.0, 4.0, 8.0))
        (tmp_path / "5.dcm").unlink()
        images = read_series(the_series(tmp_path))
        assert [names(image) for image in images] == [
            ["1.dcm", "2.dcm", "3.dcm"],
            ["4.dcm", "6.dcm"],
            ["7.dcm", "8.dcm", "9.dcm"],
        ]

    def test_a_lost_slice_is_told_by_the_numbers_alone(self, tmp_path):
        write(tmp_path, lambda dataset, _: delattr(dataset, "TriggerTime"), moments=2, places_mm=(0.0, 4.0))
        (tmp_path / "1.dcm").unlink()
        images = read_series(the_series(tmp_path))
        assert [names(image) for image in images] == [["2.dcm"], ["3.dcm", "4.dcm"]]
        assert "_t01 lacks 1 slice of 2: at 101 mm" in notes(tmp_path)

    @pytest.mark.parametrize(
        ("places", "parts"),
        [
            ((0.0, 5.0, 10.0, 20.0), (3, 1)),
            ((0.0, 10.0, 15.0, 20.0), (1, 3)),
            ((0.0, 4.0, 8.0, 12.0, 30.0, 34.0, 38.0), (4, 3)),
            ((0.0, 5.0, 10.0, 20.0, 30.0, 40.0), (2, 4)),
            ((0.0, 4.0, 8.0, 20.0, 24.0, 28.0, 40.0, 44.0, 48.0), (3, 3, 3)),
        ],
    )
    def test_a_gap_cuts_the_stack_and_is_named(self, tmp_path, places, parts):
        write(tmp_path, places_mm=places, origin_mm=(0.0, 0.0, 0.0))
        images = read_series(the_series(tmp_path))
        assert tuple(image.shape[0] for image in images) == parts
        assert [image.source.case_id for image in images] == [f"series-1_part{k + 1}" for k in range(len(parts))]
        found = np.concatenate([image.slice_positions_mm for image in images])
        assert found == pytest.approx(sorted(places))
        assert "not evenly spaced" in notes(tmp_path)

    def test_the_note_on_a_gap_names_positions_and_distances(self, tmp_path):
        write(tmp_path, places_mm=(0.0, 4.0, 8.0, 24.0, 28.0), origin_mm=(0.0, 0.0, 0.0))
        assert "from 8 mm to 24 mm it is 16 mm, where slices beside it are 4 mm apart" in notes(tmp_path)

    @pytest.mark.parametrize(("shift", "word"), [(0.02, ""), (0.2, "taken as even"), (0.9, "separate images")])
    def test_two_tolerances_on_even_spacing(self, tmp_path, shift, word):
        write(tmp_path, places_mm=(0.0, 4.0 + shift, 8.0, 12.0))
        assert word in notes(tmp_path)
        assert bool(notes(tmp_path)) is bool(word)
        assert (len(read_series(the_series(tmp_path))) == 1) is (shift < 0.4)

    def test_a_sheared_stack_is_one_image_with_the_sheared_affine(self, tmp_path):
        write(tmp_path, shear=0.25)
        image = the_image(tmp_path)
        assert image.affine[:3, 0] == pytest.approx((0.0, 1.0, 4.0))
        assert np.diff(image.slice_positions_mm) == pytest.approx(4.0)
        assert image.pixel_mm2 == pytest.approx(14.0)
        assert "sheared by 14.0°" in notes(tmp_path)

    def test_copies_are_dropped_with_a_note(self, tmp_path):
        files = write(tmp_path)
        (tmp_path / "copy.dcm").write_bytes(files[1].read_bytes())
        assert the_image(tmp_path).shape[0] == 4
        assert "1 slice is there twice" in notes(tmp_path)
        assert "copy.dcm" in notes(tmp_path)

    def test_one_instance_uid_on_different_slices_loses_none(self, tmp_path):
        write(tmp_path, lambda dataset, _: setattr(dataset, "SOPInstanceUID", "1.2.3"))
        assert the_image(tmp_path).shape[0] == 4

    def test_slices_that_nothing_tells_apart_are_all_kept(self, tmp_path):
        def strip(dataset, _):
            dataset.SOPInstanceUID = "1.2.3"
            del dataset.ImagePositionPatient, dataset.InstanceNumber

        write(tmp_path, strip)
        assert the_image(tmp_path).shape[0] == 4

    @pytest.mark.parametrize(
        ("keyword", "value"),
        [("PixelSpacing", [3.5, 3.9]), ("ImageOrientationPatient", [0, 1, 0, 0, 0, -1]), ("Rows", 12)],
    )
    def test_one_series_with_two_planes_is_two_series(self, tmp_path, keyword, value):
        def change(dataset, number):
            if number > 1:
                setattr(dataset, keyword, value)
                dataset.PixelData = dataset.PixelData[: dataset.Rows * dataset.Columns * 2]

        write(tmp_path, change)
        series = find_series(tmp_path).series
        assert [len(s.slices) for s in series] == [2, 2]
        assert all("One of 2 series that share this number" in " ".join(s.notes) for s in series)
        case_ids = [image.source.case_id for s in series for image in read_series(s)]
        assert len(set(case_ids)) == len(case_ids)

    def test_rounded_orientations_are_one_plane(self, tmp_path):
        def change(dataset, number):
            dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 1e-6 * number]

        write(tmp_path, change)
        assert the_image(tmp_path).shape[0] == 4

    def test_an_orientation_that_is_too_long_does_not_enlarge_areas(self, tmp_path):
        write(
            tmp_path,
            lambda dataset, _: setattr(dataset, "ImageOrientationPatient", [1.005, 0, 0, 0, 1.005, 0]),
        )
        assert the_image(tmp_path).pixel_mm2 == pytest.approx(14.0)
        assert "brought to length 1" in notes(tmp_path)

    @pytest.mark.parametrize("value", [[0, 0, 0, 0, 0, 0], [1, 0, 0, 1, 0, 0], [2, 0, 0, 0, 2, 0]])
    def test_an_impossible_orientation_is_not_used(self, tmp_path, value):
        write(tmp_path, lambda dataset, _: setattr(dataset, "ImageOrientationPatient", value))
        assert the_image(tmp_path).pixel_mm2 == pytest.approx(14.0)
        assert "no pair of axes" in notes(tmp_path)
        assert "no slice position" in notes(tmp_path)


class TestSpacing:
    def test_rows_come_first_then_columns(self, tmp_path):
        write(tmp_path)
        image = the_image(tmp_path)
        assert image.spacing_mm == pytest.approx((4.0, 3.5, 4.0))
        assert image.affine[:3, 1] == pytest.approx((0, 3.5, 0)), "the next row lies 3.5 mm to the back"
        assert (image.source.spacing_source, image.source.slice_spacing_source) == ("header", "header")

    def test_none_is_none_and_never_one(self, tmp_path):
        write(tmp_path, lambda dataset, _: delattr(dataset, "PixelSpacing"))
        image = the_image(tmp_path)
        assert image.affine is None
        assert image.source.spacing_source == "none"
        assert "no PixelSpacing: without a typed field of view" in notes(tmp_path)
        assert names(image) == ["1.dcm", "2.dcm", "3.dcm", "4.dcm"]
        with pytest.raises(GeometryError, match="no pixel spacing"):
            _ = image.pixel_mm2

    @pytest.mark.parametrize("value", ["0\\1", "-1\\-1", "nan\\1", "1", "abc\\1"])
    def test_an_impossible_spacing_counts_as_unknown(self, tmp_path, value):
        def change(dataset, _):
            dataset["PixelSpacing"] = pydicom.DataElement("PixelSpacing", "LO", value.split("\\"))

        for path in write(tmp_path, change):
            path.write_bytes(path.read_bytes().replace(b"\x28\0\x30\0LO", b"\x28\0\x30\0DS"))
        assert the_image(tmp_path).affine is None
        assert "which cannot be; it counts as unknown" in notes(tmp_path)

    @pytest.mark.parametrize("keyword", ["ImagerPixelSpacing", "NominalScannedPixelSpacing"])
    def test_a_detector_s_spacing_alone_is_refused_with_the_reason(self, tmp_path, keyword):
        def change(dataset, _):
            setattr(dataset, keyword, dataset.PixelSpacing)
            del dataset.PixelSpacing

        write(tmp_path, change)
        assert the_image(tmp_path).affine is None
        assert keyword in notes(tmp_path)
        assert "magnified" in notes(tmp_path)

    def test_a_typed_spacing_takes_the_header_s_place(self, tmp_path):
        write(tmp_path)
        image = the_image(tmp_path, pixel_spacing_mm=(0.5, 0.25))
        assert image.spacing_mm == pytest.approx((4.0, 0.5, 0.25))
        assert image.source.spacing_source == "typed"
        (single,) = read_dicom_file(tmp_path / "1.dcm", pixel_spacing_mm=(0.5, 0.25))
        assert single.pixel_mm2 == pytest.approx(0.125)

    @pytest.mark.parametrize("typed", [(0.0, 1.0), (1.0, -1.0), (float("nan"), 1.0), (1.0,)])
    def test_an_impossible_typed_spacing_is_refused(self, tmp_path, typed):
        write(tmp_path)
        with pytest.raises(GeometryError, match="two positive numbers in mm: between rows"):
            the_image(tmp_path, pixel_spacing_mm=typed)

    def test_without_positions_slices_are_axial_and_in_instance_order(self, tmp_path):
        def change(dataset, number):
            del dataset.ImagePositionPatient
            dataset.InstanceNumber = 10 - number

        write(tmp_path, change)
        image = the_image(tmp_path)
        assert names(image) == ["4.dcm", "3.dcm", "2.dcm", "1.dcm"]
        assert image.spacing_mm == pytest.approx((3.0, 3.5, 4.0)), "SliceThickness is 3"
        assert "3 mm apart as the header says" in notes(tmp_path)
        assert "taken as axial" in notes(tmp_path)

    @pytest.mark.parametrize(
        ("between", "thickness", "expected", "source"),
        [
            (5.0, 3.0, 5.0, "header"),
            (None, 3.0, 3.0, "header"),
            (0.0, 3.0, 3.0, "header"),
            (None, None, 1.0, "none"),
        ],
    )
    def test_a_single_slice_s_step(self, tmp_path, between, thickness, expected, source):
        def change(dataset, _):
            dataset.SpacingBetweenSlices, dataset.SliceThickness = between, thickness

        (image,) = read_dicom_file(write(tmp_path, change, orientation=SAGITTAL)[0])
        assert image.spacing_mm == pytest.approx((expected, 3.5, 4.0))
        assert image.affine[:3, 0] == pytest.approx((expected, 0, 0)), "along the normal, towards the left"
        assert image.source.slice_spacing_source == source


class TestPixels:
    def test_the_stored_type_is_kept_without_rescaling(self, tmp_path):
        write(tmp_path / "u")
        write(tmp_path / "s", signed=True, intercept=150.0)
        assert the_image(tmp_path / "u").voxels.dtype == np.uint16
        signed = the_image(tmp_path / "s").voxels
        assert signed.dtype == np.float32
        assert signed.min() == 0

    def test_slope_and_intercept_are_applied(self, tmp_path):
        write(tmp_path, slope=0.5, intercept=-1000.0)
        stored = pydicom.dcmread(tmp_path / "1.dcm").pixel_array
        np.testing.assert_array_equal(the_image(tmp_path).voxels[0], stored * 0.5 - 1000)

    def test_a_slope_of_each_slice_is_its_own(self, tmp_path):
        def change(dataset, number):
            dataset.RescaleSlope, dataset.RescaleIntercept = number + 1, 0

        write(tmp_path, change)
        maxima = the_image(tmp_path).voxels.max(axis=(1, 2))
        assert maxima.tolist() == [300, 600, 900, 1200]
        assert the_image(tmp_path).voxels.dtype == np.float32

    def test_a_slope_of_zero_is_not_used_and_named(self, tmp_path):
        write(tmp_path, lambda dataset, _: dataset.update({"RescaleSlope": 0, "RescaleIntercept": 0}))
        assert the_image(tmp_path).voxels.max() == 300
        assert "RescaleSlope in the header is 0" in notes(tmp_path)

    @pytest.mark.parametrize("signed", [False, True])
    def test_monochrome1_is_mirrored_within_its_bits(self, tmp_path, signed):
        write(tmp_path / "one", inverted=True, signed=signed, bits_stored=12)
        write(tmp_path / "two", signed=signed, bits_stored=12)
        np.testing.assert_array_equal(the_image(tmp_path / "one").voxels, the_image(tmp_path / "two").voxels)

    def test_bits_beyond_bits_stored_are_ignored(self, tmp_path):
        expected = read_dicom_file(write(tmp_path / "clean", bits_stored=12)[0])[0].voxels

        def overlay(dataset, _):
            dataset.PixelData = (np.frombuffer(dataset.PixelData, "<u2") | 0xA000).tobytes()

        found = read_dicom_file(write(tmp_path / "overlay", overlay, bits_stored=12)[0])[0].voxels
        np.testing.assert_array_equal(found, expected)

    def test_colours_become_luminance(self, tmp_path):
        def change(dataset, _):
            dataset.SamplesPerPixel, dataset.PlanarConfiguration = 3, 0
            dataset.PhotometricInterpretation = "RGB"
            dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
            rgb = np.full((dataset.Rows, dataset.Columns, 3), 77, dtype=np.uint8)
            rgb[0, :3] = np.eye(3) * 200
            dataset.PixelData = rgb.tobytes()

        write(tmp_path, change)
        voxels = the_image(tmp_path).voxels
        assert voxels.dtype == np.uint8
        assert voxels[0, 0, :4].tolist() == [60, 117, 23, 77], "0.299, 0.587, 0.114 of 200; grey stays grey"
        assert "luminance" in notes(tmp_path)

    @pytest.mark.parametrize("first", [0, 50, -10])
    def test_a_modality_table_is_applied(self, tmp_path, first):
        """Stored 0, 100, 200 and 300; entry k of the table is 1000 + 3 k, and its ends go on."""

        def change(dataset, _):
            item = Dataset()
            item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [256, first, 16])
            item.add_new("LUTData", "US", [1000 + 3 * entry for entry in range(256)])
            dataset.ModalityLUTSequence = [item]
            dataset.RescaleSlope, dataset.RescaleIntercept = 7, 7

        write(tmp_path / "plain")
        write(tmp_path / "table", change)
        stored = the_image(tmp_path / "plain").voxels.astype(int)
        assert stored.max() == 300
        voxels = the_image(tmp_path / "table").voxels
        np.testing.assert_array_equal(voxels, 1000 + 3 * np.clip(stored - first, 0, 255))
        assert voxels.dtype == np.uint16
        assert "modality look-up table" in notes(tmp_path / "table")

    def test_a_damaged_modality_table_is_refused_in_words(self, tmp_path):
        def change(dataset, _):
            item = Dataset()
            item.add_new("LUTDescriptor", "US", [256, 0, 13])
            item.add_new("LUTData", "US", [1, 2])
            dataset.ModalityLUTSequence = [item]

        files = write(tmp_path, change)
        with pytest.raises(ReadError, match=r"1\.dcm.*look-up table cannot be applied.*Export"):
            read_dicom_file(files[0])

    def test_a_palette_s_colours_become_luminance_and_a_damaged_palette_a_refusal(self, tmp_path):
        def change(dataset, number):
            dataset.PhotometricInterpretation = "PALETTE COLOR"
            for colour, top in (("Red", 200), ("Green", 100), ("Blue", 0)):
                table = np.linspace(0, top, 301).astype("<u2")
                dataset.add_new(f"{colour}PaletteColorLookupTableDescriptor", "US", [301, 0, 16])
                dataset.add_new(f"{colour}PaletteColorLookupTableData", "OW", table.tobytes())
            if number:
                del dataset.RedPaletteColorLookupTableData

        files = write(tmp_path, change)
        assert read_dicom_file(files[0])[0].voxels.max() == round(0.299 * 200 + 0.587 * 100)
        with pytest.raises(ReadError, match=r"2\.dcm.*palette.*cannot be applied.*Export"):
            read_dicom_file(files[1])

    def test_a_colour_space_that_is_not_known_is_refused(self, tmp_path):
        files = write(tmp_path, lambda dataset, _: setattr(dataset, "PhotometricInterpretation", "CMYK"))
        with pytest.raises(ReadError, match=r"1\.dcm.*CMYK|1\.dcm.*Photometric"):
            read_dicom_file(files[0])

    def test_frames_of_an_enhanced_file_have_their_own_place_and_time(self, tmp_path):
        write(tmp_path, multiframe=True, moments=2, places_mm=(8.0, 0.0, 4.0), slope=2.0)
        images = read_series(the_series(tmp_path))
        assert [image.source.case_id for image in images] == ["1_t01", "1_t02"]
        assert [source.frame for source in images[0].source.slices] == [1, 2, 0]
        assert [source.frame for source in images[1].source.slices] == [4, 5, 3]
        assert images[1].spacing_mm == pytest.approx((4.0, 3.5, 4.0))
        assert images[0].voxels.dtype == np.float32
        assert images[0].voxels.max() == 300

    def test_a_plain_multi_frame_file_keeps_its_order_and_says_so(self, tmp_path):
        def plain(dataset, _):
            del dataset.PerFrameFunctionalGroupsSequence
            dataset.PixelSpacing = [2, 2]

        write(tmp_path, plain, multiframe=True)
        image = the_image(tmp_path)
        assert [source.frame for source in image.source.slices] == [0, 1, 2, 3]
        assert "frames carry no position" in notes(tmp_path)

    @pytest.mark.parametrize("syntax", ["explicit", "deflated", "rle", "jpeg 2000", "big endian"])
    def test_a_truncated_file_is_a_clear_error_and_never_an_image(self, tmp_path, syntax):
        for share in (0.02, 0.3, 0.7, 0.97):
            path = write(tmp_path / str(share), syntax=syntax)[0]
            data = path.read_bytes()
            path.write_bytes(data[: int(len(data) * share)])
            with pytest.raises(ReadError, match=r"1\.dcm"):
                read_dicom_file(path)

    @pytest.mark.parametrize("syntax", ["explicit", "implicit", "big endian"])
    def test_a_truncated_slice_is_a_gap_that_is_known_before_anything_is_decoded(self, tmp_path, syntax):
        path = write(tmp_path, syntax=syntax)[2]
        path.write_bytes(path.read_bytes()[:-100])
        found = find_series(tmp_path)
        (series,) = found.series
        words = "its pixels are cut off (2780 of 2880 bytes)"
        assert f"3.dcm was left out: {words}" in " ".join(series.notes)
        assert "Slices are not evenly spaced" in " ".join(series.notes)
        assert [(item.path, item.reason.startswith(words)) for item in found.skipped] == [(path, True)]
        images = read_series(series)
        assert [names(image) for image in images] == [["1.dcm", "2.dcm"], ["4.dcm"]]
        assert images[0].source.notes == ()
        with pytest.raises(ReadError, match=r"3\.dcm: its pixels are cut off.*truncated.*export"):
            read_dicom_file(path)

    def test_a_series_of_which_no_file_can_be_read_is_refused(self, tmp_path):
        for path in write(tmp_path):
            path.write_bytes(path.read_bytes()[:-100])
        found = find_series(tmp_path)
        (series,) = found.series
        assert "cut off" in series.refusal
        assert len(series.slices) == 4
        assert found.skipped == ()
        with pytest.raises(ReadError, match=r"1\.dcm.*cut off"):
            read_series(series)

    @pytest.mark.parametrize("number", [0, 1, 3])
    def test_damaged_compressed_pixels_leave_a_gap_that_the_image_tells_of(self, tmp_path, number):
        def damage(dataset, at):
            if at == number:
                dataset.PixelData = dataset.PixelData[:200] + bytes(len(dataset.PixelData) - 200)

        write(tmp_path, damage, syntax="rle")
        series = the_series(tmp_path)
        assert series.notes == ()
        images = read_series(series)
        kept = [f"{k + 1}.dcm" for k in range(4) if k != number]
        assert [name for image in images for name in names(image)] == kept
        assert len(images) == (2 if number == 1 else 1)
        for image in images:
            (lost, *more) = image.source.notes
            assert lost.startswith(f"{number + 1}.dcm was left out: its pixels (RLE Lossless) cannot be decoded")
            assert len(more) == (number == 1)

    def test_a_frame_may_lack_the_byte_that_makes_its_length_even(self, tmp_path):
        def odd(dataset, _):
            dataset.Rows = dataset.Columns = 3
            dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
            dataset.PixelData = bytes(range(10))

        path = write(tmp_path, odd)[0]
        path.write_bytes(path.read_bytes()[:-1])
        assert read_dicom_file(path)[0].voxels.ravel().tolist() == list(range(9))

    def test_a_missing_decoder_is_named_with_what_to_install(self, tmp_path, monkeypatch):
        class Missing:
            is_available = False
            missing_dependencies = ("gdcm - requires gdcm>=3.0.10",)

        path = write(tmp_path, syntax="jpeg 2000")[0]
        monkeypatch.setattr(dicom_pixels, "get_decoder", lambda syntax: Missing())
        with pytest.raises(ReadError, match=r"1\.dcm.*JPEG 2000.*not installed.*gdcm.*pip install"):
            read_dicom_file(path)

    def test_a_mosaic_without_its_private_tags_is_refused_with_the_reason(self, tmp_path):
        write(tmp_path, lambda dataset, _: setattr(dataset, "ImageType", ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]))
        series = the_series(tmp_path)
        assert "mosaic" in series.refusal
        with pytest.raises(ReadError, match=r"1\.dcm.*Siemens mosaic.*private tags are missing.*Export"):
            read_series(series)

    def test_a_file_that_changed_after_it_was_found_is_an_error(self, tmp_path):
        write(tmp_path)
        series = the_series(tmp_path)
        write(tmp_path, rows=12)
        with pytest.raises(ReadError, match="40 × 36 was announced"):
            read_series(series)
        (tmp_path / "1.dcm").unlink()
        with pytest.raises(ReadError, match=r"1\.dcm"):
            read_series(series)

    def test_a_missing_file_is_an_error(self, tmp_path):
        with pytest.raises(ReadError, match=r"none\.dcm does not exist"):
            read_dicom_file(tmp_path / "none.dcm")

    def test_damaged_bytes_never_raise_anything_but_our_errors(self, tmp_path):
        syntaxes = ("explicit", "rle", "implicit")
        for seed in range(30):
            path = write(tmp_path / str(seed), syntax=syntaxes[seed % 3], multiframe=seed % 2 == 1)[0]
            data = bytearray(path.read_bytes())
            generator = np.random.default_rng(seed)
            for place in generator.integers(132, min(len(data), 1500), size=20):
                data[place] = generator.integers(256)
            path.write_bytes(bytes(data))
            images, refusal = tried(read_dicom_file, path)
            assert images or "1.dcm" in refusal


ZOO_FOLDERS = (
    "classic-mr-t1-axial",
    "colour-palette-overlay",
    "enhanced-multiframe/hyperfine",
    "enhanced-multiframe/philips-fieldmap",
    "enhanced-multiframe/philips-pcasl",
    "enhanced-multiframe/pydicom",
    "enhanced-multiframe/siemens-xa10",
    "enhanced-multiframe/siemens-xa30-epi",
    "mixed-series-one-folder",
    "monochrome1-or-no-spacing",
    "no-extension",
    "odd-geometry/gantry-tilt",
    "odd-geometry/mixed-orientation",
    "odd-geometry/non-isotropic",
    "odd-geometry/two-slices",
    "odd-geometry/uneven-increment",
    "one-series-per-syntax/compressed_jpeg",
    "patient-position/HFDL",
    "time-series-single-folder",
)


class TestRealFiles:
    @pytest.fixture
    def zoo(self, shared_data):
        return shared_data / "dicom-zoo"

    def test_every_folder_is_read_or_refused_in_words(self, zoo):
        folders = {path.parent for path in zoo.rglob("*") if path.is_file()}
        read = 0
        for folder in sorted(folders):
            found, refusal = tried(find_series, folder)
            assert found or "no DICOM image" in refusal
            for series in found.series if found else ():
                images, refusal = tried(read_series, series)
                assert images or str(folder) in refusal
                read += len(images or ())
        assert read > 80

    def test_every_file_is_read_or_refused_in_words(self, zoo):
        read = 0
        for path in sorted(path for path in zoo.rglob("*") if path.is_file()):
            images, refusal = tried(read_dicom_file, path)
            read += bool(images)
            assert images or str(path) in refusal
            assert images or not is_dicom(path) or "pixels" in refusal or "mosaic" in refusal
        assert read > 200

    @pytest.mark.parametrize("name", ZOO_FOLDERS)
    def test_every_pixel_lies_where_its_own_header_says(self, zoo, name):
        """The last pixel of each slice, by PS3.3 C.7.6.2.1.1 from the slice's own header."""
        checked = 0
        for series in find_series(zoo / name).series:
            for image in read_series(series):
                if image.affine is None:
                    continue
                for index, source in enumerate(image.source.slices):
                    place = _place_of_last_pixel(source)
                    if place is None:
                        continue
                    rows, columns = image.shape[1:]
                    found = (image.affine @ [index, rows - 1, columns - 1, 1])[:3]
                    assert found == pytest.approx(place, abs=0.01)
                    checked += 1
        assert checked or name in ("monochrome1-or-no-spacing", "enhanced-multiframe/pydicom")

    def test_nine_transfer_syntaxes_decode_to_the_same_pixels(self, zoo):
        frames = [read_frames(path) for path in sorted((zoo / "same-slice-nine-syntaxes").glob("*.dcm"))]
        assert len(frames) == 9
        for other in frames[1:]:
            np.testing.assert_array_equal(other, frames[0])
            assert other.dtype == np.uint16

    def test_four_compressed_series_are_equal(self, zoo):
        kinds = ("rle", "jpeg", "jpegls", "j2k")
        folders = [zoo / "one-series-per-syntax" / f"compressed_{kind}" for kind in kinds]
        images = [the_image(folder) for folder in folders]
        assert all(image.same_grid(images[0]) for image in images)
        for image in images[1:]:
            np.testing.assert_array_equal(image.voxels, images[0].voxels)

    def test_jpeg_processes_without_a_decoder_are_named(self, zoo):
        for number, name in ((53, "Process 6 and 8"), (55, "Process 10 and 12")):
            (path,) = (zoo / "one-ct-slice-14-syntaxes").glob(f"*4.{number}.dcm")
            with pytest.raises(ReadError, match=f"{name}.*no decoder.*Export"):
                read_dicom_file(path)

    def test_gantry_tilt_keeps_its_shear(self, zoo):
        image = the_image(zoo / "odd-geometry/gantry-tilt")
        assert image.affine[:3, 0] == pytest.approx((0, 0, 5.0), abs=1e-3)
        assert np.diff(image.slice_positions_mm) == pytest.approx(5 * np.cos(np.radians(14)), abs=1e-3)

    def test_an_uneven_increment_is_split_at_the_jump(self, zoo):
        images = read_series(the_series(zoo / "odd-geometry/uneven-increment"))
        assert [image.shape[0] for image in images] == [3, 1]

    def test_an_incomplete_last_volume_is_an_image_of_its_own(self, zoo):
        images = read_series(the_series(zoo / "time-series-single-folder"))
        assert [image.shape[0] for image in images] == [15, 15, 15, 15, 9]
        assert all(image.source.slices for image in images)

    def test_a_truncated_and_a_padded_file(self, zoo):
        with pytest.raises(ReadError, match=r"MR_truncated\.dcm.*8130 of 8192 bytes.*truncated"):
            read_dicom_file(zoo / "broken-or-odd-headers/MR_truncated.dcm")
        (padded,) = read_dicom_file(zoo / "broken-or-odd-headers/MR_small_padded.dcm")
        (plain,) = read_dicom_file(zoo / "broken-or-odd-headers/MR_small.dcm")
        (big,) = read_dicom_file(zoo / "broken-or-odd-headers/MR_small_bigendian.dcm")
        np.testing.assert_array_equal(padded.voxels, plain.voxels)
        np.testing.assert_array_equal(big.voxels, plain.voxels)
        assert big.voxels.dtype == np.dtype("int16"), "in this machine's byte order"

    def test_a_dicomdir_is_an_index_and_no_image(self, zoo):
        found = find_series(zoo / "dicomdir")
        indexes = [item for item in found.skipped if "DICOMDIR" in item.reason]
        assert len(indexes) >= 7
        assert not is_dicom(indexes[0].path)

    def test_six_series_in_one_folder_are_told_apart(self, zoo):
        found = find_series(zoo / "mixed-series-one-folder")
        assert sorted(len(series.slices) for series in found.series) == [4, 10, 10, 10, 15, 15]
        assert [item.path.name for item in found.skipped] == ["notes.txt"]
        assert not any(series.refusal for series in found.series)

    def test_a_cine_of_two_phases_is_two_images(self, shared_data):
        folder = shared_data / "cardiac-sunnybrook-dicom" / "dicoms" / "SCD0000301"
        series = the_series(folder)
        images = read_series(series)
        assert series.subject_id == "SCD0000301"
        for image, triggered in zip(images, (286, 886), strict=True):
            assert image.shape == (10, 256, 256)
            assert image.spacing_mm == pytest.approx((8.0, 1.2891, 1.2891), abs=1e-3)
            assert np.all(np.diff(image.slice_positions_mm) > 0)
            headers = [pydicom.dcmread(source.path) for source in image.source.slices]
            assert {int(header.TriggerTime) for header in headers} == {triggered}
            assert image.voxels.dtype == np.int16
        assert names(images[0])[0] == "187.dcm", "the normal points to the back, the series ran to the front"

    def test_several_patients_in_one_tree_stay_apart(self, shared_data):
        found = find_series(shared_data / "cardiac-sunnybrook-dicom" / "dicoms")
        assert [series.subject_id for series in found.series] == [f"SCD0000{k}01" for k in range(1, 6)]
        assert len({series.case_id for series in found.series}) == 5


@functools.lru_cache(maxsize=1)
def _header(path):
    return pydicom.dcmread(path, stop_before_pixels=True)


def _place_of_last_pixel(source):
    header = _header(source.path)
    item = Dataset()
    groups = list(header.get("SharedFunctionalGroupsSequence", []))[:1]
    groups += list(header.get("PerFrameFunctionalGroupsSequence", []))[source.frame : source.frame + 1]
    for group in groups:
        for name in ("PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence"):
            item.update(group[name][0] if name in group else {})
    item = item if groups else header
    if "ImagePositionPatient" not in item or "MOSAIC" in header.ImageType:
        return None
    row, column = np.reshape(np.array(item.ImageOrientationPatient, dtype=float), (2, 3))
    down, across = map(float, item.PixelSpacing)
    position = np.array(item.ImagePositionPatient, dtype=float)
    return position + row * across * (header.Columns - 1) + column * down * (header.Rows - 1)


def test_how_an_image_was_taken_is_read_where_the_header_says_it(tmp_path):
    def change(dataset, _):
        dataset.ScanningSequence = ["SE", "IR"]
        dataset.RepetitionTime, dataset.EchoTime = "2500", "80.5"
        dataset.ContrastBolusAgent = "NONE"

    write(tmp_path / "said", change)
    assert the_image(tmp_path / "said").source.acquisition == Acquisition("IR\\SE", 2500.0, 80.5, False)
    write(tmp_path / "silent")
    assert the_image(tmp_path / "silent").source.acquisition == Acquisition()
