"""The validation curves of one fold of a comparison while it runs, as SVG: one line an entry."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

from autoseg.image.overlay import hex_colour
from autoseg.image.structures import default_colour

# Seconds of learning and the mean Dice of the validation subjects, epoch by epoch.
Curve = Sequence[tuple[float, float]]
WIDTH, HEIGHT = 640, 214
LEFT, RIGHT, BOTTOM, TOP = 38.0, 628.0, 180.0, 12.0


def draw_ways(curves: Mapping[str, Curve], *, fold: int) -> str:
    """Draw how each entry learns in one fold, as HTML that follows the page's light or dark theme.

    Parameters
    ----------
    curves : mapping of (seconds, Dice) pairs by title
        Entries keep their colours by their place, so give those without a point as well.
    fold : int

    Returns
    -------
    str
        "" where there is no point.
    """
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
