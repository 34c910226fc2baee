"""No state is read out of words: with every sentence replaced by a placeholder, the panels do all they did."""

import inspect

import pytest
from trainings import alone, make_task, stand_in, until

from autoseg.model.ended import Ended
from autoseg.panels.parts import background, follows_work, style
from autoseg.panels.parts.background import State
from autoseg.panels.parts.panel import Panel
from autoseg.panels.training import running as running_module
from autoseg.panels.training import training as panel_module
from autoseg.panels.training.training import TrainingPanel
from autoseg.training import events, history, save
from autoseg.training import training as loop

NOTHING = "∎"


def muted(function):
    """Let a function that gives a sentence work, and give a placeholder in its place."""

    def mute(*arguments, **named):
        return NOTHING if function(*arguments, **named) else ""

    return mute


@pytest.fixture(autouse=True)
def speechless(monkeypatch, tmp_path):
    """Replace every sentence that is told, shown or kept in a model."""
    alone(monkeypatch, tmp_path)
    monkeypatch.setattr(follows_work, "GLANCE_S", 0.01)
    for module in (panel_module, background, follows_work, loop):
        for name, function in inspect.getmembers(module, inspect.isfunction):
            words = name.startswith(("describe_", "sentence_", "best_words", "noted")) or name.endswith("_words")
            if words and inspect.get_annotations(function).get("return") == "str":
                monkeypatch.setattr(module, name, muted(function))
    for event in (events.Note, events.Epoch, events.Finder):
        monkeypatch.setattr(event, "__str__", lambda _: NOTHING)
        if hasattr(event, "title"):
            monkeypatch.setattr(event, "title", NOTHING)
    for module in (events, history, running_module):
        monkeypatch.setattr(module, "format_epoch", lambda *_, **__: NOTHING)
    monkeypatch.setattr(style, "_lines", lambda words: NOTHING if words else "")
    yield
    for training in running_module.TRAININGS:
        training.stop()
        assert training.wait(60)


def make_panel(task):
    settings = Panel()
    settings.value = task
    return TrainingPanel(settings)


def test_it_starts_is_stopped_and_goes_on(tmp_path, monkeypatch):
    stand_in(monkeypatch)
    panel = make_panel(make_task(tmp_path, epochs=12))
    panel.start_button.click()
    until(lambda: len(panel.running.epochs) >= 2)
    assert panel.running.state is State.LEARNING
    assert not panel.stop_button.disabled
    panel.stop_button.click()
    panel.wait(60)
    done = len(panel.value.model.history)
    assert panel.value.model.ended is Ended.STOPPED
    assert panel.resume_button.layout.display != "none"
    assert set(panel.running.lines) == {NOTHING}
    panel.resume_button.click()
    panel.wait(60)
    assert panel.value.model.ended is Ended.COMPLETE
    assert len(panel.value.model.history) == 12 > done
    assert panel.resume_button.layout.display == "none"
    assert not panel.start_button.disabled


def test_a_loss_that_is_no_number_ends_it_with_a_warning(tmp_path, monkeypatch):
    stand_in(monkeypatch, nan_in=4)
    said = []
    panel = make_panel(make_task(tmp_path, epochs=9))
    monkeypatch.setattr(panel, "say", lambda words, kind="note", **_: said.append((words, kind)))
    panel.start_button.click()
    panel.wait(60)
    assert panel.value.model.ended is Ended.NOT_A_NUMBER
    assert len(panel.value.model.history) == 3
    assert said[-1] == (NOTHING, "warning")


@pytest.mark.filterwarnings(f"ignore:Training stopped, because {NOTHING}")
def test_a_real_training_is_stopped_by_patience_and_its_file_tells_so(tmp_path):
    panel = make_panel(make_task(tmp_path, epochs=30, patience=1, learning_rate=1e-9))
    panel.start_button.click()
    panel.wait(60)
    assert panel.value.model.ended is Ended.PATIENCE
    assert panel.value.model.origin["ended"] == NOTHING
    assert not (tmp_path / "discs_resume.pt").exists()


def test_which_finder_learns_is_told_by_its_event(tmp_path, monkeypatch):
    seen = []

    def train_and_save(*_, on_event, **__):
        for fold in (1, 2, None):
            on_event(events.Finder(("subject1",), fold, 2))
            seen.append(training.finder.fold)
        raise KeyboardInterrupt

    monkeypatch.setattr(running_module, "train_and_save", train_and_save)
    training = running_module.RunningTraining(make_task(tmp_path))
    training.begin()
    assert training.wait(60)
    assert (seen, training.state) == ([1, 2, None], State.FAILED)
    assert save.Ended is Ended
