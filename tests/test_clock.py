"""The clock of a training: steps or time, a falling learning rate, and no time for sleep."""

import types

import pytest

from autoseg import clock as module
from autoseg.clock import Clock
from autoseg.settings import Settings


class FakeTime:
    """A clock that the test moves; `computed` is the processor's time."""

    def __init__(self):
        self.now, self.computed = 1000.0, 50.0

    def pass_(self, seconds, *, computing=True):
        self.now += seconds
        self.computed += seconds * computing


@pytest.fixture
def time(monkeypatch):
    fake = FakeTime()
    stand_in = types.SimpleNamespace(monotonic=lambda: fake.now, process_time=lambda: fake.computed)
    monkeypatch.setattr(module, "time", stand_in)
    return fake


def work(clock, time, steps, seconds=1.0, **options):
    for _ in range(steps):
        time.pass_(seconds, **options)
        clock.count_step()


def test_steps_count_where_epochs_are_planned(time):
    clock = Clock(Settings(epochs=2, warmup_fraction=0.25), steps_per_epoch=4)
    work(clock, time, 1)
    assert (clock.progress(), clock.is_over(), clock.elapsed_s()) == (1 / 8, False, 1)
    assert clock.seconds_left() == 7
    assert clock.learning_rate() == pytest.approx(clock.settings.learning_rate / 2)
    work(clock, time, 1)
    assert clock.learning_rate() == clock.settings.learning_rate
    work(clock, time, 6)
    assert clock.is_over()
    assert clock.learning_rate() == pytest.approx(0)


def test_time_counts_where_minutes_are_planned(time):
    clock = Clock(Settings(minutes=1), steps_per_epoch=4)
    work(clock, time, 30)
    assert (clock.progress(), clock.seconds_left()) == (0.5, 30)
    time.pass_(31)  # a long validation
    assert clock.is_over()


def test_sleep_is_not_counted(time):
    clock = Clock(Settings(minutes=10), steps_per_epoch=4)
    work(clock, time, 5)
    for _ in range(2):
        time.pass_(8 * 3600, computing=False)
        assert clock.elapsed_s() == pytest.approx(clock.steps)
        assert not clock.is_over()
        work(clock, time, 5)
    assert clock.elapsed_s() == 15


def test_pauses_that_are_no_sleep_are_counted(time):
    clock = Clock(Settings(minutes=100), steps_per_epoch=4)
    work(clock, time, 5)
    time.pass_(59, computing=False)  # too short
    clock.count_step()
    assert clock.elapsed_s() == 64
    time.pass_(500, computing=False)  # not ten times the longest pause so far
    assert clock.elapsed_s() == 564


def test_a_long_validation_is_counted_because_it_computes(time):
    clock = Clock(Settings(minutes=100), steps_per_epoch=4)
    work(clock, time, 5)
    time.pass_(600, computing=True)
    assert clock.elapsed_s() == 605


def test_steps_that_are_all_slow_are_counted_and_the_time_ends(time):
    # As on a computer that waits for something else, and whose processor time stands still.
    clock = Clock(Settings(minutes=30), steps_per_epoch=4)
    work(clock, time, 25, seconds=90, computing=False)
    assert clock.is_over()
    # Also after quick ones: only the first is taken for sleep.
    clock = Clock(Settings(minutes=60), steps_per_epoch=4)
    work(clock, time, 5)
    work(clock, time, 10, seconds=90, computing=False)
    assert clock.elapsed_s() == 5 + 9 * 90


def test_what_was_done_before_counts(time):
    clock = Clock(Settings(minutes=1), steps_per_epoch=4)
    time.pass_(20)  # while the checkpoint was read
    clock.go_on(12, 45.0)
    assert (clock.steps, clock.elapsed_s(), clock.progress()) == (12, 45.0, 0.75)
    work(clock, time, 15)
    assert clock.is_over()
