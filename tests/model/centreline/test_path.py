from itertools import product

import numpy as np
import pytest

from autoseg.model.centreline import find_path, longest_run, refine_path


def cost(maps, path, spacing, stiffness, floor=1e-3):
    total = 0.0
    for number, place in enumerate(path):
        total -= spacing[0] * np.log(max(maps[number][tuple(place)], floor))
        if number:
            step = (np.array(place) - path[number - 1]) * spacing[1:]
            total += stiffness * (step**2).sum() / spacing[0]
    return total


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("spacing", "steepest"), [((1.0, 1.0, 1.0), 1.0), ((2.0, 0.7, 1.3), 1.4), ((5, 2, 2), 2)])
def test_the_way_is_the_best_of_all_ways(seed, spacing, steepest):
    rng = np.random.default_rng(seed)
    maps = (rng.uniform(0, 1, (4, 3, 4)) ** 6).astype(np.float32)
    maps[rng.uniform(size=4) < 0.2] = 0  # nothing at all on some slices
    reach = [max(1, int(steepest * spacing[0] / mm + 1e-9)) for mm in spacing[1:]]
    ways = (
        way
        for way in product(product(range(3), range(4)), repeat=4)
        if all(abs(a[k] - b[k]) <= reach[k] for a, b in zip(way[1:], way[:-1], strict=True) for k in range(2))
    )
    best = min(cost(maps, way, spacing, 0.6) for way in ways)
    found = find_path(maps, spacing, stiffness=0.6, steepest=steepest)
    assert cost(maps, found.tolist(), spacing, 0.6) == pytest.approx(best, rel=1e-5)


def bent_tube(count=120, size=96):
    """Blobs along a bent curve, and where their middles are."""
    along = np.arange(count)
    middles = np.column_stack([48 + 20 * np.sin(along / 30), 40 + along / 6])
    rows, columns = np.mgrid[:size, :size]
    square = (rows - middles[:, 0, None, None]) ** 2 + (columns - middles[:, 1, None, None]) ** 2
    return np.exp(-square / 18).astype(np.float32), middles


def test_slices_that_mislead_or_are_blind_are_overruled():
    maps, middles = bent_tube()
    rng = np.random.default_rng(1)
    for number in (10, 11, 50, 100):
        maps[number] = np.roll(maps[number], (30, -25), axis=(0, 1))
    maps[70:85] = 0
    maps += rng.uniform(0, 0.05, maps.shape).astype(np.float32)
    path = find_path(maps, (1.0, 1.0, 1.0))
    strongest = np.array([np.unravel_index(one.argmax(), one.shape) for one in maps])
    assert np.linalg.norm(strongest - middles, axis=1).max() > 30
    assert np.linalg.norm(path - middles, axis=1).max() < 4
    assert np.linalg.norm(path - middles, axis=1)[:65].mean() < 1


def test_a_way_costs_the_same_whatever_the_thickness_of_slices():
    maps, _ = bent_tube()
    thin, thick = find_path(maps, (1.0, 1.0, 1.0)), find_path(maps[::4], (4.0, 1.0, 1.0))
    assert np.linalg.norm(thick - thin[::4], axis=1).max() < 1.5


def test_a_single_slice_or_a_single_column_of_pixels_will_do():
    maps = np.zeros((3, 1, 5), dtype=np.float32)
    maps[:, 0, 3] = 1
    assert find_path(maps, (1.0, 1.0, 1.0)).tolist() == [[0, 3]] * 3
    assert find_path(maps[:1], (1.0, 1.0, 1.0)).tolist() == [[0, 3]]


def test_places_move_to_the_middle_between_pixels():
    maps, middles = bent_tube(40)
    path = np.round(middles).astype(int) + 1
    found, peaks = refine_path(maps, path, (1.0, 1.0, 1.0))
    assert np.linalg.norm(found - middles, axis=1).max() < 0.25
    assert (peaks > 0.95).all()
    nothing, peaks = refine_path(np.zeros_like(maps), path, (1.0, 1.0, 1.0))
    assert nothing.tolist() == path.tolist()
    assert peaks.max() == 0


def test_the_run_with_the_largest_sum_is_found():
    rng = np.random.default_rng(0)
    for _ in range(50):
        values = rng.uniform(0, 1, 12)
        runs = [(i, j) for i in range(12) for j in range(i, 12)]
        sums = {run: (values[run[0] : run[1] + 1] - 0.5).sum() for run in runs}
        found = longest_run(values)
        assert found is not None
        assert sums[found] == pytest.approx(max(sums.values()))
    assert longest_run(np.full(5, 0.2)) is None
