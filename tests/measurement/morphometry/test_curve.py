"""The smooth curve: exact for lines and parabolas, near a circle, quiet where the centroids are noisy."""

import numpy as np
import pytest
from scipy.interpolate import make_smoothing_spline

from autoseg.errors import DataError
from autoseg.measurement.morphometry import smooth_curve


def test_lines_and_parabolas_are_kept_exactly_also_at_the_ends():
    along = np.arange(30) * 3.0
    points = np.stack([0.4 * along - 2, 0.01 * along**2, along], axis=1)
    curve = smooth_curve(points, along, smoothing_mm=20)
    assert curve.points_mm == pytest.approx(points, abs=1e-6)
    slope = np.stack([np.full(30, 0.4), 0.02 * along, np.ones(30)], axis=1)
    assert curve.tangents == pytest.approx(slope / np.linalg.norm(slope, axis=1, keepdims=True), abs=1e-6)


def test_its_length_is_that_of_a_circle():
    angle = np.linspace(-0.6, 0.6, 41)
    positions = 80 * np.sin(angle)
    even = np.linspace(positions[0], positions[-1], 41)
    points = np.stack([np.sqrt(80**2 - even**2), np.zeros(41), even], axis=1)
    curve = smooth_curve(points, even - even[0])
    assert curve.length_mm == pytest.approx(80 * 1.2, rel=1e-3)
    assert np.linalg.norm(curve.tangents, axis=1) == pytest.approx(np.ones(41))


def test_points_at_lengths_lie_that_far_apart():
    along = np.arange(20) * 2.0
    curve = smooth_curve(np.stack([0.02 * along**2, 0 * along, along], axis=1), along)
    points, tangents = curve.at(np.arange(0, curve.length_mm, 0.5))
    assert np.linalg.norm(np.diff(points, axis=0), axis=1) == pytest.approx(np.full(len(points) - 1, 0.5), rel=1e-3)
    steps = np.diff(points, axis=0) / 0.5
    assert steps == pytest.approx((tangents[1:] + tangents[:-1]) / 2, abs=1e-3)


def test_noise_is_smoothed_alike_whatever_the_distance_of_the_sections():
    noise = np.random.default_rng(4)
    for step in (0.5, 1.0, 3.0):
        along = np.arange(0, 120, step)
        slopes = []
        for _ in range(20):
            jitter = noise.normal(0, 0.2, (len(along), 3)) * [1, 1, 0]
            curve = smooth_curve(np.stack([0 * along, 0 * along, along], axis=1) + jitter, along)
            slopes.append(np.degrees(np.arccos(np.clip(curve.tangents[:, 2], -1, 1))))
        # The centroids themselves would point up to tens of degrees aside.
        assert np.mean(slopes) < 3.0


def test_waves_longer_than_the_smoothing_stay_and_shorter_ones_go():
    """A sine keeps 1 / (1 + (2 pi L / wave)^6) of its height, in the middle of a long curve."""
    along = np.arange(0, 400, 2.0)
    for wave in (30.0, 38.0, 60.0):
        points = np.stack([np.sin(2 * np.pi * along / wave), 0 * along, along], axis=1)
        kept = smooth_curve(points, along, smoothing_mm=6).points_mm[60:140, 0]
        assert kept.max() == pytest.approx(1 / (1 + (2 * np.pi * 6 / wave) ** 6), abs=0.03)


def test_it_bends_at_its_ends_where_a_natural_spline_is_straight():
    along = np.arange(0, 61, 2.0)
    points = np.stack([0.01 * along**2, 0 * along, along], axis=1)
    natural = make_smoothing_spline(along, points[:, 0], lam=6.0**4 / 2)
    ours = smooth_curve(points, along, smoothing_mm=6).tangents[-1]
    assert ours[0] / ours[2] == pytest.approx(1.2, rel=1e-3)
    assert float(natural.derivative()(60)) < 1.15


def test_gaps_are_bridged():
    along = np.arange(20) * 3.0
    points = np.stack([0.3 * along, 0 * along, along], axis=1)
    weights = np.ones(20)
    weights[7:11] = 0
    points[7:11] = 99
    curve = smooth_curve(points, along, weights=weights)
    assert curve.points_mm[8] == pytest.approx([0.3 * 24, 0, 24])


def test_three_sections_are_the_fewest():
    points = [[0, 0, 0], [0, 0, 3], [0, 0.0, 6]]
    assert smooth_curve(points, [0, 3, 6]).length_mm == pytest.approx(6)
    with pytest.raises(DataError, match="at least 3 sections; 2 show it"):
        smooth_curve(points, [0, 3, 6], weights=[1, 0, 1])
    for wrong in (0, -1, float("nan")):
        with pytest.raises(DataError, match="smoothing of the curve is"):
            smooth_curve(points, [0, 3, 6], smoothing_mm=wrong)
