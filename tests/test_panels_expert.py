"""A run beside an expert's labels, in the page."""

import pytest
from untrained import Fixed, untrained_model

from autoseg.panels.expert import ExpertPanel
from autoseg.patient_run import segment_folder


@pytest.fixture(scope="module")
def run(sample, tmp_path_factory):
    return segment_folder(untrained_model(), sample / "test" / "dicoms", output=tmp_path_factory.mktemp("out"))


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
