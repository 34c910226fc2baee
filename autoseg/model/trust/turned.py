"""Whether an image looks more like what a model learnt from once it is turned, mirrored or its greys are inverted.

The description of a changed image follows from that of the image itself: blocks and cells change their places, and
edges their directions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from autoseg.model.trust.profile import Likeness, fit_gaussian, leave_each_out

Numbers = npt.NDArray[np.floating[Any]]

# What is seen of a slice is described in so many blocks a side, and its edges in so many cells and directions.
BLOCKS, CELLS, DIRECTIONS = 8, 3, 8
LAYOUT = BLOCKS**2 + DIRECTIONS * CELLS**2
UPSIDE_DOWN, MIRRORED, HALF_TURN, INVERTED = "upside down", "mirrored", "half turn", "inverted"
CHANGES = (UPSIDE_DOWN, MIRRORED, HALF_TURN, INVERTED)
# Where those that it learnt from are this much nearer as they are than changed, it tells one from the other.
TOLD_APART = 0.95


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


def nearness(likeness: Likeness, layout: Numbers, change: str) -> float:
    """Give by how much an image is farther than it would be if changed so: above 1 the changed one is nearer."""
    return likeness.raw(layout) / max(likeness.raw(changed(layout, change)), 1e-6)


def fit_turned(subjects: Sequence[Sequence[Numbers]]) -> dict[str, float]:
    """Give for each change that is told apart how near the patient came to it who is most like others when changed.

    `subjects` are the layouts of the images of each.
    """
    if len(subjects) < 2:
        return {}

    def nearest(others: Sequence[Sequence[Numbers]], images: Sequence[Numbers]) -> list[float]:
        likeness = fit_gaussian("layout", others)
        return [max(nearness(likeness, image, change) for image in images) for change in CHANGES]

    most = np.max(leave_each_out(subjects, nearest), axis=0).tolist()
    return {change: round(one, 4) for change, one in zip(CHANGES, most, strict=True) if one < TOLD_APART}
