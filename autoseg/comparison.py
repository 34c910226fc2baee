"""Networks and settings side by side: the same folds, the same seeds, the same time."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from autoseg.cases import Case
from autoseg.crossvalidation import CrossValidation, Tell
from autoseg.settings import Settings
from autoseg.structures import Structure


@dataclass(frozen=True, eq=False)
class Comparison:
    """What a comparison gave.

    `runs` are the cross-validations by the entry's name. `table` has one row an entry and structure, and one
    for the mean over structures (`structure` is "mean"); `differences` one row a pair of entries and structure,
    paired by subject. `verdict` says in a sentence which is best for these data and whether that is more than
    chance. `notes` are sentences that the reader should know.
    """

    folder: Path
    runs: Mapping[str, CrossValidation]
    table: pd.DataFrame
    differences: pd.DataFrame
    verdict: str
    notes: tuple[str, ...] = ()


def compare(
    cases: Sequence[Case],
    structures: Sequence[Structure],
    entries: Mapping[str, Settings],
    *,
    folder: Path,
    folds: int = 5,
    test_subjects: Collection[str] = (),
    tell: Tell | None = None,
) -> Comparison:
    """Cross-validate several settings on the same folds and put the results side by side."""
    raise NotImplementedError
