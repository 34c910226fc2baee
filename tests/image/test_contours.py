"""Contours become pixels: exact coverage, areas of known shapes, holes, and drawing in an order."""

import csv

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoseg.errors import LabelError
from autoseg.files.text_files import read_contour_file
from autoseg.image.contours import (
    combine_masks,
    contour_area,
    contours_coverage,
    coverage,
    fill_contour,
    fill_contours,
    nest_contours,
)

SHAPE = (40, 44)
PLACES = [(row / 10, column / 10) for row in range(10) for column in range(10)]
ANGLE = np.linspace(0, 2 * np.pi, 720, endpoint=False)
DISC = np.stack([np.cos(ANGLE), np.sin(ANGLE)], axis=1)
RECTANGLE = np.array([(-1.5, -0.5), (-1.5, 0.5), (1.5, 0.5), (1.5, -0.5)])
OUTLINES = {"disc": DISC, "ellipse": DISC * (2, 1), "rectangle": RECTANGLE}


def square(first, last):
    return [(first, first), (first, last), (last, last), (last, first)]


def rectangle(top, bottom, left, right):
    return [(top, left), (top, right), (bottom, right), (bottom, left)]


def sampled(contours, shape, *, even_odd=True, steps=16):
    """Coverage by counting places inside, by the crossings of a ray; the slow way."""
    places = (np.arange(steps) + 0.5) / steps - 0.5
    rows = (np.arange(shape[0])[:, None] + places).ravel()[:, None]
    columns = (np.arange(shape[1])[:, None] + places).ravel()[None, :]
    crossings = np.zeros((rows.size, columns.size), dtype=int)
    for points in map(np.asarray, contours):
        for (r0, c0), (r1, c1) in zip(points, np.roll(points, -1, axis=0), strict=True):
            if r0 != r1:
                crosses = (np.minimum(r0, r1) <= rows) & (rows < np.maximum(r0, r1))
                crossings += crosses & (columns > c0 + (rows - r0) / (r1 - r0) * (c1 - c0))
    return (crossings % 2).reshape(shape[0], steps, shape[1], steps).mean(axis=(1, 3))


class TestCoverage:
    def test_parts_of_pixels_are_exact(self):
        triangle = coverage([(-0.5, -0.5), (-0.5, 1.5), (1.5, -0.5)], (3, 3))
        np.testing.assert_allclose(triangle, [[1, 0.5, 0], [0.5, 0, 0], [0, 0, 0]], atol=1e-12)

    @pytest.mark.parametrize("turn", [1, -1])
    def test_direction_and_starting_point_do_not_matter(self, turn):
        points = np.array(square(3.2, 9.7))[::turn]
        np.testing.assert_allclose(coverage(np.roll(points, 1, axis=0), SHAPE), coverage(square(3.2, 9.7), SHAPE))

    @settings(max_examples=60, deadline=None)
    @given(
        radii=st.lists(st.floats(0.5, 14), min_size=3, max_size=20),
        place=st.tuples(st.floats(15, 25), st.floats(15, 29)),
    )
    def test_shares_add_up_to_the_area(self, radii, place):
        angle = np.linspace(0, 2 * np.pi, len(radii), endpoint=False)
        star = np.stack([np.cos(angle), np.sin(angle)], axis=1) * np.array(radii)[:, None] + place
        shares = coverage(star, SHAPE)
        assert shares.sum() == pytest.approx(contour_area(star), rel=1e-9)
        assert shares.min() >= 0
        assert np.abs(shares - sampled([star], SHAPE)).max() < 0.12  # 1/16 of two sides

    def test_what_lies_outside_the_image_is_cut_off(self):
        star = 12 * DISC[::60] * (1 + 0.5 * np.arange(12)[:, None] % 2)
        whole = coverage(star + 20, (40, 40))
        np.testing.assert_allclose(coverage(star, (20, 20)), whole[20:, 20:], atol=1e-12)
        np.testing.assert_allclose(coverage(star + np.array([20, -3]), (40, 5)), whole[:, 23:28], atol=1e-12)
        assert coverage(star + 100, SHAPE).sum() == 0
        assert coverage(square(-1e9, 1e9), SHAPE).min() == 1

    def test_a_keyhole_is_a_hole(self):
        outer, inner = square(2.5, 12.5), square(5.5, 8.5)[::-1]
        keyhole = [*outer, outer[0], *np.roll(inner, -3, axis=0), np.roll(inner, -3, axis=0)[0]]
        np.testing.assert_allclose(coverage(keyhole, SHAPE), contours_coverage([outer, inner], SHAPE), atol=1e-12)
        assert coverage(keyhole, SHAPE).sum() == pytest.approx(100 - 9)

    @pytest.mark.parametrize("turn", [1, -1], ids=["the same way around", "the other way around"])
    def test_the_ring_of_a_keyhole_is_a_hole_whichever_way_around(self, turn):
        outer, inner = square(2.5, 12.5), square(5.5, 8.5)[::turn]
        keyhole = [*outer, outer[0], *inner, inner[0]]
        assert coverage(keyhole, SHAPE).sum() == pytest.approx(100 - 9)
        second = square(9.5, 11.5)[::turn]
        assert coverage([*keyhole, outer[0], *second, second[0]], SHAPE).sum() == pytest.approx(100 - 9 - 4)

    def test_a_line_drawn_there_and_back_is_no_area(self):
        points = [(float(k), float(k % 7)) for k in range(300)]
        assert coverage([*points, *points[-2::-1]], SHAPE).sum() == 0

    def test_a_loop_at_the_end_of_a_drawing_is_inside(self):
        overshoot = [*square(3, 9), (2, 3), (2, 5), (4, 5)]
        shares = coverage(overshoot, SHAPE)
        assert shares[4:9, 4:9].min() == 1
        assert shares.max() == 1

    def test_too_few_points_cover_nothing(self):
        for points in ([], [(3, 3)], [(3, 3), (9, 9)]):
            assert coverage(points, SHAPE).sum() == 0
            assert contour_area(points) == 0

    def test_bad_points_are_refused(self):
        with pytest.raises(LabelError, match=r"\(points, 2\).*\(3,\)"):
            coverage([1, 2, 3], SHAPE)
        with pytest.raises(LabelError, match="NaN"):
            coverage([(0, 0), (1, np.nan), (2, 2)], SHAPE)


class TestSeveralContours:
    def test_rings_within_rings(self):
        rings = [square(2.5, 20.5), square(5.5, 17.5), square(8.5, 12.5)]
        expected = 18**2 - 12**2 + 4**2
        assert fill_contours(rings, SHAPE).sum() == expected
        assert fill_contours(rings[::-1], SHAPE).sum() == expected

    def test_a_wall_thinner_than_a_pixel_keeps_its_share(self):
        rings = [square(2.3, 12.3), square(2.6, 12.0)]
        shares = contours_coverage(rings, SHAPE)
        assert shares.sum() == pytest.approx(10**2 - 9.4**2)
        np.testing.assert_allclose(shares, sampled(rings, SHAPE, steps=40), atol=0.06)

    def test_neighbours_that_touch_leave_no_gap(self):
        left = [(2.2, 2.2), (2.2, 6.7), (9.2, 6.7), (9.2, 2.2)]
        right = [(2.2, 6.7), (2.2, 11), (9.2, 11), (9.2, 6.7)]
        whole = [(2.2, 2.2), (2.2, 11), (9.2, 11), (9.2, 2.2)]
        np.testing.assert_array_equal(fill_contours([left, right], SHAPE), fill_contour(whole, SHAPE))

    def test_what_two_contours_share_counts_once(self):
        crossing = [square(2.5, 10.5), square(6.5, 14.5)]
        apart = sampled(crossing[:1], SHAPE) + sampled(crossing[1:], SHAPE)
        np.testing.assert_allclose(contours_coverage(crossing, SHAPE), np.minimum(apart, 1), atol=1e-12)
        assert nest_contours(crossing, SHAPE).overlapping == ((0, 1),)

    def test_what_a_file_calls_exclusive_is_left_out_where_it_is_shared(self):
        crossing = [square(2.5, 10.5), square(6.5, 14.5)]
        shares = contours_coverage(crossing, SHAPE, exclusive=True)
        np.testing.assert_allclose(shares, sampled(crossing, SHAPE), atol=1e-12)

    def test_pieces_that_overlap_have_the_area_of_both_together(self):
        pieces = [rectangle(4.5, 14.5, 4.5, 16.5), rectangle(10.5, 20.5, 6.5, 18.5)]
        assert fill_contours(pieces, SHAPE).sum() == 120 + 120 - 40
        assert fill_contours(pieces[::-1], SHAPE).sum() == 200
        assert fill_contours([pieces[0], pieces[1][::-1]], SHAPE).sum() == 200
        turned = [np.array(piece) @ [[0.8, 0.6], [-0.6, 0.8]] + (12, 6) for piece in pieces]
        assert contours_coverage(turned, SHAPE).sum() == pytest.approx(200, rel=2e-3)

    def test_a_hole_in_pieces_that_overlap(self):
        pieces = [rectangle(2.5, 22.5, 2.5, 14.5), rectangle(2.5, 22.5, 10.5, 22.5)]
        in_both, in_one = rectangle(5.5, 9.5, 11.5, 13.5), rectangle(12.5, 18.5, 4.5, 8.5)
        assert fill_contours([*pieces, in_both, in_one], SHAPE).sum() == 400 - 8 - 24
        assert fill_contours([in_one, *pieces[::-1], in_both], SHAPE).sum() == 400 - 8 - 24

    def test_a_piece_that_overlaps_a_hole_fills_what_it_covers(self):
        outer, hole, piece = square(2.5, 20.5), square(6.5, 16.5), rectangle(12.5, 30.5, 12.5, 16.5)
        # 4 × 4 of the hole are filled again, and 10 × 4 lie outside.
        assert fill_contours([outer, hole, piece], SHAPE).sum() == 18**2 - 10**2 + 16 + 40

    @pytest.mark.parametrize(
        "again", [lambda p: np.roll(p, 2, 0), lambda p: p[::-1], lambda p: p + np.array([0.3, 0.2])]
    )
    def test_a_contour_that_was_drawn_twice_counts_once(self, again):
        outline = 9.0 * DISC[::40] + 18
        shares = contours_coverage([outline, again(outline)], SHAPE)
        assert shares.sum() == pytest.approx(contour_area(outline), rel=0.05)

    def test_a_hole_that_strays_over_the_border_stays_a_hole(self):
        outer, hole = square(4.5, 24.5), rectangle(14.5, 24.8, 10.5, 16.5)
        assert nest_contours([outer, hole], SHAPE).around == (frozenset(), frozenset({0}))
        assert fill_contours([outer, hole], SHAPE).sum() == 400 - 60

    def test_a_thin_wall_is_no_contour_drawn_twice(self):
        wall = [12.0 * DISC + 18, 11.7 * DISC + 18]
        assert contours_coverage(wall, SHAPE).sum() == pytest.approx(np.pi * (12**2 - 11.7**2), rel=1e-3)

    def test_no_contour_is_an_empty_mask(self):
        assert fill_contours([], SHAPE).shape == SHAPE
        assert not fill_contours([], SHAPE).any()


class TestAreas:
    @pytest.mark.parametrize("name", OUTLINES)
    @pytest.mark.parametrize("area", [60, 250, 700])
    def test_bias_is_below_half_a_percent(self, name, area):
        outline = OUTLINES[name] * np.sqrt(area / contour_area(OUTLINES[name]))
        rng = np.random.default_rng(0)
        errors = []
        for place in PLACES:
            turn = rng.uniform(0, 2 * np.pi)
            turned = outline @ [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
            errors.append(fill_contour(turned + 40 + place, (81, 81)).sum() / area - 1)
        assert abs(np.mean(errors)) < 0.005
        assert np.std(errors) < 0.015

    @pytest.mark.parametrize("start", [3.0, 3.5, 3.25])
    def test_a_square_is_as_large_wherever_it_stands(self, start):
        assert fill_contour(square(start, start + 10), SHAPE).sum() == 100

    def test_no_pixel_is_far_from_half(self):
        for place in PLACES:
            points = 4.4 * DISC + 20 + place
            shares, mask = coverage(points, SHAPE), fill_contour(points, SHAPE)
            assert shares[mask].min() > 0.39
            assert shares[~mask].max() < 0.61
            assert (mask != (shares >= 0.5)).sum() <= 4

    def test_a_line_thinner_than_half_a_pixel_is_nothing(self):
        assert not fill_contour([(5.0, 5.0), (5.0, 25.0), (5.3, 25.0), (5.3, 5.0)], SHAPE).any()

    def test_contours_drawn_by_hand(self, shared_data):
        folder = shared_data / "cardiac-sunnybrook-dicom"
        with (folder / "link.csv").open(encoding="utf-8") as file:
            patients = {row["original_id"]: row["patient_id"] for row in csv.DictReader(file)}
        errors, differing, borders = [], 0, 0
        paths = sorted(folder.rglob("*icontour-manual.txt"))
        assert len(paths) == 96
        for path in paths:
            points = read_contour_file(path)
            mask = fill_contour(points, (256, 256))
            errors.append(mask.sum() / contour_area(points) - 1)
            number = int(path.name.split("-")[2])
            labels = np.load(folder / "labels_npy" / patients[path.parts[-3]] / f"{number}.npy")
            shares = coverage(points, (256, 256))
            # The labels there were made of 8 × 8 places a pixel, and hold all pixels that are exactly half covered.
            np.testing.assert_array_equal(shares >= 0.5 - 1e-9, labels == 1)
            differing += int((mask != (labels == 1)).sum())
            borders += int(((shares > 0) & (shares < 1)).sum())
        assert abs(np.mean(errors)) < 0.0005
        assert np.std(errors) < 0.001
        assert differing < 0.15 * borders


class TestCombineMasks:
    def test_what_comes_later_covers_what_came_before(self):
        masks = {3: np.array([[1, 1, 0]], bool), 7: np.array([[0, 1, 1]], bool), 9: np.array([[0, 0, 0]], bool)}
        voxels, overlaps = combine_masks(masks, (7, 3, 9, 1))
        np.testing.assert_array_equal(voxels, [[3, 3, 7]])
        assert overlaps == {(7, 3): 1}
        np.testing.assert_array_equal(combine_masks(masks, (3, 7, 9))[0], [[3, 7, 7]])

    @pytest.mark.parametrize(
        ("labels", "order"), [((1, 2), (1,)), ((1, 2), (1, 2, 2)), ((1, 300), (1, 300)), ((0,), (0,))]
    )
    def test_an_order_that_does_not_fit_is_refused(self, labels, order):
        with pytest.raises(LabelError, match="order"):
            combine_masks({label: np.ones((1, 2), bool) for label in labels}, order)

    def test_masks_of_several_shapes_or_none_are_refused(self):
        with pytest.raises(LabelError, match="different shapes"):
            combine_masks({1: np.ones((1, 2), bool), 2: np.ones((2, 1), bool)}, (1, 2))
        with pytest.raises(LabelError, match="are missing"):
            combine_masks({}, (1,))
