"""The labels of all cases are counted, each file once."""

import os

import numpy as np
from folders import add_volumes, made_up_case

from autoseg.data import label_counts
from autoseg.data.cases import find_cases
from autoseg.data.label_counts import count_labels, count_pixels


def test_pixels_are_counted_slice_by_slice():
    voxels = np.zeros((3, 4, 5), np.int32)
    voxels[0, 0, :3], voxels[2, 1, 1], voxels[2, 3] = 7, 7, 255
    voxels[1, 0, 0], voxels[1, 0, 1] = 70000, -1  # what has no name is said elsewhere
    found = count_pixels(voxels)
    assert {label: pixels.tolist() for label, pixels in found.pixels.items()} == {7: [3, 0, 1], 255: [0, 0, 5]}
    assert (found.labels, found.slices, found.slice_pixels) == ({7, 255}, 3, 20)
    assert found.of([7, 255, 9]).tolist() == [3, 0, 6]
    assert count_pixels(np.zeros((2, 3, 3), np.uint8)).of([1]).tolist() == [0, 0]


def test_every_case_is_counted_once_until_its_file_changes(tmp_path, monkeypatch):
    found = find_cases(add_volumes(tmp_path))
    read, real = [], label_counts.read_case_labels
    monkeypatch.setattr(
        label_counts, "read_case_labels", lambda case, s: read.append(case.case_id) or real(case, s)
    )
    counts = count_labels([*found.cases, made_up_case("gone")], found.structures)
    assert sorted(counts) == ["a", "b"]
    assert counts["a"].of([1]).tolist() == [20] * 5
    read.clear()
    assert count_labels(found.cases, found.structures)["b"] is counts["b"]
    assert read == []
    path = found.cases[0].label_path
    os.utime(path, ns=(1, 1))
    count_labels(found.cases, found.structures)
    assert read == ["a"]
