"""The clock of a training: steps or time, a falling learning rate, and no time for sleep."""

import types
from fractions import Fraction

import pytest
import torch

from autoseg.model.settings.settings import Phase, Settings
from autoseg.training import clock as module
from autoseg.training.clock import Clock, count_drops, epochs_without_gain

PART = Fraction(1, 4)


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
        clock.count_step(PART)


def test_steps_count_where_epochs_are_planned(time):
    clock = Clock(Settings(epochs=2, warmup_fraction=0.25))
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
    clock = Clock(Settings(minutes=1))
    work(clock, time, 30)
    assert (clock.progress(), clock.seconds_left()) == (0.5, 30)
    time.pass_(31)  # a long validation
    assert clock.is_over()


def test_sleep_is_not_counted(time):
    clock = Clock(Settings(minutes=10))
    work(clock, time, 5)
    for _ in range(2):
        time.pass_(8 * 3600, computing=False)
        assert clock.elapsed_s() == pytest.approx(clock.steps)
        assert not clock.is_over()
        work(clock, time, 5)
    assert clock.elapsed_s() == 15


def test_pauses_that_are_no_sleep_are_counted(time):
    clock = Clock(Settings(minutes=100))
    work(clock, time, 5)
    time.pass_(59, computing=False)  # too short
    clock.count_step(PART)
    assert clock.elapsed_s() == 64
    time.pass_(500, computing=False)  # not ten times the longest pause so far
    assert clock.elapsed_s() == 564


def test_a_long_validation_is_counted_because_it_computes(time):
    clock = Clock(Settings(minutes=100))
    work(clock, time, 5)
    time.pass_(600, computing=True)
    assert clock.elapsed_s() == 605


def test_steps_that_are_all_slow_are_counted_and_the_time_ends(time):
    # As on a computer that waits for something else, and whose processor time stands still.
    clock = Clock(Settings(minutes=30))
    work(clock, time, 25, seconds=90, computing=False)
    assert clock.is_over()
    # Also after quick ones: only the first is taken for sleep.
    clock = Clock(Settings(minutes=60))
    work(clock, time, 5)
    work(clock, time, 10, seconds=90, computing=False)
    assert clock.elapsed_s() == 5 + 9 * 90


def test_what_was_done_before_counts(time):
    clock = Clock(Settings(minutes=1))
    time.pass_(20)  # while the checkpoint was read
    clock.go_on(12, Fraction(3), 45.0)
    assert (clock.steps, clock.elapsed_s(), clock.progress()) == (12, 45.0, 0.75)
    work(clock, time, 15)
    assert clock.is_over()


def test_epochs_end_exactly_whatever_became_of_the_batches(time):
    clock = Clock(Settings(epochs=3))
    halved = [Fraction(1, 10)] * 3 + [Fraction(7, 10) / 14] * 14
    for part in [*halved, *[Fraction(1, 49)] * 49, *[Fraction(1, 20)] * 19]:
        clock.count_step(part)
        assert not clock.is_over()
    clock.count_step(Fraction(1, 20))
    assert clock.progress() == 1
    assert clock.is_over()
    assert clock.steps == 3 + 14 + 49 + 20


# --- schedules, against torch's own


def rates(settings, time, *, steps=40):
    """The learning rates of each step of one epoch."""
    clock, found = Clock(settings), []
    for _ in range(steps):
        found.append(clock.learning_rate())
        clock.count_step(Fraction(settings.epochs, steps))
    return found


def torchs_rates(make, *, steps=40):
    weight = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([weight], lr=0.1)
    scheduler, found = make(optimizer), []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


@pytest.mark.parametrize(
    ("options", "make"),
    [
        ({"schedule": "cosine"}, lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, T_max=40)),
        ({"schedule": "polynomial"}, lambda o: torch.optim.lr_scheduler.PolynomialLR(o, total_iters=40, power=0.9)),
        (
            {"schedule": "multistep", "milestones": (0.25, 0.5, 0.9), "drop_factor": 0.3},
            lambda o: torch.optim.lr_scheduler.MultiStepLR(o, milestones=[10, 20, 36], gamma=0.3),
        ),
        ({"schedule": "constant"}, lambda o: torch.optim.lr_scheduler.ConstantLR(o, factor=1.0)),
    ],
)
def test_schedules_are_those_of_torch(options, make, time):
    settings = Settings(epochs=4, learning_rate=0.1, warmup_fraction=0.0, **options)
    assert rates(settings, time) == pytest.approx(torchs_rates(make), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("schedule", ["cosine", "polynomial", "multistep", "plateau", "constant"])
def test_every_schedule_warms_up(schedule, time):
    found = rates(Settings(epochs=1, learning_rate=0.1, warmup_fraction=0.25, schedule=schedule), time)
    assert found[:10] == pytest.approx([0.001, *(0.01 * k for k in range(1, 10))])
    assert found[10] == pytest.approx(0.1)


def test_drops_lower_the_rate_of_a_plateau_alone(time):
    clock = Clock(Settings(epochs=10, schedule="plateau", drop_factor=0.5, warmup_fraction=0.0, learning_rate=0.1))
    clock.drops = 3
    assert clock.learning_rate() == pytest.approx(0.1 / 8)
    constant = Clock(Settings(epochs=10, schedule="constant", warmup_fraction=0.0, learning_rate=0.1))
    constant.drops = 3
    assert constant.learning_rate() == 0.1


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("epochs", [1, 2, 5])
def test_plateaus_are_those_of_torch(epochs, seed):
    generator = torch.Generator().manual_seed(seed)
    merits = torch.randint(0, 8, (60,), generator=generator).double()  # whole numbers, so that some are the same
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    # torch waits for one more than its patience, and its threshold is relative.
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, mode="max", factor=0.5, patience=epochs - 1, threshold=0.0, eps=0.0
    )
    for count in range(1, 61):
        scheduler.step(float(merits[count - 1]))
        drops = count_drops(merits[:count].tolist(), epochs)
        assert 0.5**drops == optimizer.param_groups[0]["lr"]
    assert drops > 0


def test_epochs_that_were_not_validated_count_for_neither():
    scores = [None, 0.5, None, 0.6, None, 0.6, None, 0.55, None]
    assert epochs_without_gain(scores) == 2
    assert (count_drops(scores, 2), count_drops(scores, 3)) == (1, 0)
    assert epochs_without_gain([None, None]) == epochs_without_gain([]) == 0
    assert epochs_without_gain([0.5, float("nan"), 0.4, 0.7]) == 0


def test_phases_have_a_schedule_and_a_peak_of_their_own(time):
    settings = Settings(epochs=4, schedule="cosine", warmup_fraction=0.0)
    parts = (Phase(("contraction",), 1e-3, 0.0, 0.5), Phase((), 1e-4, 0.5, 1.0))
    phased, alone = Clock(settings, parts), Clock(Settings(epochs=2, schedule="cosine", warmup_fraction=0.0))
    for phase, peak in ((1, 1e-3), (2, 1e-4)):
        alone.go_on(0, Fraction(0), 0.0)
        for step in range(8):
            if step % 4 == 0:
                assert phased.begin_epoch() == phase
            assert phased.learning_rate() == pytest.approx(peak * alone.learning_rate() / settings.learning_rate)
            phased.count_step(PART)
            alone.count_step(PART)
    assert phased.is_over()


def test_a_phase_begins_with_an_epoch(time):
    thirds = tuple(Phase((), 1e-3, n / 3, (n + 1) / 3) for n in range(3))
    clock, found = Clock(Settings(epochs=4), thirds), []
    while not clock.is_over():
        found.append(clock.begin_epoch())
        work(clock, time, 4)
    assert found == [1, 1, 2, 3]  # at 0, 1/4, 2/4 and 3/4
