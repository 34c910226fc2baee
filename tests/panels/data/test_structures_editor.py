"""The table of structures, typed in the page and kept beside the data."""

import numpy as np
import pytest
from folders import add_subject, change_label

from autoseg.data.cases import find_cases
from autoseg.data.checks import examine_cases
from autoseg.files.tables import read_structures
from autoseg.image.structures import Structure
from autoseg.panels.data.structures_editor import HINT, WIDTHS, StructuresPanel


@pytest.fixture
def folder(tmp_path):
    for subject in ("Anna", "Bert"):
        add_subject(tmp_path, subject)
    return tmp_path


def shown(folder, kept=None):
    panel = StructuresPanel(kept)
    cases = find_cases(folder)
    panel.show(cases, examine_cases(cases).counts)
    return panel


def test_pixels_and_images_stand_beside_each_structure(folder):
    panel = shown(folder)
    cases = find_cases(folder)
    count = examine_cases(cases).counts[0]
    cells = [child.value for child in panel.rows[0].children]
    assert cells[0] == "1"
    assert cells[-2:] == [f"{count.pixels:,}", "4 of 4 drawn"]
    assert panel.value == cases.structures


def test_what_is_typed_is_kept_and_told(folder):
    told = []
    panel = shown(folder, lambda: told.append(1))
    first = panel.rows[0]
    first.name.value, first.side.value, first.colour.value = "psoas left", "left", "#0a0b0c"
    assert HINT in panel.message.value
    panel.keep_button.click()
    assert told == [1]
    assert read_structures(folder / "structures.csv").structures[0] == Structure(
        1, "psoas left", (10, 11, 12), "left"
    )
    assert panel.value == find_cases(folder).structures
    assert "Kept beside your data (structures.csv)" in panel.message.value


def test_parts_and_values_left_out(folder):
    panel = shown(folder)
    panel.rows[0].name.value = "muscle"
    assert ("part of muscle", 1) in panel.rows[1].counts_as.options
    panel.rows[1].counts_as.value = 1
    panel.rows[2].counts_as.value = 0
    assert panel.rows[1].name.disabled
    assert not panel.rows[0].name.disabled
    assert [words for words, _ in panel.rows[0].counts_as.options] == ["a structure", "left out"]
    panel.keep_button.click()
    assert [s.name for s in find_cases(folder).structures] == ["muscle"]
    panel = shown(folder)
    assert [row.naming.counts_as for row in panel.rows] == [1, 1, 0]


@pytest.mark.parametrize(
    ("name", "includes", "words"),
    [
        (" ", "", "has no name"),
        ("Label 2", "", "more than once"),
        ("case_id", "", "cannot be used"),
        ("psoas", "disc", "give the numbers of structures"),
        ("psoas", "9", "includes the label 9"),
    ],
)
def test_what_cannot_be_kept_is_a_sentence_and_nothing_is_written(folder, name, includes, words):
    told = []
    panel = shown(folder, lambda: told.append(1))
    panel.rows[0].name.value = name
    panel.rows[0].includes.value = includes
    panel.keep_button.click()
    assert words in panel.message.value
    assert "Traceback" not in panel.message.value
    assert panel.value is None
    assert told == []
    assert not (folder / "structures.csv").exists()


def test_a_value_without_a_name_is_shown_and_named(folder):
    (folder / "structures.csv").write_text("label,name\n1,psoas\n2,disc\n3,fat\n")
    change_label(folder, "Anna_01", lambda labels: np.where(labels == 3, 7, labels))
    panel = shown(folder)
    row = panel.rows[-1]
    assert (row.children[0].value, row.counts_as.label) == ("7", "not named yet")
    row.counts_as.value = 7
    panel.keep_button.click()
    assert "The value 7 has no name" in panel.message.value
    row.name.value = "nerve"
    panel.keep_button.click()
    assert [s.name for s in find_cases(folder).structures] == ["psoas", "disc", "fat", "nerve"]


def test_a_value_can_be_added(folder):
    panel = shown(folder)
    panel.new_value.value = "9"
    panel.add_button.click()
    panel.rows[-1].counts_as.value = 2
    panel.keep_button.click()
    assert (9, 2) in find_cases(folder).values
    for wrong, words in (("9", "already"), ("x", "whole number"), ("300", "whole number")):
        panel.add(wrong)
        assert words in panel.message.value


def test_what_was_typed_outlives_another_reading_but_not_another_folder(folder, tmp_path_factory):
    panel = shown(folder)
    panel.rows[0].name.value = "psoas"
    cases = find_cases(folder)
    panel.show(cases, ())
    assert panel.rows[0].name.value == "psoas"
    assert HINT in panel.message.value
    other = tmp_path_factory.mktemp("other")
    add_subject(other, "Carl")
    panel.show(find_cases(other), ())
    assert panel.rows[0].name.value == "label 1"
    assert panel.message.value == ""


def test_every_control_has_words(folder):
    panel = shown(folder)
    controls = [child for row in panel.rows for child in row.children if hasattr(child, "tooltip")]
    assert len([control for control in controls if control.tooltip]) == 15
    before = StructuresPanel()
    before.keep_button.click()
    assert "No folder is chosen yet" in before.message.value


def test_a_row_fits_beside_the_folder_list_on_a_page_1280_pixels_wide():
    assert sum(least + 4 for _, least in WIDTHS) <= 600


def test_names_that_another_notebook_kept_are_shown_and_not_replaced(folder):
    told = []
    panel, other = shown(folder, lambda: told.append(1)), shown(folder)
    panel.rows[0].name.value = "psoas left"
    other.rows[1].name.value = "disc"
    other.keep()
    panel.keep()
    assert "was changed by another program" in panel.message.value
    assert told == [1]
    panel.show(find_cases(folder))
    assert [row.name.value for row in panel.rows] == ["psoas left", "disc", "label 3"]
    panel.keep()
    assert [s.name for s in find_cases(folder).structures] == ["psoas left", "disc", "label 3"]
