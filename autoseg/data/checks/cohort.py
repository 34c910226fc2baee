"""All cases together: what is usual among them, and which single slices are one subject's stack."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from autoseg.data.checks.edges import EdgeFit
from autoseg.data.checks.facts import Facts, Origin
from autoseg.image.geometry import slice_normal
from autoseg.image.structures import Structure

Floats = npt.NDArray[np.float64]

# Slices closer than this are one place (phases of one heart), mm.
SAME_PLACE_MM = 0.1
# Median absolute deviation to standard deviation, for a normal distribution.
MAD = 1.4826


@dataclass(frozen=True, eq=False)
class Stack:
    """The single slices of one subject that have one shape, in order; `positions_mm` where all are known."""

    subject_id: str
    facts: tuple[Facts, ...]
    positions_mm: tuple[float, ...] | None


@dataclass(frozen=True, eq=False)
class Cohort:
    """The facts of all cases that could be read, the structures, their folder, and what is known of all cases."""

    facts: tuple[Facts, ...]
    structures: tuple[Structure, ...]
    folder: Path = Path()
    origins: tuple[Origin, ...] = ()

    @property
    def names(self) -> dict[int, str]:
        """Name of each label."""
        return {structure.label: structure.name for structure in self.structures}

    @cached_property
    def channel(self) -> int:
        """The channel whose edges the labels follow best: a lesion may show on one contrast only."""
        scores = [[fit.as_it_is for fit in fact.edges] for fact in self.facts if fact.edges]
        channels = min(map(len, scores), default=1)
        return int(np.argmax(np.median([one[:channels] for one in scores], axis=0))) if scores else 0

    def edges_of(self, fact: Facts) -> EdgeFit | None:
        """Give how well a case's labels follow its image's edges, None without labels."""
        return fact.edges[self.channel] if fact.edges else None

    @cached_property
    def volumes(self) -> tuple[Facts, ...]:
        """The cases of several slices."""
        return tuple(fact for fact in self.facts if fact.shape[0] > 1)

    @cached_property
    def stacks(self) -> tuple[Stack, ...]:
        """The cases of one slice, subject by subject and ordered by place where that is known."""
        groups: dict[tuple[str, tuple[int, int, int]], list[Facts]] = defaultdict(list)
        for fact in self.facts:
            if fact.shape[0] == 1:
                groups[fact.origin.subject_id, fact.shape].append(fact)
        return tuple(_stack(subject, facts) for (subject, _), facts in groups.items())


def _stack(subject_id: str, facts: Sequence[Facts]) -> Stack:
    affines = [fact.affine for fact in facts if fact.affine is not None]
    if len(affines) < len(facts):
        return Stack(subject_id, tuple(facts), None)
    normal = slice_normal(np.concatenate([affines[0][:3, 2], affines[0][:3, 1]]))
    places = [float(normal @ affine[:3, 3]) for affine in affines]
    order = np.argsort(places, kind="stable").tolist()
    return Stack(subject_id, tuple(facts[i] for i in order), tuple(places[i] for i in order))


def usual(values: Floats, *, least: float | Floats = 0.0) -> tuple[Floats, Floats]:
    """Give the median and the robust standard deviation (of at least `least`) along the first axis, without NaN.

    Source: median absolute deviation times 1.4826 (Rousseeuw and Croux, JASA 1993).

    Examples
    --------
    >>> middle, deviation = usual(np.array([1.0, 2.0, 3.0, 50.0, np.nan]))
    >>> float(middle), float(deviation)
    (2.5, 1.4826)
    """
    known = ~np.isnan(values).all(axis=0)
    middle, deviation = np.full(values.shape[1:], np.nan), np.full(values.shape[1:], np.nan)
    if known.any():
        chosen = values[:, known] if values.ndim > 1 else values
        centre = np.nanmedian(chosen, axis=0)
        middle[known] = centre
        deviation[known] = MAD * np.nanmedian(np.abs(chosen - centre), axis=0)
    return middle, np.maximum(deviation, least)
