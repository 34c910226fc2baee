"""Structures as classes: what lies in each other, and what was not drawn."""

import numpy as np
import pytest

from autoseg.image.image import LabelMap
from autoseg.image.structures import Structure
from autoseg.model.preprocessing.classes import classes_of, outer_classes, shares_of

CORD, GREY, HORN = (
    Structure(7, "cord", includes=(2, 3)),
    Structure(2, "grey matter", includes=(3,)),
    Structure(3, "horn"),
)
NESTED = (GREY, CORD, HORN)
VOXELS = np.array([[[0, 7, 2, 3]]], dtype=np.uint8)


@pytest.mark.parametrize(
    ("drawn", "classes"),
    [
        ({7}, [0, 2, 2, 2]),
        ({7, 2}, [0, 2, 1, 1]),
        ({7, 3}, [0, 2, 2, 3]),
        ({2}, [0, 0, 1, 1]),
        ({3}, [0, 0, 0, 3]),
        ({7, 2, 3}, [0, 2, 1, 3]),
        (set(), [0, 0, 0, 0]),
    ],
)
def test_what_was_not_drawn_belongs_to_the_drawn_structure_around_it(drawn, classes):
    label_map = LabelMap(VOXELS, structures=NESTED, annotated=frozenset(drawn))
    assert classes_of(label_map).ravel().tolist() == classes
    shares = np.stack([structure.label == VOXELS for structure in NESTED]).astype(np.float32)
    with_shares = LabelMap(VOXELS, structures=NESTED, annotated=frozenset(drawn), shares=shares)
    np.testing.assert_array_equal(shares_of(with_shares), shares_of(label_map))
    assert shares_of(label_map)[0, :, 0].argmax(0)[shares_of(label_map)[0, :, 0].any(0)].tolist() == [
        k - 1 for k in classes if k
    ]


def test_the_share_of_what_was_not_drawn_is_added_to_that_around_it():
    shares = np.full((3, *VOXELS.shape), 0.25, dtype=np.float32)
    label_map = LabelMap(VOXELS, structures=NESTED, annotated=frozenset({7}), shares=shares)
    np.testing.assert_allclose(shares_of(label_map)[0, :, 0, 0], [0, 0.75, 0])


def test_each_class_lies_in_the_smallest_around_it():
    assert outer_classes(NESTED).tolist() == [0, 2, 0, 1]
