"""The best of a comparison, taken over for a training on all patients."""

import pytest
from contests import make_comparison, make_contest

from autoseg.panels.best import FIRST, BestPanel
from autoseg.panels.panel import Panel
from autoseg.panels.values import Compared, Task
from autoseg.split import subjects_of


@pytest.fixture
def source(tmp_path):
    panel = Panel()
    panel.value = Compared(make_contest(tmp_path), make_comparison(tmp_path))
    return panel


def test_the_best_learns_from_all_patients(source, tmp_path):
    panel = BestPanel(source, name="leg", folder=tmp_path)
    contest = source.value.contest
    task = panel.value
    assert isinstance(task, Task)
    assert panel.entry.value == "resunet"
    assert task.settings == contest.entries["resunet"]
    assert task.split.training == contest.cases.cases
    assert task.split.validation == task.split.test == ()
    assert (task.name, task.folder, task.structures) == ("leg", tmp_path, contest.cases.structures)
    assert "All patients teach it" in panel.note.value
    assert "leg: a new model" in panel.note.value


def test_another_network_time_and_validation_can_be_chosen(source, tmp_path):
    panel = BestPanel(source, folder=tmp_path)
    panel.choose("unet")
    assert panel.value.settings.network.name == "unet"
    panel.amount.value = "7"
    assert panel.value.settings.epochs == 7
    panel.all.value = False
    assert len(subjects_of(panel.value.split.validation)) == 1
    assert len(panel.value.split.training) == 3
    assert "choose the best epoch and are not learnt from: 1 patient" in panel.note.value
    panel.amount.value = "long"
    assert panel.value is None
    assert "give a whole number" in panel.message.value
    panel.amount.value = "3"
    panel.name.value = "a/b"
    assert panel.value is None
    assert "cannot be a file name" in panel.message.value
    (tmp_path / "leg_40.pt").write_bytes(b"")
    panel.name.value = "leg"
    assert "leg_40.pt is there already; it stays" in panel.note.value
    assert panel.message.value == ""


def test_patients_set_aside_stay_apart(tmp_path):
    source = Panel()
    contest = make_contest(tmp_path, test_subjects=frozenset({"subject2"}))
    source.value = Compared(contest, make_comparison(tmp_path))
    split = BestPanel(source, folder=tmp_path).value.split
    assert subjects_of(split.test) == ("subject2",)
    assert "subject2" not in subjects_of(split.training)


def test_without_a_comparison_there_is_no_best(source, tmp_path):
    panel = BestPanel(source, folder=tmp_path)
    source.value = None
    assert panel.value is None
    assert FIRST in panel.message.value
    assert panel.body.children == ()
