"""One finding on the page."""

from dataclasses import replace
from pathlib import Path

import pytest

from autoseg.data.checks import Finding
from autoseg.data.repairs import clear, relabel, settle, transform
from autoseg.panels.data.answers import Answer, answers_for_all, answers_to, leaving_out, offers
from autoseg.panels.data.findings import FindingRow


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


def test_of_answers_about_the_same_case_one_holds_and_a_second_press_takes_it_back():
    mend, out, other = (
        Answer("mend", "Mend: turned", ("a",)),
        leaving_out(["a"], "Out"),
        leaving_out(["b"], "B out"),
    )
    told = []
    row = FindingRow(finding(), str, [mend, out, other], changed=lambda: told.append(1))
    row.press("Out")
    row.press("B")
    assert row.chosen == (out, other)
    row.press("Mend")
    assert row.chosen == (mend, other)
    row.controls[0].value = False
    assert row.chosen == (other,)
    assert len(told) == 4
    with pytest.raises(KeyError):
        row.press("Else")


def test_one_of_many_images_is_picked_from_a_list():
    known = ("a", "b", "c", "d")
    out = answers_to(finding(cases=("a", "b", "c")), "", known, str.upper)
    row = FindingRow(finding(), str, out)
    assert [words for words, _ in row.several.options] == [
        "Leave none out",
        "Leave A out",
        "Leave B out",
        "Leave C out",
        "Leave all 3 out",
    ]
    row.several.value = out[-1]
    assert [repair.case_id for repair in row.chosen[0].repairs] == ["a", "b", "c"]
    row.choose([out[0]])
    assert row.chosen == (out[0],)
    assert answers_to(finding(cases=known), "", known, str) == []  # else nothing would remain


def test_the_same_for_all_is_what_each_of_them_can_be_answered():
    one, two = (leaving_out([case]) for case in "ab")
    mend = [Answer("mend", "first", ("a",)), Answer("mend", "second", ("b",))]
    assert answers_for_all([[one, *mend], [two, mend[0]]]) == {"out": [[one], [two]], "mend": [mend, mend[:1]]}
    assert answers_for_all([[one, two], [two]]) == {}  # which of both is to be said of each


def test_answers_are_shown_as_chosen_whatever_the_page_calls_the_images():
    hidden, named = leaving_out(["b"], "Leave patient 2 out"), leaving_out(["b"], "Leave Bert out")
    row = FindingRow(finding(), str, [named])
    row.choose([hidden])
    assert [control.value for control, _ in row.ticks] == [True]
    many = FindingRow(finding(), str, [leaving_out([one], f"Leave {one} out") for one in "abc"])
    many.choose([hidden])
    assert many.several.value.cases == ("b",)
    share = Answer("threshold", "Count", ("leg",), repairs=(settle("leg", "threshold"),))
    of_shares = replace(finding(), kind="shares", cases=("leg",))
    one = FindingRow(of_shares, str, [share])
    one.press("Count")
    one.share.value = 0.3
    again = FindingRow(of_shares, str, [share])
    again.choose(one.chosen)
    assert again.share.value == 0.3
    assert again.chosen == one.chosen
