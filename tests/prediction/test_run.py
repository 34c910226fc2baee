"""A run's progress, how it is stopped, and what it says when memory ends; the rest is in test_report.py."""

import json
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from untrained import untrained_model

from autoseg.data.digests import subject_pseudonym
from autoseg.errors import DataError
from autoseg.prediction import run as patient_run
from autoseg.prediction.run import RunProgress, RunStopped, segment_folder


@pytest.fixture
def patient(sample):
    return sample / "test" / "dicoms"


def test_progress_is_told_by_series_and_slice_and_only_grows(patient, tmp_path):
    told = []
    run = segment_folder(untrained_model(), patient, output=tmp_path, on_progress=told.append)
    assert [p.stage for p in (told[0], told[-1])] == ["reading", "writing"]
    assert str(told[-2]) == "Series 2 of 2, slice 10 of 10"
    shares = [p.share for p in told]
    assert shares == sorted(shares)
    assert shares[-1] < 1
    assert run.elapsed_s > 0


@pytest.mark.parametrize("stage", ["reading", "predicting", "writing"])
def test_a_stopped_run_writes_nothing(patient, tmp_path, stage):
    with pytest.raises(RunStopped, match="Nothing was written"):
        segment_folder(untrained_model(), patient, output=tmp_path, on_progress=lambda p: p.stage == stage)
    assert list(tmp_path.iterdir()) == []


def test_what_is_warned_of_while_predicting_becomes_a_note(patient, tmp_path, monkeypatch):
    real = patient_run.predict

    def warning(*arguments, **more):
        warnings.warn("a structure reaches the edge", stacklevel=2)
        return real(*arguments, **more)

    monkeypatch.setattr(patient_run, "predict", warning)
    run = segment_folder(untrained_model(), patient, output=tmp_path)
    assert run.notes.count("a structure reaches the edge") == 1


def test_memory_that_ends_is_a_sentence(patient, tmp_path, monkeypatch):
    def greedy(*_, **__):
        raise MemoryError

    monkeypatch.setattr(patient_run, "predict", greedy)
    with pytest.raises(DataError, match="fewer series"):
        segment_folder(untrained_model(), patient, output=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_short_memory_is_said_while_the_run_goes_on(patient, tmp_path, monkeypatch):
    monkeypatch.setattr(patient_run, "warn_of_memory", lambda images, classes: "Memory is short.")
    told = []
    segment_folder(untrained_model(), patient, output=tmp_path, on_progress=told.append)
    assert {p.warning for p in told if p.stage == "predicting"} == {"Memory is short."}


def test_a_run_of_no_series_is_at_its_beginning():
    assert RunProgress("reading").share == 0
    assert RunProgress("predicting", 1, 1, 5, 10).share == pytest.approx(0.47)


def test_a_model_of_another_kind_of_images_is_noted(patient, tmp_path):
    run = segment_folder(untrained_model(origin={"modalities": ["CT"]}), patient, output=tmp_path)
    assert any("learnt from CT images and this is MR" in note for note in run.notes)
    run = segment_folder(untrained_model(origin={"modalities": ["MR"]}), patient, output=tmp_path)
    assert not any("learnt from" in note for note in run.notes)


def test_a_run_of_several_models_says_which_they_were_and_which_copies(patient, tmp_path):
    models = [untrained_model(), replace(untrained_model(spacing_mm=8.0), name="other", best_epoch=4)]
    run = segment_folder(models, patient, output=tmp_path, copies="turned")
    words = "heart + other, turned copies"
    assert run.model == words
    assert run.folder.name.startswith("heart_+_other_turned_copies_")
    assert {row.model for row in run.measurements} == {words}
    assert set(pd.read_csv(run.folder / "measurements.csv")["model"]) == {words}
    record = json.loads((run.folder / "run.json").read_text("utf-8"))
    assert record["model"] == words
    assert record["details"]["models"] == ["heart", "other"]
    assert record["details"]["copies"] == "turned"
    assert record["details"]["best_epoch"] == "0, 4"
    alone = segment_folder(models[0], patient, output=tmp_path)
    assert alone.model == "heart"
    differs = [
        not np.array_equal(a.voxels, b.voxels) for (_, a), (_, b) in zip(run.results, alone.results, strict=True)
    ]
    assert any(differs)


def test_whom_one_of_several_models_knows_is_noted(patient, tmp_path):
    subject = segment_folder(untrained_model(), patient, output=tmp_path).results[0][0].source.subject_id
    knows = untrained_model(origin={"subject_fingerprints": [subject_pseudonym(subject)], "modalities": ["CT"]})
    run = segment_folder([untrained_model(), knows], patient, output=tmp_path)
    assert any(
        note.startswith("Some of the models were trained or validated on this patient") for note in run.notes
    )
    assert any("learnt from CT images and this is MR" in note for note in run.notes)


def test_models_that_do_not_go_together_write_nothing(patient, tmp_path):
    with pytest.raises(DataError, match="cannot be averaged"):
        segment_folder([untrained_model(), untrained_model(channels=("a", "b"))], patient, output=tmp_path / "out")
    assert not (tmp_path / "out").exists()
