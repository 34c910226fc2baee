"""Cleaning a prediction, structure by structure, in the way that was best on validation subjects."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import product

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import ndimage

from autoseg.errors import DataError, SettingsError
from autoseg.image.image import LabelMap
from autoseg.image.structures import Structure, voxels_of
from autoseg.words import counted

Mask = npt.NDArray[np.bool_]
Probabilities = npt.NDArray[np.floating]

# What is tried for each structure; None is the most probable class.
THRESHOLDS = (None, 0.3, 0.4, 0.6, 0.7)
MOST_EROSIONS = 3
# Below this gain of the mean Dice a choice is chance, and the simplest is taken.
TIE = 0.001
# In the plane of the slice: neighbours share an edge for erosion, an edge or a corner for being one piece.
CROSS = ndimage.generate_binary_structure(2, 1)[None]
BLOCK = ndimage.generate_binary_structure(2, 2)[None]


@dataclass(frozen=True)
class StructurePostprocess:
    """How the prediction of one structure is cleaned, slice by slice and in this order.

    A pixel belongs to it only from the `threshold` on, and then also where the background is more probable (None:
    where it is the most probable class); as many `erosions`, 0 to 3, each take off one layer of pixels that share
    an edge with another; the largest piece is kept; and background that the structure encloses is filled.
    """

    threshold: float | None = None
    erosions: int = 0
    largest_component: bool = False
    fill_holes: bool = False

    def __post_init__(self) -> None:
        if self.threshold is not None and not 0 < self.threshold < 1:
            raise SettingsError(f"threshold is {self.threshold}; a probability lies between 0 and 1.")
        if self.erosions not in range(MOST_EROSIONS + 1):
            raise SettingsError(f"erosions is {self.erosions}; give 0 to {MOST_EROSIONS}.")

    @property
    def steps(self) -> int:
        """How much it does: 0 leaves the prediction as it is."""
        return (self.threshold is not None) + self.erosions + self.largest_component + self.fill_holes

    @property
    def words(self) -> str:
        """What it does, in words."""
        parts = [f"from a probability of {self.threshold:g} on"] if self.threshold is not None else []
        parts += [counted(self.erosions, "erosion")] if self.erosions else []
        parts += ["largest piece"] if self.largest_component else []
        parts += ["holes filled"] if self.fill_holes else []
        return ", ".join(parts) or "not cleaned"


def the_same_for_all(
    post: StructurePostprocess, structures: Sequence[Structure]
) -> tuple[StructurePostprocess, ...]:
    """Give what cleans every structure in this way; nothing where it does nothing."""
    return (post,) * len(structures) if post.steps else ()


def choose_classes(probabilities: Probabilities, post: Sequence[StructurePostprocess]) -> npt.NDArray[np.uint8]:
    """Give each pixel its class: the most probable one, but for structures that have a threshold.

    Probabilities are (slices, classes, rows, columns), the background first; `post` has one for each structure, or
    none at all.

    Examples
    --------
    >>> probabilities = np.array([0.6, 0.4]).reshape(1, 2, 1, 1)
    >>> choose_classes(probabilities, ()).item(), choose_classes(probabilities, [StructurePostprocess(0.3)]).item()
    (0, 1)
    """
    _check_count(post, probabilities.shape[1] - 1)
    allowed, wins = probabilities, None
    for k, one in enumerate(post, start=1):
        if one.threshold is None:
            continue
        if wins is None:
            allowed, wins = probabilities.copy(), np.full_like(probabilities, -1)
        enough = probabilities[:, k] >= one.threshold
        allowed[:, k][~enough] = -1
        wins[:, k][enough] = probabilities[:, k][enough]
    classes = _most_probable(allowed)
    if wins is None:
        return classes
    taken = (classes == 0) & (wins.max(1) >= 0)
    return np.where(taken, wins.argmax(1), classes).astype(np.uint8)


def _most_probable(probabilities: Probabilities) -> npt.NDArray[np.uint8]:
    """Give each pixel the first of its most probable classes, as `argmax(1)` does in ten times the time."""
    most = probabilities[:, 0].copy()
    classes = np.zeros(most.shape, dtype=np.uint8)
    for number in range(1, probabilities.shape[1]):
        is_more = probabilities[:, number] > most
        # Later classes have higher numbers, so that the larger one is the one that was found last.
        np.maximum(classes, is_more * np.uint8(number), out=classes)
        np.maximum(most, probabilities[:, number], out=most)
    return classes


def clean_labels(label_map: LabelMap, post: Sequence[StructurePostprocess]) -> LabelMap:
    """Erode, keep the largest piece and fill holes, slice by slice, as chosen for each structure.

    A structure is cleaned together with what it includes (the cord with its grey matter), but only pixels of
    its own label are taken away. They fall to the structure that includes it, else to the background; holes
    are filled from there only, so no other structure loses a pixel. Outer structures come first. The edge of
    the image is no edge of a structure: what is cut off there is not eroded from that side.
    """
    _check_count(post, len(label_map.structures))
    pairs = zip(label_map.structures, post, strict=bool(post))
    cleaned = [(structure, one) for structure, one in pairs if replace(one, threshold=None).steps]
    if not cleaned:
        return label_map
    voxels = label_map.voxels.copy()
    for structure, one in sorted(cleaned, key=lambda pair: -len(pair[0].includes)):
        before = voxels_of(structure, voxels)
        after = _clean(before, one)
        around = _around(structure, label_map.structures)
        voxels[before & ~after & (voxels == structure.label)] = around
        voxels[after & ~before & np.isin(voxels, (0, around))] = structure.label
    return replace(label_map, voxels=voxels)


@dataclass(frozen=True)
class PostprocessTrial:
    """What one way of cleaning one structure gave on the validation subjects.

    `dice`, `iou` and `area_error_percent` (of the summed area) are means over the `n` subjects on which the
    structure was drawn and found or present; NaN if there is none.
    """

    label: int
    name: str
    threshold: float | None
    erosions: int
    largest_component: bool
    fill_holes: bool
    dice: float
    iou: float
    area_error_percent: float
    n: int
    is_chosen: bool = False


@dataclass(frozen=True)
class PostprocessChoice:
    """The post-processing that was best, one per structure, and everything that was tried."""

    post: tuple[StructurePostprocess, ...]
    trials: tuple[PostprocessTrial, ...]

    def table(self) -> pd.DataFrame:
        """Give the trials as a table, one row each."""
        columns = [item.name for item in fields(PostprocessTrial)]
        return pd.DataFrame([asdict(trial) for trial in self.trials], columns=columns)


def choose_postprocess(pairs: Iterable[tuple[LabelMap, Probabilities]]) -> PostprocessChoice:
    """Try thresholds, erosions, the largest piece and filled holes on validation subjects; keep the best.

    Each structure is tried alone, with all others as they are, by its mean Dice over the subjects, pooled over each
    subject's slices. Where several are within 0.001, the simplest is chosen. Probabilities are (slices, classes,
    rows, columns) on the reference's grid, of validation subjects only.
    """
    counts: dict[tuple[int, StructurePostprocess], dict[str, npt.NDArray[np.int64]]] = defaultdict(dict)
    structures: tuple[Structure, ...] = ()
    for reference, probabilities in pairs:
        structures = reference.structures
        expected = (reference.shape[0], len(structures) + 1, *reference.shape[1:])
        if probabilities.shape != expected:
            raise DataError(
                f"{reference.source.name}: the probabilities have the shape {probabilities.shape}, not {expected} "
                "(slices, classes, rows, columns). Predict with the model of these structures."
            )
        subject = reference.source.subject_id
        for k, structure in enumerate(structures):
            if not reference.is_annotated(structure.label):
                continue
            for post, found in _try_all(reference, probabilities, k):
                so_far = counts[structure.label, post].get(subject, np.zeros(3, dtype=np.int64))
                counts[structure.label, post][subject] = so_far + found
    if not structures:
        raise DataError("There is no validation patient to choose a post-processing on. Set one aside.")
    return _choose(structures, counts)


def _choose(
    structures: Sequence[Structure],
    counts: dict[tuple[int, StructurePostprocess], dict[str, npt.NDArray[np.int64]]],
) -> PostprocessChoice:
    post, trials = [], []
    for structure in structures:
        tried = {p: _trial(structure, p, counts[structure.label, p]) for p in _grid(structure)}
        best = max((t.dice for t in tried.values() if not math.isnan(t.dice)), default=math.nan)
        good = [p for p, t in tried.items() if t.dice >= best - TIE] or [StructurePostprocess()]
        chosen = min(good, key=lambda p: (p.steps, -tried[p].dice))
        post.append(chosen)
        trials += [replace(t, is_chosen=p == chosen) for p, t in tried.items()]
    return PostprocessChoice(tuple(post), tuple(trials))


def _grid(structure: Structure) -> list[StructurePostprocess]:
    # Below its threshold a pixel of an outer structure would fall to the inner one, and enlarge that.
    thresholds = (None,) if structure.includes else THRESHOLDS
    ways = product(thresholds, range(MOST_EROSIONS + 1), (False, True), (False, True))
    return [StructurePostprocess(*way) for way in ways]


def _trial(
    structure: Structure, post: StructurePostprocess, subjects: dict[str, npt.NDArray[np.int64]]
) -> PostprocessTrial:
    known = [counts.tolist() for counts in subjects.values() if counts[1] + counts[2] > 0]
    dice = [2 * both / (r + p) for both, r, p in known]
    iou = [both / (r + p - both) for both, r, p in known]
    errors = [100 * (p - r) / r for _, r, p in known if r]
    means = [sum(values) / len(values) if values else math.nan for values in (dice, iou, errors)]
    return PostprocessTrial(
        label=structure.label,
        name=structure.name,
        **asdict(post),
        dice=means[0],
        iou=means[1],
        area_error_percent=means[2],
        n=len(known),
    )


def _try_all(
    reference: LabelMap, probabilities: Probabilities, index: int
) -> Iterator[tuple[StructurePostprocess, npt.NDArray[np.int64]]]:
    """Give overlap, reference and predicted pixels of one structure for every way of cleaning it."""
    structure = reference.structures[index]
    wanted = reference.mask(structure.label)
    inside = [k for k, s in enumerate(reference.structures, 1) if s.label in (structure.label, *structure.includes)]
    likely = probabilities[:, inside].max(1) >= min(t for t in THRESHOLDS if t is not None)
    # Far from the structure all ways agree; a pixel more on each side keeps its edge off the crop's edge.
    box = _box(wanted | likely | np.isin(probabilities.argmax(1), inside), margin=1)
    near = probabilities[:, :, *box[1:]]
    total = int(wanted.sum())
    untouched = [StructurePostprocess()] * len(reference.structures)
    masks: dict[float | None, Mask] = {}
    for post in _grid(structure):
        if post.threshold not in masks:
            untouched[index] = StructurePostprocess(post.threshold)
            masks[post.threshold] = np.isin(choose_classes(near, untouched), inside)
        found = _clean(masks[post.threshold], post)
        yield post, np.array([int((found & wanted[box]).sum()), total, int(found.sum())])


def _clean(mask: Mask, post: StructurePostprocess) -> Mask:
    """Erode, keep the largest piece, fill holes; a mask of shape (slices, rows, columns)."""
    if post.erosions:
        mask = ndimage.binary_erosion(mask, CROSS, iterations=post.erosions, border_value=1)
    if post.largest_component:
        mask = _largest(mask)
    return ndimage.binary_fill_holes(mask, CROSS) if post.fill_holes else mask


def _largest(mask: Mask) -> Mask:
    pieces, _ = ndimage.label(mask, np.concatenate([np.zeros_like(BLOCK), BLOCK, np.zeros_like(BLOCK)]))
    sizes = [np.bincount(piece.ravel()) for piece in pieces]
    best = [int(size[1:].argmax()) + 1 if len(size) > 1 else -1 for size in sizes]
    kept: Mask = pieces == np.array(best)[:, None, None]
    return kept


def _around(structure: Structure, structures: Sequence[Structure]) -> int:
    """Give the label that lies around a structure: the narrowest that includes it, else 0."""
    outer = [other for other in structures if structure.label in other.includes]
    return min(outer, key=lambda other: len(other.includes)).label if outer else 0


def _box(mask: Mask, *, margin: int) -> tuple[slice, slice, slice]:
    """Give the smallest box around a mask, in all slices, with a margin in the plane."""
    rows, columns = mask.any(axis=(0, 2)), mask.any(axis=(0, 1))
    ends = [np.flatnonzero(axis) for axis in (rows, columns)]
    spans = [slice(max(0, int(i[0]) - margin), int(i[-1]) + 1 + margin) if len(i) else slice(0, 1) for i in ends]
    return slice(None), spans[0], spans[1]


def _check_count(post: Sequence[StructurePostprocess], structures: int) -> None:
    if post and len(post) != structures:
        raise DataError(
            f"{counted(len(post), 'post-processing')} for {counted(structures, 'structure')}; give one for each, "
            "or none."
        )
