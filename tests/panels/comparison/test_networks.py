"""What to compare: nothing is handed on that cannot run, and the time is told before."""

import html
from dataclasses import replace

import pytest
from comparisons import begin
from discs import STRUCTURES, make_case, make_pair

from autoseg.data.cases import CaseFolder
from autoseg.data.test_subjects import freeze_test_subjects
from autoseg.evaluation.comparison.compared import State, write_state
from autoseg.model.device import Computer
from autoseg.model.networks import NETWORKS, USUAL_NETWORKS
from autoseg.model.settings.settings import settings_to_dict
from autoseg.panels.comparison.entries import find_previous
from autoseg.panels.comparison.networks import DATA_FIRST, NetworksPanel
from autoseg.panels.parts.panel import Panel
from autoseg.panels.parts.values import Data
from autoseg.training.plan import plan_comparison, plan_settings

LAPTOP = Computer("cpu", "processor", 8.0, None, 2, "bfloat16", "")


@pytest.fixture(autouse=True)
def made_up(monkeypatch):
    monkeypatch.setattr(
        "autoseg.training.plan.survey.read_case", lambda case, _: make_pair(int(case.case_id.removeprefix("case")))
    )
    monkeypatch.setattr("autoseg.training.plan.choices.find_computer", lambda: LAPTOP)


def make_data(folder, numbers=range(5)):
    cases = CaseFolder(folder, tuple(make_case(number) for number in numbers), STRUCTURES)
    return Data(cases, (), plan_settings(cases))


@pytest.fixture
def source(tmp_path):
    panel = Panel()
    panel.value = make_data(tmp_path)
    return panel


def shown(source, **named):
    panel = NetworksPanel(source, **{"folder": source.value.cases.folder, **named})
    panel.wait(60)
    return panel


def test_at_first_all_networks_are_compared_with_the_planned_settings(source):
    panel = shown(source, name="leg")
    request, data = panel.value, source.value
    assert tuple(request.entries) == USUAL_NETWORKS
    planned = plan_comparison(data.cases, minutes=2).settings
    assert request.entries["efficientnet"].settings == planned
    for name, one in request.entries.items():
        settings = one.settings
        assert settings.network.name == name
        assert (settings.minutes, settings.seed) == (2, planned.seed)
        assert settings.preprocess == planned.preprocess
        assert html.escape(NETWORKS[name].words) in panel_text(panel)
    assert (request.folds, request.name) == (3, "leg")
    assert request.folder == data.cases.folder / "leg_comparison"
    assert "be kept in " in panel.note.value
    assert f"{len(USUAL_NETWORKS)} networks × 3 folds × 2 minutes: about" in panel.time.value
    assert ">Pixel size, mm</th>" in panel.table.value
    assert "Validate on" not in panel.table.value


def panel_text(widget):
    own = str(getattr(widget, "value", "")) + str(getattr(widget, "description", ""))
    return own + "".join(panel_text(child) for child in getattr(widget, "children", ()))


def test_ticks_folds_and_name_change_what_is_handed_on(source):
    panel = shown(source, chosen=["unet", "resunet", "unext"])
    panel.boxes["resunet"].value = False
    assert tuple(panel.value.entries) == ("unet", "unext")
    panel.folds.value = 5
    assert panel.value.folds == 5
    assert "2 networks × 5 folds" in panel.time.value
    panel.together.value = True
    assert panel.value.together
    panel.boxes["unext"].value = False
    assert panel.value is None
    assert "Tick at least two; 1 is ticked" in panel.message.value
    assert panel.time.value == ""
    panel.boxes["pyramid"].value = True
    assert panel.message.value == ""
    panel.name.value = "a/b"
    assert panel.value is None
    assert "cannot be a file name" in panel.message.value


def test_another_time_is_planned_for(source):
    panel = shown(source, minutes=60)
    fine = panel.value.entries["unet"].settings.preprocess.spacing_mm
    panel.amount.value = "0,01"
    panel.wait(60)
    assert panel.value.entries["unet"].settings.minutes == 0.01
    assert panel.value.entries["unet"].settings.preprocess.spacing_mm > fine
    panel.amount.value = "soon"
    assert panel.value is None
    assert "give a number" in panel.message.value
    panel.unit.value = "epochs"
    panel.wait(60)
    assert {(one.settings.epochs, one.settings.minutes) for one in panel.value.entries.values()} == {(50, None)}
    assert "× 50 epochs: how long that takes is seen" in panel.time.value
    panel.choose(minutes=-1)
    panel.wait(60)
    assert panel.value is None
    assert "minutes is -1" in panel.message.value


def test_choose_does_what_clicks_do(source):
    panel = shown(source)
    panel.choose(["unet", "pyramid"], epochs=2, folds=2, name="quick")
    panel.wait(60)
    request = panel.value
    assert (tuple(request.entries), request.folds, request.name) == (("unet", "pyramid"), 2, "quick")
    assert {one.settings.epochs for one in request.entries.values()} == {2}
    panel.choose(["segnet"])
    assert "Known: unet, resunet" in panel.message.value


def test_a_comparison_of_this_name_is_told_to_go_on(source):
    panel = shown(source, name="leg", chosen=["unet", "unext"])
    for place in ("unet/fold_1", "unext/fold_1", "pyramid/fold_1"):
        folder = panel.value.folder / place
        folder.mkdir(parents=True)
        (folder / "fold.json").write_text("{}")
    panel.boxes["pyramid"].value = True
    assert "leg_comparison is there already, with 3 finished trainings" in panel.note.value
    assert "goes on where it was" in panel.note.value
    panel.boxes["pyramid"].value = False
    assert "with 2 finished trainings" in panel.note.value


@pytest.mark.parametrize(("patients", "folds"), [(2, [2]), (3, [2, 3]), (12, list(range(2, 11)))])
def test_there_are_no_more_folds_than_patients(tmp_path, patients, folds):
    source = Panel()
    source.value = make_data(tmp_path, range(patients))
    panel = shown(source)
    assert [value for _, value in panel.folds.options] == folds
    assert panel.value.folds == min(3, patients)
    assert ("each patient alone" in panel.folds.options[-1][0]) == (patients < 11)


def test_one_patient_is_too_few_and_those_set_aside_do_not_count(tmp_path):
    freeze_test_subjects(tmp_path, ["subject1"])
    source = Panel()
    source.value = make_data(tmp_path, range(2))
    panel = shown(source)
    assert panel.value is None
    assert "images of one patient" in panel.message.value
    source.value = make_data(tmp_path, range(4))
    panel.wait(60)
    assert panel.value.test_subjects == {"subject1"}
    assert [value for _, value in panel.folds.options] == [2, 3]


def test_without_images_nothing_is_handed_on(source):
    panel = shown(source)
    source.value = None
    assert panel.value is None
    assert DATA_FIRST in panel.message.value
    assert panel.table.value == panel.time.value == ""


def test_one_click_asks_for_what_the_comparison_was_begun_with(source):
    panel = shown(source, name="leg", chosen=["unet", "unext"], minutes=0.5, folds=2, together=True)
    request = panel.value
    begin(request, derived=["all together"], epochs=None, minutes=0.5)
    again = shown(source, name="leg")
    assert "U-Net and UNeXt, 2 folds, 0.5 minutes each" in again.previous_words.value
    again.previous_button.click()
    again.wait(60)
    assert tuple(again.value.entries) == ("unet", "unext")
    assert (again.value.folds, again.value.together, again.amount.value) == (2, True, "0.5")
    assert again.value.entries["unet"].settings.minutes == 0.5
    assert again.previous_row.layout.display == "none"


def test_settings_of_ones_own_stand_beside_networks(source):
    panel = shown(source, chosen=["unet"], own=["small: batch_size=2"])
    assert tuple(panel.value.entries) == ("unet", "small")
    assert panel.value.entries["small"].settings == replace(panel.value.base, batch_size=2)
    panel.own.value = "small: batch_size=2\nby IoU: recipe=unext, loss.overlap=iou"
    panel.boxes["unet"].value = False
    by_iou = panel.value.entries["by IoU"].settings
    assert (by_iou.network.name, by_iou.loss.overlap) == ("unext", "iou")
    panel.own.value = "small: batch_sise=2"
    assert panel.value is None
    assert "Did you mean batch_size" in panel.message.value


def test_settings_of_ones_own_come_back_with_what_was_begun(source, monkeypatch):
    panel = shown(source, chosen=["unet"], own=["small: batch_size=2, learning_rate=0.01"], epochs=1)
    request = panel.value
    state = State(
        tuple(request.entries),
        request.folds,
        STRUCTURES,
        base=settings_to_dict(request.base),
        own={"small": settings_to_dict(request.entries["small"].settings)},
    )
    request.folder.mkdir()
    write_state(request.folder, state)
    again = shown(source, chosen=["unet", "unext"], epochs=1)
    again.previous = find_previous(request.folder)
    again.take_previous()
    again.wait(60)
    assert again.own.value == "small: batch_size=2, learning_rate=0.01"
    assert tuple(again.value.entries) == ("unet", "small")
    assert again.value.entries["small"].settings == request.entries["small"].settings
