"""Pictures that are drawn in the background: the latest wish is shown, and a fault is a sentence."""

import threading

import pytest

from autoseg.panels.parts.style import LaterPicture


def test_the_latest_of_several_wishes_is_shown():
    picture, inside, go_on, drawn = LaterPicture(), threading.Event(), threading.Event(), []

    def slow():
        inside.set()
        go_on.wait(30)
        return "first"

    def wish(words):
        drawn.append(words)
        return words

    picture.draw(slow)
    assert inside.wait(30)
    for words in ("second", "third", "fourth"):
        picture.draw(lambda words=words: wish(words))
    assert picture.value == ""
    with pytest.raises(TimeoutError, match="not drawn"):
        picture.wait(0.01)
    go_on.set()
    picture.wait(30)
    assert picture.value == "fourth"
    assert drawn == ["fourth"]  # what nobody wants any more is not even begun


def test_a_fault_is_a_sentence_and_the_next_picture_comes():
    picture = LaterPicture()
    picture.draw(lambda: 1 / 0)
    picture.wait(30)
    assert "could not be drawn: division by zero" in picture.value
    picture.draw(lambda: "fine")
    picture.wait(30)
    assert picture.value == "fine"
