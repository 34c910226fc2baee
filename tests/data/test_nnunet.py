"""A folder as nnU-Net's raw data set: the same voxels on the same grid, and our folds."""

import json

import numpy as np
import pytest

from autoseg.cli import main
from autoseg.data.cases import find_cases, read_case
from autoseg.data.nnunet import write_nnunet
from autoseg.data.split import k_folds
from autoseg.data.test_subjects import freeze_test_subjects
from autoseg.errors import DataError
from autoseg.files.nifti.volumes import write_nifti
from autoseg.image.geometry import affine_from_spacing
from autoseg.image.image import Image, LabelMap
from autoseg.image.structures import Structure

CORD = (Structure(3, "grey matter"), Structure(7, "cord", includes=(3,)))
SPACING = (3.0, 0.75, 0.625)


@pytest.fixture
def folder(tmp_path):
    """Six people with a cord each, whose grey matter lies inside; no two alike."""
    random = np.random.default_rng(0)
    for number in range(6):
        voxels = np.zeros((3, 12, 10 + number), np.uint8)
        voxels[:, 3:9, 2:8] = 7
        voxels[:, 5:7, 3 : 5 + number % 3] = 3
        affine = affine_from_spacing(SPACING).copy()
        affine[:3, 3] = 5.5, -20.25, number
        image = Image(random.integers(-100, 900, voxels.shape).astype(np.int16), affine)
        write_nifti(tmp_path / "data" / "dicoms" / f"sub-{number}.nii.gz", image)
        write_nifti(tmp_path / "data" / "labels" / f"sub-{number}.nii.gz", LabelMap(voxels, affine, CORD))
    (tmp_path / "data" / "structures.csv").write_text("label,name,includes\n3,grey matter,\n7,cord,3\n", "utf-8")
    return tmp_path / "data"


def test_what_is_read_back_are_the_same_voxels_spacing_and_structures(folder, tmp_path):
    target = tmp_path / "Dataset501_Cord"
    assert main(["export", str(folder), "--nnunet", str(target), "--folds", "3"]) == 0
    found, written = find_cases(folder), find_cases(target)
    assert {one.name: one.label for one in written.structures} == {"cord": 1, "grey matter": 2}
    assert len(written.cases) == 6
    for case in written.cases:
        (old,) = (one for one in found.cases if one.case_id == case.case_id)
        image, labels = read_case(old, found.structures)
        again, label_map = read_case(case, written.structures)
        np.testing.assert_array_equal(again.voxels, image.voxels)
        np.testing.assert_allclose(again.affine, image.affine, atol=1e-6)
        assert again.spacing_mm == pytest.approx(SPACING)
        for before, after in ((7, 1), (3, 2)):
            np.testing.assert_array_equal(label_map.mask(after), labels.mask(before))
    described = json.loads((target / "dataset.json").read_text("utf-8"))
    assert described == {
        "channel_names": {"0": "image"},
        "labels": {"background": 0, "cord": [1, 2], "grey matter": 2},
        "regions_class_order": [1, 2],
        "numTraining": 6,
        "file_ending": ".nii.gz",
    }
    assert sorted(path.name for path in (target / "imagesTr").iterdir())[0] == "sub-0_0000.nii.gz"
    splits = json.loads((target / "splits_final.json").read_text("utf-8"))
    assert [set(one["val"]) for one in splits] == [
        {case.case_id for case in split.test} for split in k_folds(found.cases, folds=3)
    ]
    assert all(sorted(one["train"] + one["val"]) == [f"sub-{n}" for n in range(6)] for one in splits)


def test_who_was_set_aside_is_in_no_fold(folder, tmp_path):
    found = find_cases(folder)
    freeze_test_subjects(folder, [found.cases[0].subject_id])
    write_nnunet(found, tmp_path / "out", folds=5)
    assert [path.name for path in (tmp_path / "out" / "imagesTs").iterdir()] == ["sub-0_0000.nii.gz"]
    assert [path.name for path in (tmp_path / "out" / "labelsTs").iterdir()] == ["sub-0.nii.gz"]
    assert "sub-0" not in (tmp_path / "out" / "splits_final.json").read_text("utf-8")


def test_what_was_not_drawn_is_no_background(folder, tmp_path):
    rows = ["case_id,grey matter,cord", *(f"sub-{n},{int(n > 1)},1" for n in range(6))]
    (folder / "annotated.csv").write_text("\n".join(rows), "utf-8")
    first, *_ = write_nnunet(find_cases(folder), tmp_path / "out", folds=2)
    assert first.startswith("2 cases left out, where not every structure was drawn (sub-0, sub-1)")
    assert len(list((tmp_path / "out" / "labelsTr").iterdir())) == 4
    rows = ["case_id,grey matter,cord", *(f"sub-{n},0,1" for n in range(6))]
    (folder / "annotated.csv").write_text("\n".join(rows), "utf-8")
    with pytest.raises(DataError, match="no case on which every structure was drawn"):
        write_nnunet(find_cases(folder), tmp_path / "none")
