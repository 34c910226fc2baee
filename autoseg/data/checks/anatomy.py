"""Structures that are not what they are in the other cases: exchanged, apart, out of place, of another size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set

import numpy as np
from scipy.optimize import linear_sum_assignment

from autoseg.data.checks.facts import MAD, SAME_PLACE_MM, WITNESSES, Cohort, Facts, Floats, finding_of, usual
from autoseg.data.checks.finding import Finding
from autoseg.data.repairs import relabel
from autoseg.errors import private
from autoseg.image.geometry import pixel_area_mm2, spacing_from_affine
from autoseg.words import name_private, name_some

# With fewer cases nobody knows what is usual.
LEAST_CASES = 5
# Deviations below these are everybody's: log share, brightness (rank), log spread, and three places over the size.
LEAST = np.array([0.2, 0.05, 0.1, 0.05, 0.05, 0.05])
# One feature alone does not decide: deviations count up to this many standard deviations.
CAPPED = 8.0
# Renaming must bring structures nearer to their usual self by so many standard deviations (mean over the features):
# hand-drawn cases reach 0.5, exchanged ones have 1.3 to 2.6 but for the very ends of a structure …
PERMUTED_MARGIN = 0.9
# … and must leave them as usual as most are.
PERMUTED_REST = 2.0
# A repair is proposed only if no feature of a renamed structure is odd by so many standard deviations.
PERMUTED_ODD = 4.0
# Structures that usually touch along half their border and more, and here along so much less, lie apart.
TOUCHING, APART, APART_DEVIATIONS = 0.5, 0.3, 6.0
# An area differs by this factor and so many standard deviations, a place by this share of the structure's extent.
OTHER_AREA, AREA_DEVIATIONS = 3.0, 4.0
OTHER_PLACE, PLACE_DEVIATIONS = 0.5, 6.0


def check_anatomy(cohort: Cohort, *, leave_out: Set[str] = frozenset()) -> Iterator[Finding]:
    """Find structures whose names are exchanged, that lie apart, and that are unusual in place.

    `leave_out` are cases that were found to be displaced as a whole; the others tell what is usual.
    """
    labels = tuple(structure.label for structure in cohort.structures)
    facts = [fact for fact in _comparable(cohort) if fact.case_id not in leave_out]
    if not facts:
        return
    in_patient = all(fact.affine is not None for fact in facts)
    table = np.stack([describe(fact, labels, in_patient=in_patient) for fact in facts])
    middle, deviation = usual(table, least=LEAST)
    told: set[str] = set()
    for fact, described in zip(facts, table, strict=True):
        if (found := _best_names(described, middle, deviation)) is not None:
            mapping, gain, sure = found
            yield _permuted(cohort, fact, {labels[i]: labels[j] for i, j in mapping.items()}, gain, sure=sure)
            told.add(fact.case_id)
    apart = list(_apart(cohort, [fact for fact in facts if fact.case_id not in told], labels))
    yield from apart
    told.update(case_id for finding in apart for case_id in finding.cases)
    rest = [number for number, fact in enumerate(facts) if fact.case_id not in told]
    if rest:
        yield from _unusual_places(cohort, [facts[number] for number in rest], labels, in_patient=in_patient)


def find_apart(cohort: Cohort) -> frozenset[str]:
    """Give the cases on which structures lie apart that usually touch, wherever they lie together."""
    labels = tuple(structure.label for structure in cohort.structures)
    facts = _comparable(cohort)
    found = _apart(cohort, facts, labels) if facts else ()
    return frozenset(case_id for finding in found for case_id in finding.cases)


def _comparable(cohort: Cohort) -> list[Facts]:
    """Give the cases with labels; none if they are few, or of two subjects: nobody knows which one is usual."""
    facts = [fact for fact in cohort.facts if fact.values]
    # The slices of one subject are like each other.
    return [] if len(facts) < LEAST_CASES or len({fact.case.subject_id for fact in facts}) == 2 else facts


def describe(fact: Facts, labels: Sequence[int], *, in_patient: bool) -> Floats:
    """Describe each structure of a case by numbers that do not depend on the image's size, shape (structures, 6).

    The logarithm of its share of all labelled pixels, its brightness, the logarithm of its spread, and the place of
    its centre from that of all labels over the square root of the labelled area of a slice, in the patient's axes
    or along slices, rows and columns. NaN if absent.
    """
    weights = fact.counts.sum(axis=0)
    centres, _ = _centres(fact, in_patient=in_patient)
    offsets = centres - (centres * weights[:, None]).sum(axis=0) / weights.sum()
    area = weights.sum() / len(fact.drawn)
    if in_patient and fact.affine is not None:
        area *= pixel_area_mm2(fact.affine)
    spread = np.nansum(fact.spreads * fact.counts, axis=0) / weights
    bright = np.nansum(fact.brightness * fact.counts, axis=0) / weights
    # A single pixel has no spread; half a pixel's is taken.
    spread = np.log(np.maximum(spread, 1 / 12))
    table = np.column_stack([np.log(weights / weights.sum()), bright, spread, offsets / np.sqrt(area)])
    table = np.vstack([table, np.full(table.shape[1], np.nan)])
    return table[[fact.values.index(label) if label in fact.values else -1 for label in labels]]


def match_names(cohort: Cohort, fact: Facts, values: Sequence[int], labels: Sequence[int]) -> dict[int, int] | None:
    """Give the structure that each value of a case looks like in the other cases; None where that is not clear."""
    others = [other for other in cohort.facts if other.case_id != fact.case_id and set(labels) <= set(other.values)]
    if len(others) < WITNESSES:
        return None
    in_patient = all(one.affine is not None for one in (fact, *others))
    middle, deviation = usual(
        np.stack([describe(one, labels, in_patient=in_patient) for one in others]), least=LEAST
    )
    apart = np.abs(describe(fact, values, in_patient=in_patient)[:, None] - middle[None]) / deviation[None]
    costs = np.minimum(apart, CAPPED).mean(axis=2)
    rows, columns = linear_sum_assignment(costs)
    chosen = costs[rows, columns]
    exchanged = costs.copy()
    exchanged[rows, columns] = np.inf
    is_clear = exchanged.min(axis=1) - chosen > PERMUTED_MARGIN
    if chosen.max() > PERMUTED_REST or not is_clear.all():
        return None
    return {values[row]: labels[column] for row, column in zip(rows.tolist(), columns.tolist(), strict=True)}


def fits_others(cohort: Cohort, fact: Facts, mapping: dict[int, int]) -> bool:
    """Tell whether the structures of a case look like those of the other cases once they are renamed."""
    labels = tuple(mapping.get(value, value) for value in fact.values)
    others = [other for other in cohort.facts if other is not fact and set(labels) <= set(other.values)]
    if len(others) < WITNESSES:
        return False
    in_patient = all(one.affine is not None for one in (fact, *others))
    middle, deviation = usual(
        np.stack([describe(one, labels, in_patient=in_patient) for one in others]), least=LEAST
    )
    apart = np.abs(describe(fact, fact.values, in_patient=in_patient) - middle) / deviation
    return bool(np.nanmax(apart) < PERMUTED_ODD)


def _best_names(table: Floats, middle: Floats, deviation: Floats) -> tuple[dict[int, int], float, bool] | None:
    """Give the renaming (as places in the list of labels) that suits the structures better, and the gain.

    The third tells whether nothing about the renamed structures is odd any more.

    Source: the assignment of least cost (Kuhn, 1955).
    """
    present = np.flatnonzero(~np.isnan(table[:, 0]))
    known = np.flatnonzero(~np.isnan(middle[:, 0]))
    apart = np.abs(table[present][:, None] - middle[known][None]) / deviation[known][None]
    costs = np.minimum(apart, CAPPED).mean(axis=2)
    rows, columns = linear_sum_assignment(costs)
    moved = [(row, column) for row, column in zip(rows, columns, strict=True) if present[row] != known[column]]
    own = {int(label): place for place, label in enumerate(known)}
    if not moved or any(int(present[row]) not in own for row, _ in moved):
        return None
    before = float(np.mean([costs[row, own[int(present[row])]] for row, _ in moved]))
    after = float(np.mean([costs[row, column] for row, column in moved]))
    if before - after < PERMUTED_MARGIN or after > PERMUTED_REST:
        return None
    sure = max(float(np.nanmax(apart[row, column])) for row, column in moved) < PERMUTED_ODD
    return {int(present[row]): int(known[column]) for row, column in moved}, before - after, sure


def _permuted(cohort: Cohort, fact: Facts, mapping: dict[int, int], gain: float, *, sure: bool) -> Finding:
    names = cohort.names
    return finding_of(
        [fact],
        "warning",
        f"The structures of {private(fact.case_id)} seem to have each other's numbers: "
        f"{name_some([f'{names[old]} ({old}) looks like {names[new]} ({new})' for old, new in mapping.items()])} "
        f"in the other cases (by {gain:.1f} standard deviations in place, size and brightness).",
        "Look at the picture. If so, "
        + ("keep the proposed repair, which renames the values." if sure else "give them their own numbers."),
        kind="permuted",
        cause="Another program or person numbers the structures in another order.",
        repairs=(relabel(fact.case_id, mapping),) if sure else (),
    )


def _apart(cohort: Cohort, facts: Sequence[Facts], labels: Sequence[int]) -> Iterator[Finding]:
    """Find structures that usually touch and do not here: one of them lies beside its place."""
    touching = np.full((len(facts), len(labels), len(labels)), np.nan)
    for number, fact in enumerate(facts):
        places = [(i, fact.values.index(label)) for i, label in enumerate(labels) if label in fact.values]
        ours, theirs = [i for i, _ in places], [j for _, j in places]
        touching[number][np.ix_(ours, ours)] = fact.touching[np.ix_(theirs, theirs)]
    middle, deviation = usual(touching, least=0.05)
    less = middle - touching
    found = (middle > TOUCHING) & (less > APART) & (less > APART_DEVIATIONS * deviation)
    for one, two in np.argwhere(found.any(axis=0)).tolist():
        cases = [fact for fact, is_apart in zip(facts, found[:, one, two], strict=True) if is_apart]
        shares = touching[found[:, one, two], one, two]
        first, second = (cohort.structures[place].name for place in (one, two))
        yield finding_of(
            cases,
            "warning",
            f"{first} and {second} lie beside each other on {name_private(fact.case_id for fact in cases)}: "
            f"only {shares.min():.0%} to {shares.max():.0%} of the border of {first} touches {second}, where it is "
            f"{middle[one, two]:.0%} in most cases.",
            f"Look which of the two lies beside its place. Draw it again, or write 0 for it into "
            f"{cohort.folder / 'annotated.csv'}.",
            kind="apart",
            cause="The contour of one of them was stored for another image size, crop or slice.",
        )


def check_areas(cohort: Cohort) -> Iterator[Finding]:
    """Find structures that are far larger or smaller than in the other cases, but for the ends of a stack."""
    labels, facts = tuple(structure.label for structure in cohort.structures), _comparable(cohort)
    if not facts:
        return
    in_mm = all(fact.affine is not None for fact in facts)
    areas = np.stack([_log_area(fact, labels, in_mm=in_mm) for fact in facts])
    middle, _ = usual(areas)
    above = np.where(areas >= middle, areas - middle, np.nan)
    below = np.where(areas <= middle, middle - areas, np.nan)
    # Each side by its own deviation: structures taper off, and hardly swell.
    for sign, beyond in ((1, above), (-1, below)):
        deviation = np.maximum(MAD * usual(beyond)[0], 0.15)
        wrong = (beyond > np.log(OTHER_AREA)) & (beyond > AREA_DEVIATIONS * deviation)
        for number, place in np.argwhere(wrong).tolist():
            if sign < 0 and _is_end(cohort, facts[number], labels[place]):
                continue
            factor = float(np.exp(beyond[number, place]))
            words = "times as large as" if sign > 0 else "times smaller than"
            yield _outlier(
                facts[number], "area", f"{cohort.structures[place].name} is {factor:.1f} {words} in most cases"
            )


def _is_end(cohort: Cohort, fact: Facts, label: int) -> bool:
    """Tell whether a single slice lies at an end of its subject's stack, as far as the structure goes."""
    for stack in cohort.stacks:
        if stack.positions_mm is not None and fact in stack.facts:
            places = np.asarray(stack.positions_mm)
            there = places[[label in other.values for other in stack.facts]]
            own = places[stack.facts.index(fact)]
            return bool(min(abs(own - there.min()), abs(own - there.max())) < SAME_PLACE_MM)
    return False


def _unusual_places(
    cohort: Cohort, facts: Sequence[Facts], labels: Sequence[int], *, in_patient: bool
) -> Iterator[Finding]:
    """Find structures that lie elsewhere than in most cases, as seen from more than half of the others."""
    seen = np.stack([_offsets(fact, labels, in_patient=in_patient) for fact in facts])
    middle, deviation = usual(seen[..., :3], least=0.05)
    away = np.abs(seen[..., :3] - middle)
    extent = seen[..., 3:]
    far = ((away > OTHER_PLACE * extent) & (away > PLACE_DEVIATIONS * deviation)).any(axis=3)
    others = (~np.isnan(away[..., 0])).sum(axis=2)
    for number, place in np.argwhere((far.sum(axis=2) > others / 2) & (others > 0)).tolist():
        times = float(np.nanmax(away[number, place] / extent[number, place]))
        name = cohort.structures[place].name
        yield _outlier(
            facts[number], "position", f"{name} lies {times:.1f} times its own extent off its usual place"
        )


def _offsets(fact: Facts, labels: Sequence[int], *, in_patient: bool) -> Floats:
    """Give where each structure lies as seen from each other one, and its own extent, over their common size.

    The extent is the root of the mean squared distance from its centre; of small things at least a fifth.
    """
    centres, areas = _centres(fact, in_patient=in_patient)
    spread = np.nansum(fact.spreads * fact.counts, axis=0) / fact.counts.sum(axis=0)
    size = np.sqrt(areas[:, None] + areas[None])[..., None]
    extent = np.maximum(np.sqrt(spread * areas)[:, None, None] / size, 0.2)
    table = np.concatenate([(centres[:, None] - centres[None]) / size, extent], axis=2)
    table[np.arange(len(areas)), np.arange(len(areas))] = np.nan
    table = np.pad(table, ((0, 1), (0, 1), (0, 0)), constant_values=np.nan)
    ours = [fact.values.index(label) if label in fact.values else -1 for label in labels]
    return table[np.ix_(ours, ours)]


def _centres(fact: Facts, *, in_patient: bool) -> tuple[Floats, Floats]:
    """Give each value's centre, in the patient where that is wanted, and its mean area on slices that have it."""
    counts, weights = fact.counts, fact.counts.sum(axis=0)
    slices = np.broadcast_to(np.arange(len(counts))[:, None], counts.shape)
    places = np.concatenate([slices[..., None], np.nan_to_num(fact.centres)], axis=-1)
    centres = (places * counts[..., None]).sum(axis=0) / weights[:, None]
    areas = weights / (counts > 0).sum(axis=0)
    if in_patient and fact.affine is not None:
        return centres @ fact.affine[:3, :3].T, areas * pixel_area_mm2(fact.affine)
    return centres, areas


def _log_area(fact: Facts, labels: Sequence[int], *, in_mm: bool) -> Floats:
    """Give the logarithm of each structure's volume in mm³, or share of the image; NaN if absent."""
    one = (
        np.prod(spacing_from_affine(fact.affine)) if in_mm and fact.affine is not None else 1 / np.prod(fact.shape)
    )
    pixels = fact.pixels
    return np.array([np.log(pixels[label] * one) if label in pixels else np.nan for label in labels])


def _outlier(fact: Facts, kind: str, what: str) -> Finding:
    return finding_of(
        [fact],
        "warning",
        f"On {private(fact.case_id)} {what}.",
        "Look at it: another structure, a slip, a wrong spacing, or an unusual patient?",
        kind=kind,
        cause="Only a part was drawn, another structure was taken for it, or the drawing slipped."
        if kind == "area"
        else "Another structure was taken for it, or it was drawn at another level.",
    )
