"""How well areas and outlines agree: Bland–Altman plots, and the Dice of every subject."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from autoseg.errors import DataError
from autoseg.image.overlay import hex_colour
from autoseg.image.structures import Structure, default_colour
from autoseg.measurement.scores import Score
from autoseg.measurement.statistics import FEWEST_FOR_INTERVAL, bland_altman, bootstrap_interval
from autoseg.measurement.summary import SubjectScore
from autoseg.report.figures.layout import NEUTRAL, NotebookFigure, panels

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
    lines = {"bias": Line2D([], [], color="black"), "95 % limits": Line2D([], [], color="black", linestyle="--")}
    figure.legend(lines.values(), lines.keys(), loc="outside lower center", ncols=2, fontsize=8)
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
    ax.set_xticks(range(len(groups)), [f"{s.name}\nn = {len(of_it)}" for s, of_it in groups])
    ax.set(ylabel="Dice of a subject", ylim=(0, 1.02), xlim=(-0.6, len(groups) - 0.4))
    ax.grid(axis="y", alpha=0.25)
    has_interval = any(len(of_it) >= FEWEST_FOR_INTERVAL for _, of_it in groups)
    handles = {
        "subject": Line2D([], [], color=NEUTRAL, marker="o", linestyle="", markersize=5),
        "mean, 95 % interval" if has_interval else "mean": Line2D([], [], color="black", marker="D", linestyle=""),
    }
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=2, fontsize=8)
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
    limits = "" if math.isnan(found.lower) else f", limits {found.lower:+.3g} to {found.upper:+.3g}"
    counted = " of ".join(
        f"{n} {word}{'s' if n != 1 else ''}"
        for n, word in ((found.n, "slice"), (len({score.subject_id for score in scores}), "subject"))
    )
    ax.set_title(f"{structure.name}\nbias {found.bias:+.3g}{limits} mm²\n{counted}", fontsize=9)
    ax.set(xlabel="mean of both areas (mm²)", ylabel="predicted − reference (mm²)")
    ax.grid(alpha=0.25)


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
