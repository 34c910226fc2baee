"""Pixels and cases of each structure, counted while the cases are checked."""

import numpy as np
import pytest
from folders import add_subject, change_label, write_table

from autoseg.data.cases import find_cases, read_case
from autoseg.data.checks import check_cases, examine_cases
from autoseg.image.structures import Structure

STRUCTURES = (Structure(1, "psoas", includes=(2,)), Structure(2, "disc"), Structure(3, "fat"))


@pytest.fixture
def folder(tmp_path):
    for subject in ("Anna", "Bert"):
        add_subject(tmp_path, subject)
    return tmp_path


def test_as_many_as_the_masks_have(folder):
    change_label(folder, "Anna_01", lambda labels: np.where(labels == 3, 0, labels))
    cases = find_cases(folder, structures=STRUCTURES)
    told = []
    examined = examine_cases(cases, tell=told.append)
    maps = [read_case(case, STRUCTURES)[1] for case in cases.cases]
    assert [(count.name, count.pixels, count.cases) for count in examined.counts] == [
        (s.name, sum(int(m.mask(s.label).sum()) for m in maps), 3 if s.label == 3 else 4) for s in STRUCTURES
    ]
    assert told == [1, 2, 3, 4]
    assert examined.findings == check_cases(cases)


def test_where_it_was_drawn_and_values_without_a_name(folder):
    change_label(folder, "Anna_01", lambda labels: np.where(labels == 3, 9, labels))
    rows = [f"{name},1,1,0" for name in ("Anna_01",)] + [
        f"{name},1,1,1" for name in ("Anna_02", "Bert_01", "Bert_02")
    ]
    write_table(folder, "annotated.csv", "case_id,psoas,disc,fat", *rows)
    counts = examine_cases(find_cases(folder, structures=STRUCTURES)).counts
    assert [(c.label, c.name, c.cases, c.drawn_cases) for c in counts[2:]] == [(3, "fat", 3, 3), (9, "", 1, 4)]
    assert counts[3].pixels > 0
