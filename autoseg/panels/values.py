"""What the panels hand on to each other: plain frozen dataclasses, which a script can build as well."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from autoseg.cases import CaseFolder
from autoseg.checks import Finding
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
    """A model and the file that it was read from."""

    model: TrainedModel
    path: Path


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
