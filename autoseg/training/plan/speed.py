"""How fast this computer learns: as it was measured, else by a table; and what of the time that makes."""

from __future__ import annotations

import math

from autoseg.model.device import Computer
from autoseg.model.settings.settings import Settings
from autoseg.training.plan.choice import Choice

DEFAULT_MINUTES = 5.0
# With a number of epochs and no time budget, pixels are chosen such that learning takes about this long at most.
LONGEST_MINUTES = 60.0
# Slices seen in a training, each time augmented anew, from which on a small set is learnt reasonably well.
ENOUGH_VIEWS = 10_000
# Pixels learnt from in a second by the default network: one processor core (two of them share much of their
# memory's speed, hence the power) with bfloat16 units and without, and GPUs. Rough, on the careful side.
CORE_RATE = {"bfloat16": 300_000.0, "float32": 150_000.0}
CORE_POWER = 0.8
GPU_RATE = {"cuda": 50e6, "mps": 5e6}
# Of the measured rate, at which the network alone is at work, so much is left to a training with all else that it
# does: 0.92 were measured on the sample, validation not counted.
LEARNING_PART = 0.8


def learning_speed(computer: Computer) -> float:
    """Give the pixels that the default network learns from in a second: as measured here, else by the table."""
    if computer.pixels_per_second is not None:
        return LEARNING_PART * computer.pixels_per_second
    if computer.device in GPU_RATE:
        return GPU_RATE[computer.device]
    return CORE_RATE.get(computer.precision, CORE_RATE["float32"]) * float(computer.cores) ** CORE_POWER


def wanted_pixels(time: Settings, rate: float, slices: int) -> float:
    """Give how many pixels an image may have for the time to suffice."""
    views = ENOUGH_VIEWS if time.epochs is None else time.epochs * max(1, slices)
    return rate * 60 * (time.minutes or LONGEST_MINUTES) / views


def views_in_time(time: Settings, rate: float, frame: tuple[int, int]) -> float | None:
    """Give how many slices are seen in the minutes there are; None where epochs are given instead."""
    return None if time.minutes is None else rate / math.prod(frame) * 60 * time.minutes


def tell_time(time: Settings, rate: float, slices: int, frame: tuple[int, int], *, measured: bool) -> Choice:
    """Give the minutes or epochs, with what they make of the slices."""
    speed, by = rate / math.prod(frame), "by the speed measured here" if measured else "by estimate"
    if time.epochs is not None:
        about = time.epochs * slices / speed / 60
        return Choice("epochs", time.epochs, f"As you chose; {by} about {_minutes(about)}.")
    minutes = time.minutes or DEFAULT_MINUTES
    times = speed * 60 * minutes / max(1, slices)
    shown = round(times, -1 if times > 20 else 0)
    often = f"about {shown:.0f} times" if shown > 1 else "about once" if shown == 1 else "less than once"
    why = f"{by[0].upper()}{by[1:]}, each of about {slices} slices is seen {often}."
    enough = ENOUGH_VIEWS / speed / 60
    if enough > 1.5 * minutes:
        why += f" More time may help: about {_minutes(enough + 0.5)}."
    return Choice("minutes", minutes, why)


def _minutes(number: float) -> str:
    whole = max(1, round(number))
    return f"{whole} minute{'' if whole == 1 else 's'}"
