"""A structure along its own curve, head upwards: each measure in a panel, with the cohort's band behind it."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import Literal

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from autoseg.errors import DataError
from autoseg.image.overlay import hex_colour
from autoseg.image.structures import Structure, default_colour
from autoseg.measurement.areas import worst_light
from autoseg.measurement.morphometry.cohort import ALIGNMENTS, cohort_band, places_along
from autoseg.measurement.morphometry.landmarks import Enlargement
from autoseg.measurement.morphometry.tables import MEASURES
from autoseg.report.figures.layout import (
    NEUTRAL,
    NotebookFigure,
    add_line_legend,
    as_label,
    beside_axis,
    look_of_light,
)

Spread = Literal["sd", "percentiles"]

PANEL_INCHES = (2.8, 3.6)
MOST_BESIDE = 3
MOST_LEVELS = 30
LABEL_LETTERS = 17  # on a line below a panel
SPREADS = {"sd": ("mean", "mean ± SD"), "percentiles": ("median", "5th to 95th percentile")}


def show_morphometry(
    table: pd.DataFrame,
    *,
    cohort: pd.DataFrame | None = None,
    structures: Sequence[Structure] = (),
    measures: Sequence[str] = (),
    align: str = "lowest",
    spread: Spread = "sd",
    landmarks: Enlargement | None = None,
) -> Figure:
    """Draw the measures of one image's structures along their curve, with the band of a cohort.

    The vertical axis is the place along the curve, the head (the back, the left) upwards; each panel has a measure.
    Each structure is placed on its own curve.
    Levels, where they are known, stand at the right, above all the word of the image's light, unless it is green.

    Parameters
    ----------
    table : pandas.DataFrame
        Of one image, from `autoseg.measurement.morphometry.arc_table`.
    cohort : pandas.DataFrame, optional
        Such tables of other people, joined (`read_arc_tables`). Bands need three subjects at a place; the
        orientation gets none.
    structures : sequence of Structure
        Which to draw, in their colours; by default all of the table, in those of their labels.
    measures : sequence of str
        Of `autoseg.measurement.morphometry.MEASURES`; by default all that the table has.
    align : str
        What places are counted from, see `autoseg.measurement.morphometry.places_along`.
    spread : {"sd", "percentiles"}
        Mean and standard deviation, or median, 5th and 95th percentile.
    landmarks : Enlargement, optional
        Draws the conus tip and the largest area as lines, where align is "lowest".

    Raises
    ------
    DataError
        If the table is empty, of several images, or has no such structure or measure.
    """
    if spread not in SPREADS:
        raise DataError(f"spread is {spread!r}; choose one of {', '.join(SPREADS)}.")
    names, colours = _names(table, structures)
    chosen = [measure for measure in measures or MEASURES if measure in table and table[measure].notna().any()]
    if not chosen:
        raise DataError("The table has none of the measures to draw.")
    places = {name: places_along(table, align=align, name=name) for name in names}
    wide, tall = min(MOST_BESIDE, len(chosen)), math.ceil(len(chosen) / MOST_BESIDE)
    size = (0.8 + PANEL_INCHES[0] * wide, 0.4 + PANEL_INCHES[1] * tall)
    figure = NotebookFigure(figsize=size, layout="constrained")
    axes = list(figure.subplots(tall, wide, sharey=True, squeeze=False).flat)
    for ax in axes[len(chosen) :]:
        ax.remove()
    axes = axes[: len(chosen)]
    counted: list[int] = []
    for measure, ax in zip(chosen, axes, strict=True):
        for name in names:
            rows = table[table["name"] == name].sort_values("arc_mm")
            counted += _draw_band(ax, cohort, name, measure, align, spread, colours[name])
            style = {"marker": ".", "linestyle": "", "markersize": 3} if measure == "orientation_deg" else {}
            ax.plot(rows[measure], places[name], color=colours[name], linewidth=1.6, **style)
        _set_limits(ax, measure)
        ax.set_xlabel(textwrap.fill(MEASURES[measure], LABEL_LETTERS), fontsize=9)
        ax.grid(alpha=0.25)
    for ax in axes[::wide]:
        ax.set_ylabel(_place_words(align, str(table["along"].iloc[0]) if "along" in table else ""), fontsize=9)
    for ax in axes[wide - 1 :: wide]:
        _draw_levels(ax, table[table["name"] == names[0]].sort_values("arc_mm"), places[names[0]])
    if landmarks is not None and align == "lowest":
        _draw_landmarks(axes, landmarks)
    handles: list[Line2D | Patch] = [Line2D([], [], color=colours[name], label=as_label(name)) for name in names]
    if counted:
        middle, band = SPREADS[spread]
        few, many = min(counted), max(counted)
        people = f"n = {few}" if few == many else f"n = {few} to {many}"
        handles.append(Line2D([], [], color=NEUTRAL, linestyle="--", label=f"cohort, {middle} ({people})"))
        handles.append(Patch(color=NEUTRAL, alpha=0.25, linewidth=0, label=f"cohort, {band}"))
    add_line_legend(figure, handles)
    shown = look_of_light(worst_light(table["suitability"]) if "suitability" in table else "")
    if shown is not None:
        figure.suptitle(shown[0], **shown[1])
    return figure


def _set_limits(ax: Axes, measure: str) -> None:
    """Begin sizes at 0, and never stretch a ratio or an angle until its noise fills the panel."""
    low, high = ax.get_xlim()
    if measure.endswith(("_mm2", "_mm")):
        ax.set_xlim(0, high)
    elif measure == "eccentricity":
        ax.set_xlim(0, 1)
    elif measure == "solidity":
        ax.set_xlim(min(low, 0.8), 1.02)
    else:
        ax.set_xlim(max(-95, min(low, -20)), min(95, max(high, 20)))


def _names(table: pd.DataFrame, structures: Sequence[Structure]) -> tuple[list[str], dict[str, str]]:
    """Give the structures to draw and their colours."""
    if table.empty or "case_id" not in table:
        raise DataError("There is nothing to draw. Measure an image along its structures first.")
    if table["case_id"].nunique() > 1:
        raise DataError(f"The table is of {table['case_id'].nunique()} images. Choose the rows of one case_id.")
    present = list(dict.fromkeys(table["name"]))
    known = {structure.name: structure.rgb for structure in structures}
    names = [name for name in present if name in known] if structures else present
    if not names:
        raise DataError(f"The table has none of {', '.join(known)}; it names: {', '.join(present)}.")
    labels = {name: int(table.loc[table["name"] == name, "label"].iloc[0]) for name in names}
    return names, {name: hex_colour(known.get(name, default_colour(labels[name]))) for name in names}


def _draw_band(
    ax: Axes, cohort: pd.DataFrame | None, name: str, measure: str, align: str, spread: Spread, colour: str
) -> list[int]:
    """Draw one structure's band; give how many people are in it at each place, empty where there is none."""
    if cohort is None or measure == "orientation_deg" or not (cohort["name"] == name).any():
        return []
    if measure not in cohort or not cohort.loc[cohort["name"] == name, measure].notna().any():
        return []
    band = cohort_band(cohort, name=name, measure=measure, align=align)
    if band.empty:
        return []
    low, middle, high = (
        (band["mean"] - band["sd"], band["mean"], band["mean"] + band["sd"])
        if spread == "sd"
        else (band["p5"], band["median"], band["p95"])
    )
    ax.fill_betweenx(band["place"], low, high, color=colour, alpha=0.22, linewidth=0)
    ax.plot(middle, band["place"], color=colour, linestyle="--", linewidth=0.9, alpha=0.9)
    return [int(count) for count in band["n"]]


def _place_words(align: str, along: str) -> str:
    """Name the vertical axis; for a structure that does not run from the feet to the head in its own words."""
    words = ALIGNMENTS.get(align, f"distance from the middle of {align} (mm)")
    ends = {"anterior-posterior": ("foremost", "hindmost"), "right-left": ("rightmost", "leftmost")}.get(along)
    if ends is None:
        return words
    return (
        words.replace("above the lowest", "from the lowest").replace("lowest", ends[0]).replace("highest", ends[1])
    )


def _draw_levels(ax: Axes, rows: pd.DataFrame, places: pd.Series[float]) -> None:
    levels = rows["level"].fillna("").astype(str) if "level" in rows else pd.Series([], dtype=str)
    named = [level for level in dict.fromkeys(levels) if level]
    if not named or len(named) > MOST_LEVELS:
        return
    middles = [float(places[(levels == level).to_numpy()].mean()) for level in named]
    beside = ax.secondary_yaxis("right")
    beside.set_yticks(middles, [beside_axis(level) for level in named], fontsize=8)
    beside.set_ylabel("level", fontsize=8)


def _draw_landmarks(axes: Sequence[Axes], landmarks: Enlargement) -> None:
    for place, words in ((landmarks.tip, "tip of the conus"), (landmarks.largest, "largest area")):
        if place is None:
            continue
        for ax in axes:
            ax.axhline(place.arc_mm, color=NEUTRAL, linestyle=":", linewidth=1)
        axes[0].annotate(
            words, (0.03, place.arc_mm), xycoords=("axes fraction", "data"), va="bottom", fontsize=8, color=NEUTRAL
        )
