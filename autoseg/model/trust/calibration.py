"""How far a model's areas were off on patients whom it never saw, and the intervals that follow from that."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from autoseg.words import counted


class How(StrEnum):
    """Whose errors they are."""

    FOLDS = "folds"  # all patients, each by a twin of the model that never saw it
    VALIDATION = "validation"  # the model's own validation patients, by whom some of it was chosen


# Of what errors are kept: of a slice's area by how the structure was found there, and of an image.
QUANTITIES = ("found", "beside", "empty", "mean", "max", "volume")


@dataclass(frozen=True)
class Errors:
    """The errors of one quantity of a structure, in units of the expected error.

    That is base + value × (share + doubt × (1 - expected Dice)). `scores` has for each patient, in no order that
    tells who it is, (true - measured) / expected. A quantity may have errors twice, with a doubt and without one.
    """

    structure: str
    quantity: str
    base: float
    share: float
    doubt: float
    scores: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        numbers = (self.base, self.share, self.doubt, *(score for own in self.scores for score in own))
        if self.quantity not in QUANTITIES or not all(map(math.isfinite, numbers)):
            raise ValueError("the errors of its areas are not described as autoseg describes them")
        if min(numbers[:3]) < 0 or not all(self.scores):
            raise ValueError("the errors of its areas are not such as can be")


@dataclass(frozen=True)
class Calibration:
    """The errors of areas on patients whom the model, or its fold's twin, never saw.

    Areas are in `unit`, "mm²" or "pixels"; volumes in mm³. `patients` are those examined, `date` when, in `minutes`
    the model or each twin learnt. `coverage` has for each structure (as `structures`) how often an interval of
    `level` from the other patients held a slice's true area; None: too few.
    """

    how: str
    date: str
    patients: int
    unit: str
    structures: tuple[str, ...]
    errors: tuple[Errors, ...]
    level: float
    coverage: tuple[float | None, ...]
    minutes: float | None = None

    def __post_init__(self) -> None:
        if self.how not in tuple(How) or len(self.coverage) != len(self.structures) or not 0 < self.level < 1:
            raise ValueError("its calibration is not described as autoseg describes it")

    def errors_of(self, structure: str, quantity: str, *, expects: bool = False) -> Errors | None:
        """Give the errors of one quantity of a structure; None where nobody had any.

        Where a Dice is expected of what is asked for (`expects`), those with a doubt come first.
        """
        found = [one for one in self.errors if (one.structure, one.quantity) == (structure, quantity)]
        found = [one for one in found if expects or not one.doubt]
        return max(found, key=lambda one: one.doubt > 0, default=None)

    @property
    def words(self) -> str:
        """Whose errors, since when, and how often the intervals held, in a sentence or two."""
        whose = "each segmented by a twin of the model that never saw that patient"
        if self.how == How.VALIDATION:
            whose = "by whom some of the model was chosen, so that errors on new patients may be a little larger"
        known = [value for value in self.coverage if value is not None]
        held = ""
        if known:
            least, most = f"{min(known):.0%}", f"{max(known):.0%}"
            share = (least if least == most else f"{least} to {most}").replace("%", " %")
            held = f" On them, left out one by one, the intervals held {share} of the true areas."
        return (
            f"Intervals of {self.level * 100:.0f} % rest on the errors on {counted(self.patients, 'patient')} "
            f"({self.date[:10]}), {whose}.{held}"
        )
