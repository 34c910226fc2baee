"""Split cases into training, validation and test, always by subject, and recognise a leak."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np

from autoseg.data.cases import Case
from autoseg.data.duplicates import CaseFacts, find_duplicate
from autoseg.errors import DataError, private
from autoseg.image.structures import Structure
from autoseg.words import counted, listed, name_private, name_some, natural


class Trait(NamedTuple):
    """What every part of a split should have somebody of: a structure, by its label, or a site."""

    kind: Literal["label", "site"]
    value: int | str

    def __str__(self) -> str:
        return f"{self.kind} {self.value}"


@dataclass(frozen=True)
class SplitNote:
    """What the reader must know of a split: a sentence, and the structures and sites that stand where it has {}."""

    words: str
    traits: tuple[Trait, ...] = ()

    def say(self, structures: Sequence[Structure] = ()) -> str:
        """Give the sentence with the names of the structures; "label 3" for one of which no name is known."""
        names = {Trait("label", structure.label): structure.name for structure in structures}
        return self.words.replace("{}", listed([names.get(trait, str(trait)) for trait in self.traits]))


@dataclass(frozen=True)
class Split:
    """Cases to learn from, to choose the best epoch with, and to report on; no subject is on two sides.

    `notes` say what the reader must know of how it came about; there is none if all is well.
    """

    training: tuple[Case, ...]
    validation: tuple[Case, ...] = ()
    test: tuple[Case, ...] = ()
    notes: tuple[SplitNote, ...] = ()

    def __post_init__(self) -> None:
        sides = {name: subjects_of(cases) for name, cases in self.sides().items()}
        for (first, some), (second, others) in combinations(sides.items(), 2):
            shared = sorted(set(some) & set(others))
            if shared:
                verb = "is" if len(shared) == 1 else "are"
                raise DataError(
                    f"{name_private(shared)} {verb} in {first} and in {second}. A network recognises a person that "
                    "it has seen, so its score would be too good. Put all cases of a patient on one side."
                )

    def sides(self) -> dict[str, tuple[Case, ...]]:
        """Give the cases of training, validation and test by these names."""
        return {"training": self.training, "validation": self.validation, "test": self.test}

    @property
    def note(self) -> str:
        """The notes in one line, without the structures' names."""
        return self.say()

    def say(self, structures: Sequence[Structure] = ()) -> str:
        """Give the notes in one line, with the structures' names."""
        return " ".join(note.say(structures) for note in self.notes)


class Shown(Protocol):
    """What a case shows, as far as a split goes by it: `CaseFacts`, or `label_counts.LabelCounts`."""

    @property
    def labels(self) -> frozenset[int]:
        """The labels that occur."""

    @property
    def slices(self) -> int:
        """How many slices there are."""


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
    facts: Mapping[str, Shown] | None = None,
) -> Split:
    """Split cases by subject; the same cases and seed give the same split, whatever their order.

    Parameters
    ----------
    cases : sequence of Case
    validation_subjects : collection of str, optional
        Subjects to validate on. By default they are drawn: a subject is preferred if training keeps every
        structure and site without it, and then if it brings structures and sites that validation lacks.
    test_subjects : collection of str
        Subjects to set aside; they are neither trained nor validated on.
    validation_fraction : float
        Share of the remaining subjects to draw, from 0 to below 1; at least one if there are two.
    seed : int
    facts : mapping by case_id, optional
        What each case shows (`CaseFacts`, or `LabelCounts` of `count_labels`). With it, the structures that occur
        are spread; without, those that were drawn, as if each case showed all of them.

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
    reserved, chosen = _names(test_subjects), _names(validation_subjects or ())
    notes: tuple[SplitNote, ...] = ()
    _check_known(cases, reserved | chosen)
    rest = [case for case in cases if case.subject_id not in reserved]
    if validation_subjects is None:
        chosen, notes = _draw(rest, validation_fraction, seed, facts or {})
    split = Split(
        training=tuple(case for case in rest if case.subject_id not in chosen),
        validation=tuple(case for case in cases if case.subject_id in chosen),
        test=tuple(case for case in cases if case.subject_id in reserved),
    )
    if not split.training:
        raise DataError(
            f"No case is left to train on: {name_private(subjects_of(cases)) or '(none)'} are "
            "all set aside for validation or test. Name fewer, or add cases of other patients."
        )
    return replace(split, notes=notes or what_lacks(split, facts))


def k_folds(
    cases: Sequence[Case],
    *,
    folds: int = 5,
    seed: int = 0,
    test_subjects: Collection[str] = (),
    facts: Mapping[str, Shown] | None = None,
) -> tuple[Split, ...]:
    """Split cases into folds such that every subject is tested exactly once, by a model that never saw it.

    A fold's own subjects are its `test`. The best epoch and the post-processing must be chosen on other
    subjects than those that are scored, so each fold draws its `validation` from the remaining subjects (a
    fifth of them, at least one) and trains on the rest. Where that leaves one subject, nobody validates and
    the last epoch counts.

    Folds hold the same number of subjects, give or take one, have structures and sites spread as evenly as
    they go, and then the slices.

    Parameters
    ----------
    cases : sequence of Case
    folds : int
        2 or more. With fewer subjects than folds, each subject is a fold (leave-one-out), and the notes say so.
    seed : int
    test_subjects : collection of str
        Subjects frozen for a last test; they are in no fold.
    facts : mapping by case_id, optional
        As for `split_cases`. With it folds go by the structures that occur and by slices; without, by those drawn
        and by cases.

    Returns
    -------
    tuple of Split

    Raises
    ------
    DataError
        If there are fewer than two folds or two subjects, or a named subject has no case.
    """
    reserved = _names(test_subjects)
    _check_known(cases, reserved)
    rest = [case for case in cases if case.subject_id not in reserved]
    subjects = subjects_of(rest)
    if folds < 2 or len(subjects) < 2:
        raise DataError(
            f"folds is {folds} and there are cases of {counted(len(subjects), 'patient')}; cross-validation needs "
            "at least two of both. Add cases of other patients."
        )
    count = min(folds, len(subjects))
    notes = []
    if count < folds:
        notes.append(SplitNote(f"There are {count} patients for {folds} folds, so each is left out alone."))
    traits = _traits(rest, facts or {})
    places = _assign(rest, traits, count, seed=seed, facts=facts or {})
    rare = [t for t, n in Counter(t for found in traits.values() for t in found).items() if n < count]
    if rare:
        notes.append(SplitNote("Too few patients for every fold to test it: {}.", _sorted(rare)))
    result = []
    for fold in range(count):
        own = {subject for subject in subjects if places[subject] == fold}
        others = [case for case in rest if case.subject_id not in own]
        split = split_cases(others, seed=seed + fold, facts=facts)
        test = tuple(case for case in rest if case.subject_id in own)
        alone = SplitNote("A fold has nobody to validate on: its last epoch is taken.")
        learnt = _union(traits[subject] for subject in subjects_of(split.training))
        unlearnt = _of_kind("label", _union(traits[subject] for subject in own) - learnt)
        strange = SplitNote(f"Fold {fold + 1} tests {{}}, which nobody shows whom it learns from.", unlearnt)
        own_notes = (*(split.notes if split.validation else (alone,)), *([strange] if unlearnt else []))
        result.append(replace(split, test=test, notes=(*notes, *own_notes)))
    return tuple(result)


def what_lacks(split: Split, facts: Mapping[str, Shown] | None = None) -> tuple[SplitNote, ...]:
    """Tell which structures and sites training or validation lacks; nothing where nobody validates."""
    if not split.validation:
        return ()
    traits = _traits((*split.training, *split.validation), facts or {})
    learnt, validated = (
        _union(traits[subject] for subject in subjects_of(side)) for side in (split.training, split.validation)
    )
    notes = []
    if lost := _of_kind("label", validated - learnt):
        they, them = ("it", "it") if len(lost) == 1 else ("they", "them")
        words = (
            f"Nobody who is learnt from shows {{}}, so {they} cannot be learnt: draw {them} on further patients, "
            "or validate on others."
        )
        notes.append(SplitNote(words, lost))
    if missing := _of_kind("label", learnt - validated):
        they, them = ("it is", "it") if len(missing) == 1 else ("they are", "them")
        rare = all(sum(trait in found for found in traits.values()) == 1 for trait in missing)
        words = (
            f"Validation lacks {{}}, so nothing will be known of how well {they} found in others: draw {them} on "
            f"further patients{'' if rare else ', or validate on others'}."
        )
        notes.append(SplitNote(words, missing))
    for where, sites in (("Training", validated - learnt), ("Validation", learnt - validated)):
        away = _of_kind("site", sites)
        notes += [SplitNote(f"{where} has nobody of {{}}.", away)] if away else []
    return tuple(notes)


def check_leaks(split: Split, facts: Mapping[str, CaseFacts]) -> None:
    """Raise DataError if a case on one side is, in disguise, a case on another.

    The same image, a slice with the same pixels, and the same DICOM study or series are on one side only.
    """
    cases = {case.case_id: case for side in split.sides().values() for case in side}
    sides = {
        name: {case.case_id: facts[case.case_id] for case in side if case.case_id in facts}
        for name, side in split.sides().items()
    }
    for (first, some), (second, others) in combinations(sides.items(), 2):
        found = find_duplicate(some, others)
        if found is not None:
            raise DataError(
                f"{private(found.one)} (of {private(cases[found.one].subject_id)}, in {first}) and "
                f"{private(found.two)} (of {private(cases[found.two].subject_id)}, in {second}) {found.what}, "
                "so the score would be too good. Say "
                "in subjects.csv (case_id, subject_id) that they are one patient, or remove one of them."
            )


def _names(subjects: Collection[str]) -> frozenset[str]:
    """Give the names as a set; a single name need not stand in a list."""
    return frozenset([subjects] if isinstance(subjects, str) else subjects)


def _check_known(cases: Sequence[Case], named: Collection[str]) -> None:
    unknown = sorted(set(named) - set(known := subjects_of(cases)))
    if unknown:
        raise DataError(
            f"No case belongs to {name_private(unknown)}. Known patients: "
            f"{name_some([private(subject) for subject in known], 20)}."
        )


def _traits(cases: Sequence[Case], facts: Mapping[str, Shown]) -> dict[str, frozenset[Trait]]:
    """Give each subject's structures and sites, which every part should have."""
    every = _union(facts[case.case_id].labels if case.case_id in facts else frozenset() for case in cases)
    every |= _union(case.annotated or frozenset() for case in cases)
    result: dict[str, set[Trait]] = {subject: set() for subject in subjects_of(cases)}
    for case in cases:
        labels = every if case.annotated is None else case.annotated
        if case.case_id in facts:
            labels = labels & facts[case.case_id].labels
        result[case.subject_id] |= {Trait("label", label) for label in labels}
        result[case.subject_id] |= {Trait("site", case.site)} if case.site else set()
    return {subject: frozenset(found) for subject, found in result.items()}


def _draw(
    cases: Sequence[Case], fraction: float, seed: int, facts: Mapping[str, Shown]
) -> tuple[frozenset[str], tuple[SplitNote, ...]]:
    """Give the subjects to validate on, and what is to be known where there are none."""
    subjects = subjects_of(cases)
    unknown = "nothing is known of how well the model does on another person."
    if len(subjects) < 2:
        note = f"All cases are of one patient, so none can be set aside: {unknown} Add cases of a second patient."
        return frozenset(), (SplitNote(note),)
    if fraction == 0:
        return frozenset(), (SplitNote(f"No patient was set aside, so {unknown}"),)
    count = min(max(1, round(fraction * len(subjects))), len(subjects) - 1)
    order = _shuffled(subjects, seed)
    traits = _traits(cases, facts)
    total = Counter(trait for found in traits.values() for trait in found)
    chosen: list[str] = []

    def drawback(subject: str) -> tuple[int, int, float]:
        """Count what training would lose, what validation still lacks, and how full its traits are."""
        left = _union(traits[other] for other in subjects if other not in (subject, *chosen))
        held = Counter(trait for other in (*chosen, subject) for trait in traits[other])
        # Who shows nothing comes last: there is no score for an empty image.
        share = max((held[trait] / total[trait] for trait in traits[subject]), default=1.0)
        return len(total) - len(left), len(total) - len(held), share

    while len(chosen) < count:
        best = min((subject for subject in order if subject not in chosen), key=drawback)
        if chosen and drawback(best)[0]:
            break
        chosen.append(best)
    return frozenset(chosen), ()


def _of_kind(kind: str, traits: Iterable[Trait]) -> tuple[Trait, ...]:
    return _sorted(trait for trait in traits if trait.kind == kind)


def _sorted(traits: Iterable[Trait]) -> tuple[Trait, ...]:
    return tuple(sorted(traits, key=natural))


def _assign(
    cases: Sequence[Case],
    traits: Mapping[str, frozenset[Trait]],
    folds: int,
    *,
    seed: int,
    facts: Mapping[str, Shown],
) -> dict[str, int]:
    """Give each subject its fold: rarest structure or site first, as Sechidis et al. (ECML 2011) stratify."""
    size = Counter[str]()
    for case in cases:
        size[case.subject_id] += facts[case.case_id].slices if case.case_id in facts else 1
    waiting = sorted(_shuffled(tuple(sorted(traits)), seed), key=lambda subject: -size[subject])
    held = [Counter[Trait | str]() for _ in range(folds)]
    least, more = divmod(len(waiting), folds)
    places: dict[str, int] = {}
    while waiting:
        left = Counter(trait for subject in waiting for trait in traits[subject])
        rarest = min(left, key=lambda trait: (left[trait], str(trait)), default=None)
        subject = next(s for s in waiting if rarest is None or rarest in traits[s])
        # Names with a space in front are no traits: how many subjects and slices a fold has.
        limit = least + (sum(one[" subjects"] > least for one in held) < more)
        fold = min(
            (k for k in range(folds) if held[k][" subjects"] < limit),
            key=lambda k: (held[k][rarest or ""], held[k][" subjects"], held[k][" slices"]),
        )
        held[fold].update(dict.fromkeys(traits[subject], 1))
        held[fold][" subjects"] += 1
        held[fold][" slices"] += size[subject]
        places[subject] = fold
        waiting.remove(subject)
    return places


def _shuffled(subjects: Sequence[str], seed: int) -> list[str]:
    return [subjects[i] for i in np.random.default_rng(seed).permutation(len(subjects))]


def _union(sets: Iterable[frozenset[Any]]) -> frozenset[Any]:
    return frozenset(item for items in sets for item in items)
