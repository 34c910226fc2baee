"""What the network sees at once: a slice (2-D), a slice with its neighbours (2.5-D), or a volume (3-D)."""

from __future__ import annotations

import math

import numpy as np

from autoseg.errors import AutosegError
from autoseg.image.image import Image
from autoseg.model.preprocessing.neighbouring_slices import neighbours_note
from autoseg.model.preprocessing.volume_grids import check_volume
from autoseg.training.plan.choice import Choice
from autoseg.training.plan.survey import Survey

NAME = "preprocess.neighbours"
# Neighbours are seen where slices lie at most this many of the network's pixels apart; 0 switches it off.
CLOSE = 1.5
# In an image with fewer slices most have a neighbour missing.
FEWEST_SLICES = 5

# Volumes are learnt from where their voxels are at most so many times as long as wide, an image has so many slices
# or more, and a structure goes on over so many of them or more. On the hippocampus (fold 0, 62 s of one thread, two
# runs each, best epoch chosen on the scored subjects) slices with neighbours had a mean Dice of 0.812 and 0.817,
# volumes 0.841 and 0.844.
MOST_ANISOTROPIC, FEWEST_IN_VOLUME, SHORTEST_SPAN = 3.0, 16, 8


def choose_spatial_dims(survey: Survey, views: float, least: float) -> Choice:
    """Choose between slices (2-D and 2.5-D) and volumes (3-D)."""
    why = _why_slices(survey, views, least)
    if why:
        return Choice("spatial_dims", 2, f"Slices, not volumes: {why}.")
    slices, longest, shortest = _shape(survey)
    return Choice(
        "spatial_dims",
        3,
        f"Volumes (3-D): an image has typically {slices} slices, its voxels are {longest / shortest:.1f} times as "
        f"long as wide, and a structure goes on over {round(float(np.median(survey.spans)))} slices.",
    )


def _why_slices(survey: Survey, views: float, least: float) -> str:
    """Say why slices are learnt from; "" where volumes are."""
    flat = [image for image in survey.images if not _is_volume(image)]
    if flat:
        of = f"{len(flat)} of {len(survey.images)} images"
        if all(image.shape[0] == 1 for image in flat):
            return f"a single slice is all there is of {of}"
        return f"how large the pixels of {of} are, or how far the slices lie apart, is not known"
    slices, longest, shortest = _shape(survey)
    span = round(float(np.median(survey.spans or (0,))))
    if slices < FEWEST_IN_VOLUME:
        return f"an image has typically {slices} slices, fewer than {FEWEST_IN_VOLUME}"
    if longest > MOST_ANISOTROPIC * shortest:
        return f"voxels are {longest / shortest:.1f} times as long as wide, more than {MOST_ANISOTROPIC:g} times"
    if span < SHORTEST_SPAN:
        return f"a structure's longest run of slices is typically {span}, shorter than {SHORTEST_SPAN}"
    if views < least:
        return f"in this time only about {views:.0f} parts of volumes would be seen"
    return ""


def _is_volume(image: Image) -> bool:
    try:
        check_volume(image)
    except AutosegError:
        return False
    return True


def _shape(survey: Survey) -> tuple[int, float, float]:
    """Give a typical image's slices, and the longest and the shortest side of its voxels."""
    slices = round(float(np.median([image.shape[0] for image in survey.images])))
    spacing = np.median([sorted(image.spacing_mm) for image in survey.images], axis=0)
    return slices, float(spacing[-1]), float(spacing[0])


def choose_dimensions(survey: Survey, pixel: float) -> Choice:
    """Choose 2-D or 2.5-D, where slices are learnt from."""
    counts = [image.shape[0] for image in survey.images]
    typical, distance = round(float(np.median(counts))), survey.fingerprint.slice_distance_mm
    narrowest = min(survey.widths.values(), default=math.inf)
    by_itself = "Each slice by itself (2-D): "
    if max(counts) == 1:
        return Choice(NAME, 0, by_itself + "all images are single slices, without neighbours.")
    if typical < FEWEST_SLICES:
        few = "a single slice" if typical == 1 else f"only {typical} slices"
        return Choice(NAME, 0, f"{by_itself}a typical image has {few}.")
    if distance is None:
        return Choice(NAME, 0, by_itself + "how far the slices lie apart is not known.")
    apart = f"slices lie {distance:.3g} mm apart, {distance / pixel:.1f} times the size of the network's pixels"
    if distance > CLOSE * pixel:
        limit = f" (they are used up to {CLOSE:g} times)" if CLOSE else ""
        return Choice(NAME, 0, f"{by_itself}{apart}, so that neighbours may show something else{limit}.")
    if distance > narrowest:
        return Choice(NAME, 0, f"{by_itself}{apart}, further than the smallest structure is wide.")
    why = f"Each slice with the one before and the one behind it (2.5-D): {apart}, so that they show much the same."
    return Choice(NAME, 1, f"{why} {neighbours_note(counts, 1)}".strip())
