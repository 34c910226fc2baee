"""What a comparison is, its folder, and reading what lies there."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from autoseg.errors import DataError, ReadError, SettingsError
from autoseg.evaluation.comparison.entries import title_of
from autoseg.evaluation.comparison.forecast import Forecast, forecast_of
from autoseg.evaluation.comparison.side_by_side import SideBySide, read_side_by_side
from autoseg.evaluation.comparison.tables import (
    MEAN,
    comparison_table,
    differences_table,
    subjects_table,
    tell_outliers,
)
from autoseg.evaluation.comparison.verdict import gain_note, give_verdict, order_of
from autoseg.evaluation.crossvalidation import (
    RESULT,
    CrossValidation,
    FoldResult,
    gather,
    read_fold,
    settle_folds,
)
from autoseg.files.records import write_record
from autoseg.files.tables import read_table
from autoseg.image.structures import Structure
from autoseg.measurement.statistics import FEWEST_FOR_INTERVAL
from autoseg.model.settings.settings import Settings, settings_from_dict

STATE = "comparison.json"
SHARED_TIMES = (
    "Workers did folds beside each other, maybe on one computer: times (ms/slice, seconds of learning) may be "
    "longer than alone, and tell little of which entry is faster."
)
UNKNOWN_FOLDS = (
    "{name}: its files lie in one folder, which does not tell whether each was drawn by a network that had not "
    "learnt from it. Where it had, its scores are too good."
)


@dataclass(frozen=True)
class State:
    """What is compared, kept in the folder: the entries in their order, how many folds, and what failed.

    `derived` are made of entries, each with the one that it is compared with ("": the mean of all, with the best).
    `base` are the settings that the entries were made from, where that is known, `own` those of entries that are no
    network, recipe or scenario. `learnt` are, of a forecast, how many subjects each learns from (mean of folds).
    `added` are entries whose labels are files of another program (`predicted.py`), and whether they are known to be
    drawn by networks that had not learnt from what they drew on. `beside`: workers did some of the folds, at the
    same time as others.
    """

    entries: tuple[str, ...]
    folds: int
    structures: tuple[Structure, ...]
    derived: Mapping[str, str] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    base: Mapping[str, Any] | None = None
    own: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    learnt: Mapping[str, float] = field(default_factory=dict)
    added: Mapping[str, bool] = field(default_factory=dict)
    beside: bool = False

    @property
    def expected(self) -> tuple[str, ...]:
        """The entries and what is made of them, without what failed."""
        return tuple(entry for entry in (*self.entries, *self.derived) if entry not in self.failed)

    @property
    def drawn(self) -> tuple[str, ...]:
        """Those that are drawn side by side: copies of an entry look too much like it."""
        return tuple(entry for entry in self.expected if not self.derived.get(entry))


@dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """What a comparison gave.

    `runs` are the cross-validations by the entry's name, as far as each is. `table` has one row an entry and
    structure, and one for the mean over structures (`structure` is "mean"), over the folds that all have finished;
    `subjects` the same by subject; `differences` one row a pair of entries and structure, paired by subject.
    `verdict` says in a sentence which is best for these data and whether that is more than chance. `notes` are
    sentences that the reader should know. `worst` are slices side by side, worst cases first, once all is finished.
    `forecast` says what more subjects would do, where that was asked; the verdict is its sentence then.
    """

    folder: Path
    runs: Mapping[str, CrossValidation]
    table: pd.DataFrame
    differences: pd.DataFrame
    verdict: str
    notes: tuple[str, ...] = ()
    is_finished: bool = True
    worst: tuple[SideBySide, ...] = ()
    subjects: pd.DataFrame = field(default_factory=pd.DataFrame)
    structures: tuple[Structure, ...] = ()
    forecast: Forecast | None = None

    def __repr__(self) -> str:
        return f"Comparison({', '.join(self.runs)}; {self.verdict})"

    def histories(self) -> pd.DataFrame:
        """Read the epochs of every training: entry, title, fold, and the columns of `history.history_rows`."""
        tables = []
        for entry, run in self.runs.items():
            for fold in run.folds:
                for path in sorted(fold.folder.glob("*_history.csv")):
                    tables.append(read_table(path).assign(entry=entry, title=title_of(entry), fold=fold.number))
        return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def read_comparison(folder: Path) -> Comparison:
    """Read what lies in the folder of a comparison, finished or not.

    Raises
    ------
    ReadError
        If the folder holds no comparison, or a fold of it cannot be read.
    DataError
        If its entries were made from different data.
    """
    folder = Path(folder)
    settle_folds(folder)
    state = read_state(folder)
    found: dict[str, list[FoldResult]] = {}
    for entry in (*state.entries, *state.derived):
        places = {number: folder / entry / f"fold_{number}" for number in range(1, state.folds + 1)}
        found[entry] = [read_fold(place, number) for number, place in places.items() if place.exists()]
    _check_same_subjects(folder, found)
    return put_together(folder, state, found)


def put_together(folder: Path, state: State, folds: Mapping[str, Sequence[FoldResult]]) -> Comparison:
    """Make tables, verdict and notes of the folds that are finished, by entry."""
    runs = {entry: gather(folder / entry, own) for entry, own in folds.items()}
    counted, shared = _shared(state, folds)
    of_shared = {
        entry: runs[entry] if len(own) == len(found) else gather(folder / entry, own)
        for entry, found in folds.items()
        if entry in counted and (own := [fold for fold in found if fold.number in shared])
    }
    subjects = subjects_table(of_shared)
    table, differences = comparison_table(of_shared), differences_table(of_shared, state.derived)
    expected = state.expected
    is_finished = bool(expected) and all(len(folds.get(entry, ())) == state.folds for entry in expected)
    forecast = forecast_of(of_shared, state.learnt) if state.learnt else None
    verdict = forecast.sentence if forecast is not None else give_verdict(table, differences, state.entries)
    if not is_finished and len(table):
        verdict = f"So far: {verdict[0].lower()}{verdict[1:]}"
    return Comparison(
        folder=folder,
        runs=runs,
        table=table,
        differences=differences,
        verdict=verdict,
        notes=tuple(dict.fromkeys(_notes(state, runs, shared, table, differences, subjects))),
        is_finished=is_finished,
        worst=read_side_by_side(folder, state.drawn) if is_finished else (),
        subjects=subjects,
        structures=state.structures,
        forecast=forecast,
    )


def earlier_state(folder: Path) -> State | None:
    """Read what is compared in a folder; None where there is no comparison yet."""
    try:
        return read_state(folder)
    except ReadError:
        return None


def write_state(folder: Path, state: State) -> None:
    """Write down what is compared in a folder."""
    write_record(folder / STATE, {"format": "autoseg comparison", "version": 1, **asdict(state)})


def read_state(folder: Path) -> State:
    """Read what is compared in a folder; a ReadError where there is no comparison."""
    path = folder / STATE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return State(
            entries=tuple(content["entries"]),
            folds=int(content["folds"]),
            structures=tuple(Structure(**values) for values in content["structures"]),
            derived=dict(content["derived"]),
            failed=dict(content["failed"]),
            notes=tuple(content["notes"]),
            base=content.get("base"),
            own=dict(content.get("own", {})),
            learnt=dict(content.get("learnt", {})),
            added=dict(content.get("added", {})),
            beside=bool(content.get("beside", False)),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ReadError(
            f"{path} cannot be read as a comparison ({error}). Choose the folder that a comparison made, or begin "
            "anew in another folder."
        ) from error


def earlier_base(folder: Path, wanted: Settings) -> Settings | None:
    """Give the settings that the entries of an earlier comparison were made from, to go on with the same.

    A plan depends on how fast the computer was and on its free memory. Made anew, it may differ, and finished folds
    would not fit it.
    """
    settle_folds(folder)
    if not any(Path(folder).glob(f"*/fold_*/{RESULT}")):
        return None
    try:
        base = read_state(Path(folder)).base
        kept = None if base is None else settings_from_dict(dict(base))
    except (ReadError, SettingsError):  # `compare` says what is wrong with the folder
        return None
    if kept is None or (kept.seed, kept.minutes) != (wanted.seed, wanted.minutes):
        return None
    return kept if wanted.minutes is not None or kept.epochs == wanted.epochs else None


def failing(state: State, entry: str, why: str) -> State:
    """Note down that an entry failed; with an empty reason, that it does no longer."""
    failed = {name: words for name, words in state.failed.items() if name != entry}
    return replace(state, failed=failed | ({entry: why} if why else {}))


def _shared(state: State, folds: Mapping[str, Sequence[FoldResult]]) -> tuple[set[str], set[int]]:
    """Give the entries that count, and the folds that all of them have finished.

    Those that have not begun do not count, nor those that failed: their folds are not those of the others. What is
    made of the entries counts once it has their folds: it follows them, and must not take any away.
    """
    begun = {entry: {fold.number for fold in own} for entry, own in folds.items() if own}
    counted = {entry: own for entry, own in begun.items() if entry not in state.failed} or begun
    first = {entry: own for entry, own in counted.items() if entry not in state.derived} or counted
    shared = set.intersection(*first.values()) if first else set()
    return {entry for entry, own in counted.items() if entry in first or own >= shared}, shared


def _check_same_subjects(folder: Path, folds: Mapping[str, Sequence[FoldResult]]) -> None:
    """Refuse folds of one number that tested different subjects: they are of different data."""
    tested: dict[int, tuple[str, set[str]]] = {}
    for entry, own in folds.items():
        for fold in own:
            subjects = {score.subject_id for score in fold.pixels}
            first, known = tested.setdefault(fold.number, (entry, subjects))
            if subjects and known and subjects != known:
                raise DataError(
                    f"{folder}: fold {fold.number} of {first!r} and of {entry!r} tested different patients, so "
                    "they cannot be compared. Begin anew in another folder."
                )


def _notes(
    state: State,
    runs: Mapping[str, CrossValidation],
    shared: set[int],
    table: pd.DataFrame,
    differences: pd.DataFrame,
    subjects: pd.DataFrame,
) -> list[str]:
    notes = [f"{title_of(entry)} failed, and the others went on. {why}" for entry, why in state.failed.items()]
    notes += (*state.notes, *([SHARED_TIMES] if state.beside else []))
    notes += [UNKNOWN_FOLDS.format(name=name) for name, is_known in state.added.items() if not is_known]
    expected = state.expected
    done = sum(len(runs[entry].folds) for entry in expected if entry in runs)
    if done < len(expected) * state.folds:
        of = f"the fold{'s' * (len(shared) != 1)} {', '.join(map(str, sorted(shared)))}"
        numbers = (
            f"the numbers are of {of}, which all have finished that have begun" if shared else "no numbers yet"
        )
        notes.append(f"{done} of {len(expected) * state.folds} trainings are done; {numbers}.")
    # Scored alike, the entries' folds say the same.
    notes += [note for run in runs.values() for note in run.notes]
    if not len(table):
        return notes
    means = table[table["structure"] == MEAN]
    if int(means["n_subjects"].min()) < FEWEST_FOR_INTERVAL:
        notes.append(
            f"With fewer than {FEWEST_FOR_INTERVAL} patients there are no intervals, and nothing can be said about "
            "other people."
        )
    notes.append(_invented_note(subjects))
    notes.append(tell_outliers(subjects))
    if table["hd95_mm"].isna().all() and table["area_bias_mm2"].isna().all():
        notes.append("The images have no pixel size, so there is no mm: areas are compared in percent only.")
    for entry, base in state.derived.items():
        best = base or next(iter(order_of(table, differences, state.entries)), "")
        if entry in set(means["entry"]) and best in set(means["entry"]):
            notes.append(gain_note(entry, best, table, differences))
    return [note for note in notes if note]


def _invented_note(subjects: pd.DataFrame) -> str:
    """Say who segmented something on subjects on whom nothing is drawn, where others rightly did not."""
    dice = subjects[subjects["structure"] == MEAN].pivot(index="subject_id", columns="entry", values="dice")
    uneven = dice[dice.isna().any(axis=1) & dice.notna().any(axis=1)]
    if not len(uneven):
        return ""
    who = ", ".join(title_of(entry) for entry in dict.fromkeys(subjects["entry"]) if uneven[entry].notna().any())
    return (
        f"On {len(uneven)} patient{'s' * (len(uneven) != 1)} nothing is drawn, and only some segmented something: "
        f"{who}. That is Dice 0 for them; the others, who were right, have no Dice there, and 1 in the differences."
    )
