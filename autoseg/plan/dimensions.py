"""How many slices the network sees at once: one (2-D), or a slice with its neighbours (2.5-D)."""

from __future__ import annotations

import math

import numpy as np

from autoseg.neighbours import neighbours_note
from autoseg.plan.choice import Choice
from autoseg.plan.survey import Survey

NAME = "preprocess.neighbours"
# Neighbours are seen where slices lie at most this many of the network's pixels apart; 0 switches it off.
CLOSE = 1.5
# In an image with fewer slices most have a neighbour missing.
FEWEST_SLICES = 5


def choose_dimensions(survey: Survey, pixel: float) -> Choice:
    """Choose 2-D or 2.5-D; where whole volumes can be learnt from, the choice of 3-D belongs here, too.

    Parameters
    ----------
    survey : Survey
    pixel : float
        Size of the network's pixels, in the survey's unit.

    Returns
    -------
    Choice
        Of `neighbours`.
    """
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
