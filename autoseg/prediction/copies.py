"""Mirrored and turned copies of a slice (test-time augmentation): the network answers on each, the mean counts.

Copies are made of the frame that the network sees and undone on its answer, pixel by pixel: nothing is resampled.
A mirrored body has its left on the right, so structures of one side exchange their classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from autoseg.errors import SettingsError
from autoseg.model.settings.settings import AugmentationSettings, VolumeSettings

Copies = Literal["none", "left-right", "mirrored", "turned", "both"]


@dataclass(frozen=True)
class Copy:
    """One copy: mirrored left to right or not, then turned by so many quarters, anticlockwise."""

    turns: int = 0
    is_mirrored: bool = False


# Mirrored and turned by a half is mirrored up and down.
COPIES: dict[str, tuple[Copy, ...]] = {
    "none": (Copy(),),
    "left-right": (Copy(), Copy(0, True)),
    "mirrored": (Copy(), Copy(0, True), Copy(2, True), Copy(2)),
    "turned": tuple(Copy(turns) for turns in range(4)),
    "both": tuple(Copy(turns, mirrored) for mirrored in (False, True) for turns in range(4)),
}
# What to call them where a result says how it was made.
COPY_WORDS = {
    "none": "",
    "left-right": "left-right copies",
    "mirrored": "mirrored copies",
    "turned": "turned copies",
    "both": "mirrored and turned copies",
}


def copies_of(copies: str) -> tuple[Copy, ...]:
    """Give the copies of that name, the slice as it is first.

    Raises
    ------
    SettingsError
        If there is none of that name; the message lists the names.
    """
    if copies not in COPIES:
        raise SettingsError(f"copies is {copies!r}; give one of {', '.join(COPIES)}.")
    return COPIES[copies]


def make_copy(frames: Tensor, copy: Copy) -> Tensor:
    """Mirror and turn frames (batch, channels, rows, columns); odd quarters exchange rows and columns."""
    return torch.rot90(frames.flip(-1) if copy.is_mirrored else frames, copy.turns, (-2, -1))


def undo_copy(answer: Tensor, copy: Copy, sides: Tensor) -> Tensor:
    """Turn and mirror a network's answer on a copy back.

    Parameters
    ----------
    answer : (batch, classes, rows, columns) Tensor
    copy : Copy
    sides : (classes,) Tensor of int64
        The class that each becomes in a mirror (`classes.mirrored_classes`).
    """
    answer = torch.rot90(answer, -copy.turns, (-2, -1))
    return answer.flip(-1)[:, sides] if copy.is_mirrored else answer


def mirrored_axes(copy: Copy, orientation: str) -> list[int]:
    """Give the axes of a volume along which a copy without quarter turns is mirrored, in front of a patient.

    A slice mirrored left to right is a volume mirrored so; turned by a half it is mirrored front to back as well.

    Examples
    --------
    >>> mirrored_axes(Copy(0, True), "RPI"), mirrored_axes(Copy(2), "RPI"), mirrored_axes(Copy(2, True), "SPL")
    ([0], [0, 1], [1])
    """
    upright = copy.turns == 2
    letters = ("RL" if copy.is_mirrored != upright else "") + ("AP" if upright else "")
    return [axis for axis, letter in enumerate(orientation) if letter in letters]


def seen_copies(augmentation: AugmentationSettings, volume: VolumeSettings | None = None) -> frozenset[Copy]:
    """Give the copies that training with these settings met, the slice as it is among them.

    With `volume` those of volumes, whose mirrors are `volume.flips` and which have no quarter turns.
    """
    any_angle = augmentation.rotation_probability > 0 and augmentation.rotation_deg >= 180
    turned = any_angle or augmentation.quarter_turn_probability > 0
    across, upright = augmentation.flip_probability > 0, augmentation.flip_rows_probability > 0
    if volume is not None:
        turned = any_angle
        across, upright = (
            any(
                chance > 0
                for letter, chance in zip(volume.orientation, volume.flips, strict=True)
                if letter in pair
            )
            for pair in ("RL", "AP")
        )
    turns = range(4) if turned else (0, 2) if across and upright else (0,)
    seen = {Copy(quarters) for quarters in turns}
    seen |= {Copy(quarters, True) for quarters in turns if across}
    seen |= {Copy((quarters + 2) % 4, True) for quarters in turns if upright}
    return frozenset(copy for copy in seen if volume is None or copy.turns % 2 == 0)


def wise_copies(augmentation: AugmentationSettings, volume: VolumeSettings | None = None) -> Copies:
    """Give the most copies of which training with these settings met every one; with `volume` those of volumes.

    A network is no surer on what it never met: one that was trained on turns of up to 20 degrees gains nothing from
    quarter turns, and one that never saw a mirrored body may take its left for its right.

    Examples
    --------
    >>> wise_copies(AugmentationSettings()), wise_copies(AugmentationSettings.manual())
    ('turned', 'none')
    >>> wise_copies(AugmentationSettings(rotation_deg=20, flip_probability=0.5))
    'left-right'
    """
    names: tuple[Copies, ...] = ("both", "turned", "mirrored", "left-right")
    seen = seen_copies(augmentation, volume)
    return next((name for name in names if seen.issuperset(COPIES[name])), "none")
