"""How far a training is, by slices seen or by time, and the learning rate that belongs to it."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from fractions import Fraction

from autoseg.model.settings.settings import Phase, Settings

# A pause is taken for sleep if it is this many times longer than anything before it, and this long at least.
FAR_LONGER, SHORTEST_SLEEP_S = 10, 60.0
# Before it can tell what is far too long, the clock must have seen some steps.
STEPS_TO_KNOW = 3


class Clock:
    """Progress from 0 to 1 by slices seen or by time, and the learning rate that belongs to it.

    The time in which a laptop slept is not counted, so it does not eat up a time budget: a pause far longer than
    any step or validation so far, at least a minute, in which this program did not compute either.

    `epochs_seen` counts epochs by exact parts, so that a training takes as long whether its batches stay as large
    as they were or not. `drops` is how often "plateau" has lowered the learning rate (`count_drops`); it depends on
    scores, which a clock does not know.

    Parameters
    ----------
    settings : Settings
        `epochs` or `minutes`, and the schedule of the learning rate.
    phases : sequence of Phase
        Those of a fine-tuning, in each of which the schedule runs anew from its own peak; empty: the whole training
        is one. `phase`, from 1, is the one that `begin_epoch` found.
    """

    def __init__(self, settings: Settings, phases: Sequence[Phase] = ()) -> None:
        self.settings, self.steps, self.drops = settings, 0, 0
        self.phases = tuple(phases) or (Phase((), settings.learning_rate),)
        self.phase = 1
        self.epochs_seen = Fraction(0)
        self._counted_s, self._longest_s, self._awake_steps = 0.0, 0.0, 0
        self._now, self._computed = time.monotonic(), time.process_time()

    def go_on(self, steps: int, epochs_seen: Fraction, elapsed_s: float) -> None:
        """Start with what was done before."""
        self.steps, self.epochs_seen, self._counted_s = steps, epochs_seen, elapsed_s
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
        if self.settings.epochs is not None:
            return float(self.epochs_seen / self.settings.epochs)
        return self.elapsed_s() / (60 * (self.settings.minutes or 1))

    def begin_epoch(self) -> int:
        """Give the phase, from 1, to which the epoch that begins now belongs."""
        progress = self.progress() + 1e-9  # parts of a whole may add up to a little less or more
        self.phase = max(1, sum(progress >= phase.start for phase in self.phases))
        return self.phase

    def count_step(self, part: Fraction) -> None:
        """Say that a step was taken, and which part of an epoch it was."""
        self.elapsed_s()
        self.steps += 1
        self.epochs_seen += part
        self._awake_steps += 1

    def is_over(self) -> bool:
        """Tell whether everything was seen as often as planned, or all the time is used."""
        return self.progress() >= 1

    def learning_rate(self) -> float:
        """Give the learning rate of now: it rises during the warm-up, then falls as the schedule says.

        "cosine" and "polynomial" fall to 0 at the end (Chen et al., DeepLab, 2017: the power 0.9), "multistep" by
        the drop factor at each milestone, "plateau" at each of `drops`. The last two and "constant" end where they
        happen to be, also with a time budget. In a fine-tuning with phases all of that is of the phase.
        """
        settings, phase = self.settings, self.phases[self.phase - 1]
        progress = min(1.0, max(0.0, (self.progress() - phase.start) / (phase.end - phase.start)))
        peak, warmup = phase.learning_rate, settings.warmup_fraction
        if progress < warmup:
            return peak * max(progress / warmup, 0.01)
        if settings.schedule == "constant":
            return peak
        if settings.schedule == "multistep":
            return peak * settings.drop_factor ** sum(progress >= part for part in settings.milestones)
        if settings.schedule == "plateau":
            return peak * settings.drop_factor**self.drops
        left = 1 - (progress - warmup) / (1 - warmup)
        if settings.schedule == "polynomial":
            return peak * left**0.9
        return peak * 0.5 * (1 - math.cos(math.pi * left))

    def seconds_left(self) -> float:
        """Give an estimate from the time that this much progress took."""
        elapsed_s, progress = self.elapsed_s(), self.progress()
        return max(0.0, elapsed_s / progress - elapsed_s)


def epochs_without_gain(merits: Sequence[float | None]) -> int:
    """Count the epochs after the best one; those without a score, which are None, do not count.

    An epoch as good as the best before is no gain, nor is one whose merit is NaN.

    Examples
    --------
    >>> epochs_without_gain([0.5, None, 0.8, None, 0.7, 0.8])
    2
    """
    return _gains(merits, None)[0]


def count_drops(merits: Sequence[float | None], plateau_epochs: int) -> int:
    """Count how often `plateau_epochs` epochs with a score went by without gain; after each, counting starts anew.

    `merits` are of the whole training, so that one that is resumed counts the same.

    Examples
    --------
    >>> count_drops([0.5, 0.4, None, 0.4, 0.3, 0.6, 0.5], 2)
    1
    """
    return _gains(merits, plateau_epochs)[1]


def _gains(merits: Sequence[float | None], most: int | None) -> tuple[int, int]:
    """Give the epochs since the best one or since counting started anew after `most` of them, and how often."""
    best, since, drops = -math.inf, 0, 0
    for merit in merits:
        if merit is None:
            continue
        if merit > best:
            best, since = merit, 0
        else:
            since += 1
        if since == most:
            since, drops = 0, drops + 1
    return since, drops
