"""Pictures of findings: the slice as it is, and beside it as the repair would have it."""

import numpy as np
import pytest
from folders import add_subject, change_label

from autoseg.data.cases import find_cases
from autoseg.data.checks import Finding, check_cases
from autoseg.data.repairs import relabel
from autoseg.report.figures import show_findings

NAMES = {1: "psoas", 2: "disc", 3: "fat"}


@pytest.fixture
def found(tmp_path):
    for subject in ("Anna", "Bert"):
        add_subject(tmp_path, subject)
    return find_cases(tmp_path, structures=NAMES)


def finding_of(found, **changes):
    case = found.cases[0]
    return Finding("error", case.case_id, case.label_path, "Problem.", "Remedy.", kind="sides", **changes)


def pictures(figure):
    """Give the drawn arrays of each panel, None of an empty one."""
    return [ax.images[0].get_array() if ax.images else None for ax in figure.axes]


def test_as_it_is_and_as_the_repair_would_have_it(found):
    case = found.cases[0].case_id
    figure = show_findings([finding_of(found, repairs=(relabel(case, {1: 2, 2: 1}),))], found)
    before, after = pictures(figure)
    assert before.shape == after.shape
    assert not np.array_equal(before, after)
    titles = [ax.get_title() for ax in figure.axes]
    assert titles[0] == f"error (sides): {case}"
    assert titles[1] == "if values are renamed: 1 becomes 2, 2 becomes 1"


def test_without_a_repair_the_second_panel_is_empty(found):
    before, after = pictures(show_findings([finding_of(found)], found))
    assert before is not None
    assert after is None


def test_two_cases_that_are_alike_stand_side_by_side(found):
    pair = (found.cases[0].case_id, found.cases[2].case_id)
    twins = Finding("error", pair[0], found.cases[0].image_path, "Alike.", "Keep one.", kind="twins", cases=pair)
    figure = show_findings([twins], found)
    assert all(picture is not None for picture in pictures(figure))
    assert figure.axes[1].get_title() == pair[1]


def test_what_cannot_be_drawn_is_left_out(found, tmp_path):
    nobody = Finding("warning", "", tmp_path, "About all.", "Nothing.")
    assert len(show_findings([nobody, finding_of(found), finding_of(found)], found, most=1).axes) == 2
    assert show_findings([nobody], found).texts[0].get_text() == "No finding can be shown by a picture."
    assert show_findings([], found).texts[0].get_text() == "Nothing was found."


def test_labels_of_another_shape_and_unknown_values_can_be_looked_at(tmp_path):
    for subject in ("Anna", "Bert"):
        add_subject(tmp_path, subject)
    change_label(tmp_path, "Anna_01", lambda labels: labels.T)
    change_label(tmp_path, "Bert_01", lambda labels: labels.astype(np.int32) * 1000)
    found = find_cases(tmp_path, structures=NAMES)
    findings = [finding for finding in check_cases(found) if finding.kind in ("shape", "values")]
    figure = show_findings(findings, found)
    assert {finding.case_id for finding in findings} == {"Anna_01", "Bert_01"}
    assert any("another shape" in ax.get_title().replace("\n", " ") for ax in figure.axes)
    assert sum(picture is not None for picture in pictures(figure)) == 3  # nobody can tell what 1000 stands for
