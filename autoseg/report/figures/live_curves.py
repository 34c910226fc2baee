"""Curves of trainings while they learn, as SVG: follow the page's theme and cost next to nothing.

matplotlib would take a tenth of a second and more for each drawing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from autoseg.image.overlay import hex_colour
from autoseg.image.structures import Structure, default_colour
from autoseg.model.model import EpochResult
from autoseg.words import escaped

# Curves of more points look the same on a page.
MOST_POINTS = 300
# Of a chart: where its axes begin from the left and from the top, and what is left free beside and below them.
LEFT, TOP, BESIDE, BELOW = 38.0, 12.0, 12.0, 34.0
# Seconds of learning and the mean Dice of the validation subjects, epoch by epoch.
Curve = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class _Line:
    """What the legend calls a curve, its colour, its points (x, value), and whether it is dashed."""

    name: str
    colour: str
    points: Sequence[tuple[float, float]]
    is_dashed: bool = False


@dataclass(frozen=True)
class _Axes:
    """Where an x axis begins and ends, what stands below (place, words, anchor), its unit; the top value."""

    begin: float
    end: float
    ticks: Sequence[tuple[float, str, str]]
    unit: str
    top: float = 1.0


def draw_curves(
    epochs: Sequence[EpochResult],
    structures: Sequence[Structure],
    *,
    planned: int | None = None,
    best_by: str = "dice",
) -> str:
    """Draw loss and Dice, and the IoU where that chooses, of every epoch as HTML that follows the page's theme.

    Solid lines are of the validation subjects, dashed ones of the batches that were learnt from; a thin upright
    line marks the best epoch, unless the last one is kept.
    """
    numbers = [row.epoch for row in epochs]

    def line(name: str, colour: str, values: Sequence[float | None], *, is_dashed: bool = False) -> _Line:
        points = [(n, value) for n, value in zip(numbers, values, strict=True) if value is not None]
        return _Line(name, colour, points, is_dashed)

    losses = [
        line("training", "currentColor", [row.training_loss for row in epochs], is_dashed=True),
        line("validation", "#3b8fd0", [row.validation_loss for row in epochs]),
    ]

    def scores(kind: str) -> list[_Line]:
        found = []
        for k, structure in enumerate(structures):
            name, colour = structure.name, hex_colour(structure.rgb)
            found.append(line(name, colour, [_at(getattr(row, kind), k) for row in epochs]))
            learnt = [_at(getattr(row, f"training_{kind}"), k) for row in epochs]
            found.append(line(f"{name}, training", colour, learnt, is_dashed=True))
        return found

    chosen = [row.epoch for row in epochs if row.is_best and row.validation_loss is not None and best_by != "last"]
    best = chosen[-1] if chosen else None
    last = max([planned or 0, *numbers, 2])
    known = [value for curve in losses for _, value in curve.points]
    # The first epochs may be far above all others.
    top = max(sorted(known)[int(0.98 * (len(known) - 1))], known[-1]) if known else 1.0
    shown = [("Loss", losses, 1.05 * top), ("Dice (1 is perfect)", scores("dice"), 1.0)]
    shown += [("IoU (1 is perfect)", scores("iou"), 1.0)] if best_by == "iou" else []
    charts = [
        _chart(
            f"{title}{f' · best epoch {best}' if best is not None else ''}",
            f"{title} by epoch: ",
            curves,
            _Axes(1, last, [(n, str(n), "middle") for n in _ticks(last)], "epoch", highest),
            size=(424, 204),
            style="flex:1 1 340px;max-width:600px;min-width:300px",
            best=best,
        )
        for title, curves, highest in shown
    ]
    look = "display:flex;flex-wrap:wrap;gap:12px;color:var(--jp-ui-font-color1,inherit)"
    return f'<div style="{look}">{"".join(charts)}</div>'


def draw_entries(curves: Mapping[str, Curve], *, fold: int) -> str:
    """Draw how each entry of a comparison learns in one fold, one line an entry, as HTML like `draw_curves`."""
    if not any(curves.values()):
        return ""
    longest = max(seconds for curve in curves.values() for seconds, _ in curve)
    unit, scale = ("minutes", 60.0) if longest >= 120 else ("seconds", 1.0)
    end = max(longest, 1e-9)
    ticks = [(value * scale, words, "middle") for value, words in _round_steps(end / scale)]
    lines = [
        _Line(title, hex_colour(default_colour(number)), curve)
        for number, (title, curve) in enumerate(curves.items(), start=1)
    ]
    head = f"Fold {fold}: Dice on validation patients (1 is perfect)"
    return _chart(
        head,
        f"{head}; ",
        lines,
        _Axes(0, end, ticks, f"{unit} of learning"),
        size=(640, 214),
        style="max-width:900px;color:var(--jp-ui-font-color1,inherit)",
    )


def _at(values: Sequence[float | None], place: int) -> float | None:
    return values[place] if place < len(values) else None


def _chart(
    head: str,
    said_before: str,
    lines: Sequence[_Line],
    axes: _Axes,
    *,
    size: tuple[int, int],
    style: str,
    best: int | None = None,
) -> str:
    """Draw one chart of `size` (wide, tall) with its legend, which has each curve's latest value."""
    right, bottom = size[0] - BESIDE, size[1] - BELOW

    def across(x: float) -> float:
        return LEFT + (right - LEFT) * (x - axes.begin) / (axes.end - axes.begin)

    def up(value: float) -> float:
        return bottom + (TOP - bottom) * min(1.0, max(0.0, value / axes.top))

    parts, legend, spoken = [], [], []
    for value, words in _round_steps(axes.top):
        y = up(value)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{right}" stroke="currentColor" stroke-opacity=".15"/>')
        parts.append(f'<text x="{LEFT - 5}" y="{y + 4:.1f}" text-anchor="end">{words}</text>')
    for place, words, anchor in axes.ticks:
        parts.append(f'<text x="{across(place):.1f}" y="{bottom + 16}" text-anchor="{anchor}">{words}</text>')
    parts.append(f'<text x="{right}" y="{bottom + 30}" text-anchor="end">{axes.unit}</text>')
    if best is not None:
        parts.append(f'<path d="M{across(best):.1f} {bottom}V{TOP}" stroke="currentColor" stroke-dasharray="1 3"/>')
        spoken.append(f"best epoch {best}")
    for curve in (line for line in lines if line.points):
        points = [(across(x), up(value)) for x, value in _thinned(curve.points)]
        dash = ' stroke-dasharray="4 3" stroke-opacity=".75"' if curve.is_dashed else ""
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{curve.colour}" stroke-width="2"{dash}/>')
        parts.append(f'<circle cx="{points[-1][0]:.1f}" cy="{points[-1][1]:.1f}" r="3" fill="{curve.colour}"/>')
        words = f"{curve.name} {curve.points[-1][1]:.3f}"
        spoken.append(words)
        border = f"border-top:3px {'dashed' if curve.is_dashed else 'solid'} {curve.colour}"
        look = f"display:inline-block;width:18px;{border};vertical-align:middle;margin-right:4px"
        legend.append(
            f'<span style="margin-right:12px;white-space:nowrap"><span style="{look}"></span>'
            f"{escaped(words)}</span>"
        )
    label = escaped(f"{said_before}{'; '.join(spoken) or 'no epoch yet'}")
    return (
        f'<div style="{style}"><div style="font-weight:600">{escaped(head)}</div>'
        f'<svg viewBox="0 0 {size[0]} {size[1]}" role="img" aria-label="{label}" font-size="11" '
        f'fill="currentColor" style="width:100%;display:block">{"".join(parts)}</svg>'
        f'<div style="font-size:12px;line-height:1.5">{"".join(legend)}</div></div>'
    )


def _round_steps(end: float) -> list[tuple[float, str]]:
    """Give at most six round numbers from 0 to `end` (above 0), and how they are written, decimals alike."""
    power = math.floor(math.log10(end)) - 1
    step, exponent = next(
        (s, n) for n in (power, power + 1, power + 2) for s in (1, 2, 5) if end / (s * 10.0**n) <= 5
    )
    count = math.floor(end / (step * 10.0**exponent) + 1e-9)
    values = [number * step * 10.0**exponent for number in range(count + 1)]
    return [(value, f"{value:.{max(0, -exponent)}f}") for value in values]


def _ticks(last: int) -> list[int]:
    step = next(s * 10**n for n in range(9) for s in (1, 2, 5) if last / (s * 10**n) <= 8)
    return [1, *range(step if step > 1 else 2, last + 1, step)]


def _thinned(known: Sequence[tuple[float, float]]) -> Sequence[tuple[float, float]]:
    if len(known) <= MOST_POINTS:
        return known
    places = np.linspace(0, len(known) - 1, MOST_POINTS).round().astype(int)
    return [known[place] for place in places]
