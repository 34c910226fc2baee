"""A training whose network knows photographs: it begins with them, and nothing after it needs their package."""

from dataclasses import replace

import pytest
import torch
from discs import STRUCTURES, make_pair, make_split, patch_reading, quick_settings

from autoseg.errors import SettingsError
from autoseg.model.model import load_model, save_model
from autoseg.model.networks import photographs
from autoseg.model.networks.photographs import read_photographs
from autoseg.model.settings.settings import FineTuneSettings, NetworkSettings
from autoseg.prediction import predict
from autoseg.training.step import read_material
from autoseg.training.training import train

SETTINGS = quick_settings(epochs=3, network=NetworkSettings(name="efficientnet", filters=(8, 8, 16), norm="batch"))
SPLIT = make_split([0, 1, 2, 3])


def without_the_package(monkeypatch):
    monkeypatch.setattr(photographs, "find_spec", lambda name: None)


@pytest.fixture
def model(monkeypatch):
    patch_reading(monkeypatch)
    return train(SPLIT, SETTINGS, structures=STRUCTURES)


def test_a_training_begins_with_the_photographs_and_says_so(monkeypatch):
    patch_reading(monkeypatch)
    material = read_material(SPLIT, SETTINGS, STRUCTURES, None, digests=False)
    known = read_photographs()["_blocks.2._depthwise_conv.weight"]
    assert torch.equal(material.network.contraction[2][1].look.convolution.weight, known)
    assert "photographs (ImageNet)" in material.untrained("discs", STRUCTURES).origin["began_with"]
    plain = read_material(SPLIT, quick_settings(), STRUCTURES, None, digests=False)
    assert "began_with" not in plain.untrained("discs", STRUCTURES).origin


def test_without_the_package_no_training_begins(monkeypatch):
    patch_reading(monkeypatch)
    without_the_package(monkeypatch)
    with pytest.raises(SettingsError, match=r"not installed.*or choose another network\. Models that have learnt"):
        train(SPLIT, SETTINGS, structures=STRUCTURES)


def test_a_model_needs_no_package_and_keeps_the_photographs_means(model, monkeypatch, tmp_path):
    without_the_package(monkeypatch)
    loaded = load_model(save_model(model, tmp_path / "discs.pt"))
    image, labels = make_pair(9)
    predicted = predict(loaded, image)
    assert predicted.shape == labels.shape
    assert (predicted.voxels == predict(model, image).voxels).all()
    known = read_known(monkeypatch)
    assert torch.equal(loaded.weights["contraction.2.1.look.mean"], known["_blocks.2._bn1.running_mean"])
    assert not torch.equal(loaded.weights["contraction.2.1.look.weight"], known["_blocks.2._bn1.weight"])


def read_known(monkeypatch):
    monkeypatch.undo()
    return read_photographs()


def test_a_model_is_tuned_without_the_package_and_what_is_frozen_stays(model, monkeypatch):
    without_the_package(monkeypatch)
    settings = replace(SETTINGS, epochs=1, finetune=FineTuneSettings(frozen=("contraction", "bottleneck")))
    tuned = train(SPLIT, settings, structures=STRUCTURES, base=model)
    kept = [key for key in model.weights if key.startswith("contraction")]
    assert kept
    assert all(torch.equal(tuned.weights[key], model.weights[key]) for key in kept)
    assert not torch.equal(tuned.weights["tail.weight"], model.weights["tail.weight"])
    assert "began_with" not in tuned.origin
