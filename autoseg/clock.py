"""How far a training is, by steps or by time, and the learning rate that belongs to it."""

from __future__ import annotations

import math
import time

from autoseg.settings import Settings

# A pause is taken for sleep if it is this many times longer than anything before it, and this long at least.
FAR_LONGER, SHORTEST_SLEEP_S = 10, 60.0
# Before it can tell what is far too long, the clock must have seen some steps.
STEPS_TO_KNOW = 3


class Clock:
    """Progress from 0 to 1 by steps or by time, and the learning rate that belongs to it.

    The time in which a laptop slept is not counted, so it does not eat up a time budget: a pause far longer than
    any step or validation so far, at least a minute, in which this program did not compute either.

    Parameters
    ----------
    settings : Settings
        `epochs` or `minutes`, and the schedule of the learning rate.
    steps_per_epoch : int
    """

    def __init__(self, settings: Settings, *, steps_per_epoch: int) -> None:
        self.settings, self.steps = settings, 0
        self.total_steps = None if settings.epochs is None else settings.epochs * steps_per_epoch
        self._counted_s, self._longest_s, self._awake_steps = 0.0, 0.0, 0
        self._now, self._computed = time.monotonic(), time.process_time()

    def go_on(self, steps: int, elapsed_s: float) -> None:
        """Start with what was done before."""
        self.steps, self._counted_s = steps, elapsed_s
        self._now, self._computed = time.monotonic(), time.process_time()

    def elapsed_s(self) -> float:
        """Give the seconds of learning, without those asleep."""
        now, computed = time.monotonic(), time.process_time()
        gap = now - self._now
        idle = gap - (computed - self._computed)
        self._now, self._computed = now, computed
        asleep = idle > max(SHORTEST_SLEEP_S, FAR_LONGER * self._longest_s)
        if asleep and self._awake_steps >= STEPS_TO_KNOW:
            # Steps that are slow one after the other are no sleep, and must not be left out for ever.
            self._awake_steps = 0
        else:
            self._counted_s += gap
            self._longest_s = max(self._longest_s, gap)
        return self._counted_s

    def progress(self) -> float:
        """Give how much is done, from 0 to 1; by time it may pass 1 a little."""
        if self.total_steps is not None:
            return self.steps / self.total_steps
        return self.elapsed_s() / (60 * (self.settings.minutes or 1))

    def count_step(self) -> None:
        """Say that a step was taken."""
        self.elapsed_s()
        self.steps += 1
        self._awake_steps += 1

    def is_over(self) -> bool:
        """Tell whether all steps were taken or all the time is used."""
        return self.progress() >= 1

    def learning_rate(self) -> float:
        """Give the learning rate of now: it rises during the warm-up and then falls to zero."""
        progress, warmup = min(1.0, self.progress()), self.settings.warmup_fraction
        if progress < warmup:
            return self.settings.learning_rate * max(progress / warmup, 0.01)
        left = 1 - (progress - warmup) / (1 - warmup)
        if self.settings.schedule == "polynomial":
            return self.settings.learning_rate * left**0.9
        return self.settings.learning_rate * 0.5 * (1 - math.cos(math.pi * left))

    def seconds_left(self) -> float:
        """Give an estimate from the time that this much progress took."""
        elapsed_s, progress = self.elapsed_s(), self.progress()
        return max(0.0, elapsed_s / progress - elapsed_s)
