"""Entries that learn nothing themselves: the mean of all entries' models, and of turned copies of the images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoseg.evaluation.comparison.entries import EXACT, TOGETHER, variant_of
from autoseg.evaluation.comparison.request import ComparisonRequest
from autoseg.evaluation.crossvalidation import FoldCost, FoldPlan, FoldResult, read_fold, read_model, score_fold
from autoseg.evaluation.crossvalidation.fold import digest_of, read_content, write_fold
from autoseg.files.atomic import one_step, remove_folder
from autoseg.prediction.ensemble import COPY_WORDS, Copies, copies_of
from autoseg.training.inputs import sees_crop


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
        if place.exists() and read_content(place).get("made_from") == made_from:
            return read_fold(place, number)
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
        with one_step(place.parent):
            remove_folder(place)  # it is of other trainings
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


def derived_entries(request: ComparisonRequest, plans: Mapping[str, FoldPlan]) -> list[Derived]:
    """Give what is to be scored beside the entries, of which it is made."""
    usual, folder, copies = request.copies, request.folder, request.try_copies
    found = []
    if copies is not None and len(copies_of(copies)) > 1 and copies != usual:
        for entry, plan in plans.items():
            found.append(Derived(variant_of(entry, COPY_WORDS[copies]), entry, {entry: plan}, folder, copies))
    if request.exact:
        for entry, plan in plans.items():
            if sees_crop(plan.scenario.settings):
                found.append(Derived(variant_of(entry, EXACT), entry, {entry: plan}, folder, usual, exact=True))
    if request.together and len(plans) > 1:
        found.append(Derived(TOGETHER, "", plans, folder, usual))
    return found
