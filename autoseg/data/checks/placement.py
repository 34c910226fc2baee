"""Labels that lie beside their image: turned, mirrored, moved, of another image, or where nothing is to be seen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass

import numpy as np

from autoseg.data.checks.anatomy import fits_others
from autoseg.data.checks.edges import EdgeFit, sum_fits
from autoseg.data.checks.facts import WITNESSES, Cohort, Facts, Floats, finding_of
from autoseg.data.checks.finding import Finding
from autoseg.data.repairs import SYMMETRIES, Repair, relabel, transform
from autoseg.errors import private
from autoseg.image.structures import side_pairs
from autoseg.words import name_private, name_some, named

# How many standard deviations a turned label must fit better than as it is: hand-drawn labels reach 0.1 on
# volumes, and on single slices once in a hundred 0.4.
TURN_MARGIN = 0.6
# The same for a moved label, which is chosen among more places, and on a whole volume or stack.
SHIFT_MARGIN, SHIFT_MARGIN_OF_MANY = 0.8, 0.5
# A moved label must lie farther off than this, pixels (and steps): closer is the drawing itself.
LEAST_SHIFT = 4
# A turn that leaves so many labelled pixels as they are cannot be told from none.
TELLING_OVERLAP = 0.8
# Below this the borders follow no edges; carefully drawn ones reach 2.5 and more.
UNRELATED, DRAWN = 1.5, 2.5
# A turned or moved label is believed only if it then fits nearly as well as is usual among the cases.
NEARLY_USUAL = 0.65
# Labels that fit less than this share of what is usual are looked for elsewhere …
ODD = 0.75
# … where the two halves of their borders agree to so many steps, for a repair to one: it is to be exact.
AGREEING, EXACTLY = 2, 1
# A repair is proposed only if labels then fit as well as most do, and no other turn or shift does.
SURE = 0.85
# So many slices together are judged as one.
MANY = 3
# Range of intensities under a label, over the image's, below which there is nothing to be seen.
BLANK = 0.08


@dataclass(frozen=True)
class _Usual:
    """How well labels follow their edges in most cases, the cases in which they do, and how far beside by habit."""

    score: float
    good: frozenset[str]
    habit: tuple[int, int]
    unsure: Set[str]

    @classmethod
    def of(cls, cohort: Cohort, unsure: Set[str]) -> _Usual:
        """Look at all cases that show anything."""
        fits = [(fact, fit) for fact in cohort.facts if (fit := cohort.edges_of(fact)) and not _is_blank(fact)]
        score = float(np.median([fit.as_it_is for _, fit in fits])) if fits else 0.0
        good = {f.case_id: fit.habit for f, fit in fits if fit.as_it_is >= max(UNRELATED, NEARLY_USUAL * score)}
        habit = np.median(list(good.values()), axis=0).round().astype(int).tolist() if good else (0, 0)
        return cls(score, frozenset(good), (habit[0], habit[1]), unsure)

    @property
    def enough(self) -> float:
        """What turned or moved labels must score to be believed."""
        return max(UNRELATED if len(self.good) >= WITNESSES else DRAWN, NEARLY_USUAL * self.score)

    def is_odd(self, as_it_is: float) -> bool:
        """Whether labels follow their edges so badly that another place is looked for at all."""
        return as_it_is < (ODD * self.score if len(self.good) >= WITNESSES else UNRELATED)

    def is_sure(self, facts: Sequence[Facts], better: float, rival: float) -> bool:
        """Whether a repair may be proposed: other cases tell what is usual, it is reached, and by one way only."""
        mine = {fact.case_id for fact in facts}
        heard = len(self.good - mine) >= WITNESSES and not self.unsure & mine
        return heard and better >= SURE * self.score and better >= rival + TURN_MARGIN


def check_placement(cohort: Cohort, *, unsure: Set[str] = frozenset()) -> Iterator[Finding]:
    """Find labels that do not lie on what they show, by the edges of the image along their borders.

    No repair is proposed for the cases `unsure`, which are odd in another way.

    Whole volumes and the slices of one subject are judged together first, since their borders tell more; then each
    slice of its own.
    """
    usual = _Usual.of(cohort, unsure)
    for fact in cohort.facts:
        yield from _blank(fact)
    for fact in cohort.volumes:
        yield from _reversed(fact, cohort.channel) or tuple(_judge([fact], cohort.edges_of(fact), usual))
    for stack in cohort.stacks:
        fits = [(fact, fit) for fact in stack.facts if (fit := cohort.edges_of(fact)) and not _is_blank(fact)]
        together = [fact for fact, _ in fits] if len(fits) >= MANY else []
        whole = tuple(_judge(together, sum_fits([fit for _, fit in fits]), usual)) if together else ()
        yield from whole
        for fact, fit in () if whole else fits:
            yield from _judge([fact], fit, usual)


def _reversed(fact: Facts, channel: int) -> tuple[Finding, ...]:
    if not fact.edges:
        return ()
    fit = fact.edges[channel]
    as_it_is, better = fit.as_it_is, fact.reversed_edges[channel].as_it_is
    if better < max(as_it_is + TURN_MARGIN, UNRELATED, fit.best_turn[1], fit.best_shift[1]):
        return ()
    finding = finding_of(
        [fact],
        "warning",
        f"The labels of {private(fact.case_id)} follow the image's edges better with their slices in the opposite "
        f"order: score {better:.1f} in place of {as_it_is:.1f}.",
        "Save the labels with the slices in the image's order.",
        kind="order",
        cause="One program counts slices from the feet, another from the head, or files were sorted as text.",
    )
    return (finding,)


def _judge(facts: Sequence[Facts], fit: EdgeFit | None, usual: _Usual) -> Iterator[Finding]:
    """Compare the labels as they are with the best turn and the best shift, where they fit worse than most."""
    if fit is None or (len(facts) == 1 and _is_blank(facts[0])):
        return
    as_it_is = fit.as_it_is
    symmetry, turned, overlap = fit.best_turn
    shift, moved = fit.best_shift
    far = max(map(abs, shift)) >= max(LEAST_SHIFT, 3 * fit.step)
    margin = SHIFT_MARGIN_OF_MANY if fit.slices >= MANY else SHIFT_MARGIN
    better_moved = far and fit.halves_apart <= AGREEING and moved > as_it_is + margin
    better_turned = overlap < TELLING_OVERLAP and turned > max(as_it_is + TURN_MARGIN, usual.enough)
    if better_turned and not (better_moved and moved > turned):
        yield _misplaced(
            facts, "turned", as_it_is, turned, symmetry, (0, 0), heard=usual.is_sure(facts, turned, moved)
        )
    elif better_moved and usual.is_odd(as_it_is) and moved > usual.enough:
        shift = shift[0] - usual.habit[0], shift[1] - usual.habit[1]
        rival = turned if overlap < TELLING_OVERLAP else -np.inf
        heard = fit.halves_apart <= EXACTLY and usual.is_sure(facts, moved, rival)
        yield _misplaced(facts, "shifted", as_it_is, moved, "none", shift, heard=heard)
    elif as_it_is < UNRELATED:
        yield finding_of(
            facts,
            "warning",
            f"The borders of the labels of {_which(facts)} follow no edges of the image (score {as_it_is:.1f}, "
            f"where drawn labels have {DRAWN} and more).",
            "Look whether the label file belongs to this image, and to this slice.",
            kind="unrelated",
            cause="The labels of another image or slice, or structures that cannot be seen on this one.",
        )


def _misplaced(
    facts: Sequence[Facts],
    kind: str,
    as_it_is: float,
    better: float,
    symmetry: str,
    shift: tuple[int, int],
    *,
    heard: bool,
) -> Finding:
    repairs = tuple(_transform(fact, symmetry, shift, better - as_it_is) for fact in facts)
    causes = {
        "turned": "Another program stores rows and columns, or their direction, in another order.",
        "shifted": "The label was drawn on a cropped or padded copy, or on another slice.",
    }
    return finding_of(
        facts,
        "warning",
        f"The labels of {_which(facts)} follow the image's edges better if they are {repairs[0].change}: score "
        f"{better:.1f} in place of {as_it_is:.1f}.",
        "Look at the picture. If they do, keep the proposed repair; the files stay as they are."
        if heard
        else "Look at the picture. If they do, save the labels in their place.",
        kind=kind,
        cause=causes[kind],
        repairs=repairs if heard else (),
    )


def _transform(fact: Facts, symmetry: str, shift: tuple[int, int], gain: float) -> Repair:
    reason = f"{SYMMETRIES[symmetry]} the labels" if symmetry != "none" else "moved, the labels"
    repair = transform(fact.case_id, symmetry, rows=shift[0], columns=shift[1])
    return Repair(repair.case_id, repair.kind, repair.arguments, f"{reason} fit the edges better by {gain:.1f}")


def _blank(fact: Facts) -> Iterator[Finding]:
    blank = np.flatnonzero(fact.contrast < BLANK).tolist()
    if blank:
        numbers = [index + fact.case.first_slice for index in blank]
        slices = f"{named('slice', numbers)} of " if fact.shape[0] > 1 else ""
        yield finding_of(
            [fact],
            "warning",
            f"Labels are drawn on {slices}{private(fact.case_id)} where the image shows nothing: the "
            f"intensities under them span less than {BLANK:.0%} of the image's.",
            "Look whether the slices of image and label are in the same order, and whether the image is whole.",
            kind="blank",
            cause="Slices in another order, a label moved into the air, or an image that was cut or blanked.",
            slice_index=int(blank[0]),
        )


def _is_blank(fact: Facts) -> bool:
    drawn = ~np.isnan(fact.contrast)
    return bool(drawn.any() and (fact.contrast[drawn] < BLANK).mean() > 0.5)


def _which(facts: Sequence[Facts]) -> str:
    if len(facts) == 1:
        return private(facts[0].case_id)
    cases = name_private(fact.case_id for fact in facts)
    return f"all {len(facts)} slices of {private(facts[0].case.subject_id)} ({cases})"


# --- left and right exchanged: against the patient's own axes or, where these are unknown, the other cases

# Two structures closer than this, over the square root of their area, are not told apart by their side.
CLEAR = 0.25
# Without patient coordinates this share of the cases must agree on which side is which.
MAJORITY = 0.75
LEAST_CASES = 4


def check_sides(cohort: Cohort, *, leave_out: Set[str] = frozenset()) -> Iterator[Finding]:
    """Find cases in which the left structure of a pair lies to the patient's right.

    `leave_out` are those found to be turned: mirrored as a whole, their sides are exchanged as well.
    """
    pairs = side_pairs(cohort.structures)
    facts = [fact for fact in cohort.facts if fact.case_id not in leave_out]
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
    heard = len(facts) - len(wrong) >= WITNESSES
    for fact, swapped in wrong.items():
        yield _one_case(cohort, fact, swapped, heard=heard and _fits_only_so(cohort, fact))


def _fits_only_so(cohort: Cohort, fact: Facts) -> bool:
    """Tell whether labels follow their edges as they are and not turned: a mirrored drawing has other sides."""
    fit = cohort.edges_of(fact)
    return fit is not None and fit.as_it_is >= max(UNRELATED, fit.best_turn[1] + TURN_MARGIN)


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


def _one_case(
    cohort: Cohort, fact: Facts, swapped: Sequence[tuple[tuple[int, int], list[int]]], *, heard: bool
) -> Finding:
    names, case_id = cohort.names, fact.case_id
    pairs = [pair for pair, _ in swapped]
    slices = sorted({index for _, indices in swapped for index in indices})
    both = [set(np.flatnonzero(fact.counts[:, [fact.values.index(v) for v in pair]].all(axis=1))) for pair in pairs]
    whole = all(set(indices) == there for (_, indices), there in zip(swapped, both, strict=True))
    where = "" if whole else f" on {named('slice', [index + fact.case.first_slice for index in slices])}"
    against = "the patient's axes" if fact.affine is not None else "the other cases"
    exchange = {old: new for left, right in pairs for old, new in ((left, right), (right, left))}
    sure = whole and heard and fits_others(cohort, fact, exchange)
    repairs = (relabel(case_id, exchange),) if sure else ()
    return finding_of(
        [fact],
        "error",
        f"Left and right are exchanged on {private(case_id)}{where}, by {against}: "
        f"{name_some([f'{names[left]} lies to the right of {names[right]}' for left, right in pairs])}.",
        "Look at the picture. If so, keep the proposed repair, which exchanges the labels."
        if repairs
        else "Look at the picture. If so, exchange the labels in the program in which they were drawn.",
        kind="sides",
        cause="Right on the screen was taken for the patient's right, or the image was mirrored while drawing.",
        slice_index=slices[len(slices) // 2],
        repairs=repairs,
    )


def _everywhere(cohort: Cohort, facts: Sequence[Facts]) -> Finding:
    exchange = {
        old: new for left, right in side_pairs(cohort.structures) for old, new in ((left, right), (right, left))
    }
    cases = tuple(fact.case_id for fact in facts)
    return Finding(
        "error",
        "",
        cohort.folder,
        f"Left and right are exchanged on {len(facts)} of {len(cohort.facts)} cases: {name_private(cases)}.",
        "Look at a picture. If the names are wrong, exchange them in structures.csv.",
        kind="sides",
        cause="The names of left and right are exchanged in the structures table, or images were stored mirrored.",
        cases=cases,
        slice_index=facts[0].best_slice,
        repairs=tuple(relabel(case_id, exchange) for case_id in cases) if len(cases) >= WITNESSES else (),
    )
