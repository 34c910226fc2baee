"""Trainings killed at every moment of what they write: the state before or after, and the next one works."""

import csv

import pytest
from discs import STRUCTURES, make_split, patch_reading, quick_settings
from kills import kill_everywhere
from trainings import stand_in

from autoseg.files.atomic import settle
from autoseg.model.model import find_model, load_model
from autoseg.model.model_list import list_models
from autoseg.model.settings.settings import NetworkSettings
from autoseg.model.stored.tensor_file import MODEL, UNFINISHED, read_tensors
from autoseg.training.checkpoint import find_unfinished
from autoseg.training.save import train_and_save


class _Killed(Exception):
    pass


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    patch_reading(monkeypatch)
    stand_in(monkeypatch)
    monkeypatch.setattr("os.fsync", lambda _: None)  # nobody pulls the plug


def learn(folder, *, until=None, **options):
    """Train to the end, or be killed in the epoch after `until`."""

    def on_epoch(result, best, last):
        if result.epoch - 1 == until:
            raise _Killed

    settings = quick_settings(epochs=5, save_checkpoint=2, network=NetworkSettings(filters=(2, 4)))
    try:
        return train_and_save(
            make_split([0], [1]),
            settings,
            structures=STRUCTURES,
            name="discs",
            folder=folder,
            on_epoch=on_epoch,
            should_stop=lambda: False,
            **options,
        )
    except _Killed:
        return None


KNOWN = {}


def epochs_in(path):
    """After which epoch a model or what can be resumed was written; equal files are read once."""
    content = path.read_bytes()
    if content not in KNOWN:
        held = read_tensors(path, UNFINISHED if path.name.endswith("_resume.pt") else MODEL)
        KNOWN[content] = len(held.get("last", held)["history"])
    return KNOWN[content]


def seen(folder):
    """What a reader of the folder sees: of which epoch each file is."""
    settle(folder)
    history = folder / "discs_history.csv"
    rows = len(list(csv.reader(history.read_text(encoding="utf-8").splitlines()))) if history.exists() else 0
    return {"rows": rows, **{path.name: epochs_in(path) for path in sorted(folder.glob("*.pt"))}}


def once_each(folder, then):
    """The next command, once for each state that it finds."""
    known = []

    def act():
        state = seen(folder)
        if state not in known:
            known.append(state)
            then()

    return act


def test_a_checkpoint_is_the_one_before_or_the_one_after(tmp_path):
    folder = tmp_path / "models"
    learn(folder, until=2)
    assert seen(folder) == {"rows": 3, "discs_best.pt": 2, "discs_last.pt": 2, "discs_resume.pt": 2}

    def then():
        learn(folder, resume=True)
        assert seen(folder) == {"rows": 6, "discs_5.pt": 5}

    survey = kill_everywhere(
        folder,
        lambda: learn(folder, until=4, resume=True),
        lambda: seen(folder),
        then=once_each(folder, then),
    )
    assert survey, survey
    assert survey.moments > 50


def test_the_model_takes_the_place_of_the_rest_in_one_step(tmp_path):
    folder = tmp_path / "models"
    learn(folder, until=4)

    def then():
        assert not any(entry.problem for entry in list_models(folder))
        load_model(find_model(folder, "discs"))
        if find_unfinished(folder):
            learn(folder, resume=True)
        assert sorted(path.name for path in folder.iterdir()) == [
            "discs_5.pt",
            "discs_5_MODEL_CARD.md",
            "discs_history.csv",
        ]

    survey = kill_everywhere(
        folder, lambda: learn(folder, resume=True), lambda: seen(folder), then=once_each(folder, then)
    )
    assert survey, survey
    assert survey.moments > 50
