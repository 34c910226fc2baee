"""The list of models: newest first, with the facts, and no file hidden."""

import os
import time

import pytest
import torch
from untrained import made_up_model, unfinished

from autoseg.model.model import EpochResult, find_model, save_model
from autoseg.model.model_list import list_models, models_table, newest_model
from autoseg.model.networks import build_network
from autoseg.model.settings.settings import NetworkSettings, PreprocessSettings, Settings, VolumeSettings
from autoseg.model.trust import Calibration, How, Trust


def test_whether_a_model_is_calibrated_stands_in_its_line_and_its_facts(tmp_path):
    known = {"date": "2026-05-02T10:00:00+00:00", "patients": 20, "unit": "mm²", "structures": ("psoas",)}
    known |= {"errors": (), "level": 0.9, "coverage": (None,)}
    for how, words, fact in (
        (How.FOLDS, "calibrated on 20 patients", "known from 20 patients, each measured by a twin"),
        (How.VALIDATION, "calibrated on 20 validation patients alone", "by whom some of it was chosen"),
    ):
        model = made_up_model(trust=Trust(calibration=Calibration(how=how.value, **known)))
        save_model(model, tmp_path / "thigh_3.pt")
        (entry,) = list_models(tmp_path)
        assert f"Dice 0.20, {words} — " in entry.line
        assert fact in dict(entry.facts)["Errors of areas"]
        assert models_table([entry])["calibrated"].tolist() == [words]


def test_the_facts_of_a_model(tmp_path):
    path = save_model(made_up_model(), tmp_path)
    (entry,) = list_models(tmp_path)
    assert (entry.path, entry.name, entry.problem, entry.unfinished) == (path, "thigh", "", "")
    assert (entry.validation_dice, entry.dice, entry.best_epoch, entry.epochs) == (0.2, (0.2, None), 2, 3)
    assert (entry.spacing_mm, entry.input_shape, entry.channels) == (0.75, None, ("T1w",))
    assert (entry.training_subjects, entry.validation_subjects, entry.training_slices) == (9, 2, 1234)
    assert (entry.ended, entry.date.isoformat()) == ("it was stopped", "2026-03-02T10:00:00+00:00")
    facts = dict(entry.facts)
    assert facts["Structures"] == "psoas (left), gracilis"
    assert facts["Validation score"].startswith(
        "Dice 0.20 on 2 patients that it did not learn from (psoas 0.20, grac"
    )
    assert facts["Trained on"] == "9 patients, 1,234 slices"
    assert facts["Pixel size"] == "every slice is brought to pixels of 0.75 mm"
    assert facts["Ended because"] == "it was stopped"
    assert facts["New images"] == (
        "not compared with what it learnt from, which it does not know, so that their light is amber; no slice is "
        "judged"
    )
    assert "kept epoch 2 of 3" in facts["Trained"]
    assert "Areas" not in facts
    assert entry.line.startswith("thigh_3.pt — 2 Mar 2026, ")
    assert entry.line.endswith(" — Dice 0.20, not calibrated — psoas, gracilis")


def test_offsets_are_told_as_probabilities(tmp_path):
    save_model(made_up_model(offsets=(0.2, 0.0)), tmp_path)
    (entry,) = list_models(tmp_path)
    words = dict(entry.facts)["Areas"]
    assert words.startswith("made right on average")
    assert words.endswith("(psoas from 0.45 on, gracilis from 0.50 on)")


def test_the_newest_comes_first_whatever_the_file_s_own_date(tmp_path):
    for name, day in (("old", "2024-01-01"), ("new", "2026-01-01"), ("middle", "2025-01-01")):
        save_model(made_up_model(name, day), tmp_path)
    save_model(made_up_model("new", "2026-01-01", epochs=12), tmp_path)  # resumed: the date of its start
    entries = list_models(tmp_path)
    assert [entry.path.name for entry in entries] == ["new_12.pt", "new_3.pt", "middle_3.pt", "old_3.pt"]
    assert newest_model(entries).path.name == "new_12.pt"
    assert newest_model(entries, "middle").path.name == "middle_3.pt"
    assert newest_model(entries, "none") is None


def test_no_file_is_hidden_and_what_is_no_model_is_left_out(tmp_path):
    path = save_model(made_up_model(), tmp_path)
    (tmp_path / "part.pt").write_bytes(path.read_bytes()[:2000])
    torch.save({"weights": torch.zeros(2)}, tmp_path / "other.pt")
    content = torch.load(path, weights_only=True)
    del content["structures"]
    torch.save(content, tmp_path / "gap.pt")
    for name in ("thigh_resume.pt", "README.md", "thigh_history.csv"):
        (tmp_path / name).write_text("no model")
    entries = {entry.path.name: entry for entry in list_models(tmp_path)}
    assert sorted(entries) == ["gap.pt", "other.pt", "part.pt", "thigh_3.pt"]
    assert "only a part of one" in entries["part.pt"].problem
    assert "not written by autoseg" in entries["other.pt"].problem
    assert "incomplete or damaged: it lacks its structures" in entries["gap.pt"].problem
    assert entries["part.pt"].line == "part.pt — cannot be read"
    assert dict(entries["gap.pt"].facts)["Problem"] == entries["gap.pt"].problem
    assert newest_model(tuple(entries.values())).path == path


ODD = {
    "name": 5,
    "structures": [{"label": "one", "name": "psoas"}],
    "channels": "T1w",
    "weights": {"a": 1},
    "history": [{"epoch": 1, "dice": "good"}],
    "best_epoch": None,
    "origin": {"training_subjects": float("inf")},
    "settings": {"network": "unet"},
    "finder": "no finder",
    "postprocess": [{"threshold": "half"}],
}


def test_an_odd_file_is_told_and_hides_no_other(tmp_path):
    path = save_model(made_up_model(), tmp_path)
    content = torch.load(path, weights_only=True)
    for name, value in ODD.items():
        torch.save({**content, name: value}, tmp_path / f"{name}.pt")
    (tmp_path / "folder_1.pt").mkdir()
    (tmp_path / "thigh_9.pt").mkdir()
    (tmp_path / "empty.pt").touch()
    (tmp_path / "other.pt").write_bytes(b"of another program" * 10000)
    entries = list_models(tmp_path)
    problems = {entry.path.name: entry.problem for entry in entries if entry.problem}
    assert set(problems) == {f"{name}.pt" for name in (*ODD, "folder_1", "thigh_9", "empty", "other")}
    for name in ODD:
        assert f"{name}.pt is incomplete or damaged: " in problems[f"{name}.pt"]
        assert problems[f"{name}.pt"].endswith("Copy it again from where it was trained, or train anew.")
    assert "has 'good' in place of its dice" in problems["history.pt"]
    assert "is a folder" in problems["folder_1.pt"]
    assert newest_model(entries).path == path
    assert find_model(tmp_path, "thigh") == path
    assert len(models_table(entries)) == len(problems) + 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs links, pipes and names that are no text")
def test_what_only_some_systems_have_hides_no_other(tmp_path):
    path = save_model(made_up_model(), tmp_path)
    os.mkfifo(tmp_path / "pipe.pt")
    (tmp_path / "thigh_7.pt").symlink_to(tmp_path / "gone")
    (tmp_path / "\udcff.pt").touch()
    entries = list_models(tmp_path)
    assert newest_model(entries).path == path
    assert find_model(tmp_path, "thigh") == path
    for entry in entries:
        (entry.line + str(entry.facts)).encode()  # can be printed
    assert "?.pt — cannot be read" in [entry.line for entry in entries]


def test_an_unfinished_training_is_said_and_its_latest_never_chosen(tmp_path):
    model = unfinished(made_up_model())
    save_model(model, tmp_path / "thigh_last.pt")
    save_model(model, tmp_path / "thigh_best.pt")
    best, last = list_models(tmp_path)
    assert (best.path.name, last.path.name) == ("thigh_best.pt", "thigh_last.pt")
    assert best.unfinished == "the best so far of an unfinished training"
    assert best.line.endswith(best.unfinished)
    assert newest_model([last]) is None
    assert newest_model([last, best]) is best


def test_a_model_without_validation_or_origin(tmp_path):
    rows = (EpochResult(1, 1.0, 1e-3, 1, 0),)
    settings = Settings(
        network=NetworkSettings(filters=(4, 8)), preprocess=PreprocessSettings(input_shape=(64, 96))
    )
    save_model(made_up_model(history=rows, best_epoch=1, origin={}, settings=settings), tmp_path)
    (entry,) = list_models(tmp_path)
    facts = dict(entry.facts)
    assert entry.validation_dice is None
    assert "no patient was kept aside" in facts["Validation score"]
    assert facts["Trained on"] == "not recorded"
    assert facts["Pixel size"] == "every slice is brought to 64 × 96 pixels"
    assert "not validated" in entry.line
    assert abs(entry.date.timestamp() - time.time()) < 600


def test_the_table(tmp_path):
    path = save_model(made_up_model(), tmp_path)
    (tmp_path / "part.pt").write_bytes(path.read_bytes()[:2000])
    table = models_table(list_models(tmp_path)).set_index("file")
    assert table.loc["thigh_3.pt", "structures"] == "psoas, gracilis"
    assert table.loc["thigh_3.pt", "validation_dice"] == 0.2
    assert table.loc["thigh_3.pt", "problem"] == ""
    assert table.loc["part.pt"].drop(["date", "problem"]).isna().all()
    assert len(models_table(())) == 0


def test_a_folder_that_is_empty_or_missing(tmp_path):
    assert list_models(tmp_path) == ()
    assert list_models(tmp_path / "nowhere") == ()


@pytest.mark.parametrize("count", [50])
def test_fifty_models_are_listed_without_building_one(tmp_path, monkeypatch, count):
    path = save_model(made_up_model(), tmp_path)
    for number in range(1, count):
        (tmp_path / f"thigh_3_{number}.pt").hardlink_to(path)
    monkeypatch.setattr("autoseg.model.model.network_to_load", lambda *a, **k: pytest.fail("a network was built"))
    assert len(list_models(tmp_path)) == count


def test_a_model_of_volumes_tells_three_distances_and_its_patches(tmp_path):
    network = NetworkSettings(filters=(4, 8))
    volume = VolumeSettings(spacing_mm=(0.5, 0.5, 3.0), patch_size=(64, 48, 16), orientation="LPS")
    settings = Settings(spatial_dims=3, network=network, volume=volume)
    weights = build_network(network, in_channels=1, out_channels=3, spatial_dims=3).state_dict()
    save_model(made_up_model(settings=settings, weights=weights), tmp_path)
    (entry,) = list_models(tmp_path)
    assert (entry.spatial_dims, entry.spacing_mm, entry.patch_size) == (3, (0.5, 0.5, 3.0), (64, 48, 16))
    facts = dict(entry.facts)
    words = "every volume is brought to voxels of 0.5 × 0.5 × 3 mm (LPS), of which it sees 64 × 48 × 16 at once"
    assert facts["Voxels"] == words
    assert "Pixel size" not in facts
    assert facts["Trained on"] == "9 patients, 1,234 patches of volumes"
    row = models_table([entry]).iloc[0]
    assert (row["spatial_dims"], row["spacing_mm"]) == (3, "0.5 × 0.5 × 3")
