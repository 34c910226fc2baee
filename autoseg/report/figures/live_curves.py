"""Loss and Dice of a training while it learns, as SVG: follows the page's theme and costs next to nothing.

matplotlib would take a tenth of a second and more for each drawing.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

import numpy as np

from autoseg.image.overlay import hex_colour
from autoseg.image.structures import Structure, default_colour
from autoseg.model.model import EpochResult

# Curves of more points look the same on a page.
MOST_POINTS = 300
# Name, colour, whether dashed, and a value (or None) for each epoch.
_Curve = tuple[str, str, bool, list[float | None]]


def draw_curves(
    epochs: Sequence[EpochResult], structures: Sequence[Structure], *, planned: int | None = None
) -> str:
    """Draw loss and Dice of every epoch as HTML that follows the page's light or dark theme.

    Solid lines are of the validation subjects, dashed ones of the batches that were learnt from; a thin upright
    line marks the best epoch.
    """
    training: list[_Curve] = [("training", "currentColor", True, [row.training_loss for row in epochs])]
    losses = [*training, ("validation", "#3b8fd0", False, [row.validation_loss for row in epochs])]
    scores: list[_Curve] = []
    for k, structure in enumerate(structures):
        name, colour = structure.name, hex_colour(structure.rgb)
        scores.append((name, colour, False, [_at(row.dice, k) for row in epochs]))
        scores.append((f"{name}, training", colour, True, [_at(row.training_dice, k) for row in epochs]))
    best = next((row.epoch for row in reversed(epochs) if row.is_best and row.validation_loss is not None), None)
    axis = [row.epoch for row in epochs]
    last = max([planned or 0, *axis, 2])
    known = [value for _, _, _, values in losses for value in values if value is not None]
    # The first epochs may be far above all others.
    top = max(sorted(known)[int(0.98 * (len(known) - 1))], known[-1]) if known else 1.0
    return (
        '<div style="display:flex;flex-wrap:wrap;gap:12px;color:var(--jp-ui-font-color1,inherit)">'
        + _chart("Loss", axis, losses, last=last, top=1.05 * top, best=best)
        + _chart("Dice (1 is perfect)", axis, scores, last=last, top=1.0, best=best)
        + "</div>"
    )


def _at(values: Sequence[float | None], place: int) -> float | None:
    return values[place] if place < len(values) else None


def _chart(
    title: str, axis: Sequence[int], curves: Sequence[_Curve], *, last: int, top: float, best: int | None
) -> str:
    """Draw one chart of 424 × 204 with its legend, which has each curve's latest value."""
    x0, x1, y0, y1 = 38.0, 412.0, 170.0, 12.0

    def across(epoch: float) -> float:
        return x0 + (x1 - x0) * (epoch - 1) / (last - 1)

    def up(value: float) -> float:
        return y0 + (y1 - y0) * min(1.0, max(0.0, value / top))

    parts, legend, spoken = [], [], []
    for n in range(5):
        y, value = up(top * n / 4), top * n / 4
        parts.append(f'<path d="M{x0} {y:.1f}H{x1}" stroke="currentColor" stroke-opacity=".15"/>')
        parts.append(f'<text x="{x0 - 5}" y="{y + 4:.1f}" text-anchor="end">{value:.3g}</text>')
    for epoch in _ticks(last):
        parts.append(f'<text x="{across(epoch):.1f}" y="{y0 + 16}" text-anchor="middle">{epoch}</text>')
    parts.append(f'<text x="{x1}" y="{y0 + 30}" text-anchor="end">epoch</text>')
    if best is not None:
        x = across(best)
        parts.append(f'<path d="M{x:.1f} {y0}V{y1}" stroke="currentColor" stroke-dasharray="1 3"/>')
        spoken.append(f"best epoch {best}")
    for name, colour, is_dashed, values in curves:
        known = [(epoch, value) for epoch, value in zip(axis, values, strict=True) if value is not None]
        if not known:
            continue
        points = [(across(epoch), up(value)) for epoch, value in _thinned(known)]
        dash = ' stroke-dasharray="4 3" stroke-opacity=".75"' if is_dashed else ""
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>')
        parts.append(f'<circle cx="{points[-1][0]:.1f}" cy="{points[-1][1]:.1f}" r="3" fill="{colour}"/>')
        words = f"{name} {known[-1][1]:.3f}"
        spoken.append(words)
        style = f"border-top:3px {'dashed' if is_dashed else 'solid'} {colour}"
        swatch = f'<span style="display:inline-block;width:18px;{style};vertical-align:middle;margin-right:4px">'
        legend.append(
            f'<span style="margin-right:12px;white-space:nowrap">{swatch}</span>{html.escape(words)}</span>'
        )
    label = html.escape(f"{title} by epoch: {'; '.join(spoken) or 'no epoch yet'}", quote=True)
    head = f"{html.escape(title)}{f' · best epoch {best}' if best is not None else ''}"
    return (
        '<div style="flex:1 1 340px;max-width:600px;min-width:300px">'
        f'<div style="font-weight:600">{head}</div>'
        f'<svg viewBox="0 0 424 204" role="img" aria-label="{label}" font-size="11" fill="currentColor" '
        f'style="width:100%;display:block">{"".join(parts)}</svg>'
        f'<div style="font-size:12px;line-height:1.5">{"".join(legend)}</div></div>'
    )


def _ticks(last: int) -> list[int]:
    step = next(s * 10**n for n in range(9) for s in (1, 2, 5) if last / (s * 10**n) <= 8)
    return [1, *range(step if step > 1 else 2, last + 1, step)]


def _thinned(known: list[tuple[int, float]]) -> list[tuple[int, float]]:
    if len(known) <= MOST_POINTS:
        return known
    places = np.linspace(0, len(known) - 1, MOST_POINTS).round().astype(int)
    return [known[place] for place in places]


# --- the validation curves of one fold of a comparison while it runs, as SVG: one line an entry

# Seconds of learning and the mean Dice of the validation subjects, epoch by epoch.
Curve = Sequence[tuple[float, float]]
WIDTH, HEIGHT = 640, 214
LEFT, RIGHT, BOTTOM, TOP = 38.0, 628.0, 180.0, 12.0


def draw_ways(curves: Mapping[str, Curve], *, fold: int) -> str:
    """Draw how each entry learns in one fold, as HTML that follows the page's light or dark theme."""
    longest = max((seconds for curve in curves.values() for seconds, _ in curve), default=0.0)
    if not any(curves.values()):
        return ""
    unit, scale = ("minutes", 60.0) if longest >= 120 else ("seconds", 1.0)
    parts = [_level(number / 4) for number in range(5)]
    for number in range(5):
        x = LEFT + (RIGHT - LEFT) * number / 4
        parts.append(
            f'<text x="{x:.1f}" y="{BOTTOM + 16}" text-anchor="{"end" if number == 4 else "middle"}">'
            f"{longest * number / 4 / scale:.2g}</text>"
        )
    parts.append(f'<text x="{RIGHT}" y="{BOTTOM + 30}" text-anchor="end">{unit} of learning</text>')
    legend, spoken = [], []
    for number, (title, curve) in enumerate(curves.items(), start=1):
        if not curve:
            continue
        colour = hex_colour(default_colour(number))
        points = [(_across(seconds, longest), _up(dice)) for seconds, dice in curve]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(f'<circle cx="{points[-1][0]:.1f}" cy="{points[-1][1]:.1f}" r="3" fill="{colour}"/>')
        words = f"{title} {curve[-1][1]:.3f}"
        spoken.append(words)
        swatch = (
            f'<span style="display:inline-block;width:18px;border-top:3px solid {colour};vertical-align:middle;'
            'margin-right:4px"></span>'
        )
        legend.append(f'<span style="margin-right:12px;white-space:nowrap">{swatch}{html.escape(words)}</span>')
    head = f"Fold {fold}: Dice on validation patients (1 is perfect)"
    label = html.escape(f"{head}; {'; '.join(spoken)}", quote=True)
    return (
        '<div style="max-width:900px;color:var(--jp-ui-font-color1,inherit)">'
        f'<div style="font-weight:600">{head}</div>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}" font-size="11" fill="currentColor" '
        f'style="width:100%;display:block">{"".join(parts)}</svg>'
        f'<div style="font-size:12px;line-height:1.5">{"".join(legend)}</div></div>'
    )


def _level(dice: float) -> str:
    """Draw a line across at a Dice, with its number."""
    y = _up(dice)
    return (
        f'<path d="M{LEFT} {y:.1f}H{RIGHT}" stroke="currentColor" stroke-opacity=".15"/>'
        f'<text x="{LEFT - 5}" y="{y + 4:.1f}" text-anchor="end">{dice:g}</text>'
    )


def _across(seconds: float, longest: float) -> float:
    return LEFT + (RIGHT - LEFT) * seconds / max(longest, 1e-9)


def _up(dice: float) -> float:
    return BOTTOM + (TOP - BOTTOM) * min(1.0, max(0.0, dice))
