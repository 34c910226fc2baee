"""What `test_processes.py` lets two processes learn together, and one alone: made-up discs."""

import sys
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import torch
from discs import STRUCTURES, make_pair, make_split, quick_settings

from autoseg import cli
from autoseg.errors import DataError
from autoseg.model.dataset import build
from autoseg.model.settings.settings import LossSettings, NetworkSettings, PreprocessSettings
from autoseg.training.checkpoint import read_checkpoint, write_checkpoint
from autoseg.training.processes import current_processes
from autoseg.training.training import train

# Of six slices the last batch of an epoch has one, so that a process has none; on some a structure is not drawn.
# Without clipping, which would hide that all gradients are too large.
PLAIN = quick_settings(
    batch_size=5,
    optimizer="sgd",
    learning_rate=0.05,
    gradient_clip=float("inf"),
    network=NetworkSettings(filters=(4, 8)),
)
SETTINGS = {
    "plain": PLAIN,
    "per_sample": replace(PLAIN, loss=LossSettings(overlap="tversky", per_sample=True, pixel="bce")),
    "focal": replace(PLAIN, loss=LossSettings(overlap="iou", background=True, pixel="focal")),
}
# Learns nothing, so that validations by one and by two see the same weights: of crops that are looked for, in parts
# of two slices, on some of the cases and on all at the end.
STILL = replace(
    PLAIN,
    batch_size=1,
    learning_rate=1e-30,
    preprocess=PreprocessSettings(3.0, crop_mm=(72.0, 72.0)),
    validate_slices=4,
    watch_erosion=True,
)


def read_made_up(case, structures):
    """Give a disc; one is damaged for the second process alone."""
    number = int(case.case_id.removeprefix("case"))
    if number == 13 and current_processes().rank == 1:
        raise DataError("The file of case 13 is damaged.")
    return make_pair(number, size=(32, 32), spacing=(8.0, 3.0, 3.0), annotated={1} if number == 1 else None)


def learn(settings, numbers=(0, 1, 2), *, steps=5, **changes):
    """Learn for so many steps of three epochs."""
    taken = iter(range(1, 99))
    return train(
        make_split(numbers, [3, 4, 5]),
        replace(settings, epochs=3),
        structures=STRUCTURES,
        should_stop=lambda: next(taken) >= steps,
        **changes,
    )


def validated(row):
    """Give all that a validation found."""
    return row.validation_loss, row.dice, row.iou, row.erosion_iou


def learn_all(folder):
    """Learn with every kind of loss, leave a checkpoint, and go on from one that lies there; validate."""
    still = learn(STILL, (0,), steps=99)
    found = {"still": {"rows": [validated(row) for row in still.history], "notes": still.origin["notes"]}}
    for name, settings in SETTINGS.items():
        model = learn(settings)
        found[name] = {
            "weights": model.weights,
            "rows": [(r.training_loss, r.training_dice) for r in model.history],
            "validated": [validated(row) for row in model.history],
        }
    left = folder / "left_resume.pt"
    learn(PLAIN, steps=2, on_checkpoint=lambda take, stopped: write_checkpoint(take(), left))
    if (folder / "there_resume.pt").exists():
        found["resumed"] = learn(PLAIN, steps=3, resume=read_checkpoint(folder / "there_resume.pt")).weights
    return found


def lead(chosen):
    """Learn all; then what fails in the other process alone."""
    torch.save(learn_all(chosen.into), chosen.into / "found.pt")
    learn(PLAIN, (0, 13))


if __name__ == "__main__":
    build.read_case = read_made_up
    torch.set_num_threads(1)
    sys.exit(cli._run(Namespace(run=lead, command="train", into=Path(sys.argv[1]))))
