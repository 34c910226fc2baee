"""Entries that learn nothing themselves: the mean of all entries' models, and of turned copies of the images."""

from __future__ import annotations

import math
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoseg.errors import DataError, SettingsError
from autoseg.evaluation.comparison.tables import title_of
from autoseg.evaluation.crossvalidation import (
    FoldCost,
    FoldPlan,
    FoldResult,
    Scenario,
    read_fold,
    read_model,
    score_fold,
)
from autoseg.evaluation.crossvalidation.fold import digest_of, read_content, write_fold
from autoseg.model.model import check_model_name
from autoseg.model.settings.settings import Settings
from autoseg.prediction.ensemble import COPY_WORDS, Copies, copies_of
from autoseg.training.finder import finder_settings
from autoseg.training.inputs import sees_crop

# The entry that is the mean of all others' models, and what stands after the comma of others.
TOGETHER, EXACT = "all together", "exact centreline"


@dataclass(frozen=True, eq=False)
class Derived:
    """The mean over the models of some entries, or over copies of the images, or a model around exact centrelines.

    `base` is the entry whose models they are, "" for the mean of all.
    """

    name: str
    base: str
    plans: Mapping[str, FoldPlan]
    folder: Path
    copies: Copies
    exact: bool = False

    @property
    def members(self) -> tuple[str, ...]:
        """The entries whose models it takes."""
        return tuple(self.plans)

    def make(self, number: int, members: Sequence[FoldResult]) -> FoldResult:
        """Score a fold, or read it where it was made of the same."""
        place = self.folder / self.name / f"fold_{number}"
        made_from: dict[str, Any] = {
            "of": {entry: plan.made_from(number) for entry, plan in self.plans.items()},
            "copies": self.copies,
            # A fold that was done again has another model, of the same settings.
            "trainings": [digest_of(fold) for fold in members],
        }
        if self.exact:
            made_from["exact"] = True
        if place.exists():
            if read_content(place).get("made_from") == made_from:
                return read_fold(place, number)
            shutil.rmtree(place)  # of other entries; it is made of what is kept, and quickly
        folds = next(iter(self.plans.values())).folds
        found = score_fold(
            [read_model(fold) for fold in members],
            folds.splits[number - 1].test,
            folds.structures,
            copies=self.copies,
            exact=self.exact,
        )
        result = FoldResult(
            number,
            place,
            found.scores,
            found.volumes,
            members[0].note,
            self._cost([fold.cost for fold in members], found.ms_per_slice),
            found.pixels,
            found.centrelines,
        )
        write_fold(result, made_from, predicted=found.predicted)
        return result

    def _cost(self, costs: Sequence[FoldCost], ms_per_slice: float) -> FoldCost:
        return FoldCost(
            training_seconds=sum(cost.training_seconds for cost in costs),
            epochs=costs[0].epochs if len(costs) == 1 else math.nan,
            ms_per_slice=ms_per_slice,
            peak_memory_mib=max(cost.peak_memory_mib for cost in costs),
            parameters=sum(cost.parameters for cost in costs),
            multiply_adds=len(copies_of(self.copies)) * sum(cost.multiply_adds for cost in costs),
        )


def derived_entries(
    plans: Mapping[str, FoldPlan], folder: Path, *, try_copies: Copies | None, together: bool, exact: bool = False
) -> list[Derived]:
    """Give what is to be scored beside the entries, of which it is made."""
    usual = next(iter(plans.values())).copies
    found = []
    if try_copies is not None and len(copies_of(try_copies)) > 1 and try_copies != usual:
        for entry, plan in plans.items():
            name = f"{entry}, {COPY_WORDS[try_copies]}"
            found.append(Derived(name, entry, {entry: plan}, folder, try_copies))
    if exact:
        for entry, plan in plans.items():
            if sees_crop(plan.settings):
                found.append(Derived(f"{entry}, {EXACT}", entry, {entry: plan}, folder, usual, exact=True))
    if together and len(plans) > 1:
        found.append(Derived(TOGETHER, "", plans, folder, usual))
    return found


# --- what can be compared: the entries, their names and budgets, and folds that lie there already

# The folder of centrelines, beside those of the entries.
LINES = "centrelines"
# Names of devices, with any ending.
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d) *(\..*)?", re.IGNORECASE)


def estimate_seconds(
    entries: Mapping[str, Settings | Scenario], folds: int, finder: Settings | None = None
) -> float | None:
    """Give the seconds of learning of a whole comparison; None where an entry has no time budget.

    `finder` is that of `compare`, and counts where an entry needs it.
    """
    scenarios = [one if isinstance(one, Scenario) else Scenario(one) for one in entries.values()]
    minutes = [one.settings.minutes for one in scenarios if one.learns]
    minutes += [(finder or finder_settings()).minutes] * finders_in_fold(entries)
    if any(value is None for value in minutes):
        return None
    return 60.0 * folds * sum(value or 0.0 for value in minutes)


def finders_in_fold(entries: Mapping[str, Settings | Scenario]) -> int:
    """Count what learns to find centrelines in a fold: one for all entries that learn from as many subjects."""
    scenarios = [one if isinstance(one, Scenario) else Scenario(one) for one in entries.values()]
    return len({one.subjects for one in scenarios if one.learns and sees_crop(one.settings)})


def check_entries(entries: Mapping[str, Scenario]) -> None:
    """Refuse names that cannot all have a folder, and seeds that differ; a SettingsError says which."""
    if not entries:
        raise SettingsError("There is nothing to compare. Give at least one entry: a name and its settings.")
    for entry in entries:
        check_model_name(entry)
        if RESERVED.fullmatch(entry):
            raise SettingsError(f"Windows has no folder of the name {entry!r}. Give the entry another name.")
    names = [entry.casefold() for entry in entries]
    if len(set(names)) < len(names) or {TOGETHER, LINES} & set(names):
        raise SettingsError(
            f"The entries {', '.join(map(repr, entries))} cannot all have a folder of their own. Give each another "
            f"name, and none {TOGETHER!r} or {LINES!r}."
        )
    seeds = {entry: one.settings.seed for entry, one in entries.items()}
    if len(set(seeds.values())) > 1:
        raise SettingsError(
            f"The entries have different seeds ({', '.join(f'{entry} {seed}' for entry, seed in seeds.items())}), "
            "which also draw the folds. Give all of them the same."
        )


def check_finished(plans: Mapping[str, FoldPlan]) -> None:
    """Refuse folds that were made from something else, before anything is trained."""
    for entry, plan in plans.items():
        for number in range(1, len(plan.folds.splits) + 1):
            if plan.place(number).exists():
                try:
                    read_fold(plan.place(number), number, plan.made_from(number))
                except DataError as error:
                    raise DataError(f"{title_of(entry)}: {error}") from error


def budget_notes(entries: Mapping[str, Scenario]) -> tuple[str, ...]:
    """Say where the entries do not learn equally long."""
    budgets = {
        title_of(entry): f"{one.settings.minutes:g} minutes"
        if one.settings.minutes is not None
        else f"{one.settings.epochs} epochs"
        for entry, one in entries.items()
        if one.learns
    }
    if len(set(budgets.values())) < 2:
        return ()
    told = ", ".join(f"{title} {budget}" for title, budget in budgets.items())
    return (f"The entries did not learn equally long, which is no fair comparison: {told}.",)
