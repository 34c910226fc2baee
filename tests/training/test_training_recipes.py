"""Optimisers, schedules, averages and networks, each through the whole loop, stopped and resumed."""

from dataclasses import replace

import pytest
import torch
from discs import STRUCTURES, make_pair, make_split, patch_reading, quick_settings
from torch.nn.modules.batchnorm import _BatchNorm

from autoseg.model.dataset import build_slices
from autoseg.model.model import load_model, save_model
from autoseg.model.networks import NETWORKS
from autoseg.model.settings.settings import AugmentationSettings, LossSettings, NetworkSettings, PreprocessSettings
from autoseg.prediction import predict
from autoseg.training import step as training_state
from autoseg.training import training
from autoseg.training.checkpoint import read_checkpoint, write_checkpoint
from autoseg.training.clock import count_drops
from autoseg.training.losses import count_weight
from autoseg.training.training import train

SMALL = (8, 16, 32)


class _Killed(Exception):
    pass


def killed_after(epochs, split, settings, folder):
    """Train until the power fails; give the checkpoint of the last epoch, written and read again."""
    taken = []

    def keep(take, stopped):
        taken.append(take())
        if len(taken) == epochs:
            raise _Killed

    with pytest.raises(_Killed):
        train(split, settings, structures=STRUCTURES, on_checkpoint=keep)
    return read_checkpoint(write_checkpoint(taken[-1], folder / "model_resume.pt"))


def same(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


BATCH_NORM = NetworkSettings(filters=SMALL, norm="batch", dropout=0.1)
RECIPES = {
    "adam": {"optimizer": "adam", "weight_decay": 1e-5, "schedule": "multistep", "milestones": (0.3, 0.6)},
    "sgd": {"optimizer": "sgd", "momentum": 0.9, "network": BATCH_NORM, "average_decay": 0.5},
    "sgd without momentum": {"optimizer": "sgd", "momentum": 0.0, "schedule": "constant"},
    "adamw": {"network": BATCH_NORM, "oversampling": 0.6, "gradient_clip": float("inf")},
    "muon": {"optimizer": "muon"},
    "plateau": {"schedule": "plateau", "plateau_epochs": 1, "validate_every": 2, "learning_rate": 0.3},
    "deep": {"network": NetworkSettings(filters=SMALL, deep_supervision=True), "average_decay": 0.0},
}


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_resumed_bit_for_bit(name, tmp_path, monkeypatch):
    patch_reading(monkeypatch)
    split, settings = make_split([0, 1, 2, 3, 4], [5]), quick_settings(**{"epochs": 6, **RECIPES[name]})
    whole = train(split, settings, structures=STRUCTURES)
    checkpoint = killed_after(3, split, settings, tmp_path)
    torch.manual_seed(99)
    resumed = train(split, settings, structures=STRUCTURES, resume=checkpoint)
    assert same(whole.weights, resumed.weights)
    rows = [[replace(row, elapsed_s=0, seconds_left=0) for row in model.history] for model in (whole, resumed)]
    assert rows[0] == rows[1]


def test_a_checkpoint_of_an_earlier_version_goes_on_with_equal_steps(tmp_path, monkeypatch):
    patch_reading(monkeypatch)
    split, settings = make_split([0, 1, 2, 3, 4], [5]), quick_settings(epochs=4)
    whole = train(split, settings, structures=STRUCTURES)
    checkpoint = killed_after(2, split, settings, tmp_path)
    content = torch.load(tmp_path / "model_resume.pt", weights_only=True)
    del content["epochs_seen"]
    content["format_version"] = 1
    torch.save(content, tmp_path / "old_resume.pt")
    old = read_checkpoint(tmp_path / "old_resume.pt")
    assert (checkpoint.epochs_seen, old.epochs_seen, old.steps) == ("2", "", 6)
    resumed = train(split, settings, structures=STRUCTURES, resume=old)
    assert same(whole.weights, resumed.weights)


# --- the average of the weights


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_without_an_average_the_weights_are_the_current_ones(norm, monkeypatch):
    patch_reading(monkeypatch)
    taken = []
    model = train(
        make_split([0, 1, 2]),
        quick_settings(average_decay=0.0, network=NetworkSettings(filters=SMALL, norm=norm)),
        structures=STRUCTURES,
        on_checkpoint=lambda take, stopped: taken.append(take()),
    )
    assert same(model.weights, taken[-1].network)
    assert not same(taken[-1].network, taken[-2].network)


def test_with_an_average_batch_normalisation_has_the_latest_statistics(monkeypatch):
    patch_reading(monkeypatch)
    taken = []
    train(
        make_split([0, 1, 2]),
        quick_settings(average_decay=0.9, network=NetworkSettings(filters=SMALL, norm="batch")),
        structures=STRUCTURES,
        on_checkpoint=lambda take, stopped: taken.append(take()),
    )
    kept, current = taken[-1].last.weights, taken[-1].network
    running = [key for key in kept if "running" in key or "num_batches" in key]
    assert running
    assert all(torch.equal(kept[key], current[key]) for key in running)
    assert not all(torch.equal(kept[key], current[key]) for key in kept)


def test_the_average_is_that_of_a_calculation_by_hand(monkeypatch):
    patch_reading(monkeypatch)
    current, real = [], training_state.Step.update

    def watch(step, rate):
        real(step, rate)
        current.append(next(step.network.parameters()).detach().clone().double())

    monkeypatch.setattr(training_state.Step, "update", watch)
    model = train(make_split([0, 1, 2]), quick_settings(average_decay=0.6), structures=STRUCTURES)
    expected = current[0]
    for count, weight in enumerate(current[1:], start=1):
        decay = min(0.6, (1 + count) / (10 + count))
        expected = decay * expected + (1 - decay) * weight
    first = next(name for name, _ in model.build().named_parameters())
    torch.testing.assert_close(model.weights[first].double(), expected, rtol=1e-5, atol=1e-7)


# --- batches


@pytest.mark.parametrize("size", [(64, 128), (20, 20)])
@pytest.mark.parametrize("options", [{"batch_size": 3}, {"batch_size": 1}])
def test_a_slice_alone_does_not_stop_batch_normalisation(options, size, monkeypatch):
    patch_reading(monkeypatch, size=size)
    network = NetworkSettings(filters=(8, 16, 16, 32, 32, 32), norm="batch")
    settings = quick_settings(epochs=2, network=network, **options)
    sizes = []
    real = training_state.Step.compare

    def watch(step, batch, progress):
        sizes.append(len(batch.images))
        if size == (20, 20):
            assert batch.images.shape[2] == step.network.stride
        return real(step, batch, progress)

    monkeypatch.setattr(training_state.Step, "compare", watch)
    model = train(make_split([0, 1], [2]), settings, structures=STRUCTURES)
    assert len(model.history) == 2
    assert any(isinstance(part, _BatchNorm) for part in model.build().modules())
    alone = 2 if size == (20, 20) else 1
    assert sizes == ([4, 4] if options["batch_size"] == 3 else [alone] * 8)


def test_oversampling_reaches_the_batches(monkeypatch):
    # Eleven cases of two slices, on one of which something was drawn.
    def read(case, structures):
        number = int(case.case_id.removeprefix("case"))
        image, labels = make_pair(number)
        return image, labels if number == 3 else replace(labels, voxels=0 * labels.voxels)

    monkeypatch.setattr("autoseg.model.dataset.build.read_case", read)
    seen, real = [], training_state.Step.compare

    def watch(step, batch, progress):
        seen.append(int((batch.labels > 0).flatten(1).any(1).sum()))
        return real(step, batch, progress)

    monkeypatch.setattr(training_state.Step, "compare", watch)
    for part in (0.0, 0.5):
        seen.clear()
        train(
            make_split(range(11)),
            quick_settings(epochs=2, oversampling=part, augmentation=AugmentationSettings.off()),
            structures=STRUCTURES,
        )
        assert len(seen) == 12
        assert sum(seen) == 4 if part == 0 else min(seen) >= 1
    assert seen[:5] == [2] * 5


# --- plateaus and patience


def test_a_plateau_lowers_the_learning_rate_and_patience_counts_the_same_epochs(monkeypatch):
    patch_reading(monkeypatch)
    real = training.evaluate_slices
    # The second validation is the best.
    dice = iter([0.5, 0.6, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1])
    monkeypatch.setattr(training, "evaluate_slices", lambda *a, **k: replace(real(*a, **k), mean_dice=next(dice)))
    settings = quick_settings(
        epochs=40,
        validate_every=2,
        schedule="plateau",
        plateau_epochs=2,
        drop_factor=0.1,
        patience=5,
        warmup_fraction=0.0,
        learning_rate=0.01,
    )
    model = train(make_split([0], [1]), settings, structures=STRUCTURES)
    assert (model.best_epoch, len(model.history)) == (4, 14)
    assert model.origin["ended"] == "there was no better validation Dice in 5 validations"
    rates = [row.learning_rate for row in model.history]
    assert rates == pytest.approx([0.01] * 8 + [0.001] * 4 + [0.0001] * 2)


def test_without_validation_a_plateau_goes_by_the_training_loss(monkeypatch):
    patch_reading(monkeypatch)
    settings = quick_settings(
        epochs=10, schedule="plateau", plateau_epochs=1, learning_rate=1e-9, warmup_fraction=0.0, patience=1
    )
    model = train(make_split([0]), settings, structures=STRUCTURES)
    losses = [-row.training_loss for row in model.history]
    expected = [1e-9 * 0.5 ** count_drops(losses[:count], 1) for count in range(10)]
    assert [row.learning_rate for row in model.history] == pytest.approx(expected, rel=1e-9, abs=0)
    assert expected[-1] < 1e-9
    assert len(model.history) == 10


@pytest.mark.parametrize(
    ("best_by", "words"), [("iou", "better validation IoU"), ("loss", "lower validation loss")]
)
def test_the_reason_names_what_did_not_improve(best_by, words, monkeypatch):
    patch_reading(monkeypatch)
    real = training.evaluate_slices
    monkeypatch.setattr(training, "evaluate_slices", lambda *a, **k: replace(real(*a, **k), mean_iou=0.5, loss=1.0))
    settings = quick_settings(epochs=9, patience=1, best_by=best_by)
    model = train(make_split([0], [1]), settings, structures=STRUCTURES)
    assert model.origin["ended"] == f"there was no {words} in 1 epoch"
    assert len(model.history) == 2


# --- losses


@pytest.mark.parametrize("crop", [None, (54.0, 54.0)])
def test_the_weight_of_structures_is_counted_once_and_kept(crop, tmp_path, monkeypatch):
    patch_reading(monkeypatch)
    settings = quick_settings(
        epochs=1, loss=LossSettings(structure_weight=None), preprocess=PreprocessSettings(3.0, crop_mm=crop)
    )
    model = train(make_split([0, 1], [2]), settings, structures=STRUCTURES)
    kept = load_model(save_model(model, tmp_path / "model.pt")).settings.loss.structure_weight
    slices = build_slices([make_pair(0), make_pair(1)], model.settings.preprocess, stride=4)
    whole = slices.sample(torch.arange(4))
    counted = count_weight([(whole.labels, whole.drawn)])
    if crop is None:
        assert kept == counted > 1
    else:  # a crop has less background
        assert kept < 0.8 * counted


def test_training_and_validation_loss_are_on_one_scale(monkeypatch):
    # The same slices on both sides, not varied, and weights that do not move.
    monkeypatch.setattr("autoseg.model.dataset.build.read_case", lambda case, structures: make_pair(0))
    settings = quick_settings(
        epochs=1,
        learning_rate=1e-12,
        augmentation=AugmentationSettings.off(),
        network=NetworkSettings(filters=SMALL, deep_supervision=True),
    )
    row = train(make_split([0], [1]), settings, structures=STRUCTURES).history[0]
    assert row.validation_loss == pytest.approx(row.training_loss, rel=1e-4)


# --- all networks

FILTERS = {"unet": SMALL, "resunet": SMALL}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_trains_saves_loads_and_predicts(name, tmp_path, monkeypatch):
    patch_reading(monkeypatch)
    settings = quick_settings(
        epochs=2, learning_rate=1e-3, network=NetworkSettings(name=name, filters=FILTERS.get(name))
    )
    model = train(make_split([0, 1], [2]), settings, structures=STRUCTURES)
    assert all(row.validation_loss > 0 for row in model.history)
    again = load_model(save_model(model, tmp_path / "model.pt"))
    image, labels = make_pair(7)
    predicted = predict(again, image)
    assert predicted.shape == labels.shape
    assert torch.equal(torch.from_numpy(predicted.voxels), torch.from_numpy(predict(model, image).voxels))
    assert set(predicted.voxels.flat) <= {0, 1, 5}
