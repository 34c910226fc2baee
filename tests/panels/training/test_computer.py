"""The computer panel: facts at once, the speed later, advice where something is amiss."""

import threading
from dataclasses import replace

import pytest

from autoseg.model.device import Computer
from autoseg.panels.training import computer as module
from autoseg.panels.training.computer import ComputerPanel

COMPUTER = Computer("cpu", "the processor (Xeon), no GPU in use", 16.0, None, 8, "float32", "", free_gib=9.5)


@pytest.fixture
def found(monkeypatch):
    """What `find_computer` and `measure_speed` give; tests change it."""
    answers = {"computer": COMPUTER, "speed": lambda: "Speed: 12 slices."}
    monkeypatch.setattr(module, "find_computer", lambda: answers["computer"])
    monkeypatch.setattr(module, "measure_speed", lambda: answers["speed"]())
    return answers


def test_facts_stand_there_at_once_and_the_speed_follows(found):
    go = threading.Event()
    found["speed"] = lambda: go.wait(30) and "Speed: 12 slices."
    panel = ComputerPanel()
    assert panel.value is COMPUTER
    assert "8 processor cores, 16 GiB memory (9.5 GiB free)" in panel.facts.value
    assert "the processor (Xeon)" in panel.facts.value
    assert panel.speed.value == ""
    assert "Measuring" in panel.message.value
    go.set()
    panel.wait(60)
    assert "12 slices" in panel.speed.value
    assert panel.message.value == ""
    assert panel.value is COMPUTER


def test_advice_is_a_warning_and_goes_away_when_it_is_followed(found):
    found["computer"] = replace(COMPUTER, advice="Install the CUDA build.")
    panel = ComputerPanel()
    panel.wait(60)
    assert "Install the CUDA build." in panel.advice.value
    found["computer"] = COMPUTER
    panel.again.click()
    panel.wait(60)
    assert panel.advice.value == ""
    assert panel.value is COMPUTER


def test_a_speed_that_cannot_be_measured_is_said(found):
    def fails():
        raise RuntimeError("CUDA out of memory\nlong story")

    found["speed"] = fails
    panel = ComputerPanel()
    panel.wait(60)
    assert "could not be measured (CUDA out of memory)" in panel.speed.value
    assert panel.value is COMPUTER


def test_a_computer_that_cannot_be_looked_at_leaves_no_earlier_facts(found, monkeypatch):
    panel = ComputerPanel()
    panel.wait(60)

    def fails():
        raise OSError("no such device")

    monkeypatch.setattr(module, "find_computer", fails)
    panel.again.click()
    assert panel.value is None
    assert panel.facts.value == panel.speed.value == ""
    assert "no such device" in panel.message.value


def test_the_real_computer():
    panel = ComputerPanel()
    panel.wait(60)
    assert "slices of 128" in panel.speed.value
    assert panel.value.cores >= 1
