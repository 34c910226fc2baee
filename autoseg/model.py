"""A trained model and its file, which holds everything that prediction needs."""

from __future__ import annotations

import errno
import hashlib
import pickle
import platform
import re
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from autoseg.errors import AutosegError, DataError, ModelFileError
from autoseg.files.atomic import whole_file
from autoseg.networks import build_network
from autoseg.postprocess import StructurePostprocess
from autoseg.settings import Settings, settings_from_dict, settings_to_dict
from autoseg.structures import Structure

FORMAT = "autoseg model"
# 2 adds the post-processing, which an older autoseg would leave out without a word.
FORMAT_VERSION = 2
READABLE_VERSIONS = (1, 2)


@dataclass(frozen=True)
class EpochResult:
    """What one epoch of training gave.

    `training_loss` is the mean over the epoch's steps; `validation_loss`, `validation_dice`, `validation_iou`
    (means over the structures), `dice` and `iou` (one per structure, pooled over the validation slices on the
    network's grid) are None or empty where nothing was validated. `training_dice` and `training_iou` (one per
    structure) are pooled over the epoch's batches as they were learnt from, augmented, so they are a little low.
    `erosion_iou` has a tuple per structure: its IoU after 0, 1, 2, 3 erosions, where that was watched.
    `seconds_left` is an estimate. `is_best` marks the best epoch so far.
    """

    epoch: int
    training_loss: float
    learning_rate: float
    elapsed_s: float
    seconds_left: float
    validation_loss: float | None = None
    validation_dice: float | None = None
    dice: tuple[float | None, ...] = ()
    is_best: bool = False
    validation_iou: float | None = None
    iou: tuple[float | None, ...] = ()
    training_dice: tuple[float | None, ...] = ()
    training_iou: tuple[float | None, ...] = ()
    erosion_iou: tuple[tuple[float | None, ...], ...] = ()


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """A network with its weights, and all that is needed to use it on a new patient.

    Parameters
    ----------
    name : str
        Chosen by the user; part of the file's name.
    settings : Settings
        As trained, with the network's pixel size filled in.
    structures : tuple of Structure
        Class k of the network is the k-th structure.
    channels : tuple of str
        The image's channels.
    weights : dict of str to Tensor
        Of the best epoch.
    history : tuple of EpochResult
        One per epoch.
    best_epoch : int
        The epoch whose weights these are.
    origin : dict
        What it was trained on, when and with which versions, and in `ended` why it stopped learning; plain
        values, no patient names.
    postprocess : tuple of StructurePostprocess
        How each structure's prediction is cleaned, chosen on validation subjects; empty: not at all.
    """

    name: str
    settings: Settings
    structures: tuple[Structure, ...]
    channels: tuple[str, ...]
    weights: dict[str, Tensor]
    history: tuple[EpochResult, ...] = ()
    best_epoch: int = 0
    origin: dict[str, Any] = field(default_factory=dict)
    postprocess: tuple[StructurePostprocess, ...] = ()

    def build(self) -> nn.Module:
        """Build the network with these weights, ready to predict, on the processor."""
        network = build_network(
            self.settings.network, in_channels=len(self.channels), out_channels=len(self.structures) + 1
        )
        network.load_state_dict(self.weights)
        return network.eval().requires_grad_(False)

    def __repr__(self) -> str:
        names = ", ".join(structure.name for structure in self.structures)
        best = next((row for row in self.history if row.epoch == self.best_epoch), None)
        score = f", validation Dice {best.validation_dice:.3f}" if best and best.validation_dice else ""
        return f"TrainedModel({self.name}: {names}; best epoch {self.best_epoch} of {len(self.history)}{score})"


def check_model_name(name: str) -> str:
    """Return the name if it can be part of a file's name on every system, else raise DataError."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,80}", name) or name.endswith((" ", ".")):
        raise DataError(
            f"The model name {name!r} cannot be a file name everywhere. Use letters, digits, '-' and '_', "
            "at most 80 of them."
        )
    return name


def describe_origin(subject_ids: Sequence[str], validation_ids: Sequence[str], slices: int) -> dict[str, Any]:
    """Give what a model was trained on, without patient names: counts, fingerprints, date and versions.

    A subject is kept only as a fingerprint (SHA-256 of its identifier, shortened), with which a later test
    on the same subject can be recognised.
    """
    return {
        "training_subjects": len(set(subject_ids)),
        "validation_subjects": len(set(validation_ids)),
        "training_slices": slices,
        "subject_fingerprints": sorted(subject_fingerprint(s) for s in {*subject_ids, *validation_ids}),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {
            "autoseg": autoseg_version(),
            "torch": str(torch.__version__),
            "python": platform.python_version(),
        },
    }


def subject_fingerprint(subject_id: str) -> str:
    """Give 12 hexadecimal digits that stand for a subject without naming it."""
    return hashlib.sha256(f"autoseg subject {subject_id}".encode()).hexdigest()[:12]


def autoseg_version() -> str:
    """Give the installed version of autoseg."""
    try:
        return version("autoseg")
    except PackageNotFoundError:
        return "unknown"


def model_path(folder: Path, model: TrainedModel) -> Path:
    """Give the place of a model's file: `<folder>/<name>_<epochs>.pt`."""
    return Path(folder) / f"{check_model_name(model.name)}_{len(model.history)}.pt"


def free_model_path(folder: Path, model: TrainedModel) -> Path:
    """Give `model_path`, with _2, _3 … added where a model of that name is there already."""
    path = first = model_path(folder, model)
    number = 1
    while path.exists():
        number += 1
        path = first.with_stem(f"{first.stem}_{number}")
    return path


def find_model(folder: Path | str, name: str) -> Path:
    """Give the newest model file of this name in a folder; of an unfinished training the best, not the last.

    Raises
    ------
    ModelFileError
        If there is none; the message lists the models that are there.
    """
    folder = Path(folder)
    pattern = re.compile(re.escape(name) + r"_(\d+(_\d+)?|best)\.pt")
    files = sorted(folder.glob("*.pt"))
    found = [file for file in files if pattern.fullmatch(file.name)]
    if not found:
        known = ", ".join(file.name for file in files) or "none at all"
        raise ModelFileError(
            f"There is no model named {name!r} in {folder.resolve()} (there: {known}). Train it first with "
            "1_train.ipynb, or correct the name."
        )
    return max(found, key=lambda file: file.stat().st_mtime)


def save_model(model: TrainedModel, path: Path) -> Path:
    """Write a model file; whole, or not at all.

    Parameters
    ----------
    model : TrainedModel
    path : Path
        The file, or an existing folder, in which it is named `<name>_<epochs>.pt`.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    OutputError
        If it cannot be written; the message says why.
    """
    path = Path(path)
    path = model_path(path, model) if path.is_dir() else path
    content = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "name": model.name,
        "settings": settings_to_dict(model.settings),
        "structures": [asdict(structure) for structure in model.structures],
        "channels": list(model.channels),
        "weights": {key: value.detach().cpu().contiguous() for key, value in model.weights.items()},
        "history": [asdict(row) for row in model.history],
        "best_epoch": model.best_epoch,
        "origin": model.origin,
        "postprocess": [asdict(post) for post in model.postprocess],
    }
    with whole_file(path) as temporary, _full_disk_as_oserror():
        torch.save(content, temporary)
    return path


@contextmanager
def _full_disk_as_oserror() -> Iterator[None]:
    """torch.save reports a full disk as RuntimeError; give it back as the OSError that it was."""
    try:
        yield
    except RuntimeError as error:
        if not re.search(r"write|enforce fail|PytorchStream", str(error)):
            raise
        raise OSError(errno.ENOSPC, "the disk is full or the file could not be written") from error


def load_model(path: Path) -> TrainedModel:
    """Read a model file; nothing in it is ever executed.

    Raises
    ------
    ModelFileError
        If the file is missing, damaged, holds anything but tensors and plain values, or was not written by
        autoseg. The message names the file and the remedy.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelFileError(f"{path} is not there. Choose a .pt file that autoseg saved in trained_model.")
    if not zipfile.is_zipfile(path):  # torch's own format; older ones are plain pickles, which are never opened
        raise ModelFileError(
            f"{path} is not a model file of autoseg, or only a part of one; it was not opened, because such files "
            "can hold code. Copy it again from where it was trained, or choose another file."
        )
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelFileError(
            f"{path} is not a model file of autoseg: it holds code or objects, which are never loaded because "
            "they could run anything on this computer. Use a file that autoseg saved."
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise ModelFileError(
            f"{path} cannot be read as a model file; it is damaged or of another program. "
            "Copy it again from where it was trained, or train anew."
        ) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ModelFileError(f"{path} was not written by autoseg. Use a .pt file from trained_model.")
    if content.get("format_version") not in READABLE_VERSIONS:
        raise ModelFileError(
            f"{path} has the file format {content.get('format_version')} and this autoseg reads "
            f"up to {FORMAT_VERSION}. Install the newer autoseg."
        )
    try:
        return _from_content(content)
    except (AutosegError, AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ModelFileError(f"{path} is incomplete or damaged: {error}. Train anew or copy it again.") from error


def _from_content(content: dict[str, Any]) -> TrainedModel:
    model = TrainedModel(
        name=content["name"],
        settings=settings_from_dict(content["settings"]),
        structures=tuple(Structure(**values) for values in content["structures"]),
        channels=tuple(content["channels"]),
        weights=content["weights"],
        history=tuple(EpochResult(**row) for row in content["history"]),
        best_epoch=content["best_epoch"],
        origin=content["origin"],
        postprocess=tuple(StructurePostprocess(**values) for values in content.get("postprocess", ())),
    )
    model.build()  # the weights must fit the network that the settings name
    return model
