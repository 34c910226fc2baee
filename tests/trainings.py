"""Small trainings in the background, for the tests of the panels: made-up discs, and nobody else who learns.

`stand_in` puts epochs that are there at once in place of learning, where only what is around it is tested.
"""

import time
from dataclasses import replace
from functools import partial

import torch
from discs import STRUCTURES, make_pair, make_split, patch_reading, quick_settings

from autoseg.data.digests import Seal, Side, subject_pseudonym
from autoseg.data.split import subjects_of
from autoseg.model.ended import Ended
from autoseg.model.model import EpochResult, TrainedModel, describe_origin
from autoseg.model.networks import build_network
from autoseg.panels.parts.background import Kernel
from autoseg.panels.parts.values import Task
from autoseg.panels.training import running
from autoseg.training.checkpoint import Checkpoint, describe_now

# A stand-in of this many epochs or more waits after the third until it is stopped.
LONG = 10


def alone(monkeypatch, folder):
    """Let trainings read made-up cases, and have a turn and a registry of their own."""
    patch_reading(monkeypatch)
    monkeypatch.setattr(
        "autoseg.prediction.watched.read_case",
        lambda case, structures: make_pair(int(case.case_id.removeprefix("case"))),
    )
    monkeypatch.setattr("autoseg.panels.parts.background.turn_file", lambda: folder / "turn.lock")
    monkeypatch.setattr(running, "TRAININGS", Kernel())


def make_task(folder, name="discs", training=(0, 1, 2, 3), validation=(8, 9), **changes):
    return Task(make_split(training, validation), quick_settings(**changes), STRUCTURES, name, folder)


def until(condition, seconds=60):
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


# --- in place of learning


def stand_in(monkeypatch, *, nan_in=None, dice=None):
    """Let `train_and_save` do all but learn: epochs come at once, with scores that rise; one may be no number.

    `dice` are the structures' scores instead.

    One of `LONG` epochs or more waits after the third until it is stopped; resumed, it goes on to its end.
    """
    monkeypatch.setattr("autoseg.training.save.train", partial(_train, nan_in=nan_in, dice=dice))


def _train(split, settings, *, structures, name, resume, nan_in, dice, on_epoch, should_stop, on_checkpoint, **_):
    if resume is None:
        model = _untrained(split, settings, structures, name)
    else:
        settings, before = resume.settings, resume.last.origin.get("resumed_after_epochs", [])
        done = [*before, len(resume.last.history)]
        model = replace(resume.last, origin={**resume.last.origin, "resumed_after_epochs": done})
    ended = Ended.COMPLETE
    while len(model.history) < settings.epochs:
        epoch = len(model.history) + 1
        if epoch == nan_in:
            ended = Ended.NOT_A_NUMBER
            break
        score = 1 - 1 / (epoch + 1) if split.validation else None
        scores = (dice or (score,) * len(structures)) if split.validation else ()
        left = float(settings.epochs - epoch)
        loss = None if score is None else 1 - score
        row = EpochResult(epoch, 1 / epoch, 0.01, float(epoch), left, loss, score, scores, validation_iou=score)
        row = replace(row, is_best=True, training_dice=scores, training_iou=scores, iou=scores)
        model = replace(model, history=(*model.history, row), best_epoch=epoch)
        stopped = bool(on_epoch(row, model, model))
        if epoch == 3 and settings.epochs >= LONG:
            until(should_stop)
        stopped = stopped or should_stop()
        stopped = stopped and epoch < settings.epochs
        on_checkpoint(partial(_checkpoint, model, split), stopped)
        if stopped:
            ended = Ended.STOPPED
            break
    return replace(model, origin={**model.origin, "ended": f"of {ended.value}", "ended_by": ended.value})


def _untrained(split, settings, structures, name):
    torch.manual_seed(0)
    network = build_network(settings.network, in_channels=1, out_channels=len(structures) + 1)
    people = [subjects_of(side) for side in (split.training, split.validation)]
    origin = describe_origin(*people, 2 * len(split.training))
    return TrainedModel(name, settings, structures, ("image",), network.state_dict(), origin=origin)


def _checkpoint(model, split):
    seal = replace(Seal.new(), n=16)  # quick to make, and to guess
    sides = [
        Side(len(cases), len(cases), 2 * len(cases), seal.close(map(subject_pseudonym, subjects_of(cases))))
        for cases in (split.training, split.validation)
    ]
    state = torch.zeros(1, dtype=torch.uint8)
    epochs = len(model.history)
    return Checkpoint(
        model, model, model.weights, epochs, {}, state, state, None, epochs, float(epochs), *sides, **describe_now()
    )
