"""Slices that improve before one's eyes: for a small share of the time, and never worth a training."""

import pytest
from discs import STRUCTURES, make_split
from trainings import alone

from autoseg.errors import ReadError
from autoseg.panels.parts import background as watching
from autoseg.panels.parts.background import Budget
from autoseg.panels.training.running import SliceWatch


@pytest.fixture
def clock(monkeypatch):
    """A clock that tests turn by hand."""
    times = [100.0]
    monkeypatch.setattr(watching.time, "monotonic", lambda: times[0])
    return times


def test_a_budget_waits_at_least_so_long_and_longer_after_costly_work(clock):
    budget = Budget(3.0, 0.04)

    def work(seconds):
        clock[0] += seconds

    assert budget.is_due()
    budget.do(lambda: work(0.01))
    clock[0] += 2.9
    assert not budget.is_due()
    clock[0] += 0.2
    assert budget.is_due()
    budget.do(lambda: work(1.0))
    clock[0] += 24.9
    assert not budget.is_due()
    clock[0] += 0.2
    assert budget.is_due()
    assert budget.spent_s == pytest.approx(1.01)


def test_over_time_it_keeps_its_share(clock):
    budget, begin = Budget(0.0, 0.04), clock[0]
    while clock[0] < begin + 1000:
        if budget.is_due():
            budget.do(lambda: clock.__setitem__(0, clock[0] + 0.3))
        clock[0] += 0.1
    assert 0.03 < budget.spent_s / (clock[0] - begin) < 0.04


def test_what_fails_is_kept_as_a_word(monkeypatch):
    def fail(*_, **__):
        raise ReadError("a.dcm is damaged.")

    monkeypatch.setattr("autoseg.prediction.watched.read_case", fail)
    watch = SliceWatch()
    watch.choose(make_split([0], [1]), STRUCTURES)
    watch.draw_if_due(None)
    assert watch.problem == "a.dcm is damaged."
    assert watch.pictures == ()


def test_a_model_that_cannot_predict_ends_the_pictures_only(monkeypatch, tmp_path):
    alone(monkeypatch, tmp_path)
    watch = SliceWatch(most=2)
    watch.choose(make_split([0], [1]), STRUCTURES)
    assert [one.epoch for one in watch.pictures] == [0, 0]
    watch.draw("no model")
    assert watch.problem
    assert watch.pictures == ()


def test_none_are_chosen_where_none_are_wanted():
    watch = SliceWatch(most=0)
    watch.choose(make_split([0], [1]), STRUCTURES)
    assert watch.pictures == ()
