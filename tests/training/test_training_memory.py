"""A memory that is too small for a batch: smaller batches, said aloud, kept, and the same when resumed."""

from dataclasses import replace

import pytest
import torch
from discs import STRUCTURES, make_pair, make_split, patch_reading, quick_settings

from autoseg.errors import DataError
from autoseg.model.ended import Ended
from autoseg.model.model import load_model, save_model
from autoseg.training import step as training_state
from autoseg.training.checkpoint import read_checkpoint, write_checkpoint
from autoseg.training.history import history_rows
from autoseg.training.save import train_and_save
from autoseg.training.training import train
from autoseg.training.validation import build_validation, evaluate_slices

CUDA = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
IGNORING = pytest.mark.filterwarnings("ignore:The memory was not enough")
PROCESSOR = RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory")


class Memory:
    """Networks fail from now on for more than `most` slices at once; `seen` has the sizes that went well."""

    def __init__(self, monkeypatch, most, error=CUDA):
        self.most, self.error, self.seen = most, error, []
        real = training_state.build_network

        def build(*arguments, **options):
            network = real(*arguments, **options)
            network.register_forward_pre_hook(self.look)
            return network

        monkeypatch.setattr(training_state, "build_network", build)

    def look(self, network, inputs):
        if len(inputs[0]) > self.most:
            raise self.error
        if network.training:
            self.seen.append(len(inputs[0]))


@pytest.mark.parametrize("error", [CUDA, PROCESSOR, MemoryError()])
def test_the_batch_is_halved_said_aloud_and_kept(error, tmp_path, monkeypatch):
    patch_reading(monkeypatch)
    memory = Memory(monkeypatch, 2, error)
    rates = []
    with pytest.warns(UserWarning, match="The memory was not enough") as told:
        model = train(
            make_split(range(5), [9]),
            quick_settings(epochs=3, batch_size=8),
            structures=STRUCTURES,
            on_epoch=lambda result, *_: rates.append(result.learning_rate) and None,
        )
    assert [str(one.message)[:55] for one in told if "memory" in str(one.message)] == [
        "The memory was not enough for 8 slices at once (batch);",
        "The memory was not enough for 4 slices at once (batch);",
    ]
    # Ten slices three times, in whole epochs, and the learning rate at its end.
    assert memory.seen == [2] * 15
    assert [row.epoch for row in model.history] == [1, 2, 3]
    assert model.ended is Ended.COMPLETE
    assert rates[-1] == pytest.approx(0, abs=1e-12)
    again = load_model(save_model(model, tmp_path / "model.pt"))
    assert again.settings == replace(model.settings, batch_size=2) == model.settings
    (note,) = again.origin["notes"]
    assert note.startswith("Epoch 1: The memory was not enough for 8 slices at once")
    assert "goes on with 2." in note
    assert len(history_rows(model)) == 3


def test_batches_that_shrink_in_an_epoch_leave_no_slice_out(monkeypatch):
    patch_reading(monkeypatch)
    memory = Memory(monkeypatch, 4)
    lost = []

    def shrink(result, *_):
        if result.epoch == 2:
            memory.most = 3

    order = training_state.Step.order

    def watch(step, generator):
        lost.append(order(step, generator))
        return lost[-1]

    monkeypatch.setattr(training_state.Step, "order", watch)
    with pytest.warns(UserWarning, match="goes on with 2"):
        model = train(make_split(range(5)), quick_settings(epochs=4), structures=STRUCTURES, on_epoch=shrink)
    assert memory.seen == [4, 4, 2] * 2 + [2] * 10
    assert not any(lost)
    assert len(model.history) == 4
    assert [note.partition(":")[0] for note in model.origin["notes"]] == ["Epoch 3"]
    assert model.settings.batch_size == 2


class _Killed(Exception):
    pass


@IGNORING
@pytest.mark.parametrize("killed", [1, 2])
def test_it_survives_a_resume_bit_for_bit(killed, tmp_path, monkeypatch):
    patch_reading(monkeypatch)
    split, settings, taken = make_split(range(5), [9]), quick_settings(epochs=4, batch_size=3), []
    memory = Memory(monkeypatch, 3)

    def shrink(result, *_):
        if result.epoch == 1:
            memory.most = 2  # 3 slices at once fitted once

    def keep(take, stopped):
        taken.append(take())
        if len(taken) == killed:
            raise _Killed

    whole = train(split, settings, structures=STRUCTURES, on_epoch=shrink)
    memory.most = 3
    with pytest.raises(_Killed):
        train(split, settings, structures=STRUCTURES, on_epoch=shrink, on_checkpoint=keep)
    checkpoint = read_checkpoint(write_checkpoint(taken[-1], tmp_path / "model_resume.pt"))
    assert checkpoint.settings.batch_size == (3 if killed == 1 else 1)
    assert checkpoint.epochs_seen == str(killed)
    resumed = train(split, settings, structures=STRUCTURES, resume=checkpoint)
    assert [row.training_loss for row in whole.history] == [row.training_loss for row in resumed.history]
    assert all(torch.equal(value, resumed.weights[key]) for key, value in whole.weights.items())
    assert whole.settings == resumed.settings
    assert whole.origin["notes"] == resumed.origin["notes"]


@IGNORING
def test_a_single_slice_that_does_not_fit_is_refused_with_the_remedy(monkeypatch):
    patch_reading(monkeypatch)
    Memory(monkeypatch, 0)
    with pytest.raises(DataError, match=r"single slice.*larger pixels.*crop"):
        train(make_split([0, 1]), quick_settings(), structures=STRUCTURES)


def test_other_faults_of_a_step_are_raised_as_they_are(monkeypatch):
    patch_reading(monkeypatch)
    Memory(monkeypatch, 0, RuntimeError("the shapes do not fit"))
    with pytest.raises(RuntimeError, match="shapes"):
        train(make_split([0, 1]), quick_settings(), structures=STRUCTURES)


def test_a_validation_that_does_not_fit_looks_at_fewer_slices_and_scores_the_same(monkeypatch):
    settings = quick_settings(batch_size=4)
    torch.manual_seed(0)
    network = training_state.build_network(settings.network, in_channels=1, out_channels=3)
    pairs = [make_pair(n) for n in range(3)]
    images = build_validation(pairs, settings, network, device=torch.device("cpu"))
    whole = evaluate_slices(network, images, settings, structures=STRUCTURES)
    memory = Memory(monkeypatch, 2)
    network.register_forward_pre_hook(memory.look)
    parts = evaluate_slices(network, images, settings, structures=STRUCTURES)
    assert (parts.dice, parts.iou) == (whole.dice, whole.iou)
    memory.most = 0
    with pytest.raises(DataError, match="single slice"):
        evaluate_slices(network, images, settings, structures=STRUCTURES)


def test_the_printed_lines_tell_it(tmp_path, monkeypatch):
    patch_reading(monkeypatch)
    Memory(monkeypatch, 2)
    told = []
    with pytest.warns(UserWarning, match="memory"):
        train_and_save(
            make_split([0, 1], [2]),
            quick_settings(epochs=3, print_checkpoint=2),
            structures=STRUCTURES,
            name="discs",
            folder=tmp_path,
            tell=told.append,
        )
    (note,) = (line for line in told if "memory" in line)
    assert note.startswith("Epoch 1: The memory was not enough for 4 slices at once")
