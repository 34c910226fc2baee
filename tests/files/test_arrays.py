"""Plain arrays are read whole or not at all, and labels are whole numbers."""

import numpy as np
import pytest

from autoseg.errors import LabelError, ReadError
from autoseg.files.arrays import ROUNDED, read_npy, whole_numbers


@pytest.mark.parametrize("dtype", ["u1", ">i2", "f4", "?", "c8"])
def test_an_array_comes_back(tmp_path, dtype):
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    np.save(tmp_path / "a.npy", np.asfortranarray(array))
    np.testing.assert_array_equal(read_npy(tmp_path / "a.npy"), array)


@pytest.mark.parametrize("shape", [(0,), (0, 5), (3, 0, 4)])
def test_nothing_is_refused(tmp_path, shape):
    np.save(tmp_path / "a.npy", np.zeros(shape))
    with pytest.raises(ReadError, match=rf"a\.npy is empty: its shape is \({shape[0]},"):
        read_npy(tmp_path / "a.npy")


def test_a_header_that_promises_too_much_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((10, 10)))
    data = (tmp_path / "a.npy").read_bytes().replace(b"(10, 10)", b"(9999999999, 9999999999)", 1)
    (tmp_path / "a.npy").write_bytes(data)
    with pytest.raises(ReadError, match=r"announces float64 .* which the 1 kB that are there cannot hold"):
        read_npy(tmp_path / "a.npy")


def test_whole_numbers_are_small_where_they_can_be(tmp_path):
    for values, dtype in (([0.0, 255.0], np.uint8), ([0.0, 256.0], np.int64), ([-1.0, 0.0], np.int64)):
        whole = whole_numbers(tmp_path / "a", np.array(values))
        assert whole.dtype == dtype
        np.testing.assert_array_equal(whole, values)


def test_roundings_are_forgiven_only_where_the_file_rounds(tmp_path):
    values = np.array([0.0, 0.9999, 3.004])
    np.testing.assert_array_equal(whole_numbers(tmp_path / "a", values, within=ROUNDED), [0, 1, 3])
    for broken in (values, np.array([0.5]), np.array([np.nan]), np.array([np.inf]), np.array([1e20])):
        with pytest.raises(LabelError, match="not whole"):
            whole_numbers(tmp_path / "a", broken)
    with pytest.raises(LabelError, match="not whole"):
        whole_numbers(tmp_path / "a", np.array([0.99]), within=ROUNDED)
