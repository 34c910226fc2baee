"""The command line says what a person needs, on the right stream, with the right exit code."""

import csv

import pytest
import torch

from autoseg import cli
from autoseg.cli import main


@pytest.fixture(scope="module")
def model(sample, tmp_path_factory):
    """A model file made by the command itself, in seconds, on a coarse grid."""
    folder = tmp_path_factory.mktemp("models")
    arguments = ["train", str(sample / "train"), "--name", "heart", "--epochs", "2", "--spacing-mm", "9"]
    assert main([*arguments, "--validation-subject", "SCD0000501", "--output", str(folder)]) == 0
    return folder / "heart_2.pt"


def test_help_names_the_commands(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("check", "train", "predict", "measure", "selftest", "demo"))
    with pytest.raises(SystemExit):
        main(["predict", "--help"])
    assert "--field-of-view-mm" in capsys.readouterr().out


def test_check_shows_pairs_and_ends_well(sample, capsys):
    assert main(["check", str(sample / "test")]) == 0
    shown = capsys.readouterr().out
    assert "SCD0000301_007" in shown
    assert "20 pairs can be learnt from." in shown


def test_train_leaves_model_history_and_curves(model):
    assert sorted(path.name for path in model.parent.iterdir()) == [
        "heart_2.pt",
        "heart_history.csv",
        "heart_history.png",
    ]


def test_predict_prints_and_saves_the_areas_and_compares(model, sample, tmp_path, capsys):
    command = ["predict", str(model), str(sample / "test" / "dicoms"), "--output", str(tmp_path)]
    assert main([*command, "--reference", str(sample / "test")]) == 0
    shown = capsys.readouterr().out
    assert "cavity mm²" in shown
    assert "mean" in shown
    assert "SCD0000301, cavity: Dice" in shown
    (run,) = tmp_path.iterdir()
    assert (run / "areas.csv").is_file()
    assert str(run) in shown


def test_measure_measures_drawn_labels(sample, tmp_path, capsys):
    assert main(["measure", str(sample / "test"), "--output", str(tmp_path / "out")]) == 0
    assert "cavity mm²" in capsys.readouterr().out
    text = (tmp_path / "out" / "measurements.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    assert len(rows) == 30
    assert float(rows[0]["area_mm2"]) == pytest.approx(int(rows[0]["pixel_count"]) * 1.2891**2, rel=1e-4)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["check", "nowhere"], "nowhere"),
        (["predict", "nowhere.pt", "scan"], "nowhere.pt is not there"),
        (["train", "nowhere", "--epochs", "0"], "epochs is 0"),
        (["train", "nowhere", "--name", "a/b"], "nowhere"),
    ],
)
def test_what_goes_wrong_is_one_sentence_on_the_error_stream(arguments, words, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 1
    shown = capsys.readouterr()
    assert shown.err.startswith("autoseg: ")
    assert words in shown.err
    assert "Traceback" not in shown.err
    assert list(tmp_path.iterdir()) == []


def test_a_subject_that_does_not_exist_is_told_before_training(sample, tmp_path, capsys):
    command = ["train", str(sample / "train"), "--output", str(tmp_path / "models")]
    assert main([*command, "--validation-subject", "Mickey"]) == 1
    assert "SCD0000101" in capsys.readouterr().err
    assert not (tmp_path / "models").exists()


def test_a_model_file_that_is_not_ours(sample, tmp_path, capsys):
    torch.save({"weights": torch.zeros(1)}, tmp_path / "other.pt")
    command = ["predict", str(tmp_path / "other.pt"), str(sample / "test" / "dicoms")]
    assert main([*command, "--output", str(tmp_path / "out")]) == 1
    assert "not written by autoseg" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_selftest_prints_the_worst_error(capsys):
    assert main(["selftest"]) == 0
    assert "Passed. The worst area is wrong by 0.000 %" in capsys.readouterr().out


def test_computer_and_interruption(capsys, monkeypatch):
    monkeypatch.setattr("autoseg.device.measure_speed", lambda: "Speed: measured.")
    assert main(["computer"]) == 0
    assert "Learning on:" in capsys.readouterr().out

    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr("autoseg.device.measure_speed", interrupted)
    assert main(["computer"]) == 130
    assert "stopped" in capsys.readouterr().err


def test_demo_runs_from_end_to_end(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(cli, "DEMO_SPACING_MM", 9.0)
    assert main(["demo", "--minutes", "0.03", "--output", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "SCD0000301, cavity: Dice" in shown
    assert "SCD0000301, myocardium: Dice" in shown
    assert "expert mm²" in shown
    assert sorted(path.name for path in tmp_path.iterdir()) == ["predictions", "trained_model"]
