"""The images one by one: what is said of each, and that only a page of them is drawn."""

import numpy as np
import pytest
from folders import add_subject, change_label

from autoseg.data.cases import Pseudonyms, find_cases
from autoseg.data.checks import examine_cases
from autoseg.data.repairs import leave_out, read_repairs
from autoseg.panels.data import strip as module
from autoseg.panels.data.findings import FindingsPanel

NAMES = {1: "psoas", 2: "disc", 3: "fat"}


@pytest.fixture
def folder(tmp_path):
    """On two of six images there is no disc."""
    for subject in ("Anna", "Bert"):
        add_subject(tmp_path, subject, slices=3)
        change_label(tmp_path, f"{subject}_02", lambda labels: np.where(labels == 2, 0, labels))
    return tmp_path


@pytest.fixture
def told():
    return []


@pytest.fixture
def opened(folder, told):
    panel = FindingsPanel(lambda: told.append(1))

    def open_():
        cases = find_cases(folder, structures=NAMES)
        examined = examine_cases(cases)
        panel.show(cases, examined.findings, seen=examined.seen)
        panel.strip.structure.value = "disc"
        panel.strip.unfold(True)
        panel.wait(60)
        return panel

    return open_


def states(panel):
    return {card.case.case_id: card.state.value for card in panel.strip.grid.children}


def test_what_is_said_of_images_is_kept_at_once_and_shown(opened, folder, told):
    panel = opened()
    assert states(panel) == {
        f"{who}_0{n}": "" if n == 2 else "drawn" for who in ("Anna", "Bert") for n in (1, 2, 3)
    }
    assert all("<img" in card.thumbnail.value for card in panel.strip.grid.children)
    panel.strip.say_of("Anna_02", "missing")
    panel.strip.say_of("Bert_02", "absent")
    panel.strip.say_of("Bert_03", "out")
    assert panel.bars[0].button.description == "Use 3 answers"
    assert (read_repairs(folder), told, (folder / "annotated.csv").exists()) == ((), [], False)
    panel.strip.bar_of_answers.button.click()
    assert told == [1]
    assert read_repairs(folder) == (leave_out("Bert_03"),)
    assert {(c.case_id, c.is_drawn(2), c.is_open(2)) for c in find_cases(folder, structures=NAMES).cases} >= {
        ("Anna_02", False, False),
        ("Bert_02", True, False),
        ("Anna_01", True, True),
    }
    panel = opened()
    assert panel.chosen == ()
    assert (states(panel)["Anna_02"], states(panel)["Bert_02"], len(states(panel))) == ("missing", "absent", 5)
    panel.strip.say_of("Anna_02", "absent")  # and said otherwise later
    panel.use()
    assert states(opened())["Anna_02"] == "absent"
    panel.strip.say_of("Bert_02", "missing")
    panel.use()
    opened()
    (said,) = [row.children[1].value for row in panel.made.children[1:] if "looked for" in row.children[1].value]
    assert "disc was looked for on 1 image: where it is not drawn, it is not there." in said
    assert "disc was not drawn on 1 image." in said
    panel.strip.say_of("Anna_02", "missing")
    panel.use()
    opened()
    (said,) = [row.children[1].value for row in panel.made.children[1:] if "not drawn" in row.children[1].value]
    assert "disc was not drawn on 2 images." in said
    assert "looked for" not in said


def test_the_same_is_said_of_all_on_which_a_structure_is_not_seen(opened):
    panel = opened()
    panel.strip.unseen.value = True
    assert list(states(panel)) == ["Anna_02", "Bert_02"]
    words, *buttons = panel.strip.for_all.children
    assert "all 2 on which disc is not seen" in words.value
    (missing,) = [one for one in buttons if one.description == "not drawn"]
    missing.click()
    assert set(states(panel).values()) == {"missing"}
    (answer,) = panel.chosen
    assert (answer.kind, answer.structure, answer.cases) == ("missing", "disc", ("Anna_02", "Bert_02"))
    panel.strip.cards[0].state.value = ""
    assert panel.chosen[0].cases == ("Bert_02",)


def test_a_drawn_structure_cannot_be_said_to_be_missing(opened):
    (card,) = [card for card in opened().strip.grid.children if card.case.case_id == "Anna_01"]
    assert [value for _, value in card.state.options] == ["drawn", "out"]


def test_long_sets_are_turned_page_by_page_and_nothing_is_drawn_while_folded(opened, monkeypatch):
    monkeypatch.setattr(module, "PAGE", 4)
    panel = opened()
    strip = panel.strip
    assert (len(strip.grid.children), strip.before.disabled, strip.after.disabled) == (4, True, False)
    assert "1 to 4 of 6 images" in strip.where.value
    assert strip.table.value.count("<tr") == 1 + 4
    strip.after.click()
    assert len(strip.grid.children) == 2
    assert "5 to 6 of 6 images" in strip.where.value
    strip.unfold(False)
    assert (strip.grid.children, strip.table.value) == ((), "")


def test_no_patient_is_named(opened, folder):
    panel = opened()
    cases = find_cases(folder, structures=NAMES)
    names = Pseudonyms({"Anna": "patient 1", "Bert": "patient 2"}, cases.cases)
    panel.strip.show(cases, {}, names=names)
    panel.strip.wait(60)
    shown = [panel.strip.table.value]
    shown += [card.name.value + card.thumbnail.value + card.state.tooltip for card in panel.strip.grid.children]
    assert not any("Anna" in words for words in shown)
    assert "patient 1 (image 2)" in shown[2]
