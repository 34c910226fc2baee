"""Running a comparison, fold by fold over the entries."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from autoseg.data.cases import Case
from autoseg.errors import AutosegError, DataError, OutputError
from autoseg.evaluation.comparison.compared import Comparison, OnEpoch, State, failing, put_together, write_state
from autoseg.evaluation.comparison.derived import (
    LINES,
    Derived,
    budget_notes,
    check_entries,
    check_finished,
    derived_entries,
)
from autoseg.evaluation.comparison.side_by_side import choose_slices, write_side_by_side
from autoseg.evaluation.comparison.tables import centrelines_table, outliers_of, per_subject_table, title_of
from autoseg.evaluation.crossvalidation import (
    Centrelines,
    FoldPlan,
    FoldResult,
    Folds,
    Scenario,
    Tell,
    prepare_folds,
    read_fold,
    run_fold,
)
from autoseg.evaluation.crossvalidation.fold import read_content
from autoseg.files.atomic import check_writable, whole_file
from autoseg.image.structures import Structure
from autoseg.model.settings.settings import Settings, settings_to_dict
from autoseg.prediction.ensemble import Copies
from autoseg.report.figures import show_comparison, show_learning_curves, show_side_by_side
from autoseg.training.events import listener
from autoseg.training.finder import finder_settings

# --- the files of a comparison: tables, the verdict, pictures

PICTURES = {
    "comparison.png": show_comparison,
    "learning_curves.png": show_learning_curves,
    "side_by_side.png": show_side_by_side,
}


def write_tables(comparison: Comparison) -> None:
    """Write results.csv, subjects.csv, per_subject.csv, differences.csv and verdict.txt, each whole or not at all.

    With centrelines also centrelines.csv.
    """
    tables = {
        "results.csv": comparison.table,
        "subjects.csv": comparison.subjects,
        "per_subject.csv": per_subject_table(comparison.subjects),
        "differences.csv": comparison.differences,
    }
    lines = centrelines_table(comparison.runs)
    if len(lines):
        tables["centrelines.csv"] = lines
    else:  # an earlier table would be of something else
        (comparison.folder / "centrelines.csv").unlink(missing_ok=True)
    for name, table in tables.items():
        with whole_file(comparison.folder / name) as temporary:
            table.to_csv(temporary, index=False, encoding="utf-8", errors="replace", float_format="%.10g")
    with whole_file(comparison.folder / "verdict.txt") as temporary:
        temporary.write_text("\n".join((comparison.verdict, *comparison.notes, "")), encoding="utf-8")


def write_pictures(comparison: Comparison) -> None:
    """Write the pictures that there is something to draw of; earlier ones are replaced."""
    for name, show in PICTURES.items():
        path = comparison.folder / name
        try:
            figure = show(comparison)
        except DataError:  # nothing was scored, or kept; an earlier picture would be of something else
            path.unlink(missing_ok=True)
            continue
        with whole_file(path) as temporary:
            figure.savefig(temporary, format="png", dpi=150, bbox_inches="tight")


# What ends one entry and lets the others go on; torch tells of a full memory by a RuntimeError.
FAILURES = (AutosegError, RuntimeError, MemoryError, ValueError)
# What stands after the comma of an entry that learnt without its outliers.
WITHOUT = "without outliers"
NO_OUTLIERS = "No subject is an outlier with what learnt here, so nothing was learnt again without one."
STOPPED = "It was stopped. Started again in the same way, it goes on where it was."


def compare(
    cases: Sequence[Case],
    structures: Sequence[Structure],
    entries: Mapping[str, Settings | Scenario],
    *,
    folder: Path,
    folds: int = 5,
    test_subjects: Collection[str] = (),
    tell: Tell | None = None,
    on_epoch: OnEpoch | None = None,
    should_stop: Callable[[], bool] | None = None,
    copies: Copies = "none",
    try_copies: Copies | None = None,
    together: bool = False,
    base: Settings | None = None,
    exact: bool = False,
    without_outliers: bool = False,
    finder: Settings | None = None,
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
    folds : int
        With fewer subjects, each is left out once.
    test_subjects : collection of str
        Subjects that are kept for a last test; they are in no fold.
    tell : callable, optional
        Gets lines of text; `print`, for instance.
    on_epoch : callable, optional
        Called after every epoch with the entry's name, the fold's number from 1, and the EpochResult.
    should_stop : callable, optional
        Asked after every step. Once it says True, the unfinished fold is given up; what is finished is compared.
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
        Then learn every entry that has outliers (`per_subject.find_outliers`) anew with these left out of training,
        as "<entry>, without outliers". They are tested as before; centrelines stay as they were found with them.
    finder : Settings, optional
        Of what finds centrelines in each fold, from `autoseg.training.finder.finder_settings`; entries share them
        that learn from as many subjects.

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
        If the folder cannot be written.
    """
    folder = Path(folder)
    scenarios = {entry: one if isinstance(one, Scenario) else Scenario(one) for entry, one in entries.items()}
    check_entries(scenarios)
    check_writable(folder)
    seed = next(iter(scenarios.values())).settings.seed
    prepared = prepare_folds(cases, structures, folds=folds, seed=seed, test_subjects=test_subjects)
    for one in scenarios.values():
        one.check(prepared.splits, prepared.structures)
    say = tell or (lambda line: None)
    lines = Centrelines(prepared, finder or finder_settings(seed=seed), folder / LINES, listener(say), should_stop)
    # How much is lost by having few subjects is not to be hidden by a finder that has learnt from all.
    finders = {
        one.subjects: lines if one.subjects is None else lines.with_few(one.subjects) for one in scenarios.values()
    }
    plans = {
        entry: _plan_of(entry, one, finders[one.subjects], folder, on_epoch, copies, say)
        for entry, one in scenarios.items()
    }
    derived = derived_entries(plans, folder, try_copies=try_copies, together=together, exact=exact)
    check_finished(plans)
    state = State(
        entries=tuple(scenarios),
        folds=len(prepared.splits),
        structures=prepared.structures,
        derived={one.name: one.base for one in derived},
        notes=budget_notes(scenarios),
        base=None if base is None else settings_to_dict(base),
    )
    write_state(folder, state)
    running = _Running(folder, prepared, plans, derived, state, say)
    try:
        for number in range(1, state.folds + 1):
            running.do_fold(number)
        if without_outliers:
            running.leave_out_outliers()
    except KeyboardInterrupt:
        running.state = replace(running.state, notes=(*running.state.notes, STOPPED))
        running.read_finished()
    return _conclude(running, cases, structures)


def _plan_of(
    entry: str,
    one: Scenario,
    lines: Centrelines,
    folder: Path,
    on_epoch: OnEpoch | None,
    copies: Copies,
    tell: Tell,
) -> FoldPlan:
    return FoldPlan(
        lines.folds,
        one.settings,
        folder / entry,
        name=entry,
        copies=copies,
        tell=tell,
        on_epoch=None if on_epoch is None else partial(on_epoch, entry),
        should_stop=lines.should_stop,
        base=one.base,
        learns=one.learns,
        centrelines=lines,
    )


def _fold_of_others(plan: FoldPlan, number: int) -> FoldResult:
    """Do a fold that follows from others' results; one that was made when these were others is done again."""
    place = plan.place(number)
    if place.exists() and read_content(place).get("made_from") != plan.made_from(number):
        shutil.rmtree(place)
    return run_fold(plan, number)


class _Running:
    """A comparison that goes on."""

    def __init__(
        self,
        folder: Path,
        prepared: Folds,
        plans: Mapping[str, FoldPlan],
        derived: Sequence[Derived],
        state: State,
        tell: Tell,
    ) -> None:
        self.folder, self.prepared, self.plans, self.derived = folder, prepared, plans, derived
        self.state, self.tell = state, tell
        self.folds: dict[str, list[FoldResult]] = {entry: [] for entry in (*plans, *state.derived)}

    def do_fold(self, number: int) -> None:
        """Do one fold of all entries, then of what is made of them, and write the tables."""
        for place, (entry, plan) in enumerate(self.plans.items(), start=1):
            of = f"({place} of {len(self.plans)})"
            self.tell(f"Fold {number} of {self.state.folds}, {title_of(entry)} {of}")
            if self._is_stopping() and not plan.place(number).exists():
                raise KeyboardInterrupt
            self._try(entry, number, partial(run_fold, plan, number))
        for one in self.derived:
            lacking = [entry for entry in one.members if entry in self.state.failed]
            if lacking:
                why = f"{', '.join(map(title_of, lacking))} failed."
                self.state = failing(self.state, one.name, f"Fold {number}: {why}")
                continue
            if self._is_stopping() and not (self.folder / one.name / f"fold_{number}").exists():
                raise KeyboardInterrupt
            self.tell(f"Fold {number} of {self.state.folds}, {title_of(one.name)}")
            members = [self.folds[entry][-1] for entry in one.members]
            self._try(one.name, number, partial(one.make, number, members))
        write_state(self.folder, self.state)
        write_tables(put_together(self.folder, self.state, self.folds))

    def leave_out_outliers(self) -> None:
        """Learn every entry that has outliers anew without them."""
        subjects = put_together(self.folder, self.state, self.folds).subjects
        again: dict[str, FoldPlan] = {}
        for entry, plan in self.plans.items():
            outliers = outliers_of(subjects, entry) if plan.learns and entry not in self.state.failed else []
            if not outliers:
                continue
            name = f"{entry}, {WITHOUT}"
            try:
                folds = plan.folds.without(outliers)
            except DataError as error:
                self.tell(f"{title_of(name)} was left out. {error}")
                continue
            again[name] = replace(plan, folds=folds, folder=self.folder / name)
            self.folds[name] = []
            self.state = replace(self.state, derived={**self.state.derived, name: entry})
        if not again:
            self.state = replace(self.state, notes=(*self.state.notes, NO_OUTLIERS))
        for name, plan in again.items():
            for number in range(1, self.state.folds + 1):
                self.tell(f"Fold {number} of {self.state.folds}, {title_of(name)}")
                if self._is_stopping() and not plan.place(number).exists():
                    raise KeyboardInterrupt
                self._try(name, number, partial(_fold_of_others, plan, number))

    def read_finished(self) -> None:
        """Read the folds that were finished before and not come to again, so that they count."""
        for entry, plan in self.plans.items():
            known = {fold.number for fold in self.folds[entry]}
            for number in range(1, self.state.folds + 1):
                if number not in known and plan.place(number).exists() and entry not in self.state.failed:
                    self.folds[entry].append(read_fold(plan.place(number), number))

    def _is_stopping(self) -> bool:
        return any(plan.should_stop is not None and plan.should_stop() for plan in self.plans.values())

    def _try(self, entry: str, number: int, make: Callable[[], FoldResult]) -> None:
        """Do a fold of an entry unless an earlier one failed; note down why it fails."""
        if entry in self.state.failed:
            return
        try:
            self.folds[entry].append(make())
        except OutputError:  # the folder is everybody's
            raise
        except FAILURES as error:
            self.state = failing(self.state, entry, f"Fold {number}: {error}")
            self.tell(f"  {title_of(entry)} failed, and the others go on. {error}")


def _conclude(running: _Running, cases: Sequence[Case], structures: Sequence[Structure]) -> Comparison:
    """Put all together, with slices to look at, and write it."""
    write_state(running.folder, running.state)
    found = put_together(running.folder, running.state, running.folds)
    if found.is_finished and len(found.table):
        worst = choose_slices({entry: found.runs[entry] for entry in running.state.drawn}, cases, structures)
        write_side_by_side(running.folder, worst)
        found = replace(found, worst=worst)
    write_tables(found)
    write_pictures(found)
    return found
