"""What can be compared: the entries, their names and budgets, and folds that lie there already."""

from __future__ import annotations

import re
from collections.abc import Mapping

from autoseg.errors import DataError, SettingsError
from autoseg.evaluation.comparison.derived import TOGETHER
from autoseg.evaluation.comparison.tables import title_of
from autoseg.evaluation.crossvalidation import FoldPlan, Scenario, read_fold
from autoseg.model.model import check_model_name
from autoseg.model.settings.settings import Settings
from autoseg.training.finder import finder_settings
from autoseg.training.inputs import sees_crop

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
