"""The model file: complete, safe to open, and refused in plain words when it is not ours."""

import errno
import os
import pickle
import zipfile
from dataclasses import replace

import pytest
import torch

from autoseg.data.digests import known_subjects, subject_pseudonym
from autoseg.errors import DataError, ModelFileError, OutputError
from autoseg.image.structures import Structure
from autoseg.model.model import (
    EpochResult,
    TrainedModel,
    can_be_guessed,
    check_model_name,
    describe_origin,
    find_model,
    load_model,
    model_to_dict,
    origin_without_fingerprints,
    save_model,
    write_sealed,
)
from autoseg.model.model_list import list_models
from autoseg.model.networks import build_network
from autoseg.model.postprocess import StructurePostprocess
from autoseg.model.settings.settings import NetworkSettings, PreprocessSettings, Settings


@pytest.fixture
def model():
    torch.manual_seed(3)
    settings = Settings(
        epochs=2, preprocess=PreprocessSettings(spacing_mm=1.5), network=NetworkSettings(filters=(4, 8))
    )
    network = build_network(settings.network, in_channels=1, out_channels=3)
    return TrainedModel(
        name="thigh",
        settings=settings,
        structures=(Structure(1, "rectus femoris"), Structure(9, "sartorius", side="left")),
        channels=("image",),
        weights=network.state_dict(),
        history=(
            EpochResult(1, 1.2, 1e-3, 2.0, 2.0),
            EpochResult(
                2, 0.9, 1e-3, 4.0, 0.0, 0.8, 0.7, (0.7, None), True, 0.6, (0.6, None), erosion_iou=((0.6, 0.5), ())
            ),
        ),
        best_epoch=2,
        origin=describe_origin(["Miller^Anna", "p2"], ["p3"], 40),
        postprocess=(StructurePostprocess(0.4, erosions=1), StructurePostprocess(largest_component=True)),
    )


def test_reloading_gives_the_same_model_and_the_same_logits(model, tmp_path):
    path = save_model(model, tmp_path)
    assert path.name == "thigh_2.pt"
    again = load_model(path)
    assert (again.name, again.settings, again.structures, again.history, again.best_epoch, again.origin) == (
        model.name,
        model.settings,
        model.structures,
        model.history,
        model.best_epoch,
        model.origin,
    )
    assert again.postprocess == model.postprocess
    image = torch.randn(2, 1, 16, 16)
    assert torch.equal(model.build()(image), again.build()(image))
    assert "validation Dice 0.700" in repr(again)


def test_a_file_of_the_first_version_is_read(model, tmp_path):
    path = save_model(model, tmp_path)
    content = torch.load(path, weights_only=True)
    del content["postprocess"], content["settings"]["best_by"], content["settings"]["watch_erosion"]
    content["format_version"] = 1
    newer = ("validation_iou", "iou", "training_dice", "training_iou", "erosion_iou")
    content["history"] = [{k: v for k, v in row.items() if k not in newer} for row in content["history"]]
    torch.save(content, path)
    again = load_model(path)
    assert again.postprocess == ()
    assert again.settings == model.settings
    assert again.history[1].dice == (0.7, None)


def test_no_subject_is_named_in_the_file(model, tmp_path):
    content = save_model(model, tmp_path).read_bytes()
    assert b"Miller" not in content
    assert model.origin["training_subjects"] == 2
    assert len(model.origin["subject_fingerprints"]) == 3


def test_what_an_earlier_version_left_open_is_told_and_sealed_where_it_is_written(model, tmp_path):
    """The base's and the finder's too; who is recognised stays the same, and so does the file's age."""
    prints = sorted(map(subject_pseudonym, ["Miller^Anna", "p2"]))
    open_ = {"subject_fingerprints": prints, "learnt_fingerprints": prints[:1]}
    origin = {**open_, "training_subjects": 2, "notes": ["validated on p2, too"], "base": {"name": "b", **open_}}
    old = replace(model, origin=origin, finder=replace(model, origin={"subject_fingerprints": prints}))
    path = tmp_path / "old.pt"
    torch.save({"format": "autoseg model", "format_version": 2, **model_to_dict(old)}, path)
    content = torch.load(path, weights_only=True)
    content["origin"], content["finder"]["origin"] = origin, old.finder.origin
    torch.save(content, path)
    os.utime(path, (1_000_000, 1_000_000))
    assert can_be_guessed(load_model(path))
    (entry,) = list_models(tmp_path)
    assert "can find the IDs" in dict(entry.facts)["Patients' IDs"]

    write_sealed(path)
    again, kept = load_model(path), str(load_model(path).origin) + str(load_model(path).finder.origin)
    assert not can_be_guessed(again)
    assert not [one for one in (*prints, "p2") if one in kept]
    assert path.stat().st_mtime == 1_000_000
    assert "Patients' IDs" not in dict(list_models(tmp_path)[0].facts)
    for origin in (again.origin, again.origin["base"], again.finder.origin):
        assert known_subjects(["p1", "p2"], origin["subject_fingerprints"]) == {"p2"}
    assert origin_without_fingerprints(again.origin) == {"training_subjects": 2, "base": {"name": "b"}}

    write_sealed(path, forget=True)
    assert "scrypt" not in str(torch.load(path, weights_only=True)["origin"])


def test_two_models_of_the_same_subjects_have_no_fingerprint_in_common(model):
    again = describe_origin(["Miller^Anna", "p2"], ["p3"], 40)
    assert not set(again["subject_fingerprints"]) & set(model.origin["subject_fingerprints"])
    for origin in (again, model.origin):
        assert known_subjects(["p1", "p2", "p3"], origin["subject_fingerprints"]) == {"p2", "p3"}
        assert known_subjects(["p1", "p2", "p3"], origin["learnt_fingerprints"]) == {"p2"}


def test_a_fingerprint_that_is_none_is_a_damaged_file(model, tmp_path, monkeypatch):
    monkeypatch.setattr("autoseg.model.model.seal_model", lambda model: model)
    path = save_model(replace(model, origin={"subject_fingerprints": ["scrypt$1073741824$8$1$00$ab"]}), tmp_path)
    with pytest.raises(ModelFileError, match="fingerprint that cannot be read"):
        load_model(path)


class _Bomb:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return (os.mkdir, (str(self.marker),))


@pytest.mark.parametrize("how", ["torch", "pickle"])
def test_a_pickle_bomb_is_refused_and_does_not_go_off(how, tmp_path):
    path, marker = tmp_path / "bomb.pt", tmp_path / "went-off"
    bomb = {"format": "autoseg model", "weights": _Bomb(marker)}
    if how == "torch":
        torch.save(bomb, path)
    else:
        path.write_bytes(pickle.dumps(bomb))
    with pytest.raises(ModelFileError, match=r"bomb\.pt is not a model file of autoseg.*code"):
        load_model(path)
    assert not marker.exists()


def test_files_that_are_not_ours(model, tmp_path):
    with pytest.raises(ModelFileError, match="is not there"):
        load_model(tmp_path / "none.pt")
    other = tmp_path / "other.pt"
    torch.save({"state_dict": {"w": torch.zeros(2)}}, other)
    with pytest.raises(ModelFileError, match="not written by autoseg"):
        load_model(other)
    torch.save({"format": "autoseg model", "format_version": 99}, other)
    with pytest.raises(ModelFileError, match="newer autoseg"):
        load_model(other)
    torch.save({"format": "autoseg model", "format_version": 1}, other)
    with pytest.raises(ModelFileError, match="incomplete"):
        load_model(other)
    other.write_text("hello")
    with pytest.raises(ModelFileError):
        load_model(other)
    whole = save_model(model, tmp_path)
    other.write_bytes(whole.read_bytes()[:2000])
    with pytest.raises(ModelFileError, match="only a part"):
        load_model(other)
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("a.txt", "hello")
    with pytest.raises(ModelFileError):
        load_model(other)


def test_a_network_that_the_file_cannot_hold_is_not_built(model, tmp_path, monkeypatch):
    path = save_model(model, tmp_path)
    content = torch.load(path, weights_only=True)
    content["settings"]["network"]["filters"] = (2048,) * 8
    torch.save(content, path)
    with pytest.raises(ModelFileError, match=r"name a network of 5\.9 GB, and the file has \d+ kB"):
        load_model(path)


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_weights_that_are_no_numbers_are_refused(model, tmp_path, value):
    name = next(name for name, one in model.weights.items() if one.is_floating_point())
    spoilt = model.weights[name].clone()
    spoilt.view(-1)[-1] = value
    path = save_model(replace(model, weights={**model.weights, name: spoilt}), tmp_path)
    with pytest.raises(ModelFileError, match="no finite numbers"):
        load_model(path)


def test_weights_that_do_not_fit_the_settings_are_refused(model, tmp_path):
    path = save_model(model, tmp_path)
    content = torch.load(path, weights_only=True)
    content["structures"] = content["structures"][:1]
    torch.save(content, path)
    with pytest.raises(ModelFileError, match="incomplete or damaged"):
        load_model(path)


def test_a_full_disk_leaves_the_old_model_and_no_half_file(model, tmp_path, monkeypatch):
    path = save_model(model, tmp_path)
    before = path.read_bytes()

    def full(content, file):
        file.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OutputError, match=r"No space left.*Free some space"):
        save_model(model, tmp_path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux's /dev/full, a disk that is always full")
def test_torchs_own_words_for_a_full_disk_become_ours(model, tmp_path, monkeypatch):
    real = torch.save
    monkeypatch.setattr(torch, "save", lambda content, file: real(content, "/dev/full"))
    with pytest.raises(OutputError, match="disk is full"):
        save_model(model, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_newest_model_of_a_name_is_found_and_the_best_of_an_unfinished_training(model, tmp_path):
    with pytest.raises(ModelFileError, match=r"no model named 'thigh'.*none at all.*1_train"):
        find_model(tmp_path, "thigh")
    for age, name in enumerate(("thigh_last", "thigh_best", "thigh_2", "thigh_2_2", "calf_9")):
        path = save_model(model, tmp_path / f"{name}.pt")
        os.utime(path, (1_000_000 - age, 1_000_000 - age))
    assert find_model(tmp_path, "thigh").name == "thigh_best.pt"
    os.utime(tmp_path / "thigh_2_2.pt", (2_000_000, 2_000_000))
    assert find_model(tmp_path, "thigh").name == "thigh_2_2.pt"
    with pytest.raises(ModelFileError, match=r"calf_9\.pt"):
        find_model(tmp_path, "arm")


def test_names_that_cannot_be_files():
    assert check_model_name("back muscles_2") == "back muscles_2"
    for bad in ("", "a/b", "..", "con:", "x" * 90, "end."):
        with pytest.raises(DataError, match="cannot be a file name"):
            check_model_name(bad)
