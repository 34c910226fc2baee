"""How fast this computer learns, as measured here or by a table, and what its memory takes at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from autoseg.model.device import Computer
from autoseg.model.settings.settings import Settings
from autoseg.training.plan.choice import Choice

DEFAULT_MINUTES = 5.0
# With a number of epochs and no time budget, pixels are chosen such that learning takes about this long at most.
LONGEST_MINUTES = 60.0
# Pixels learnt from in a second by the default network: one processor core (two of them share much of their
# memory's speed, hence the power) with bfloat16 units and without, and GPUs. Rough, on the careful side.
CORE_RATE = {"bfloat16": 300_000.0, "float32": 150_000.0}
CORE_POWER = 0.8
GPU_RATE = {"cuda": 50e6, "mps": 5e6}
# Of the measured rate, at which the network alone is at work, so much is left to a training with all else that it
# does: 0.92 were measured on the sample, validation not counted.
LEARNING_PART = 0.8
# Bytes that learning keeps for each pixel and feature channel (those of coarser stages count less), measured on the
# U-Net (23 and 41), and as much again for gradients and what torch works with.
FEATURE_BYTES = {"bfloat16": 50, "float32": 85}
# Of the free memory learning may take so much; torch itself, and what else grows, needs so many GiB before.
SAFE_PART, TORCH_GIB = 0.6, 0.5
# Images may take this part of the free memory; where they would take more they lie in the cache, and take none.
IMAGES_PART = 0.5


def learning_speed(computer: Computer) -> float:
    """Give the pixels that the default network learns from in a second: as measured here, else by the table."""
    if computer.pixels_per_second is not None:
        return LEARNING_PART * computer.pixels_per_second
    if computer.device in GPU_RATE:
        return GPU_RATE[computer.device]
    return CORE_RATE.get(computer.precision, CORE_RATE["float32"]) * float(computer.cores) ** CORE_POWER


def tell_time(time: Settings, seen: str, count: int, per_s: float, enough: float, *, measured: bool) -> Choice:
    """Give the minutes or epochs, with what they make of the `count` slices or patches that `seen` names.

    `per_s` of them are learnt from in a second; from `enough` views on they are learnt reasonably well.
    """
    by = "by the speed measured here" if measured else "by estimate"
    if time.epochs is not None:
        about = _minutes(time.epochs * count / per_s / 60)
        return Choice("epochs", time.epochs, f"As you chose; {by} about {about}.")
    minutes = time.minutes or DEFAULT_MINUTES
    times = per_s * 60 * minutes / max(1, count)
    shown = round(times, -1 if times > 20 else 0)
    often = f"about {shown:.0f} times" if shown > 1 else "about once" if shown == 1 else "less than once"
    why = f"{by[0].upper()}{by[1:]}, {seen} is seen {often}."
    needed = enough / per_s / 60
    if needed > 1.5 * minutes:
        why += f" More time may help: about {_minutes(needed + 0.5)}."
    return Choice("minutes", minutes, why)


def _minutes(number: float) -> str:
    whole = max(1, round(number))
    return f"{whole} minute{'' if whole == 1 else 's'}"


@dataclass(frozen=True)
class Room:
    """The memory there is to learn in: `gib` free, of which the images and torch leave place for `at_once`.

    That are pixels of all slices of a batch together, or voxels of all its patches.
    """

    gib: float = math.inf
    at_once: float = math.inf


def find_room(computer: Computer, stored: float, bytes_each: float) -> Room:
    """Estimate, on the careful side, how much the free memory takes at once; no limit if it is unknown.

    `stored` bytes are those of the images themselves, if they lie in memory, `bytes_each` what learning keeps for a
    pixel or voxel.
    """
    free = computer.device_free_gib if computer.device == "cuda" else computer.free_gib
    if free is None:
        return Room()
    if computer.free_gib is not None and stored > IMAGES_PART * computer.free_gib * 2**30:
        stored = 0.0
    left = SAFE_PART * max(free - TORCH_GIB, 0.05 * free) * 2**30 - stored
    return Room(free, max(left, 0.05 * free * 2**30) / bytes_each)


def feature_bytes(computer: Computer, filters: Sequence[int], spatial_dims: int) -> float:
    """Give the bytes that a U-Net keeps for a pixel or voxel; each stage has half as many along every axis."""
    features = sum(n / 2 ** (spatial_dims * stage) for stage, n in enumerate(filters))
    return FEATURE_BYTES.get(computer.precision, FEATURE_BYTES["float32"]) * features
