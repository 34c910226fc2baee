"""Test subjects are frozen once, and every look at them is counted."""

import json

import pytest

from autoseg.data.test_subjects import FILE, freeze_test_subjects, read_ledger, record_look
from autoseg.errors import DataError, OutputError, ReadError


def test_nothing_is_frozen_at_first(tmp_path):
    assert read_ledger(tmp_path) is None
    with pytest.raises(DataError, match=r"No test patients are frozen.*train --test-subject"):
        record_look(tmp_path, "model")


def test_subjects_are_frozen_and_looks_counted(tmp_path):
    ledger = freeze_test_subjects(tmp_path, ["p9", "p1", "p9"])
    assert ledger.subjects == ("p1", "p9")
    assert "Nobody has looked at the scores yet" in ledger.note
    assert freeze_test_subjects(tmp_path, ("p1", "p9")) == ledger == read_ledger(tmp_path)
    assert "looked at once" in record_look(tmp_path, "first").note
    record_look(tmp_path, "second")
    ledger = record_look(tmp_path, "first")
    assert [look.model for look in ledger.looks] == ["first", "second", "first"]
    assert ledger == read_ledger(tmp_path)
    assert "3 times (first, second)" in ledger.note
    assert "too good" in ledger.note
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_other_subjects_are_refused_and_the_old_ones_kept(tmp_path):
    freeze_test_subjects(tmp_path, "p1")
    record_look(tmp_path, "model")
    for others in (["p1", "p2"], ["p3"]):
        with pytest.raises(DataError, match=r"frozen since .*p1.*looked at 1 time.*copy the data"):
            freeze_test_subjects(tmp_path, others)
    with pytest.raises(DataError, match="No test patient is named"):
        freeze_test_subjects(tmp_path, [])
    assert read_ledger(tmp_path).subjects == ("p1",)


def test_as_long_as_nobody_looked_others_can_be_named(tmp_path):
    freeze_test_subjects(tmp_path, ["tpyo"])
    assert freeze_test_subjects(tmp_path, ["p1", "p2"]).subjects == ("p1", "p2")
    assert read_ledger(tmp_path).subjects == ("p1", "p2")
    record_look(tmp_path, "model")
    with pytest.raises(DataError, match="looked at 1 time"):
        freeze_test_subjects(tmp_path, ["tpyo"])


@pytest.mark.parametrize(
    "content", ["", "[]", '{"subjects": ["a"]}', '{"subjects": 3, "frozen": "x", "looks": []}']
)
def test_a_damaged_ledger_is_said_and_not_overwritten(content, tmp_path):
    path = tmp_path / FILE
    path.write_text(content, encoding="utf-8")
    for attempt in (lambda: read_ledger(tmp_path), lambda: freeze_test_subjects(tmp_path, ["a"])):
        with pytest.raises(ReadError, match=r"test_subjects\.json cannot be read.*backup"):
            attempt()
    assert path.read_text(encoding="utf-8") == content


def test_names_survive_as_they_are(tmp_path):
    freeze_test_subjects(tmp_path, ["Köln-1", "sub 2"])
    assert json.loads((tmp_path / FILE).read_text(encoding="utf-8"))["subjects"] == ["Köln-1", "sub 2"]


def test_a_place_that_cannot_be_written_to_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="could not be written"):
        freeze_test_subjects(tmp_path / "file", ["a"])


def test_a_look_says_which_model_of_its_name_it_was_and_older_ledgers_are_read(tmp_path):
    freeze_test_subjects(tmp_path, ["a"])
    record_look(tmp_path, "m", "0123")
    assert read_ledger(tmp_path).looks[0].digest == "0123"
    content = json.loads((tmp_path / FILE).read_text(encoding="utf-8"))
    del content["looks"][0]["digest"]
    (tmp_path / FILE).write_text(json.dumps(content), encoding="utf-8")
    assert read_ledger(tmp_path).looks[0].model == "m"
