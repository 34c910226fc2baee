"""The command line says what a person needs, on the right stream, with the right exit code."""

import csv
import io
import re
import shutil
import signal
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
import torch
from folders import add_subject, change_label
from PIL import Image as PillowImage

from autoseg.cli import learning, main
from autoseg.cli.parser import build_parser
from autoseg.data.test_subjects import freeze_test_subjects, read_ledger
from autoseg.errors import SettingsError
from autoseg.files.dicom.phantoms import Phantom, write_phantom
from autoseg.model.model import load_model
from autoseg.model.settings.settings import AugmentationSettings, Settings
from autoseg.training.plan import change_settings
from autoseg.training.recipes import recipe

SMALL = ["--spacing-mm", "9", "--set", "network.filters=4,8"]


@pytest.fixture(scope="module")
def model(small_sample, tmp_path_factory):
    """A model file made by the command itself, in seconds, on a coarse grid."""
    folder = tmp_path_factory.mktemp("models")
    arguments = ["train", str(small_sample / "train"), "--name", "heart", "--epochs", "2", *SMALL]
    arguments += ["--set", "network.name=unet"]
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


def test_check_lists_every_finding_and_draws_them(tmp_path, capsys):
    for subject in ("Anna", "Bert"):
        add_subject(tmp_path / "cases", subject)
    for name in ("Anna_01", "Bert_02"):
        (tmp_path / "cases" / "labels" / f"{name}.npy").write_bytes(b"nothing")
    change_label(tmp_path / "cases", "Anna_02", lambda labels: labels[:, :-2])
    assert main(["check", str(tmp_path / "cases"), "--pictures", str(tmp_path / "found.png")]) == 1
    shown = capsys.readouterr()
    assert [line.split()[1] for line in shown.out.splitlines() if line.startswith("error:")] == [
        "Anna_01", "Anna_02", "Bert_02",
    ]  # fmt: skip
    assert "3 errors to be mended before a training" in shown.err
    assert (tmp_path / "found.png").read_bytes().startswith(b"\x89PNG")


def test_what_was_looked_for_everywhere_is_not_asked_again(tmp_path, capsys):
    add_subject(tmp_path, "Anna")
    change_label(tmp_path, "Anna_01", lambda labels: np.where(labels == 2, 0, labels))
    assert main(["check", str(tmp_path)]) == 0
    assert "--not-there 'label 2'" in capsys.readouterr().out
    assert main(["check", str(tmp_path), "--not-there", "label 2"]) == 0
    assert "absent" not in capsys.readouterr().out


def test_train_leaves_model_history_and_curves(model):
    assert sorted(path.name for path in model.parent.iterdir()) == [
        "heart_2.pt",
        "heart_2_MODEL_CARD.md",
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
    assert rows[0]["slice_position_mm"], "a file's own position is known though it is a single slice"
    assert (
        main(["measure", str(sample / "test"), "--case", rows[0]["case_id"], "--output", str(tmp_path / "one")])
        == 0
    )
    text = (tmp_path / "one" / "measurements.csv").read_text(encoding="utf-8")
    assert {row["case_id"] for row in csv.DictReader(text.splitlines())} == {rows[0]["case_id"]}
    assert main(["measure", str(sample / "test"), "--case", "nobody"]) == 1
    assert "has no case nobody. It has: " in capsys.readouterr().err


@pytest.mark.parametrize("command", ["train", "crossvalidate"])
def test_any_setting_can_be_given_by_its_name(command):
    typed = ["--set", "network.name=resunet", "--set", "loss.overlap=tversky", "--set", "patience=7"]
    chosen = build_parser().parse_args([command, "folder", "--batch-size", "3", "--minutes", "2", *typed])
    settings = learning.settings_of(chosen)
    assert (settings.network.name, settings.loss.overlap, settings.patience) == ("resunet", "tversky", 7)
    assert (settings.batch_size, settings.minutes, settings.epochs) == (3, 2, None)


def test_a_recipe_is_made_for_what_was_typed():
    def settings_for(*typed):
        chosen = build_parser().parse_args(["train", "folder", "--recipe", "pyramid-published", *typed])
        return learning.with_recipe(chosen, learning.settings_of(chosen))

    assert settings_for() == recipe("pyramid-published", epochs=500)
    own = settings_for("--batch-size", "3", "--minutes", "2", "--rotation-deg", "20", "--set", "loss.overlap=iou")
    assert own == change_settings(
        recipe("pyramid-published", minutes=2),
        {
            "batch_size": 3,
            "loss.overlap": "iou",
            "augmentation.rotation_deg": 20,
            "augmentation.rotation_probability": 1,
        },
    )
    assert settings_for("--augmentation", "off").augmentation == AugmentationSettings.off()


@pytest.mark.parametrize(
    ("typed", "words"),
    [(["pyramid-publish"], "Did you mean pyramid-published"), (["unet", "--base", "x.pt"], "Leave one out")],
)
def test_a_recipe_that_cannot_be_is_said_before_anything_is_read(typed, words, monkeypatch):
    monkeypatch.setattr("autoseg.cli.learning.base_of", lambda chosen: None)
    chosen = build_parser().parse_args(["train", "folder", "--recipe", *typed])
    with pytest.raises(SettingsError, match=words):
        learning.train(chosen)


def test_a_time_budget_given_by_its_name_takes_the_place_of_the_epochs():
    def settings(*typed):
        return learning.settings_of(build_parser().parse_args(["train", "folder", *typed]))

    assert settings("--set", "minutes=5").epochs is None
    assert settings("--set", "epochs=5", "--minutes", "3").minutes is None
    assert settings() == Settings()
    # What is given by its name counts, whatever option says the same.
    assert settings("--batch-size", "3", "--set", "batch_size=5").batch_size == 5


def test_a_training_with_settings_by_name(small_sample, tmp_path):
    command = ["train", str(small_sample / "train"), "--output", str(tmp_path), "--epochs", "1", *SMALL]
    assert (
        main([*command, "--set", "network.filters=4,8", "--set", "optimizer=sgd", "--set", "schedule=plateau"]) == 0
    )
    settings = load_model(tmp_path / "model_1.pt").settings
    assert (settings.network.filters, settings.optimizer, settings.schedule) == ((4, 8), "sgd", "plateau")
    assert settings.preprocess.spacing_mm == 9


def test_a_model_is_gone_on_from_by_its_name_or_its_file(model, small_sample, tmp_path, capsys):
    command = ["train", str(small_sample / "train"), "--output", str(tmp_path), "--epochs", "1"]
    command += ["--base", str(model)]
    typed = ["--set", "finetune.frozen=contraction,bottleneck", "--learning-rate", "1e-4"]
    assert main([*command, "--name", "on", *typed]) == 0
    # Only this one has the base not learnt from.
    shown = capsys.readouterr().out
    assert "of 1 patient: SCD0000501" in shown
    assert "Going on from TrainedModel(heart:" in shown
    assert "The base model 'heart' was validated on this validation patient, too" in shown
    tuned, base = load_model(tmp_path / "on_1.pt"), load_model(model)
    assert tuned.settings.preprocess == base.settings.preprocess
    assert (tuned.settings.batch_size, tuned.settings.learning_rate) == (5, 1e-4)
    assert tuned.settings.finetune.frozen == ("contraction", "bottleneck")
    assert tuned.origin["base"]["name"] == "heart"
    assert torch.equal(tuned.weights["contraction.0.0.weight"], base.weights["contraction.0.0.weight"])
    assert main([*command[:-1], "on", "--name", "again"]) == 0
    assert load_model(tmp_path / "again_1.pt").origin["base"]["base"]["name"] == "heart"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--base", "nothing.pt"], "nothing.pt is not there"),
        (["--base", "nothing"], "There is no model named 'nothing'"),
        (["--validation-subject", "SCD0000101"], "has learnt from SCD0000101, who validate"),
        (["--set", "network.name=resunet"], "network.name is 'resunet' and the base model 'heart' is a 'unet'"),
        (["--set", "finetune.frozen=encoder"], "a network has contraction, bottleneck, expansion, tail"),
    ],
)
def test_a_base_that_cannot_be_gone_on_from(arguments, words, model, small_sample, tmp_path, capsys):
    command = ["train", str(small_sample / "train"), "--output", str(tmp_path), "--base", str(model)]
    assert main([*command, *arguments]) == 1
    assert words in capsys.readouterr().err
    assert list(tmp_path.glob("*.pt")) == []


def test_the_settings_are_shown(capsys):
    assert main(["settings"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "network.name=unet" in lines
    assert "patience=none" in lines
    assert "    Images at once (batch). Slices seen at once. Halved, and said so, where the memory is not" in lines


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["check", "nowhere"], "nowhere"),
        (["train", "nowhere", "--set", "network.nam=unet"], "no setting 'network.nam'. Did you mean network.name"),
        (["crossvalidate", "nowhere", "--set", "network.name"], "give NAME=VALUE"),
        (["train", "nowhere", "--set", "minutes=3", "--set", "epochs=3"], "give one of them"),
        (["predict", "nowhere.pt", "scan"], "nowhere.pt is not there"),
        (["train", "nowhere", "--epochs", "0"], "epochs is 0"),
        (["train", "nowhere", "--name", "a/b"], "The model name 'a/b'"),
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


def test_a_subject_that_does_not_exist_is_told_before_training(small_sample, tmp_path, capsys):
    command = ["train", str(small_sample / "train"), "--output", str(tmp_path / "models")]
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
    monkeypatch.setattr("autoseg.model.device.measure_speed", lambda: "Speed: measured.")
    assert main(["computer"]) == 0
    assert "Learning on:" in capsys.readouterr().out

    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr("autoseg.model.device.measure_speed", interrupted)
    assert main(["computer"]) == 130
    assert "stopped" in capsys.readouterr().err


def _press_ctrl_c_at(word, presses, monkeypatch):
    real = learning.tell

    def tell(line):
        real(line)
        if word in line:
            for _ in range(presses):
                signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(learning, "tell", tell)


def test_ctrl_c_stops_a_training_that_resume_goes_on_with(small_sample, tmp_path, capsys, monkeypatch):
    command = ["train", str(small_sample / "train"), "--name", "heart", "--output", str(tmp_path)]
    options = ["--epochs", "4", *SMALL, "--validation-subject", "SCD0000501"]
    usual = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        _press_ctrl_c_at("Epoch 2 of", 1, patch)
        assert main([*command, *options]) == 0
    assert signal.getsignal(signal.SIGINT) is usual
    shown = capsys.readouterr().out
    assert "Stopping after this step." in shown
    assert "give the same command with --resume" in shown
    assert {"heart_2.pt", "heart_resume.pt"} <= {path.name for path in tmp_path.iterdir()}

    # Neither the settings nor the subject to validate on need be said again.
    assert main([*command, "--resume"]) == 0
    shown = capsys.readouterr().out
    assert "Going on with 'heart' after epoch 2" in shown
    assert "Validation: 4 images of 1 patient: SCD0000501" in shown
    assert "Epoch 4 of 4, " in shown
    assert "--resume" not in shown
    assert len(read_rows(tmp_path / "heart_history.csv")) == 4
    assert not (tmp_path / "heart_resume.pt").exists()

    assert main([*command, "--resume"]) == 1
    assert "no unfinished training named 'heart'" in capsys.readouterr().err


def test_a_second_ctrl_c_does_not_wait(small_sample, tmp_path, capsys, monkeypatch):
    command = ["train", str(small_sample / "train"), "--output", str(tmp_path), "--epochs", "4", *SMALL]
    _press_ctrl_c_at("Epoch 2 of", 2, monkeypatch)
    assert main(command) == 0
    assert (tmp_path / "model_2.pt").is_file()
    assert "--resume" not in capsys.readouterr().out  # nothing was kept that could go on


def test_a_subject_set_aside_since_is_not_learnt_from_again(small_sample, tmp_path, capsys, monkeypatch):
    data = tmp_path / "data"
    shutil.copytree(small_sample / "train", data)
    command = ["train", str(data), "--output", str(tmp_path / "models"), "--epochs", "3", *SMALL]
    with monkeypatch.context() as patch:
        _press_ctrl_c_at("Epoch 1 of", 1, patch)
        assert main(command) == 0
    freeze_test_subjects(data, ["SCD0000501"])
    assert main([*command, "--resume"]) == 1
    assert "has seen SCD0000501, set aside" in capsys.readouterr().err


def test_demo_runs_from_end_to_end(tmp_path, small_sample, capsys, monkeypatch):
    monkeypatch.setattr(learning, "DEMO_SPACING_MM", 9.0)
    monkeypatch.setattr(learning, "ROOT", small_sample.parents[1])
    assert main(["demo", "--minutes", "0.03", "--output", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "SCD0000301, cavity: Dice" in shown
    assert "SCD0000301, myocardium: Dice" in shown
    assert "Expert mm²" in shown
    assert sorted(path.name for path in tmp_path.iterdir()) == ["predictions", "trained_model"]


def read_rows(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


class TestOtherFolders:
    """Pictures in images and masks, from six people: check, train with test subjects, score, folds."""

    @pytest.fixture
    def folder(self, tmp_path):
        rng = np.random.default_rng(0)
        for part in ("images", "masks"):
            (tmp_path / "data" / part).mkdir(parents=True)
        rows, columns = np.mgrid[:48, :40]
        for person in "abcdef":
            for k in (1, 2):
                centre = rng.integers(15, 30, 2)
                disc = (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < 60
                grey = (60 + 120 * disc + rng.normal(0, 8, disc.shape)).clip(0, 255).astype(np.uint8)
                PillowImage.fromarray(grey).save(tmp_path / "data" / "images" / f"{person}_slice{k}.png")
                PillowImage.fromarray(disc.astype(np.uint8)).save(
                    tmp_path / "data" / "masks" / f"{person}_slice{k}.png"
                )
        return tmp_path / "data"

    def test_the_test_subjects_are_set_aside_and_looks_are_counted(self, folder, capsys):
        models = folder.parent / "models"
        train = ["train", str(folder), "--epochs", "2", "--output", str(models), "--input-shape", "48", "48"]
        assert main([*train, "--test-subject", "a"]) == 0
        assert "Test, set aside: 2 images of 1 patient: a" in capsys.readouterr().out
        places = []
        for looks in ("once", "2 times"):
            score = ["score", str(models / "model_2.pt"), str(folder), "--output", str(folder.parent / "out")]
            assert main(score) == 0
            shown = capsys.readouterr().out
            assert f"looked at {looks}" in shown
            places.append(Path(shown.splitlines()[-1].removeprefix("Saved in ")))
            assert {row["subject_id"] for row in read_rows(places[-1] / "results.csv")} == {"a"}
        assert sorted(places) == sorted((folder.parent / "out").iterdir())
        assert all(place.name.startswith("model_test_2") for place in places)
        assert main([*train, "--test-subject", "b"]) == 1
        assert "frozen since" in capsys.readouterr().err

    def test_a_test_subject_that_does_not_exist_is_not_frozen(self, folder, capsys):
        train = ["train", str(folder), "--epochs", "1", "--output", str(folder.parent / "models")]
        assert main([*train, "--test-subject", "Mickey"]) == 1
        assert "No case belongs to Mickey" in capsys.readouterr().err
        assert read_ledger(folder) is None

    def test_frozen_subjects_that_are_gone_stop_the_folds(self, folder, capsys):
        freeze_test_subjects(folder, ["a", "gone"])
        command = ["crossvalidate", str(folder), "--output", str(folder.parent / "models")]
        assert main([*command, "--input-shape", "48", "48", "--epochs", "1"]) == 1
        assert "No case belongs to gone" in capsys.readouterr().err
        assert not (folder.parent / "models").exists()
        assert main(["train", str(folder), "--epochs", "1", "--output", str(folder.parent / "models")]) == 1
        shown = capsys.readouterr()
        assert "2 patients are set aside for a last test, frozen since" in shown.out
        assert "No case belongs to gone" in shown.err

    def test_folds_score_everyone_once(self, folder, capsys, monkeypatch):
        output = folder.parent / "models"
        command = ["crossvalidate", str(folder), "--folds", "3", "--epochs", "1", "--output", str(output)]
        assert main([*command, "--input-shape", "48", "48"]) == 0
        rows = read_rows(output / "model_folds" / "results.csv")
        assert sorted(row["subject_id"] for row in rows) == list("abcdef")
        assert "dice" in capsys.readouterr().out
        assert main([*command, "--input-shape", "48", "48", "--report"]) == 0
        assert "finished before" in capsys.readouterr().out
        page = (output / "model_folds" / "study_report.html").read_text(encoding="utf-8")
        assert "Cross-validation of model" in page
        assert "not kept" not in page
        assert (output / "model_folds" / "study_report.pdf").read_bytes().startswith(b"%PDF")
        asked = []
        monkeypatch.setattr(
            "autoseg.evaluation.study.write_study_report", lambda *of, **how: asked.append((of, how)) or ()
        )
        assert main(["report", str(output / "model_folds"), "--no-ids"]) == 0
        assert asked == [((output / "model_folds",), {"show_ids": False})]

    def test_pictures_are_segmented_with_a_typed_field_of_view(self, folder, capsys):
        models = folder.parent / "models"
        assert (
            main(["train", str(folder), "--epochs", "1", "--output", str(models), "--input-shape", "48", "48"]) == 0
        )
        predict = [
            "predict",
            str(models / "model_1.pt"),
            str(folder / "images"),
            "--output",
            str(folder.parent / "out"),
        ]
        assert main(predict) == 0
        assert "so areas there are in pixels" in capsys.readouterr().out
        (first,) = (folder.parent / "out").iterdir()
        assert {row["area_mm2"] for row in read_rows(first / "measurements.csv")} == {""}
        assert main([*predict, "--field-of-view-mm", "96", "80"]) == 0
        (run,) = set((folder.parent / "out").iterdir()) - {first}
        areas = read_rows(run / "measurements.csv")
        assert {row["pixel_row_mm"] for row in areas} == {"2"}
        assert {row["spacing_source"] for row in areas} == {"typed"}

    def test_a_structure_that_was_not_drawn_is_written_down(self, folder, capsys):
        empty = folder / "masks" / "a_slice1.png"
        PillowImage.fromarray(np.zeros((48, 40), np.uint8)).save(empty)
        assert main(["check", str(folder), "--not-drawn", "label 1"]) == 0
        assert "a_slice1,0" in (folder / "annotated.csv").read_text()
        assert "written down" in capsys.readouterr().out

    def test_series_and_raters(self, folder, sample, tmp_path, capsys):
        assert main(["series", str(sample / "test" / "dicoms"), "--picture", str(tmp_path / "series.png")]) == 0
        assert "axial" in capsys.readouterr().out or (tmp_path / "series.png").stat().st_size > 1000
        assert main(["raters", str(folder)]) == 1
        assert "several raters" in capsys.readouterr().err


def test_series_tells_folder_and_patient(tmp_path, capsys):
    for name in ("left", "right"):
        for path in write_phantom(tmp_path / "scans" / name, Phantom("leg", rows=24, columns=20)):
            dataset = pydicom.dcmread(path)
            dataset.SeriesInstanceUID, dataset.PatientID = f"1.2.{ord(name[0])}", f"PAT-{name}"
            dataset.save_as(path)
    (tmp_path / "more.dcm.gz").write_bytes(b"\x1f\x8b" + bytes(300))
    assert main(["series", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"series-1 +scans/left +PAT-left", printed)
    assert re.search(r"series-1-2 +scans/right +PAT-right", printed)
    assert "more.dcm.gz (a packed file (.gz): unpack it first)" in printed


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_a_name_that_the_window_cannot_show_ends_no_command(tmp_path, monkeypatch, encoding):
    window, errors = (io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2))
    monkeypatch.setattr(sys, "stdout", window)
    monkeypatch.setattr(sys, "stderr", errors)
    assert main(["check", str(tmp_path / "ni\udce9ts 腰 μ")]) == 1
    errors.flush()
    assert errors.buffer.getvalue().startswith(b"autoseg: ")
    assert b"ni?ts" in errors.buffer.getvalue()


def test_a_name_that_is_too_long_for_a_file_is_told_in_a_sentence(tmp_path, capsys):
    assert main(["check", str(tmp_path / ("x" * 10_000))]) == 1
    assert capsys.readouterr().err.startswith("autoseg: ")
