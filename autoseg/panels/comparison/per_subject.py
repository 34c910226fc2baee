"""The table of a comparison with one row a patient: nobody left out, outliers marked, four numbers below."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping

from autoseg.evaluation.comparison import MEAN, Comparison, title_of
from autoseg.evaluation.comparison.tables import (
    CUTOFF,
    FEWEST,
    STATISTICS,
    dice_of,
    find_outliers,
    per_subject_table,
    tell_outliers,
)
from autoseg.panels.comparison.comparison_tables import models_of
from autoseg.panels.parts.style import text

_EDGE = "border-bottom:1px solid var(--jp-border-color2,#bbb);padding:3px 14px 3px 0;text-align:left"
_FEW = 40  # rows that are shown without scrolling
MARK = "▼"
WHY = f"Unusually low beside the others in this column (robust z-score below −{CUTOFF:g})"
NOBODY = "Nobody is unusually low beside the others."
TOO_FEW = f"With fewer than {FEWEST} patients nobody can be called unusually low."


def per_subject_html(
    comparison: Comparison, structure: str = MEAN, names: Mapping[str, str] | None = None, *, what: str = "network"
) -> str:
    """Give the Dice of every patient by every entry as HTML, with a sentence on outliers."""
    table = per_subject_table(comparison.subjects, structure)
    entries = [name for name in table.columns if name not in ("subject_id", "outlier")]
    if not entries:
        return ""
    marked = find_outliers(dice_of(comparison.subjects, structure))
    rows, count = [], len(table) - len(STATISTICS)
    for place, row in enumerate(table.to_dict("records")):
        who, is_subject = str(row["subject_id"]), place < count
        low = {entry: is_subject and bool(marked.at[row["subject_id"], entry]) for entry in entries}
        shown = (names or {}).get(who, who) if is_subject else who.capitalize()
        cells = "".join(_cell(float(row[entry]), is_low=low[entry]) for entry in entries)
        above = "border-top:2px solid var(--jp-border-color1,#888);" if place == count else ""
        style = f"{above}font-weight:{400 if is_subject else 600}"
        first = f'<th scope="row" style="{_EDGE};font-weight:inherit;white-space:nowrap">{html.escape(shown)}</th>'
        rows.append(f'<tr style="{style}">{first}{cells}</tr>')
    head = "".join(f'<th scope="col" style="{_EDGE}">{html.escape(title_of(entry))}</th>' for entry in entries)
    of = "mean over structures" if structure == MEAN else structure
    caption = f"Dice of every patient: {of}, each segmented by {models_of(what)} that never saw them"
    height = "max-height:640px;overflow:auto" if count > _FEW else "overflow-x:auto"
    words = tell_outliers(comparison.subjects, structure) or (NOBODY if count >= FEWEST else TOO_FEW)
    if words in comparison.notes:  # it stands above already
        words = f"{MARK} {WHY[0].lower()}{WHY[1:]}. They are in all four numbers."
    return (
        f'<div role="region" aria-label="{html.escape(caption, quote=True)}" tabindex="0" style="{height}">'
        '<table style="border-collapse:collapse;font-size:12px;color:var(--jp-ui-font-color1,inherit);'
        'line-height:1.35;font-variant-numeric:tabular-nums">'
        f'<caption style="text-align:left;padding:6px 0 2px;white-space:nowrap">{html.escape(caption)}</caption>'
        f'<thead><tr><th scope="col" style="{_EDGE}">Patient</th>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>{text(words)}"
    )


def _cell(dice: float, *, is_low: bool) -> str:
    if math.isnan(dice):
        return f'<td style="{_EDGE}">–</td>'
    if not is_low:
        return f'<td style="{_EDGE}">{dice:.3f}</td>'
    return (
        f'<td style="{_EDGE};font-weight:700" title="{html.escape(WHY, quote=True)}">{dice:.3f} '
        f'<span aria-label="outlier" style="color:var(--jp-error-color1,#d55e00)">{MARK}</span></td>'
    )
