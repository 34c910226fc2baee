"""Work in the background: states, listeners, and failures that are sentences and free what they held."""

import gc
import threading
import weakref

import pytest

from autoseg.errors import AutosegError, DataError
from autoseg.panels.parts.background import Background, sentence_of_failure


class Work(Background):
    def __init__(self, do=lambda work: None):
        super().__init__("leg")
        self.do = do

    def _work(self):
        self.do(self)


class FakeTurn:
    given_back = False

    def give_back(self):
        self.given_back = True


def test_it_goes_through_its_states_and_gives_the_turn_back():
    go, states, turn = threading.Event(), [], FakeTurn()

    def do(work):
        work._has_begun()
        assert go.wait(30)
        assert work._should_stop()

    work = Work(do)
    work.listen(lambda: states.append(work.state))
    work.listen(lambda: 1 / 0)  # nobody who looks on can end it
    work.begin(turn)
    assert work.is_active
    assert not turn.given_back
    work.stop()
    assert work.state == "stopping"
    go.set()
    assert work.wait(30)
    assert states[-1] == work.state == "finished"
    assert "stopping" in states
    assert work.was_stopped
    assert turn.given_back
    with pytest.raises(DataError, match="was started already"):
        work.begin()
    work.stop()
    assert work.state == "finished"


def test_a_failure_is_kept_as_a_sentence_and_frees_the_memory():
    class Slices:
        pass

    held = []

    def fill():
        slices = Slices()
        held.append(weakref.ref(slices))
        raise MemoryError

    turn = FakeTurn()
    work = Work(lambda _: fill())
    work.begin(turn)
    assert work.wait(30)
    assert work.state == "failed"
    assert turn.given_back
    assert "not enough memory" in work.failure()
    assert "MemoryError" in work.details()
    gc.collect()
    assert held[0]() is None


def test_a_listener_can_end_its_listening():
    calls, work = [], Work()
    end = work.listen(lambda: calls.append(1))
    end()
    end()
    work.begin()
    assert work.wait(30)
    assert calls == []
    assert work.failure() == work.details() == ""


def test_a_fault_of_the_computer_is_a_sentence():
    assert "not enough memory" in sentence_of_failure(MemoryError())
    assert sentence_of_failure(AutosegError("Mend it.")) == "Mend it."
    assert "ended by a fault: KeyError" not in sentence_of_failure(ValueError("no"))
