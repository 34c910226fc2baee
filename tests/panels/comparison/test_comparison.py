"""The comparing panel: start, stop, go on; what is shown is never that of another request."""

import re
from dataclasses import replace

import pytest
from comparisons import alone, make_request
from trainings import until

from autoseg.panels.comparison import running as module
from autoseg.panels.comparison.comparison import SHOW, ComparisonPanel
from autoseg.panels.parts.background import Kernel
from autoseg.panels.parts.panel import Panel


@pytest.fixture(autouse=True)
def quiet(monkeypatch, tmp_path):
    yield alone(monkeypatch, tmp_path)
    for comparison in module.COMPARISONS:
        comparison.stop()
        assert comparison.wait(60)


def make_panel(request=None, **arguments):
    source = Panel()
    source.value = request
    return ComparisonPanel(source, **arguments), source


def is_shown(widget):
    return widget.layout.display != "none"


def test_start_stop_and_go_on_by_the_buttons(tmp_path, quiet):
    quiet |= {"unet_fold1": 6, "resunet_fold1": 2}
    request = make_request(tmp_path, epochs=8)
    panel, _ = make_panel(request)
    assert panel.start_button.description == "Start"
    assert "Ready to start" in panel.state_line.value
    assert panel.stop_button.disabled
    panel.start_button.click()
    assert panel.start_button.disabled
    until(lambda: re.search(r"fold 1 of 2, U-Net, epoch \d+, Dice 0", panel.state_line.value))
    until(lambda: "<polyline" in panel.curves.value and "learning …" in panel.scores.value)
    until(lambda: re.search(r"Fold [12]: Dice on validation patients.*Net 0[.]\d", panel.all_curves.value))
    assert panel.value is None
    assert is_shown(panel.share_bar)
    del quiet["unet_fold1"]
    until(lambda: panel.running.folds_done() == 1 and panel.running.epochs)
    panel.stop_button.click()
    panel.wait(60)
    assert re.search(r"Stopped: 1 of 4 trainings are done and kept. Go on", panel.state_line.value)
    assert "not done" in panel.scores.value
    assert not panel.value.comparison.is_finished
    assert "The result so far" in panel.message.value
    assert panel.start_button.description == "Go on"
    quiet.clear()
    panel.start_button.click()
    assert panel.value is None
    panel.wait(120)
    assert panel.value.comparison.is_finished
    assert panel.value.request is request
    assert "Done: 4 of 4 trainings" in panel.state_line.value
    assert panel.start_button.disabled
    assert not is_shown(panel.share_bar)
    for value in panel.value.comparison.table.query("structure == 'mean'")["dice"]:
        assert f"{value:.3f}" in panel.scores.value
    assert "subject" not in re.sub(r"\d+ patients?", "", panel.lines.value)


def test_a_new_kernel_finds_what_is_finished(tmp_path, monkeypatch):
    request = make_request(tmp_path, epochs=1)
    first, _ = make_panel(request)
    first.compare()
    first.wait(120)
    again, _ = make_panel(make_request(tmp_path, epochs=1))
    again.wait(60)
    assert again.value.comparison is first.value.comparison
    monkeypatch.setattr(module, "COMPARISONS", Kernel())
    restarted, _ = make_panel(make_request(tmp_path, epochs=1))
    assert restarted.running is None
    assert restarted.start_button.description == SHOW
    monkeypatch.setattr("autoseg.evaluation.crossvalidation.run.train", None)  # nothing is trained again
    restarted.start_button.click()
    restarted.wait(60)
    before, after = first.value.comparison.table, restarted.value.comparison.table
    assert before["dice"].tolist() == pytest.approx(after["dice"].tolist())


def test_another_request_takes_the_result_back(tmp_path):
    request = make_request(tmp_path, epochs=1)
    panel, source = make_panel(request)
    panel.compare()
    panel.wait(120)
    assert panel.value is not None
    source.value = replace(request, folder=tmp_path / "other")
    assert panel.value is None
    assert panel.scores.value == ""
    source.value = None
    assert ComparisonPanel.first in panel.state_line.value
    panel.compare()
    assert "nothing to start yet" in panel.message.value


def test_what_changes_meanwhile_counts_from_the_next_start(tmp_path):
    request = make_request(tmp_path, epochs=500)
    panel, source = make_panel(request)
    panel.compare()
    until(lambda: panel.running.epochs)
    running = panel.running
    source.value = replace(request, folder=tmp_path / "other")
    assert panel.running is running
    assert "counts from the next start" in panel.note.value
    source.value = None
    assert running.is_active
    panel.stop()
    panel.wait(60)
    assert panel.value is None  # nothing was finished
    assert "Stopped: 0 of 4" in panel.state_line.value


def test_folds_of_other_settings_are_a_sentence_without_ids(tmp_path):
    panel, source = make_panel(make_request(tmp_path, epochs=1))
    panel.compare()
    panel.wait(120)
    source.value = make_request(tmp_path, epochs=2)
    assert panel.value is None
    panel.compare()
    panel.wait(60)
    assert panel.value is None
    assert "was made from something else: epochs was 1 and is 2" in panel.message.value
    assert "Another name above" in panel.message.value
    assert "Nothing was compared" in panel.state_line.value
    source.value = make_request(tmp_path, patients=5, epochs=1)
    panel.compare()
    panel.wait(60)
    assert "was made from something else" in panel.message.value
    assert not re.search(r"subject\d", panel.message.value)


def test_only_one_learns_on_a_computer(tmp_path):
    panel, _ = make_panel(make_request(tmp_path, epochs=500))
    panel.compare()
    other, _ = make_panel(replace(make_request(tmp_path), folder=tmp_path / "other"))
    other.start_button.click()
    assert other.running is None
    assert "Another training (&#x27;discs&#x27;, since" in other.message.value
    panel.stop()
