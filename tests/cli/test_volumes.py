"""`autoseg train --set spatial_dims=3`: what was not typed is planned for volumes, and said."""

import pytest
from discs import STRUCTURES, make_pair

from autoseg.cli import learning, main
from autoseg.cli.parser import build_parser
from autoseg.cli.volumes import plan_volumes
from autoseg.data.cases import find_cases
from autoseg.errors import SettingsError
from autoseg.files.nifti.volumes import write_nifti
from autoseg.files.tables import write_structures
from autoseg.model.model import find_model, load_model
from autoseg.model.networks import build_network
from autoseg.model.settings.settings import Settings


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
    return plan_volumes(chosen, find_cases(folder), learning.settings_of(chosen))


def test_what_was_not_typed_is_planned_and_told(folder, capsys):
    settings = planned(folder, "--epochs", "7", "--set", "spatial_dims=3")
    assert (settings.spatial_dims, settings.epochs, settings.batch_size) == (3, 7, 2)
    assert settings.volume.spacing_mm == (3.0, 3.0, 3.0)
    assert settings.augmentation.rotation_deg == 15
    shown = capsys.readouterr().out
    assert "volume.patch_size=32, 32, 20: A typical volume" in shown
    assert "validation_subjects" not in shown


def test_of_slices_nothing_is_planned(folder, capsys):
    assert planned(folder) == Settings()
    assert capsys.readouterr().out == ""


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


def test_volumes_are_learnt_and_segmented_from_end_to_end(folder, tmp_path, capsys):
    command = ["train", str(folder), "--epochs", "1", "--set", "spatial_dims=3", "--set", "network.filters=4,8"]
    assert main([*command, "--output", str(tmp_path)]) == 0
    path = find_model(tmp_path, "model")
    model = load_model(path)
    assert model.settings.spatial_dims == 3
    assert model.settings.volume.patch_size == (32, 32, 20)
    assert main(["predict", str(path), str(folder / "images"), "--output", str(tmp_path / "found")]) == 0
    assert "Saved in" in capsys.readouterr().out
