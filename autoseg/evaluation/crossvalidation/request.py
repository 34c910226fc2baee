"""What is asked of a cross-validation, and what follows for the folds of each entry."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoseg.data.cases import Case
from autoseg.evaluation.crossvalidation.centrelines import Centrelines
from autoseg.evaluation.crossvalidation.fold import plain_settings
from autoseg.evaluation.crossvalidation.material import Material
from autoseg.evaluation.crossvalidation.scenario import Scenario
from autoseg.evaluation.crossvalidation.splits import Folds, as_plain, prepare_folds
from autoseg.files.atomic import check_writable
from autoseg.image.structures import Structure
from autoseg.model.device.cluster import Workers
from autoseg.model.model import check_model_name, model_digest
from autoseg.model.settings.settings import Settings
from autoseg.prediction.ensemble import Copies
from autoseg.training.events import Note, OnEvent, listener
from autoseg.training.finder import finder_settings
from autoseg.training.inputs import Inputs, sees_crop
from autoseg.training.keeping.room import check_folds_room

# The folder of centrelines, in that of a cross-validation or beside those of a comparison's entries.
LINES = "centrelines"


@dataclass(frozen=True, eq=False)
class CrossValidationRequest:
    """What is cross-validated, on which cases, and where it is kept.

    `entries` are scenarios by the name of their models; their settings' `minutes` or `epochs` are of each fold, and
    their common seed draws the folds. With fewer subjects than `folds`, each is left out once; `test_subjects` are
    in no fold. `copies` are as for `predict`. With `choose_post` each fold chooses a post-processing. `finder` are
    the settings of what finds centrelines in each fold, from `autoseg.training.finder.finder_settings`. With
    `few_by_fold` each fold draws its own few subjects, where an entry learns from few (`Folds.with_few`).
    `material` is kept beside the folds, for a report. `workers` do several folds at once.
    """

    cases: Sequence[Case]
    structures: Sequence[Structure]
    entries: Mapping[str, Scenario]
    folder: Path
    folds: int = 5
    test_subjects: Collection[str] = ()
    copies: Copies = "none"
    choose_post: bool = False
    finder: Settings | None = None
    few_by_fold: bool = False
    material: Material | None = None
    workers: Workers | None = None

    def __post_init__(self) -> None:
        for name in self.entries:
            check_model_name(name)

    @property
    def in_no_fold(self) -> frozenset[str]:
        """All subjects that are neither learnt from nor scored."""
        return frozenset(self.test_subjects)

    @property
    def is_coded(self) -> bool:
        """Whether codes stand for patients."""
        return any(case.is_coded for case in self.cases)

    @property
    def learning(self) -> tuple[str, ...]:
        """The entries that learn: all but models that are only scored."""
        return tuple(name for name, one in self.entries.items() if one.learns)

    @property
    def finders_in_fold(self) -> int:
        """How many finders learn in a fold: one for all entries that learn from as many subjects."""
        return len({one.subjects for one in self.entries.values() if one.learns and sees_crop(one.settings)})

    @property
    def seconds(self) -> float | None:
        """Seconds of learning in all; None where an entry or a finder that is needed has no time budget."""
        minutes = [self.entries[name].settings.minutes for name in self.learning]
        minutes += [(self.finder or finder_settings()).minutes] * self.finders_in_fold
        known = [value for value in minutes if value is not None]
        return 60.0 * self.folds * sum(known) if len(known) == len(minutes) else None


@dataclass(frozen=True, eq=False)
class FoldPlan:
    """What is the same for every fold of an entry; `name` is that of the models.

    Around `centrelines` models see a crop where the settings say so. `should_stop` is asked after every step.
    """

    folds: Folds
    scenario: Scenario
    folder: Path
    name: str = "model"
    choose_post: bool = False
    copies: Copies = "none"
    on_event: OnEvent = listener(None)  # noqa: RUF009  # it never changes
    should_stop: Callable[[], bool] | None = None
    centrelines: Centrelines | None = None

    @property
    def finds_centrelines(self) -> bool:
        """Whether the fold's own finder is needed: the base as it is has its own, if it has one at all."""
        one = self.scenario
        return sees_crop(one.settings) and (one.learns or one.base is None or one.base.finder is None)

    def inputs(self, number: int) -> Inputs:
        """Give what the training of a fold is given beside its cases."""
        if self.centrelines is None or not self.finds_centrelines:
            return Inputs()
        return self.centrelines.inputs(number)

    def place(self, number: int) -> Path:
        """Give the folder of a fold."""
        return self.folder / f"fold_{number}"

    def made_from(self, number: int) -> dict[str, Any]:
        """Give everything on which a fold's result depends, as plain values that survive JSON."""
        base = self.scenario.base
        own: dict[str, Any] = {"settings": plain_settings(self.scenario.settings), "choose_post": self.choose_post}
        if self.copies != "none":
            own["copies"] = self.copies
        if base is not None:
            own |= {"base model": model_digest(base), "learns": self.scenario.learns}
        if self.centrelines is not None and self.finds_centrelines:
            own |= self.centrelines.made_from()
        return as_plain(own) | self.folds.made_from(number)


def check_room_for(folder: Path, plans: Sequence[FoldPlan]) -> None:
    """Say that the disk may become full with the folds that are not done yet; OutputError where it surely does."""
    waiting = [
        (plan.scenario.settings, sum(not plan.place(n + 1).exists() for n in range(len(plan.folds.splits))))
        for plan in plans
    ]
    words = check_folds_room(folder, waiting, len(plans[0].folds.structures))
    if words:
        plans[0].on_event(Note(words))


def plan_entries(
    request: CrossValidationRequest, on_event: OnEvent, should_stop: Callable[[], bool] | None = None
) -> dict[str, FoldPlan]:
    """Read the cases and draw the folds, the same for all entries, and refuse what no honest score is possible of.

    Nothing is trained yet. The folds of each entry lie in a folder of its name.
    """
    check_writable(request.folder)
    seed = next(iter(request.entries.values())).settings.seed
    folds = prepare_folds(
        request.cases, request.structures, folds=request.folds, seed=seed, test_subjects=request.in_no_fold
    )
    for one in request.entries.values():
        one.check(folds.splits, folds.structures)
    finder = request.finder or finder_settings(seed=seed)
    lines = Centrelines(folds, finder, request.folder / LINES, on_event, should_stop)
    # How much is lost by having few subjects is not to be hidden by a finder that has learnt from all.
    counts = {one.subjects for one in request.entries.values()}
    lines_of = {
        count: lines if count is None else lines.with_few(count, by_fold=request.few_by_fold) for count in counts
    }
    return {
        name: FoldPlan(
            lines_of[one.subjects].folds,
            one,
            request.folder / name,
            name,
            request.choose_post,
            request.copies,
            on_event,
            should_stop,
            lines_of[one.subjects],
        )
        for name, one in request.entries.items()
    }
