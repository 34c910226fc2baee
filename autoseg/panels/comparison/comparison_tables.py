"""The tables of a comparison as HTML: plain titles with units, each explained where the mouse rests on it."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from autoseg.evaluation.comparison import MEAN, Comparison, title_of
from autoseg.evaluation.comparison.derived import EXACT

_EDGE = (
    "border-bottom:1px solid var(--jp-border-color2,#bbb);padding:3px 14px 3px 0;vertical-align:top;text-align:left"
)
_SMALL = "font-size:11px;opacity:.8;white-space:nowrap"


@dataclass(frozen=True)
class Column:
    """A column: the fields that it shows, its title, its explanation, how a value is written and what its ends are.

    `ends` are the fields of the interval written below the value, if there are any.
    """

    field: str
    title: str
    words: str
    write: Callable[[float], str]
    ends: tuple[str, str] | None = None


def _decimals(count: int) -> Callable[[float], str]:
    return lambda value: f"{value:.{count}f}".replace("-", "−")


def _signed(count: int) -> Callable[[float], str]:
    return lambda value: f"{value:+.{count}f}".replace("-", "−")


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


def _scaled(scale: float, count: int) -> Callable[[float], str]:
    return lambda value: f"{value / scale:.{count}f}"


def _short(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def _ranged(field: str, title: str, words: str, write: Callable[[float], str]) -> Column:
    return Column(field, title, words, write, (f"{field}_low", f"{field}_high"))


INTERVAL = "In brackets: 95 % interval over patients."
FOLDS = "Median of the folds; in brackets the least and the most."
QUALITY = (
    _ranged("dice", "Dice", f"Overlap with the reference: 0 none, 1 the same pixels. {INTERVAL}", _decimals(3)),
    _ranged("iou", "IoU", f"Pixels in both outlines, of those in either: 0 to 1. {INTERVAL}", _decimals(3)),
    _ranged(
        "hd95_mm",
        "Outline error, mm",
        f"95 % of the outline is at most so far from the reference's (HD95): lower is better. {INTERVAL}",
        _decimals(1),
    ),
    _ranged(
        "area_bias_percent",
        "Area error, %",
        f"Mean over slices of predicted − reference area, in percent of the reference: 0 is best. {INTERVAL}",
        _signed(1),
    ),
    Column(
        "area_bias_mm2",
        "Area error, mm² (limits)",
        "Mean over slices of predicted − reference area. In brackets the limits of agreement, between which 95 % "
        "of slices lie (Bland–Altman).",
        _signed(0),
        ("area_limit_low_mm2", "area_limit_high_mm2"),
    ),
    _ranged(
        "pixel_accuracy",
        "Right pixels, %",
        "Of all pixels, background too, so that it is always high: compare it with the next column, which an empty "
        f"answer has. {INTERVAL}",
        _percent,
    ),
    Column("baseline_accuracy", "… if empty, %", "Right pixels of an answer that finds nothing at all.", _percent),
)
COST = (
    Column("parameters", "Parameters, million", "Numbers that the network learns.", _scaled(1e6, 2)),
    Column("multiply_adds", "Multiply-adds, billion", "Of one slice: how much is computed.", _scaled(1e9, 2)),
    Column("epochs", "Epochs", "How often every slice was seen in the time it had. Median of the folds.", _short),
    _ranged("training_seconds", "Training, s", f"Seconds that a training took. {FOLDS}", _short),
    _ranged("ms_per_slice", "Segmenting, ms a slice", f"Thousandths of a second for a slice. {FOLDS}", _short),
    _ranged("peak_memory_mib", "Memory, MiB", f"Memory at most while training. {FOLDS}", _short),
)
CENTRELINES = (
    Column("n", "Images", "Images in which it was looked for.", _short),
    Column(
        "mean_mm", "Distance, mm", "In the axial plane; mean along the structure and over images.", _decimals(1)
    ),
    Column("max_mm", "Farthest, mm", "The largest distance at any height of any image.", _decimals(1)),
    Column("slices_cut", "Slices cut, %", "Slices with some of the structure outside what is seen.", _percent),
)


def best_entry(comparison: Comparison, *, among: Collection[str]) -> str | None:
    """Give the entry with the highest mean Dice; None where nothing was scored."""
    rows = _of_structure(comparison.table, MEAN).dropna(subset=["dice"])
    rows = rows[rows["entry"].isin(list(among))]
    return str(rows.sort_values("dice", ascending=False)["entry"].iloc[0]) if len(rows) else None


def structures_of(comparison: Comparison) -> list[str]:
    """Give the structures of the table, their mean first."""
    return sorted(dict.fromkeys(comparison.table["structure"]), key=lambda name: name != MEAN)


def models_of(what: str) -> str:
    """Give what segments, where entries are called so: "networks", or "models" of a "way"."""
    return "networks" if what == "network" else "models"


def quality_table(comparison: Comparison, structure: str = MEAN, *, what: str = "network") -> str:
    """Give the table of scores as HTML, the best by Dice first."""
    rows = _of_structure(comparison.table, structure).sort_values("dice", ascending=False)
    of = "mean over structures" if structure == MEAN else structure
    count = int(rows["n_subjects"].max()) if len(rows) else 0
    people = f"{count} patient{'s' * (count != 1)}"
    caption = f"How good: {of}, {people}, segmented by {models_of(what)} that never saw them"
    return _table(rows, QUALITY, caption, first=what.capitalize())


def cost_table(comparison: Comparison, *, what: str = "network") -> str:
    """Give the table of what each entry costs as HTML, the best by Dice first."""
    rows = _of_structure(comparison.table, MEAN).sort_values("dice", ascending=False)
    return _table(rows, COST, "What it costs on this computer", first=what.capitalize())


def centrelines_html(comparison: Comparison, *, what: str = "network") -> str:
    """Give the table of how well centrelines were found as HTML; "" where none was looked for."""
    rows: dict[tuple[float, ...], dict[str, Any]] = {}
    for entry, run in comparison.runs.items():
        scores = [score for fold in run.folds for score in fold.centrelines]
        if scores and not entry.endswith(f", {EXACT}"):
            table = pd.DataFrame([asdict(score) for score in scores])
            values = (len(table), table["mean_mm"].mean(), table["max_mm"].max(), table["slices_cut"].mean())
            row = rows.setdefault(values, dict(zip(("n", "mean_mm", "max_mm", "slices_cut"), values, strict=True)))
            # Entries that share the centrelines share the row.
            row["title"] = ", ".join(filter(None, (row.get("title"), title_of(entry))))
    caption = "How well the centreline was found, beside that of your drawing"
    return _table(pd.DataFrame(rows.values()), CENTRELINES, caption, first=what.capitalize()) if rows else ""


def differences_html(comparison: Comparison, structure: str = MEAN) -> str:
    """Give the table of pairs as HTML, with a word on chance."""
    pairs = _of_structure(comparison.differences, structure)
    rows = [
        {
            "title": f"{title_of(str(pair['entry']))} − {title_of(str(pair['other']))}",
            **{str(name): value for name, value in pair.items()},
            "p_shown": pair["p"] if math.isnan(pair["p_corrected"]) else pair["p_corrected"],
        }
        for pair in pairs.to_dict("records")
    ]
    columns = (
        _ranged("dice_difference", "Difference in Dice", f"Mean over the same patients. {INTERVAL}", _signed(3)),
        Column("n_subjects", "Patients", "Patients whom both segmented.", _short),
        Column(
            "p_shown",
            "p",
            "How often chance alone makes such a difference (sign-flip test over patients; with the best entry, "
            "corrected for the number of rivals after Holm). Below 0.05 it is called more than chance.",
            _probability,
        ),
    )
    return _table(pd.DataFrame(rows), columns, "Differences, patient by patient", first="First − second")


def _of_structure(table: pd.DataFrame, structure: str) -> pd.DataFrame:
    return table[table["structure"] == structure]


def _probability(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}" if value < 0.1 else f"{value:.2f}"


def _table(rows: pd.DataFrame, columns: Sequence[Column], caption: str, *, first: str = "Network") -> str:
    """Give rows as HTML; columns of which nothing is known are left out."""
    known = [one for one in columns if one.field in rows and rows[one.field].notna().any()]
    head = f'<th scope="col" style="{_EDGE}">{html.escape(first)}</th>' + "".join(
        f'<th scope="col" title="{html.escape(one.words, quote=True)}" style="{_EDGE};cursor:help">'
        f'<span style="border-bottom:1px dotted">{html.escape(one.title)}</span></th>'
        for one in known
    )
    body = "".join(
        f'<tr><th scope="row" style="{_EDGE};white-space:nowrap">{html.escape(str(row["title"]))}</th>'
        + "".join(f'<td style="{_EDGE}">{_cell(one, row)}</td>' for one in known)
        + "</tr>"
        for row in rows.to_dict("records")
    )
    return (
        f'<div role="region" aria-label="{html.escape(caption, quote=True)}" tabindex="0" style="overflow-x:auto">'
        '<table style="border-collapse:collapse;font-size:12px;color:var(--jp-ui-font-color1,inherit);'
        'line-height:1.35;font-variant-numeric:tabular-nums">'
        '<caption style="text-align:left;padding:6px 0 2px;white-space:nowrap">'
        f"{html.escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _cell(column: Column, row: Mapping[Any, Any]) -> str:
    value = float(row[column.field])
    if math.isnan(value):
        return "–"
    words = html.escape(column.write(value))
    if column.ends is None:
        return words
    low, high = (float(row[end]) for end in column.ends)
    if math.isnan(low) or math.isnan(high):
        return words
    return f'{words}<div style="{_SMALL}">[{column.write(low)}, {column.write(high)}]</div>'
