"""What is added to a structure's log-odds before a pixel takes its most probable one, so that areas are right.

A network that is unsure of an edge answers with a probability that falls off gently across it. Around a round or
thin structure the line at which it passes a half lies inside the true edge, so the most probable class makes areas
too small by a few percent, on patients it has learnt from as on others, while the sum of the probabilities is about
right.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from autoseg.words import counted

# No offset is larger: with it a structure takes what has a probability of 0.27, and a model that needs more has
# not learnt the structure.
MOST = 1.0


def add_offsets(probabilities: npt.NDArray[np.float32], offsets: Sequence[float]) -> npt.NDArray[np.float32]:
    """Add to the log-odds of each structure, and give probabilities again; without offsets they stay as they are.

    Probabilities are (slices, classes, rows, columns), the background first, which nothing is added to. They are
    changed in place.

    Examples
    --------
    >>> likely = np.array([0.6, 0.4], dtype=np.float32).reshape(1, 2, 1, 1)
    >>> add_offsets(likely, [math.log(3)]).ravel().round(3)
    array([0.333, 0.667], dtype=float32)
    """
    if not any(offsets):
        return probabilities
    for number, offset in enumerate(offsets, start=1):
        probabilities[:, number] *= math.exp(offset)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    return probabilities


def check_offsets(offsets: Sequence[float], structures: int) -> tuple[float, ...]:
    """Give the offsets of a model if they can be its own; ValueError says in words what they are instead."""
    if offsets and len(offsets) != structures:
        raise ValueError(f"it has {counted(len(offsets), 'offset')} for {counted(structures, 'structure')}")
    if not all(math.isfinite(one) and abs(one) <= MOST for one in offsets):
        raise ValueError(f"an offset of its structures is no number from {-MOST:g} to {MOST:g}")
    return tuple(offsets)
