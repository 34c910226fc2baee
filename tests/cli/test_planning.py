"""`autoseg train` and `crossvalidate`: what was not typed is planned as in the notebook, and said."""

import shutil

import pytest
import torch
from discs import STRUCTURES, make_pair
from untrained import Fixed

from autoseg.cli import learning, main
from autoseg.cli.parser import build_parser
from autoseg.cli.planning import plan_for
from autoseg.data.cases import find_cases
from autoseg.data.digests import known_subjects
from autoseg.data.split import subjects_of
from autoseg.errors import SettingsError
from autoseg.files.nifti.volumes import write_nifti
from autoseg.files.tables import write_structures
from autoseg.model.model import find_model, load_model
from autoseg.model.networks import build_network
from autoseg.model.settings.settings import AugmentationSettings
from autoseg.model.settings.text import value_of
from autoseg.panels.parts.values import Data
from autoseg.panels.training.settings import SettingsPanel
from autoseg.training.plan import plan_settings
from autoseg.training.training import train


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Give a folder of three discs that go on over slices."""
    place = tmp_path_factory.mktemp("data") / "volumes"
    for part in ("images", "labels"):
        (place / part).mkdir(parents=True)
    for number in range(3):
        image, labels = make_pair(number, size=(32, 32), slices=20, spacing=(3.0, 3.0, 3.0))
        write_nifti(place / "images" / f"{'abc'[number]}.nii.gz", image)
        write_nifti(place / "labels" / f"{'abc'[number]}.nii.gz", labels)
    write_structures(place / "structures.csv", STRUCTURES)
    return place


def planned(folder, *typed):
    chosen = build_parser().parse_args(["train", str(folder), *typed])
    return plan_for(chosen, find_cases(folder), learning.settings_of(chosen), set_aside=()).settings


def test_what_was_not_typed_is_planned_and_told(folder, capsys):
    settings = planned(folder, "--epochs", "7", "--set", "spatial_dims=3")
    assert (settings.spatial_dims, settings.epochs, settings.batch_size) == (3, 7, 2)
    assert settings.volume.spacing_mm == (3.0, 3.0, 3.0)
    assert settings.augmentation.rotation_deg == 15
    shown = capsys.readouterr().out
    assert "volume.patch_size=32, 32, 20: A typical volume" in shown
    assert "validation_subjects" not in shown


def test_nothing_typed_is_the_plan(folder, capsys):
    plan = plan_settings(find_cases(folder))
    assert planned(folder) == plan.settings
    shown = capsys.readouterr().out
    assert all(f"  {choice.name}=" in shown and choice.reason in shown for choice in plan.choices[1:])
    assert "minutes=5: By estimate, each of" in shown


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        (("--spacing-mm", "6"), {"preprocess.spacing_mm": 6.0, "spatial_dims": 2}),
        (("--input-shape", "32", "48"), {"preprocess.input_shape": (32, 48), "preprocess.spacing_mm": None}),
        (("--crop-mm", "60", "60"), {"preprocess.crop_mm": (60.0, 60.0), "preprocess.spacing_mm": None}),
        (("--set", "network.name=pyramid"), {"network.filters": None, "spatial_dims": 2}),
        (("--set", "preprocess.neighbours=2"), {"preprocess.neighbours": 2, "spatial_dims": 2}),
        (("--augmentation", "off"), {"augmentation": AugmentationSettings.off()}),
        (("--seed", "4", "--batch-size", "3"), {"seed": 4, "batch_size": 3}),
        (
            ("--set", "spatial_dims=2", "--set", "network.filters=4,8"),
            {"network.filters": (4, 8), "spatial_dims": 2},
        ),
    ],
)
def test_what_was_typed_stays_and_the_rest_suits_it(folder, typed, expected, capsys):
    settings = planned(folder, *typed)
    assert {name: value_of(settings, name) for name in expected} == expected
    shown = capsys.readouterr().out
    assert not any(f"  {name}=" in shown for name in expected if name != "spatial_dims")


def test_stages_suit_the_pixels_that_were_typed(folder):
    fine, coarse = (planned(folder, "--spacing-mm", mm, "--epochs", "2").network.filters for mm in ("3", "10"))
    assert len(coarse) < len(fine)


def test_what_was_typed_counts(folder, capsys):
    typed = ("--batch-size", "5", "--rotation-deg", "3", "--set", "spatial_dims=3", "--set", "oversampling=0.25")
    settings = planned(folder, *typed)
    assert (settings.batch_size, settings.oversampling) == (5, 0.25)
    assert settings.augmentation.rotation_deg == 3
    assert settings.augmentation.zoom == (0.85, 1.2)
    assert "batch_size" not in capsys.readouterr().out
    off = planned(folder, "--augmentation", "off", "--set", "spatial_dims=3")
    assert off.augmentation.rotation_probability == 0
    assert off.augmentation.zoom_probability == 0


@pytest.mark.parametrize(
    "typed",
    [
        ("volume.spacing_mm=6,6,3",),
        ("network.filters=4,8",),
        ("network.filters=4,8,8,8,8,8",),
        ("network.name=shallow",),
        ("network.name=resunet", "volume.patch_size=16,16,16"),
    ],
)
def test_levels_and_patch_suit_what_was_typed(folder, typed, capsys):
    settings = planned(folder, "--set", "spatial_dims=3", *(part for one in typed for part in ("--set", one)))
    build_network(settings.network, in_channels=1, out_channels=3, spatial_dims=3)
    if "volume.spacing_mm" in typed[0]:
        assert settings.volume.spacing_mm == (6.0, 6.0, 3.0)
        assert settings.volume.patch_size == (16, 16, 20)
        assert "volume.patch_size=16, 16, 20: To suit what was typed." in capsys.readouterr().out


def test_pixels_of_slices_are_refused(folder):
    with pytest.raises(SettingsError, match="of volumes give --set"):
        planned(folder, "--spacing-mm", "2", "--set", "spatial_dims=3")


def test_the_command_line_and_the_notebook_learn_the_same(folder, tmp_path, capsys):
    cases = find_cases(folder)
    given = Fixed(Data(cases, (), plan_settings(cases)))
    panel = SettingsPanel(given, folder=tmp_path, epochs=1, changes={"spatial_dims": 2, "network.filters": (4, 8)})
    panel.wait()
    task = panel.value
    notebook = train(task.split, task.settings, structures=task.structures)
    typed = ["--epochs", "1", "--set", "spatial_dims=2", "--set", "network.filters=4,8"]
    assert main(["train", str(folder), *typed, "--output", str(tmp_path)]) == 0
    command = load_model(find_model(tmp_path, "model"))
    assert command.settings == notebook.settings
    people = subjects_of(cases.cases)
    for which in ("subject_fingerprints", "learnt_fingerprints"):
        mine, theirs = (known_subjects(people, one.origin[which]) for one in (command, notebook))
        assert mine == theirs != frozenset()
    for name, weights in notebook.weights.items():
        assert torch.equal(weights, command.weights[name])


def test_folds_go_on_with_the_settings_of_the_finished_ones(folder, tmp_path, capsys, monkeypatch):
    command = ["crossvalidate", str(folder), "--folds", "2", "--output", str(tmp_path), "--set", "spatial_dims=2"]
    small = ["--epochs", "1", "--set", "network.filters=4,8", "--batch-size", "8"]
    assert main([*command, *small]) == 0
    assert "Planned for your images" in capsys.readouterr().out
    shutil.rmtree(tmp_path / "model_folds" / "fold_2")
    # The computer is another one by now, for which another plan would be made.
    monkeypatch.setattr(
        "autoseg.training.plan.choices.choose_slice_settings", lambda *_: pytest.fail("planned anew")
    )
    assert main([*command, "--print-checkpoint", "3", *small]) == 0
    shown = capsys.readouterr().out
    assert "Going on with the settings of the folds in" in shown
    assert shown.count("finished before") == 1


def test_volumes_are_learnt_and_segmented_from_end_to_end(folder, tmp_path, capsys):
    command = ["train", str(folder), "--epochs", "1", "--set", "spatial_dims=3", "--set", "network.filters=4,8"]
    assert main([*command, "--output", str(tmp_path)]) == 0
    path = find_model(tmp_path, "model")
    model = load_model(path)
    assert model.settings.spatial_dims == 3
    assert model.settings.volume.patch_size == (32, 32, 20)
    assert main(["predict", str(path), str(folder / "images"), "--output", str(tmp_path / "found")]) == 0
    assert "Saved in" in capsys.readouterr().out
