"""Twins after a training, driven by the panels: ticked before or asked for afterwards, stopped and gone on with."""

from dataclasses import replace

import pytest
from trainings import alone, make_task, stand_in, until

from autoseg.errors import DataError
from autoseg.evaluation import calibrate
from autoseg.evaluation.calibrate import CalibrationBegins, TwinTried, models_time, plan_calibration
from autoseg.evaluation.crossvalidation import FoldBegins, FoldEpoch
from autoseg.model.model import EpochResult, load_model, save_model
from autoseg.panels.parts.panel import Panel
from autoseg.panels.training import running
from autoseg.panels.training.training import MEASURE, TrainingPanel


class Twins:
    """In place of `calibrate_by_folds`: two folds, each waits for `go`; `done` of them are kept."""

    def __init__(self):
        self.go, self.calls, self.done, self.error = set(), [], 0, None

    def __call__(self, path, cases, structures, *, base, on_event, should_stop):
        self.calls.append((path, [case.case_id for case in cases]))
        model = load_model(path)
        on_event(CalibrationBegins(replace(plan_calibration(model.settings, len(cases)), folds=2)))
        place = calibrate.calibration_folder(path, model)
        calibrate._write_state(place, path, model, plan_calibration(model.settings, 3), is_finished=False)
        for fold in (1, 2):
            on_event(FoldBegins("discs", fold, f"Fold {fold} of 2: test subject{fold}"))
            on_event(FoldEpoch("discs", fold, "", EpochResult(1, 1.0, 0.1, 1.0, 3.0)))
            until(lambda fold=fold: fold in self.go or should_stop() or self.error)
            if self.error:
                raise self.error
            if should_stop():
                raise KeyboardInterrupt
        on_event(TwinTried(2, 2))
        model = replace(model, origin={**model.origin, "notes": ["twins"]})
        save_model(model, path)
        calibrate._write_state(place, path, model, plan_calibration(model.settings, 3), is_finished=True)
        return model


@pytest.fixture
def twins(monkeypatch):
    made = Twins()
    monkeypatch.setattr(running, "calibrate_by_folds", made)
    monkeypatch.setattr("autoseg.panels.training.training.is_calibrated", lambda model: "notes" in model.origin)
    return made


@pytest.fixture(autouse=True)
def quiet(monkeypatch, tmp_path):
    alone(monkeypatch, tmp_path)
    stand_in(monkeypatch)
    monkeypatch.setattr("autoseg.panels.parts.follows_work.GLANCE_S", 0.02)
    yield
    for training in running.TRAININGS:
        training.stop()
        assert training.wait(60)


def panel_for(task):
    settings = Panel()
    settings.value = task
    return TrainingPanel(settings), settings


def is_shown(widget):
    return widget.layout.display != "none"


def ticked(tmp_path, **changes):
    return replace(make_task(tmp_path, **{"epochs": 2, **changes}), calibrate=True)


def test_a_ticked_training_is_calibrated_before_it_is_done(twins, tmp_path):
    panel, _ = panel_for(ticked(tmp_path))
    panel.start_button.click()
    until(lambda: "Fold 1 of 2" in panel.state_line.value)
    assert "The model is saved. Fold 1 of 2: a twin of it learns without" in panel.state_line.value
    assert "1 epoch done" in panel.state_line.value
    assert panel.value is None
    assert (tmp_path / "discs_2.pt").is_file()
    shares = [panel.running.share()]
    twins.go.add(1)
    until(lambda: "Fold 2 of 2" in panel.state_line.value)
    shares.append(panel.running.share())
    twins.go.add(2)
    panel.wait(60)
    assert 0 < shares[0] < shares[1] < 1
    assert panel.value.model.origin["notes"] == ["twins"]
    assert panel.value.path == tmp_path / "discs_2.pt"
    assert twins.calls == [(tmp_path / "discs_2.pt", ["case0", "case1", "case2", "case3", "case8", "case9"])]
    assert not is_shown(panel.measure_button)
    assert "Done after epoch 2 of 2" in panel.state_line.value
    assert not any("subject" in line for line in panel.running.lines)


def test_without_the_tick_nothing_else_is_learnt_and_it_can_be_asked_for_afterwards(twins, tmp_path):
    panel, _ = panel_for(make_task(tmp_path, epochs=2))
    panel.start_button.click()
    panel.wait(60)
    assert twins.calls == []
    first = panel.value
    assert is_shown(panel.measure_button)
    assert panel.measure_button.description == MEASURE
    twins.go |= {1, 2}
    panel.measure_button.click()
    panel.wait(60)
    assert panel.value.path == first.path
    assert panel.value.model.origin["notes"] == ["twins"]
    assert not is_shown(panel.measure_button)


def test_stopped_among_the_twins_the_model_is_kept_and_it_goes_on_later(twins, tmp_path):
    panel, settings = panel_for(ticked(tmp_path))
    panel.start_button.click()
    until(lambda: "Fold 1 of 2" in panel.state_line.value)
    panel.stop_button.click()
    panel.wait(60)
    assert panel.running.state == "finished"
    assert panel.value.path == tmp_path / "discs_2.pt"
    assert "is not known from twins of it. It was stopped." in panel.message.value
    assert is_shown(panel.measure_button)
    # As after a restart of the kernel.
    running.TRAININGS._known.clear()
    again, _ = panel_for(settings.value)
    assert again.measure_button.description == f"{MEASURE} (0 of 3 twins are done)"
    twins.go |= {1, 2}
    again.measure_button.click()
    again.wait(60)
    assert again.value.model.origin["notes"] == ["twins"]
    assert not is_shown(again.measure_button)


def test_what_keeps_twins_from_learning_takes_nothing_from_the_model(twins, tmp_path):
    twins.error = DataError("subject9 is gone. Bring it back.")
    panel, _ = panel_for(ticked(tmp_path))
    panel.start_button.click()
    panel.wait(60)
    assert panel.value.path.is_file()
    assert "is gone. Bring it back." in panel.message.value
    assert is_shown(panel.measure_button)


def test_a_training_that_is_stopped_itself_begins_no_twins(twins, tmp_path):
    panel, _ = panel_for(ticked(tmp_path, epochs=50))
    panel.start_button.click()
    until(lambda: panel.running.epochs)
    panel.stop_button.click()
    panel.wait(60)
    assert twins.calls == []
    assert is_shown(panel.resume_button)
    assert not is_shown(panel.measure_button)


def test_time_left_counts_the_twins(tmp_path):
    task = ticked(tmp_path, epochs=None, minutes=10)
    training = running.RunningTraining(replace(task, settings=models_time(task.settings)))
    training.epochs = (EpochResult(1, 1.0, 0.1, 60.0, 240.0),)
    assert training.seconds_left() == pytest.approx(240 + 300, abs=2)
    assert training.share() == pytest.approx(0.1, abs=0.01)
    training._hear(CalibrationBegins(plan_calibration(training.settings, 6)))
    assert training.seconds_left() == pytest.approx(300)
    training._hear(FoldBegins("discs", 3, "Fold 3"))
    training._hear(FoldEpoch("discs", 3, "", EpochResult(1, 1.0, 0.1, 30.0, 30.0)))
    assert training.seconds_left() == pytest.approx(30 + 120, abs=2)
    assert training.share() == pytest.approx(0.5 + 0.5 * 2.5 / 5, abs=0.01)
    training._hear(TwinTried(1, 5))
    assert training.seconds_left() == 0
