"""The training loop, on made-up discs that it must learn."""

import math
from dataclasses import replace

import pytest
import torch
from discs import STRUCTURES, make_pair, make_split, patch_reading, quick_settings

from autoseg.errors import DataError
from autoseg.model.ended import Ended
from autoseg.model.settings.settings import LossSettings, NetworkSettings
from autoseg.training.checkpoint import read_checkpoint, write_checkpoint
from autoseg.training.inputs import Inputs
from autoseg.training.training import train
from autoseg.training.validation import build_validation, evaluate_slices, sample_of


def test_it_learns_and_keeps_the_best_epoch(monkeypatch):
    patch_reading(monkeypatch)
    seen = []
    model = train(
        make_split(range(10), [20, 21]),
        quick_settings(epochs=10),
        structures=STRUCTURES,
        name="discs",
        on_epoch=lambda result, best, last: seen.append((result, best.best_epoch, last.best_epoch)) and None,
    )
    assert len(model.history) == len(seen) == 10
    best = max(model.history, key=lambda row: row.validation_dice)
    assert model.best_epoch == best.epoch
    assert best.validation_dice > 0.85
    assert model.history[0].training_loss > model.history[-1].training_loss
    assert seen[-1][1] == model.best_epoch
    assert [last for _, _, last in seen] == list(range(1, 11))
    pairs = [make_pair(20), make_pair(21)]
    network = model.build()
    images = build_validation(pairs, model.settings, network, device=torch.device("cpu"))
    again = evaluate_slices(network, images, model.settings, structures=STRUCTURES)
    assert again.mean_dice == pytest.approx(best.validation_dice, abs=1e-6)
    assert model.ended is Ended.COMPLETE


def test_same_seed_same_weights_another_seed_others(monkeypatch):
    patch_reading(monkeypatch)

    def weights(seed):
        settings = quick_settings(epochs=2, seed=seed)
        return train(make_split([0, 1], [2]), settings, structures=STRUCTURES).weights

    one, two, other = weights(0), weights(0), weights(1)
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert not all(torch.equal(one[key], other[key]) for key in one)


def test_a_structure_never_drawn_is_neither_learnt_nor_scored(monkeypatch):
    patch_reading(monkeypatch, annotated=frozenset({1}))
    model = train(make_split(range(6), [9]), quick_settings(epochs=3), structures=STRUCTURES)
    assert all(row.dice[1] is None for row in model.history)
    assert model.history[-1].validation_dice == model.history[-1].dice[0]


def test_time_that_is_over_before_the_first_step_is_no_damaged_image(monkeypatch):
    patch_reading(monkeypatch)
    model = train(make_split([0, 1], [2]), quick_settings(epochs=None, minutes=1e-9), structures=STRUCTURES)
    assert [row.epoch for row in model.history] == [1]
    assert model.ended is Ended.COMPLETE


def test_a_time_budget_ends_in_time_with_a_low_learning_rate(monkeypatch):
    patch_reading(monkeypatch)
    model = train(make_split([0, 1, 2], [3]), quick_settings(epochs=None, minutes=0.03), structures=STRUCTURES)
    # Generous bounds: one step may straddle the end, whatever else the machine does.
    assert 1.2 <= model.history[-1].elapsed_s <= 15
    assert model.history[-1].validation_dice is not None
    assert model.history[-1].seconds_left < 0.6
    assert model.history[-1].learning_rate < 0.2 * model.settings.learning_rate


def test_stopping_keeps_the_best(monkeypatch):
    patch_reading(monkeypatch)
    split = make_split([0, 1], [2])
    stopped = train(
        split, quick_settings(epochs=50), structures=STRUCTURES, on_epoch=lambda result, *_: result.epoch == 3
    )
    assert len(stopped.history) == 3
    assert stopped.ended is Ended.STOPPED

    def interrupt(result, *_):
        if result.epoch == 2:
            raise KeyboardInterrupt

    interrupted = train(split, quick_settings(epochs=50), structures=STRUCTURES, on_epoch=interrupt)
    assert len(interrupted.history) == 2
    assert interrupted.weights
    assert interrupted.ended is Ended.STOPPED


def test_patience_stops(monkeypatch):
    patch_reading(monkeypatch)
    settings = quick_settings(epochs=40, learning_rate=1e-9, patience=2)
    model = train(make_split([0], [1]), settings, structures=STRUCTURES)
    assert len(model.history) < 40
    assert len(model.history) - model.best_epoch == 2
    assert model.origin["ended"] == "there was no better validation Dice in 2 epochs"


@pytest.mark.parametrize("best_by", ["dice", "iou", "loss"])
def test_the_best_epoch_is_the_best_by_what_was_asked(best_by, monkeypatch):
    patch_reading(monkeypatch)
    settings = quick_settings(epochs=6, best_by=best_by, learning_rate=0.05, average_decay=0.0)
    model = train(make_split([0, 1], [2]), settings, structures=STRUCTURES)
    scores = {
        "dice": [row.validation_dice for row in model.history],
        "iou": [row.validation_iou for row in model.history],
        "loss": [-row.validation_loss for row in model.history],
    }[best_by]
    assert model.best_epoch == 1 + scores.index(max(scores))
    assert [row.is_best for row in model.history] == [
        score == max(scores[: n + 1]) for n, score in enumerate(scores)
    ]


def test_the_last_epoch_is_kept_where_it_shall_be_whatever_its_scores(monkeypatch):
    patch_reading(monkeypatch)
    from autoseg.training import training

    real, calls = training.evaluate_slices, iter((0.9, 0.2, 0.8, 0.1))
    monkeypatch.setattr(
        training, "evaluate_slices", lambda *given, **how: replace(real(*given, **how), mean_dice=next(calls))
    )
    settings, lasts = quick_settings(epochs=4, best_by="last"), []
    model = train(
        make_split([0, 1], [2]),
        settings,
        structures=STRUCTURES,
        on_epoch=lambda result, best, last: lasts.append((result.is_best, best is last)),
    )
    assert [row.validation_dice for row in model.history] == [0.9, 0.2, 0.8, 0.1]
    assert model.best_epoch == 4
    assert lasts == [(True, True)] * 4


def test_patience_goes_by_the_loss_where_that_is_asked(monkeypatch):
    patch_reading(monkeypatch)
    from autoseg.training import training

    real, calls = training.evaluate_slices, iter(range(100))
    # Dice rises for ever, the loss is lowest in the second epoch.
    monkeypatch.setattr(
        training,
        "evaluate_slices",
        lambda *a, **k: replace(real(*a, **k), mean_dice=(n := next(calls)) / 100, loss=abs(n - 1) + 1.0),
    )
    settings = quick_settings(epochs=9, best_by="loss", patience=3)
    model = train(make_split([0], [1]), settings, structures=STRUCTURES)
    assert (model.best_epoch, len(model.history)) == (2, 5)
    assert model.origin["ended"] == "there was no lower validation loss in 3 epochs"


def test_without_validation_the_last_epoch_is_kept(monkeypatch):
    patch_reading(monkeypatch)
    model = train(make_split([0, 1]), quick_settings(epochs=3), structures=STRUCTURES)
    assert model.best_epoch == 3
    assert all(row.validation_dice is None for row in model.history)


def test_a_validation_without_a_score_keeps_the_last_epoch(monkeypatch):
    patch_reading(monkeypatch, annotated=frozenset())
    model = train(make_split([0], [1]), quick_settings(epochs=2), structures=STRUCTURES)
    assert model.best_epoch == 2
    assert model.history[-1].validation_dice is None


def test_stopping_before_the_first_validation_keeps_what_was_learnt(monkeypatch):
    patch_reading(monkeypatch)
    settings = quick_settings(epochs=50, validate_every=5)
    model = train(
        make_split([0], [1]), settings, structures=STRUCTURES, on_epoch=lambda result, *_: result.epoch == 2
    )
    assert model.best_epoch == 2


def test_a_loss_that_is_no_number_keeps_the_last_good_weights(monkeypatch):
    patch_reading(monkeypatch)
    calls = {"count": 0}
    from autoseg.training import step as training_state

    real = training_state.outputs_loss

    def breaking(*arguments, **options):
        calls["count"] += 1
        parts = real(*arguments, **options)
        return replace(parts, overlap=parts.overlap * (math.nan if calls["count"] > first_nan else 1.0))

    monkeypatch.setattr(training_state, "outputs_loss", breaking)
    first_nan = 6
    with pytest.warns(UserWarning, match=r"became NaN in epoch .*smaller learning rate"):
        model = train(make_split([0, 1, 2, 3], [4]), quick_settings(epochs=9), structures=STRUCTURES)
    assert 1 <= len(model.history) < 9
    assert model.ended is Ended.NOT_A_NUMBER
    assert "NaN" in model.origin["ended"]
    assert all(torch.isfinite(value).all() for value in model.weights.values())
    calls["count"], first_nan = 0, 0
    with pytest.raises(DataError, match=r"not a number.*learning rate"):
        train(make_split([0, 1], [2]), quick_settings(epochs=2), structures=STRUCTURES)


def test_an_epoch_that_spoils_the_weights_at_its_end_is_none(monkeypatch):
    patch_reading(monkeypatch)
    from autoseg.training import training

    real, epochs = training._learn_epoch, []

    def spoiling(step, *arguments):
        learnt = real(step, *arguments)  # whose loss is a number
        epochs.append(1)
        if len(epochs) == 2:
            with torch.no_grad():
                next(step.averaged.module.parameters()).fill_(math.inf)
        return learnt

    monkeypatch.setattr(training, "_learn_epoch", spoiling)
    with pytest.warns(UserWarning, match="NaN in epoch 2"):
        model = train(make_split([0, 1]), quick_settings(epochs=4), structures=STRUCTURES)
    assert (model.ended, len(model.history)) == (Ended.NOT_A_NUMBER, 1)
    assert all(torch.isfinite(value).all() for value in model.weights.values())


def test_the_loss_settings_reach_the_loss(monkeypatch):
    patch_reading(monkeypatch)
    losses = []
    for weight in (0.5, 5.0):
        settings = quick_settings(epochs=1, loss=LossSettings(pixel_weight=weight))
        losses.append(train(make_split([0], [1]), settings, structures=STRUCTURES).history[0].validation_loss)
    assert losses[1] > losses[0]


# --- stopping and going on


@pytest.mark.parametrize("length", [{"epochs": 50}, {"epochs": None, "minutes": 5}])
def test_a_stop_is_heard_after_the_next_step_and_the_epoch_counts(length, monkeypatch):
    patch_reading(monkeypatch)
    asked, notes = [], []

    def should_stop():
        asked.append(1)
        return len(asked) >= 10  # after the second of three steps of the third epoch: it is asked after each, too

    model = train(
        make_split(range(6), [9]),
        quick_settings(**length, validate_every=5),
        structures=STRUCTURES,
        should_stop=should_stop,
        on_checkpoint=lambda take, stopped: notes.append((take().steps, stopped)),
    )
    assert len(model.history) == 3
    assert model.history[-1].validation_dice is not None
    assert model.best_epoch == 3
    assert model.ended is Ended.STOPPED
    assert [stopped for _, stopped in notes] == [False, False, True]
    assert notes[-1][0] == 8


def test_a_stop_during_the_validation_needs_no_other_epoch(monkeypatch):
    patch_reading(monkeypatch)
    from autoseg.training import training

    real, clicked = training.evaluate_slices, []

    def validate(*arguments, **options):
        clicked.append(1)
        return real(*arguments, **options)

    monkeypatch.setattr(training, "evaluate_slices", validate)
    model = train(
        make_split([0, 1], [2]), quick_settings(), structures=STRUCTURES, should_stop=lambda: bool(clicked)
    )
    assert len(model.history) == 1
    assert model.ended is Ended.STOPPED


def test_stopping_after_the_last_step_is_no_stop(monkeypatch):
    patch_reading(monkeypatch)
    model = train(
        make_split([0, 1]), quick_settings(), structures=STRUCTURES, on_epoch=lambda result, *_: result.epoch == 4
    )
    assert model.ended is Ended.COMPLETE


class _Killed(Exception):
    pass


def run_killed_after(epochs, split, settings, folder=None):
    """Train until the power fails; give the checkpoint of the last epoch, written and read if there is a folder."""
    taken = []

    def keep(take, stopped):
        taken.append(take())
        if len(taken) == epochs:
            raise _Killed

    with pytest.raises(_Killed):
        train(split, settings, structures=STRUCTURES, name="discs", on_checkpoint=keep)
    if folder is None:
        return taken[-1]
    return read_checkpoint(write_checkpoint(taken[-1], folder / "discs_resume.pt"))


def without_times(history):
    return [replace(row, elapsed_s=0, seconds_left=0) for row in history]


@pytest.mark.parametrize("through_file", [False, True])
def test_killed_and_resumed_is_the_same_bit_for_bit_as_in_one_go(through_file, tmp_path, monkeypatch):
    patch_reading(monkeypatch)
    split = make_split([0, 1, 2, 3, 4], [5])
    # Dropout, so that torch's own random numbers matter too; patience, so that the history does.
    network = NetworkSettings(filters=(8, 16, 32), dropout=0.2)
    settings = quick_settings(epochs=6, network=network, patience=5, validate_every=2, precision="auto")
    whole_last, resumed_last = [], []
    whole = train(
        split, settings, structures=STRUCTURES, name="discs", on_epoch=lambda r, b, last: whole_last.append(last)
    )
    checkpoint = run_killed_after(3, split, settings, tmp_path if through_file else None)
    torch.manual_seed(99)  # another process has drawn other numbers
    resumed = train(
        split,
        quick_settings(epochs=1),
        structures=STRUCTURES,
        resume=checkpoint,
        on_epoch=lambda r, b, last: resumed_last.append(last),
    )
    assert len(resumed_last) == 3
    for one, two in ((whole, resumed), (whole_last[-1], resumed_last[-1])):
        assert (one.best_epoch, one.settings, one.name) == (two.best_epoch, two.settings, two.name)
        assert without_times(one.history) == without_times(two.history)
        assert all(torch.equal(value, two.weights[key]) for key, value in one.weights.items())
    assert [row.elapsed_s for row in resumed.history] == sorted(row.elapsed_s for row in resumed.history)
    assert resumed.ended is Ended.COMPLETE
    assert resumed.origin["resumed_after_epochs"] == [3]
    assert "resumed_after_epochs" not in whole.origin


def test_a_checkpoint_can_be_resumed_twice(monkeypatch):
    patch_reading(monkeypatch)
    split, settings = make_split([0, 1], [2]), quick_settings(epochs=3)
    checkpoint = run_killed_after(1, split, settings)
    one, two = (train(split, settings, structures=STRUCTURES, resume=checkpoint) for _ in range(2))
    assert all(torch.equal(value, two.weights[key]) for key, value in one.weights.items())


def test_a_training_stopped_in_an_epoch_takes_all_its_steps_when_resumed(monkeypatch):
    patch_reading(monkeypatch)
    split, settings, taken, asked = make_split(range(6), [9]), quick_settings(epochs=3), [], []
    train(
        split,
        settings,
        structures=STRUCTURES,
        should_stop=lambda: asked.append(1) or len(asked) >= 6,
        on_checkpoint=lambda take, stopped: taken.append(take()),
    )
    assert taken[-1].steps == 5
    steps = []
    model = train(
        split,
        settings,
        structures=STRUCTURES,
        resume=taken[-1],
        on_checkpoint=lambda take, stopped: steps.append(take().steps),
    )
    assert steps == [8, 9]
    assert [row.epoch for row in model.history] == [1, 2, 3, 4]


def test_the_time_of_a_budget_goes_on_counting(monkeypatch):
    patch_reading(monkeypatch)
    split, settings = make_split([0, 1], [2]), quick_settings(epochs=None, minutes=5.0)
    checkpoint = replace(run_killed_after(2, split, settings), elapsed_s=5 * 60 - 0.5)
    model = train(split, settings, structures=STRUCTURES, resume=checkpoint)
    assert 299.9 <= model.history[-1].elapsed_s <= 315
    assert model.history[2].learning_rate < 1e-4
    assert model.ended is Ended.COMPLETE


def test_what_was_complete_when_it_was_killed_needs_no_more_learning(monkeypatch):
    patch_reading(monkeypatch)
    split = make_split([0, 1], [2])
    checkpoint = run_killed_after(2, split, quick_settings(epochs=2))
    model = train(split, checkpoint.settings, structures=STRUCTURES, resume=checkpoint)
    assert (len(model.history), model.ended) == (2, Ended.COMPLETE)
    settings = quick_settings(epochs=40, learning_rate=1e-9, patience=2)
    whole = train(split, settings, structures=STRUCTURES)
    checkpoint = run_killed_after(len(whole.history), split, settings)
    model = train(split, settings, structures=STRUCTURES, resume=checkpoint)
    assert len(model.history) == len(whole.history)
    assert model.origin["ended"] == "there was no better validation Dice in 2 epochs"


def test_weights_that_are_no_numbers_are_no_checkpoint(monkeypatch):
    patch_reading(monkeypatch)
    from autoseg.training import training

    real, epochs = training.Step.weights, []

    def spoil(step):
        if len(epochs) == 2:
            with torch.no_grad():
                next(step.network.parameters()).fill_(math.nan)
        return real(step)

    monkeypatch.setattr(training.Step, "weights", spoil)
    with pytest.warns(UserWarning, match="NaN in epoch 3"):
        train(
            make_split([0, 1]),
            quick_settings(epochs=6),
            structures=STRUCTURES,
            on_epoch=lambda *_: epochs.append(1) and None,
            on_checkpoint=lambda take, stopped: epochs.append(take()),
        )
    kept = [item for item in epochs if item != 1]
    assert [len(checkpoint.last.history) for checkpoint in kept] == [1]


@pytest.mark.gpu
def test_a_gpu_goes_on_too(tmp_path, monkeypatch):
    patch_reading(monkeypatch)
    network = NetworkSettings(filters=(8, 16, 32), dropout=0.2)
    settings, split = quick_settings(epochs=4, network=network), make_split([0, 1, 2, 3, 4], [5])
    whole = train(split, settings, structures=STRUCTURES)
    checkpoint = run_killed_after(2, split, settings, tmp_path)
    assert checkpoint.made_with["device"] == "cuda"
    assert checkpoint.device_state is not None
    torch.cuda.manual_seed(99)
    resumed = train(split, settings, structures=STRUCTURES, resume=checkpoint)
    for key, value in whole.weights.items():  # a GPU adds in any order, so not bit for bit
        torch.testing.assert_close(value, resumed.weights[key], rtol=0.02, atol=0.02)


def test_epochs_are_validated_on_a_sample_and_the_best_one_on_all(monkeypatch):
    patch_reading(monkeypatch)
    settings, told = quick_settings(epochs=2, validate_slices=3), []
    split = make_split([0, 1], [7, 8, 9])
    model = train(split, settings, structures=STRUCTURES, inputs=Inputs(tell=told.append))
    assert told[0] == (
        "Epochs are validated on 4 of 6 slices (the setting validate_slices), the best one on all of them at the "
        "end."
    )
    assert "of the time" in told[1]
    pairs = [make_pair(n) for n in (7, 8, 9)]
    images = build_validation(pairs, model.settings, model.build(), device=torch.device("cpu"))
    every = evaluate_slices(model.build(), images, model.settings, structures=STRUCTURES)
    assert model.origin["notes"] == [
        "Epochs were validated on 4 of 6 slices; on all of them the kept epoch has the mean Dice "
        f"{every.mean_dice:.3f}."
    ]
    sample = sample_of(images, 3, settings.seed)
    some = evaluate_slices(model.build(), images, model.settings, structures=STRUCTURES, sample=sample)
    best = model.history[model.best_epoch - 1]
    assert best.validation_dice == pytest.approx(some.mean_dice, abs=1e-6) != every.mean_dice
    quiet = train(
        split, replace(settings, validate_slices=6), structures=STRUCTURES, inputs=Inputs(tell=told.append)
    )
    assert len(told) == 2
    assert "notes" not in quiet.origin or quiet.origin["notes"] == []
