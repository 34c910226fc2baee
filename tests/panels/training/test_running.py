"""A training in the background: nobody who looks on can end it, and nobody need look."""

import gc
import threading
import time
import weakref

import pytest
import torch
from trainings import alone, make_task, stand_in, until

from autoseg.errors import DataError, OutputError
from autoseg.files.atomic import held
from autoseg.model.model import load_model
from autoseg.model.settings.settings import NetworkSettings
from autoseg.panels.training import running
from autoseg.panels.training.running import RunningTraining, find_training, start_training
from autoseg.training.history import format_epoch


@pytest.fixture
def really():
    """For tests in which a network learns; in all others epochs are made up."""


@pytest.fixture(autouse=True)
def quiet(request, monkeypatch, tmp_path):
    alone(monkeypatch, tmp_path)
    if "really" not in request.fixturenames:
        stand_in(monkeypatch)
    yield
    for training in running.TRAININGS:
        training.stop()
        assert training.wait(60)


def test_it_learns_in_the_background_and_leaves_a_model(tmp_path, really):
    training = start_training(make_task(tmp_path, epochs=3))
    assert training.is_active
    assert training.wait(60)
    assert training.state == "finished", training.error
    assert load_model(training.trained.path).best_epoch == training.best.best_epoch
    assert [row.epoch for row in training.epochs] == [1, 2, 3]
    assert training.lines == [
        format_epoch(row, training.task.structures, settings=training.task.settings) for row in training.epochs
    ]
    assert len(training.pictures) == 4
    assert training.pictures[0].epoch == training.best.best_epoch
    assert training.share() == 1
    assert find_training(tmp_path, "discs") is training
    assert find_training(tmp_path / ".." / tmp_path.name, "discs") is training
    assert find_training(tmp_path, "other") is None


def test_it_goes_through_its_states_and_tells_of_each(tmp_path):
    training, states = RunningTraining(make_task(tmp_path, epochs=60)), []
    assert training.state == "waiting"

    def look():
        if not states or states[-1] != training.state:
            states.append(training.state)
        if len(training.epochs) == 2:
            training.stop()

    training.listen(look)
    training.begin()
    assert training.wait(60)
    assert states == ["reading", "learning", "stopping", "finished"]
    training.stop()  # too late: nothing happens
    assert training.state == "finished"


def test_stopping_is_quick_and_keeps_the_best(tmp_path, really):
    training = start_training(make_task(tmp_path, training=range(20, 60), epochs=500))
    until(lambda: training.state == "learning")
    training.stop()
    assert training.state == "stopping"
    assert training.wait(30)
    assert training.trained.model.origin["ended"] == "it was stopped"
    assert training.was_stopped


def test_who_looks_on_cannot_end_it(tmp_path):
    training = RunningTraining(make_task(tmp_path, epochs=2))
    calls = []

    def fail():
        calls.append(1)
        raise ValueError("the page is gone")

    training.listen(fail)
    forget = training.listen(lambda: calls.append("never"))
    forget()
    forget()
    training.begin()
    assert training.wait(60)
    assert training.trained is not None
    assert len(calls) > 2
    assert "never" not in calls


def test_watching_changes_no_weight(tmp_path, really):
    weights = []
    network = NetworkSettings(filters=(8, 16, 32), dropout=0.3)
    for watched, name in ((6, "watched"), (0, "alone")):
        training = start_training(make_task(tmp_path, name=name, epochs=2, network=network), watched=watched)
        assert training.wait(60)
        weights.append(training.trained.model.weights)
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_a_name_learns_once_at_a_time_and_a_computer_too(tmp_path):
    training = start_training(make_task(tmp_path, epochs=500))
    with pytest.raises(DataError, match="'discs' is learning already"):
        start_training(make_task(tmp_path), alone=False)
    with pytest.raises(DataError, match=r"'discs', since .* is learning on this computer"):
        start_training(make_task(tmp_path, name="other"))
    beside = start_training(make_task(tmp_path, name="other", epochs=1), alone=False)
    assert beside.wait(60)
    training.stop()
    assert training.wait(60)
    assert start_training(make_task(tmp_path, name="third", epochs=1)).wait(60)


def test_it_is_started_once(tmp_path):
    training = start_training(make_task(tmp_path, epochs=1))
    with pytest.raises(DataError, match="started already"):
        training.begin()


def test_time_left_runs_down_between_epochs(tmp_path, monkeypatch):
    training = RunningTraining(make_task(tmp_path, epochs=None, minutes=1))
    assert training.seconds_left() is None
    assert training.share() == 0
    assert training.begin is not None
    row = make_row(elapsed_s=12.0, seconds_left=48.0)
    training.epochs, training._epoch_at = (row,), time.monotonic() - 18
    assert training.seconds_left() == pytest.approx(30, abs=1)
    assert training.share() == pytest.approx(0.5, abs=0.02)
    training._epoch_at -= 100
    assert training.seconds_left() == 0


def make_row(**values):
    from autoseg.model.model import EpochResult

    return EpochResult(**{"epoch": 1, "training_loss": 1.0, "learning_rate": 0.1, **values})


def test_a_failure_is_kept_with_what_was_learnt(tmp_path, monkeypatch):
    def save(model, path):
        raise OutputError("the disk is full. Free some space.")

    training = RunningTraining(make_task(tmp_path, epochs=2))
    with pytest.raises(DataError, match="nothing to keep"):
        training.keep_best()
    with monkeypatch.context() as full:
        full.setattr("autoseg.training.save.save_model", save)
        full.setattr("autoseg.training.save.save_with_card", save)
        full.setattr("autoseg.training.keeping.elsewhere.save_with_card", save)
        training.begin()
        assert training.wait(60)
    assert training.state == "failed"
    assert training.failure() == "the disk is full. Free some space."
    assert training.details() == ""
    assert training.trained is None
    kept = training.keep_best()
    assert training.keep_best() is kept
    assert training.state == "finished"
    assert load_model(kept.path).best_epoch == training.best.best_epoch
    assert (tmp_path / "discs_history.csv").is_file()
    assert "plane" in kept.model.origin


def test_a_training_of_the_same_images_is_known(tmp_path):
    training = RunningTraining(make_task(tmp_path, epochs=2))
    assert training.is_of(make_task(tmp_path, epochs=2), also_settings=True)
    assert training.is_of(make_task(tmp_path, epochs=3))
    assert not training.is_of(make_task(tmp_path, epochs=3), also_settings=True)
    assert not training.is_of(make_task(tmp_path, training=(0, 1)))


def test_the_thread_does_not_keep_the_kernel_from_ending(tmp_path):
    training = start_training(make_task(tmp_path, epochs=1))
    (thread,) = [thread for thread in threading.enumerate() if thread.name == "learning discs"]
    assert thread.daemon
    assert training.wait(60)


def test_a_training_that_failed_does_not_keep_its_slices_in_memory(tmp_path, monkeypatch):
    held = []

    def fail(*arguments, **more):
        slices = torch.zeros(8)
        held.append(weakref.ref(slices))
        try:
            raise RuntimeError("out of memory")
        except RuntimeError as error:
            raise OutputError("the disk is full") from error

    monkeypatch.setattr(running, "train_and_save", fail)
    training = start_training(make_task(tmp_path, epochs=3))
    assert training.wait(60)
    assert training.state == "failed"
    gc.collect()
    assert held[0]() is None


def test_a_resumed_training_keeps_its_own_validation_patients(tmp_path, really):
    first = start_training(make_task(tmp_path, epochs=60))
    until(lambda: len(first.epochs) >= 2)
    first.stop()
    first.wait(60)
    # As after a restart of the kernel, when the settings stand at another choice again.
    other = make_task(tmp_path, training=(0, 1, 8, 9), validation=(2, 3), epochs=60)
    again = start_training(other, resume=True)
    until(lambda: len(again.epochs) > len(first.epochs))
    again.stop()
    again.wait(60)
    assert again.error is None
    assert {case.case_id for case in again.trained.task.split.validation} == {"case8", "case9"}


def test_a_name_that_another_program_trains_is_told_before_anything_is_read(tmp_path, monkeypatch):
    def read(*_):
        raise AssertionError("it was read")

    monkeypatch.setattr(running, "choose_watched", read)
    with held(tmp_path / "discs", ""):  # as another program does
        training = start_training(make_task(tmp_path))
        assert training.wait(60)
    assert training.state == "failed"
    assert "'discs' is being trained in" in training.failure()
    assert "A training with another name can be started now." in training.failure()
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".lock"] == []
