"""A case is recognised under another name, and neither what looks alike nor another person is taken for it."""

import cv2
import numpy as np
import pytest
from discs import make_pair

from autoseg.data.duplicates import NEARLY_THE_SAME, case_facts, find_duplicate, shown_slices
from autoseg.image.image import Image, LabelMap, Source


def facts(voxels, **source):
    image = Image(np.asarray(voxels), source=Source(**source))
    return case_facts(image, LabelMap(np.zeros(image.shape, dtype=np.uint8)))


def anatomy(number):
    """Smooth shapes, different for every number."""
    noise = np.random.default_rng(number).normal(size=(1, 96, 80))
    smooth = np.stack([cv2.GaussianBlur(one, (0, 0), 6) for one in noise])
    return (1000 * (smooth - smooth.min())).astype(np.float32)


def as_picture(voxels):
    low, high = np.percentile(voxels, (2, 98))
    return (255 * np.clip((voxels - low) / (high - low), 0, 1)).astype(np.uint8)


def test_facts_of_a_case():
    image, label_map = make_pair(3)
    found = case_facts(image, label_map)
    assert found.slices == 2
    assert found.labels == {1, 5}
    assert found.uids == frozenset()
    assert found.digest == case_facts(image, label_map).digest != case_facts(*make_pair(4)).digest


def test_identical_pixels():
    found = find_duplicate({"a": facts(anatomy(1)), "b": facts(anatomy(2))}, {"c": facts(anatomy(2))})
    assert (found.one, found.two) == ("b", "c")
    assert "identical pixels" in found.what


def test_the_same_series():
    found = find_duplicate(
        {"a": facts(anatomy(1), series_uid="1.2.3")}, {"b": facts(anatomy(2), series_uid="1.2.3")}
    )
    assert "1.2.3" in found.what
    assert find_duplicate({"a": facts(anatomy(1))}, {"b": facts(anatomy(2))}) is None


@pytest.mark.parametrize(
    "change",
    [
        as_picture,
        lambda v: cv2.imdecode(cv2.imencode(".jpg", as_picture(v)[0], [cv2.IMWRITE_JPEG_QUALITY, 50])[1], 0)[None],
        lambda v: cv2.resize(v[0], None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)[None],
        lambda v: cv2.resize(v[0], None, fx=1.7, fy=1.7)[None],
        lambda v: (as_picture(v) / 255.0) ** 0.7,
        lambda v: v + np.random.default_rng(0).normal(0, 5, v.shape),
    ],
    ids=["window", "jpeg", "half", "larger", "gamma", "noise"],
)
def test_what_looks_alike_is_recognised_and_no_duplicate(change):
    """Two people can look alike as much, on a slice with little on it."""
    original = anatomy(5)
    one, other = facts(original), facts(change(original))
    assert (shown_slices(one) @ shown_slices(other).T).max() >= NEARLY_THE_SAME
    assert find_duplicate({"a": one}, {"b": other}) is None


@pytest.mark.parametrize("dtype", [np.int16, np.float64])
def test_the_same_pixels_of_one_slice_among_others(dtype):
    shared = np.rint(anatomy(5)).astype(np.float32)
    other = np.concatenate([anatomy(7), shared, anatomy(8)]).astype(dtype)
    found = find_duplicate({"a": facts(shared)}, {"b": facts(other)})
    assert (found.one, found.two, found.what) == ("a", "b", "have a slice with identical pixels")


def test_empty_slices_are_no_copies_of_each_other():
    empty = np.zeros((2, 40, 40))
    spot = empty.copy()
    spot[:, 20, 20] = 1  # one hot pixel is no anatomy
    assert find_duplicate({"a": facts(empty)}, {"b": facts(empty + 1)}) is None
    assert find_duplicate({"a": facts(spot)}, {"b": facts(2 * spot + 1)}) is None


def test_two_hundred_people_are_not_mistaken_for_each_other():
    people = {str(number): facts(anatomy(number)) for number in range(200)}
    some = {name: fact for name, fact in people.items() if int(name) < 100}
    assert find_duplicate(some, {name: fact for name, fact in people.items() if name not in some}) is None
