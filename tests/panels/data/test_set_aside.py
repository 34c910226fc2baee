"""Patients set aside for a last test, by a click."""

import pytest
from folders import add_subject

from autoseg.data.cases import Pseudonyms, find_cases
from autoseg.data.test_subjects import read_ledger, record_look
from autoseg.panels.data.data import SetAsidePanel

NAMES = Pseudonyms({"Anna": "patient 1", "Bert": "patient 2"})


@pytest.fixture
def cases(tmp_path):
    for subject in ("Anna", "Bert"):
        add_subject(tmp_path, subject)
    return find_cases(tmp_path)


def shown(cases, changed=None, **options):
    panel = SetAsidePanel(changed)
    panel.show(cases, **options)
    return panel


def test_ticked_patients_are_set_aside(cases):
    told = []
    panel = shown(cases, lambda: told.append(1), names=NAMES)
    assert [box.description for box in panel.boxes.values()] == ["patient 1 (2 images)", "patient 2 (2 images)"]
    assert panel.value is None
    panel.boxes["Bert"].value = True
    panel.freeze_button.click()
    assert read_ledger(cases.folder).subjects == ("Bert",)
    assert told == [1]
    assert "Nobody has looked" in panel.state.value
    assert shown(cases).boxes["Bert"].value
    assert shown(cases).boxes["Bert"].description.startswith("Bert")


def test_after_a_look_they_stay_and_looks_are_counted(cases):
    shown(cases).freeze(["Bert"])
    for _ in range(2):
        record_look(cases.folder, "heart")
    panel = shown(cases)
    assert "looked at 2 times (heart)" in panel.state.value
    assert panel.freeze_button.disabled
    assert all(box.disabled for box in panel.boxes.values())


@pytest.mark.parametrize(("subjects", "words"), [([], "No test patient is named"), (["Anna", "Bert"], "")])
def test_nobody_and_everybody_are_refused(cases, subjects, words):
    panel = shown(cases)
    panel.freeze(subjects)
    assert 'role="alert"' in panel.message.value
    assert words in panel.message.value
    assert "Traceback" not in panel.message.value
    assert read_ledger(cases.folder) is None


def test_what_was_kept_beside_other_data_is_not_said_of_these(cases, tmp_path_factory):
    panel = shown(cases)
    panel.freeze(["Bert"])
    assert "Kept beside your data" in panel.message.value
    panel.show(cases)
    assert "Kept beside your data" in panel.message.value
    other = tmp_path_factory.mktemp("other")
    add_subject(other, "Carl")
    panel.show(find_cases(other))
    assert panel.message.value == ""


def test_patients_that_another_notebook_set_aside_are_not_replaced_unseen(cases):
    told = []
    panel, other = shown(cases, lambda: told.append(1)), shown(cases)
    other.freeze(["Anna"])
    panel.freeze(["Bert"])
    assert "Another program has set patients aside" in panel.message.value
    assert read_ledger(cases.folder).subjects == ("Anna",)
    assert told == [1]  # the folder is read again, and shows them
    panel.show(cases)
    assert panel.boxes["Anna"].value
    panel.freeze(["Bert"])
    assert read_ledger(cases.folder).subjects == ("Bert",)
