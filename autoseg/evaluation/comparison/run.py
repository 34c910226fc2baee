"""Running a comparison, fold by fold over the entries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

from autoseg.data.cases import Case
from autoseg.data.split import subjects_of
from autoseg.errors import AutosegError, DataError, OutputError
from autoseg.evaluation.comparison.compared import (
    Comparison,
    State,
    earlier_state,
    failing,
    put_together,
    write_state,
)
from autoseg.evaluation.comparison.derived import Derived, derived_entries
from autoseg.evaluation.comparison.entries import WITHOUT, title_of, variant_of
from autoseg.evaluation.comparison.request import ComparisonRequest
from autoseg.evaluation.comparison.side_by_side import choose_slices, write_side_by_side
from autoseg.evaluation.comparison.tables import centrelines_table, outliers_of, per_subject_table
from autoseg.evaluation.crossvalidation import (
    FoldBegins,
    FoldFailed,
    FoldPlan,
    FoldResult,
    OnEpoch,
    Scenario,
    check_room_for,
    plan_entries,
    read_fold,
    read_folds,
    run_fold,
    settle_folds,
    speaking,
    write_material,
)
from autoseg.evaluation.crossvalidation.beside import FoldJob, do_jobs
from autoseg.evaluation.crossvalidation.fold import read_content
from autoseg.evaluation.crossvalidation.run import SHARED_MINUTES
from autoseg.files.atomic import one_step, remove, remove_folder, whole_file
from autoseg.files.tables import write_table
from autoseg.image.structures import Structure
from autoseg.model.device.cluster import Done, team
from autoseg.model.settings.settings import Settings, settings_to_dict
from autoseg.report.figures import show_comparison, show_forecast, show_learning_curves, show_side_by_side
from autoseg.training.events import Note, OnEvent
from autoseg.training.keeping.alone import folds_alone
from autoseg.training.recipes import RECIPES

# --- the files of a comparison: tables, the verdict, pictures


PICTURES = {
    "comparison.png": show_comparison,
    "forecast.png": lambda comparison: show_forecast(comparison.forecast.shown() if comparison.forecast else {}),
    "learning_curves.png": show_learning_curves,
    "side_by_side.png": show_side_by_side,
}


def write_tables(comparison: Comparison) -> None:
    """Write results.csv, subjects.csv, per_subject.csv, differences.csv and verdict.txt, all of them or none.

    With centrelines also centrelines.csv, of a forecast forecast.csv.
    """
    tables = {
        "results.csv": comparison.table,
        "subjects.csv": comparison.subjects,
        "per_subject.csv": per_subject_table(comparison.subjects),
        "differences.csv": comparison.differences,
    }
    if comparison.forecast is not None:
        tables["forecast.csv"] = comparison.forecast.table
    lines = centrelines_table(comparison.runs)
    with one_step(comparison.folder):
        if len(lines):
            tables["centrelines.csv"] = lines
        else:  # an earlier table would be of something else
            remove(comparison.folder / "centrelines.csv")
        for name, table in tables.items():
            write_table(comparison.folder / name, table)
        with whole_file(comparison.folder / "verdict.txt") as temporary:
            words = "\n".join((comparison.verdict, *comparison.notes, ""))
            temporary.write_text(words, encoding="utf-8", errors="replace")


def write_pictures(comparison: Comparison) -> None:
    """Write the pictures that there is something to draw of; earlier ones are replaced."""
    for name, show in PICTURES.items():
        path = comparison.folder / name
        try:
            figure = show(comparison)
        except DataError:  # nothing was scored, or kept; an earlier picture would be of something else
            remove(path)
            continue
        with whole_file(path) as temporary:
            figure.savefig(temporary, format="png", dpi=150, bbox_inches="tight")


# What ends one entry and lets the others go on; torch tells of a full memory by a RuntimeError.
FAILURES = (AutosegError, RuntimeError, MemoryError, ValueError)
NO_OUTLIERS = "No patient is an outlier with what learnt here, so nothing was learnt again without one."
STOPPED = "It was stopped. Started again in the same way, it goes on where it was."


def compare(
    cases: Sequence[Case],
    structures: Sequence[Structure],
    entries: Mapping[str, Settings | Scenario],
    *,
    folder: Path,
    tell: Callable[[str], object] | None = None,
    on_epoch: OnEpoch | None = None,
    should_stop: Callable[[], bool] | None = None,
    **asked: Any,
) -> Comparison:
    """Cross-validate several settings on the same folds and put the results side by side.

    All entries do the first fold, then the second, so that there is something to see early. Every finished fold is
    kept in `folder/<entry>/fold_<k>` and never trained again: a comparison that was stopped goes on where it was,
    and an entry can be added later. An entry that fails is a note, and the others go on.

    `folder` gets `results.csv` (`comparison_table`), `subjects.csv` (`subjects_table`), `differences.csv`
    (`differences_table`), `verdict.txt` and pictures.

    Parameters
    ----------
    cases : sequence of Case
    structures : sequence of Structure
    entries : mapping of Settings or Scenario by name
        The names are those of folders. All have the same seed; `minutes` or `epochs` are of each fold. A Scenario
        begins from a model (fine-tuning), or is one that is scored as it is.
    folder : Path
    tell : callable, optional
        Gets lines of text; `print`, for instance.
    on_epoch : callable, optional
        Called after every epoch with the entry's name, the fold's number from 1, and the EpochResult.
    should_stop : callable, optional
        Asked after every step. Once it says True, what is finished is compared. The same call goes on, within a
        fold if that had learnt for a minute.
    folds : int
        Into how many groups the subjects are divided, 5 by default; with fewer subjects, each is left out once.
    test_subjects : collection of str
        Subjects that are kept for a last test; they are in no fold.
    known : collection of str
        Further subjects in no fold: whom the model has seen that scenarios begin from.
    copies : Copies
        Turned copies of each image whose mean is taken in all predictions, as for `predict`.
    try_copies : Copies, optional
        Also score every entry with these copies, as a further entry "<entry>, mirrored copies".
    together : bool
        Also score the mean of all entries' models of a fold, as "all together"; none of them saw its test subjects.
    base : Settings, optional
        What the entries were made from, such as a plan's settings; kept for `earlier_base`.
    exact : bool
        Also score every entry whose models see a crop around a centreline (`volume.crop_mm`) with centrelines from
        what was drawn (where nothing was, with what is found), as "<entry>, exact centreline": what is lost by not
        finding it.
    without_outliers : bool
        Then learn every entry that has outliers (`find_outliers`) anew with these left out of training, as
        "<entry>, without outliers". They are tested as before; centrelines stay as they were found with them.
    choose_post : bool
        Whether each fold chooses a post-processing, as for `cross_validate`.
    finder : Settings, optional
        Of what finds centrelines in each fold, from `autoseg.training.finder.finder_settings`; entries share them
        that learn from as many subjects.
    material : Material, optional
        As for `cross_validate`.
    workers : Workers, optional
        As for `cross_validate`: folds of all entries, several at once; what follows from them is made here.

    Returns
    -------
    Comparison
        Where it was stopped, of the finished folds, with a note and `is_finished` False.

    Raises
    ------
    DataError
        As `cross_validate` does, before anything is trained; folds of other settings or data are named, and
        subjects whom the model that a scenario begins from has seen.
    SettingsError
        If the entries have different seeds, or there is none.
    OutputError
        If the folder cannot be written, or another program learns folds in it.
    """
    scenarios = {name: Scenario.of(one) for name, one in entries.items()}
    request = ComparisonRequest(cases, structures, scenarios, Path(folder), **asked)
    return run_comparison(request, speaking(tell, on_epoch), should_stop)


def run_comparison(
    request: ComparisonRequest, on_event: OnEvent, should_stop: Callable[[], bool] | None = None
) -> Comparison:
    """Do what is asked of a comparison, as `compare` describes; `on_event` hears what happens."""
    with folds_alone(request.folder):
        settle_folds(request.folder)
        plans = plan_entries(request, on_event, should_stop)
        derived = derived_entries(request, plans)
        _check_finished(plans)
        check_room_for(request.folder, list(plans.values()))
        folds = next(iter(plans.values())).folds
        earlier = earlier_state(request.folder)
        added = {} if earlier is None else {n: one for n, one in earlier.added.items() if n not in plans}
        state = State(
            entries=(*plans, *added),
            folds=len(folds.splits),
            structures=folds.structures,
            derived={one.name: one.base for one in derived},
            notes=request.budget_notes,
            base=None if request.base is None else settings_to_dict(request.base),
            own={} if request.kind == "scenario" else _own_settings(request),
            learnt=_learnt(plans) if request.few_by_fold else {},
            added=added,
            beside=earlier is not None and earlier.beside,
        )
        write_state(request.folder, state)
        write_material(request.folder, request.material, aside=request.test_subjects, known=request.known)
        running = _Running(request, plans, state, on_event, should_stop)
        try:
            running.do_folds(derived)
            if request.without_outliers:
                running.leave_out_outliers()
        except KeyboardInterrupt:
            running.state = replace(running.state, notes=(*running.state.notes, STOPPED))
            running.read_finished()
        return running.conclude()


def _learnt(plans: Mapping[str, FoldPlan]) -> dict[str, float]:
    """Give from how many subjects each entry learns, the mean of its folds."""
    return {
        entry: fmean(len(subjects_of(split.training)) for split in plan.folds.splits)
        for entry, plan in plans.items()
    }


def _own_settings(request: ComparisonRequest) -> dict[str, dict[str, Any]]:
    """Give the settings of entries that are named like no network or recipe, by which they could be made again."""
    own = {name: one for name, one in request.entries.items() if name not in RECIPES}
    return {name: settings_to_dict(one.settings) for name, one in own.items()}


def _check_finished(plans: Mapping[str, FoldPlan]) -> None:
    """Refuse folds that were made from something else, before anything is trained."""
    for entry, plan in plans.items():
        for number in range(1, len(plan.folds.splits) + 1):
            if plan.place(number).exists():
                try:
                    read_fold(plan.place(number), number, plan.made_from(number))
                except DataError as error:
                    raise type(error)(f"{title_of(entry)}: {error}") from error


def _forget_others(plan: FoldPlan, number: int) -> None:
    """Of folds that follow from others' results take away one that was made when these were others.

    It goes together with those that follow: no table ever has folds of both.
    """
    with one_step(plan.folder):
        for later in range(number, len(plan.folds.splits) + 1):
            place = plan.place(later)
            if place.exists() and read_content(place).get("made_from") != plan.made_from(later):
                remove_folder(place)


def _fold_of_others(plan: FoldPlan, number: int) -> FoldResult:
    """Do a fold that follows from others' results."""
    _forget_others(plan, number)
    return run_fold(plan, number)


def _begin_fold(plan: FoldPlan, number: int) -> FoldResult:
    """Do a fold on a worker, who tells that it begins."""
    words = f"Fold {number} of {len(plan.folds.splits)}, {title_of(plan.folder.name)}"
    plan.on_event(FoldBegins(plan.folder.name, number, words))
    return run_fold(plan, number)


class _Running:
    """A comparison that goes on: its state, and the folds that are done by entry."""

    def __init__(
        self,
        request: ComparisonRequest,
        plans: Mapping[str, FoldPlan],
        state: State,
        on_event: OnEvent,
        should_stop: Callable[[], bool] | None,
    ) -> None:
        self.request, self.folder, self.plans, self.state = request, request.folder, plans, state
        self.on_event, self.should_stop = on_event, should_stop
        self.folds: dict[str, list[FoldResult]] = {entry: [] for entry in (*plans, *state.derived)}
        self.folds |= {entry: list(read_folds(self.folder / entry)) for entry in state.added}
        self.ahead: dict[FoldJob, Done[FoldJob]] = {}  # what workers did

    def do_folds(self, derived: Sequence[Derived]) -> None:
        """Do the folds of all entries one after the other, or each as soon as workers have done it."""
        number = 1
        with closing(self._beside(self.plans)) as finished:
            for until in finished:
                for ready in range(number, until + 1):
                    self.do_fold(ready, derived)
                number = max(number, until + 1)
        for left in range(number, self.state.folds + 1):
            self.do_fold(left, derived)

    def _beside(self, plans: Mapping[str, FoldPlan]) -> Generator[int, None, None]:
        """Let workers do folds, and give up to which fold all are done, each time that one is."""
        numbers, workers, on_event = range(1, self.state.folds + 1), self.request.workers, self.on_event
        jobs = [FoldJob(entry, number) for number in numbers for entry in plans]
        jobs = [job for job in jobs if not plans[job.entry].place(job.number).exists()]
        if workers is None or not jobs:
            return
        if workers.count is not None and any(one.scenario.settings.minutes is not None for one in plans.values()):
            on_event(Note(SHARED_MINUTES))
        self.state = replace(self.state, beside=True)
        left = Counter(job.number for job in jobs)
        is_coded = self.request.is_coded
        with team(workers, self.folder, is_coded=is_coded, tell=lambda words: on_event(Note(words))) as them:
            asked: dict[str, Any] = {"on_event": on_event, "should_stop": self.should_stop}
            for done in do_jobs(them, plans, jobs, _begin_fold, **asked):
                if isinstance(done.error, OutputError):
                    raise done.error
                self.ahead[done.item] = done
                left[done.item.number] -= 1
                yield next((number for number in numbers if left[number]), self.state.folds + 1) - 1

    def do_fold(self, number: int, derived: Sequence[Derived]) -> None:
        """Do one fold of all entries, then of what is made of them; write tables, unless `conclude` is next."""
        for nth, (entry, plan) in enumerate(self.plans.items(), start=1):
            self._do(entry, number, partial(run_fold, plan, number), which=f" ({nth} of {len(self.plans)})")
        for one in derived:
            lacking = [title_of(entry) for entry in one.members if entry in self.state.failed]
            if lacking:
                self.state = failing(self.state, one.name, f"Fold {number}: {', '.join(lacking)} failed.")
                continue
            members = [self.folds[entry][-1] for entry in one.members]
            self._do(one.name, number, partial(one.make, number, members))
        with one_step(self.folder):
            write_state(self.folder, self.state)
            if number < self.state.folds or self.request.without_outliers:
                write_tables(self._so_far())

    def leave_out_outliers(self) -> None:
        """Learn every entry that has outliers anew without them."""
        subjects = self._so_far().subjects
        again: dict[str, FoldPlan] = {}
        for entry, plan in self.plans.items():
            learnt = plan.scenario.learns and entry not in self.state.failed
            outliers = outliers_of(subjects, entry) if learnt else []
            if not outliers:
                continue
            name = variant_of(entry, WITHOUT)
            try:
                folds = plan.folds.without(outliers)
            except DataError as error:
                self.on_event(Note(f"{title_of(name)} was left out. {error}"))
                continue
            again[name] = replace(plan, folds=folds, folder=self.folder / name)
            self.folds[name] = []
            self.state = replace(self.state, derived={**self.state.derived, name: entry})
        if not again:
            self.state = replace(self.state, notes=(*self.state.notes, NO_OUTLIERS))
        if self.request.workers is not None:
            for plan in again.values():
                _forget_others(plan, 1)
            for _ in self._beside(again):
                pass
        for name, plan in again.items():
            for number in range(1, self.state.folds + 1):
                self._do(name, number, partial(_fold_of_others, plan, number))

    def read_finished(self) -> None:
        """Read the folds that were finished before and not come to again, so that they count."""
        for entry, plan in self.plans.items():
            known = {fold.number for fold in self.folds[entry]}
            for number in range(1, self.state.folds + 1):
                if number not in known and plan.place(number).exists() and entry not in self.state.failed:
                    self.folds[entry].append(read_fold(plan.place(number), number))

    def conclude(self) -> Comparison:
        """Put all together, with slices to look at, and write it."""
        found = self._so_far()
        is_whole = found.is_finished and len(found.table) > 0
        if is_whole:
            drawn = {entry: found.runs[entry] for entry in self.state.drawn}
            found = replace(found, worst=choose_slices(drawn, self.request.cases, self.request.structures))
        with one_step(self.folder):
            write_state(self.folder, self.state)
            if is_whole:
                write_side_by_side(self.folder, found.worst)
            write_tables(found)
            write_pictures(found)
        return found

    def _so_far(self) -> Comparison:
        return put_together(self.folder, self.state, self.folds)

    def _do(self, entry: str, number: int, make: Callable[[], FoldResult], *, which: str = "") -> None:
        """Do a fold of an entry unless an earlier one failed; note down why it fails."""
        if entry in self.state.failed:
            return
        ahead = self.ahead.pop(FoldJob(entry, number), None)
        words = f"Fold {number} of {self.state.folds}, {title_of(entry)}{which}"
        if ahead is None:
            self.on_event(FoldBegins(entry, number, words))
        # Asked in any case: from then on the command line hears of Ctrl-C.
        is_stopping = self.should_stop is not None and self.should_stop()
        if is_stopping and not (self.folder / entry / f"fold_{number}").exists():
            raise KeyboardInterrupt
        try:
            self.folds[entry].append(make() if ahead is None else ahead.get())
        except OutputError:  # the folder is everybody's
            raise
        except FAILURES as error:
            self.state = failing(self.state, entry, f"Fold {number}: {error}")
            words = f"  {title_of(entry)} failed, and the others go on. {error}"
            self.on_event(FoldFailed(entry, number, words))
