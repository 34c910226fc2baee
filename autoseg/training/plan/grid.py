"""How fine the network sees: no finer than time, memory and the images' own pixels allow."""

from __future__ import annotations

import math

import numpy as np

from autoseg.model.preprocessing.extents import extent_of, frame_size
from autoseg.model.settings.settings import PreprocessSettings
from autoseg.training.plan.choice import Choice
from autoseg.training.plan.survey import Survey

# A structure is found and outlined if it is so many of the network's pixels wide.
PIXELS_ACROSS = 3
# The network's pixels are at most so many times the images' own; where memory is short, this many.
MOST_COARSER, MOST_COARSER_FOR_MEMORY = 2.5, 8.0
# As large as settings may be.
COARSEST_MM = 20.0


def frame_of(survey: Survey, preprocess: PreprocessSettings, stride: int) -> tuple[int, int]:
    """Give the (rows, columns) that a network with this stride sees."""
    return frame_size([extent_of(image, preprocess) for image in survey.images], stride)


def choose_grid(survey: Survey, wanted: float, most: float = math.inf) -> Choice:
    """Choose the pixel size: fine enough for the smallest structure, no finer than time allows or images have."""
    own = float(np.median(survey.pixels_mm))
    rows, columns = (max(size[axis] for size in survey.sizes_mm) for axis in (0, 1))
    smallest = min(survey.widths, key=lambda name: survey.widths[name], default="")
    limits = {
        "No coarser, because there is time enough for these.": math.sqrt(rows * columns / wanted),
        "Coarser pixels would be faster, but lose it.": survey.widths.get(smallest, math.inf) / PIXELS_ACROSS,
        "No coarser, because areas are measured on the images' own pixels.": MOST_COARSER * own,
    }
    limit = min(limits, key=lambda words: limits[words])
    least = max(own, limits[limit])
    affordable = min(math.sqrt(rows * columns / most), MOST_COARSER_FOR_MEMORY * own)
    if affordable > least:
        limit, least = "Finer ones would need more memory than is free.", affordable
    pixel = _snapped(least, max(rows, columns), own)
    pixel = min(pixel, COARSEST_MM) if survey.has_millimetres else pixel
    is_own = pixel <= 1.001 * own
    seen, full = (f"{math.ceil(rows / size - 0.01)} × {math.ceil(columns / size - 0.01)}" for size in (pixel, own))
    if is_own:
        why = f"The images' own pixel size: the network sees {seen} pixels."
    else:
        slower = f"{(pixel / own) ** 2:.1f} times slower"
        why = f"The network sees {seen} pixels; the images' own {full} would be {slower}."
    if smallest:
        width = survey.widths[smallest]
        long = f"{width:.1f} mm wide, so " if survey.has_millimetres else ""
        why += (
            f" The smallest structure, {smallest}, is about {long}{width / pixel:.1f} pixels{' wide' * (not long)}."
        )
    why += "" if is_own else f" {limit}"
    if survey.has_millimetres:
        return Choice("preprocess.spacing_mm", pixel, why)
    shape = tuple(max(32, round(float(n) / pixel)) for n in np.median(survey.sizes_mm, axis=0))
    return Choice("preprocess.input_shape", shape, "The images have no millimetres. " + why)


def pixel_of(survey: Survey, grid: Choice) -> float:
    """Give the size of the network's pixels in the survey's unit."""
    if isinstance(grid.value, tuple):
        return float(np.median(survey.sizes_mm, axis=0)[0]) / float(grid.value[0])
    return float(str(grid.value))


def _snapped(pixel: float, widest: float, own: float) -> float:
    """Make the widest image fill a frame that a network with its levels takes, for what is padded is wasted."""
    if pixel <= own:
        return round(own, 4)
    count = widest / pixel
    step = 32 if count >= 80 else 16 if count >= 40 else 8
    frame = max(32, round(count / step) * step)
    return max(round(own, 4), math.ceil(widest / frame * 20) / 20)
