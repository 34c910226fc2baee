"""Left and right exchanged: against the patient's own axes or, where these are unknown, the other cases."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set

import numpy as np

from autoseg.data.checks.cohort import Cohort, Floats
from autoseg.data.checks.facts import Facts
from autoseg.data.checks.finding import Finding
from autoseg.data.repairs import relabel
from autoseg.image.structures import side_pairs
from autoseg.words import some

# Two structures closer than this, over the square root of their area, are not told apart by their side.
CLEAR = 0.25
# Without patient coordinates this share of the cases must agree on which side is which.
MAJORITY = 0.75
LEAST_CASES = 4


def check_sides(cohort: Cohort, *, leave_out: Set[str] = frozenset()) -> Iterator[Finding]:
    """Find cases in which the left structure of a pair lies to the patient's right.

    Parameters
    ----------
    cohort : Cohort
    leave_out : set of str
        Cases that were found to be turned: mirrored as a whole, their sides are exchanged as well.
    """
    pairs = side_pairs(cohort.structures)
    facts = [fact for fact in cohort.facts if fact.origin.case_id not in leave_out]
    wrong: dict[Facts, list[tuple[tuple[int, int], list[int]]]] = {}
    for pair in pairs:
        sides = [_to_the_left(fact, pair) for fact in facts]
        turn = _usual_direction([side for fact, side in zip(facts, sides, strict=True) if fact.affine is None])
        for fact, side in zip(facts, sides, strict=True):
            signed = side if fact.affine is not None else side * turn
            slices = np.flatnonzero(signed < 0).tolist()
            if slices:
                wrong.setdefault(fact, []).append((pair, slices))
    if len(wrong) > max(1, len(facts) // 2):
        yield _everywhere(cohort, list(wrong))
        return
    for fact, swapped in wrong.items():
        yield _one_case(cohort, fact, swapped)


def _to_the_left(fact: Facts, pair: tuple[int, int]) -> Floats:
    """Tell for each slice how far the left structure lies to the left of the right one, 0 where that is not clear.

    Along the patient's axis where it is known, else along the columns (whose direction the other cases tell).
    """
    if not set(pair) <= set(fact.values):
        return np.zeros(len(fact.counts))
    left, right = (fact.values.index(label) for label in pair)
    apart = fact.centres[:, left] - fact.centres[:, right]
    steps = np.array([[0.0, 1.0]]) if fact.affine is None else fact.affine[:1, 1:3]
    scale = (
        1.0 if fact.affine is None else np.sqrt(np.linalg.norm(np.cross(fact.affine[:3, 1], fact.affine[:3, 2])))
    )
    size = np.sqrt((fact.counts[:, left] + fact.counts[:, right]) / 2) * scale
    share = np.nan_to_num((apart @ steps.T)[:, 0] / np.maximum(size, 1e-9))
    return np.where(np.abs(share) > CLEAR, share, 0.0)


def _usual_direction(sides: Sequence[Floats]) -> float:
    """Give the sign on which most cases agree; 0 if they are few or disagree."""
    signs = np.array([np.sign(side.sum()) for side in sides])
    signs = signs[signs != 0]
    if len(signs) < LEAST_CASES or max((signs > 0).mean(), (signs < 0).mean()) < MAJORITY:
        return 0.0
    return 1.0 if (signs > 0).mean() > 0.5 else -1.0


def _one_case(cohort: Cohort, fact: Facts, swapped: Sequence[tuple[tuple[int, int], list[int]]]) -> Finding:
    names, case_id = cohort.names, fact.origin.case_id
    pairs = [pair for pair, _ in swapped]
    slices = sorted({index for _, indices in swapped for index in indices})
    both = [set(np.flatnonzero(fact.counts[:, [fact.values.index(v) for v in pair]].all(axis=1))) for pair in pairs]
    whole = all(set(indices) == there for (_, indices), there in zip(swapped, both, strict=True))
    where = "" if whole else f" on slice(s) {some([str(index + 1) for index in slices])}"
    against = "the patient's axes" if fact.affine is not None else "the other cases"
    exchange = {old: new for left, right in pairs for old, new in ((left, right), (right, left))}
    return Finding(
        "error",
        case_id,
        fact.origin.label_path,
        f"Left and right are exchanged on {case_id}{where}, by {against}: "
        f"{some([f'{names[left]} lies to the right of {names[right]}' for left, right in pairs])}.",
        "Look at the picture. If so, keep the proposed repair, which exchanges the labels."
        if whole
        else "Draw these slices again, or exchange their labels in the program in which they were drawn.",
        kind="sides",
        cause="Right on the screen was taken for the patient's right, or the image was mirrored while drawing.",
        slice_index=slices[len(slices) // 2],
        repairs=(relabel(case_id, exchange),) if whole else (),
    )


def _everywhere(cohort: Cohort, facts: Sequence[Facts]) -> Finding:
    exchange = {
        old: new for left, right in side_pairs(cohort.structures) for old, new in ((left, right), (right, left))
    }
    cases = tuple(fact.origin.case_id for fact in facts)
    return Finding(
        "error",
        "",
        cohort.folder,
        f"Left and right are exchanged on {len(facts)} of {len(cohort.facts)} cases: {some(cases)}.",
        "Look at a picture. If the names are wrong, exchange them in structures.csv.",
        kind="sides",
        cause="The names of left and right are exchanged in the structures table, or images were stored mirrored.",
        cases=cases,
        slice_index=facts[0].best_slice,
        repairs=tuple(relabel(case_id, exchange) for case_id in cases),
    )
