"""Networks and settings side by side: their scores and costs, how they learnt, the same slices by each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Annotation

from autoseg.errors import DataError
from autoseg.image.overlay import hex_colour, pixel_aspect
from autoseg.image.structures import Structure, default_colour
from autoseg.report.figures.layout import (
    BAR,
    NEUTRAL,
    NotebookFigure,
    add_legend,
    add_line_legend,
    as_label,
    beside_axis,
    outline_key,
    panels,
)
from autoseg.report.figures.slices import draw_slice, look_around, outline_reference
from autoseg.report.kept_slices import SideBySide
from autoseg.words import counted

MEAN = "mean"
# Wider limits of agreement are cut off: a missed slice is -100 %.
WIDEST_PERCENT = 100.0
# Validated epochs over which learning curves are smoothed.
SMOOTHED = 5
STYLES = ("-", "--", "-.", ":")


class _Compared(Protocol):
    """What is drawn of an `autoseg.evaluation.comparison.Comparison`; `structures` give the colours."""

    @property
    def table(self) -> pd.DataFrame: ...
    @property
    def structures(self) -> Sequence[Structure]: ...
    @property
    def worst(self) -> Sequence[SideBySide]: ...

    def histories(self) -> pd.DataFrame: ...


def show_comparison(comparison: _Compared) -> Figure:
    """Draw the numbers of a comparison: one row an entry, the best mean Dice on top.

    Dice with its 95 % interval over subjects, the mean over structures in black; the error of the area, its bias
    and 95 % limits of agreement in percent (cut off at 100 %); milliseconds a slice; parameters.

    Parameters
    ----------
    comparison : Comparison

    Raises
    ------
    DataError
        If nothing was scored.
    """
    table = comparison.table
    means = table[table["structure"] == MEAN] if len(table) else table
    if not len(means):
        raise DataError("Nothing was scored, so there is nothing to draw. Finish at least one fold.")
    order = list(means.sort_values("dice", ascending=False, na_position="last")["entry"])
    rows = {(row["entry"], row["structure"]): row for row in table.to_dict("records")}
    structures = _shown(table, comparison.structures)
    step = min(0.16, 0.7 / (len(structures) + 1))
    figure = NotebookFigure(
        figsize=(11.5, 1.7 + len(order) * max(0.6, 0.16 * (len(structures) + 2))), layout="constrained"
    )
    axes = figure.subplots(1, 4, sharey=True, width_ratios=(4, 3.4, 2, 2))
    for place, entry in enumerate(order):
        for number, structure in enumerate(structures):
            row = rows.get((entry, structure.name))
            if row is not None:
                height = place + (number + 0.5) * step
                _draw_interval(axes[0], row, "dice", height, hex_colour(structure.rgb))
                _draw_limits(axes[1], row, height, hex_colour(structure.rgb))
        mean = rows[entry, MEAN]
        _draw_interval(axes[0], mean, "dice", place - 0.14, "black", with_number=True)
        _draw_bar(axes[2], mean, "ms_per_slice", place)
        _draw_bar(axes[3], mean, "parameters", place)
    axes[0].set_yticks(range(len(order)), [beside_axis(rows[entry, MEAN]["title"]) for entry in order])
    axes[0].set_ylim(len(order) - 0.4, -0.6)
    _arrange_axes(figure, axes, int(means["n_subjects"].max()))
    handles = [_dot("black", "mean over structures", "D")] if len(structures) > 1 else [_dot("black", "mean", "D")]
    handles += [_dot(hex_colour(structure.rgb), as_label(structure.name), "o") for structure in structures]
    add_line_legend(figure, handles, columns=6)
    return figure


def show_learning_curves(comparison: _Compared, *, smoothed: int = SMOOTHED) -> Figure:
    """Draw how each entry learnt: the Dice on the validation subjects over the minutes of learning.

    Thin lines are the folds as they are; the thick one is their mean as long as all of them learnt, each smoothed
    over the epochs before.

    Parameters
    ----------
    comparison : Comparison
    smoothed : int
        Validated epochs over which the thick line is smoothed: the mean of each with those before it, which are as
        many as that, or fewer at the start. 1: not at all; nor are folds with fewer than twice as many epochs.

    Raises
    ------
    DataError
        If no epoch was validated.
    """
    table = comparison.histories()
    known = table.dropna(subset=["validation_dice"]) if "validation_dice" in table else table
    if not len(known):
        raise DataError("No epoch was validated, so there are no curves. Compare with at least three patients.")
    figure = NotebookFigure(figsize=(8, 4), layout="constrained")
    ax = figure.add_subplot()
    longest = float(known["elapsed_s"].max())
    unit, seconds = ("minutes", 60.0) if longest >= 120 else ("seconds", 1.0)
    for number, (_, own) in enumerate(known.groupby("entry", sort=False)):
        colour, style = hex_colour(default_colour(number + 1)), STYLES[number // 8 % len(STYLES)]
        folds = [
            (f["elapsed_s"].to_numpy() / seconds, f["validation_dice"].to_numpy()) for _, f in own.groupby("fold")
        ]
        for along, dice in folds:
            ax.plot(along, dice, color=colour, linestyle=style, linewidth=0.7, alpha=0.45)
        along = _shared_time([along for along, _ in folds])
        smooth = [(where, _smoothed(dice, smoothed)) for where, dice in folds]
        mean = np.mean([np.interp(along, *fold) for fold in smooth], axis=0)
        marker = "o" if len(along) == 1 else ""
        ax.plot(
            along,
            mean,
            color=colour,
            linestyle=style,
            linewidth=2,
            marker=marker,
            label=as_label(beside_axis(own["title"].iloc[0])),
        )
    ax.set(xlabel=f"{unit} of learning", ylabel="Dice on validation patients", ylim=(0, 1))
    ax.set_xlim(left=0)
    ax.grid(alpha=0.25)
    figure.legend(loc="outside right upper", fontsize=8)
    return figure


def _smoothed(values: npt.NDArray[np.float64], count: int) -> npt.NDArray[np.float64]:
    """Give the mean of each value with those before it, `count` in all; as they are where there are few."""
    if len(values) < 2 * count:
        return values
    sums = np.concatenate([[0.0], np.cumsum(values)])
    last = np.arange(1, len(values) + 1)
    first = np.maximum(0, last - count)
    return np.asarray((sums[last] - sums[first]) / (last - first))


def show_side_by_side(comparison: _Compared, *, most: int = 6, names: bool = True) -> Figure:
    """Draw the same slices as drawn and as segmented by every entry: one row a slice, the worst cases on top.

    The reference is a dashed outline over every prediction. Each slice is enlarged around its structures.

    Parameters
    ----------
    comparison : Comparison
    most : int
        Slices at most.
    names : bool
        Give the case's name, which may be a patient's number; otherwise its place among the cases.

    Raises
    ------
    DataError
        If no slices were kept.
    """
    slices = list(comparison.worst)[:most]
    if not slices:
        raise DataError("There are no slices to show side by side; they are kept when a comparison is finished.")
    titles = dict(zip(comparison.table["entry"], comparison.table["title"], strict=True))
    entries = sorted(slices[0].predicted, key=list(titles).index)
    figure, axes = panels(len(slices) * (1 + len(entries)), 1 + len(entries), inches=1.9)
    for number, one in enumerate(slices):
        row = axes[number * (1 + len(entries)) :]
        case = one.case_id if names else f"image {one.number}"
        draw_slice(row[0], one.image, one.reference, 0, window=None)
        row[0].set_title(f"{case},\nslice {one.slice}, drawn", fontsize=8)
        for entry, ax in zip(entries, row[1 : 1 + len(entries)], strict=True):
            draw_slice(ax, one.image, one.predicted[entry], 0, window=None)
            outline_reference(ax, one.reference, 0)
            dice = one.dice.get(entry, math.nan)
            told = "nothing here" if math.isnan(dice) else f"Dice {dice:.2f}"
            ax.set_title(f"{titles[entry]}\n{told}", fontsize=8)
        there = np.any([one.reference.voxels[0] > 0, *(p.voxels[0] > 0 for p in one.predicted.values())], axis=0)
        for ax in row[: 1 + len(entries)] if there.any() else ():
            look_around(ax, there, pixel_aspect(one.image))
    add_legend(figure, slices[0].reference.structures, [outline_key("drawn")])
    return figure


def _shown(table: pd.DataFrame, structures: Sequence[Structure]) -> list[Structure]:
    """Give the structures of the table in their colours."""
    known = {structure.name: structure for structure in structures}
    named = table[table["structure"] != MEAN].drop_duplicates("structure").sort_values("label")
    return [
        known.get(name, Structure(int(label), name, default_colour(int(label))))
        for name, label in zip(named["structure"], named["label"], strict=True)
    ]


def _draw_interval(
    ax: Axes, row: Mapping[Any, Any], column: str, height: float, colour: str, *, with_number: bool = False
) -> None:
    value, low, high = (row[f"{column}{end}"] for end in ("", "_low", "_high"))
    if math.isnan(value):
        return
    marker = "D" if with_number else "o"
    ax.plot([value], [height], marker, color=colour, markersize=6 if with_number else 4.5)
    if not math.isnan(low):
        ax.plot([low, high], [height, height], color=colour, linewidth=1.6)
    if with_number:
        words = f"{value:.3f}" + ("" if math.isnan(low) else f" [{low:.3f} to {high:.3f}]")
        ax.annotate(words, (value, height), (0, 5), textcoords="offset points", ha="center", fontsize=8)


def _draw_limits(ax: Axes, row: Mapping[Any, Any], height: float, colour: str) -> None:
    bias, low, high = row["area_bias_percent"], row["area_limit_low_percent"], row["area_limit_high_percent"]
    if math.isnan(bias):
        return
    ends = np.clip([bias, low, high], -WIDEST_PERCENT, WIDEST_PERCENT)
    marker = "o" if abs(bias) <= WIDEST_PERCENT else ">" if bias > 0 else "<"
    ax.plot(ends[:1], [height], marker, color=colour, markersize=4.5)
    if not math.isnan(low):
        ax.plot(ends[1:], [height, height], color=colour, linewidth=1.6)


def _draw_bar(ax: Axes, row: Mapping[Any, Any], column: str, place: int) -> None:
    value = row[column]
    if math.isnan(value):
        words = "not measured"
    elif column == "parameters":
        words = f"{value / 1e6:.2f} M" if value >= 1e5 else f"{value:,.0f}"
    else:
        words = f"{value:.3g} ms" if value < 1000 else f"{value:,.0f} ms"
    ax.barh([place], [0 if math.isnan(value) else value], height=0.35, color=BAR)
    ax.annotate(
        words, (0, place), (3, 0), textcoords="offset points", ha="left", va="center", fontsize=8, color="black"
    )


def _arrange_axes(figure: Figure, axes: Sequence[Axes], subjects: int) -> None:
    titles = (
        f"Dice (95 % interval, {counted(subjects, 'patient')})",
        "area error in % (bias, 95 % limits)",
        "time a slice",
        "parameters",
    )
    for ax, title in zip(axes, titles, strict=True):
        ax.set_title(title, fontsize=9)
        ax.tick_params(axis="y", length=0)
        ax.spines[["top", "right"]].set_visible(False)
    for ax in axes[:2]:
        ax.grid(axis="x", alpha=0.25)
    axes[1].axvline(0, color=NEUTRAL, linewidth=0.8)
    low, high = axes[0].get_xlim()
    low, high = max(0.0, low - 0.02), min(1.0, high + 0.02)
    axes[0].set_xlim(low, high)
    for number in axes[0].texts:  # near an end it would run into what stands beside the panel
        share = (number.xy[0] - low) / (high - low) if isinstance(number, Annotation) else 0.5
        number.set_horizontalalignment("left" if share < 0.25 else "right" if share > 0.75 else "center")
    for ax in axes[2:]:
        ax.set_xticks([])
        ax.spines["bottom"].set_visible(False)


def _dot(colour: str, label: str, marker: str) -> Line2D:
    return Line2D([], [], color=colour, marker=marker, markersize=5, label=label)


def _shared_time(times: Sequence[Any]) -> Any:
    """Give times at which every fold has a value."""
    start, end = max(float(time[0]) for time in times), min(float(time[-1]) for time in times)
    return np.linspace(start, end, 100) if end > start else np.array([end])
