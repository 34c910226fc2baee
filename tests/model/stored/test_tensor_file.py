"""Files of tensors and plain values: whole or not there, every byte as it was written, and never executed."""

import os
import zipfile

import pytest
import torch

from autoseg.errors import ModelFileError
from autoseg.model.stored.tensor_file import KINDS, MODEL, UNFINISHED, read_plain, read_tensors, write_tensors

CONTENT = {"weights": {"a": torch.arange(6.0).reshape(2, 3)}, "epoch": 3, "names": ["x"], "none": None}


@pytest.fixture
def path(tmp_path):
    return write_tensors(CONTENT, tmp_path / "a.pt", MODEL)


@pytest.fixture
def earlier(tmp_path):
    """Give a file as versions without digests wrote it."""
    torch.save({"format": MODEL.format, "format_version": 2, **CONTENT}, tmp_path / "earlier.pt")
    return tmp_path / "earlier.pt"


@pytest.mark.parametrize("which", ["path", "earlier"])
def test_what_was_written_is_read(which, request):
    path = request.getfixturevalue(which)
    again = read_tensors(path, MODEL)
    assert torch.equal(again["weights"]["a"], CONTENT["weights"]["a"])
    assert {key: again[key] for key in ("epoch", "names", "none")} == {"epoch": 3, "names": ["x"], "none": None}
    facts = read_plain(path, MODEL)
    assert facts["weights"]["a"].is_meta
    assert facts["weights"]["a"].shape == (2, 3)
    assert {**facts, "weights": None} == {**again, "weights": None}
    # An earlier autoseg reads it as well.
    assert torch.equal(torch.load(path, weights_only=True)["weights"]["a"], CONTENT["weights"]["a"])


def test_every_kind_of_tensor_comes_back(tmp_path):
    base = torch.arange(12.0).reshape(3, 4)
    kinds = (torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.uint8, torch.bool)
    tensors = {str(kind): base.to(kind) for kind in kinds}
    tensors |= {"empty": torch.empty(0, 3), "single": torch.tensor(2.5), "turned": base.T, "part": base[1:, 1:3]}
    again = read_tensors(write_tensors({"weights": tensors}, tmp_path / "a.pt", MODEL), MODEL)["weights"]
    for name, value in tensors.items():
        assert torch.equal(again[name], value), name
        assert again[name].dtype == value.dtype
    again["part"][0, 0] = 99  # what lay in one storage does so again
    assert again["turned"][1, 1] == 99


def _refused(path, data):
    path.write_bytes(data)
    with pytest.raises(ModelFileError, match=r"a\.pt"):
        read_tensors(path, MODEL)


def test_a_change_of_any_byte_is_refused(path):
    data = path.read_bytes()
    for place in range(0, len(data), 5):  # all 8 bits of all bytes were tried once
        changed = bytearray(data)
        changed[place] ^= 1 << place % 8
        _refused(path, changed)
    path.write_bytes(data)
    read_tensors(path, MODEL)


def test_lost_zeroed_exchanged_and_added_bytes_are_refused(path):
    data = path.read_bytes()
    for place in range(0, len(data), 37):
        _refused(path, data[:place])
        _refused(path, data[:place] + data[place + 16 :])
        _refused(path, data[:place] + b"\0\1" + data[place:])
        if any(data[place : place + 16]):
            _refused(path, data[:place] + bytes(len(data[place : place + 16])) + data[place + 16 :])
    numbers = data.index(CONTENT["weights"]["a"].numpy().tobytes())
    first, second = data[numbers : numbers + 4], data[numbers + 4 : numbers + 8]
    _refused(path, data[:numbers] + second + first + data[numbers + 8 :])
    _refused(path, data + b"\0")


def test_what_a_list_shows_is_as_it_was_written(path):
    data = bytearray(path.read_bytes())
    at = data.index(b"epoch")
    data[at] ^= 1
    path.write_bytes(data)
    with pytest.raises(ModelFileError, match="damaged"):
        read_plain(path, MODEL)


def test_a_changed_number_in_an_earlier_file_is_refused(earlier):
    data = bytearray(earlier.read_bytes())
    data[data.index(CONTENT["weights"]["a"].numpy().tobytes()) + 7] ^= 4
    earlier.write_bytes(data)
    assert torch.load(earlier, weights_only=True)["weights"]["a"][0, 1] != 1  # torch itself does not look
    with pytest.raises(ModelFileError, match="not as they were written"):
        read_tensors(earlier, MODEL)


def _rewritten(path, target, change, **how):
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w", **how) as new:
        for member in old.infolist():
            for name, data in change(member.filename, old.read(member)):
                new.writestr(name, data)
    return target


def test_compressed_and_repeated_parts_are_refused(earlier, tmp_path):
    as_it_is = _rewritten(earlier, tmp_path / "same.pt", lambda name, data: [(name, data)])
    assert read_tensors(as_it_is, MODEL)["epoch"] == 3
    smaller = _rewritten(
        earlier, tmp_path / "a.pt", lambda name, data: [(name, data)], compression=zipfile.ZIP_DEFLATED
    )
    with pytest.raises(ModelFileError, match=r"a\.pt"):
        read_tensors(smaller, MODEL)
    with pytest.warns(UserWarning, match="Duplicate"):
        twice = _rewritten(earlier, tmp_path / "a.pt", lambda name, data: [(name, data)] * 2)
    with pytest.raises(ModelFileError, match=r"a\.pt"):
        read_tensors(twice, MODEL)


def test_numbers_that_are_not_there_are_refused_before_memory_is_taken(tmp_path):
    path = tmp_path / "a.pt"
    many = torch.zeros(1).expand(10**9, 1000)  # one number, repeated
    torch.save({"format": MODEL.format, "format_version": 2, "weights": {"a": many}}, path)
    with pytest.raises(ModelFileError, match="more numbers than it holds"):
        read_tensors(path, MODEL)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("\ud800", "no text that can be shown"),
        ("x" * 2_000_000, "a text of 2,000,000 characters"),
        (2**200, "a whole number of 201 bits"),
        ({1, 2}, "code or objects"),
        (b"bytes", "code or objects"),
        ({2.5: 1, ("a",): 2}, "neither a number nor a text"),
    ],
)
def test_values_that_no_training_has_are_refused(tmp_path, value, words):
    torch.save({"format": MODEL.format, "format_version": 2, "name": value}, tmp_path / "a.pt")
    for read in (read_plain, read_tensors):
        with pytest.raises(ModelFileError, match=words):
            read(tmp_path / "a.pt", MODEL)


def test_values_within_each_other_without_an_end_are_refused(tmp_path):
    deep, wide = [], [0]
    for _ in range(100):
        deep = [deep]
    for _ in range(30):
        wide = [wide] * 10  # 10³⁰ values, of which a file needs a few hundred bytes
    itself = []
    itself.append(itself)
    for value in (deep, wide, itself):
        torch.save({"format": MODEL.format, "format_version": 2, "name": value}, tmp_path / "a.pt")
        with pytest.raises(ModelFileError, match="without an end"):
            read_plain(tmp_path / "a.pt", MODEL)


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


def test_what_is_no_file_is_told_apart(tmp_path, monkeypatch):
    (tmp_path / "folder.pt").mkdir()
    (tmp_path / "empty.pt").touch()
    for name, words in (
        ("folder.pt", "is a folder"), ("none.pt", "is not there"), ("empty.pt", "only a part of one"),
    ):  # fmt: skip
        with pytest.raises(ModelFileError, match=words):
            read_plain(tmp_path / name, MODEL)

    def denied(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", denied)
    with pytest.raises(ModelFileError, match=r"empty\.pt could not be read: Permission denied.*may read it"):
        read_plain(tmp_path / "empty.pt", MODEL)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes that have a name")
def test_a_pipe_is_not_waited_for_and_a_link_to_nothing_is_said(tmp_path):
    os.mkfifo(tmp_path / "pipe.pt")
    (tmp_path / "link.pt").symlink_to(tmp_path / "gone")
    with pytest.raises(ModelFileError, match="no ordinary file"):
        read_plain(tmp_path / "pipe.pt", MODEL)
    with pytest.raises(ModelFileError, match="leads to a file that is not there"):
        read_plain(tmp_path / "link.pt", MODEL)
