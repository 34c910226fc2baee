"""What the checks keep of each case, and of all cases together.

A case is read once, its facts are gathered, and its pixels are let go.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from autoseg.data.cases.case import Case
from autoseg.data.checks.edges import EdgeFit, fit_edges
from autoseg.data.checks.finding import Finding, Severity
from autoseg.data.duplicates import CaseFacts as Likeness
from autoseg.data.duplicates import case_facts
from autoseg.image.geometry import Affine, slice_normal
from autoseg.image.image import Image, LabelMap
from autoseg.image.structures import Structure
from autoseg.words import natural

# --- values that stand only between two others: what smoothing, resizing or a JPEG leaves at borders


@dataclass(frozen=True)
class Rim:
    """Pixels of one value that are rims, their share of its pixels, and of all places where they could be.

    They could be wherever a lower value touches a higher one; smoothing leaves hardly any such place.
    """

    pixels: int
    share: float
    between: float


# Of a volume so many slices with labels are looked at, evenly chosen.
MOST_SLICES = 12


def find_rims(codes: npt.NDArray[np.integer], values: Sequence[int], drawn: npt.NDArray[np.intp]) -> dict[int, Rim]:
    """Give, for each value, how much of it is rim.

    A rim is at most two pixels wide, with a lower and a higher value beside it.

    Examples
    --------
    >>> smeared = np.array([[[0, 0, 1, 2, 2], [0, 0, 1, 2, 2], [0, 0, 1, 2, 2]]])
    >>> find_rims(smeared, (128, 255), np.array([0]))[128]
    Rim(pixels=3, share=1.0, between=1.0)
    """
    size = len(values) + 1
    rims, pixels, direct = (np.zeros(size, dtype=np.int64) for _ in range(3))
    places = np.linspace(0, len(drawn) - 1, min(MOST_SLICES, len(drawn))).round().astype(int)
    for index in drawn[places].tolist() if len(values) > 1 else ():
        one = codes[index]
        lowest = ndimage.minimum_filter(one, size=3, mode="nearest")
        highest = ndimage.maximum_filter(one, size=3, mode="nearest")
        # The inside of something wider than two pixels, grown back: no rim.
        wide = ndimage.maximum_filter(np.where(lowest == highest, one, 0), size=3, mode="nearest") == one
        pixels += np.bincount(one.ravel(), minlength=size)
        rims += np.bincount(one[(lowest < one) & (one < highest) & ~wide], minlength=size)
        # Where a lower and a higher value touch, every value between the two is passed over.
        touching = (one == highest) & (lowest < highest)
        steps = np.bincount(lowest[touching] + 1, minlength=size + 1)[:size]
        steps -= np.bincount(highest[touching], minlength=size)
        direct += np.cumsum(steps)
    found = zip(values, rims[1:].tolist(), pixels[1:].tolist(), direct[1:].tolist(), strict=True)
    return {v: Rim(rim, rim / max(all_, 1), rim / max(rim + passed, 1)) for v, rim, all_, passed in found}


Floats = npt.NDArray[np.float64]

# So many intensities of an image stand for all where ranks and percentiles are wanted.
SAMPLE = 20_000
# A value that has this share of the outermost pixels of slices with labels is the background, whatever its number.
SURROUNDS = 0.75
# What lies so many pixels around a label still belongs to what is looked at under it.
AROUND = 4


@dataclass(frozen=True, eq=False)
class LabelledImage:
    """An image and the integers drawn on it, as they were read: nothing about them is believed yet.

    `voxels` may have another shape than the image, and values without a name; `label_affine` is the label file's
    own geometry, where it has one; `notes` say how the labels were drawn.
    """

    case: Case
    image: Image
    voxels: npt.NDArray[np.integer]
    label_affine: Affine | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Facts:
    """What is kept of a case whose labels have the shape of its image.

    `values` are the values of its labels other than 0, in rising order, and the arrays below have one column for
    each: `counts` pixels, `centres` (row, column), `spreads` (mean squared distance from the centre over the area),
    `brightness` (mean rank among the image's intensities, 0 to 1), each for every slice; NaN where there is none.
    `touching` (values, values) is the share of the first one's border that touches the second, on slices with both.
    `frame` is each value's share of the outermost pixels of slices with labels.
    `rims` tells how much of each value looks like smoothing between two others. `contrast` is the range of the
    intensities under and around each slice's labels over the image's own, in the channel where it is largest.
    `range` are the first channel's 1st and 99th percentiles, `broken` the image's NaN and infinite pixels. `edges`
    and `reversed_edges` tell for each channel how well the labels follow its edges as they are, and in the opposite
    order of slices; both are empty without labels, the second also for one slice. `likeness` recognises the image.
    `constant` names the channels that have one value throughout, `equal` the pairs of channels that are one and
    the same.
    """

    case: Case
    shape: tuple[int, int, int]
    affine: Affine | None
    values: tuple[int, ...]
    counts: npt.NDArray[np.int64]
    centres: Floats
    spreads: Floats
    brightness: Floats
    touching: Floats
    frame: Floats
    rims: dict[int, Rim]
    contrast: Floats
    range: tuple[float, float]
    broken: int
    edges: tuple[EdgeFit, ...]
    reversed_edges: tuple[EdgeFit, ...]
    likeness: Likeness
    channels: int = 1
    constant: tuple[str, ...] = ()
    equal: tuple[tuple[str, str], ...] = ()

    @property
    def case_id(self) -> str:
        """The case's name."""
        return self.case.case_id

    @property
    def pixels(self) -> dict[int, int]:
        """Pixels of each value."""
        return dict(zip(self.values, self.counts.sum(axis=0).tolist(), strict=True))

    @property
    def surrounding(self) -> int | None:
        """The value that lies all round the image in place of 0; None as it should be."""
        if not self.values or self.frame.max() < SURROUNDS:
            return None
        seen = len(self.drawn) * self.shape[1] * self.shape[2]
        if self.counts.sum() == seen:
            return None  # something that fills the image
        return self.values[int(self.frame.argmax())]

    def areas_of(self, structure: Structure) -> npt.NDArray[np.int64]:
        """Give a structure's pixels on every slice, with those of the structures inside it."""
        columns = [self.values.index(v) for v in (structure.label, *structure.includes) if v in self.values]
        areas: npt.NDArray[np.int64] = self.counts[:, columns].sum(axis=1)
        return areas

    @property
    def drawn(self) -> npt.NDArray[np.intp]:
        """The slices that have labels."""
        return np.flatnonzero(self.counts.any(axis=1))

    @property
    def best_slice(self) -> int | None:
        """The slice with most labelled pixels."""
        return int(self.counts.sum(axis=1).argmax()) if self.values else None


def gather_facts(labelled: LabelledImage) -> Facts:
    """Gather what the checks keep of a case."""
    image, voxels = labelled.image, labelled.voxels
    channels = image.channel_voxels
    grey = channels[0]
    values, codes = _codes(voxels)
    counts, centres, spreads = _shapes(codes, len(values))
    finite = np.isfinite(image.voxels)
    sample = _sample(grey)
    low, high = np.percentile(sample, (1, 99))
    named = list(zip(image.channels, channels, strict=True))
    drawn = np.flatnonzero(counts.any(axis=1))
    return Facts(
        case=labelled.case,
        shape=image.shape,
        affine=image.affine,
        values=values,
        counts=counts,
        centres=centres,
        spreads=spreads,
        brightness=_brightness(grey, codes, counts, sample),
        touching=_touching(codes, counts),
        frame=_frame(codes[drawn], len(values)),
        rims=find_rims(codes, values, drawn),
        contrast=np.fmax.reduce([_contrast(channel, codes, drawn) for channel in channels]),
        range=(float(low), float(high)),
        broken=int(finite.size - np.count_nonzero(finite)),
        edges=_edges(channels, codes, drawn),
        reversed_edges=_edges(channels[:, ::-1], codes, drawn) if len(codes) > 1 else (),
        likeness=case_facts(image, LabelMap(np.zeros(image.shape, np.uint8))),
        channels=len(channels),
        constant=tuple(name for name, one in named if (one == one.flat[0]).all()),
        equal=tuple((a, b) for (a, one), (b, other) in combinations(named, 2) if np.array_equal(one, other)),
    )


def _codes(voxels: npt.NDArray[np.integer]) -> tuple[tuple[int, ...], npt.NDArray[np.integer]]:
    """Give the values other than 0 and the voxels numbered by them from 1 on."""
    if voxels.dtype == np.uint8:
        present = np.flatnonzero(np.bincount(voxels.ravel(), minlength=256)).tolist()
    else:
        present = np.unique(voxels).tolist()
    values = [int(value) for value in present if value]
    codes = np.searchsorted(values, voxels).astype(np.int32) + 1
    codes[voxels == 0] = 0
    return tuple(values), codes


def _sample(grey: npt.NDArray[np.generic]) -> Floats:
    """Give some of the intensities in rising order; a single 0 where none is a number."""
    sample = grey.ravel()[:: max(1, grey.size // SAMPLE)].astype(np.float64)
    sample = np.sort(sample[np.isfinite(sample)])
    return sample if sample.size else np.zeros(1)


def _edges(
    channels: npt.NDArray[np.generic], codes: npt.NDArray[np.integer], drawn: npt.NDArray[np.intp]
) -> tuple[EdgeFit, ...]:
    fits = [fit_edges(channel, codes, drawn=drawn.tolist()) for channel in channels]
    return tuple(fit for fit in fits if fit is not None)


def _shapes(codes: npt.NDArray[np.integer], values: int) -> tuple[npt.NDArray[np.int64], Floats, Floats]:
    """Give pixels, centre and spread of each value on each slice, columns in the order of the values."""
    size = (codes.shape[0], values + 1)
    slices, rows, columns = np.nonzero(codes)
    cells = slices * size[1] + codes[slices, rows, columns]

    def total(weights: npt.NDArray[np.generic] | None = None) -> Floats:
        return np.asarray(np.bincount(cells, weights, size[0] * size[1]).reshape(size)[:, 1:], dtype=np.float64)

    counts = total().astype(np.int64)
    known = np.where(counts > 0, counts, np.nan)
    centres = np.stack([total(rows) / known, total(columns) / known], axis=-1)
    squares = total(rows.astype(np.float64) ** 2 + columns.astype(np.float64) ** 2) / known
    return counts, centres, (squares - (centres**2).sum(axis=-1)) / known


def _brightness(
    grey: npt.NDArray[np.generic], codes: npt.NDArray[np.integer], counts: npt.NDArray[np.int64], sample: Floats
) -> Floats:
    """Give the mean rank of each value's intensities on each slice."""
    size = (counts.shape[0], counts.shape[1] + 1)
    slices, rows, columns = np.nonzero(codes)
    ranks = np.searchsorted(sample, grey[slices, rows, columns]) / max(sample.size, 1)
    cells = slices * size[1] + codes[slices, rows, columns]
    totals = np.bincount(cells, ranks, size[0] * size[1]).reshape(size)[:, 1:]
    return np.asarray(totals / np.where(counts > 0, counts, np.nan))


def _touching(codes: npt.NDArray[np.integer], counts: npt.NDArray[np.int64]) -> Floats:
    """Count which values lie beside which, within slices, and give shares of each one's border."""
    size = counts.shape[1] + 1
    met, borders = np.zeros((size - 1, size - 1)), np.zeros((size - 1, size - 1))
    for index in np.flatnonzero((counts > 0).sum(axis=1) > 1).tolist():
        one = codes[index]
        pairs = np.zeros(size * size)
        for first, second in ((one[1:], one[:-1]), (one[:, 1:], one[:, :-1])):
            differ = first != second
            a, b = first[differ], second[differ]
            pairs += np.bincount(a * size + b, minlength=size * size)
            pairs += np.bincount(b * size + a, minlength=size * size)
        table = pairs.reshape(size, size)
        both = np.outer(counts[index] > 0, counts[index] > 0)
        met += table[1:, 1:] * both
        borders += table.sum(axis=1)[1:, None] * both
    return np.where(borders > 0, met / np.maximum(borders, 1), np.nan)


def _frame(codes: npt.NDArray[np.integer], values: int) -> Floats:
    """Give the share of the outermost pixels of slices with labels that each value has."""
    sides = (codes[:, 0], codes[:, -1], codes[:, 1:-1, 0], codes[:, 1:-1, -1])
    outermost = np.concatenate([side.ravel() for side in sides])
    shares: Floats = np.bincount(outermost, minlength=values + 1)[1:] / max(outermost.size, 1)
    return shares


def _contrast(grey: npt.NDArray[np.generic], codes: npt.NDArray[np.integer], drawn: npt.NDArray[np.intp]) -> Floats:
    """Give the range of intensities under and around the labels of each drawn slice over that of the image."""
    found = np.full(len(codes), np.nan)
    whole = float(np.subtract(*np.percentile(_sample(grey), (99, 1))))
    for index in drawn.tolist():
        rows, columns = (np.flatnonzero(codes[index].any(axis=axis)) for axis in (1, 0))
        top, left = max(0, int(rows[0]) - AROUND), max(0, int(columns[0]) - AROUND)
        under = grey[index, top : int(rows[-1]) + AROUND + 1, left : int(columns[-1]) + AROUND + 1]
        low, high = np.percentile(np.nan_to_num(under.astype(np.float64), posinf=0, neginf=0), (5, 95))
        found[index] = (high - low) / max(whole, 1e-9)
    return found


# --- how often each structure was drawn: pixels and cases, from the facts that the checks gather anyway


@dataclass(frozen=True)
class StructureCount:
    """How much of a structure, or of a value that has no name (""), is in the labels.

    `pixels` are those in all cases together, with those of the structures inside it; `cases` show it; on
    `drawn_cases` it counts as drawn, whether they show it or not.
    """

    label: int
    name: str
    pixels: int
    cases: int
    drawn_cases: int


def count_structures(facts: Sequence[Facts], structures: Sequence[Structure]) -> tuple[StructureCount, ...]:
    """Count pixels and cases of each structure, and of each value without a name."""
    counts = []
    for structure in structures:
        wanted = {structure.label, *structure.includes}
        pixels = [sum(count for value, count in fact.pixels.items() if value in wanted) for fact in facts]
        drawn = sum(fact.case.is_drawn(structure.label) for fact in facts)
        shown = sum(count > 0 for count in pixels)
        counts.append(StructureCount(structure.label, structure.name, sum(pixels), shown, drawn))
    known = {structure.label for structure in structures}
    for value in sorted({value for fact in facts for value in fact.values} - known):
        own = [fact.pixels[value] for fact in facts if value in fact.values]
        counts.append(StructureCount(value, "", sum(own), len(own), len(facts)))
    return tuple(counts)


def finding_of(facts: Sequence[Facts], severity: Severity, problem: str, remedy: str, **more: Any) -> Finding:
    """Give a finding about the labels of one case, or of several together; it points to a file of the first one."""
    first = facts[0]
    cases = tuple(fact.case_id for fact in facts)
    more = {"slice_index": first.best_slice, "cases": cases, **more}
    path = first.case.label_on(more["slice_index"])
    return Finding(severity, cases[0] if len(cases) == 1 else "", path, problem, remedy, **more)


# --- all cases together: what is usual among them, and which single slices are one subject's stack

# So many other cases must say the same before a repair is proposed: one alone may be the odd one itself.
WITNESSES = 3
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

    @property
    def places(self) -> tuple[float, ...]:
        """Where the slices lie, or as long as nobody knows, the order of their names."""
        return tuple(map(float, range(len(self.facts)))) if self.positions_mm is None else self.positions_mm


@dataclass(frozen=True, eq=False)
class Cohort:
    """The facts of all cases that could be read, the structures, their folder, and what is known of all cases."""

    facts: tuple[Facts, ...]
    structures: tuple[Structure, ...]
    folder: Path = Path()
    cases: tuple[Case, ...] = ()

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
                groups[fact.case.subject_id, fact.shape].append(fact)
        return tuple(_stack(subject, facts) for (subject, _), facts in groups.items())


def _stack(subject_id: str, facts: Sequence[Facts]) -> Stack:
    affines = [fact.affine for fact in facts if fact.affine is not None]
    if len(affines) < len(facts):
        return Stack(subject_id, tuple(sorted(facts, key=lambda fact: natural(fact.case_id))), None)
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
