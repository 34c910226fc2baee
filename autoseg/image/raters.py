"""Several raters drew the same image: one label map of them all, and how far they agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from autoseg.errors import LabelError
from autoseg.image.image import LabelMap
from autoseg.image.structures import Structure

Rule = Literal["majority", "staple", "mean"]
Mask = npt.NDArray[np.bool_]
Shares = npt.NDArray[np.float64]

# Warfield's start: every rater is nearly perfect, so that a structure is not exchanged with its background.
FIRST_GUESS = 0.99999
MOST_STEPS = 1000


@dataclass(frozen=True, eq=False)
class Staple:
    """What STAPLE estimates of one structure.

    `probability` is that of each voxel to belong to it, of the masks' shape; `sensitivity` and `specificity`,
    shape (raters,), are those of each rater against that estimate.
    """

    probability: Shares
    sensitivity: Shares
    specificity: Shares


def combine_raters(
    label_maps: Sequence[LabelMap], *, rule: Rule = "majority", agreeing: int | None = None
) -> LabelMap:
    """Make one label map of several raters' on one grid.

    "majority": voxels that enough raters gave to the structure (by default more than half of those who drew it, or
    `agreeing`); "staple": those that belong to it with a probability of at least one half; "mean": voxels as for
    "majority", and `shares` holds the share of raters as soft labels.
    Only raters who drew a structure (`LabelMap.annotated`) count for it. Where several structures claim a voxel,
    the one within another (`Structure.includes`) has it, else the one that more raters (for STAPLE, the greater
    probability) gave it to, else the first of `structures`.
    """
    if rule not in ("majority", "staple", "mean"):
        raise LabelError(f"The rule for several raters is {rule!r}; choose majority, staple or mean.")
    if agreeing is not None and (rule == "staple" or agreeing < 1):
        raise LabelError(f"agreeing is {agreeing} with the rule {rule!r}; give 1 or more, and none with staple.")
    structures = _same_structures(label_maps)
    claims: dict[int, Shares] = {}
    inside: dict[int, Mask] = {}
    for structure in structures:
        masks = _drawn(label_maps, structure.label)
        if not masks:
            continue
        if rule == "staple":
            claims[structure.label] = staple(masks).probability
            inside[structure.label] = claims[structure.label] >= 0.5
        else:
            votes = np.sum(masks, axis=0)
            claims[structure.label] = votes / len(masks)
            inside[structure.label] = votes >= _needed(label_maps, structure, len(masks), agreeing)
    return replace(
        label_maps[0],
        voxels=_assigned(structures, claims, inside, label_maps[0].shape),
        structures=structures,
        annotated=frozenset(claims),
        shares=_exclusive(structures, claims, label_maps[0].shape) if rule == "mean" else None,
    )


def staple(masks: Sequence[Mask]) -> Staple:
    """Estimate a structure, and each rater's sensitivity and specificity, by STAPLE.

    Expectation and maximisation run on the box around everything that anybody drew, because more background
    around it would only raise every specificity; outside the box the probability is 0. The prior is the mean
    share of raters in the box. Source: Warfield, Zou and Wells, IEEE Trans Med Imaging 2004, equations 14, 18, 19.

    Examples
    --------
    >>> masks = [np.array([1, 1, 0, 0], bool), np.array([1, 1, 0, 0], bool), np.array([1, 0, 0, 1], bool)]
    >>> staple(masks).probability.round(2).tolist()
    [1.0, 1.0, 0.0, 0.0]
    """
    if not masks or len({mask.shape for mask in masks}) != 1:
        raise LabelError("STAPLE needs masks of one shape; these differ.")
    probability = np.zeros(masks[0].shape)
    box = _box(np.any(masks, axis=0))
    # Voxels on which all raters decided alike share one probability, so a few patterns stand for all voxels.
    codes = sum(mask[box].astype(np.int64) << rater for rater, mask in enumerate(masks))
    found, place, counts = np.unique(codes, return_inverse=True, return_counts=True)
    yes = (found[:, None] >> np.arange(len(masks))) & 1
    prior = float(counts @ yes.mean(axis=1)) / max(counts.sum(), 1)
    belongs = np.zeros(len(found))
    sensitivity = specificity = np.full(len(masks), FIRST_GUESS if len(found) else 1.0)
    for _ in range(MOST_STEPS if len(found) else 0):
        before = belongs
        true = prior * np.prod(np.where(yes, sensitivity, 1 - sensitivity), axis=1)
        false = (1 - prior) * np.prod(np.where(yes, 1 - specificity, specificity), axis=1)
        belongs = true / np.maximum(true + false, np.finfo(float).tiny)
        weight, rest = counts * belongs, counts * (1 - belongs)
        # Where nothing is left to tell a rater's faults by, there are none.
        sensitivity = weight @ yes / weight.sum() if weight.any() else np.ones(len(masks))
        specificity = rest @ (1 - yes) / rest.sum() if rest.any() else np.ones(len(masks))
        if np.abs(belongs - before).max() < 1e-9:
            break
    probability[box] = belongs[place].reshape(probability[box].shape)
    return Staple(probability, sensitivity, specificity)


def rater_agreement(label_maps: Sequence[LabelMap], names: Sequence[str]) -> pd.DataFrame:
    """Compare raters with each other: overlap and areas, structure by structure.

    dice = 2 |A and B| / (|A| + |B|), pooled over all slices. area_cv_percent = 100 × standard deviation (n - 1) /
    mean of the raters' areas on a slice, averaged over the slices on which anybody drew the structure; who left it
    out there counts with area 0. A row for every pair who both drew the structure, and one with rater_1 "all": the
    mean Dice, and the CV of all raters' areas.
    """
    if len(set(names)) != len(label_maps) or len(names) != len(label_maps):
        raise LabelError(
            f"{len(label_maps)} raters have the names {', '.join(names)}; give each a name of its own."
        )
    rows = []
    for structure in _same_structures(label_maps):
        masks = {
            name: label_map.mask(structure.label)
            for name, label_map in zip(names, label_maps, strict=True)
            if label_map.is_annotated(structure.label)
        }
        found = []
        for first, second in combinations(masks, 2):
            pair = [masks[first], masks[second]]
            total = sum(int(mask.sum()) for mask in pair)
            dice = 2 * int((pair[0] & pair[1]).sum()) / total if total else np.nan
            found.append((structure.label, structure.name, first, second, *_areas(pair, dice)))
        if found:
            dices = np.array([row[5] for row in found])
            mean = float(np.nanmean(dices)) if np.isfinite(dices).any() else np.nan
            found.append((structure.label, structure.name, "all", "", *_areas(list(masks.values()), mean)))
        rows += found
    columns = ["label", "name", "rater_1", "rater_2", "slices", "dice", "area_cv_percent"]
    return pd.DataFrame(rows, columns=columns)


def _areas(masks: Sequence[Mask], dice: float) -> tuple[int, float, float]:
    """Give the number of slices on which anybody drew, the Dice, and the mean CV of the areas in percent."""
    areas = np.array([mask.sum(axis=(1, 2)) for mask in masks], dtype=np.float64)
    areas = areas[:, areas.any(axis=0)]
    cv = 100 * areas.std(axis=0, ddof=1) / areas.mean(axis=0)
    return areas.shape[1], dice, float(cv.mean()) if cv.size else np.nan


def _drawn(label_maps: Sequence[LabelMap], label: int) -> list[Mask]:
    return [label_map.mask(label) for label_map in label_maps if label_map.is_annotated(label)]


def _needed(label_maps: Sequence[LabelMap], structure: Structure, drew: int, agreeing: int | None) -> int:
    if agreeing is not None and agreeing > drew:
        raise LabelError(
            f"{label_maps[0].source.name}: {drew} of {len(label_maps)} raters drew {structure.name!r}, so "
            f"{agreeing} cannot agree on it. Ask for {drew} or fewer, or leave this case out."
        )
    return drew // 2 + 1 if agreeing is None else agreeing


def _same_structures(label_maps: Sequence[LabelMap]) -> tuple[Structure, ...]:
    """Give all raters' structures; LabelError where grids or names differ."""
    if not label_maps:
        raise LabelError("No label map was given. Give one for each rater.")
    first = label_maps[0]
    known: dict[int, Structure] = {}
    for label_map in label_maps:
        if not first.same_grid(label_map):
            raise LabelError(
                f"Raters drew on different grids: {first!r} ({first.source.name}) and {label_map!r} "
                f"({label_map.source.name}). Only labels on one image can be combined."
            )
        for structure in label_map.structures:
            other = known.setdefault(structure.label, structure)
            if (other.name, other.includes) != (structure.name, structure.includes):
                raise LabelError(
                    f"Label {structure.label} is {other.name!r} for one rater and {structure.name!r} for another "
                    f"({label_map.source.name}), or includes other structures. Give raters one structures table."
                )
    return tuple(known.values())


def _assigned(
    structures: Sequence[Structure],
    claims: Mapping[int, Shares],
    inside: Mapping[int, Mask],
    shape: tuple[int, ...],
) -> npt.NDArray[np.uint8]:
    """Give every voxel to one of the structures that claim it."""
    voxels = np.zeros(shape, dtype=np.uint8)
    strongest = np.zeros(shape)
    for structure in _outer_first(structures):
        if structure.label not in inside:
            continue
        within = [other.label for other in structures if structure.label in other.includes]
        claim = claims[structure.label]
        taken = inside[structure.label] & ((claim > strongest) | np.isin(voxels, within))
        voxels[taken] = structure.label
        strongest[taken] = claim[taken]
    return voxels


def _exclusive(
    structures: Sequence[Structure], claims: Mapping[int, Shares], shape: tuple[int, ...]
) -> npt.NDArray[np.float32]:
    """Give the shares without what lies in included structures, so that they add up to 1 at most."""
    own: dict[int, Shares] = {}
    for structure in reversed(_outer_first(structures)):
        whole = claims.get(structure.label, np.zeros(shape))
        inner = [own[label] for label in structure.includes if label in own]
        own[structure.label] = np.maximum(whole - np.sum(inner, axis=0), 0.0) if inner else whole
    shares = np.stack([own[structure.label] for structure in structures])
    return (shares / np.maximum(shares.sum(axis=0), 1.0)).astype(np.float32)


def _outer_first(structures: Sequence[Structure]) -> list[Structure]:
    """Sort so that a structure comes after those that include it."""
    return sorted(structures, key=lambda structure: -len(structure.includes))


def _box(mask: Mask) -> tuple[slice, ...]:
    """Give the smallest box around the mask; an empty one where there is nothing."""
    box = []
    for axis in range(mask.ndim):
        found = np.flatnonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        box.append(slice(int(found[0]), int(found[-1]) + 1) if len(found) else slice(0, 0))
    return tuple(box)
