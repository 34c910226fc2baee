"""The models of a folder and what is known of each, without building a network."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from autoseg.errors import AutosegError
from autoseg.image.structures import Structure
from autoseg.model.model import GUESSED, TrainedModel, can_be_guessed, load_facts, model_files, sources_of
from autoseg.model.shipped import is_shipped, shipped_files
from autoseg.model.trust import Calibration, How

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "name", "date", "structures", "validation_dice", "best_epoch", "epochs", "spatial_dims", "spacing_mm",
    "input_shape", "channels", "training_subjects", "validation_subjects", "training_slices", "calibrated",
    "ended", "problem",
)  # fmt: skip
# What train_and_save leaves of a training that did not come to its end, by the end of the file's name.
UNFINISHED = {"best": "the best so far of an unfinished training", "last": "the latest of an unfinished training"}

LONGEST_LINE = 88  # letters of an entry's line without what is between its parts, as a narrow page shows them
SEGMENTS = {2: "slice by slice (2-D)", 3: "whole volumes (3-D)"}


@dataclass(frozen=True)
class ModelEntry:
    """One file of a folder of models, with what it was trained on and how well it did.

    `validation_dice` is the mean over the structures in the best epoch, `dice` one per structure; None where
    nothing was validated. `date` is when the training began, or where that is unknown when the file was written.
    `unfinished` says what the file is of a training that did not come to its end. A file that cannot be read has
    only `path`, `date` and the `problem`. A model of volumes has `spatial_dims` 3, three distances in `spacing_mm`
    in the order of the axes (`orientation`), and `patch_size`; its `training_slices` are patches. Of one that
    `can_be_guessed`, patients' IDs can be found by trying. `calibration` is of the errors of its areas, `offsets`
    are those of its model. One that `knows_images` compares new ones with what it learnt from, one that
    `judges_slices` tells poor ones. Of one whose score is `by_folds`, twins of it segmented all its patients.
    `sources` are of public data; one that `is_shipped` comes with autoseg.
    """

    path: Path
    date: datetime
    problem: str = ""
    name: str = ""
    structures: tuple[Structure, ...] = ()
    validation_dice: float | None = None
    dice: tuple[float | None, ...] = ()
    best_epoch: int = 0
    epochs: int = 0
    spacing_mm: float | tuple[float, float, float] | None = None
    input_shape: tuple[int, int] | None = None
    channels: tuple[str, ...] = ()
    training_subjects: int = 0
    validation_subjects: int = 0
    training_slices: int = 0
    ended: str = ""
    unfinished: str = ""
    spatial_dims: int = 2
    patch_size: tuple[int, int, int] | None = None
    orientation: str = ""
    can_be_guessed: bool = False
    offsets: tuple[float, ...] = ()
    calibration: Calibration | None = None
    knows_images: bool = False
    judges_slices: bool = False
    by_folds: bool = False
    sources: tuple[str, ...] = ()
    is_shipped: bool = False

    @property
    def calibrated(self) -> str:
        """Whether it is known how far its areas can be off, and from whom."""
        known = self.calibration
        if known is None:
            return "not calibrated"
        if known.how == How.FOLDS:
            return f"calibrated on {_count(known.patients, 'patient')}"
        return f"calibrated on {_count(known.patients, 'validation patient')} alone"

    @property
    def line(self) -> str:
        """The entry in one line, for a list."""
        if self.problem:
            return f"{self.file_name} — cannot be read"
        names = ", ".join(structure.name for structure in self.structures[:3])
        more = f" and {len(self.structures) - 3} more" if len(self.structures) > 3 else ""
        score = "not validated" if self.validation_dice is None else f"Dice {self.validation_dice:.2f}"
        score += f", {self.calibrated}"
        date = f"comes with autoseg, {_count(self.training_subjects, 'patient')}" if self.is_shipped else self.day
        room = max(12, LONGEST_LINE - len(self.file_name + date + score + self.unfinished))
        names = names + more if len(names + more) <= room else f"{names[: room - 1]}…"
        return " — ".join(part for part in (self.file_name, date, score, names, self.unfinished) if part)

    @property
    def file_name(self) -> str:
        """The file's name as it can be shown: what is no text in it becomes a question mark."""
        return _printable(self.path.name)

    @property
    def day(self) -> str:
        """The date in this computer's time, to the minute."""
        local = self.date.astimezone()
        return f"{local.day} {local:%b %Y, %H:%M}"

    @property
    def facts(self) -> tuple[tuple[str, str], ...]:
        """What a reader wants to know of the model, as pairs of a heading and plain words."""
        if self.problem:
            return (("File", self.file_name), ("Problem", self.problem))
        rows = [
            ("Structures", ", ".join(_structure(structure) for structure in self.structures)),
            ("Segments", SEGMENTS[self.spatial_dims]),
            ("Validation score", self._score()),
            ("Errors of areas", self._errors()),
            ("Areas", self._areas()),
            ("New images", self._light()),
            ("Trained on", self._material()),
            ("Public data", "; ".join(self.sources)),
            ("Patients' IDs", f"This file {GUESSED}" if self.can_be_guessed else ""),
            ("Trained", f"{self.day}; kept epoch {self.best_epoch} of {self.epochs}"),
            ("This file is", self.unfinished),
            ("Ended because", self.ended),
            ("Voxels" if self.spatial_dims == 3 else "Pixel size", self._pixels()),
            ("Channels", ", ".join(self.channels)),
            ("File", f"{self.file_name}, which comes with autoseg" if self.is_shipped else self.file_name),
        ]
        return tuple((heading, words) for heading, words in rows if words)

    def _score(self) -> str:
        if self.validation_dice is None:
            return "none: no patient was kept aside, so nobody knows how well it does on a new patient"
        named = zip(self.structures, self.dice, strict=False)
        single = ", ".join(f"{s.name} {'–' if value is None else format(value, '.2f')}" for s, value in named)
        people = _count(self.validation_subjects, "patient")
        if self.by_folds:
            by = "each segmented by a twin of it that never saw it"
            return f"Dice {self.validation_dice:.2f} on {people}, {by} ({single})"
        return f"Dice {self.validation_dice:.2f} on {people} that it did not learn from ({single})"

    def _errors(self) -> str:
        known = self.calibration
        if known is None:
            return "not known: it was never compared with labels of patients whom it did not learn from"
        if known.how == How.FOLDS:
            who = "each measured by a twin of it that never saw that patient"
        else:
            who = "by whom some of it was chosen; by folds all its patients would count"
        return f"known from {_count(known.patients, 'patient')}, {who} ({known.date[:10]})"

    def _areas(self) -> str:
        if not self.offsets:
            return ""
        named = zip(self.structures, self.offsets, strict=True)
        single = ", ".join(f"{s.name} from {1 / (1 + math.exp(offset)):.2f} on" for s, offset in named)
        return f"made right on average, by the probability from which a pixel is of a structure ({single})"

    def _light(self) -> str:
        light = "compared with what it learnt from"
        if not self.knows_images:
            light = "not compared with what it learnt from, which it does not know, so that their light is amber"
        return light + ("; which slices are poor is told" if self.judges_slices else "; no slice is judged")

    def _material(self) -> str:
        if not self.training_subjects:
            return "not recorded"
        seen = _count(self.training_slices, "slice")
        if self.spatial_dims == 3:
            seen = f"{_count(self.training_slices, 'patch')} of volumes"
        return f"{_count(self.training_subjects, 'patient')}, {seen}"

    def _pixels(self) -> str:
        if isinstance(self.spacing_mm, tuple):
            apart = " × ".join(f"{mm:.3g}" for mm in self.spacing_mm)
            seen = "" if self.patch_size is None else f", of which it sees {_by(self.patch_size)} at once"
            return f"every volume is brought to voxels of {apart} mm ({self.orientation}){seen}"
        if self.input_shape is not None:
            return f"every slice is brought to {self.input_shape[0]} × {self.input_shape[1]} pixels"
        if self.spacing_mm is not None:
            return f"every slice is brought to pixels of {self.spacing_mm:.3g} mm"
        return "as in the image"


def list_models(folder: Path | str) -> tuple[ModelEntry, ...]:
    """List the models of a folder, the newest first; a file that cannot be read is listed with the reason.

    The weights stay on the disk, so that whether they fit the network only shows when a model is loaded.
    Unfinished trainings that can be resumed (`<name>_resume.pt`) are no models and are left out.

    Parameters
    ----------
    folder : Path or str

    Returns
    -------
    tuple of ModelEntry
        Of models trained at one time, the best of an unfinished training stands before the latest of it. Empty if
        there is none, or no such folder.
    """
    entries = [_entry(path) for path in model_files(folder)]
    return tuple(sorted(entries, key=_age, reverse=True))


def list_shipped() -> tuple[ModelEntry, ...]:
    """List the models that come with autoseg."""
    return tuple(_entry(path) for path in shipped_files())


def newest_model(entries: Sequence[ModelEntry], name: str | None = None) -> ModelEntry | None:
    """Give the newest of the models that can be read, or the newest of a name; None if there is none.

    Of an unfinished training this is the best so far, never the latest.
    """
    usable = [entry for entry in entries if not entry.problem and (name is None or entry.name == name)]
    return next((entry for entry in usable if entry.unfinished != UNFINISHED["last"]), None)


def models_table(entries: Sequence[ModelEntry]) -> pd.DataFrame:
    """Show models as a table with the columns file and `COLUMNS`: one row a file, in the order given."""
    import pandas as pd

    rows = []
    for entry in entries:
        row = {"file": entry.file_name, "date": entry.day, "problem": entry.problem}
        if not entry.problem:
            row = {
                **{column: getattr(entry, column) for column in COLUMNS},
                **row,
                "structures": ", ".join(structure.name for structure in entry.structures),
                "channels": ", ".join(entry.channels),
                "input_shape": _by(entry.input_shape or ()),
                "ended": entry.unfinished or entry.ended,
            }
        if isinstance(entry.spacing_mm, tuple):
            row["spacing_mm"] = _by(entry.spacing_mm)
        rows.append(row)
    return pd.DataFrame(rows, columns=["file", *COLUMNS])


def facts_of(model: TrainedModel) -> tuple[tuple[str, str], ...]:
    """Give what a reader wants to know of a model, as `ModelEntry.facts`, but for its file."""
    entry = _describe(Path(), datetime.fromtimestamp(0, UTC), model)
    is_dated = _date(model.origin.get("date")) is not None
    left_out = ("File", "This file is", *(() if is_dated else ("Trained",)))
    return tuple(fact for fact in entry.facts if fact[0] not in left_out)


def _age(entry: ModelEntry) -> tuple[datetime, bool, int, str]:
    # A training that was resumed keeps its date: more epochs are newer.
    return entry.date, entry.unfinished != UNFINISHED["last"], entry.epochs, entry.path.name


def _entry(path: Path) -> ModelEntry:
    date = _written(path)
    try:
        return _describe(path, date, load_facts(path))
    except AutosegError as error:
        return ModelEntry(path, date, problem=_printable(str(error)))


def _describe(path: Path, written: datetime, model: TrainedModel) -> ModelEntry:
    best = next((row for row in model.history if row.epoch == model.best_epoch), None)
    found = re.search(r"_(best|last)$", path.stem)
    origin, volume, of_volumes = model.origin, model.settings.volume, model.settings.spatial_dims == 3
    profile = model.trust.profile
    dice, mean = (best.dice, best.validation_dice) if best else ((), None)
    validated, by_folds = int(origin.get("validation_subjects") or 0), False
    if profile is not None and mean is None and profile.by_folds:
        dice, validated, by_folds = profile.dice, profile.validated, True
        known = [one for one in dice if one is not None]
        mean = statistics.mean(known) if known else None
    return ModelEntry(
        path,
        _date(origin.get("date")) or written,
        name=model.name,
        structures=model.structures,
        validation_dice=mean,
        dice=dice,
        best_epoch=model.best_epoch,
        epochs=len(model.history),
        spacing_mm=volume.spacing_mm if of_volumes else model.settings.preprocess.spacing_mm,
        input_shape=model.settings.preprocess.input_shape,
        channels=model.channels,
        training_subjects=int(origin.get("training_subjects") or 0),
        validation_subjects=validated,
        training_slices=int(origin.get("training_slices") or 0),
        ended=str(origin.get("ended") or ""),
        unfinished=UNFINISHED[found[1]] if found and model.ended is None else "",
        spatial_dims=model.settings.spatial_dims,
        patch_size=volume.patch_size if of_volumes else None,
        orientation=volume.orientation if of_volumes else "",
        can_be_guessed=can_be_guessed(model),
        calibration=model.trust.calibration,
        knows_images=model.trust.profile is not None,
        judges_slices=model.trust.quality is not None,
        offsets=model.offsets,
        by_folds=by_folds,
        sources=sources_of(model),
        is_shipped=is_shipped(path),
    )


def _date(text: object) -> datetime | None:
    try:
        date = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def _written(path: Path) -> datetime:
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except (OSError, OverflowError, ValueError):  # it cannot be seen, or its date is none
        return datetime.fromtimestamp(0, UTC)


def _printable(text: str) -> str:
    return text.encode(errors="replace").decode()


def _structure(structure: Structure) -> str:
    return (
        f"{structure.name} ({structure.side})"
        if structure.side and structure.side not in structure.name
        else structure.name
    )


def _count(number: int, what: str) -> str:
    ending = "" if number == 1 else "es" if what.endswith("ch") else "s"
    return f"{number:,} {what}{ending}"


def _by(numbers: Sequence[float]) -> str:
    return " × ".join(f"{number:g}" for number in numbers)
