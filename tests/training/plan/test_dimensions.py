"""2-D, 2.5-D or 3-D: by the shape of the images, each time with a reason that is true."""

from dataclasses import replace

import numpy as np
import pytest
from discs import STRUCTURES, make_case, make_pair

from autoseg.training.plan import survey_cases
from autoseg.training.plan.dimensions import choose_dimensions, choose_spatial_dims


@pytest.fixture
def choose(monkeypatch):
    """Give a function that chooses for made-up images."""

    def chosen(pixel, *, alter=lambda pair: pair, counts=(8, 8, 8), **arguments):
        monkeypatch.setattr(
            "autoseg.training.plan.survey.read_case",
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


# --- slices or volumes


@pytest.fixture
def choose_dims(monkeypatch):
    """Give a function that chooses between slices and volumes for made-up images."""

    def chosen(*, alter=lambda pair: pair, counts=(20, 20, 20), views=1000.0, **arguments):
        monkeypatch.setattr(
            "autoseg.training.plan.survey.read_case",
            lambda case, _: alter(make_pair(0, slices=counts[int(case.case_id[-1])], **arguments)),
        )
        survey = survey_cases([make_case(number) for number in range(len(counts))], STRUCTURES)
        return choose_spatial_dims(survey, views, 100.0)

    return chosen


def every_fifth(pair):
    image, label_map = pair
    voxels = label_map.voxels.copy()
    voxels[np.arange(len(voxels)) % 5 != 0] = 0
    return image, replace(label_map, voxels=voxels)


def test_volumes_where_they_are_nearly_isotropic_and_structures_go_on(choose_dims):
    choice = choose_dims(spacing=(3.0, 1.5, 1.5))
    assert (choice.name, choice.value) == ("spatial_dims", 3)
    assert "typically 20 slices" in choice.reason
    assert "2.0 times as long as wide" in choice.reason
    assert "over 20 slices" in choice.reason
    # Thick slices may lie along any axis.
    assert choose_dims(spacing=(1.5, 1.5, 4.5)).value == 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"spacing": (8.0, 1.5, 1.5)}, "voxels are 5.3 times as long as wide, more than 3 times"),
        ({"spacing": (1.5, 1.5, 8.0)}, "voxels are 5.3 times"),
        ({"counts": (15, 15, 15), "spacing": (1.5, 1.5, 1.5)}, "typically 15 slices, fewer than 16"),
        ({"counts": (20, 1, 20), "spacing": (1.5, 1.5, 1.5)}, "a single slice is all there is of 1 of 3 images"),
        (
            {"spacing": (1.5, 1.5, 1.5), "alter": every_fifth},
            "run of slices is typically 1, shorter than 8",
        ),
        ({"spacing": (1.5, 1.5, 1.5), "views": 60.0}, "only about 60 parts of volumes would be seen"),
    ],
)
def test_else_slices_and_why(choose_dims, arguments, words):
    choice = choose_dims(**arguments)
    assert choice.value == 2
    assert choice.reason.startswith("Slices, not volumes: ")
    assert words in choice.reason


def test_what_nobody_measured_is_no_volume(choose_dims):
    bare = choose_dims(spacing=(1.5, 1.5, 1.5), alter=lambda pair: tuple(replace(one, affine=None) for one in pair))
    assert bare.value == 2
    assert "of 3 of 3 images" in bare.reason
    assert "not known" in bare.reason
