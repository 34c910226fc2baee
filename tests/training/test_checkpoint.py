"""Unfinished trainings: complete, without names, refused in plain words where they do not fit."""

import errno
import os
from dataclasses import replace

import pytest
import torch
from discs import STRUCTURES, make_case, make_split, patch_reading, quick_settings

from autoseg.errors import DataError, ModelFileError, OutputError
from autoseg.image.structures import Structure
from autoseg.model.model import find_model, load_model, model_files, save_model
from autoseg.model.settings.settings import NetworkSettings
from autoseg.training.checkpoint import (
    checkpoint_path,
    find_checkpoint,
    find_unfinished,
    read_checkpoint,
    split_again,
    write_checkpoint,
)
from autoseg.training.training import train

SPLIT = make_split([0, 1, 2], [3])


@pytest.fixture(scope="module")
def checkpoints():
    """The checkpoints after every epoch of a training."""
    taken = []
    with pytest.MonkeyPatch.context() as patch:
        patch_reading(patch)
        settings = quick_settings(epochs=4, network=NetworkSettings(filters=(8, 16, 32), dropout=0.1))
        train(
            SPLIT,
            settings,
            structures=STRUCTURES,
            name="discs",
            on_checkpoint=lambda take, stopped: taken.append(take()),
        )
    return taken


@pytest.fixture
def path(checkpoints, tmp_path):
    return write_checkpoint(checkpoints[1], checkpoint_path(tmp_path, "discs"))


def same(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


def test_a_file_gives_back_everything(checkpoints, path):
    before, again = checkpoints[1], read_checkpoint(path)
    assert path.name == "discs_resume.pt"
    assert same(again.network, before.network)
    assert all(same(again.optimizer[key], values) for key, values in before.optimizer.items())
    for name in ("averaged_steps", "steps", "elapsed_s", "training", "validation", "date", "made_with", "settings"):
        assert getattr(again, name) == getattr(before, name), name
    for kind in ("best", "last"):
        one, two = getattr(again, kind), getattr(before, kind)
        assert same(one.weights, two.weights)
        assert (one.history, one.best_epoch, one.origin) == (two.history, two.best_epoch, two.origin)
    assert torch.equal(again.generator, before.generator)
    assert torch.equal(again.torch_state, before.torch_state)
    assert (before.steps, len(before.last.history), before.training.slices) == (4, 2, 6)
    assert "after epoch 2" in repr(again)


def test_a_checkpoint_is_a_copy(checkpoints):
    assert not same(checkpoints[0].network, checkpoints[3].network)
    assert checkpoints[0].averaged_steps == 2


def test_nobody_is_named_in_the_file(path):
    content = path.read_bytes()
    assert b"subject3" not in content
    assert b"case3" not in content


def test_unfinished_trainings_are_listed_and_are_no_models(checkpoints, path):
    (row,) = find_unfinished(path.parent)
    best = max(result.validation_dice for result in checkpoints[1].last.history)
    assert (row.name, row.path, row.epochs_done, row.epochs, row.minutes) == ("discs", path, 2, 4, None)
    assert (row.best_dice, row.date, row.problem) == (best, checkpoints[1].date, "")
    assert row.minutes_done == pytest.approx(checkpoints[1].elapsed_s / 60)
    assert find_unfinished(path.parent / "nowhere") == ()
    assert model_files(path.parent) == []
    with pytest.raises(ModelFileError, match="none at all"):
        find_model(path.parent, "discs")
    with pytest.raises(ModelFileError, match="is an unfinished training, not a model file"):
        load_model(path)


def test_what_cannot_be_used_is_listed_with_the_reason(path):
    whole = path.read_bytes()
    path.with_name("cut_resume.pt").write_bytes(whole[:3000])
    rows = {row.name: row for row in find_unfinished(path.parent)}
    assert rows["discs"].problem == ""
    assert "only a part" in rows["cut"].problem
    assert rows["cut"].epochs_done == 0


def test_the_one_of_a_name_is_found_or_the_others_are_named(path):
    assert find_checkpoint(path.parent, "discs") == path
    with pytest.raises(ModelFileError, match=r"no unfinished training named 'heart'.*'discs'"):
        find_checkpoint(path.parent, "heart")
    with pytest.raises(ModelFileError, match="unfinished: none"):
        find_checkpoint(path.parent / "empty", "heart")


def test_files_that_are_no_checkpoint(checkpoints, path):
    with pytest.raises(ModelFileError, match="is not there"):
        read_checkpoint(path.with_name("none_resume.pt"))
    model = save_model(checkpoints[1].best, path.parent)
    with pytest.raises(ModelFileError, match="is a model file, not an unfinished training"):
        read_checkpoint(model)
    other = path.with_name("other_resume.pt")
    torch.save({"state_dict": {"w": torch.zeros(2)}}, other)
    with pytest.raises(ModelFileError, match="not written by autoseg"):
        read_checkpoint(other)
    other.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ModelFileError, match=r"only a part.*start the training anew"):
        read_checkpoint(other)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format_version": 9}, r"file format 9.*newer autoseg"),
        ({"network": None}, "incomplete or damaged"),
        ({"steps": None, "unheard_of": 1}, "incomplete or damaged"),
    ],
)
def test_a_checkpoint_of_another_autoseg(change, words, path):
    content = torch.load(path, weights_only=True) | change
    content = {key: value for key, value in content.items() if value is not None or key == "device_state"}
    torch.save(content, path)
    with pytest.raises(ModelFileError, match=words):
        read_checkpoint(path)


def test_settings_that_only_a_newer_autoseg_knows(path):
    content = torch.load(path, weights_only=True)
    content["last"]["settings"]["mood"] = "good"
    torch.save(content, path)
    with pytest.raises(ModelFileError, match=r"mood.*update autoseg"):
        read_checkpoint(path)


def test_a_full_disk_leaves_the_older_checkpoint_whole(checkpoints, path, monkeypatch):
    before = path.read_bytes()

    def full(content, file):
        file.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OutputError, match="No space left"):
        write_checkpoint(checkpoints[2], path)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def going_on(checkpoint, split=SPLIT, structures=STRUCTURES):
    return train(split, checkpoint.settings, structures=structures, resume=checkpoint)


@pytest.mark.parametrize(
    ("split", "words"),
    [
        (make_split([0, 1], [3]), r"learns from 3 cases of 3 patients with 6 .* have 2 case"),
        (make_split([0, 1, 2]), r"validates on 1 case of.* have 0 case"),
        (make_split([0, 1, 5], [3]), "as many, but others"),
        (make_split([0, 1, 2], [5]), r"validates on.*as many, but others"),
    ],
)
def test_other_cases_are_refused(split, words, checkpoints, monkeypatch):
    patch_reading(monkeypatch)
    with pytest.raises(DataError, match=f"'discs' {words}" if words[0] != "a" else words):
        going_on(checkpoints[1], split)


def test_changed_labels_spacing_and_slices_are_refused(checkpoints, monkeypatch):
    for change, words in (
        ({"slices": 3}, r"with 6 slices.*with 9 slices"),
        ({"annotated": frozenset({1})}, "a label or a pixel size of them was changed"),
        ({"spacing": (8.0, 1.5, 1.6)}, "a pixel size of them was changed"),
    ):
        patch_reading(monkeypatch, **change)
        with pytest.raises(DataError, match=words):
            going_on(checkpoints[1])


def test_other_structures_are_refused_and_other_colours_are_not(checkpoints, monkeypatch):
    patch_reading(monkeypatch)
    with pytest.raises(DataError, match=r"other structures \(1 core, 5 ring\) than .*\(1 heart, 5 ring\)"):
        going_on(checkpoints[1], structures=(Structure(1, "heart"), STRUCTURES[1]))
    coloured = (replace(STRUCTURES[0], colour=(1, 2, 3)), STRUCTURES[1])
    assert len(going_on(checkpoints[3], structures=coloured).history) == 4


def test_an_optimiser_that_does_not_fit(checkpoints, monkeypatch):
    patch_reading(monkeypatch)
    broken = replace(checkpoints[1], network={})
    with pytest.raises(ModelFileError, match="does not fit its own network"):
        going_on(broken)


def test_the_sides_of_an_unfinished_training_are_found_again(checkpoints):
    cases = tuple(map(make_case, [7, 3, 2, 1, 0]))
    split = split_again(checkpoints[1], cases)
    assert [case.case_id for case in split.training] == ["case2", "case1", "case0"]
    assert [case.case_id for case in split.validation] == ["case3"]
    with pytest.raises(DataError, match=r"4 patients, and 2 of them have no case"):
        split_again(checkpoints[1], cases[:3])
    with pytest.raises(DataError, match="has seen subject3, set aside"):
        split_again(checkpoints[1], cases, test_subjects=["subject3"])
