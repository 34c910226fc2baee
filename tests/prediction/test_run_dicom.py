"""A run as DICOM objects: of its labels as they are now, with who corrected them."""

import numpy as np
import pandas as pd
import pydicom
import pytest
from structure_sets import the_image

from autoseg.data.corrections.kit import write_kit
from autoseg.data.corrections.read import read_corrections
from autoseg.files.dicom.seg import labels_on, read_segmentation
from autoseg.files.dicom.writing.report import read_report_areas
from autoseg.files.nifti.volumes import read_nifti, write_nifti
from autoseg.image.image import LabelMap
from autoseg.image.structures import Structure
from autoseg.measurement.areas import measure_areas
from autoseg.prediction.run import Run
from autoseg.prediction.run_dicom import run_to_dicom
from autoseg.report.export import write_run

STRUCTURES = (Structure(1, "kidney left", side="left"), Structure(2, "liver"))
PIXEL = 1.5 * 1.25


@pytest.fixture
def run(tmp_path):
    image = the_image(tmp_path / "scan")
    voxels = np.zeros(image.shape, np.uint8)
    voxels[1, 3:12, 3:10] = 1
    voxels[2, 12:18, 12:20] = 2
    found = LabelMap(voxels, image.affine, STRUCTURES, source=image.source)
    rows = tuple(measure_areas(found, image=image))
    folder = write_run(tmp_path / "run", [(image, found)], model_name="made up", measurements=rows)
    return Run(folder, ((image, found),), rows, pd.DataFrame(), (), (), model="made up")


def areas(folder):
    (path,) = folder.glob("*_SR.dcm")
    return {name: area for name, _, area in read_report_areas(path)}


def test_corrected_labels_are_what_is_written_and_who_corrected_them_is_named(run):
    before = run_to_dicom(run)
    assert areas(before.folder) == pytest.approx({"kidney left, slice 2": 63 * PIXEL, "liver, slice 3": 48 * PIXEL})
    kit = write_kit(run.folder / "to_correct", list(run.results), model_name="made up")
    path = kit.folder / kit.cases[0].labels_name
    voxels, affine = read_nifti(path)
    voxels = voxels.astype(np.uint8)
    voxels[1, 3:12, 10:12] = 1  # 18 pixels more
    write_nifti(path, LabelMap(voxels, affine, STRUCTURES))
    after = run_to_dicom(run, corrections=read_corrections(kit.folder, by="MK"))
    assert areas(after.folder) == pytest.approx({"kidney left, slice 2": 81 * PIXEL, "liver, slice 3": 48 * PIXEL})
    image, _ = run.results[0]  # and nothing of before is left
    (path,) = after.folder.glob("*_SEG.dcm")
    masks, _ = labels_on(read_segmentation(path), image)
    np.testing.assert_array_equal(masks[1], voxels == 1)
    segments = pydicom.dcmread(path).SegmentSequence
    assert [one.SegmentAlgorithmType for one in segments] == ["SEMIAUTOMATIC", "AUTOMATIC"]
    (path,) = after.folder.glob("*_SR.dcm")
    content = pydicom.dcmread(path).ContentSequence
    assert [str(one.PersonName) for one in content if "PersonName" in one] == ["MK^"]
    assert before.names == after.names
    assert any(name.endswith("_SC.dcm") for name in after.names)
