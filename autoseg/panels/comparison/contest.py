"""A comparison that runs in the background of the kernel, training after training, whoever looks at it."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from statistics import fmean

import pandas as pd

from autoseg.errors import AutosegError, DataError
from autoseg.evaluation.comparison import Comparison, compare, estimate_seconds, title_of
from autoseg.evaluation.crossvalidation import read_fold
from autoseg.evaluation.crossvalidation.fold import RESULT
from autoseg.measurement.scores import Score
from autoseg.measurement.summary import pool_subjects
from autoseg.model.model import EpochResult
from autoseg.panels.parts.background import Background, State, Turn
from autoseg.panels.parts.values import Contest
from autoseg.report.figures.live_curves import Curve


class RunningComparison(Background):
    """One comparison in a thread of its own.

    Beside what every `Background` tells: `current`, the entry and fold that learns now, or None; `epochs`, those of
    the current training; `part`, the fold of what is being done, learning or scoring; `scores`, of each entry and
    fold that is done the Dice of every subject, the mean over its structures; `curves`, of each that learnt the
    seconds and the Dice of its validated epochs; `comparison`, what came out, where it was stopped of the folds
    that were finished.

    Parameters
    ----------
    contest : Contest
    """

    def __init__(self, contest: Contest) -> None:
        super().__init__(contest.name, contest.cases.cases)
        self.contest = contest
        self.current: tuple[str, int] | None = None
        self.epochs: tuple[EpochResult, ...] = ()
        self.part = ""
        self.scores: dict[tuple[str, int], tuple[float, ...]] = {}
        self.curves: dict[tuple[str, int], Curve] = {}
        self.comparison: Comparison | None = None
        self._epoch_at = time.monotonic()

    def __repr__(self) -> str:
        return (
            f"RunningComparison({self.name}: {self.state}, {self.folds_done()} of {self.folds_in_all()} trainings)"
        )

    # --- what it tells

    def has_failed(self, entry: str) -> bool:
        """Tell whether an entry failed while the others went on."""
        return any(line.startswith(f"  {title_of(entry)} failed") for line in self.lines.copy())

    def folds_in_all(self) -> int:
        """Give how many trainings it takes."""
        return self.contest.folds * len(self.contest.entries)

    def folds_done(self) -> int:
        """Give how many of its trainings are done, now or earlier."""
        return len(self.scores)

    def curves_of(self, fold: int) -> dict[str, Curve]:
        """Give the curves of a fold by the entries that learn, empty where nothing is known yet."""
        found = {entry: self.curves.get((entry, fold), ()) for entry in self.contest.learning}
        if self.current is not None and self.current[1] == fold and not found[self.current[0]]:
            found[self.current[0]] = curve_of(self.epochs)
        return found

    def seconds_left(self) -> float | None:
        """Estimate the seconds left of learning; None where the entries have no time budget."""
        contest = self.contest
        whole, learning = estimate_seconds(contest.entries, contest.folds, contest.finder), contest.learning
        if whole is None or not learning:
            return None
        one = whole / (contest.folds * len(learning))
        done = sum(entry in learning for entry, _ in self.scores.copy())
        now = 0.0
        if self.current is not None and self.epochs:
            now = self.epochs[-1].elapsed_s + time.monotonic() - self._epoch_at
        return max(0.0, (contest.folds * len(learning) - done) * one - min(now, one))

    def share(self) -> float:
        """Give how much is done, 0 to 1."""
        done = self.folds_done()
        if self.current is not None and self.epochs:
            last = self.epochs[-1]
            done += last.elapsed_s / max(1e-9, last.elapsed_s + last.seconds_left)  # type: ignore[assignment]
        return min(1.0, done / self.folds_in_all())

    # --- inside its thread

    def _work(self) -> None:
        contest = self.contest
        found = compare(
            contest.cases.cases,
            contest.cases.structures,
            contest.entries,
            folder=contest.folder,
            folds=contest.folds,
            test_subjects=contest.test_subjects | contest.known,
            tell=self._say,
            on_epoch=self._after_epoch,
            should_stop=self._should_stop,
            together=contest.together,
            try_copies=contest.try_copies,
            base=contest.base,
            exact=contest.exact,
            without_outliers=contest.without_outliers,
            finder=contest.finder,
        )
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

    def _say(self, line: str) -> None:
        self.lines.append(self.hidden(line))
        if line.startswith(("Fold ", "Centrelines, ")):  # the part before is done
            self._look()
            self.current, self.epochs = None, ()
            self.part = line.partition(" (")[0].partition(":")[0]

    def _after_epoch(self, entry: str, fold: int, result: EpochResult) -> None:
        if self.current != (entry, fold):
            self._look()
            self.current, self.epochs = (entry, fold), ()
        self._epoch_at = time.monotonic()
        self.epochs = (*self.epochs, result)
        self._has_begun()
        self._tell()

    def _look(self) -> None:
        """Read the scores of the trainings that are done."""
        for entry in self.contest.entries:
            for fold in range(1, self.contest.folds + 1):
                place = fold_folder(self.contest, entry, fold)
                if (entry, fold) not in self.scores and (place / RESULT).is_file():
                    with suppress(AutosegError):  # whoever compares says what is wrong with it
                        self.scores[entry, fold] = dice_of_subjects(read_fold(place, fold).scores)
                        self.curves[entry, fold] = read_curve(place)


def fold_folder(contest: Contest, entry: str, fold: int) -> Path:
    """Give the folder of one training of a contest, done or not."""
    return contest.folder / entry / f"fold_{fold}"


def dice_of_subjects(scores: Sequence[Score]) -> tuple[float, ...]:
    """Give the Dice of every subject, the mean over the structures that it has, as the comparison counts it."""
    by_subject: dict[str, list[float]] = {}
    for row in pool_subjects(scores):
        if not math.isnan(row.dice):
            by_subject.setdefault(row.subject_id, []).append(row.dice)
    return tuple(fmean(values) for values in by_subject.values())


def curve_of(epochs: Sequence[EpochResult]) -> Curve:
    """Give the seconds and the validation Dice of the epochs that were validated."""
    return tuple((row.elapsed_s, row.validation_dice) for row in epochs if row.validation_dice is not None)


def read_curve(place: Path) -> Curve:
    """Read the curve of a training that is done from its folder; empty where nothing was validated."""
    for path in sorted(place.glob("*_history.csv")):
        table = pd.read_csv(path)
        if {"elapsed_s", "validation_dice"} <= set(table.columns):
            known = table.dropna(subset=["validation_dice"])
            return tuple(zip(known["elapsed_s"].astype(float), known["validation_dice"].astype(float), strict=True))
    return ()


def finished_trainings(contest: Contest) -> int:
    """Count the trainings of a contest's entries that lie in its folder, whatever they were made from."""
    folds = range(1, contest.folds + 1)
    return sum(
        (contest.folder / entry / f"fold_{n}" / RESULT).is_file() for entry in contest.entries for n in folds
    )


_COMPARISONS: dict[Path, RunningComparison] = {}
_LOCK = threading.Lock()


def find_running(folder: Path) -> RunningComparison | None:
    """Give the running or latest comparison of this folder in this kernel, if there was one."""
    return _COMPARISONS.get(Path(folder).resolve())


def start_comparison(contest: Contest, *, alone: bool = True) -> RunningComparison:
    """Start a comparison in the background and give it; what its folder holds already is not trained again."""
    with _LOCK:
        earlier = find_running(contest.folder)
        if earlier is not None and earlier.is_active:
            raise DataError(f"{contest.name!r} is being compared already. Stop it first, or give another name.")
        turn = Turn(contest.name) if alone else None
        running = RunningComparison(contest)
        _COMPARISONS[contest.folder.resolve()] = running
        running.begin(turn)
    return running
