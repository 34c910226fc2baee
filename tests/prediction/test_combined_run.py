"""A folder segmented with two models: what is written, and what says which slice comes from which."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from untrained import untrained_model

from autoseg.errors import DataError
from autoseg.files.nifti.volumes import write_nifti
from autoseg.image.geometry import affine_from_spacing
from autoseg.image.image import Image
from autoseg.model.networks import build_network
from autoseg.prediction import predict
from autoseg.prediction.run import combine_folder

UPPER = untrained_model()


@pytest.fixture
def lower():
    torch.manual_seed(8)
    weights = build_network(UPPER.settings.network, in_channels=1, out_channels=3).state_dict()
    return replace(UPPER, name="lumbar", weights=weights)


def write_stack(path, first_mm, count=6):
    rng = np.random.default_rng(count)
    voxels = rng.normal(100, 30, (count, 40, 40)).astype(np.float32)
    write_nifti(path, Image(voxels, affine_from_spacing((5.0, 2.0, 2.0), (0, 0, first_mm))))


def test_every_slice_says_its_model_and_the_run_where_they_meet(tmp_path, lower):
    write_stack(tmp_path / "in" / "spine.nii.gz", 0.0)
    write_stack(tmp_path / "in" / "neck.nii.gz", 200.0, count=3)
    run = combine_folder(UPPER, lower, tmp_path / "in", output=tmp_path / "out", at_mm=12.0, blend_mm=6.0)
    assert run.model == "heart above lumbar"
    table = pd.read_csv(run.folder / "measurements.csv")
    models = table.groupby(["case_id", "slice_index"])["model"].first()
    # Slices at 0, 5 … 25 mm; those between 9 and 15 mm are of both, and 15 mm is the upper model's.
    assert models["spine"].tolist() == ["lumbar", "lumbar", "heart + lumbar", "heart", "heart", "heart"]
    assert models["neck"].tolist() == ["heart"] * 3
    details = json.loads((run.folder / "run.json").read_text(encoding="utf-8"))["details"]
    joins = {join["case_id"]: join for join in details["combination"]}
    assert joins["spine"]["upper_shares"] == pytest.approx([0, 0, 1 / 6, 1, 1, 1], abs=1e-3)
    assert joins["neck"] == {"case_id": "neck", "model": "heart", "at_mm": 12.0, "side": "above"}
    assert details["models"] == ["heart", "lumbar"]
    assert any("neck lies wholly above" in note for note in run.notes)
    assert any("heart above and lumbar below z = 12.0 mm, blended over 6 mm" in note for note in run.notes)
    spine = next((image, labels) for image, labels in run.results if image.source.case_id == "spine")
    assert np.array_equal(spine[1].voxels[:2], predict(lower, spine[0]).voxels[:2])
    assert np.array_equal(spine[1].voxels[3:], predict(UPPER, spine[0]).voxels[3:])


def test_nothing_is_written_where_the_models_cannot_meet(tmp_path, lower):
    write_stack(tmp_path / "in" / "spine.nii.gz", 0.0)
    with pytest.raises(DataError, match="and no 9"):
        combine_folder(UPPER, lower, tmp_path / "in", output=tmp_path / "out", at_slice=9)
    assert not (tmp_path / "out").exists() or list((tmp_path / "out").iterdir()) == []
