"""What stands for people, images and labels: the same for the same, whatever their order, and never a name."""

from dataclasses import replace

import numpy as np
from discs import make_case, make_pair

from autoseg.data.digests import Side, describe_side, subject_pseudonym


def side(numbers, **changes):
    return describe_side([make_case(n) for n in numbers], [make_pair(n, **changes) for n in numbers])


def test_a_subject_is_not_named():
    assert subject_pseudonym("Miller^Anna") == subject_pseudonym("Miller^Anna")
    assert subject_pseudonym("Miller^Anna") != subject_pseudonym("Miller^Ann")
    assert len(subject_pseudonym("Miller^Anna")) == 12


def test_the_numbers_are_those_of_the_cases():
    found = side([1, 2, 3], slices=4)
    assert (found.cases, found.subjects, found.slices) == (3, 3, 12)
    assert str(found) == "3 cases of 3 subjects with 12 slices"
    assert describe_side([], []) == Side()


def test_the_order_does_not_matter_and_everything_else_does():
    found = side([1, 2])
    assert side([2, 1]) == found
    assert side([1, 3]).names_digest != found.names_digest
    for change in ({"spacing": (8.0, 1.5, 1.6)}, {"annotated": frozenset({1})}):
        other = side([1, 2], **change)
        assert other.names_digest == found.names_digest
        assert other.voxels_digest != found.voxels_digest


def test_checkpoints_keep_the_names_of_their_format():
    found = side([1, 2])
    stored = found.stored()
    assert list(stored) == ["cases", "subjects", "slices", "subject_prints", "names_print", "voxels_print"]
    assert Side.read({**stored, "subject_prints": list(stored["subject_prints"])}) == found


def test_one_pixel_of_a_label_is_seen():
    image, label_map = make_pair(1)
    voxels = np.array(label_map.voxels)
    voxels[0, 0, 0] = 1
    changed = describe_side([make_case(1)], [(image, replace(label_map, voxels=voxels))])
    assert changed.voxels_digest != side([1]).voxels_digest


def test_rounding_of_millimetres_is_not():
    assert side([1], spacing=(8.0, 1.5, 1.5 + 1e-13)) == side([1])


def test_an_image_without_millimetres_has_a_digest():
    image, label_map = make_pair(1)
    bare = replace(image, affine=None, source=replace(image.source, spacing_source="none"))
    found = describe_side([make_case(1)], [(bare, replace(label_map, affine=None))])
    assert found.voxels_digest not in ("", side([1]).voxels_digest)
