"""Which planes cut a structure across, and which of its voxels are measured."""

import numpy as np
import pytest
from cords import label_map

from autoseg.errors import SettingsError
from autoseg.image.geometry import affine_from_spacing
from autoseg.measurement.morphometry.sections import find_sections


def box(shape, *parts, spacing=(2.0, 1.0, 1.0)):
    """Give a label map with boxes of label 1, each (slices, rows, columns) as slices."""
    voxels = np.zeros(shape, np.uint8)
    for part in parts:
        voxels[part] = 1
    return label_map(voxels, affine_from_spacing(spacing))


LONG = np.s_[2:18, 5:8, 5:8]


def test_a_flat_structure_is_cut_along_the_slices_though_it_is_widest_within_them():
    muscle = box((6, 60, 90), np.s_[1:4, 10:50, 5:85])
    assert find_sections(muscle, 1).axis == 0
    assert find_sections(muscle, 1, along="right-left").axis == 2


@pytest.mark.parametrize(
    ("axis", "along"), list(enumerate(["superior-inferior", "anterior-posterior", "right-left"]))
)
def test_an_elongated_one_is_cut_across_its_length(axis, along):
    part = [slice(4, 8)] * 3
    part[axis] = slice(3, 37)
    found = find_sections(box((40, 40, 40), tuple(part), spacing=(1, 1, 1)), 1)
    assert (found.axis, found.along, found.indices) == (axis, along, tuple(range(3, 37)))
    assert bool(found.notes) == (axis > 0)
    assert find_sections(box((40, 40, 40), tuple(part), spacing=(1, 1, 1)), 1, along="slices").axis == 0


def test_the_box_keeps_its_place_in_the_patient():
    found = find_sections(box((20, 12, 12), LONG), 1)
    assert found.weights.shape == (16, 3, 3)
    assert (found.affine @ [0, 1, 1, 1])[:3].tolist() == [6, 6, 4]
    assert found.positions_mm.tolist() == [2.0 * i for i in range(16)]
    assert (found.first_seen, found.last_seen) == (True, True)


def test_sections_run_to_the_head_whichever_way_the_slices_do():
    upright = box((20, 12, 12), LONG)
    affine = upright.affine.copy()
    affine[:3, 3] += 19 * affine[:3, 0]
    affine[:3, 0] *= -1
    turned = label_map(upright.voxels[::-1], affine)
    found, expected = find_sections(turned, 1), find_sections(upright, 1)
    assert found.indices == tuple(range(17, 1, -1))
    assert np.allclose(found.affine, expected.affine)
    assert np.array_equal(found.weights, expected.weights)


def test_ends_at_the_border_of_the_image_are_not_seen():
    found = find_sections(box((20, 12, 12), np.s_[0:15, 5:8, 0:3]), 1)
    assert (found.first_seen, found.last_seen) == (False, True)
    assert found.touches_edge.all()
    assert not find_sections(box((20, 12, 12), LONG), 1).touches_edge.any()


def test_pieces_beside_are_left_out_and_a_large_one_beyond_is_kept():
    beside, speck, beyond = np.s_[4:10, 10:12, 10:12], np.s_[19:20, 5:6, 5:6], np.s_[22:26, 5:8, 5:8]
    found = find_sections(box((30, 16, 16), LONG, beside, speck, beyond), 1)
    assert found.indices == tuple(range(2, 26))
    assert found.left_out.tolist() == [0, 0, *[4] * 6, *[0] * 9, 1, *[0] * 6]
    assert found.notes[0].startswith("cord lies in 4 pieces. 2 beside the main one")
    assert found.weights.sum() == (16 + 4) * 9


def test_one_side_of_two_is_measured_and_that_is_said():
    both = box((20, 12, 40), np.s_[2:18, 4:8, 4:8], np.s_[2:18, 4:8, 30:33])
    found = find_sections(both, 1)
    assert found.weights.shape[2] == 4
    assert "43 % of its voxels, left out" in found.notes[0]


def test_another_word_for_the_direction_is_refused():
    with pytest.raises(SettingsError, match="choose one of auto, slices"):
        find_sections(box((20, 12, 12), LONG), 1, along="axial")


def test_shares_keep_their_rim_and_lose_the_pieces_left_out():
    shares = np.zeros((1, 20, 12, 12), np.float32)
    shares[0, 2:18, 5:8, 5:8] = 1
    shares[0, 2:18, 4, 5:8] = 0.25  # a rim that nobody's majority drew
    shares[0, 4:9, 10, 10] = 0.75
    soft = label_map(shares[0] >= 0.5, affine_from_spacing((2, 1, 1)), shares=shares)
    found = find_sections(soft, 1)
    assert found.weights.shape == (16, 4, 3)
    assert found.weights.sum() == 16 * (9 + 0.75)
    assert (found.affine @ [0, 0, 0, 1])[:3].tolist() == [5, 4, 4]
    assert found.left_out.sum() == 5
