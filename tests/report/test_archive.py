"""Results as DICOM objects: what autoseg and other programs read in them is what was measured."""

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from structure_sets import the_image

from autoseg.errors import DataError
from autoseg.files.dicom import rtstruct
from autoseg.files.dicom.records import quiet
from autoseg.files.dicom.seg import labels_on, read_segmentation
from autoseg.files.dicom.series import find_series, read_series
from autoseg.files.dicom.writing.parts import Algorithm
from autoseg.files.dicom.writing.report import read_report_areas
from autoseg.image.image import LabelMap
from autoseg.image.structures import Structure
from autoseg.measurement.areas import measure_areas
from autoseg.report.archive import write_dicom
from autoseg.report.figures.pdf import to_pictures
from autoseg.report.pages.document import Document, Heading, Words

ALGORITHM = Algorithm("autoseg: made up", "0.1", ("model made up: digest 0123456789abcdef",))
STRUCTURES = (
    Structure(4, "kidney left", (10, 200, 30), "left"),
    Structure(
        7, "Ödem", includes=(9,), category="49755003 Morphologically abnormal structure", type="79654002 Edema"
    ),
    Structure(9, "core"),
)


def labelled(image):
    voxels = np.zeros(image.shape, dtype=np.uint8)
    voxels[1, 3:12, 3:10] = 4
    voxels[1, 5:8, 5:8] = 0  # a hole
    voxels[-1, 12:18, 12:20] = 7
    voxels[-1, 14:16, 14:16] = 9
    return LabelMap(voxels, image.affine, STRUCTURES, source=image.source)


PAGES = Document("Areas of a patient", "", (Heading("By patient"), Words("One page. " * 900)), "autoseg")


def archived(image, folder, **how):
    label_map = labelled(image)
    rows = [
        replace(row, area_low_mm2=0.9 * row.area_mm2, area_high_mm2=1.2 * row.area_mm2, interval_level=0.9)
        for row in measure_areas(label_map, image=image)
    ]
    done = write_dicom(folder, [(image, label_map)], rows, ALGORITHM, **how)
    return done, label_map, rows


def of_kind(done, kind):
    (name,) = (name for name in done.names if name.endswith(f"_{kind}.dcm"))
    return done.folder / name


def test_masks_areas_intervals_and_references_are_those_of_the_run(tmp_path):
    image = the_image(tmp_path / "scan")
    done, label_map, rows = archived(image, tmp_path / "dicom")
    segmentation = read_segmentation(of_kind(done, "SEG"))
    masks, _ = labels_on(segmentation, image)
    label_of = {one.number: label for one, label in zip(segmentation.segments, (4, 7, 9), strict=True)}
    for number, label in label_of.items():
        np.testing.assert_array_equal(masks[number], label_map.mask(label))
    assert [(one.name, one.side) for one in segmentation.segments] == [
        ("kidney left", "left"), ("Ödem", ""), ("core", "")
    ]  # fmt: skip
    np.testing.assert_allclose(segmentation.segments[0].colour, (10, 200, 30), atol=2)
    # Each area of the report lies on the frame of its segment and slice.
    uids = {one.sop_uid: index for index, one in enumerate(image.source.slices)}
    told = {}
    for _, frame, area in read_report_areas(of_kind(done, "SR")):
        shown = segmentation.frames[frame - 1]
        told[label_of[shown.segment], uids[shown.sources[0][0]]] = area
    assert told == pytest.approx({(row.label, row.slice_index): row.area_mm2 for row in rows if row.pixel_count})
    outlines, _ = rtstruct.labels_on(rtstruct.read_structure_set(of_kind(done, "RTSTRUCT")), image)
    for number, label in label_of.items():
        np.testing.assert_array_equal(outlines[number], label_map.mask(label))
    report = pydicom.dcmread(of_kind(done, "SR"))
    text = str(report)
    for words in (
        "Edema",
        "+, range of upper measurement uncertainty",
        "Kidney",
        "Left",
        "Volume",
        "0.1",
    ):
        assert words in text
    assert ALGORITHM.parameters[0].encode() in of_kind(done, "SR").read_bytes()
    assert report.PatientID == image.source.subject_id


def test_a_label_map_holds_one_structure_a_pixel_and_others_become_binary_with_a_word(tmp_path):
    image = the_image(tmp_path / "scan")
    done, *_ = archived(image, tmp_path / "dicom", kind="labelmap")
    assert read_segmentation(of_kind(done, "SEG")).kind == "BINARY"
    assert "inside others" in " ".join(done.notes)
    flat = LabelMap((labelled(image).voxels == 4) * np.uint8(4), image.affine, STRUCTURES[:1], source=image.source)
    plain = write_dicom(
        tmp_path / "flat", [(image, flat)], measure_areas(flat, image=image), ALGORITHM, kind="labelmap"
    )
    found = read_segmentation(of_kind(plain, "SEG"))
    assert (found.kind, [one.number for one in found.segments]) == ("LABELMAP", [4])


def test_terms_are_those_of_the_table_and_else_of_the_name(tmp_path):
    image = the_image(tmp_path / "scan")
    done, *_ = archived(image, tmp_path / "dicom")
    found = {}
    for one in pydicom.dcmread(of_kind(done, "SEG")).SegmentSequence:
        (category,), (kind,) = one.SegmentedPropertyCategoryCodeSequence, one.SegmentedPropertyTypeCodeSequence
        found[one.SegmentLabel] = category.CodeValue, kind.CodeValue, kind.CodingSchemeDesignator
    assert found == {
        "kidney left": ("91723000", "64033007", "SCT"),
        "Ödem": ("49755003", "79654002", "SCT"),
        "core": ("91723000", "91723000", "SCT"),
    }


def test_who_corrected_a_structure_is_an_observer(tmp_path):
    image = the_image(tmp_path / "scan")
    plain, *_ = archived(image, tmp_path / "plain")
    assert "Person Observer" not in str(pydicom.dcmread(of_kind(plain, "SR")))
    done, *_ = archived(image, tmp_path / "dicom", corrected_by={(image.source.case_id, 7): "A. Bauer"})
    content = pydicom.dcmread(of_kind(done, "SR")).ContentSequence
    kinds = [one.ConceptCodeSequence[0].CodeValue for one in content if concept(one) == "121005"]
    assert kinds == ["121006", "121007"]  # a person, and the device
    assert [str(one.PersonName) for one in content if concept(one) == "121008"] == ["A. Bauer^"]
    assert of_kind(done, "SR").read_bytes().count(b"then corrected by A. Bauer") == 2  # a slice, and the whole
    segments = pydicom.dcmread(of_kind(done, "SEG")).SegmentSequence
    assert {one.SegmentLabel: one.SegmentAlgorithmType for one in segments} == {
        "kidney left": "AUTOMATIC",
        "Ödem": "SEMIAUTOMATIC",
        "core": "AUTOMATIC",
    }
    outlines = pydicom.dcmread(of_kind(done, "RTSTRUCT"))
    assert [one.ROIGenerationAlgorithm for one in outlines.StructureSetROISequence] == [
        *("AUTOMATIC", "SEMIAUTOMATIC", "AUTOMATIC")
    ]
    assert [str(one.ROIInterpreter) for one in outlines.RTROIObservationsSequence] == ["", "A. Bauer^", ""]


def concept(item):
    return item.ConceptNameCodeSequence[0].CodeValue


def test_the_pages_of_the_report_are_pictures_that_refer_to_the_images(tmp_path):
    image = dirty(tmp_path / "scan")
    done, *_ = archived(image, tmp_path / "dicom", report=PAGES)
    names = [name for name in done.names if name.endswith("_SC.dcm")]
    assert names == [f"report_page{number}_SC.dcm" for number in range(1, len(names) + 1)]
    assert len(names) > 1
    uids = [one.sop_uid for one in image.source.slices]
    with quiet():
        pages = [pydicom.dcmread(done.folder / name) for name in names]
        for page, meant in zip(pages, to_pictures(PAGES), strict=True):
            np.testing.assert_array_equal(page.pixel_array, meant)
            assert meant.shape == (1753, 1240, 3)
            assert 0.5 < (meant == 255).mean() < 0.99  # paper, with words on it
            assert [one.ReferencedSOPInstanceUID for one in page.SourceImageSequence] == uids
            of_images, of_labels = page.ReferencedSeriesSequence
            assert of_images.SeriesInstanceUID == "1.2.04"
            (labels,) = page.ReferencedImageSequence
            segmentation = pydicom.dcmread(of_kind(done, "SEG"))
            assert (labels.ReferencedSOPClassUID, labels.ReferencedSOPInstanceUID) == (
                *(segmentation.SOPClassUID, segmentation.SOPInstanceUID),
            )
            assert of_labels.SeriesInstanceUID == segmentation.SeriesInstanceUID
            assert (page.StudyInstanceUID, page.PatientID, page.BurnedInAnnotation) == (
                *("1.2.05", image.source.subject_id, "YES"),
            )
        assert len({page.SeriesInstanceUID for page in pages}) == 1
        assert [page.InstanceNumber for page in pages] == [*range(1, len(pages) + 1)]


def test_a_report_of_two_patients_is_no_picture_of_one(tmp_path):
    images = [the_image(tmp_path / "scan", "a"), the_image(tmp_path / "other", "b")]
    images[1] = replace(images[1], source=replace(images[1].source, case_id="b"))
    with quiet():
        for path in {one.path for one in images[1].source.slices}:
            dataset = pydicom.dcmread(path)
            dataset.PatientID = "another"
            dataset.save_as(path)
    results = [(image, labelled(image)) for image in images]
    rows = [row for image, label_map in results for row in measure_areas(label_map, image=image)]
    done = write_dicom(tmp_path / "dicom", results, rows, ALGORITHM, report=PAGES)
    assert not [name for name in done.names if name.endswith("_SC.dcm")]
    assert "several patients or studies" in " ".join(done.notes)


def dirty(folder):
    """Dates, a sex and UIDs that are none, as old scanners and careless programs write them."""
    image = the_image(folder)
    with quiet():
        for path in {one.path for one in image.source.slices}:
            dataset = pydicom.dcmread(path)
            dataset.StudyDate, dataset.PatientBirthDate, dataset.PatientSex = "20120000", "00000000", "male"
            dataset.SOPInstanceUID = f"1.2.03.{dataset.InstanceNumber}"
            dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
            dataset.SeriesInstanceUID, dataset.StudyInstanceUID = "1.2.04", "1.2.05"
            dataset.pop("FrameOfReferenceUID", None)
            dataset.save_as(path)
    (series,) = find_series(folder).series
    return read_series(series)[0]


def test_dirty_headers_are_repaired_in_words_and_references_stay_right(tmp_path):
    image = dirty(tmp_path / "scan")
    done, *_ = archived(image, tmp_path / "dicom")
    told = " ".join(done.notes)
    for word in ("StudyDate", "PatientBirthDate", "PatientSex", "SOPInstanceUID", "frame of reference"):
        assert word in told
    with quiet():
        for kind in ("SEG", "SR", "RTSTRUCT"):
            dataset = pydicom.dcmread(of_kind(done, kind))
            assert (dataset.StudyInstanceUID, dataset.StudyDate) == ("1.2.05", "")
            assert all(one.sop_uid in str(dataset) for one in image.source.slices)


def test_what_nothing_can_refer_to_is_left_out_in_words_and_no_folder_is_left(tmp_path):
    image = the_image(tmp_path / "scan")
    coded = tuple(replace(one, sop_uid="", origin=one) for one in image.source.slices)
    with pytest.raises(DataError, match="codes stand for patient IDs"):
        archived(replace(image, source=replace(image.source, slices=coded)), tmp_path / "dicom")
    assert not (tmp_path / "dicom").exists()


@pytest.mark.parametrize("kind", ["SEG", "SR", "RTSTRUCT", "SC"])
def test_other_programs_find_no_error(tmp_path, kind):
    if shutil.which("dciodvfy") is None or shutil.which("dsrdump") is None:
        pytest.skip("no dciodvfy or dsrdump here (Debian: apt-get install dicom3tools dcmtk)")
    image = the_image(tmp_path / "scan")
    by = {(image.source.case_id, 4): "AB"}
    done, *_ = archived(image, tmp_path / "dicom", corrected_by=by, report=replace(PAGES, blocks=()))
    path: Path = of_kind(done, kind)
    said = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, encoding="utf-8", check=False)
    assert [line for line in (said.stdout + said.stderr).splitlines() if line.startswith("Error")] == []
    if kind == "SR":
        read = subprocess.run(["dsrdump", str(path)], capture_output=True, text=True, encoding="utf-8", check=False)
        assert read.returncode == 0, read.stderr
        assert "Imaging Measurement Report" in read.stdout
