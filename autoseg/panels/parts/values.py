"""What the panels hand on to each other: plain frozen dataclasses, which a script can build as well."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakKeyDictionary

from autoseg.data.cases import CaseFolder
from autoseg.data.checks import Finding
from autoseg.data.corrections.read import Correction
from autoseg.data.split import Split
from autoseg.evaluation.comparison import Comparison, ComparisonRequest
from autoseg.files.tables import KeptCorrection
from autoseg.image.calibration import TypedCalibration
from autoseg.image.structures import Structure
from autoseg.model.centreline import Centreline
from autoseg.model.model import TrainedModel, model_digest
from autoseg.model.settings.settings import Settings
from autoseg.training.plan import Plan
from autoseg.words import Typed


@dataclass(frozen=True, eq=False)
class Data:
    """A checked folder: its cases, what the check found, and the settings planned for it."""

    cases: CaseFolder
    findings: tuple[Finding, ...]
    plan: Plan


@dataclass(frozen=True, eq=False)
class Task:
    """All that a training needs; `folder` is where the model lands.

    `base` is what it goes on from, if anything; `finder` as for `autoseg.training.save.train_and_save`. With
    `calibrate` twins of the model then measure how far its areas can be off; `settings` are the model's own, with
    its part of the time.
    """

    split: Split
    settings: Settings
    structures: tuple[Structure, ...]
    name: str
    folder: Path
    base: TrainedModel | None = None
    finder: Settings | None = None
    calibrate: bool = False


@dataclass(frozen=True, eq=False)
class Trained:
    """A finished (or stopped) training: the model, its file, and the task that it came from."""

    model: TrainedModel
    path: Path
    task: Task


@dataclass(frozen=True, eq=False)
class ChosenModel:
    """A model and the file that it was read from; `others` are further ones, if the mean of several is wanted."""

    model: TrainedModel
    path: Path
    others: tuple[ChosenModel, ...] = ()

    @property
    def models(self) -> tuple[TrainedModel, ...]:
        """All models that were chosen, the first one first."""
        return self.model, *(other.model for other in self.others)


@dataclass(frozen=True)
class Patient:
    """A folder to segment: which of its series (None: all), and the millimetres typed for it.

    The last four are as in `autoseg.segment_folder`.
    """

    folder: Path
    only: tuple[str, ...] | None = None
    field_of_view_mm: float | tuple[float, float] | Mapping[tuple[int, int], Typed] | None = None
    matrix_size: int | tuple[int, int] | None = None
    prefer: str | None = None
    pixel_spacing_mm: float | tuple[float, float] | None = None

    @property
    def typed(self) -> TypedCalibration:
        """The millimetres that were typed."""
        return TypedCalibration(self.field_of_view_mm, self.matrix_size, self.prefer, self.pixel_spacing_mm)


@dataclass(frozen=True, eq=False)
class Centrelines:
    """Centrelines that a person clicked or chose for a patient's images, by case_id; of others there is none."""

    patient: Patient
    curves: Mapping[str, Centreline]


@dataclass(frozen=True, eq=False)
class Corrected:
    """Labels that were corrected and read back; `kept` are the rows of those that `folder` holds to learn from."""

    corrections: tuple[Correction, ...]
    folder: Path | None = None
    kept: tuple[KeptCorrection, ...] = ()


@dataclass(frozen=True, eq=False)
class Compared:
    """A finished comparison, and what was asked for."""

    request: ComparisonRequest
    comparison: Comparison


def same_base(one: TrainedModel | None, other: TrainedModel | None) -> bool:
    """Tell whether two models, or none, are the same to begin from."""
    if one is None or other is None:
        return one is other
    return one is other or _digest_of(one) == _digest_of(other)


# A digest takes a look at every weight, and panels ask twice a second.
_DIGESTS: WeakKeyDictionary[TrainedModel, str] = WeakKeyDictionary()


def _digest_of(model: TrainedModel) -> str:
    if model not in _DIGESTS:
        _DIGESTS[model] = model_digest(model)
    return _DIGESTS[model]
