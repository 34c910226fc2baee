"""One finding on the page."""

from pathlib import Path

import pytest

from autoseg.data.checks import Finding
from autoseg.data.repairs import clear, relabel, transform
from autoseg.panels.data.findings import FindingRow, offers
from autoseg.panels.parts.fields import button
from autoseg.panels.parts.panel import Panel


def finding(*repairs, **changes):
    given = {"problem": "It is odd.", "remedy": "Or mend it.", "cause": "Nobody knows."} | changes
    return Finding("warning", "leg", Path("leg.png"), **given, kind="sides", repairs=repairs)


def test_repairs_that_say_the_same_are_one_button_and_those_of_a_case_stay_together():
    one, two, other = clear("a", 1), clear("b", 1), transform("c", "transpose")
    after = relabel("c", {1: 2})
    assert offers(finding(one, two, other, after)) == [
        ("label 1 is removed (on 2 images)", (one, two)),
        ("the labels are with rows and columns exchanged, then values are renamed: 1 becomes 2", (other, after)),
    ]
    assert offers(finding()) == []


def test_words_without_ids():
    row = FindingRow(finding(problem="<b> of Anna is odd."), lambda words: words.replace("Anna", "patient 1"), [])
    assert "&lt;b&gt; of patient 1 is odd." in row.words.value
    assert "What to do: Mend it." in row.words.value
    assert 'role="alert"' not in row.words.value  # twenty of them would talk at once


def test_a_picture_is_drawn_when_it_is_unfolded_and_only_once():
    drawn = []
    row = FindingRow(finding(), str, [], lambda: drawn.append(1) or "<img>")
    assert drawn == []
    for shown in (True, False, True):
        row.unfold.value = shown
        assert (row.picture.layout.display == "none") is not shown
    assert drawn == [1]


def test_a_picture_that_fails_is_a_sentence():
    def fail():
        raise ValueError("no memory")

    row = FindingRow(finding(), str, [], fail)
    row.unfold.value = True
    assert "could not be drawn: no memory" in row.picture.value


def test_a_button_says_what_fails_in_the_panel():
    def fail():
        raise ValueError("no luck")

    panel = Panel()
    row = FindingRow(finding(), str, [button("Try", fail, "Try it", panel=panel)])
    row.press("Tr")
    assert "no luck" in panel.message.value
    with pytest.raises(KeyError):
        row.press("Else")
