"""What was not drawn, and what really is not there: said once for each structure, and asked no more."""

import numpy as np
import pytest
from folders import add_subject, change_label

from autoseg.data.cases import declare_absent, declare_drawn, declare_missing, declare_unknown, find_cases
from autoseg.data.checks import check_cases, examine_cases
from autoseg.errors import DataError

NAMES = {1: "psoas", 2: "disc", 3: "fat"}


@pytest.fixture
def folder(tmp_path):
    """Give two subjects; disc and fat are each absent from half of the slices."""
    for subject in ("Anna", "Bert"):
        add_subject(tmp_path, subject)
        change_label(tmp_path, f"{subject}_01", lambda labels: np.where(labels == 2, 0, labels))
        change_label(tmp_path, f"{subject}_02", lambda labels: np.where(labels == 3, 0, labels))
    return tmp_path


def found(folder):
    return find_cases(folder, structures=NAMES)


def asked(folder):
    return [finding.label for finding in check_cases(found(folder)) if finding.kind == "absent"]


def test_each_structure_is_asked_for_until_it_is_answered(folder):
    assert asked(folder) == [2, 3]
    declare_missing(found(folder), "disc")
    assert asked(folder) == [3]
    declare_absent(found(folder), "Fat")
    assert asked(folder) == []
    assert [case.annotated for case in found(folder).cases] == [{1, 3}, {1, 2, 3}] * 2


def test_the_answer_that_it_is_not_there_leaves_it_drawn(folder):
    known = declare_absent(found(folder), "disc")
    assert known.cases == found(folder).cases
    assert all(case.annotated == {1, 2, 3} and case.unsaid == {1, 3} for case in known.cases)
    assert (folder / "annotated.csv").read_text().splitlines()[1] == "Anna_01,?,1,?"


def test_an_answer_is_taken_back(folder):
    declare_missing(found(folder), "disc")
    declare_unknown(found(folder), "disc")
    assert asked(folder) == [2, 3]
    assert all(case.annotated == {1, 2, 3} for case in found(folder).cases)


def test_a_structure_that_is_not_there_is_named(folder):
    for declare in (declare_absent, declare_unknown, declare_missing):
        with pytest.raises(DataError, match="No structure is called 'bone'"):
            declare(found(folder), "bone")


def test_a_structure_is_drawn_after_all_and_nothing_is_read_where_the_labels_are_known(folder, monkeypatch):
    before = found(folder)
    seen = examine_cases(before).seen
    monkeypatch.setattr("autoseg.data.cases.annotated.read_case", None)
    known = declare_missing(before, "disc", seen=seen)
    missing = [case.case_id for case in known.cases if not case.is_drawn(2)]
    assert missing == [case_id for case_id, values in seen.items() if 2 not in values]
    with pytest.raises(DataError, match="is drawn on"):
        declare_missing(known, "psoas", case_ids=missing, seen=seen)
    after = declare_drawn(known, "disc", case_ids=missing[:1])
    assert [case.case_id for case in after.cases if not case.is_drawn(2)] == missing[1:]
    assert [case.is_drawn(2) for case in found(folder).cases] == [case.is_drawn(2) for case in after.cases]
