"""Whether an image looks more like what a model learnt from once it is turned, mirrored or its greys are inverted.

The description of a changed image follows from that of the image itself: blocks and cells change their places, and
edges their directions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from autoseg.model.trust.profile import KNOWN_AS, Likeness, fit_gaussian, leave_each_out

Numbers = npt.NDArray[np.floating[Any]]

# What is seen of a slice is described in so many blocks a side, and its edges in so many cells and directions.
BLOCKS, CELLS, DIRECTIONS = 8, 3, 8
LAYOUT = BLOCKS**2 + DIRECTIONS * CELLS**2
UPSIDE_DOWN, MIRRORED, HALF_TURN, INVERTED = "upside down", "mirrored", "half turn", "inverted"
CHANGES = (UPSIDE_DOWN, MIRRORED, HALF_TURN, INVERTED)
# Between patients the evidence for a change varies by about so much: measured on spines and hearts. Beyond the
# bound lies one patient of so many (by Student's t), and it is no less than this.
USUAL_SPREAD, ONE_OF, LEAST = 0.5, 100, 0.05
TINY = 1e-6


def changed(layout: Numbers, change: str) -> Numbers:
    """Give the layout (slices, numbers) that the changed images would have."""
    one = layout.reshape(len(layout), -1, LAYOUT)
    blocks = one[..., : BLOCKS**2].reshape(*one.shape[:2], BLOCKS, BLOCKS)
    edges = one[..., BLOCKS**2 :].reshape(*one.shape[:2], DIRECTIONS, CELLS, CELLS)
    turns = np.arange(DIRECTIONS)
    if change in (UPSIDE_DOWN, HALF_TURN):
        blocks, edges, turns = blocks[..., ::-1, :], edges[..., ::-1, :], -turns
    if change in (MIRRORED, HALF_TURN):
        blocks, edges, turns = blocks[..., ::-1], edges[..., ::-1], DIRECTIONS // 2 - turns
    if change == INVERTED:
        blocks, turns = -blocks, turns + DIRECTIONS // 2
    edges = edges[..., turns % DIRECTIONS, :, :]
    flat = [part.reshape(*one.shape[:2], -1) for part in (blocks, edges)]
    return np.concatenate(flat, axis=2).reshape(layout.shape)


@dataclass(frozen=True, eq=False)
class Ways:
    """An image as it is and changed: its layout, and the network's features of it and of it changed (`CHANGES`).

    All are (slices, numbers).
    """

    layout: Numbers
    network: Numbers
    changed: Mapping[str, Numbers]


def evidence(layout: Likeness, network: Likeness, image: Ways) -> dict[str, float]:
    """Give for each change how much more an image is like others once it is changed: above 0 where it is nearer.

    The logarithms of how many times it is nearer in its layout, and to the network, are added: the network tells
    what blocks and edges do not, and the other way round.
    """
    return {
        change: _nearer(layout, image.layout, changed(image.layout, change))
        + _nearer(network, image.network, image.changed[change])
        for change in CHANGES
    }


def _nearer(likeness: Likeness, as_it_is: Numbers, otherwise: Numbers) -> float:
    return math.log(max(likeness.raw(as_it_is), TINY) / max(likeness.raw(otherwise), TINY))


def fit_turned(subjects: Sequence[Sequence[Ways]]) -> dict[str, float]:
    """Give for each change that is told apart the evidence that hardly any patient reaches as he is.

    `subjects` are the images of each. That of changed images lies as far on the other side of 0, and where less
    than half of them would be found the change is not told apart.
    """
    if len(subjects) < 2:
        return {}

    def most(others: Sequence[Sequence[Ways]], images: Sequence[Ways]) -> list[float]:
        layout = fit_gaussian("layout", [[one.layout for one in some] for some in others])
        network = fit_gaussian("network", [[one.network for one in some] for some in others])
        found = [evidence(layout, network, image) for image in images]
        return [max(one[change] for one in found) for change in CHANGES]

    told = np.array(leave_each_out(subjects, most))
    count, mean = len(told), told.mean(0)
    variance = ((told - mean) ** 2).sum(0) / (count - 1)
    spread = np.sqrt((count * variance + KNOWN_AS * USUAL_SPREAD**2) / (count + KNOWN_AS))
    farthest = float(stdtrit(count - 1 + KNOWN_AS, 1 - 1 / ONE_OF))
    bounds = np.maximum(mean + farthest * spread * math.sqrt(1 + 1 / count), LEAST)
    return {
        change: round(float(bound), 4)
        for change, own, bound in zip(CHANGES, mean, bounds, strict=True)
        if bound < -own
    }
