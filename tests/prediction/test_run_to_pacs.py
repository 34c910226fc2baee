"""A series out of a real Orthanc, segmented, and what was found back into it."""

import numpy as np
from structure_sets import the_image
from untrained import untrained_model

from autoseg.files.dicom.seg import labels_on, read_segmentation
from autoseg.files.pacs.asked import Wanted
from autoseg.files.pacs.transfer import get_series, plan_sending, search, send
from autoseg.prediction.run import segment_folder
from autoseg.prediction.run_dicom import run_to_dicom


def test_what_was_found_on_a_series_lies_beside_it_in_the_archive(archive, tmp_path):
    the_image(tmp_path / "scanner", "knee")
    archive.put(*(tmp_path / "scanner").iterdir())
    (series,) = search(archive.web, Wanted(patient_id="phantom"))
    (folder,) = get_series(archive.web, [series], tmp_path / "patient").folders
    run = segment_folder(untrained_model(), folder, output=tmp_path / "predictions")
    made = run_to_dicom(run)
    assert not send(plan_sending(archive.dimse, [made.folder])).of("failed", "not sent")

    found = {one.modality: one for one in search(archive.web, Wanted(study_uid=series.study_uid))}
    assert {"MR", "SEG", "SR", "RTSTRUCT"} <= set(found)
    (back,) = get_series(archive.dimse, [found["SEG"]], tmp_path / "back").folders
    (path,) = back.iterdir()
    (image, label_map) = run.results[0]
    masks, _ = labels_on(read_segmentation(path), image)  # by the instances that it refers to
    for number, label in enumerate(sorted(set(np.unique(label_map.voxels)) - {0}), start=1):
        np.testing.assert_array_equal(masks[number], label_map.voxels == label)
    assert masks
