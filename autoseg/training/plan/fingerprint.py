"""The fingerprint of the data: what images and structures are like, in a few plain numbers that name nobody."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from autoseg.data.label_counts import LabelCounts, count_pixels
from autoseg.image.image import Image, LabelMap
from autoseg.image.structures import Structure

Pair = tuple[Image, LabelMap]
# What the labels of a case show, and which of them were drawn at all.
Counted = tuple[LabelCounts, Callable[[int], bool]]
# Of each structure's label how much brighter it is than what lies around it, (channels,).
Contrasts = dict[int, npt.NDArray[np.float64]]

# Contrast is measured on a picture of at most about so many pixels a side, which is enough and fast.
PICTURE = 128
# With fewer pixels on either side of its border a structure's contrast is chance.
FEWEST_PIXELS = 12
# From these contrasts on, in standard deviations, a structure differs a little, plainly and clearly.
STEPS = ((2.0, "clearly "), (1.0, ""), (0.5, "a little "))


@dataclass(frozen=True)
class StructureFacts:
    """What one structure is like, on the images on which it was drawn.

    `width` is the diameter of the largest circle that fits into it on a typical slice, in the fingerprint's unit.
    `pixels` is its part of all pixels, `slices` the part of slices that show it. `contrast` is how much brighter it
    is than a ring around it, in standard deviations (the two means' difference over the root of the two variances'
    mean), negative where it is darker. None: never seen.
    """

    name: str
    width: float | None
    pixels: float
    slices: float
    contrast: float | None


@dataclass(frozen=True)
class Fingerprint:
    """What the images to learn from are like; plain numbers without IDs.

    `subjects` and `images` are all there are; the labels of `counted` images were counted, and `looked_at` images
    were read for the rest. `unit` is "mm", or "pixels" where the images have no millimetres. `pixel` is the
    typical pixel size in it, `rows` and `columns` the typical size in pixels, `slices` the slices of an image on
    average, `single_slices` the part of images that have one slice only, `slice_distance_mm` the typical distance
    between slices (None: unknown). `with_structure` is the part of slices that show any structure.
    """

    subjects: int
    images: int
    looked_at: int
    unit: str
    pixel: float
    rows: int
    columns: int
    slices: float
    single_slices: float
    slice_distance_mm: float | None
    with_structure: float
    structures: tuple[StructureFacts, ...]
    counted: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Give the fingerprint as plain values, ready for JSON and for a model file."""
        values = dataclasses.asdict(self)
        return {**values, "structures": list(values["structures"])}


def measure_fingerprint(
    pairs: Sequence[Pair],
    structures: Sequence[Structure],
    widths: dict[str, float],
    *,
    subjects: int,
    images: int,
    counted: Sequence[Counted] | None = None,
) -> Fingerprint:
    """Measure what images are like by the `pairs`, and their labels by what was `counted`, if there are more."""
    own = [count_pixels(label_map.voxels) for _, label_map in pairs]
    if counted is None:
        counted = [(counts, label_map.is_annotated) for counts, (_, label_map) in zip(own, pairs, strict=True)]
    contrasts = [contrasts_of(*pair, counts, structures) for pair, counts in zip(pairs, own, strict=True)]
    return put_together(
        [image for image, _ in pairs],
        contrasts,
        structures,
        widths,
        subjects=subjects,
        images=images,
        counted=counted,
    )


def put_together(
    whole: Sequence[Image],
    contrasts: Sequence[Contrasts],
    structures: Sequence[Structure],
    widths: dict[str, float],
    *,
    subjects: int,
    images: int,
    counted: Sequence[Counted],
) -> Fingerprint:
    """Make a fingerprint of what was measured of each image; of the images the voxels are not looked at."""
    calibrated = all(image.affine is not None for image in whole)
    shown = np.concatenate([counts.of(counts.labels) > 0 for counts, _ in counted])
    size = np.median([image.shape[1:] for image in whole], axis=0)
    return Fingerprint(
        subjects=subjects,
        images=images,
        looked_at=len(whole),
        unit="mm" if calibrated else "pixels",
        pixel=float(np.median([image.spacing_mm[1:] for image in whole])) if calibrated else 1.0,
        rows=round(float(size[0])),
        columns=round(float(size[1])),
        slices=float(np.mean([counts.slices for counts, _ in counted])),
        single_slices=float(np.mean([counts.slices == 1 for counts, _ in counted])),
        slice_distance_mm=_slice_distance_mm(whole),
        with_structure=float(np.mean(shown)),
        structures=tuple(_facts(s, contrasts, counted, widths.get(s.name)) for s in structures),
        counted=len(counted),
    )


def describe_fingerprint(fingerprint: Fingerprint) -> str:
    """Give what the images are like in a few plain sentences, without the structures' own table.

    Examples
    --------
    >>> print(describe_fingerprint(Fingerprint(4, 12, 12, "mm", 1.5, 256, 200, 10.0, 0.0, 8.0, 0.7, ())))
    12 images of 4 patients, about 120 slices of typically 256 × 200 pixels of 1.5 mm.
    An image has about 10 slices, 8 mm apart; 70% of the slices show a structure.
    """
    one = fingerprint
    looked = ""
    if one.looked_at != one.images:
        labels = "all labels" if one.counted == one.images else f"the labels of {one.counted}"
        looked = f" ({labels} counted, {_count(one.looked_at, 'image')} looked at)"
    pixel = f" of {one.pixel:.3g} mm" if one.unit == "mm" else ", pixel size unknown"
    lines = [
        f"{_count(one.images, 'image')} of {_count(one.subjects, 'patient')}{looked}, about "
        f"{_count(round(one.slices * one.images), 'slice')} of typically {one.rows} × {one.columns} pixels{pixel}."
    ]
    if one.single_slices == 1:
        many = "Each image is a single slice"
    else:
        apart = "" if one.slice_distance_mm is None else f", {one.slice_distance_mm:.3g} mm apart"
        many = f"An image has about {_count(round(one.slices), 'slice')}{apart}"
    lines.append(f"{many}; {one.with_structure:.0%} of the slices show a structure.")
    return "\n".join(lines)


def contrast_words(contrast: float | None) -> str:
    """Say how a structure differs from what lies around it.

    Examples
    --------
    >>> contrast_words(-2.34), contrast_words(0.2), contrast_words(None)
    ('clearly darker (2.3 SD)', 'hardly differs (0.2 SD)', 'unknown')
    """
    if contrast is None:
        return "unknown"
    word, shown = "brighter" if contrast > 0 else "darker", round(abs(contrast), 1)
    much = next((words + word for least, words in STEPS if shown >= least), "hardly differs")
    return f"{much} ({shown:.1f} SD)"


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _slice_distance_mm(images: Sequence[Image]) -> float | None:
    known = [
        image.spacing_mm[0]
        for image in images
        if image.affine is not None and image.shape[0] > 1 and image.source.slice_spacing_source != "none"
    ]
    return float(np.median(known)) if known else None


def contrasts_of(
    image: Image, label_map: LabelMap, counts: LabelCounts, structures: Sequence[Structure]
) -> Contrasts:
    """Give the contrast of each structure, by its label, on the slice that shows most of it, where it is known."""
    found: Contrasts = {}
    for structure in structures:
        labels = [structure.label, *structure.includes]
        shown = counts.of(labels)
        if label_map.is_annotated(structure.label) and shown.any():
            contrast = contrast_of(image, label_map, labels, int(shown.argmax()))
            if contrast is not None:
                found[structure.label] = contrast
    return found


def _facts(
    structure: Structure, contrasts: Sequence[Contrasts], counted: Sequence[Counted], width: float | None
) -> StructureFacts:
    labels = [structure.label, *structure.includes]
    drawn = [counts for counts, is_drawn in counted if is_drawn(structure.label)]
    own = [counts.of(labels) for counts in drawn]
    pixels = sum(counts.slices * counts.slice_pixels for counts in drawn)
    return StructureFacts(
        name=structure.name,
        width=width,
        pixels=sum(int(count.sum()) for count in own) / pixels if pixels else 0.0,
        slices=float(np.mean(np.concatenate(own) > 0)) if own else 0.0,
        contrast=_strongest([one[structure.label] for one in contrasts if structure.label in one]),
    )


def contrast_of(
    image: Image, label_map: LabelMap, labels: Collection[int], index: int
) -> npt.NDArray[np.float64] | None:
    """Give how much brighter a structure is than a ring around it on a slice, in standard deviations.

    The ring is about half as wide as the structure, and lies within the image. `labels` are the structure's own and
    those of what it includes. Gives (channels,); None where too few pixels are on either side, or all are alike.
    """
    mask = np.isin(label_map.voxels[index], list(labels))
    boxes = ndimage.find_objects(mask.astype(np.uint8))
    if not boxes or boxes[0] is None:
        return None
    shorter, longer = sorted(place.stop - place.start for place in boxes[0])
    step = max(1, -(-longer // PICTURE))
    margin = max(2 * step, shorter // 4)
    around = [
        slice(max(0, place.start - margin), min(n, place.stop + margin))
        for place, n in zip(boxes[0], mask.shape, strict=True)
    ]
    seen = tuple(slice(place.start, place.stop, step) for place in around)
    inside = mask[seen]
    ring = ~inside & (ndimage.distance_transform_edt(~inside) <= margin / step)
    pixels = image.channel_voxels[:, index][:, *seen].astype(np.float64)
    known = np.isfinite(pixels).all(axis=0)
    within, beside = pixels[:, inside & known], pixels[:, ring & known]
    if min(within.shape[1], beside.shape[1]) < FEWEST_PIXELS:
        return None
    spread = np.sqrt((within.var(axis=1) + beside.var(axis=1)) / 2)
    if not (spread > 0).any():
        return None
    difference = within.mean(axis=1) - beside.mean(axis=1)
    return np.divide(difference, spread, out=np.zeros_like(spread), where=spread > 0)


def _strongest(contrasts: Sequence[npt.NDArray[np.float64]]) -> float | None:
    """Give the typical contrast on the channel that shows the structure best."""
    channels = max((len(one) for one in contrasts), default=0)
    typical = [float(np.median([one[c] for one in contrasts if len(one) > c])) for c in range(channels)]
    return max(typical, key=abs, default=None)
