"""The base panel: work in the background, plain words, no result of an earlier try."""

import threading

import pytest
from discs import make_case

from autoseg.errors import DataError
from autoseg.panels.parts.fields import tick
from autoseg.panels.parts.panel import Panel


def test_work_is_done_in_the_background_and_its_result_handed_on():
    panel, seen = Panel(), []
    panel.start(lambda: threading.current_thread().name, seen.append)
    panel.wait(10)
    assert seen[0] != threading.current_thread().name
    assert panel.message.value == ""


def test_while_it_works_it_says_so_and_has_no_value():
    panel, gate = Panel(), threading.Event()
    panel.value = "yesterday's"
    panel.start(gate.wait, lambda _: None, saying="Reading 3 files …")
    assert "Reading 3 files" in panel.message.value
    assert panel.value is None
    gate.set()
    panel.wait(10)


def test_a_failure_is_a_sentence_and_takes_the_value_back():
    panel = Panel()
    panel.value = "yesterday's"

    def work():
        raise DataError("leg.png is empty. Draw it again.")

    panel.progress(0.5)
    panel.start(work, lambda _: None)
    panel.wait(10)
    assert "leg.png is empty. Draw it again." in panel.message.value
    assert "Traceback" not in panel.message.value
    assert 'role="alert"' in panel.message.value
    assert panel.value is None
    assert panel.bar.layout.display == "none"


def test_a_fault_of_ours_unfolds_its_details():
    panel = Panel()
    with panel.attempt():
        raise ZeroDivisionError("by nought")
    assert "by nought" in panel.message.value
    assert panel.message.value.index("<details") < panel.message.value.index("Traceback")


def test_what_fails_while_showing_is_shown_too():
    panel = Panel()

    def then(_):
        raise DataError("cannot be drawn")

    panel.start(lambda: 1, then)
    panel.wait(10)
    assert "cannot be drawn" in panel.message.value


@pytest.mark.parametrize("fails", [False, True])
def test_the_result_of_an_older_work_is_dropped(fails):
    panel, gate, seen = Panel(), threading.Event(), []

    def old():
        gate.wait()
        if fails:
            raise DataError("old")
        return "old"

    panel.start(old, seen.append)
    older = panel._work
    panel.start(lambda: "new", seen.append)
    panel.wait(10)
    gate.set()
    older.join(10)
    assert seen == ["new"]
    assert "old" not in panel.message.value


def test_a_panel_follows_another_now_and_later():
    first, second, seen = Panel(), Panel(), []
    first.value = 1
    second.follow(first, seen.append)
    first.value = 2
    first.value = None
    assert seen == [1, 2, None]


def test_what_fails_while_following_is_shown_in_the_follower():
    first, second = Panel(), Panel()

    def update(value):
        if value:
            raise DataError("does not fit")

    second.follow(first, update)
    first.value = 1
    assert "does not fit" in second.message.value
    assert first.message.value == ""


def test_waiting_has_an_end():
    panel, gate = Panel(), threading.Event()
    panel.start(gate.wait, lambda _: None)
    with pytest.raises(TimeoutError):
        panel.wait(0.05)
    gate.set()
    panel.wait(10)


def test_work_that_was_given_up_is_not_shown():
    panel, gate, seen = Panel(), threading.Event(), []
    panel.start(lambda: gate.wait(10), seen.append)
    panel.give_up("Choose a folder first.")
    gate.set()
    panel.wait(10)
    assert not seen
    assert "Choose a folder first." in panel.message.value


def test_what_is_being_shown_is_ended_before_another_value_is_followed():
    above, below, showing, go_on, order = Panel(), Panel(), threading.Event(), threading.Event(), []
    below.follow(above, lambda value: order.append(f"follows {value}"))

    def then(_):
        showing.set()
        go_on.wait(1)
        order.append("shown")

    below.start(lambda: 1, then)
    assert showing.wait(10)
    threading.Timer(0.1, go_on.set).start()
    above.value = "another"
    below.wait(10)
    assert order == ["follows None", "shown", "follows another"]


def test_ids_are_hidden_in_what_fails_unless_they_may_be_seen():
    panel = Panel()
    panel.hide_ids_of([make_case(4711), make_case(4712)])
    with panel.attempt():
        raise DataError("subject4712 has no labels.")
    assert "patient 2 has no labels." in panel.message.value
    panel.show_ids = tick("Show IDs", value=True)
    assert panel.pseudonyms is None
    assert panel.hidden("subject4711") == "subject4711"
    panel.show_ids.value = False
    assert panel.hidden("subject4711") == "patient 1"
