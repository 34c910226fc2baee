"""An unfinished training: all that it takes to go on where it was, and its file."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from autoseg.data.cases import Case
from autoseg.data.digests import Seal, Side, known_subjects
from autoseg.data.split import Split
from autoseg.errors import AutosegError, DataError, ModelFileError
from autoseg.files.atomic import settle
from autoseg.image.structures import Structure
from autoseg.model.device import choose_device
from autoseg.model.model import (
    RESUME_ENDING,
    TrainedModel,
    autoseg_version,
    check_model_name,
    check_network,
    check_numbers,
    model_from_dict,
    model_to_dict,
    seal_model,
)
from autoseg.model.settings.settings import Settings
from autoseg.model.stored.tensor_file import UNFINISHED, read_plain, read_tensors, values_in_words, write_tensors
from autoseg.model.stored.values import needed, read_fields
from autoseg.words import counted


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A training after an epoch, complete: it goes on as if it had never stopped.

    Parameters
    ----------
    best, last : TrainedModel
        Of the best epoch so far and of the latest one, both with the whole history.
    network : dict of str to Tensor
        The weights that learn; those of the models are their running average.
    averaged_steps : int
        Steps that are in the average.
    optimizer : dict of int to dict
        The optimiser's state of each parameter; SGD without momentum has None in it.
    generator, torch_state, device_state : Tensor of uint8
        Of the random numbers: the training's own, torch's, and those of the GPU, where there is one.
    steps, elapsed_s : int, float
        Of the clock.
    epochs_seen : str
        Of the clock, as a fraction ("7/3"); "" in those of earlier versions, whose batches were all of one size.
    training, validation : Side
        What it learnt from.
    date : str
        When this was, in UTC, as 2026-05-01T12:00:00+00:00.
    made_with : dict of str to str
        Versions of autoseg and torch, and the kind of device.
    work : str
        A digest of what it was begun for, where that must be the same to go on (a fold); "" elsewhere.
    """

    best: TrainedModel
    last: TrainedModel
    network: dict[str, Tensor]
    averaged_steps: int
    optimizer: dict[int, dict[str, Tensor | None]]
    generator: Tensor
    torch_state: Tensor
    device_state: Tensor | None
    steps: int
    elapsed_s: float
    training: Side
    validation: Side
    date: str
    made_with: dict[str, str]
    epochs_seen: str = ""
    work: str = ""

    @property
    def name(self) -> str:
        """The model's name."""
        return self.last.name

    @property
    def settings(self) -> Settings:
        """The settings, with the network's pixel size filled in."""
        return self.last.settings

    @property
    def structures(self) -> tuple[Structure, ...]:
        """The structures that it learns."""
        return self.last.structures

    @property
    def seal(self) -> Seal:
        """What the fingerprints of whom it learns from are sealed with; a new one where they lie open."""
        return next(filter(None, map(Seal.of, self.training.subject_fingerprints)), None) or Seal.new()

    def __repr__(self) -> str:
        return f"Checkpoint({self.name}: after epoch {len(self.last.history)}, {self.training})"


@dataclass(frozen=True)
class Unfinished:
    """A training that can be resumed, as a list shows it.

    `epochs` or `minutes` were planned, the other is None; `best_dice` is the best mean Dice on the validation
    subjects, if there are any; `date` (UTC, ISO) is that of the checkpoint. Where the file cannot be used,
    `problem` says why and all the rest is empty.
    """

    name: str
    path: Path
    epochs_done: int = 0
    minutes_done: float = 0.0
    epochs: int | None = None
    minutes: float | None = None
    best_dice: float | None = None
    date: str = ""
    problem: str = ""


def checkpoint_path(folder: Path | str, name: str) -> Path:
    """Give the place of a training's checkpoint: `<folder>/<name>_resume.pt`."""
    return Path(folder) / f"{check_model_name(name)}{RESUME_ENDING}"


def write_checkpoint(checkpoint: Checkpoint, path: Path) -> Path:
    """Write a checkpoint; the file is whole, or it stays as it was. No patient is named in it."""
    plain = {
        name: getattr(checkpoint, name)
        for name in (
            *("network", "averaged_steps", "optimizer", "generator", "torch_state", "device_state"),
            *("steps", "epochs_seen", "elapsed_s", "date", "made_with", "work"),
        )
    }
    content = {
        **plain,
        # Both have the same history.
        "best": model_to_dict(replace(checkpoint.best, history=())),
        "last": model_to_dict(checkpoint.last),
        "training": checkpoint.training.stored(),
        "validation": checkpoint.validation.stored(),
    }
    return write_tensors(content, path, UNFINISHED)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint; nothing in it is ever executed."""

    def check(content: dict[str, Any]) -> None:
        with values_in_words(path, UNFINISHED):
            checkpoint, size = _from_content(content), path.stat().st_size
            for model in (checkpoint.best, checkpoint.last):
                check_network(model, model.weights, size)
            check_network(checkpoint.last, checkpoint.network, size)

    path = Path(path)
    content = read_tensors(path, UNFINISHED, check=check)
    with values_in_words(path, UNFINISHED):
        checkpoint = _from_content(content)
        for weights in (checkpoint.best.weights, checkpoint.last.weights, checkpoint.network):
            check_numbers(weights)
        return _sealed(checkpoint)


def _from_content(content: Mapping[str, Any]) -> Checkpoint:
    """Build a checkpoint from what its file holds; what is missing or of another kind raises ValueError."""
    models = [model_from_dict(needed(content, name, dict[str, Any])) for name in ("best", "last")]
    sides = [Side.read(needed(content, name, dict[str, Any])) for name in ("training", "validation")]
    values = {key: value for key, value in content.items() if key not in ("format", "format_version")}
    values |= {"best": replace(models[0], history=models[1].history), "last": models[1]}
    values |= {"training": sides[0], "validation": sides[1]}
    return read_fields(Checkpoint, values, "the unfinished training")


def _sealed(checkpoint: Checkpoint) -> Checkpoint:
    """Seal the fingerprints: in checkpoints of earlier versions they lie open."""
    seal = checkpoint.seal
    sealed: dict[str, Any] = {key: seal_model(getattr(checkpoint, key), seal) for key in ("best", "last")}
    sealed |= {key: getattr(checkpoint, key).sealed(seal) for key in ("training", "validation")}
    return replace(checkpoint, **sealed)


def find_unfinished(folder: Path | str) -> tuple[Unfinished, ...]:
    """Give the trainings of a folder that can be resumed, the latest first; empty if there is none.

    Quick: of each file only the plain values are read.
    """
    settle(Path(folder))
    files = [file for file in Path(folder).glob(f"*{RESUME_ENDING}") if file.name[0] != "."]
    rows = [_summarise(file) for file in sorted(files)]
    return tuple(sorted(rows, key=lambda row: row.date, reverse=True))


def _summarise(path: Path) -> Unfinished:
    name = path.name.removesuffix(RESUME_ENDING)
    try:
        content = read_plain(path, UNFINISHED)
        with values_in_words(path, UNFINISHED):
            checkpoint = _from_content(content)
    except AutosegError as error:
        return Unfinished(name=name, path=path, problem=str(error))
    scores = [row.validation_dice for row in checkpoint.last.history if row.validation_dice is not None]
    return Unfinished(
        name=name,
        path=path,
        epochs_done=len(checkpoint.last.history),
        minutes_done=checkpoint.elapsed_s / 60,
        epochs=checkpoint.settings.epochs,
        minutes=checkpoint.settings.minutes,
        best_dice=max(scores, default=None),
        date=checkpoint.date,
    )


def find_checkpoint(folder: Path | str, name: str) -> Path:
    """Give the file of the unfinished training of this name."""
    path = checkpoint_path(folder, name)
    settle(path.parent)
    if not path.is_file():
        known = ", ".join(repr(row.name) for row in find_unfinished(folder)) or "none"
        raise ModelFileError(
            f"There is no unfinished training named {name!r} in {Path(folder).resolve()} (unfinished: {known}). "
            "Start it without resuming, or correct the name."
        )
    return path


# --- what was learnt from


def check_same_data(
    checkpoint: Checkpoint, structures: Sequence[Structure], training: Side, validation: Side
) -> None:
    """Raise DataError if these are not the data of a checkpoint; the message says what is another.

    A training that went on with other images or labels would compare epochs that cannot be compared.
    """
    remedy = "Bring the data back as they were, or start a new training, with another name."
    old, new = ([_as_learnt(s) for s in some] for some in (checkpoint.structures, structures))
    if old != new:
        named, other = (
            ", ".join(f"{s.label} {s.name}" for s in some) for some in (checkpoint.structures, structures)
        )
        raise DataError(
            f"The unfinished training {checkpoint.name!r} learns other structures ({named}) than the data have "
            f"now ({other}). {remedy}"
        )
    sides = (("learns from", checkpoint.training, training), ("validates on", checkpoint.validation, validation))
    for what, before, now in sides:
        begin = f"The unfinished training {checkpoint.name!r} {what} {before}"
        if (before.cases, before.subjects, before.slices) != (now.cases, now.subjects, now.slices):
            raise DataError(f"{begin}, and the data have {now} there now. {remedy}")
        if before.names_digest != now.names_digest:
            raise DataError(f"{begin}, and the data have as many, but others, there now. {remedy}")
        if before.voxels_digest != now.voxels_digest:
            raise DataError(f"{begin}, and an image, a label or a pixel size of them was changed since. {remedy}")


def _as_learnt(structure: Structure) -> tuple[object, ...]:
    """Give what of a structure changes the learning; its colour does not."""
    return structure.label, structure.name, structure.side, tuple(structure.includes)


def split_again(checkpoint: Checkpoint, cases: Sequence[Case], *, test_subjects: Collection[str] = ()) -> Split:
    """Give the cases the sides that they have in an unfinished training; those it does not know are left out.

    Parameters
    ----------
    checkpoint : Checkpoint
    cases : sequence of Case
    test_subjects : collection of str
        Subjects that are set aside for a last test (`autoseg.data.test_subjects.read_ledger`).

    Raises
    ------
    DataError
        If a subject of it has no case here (the message says how many), or was set aside since.
    """
    subjects = {case.subject_id for case in cases}
    known = [
        known_subjects(subjects, side.subject_fingerprints) for side in (checkpoint.training, checkpoint.validation)
    ]
    sides = [tuple(case for case in cases if case.subject_id in of) for of in known]
    split = Split(training=sides[0], validation=sides[1])
    seen = {case.subject_id for side in sides for case in side}
    wanted = {*checkpoint.training.subject_fingerprints, *checkpoint.validation.subject_fingerprints}
    if len(seen) < len(wanted):
        raise DataError(
            f"The unfinished training {checkpoint.name!r} knows {counted(len(wanted), 'patient')}, and "
            f"{len(wanted) - len(seen)} of them have no case in this folder now. Choose the folder that it was "
            "started with, or start a new one."
        )
    frozen = sorted(seen & set(test_subjects))
    if frozen:
        raise DataError(
            f"The unfinished training {checkpoint.name!r} has seen {', '.join(frozen[:5])}, set aside for the last "
            "test since. That test would say nothing of a model that goes on with them: start a new training."
        )
    return split


def describe_now() -> dict[str, Any]:
    """Give `date` and `made_with` of a checkpoint that is made now."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "made_with": {
            "autoseg": autoseg_version(),
            "torch": str(torch.__version__),
            "device": choose_device().type,
        },
    }
