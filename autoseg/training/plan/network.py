"""Which network, how deep and how wide, and how many slices at once."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from autoseg.model.device import Computer
from autoseg.model.networks import standardised
from autoseg.model.settings.settings import NetworkSettings, PreprocessSettings
from autoseg.training.plan.choice import Choice
from autoseg.training.plan.grid import frame_of
from autoseg.training.plan.speed import ENOUGH_VIEWS
from autoseg.training.plan.survey import Survey

WHY_THIS_NETWORK = "Learns fast on any computer; others can be compared with it on your images (3_compare)."
# nnU-Net (Isensee et al. 2021) stops halving where 4 pixels are left, too.
SMALLEST_MAP = 4
# With fewer views of each slice than this, and too few in all, a network of half the width learns more: it is
# about twice as fast.
FEW_VIEWS = 3
NARROWER, NARROWER_FASTER = 2, 2.0
# Bytes that learning keeps for each pixel and feature channel (those of coarser levels count less), measured on the
# U-Net (23 and 41), and as much again for gradients and what torch works with.
FEATURE_BYTES = {"bfloat16": 50, "float32": 85}
# Of the free memory learning may take so much; torch itself, and what else grows, needs so many GiB before.
SAFE_PART, TORCH_GIB = 0.6, 0.5
# Where memory has to be saved, so few slices at once before pixels become coarser.
SMALL_BATCH = 2
# On a GPU more slices at once are hardly slower, as long as an epoch still has some steps.
GPU_BATCHES = {32: 256**2, 16: 512**2}
FEWEST_STEPS = 4


@dataclass(frozen=True)
class Room:
    """The memory there is to learn in: `gib` free, of which the slices and torch leave place for `pixels` at once.

    Pixels are those of all slices of a batch together, in the default network.
    """

    gib: float = math.inf
    pixels: float = math.inf

    @property
    def finest(self) -> float:
        """Pixels that an image may have at most."""
        return self.pixels / SMALL_BATCH


def find_room(survey: Survey, computer: Computer) -> Room:
    """Estimate, on the careful side, how many pixels the free memory takes at once; no limit if it is unknown."""
    free = computer.device_free_gib if computer.device == "cuda" else computer.free_gib
    if free is None:
        return Room()
    one, channels = survey.fingerprint, len(survey.images[0].channels)
    # As `dataset` keeps them: float32 channels and labels, and once more while they are put together.
    slices = 2 * 4 * (channels + 1) * one.rows * one.columns * one.slices * one.images
    left = SAFE_PART * max(free - TORCH_GIB, 0.05 * free) * 2**30 - slices
    bytes_per_pixel = FEATURE_BYTES.get(computer.precision, FEATURE_BYTES["float32"]) * _features(_filters())
    return Room(free, max(left, 0.05 * free * 2**30) / bytes_per_pixel)


def choose_network(survey: Survey, preprocess: PreprocessSettings) -> NetworkSettings:
    """Choose how often the network halves what it sees: until a few pixels are left."""
    shorter, filters = min(frame_of(survey, preprocess, 1)), _filters()
    levels = max([n for n in range(3, len(filters) + 1) if shorter / 2 ** (n - 1) >= SMALLEST_MAP - 0.5] or [3])
    return NetworkSettings(filters=filters[:levels])


def choose_width(
    network: NetworkSettings, views: float | None, slices: int, frame: tuple[int, int]
) -> tuple[Choice, float]:
    """Choose how wide the network is, with the reason, and tell how many times faster that makes it."""
    filters = network.filters or ()
    levels = len(filters)
    why = f"{levels} levels: halved {levels - 1} times, {frame[0]} × {frame[1]} pixels become "
    why += f"{frame[0] >> (levels - 1)} × {frame[1] >> (levels - 1)}, which see the whole image."
    if views is None or views >= FEW_VIEWS * slices or views >= ENOUGH_VIEWS:
        return Choice("network.filters", filters, f"{why} As wide as usual."), 1.0
    narrow = tuple(n // NARROWER for n in filters)
    why += f" Half as wide as usual, so about {NARROWER_FASTER:g} times as fast: in this time one of the usual "
    why += f"width would see each slice only {views / max(1, slices):.1f} times."
    return Choice("network.filters", narrow, why), NARROWER_FASTER


def choose_batch(frame: tuple[int, int], slices: int, computer: Computer, room: Room) -> Choice:
    """Choose how many slices are seen at once."""
    area, shown = math.prod(frame), f"{frame[0]} × {frame[1]}"
    usual = 32 if area <= 64**2 else 16 if area <= 96**2 else 8
    why = f"Images are small for the network ({shown} pixels), so that more at once are faster."
    why = why if usual > 8 else f"The usual number for images of {shown} pixels."
    size = usual
    if computer.device == "cuda" and room.pixels < math.inf:
        fitting = [n for n, most in GPU_BATCHES.items() if area <= most and n * area <= room.pixels]
        size = max([usual, *(n for n in fitting if n * FEWEST_STEPS <= slices)])
        if size > usual:
            why = f"The GPU learns faster from more at once, and {room.gib:.1f} GiB of its memory are free."
    while size > 1 and size * area > room.pixels:
        size //= 2
    if size < usual:
        why = f"More at once, of {shown} pixels, may need more than the {room.gib:.1f} GiB of memory that are free."
    return Choice("batch_size", size, why)


def _filters() -> tuple[int, ...]:
    return standardised(NetworkSettings()).filters or ()


def _features(filters: tuple[int, ...]) -> float:
    """Give the feature channels for each pixel of the image; every level has a quarter of the pixels."""
    return float(np.sum([n / 4**level for level, n in enumerate(filters)]))
