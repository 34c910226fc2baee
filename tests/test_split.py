"""Splits go by subject, are the same for the same seed, and say what they cannot do."""

import itertools
import pickle

import pytest
from folders import made_up_case

from autoseg.errors import DataError
from autoseg.split import Split, split_cases, subjects_of


def cases_of(subjects, slices=3, annotated=None):
    return [made_up_case(subject, n, (annotated or {}).get(subject)) for subject in subjects for n in range(slices)]


def test_a_split_refuses_a_subject_on_two_sides():
    one, two = made_up_case("Anna", 1), made_up_case("Anna", 2)
    for sides in (
        {"training": (one,), "validation": (two,)},
        {"training": (one,), "test": (two,)},
        {"training": (), "validation": (one,), "test": (two,)},
    ):
        with pytest.raises(DataError, match=r"Subject Anna is in \w+ and in \w+"):
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
    assert "one subject" in split.note
    assert "second subject" in split.note


@pytest.mark.parametrize("seed", range(10))
def test_subjects_with_every_structure_are_preferred(seed):
    annotated = {"A": (1,), "B": (1, 2), "C": (1,), "D": (1, 2), "E": (1,)}
    split = split_cases(cases_of("ABCDE", annotated=annotated), seed=seed)
    assert subjects_of(split.validation) in {("B",), ("D",)}
    assert split.note == ""


@pytest.mark.parametrize("seed", range(10))
def test_training_keeps_every_structure(seed):
    annotated = {"A": (1,), "B": (1, 2), "C": (1,)}
    split = split_cases(cases_of("ABC", annotated=annotated), seed=seed)
    assert "B" in subjects_of(split.training)
    assert "every structure" in split.note
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
        ({"validation_subjects": ["Z"]}, "No case belongs to subject Z. Known subjects: A, B"),
        ({"test_subjects": ["Y", "Z"]}, "subject Y, Z"),
        ({"validation_subjects": ["A"], "test_subjects": ["A"]}, "Subject A is in validation and in test"),
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
