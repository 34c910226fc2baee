"""The worst slices of a validation: prediction and reference, with their areas."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from autoseg.errors import DataError
from autoseg.image.image import Image, LabelMap
from autoseg.image.overlay import pixel_aspect
from autoseg.image.structures import Structure
from autoseg.measurement.scores import Score
from autoseg.report.figures.layout import add_legend, panels
from autoseg.report.figures.slices import draw_slice, outline_reference

TITLE_LETTERS = 36
# Around what is drawn or predicted so much of its own length is shown as well, and at least so many pixels.
AROUND, AROUND_LEAST = 0.5, 16


class ScoredSlice(Protocol):
    """What is drawn of an `autoseg.evaluation.validation_report.WorstSlice`: a score, and its slice alone."""

    @property
    def score(self) -> Score:
        """Of one structure on this slice."""

    @property
    def number(self) -> int:
        """Stands for the case where names are not shown."""

    @property
    def image(self) -> Image:
        """The slice alone."""

    @property
    def reference(self) -> LabelMap:
        """What was drawn on it."""

    @property
    def predicted(self) -> LabelMap:
        """What was predicted on it."""


class ScoredSlices(Protocol):
    """What is drawn of an `autoseg.evaluation.validation_report.Appraisal`."""

    @property
    def worst(self) -> Sequence[ScoredSlice]:
        """The worst slices, worst first."""


def show_worst(appraisal: ScoredSlices, *, most: int = 8, columns: int = 4, names: bool = True) -> Figure:
    """Draw the worst slices: the prediction filled, the reference as a dashed white outline, both areas above.

    Each is enlarged around what was drawn or predicted.

    Parameters
    ----------
    appraisal : Appraisal
        From `appraise`.
    most : int
        So many slices are drawn, the worst first.
    columns : int
        Slices side by side.
    names : bool
        Give the case's name, which may be a patient's number; otherwise its place among the validation cases.

    Raises
    ------
    DataError
        If no slice was scored.
    """
    shown = list(appraisal.worst)[:most]
    if not shown:
        raise DataError("No slice was scored, so there is none to show. Validate on a subject that has labels.")
    figure, axes = panels(len(shown), columns, inches=2.5)
    structures: dict[str, Structure] = {}
    for one, ax in zip(shown, axes, strict=True):
        draw_slice(ax, one.image, one.predicted, 0, window=None)
        outline_reference(ax, one.reference, 0)
        _look_closer(ax, one)
        ax.set_title("\n".join(textwrap.fill(line, TITLE_LETTERS) for line in slice_title(one, names)), fontsize=9)
        structures.update({s.name: s for s in one.predicted.structures})
    outline = Line2D([], [], color="white", linestyle="--", label="drawn")
    add_legend(figure, tuple(structures.values()), [outline])
    return figure


def slice_title(one: ScoredSlice, names: bool = True) -> tuple[str, str, str]:
    """Give three lines on a scored slice: which it is, the structure with its Dice, both areas.

    With `names` False the case is called by its number, as where no patient's name may be seen.
    """
    score = one.score
    case = score.case_id if names else f"image {one.number}"
    if not score.predicted_pixels:
        how = "missed"
    elif not score.reference_pixels:
        how = "predicted, but not drawn here"
    else:
        how = f"Dice {score.dice:.2f}"
    if score.predicted_mm2 is None or score.reference_mm2 is None:
        areas = f"{score.predicted_pixels:,} pixels (drawn: {score.reference_pixels:,})"
    else:
        areas = f"{score.predicted_mm2:,.0f} mm² (drawn: {score.reference_mm2:,.0f} mm²)"
    return f"{case}, slice {score.slice_index + 1}", f"{score.name}: {how}", areas


def _look_closer(ax: Axes, one: ScoredSlice) -> None:
    """Show a square around the structure in question, as drawn and as predicted."""
    label = one.score.label
    look_around(ax, one.reference.mask(label)[0] | one.predicted.mask(label)[0], pixel_aspect(one.image))


def look_around(ax: Axes, there: npt.NDArray[np.bool_], aspect: float) -> None:
    """Show a square around some pixels of a slice, of which a row is `aspect` times as high as a column is wide."""
    rows, columns = (np.flatnonzero(there.any(axis=axis)) for axis in (1, 0))
    # In columns; a row is `aspect` times as high as a column is wide.
    longest = max((rows[-1] - rows[0] + 1) * aspect, columns[-1] - columns[0] + 1)
    side = max((1 + 2 * AROUND) * longest, longest + 2 * AROUND_LEAST)
    top, bottom = _around(rows, side / aspect, there.shape[0])
    left, right = _around(columns, side, there.shape[1])
    ax.set(xlim=(left, right), ylim=(bottom, top))


def _around(places: npt.NDArray[np.intp], length: float, count: int) -> tuple[float, float]:
    """Give the ends of a stretch of this length around some pixels, moved into the image of so many pixels."""
    length = min(length, count)
    low = (places[0] + places[-1] - length) / 2
    low = min(max(low, -0.5), count - 0.5 - length)
    return float(low), float(low + length)
