"""2-D or 2.5-D: by how far slices lie apart, each time with a reason that is true."""

from dataclasses import replace

import pytest
from discs import STRUCTURES, make_case, make_pair

from autoseg.plan import survey_cases
from autoseg.plan.dimensions import choose_dimensions


@pytest.fixture
def choose(monkeypatch):
    """Give a function that chooses for made-up images."""

    def chosen(pixel, *, alter=lambda pair: pair, counts=(8, 8, 8), **arguments):
        monkeypatch.setattr(
            "autoseg.plan.survey.read_case",
            lambda case, _: alter(make_pair(0, slices=counts[int(case.case_id[-1])], **arguments)),
        )
        survey = survey_cases([make_case(number) for number in range(len(counts))], STRUCTURES)
        return choose_dimensions(survey, pixel)

    return chosen


def test_slices_that_lie_close_are_seen_with_their_neighbours(choose):
    choice = choose(1.5, spacing=(2.0, 1.5, 1.5))
    assert (choice.name, choice.value) == ("preprocess.neighbours", 1)
    assert "2 mm apart, 1.3 times the size of the network's pixels" in choice.reason
    assert "2.5-D" in choice.reason


@pytest.mark.parametrize(
    ("pixel", "arguments", "words"),
    [
        (1.5, {"spacing": (3.0, 1.5, 1.5)}, "3 mm apart, 2.0 times"),
        (1.5, {"spacing": (1.5, 1.5, 1.5), "counts": (1, 1)}, "all images are single slices"),
        (1.5, {"spacing": (1.5, 1.5, 1.5), "counts": (1, 1, 9)}, "a typical image has a single slice"),
        (1.5, {"spacing": (1.5, 1.5, 1.5), "counts": (3, 4, 3)}, "only 3 slices"),
        (30.0, {"spacing": (40.0, 1.5, 1.5)}, "further than the smallest structure is wide"),
    ],
)
def test_else_each_slice_is_seen_by_itself_and_why(choose, pixel, arguments, words):
    choice = choose(pixel, **arguments)
    assert choice.value == 0
    assert "2-D" in choice.reason
    assert words in choice.reason


def test_a_distance_that_nobody_knows_is_not_guessed(choose):
    def bare(pair):
        return tuple(replace(one, affine=None) for one in pair)

    def placeholder(pair):
        source = replace(pair[0].source, slice_spacing_source="none")
        return tuple(replace(one, source=source) for one in pair)

    for alter in (bare, placeholder):
        choice = choose(1.5, spacing=(1.5, 1.5, 1.5), alter=alter)
        assert choice.value == 0
        assert "not known" in choice.reason


def test_single_slices_among_volumes_are_mentioned(choose):
    choice = choose(1.5, spacing=(1.5, 1.5, 1.5), counts=(9, 9, 1))
    assert choice.value == 1
    assert "1 of 3 images is a single slice" in choice.reason
