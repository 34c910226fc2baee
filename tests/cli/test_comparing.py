"""`autoseg compare`: planned settings, a table, the verdict, and where things lie."""

from types import SimpleNamespace

import pandas as pd
import pytest
from comparisons import learn_at_once, make_comparison, make_folds
from discs import STRUCTURES, make_pair

from autoseg.cli import main
from autoseg.cli.comparing import base_of, entries_of, print_result, short_table
from autoseg.cli.parser import build_parser
from autoseg.data.cases import find_cases
from autoseg.errors import SettingsError
from autoseg.files.nifti.volumes import write_nifti
from autoseg.files.tables import write_structures
from autoseg.model.networks import USUAL_NETWORKS


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Give a folder of four discs as NIfTI."""
    place = tmp_path_factory.mktemp("data") / "discs"
    for part in ("images", "labels"):
        (place / part).mkdir(parents=True)
    for number in range(4):
        image, labels = make_pair(number, size=(48, 48))
        name = f"{'abcd'[number]}.nii.gz"
        write_nifti(place / "images" / name, image)
        write_nifti(place / "labels" / name, labels)
    write_structures(place / "structures.csv", STRUCTURES)
    return place


def chosen(**changes):
    usual = {"networks": None, "entries": None, "minutes": 3.0, "epochs": None, "seed": 0, "changes": None}
    return SimpleNamespace(**{**usual, **changes})


def test_settings_come_from_the_plan_and_differ_by_network(folder, tmp_path):
    found = find_cases(folder)
    base = base_of(chosen(), found, tmp_path)
    entries = entries_of(chosen(changes=["batch_size=3"]), base)
    assert list(entries) == list(USUAL_NETWORKS)
    assert [own.network.name for own in entries.values()] == list(entries)
    assert {own.minutes for own in entries.values()} == {3.0}
    assert {own.batch_size for own in entries.values()} == {3}
    assert len({own.preprocess for own in entries.values()}) == 1
    assert base_of(chosen(epochs=2), found, tmp_path).epochs == 2
    assert base_of(chosen(seed=7), found, tmp_path).seed == 7
    with pytest.raises(SettingsError, match="no recipe 'vnet'"):
        entries_of(chosen(networks=["vnet"]), base)


def test_a_comparison_is_printed_and_lies_in_its_folder(folder, tmp_path, capsys, monkeypatch):
    command = ["compare", str(folder), "--networks", "unet", "resunet", "--folds", "2", "--epochs", "1"]
    command += ["--set", "network.filters=4,8", "--together", "--output", str(tmp_path)]
    assert main(command) == 0
    shown = capsys.readouterr().out
    place = tmp_path / "networks_comparison"
    table = pd.read_csv(place / "results.csv")
    assert set(table["entry"]) == {"unet", "resunet", "all together"}
    mean = table[(table["entry"] == "unet") & (table["structure"] == "mean")].iloc[0]
    (line,) = [line for line in shown.splitlines() if line.split()[:2] == ["U-Net", "mean"]]
    assert f"{mean['dice']:.3f}" in line
    assert f"{mean['baseline_accuracy'] * 100:.2f}" in line
    assert (place / "verdict.txt").read_text(encoding="utf-8").splitlines()[0] in shown
    assert f"Saved in {place}" in shown
    assert main(command) == 0
    assert capsys.readouterr().out.count("finished before") == 4
    # A computer that is slower by now would get another plan, which the finished folds would not fit.
    monkeypatch.setattr("autoseg.training.plan.plan_settings", None)
    assert main([*command, "--networks", "unet"]) == 0
    monkeypatch.undo()
    assert main([*command, "--set", "learning_rate=0.1"]) == 1
    assert "U-Net: " in capsys.readouterr().err


def test_what_is_not_known_is_a_dash(capsys):
    table = short_table(make_comparison({"b": make_folds([0.5, 0.6]), "a": make_folds([0.7, 0.8])}).table)
    assert table["network"].tolist() == ["a", "a", "b", "b"]
    assert table["95 %"].tolist() == ["–"] * 4
    assert table["ms/slice"].tolist() == ["", "–", "", "–"]
    print_result(make_comparison({"a": []}, notes=("It was stopped.",)))
    assert "Note: It was stopped." in capsys.readouterr().out


@pytest.fixture(scope="module")
def volumes(tmp_path_factory):
    """Give a folder of four discs that go on over slices."""
    place = tmp_path_factory.mktemp("data") / "volumes"
    for part in ("images", "labels"):
        (place / part).mkdir(parents=True)
    for number in range(4):
        image, labels = make_pair(number, size=(32, 32), slices=20, spacing=(3.0, 3.0, 3.0))
        name = f"{'abcd'[number]}.nii.gz"
        write_nifti(place / "images" / name, image)
        write_nifti(place / "labels" / name, labels)
    write_structures(place / "structures.csv", STRUCTURES)
    return place


def test_slices_are_compared_with_volumes_on_the_same_folds(volumes, tmp_path, capsys):
    found = find_cases(volumes)
    base = base_of(chosen(), found, tmp_path)
    assert base.spatial_dims == 2
    entries = entries_of(chosen(networks=["unet", "unet-3d"]), base)
    assert [own.spatial_dims for own in entries.values()] == [2, 3]
    assert entries["unet-3d"].volume.spacing_mm is not None
    assert entries["unet-3d"].volume == base.volume
    command = ["compare", str(volumes), "--networks", "unet", "unet-3d", "--folds", "2", "--epochs", "1"]
    command += ["--together", "--output", str(tmp_path)]
    assert main(command) == 0
    shown = capsys.readouterr().out
    assert "3-D U-Net" in shown
    place = tmp_path / "networks_comparison"
    table = pd.read_csv(place / "results.csv").set_index(["entry", "structure"])
    assert {entry for entry, _ in table.index} == {"unet", "unet-3d", "all together"}
    # On the images' own grids: everybody was scored on as many slices, with the same background.
    assert table["n_slices"].groupby("structure").nunique().max() == 1
    assert table["baseline_accuracy"].groupby("structure").nunique().max() == 1
    means = table.xs("mean", level="structure")
    assert (means["ms_per_slice"] > 0).all()
    assert means.loc["unet-3d", "multiply_adds"] > means.loc["unet", "multiply_adds"] > 0
    assert means.loc["all together", "parameters"] == means.loc[["unet", "unet-3d"], "parameters"].sum()
    subjects = pd.read_csv(place / "subjects.csv")
    assert subjects.groupby("entry")["subject_id"].nunique().tolist() == [4, 4, 4]
    assert main(command) == 0  # nothing is learnt again
    assert capsys.readouterr().out.count("finished before") == 4


def test_settings_of_ones_own_are_compared_alone_or_beside_networks(folder, tmp_path):
    base = base_of(chosen(), find_cases(folder), tmp_path)
    own = chosen(
        entries=["small: batch_size=2", "large: recipe=unext, batch_size=9"], changes=["learning_rate=0.01"]
    )
    entries = entries_of(own, base)
    assert {name: (one.network.name, one.batch_size, one.learning_rate) for name, one in entries.items()} == {
        "small": (base.network.name, 2, 0.01),
        "large": ("unext", 9, 0.01),
    }
    own.networks = ["unet"]
    assert list(entries_of(own, base)) == ["unet", "small", "large"]
    command = ["compare", str(folder), "--entry", "small: batch_sizes=2"]
    assert main(command) != 0


def test_a_forecast_is_printed_and_lies_in_its_folder(tmp_path, capsys, monkeypatch):
    learn_at_once(monkeypatch)  # real trainings are compared above
    monkeypatch.setattr("autoseg.measurement.statistics.RESAMPLES", 99)
    monkeypatch.setattr("autoseg.evaluation.crossvalidation.cost._hand_back", lambda: None)
    monkeypatch.setattr("autoseg.evaluation.comparison.run.write_pictures", lambda comparison: None)
    place = tmp_path / "discs"
    for part in ("images", "labels"):
        (place / part).mkdir(parents=True)
    for number in range(8):
        image, labels = make_pair(number, size=(48, 48))
        write_nifti(place / "images" / f"p{number}.nii.gz", image)
        write_nifti(place / "labels" / f"p{number}.nii.gz", labels)
    write_structures(place / "structures.csv", STRUCTURES)
    command = ["forecast", str(place), "--network", "unet", "--folds", "3", "--epochs", "1"]
    command += ["--set", "network.filters=4,8", "--output", str(tmp_path)]
    assert main(command) == 0
    shown = capsys.readouterr().out
    # Eight patients in three folds: five or six are left, of whom one validates.
    assert "Fold 3 of 3, U-Net with 2 patients (1 of 3)" in shown
    folder = tmp_path / "forecast_comparison"
    table = pd.read_csv(folder / "forecast.csv")
    measured = table[(table["structure"] == "mean") & (table["measure"] == "dice") & (table["kind"] == "measured")]
    assert measured["patients_to_learn_from"].tolist() == pytest.approx([2, 3, 4.33], abs=0.01)
    assert set(measured["n_patients"]) == {8}
    sentence = (folder / "verdict.txt").read_text(encoding="utf-8").splitlines()[0]
    assert sentence in shown
    assert "more patients" in sentence
    assert f"Saved in {folder}: forecast.csv" in shown
    assert main([*command, "--sizes", "2", "9"]) == 1
    assert "give sizes from 1 to 3 (not 9)" in capsys.readouterr().err


def test_the_time_in_all_is_shared_equally(folder):
    parsed = build_parser().parse_args(["forecast", str(folder), "--in-all", "60", "--sizes", "2", "4"])
    assert (parsed.in_all, parsed.sizes, parsed.network) == (60, [2, 4], None)
    assert not parsed.exact
    with pytest.raises(SystemExit):
        build_parser().parse_args(["forecast", str(folder), "--in-all", "60", "--epochs", "3"])
