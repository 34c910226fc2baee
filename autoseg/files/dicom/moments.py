"""Slices that lie at one position: which of them belong to one time point, echo, direction or repeat."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from autoseg.files.dicom.records import SliceHeader

Places = Sequence[int]
Key = tuple[Any, ...]
Numbers = npt.NDArray[np.float64]

# Trigger times jitter: one that is off its phase's by at most this share of a step is that phase's.
JITTER = 0.35
STEPS_TO_SCALE = 3  # with fewer steps the heart rate at a position is not known well enough to scale by it


def sort_moments(members: Sequence[SliceHeader], places: Places) -> tuple[list[int], bool]:
    """Give each slice its time point, from 0, and whether the header tells which slices belong together.

    `places` numbers the slices' positions. An attribute may order repeats only if, together with those before it,
    its values repeat alike at every position. What these leave open is told by trigger times that jitter, by times,
    or by numbers that count on from slice to slice; where these do not either, slices are counted in their order.
    """
    keys: list[Key] = [()] * len(members)
    for name in vars(members[0].taken):
        if _apart(keys, places):
            break
        values = [getattr(header.taken, name) for header in members]
        # None sorts before every value, whatever kind that is of.
        longer = [(*key, value is not None, value) for key, value in zip(keys, values, strict=True)]
        keys = longer if _repeat_alike(longer, places) else keys
    is_told = _apart(keys, places)
    if not is_told:
        ranks = _ranks_within(keys, members, places)
        is_told = ranks is not None
        ranks = _counted(keys, members, places) if ranks is None else ranks
        keys = [(*key, rank) for key, rank in zip(keys, ranks, strict=True)]
    known = {key: moment for moment, key in enumerate(sorted(set(keys)))}
    return [known[key] for key in keys], is_told


def _apart(keys: Sequence[Key], places: Places) -> bool:
    return len(set(zip(places, keys, strict=True))) == len(keys)


def _repeat_alike(keys: Sequence[Key], places: Places) -> bool:
    """Tell whether all positions have the same keys equally often, but for slices that are lost."""
    counts = [Counter(found) for found in _by_place(keys, places).values()]
    whole: Counter[Key] = Counter()
    for count in counts:
        whole |= count
    if whole.total() == max(count.total() for count in counts):
        return True
    # Every position may have lost a slice; but what only few of them have is an odd value and no time point.
    return all(2 * sum(count[key] == most for count in counts) > len(counts) for key, most in whole.items())


def _by_place(values: Iterable[Any], places: Places) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = defaultdict(list)
    for value, place in zip(values, places, strict=True):
        found[place].append(value)
    return found


# --- what is different on every slice: trigger times that jitter, times, and numbers that count on


def _ranks_within(keys: Sequence[Key], members: Sequence[SliceHeader], places: Places) -> list[int] | None:
    """Rank the slices of each key; None where nothing tells."""
    ranks = [0] * len(members)
    groups: dict[Key, list[int]] = defaultdict(list)
    for index, key in enumerate(keys):
        groups[key].append(index)
    for group in groups.values():
        found = _ranks([members[index] for index in group], [places[index] for index in group])
        if found is None:
            return None
        for index, rank in zip(group, found, strict=True):
            ranks[index] = rank
    return ranks


def _ranks(members: Sequence[SliceHeader], places: Places) -> list[int] | None:
    numbers = _numbers(members)
    tries = (
        (_nearest, [header.taken.trigger_ms for header in members]),
        (_in_turn, [header.taken.acquired_s for header in members]),
        (_in_turn, [header.taken.content_s for header in members]),
        (_by_number, numbers),
        (_in_turn, numbers),
    )
    for rule, values in tries:
        known = [value for value in values if value is not None]
        if len(known) == len(members) and _apart([(value,) for value in known], places):
            ranks = rule(_by_place(known, places))
            if ranks is not None:
                return [ranks[place][value] for place, value in zip(places, known, strict=True)]
    return None


def _numbers(members: Sequence[SliceHeader]) -> list[float]:
    """Give the instance numbers, or where frames have none of their own the places of the frames."""
    if all(header.frame == 0 for header in members):
        return [header.instance for header in members]
    order = sorted({(header.instance, header.frame) for header in members})
    place = {frame: float(number) for number, frame in enumerate(order)}
    return [place[header.instance, header.frame] for header in members]


# Of each position the ranks of its values.
Ranking = dict[int, dict[float, int]]


def _ranking(found: dict[int, list[float]], ranks: Iterable[Sequence[int]]) -> Ranking | None:
    """Put ranks beside the sorted values of each position; None where two of them share a rank."""
    ranking = {}
    for (place, values), mine in zip(found.items(), ranks, strict=True):
        if len(set(mine)) < len(values):
            return None
        ranking[place] = dict(zip(sorted(values), map(int, mine), strict=True))
    return ranking


def _full(found: dict[int, list[float]]) -> Numbers:
    """Give the sorted values of the positions that lack none, shape (positions, repeats)."""
    repeats = max(map(len, found.values()))
    return np.array([sorted(values) for values in found.values() if len(values) == repeats])


def _nearest(found: dict[int, list[float]]) -> Ranking | None:
    """Rank by the nearest of the usual values, each position scaled by its own step (its heart rate)."""
    usual = np.median(_full(found), axis=0)
    repeats = len(usual)
    if repeats < 2 or usual[0] == usual[-1]:
        return None
    step = (usual[-1] - usual[0]) / (repeats - 1)
    ranks = []
    for values in map(sorted, found.values()):
        span, steps = values[-1] - values[0], len(values) - 1
        # Of lost slices any number may lie between the first and the last.
        owns = [span / (steps + lost) for lost in range(repeats - steps)] if steps >= STEPS_TO_SCALE else [step]
        offs = [np.abs(np.array(values)[:, None] / own - usual / step) for own in owns]
        off = min(offs, key=lambda one: one.min(axis=1).max())
        if off.min(axis=1).max() > JITTER:
            return None
        ranks.append(off.argmin(axis=1).tolist())
    return _ranking(found, ranks)


def _by_number(found: dict[int, list[float]]) -> Ranking | None:
    """Rank by numbers without a gap but of lost slices: volume after volume, or position after position."""
    repeats, least = max(map(len, found.values())), min(map(min, found.values()))
    for start in dict.fromkeys((1.0, least)):  # the first may be lost
        for after_volume in (True, False):
            ranks = []
            for values in found.values():
                places = np.array(sorted(values)) - start
                ranks.append((places // len(found) if after_volume else places % repeats).astype(int).tolist())
            fits = all(mine == sorted(mine) and mine[0] >= 0 and mine[-1] < repeats for mine in ranks)
            ranking = _ranking(found, ranks) if fits else None
            if ranking is not None:
                return ranking
    return None


def _in_turn(found: dict[int, list[float]]) -> Ranking | None:
    """Rank by values of which each volume's follow the last one's, or each position's another's."""
    full = _full(found)
    low, high = full.min(axis=0), full.max(axis=0)
    if np.all(high[:-1] < low[1:]):
        low[0], high[-1] = -np.inf, np.inf
        ranks = []
        for values in map(sorted, found.values()):
            inside = (np.asarray(values)[:, None] >= low) & (np.asarray(values)[:, None] <= high)
            if not inside.any(axis=1).all():  # a slice of a position that lacks one, between two volumes
                return None
            ranks.append(inside.argmax(axis=1).tolist())
        return _ranking(found, ranks)
    ends = sorted((min(values), max(values)) for values in found.values())
    if len(full) == len(found) and all(one[1] < other[0] for one, other in pairwise(ends)):
        return _ranking(found, [range(full.shape[1])] * len(found))
    return None


def _counted(keys: Sequence[Key], members: Sequence[SliceHeader], places: Places) -> list[int]:
    """Count the slices of each key at each position, in the order of instance number, frame and file."""
    count: Counter[tuple[int, Key]] = Counter()
    ranks = [0] * len(members)
    for index in sorted(range(len(members)), key=lambda n: (members[n].instance, members[n].frame, n)):
        ranks[index] = count[places[index], keys[index]]
        count[places[index], keys[index]] += 1
    return ranks
