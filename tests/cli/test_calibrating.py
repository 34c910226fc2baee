"""`train --calibrate` and `calibrate` on three small patients: the share told, the same file, and going on."""

import json

import pytest
from folders import add_subject

from autoseg.cli import main
from autoseg.cli.parser import build_parser
from autoseg.data.test_subjects import freeze_test_subjects
from autoseg.model.model import load_model

TINY = ["--epochs", "1", "--spacing-mm", "6", "--set", "network.filters=2,4"]


def add_subjects(folder, subjects):
    for number, subject in enumerate(subjects):  # no two have the same pixels
        add_subject(folder, subject, rows=40 + 4 * number)


@pytest.fixture
def cases(tmp_path):
    folder = tmp_path / "cases"
    add_subjects(folder, ("Anna", "Bert", "Cleo", "Dora"))
    freeze_test_subjects(folder, ["Dora"])
    return folder


def test_train_calibrates_without_the_test_subjects_and_goes_on_where_it_was(cases, tmp_path, capsys, monkeypatch):
    output = tmp_path / "models"
    train = ["train", str(cases), "--name", "small", "--validation-subject", "Cleo", *TINY, "--output", str(output)]
    assert main([*train, "--calibrate"]) == 0
    shown = capsys.readouterr().out
    before, after = shown.split("Epoch 1 of 1", maxsplit=1)
    assert "The model, and then each of its 3 twins, learns for 1 epoch: at most 4 times as long" in before
    assert "Fold 3 of 3" in after
    assert "How far areas can be off is known from 3 patients" in after
    folds = output / "small_1_calibration"
    tested = []
    for number in (1, 2, 3):
        made_from = json.loads((folds / f"fold_{number}" / "fold.json").read_text(encoding="utf-8"))["made_from"]
        tested += [name.split("_")[0] for name in made_from["test"]]
        assert not any("Dora" in name for side in ("training", "validation", "test") for name in made_from[side])
    assert sorted(set(tested)) == ["Anna", "Bert", "Cleo"]

    learnt = load_model(output / "small_1.pt")
    monkeypatch.setattr("autoseg.evaluation.crossvalidation.run.train", lambda *_, **__: pytest.fail("it learnt"))
    assert main(["calibrate", str(output / "small_1.pt"), str(cases)]) == 0
    assert capsys.readouterr().out.count("finished before") == 3
    assert load_model(output / "small_1.pt").offsets == learnt.offsets
    assert main(["calibrate", str(output / "small_1.pt"), str(cases), "--from", str(output)]) == 1
    shown = capsys.readouterr()
    assert "is not the folder of a finished cross-validation" in shown.err


def test_stopped_twins_are_said_to_be_missing_and_resume_goes_on_with_them(cases, tmp_path, capsys, monkeypatch):
    output = tmp_path / "models"
    train = ["train", str(cases), "--name", "small", "--validation-subject", "Cleo", *TINY, "--output", str(output)]
    from autoseg.evaluation.crossvalidation import run as folds_running

    real, count = folds_running.train, []

    def interrupted(*arguments, **more):
        count.append(more["name"])
        if len(count) == 2:
            raise KeyboardInterrupt
        return real(*arguments, **more)

    monkeypatch.setattr(folds_running, "train", interrupted)
    assert main([*train, "--calibrate"]) == 0
    shown = capsys.readouterr().out
    assert "It was stopped: how far areas can be off is not known yet. The model is kept." in shown
    assert f"autoseg calibrate {output / 'small_1.pt'} {cases}" in shown
    assert main([*train, "--calibrate", "--resume"]) == 0
    assert "How far areas can be off is known from 3 patients" in capsys.readouterr().out
    assert count == ["small_fold1", "small_fold2", "small_fold2", "small_fold3"]


def test_too_few_patients_end_the_command_before_anything_is_learnt(tmp_path, capsys):
    add_subjects(tmp_path / "cases", ("Anna", "Bert"))
    command = ["train", str(tmp_path / "cases"), *TINY, "--calibrate", "--output", str(tmp_path / "models")]
    assert main(command) == 1
    shown = capsys.readouterr()
    assert "cannot be measured with 2 patients" in shown.err
    assert "Epoch" not in shown.out


def test_half_of_typed_minutes_are_the_models():
    from autoseg.cli.learning import settings_of
    from autoseg.evaluation.calibrate import models_time

    chosen = build_parser().parse_args(["train", "folder", "--minutes", "8", "--calibrate"])
    assert models_time(settings_of(chosen)).minutes == 4
