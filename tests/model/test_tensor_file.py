"""Files of tensors and plain values: whole or not there, and never executed."""

import pytest
import torch

from autoseg.errors import ModelFileError
from autoseg.model.tensor_file import KINDS, MODEL, UNFINISHED, read_tensors, write_tensors

CONTENT = {"weights": {"a": torch.arange(6.0).reshape(2, 3)}, "epoch": 3, "names": ["x"], "none": None}


@pytest.mark.parametrize("lazily", [False, True])
def test_what_was_written_is_read(lazily, tmp_path):
    path = write_tensors(CONTENT, tmp_path / "a.pt", MODEL)
    again = read_tensors(path, MODEL, lazily=lazily)
    assert torch.equal(again["weights"]["a"], CONTENT["weights"]["a"])
    assert {key: again[key] for key in ("epoch", "names", "none")} == {"epoch": 3, "names": ["x"], "none": None}
    # What was read lazily must not keep the file from being replaced.
    del again
    assert write_tensors(CONTENT, path, MODEL) == path


def test_kinds_are_told_apart(tmp_path):
    path = write_tensors(CONTENT, tmp_path / "a.pt", UNFINISHED)
    with pytest.raises(ModelFileError, match=r"a\.pt is an unfinished training, not a model file"):
        read_tensors(path, MODEL)
    assert set(KINDS) == {"autoseg model", "autoseg unfinished training"}
    for kind in KINDS.values():
        assert kind.version in kind.readable


def test_something_else_than_a_table_is_refused(tmp_path):
    torch.save([1, 2], tmp_path / "a.pt")
    with pytest.raises(ModelFileError, match="not written by autoseg"):
        read_tensors(tmp_path / "a.pt", MODEL)
    torch.save({"format": ["autoseg model"]}, tmp_path / "a.pt")
    with pytest.raises(ModelFileError, match="not written by autoseg"):
        read_tensors(tmp_path / "a.pt", MODEL)


def test_a_pickle_that_is_cut_short_inside_is_damaged(tmp_path, monkeypatch):
    path = write_tensors({"a": 1}, tmp_path / "a.pt", MODEL)

    def load(*_, **__):
        raise IndexError("pop from empty list")  # of torch's own reader; benchmarks/fuzz.py met it

    monkeypatch.setattr(torch, "load", load)
    with pytest.raises(ModelFileError, match="damaged"):
        read_tensors(path, MODEL)
