"""Small trainings in the background, for the tests of the panels: made-up discs, and nobody else who learns."""

import time

from discs import STRUCTURES, make_pair, make_split, patch_reading, quick_settings

from autoseg.panels.parts.background import Kernel
from autoseg.panels.parts.values import Task
from autoseg.panels.training import running


def alone(monkeypatch, folder):
    """Let trainings read made-up cases, and have a turn and a registry of their own."""
    patch_reading(monkeypatch)
    monkeypatch.setattr(
        "autoseg.prediction.watched.read_case",
        lambda case, structures: make_pair(int(case.case_id.removeprefix("case"))),
    )
    monkeypatch.setattr("autoseg.panels.parts.background.turn_file", lambda: folder / "turn.lock")
    monkeypatch.setattr(running, "TRAININGS", Kernel())


def make_task(folder, name="discs", training=(0, 1, 2, 3), validation=(8, 9), **changes):
    return Task(make_split(training, validation), quick_settings(**changes), STRUCTURES, name, folder)


def until(condition, seconds=60):
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)
