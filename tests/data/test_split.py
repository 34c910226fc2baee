"""Splits go by subject, are the same for the same seed, and say what they cannot do."""

import itertools
import pickle
from dataclasses import replace

import numpy as np
import pytest
from discs import make_case, make_pair
from folders import made_up_case

from autoseg.data.duplicates import CaseFacts, case_facts
from autoseg.data.split import Split, check_leaks, k_folds, split_cases, subjects_of
from autoseg.errors import DataError
from autoseg.image.structures import Structure


def cases_of(subjects, slices=3, annotated=None):
    return [made_up_case(subject, n, (annotated or {}).get(subject)) for subject in subjects for n in range(slices)]


def test_a_split_refuses_a_subject_on_two_sides():
    one, two = made_up_case("Anna", 1), made_up_case("Anna", 2)
    for sides in (
        {"training": (one,), "validation": (two,)},
        {"training": (one,), "test": (two,)},
        {"training": (), "validation": (one,), "test": (two,)},
    ):
        with pytest.raises(DataError, match=r"Anna is in \w+ and in \w+"):
            Split(**sides)


def test_every_case_is_on_one_side_and_no_subject_on_two():
    cases = cases_of("ABCDEFGHIJ")
    split = split_cases(cases, test_subjects=["C"])
    sides = [split.training, split.validation, split.test]
    assert sorted(case.case_id for side in sides for case in side) == sorted(case.case_id for case in cases)
    for first, second in itertools.combinations(sides, 2):
        assert not set(subjects_of(first)) & set(subjects_of(second))
    assert subjects_of(split.test) == ("C",)
    assert len(subjects_of(split.validation)) == 2
    assert split.note == ""


def test_the_seed_decides_and_the_order_of_cases_does_not():
    cases = cases_of("ABCDEFGHIJ")
    chosen = [subjects_of(split_cases(cases, seed=seed).validation) for seed in range(20)]
    assert len(set(chosen)) > 5
    assert chosen == [subjects_of(split_cases(cases[::-1], seed=seed).validation) for seed in range(20)]


@pytest.mark.parametrize(
    ("count", "fraction", "expected"),
    [(2, 0.2, 1), (2, 0.9, 1), (4, 0.2, 1), (10, 0.3, 3), (10, 0.01, 1), (5, 0, 0)],
)
def test_how_many_subjects_validate(count, fraction, expected):
    split = split_cases(cases_of("ABCDEFGHIJ"[:count]), validation_fraction=fraction)
    assert len(subjects_of(split.validation)) == expected
    assert bool(split.note) == (expected == 0)


def test_one_subject_trains_and_the_note_says_what_that_means():
    split = split_cases(cases_of("A"))
    assert len(split.training) == 3
    assert split.validation == ()
    assert "one patient" in split.note
    assert "second patient" in split.note


def test_subjects_with_every_structure_are_preferred():
    for seed in range(10):
        annotated = {"A": (1,), "B": (1, 2), "C": (1,), "D": (1, 2), "E": (1,)}
        split = split_cases(cases_of("ABCDE", annotated=annotated), seed=seed)
        assert subjects_of(split.validation) in {("B",), ("D",)}
        assert split.note == ""


def test_training_keeps_every_structure():
    for seed in range(10):
        annotated = {"A": (1,), "B": (1, 2), "C": (1,)}
        split = split_cases(cases_of("ABC", annotated=annotated), seed=seed)
        assert "B" in subjects_of(split.training)
        assert split.note.startswith("Validation lacks label 2, so nothing will be known of how well it is found")
        # Of the two that have it, only one may go, although half of the subjects may.
        annotated = {"A": (2,), "B": (2,), "C": (1,), "D": (1,)}
        split = split_cases(cases_of("ABCD", annotated=annotated), seed=seed, validation_fraction=0.5)
        assert {label for case in split.training for label in case.annotated} == {1, 2}


def test_a_structure_that_only_one_of_two_subjects_has_is_left_to_training():
    split = split_cases(cases_of("AB", annotated={"A": (1, 2), "B": (1,)}))
    assert subjects_of(split.training) == ("A",)


def test_where_each_has_a_structure_of_its_own_the_note_tells():
    split = split_cases(cases_of("AB", annotated={"A": (1,), "B": (2,)}))
    assert len(split.validation) == 3
    assert "cannot be learnt" in split.note


def test_named_subjects():
    split = split_cases(cases_of("ABCD"), validation_subjects=["B", "A"], test_subjects="D")
    assert subjects_of(split.training) == ("C",)
    assert subjects_of(split.validation) == ("A", "B")
    assert subjects_of(split.test) == ("D",)
    assert subjects_of(split_cases(cases_of(["Anna", "Bert"]), validation_subjects="Anna").validation) == ("Anna",)
    assert split_cases(cases_of("AB"), validation_subjects=[]).validation == ()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"validation_subjects": ["Z"]}, "No case belongs to Z. Known patients: A, B"),
        ({"test_subjects": ["Y", "Z"]}, "belongs to Y, Z"),
        ({"validation_subjects": ["A"], "test_subjects": ["A"]}, "A is in validation and in test"),
        ({"validation_subjects": ["A", "B"]}, "No case is left to train on"),
        ({"test_subjects": ["A", "B"]}, "No case is left to train on"),
        ({"validation_fraction": 1}, "validation_fraction is 1"),
        ({"validation_fraction": -0.1}, "from 0 to below 1"),
    ],
)
def test_what_cannot_be_split_is_said(options, words):
    with pytest.raises(DataError, match=words):
        split_cases(cases_of("AB"), **options)


def test_no_cases():
    with pytest.raises(DataError, match="No case is left"):
        split_cases([])


def test_a_split_can_be_pickled():
    split = split_cases(cases_of("ABC"))
    assert pickle.loads(pickle.dumps(split)) == split


def with_sites(cases, sites):
    return [replace(case, site=sites[case.subject_id]) for case in cases]


def test_sites_are_in_both_parts():
    for seed in range(5):
        sites = dict(zip("ABCDEFGHIJ", ["east"] * 6 + ["west"] * 3 + ["north"], strict=True))
        split = split_cases(with_sites(cases_of("ABCDEFGHIJ"), sites), seed=seed)
        assert {case.site for case in split.validation} == {"east", "west"}
        assert {case.site for case in split.training} == {"east", "west", "north"}
        assert split.note == "Validation has nobody of site north."


def facts_of(cases, labels=None, slices=None):
    """Facts without pictures: which labels occur on a subject's cases, and how many slices they have."""
    return {
        case.case_id: CaseFacts(
            digest=case.case_id,
            thumbnails=np.zeros(((slices or {}).get(case.subject_id, 1), 32, 32), dtype=np.float32),
            labels=frozenset((labels or {}).get(case.subject_id, {1})),
        )
        for case in cases
    }


def test_labels_that_occur_count_where_they_are_known():
    cases = cases_of("ABCDE", slices=1)
    split = split_cases(cases, facts=facts_of(cases, labels={"B": {1, 2}, "D": {1, 2}}))
    assert subjects_of(split.validation) in {("B",), ("D",)}


def test_a_structure_that_one_person_shows_is_learnt_and_what_validation_lacks_is_said():
    cases = cases_of("ABCDE", slices=1)
    facts = facts_of(cases, labels={"C": {1, 2}})
    for seed in range(10):
        split = split_cases(cases, seed=seed, facts=facts)
        assert "C" in subjects_of(split.training)
        assert split.note.endswith("how well it is found in others: draw it on further patients.")
    chosen = split_cases(cases, validation_subjects=["C"], facts=facts)
    assert "Nobody who is learnt from shows label 2, so it cannot be learnt" in chosen.note
    assert "Validation" not in chosen.note


def test_who_was_named_is_told_what_others_would_have():
    cases = cases_of("ABCD", slices=1)
    facts = facts_of(cases, labels={"A": {1, 2, 10}, "B": {1, 2, 10}})
    note = split_cases(cases, validation_subjects=["D"], facts=facts).note
    assert note.startswith("Validation lacks label 2 and label 10, so nothing will be known of how well they are")
    assert note.endswith("or validate on others.")
    assert split_cases(cases, validation_subjects=["A"], facts=facts).note == ""
    assert split_cases(cases, validation_subjects=[], facts=facts).note == ""


def test_a_fold_that_scores_what_it_cannot_learn_says_so():
    cases = cases_of("ABCDE", slices=1)
    splits = k_folds(cases, folds=5, facts=facts_of(cases, labels={"C": {1, 2}}))
    (own,) = [number for number, split in enumerate(splits, 1) if subjects_of(split.test) == ("C",)]
    strange = f"Fold {own} tests label 2, which nobody shows whom it learns from."
    assert [strange in split.note for split in splits] == [number == own for number in range(1, 6)]


@pytest.mark.parametrize(("subjects", "folds"), [(7, 3), (10, 5), (5, 5), (4, 9), (3, 2)])
def test_every_subject_is_tested_once_by_a_model_that_never_saw_it(subjects, folds):
    cases = cases_of("ABCDEFGHIJ"[:subjects])
    splits = k_folds(cases, folds=folds)
    assert len(splits) == min(folds, subjects)
    tested = [subject for split in splits for subject in subjects_of(split.test)]
    assert sorted(tested) == list("ABCDEFGHIJ"[:subjects])
    for split in splits:
        sides = [set(subjects_of(side)) for side in split.sides().values()]
        assert set().union(*sides) == set(tested)
        assert sum(map(len, sides)) == subjects
        assert split.training
        assert bool(split.validation) == (len(sides[2]) < subjects - 1)
        assert ("left out alone" in split.note) == (folds > subjects)


def test_folds_differ_by_one_subject_at_most():
    for seed in range(5):
        cases = cases_of([f"s{n:02d}" for n in range(23)], slices=1)
        facts = facts_of(cases, labels={f"s{n:02d}": {1, 2 + n % 7} for n in range(23)})
        counts = [len(subjects_of(split.test)) for split in k_folds(cases, folds=7, seed=seed, facts=facts)]
        assert sorted(counts) == [3] * 5 + [4] * 2


def test_two_subjects_have_nobody_to_validate_on():
    splits = k_folds(cases_of("AB"), folds=2)
    assert [subjects_of(split.test) for split in splits] in [[("A",), ("B",)], [("B",), ("A",)]]
    assert all(not split.validation and "last epoch" in split.note for split in splits)


def test_folds_have_as_many_subjects_and_nearly_as_many_slices():
    cases = cases_of([f"s{n:02d}" for n in range(20)], slices=1)
    slices = {f"s{n:02d}": 1 + n * n for n in range(20)}
    facts = facts_of(cases, slices=slices)
    splits = k_folds(cases, folds=5, facts=facts)
    assert [len(subjects_of(split.test)) for split in splits] == [4] * 5
    sizes = [sum(slices[subject] for subject in subjects_of(split.test)) for split in splits]
    assert max(sizes) < 1.35 * min(sizes)


def test_rare_structures_and_sites_are_in_every_fold():
    for seed in range(5):
        names = [f"s{n:02d}" for n in range(20)]
        cases = with_sites(cases_of(names, slices=1), {name: "AB"[n % 4 == 0] for n, name in enumerate(names)})
        facts = facts_of(cases, labels={name: {1, 2} for name in names[3:8]})
        for split in k_folds(cases, folds=5, seed=seed, facts=facts):
            assert sum(2 in facts[case.case_id].labels for case in split.test) == 1
            assert [case.site for case in split.test].count("B") == 1
            assert split.note == ""
        for split in k_folds(cases, folds=6, seed=seed, facts=facts):
            assert "Too few patients for every fold to test it: label 2 and site B." in split.note


def test_folds_leave_the_last_test_alone_and_do_not_depend_on_the_order():
    cases = cases_of("ABCDEF")
    splits = k_folds(cases, folds=3, seed=4, test_subjects="C")
    assert all("C" not in subjects_of(side) for split in splits for side in split.sides().values())
    again = k_folds(cases[::-1], folds=3, seed=4, test_subjects=["C"])
    assert [subjects_of(split.validation) for split in splits] == [subjects_of(split.validation) for split in again]
    assert [subjects_of(split.test) for split in splits] == [subjects_of(split.test) for split in again]
    assert {subjects_of(split.test) for split in splits} != {
        subjects_of(split.test) for split in k_folds(cases, folds=3, seed=5, test_subjects=["C"])
    }


def test_what_cannot_be_folded_is_said():
    for subjects, folds in (("A", 5), ("ABC", 1), ("", 2)):
        with pytest.raises(DataError, match=r"at least *\s*two of both"):
            k_folds(cases_of(subjects), folds=folds)
    with pytest.raises(DataError, match="belongs to Z"):
        k_folds(cases_of("ABC"), test_subjects=["Z"])


def test_a_leak_names_both_cases():
    split = Split(training=(make_case(1), make_case(2)), test=(make_case(3),))
    facts = {f"case{number}": case_facts(*make_pair(number)) for number in (1, 2, 3)}
    check_leaks(split, facts)
    check_leaks(split, {})
    facts["case3"] = facts["case2"]
    words = r"case2 \(of subject2, in training\) and case3 \(of subject3, in test\) have identical pixels"
    with pytest.raises(DataError, match=words):
        check_leaks(split, facts)


def test_notes_name_structures_by_what_they_are_called():
    cases = cases_of("ABC")
    facts = facts_of(cases, labels={"A": {1, 2}, "B": {1, 12}, "C": {1}})
    split = split_cases(cases, validation_subjects=["C"], facts=facts)
    structures = (Structure(1, "label 12"), Structure(2, "psoas"), Structure(12, "disc of {}"))
    assert "Validation lacks label 2 and label 12, so" in split.note
    assert "Validation lacks psoas and disc of {}, so" in split.say(structures)
