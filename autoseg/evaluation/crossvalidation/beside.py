"""Folds that workers learn beside each other, with the same code and seeds as one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from autoseg.errors import Told, private
from autoseg.evaluation.crossvalidation.events import FoldEvent
from autoseg.evaluation.crossvalidation.request import FoldPlan
from autoseg.model.device.cluster import Desk, Done, Team
from autoseg.training.events import Event, Finder, Note, OnEvent


@dataclass(frozen=True)
class FoldJob:
    """A fold (from 1) of an entry; 0 stands for the centrelines of all its folds, which come first."""

    entry: str
    number: int

    def __str__(self) -> str:
        return f"fold {self.number} of {self.entry}" if self.number else f"the centrelines of {self.entry}"


def do_jobs(
    team: Team,
    plans: Mapping[str, FoldPlan],
    jobs: Sequence[FoldJob],
    work: Callable[[FoldPlan, int], object],
    *,
    on_event: OnEvent,
    should_stop: Callable[[], bool] | None = None,
) -> Iterator[Done[FoldJob]]:
    """Do `work`, a function of a module, for some folds, and give each when it is done.

    Their lines name the fold, since those of several are told in turn. Finders of centrelines learn before, once.
    """
    shared = {entry: _packed(plan) for entry, plan in plans.items()}, work

    def hear(job: FoldJob, event: Event) -> None:
        on_event(_named(event, job, several=len(plans) > 1))

    def again(job: FoldJob) -> None:
        on_event(Note(f"Whoever was at {job} is gone; it begins again, with what was kept."))

    do = partial(team.do, _do, shared, hear=hear, again=again, should_stop=should_stop)
    folders: dict[Path, FoldJob] = {}  # entries that learn from as many subjects have the same centrelines
    for job in jobs:
        plan = plans[job.entry]
        if plan.centrelines is not None and plan.finds_centrelines:
            folders.setdefault(plan.centrelines.folder, FoldJob(job.entry, 0))
    for done in do(list(folders.values())):
        done.get()
    yield from do(jobs)


def _nobody(event: Event) -> None:
    """Hear an event of what is on its way."""


def _packed(plan: FoldPlan) -> FoldPlan:
    """Give a plan without those who hear of it here."""
    return _heard(plan, _nobody, None)


def _heard(plan: FoldPlan, on_event: OnEvent, should_stop: Callable[[], bool] | None) -> FoldPlan:
    lines = plan.centrelines
    if lines is not None:
        lines = replace(lines, on_event=on_event, should_stop=should_stop)
    return replace(plan, on_event=on_event, should_stop=should_stop, centrelines=lines)


def _do(
    shared: tuple[Mapping[str, FoldPlan], Callable[[FoldPlan, int], object]], job: FoldJob, desk: Desk
) -> object:
    """Do a fold on a worker."""
    plans, work = shared
    plan = _heard(plans[job.entry], desk.tell, desk.should_stop)
    if job.number == 0:
        plan.inputs(1)
        return None
    if plan.centrelines is not None:  # of which the job before has told
        plan = replace(plan, centrelines=replace(plan.centrelines, on_event=_nobody))
    return work(plan, job.number)


def _named(event: Event, job: FoldJob, *, several: bool) -> Event:
    """Give an event whose line says of which fold it is."""
    who = f"Fold {job.number}" if job.number else "Centrelines"
    front = f"{who}{f', {job.entry}' if several else ''}: "
    if isinstance(event, Finder) or not str(event):
        return event
    if isinstance(event, Note):
        return Note(_after(front, event.words))
    if isinstance(event, FoldEvent) and not event.line.startswith("Fold"):
        return replace(event, line=_after(front, event.line))
    return event


def _after(front: str, words: str) -> Told:
    """Give words behind others; what is private in them stays so."""
    named = words.named(private) if isinstance(words, Told) else words
    return Told(f"{front}{named.lstrip()}")
