"""The best of a comparison, taken over for a training on all patients."""

import pandas as pd
import pytest
from bases import make_base
from comparisons import known_comparison, make_request, make_scenarios

from autoseg.data.split import subjects_of
from autoseg.panels.comparison.best import FIRST, NOTHING, BestPanel
from autoseg.panels.parts.panel import Panel
from autoseg.panels.parts.values import Compared, Task


@pytest.fixture
def source(tmp_path):
    panel = Panel()
    panel.value = Compared(make_request(tmp_path), known_comparison(tmp_path))
    return panel


def test_the_best_learns_from_all_patients(source, tmp_path):
    panel = BestPanel(source, name="leg", folder=tmp_path)
    request = source.value.request
    task = panel.value
    assert isinstance(task, Task)
    assert panel.entry.value == "resunet"
    assert task.settings == request.entries["resunet"].settings
    assert task.split.training == request.cases
    assert task.split.validation == task.split.test == ()
    assert (task.name, task.folder, task.structures) == ("leg", tmp_path, request.structures)
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
    assert "Patients who validate are not learnt from: 1 patient" in panel.note.value
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
    request = make_request(tmp_path, test_subjects=frozenset({"subject2"}))
    source.value = Compared(request, known_comparison(tmp_path))
    split = BestPanel(source, folder=tmp_path).value.split
    assert subjects_of(split.test) == ("subject2",)
    assert "subject2" not in subjects_of(split.training)


def test_without_a_comparison_there_is_no_best(source, tmp_path):
    panel = BestPanel(source, folder=tmp_path)
    source.value = None
    assert panel.value is None
    assert FIRST in panel.message.value
    assert panel.body.children == ()


# --- of scenarios of fine-tuning


def scenarios_source(folder, best, *, base=None, **changes):
    """Give what a comparison of scenarios gave, in which one was best."""
    base = make_base(taught_by=["subject1"]) if base is None else base
    request = make_scenarios(folder, base, patients=6, known=frozenset({"subject1"}), **changes)
    rows = [{"entry": name, "structure": "mean", "dice": 0.9 if name == best else 0.5} for name in request.entries]
    source = Panel()
    source.value = Compared(request, known_comparison(folder, table=pd.DataFrame(rows)))
    return source


def test_the_best_scenario_goes_on_from_the_model_with_a_few_strangers_for_validation(tmp_path):
    source = scenarios_source(tmp_path, "all parts")
    panel = BestPanel(source, name="conus", folder=tmp_path, learn_from_all=False)
    task, request = panel.value, source.value.request
    assert panel.entry.value == "all parts"
    assert panel.entry.description == "Scenario"
    assert [value for _, value in panel.entry.options] == ["from scratch", "all parts"]
    assert task.base is request.entries["all parts"].base
    assert task.settings == request.entries["all parts"].settings
    validating = set(subjects_of(task.split.validation))
    assert len(validating) >= 1
    assert "subject1" not in validating
    assert "subject1" in subjects_of(task.split.training)
    assert set(subjects_of(task.split.training)) | validating == {f"subject{n}" for n in range(6)}
    assert panel.original.value == ""
    panel.choose("from scratch")
    assert panel.value.base is None


def test_a_model_that_is_best_as_it_is_need_not_be_tuned(tmp_path):
    panel = BestPanel(scenarios_source(tmp_path, "original"), folder=tmp_path)
    assert "&#x27;original&#x27; was best here" in panel.original.value
    assert panel.value is not None  # who wants to may all the same
    alone = scenarios_source(tmp_path, "original", names=("original",))
    panel = BestPanel(alone, folder=tmp_path)
    assert panel.value is None
    assert NOTHING in panel.message.value
