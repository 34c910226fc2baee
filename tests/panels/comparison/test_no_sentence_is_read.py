"""With a placeholder in place of every sentence a comparison still runs, stops, goes on and shows its result."""

import pytest
from comparisons import alone, make_request
from trainings import until
from untrained import Fixed

from autoseg.errors import AutosegError, DataError
from autoseg.evaluation.comparison import EntryName
from autoseg.evaluation.crossvalidation import run as crossvalidation
from autoseg.panels.comparison import comparison as words
from autoseg.panels.comparison import running as module
from autoseg.panels.comparison.best import BestPanel
from autoseg.panels.comparison.comparison import ComparisonPanel
from autoseg.panels.comparison.results import ResultsPanel
from autoseg.panels.parts import background
from autoseg.panels.parts.background import State
from autoseg.training.events import Event

SENTENCE = "…"


def kinds_of(kind):
    return [kind, *(one for own in kind.__subclasses__() for one in kinds_of(own))]


@pytest.fixture(autouse=True)
def placeholders(monkeypatch, tmp_path):
    holds = alone(monkeypatch, tmp_path)
    for kind in (*kinds_of(Event), *kinds_of(AutosegError)):
        monkeypatch.setattr(kind, "__str__", lambda self: SENTENCE)
    monkeypatch.setattr(EntryName, "title", SENTENCE)
    for place in ("evaluation.comparison.compared.give_verdict", "evaluation.comparison.compared.gain_note"):
        monkeypatch.setattr(f"autoseg.{place}", lambda *_: SENTENCE)
    monkeypatch.setattr("autoseg.evaluation.comparison.run.STOPPED", SENTENCE)
    monkeypatch.setattr("autoseg.evaluation.comparison.run.NO_OUTLIERS", SENTENCE)
    monkeypatch.setattr("autoseg.evaluation.comparison.compared._invented_note", lambda *_: SENTENCE)
    monkeypatch.setattr(background, "sentence_of_failure", lambda error: SENTENCE)
    for name in ("describe_running", "describe_outcome"):
        monkeypatch.setattr(words, name, lambda running: SENTENCE)
    yield holds
    for comparison in module.COMPARISONS:
        comparison.stop()
        assert comparison.wait(60)


def test_a_comparison_runs_stops_goes_on_and_is_shown(tmp_path, placeholders):
    placeholders |= {"unet_fold1": 2, "resunet_fold1": 3}
    panel = ComparisonPanel(Fixed(make_request(tmp_path, epochs=4)))
    panel.start_button.click()
    until(lambda: panel.running.current == ("unet", 1) and len(panel.running.epochs) == 2)
    until(lambda: panel.running.state is State.LEARNING and 0 < panel.share_bar.value < 1)
    del placeholders["unet_fold1"]
    until(lambda: panel.running.current == ("resunet", 1))
    assert set(panel.running.scores) == {("unet", 1)}
    assert panel.running.doing.entry == "resunet"
    until(lambda: "learning …" in panel.scores.value and "<polyline" in panel.curves.value)
    panel.stop_button.click()
    panel.wait(60)
    assert panel.running.state is State.STOPPED
    assert not panel.value.comparison.is_finished
    assert panel.start_button.description == "Go on"
    placeholders.clear()
    panel.start_button.click()
    panel.wait(120)
    assert panel.running.state is State.FINISHED
    assert panel.value.comparison.is_finished
    assert set(panel.running.lines) == {SENTENCE}
    results = ResultsPanel(panel)
    results.wait(60)
    table = results.value.table
    for dice in table[table["structure"] == "mean"]["dice"]:
        assert f">{dice:.3f}" in results.quality.value
    assert results.subjects.value.count("patient ") == 4
    assert "<img" in results.slice.value
    best = BestPanel(panel, folder=tmp_path)
    best.choose("resunet")
    assert best.value.settings.network.name == "resunet"


def test_what_fails_is_seen_in_the_table_and_the_others_go_on(tmp_path, monkeypatch):
    learn = crossvalidation.train

    def train(split, settings, **arguments):
        if settings.network.name == "resunet":
            raise DataError("The loss is no number.")
        return learn(split, settings, **arguments)

    monkeypatch.setattr(crossvalidation, "train", train)
    panel = ComparisonPanel(Fixed(make_request(tmp_path)))
    panel.compare()
    panel.wait(60)
    assert panel.running.state is State.FINISHED
    assert panel.scores.value.count("failed") == 2
    assert set(panel.value.comparison.table["entry"]) == {"unet"}


def test_folds_of_other_settings_end_it_and_another_name_is_offered(tmp_path, monkeypatch):
    first = ComparisonPanel(Fixed(make_request(tmp_path)))
    first.compare()
    first.wait(60)
    other = ComparisonPanel(Fixed(make_request(tmp_path, epochs=3)))
    other.compare()
    other.wait(60)
    assert other.running.state is State.FAILED
    assert other.value is None
    monkeypatch.undo()
    assert words.describe_outcome(other.running).count("Another name above") == 1
