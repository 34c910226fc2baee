import numpy as np
import pytest

from autoseg.model.centreline import smooth


def test_it_minimises_what_it_says_it_minimises():
    rng = np.random.default_rng(0)
    values, weights, step = rng.normal(size=(30, 2)), rng.uniform(0, 1, 30), 0.5
    weights[10:15] = 0
    found = smooth(values, weights, step_mm=step, wavelength_mm=9.0, flatten_mm=25.0)
    bend = (9.0 / (2 * np.pi)) ** 4
    first, second = np.diff(np.eye(30), axis=0) / step, np.diff(np.eye(30), 2, axis=0) / step**2
    matrix = np.diag(weights) + bend * second.T @ second + bend / 25.0**2 * first.T @ first
    assert found == pytest.approx(np.linalg.solve(matrix, weights[:, None] * values), abs=1e-8)


def test_a_wave_of_the_named_length_is_halved_and_a_long_one_kept():
    places = np.arange(0, 600, 0.5)
    for length, kept in ((20.0, 0.5), (200.0, 1 / (1 + 0.1**4))):
        wave = np.sin(2 * np.pi * places / length)[:, None]
        found = smooth(wave, np.ones(len(wave)), step_mm=0.5, wavelength_mm=20.0)[400:800]
        assert np.abs(found).max() == pytest.approx(kept, abs=0.01)


def test_gaps_are_bridged_and_both_ends_go_on_straight_or_bend_back():
    places = np.arange(0, 200.0)
    weights = ((places > 60) & (places < 140) & ~((places > 90) & (places < 105))).astype(float)
    line = (3 + 0.25 * places)[:, None]
    assert smooth(line, weights, step_mm=1, wavelength_mm=20) == pytest.approx(line, abs=0.02)
    bent = smooth(line, weights, step_mm=1, wavelength_mm=20, flatten_mm=30.0)
    assert bent[70:130] == pytest.approx(line[70:130], abs=0.1)
    slopes = np.diff(bent[:, 0])
    assert slopes[142] > 0.15
    assert slopes[-2] < 0.07


def test_a_single_known_place_gives_an_upright_line():
    weights = np.zeros(50)
    weights[20] = 1
    assert smooth(np.full((50, 2), 7.0), weights, step_mm=1, wavelength_mm=20) == pytest.approx(7.0, abs=1e-3)
    assert smooth(np.array([[1.0], [5.0]]), np.array([0.0, 1.0]), step_mm=1, wavelength_mm=20).tolist() == [
        [5],
        [5],
    ]
