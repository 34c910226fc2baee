"""What the panels hand on to each other: plain frozen dataclasses, which a script can build as well."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from autoseg.cases import CaseFolder
from autoseg.checks import Finding
from autoseg.comparison import Comparison
from autoseg.copies import Copies
from autoseg.model import TrainedModel
from autoseg.plan import Plan
from autoseg.settings import Settings
from autoseg.split import Split
from autoseg.structures import Structure


@dataclass(frozen=True, eq=False)
class Data:
    """A checked folder: its cases, what the check found, and the settings planned for it."""

    cases: CaseFolder
    findings: tuple[Finding, ...]
    plan: Plan


@dataclass(frozen=True, eq=False)
class Task:
    """All that a training needs; `folder` is where the model lands."""

    split: Split
    settings: Settings
    structures: tuple[Structure, ...]
    name: str
    folder: Path


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


@dataclass(frozen=True, eq=False)
class Contest:
    """What is to be compared on which data: settings by their entry's name.

    `folder` is that of the comparison alone. The last four are as for `autoseg.comparison.compare`.
    """

    cases: CaseFolder
    entries: Mapping[str, Settings]
    folds: int
    name: str
    folder: Path
    test_subjects: frozenset[str] = frozenset()
    together: bool = False
    try_copies: Copies | None = None
    base: Settings | None = None

    def is_like(self, other: Contest) -> bool:
        """Tell whether another contest compares the same on the same cases, in the same folder."""
        mine, others = (
            (
                *(one.cases.cases, one.cases.structures, dict(one.entries), one.folds, one.folder.resolve()),
                *(one.test_subjects, one.together, one.try_copies),
            )
            for one in (self, other)
        )
        return mine == others


@dataclass(frozen=True, eq=False)
class Compared:
    """A finished comparison, and what was asked for."""

    contest: Contest
    comparison: Comparison
