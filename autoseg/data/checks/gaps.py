"""Structures that are missing in the middle of a volume, or of the slices of one subject."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from autoseg.data.checks.cohort import SAME_PLACE_MM, Cohort, Stack
from autoseg.data.checks.facts import Facts
from autoseg.data.checks.finding import Finding
from autoseg.image.structures import Structure
from autoseg.words import some

# Beside the gap the structure must have this share of its usual area: its ends come and go.
CLEAR_AREA = 0.3
# Where more than this share of volumes has gaps, the structure is one that comes and goes.
OFTEN = 0.2


@dataclass(frozen=True, eq=False)
class _Run:
    """Pixels of one structure along a volume or stack, and what lies there: a slice, or cases of one."""

    areas: npt.NDArray[np.int64]
    names: tuple[str, ...]
    facts: tuple[tuple[Facts, ...], ...]


def check_gaps(cohort: Cohort) -> Iterator[Finding]:
    """Find structures that are there before and behind a slice, but not on it."""
    for structure in cohort.structures:
        runs = [_of_volume(fact, structure) for fact in cohort.volumes if fact.origin.is_drawn(structure.label)]
        runs += [_of_stack(stack, structure) for stack in cohort.stacks if stack.positions_mm is not None]
        present = [run for run in runs if run.areas.any()]
        found = [(run, gap) for run in present if len(gap := _gap(run.areas))]
        natural = len(found) > max(1, OFTEN * len(present))
        for run, gap in found:
            yield _finding(run, gap, structure, natural=natural)


def _of_volume(fact: Facts, structure: Structure) -> _Run:
    label, slices = structure.label, fact.shape[0]
    areas = fact.counts[:, fact.values.index(label)] if label in fact.values else np.zeros(slices, np.int64)
    return _Run(areas, tuple(f"slice {index + 1}" for index in range(slices)), ((fact,),) * slices)


def _of_stack(stack: Stack, structure: Structure) -> _Run:
    """Take phases at one place together: there the structure is if any phase has it."""
    apart = np.diff(np.asarray(stack.positions_mm)) > SAME_PLACE_MM
    starts = [0, *(np.flatnonzero(apart) + 1).tolist(), len(stack.facts)]
    places = [stack.facts[start:stop] for start, stop in pairwise(starts)]
    places = [facts for facts in places if any(fact.origin.is_drawn(structure.label) for fact in facts)]
    areas = [max(fact.pixels.get(structure.label, 0) for fact in facts) for facts in places]
    names = (" and ".join(fact.origin.case_id for fact in facts) for facts in places)
    return _Run(np.array(areas, dtype=np.int64), tuple(names), tuple(places))


def _gap(areas: npt.NDArray[np.int64]) -> npt.NDArray[np.intp]:
    """Give the places without the structure between two that have plenty of it."""
    there = np.flatnonzero(areas >= CLEAR_AREA * np.median(areas[areas > 0]))
    absent = np.flatnonzero(areas == 0)
    return absent[(absent > there[0]) & (absent < there[-1])] if len(there) else absent[:0]


def _finding(run: _Run, gap: npt.NDArray[np.intp], structure: Structure, *, natural: bool) -> Finding:
    first = run.facts[int(gap[0])][0]
    cases = tuple(dict.fromkeys(fact.origin.case_id for place in gap.tolist() for fact in run.facts[place]))
    whose = first.origin.case_id if first.shape[0] > 1 else f"subject {first.origin.subject_id}"
    return Finding(
        "note" if natural else "warning",
        cases[0] if len(cases) == 1 else "",
        first.origin.label_path,
        f"{structure.name} is missing in the middle of {whose}: on {some([run.names[i] for i in gap.tolist()])}, "
        "but it is there before and behind.",
        "Draw it there; or if nothing was drawn on these slices, say so in annotated.csv or leave them out.",
        kind="gap",
        cause="Only some slices were drawn, or the structure comes and goes."
        if natural
        else "A slice was forgotten, or its drawing was not saved.",
        cases=cases,
        slice_index=int(gap[0]) if first.shape[0] > 1 else 0,
    )
