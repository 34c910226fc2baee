"""A trained model and its file, which holds everything that prediction needs."""

from __future__ import annotations

import hashlib
import os
import platform
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from autoseg.data.digests import Seal, subject_pseudonym
from autoseg.errors import DataError, ModelFileError
from autoseg.files.archives import size_words
from autoseg.files.atomic import settle
from autoseg.image.structures import Structure
from autoseg.model.ended import Ended, ended_by, read_origin
from autoseg.model.networks import network_sizes, network_to_load
from autoseg.model.offsets import check_offsets
from autoseg.model.postprocess import StructurePostprocess
from autoseg.model.preprocessing.neighbouring_slices import network_channels
from autoseg.model.settings.settings import Settings, settings_from_dict, settings_to_dict
from autoseg.model.shipped import check_not_shipped, find_shipped, shipped_files
from autoseg.model.stored.tensor_file import MODEL, read_plain, read_tensors, values_in_words, write_tensors
from autoseg.model.stored.values import is_of_kind, needed, read_fields, shown
from autoseg.model.trust import Trust, trust_from_dict, trust_to_dict

T = TypeVar("T")
# What the name of an unfinished training's file ends in (`autoseg.training.checkpoint`); it is no model.
RESUME_ENDING = "_resume.pt"


@dataclass(frozen=True)
class EpochResult:
    """What one epoch of training gave.

    `training_loss` is the mean over the epoch's steps; `validation_loss`, `validation_dice`, `validation_iou`
    (means over the structures), `dice` and `iou` (one per structure, pooled over the validation slices on the
    images' own grids, as a prediction is scored) are None or empty where nothing was validated. `training_dice` and
    `training_iou` (one per structure) are pooled over the epoch's batches as they were learnt from, augmented, so
    they are a little low.
    `erosion_iou` has a tuple per structure: its IoU after 0, 1, 2, 3 erosions, where that was watched.
    `seconds_left` is an estimate. `is_best` marks an epoch that was kept, until a
    better one came. `phase`, from 1, is that of a fine-tuning.
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
    phase: int = 1

    def merit(self, best_by: str) -> float | None:
        """Give what is larger in a better epoch, by `Settings.best_by`; None where nothing was validated."""
        if best_by == "loss":
            return None if self.validation_loss is None else -self.validation_loss
        return self.validation_iou if best_by == "iou" else self.validation_dice


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """A network with its weights, and all that is needed to use it on a new patient.

    `settings` are as trained, with the network's pixel size filled in; class k of the network is the k-th
    structure; the `weights` are those of the `best_epoch`, the last one where nothing chose. `origin` tells in
    plain values without patients' names what it was trained on, when, with which versions, and why it stopped
    learning: in `ended` as a sentence, in `ended_by` as the value of an `Ended`. `postprocess` has for each
    structure how its prediction is cleaned (none: not at all). The `finder` finds the centreline around which this
    model sees a crop (`autoseg.training.finder`). `offsets` are added to the log-odds of each structure before a
    pixel takes its most probable one, so that areas are right on average (none: nothing is added). `trust` is what
    the model knows of its own limits.
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
    finder: TrainedModel | None = None
    offsets: tuple[float, ...] = ()
    trust: Trust = Trust()  # noqa: RUF009  # it never changes

    @property
    def ended(self) -> Ended | None:
        """How its training ended; None: it has not, or that is not known."""
        return ended_by(self.origin)

    def build(self) -> nn.Module:
        """Build the network with these weights, ready to predict, on the processor."""
        network = self._made_by(network_to_load)
        network.load_state_dict(self.weights)
        return network.eval().requires_grad_(False)

    def sizes(self) -> dict[str, Tensor]:
        """Give the weights that the network must have, by their names: sizes and kinds, without numbers."""
        return self._made_by(network_sizes)

    def _made_by(self, make: Callable[..., T]) -> T:
        return make(
            self.settings.network,
            in_channels=network_channels(len(self.channels), self.settings.preprocess.neighbours),
            out_channels=len(self.structures) + 1,
            spatial_dims=self.settings.spatial_dims,
        )

    def __repr__(self) -> str:
        names = ", ".join(structure.name for structure in self.structures)
        best = next((row for row in self.history if row.epoch == self.best_epoch), None)
        score = f", validation Dice {best.validation_dice:.3f}" if best and best.validation_dice else ""
        if best and best.validation_iou and self.settings.best_by == "iou":
            score += f", IoU {best.validation_iou:.3f}"
        return f"TrainedModel({self.name}: {names}; kept epoch {self.best_epoch} of {len(self.history)}{score})"


def check_model_name(name: str) -> str:
    """Return the name if it can be part of a file's name on every system, else raise DataError."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,80}", name) or name.endswith((" ", ".")):
        raise DataError(
            f"The model name {name!r} cannot be a file name everywhere. Use letters, digits, '-' and '_', "
            "at most 80 of them."
        )
    return name


# What an origin keeps of people, and so does what it keeps of a base.
FINGERPRINTS = ("subject_fingerprints", "learnt_fingerprints")


def describe_origin(
    subject_ids: Sequence[str], validation_ids: Sequence[str], slices: int, seal: Seal | None = None
) -> dict[str, Any]:
    """Give what a model was trained on, without patient names: counts, fingerprints, date and versions.

    Of a subject only a fingerprint is kept (`autoseg.data.digests`), by which a later test on the same subject is
    recognised; `learnt_fingerprints` are of those that were not only validated on. By default their seal is new.
    """
    close = (seal or Seal.new()).close
    return {
        "training_subjects": len(set(subject_ids)),
        "validation_subjects": len(set(validation_ids)),
        "training_slices": slices,
        "subject_fingerprints": sorted(close(map(subject_pseudonym, {*subject_ids, *validation_ids}))),
        "learnt_fingerprints": sorted(close(map(subject_pseudonym, set(subject_ids)))),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions(),
    }


def sources_of(model: TrainedModel) -> tuple[str, ...]:
    """Give the public data that a model, or what it went on from, learnt from: patients, licence, whom to credit.

    Whoever passes on such a model, or one that began with it, passes these sentences on: its file keeps them.
    """
    told = (model.origin, *_bases(model.origin))
    return tuple(dict.fromkeys(source for one in told for source in one.get("sources") or ()))


# What a person is told of such a file, and what it is called where it is listed.
GUESSED = (
    "was saved by an earlier version: whoever has the file can find the IDs of the patients that it has learnt "
    "from, by trying all IDs that look like those of your hospital"
)


def can_be_guessed(model: TrainedModel) -> bool:
    """Tell whether patients' IDs can be found by trying: fingerprints of an earlier version are not sealed."""
    own = any(Seal.of(kept) is None for kept in _fingerprints(model.origin))
    return own or (model.finder is not None and can_be_guessed(model.finder))


def seal_model(model: TrainedModel, seal: Seal | None = None) -> TrainedModel:
    """Give the model with sealed fingerprints; subjects are recognised as before.

    The seal is given or that of the fingerprints which are sealed already, by default a new one.
    """
    if not can_be_guessed(model):
        return model
    seal = seal or next(filter(None, map(Seal.of, _fingerprints(model.origin))), None) or Seal.new()
    finder = None if model.finder is None else seal_model(model.finder, seal)
    return replace(model, origin=_with_fingerprints(model.origin, seal.close), finder=finder)


def write_sealed(path: Path, *, forget: bool = False) -> TrainedModel:
    """Write a model file anew, in its place and with its time, so that its fingerprints are slow to guess.

    With `forget` they are left out. What an earlier version noted of a base goes too: it could name subjects.
    """
    check_not_shipped(path)
    path, model = Path(path), load_model(path)
    written_ns = path.stat().st_mtime_ns
    if can_be_guessed(model):
        model = replace(model, origin={key: value for key, value in model.origin.items() if key != "notes"})
    model = forget_subjects(model) if forget else seal_model(model)
    save_model(model, path)
    os.utime(path, ns=(written_ns, written_ns))  # by which the newest model of a name is found
    return model


def forget_subjects(model: TrainedModel) -> TrainedModel:
    """Give the model without any fingerprint; that it is tested on whom it has learnt from is not noticed then."""
    finder = None if model.finder is None else forget_subjects(model.finder)
    return replace(model, origin=_with_fingerprints(model.origin, lambda _: ()), finder=finder)


def origin_without_fingerprints(origin: Mapping[str, Any]) -> dict[str, Any]:
    """Give an origin as it may be written beside results."""
    plain = {key: value for key, value in origin.items() if key not in FINGERPRINTS}
    return {**plain, "base": origin_without_fingerprints(plain["base"])} if plain.get("base") else plain


def _fingerprints(origin: Mapping[str, Any]) -> list[str]:
    own = [kept for key in FINGERPRINTS for kept in origin.get(key, ())]
    return own + (_fingerprints(origin["base"]) if origin.get("base") else [])


def _with_fingerprints(
    origin: Mapping[str, Any], become: Callable[[Iterable[str]], Iterable[str]]
) -> dict[str, Any]:
    changed = {**origin, **{key: sorted({*become(origin[key])}) for key in FINGERPRINTS if key in origin}}
    return {**changed, "base": _with_fingerprints(origin["base"], become)} if origin.get("base") else changed


def model_digest(model: TrainedModel) -> str:
    """Give 16 hexadecimal digits that no other model has: of all on which its predictions depend but the grid.

    Its name and where its file lies do not count.
    """
    digest = hashlib.sha256()
    for name, value in sorted(model.weights.items()):
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    if model.finder is not None:
        digest.update(model_digest(model.finder).encode())
    named = [(structure.label, structure.name, structure.includes) for structure in model.structures]
    digest.update(f"{named} {list(model.channels)} {list(map(asdict, model.postprocess))}".encode())
    if model.offsets:  # a model of an earlier version keeps its digest
        digest.update(f"{list(model.offsets)}".encode())
    return digest.hexdigest()[:16]


def versions() -> dict[str, str]:
    """Give the versions of what computes here."""
    return {"autoseg": autoseg_version(), "torch": str(torch.__version__), "python": platform.python_version()}


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


def model_files(folder: Path | str) -> list[Path]:
    """Give every .pt file of a folder that may hold a model, by name; empty if there is no such folder.

    What can be resumed (`autoseg.training.checkpoint`) is left out, and what was being written when the computer
    went off, which is taken back first.
    """
    settle(Path(folder))
    files = sorted(Path(folder).glob("*.pt"))
    return [file for file in files if file.name[0] != "." and not file.name.endswith(RESUME_ENDING)]


def find_model(folder: Path | str, name: str) -> Path:
    """Give the newest model file of this name in a folder; of an unfinished training the best, not the last.

    Raises
    ------
    ModelFileError
        If there is none; the message lists the models that are there.
    """
    folder = Path(folder)
    pattern = re.compile(re.escape(name) + r"_(\d+(_\d+)?|best)\.pt")
    files = model_files(folder)
    found = [file for file in files if pattern.fullmatch(file.name)]
    if not found:
        known = ", ".join(file.name for file in files) or "none at all"
        raise ModelFileError(
            f"There is no model named {name!r} in {folder.resolve()} (there: {known}). Train it first with "
            "1_train.ipynb, or correct the name."
        )
    # A folder of that name, or a link to nothing, is chosen only where there is no file.
    return max(found, key=lambda file: (file.is_file(), file.stat().st_mtime if file.exists() else 0.0))


def find_named_model(folder: Path | str, name: str) -> Path:
    """Give the newest model file of this name in a folder, else the one of this name that comes with autoseg."""
    try:
        return find_model(folder, name)
    except ModelFileError as error:
        shipped = find_shipped(name)
        if shipped is not None:
            return shipped
        known = ", ".join(path.stem.replace("_", " ") for path in shipped_files())
        raise ModelFileError(f"{error} With autoseg come: {known}." if known else str(error)) from error


def save_model(model: TrainedModel, path: Path) -> Path:
    """Write a model file; whole, or not at all. With its card beside it: `autoseg.model.card.save_with_card`.

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
    return write_tensors(model_to_dict(model), path, MODEL)


def load_model(path: Path) -> TrainedModel:
    """Read a model file; nothing in it is ever executed.

    Raises
    ------
    ModelFileError
        If the file is missing, damaged, holds anything but tensors and plain values, or was not written by
        autoseg. The message names the file and the remedy.
    """

    def check(content: dict[str, Any]) -> None:
        with values_in_words(path, MODEL):
            model = model_from_dict(content)
            for one in (model, model.finder):
                if one is not None:
                    check_network(one, one.weights, path.stat().st_size)

    path = Path(path)
    content = read_tensors(path, MODEL, check=check)
    with values_in_words(path, MODEL):
        model = model_from_dict(content)
        for one in (model, model.finder):
            if one is not None:
                check_numbers(one.weights)
    return model


def load_facts(path: Path) -> TrainedModel:
    """Read a model file but for the numbers of its weights, which have sizes alone; nothing of it is executed.

    Whether they fit the network only shows when the model is loaded.
    """
    content = read_plain(path, MODEL)
    with values_in_words(path, MODEL):
        return model_from_dict(content)


def check_network(model: TrainedModel, weights: Mapping[str, Tensor], most_bytes: int) -> None:
    """Raise ValueError if these are not the weights of the network that the model's settings name.

    No memory is taken for a network, so that one of any size can be asked for; a file of `most_bytes` cannot hold
    a larger one.
    """
    expected = model.sizes()
    size = sum(value.nbytes for value in expected.values())
    if size > most_bytes:
        raise ValueError(
            f"its settings name a network of {size_words(size)}, and the file has {size_words(most_bytes)}"
        )
    if weights.keys() != expected.keys():
        raise ValueError("it holds the weights of another network than its settings name")
    for name, value in weights.items():
        wanted = expected[name]
        if value.shape != wanted.shape:
            raise ValueError(
                f"the weights {name} are {_by(value.shape)}, and the network that its settings name has "
                f"{_by(wanted.shape)} there"
            )
        if value.dtype != wanted.dtype:
            raise ValueError(f"the weights {name} are numbers of another kind than autoseg writes")


def check_numbers(weights: Mapping[str, Tensor]) -> None:
    """Raise ValueError if a weight is no number or infinite: nothing can be predicted with it."""
    for name, value in weights.items():
        if value.is_floating_point() and value.numel():
            ends = torch.stack(torch.aminmax(value))
            if not bool(torch.isfinite(ends).all()):
                raise ValueError(f"the weights {name} hold values that are no finite numbers")


def _by(shape: Sequence[int]) -> str:
    return " × ".join(map(str, shape)) or "a single number"


def model_to_dict(model: TrainedModel) -> dict[str, Any]:
    """Give a model as tensors on the processor and plain values, ready for a file, with sealed fingerprints."""
    model = seal_model(model)
    return {
        "name": model.name,
        "settings": settings_to_dict(model.settings),
        "structures": [asdict(structure) for structure in model.structures],
        "channels": list(model.channels),
        "weights": {key: value.detach().cpu().contiguous() for key, value in model.weights.items()},
        "history": [asdict(row) for row in model.history],
        "best_epoch": model.best_epoch,
        "origin": model.origin,
        "postprocess": [asdict(post) for post in model.postprocess],
        "finder": None if model.finder is None else model_to_dict(model.finder),
        "offsets": list(model.offsets),
        "trust": trust_to_dict(model.trust),
    }


def model_from_dict(values: Mapping[str, Any]) -> TrainedModel:
    """Build a model from what `model_to_dict` gave, in any version of it.

    What is missing or of another kind raises ValueError, or an AutosegError, that says so in words.
    """
    rows, finder = needed(values, "history", tuple[dict[str, Any], ...]), values.get("finder")
    named = needed(values, "structures", tuple[dict[str, Any], ...])
    cleaned = needed({"postprocess": (), **values}, "postprocess", tuple[dict[str, Any], ...])
    origin = needed(values, "origin", dict[str, Any])
    for name, value in (*origin.items(), *(("sources", one.get("sources")) for one in _bases(origin))):
        if name in _ORIGIN and value is not None and not is_of_kind(value, _ORIGIN[name]):
            raise ValueError(f"its origin has {shown(value)} in place of the {name.replace('_', ' ')}")
    for kept in _fingerprints(origin):
        Seal.of(kept)  # raises where it cannot be read
    if finder is not None and not isinstance(finder, Mapping):
        raise ValueError(f"it has {shown(finder)} in place of its finder")
    return TrainedModel(
        name=needed(values, "name", str),
        settings=settings_from_dict(needed(values, "settings", dict[str, Any])),
        structures=tuple(read_fields(Structure, row, "a structure") for row in named),
        channels=tuple(needed(values, "channels", tuple[str, ...])),
        weights=needed(values, "weights", dict[str, Tensor]),
        history=tuple(read_fields(EpochResult, row, f"epoch {n}") for n, row in enumerate(rows, start=1)),
        best_epoch=needed(values, "best_epoch", int),
        origin=read_origin(origin),
        postprocess=tuple(read_fields(StructurePostprocess, row, "the post-processing") for row in cleaned),
        finder=None if finder is None else model_from_dict(finder),
        offsets=check_offsets(needed({"offsets": (), **values}, "offsets", tuple[float, ...]), len(named)),
        trust=trust_from_dict(needed({"trust": {}, **values}, "trust", dict[str, Any])),
    )


def _bases(origin: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Give what an origin tells of its base, where it tells that."""
    base = origin.get("base")
    return [base] if isinstance(base, Mapping) else []


# What of a model's origin others count on, where it is there.
_ORIGIN: dict[str, Any] = {
    **dict.fromkeys(("training_subjects", "validation_subjects", "training_slices"), int),
    **dict.fromkeys(("ended", "ended_by", "date", "began_with"), str),
    **dict.fromkeys(
        ("subject_fingerprints", "learnt_fingerprints", "notes", "modalities", "sources"), tuple[str, ...]
    ),
    **{"base": dict[str, Any], "versions": dict[str, Any]},
}
