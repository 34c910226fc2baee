"""Charts: a training epoch by epoch, areas along the slices, agreement with a reference."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from autoseg.errors import DataError
from autoseg.image.overlay import hex_colour
from autoseg.image.structures import Structure, default_colour
from autoseg.measurement.areas import Measurement, worst_light
from autoseg.measurement.scores import Score
from autoseg.measurement.statistics import FEWEST_FOR_INTERVAL, bland_altman, bootstrap_interval
from autoseg.measurement.summary import SubjectScore
from autoseg.report.area_tables import (
    has_repeated_places,
    image_groups,
    is_by_slice,
    measurements_table,
    patient_names,
)
from autoseg.report.figures.layout import (
    NEUTRAL,
    ROUND,
    NotebookFigure,
    add_line_legend,
    as_label,
    beside_axis,
    look_of_light,
    panels,
)
from autoseg.words import counted

MOST_AREAS = 12  # panels of areas in one figure; more are too small to read
# Of one structure after the other; without a triangle up, which says that an area is cut off.
MARKS, LINES = "osDvPXp*", ("-", "--", ":", "-.")
BAR = 1.6  # width of the bar of an interval, in points
SCORES = {"dice": "Dice", "iou": "IoU"}
EMPTY = pd.Series(dtype=float)


def show_history(
    history: Sequence[Mapping[str, Any]] | pd.DataFrame,
    *,
    structures: Sequence[Structure] = (),
    best_by: str = "dice",
) -> Figure:
    """Draw the loss and the Dice of every epoch, and the IoU where that chose, with the kept epoch marked.

    Parameters
    ----------
    history : sequence of mapping, or DataFrame
        One row an epoch: epoch, training_loss, and where there are any validation_loss, validation_dice,
        dice_<name>, training_dice_<name> (dotted), the same of iou, is_best. Without is_best the epoch that is best
        by `best_by` is, or the last.
    structures : sequence of Structure
        Gives the curves of dice_<name> their colours; by default in the order of labels 1, 2, …
    best_by : {"dice", "iou", "loss", "last"}
        What chose the kept epoch (`Settings.best_by`); the title of its curves says so.
    """
    table = pd.DataFrame(history)
    if table.empty or not {"epoch", "training_loss"} <= set(table.columns):
        raise DataError("A history to draw has rows with epoch and training_loss. Train at least one epoch.")
    numeric = table.apply(pd.to_numeric, errors="coerce")
    kinds = ("dice", "iou") if best_by == "iou" else ("dice",)
    figure = NotebookFigure(figsize=(4.5 * (1 + len(kinds)), 3.4), layout="constrained")
    losses, *scores = figure.subplots(1, 1 + len(kinds))
    for column, colour, style in (("training_loss", NEUTRAL, "--"), ("validation_loss", "#0072b2", "-")):
        _draw_curve(losses, numeric, column, colour, style, column.replace("_", " "))
    for kind, ax in zip(kinds, scores, strict=True):
        _draw_scores(ax, numeric, kind, structures)
    best = _best_epoch(table, numeric, best_by)
    for ax, kind in zip((losses, *scores), ("loss", *kinds), strict=True):
        if best is not None:
            ax.axvline(best, color=NEUTRAL, linewidth=0.8, linestyle=":", label=f"kept epoch {best:g}")
        ax.set_title(_title(numeric, kind, is_chosen_by=kind == best_by), fontsize=10)
        _arrange_epochs(ax)
    return figure


def _title(numeric: pd.DataFrame, kind: str, *, is_chosen_by: bool) -> str:
    """Say whose scores a panel shows, and whether they chose the epoch."""
    is_validated = any(
        numeric[column].notna().any()
        for column in map(str, numeric.columns)
        if column == f"validation_{kind}" or _structure_of(column, kind)
    )
    if kind == "loss":
        title = "Loss"
    else:
        title = f"{SCORES[kind]} on {'validation patients' if is_validated else 'training batches'}"
    return f"{title}, which chose the epoch" if is_chosen_by and is_validated else title


def _draw_scores(ax: Axes, numeric: pd.DataFrame, kind: str, structures: Sequence[Structure]) -> None:
    """Draw the Dice or IoU of each structure and their mean."""
    colours = {structure.name: structure.rgb for structure in structures}
    named = [name for column in numeric.columns if (name := _structure_of(str(column), kind))]
    for label, name in enumerate(named, start=1):
        colour = hex_colour(colours.get(name, default_colour(label)))
        _draw_curve(ax, numeric, f"{kind}_{name}", colour, "-", as_label(name))
        # One entry in the legend stands for the dotted lines of all structures.
        dotted = "on training batches" if label == 1 else "_dotted"
        _draw_curve(ax, numeric, f"training_{kind}_{name}", colour, ":", dotted)
    if len(named) != 1:
        _draw_curve(ax, numeric, f"validation_{kind}", NEUTRAL, "--", "mean")
    ax.set_ylim(0, 1)


def _structure_of(column: str, kind: str) -> str:
    """Give the structure that a column of a history has the score of; "" where it is none or eroded."""
    name = column.removeprefix(f"{kind}_")
    return "" if name == column or re.search(r"_eroded_\d$", name) else name


def show_erosions(history: Sequence[Mapping[str, Any]] | pd.DataFrame) -> Figure:
    """Draw the validation IoU of every epoch after 0, 1, 2 and 3 erosions; one panel a structure.

    Where a line with erosions lies above the one without, the network draws the structure too large.

    Parameters
    ----------
    history : sequence of mapping, or DataFrame
        One row an epoch: epoch, and iou_<name>_eroded_<n>, which a training with `watch_erosion` has.
    """
    table = pd.DataFrame(history)
    found = [re.fullmatch(r"iou_(.+)_eroded_(\d)", str(column)) for column in table.columns]
    names = list(dict.fromkeys(match[1] for match in found if match))
    if not names:
        raise DataError(
            "No epoch was scored with erosions. Train with the setting watch_erosion (on the command line "
            "--set watch_erosion=yes)."
        )
    numeric = table.apply(pd.to_numeric, errors="coerce")
    figure, axes = panels(len(names), 3, inches=4.2, aspect=0.65, is_picture=False)
    for name, ax in zip(names, axes, strict=True):
        for number in sorted(int(match[2]) for match in found if match and match[1] == name):
            label = ("as predicted", "1 erosion")[number] if number < 2 else f"{number} erosions"
            _draw_curve(
                ax, numeric, f"iou_{name}_eroded_{number}", hex_colour(default_colour(number + 1)), "-", label
            )
        ax.set(title=name, ylabel="IoU on validation patients", ylim=(0, 1))
        _arrange_epochs(ax)
    return figure


def show_areas(
    measurements: Sequence[Measurement],
    *,
    structures: Sequence[Structure] = (),
    show_ids: bool = False,
    most: int = MOST_AREAS,
) -> Figure:
    """Draw each structure's area along the stack, flagged areas marked by a cross; one panel an image.

    An area that is cut off has an arrow up in place of the cross: it is at least so large. A thin bar goes from the
    lower to the upper bound of an area whose interval is known. Above a panel stands the word of its image's light,
    unless it is green or unknown.

    Where every image is a single slice, the slices of a patient's series share a panel. Where several time points
    lie in one panel, areas are points without a line. Each panel's axis names its unit: mm², or pixels where the
    size of a pixel is unknown.

    Parameters
    ----------
    measurements : sequence of Measurement
        From `measure_areas`.
    structures : sequence of Structure
        Gives the lines their colours; by default those of the labels.
    show_ids : bool
        Name patients by their ID where the panel is a patient's; by default they are numbered.
    most : int
        Panels at most; a line below says how many are not drawn.
    """
    if not measurements:
        raise DataError("There is no measurement to draw. Measure at least one image.")
    groups = image_groups(measurements)
    drawn = list(groups.items())[:most]
    figure, axes = panels(len(drawn), 3, inches=4.2, aspect=0.65, is_picture=False)
    colours = {row.name: hex_colour(default_colour(row.label)) for row in measurements}
    colours.update({s.name: hex_colour(s.rgb) for s in structures if s.name in colours})
    titles = _titles(measurements, list(groups), show_ids)
    is_located = all(row.slice_position_mm is not None for row in measurements)
    for (_, rows), title, ax in zip(drawn, titles, axes, strict=False):
        _draw_areas(ax, rows, colours, is_located=is_located)
        along = "image" if len({row.case_id for row in rows}) > 1 else "slice"
        ax.set(title=title, ylabel=f"area ({rows[0].unit})", xlabel="position (mm)" if is_located else along)
        _title_with_light(ax, worst_light(row.suitability for row in rows))
    lines = [Line2D([], [], label=as_label(name), **_look_of(name, colours)) for name in colours]
    if any(row.is_cut_off for _, rows in drawn for row in rows):
        lines.append(Line2D([], [], color="black", marker="^", linestyle="", label="at least (cut off)"))
    if any(row.flags and not row.is_cut_off for _, rows in drawn for row in rows):
        lines.append(Line2D([], [], color="black", marker="x", linestyle="", label="flagged"))
    levels = {row.interval_level for _, rows in drawn for row in rows if row.interval is not None}
    for level in sorted(level for level in levels if level is not None):
        label = f"{100 * level:.4g} % interval"
        lines.append(Line2D([], [], color=NEUTRAL, marker="|", markersize=11, linestyle="", label=label))
    add_line_legend(figure, lines)
    if len(groups) > len(drawn):
        figure.suptitle(f"The first {len(drawn)} of {len(groups)} images; the tables have all.", fontsize=9)
    return figure


def _look_of(name: str, colours: Mapping[str, str]) -> dict[str, Any]:
    """Give how a structure's line looks: it is told by its mark and its dashes too, where there are no colours."""
    place = list(colours).index(name)
    return {
        "color": colours[name],
        "marker": MARKS[place % len(MARKS)],
        "linestyle": LINES[place % len(LINES)],
    }


def _title_with_light(ax: Axes, light: str) -> None:
    """Put the word of a light above a panel, on the colour that it has in pictures."""
    shown = look_of_light(light)
    if shown is not None:
        words, look = shown
        ax.set_title(f"{ax.get_title()}\n", linespacing=1.4)  # room for the word
        place: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points"}
        ax.annotate(words, (0.5, 1.0), (0, 6), ha="center", va="bottom", **place, **look)


def _titles(measurements: Sequence[Measurement], groups: Sequence[tuple[str, str]], show_ids: bool) -> list[str]:
    """Name each panel by its image, or where that is a series of single slices by its patient."""
    if not is_by_slice(measurements):
        return [image for _, image in groups]
    names = patient_names(measurements)
    titles, seen = [], [subject for subject, _ in groups]
    for place, subject in enumerate(seen):
        name = (subject or "no ID") if show_ids else names[subject]
        number = f", series {seen[: place + 1].count(subject)}" if seen.count(subject) > 1 else ""
        titles.append(name + number)
    return titles


def _draw_areas(ax: Axes, rows: Sequence[Measurement], colours: Mapping[str, str], *, is_located: bool) -> None:
    bounds = [row.interval or (math.nan, math.nan) for row in rows]
    table = measurements_table(rows).assign(
        area=[row.area for row in rows], low=[low for low, _ in bounds], high=[high for _, high in bounds]
    )
    if table["case_id"].nunique() > 1:  # slices that are an image each are counted in the order of the rows
        table["slice"] = table.groupby("label").cumcount() + 1
    along = "slice_position_mm" if is_located else "slice"
    is_joined = not (is_located and has_repeated_places(rows))
    for name in table.sort_values("label")["name"].unique():
        ordered = table[table["name"] == name].sort_values(along)
        look = {**_look_of(name, colours), **({} if is_joined else {"linestyle": ""})}
        ax.plot(ordered[along], ordered["area"], markersize=4, label=name, **look)
        known = ordered[ordered["low"].notna()]
        ax.vlines(
            known[along], known["low"], known["high"], color=colours[name], linewidth=BAR, alpha=0.6, zorder=1
        )
        is_cut = ordered["touches_edge"].astype(bool)
        for marker, marked in (("x", (ordered["flags"] != "") & ~is_cut), ("^", is_cut)):
            ax.plot(ordered[along][marked], ordered["area"][marked], marker, color="black", markersize=8, zorder=3)
    if not is_located:
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=ROUND))
    ax.set_ylim(bottom=0)
    ax.grid(alpha=0.25)


def _draw_curve(ax: Axes, table: pd.DataFrame, column: str, colour: str, style: str, label: str) -> None:
    if column in table and table[column].notna().any():
        known = table[table[column].notna()]
        marker = "o" if len(known) == 1 else ""
        ax.plot(known["epoch"], known[column], color=colour, linestyle=style, marker=marker, label=label)


def _arrange_epochs(ax: Axes) -> None:
    ax.set_xlabel("epoch")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=ROUND))
    ax.grid(alpha=0.25)
    if ax.lines:
        ax.legend(fontsize=8)


def _best_epoch(table: pd.DataFrame, numeric: pd.DataFrame, best_by: str) -> float | None:
    if "is_best" in table and table["is_best"].astype(str).eq("True").any():
        return float(numeric["epoch"][table["is_best"].astype(str).eq("True")].iloc[-1])
    if best_by == "last":
        return float(numeric["epoch"].iloc[-1])
    merit = numeric.get(f"validation_{best_by}", EMPTY) * (-1 if best_by == "loss" else 1)
    if not merit.notna().any():
        return None
    return float(numeric["epoch"].iloc[int(merit.fillna(-math.inf).to_numpy().argmax())])


# --- agreement with a reference: of areas, and of outlines by subject

Kind = TypeVar("Kind", Score, SubjectScore)


def show_bland_altman(scores: Sequence[Score], structures: Sequence[Structure] = ()) -> Figure:
    """Draw the error of each slice's area over its size, with bias and 95 % limits; one panel a structure.

    Each dot is a slice. The limits are those of `bland_altman`, which knows that slices of one subject resemble
    each other.

    Parameters
    ----------
    scores : sequence of Score
        Of any number of subjects, calibrated.
    structures : sequence of Structure
        Which to draw, in their colours; by default all, in those of their labels.

    Raises
    ------
    DataError
        If there is no score with an area in mm².
    """
    known = [score for score in scores if score.reference_mm2 is not None and score.predicted_mm2 is not None]
    groups = _by_structure(known, structures)
    if not groups:
        raise DataError("There is no area in mm² to compare. Score images whose pixel size is known.")
    figure, axes = panels(len(groups), 3, inches=4.2, aspect=0.75, is_picture=False)
    for (structure, of_it), ax in zip(groups, axes, strict=True):
        _draw_bland_altman(ax, structure, of_it)
    bias = Line2D([], [], color="black", label="bias")
    add_line_legend(figure, [bias, Line2D([], [], color="black", linestyle="--", label="95 % limits")])
    return figure


def show_subject_scores(scores: Sequence[SubjectScore], structures: Sequence[Structure] = ()) -> Figure:
    """Draw the Dice of every subject, structure by structure, with the mean and its interval; the worst is named.

    Parameters
    ----------
    scores : sequence of SubjectScore
    structures : sequence of Structure
        Which to draw, in their colours; by default all, in those of their labels.

    Raises
    ------
    DataError
        If no subject has a Dice.
    """
    groups = _by_structure([score for score in scores if not math.isnan(score.dice)], structures)
    if not groups:
        raise DataError("There is no Dice to draw: on no slice was a structure drawn or predicted.")
    figure = NotebookFigure(figsize=(max(4.5, 1.2 + 1.5 * len(groups)), 3.8), layout="constrained")
    ax = figure.add_subplot()
    for place, (structure, of_it) in enumerate(groups):
        _draw_subjects(ax, place, structure, of_it)
    ax.set_xticks(range(len(groups)), [f"{beside_axis(s.name)}\nn = {len(of_it)}" for s, of_it in groups])
    ax.set(ylabel="Dice of a patient", ylim=(0, 1.02), xlim=(-0.6, len(groups) - 0.4))
    ax.grid(axis="y", alpha=0.25)
    has_interval = any(len(of_it) >= FEWEST_FOR_INTERVAL for _, of_it in groups)
    mean = "mean, 95 % interval" if has_interval else "mean"
    handles = [
        Line2D([], [], color=NEUTRAL, marker="o", linestyle="", markersize=5, label="patient"),
        Line2D([], [], color="black", marker="D", linestyle="", label=mean),
    ]
    add_line_legend(figure, handles)
    return figure


def _draw_bland_altman(ax: Axes, structure: Structure, scores: Sequence[Score]) -> None:
    reference = [score.reference_mm2 or 0.0 for score in scores]
    predicted = [score.predicted_mm2 or 0.0 for score in scores]
    middle = [(r + p) / 2 for r, p in zip(reference, predicted, strict=True)]
    error = [p - r for r, p in zip(reference, predicted, strict=True)]
    ax.plot(middle, error, "o", color=hex_colour(structure.rgb), markersize=4, markeredgewidth=0, alpha=0.8)
    found = bland_altman(reference, predicted, subjects=[score.subject_id for score in scores])
    ax.axhline(0, color=NEUTRAL, linewidth=0.6)
    for value, style in ((found.bias, "-"), (found.lower, "--"), (found.upper, "--")):
        if not math.isnan(value):
            ax.axhline(value, color="black", linestyle=style, linewidth=1)
    bias, *ends = _signed([value for value in (found.bias, found.lower, found.upper) if not math.isnan(value)])
    limits = f", limits {ends[0]} to {ends[1]}" if ends else ""
    people = counted(len({score.subject_id for score in scores}), "patient")
    number = f"{counted(found.n, 'slice')} of {people}"
    ax.set_title(f"{structure.name}\nbias {bias}{limits} mm²\n{number}", fontsize=9)
    ax.set(xlabel="mean of both areas (mm²)", ylabel="predicted − reference (mm²)")
    ax.grid(alpha=0.25)


def _signed(areas_mm2: Sequence[float]) -> list[str]:
    """Write differences of areas with their signs, decimals alike: three digits or more of the largest."""
    largest = max(map(abs, areas_mm2), default=0.0)
    decimals = min(4, max(0, 2 - math.floor(math.log10(largest)))) if largest else 0
    return [f"{area_mm2:+,.{decimals}f}" for area_mm2 in areas_mm2]


def _draw_subjects(ax: Axes, place: int, structure: Structure, scores: Sequence[SubjectScore]) -> None:
    dice = [score.dice for score in scores]
    # Side by side in the order of the subjects, so that equal scores do not hide each other.
    beside = [place - 0.3 + 0.4 * (index + 0.5) / len(dice) for index in range(len(dice))]
    ax.plot(beside, dice, "o", color=hex_colour(structure.rgb), markersize=5, markeredgewidth=0)
    mean = sum(dice) / len(dice)
    low, high = bootstrap_interval(dice) or (mean, mean)
    ax.errorbar([place + 0.22], [mean], [[max(0.0, mean - low)], [max(0.0, high - mean)]], fmt="D", color="black")
    worst = min(range(len(dice)), key=dice.__getitem__)
    ax.annotate(
        scores[worst].subject_id,
        (beside[worst], dice[worst]),
        textcoords="offset points",
        xytext=(0, -11),
        ha="center",
        fontsize=7,
        color=NEUTRAL,
    )


def _by_structure(scores: Sequence[Kind], structures: Sequence[Structure]) -> list[tuple[Structure, list[Kind]]]:
    """Give the scores of each structure that has any, by label."""
    chosen = {s.label: s for s in structures}
    if not chosen:
        chosen = {s.label: Structure(s.label, s.name, default_colour(s.label)) for s in scores}
    groups = [(chosen[label], [score for score in scores if score.label == label]) for label in sorted(chosen)]
    return [(structure, of_it) for structure, of_it in groups if of_it]
