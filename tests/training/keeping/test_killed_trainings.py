"""Trainings that are killed at every moment of what they write: the state before or after, and the next one works."""

import csv

import pytest
from discs import STRUCTURES, make_split, patch_reading, quick_settings
from kills import kill_everywhere
from trainings import stand_in

from autoseg.model.model import find_model, load_model, model_files
from autoseg.model.model_list import list_models
from autoseg.model.settings.settings import NetworkSettings
from autoseg.training.checkpoint import find_unfinished
from autoseg.training.save import train_and_save


class _Killed(Exception):
    pass


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    patch_reading(monkeypatch)
    stand_in(monkeypatch)


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


def seen(folder):
    """What a reader of the folder sees: of which epoch each file is."""
    unfinished = [(one.name, one.epochs_done, one.problem) for one in find_unfinished(folder)]
    models = {path.name: len(load_model(path).history) for path in model_files(folder)}
    history = folder / "discs_history.csv"
    rows = len(list(csv.reader(history.read_text(encoding="utf-8").splitlines()))) if history.exists() else 0
    return {"unfinished": unfinished, "rows": rows, **models}


def test_a_checkpoint_is_the_one_before_or_the_one_after(tmp_path):
    folder = tmp_path / "models"
    learn(folder, until=2)
    assert seen(folder) == {
        **{"unfinished": [("discs", 2, "")], "rows": 3, "discs_best.pt": 2, "discs_last.pt": 2}
    }
    survey = kill_everywhere(
        folder,
        lambda: learn(folder, until=4, resume=True),
        lambda: seen(folder),
        then=lambda: learn(folder, resume=True),
    )
    assert survey, survey


def test_the_model_takes_the_place_of_the_rest_in_one_step(tmp_path):
    folder = tmp_path / "models"
    learn(folder, until=4)

    def then():
        assert not any(entry.problem for entry in list_models(folder))
        load_model(find_model(folder, "discs"))
        if find_unfinished(folder):
            learn(folder, resume=True)
        assert sorted(path.name for path in folder.iterdir()) == ["discs_5.pt", "discs_history.csv"]

    survey = kill_everywhere(folder, lambda: learn(folder, resume=True), lambda: seen(folder), then=then)
    assert survey, survey
