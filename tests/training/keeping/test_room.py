"""What trainings need on the disk is known before they learn: as much as their files then take."""

import shutil
from collections import namedtuple

import pytest
from discs import STRUCTURES, make_split, patch_reading, quick_settings

from autoseg.errors import OutputError
from autoseg.files import room
from autoseg.model.networks.build import KINDS, build_network
from autoseg.model.settings.settings import NetworkSettings, Settings
from autoseg.training.keeping.room import EPOCH_BYTES, FRAME_BYTES, check_training_room, weight_bytes
from autoseg.training.save import train_and_save

Usage = namedtuple("Usage", ["total", "used", "free"])


def disk(monkeypatch, free, total=10**12):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(total, total - free, free))


def test_weights_are_counted_without_memory_or_random_numbers():
    import torch

    state = torch.get_rng_state()
    for name, kind in KINDS.items():
        if 2 in kind.spatial_dims:
            settings = Settings(network=NetworkSettings(name=name))
            counted = weight_bytes(settings, 2)
            assert torch.equal(torch.get_rng_state(), state)
            real = build_network(settings.network, in_channels=1, out_channels=3, spatial_dims=2).state_dict()
            torch.set_rng_state(state)
            assert counted == sum(value.numel() * value.element_size() for value in real.values()), name


def test_a_training_that_fits_its_words_just_fits(monkeypatch, tmp_path):
    """What is said to be needed is what lies there at most, or a little more."""
    patch_reading(monkeypatch)
    settings = quick_settings(epochs=4, save_checkpoint=2, keep_checkpoints=True, print_checkpoint=99)
    disk(monkeypatch, 10**11)
    most, resumed = 0, []

    def look(event):
        nonlocal most
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        most = max(most, sum(path.stat().st_size for path in files))
        resumed.extend(path for path in files if path.name.endswith("_resume.pt"))

    train_and_save(
        make_split([0], [1]), settings, structures=STRUCTURES, name="discs", folder=tmp_path, on_event=look
    )
    assert resumed
    disk(monkeypatch, most - weight_bytes(settings, 2))
    assert "may need" in check_training_room(tmp_path / "x", "discs", settings, STRUCTURES)
    disk(monkeypatch, 3 * most)
    assert check_training_room(tmp_path / "x", "discs", settings, STRUCTURES) == ""


def test_where_not_even_the_model_fits_nothing_is_read(monkeypatch, tmp_path):
    settings = quick_settings()
    weights = weight_bytes(settings, 2)
    disk(monkeypatch, weights - 1)
    with pytest.raises(
        OutputError, match=rf"On the disk of {tmp_path} .* are free, and the training 'discs' needs"
    ):
        train_and_save(make_split([0], [1]), settings, structures=STRUCTURES, name="discs", folder=tmp_path)
    assert list(tmp_path.iterdir()) == []
    disk(monkeypatch, weights)
    words = check_training_room(tmp_path, "discs", settings, STRUCTURES)
    assert "may need" in words
    assert "Free some space there, or choose another folder" in words


def test_what_is_kept_and_what_is_replaced_count(monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr(
        "autoseg.training.keeping.room.check_room", lambda *_, likely, **__: seen.append(likely) or ""
    )
    old = tmp_path / "discs_resume.pt"
    old.write_bytes(bytes(1000))
    usual = quick_settings(epochs=100, save_checkpoint=10)
    for settings, replaced in (
        *((usual, ()), (usual, (old,))),
        *((quick_settings(epochs=100, save_checkpoint=10, keep_checkpoints=True), ()),),
        *((quick_settings(epochs=100, save_checkpoint=10, optimizer="sgd", momentum=0.0), ()),),
    ):
        check_training_room(tmp_path, "discs", settings, STRUCTURES, replaced=replaced)
    weights = weight_bytes(usual, 2)
    assert seen[0] - seen[1] == 1000
    assert seen[2] - seen[0] == 10 * (weights + FRAME_BYTES + 100 * EPOCH_BYTES)
    assert seen[0] - seen[3] == 4 * weights  # no state of the optimiser, twice


def test_a_drive_that_tells_nothing_is_not_refused(monkeypatch, tmp_path):
    disk(monkeypatch, 0, total=0)
    assert room.check_room(tmp_path, "it", least=1, likely=2) == ""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: (_ for _ in ()).throw(OSError))
    assert room.check_room(tmp_path / "not" / "there", "it", least=1, likely=2) == ""
