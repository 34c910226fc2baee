"""Values of labels: without a name, smeared, rare; structures that are empty, tiny, or drawn nowhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from autoseg.data.checks.facts import SAME_PLACE_MM, Cohort, Facts, Rim, Stack, finding_of
from autoseg.data.checks.finding import Finding
from autoseg.data.repairs import Repair, clear, relabel
from autoseg.image.structures import Structure
from autoseg.words import name_some

# One pixel more or less changes the area of so small a structure by a tenth.
SMALL_PIXELS = 10
# Above this share of label files without a structure, it was perhaps not drawn there.
OFTEN_ABSENT = 0.2
# A value without a name is smoothing if this share of its pixels lies on the border between two others …
RIM_SHARE = 0.5
# … and so many of them at once come from nothing else (a JPEG's have no order).
MANY_VALUES = 6
# Of a structure with a name hardly any pixel does: 0.02 at most in five hand-drawn sets, 0.08 and more if smoothed.
NAMED_RIM_SHARE = 0.05
NAMED_RIM_PIXELS = 20
# Fewer pixels in all cases together than this share of all labelled ones are a slip of the hand.
RARE_SHARE = 0.0005
RARE_PIXELS = 50


def check_values(fact: Facts, structures: Sequence[Structure]) -> Iterator[Finding]:
    """Find values of one case that have no name, that are smoothing, or that were not to be there."""
    names = {structure.label: structure.name for structure in structures}
    unknown = {value: count for value, count in fact.pixels.items() if value not in names}
    if unknown:
        yield _unknown_values(fact, unknown, structures)
    else:
        yield from _smeared_structures(fact, structures)
    case = fact.case
    undrawn = [names[value] for value in fact.values if value in names and not case.is_drawn(value)]
    if undrawn:
        yield finding_of(
            [fact],
            "error",
            f"annotated.csv says that {', '.join(undrawn)} was not drawn on {case.case_id}, but "
            f"{case.label_path} has it.",
            "Write 1 into annotated.csv, or remove the drawing.",
            kind="undrawn",
        )


def _unknown_values(fact: Facts, unknown: Mapping[int, int], structures: Sequence[Structure]) -> Finding:
    names = {structure.label: structure.name for structure in structures}
    size = fact.shape[0] * fact.shape[1] * fact.shape[2]
    listed = [f"{value} ({count} pixels, {count / size:.2%})" for value, count in unknown.items()]
    on_rims = sum(fact.rims[value].share * count for value, count in unknown.items()) / sum(unknown.values())
    smeared = on_rims > RIM_SHARE or len(unknown) >= MANY_VALUES
    return finding_of(
        [fact],
        "error",
        f"{fact.case.label_path} holds {len(unknown)} value(s) without a name: {name_some(listed)}. "
        f"Known: {names}.",
        "Add them to structures.csv, set them to 0, or save the labels without smoothed edges.",
        kind="rims" if smeared else "values",
        cause="The labels were smoothed, resized or saved as JPEG, which makes new values at borders."
        if smeared
        else "A structure that the table does not name, another numbering, or a slip while drawing.",
        repairs=(_rename(fact, unknown, structures, smeared=smeared),),
    )


def _rename(fact: Facts, unknown: Mapping[int, int], structures: Sequence[Structure], *, smeared: bool) -> Repair:
    """Propose names: the nearest for smoothing; what is absent, if as many are; else the background."""
    known = sorted(structure.label for structure in structures)
    if smeared:
        return relabel(fact.case_id, {v: min([0, *known], key=lambda name: abs(name - v)) for v in unknown})
    absent = [label for label in known if label not in fact.values]
    if len(unknown) == len(absent):
        return relabel(fact.case_id, dict(zip(sorted(unknown), absent, strict=True)))
    return relabel(fact.case_id, dict.fromkeys(unknown, 0))


def _smeared_structures(fact: Facts, structures: Sequence[Structure]) -> Iterator[Finding]:
    for structure in structures:
        rim = fact.rims.get(structure.label, Rim(0, 0.0, 0.0))
        # What includes another structure may be thin around it.
        smeared = rim.share > NAMED_RIM_SHARE and rim.between > RIM_SHARE and rim.pixels > NAMED_RIM_PIXELS
        if smeared and not structure.includes:
            yield finding_of(
                [fact],
                "warning",
                f"{rim.share:.0%} of {structure.name} (label {structure.label}) on {fact.case_id} is a thin "
                "rim between a lower and a higher value.",
                "Save the labels again at the image's own size, without interpolation (nearest neighbour).",
                kind="rims",
                cause="The labels were resized with interpolation: halfway between two labels lies a third.",
            )


def check_presence(cohort: Cohort) -> Iterator[Finding]:
    """Find label files that are empty, and structures that are tiny, rare, often absent, or drawn nowhere."""
    facts = cohort.facts
    empty = [f.case_id for f in facts if not f.values and f.case.annotated != frozenset()]
    if empty:
        yield Finding(
            "warning",
            empty[0] if len(empty) == 1 else "",
            cohort.folder,
            f"{len(empty)} of {len(facts)} label files are empty: {name_some(empty)}.",
            "If nothing is to be seen there, all is well. If nothing was drawn, move these cases away.",
            kind="empty",
            cause="Nothing was to be drawn, or the drawing was not saved.",
            cases=tuple(empty),
        )
    for structure in cohort.structures:
        yield from _check_structure(cohort, structure)


def _check_structure(cohort: Cohort, structure: Structure) -> Iterator[Finding]:
    facts, name = cohort.facts, structure.name
    drawn = [fact for fact in facts if fact.case.is_drawn(structure.label)]
    present = {fact.case_id: fact.pixels[structure.label] for fact in drawn if structure.label in fact.values}
    absent = len(drawn) - len(present)
    if not present and facts:
        yield Finding(
            "error",
            "",
            cohort.folder,
            f"{name} (label {structure.label}) is drawn on no case, so it cannot be learnt.",
            "Remove it from structures.csv, or draw it on some cases.",
            kind="never",
            label=structure.label,
        )
    elif absent >= OFTEN_ABSENT * len(facts) and all(fact.case.is_open(structure.label) for fact in facts):
        yield Finding(
            "warning",
            "",
            cohort.folder,
            f"{name} is absent from {absent} of {len(facts)} label files: not drawn, or not "
            "there? What was not drawn would be learnt as absent.",
            f"If it was not drawn, say so in {cohort.folder / 'annotated.csv'}: columns case_id and the "
            "names of the structures, 1 = drawn, 0 = not drawn.",
            kind="absent",
            cases=tuple(fact.case_id for fact in drawn if structure.label not in fact.values),
            label=structure.label,
        )
    everything = sum(sum(fact.pixels.values()) for fact in facts)
    total = sum(present.values())
    if present and total < min(RARE_PIXELS, RARE_SHARE * everything):
        yield Finding(
            "warning",
            next(iter(present)) if len(present) == 1 else "",
            cohort.folder,
            f"{name} (label {structure.label}) has {total} pixel(s) in all {len(facts)} cases together: "
            f"{name_some(list(present))}. That is too little to be learnt, or a slip while drawing.",
            "Look at these pixels. If they are a slip, remove them; else leave the structure out.",
            kind="rare",
            cause="A stray click, or a value that a program left behind.",
            cases=tuple(present),
            label=structure.label,
            repairs=tuple(clear(case_id, structure.label) for case_id in present),
        )
        return
    yield from _check_small(cohort, structure, present)


def _check_small(cohort: Cohort, structure: Structure, present: Mapping[str, int]) -> Iterator[Finding]:
    """Find cases on which a structure is so small that its area is uncertain; `present` are its pixels by case."""
    small = sorted((count, case_id) for case_id, count in present.items() if count < SMALL_PIXELS)
    if small:
        yield Finding(
            "warning",
            small[0][1] if len(small) == 1 else "",
            cohort.folder,
            f"{structure.name} is smaller than {SMALL_PIXELS} pixels on {len(small)} case(s): "
            f"{name_some([f'{case_id} ({count})' for count, case_id in small])}.",
            "Look for stray pixels; areas so small are uncertain by a tenth and more.",
            kind="small",
            cause="A stray click, or the end of the structure.",
            cases=tuple(case_id for _, case_id in small),
            label=structure.label,
        )


# --- structures that are missing in the middle of a volume, or of the slices of one subject

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
        runs = [_of_volume(fact, structure) for fact in cohort.volumes if fact.case.is_drawn(structure.label)]
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
    places = [facts for facts in places if any(fact.case.is_drawn(structure.label) for fact in facts)]
    areas = [max(fact.pixels.get(structure.label, 0) for fact in facts) for facts in places]
    names = (" and ".join(fact.case_id for fact in facts) for facts in places)
    return _Run(np.array(areas, dtype=np.int64), tuple(names), tuple(places))


def _gap(areas: npt.NDArray[np.int64]) -> npt.NDArray[np.intp]:
    """Give the places without the structure between two that have plenty of it."""
    there = np.flatnonzero(areas >= CLEAR_AREA * np.median(areas[areas > 0]))
    absent = np.flatnonzero(areas == 0)
    return absent[(absent > there[0]) & (absent < there[-1])] if len(there) else absent[:0]


def _finding(run: _Run, gap: npt.NDArray[np.intp], structure: Structure, *, natural: bool) -> Finding:
    first = run.facts[int(gap[0])][0]
    cases = tuple(dict.fromkeys(fact.case_id for place in gap.tolist() for fact in run.facts[place]))
    whose = first.case_id if first.shape[0] > 1 else f"subject {first.case.subject_id}"
    return Finding(
        "note" if natural else "warning",
        cases[0] if len(cases) == 1 else "",
        first.case.label_path,
        f"{structure.name} is missing in the middle of {whose}: on "
        f"{name_some([run.names[i] for i in gap.tolist()])}, but it is there before and behind.",
        "Draw it there; or if nothing was drawn on these slices, say so in annotated.csv or leave them out.",
        kind="gap",
        cause="Only some slices were drawn, or the structure comes and goes."
        if natural
        else "A slice was forgotten, or its drawing was not saved.",
        cases=cases,
        slice_index=int(gap[0]) if first.shape[0] > 1 else 0,
    )
