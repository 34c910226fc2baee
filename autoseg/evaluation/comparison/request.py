"""What is asked of a comparison: one object for scripts, commands and panels."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from autoseg.errors import SettingsError
from autoseg.evaluation.comparison.entries import check_names, title_of
from autoseg.evaluation.crossvalidation import CrossValidationRequest
from autoseg.model.settings.settings import Settings
from autoseg.prediction.ensemble import Copies
from autoseg.words import say_time

# What the folder of a comparison is called, after its name.
ENDING = "_comparison"


@dataclass(frozen=True, eq=False)
class ComparisonRequest(CrossValidationRequest):
    """What is compared, beside what every cross-validation is asked; the entries' names are those of folders.

    `try_copies`: score every entry with these copies as well, as "<entry>, mirrored copies". `together`: score the
    mean of all entries' models of a fold as well. `base` are the settings that the entries were made from, kept for
    `earlier_base`. `exact`: score models that see a crop around the labels' own centrelines as well.
    `without_outliers`: learn entries that have outliers anew without them. `known` are further subjects in no fold,
    whom the model that scenarios begin from has seen.
    """

    try_copies: Copies | None = None
    together: bool = False
    base: Settings | None = None
    exact: bool = False
    without_outliers: bool = False
    known: Collection[str] = ()

    def __post_init__(self) -> None:
        if not self.entries:
            raise SettingsError("There is nothing to compare. Give at least one entry: a name and its settings.")
        check_names(self.entries)
        seeds = {name: one.settings.seed for name, one in self.entries.items()}
        if len(set(seeds.values())) > 1:
            raise SettingsError(
                "The entries have different seeds "
                f"({', '.join(f'{name} {seed}' for name, seed in seeds.items())}), which also draw the folds. Give "
                "all of them the same."
            )

    @property
    def name(self) -> str:
        """The name of the comparison, which its folder has."""
        return self.folder.name.removesuffix(ENDING)

    @property
    def kind(self) -> str:
        """What an entry is called: "scenario" where a model is begun from, otherwise "network"."""
        return "scenario" if any(one.base is not None for one in self.entries.values()) else "network"

    @property
    def in_no_fold(self) -> frozenset[str]:
        """All subjects that are neither learnt from nor scored."""
        return frozenset(self.test_subjects) | frozenset(self.known)

    @property
    def budget_notes(self) -> tuple[str, ...]:
        """A sentence where the entries do not learn equally long; a forecast's have as many steps each."""
        if self.few_by_fold:
            return ()
        budgets = {}
        for name in self.learning:
            settings = self.entries[name].settings
            budgets[title_of(name)] = say_time(settings.minutes, settings.epochs)
        if len(set(budgets.values())) < 2:
            return ()
        told = ", ".join(f"{title} {budget}" for title, budget in budgets.items())
        return (f"The entries did not learn equally long, which is no fair comparison: {told}.",)
