"""Folders as nnU-Net and the Medical Segmentation Decathlon have them."""

import json

import nibabel
import numpy as np
import pytest

from autoseg.data.cases import find_cases, find_images, read_case
from autoseg.errors import DataError
from autoseg.files.nnunet import read_dataset_json
from autoseg.image.structures import Structure
from autoseg.measurement.drawn import measure_labels

NAMES = {"background": 0, "psoas": 1, "multifidus": 2}


def write(path, voxels):
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(voxels, np.diag([0.5, 0.5, 4.0, 1.0])), path)


def labels():
    voxels = np.zeros((24, 20, 2), np.uint8)
    voxels[2:12, 3:15], voxels[14:20, 4:10] = 1, 2  # 120 and 36 pixels
    return voxels


def dataset(folder, *, channels=1, described=None, cases=4):
    rng = np.random.default_rng(0)
    for number in range(1, cases + 1):
        for channel in range(channels):
            image = rng.integers(0, 900, (24, 20, 2)).astype(np.int16) + 1000 * channel
            write(folder / "imagesTr" / f"leg_{number:03d}_{channel:04d}.nii.gz", image)
        write(folder / "labelsTr" / f"leg_{number:03d}.nii.gz", labels())
        for place in ("imagesTr", "labelsTr"):
            (folder / place / f"._leg_{number:03d}.nii.gz").write_bytes(b"of a Mac")
    for channel in range(channels):
        write(folder / "imagesTs" / f"leg_009_{channel:04d}.nii.gz", image)
    for name in ("Thumbs.db", ".DS_Store", "desktop.ini"):
        (folder / "imagesTr" / name).write_bytes(b"of a system")
    if described is not None:
        (folder / "dataset.json").write_text(json.dumps(described), encoding="utf-8")
    return folder


def test_one_channel_names_and_a_test_image(tmp_path):
    described = {"channel_names": {"0": "T2"}, "labels": NAMES, "numTraining": 4, "file_ending": ".nii.gz"}
    found = find_cases(dataset(tmp_path, described=described))
    assert [case.case_id for case in found.cases] == ["leg_001", "leg_002", "leg_003", "leg_004"]
    assert [s.name for s in found.structures] == ["psoas", "multifidus"]
    assert {round(row.area_mm2, 6) for row in measure_labels(found) if row.name == "psoas"} == {30.0}
    assert {round(row.area_mm2, 6) for row in measure_labels(found) if row.name == "multifidus"} == {9.0}
    assert [(file.path.name, file.reason) for file in found.skipped] == [
        ("leg_009_0000.nii.gz", "a test image (imagesTs), which has no labels")
    ]


def test_without_a_description_the_values_are_named(tmp_path):
    assert [s.name for s in find_cases(dataset(tmp_path)).structures] == ["label 1", "label 2"]


def test_an_image_to_learn_from_still_needs_its_label(tmp_path):
    (dataset(tmp_path) / "labelsTr" / "leg_002.nii.gz").unlink()
    with pytest.raises(DataError, match="leg_002"):
        find_cases(tmp_path)


def test_channels_have_the_names_of_the_description_and_a_new_patient_is_found_by_number(tmp_path):
    described = {"channel_names": {"0": "T2", "1": "fat"}, "labels": NAMES}
    found = find_cases(dataset(tmp_path, channels=2, described=described))
    assert found.cases[0].channels == ("T2", "fat")
    image, _ = read_case(found.cases[0], found.structures)
    assert image.voxels[1].min() >= 1000 > image.voxels[0].max()
    (tmp_path / "new").mkdir()
    for channel in range(2):
        (tmp_path / "imagesTs" / f"leg_009_{channel:04d}.nii.gz").rename(
            tmp_path / "new" / f"x_{channel:04d}.nii.gz"
        )
    (case,) = find_images(tmp_path / "new", channels=("T2", "fat"))
    assert [file.path.name for file in case.images] == ["x_0000.nii.gz", "x_0001.nii.gz"]
    (turned,) = find_images(tmp_path / "new", channels=("fat", "T2"))
    assert [file.path.name for file in turned.images] == ["x_0001.nii.gz", "x_0000.nii.gz"]


def test_test_images_with_labels_are_told_from_others_of_the_same_name(tmp_path):
    dataset(tmp_path, cases=2)
    write(tmp_path / "imagesTs" / "leg_001_0000.nii.gz", np.full((24, 20, 2), 5, np.int16))
    write(tmp_path / "labelsTs" / "leg_001.nii.gz", 2 * (labels() > 0).astype(np.uint8))
    found = find_cases(tmp_path)
    pairs = {(case.image_path.parent.name, case.label_path.parent.name) for case in found.cases}
    assert pairs == {("imagesTr", "labelsTr"), ("imagesTs", "labelsTs")}
    assert len({case.case_id for case in found.cases}) == 3


@pytest.mark.parametrize(
    ("labels", "structures"),
    [
        ({"0": "background", "1": "Anterior", "2": "Posterior"}, [(1, "Anterior", ()), (2, "Posterior", ())]),
        (
            {"background": 0, "whole tumour": [1, 2, 3], "core": [2, 3], "enhancing": [3]},
            [(1, "whole tumour", (2, 3)), (2, "core", (3,)), (3, "enhancing", ())],
        ),
        ({"a": 1, "A": 2}, []),
        ({"a": "one"}, []),
        ([1, 2], []),
    ],
)
def test_descriptions_of_both_versions_and_of_regions(tmp_path, labels, structures):
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": labels}), encoding="utf-8")
    found = read_dataset_json(tmp_path).structures
    assert found == tuple(Structure(label, name, includes=inside) for label, name, inside in structures)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"labels": null, "channel_names": {"1": "T2"}}'])
def test_what_is_no_description_names_nothing(tmp_path, text):
    (tmp_path / "dataset.json").write_text(text, encoding="utf-8")
    assert read_dataset_json(tmp_path) == read_dataset_json(tmp_path / "nowhere")
