"""A look at a folder: the labels of all cases counted, a few images read for what else there is to know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, zip_longest
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from autoseg.data.cases import Case, read_case
from autoseg.data.duplicates import CaseFacts, case_facts
from autoseg.data.label_counts import LabelCounts, count_labels, count_pixels
from autoseg.errors import AutosegError, DataError
from autoseg.image.image import Image, LabelMap
from autoseg.image.structures import Structure, side_pairs
from autoseg.model.preprocessing.extents import plan_spacing
from autoseg.model.settings.settings import PreprocessSettings
from autoseg.training.plan.fingerprint import (
    Contrasts,
    Fingerprint,
    contrasts_of,
    measure_fingerprint,
    put_together,
)

Kind = TypeVar("Kind")

# Enough to know a folder by, and read in a second or two.
MOST_CASES = 20
MOST_BYTES = 32_000_000
# Of the labelled slices of a case those at these parts of the way: at the ends there is little of anything.
PLACES = (0.25, 0.5, 0.75)
# So many cases with each structure are read, where there are as many: the smallest one decides how fine is seen.
SHOWING = 3
# Drawings are compared as pictures of so many pixels, which reach this many times their mean radius.
PICTURE, REACH = 48, 2.2
FEWEST_PIXELS = 30
# Images of so many subjects are compared, as pictures of so many pixels, and tell something from this correlation
# on. What lies this part of the width beside the middle lies on a side.
FEWEST_SUBJECTS, SMALL, ALIKE, MIDDLE = 3, 32, 0.2, 0.02
# An image with fewer slices is no stack.
FEWEST_IN_STACK = 5


@dataclass(frozen=True, eq=False)
class Survey:
    """What a look at a few cases told; lengths in mm, or in pixels where the images have no millimetres.

    `sizes_mm` are the (rows, columns) of the images, `pixels_mm` their pixels' (rows, columns), `widths` tells for
    each structure's name how wide it typically is (the largest circle that fits into it), `drawn` the largest
    (rows, columns) that structures fill on one slice, `slices` the slices of a typical case. `turned` compares
    drawings of different subjects: how well they agree after one was turned by quarters, over how well they agree
    as they are. About 1 means round, or lying any way round; near 0, the same way up in everybody. None: unknown.
    `spans` tells for each image over how many neighbouring slices its longest structure goes on, `uneven` how much
    the brightness of stacks differs where each slice is normalised by itself (`_unevenness`); None where there is
    no whole stack. `mirrored` compares images of different subjects as `turned` does drawings, after one was
    mirrored left to right; None where they are too unlike to tell, or a structure without a counterpart lies on one
    side. `fingerprint` says the rest. By case_id, `facts` recognise the cases that were read, and `counts` tell of
    all cases what they show.
    """

    images: tuple[Image, ...]
    sizes_mm: tuple[tuple[float, float], ...]
    pixels_mm: tuple[tuple[float, float], ...]
    widths: dict[str, float]
    drawn: tuple[float, float]
    slices: float
    turned: float | None
    fingerprint: Fingerprint
    facts: Mapping[str, CaseFacts]
    counts: Mapping[str, LabelCounts]
    spans: tuple[int, ...] = ()
    uneven: float | None = None
    mirrored: float | None = None

    @property
    def has_millimetres(self) -> bool:
        """Tell whether lengths are in mm."""
        return self.images[0].affine is not None


def spread_cases(cases: Sequence[Case], most: int, *, most_bytes: int = MOST_BYTES) -> tuple[Case, ...]:
    """Choose at most `most` cases, spread over the subjects and over each one's cases; the same ones every time.

    Beyond the first two their image files have together no more than `most_bytes`.
    """
    by_subject: dict[str, list[Case]] = {}
    for case in cases:
        by_subject.setdefault(case.subject_id, []).append(case)
    chosen = [by_subject[name] for name in _spread(sorted(by_subject), most)]
    own = -(-most // max(1, len(chosen)))
    turns = zip_longest(*(_spread(some, own) for some in chosen))
    found = [case for turn in turns for case in turn if case is not None][:most]
    total, kept = 0, list[Case]()
    for case in found:
        total += _bytes_of(case)
        if total > most_bytes and len(kept) >= 2:
            break
        kept.append(case)
    return tuple(kept)


def survey_cases(cases: Sequence[Case], structures: Sequence[Structure]) -> Survey:
    """Count all labels and look at a few of the images; what cannot be read is passed over."""
    counts = count_labels(cases, structures)
    read = _read(_telling(cases, structures, counts), structures)
    counts = {case_id: count_pixels(label_map.voxels) for case_id, (_, label_map) in read.items()} | counts
    pairs, own = list(read.values()), [counts[case_id] for case_id in read]
    images = tuple(image for image, _ in pairs)
    plan_spacing(PreprocessSettings(), images)  # refuses a mixture of images with and without millimetres
    pixels = tuple(_pixel(image) for image in images)
    typical = _typical(pairs, own)
    fullest = [_Drawing(*pair, index) for pair in pairs for index in _fullest_slices(pair[1])]
    boxes = [box for drawing in typical if (box := drawing.box()) is not None]
    widths = _widths(typical, structures)
    # A new patient's stack is seen as a whole, and so it has to be here.
    are_whole = not any(case.slices for case in cases)
    return Survey(
        images=images,
        sizes_mm=tuple((i.shape[1] * p[0], i.shape[2] * p[1]) for i, p in zip(images, pixels, strict=True)),
        pixels_mm=pixels,
        widths=widths,
        drawn=(max((box[0] for box in boxes), default=0.0), max((box[1] for box in boxes), default=0.0)),
        slices=float(np.mean([one.slices for one in counts.values()])),
        turned=_turned(fullest),
        fingerprint=measure_fingerprint(
            pairs,
            structures,
            widths,
            subjects=len({case.subject_id for case in cases}),
            images=len(cases),
            counted=[(counts[case.case_id], case.is_drawn) for case in cases if case.case_id in counts],
        ),
        facts={case_id: case_facts(*pair) for case_id, pair in read.items()},
        counts=counts,
        spans=tuple(_span(one, structures) for one in own),
        mirrored=None if _is_one_sided(pairs, structures) else _mirrored(pairs),
        uneven=_unevenness(images, PreprocessSettings().clip_percentiles) if are_whole else None,
    )


@dataclass(frozen=True, eq=False)
class Looks:
    """What one case adds to a fingerprint: all that its labels show, and what is measured on a few cases only.

    `widths` are those of each structure's name on typical slices, `drawn` the labels that were drawn.
    """

    counts: LabelCounts
    drawn: frozenset[int]
    widths: Mapping[str, Sequence[float]]
    contrasts: Contrasts


def looks_of(image: Image, label_map: LabelMap, structures: Sequence[Structure], *, fully: bool = True) -> Looks:
    """Look at one case; unless `fully`, at its labels alone."""
    counts, drawn = count_pixels(label_map.voxels), frozenset(label_map.annotated or ())
    if not fully:
        return Looks(counts, drawn, {}, {})
    typical = [_Drawing(image, label_map, index) for index in _inner_slices(counts)]
    contrasts = contrasts_of(image, label_map, counts, structures)
    return Looks(counts, drawn, _all_widths(typical, structures), contrasts)


def fingerprint_of(pairs: Sequence[tuple[Image, LabelMap]], structures: Sequence[Structure]) -> Fingerprint | None:
    """Give the fingerprint of images that were read already: of all labels, and of a few images.

    None where there are none, or some have millimetres and some have not.
    """
    few = set(_spread(range(len(pairs)), MOST_CASES))
    looks = [looks_of(*pair, structures, fully=place in few) for place, pair in enumerate(pairs)]
    return fingerprint_by_looks([image for image, _ in pairs], looks, structures)


def fingerprint_by_looks(
    images: Sequence[Image], looks: Sequence[Looks], structures: Sequence[Structure]
) -> Fingerprint | None:
    """Give the same from what was seen of each case; of the images the voxels are not looked at."""
    if len({image.affine is None for image in images}) != 1:
        return None
    few = [looks[place] for place in _spread(range(len(looks)), MOST_CASES)]
    widths = {
        structure.name: float(np.median(found))
        for structure in structures
        if (found := [width for one in few for width in one.widths.get(structure.name, ())])
    }
    return put_together(
        _spread(images, MOST_CASES),
        [one.contrasts for one in few],
        structures,
        widths,
        subjects=len({image.source.subject_id for image in images}),
        images=len(images),
        counted=[(one.counts, one.drawn.__contains__) for one in looks],
    )


def _read(cases: Sequence[Case], structures: Sequence[Structure]) -> dict[str, tuple[Image, LabelMap]]:
    """Read cases; where none can be read, say why of the first."""
    read: dict[str, tuple[Image, LabelMap]] = {}
    failed: list[AutosegError] = []
    for case in cases:
        try:
            read[case.case_id] = read_case(case, tuple(structures))
        except AutosegError as error:
            failed.append(error)
    if not read:
        raise failed[0] if failed else DataError("There are no cases to plan with. Choose a folder with labels.")
    return read


def _telling(
    cases: Sequence[Case], structures: Sequence[Structure], counts: Mapping[str, LabelCounts]
) -> tuple[Case, ...]:
    """Choose a few cases to read, such that each structure is on some of them."""
    few = spread_cases(cases, MOST_CASES)
    shown = {case.case_id: counts[case.case_id].labels if case.case_id in counts else frozenset() for case in cases}
    for structure in structures:
        showing = [
            case for case in cases if structure.label in shown[case.case_id] and case.is_drawn(structure.label)
        ]
        known = {case.case_id for case in showing} & {case.case_id for case in few}
        if len(known) < min(SHOWING, len(showing)):
            few += tuple(case for case in spread_cases(showing, SHOWING) if case.case_id not in known)
    return few


def _spread(items: Sequence[Kind], most: int) -> list[Kind]:
    places = np.linspace(0, len(items) - 1, min(most, len(items))).round().astype(int)
    return [items[place] for place in places]


def _bytes_of(case: Case) -> int:
    paths = [path for image in case.images for path in (image.path, *image.others)]
    return sum(path.stat().st_size for path in paths if path.exists())


def _typical(pairs: Sequence[tuple[Image, LabelMap]], counts: Sequence[LabelCounts]) -> list[_Drawing]:
    return [_Drawing(*pair, index) for pair, own in zip(pairs, counts, strict=True) for index in _inner_slices(own)]


def _inner_slices(counts: LabelCounts) -> list[int]:
    """Give labelled slices along the way, and the middle one of each structure that is on none of them."""
    labelled = np.flatnonzero(counts.of(counts.labels))
    places = {round(part * (len(labelled) - 1)) for part in PLACES} if len(labelled) else set()
    chosen = {int(labelled[place]) for place in places}
    for pixels in counts.pixels.values():
        own = np.flatnonzero(pixels).tolist()
        chosen |= set() if chosen.intersection(own) else {own[len(own) // 2]}
    return sorted(chosen)


def _fullest_slices(label_map: LabelMap) -> list[int]:
    """Give the slices with most labels: there the drawings of different people are most alike."""
    counts = np.count_nonzero(label_map.voxels, axis=(1, 2))
    return [int(index) for index in np.argsort(-counts, kind="stable")[: len(PLACES)]]


def _span(counts: LabelCounts, structures: Sequence[Structure]) -> int:
    """Give the most neighbouring slices on which one structure goes on."""
    longest = 0
    for structure in structures:
        shown = counts.of((structure.label, *structure.includes)) > 0
        ends = np.flatnonzero(np.diff(np.concatenate([[False], shown, [False]]).astype(np.int8)))
        longest = max([longest, *(ends[1::2] - ends[::2]).tolist()])
    return longest


def _is_one_sided(pairs: Sequence[tuple[Image, LabelMap]], structures: Sequence[Structure]) -> bool:
    """Tell whether a structure lies on one side in most subjects and on the other in none; pairs are exchanged."""
    exchanged = {label for pair in side_pairs(structures) for label in pair}
    for structure in structures:
        places: dict[str, list[float]] = {}
        for image, label_map in pairs:
            columns = np.nonzero(label_map.mask(structure.label))[2]
            if columns.size and structure.label not in exchanged:
                place = (float(columns.mean()) + 0.5) / label_map.shape[2] - 0.5
                places.setdefault(image.source.subject_id, []).append(place)
        beside = [np.sign(place) for place in map(np.mean, places.values()) if abs(place) > MIDDLE]
        if len(set(beside)) == 1 and len(beside) > len(places) / 2:
            return True
    return False


def _mirrored(pairs: Sequence[tuple[Image, LabelMap]]) -> float | None:
    """Give how well middle slices of different subjects agree after one was mirrored, over how well before."""
    seen = [(image.source.subject_id, _small(image)) for image, _ in pairs]
    as_is, mirrored = [], []
    for (one, first), (two, second) in combinations(seen, 2):
        if one != two:
            as_is.append(float((first * second).sum()))
            mirrored.append(float((first[:, ::-1] * second).sum()))
    few = len({subject for subject, _ in seen}) < FEWEST_SUBJECTS
    return None if few or np.mean(as_is) < ALIKE else float(np.mean(mirrored) / np.mean(as_is))


def _small(image: Image) -> npt.NDArray[np.float32]:
    """Give the middle slice as a small picture of mean 0 and length 1."""
    grey = image.channel_voxels[0, image.shape[0] // 2].astype(np.float32)
    grey = np.clip(grey, *np.percentile(grey, (1, 99)))
    rows, columns = (np.linspace(0, count, SMALL + 1).astype(int)[:-1] for count in grey.shape)
    small = np.add.reduceat(np.add.reduceat(grey, rows, axis=0), columns, axis=1)
    small -= small.mean()
    return np.asarray(small / max(float(np.linalg.norm(small)), 1e-9), dtype=np.float32)


def _unevenness(images: Sequence[Image], percentiles: tuple[float, float]) -> float | None:
    """Give by how many standard deviations one brightness would differ from slice to slice of a typical stack.

    So it does where each slice is brought to mean 0 and deviation 1 by itself, and some are of less of the body:
    of a stack the spread over its slices (10th to 90th percentile), in the channel where it is largest.
    """
    found = []
    for image in images:
        if image.shape[0] < FEWEST_IN_STACK:
            continue
        step = max(1, max(image.shape[1:]) // PICTURE)
        spreads = []
        for channel in image.channel_voxels:
            seen = channel[:, ::step, ::step].reshape(len(channel), -1).astype(np.float32)
            bright = float(seen[seen > seen.mean()].mean()) if seen.min() < seen.max() else 0.0
            low, high = np.percentile(seen, percentiles, axis=1, keepdims=True)
            own = np.clip(seen, low, high)
            places = (bright - own.mean(axis=1)) / np.maximum(own.std(axis=1), 1e-6)
            spreads.append(float(np.subtract(*np.percentile(places, (90, 10)))))
        found.append(max(spreads))
    return float(np.median(found)) if found else None


def _pixel(image: Image) -> tuple[float, float]:
    return (1.0, 1.0) if image.affine is None else (image.spacing_mm[1], image.spacing_mm[2])


class _Drawing:
    """The labels of one slice."""

    def __init__(self, image: Image, label_map: LabelMap, index: int) -> None:
        self.subject_id, self.pixel = image.source.subject_id, _pixel(image)
        self.parts = {s.label: (s.label, *s.includes) for s in label_map.structures}
        self.labels = label_map.voxels[index]
        self.known = [s.label for s in label_map.structures if label_map.is_annotated(s.label)]

    def box(self) -> tuple[float, float] | None:
        """Give the (rows, columns) that the structures fill."""
        found = ndimage.find_objects((self.labels > 0).astype(np.uint8))
        if not found or found[0] is None:
            return None
        rows, columns = (place.stop - place.start for place in found[0])
        return rows * self.pixel[0], columns * self.pixel[1]

    def width(self, label: int) -> float | None:
        """Give the diameter of the largest circle inside a structure; None where it is not."""
        mask = np.isin(self.labels, self.parts[label])
        if label not in self.known or not mask.any():
            return None
        (box,) = ndimage.find_objects(mask.astype(np.uint8))
        inside = np.pad(mask[box], 1)
        farthest = float(ndimage.distance_transform_edt(inside, sampling=self.pixel).max())
        return 2 * farthest - min(self.pixel) / 2  # three pixels and four are equally far from their middle

    def picture(self) -> npt.NDArray[np.integer] | None:
        """Give the labels in a small square around their middle, at one size; None if they are too few."""
        rows, columns = np.nonzero(np.isin(self.labels, self.known) & (self.labels > 0))
        if len(rows) < FEWEST_PIXELS:
            return None
        middle = rows.mean(), columns.mean()
        away = np.hypot((rows - middle[0]) * self.pixel[0], (columns - middle[1]) * self.pixel[1])
        half = REACH * float(np.sqrt(np.mean(away**2)))
        steps = ((np.arange(PICTURE) + 0.5) / PICTURE * 2 - 1) * half
        picture = np.zeros((PICTURE, PICTURE), dtype=self.labels.dtype)
        places = [
            np.round(centre + steps / size).astype(int) for centre, size in zip(middle, self.pixel, strict=True)
        ]
        fits = [(place >= 0) & (place < n) for place, n in zip(places, self.labels.shape, strict=True)]
        picture[np.ix_(*fits)] = self.labels[np.ix_(places[0][fits[0]], places[1][fits[1]])]
        return picture


def _all_widths(drawings: Sequence[_Drawing], structures: Sequence[Structure]) -> dict[str, list[float]]:
    widths = {}
    for structure in structures:
        found = [width for drawing in drawings if (width := drawing.width(structure.label)) is not None]
        if found:
            widths[structure.name] = found
    return widths


def _widths(drawings: Sequence[_Drawing], structures: Sequence[Structure]) -> dict[str, float]:
    return {name: float(np.median(found)) for name, found in _all_widths(drawings, structures).items()}


def _turned(drawings: Sequence[_Drawing]) -> float | None:
    """Give how well drawings agree after turning by quarters, over how well they agree as they are."""
    pictures = [(one, picture) for one in drawings if (picture := one.picture()) is not None]
    alone = len({one.subject_id for one, _ in pictures}) < 2
    as_is, turned = [], []
    for (one, first), (two, second) in combinations(pictures, 2):
        if one.subject_id == two.subject_id and not alone:
            continue
        both = [label for label in one.known if label in two.known]
        first, second = (np.where(np.isin(picture, both), picture, 0) for picture in (first, second))
        if first.any() and second.any():
            as_is.append(_agreement(first, second))
            turned.append(np.mean([_agreement(np.rot90(first, k), second) for k in (1, 2, 3)]))
    return float(np.mean(turned) / np.mean(as_is)) if as_is and np.mean(as_is) > 0 else None


def _agreement(one: npt.NDArray[np.integer], two: npt.NDArray[np.integer]) -> float:
    same = np.count_nonzero((one == two) & (one > 0))
    return 2 * same / (np.count_nonzero(one) + np.count_nonzero(two))
