"""A run beside an expert's labels, in the page."""

import threading
from dataclasses import replace

import nibabel as nib
import numpy as np
from two_readers import box, draw_patients
from untrained import Fixed, untrained_model

from autoseg.data.cases import find_cases
from autoseg.panels.patient import expert as module
from autoseg.panels.patient.expert import ExpertPanel
from autoseg.prediction.run import segment_folder


def shown(run, folder=None, **more):
    panel = ExpertPanel(Fixed(run), folder, **more)
    panel.wait(60)
    return panel


def test_it_is_folded_as_long_as_nobody_asks(run):
    panel = shown(run)
    assert panel.fold.selected_index is None
    assert panel.value is None
    assert panel.message.value == ""


def test_scores_and_slices_are_shown_without_ids(run, sample):
    panel = shown(run, sample / "test")
    assert panel.fold.selected_index == 0
    assert len(panel.value.slices) == 30
    assert "patient 1" in panel.tables.value
    assert "series-5_t01, slice 3" in panel.tables.value
    assert "SCD0000301" not in panel.tables.value
    panel.ids.value = True
    assert "SCD0000301_007" in panel.tables.value


def test_a_folder_chosen_later_is_compared(run, sample):
    panel = shown(run)
    panel.chooser.choose(sample / "test")
    panel.wait(60)
    assert len(panel.value.slices) == 30


def test_another_patients_labels_are_a_sentence_and_no_old_table(run, sample):
    panel = shown(run, sample / "test")
    panel.chooser.choose(sample / "train")
    panel.wait(60)
    assert panel.value is None
    assert "same patient" in panel.message.value
    assert panel.tables.value == ""


def test_a_run_that_is_taken_back_takes_the_comparison_away(run, sample):
    prediction = Fixed(run)
    panel = ExpertPanel(prediction, sample / "test")
    panel.wait(60)
    prediction.value = None
    assert panel.value is None
    assert panel.tables.value == ""
    assert "First segment a patient" in panel.message.value


def test_a_run_that_is_gone_before_it_was_compared_is_not_shown(run, sample, monkeypatch):
    comparing, go_on, real = threading.Event(), threading.Event(), module.compare_with_expert

    def slow(*arguments):
        comparing.set()
        go_on.wait(30)
        return real(*arguments)

    monkeypatch.setattr(module, "compare_with_expert", slow)
    prediction = Fixed(run)
    panel = ExpertPanel(prediction, sample / "test")
    assert comparing.wait(30)
    prediction.value = None
    go_on.set()
    panel.wait(60)
    assert panel.value is None
    assert panel.tables.value == ""
    assert "First segment a patient above." in panel.message.value


def test_slices_of_a_volume_are_told_apart_and_labels_without_names_take_the_runs(tmp_path, tmp_path_factory):
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    voxels = rng.integers(0, 200, (24, 24, 3)).astype(np.int16)
    drawn = np.zeros((24, 24, 3), np.uint8)
    drawn[5:15, 5:15], drawn[8:12, 8:12] = 1, 2
    for kind, content in (("images", voxels), ("labels", drawn)):
        nib.save(nib.Nifti1Image(content, np.diag([2.0, 2.0, 5.0, 1.0])), tmp_path / kind / "leg.nii.gz")
    volume = segment_folder(untrained_model(), tmp_path / "images", output=tmp_path_factory.mktemp("out"))
    panel = shown(volume, tmp_path)
    assert panel.value is not None, panel.message.value
    assert {score.name for score in panel.value.slices} == {"cavity", "myocardium"}
    assert list(dict.fromkeys(panel.value.places)) == [("leg", 0), ("leg", 1), ("leg", 2)]
    for number in (1, 2, 3):
        assert f"leg, slice {number}<" in panel.tables.value


def test_the_model_stands_beside_each_of_several_readers(tmp_path, tmp_path_factory):
    draw_patients(tmp_path, 2)
    run = segment_folder(
        untrained_model(), tmp_path / "p0-image.nii.gz", output=tmp_path_factory.mktemp("out"), look=False
    )
    ((image, found),) = run.results
    drawn = replace(found, voxels=box(7), structures=find_cases(tmp_path).structures, annotated=None)
    panel = shown(replace(run, results=((image, drawn),)), tmp_path)
    assert panel.value is not None, panel.message.value
    assert "cannot be told from 1 patient" in panel.readers.words.value
    assert "✔" not in panel.readers.words.value
    assert "r1, model" in panel.readers.table.value
    panel.chooser.choose(tmp_path_factory.mktemp("empty"))
    panel.wait(60)
    assert panel.readers.children == ()


def test_slices_come_in_the_runs_order(run, sample):
    panel = shown(run, sample / "test")
    assert list(panel.value.places) == sorted(panel.value.places)


def test_a_folder_that_nobody_chose_is_no_fault_of_the_user(run, sample):
    panel = shown(run, sample / "train")
    assert panel.value is None
    assert panel.tables.value == ""
    assert "nothing to compare" in panel.message.value
    assert "alert" not in panel.message.value
