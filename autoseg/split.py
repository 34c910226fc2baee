"""Split cases into training, validation and test, always by subject."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from autoseg.cases import Case
from autoseg.errors import DataError


@dataclass(frozen=True)
class Split:
    """Cases to learn from, to choose the best epoch with, and to report on; no subject is on two sides.

    `note` says in a sentence what the reader must know of how it came about; it is empty if all is well.
    """

    training: tuple[Case, ...]
    validation: tuple[Case, ...] = ()
    test: tuple[Case, ...] = ()
    note: str = ""

    def __post_init__(self) -> None:
        sides = {name: subjects_of(getattr(self, name)) for name in ("training", "validation", "test")}
        for (first, some), (second, others) in combinations(sides.items(), 2):
            shared = sorted(set(some) & set(others))
            if shared:
                raise DataError(
                    f"Subject {', '.join(shared[:5])} is in {first} and in {second}. A network recognises a "
                    "person that it has seen, so its score would be too good. Put all cases of a subject on "
                    "one side."
                )


def subjects_of(cases: Sequence[Case]) -> tuple[str, ...]:
    """Give every subject once, sorted."""
    return tuple(sorted({case.subject_id for case in cases}))


def split_cases(
    cases: Sequence[Case],
    *,
    validation_subjects: Collection[str] | None = None,
    test_subjects: Collection[str] = (),
    validation_fraction: float = 0.2,
    seed: int = 0,
) -> Split:
    """Split cases by subject; the same cases and seed give the same split, whatever their order.

    Parameters
    ----------
    cases : sequence of Case
    validation_subjects : collection of str, optional
        Subjects to validate on. By default they are drawn: a subject is preferred if training keeps every
        structure without it, and then if every structure was drawn on it.
    test_subjects : collection of str
        Subjects to set aside; they are neither trained nor validated on.
    validation_fraction : float
        Share of the remaining subjects to draw, from 0 to below 1; at least one if there are two.
    seed : int

    Returns
    -------
    Split
        Without validation cases where one subject remains; `note` then says so.

    Raises
    ------
    DataError
        If a named subject has no case, nobody is left to train on, or a subject would be on two sides.
    """
    if not 0 <= validation_fraction < 1:
        raise DataError(
            f"validation_fraction is {validation_fraction}; give a share from 0 to below 1, for instance 0.2."
        )
    reserved, chosen, note = _names(test_subjects), _names(validation_subjects or ()), ""
    _check_known(cases, reserved | chosen)
    rest = [case for case in cases if case.subject_id not in reserved]
    if validation_subjects is None:
        chosen, note = _draw(rest, validation_fraction, seed)
    split = Split(
        training=tuple(case for case in rest if case.subject_id not in chosen),
        validation=tuple(case for case in cases if case.subject_id in chosen),
        test=tuple(case for case in cases if case.subject_id in reserved),
        note=note,
    )
    if not split.training:
        raise DataError(
            f"No case is left to train on: the subjects {', '.join(subjects_of(cases)[:5]) or '(none)'} are "
            "all set aside for validation or test. Name fewer, or add cases of other subjects."
        )
    return split


def _names(subjects: Collection[str]) -> frozenset[str]:
    """Give the names as a set; a single name need not stand in a list."""
    return frozenset([subjects] if isinstance(subjects, str) else subjects)


def _check_known(cases: Sequence[Case], named: Collection[str]) -> None:
    known = subjects_of(cases)
    unknown = sorted(set(named) - set(known))
    if unknown:
        raise DataError(
            f"No case belongs to subject {', '.join(unknown[:5])}. Known subjects: {', '.join(known[:20])}."
        )


def _draw(cases: Sequence[Case], fraction: float, seed: int) -> tuple[frozenset[str], str]:
    """Give the subjects to validate on, and the note."""
    subjects = subjects_of(cases)
    if len(subjects) < 2:
        return frozenset(), (
            "All cases are of one subject, so none can be set aside: nothing is known of how well the model "
            "does on another person. Add cases of a second subject."
        )
    if fraction == 0:
        return (
            frozenset(),
            "No subject was set aside, so nothing is known of how well the model does on another person.",
        )
    count = min(max(1, round(fraction * len(subjects))), len(subjects) - 1)
    order = [subjects[i] for i in np.random.default_rng(seed).permutation(len(subjects))]
    drawn_on = {subject: _drawn([c for c in cases if c.subject_id == subject], cases) for subject in subjects}
    everything = _union(drawn_on.values())

    def drawback(subject: str) -> tuple[int, int]:
        left = [drawn_on[other] for other in subjects if other not in (subject, *chosen)]
        return len(everything - _union(left)), len(everything - drawn_on[subject])

    chosen: list[str] = []
    while len(chosen) < count:
        best = min((subject for subject in order if subject not in chosen), key=drawback)
        if chosen and drawback(best)[0]:
            break
        chosen.append(best)
    lost, missing = drawback(chosen[0])
    note = ""
    if lost:
        note = "Some structure was drawn on the validation subject only, so it cannot be learnt."
    elif missing:
        note = "No subject could be set aside on which every structure was drawn."
    return frozenset(chosen), note


def _drawn(cases: Sequence[Case], everyone: Sequence[Case]) -> frozenset[int]:
    """Give the labels that were drawn on at least one of the cases; None stands for all that anyone has."""
    every = _union(case.annotated or frozenset() for case in everyone)
    return _union(every if case.annotated is None else case.annotated for case in cases)


def _union(sets: Iterable[frozenset[int]]) -> frozenset[int]:
    return frozenset(label for labels in sets for label in labels)
