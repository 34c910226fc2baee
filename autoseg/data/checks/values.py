"""Values of labels: without a name, smeared, rare; structures that are empty, tiny, or drawn nowhere."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from autoseg.data.checks.anatomy import match_names
from autoseg.data.checks.facts import SAME_PLACE_MM, WITNESSES, Cohort, Facts, Rim, Stack, finding_of
from autoseg.data.checks.finding import Finding, Severity
from autoseg.data.repairs import Repair, clear, leave_out_slices, relabel
from autoseg.errors import private
from autoseg.image.structures import Structure, name_list
from autoseg.words import are, counted, listed, name_private, name_some

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
# Smoothing is mended by the nearest name where this share of pixels lies within this part of the way to it.
MOSTLY, NEAR = 0.6, 0.25
# Fewer pixels in all cases together than this share of all labelled ones are a slip of the hand.
RARE_SHARE = 0.0005
RARE_PIXELS = 50
# Of one case, a share that a slip leaves.
SLIP_SHARE = 0.03


def check_values(cohort: Cohort) -> Iterator[Finding]:
    """Find values that have no name, that are smoothing, or that were not to be there."""
    names = cohort.names
    for fact in cohort.facts:
        unknown = {value: count for value, count in fact.pixels.items() if value not in names}
        if unknown:
            yield _unknown_values(cohort, fact, unknown)
        else:
            yield from _smeared_structures(fact, cohort.structures)
        case = fact.case
        odd = [value for value in fact.values if value in names and not case.is_drawn(value)]
        undrawn = [names[value] for value in odd]
        if undrawn:
            where = _slice_with(fact, odd)
            yield finding_of(
                [fact],
                "error",
                f"annotated.csv says that {listed(undrawn)} {'was' if len(undrawn) == 1 else 'were'} not drawn on "
                f"{private(case.case_id)}, but {private(case.label_on(where))} has "
                f"{'it' if len(undrawn) == 1 else 'them'}.",
                "Write 1 into annotated.csv, or remove the drawing.",
                kind="undrawn",
                slice_index=where,
            )


def _slice_with(fact: Facts, values: Iterable[int]) -> int:
    """Give the slice that has most of these values."""
    columns = [fact.values.index(value) for value in values]
    return int(fact.counts[:, columns].sum(axis=1).argmax())


def _unknown_values(cohort: Cohort, fact: Facts, unknown: Mapping[int, int]) -> Finding:
    size = fact.shape[0] * fact.shape[1] * fact.shape[2]
    shown = [f"{value} ({counted(count, 'pixel')}, {count / size:.2%})" for value, count in unknown.items()]
    on_rims = sum(fact.rims[value].share * count for value, count in unknown.items()) / sum(unknown.values())
    smeared = on_rims > RIM_SHARE or len(unknown) >= MANY_VALUES
    where = _slice_with(fact, unknown)
    return finding_of(
        [fact],
        "error",
        f"{private(fact.case.label_on(where))} holds {counted(len(unknown), 'value')} without a name: "
        f"{name_some(shown)}. "
        f"Known: {name_list(cohort.names)}.",
        "Add them to structures.csv, set them to 0, or save the labels without smoothed edges.",
        kind="rims" if smeared else "values",
        cause="The labels were smoothed, resized or saved as JPEG, which makes new values at borders."
        if smeared
        else "A structure that the table does not name, another numbering, or a slip while drawing.",
        repairs=_rename(cohort, fact, unknown, smeared=smeared),
        slice_index=where,
    )


def _rename(cohort: Cohort, fact: Facts, unknown: Mapping[int, int], *, smeared: bool) -> tuple[Repair, ...]:
    """Propose names: the nearest for smoothing; for another numbering what looks alike in the other cases.

    A few surplus pixels become background; of more than that nobody knows what they are, and nothing is proposed.
    """
    known = sorted(cohort.names)
    if smeared:
        nearest = {v: min([0, *known], key=lambda name: abs(name - v)) for v in unknown}
        apart = min(b - a for a, b in pairwise([0, *known]))
        close = sum(count for v, count in unknown.items() if abs(nearest[v] - v) <= NEAR * apart)
        # Between two structures, as resizing leaves it, the nearest name may be a third one's.
        told = len(known) == 1 or close >= MOSTLY * sum(unknown.values())
        return (relabel(fact.case_id, nearest),) if told else ()
    absent = [label for label in known if label not in fact.values]
    if len(unknown) == len(absent):
        names = match_names(cohort, fact, sorted(unknown), absent)
        return (relabel(fact.case_id, names),) if names else ()
    if sum(unknown.values()) < min(RARE_PIXELS, SLIP_SHARE * sum(fact.pixels.values())):
        return (relabel(fact.case_id, dict.fromkeys(unknown, 0)),)
    return ()


def check_surrounding(cohort: Cohort) -> Iterator[Finding]:
    """Find masks that are inside out: a structure lies all round the image, and 0 in its middle."""
    wrong: dict[int, list[Facts]] = defaultdict(list)
    for fact in cohort.facts:
        if fact.surrounding is not None:
            wrong[fact.surrounding].append(fact)
    right = len(cohort.facts) - sum(map(len, wrong.values()))
    for value, facts in wrong.items():
        groups = [facts] if len(facts) > right else [[fact] for fact in facts]
        heard = max(right, len(facts) if len(facts) > right else 0) >= WITNESSES
        yield from (_inside_out(cohort, value, group, heard=heard) for group in groups)


def _inside_out(cohort: Cohort, value: int, facts: Sequence[Facts], *, heard: bool) -> Finding:
    name = cohort.names.get(value, f"value {value}")
    mended = heard and all(fact.values == (value,) for fact in facts)
    which = private(facts[0].case_id) if len(facts) == 1 else counted(len(facts), "case")
    return finding_of(
        facts,
        "warning",
        f"On {which} {name} lies all round the image and leaves its middle free, as if the mask were inside out.",
        "Look at the picture. If so, "
        + (
            f"keep the proposed repair, which exchanges {name} and the background."
            if mended
            else "save the labels again with 0 for the background."
        ),
        kind="inverted",
        cause="The program saved the background with a number, and what was drawn as 0.",
        label=value if value in cohort.names else None,
        repairs=tuple(relabel(fact.case_id, {0: value, value: 0}) for fact in facts) if mended else (),
    )


def _smeared_structures(fact: Facts, structures: Sequence[Structure]) -> Iterator[Finding]:
    for structure in structures:
        rim = fact.rims.get(structure.label, Rim(0, 0.0, 0.0))
        # What includes another structure may be thin around it; structures in files of their own are not smeared.
        smeared = rim.share > NAMED_RIM_SHARE and rim.between > RIM_SHARE and rim.pixels > NAMED_RIM_PIXELS
        if smeared and not structure.includes and not fact.case.labels[0].binary:
            yield finding_of(
                [fact],
                "warning",
                f"{rim.share:.0%} of {structure.name} (label {structure.label}) on {private(fact.case_id)} is a "
                "thin "
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
            f"{len(empty)} of {counted(len(facts), 'label file')} {are(len(empty))} empty: {name_private(empty)}.",
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
    pixels = {fact.case_id: int(fact.areas_of(structure).sum()) for fact in drawn}
    present = {case_id: count for case_id, count in pixels.items() if count}
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
            f"{name} is absent from {absent} of {counted(len(facts), 'label file')}: not drawn, or not "
            "there? What was not drawn would be learnt as absent.",
            "Say which: in the notebook by the answers beside this, on the command line with --not-drawn "
            f"'{name}' or --not-there '{name}', or in {cohort.folder / 'annotated.csv'} (columns case_id and the "
            "names of the structures, 1 = drawn, 0 = not drawn).",
            kind="absent",
            cases=tuple(case_id for case_id, count in pixels.items() if not count),
            label=structure.label,
        )
    everything = sum(sum(fact.pixels.values()) for fact in facts)
    total = sum(present.values())
    if present and total < min(RARE_PIXELS, RARE_SHARE * everything):
        yield Finding(
            "warning",
            next(iter(present)) if len(present) == 1 else "",
            cohort.folder,
            f"{name} (label {structure.label}) has {counted(total, 'pixel')} in {counted(len(facts), 'case')}: "
            f"{name_private(present)}. That is too little to be learnt, or a slip while drawing.",
            "Look at these pixels. If they are a slip, remove them; else leave the structure out.",
            kind="rare",
            cause="A stray click, or a value that a program left behind.",
            cases=tuple(present),
            label=structure.label,
            repairs=tuple(clear(case_id, structure.label) for case_id in present)
            if len(facts) - len(present) >= WITNESSES
            else (),
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
            f"{structure.name} is smaller than {SMALL_PIXELS} pixels on {counted(len(small), 'case')}: "
            f"{name_some([f'{private(case_id)} ({count})' for count, case_id in small])}.",
            "Look for stray pixels; areas so small are uncertain by a tenth and more.",
            kind="small",
            cause="A stray click, or the end of the structure.",
            cases=tuple(case_id for _, case_id in small),
            label=structure.label,
        )


# --- slices that were left out while drawing: within a volume, or among the slices of one subject

# Beside the gap the structure must have this share of its usual area: its ends come and go.
CLEAR_AREA = 0.3
# Where more than this share of patients has gaps that taper off, or so many each, the structure comes and goes.
OFTEN, MANY_GAPS = 0.2, 3
# Where a structure reaches both ends of the stack in this share of the other patients, and is cut off in this share
# of its usual size in one, the slices behind were not drawn.
REACHING, CUT_OFF = 0.8, 0.7


@dataclass(frozen=True, eq=False)
class _Run:
    """Pixels of one structure along a volume or stack, and what lies there: a slice, or cases of one."""

    areas: npt.NDArray[np.int64]
    names: tuple[str, ...]
    facts: tuple[tuple[Facts, ...], ...]

    @cached_property
    def gap(self) -> npt.NDArray[np.intp]:
        """The places without the structure between two that have plenty of it."""
        there, absent = np.flatnonzero(self._clear), np.flatnonzero(self.areas == 0)
        return absent[(absent > there[0]) & (absent < there[-1])] if len(there) else absent[:0]

    @property
    def reaches_ends(self) -> bool:
        """Whether there is plenty of the structure on the first and on the last place."""
        return bool(self._clear[0] and self._clear[-1])

    @cached_property
    def behind(self) -> npt.NDArray[np.intp]:
        """The places before and behind the structure, where it ends at its usual size."""
        there = np.flatnonzero(self._clear)
        sizes = self.areas[there]
        ends = sizes[[0, -1]] >= CUT_OFF * np.median(sizes) if len(there) else (False, False)
        places = [np.arange(there[0])] * bool(ends[0])
        places += [np.arange(there[-1] + 1, len(self.areas))] * bool(ends[1])
        return np.concatenate([there[:0], *places])

    @property
    def is_tapered(self) -> bool:
        """Whether the structure comes and goes: it grows small before a gap, or has many of them."""
        edges = [place for gap in _pieces(self.gap) for place in (gap[0] - 1, gap[-1] + 1)]
        return len(edges) >= 2 * MANY_GAPS or not all(self._clear[place] for place in edges)

    @cached_property
    def _clear(self) -> npt.NDArray[np.bool_]:
        drawn = self.areas[self.areas > 0]
        return self.areas >= max(1.0, CLEAR_AREA * float(np.median(drawn))) if len(drawn) else self.areas > 0


def check_gaps(cohort: Cohort) -> Iterator[Finding]:
    """Find structures that were left undrawn on a few slices of a patient who has them on the neighbours.

    What comes and goes in many patients is only noted. Where only every second slice (third …) has drawings, or
    fewer, this is said once for the whole volume.
    """
    sparse = {fact for fact in cohort.volumes if _step(fact) > 1}
    for fact in cohort.volumes:
        if fact in sparse:
            yield _sparse(fact)
    for structure in cohort.structures:
        label = structure.label
        runs = [_of_volume(fact, structure) for fact in cohort.volumes if fact not in sparse]
        runs = [run for run in runs if run.facts[0][0].case.is_open(label)]
        stacks = [stack for stack in cohort.stacks if len(stack.facts) > 2]
        runs += [_of_stack(stack, structure) for stack in stacks]
        present = [run for run in runs if run.areas.any()]
        natural = sum(run.is_tapered for run in present if len(run.gap)) > max(1, OFTEN * len(present))
        yield from (_missing(run, structure, natural=natural or run.is_tapered) for run in present if len(run.gap))
        reaching = sum(run.reaches_ends for run in present)
        for run in present:
            others = len(present) - 1  # of which a run that is cut off is none
            if len(run.behind) and others >= WITNESSES and reaching >= REACHING * others:
                yield _cut_off(run, structure, reaching, others)


def _step(fact: Facts) -> int:
    """Give the step between the drawn slices of a volume, 1 if it is not always the same."""
    steps = np.unique(np.diff(fact.drawn))
    return int(steps[0]) if len(steps) == 1 and len(fact.drawn) > 2 else 1


def _sparse(fact: Facts) -> Finding:
    between, first = int(fact.drawn[0]) + 1, fact.case.first_slice
    where = f"{counted(len(fact.drawn), 'slice')} from {fact.drawn[0] + first} to {fact.drawn[-1] + first}"
    return finding_of(
        [fact],
        "warning",
        f"On {private(fact.case_id)} only one slice in {_step(fact)} has drawings ({where}). The slices between "
        "would be "
        "learnt as empty.",
        "If nothing was drawn between, leave these slices out.",
        kind="gap",
        cause="Only some slices were drawn, to save work.",
        repairs=(_leave_out(fact, np.setdiff1d(np.arange(fact.shape[0]), fact.drawn)),),
        slice_index=between,
        beside=(fact.case_id, between - 1),
    )


def _leave_out(fact: Facts, places: npt.NDArray[np.intp]) -> Repair:
    """Leave out places of a volume, which are counted in the whole stack."""
    before = fact.case.first_slice - 1
    return leave_out_slices(fact.case.whole_id, (places + before).tolist(), of=before + fact.shape[0])


def _pieces(places: npt.NDArray[np.intp]) -> list[npt.NDArray[np.intp]]:
    """Cut rising places where they do not follow each other."""
    return [part for part in np.split(places, np.flatnonzero(np.diff(places) > 1) + 1) if len(part)]


def _of_volume(fact: Facts, structure: Structure) -> _Run:
    names = tuple(f"slice {index + fact.case.first_slice}" for index in range(fact.shape[0]))
    return _Run(fact.areas_of(structure), names, ((fact,),) * fact.shape[0])


def _of_stack(stack: Stack, structure: Structure) -> _Run:
    """Take phases at one place together: there the structure is if any phase has it."""
    apart = np.diff(np.asarray(stack.places)) > SAME_PLACE_MM
    starts = [0, *(np.flatnonzero(apart) + 1).tolist(), len(stack.facts)]
    places = [stack.facts[start:stop] for start, stop in pairwise(starts)]
    places = [facts for facts in places if any(fact.case.is_open(structure.label) for fact in facts)]
    areas = [max(int(fact.areas_of(structure).sum()) for fact in facts) for facts in places]
    names = (" and ".join(private(fact.case_id) for fact in facts) for facts in places)
    return _Run(np.array(areas, dtype=np.int64), tuple(names), tuple(places))


def _missing(run: _Run, structure: Structure, *, natural: bool) -> Finding:
    def problem(whose: str, where: str) -> str:
        return (
            f"{structure.name} is missing in the middle of {whose}: on {where}, but it is there before and behind."
        )

    if natural:
        cause = "Only some slices were drawn, or the structure comes and goes."
        return _on_places(run, run.gap, structure, "note", problem, cause)
    cause = "A slice was forgotten, or its drawing was not saved."
    return _on_places(run, run.gap, structure, "warning", problem, cause)


def _cut_off(run: _Run, structure: Structure, reaching: int, others: int) -> Finding:
    def problem(whose: str, where: str) -> str:
        return (
            f"{structure.name} is cut off on {whose}: it is not drawn on {where}, though it has its usual size "
            f"before and reaches both ends of the stack in {reaching} of {counted(others, 'other')}. These slices "
            "would be learnt and scored as empty."
        )

    cause = "Nobody drew on the last slices, or the structure ends there."
    return _on_places(run, run.behind, structure, "warning", problem, cause)


def _on_places(
    run: _Run,
    places: npt.NDArray[np.intp],
    structure: Structure,
    severity: Severity,
    problem: Callable[[str, str], str],
    cause: str,
) -> Finding:
    """Give a finding about places without a structure, beside the nearest place with it.

    `problem` says what is wrong, given whose places these are, and which.
    """
    first = run.facts[int(places[0])][0]
    cases = tuple(dict.fromkeys(fact.case_id for place in places.tolist() for fact in run.facts[place]))
    whose = private(first.case_id) if first.shape[0] > 1 else private(first.case.subject_id)
    there = np.setdiff1d(np.flatnonzero(run.areas), places)
    beside = int(there[np.abs(there - places[0]).argmin()])
    return Finding(
        severity,
        cases[0] if len(cases) == 1 else "",
        first.case.label_path,
        problem(whose, name_some([run.names[place] for place in places.tolist()])),
        "Look at the picture, beside it a neighbour. If it is to be seen there, draw it, or leave the slices out.",
        kind="gap",
        cause=cause,
        cases=cases,
        slice_index=int(places[0]) if first.shape[0] > 1 else 0,
        label=structure.label,
        beside=(run.facts[beside][0].case_id, beside if first.shape[0] > 1 else 0),
        repairs=(_leave_out(first, places),) if first.shape[0] > 1 else (),
    )
