import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays

from autoseg.image.contours import contour_area, fill_contours
from autoseg.image.outlines import outline_mask


@settings(max_examples=30, deadline=None, derandomize=True)
@given(arrays(np.bool_, (7, 8)))
def test_outlines_of_any_mask_enclose_its_pixels_and_their_area(mask):
    outlines = outline_mask(mask)
    assert sum(map(contour_area, outlines)) == pytest.approx(np.count_nonzero(mask))
    np.testing.assert_array_equal(fill_contours(outlines, mask.shape), mask)


def test_a_hole_is_joined_by_a_line_and_pixels_that_touch_at_a_corner_are_two_pieces():
    ring = np.ones((5, 6), dtype=bool)
    ring[1:4, 2:4] = ring[2, 4] = False
    (outline,) = outline_mask(ring)
    assert contour_area(outline) == pytest.approx(30 - 7)
    assert len(outline_mask(np.eye(3, dtype=bool))) == 3
    assert outline_mask(np.zeros((3, 3), dtype=bool)) == []
