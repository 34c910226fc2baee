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
from autoseg.evaluation.comparison import Comparison
from autoseg.evaluation.crossvalidation import Scenario
from autoseg.files.tables import KeptCorrection
from autoseg.image.calibration import TypedCalibration
from autoseg.image.structures import Structure
from autoseg.model.centreline import Centreline
from autoseg.model.model import TrainedModel, model_digest
from autoseg.model.settings.settings import Settings
from autoseg.prediction.ensemble import Copies
from autoseg.training.plan import Plan


@dataclass(frozen=True, eq=False)
class Data:
    """A checked folder: its cases, what the check found, and the settings planned for it."""

    cases: CaseFolder
    findings: tuple[Finding, ...]
    plan: Plan


@dataclass(frozen=True, eq=False)
class Task:
    """All that a training needs; `folder` is where the model lands.

    `base` is what it goes on from, if anything; `finder` as for `autoseg.training.save.train_and_save`.
    """

    split: Split
    settings: Settings
    structures: tuple[Structure, ...]
    name: str
    folder: Path
    base: TrainedModel | None = None
    finder: Settings | None = None


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

    The last three are as in `autoseg.segment_folder`.
    """

    folder: Path
    only: tuple[str, ...] | None = None
    field_of_view_mm: float | tuple[float, float] | None = None
    matrix_size: int | tuple[int, int] | None = None
    prefer: str | None = None

    @property
    def typed(self) -> TypedCalibration:
        """The millimetres that were typed."""
        return TypedCalibration(self.field_of_view_mm, self.matrix_size, self.prefer)


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
class Contest:
    """What is to be compared on which data: settings, or what they begin from as well, by their entry's name.

    `folder` is that of the comparison alone. `test_subjects` to `finder` are as for
    `autoseg.evaluation.comparison.compare`;
    `known` are further subjects in no fold, whom the model that is begun from has
    seen. `what` is an entry called: "network" or "way".
    """

    cases: CaseFolder
    entries: Mapping[str, Settings | Scenario]
    folds: int
    name: str
    folder: Path
    test_subjects: frozenset[str] = frozenset()
    together: bool = False
    try_copies: Copies | None = None
    base: Settings | None = None
    exact: bool = False
    without_outliers: bool = False
    finder: Settings | None = None
    known: frozenset[str] = frozenset()
    what: str = "network"

    @property
    def scenarios(self) -> dict[str, Scenario]:
        """The entries, each with what it begins from."""
        return {name: one if isinstance(one, Scenario) else Scenario(one) for name, one in self.entries.items()}

    @property
    def learning(self) -> tuple[str, ...]:
        """The entries that learn: all but a model that is only scored."""
        return tuple(name for name, one in self.scenarios.items() if one.learns)

    def is_like(self, other: Contest) -> bool:
        """Tell whether another contest compares the same on the same cases, in the same folder."""
        mine, others = (
            (
                *(one.cases.cases, one.cases.structures, one.folds, one.folder.resolve()),
                *(one.test_subjects, one.known, one.together, one.try_copies, one.exact, one.without_outliers),
                one.finder,
            )
            for one in (self, other)
        )
        here, there = self.scenarios, other.scenarios
        return mine == others and set(here) == set(there) and all(_alike(here[name], there[name]) for name in here)


@dataclass(frozen=True, eq=False)
class Compared:
    """A finished comparison, and what was asked for."""

    contest: Contest
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


def _alike(one: Scenario, other: Scenario) -> bool:
    same = (one.settings, one.learns, one.subjects) == (other.settings, other.learns, other.subjects)
    return same and same_base(one.base, other.base)
