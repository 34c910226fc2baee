"""Slices or volumes: by the shape of the images, each time with a reason that is true."""

from dataclasses import replace

import numpy as np
import pytest
from discs import STRUCTURES, make_case, make_pair

from autoseg.training.plan import survey_cases
from autoseg.training.plan.choices import choose_spatial_dims


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
