"""Pickles of plain values are read step by step; what they could call is never called, and they cannot grow."""

import pickle
import struct

import pytest

from autoseg.model.stored.pickled import ForeignError, read_pickle

VALUES = {"a": [1, -2, 70000, 2**40, 0.5, float("inf")], "b": (None, True, False, (), (1,), (1, 2)), "é": {}}


def test_plain_values_come_back():
    assert read_pickle(pickle.dumps(VALUES, protocol=2)) == VALUES


@pytest.mark.parametrize("call", [print, len, bytearray, complex])
def test_nothing_is_called(call):
    class Calls:
        def __reduce__(self):
            return call, (10,)

    with pytest.raises(ForeignError):
        read_pickle(pickle.dumps(Calls(), protocol=2))


def test_a_pickle_that_is_cut_short_is_no_pickle():
    whole = pickle.dumps(VALUES, protocol=2)
    for end in range(len(whole)):
        with pytest.raises(ValueError, match="breaks off"):
            read_pickle(whole[:end])


@pytest.mark.parametrize(
    "body", [b"r" + struct.pack("<I", 2**31), b"\x8b" + struct.pack("<I", 2**31), b"X\xff\xff\xff\xff"]
)
def test_sizes_that_are_only_claimed_take_no_memory(body):
    with pytest.raises(ValueError, match="breaks off"):
        read_pickle(b"\x80\x02N" + body)


def test_endless_values_are_given_up(monkeypatch):
    monkeypatch.setattr("autoseg.model.stored.pickled.MOST_STEPS", 1000)
    with pytest.raises(ValueError, match="more than 1,000 values"):
        read_pickle(b"\x80\x02" + b"]" * 2000 + b".")
