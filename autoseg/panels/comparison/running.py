"""A comparison that runs in the background of the kernel, training after training, whoever looks at it."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from statistics import fmean

from autoseg.errors import AutosegError, DataError
from autoseg.evaluation.comparison import Comparison, ComparisonRequest, run_comparison
from autoseg.evaluation.crossvalidation import RESULT, FoldBegins, FoldEpoch, FoldFailed, Scenario, read_fold
from autoseg.files.tables import read_table
from autoseg.measurement.scores import Score
from autoseg.measurement.summary import pool_subjects
from autoseg.model.model import EpochResult
from autoseg.panels.parts.background import Background, Kernel, State
from autoseg.panels.parts.values import same_base
from autoseg.report.figures.live_curves import Curve
from autoseg.training.events import Event, Finder


class RunningComparison(Background):
    """One comparison in a thread of its own.

    Beside what every `Background` tells: `doing`, the fold or finder that was begun last; `current`, the entry and
    fold that learns now, or None, and `epochs`, those of its training; `scores`, of each entry and fold that is
    done the Dice of every subject, the mean over its structures; `curves`, of each that learnt the seconds and the
    Dice of its validated epochs; `failed`, the entries that did; `comparison`, what came out, where it was stopped
    of the folds that were finished.
    """

    def __init__(self, request: ComparisonRequest) -> None:
        super().__init__(request.name, request.cases)
        self.request = request
        self.doing: FoldBegins | Finder | None = None
        self._fold: FoldBegins | None = None
        self.current: tuple[str, int] | None = None
        self.epochs: tuple[EpochResult, ...] = ()
        self.scores: dict[tuple[str, int], tuple[float, ...]] = {}
        self.curves: dict[tuple[str, int], Curve] = {}
        self.failed: set[str] = set()
        self.comparison: Comparison | None = None
        self._epoch_at = time.monotonic()

    def __repr__(self) -> str:
        return (
            f"RunningComparison({self.name}: {self.state}, {self.folds_done()} of {self.folds_in_all()} trainings)"
        )

    # --- what it tells

    def folds_in_all(self) -> int:
        """Give how many trainings it takes."""
        return self.request.folds * len(self.request.entries)

    def folds_done(self) -> int:
        """Give how many of its trainings are done, now or earlier."""
        return len(self.scores)

    def curves_of(self, fold: int) -> dict[str, Curve]:
        """Give the curves of a fold by the entries that learn, empty where nothing is known yet."""
        found = {entry: self.curves.get((entry, fold), ()) for entry in self.request.learning}
        if self.current is not None and self.current[1] == fold and not found[self.current[0]]:
            found[self.current[0]] = tuple(
                (row.elapsed_s, row.validation_dice) for row in self.epochs if row.validation_dice is not None
            )
        return found

    def seconds_left(self) -> float | None:
        """Estimate the seconds left of learning; None where the entries have no time budget."""
        whole, learning = self.request.seconds, self.request.learning
        if whole is None or not learning:
            return None
        one = whole / (self.request.folds * len(learning))
        done = sum(entry in learning for entry, _ in self.scores.copy())
        now = 0.0
        if self.epochs:
            now = self.epochs[-1].elapsed_s + time.monotonic() - self._epoch_at
        return max(0.0, (self.request.folds * len(learning) - done) * one - min(now, one))

    def share(self) -> float:
        """Give how much is done, 0 to 1."""
        done: float = self.folds_done()
        if self.epochs:
            last = self.epochs[-1]
            done += last.elapsed_s / max(1e-9, last.elapsed_s + last.seconds_left)
        return min(1.0, done / self.folds_in_all())

    # --- inside its thread

    def _work(self) -> None:
        found = run_comparison(self.request, self._hear, self._should_stop)
        self._look()
        self.current, self.epochs = None, ()
        if len(found.table):
            self.comparison = found
        elif not self.was_stopped:
            raise DataError("Nothing could be compared. " + " ".join(found.notes))

    def _end_state(self) -> State:
        if self.error is not None:
            return State.FAILED
        is_finished = self.comparison is not None and self.comparison.is_finished
        return State.FINISHED if is_finished else State.STOPPED

    def _hear(self, event: Event) -> None:
        if str(event):
            super()._hear(event)
        if isinstance(event, FoldBegins | Finder):  # what was done before is done
            self._look()
            self._fold = event if isinstance(event, FoldBegins) else self._fold
            self.doing, self.current, self.epochs = event, None, ()
        elif isinstance(event, FoldFailed):
            self.failed.add(event.entry)
        elif isinstance(event, FoldEpoch):
            self.doing = self._fold  # finders learn within a fold, before its own network does
            self.current = (event.entry, event.fold)
            self._epoch_at = time.monotonic()
            self.epochs = (*self.epochs, event.result)
            self._has_begun()
            self._tell()

    def _look(self) -> None:
        """Read the scores of the trainings that are done."""
        for entry in self.request.entries:
            for fold in range(1, self.request.folds + 1):
                place = fold_folder(self.request, entry, fold)
                if (entry, fold) not in self.scores and (place / RESULT).is_file():
                    with suppress(AutosegError):  # whoever compares says what is wrong with it
                        self.scores[entry, fold] = dice_of_subjects(read_fold(place, fold).scores)
                        self.curves[entry, fold] = read_curve(place)


def fold_folder(request: ComparisonRequest, entry: str, fold: int) -> Path:
    """Give the folder of one training of a comparison, done or not."""
    return request.folder / entry / f"fold_{fold}"


def finished_trainings(request: ComparisonRequest) -> int:
    """Count the trainings of a comparison's entries that lie in its folder, whatever they were made from."""
    folds = range(1, request.folds + 1)
    return sum((fold_folder(request, entry, n) / RESULT).is_file() for entry in request.entries for n in folds)


def dice_of_subjects(scores: Sequence[Score]) -> tuple[float, ...]:
    """Give the Dice of every subject, the mean over the structures that it has, as the comparison counts it."""
    by_subject: dict[str, list[float]] = {}
    for row in pool_subjects(scores):
        if not math.isnan(row.dice):
            by_subject.setdefault(row.subject_id, []).append(row.dice)
    return tuple(fmean(values) for values in by_subject.values())


def read_curve(place: Path) -> Curve:
    """Read the curve of a training that is done from its folder; empty where nothing was validated."""
    for path in sorted(place.glob("*_history.csv")):
        table = read_table(path)
        if {"elapsed_s", "validation_dice"} <= set(table.columns):
            known = table.dropna(subset=["validation_dice"])
            return tuple(zip(known["elapsed_s"].astype(float), known["validation_dice"].astype(float), strict=True))
    return ()


def is_alike(one: ComparisonRequest, other: ComparisonRequest) -> bool:
    """Tell whether two requests ask for the same on the same cases, in the same folder."""
    mine, others = (
        (
            *(tuple(ask.cases), tuple(ask.structures), ask.folds, ask.folder.resolve(), ask.in_no_fold),
            *(frozenset(ask.known), ask.together, ask.copies, ask.try_copies, ask.exact, ask.without_outliers),
            *(ask.finder, ask.few_by_fold, set(ask.entries)),
        )
        for ask in (one, other)
    )
    return mine == others and all(_same(one.entries[name], other.entries[name]) for name in one.entries)


def _same(one: Scenario, other: Scenario) -> bool:
    alike = (one.settings, one.learns, one.subjects) == (other.settings, other.learns, other.subjects)
    return alike and same_base(one.base, other.base)


COMPARISONS: Kernel[RunningComparison] = Kernel()


def find_running(folder: Path) -> RunningComparison | None:
    """Give the running or latest comparison of this folder in this kernel, if there was one."""
    return COMPARISONS.find(folder.resolve())


def start_comparison(request: ComparisonRequest, *, alone: bool = True) -> RunningComparison:
    """Start a comparison in the background and give it; what its folder holds already is not trained again."""
    return COMPARISONS.start(
        request.folder.resolve(),
        lambda: RunningComparison(request),
        busy=f"{request.name!r} is being compared already. Stop it first, or give another name.",
        alone=alone,
    )
