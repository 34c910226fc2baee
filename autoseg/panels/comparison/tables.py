"""The tables of a comparison as HTML: plain titles with units, each explained where the mouse rests on it."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import pandas as pd

from autoseg.evaluation.comparison import MEAN, Comparison, EntryName, title_of
from autoseg.evaluation.comparison.entries import EXACT
from autoseg.evaluation.comparison.tables import (
    CUTOFF,
    FEWEST,
    STATISTICS,
    dice_of,
    find_outliers,
    per_subject_table,
    tell_outliers,
)
from autoseg.panels.parts.style import text
from autoseg.panels.parts.table import Cell, html_table
from autoseg.words import escaped

_SMALL = "font-size:11px;opacity:.8;white-space:nowrap"


@dataclass(frozen=True)
class Column:
    """A column: the fields that it shows, its title, its explanation, how a value is written and what its ends are.

    `ends` are the fields of the interval written below the value, if there are any. Without `write` all of the
    column have as many decimals as its smallest value needs.
    """

    field: str
    title: str
    words: str
    write: Callable[[float], str] | None
    ends: tuple[str, str] | None = None


def _decimals(count: int) -> Callable[[float], str]:
    return lambda value: f"{value:.{count}f}".replace("-", "−")


def _signed(count: int) -> Callable[[float], str]:
    return lambda value: f"{value:+.{count}f}".replace("-", "−")


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


def _scaled(scale: float, count: int) -> Callable[[float], str]:
    return lambda value: f"{value / scale:.{count}f}"


def _whole(value: float) -> str:
    return f"{value:,.0f}"


def _alike(values: Iterable[float]) -> Callable[[float], str]:
    """Give what writes a column: three digits of its smallest number, at most two decimals, none for whole ones."""
    known = [abs(value) for value in values if value and not math.isnan(value)]
    least = 100.0 if all(value == int(value) for value in known) else min(known)
    count = min(2, max(0, 2 - math.floor(math.log10(least))))
    return lambda value: f"{value:,.{count}f}"


def _ranged(field: str, title: str, words: str, write: Callable[[float], str] | None) -> Column:
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
    Column("epochs", "Epochs", "How often every slice was seen in the time it had. Median of the folds.", None),
    _ranged("training_seconds", "Training, s", f"Seconds that a training took. {FOLDS}", None),
    _ranged("ms_per_slice", "Segmenting, ms a slice", f"Thousandths of a second for a slice. {FOLDS}", None),
    _ranged("peak_memory_mib", "Memory, MiB", f"Memory at most while training. {FOLDS}", None),
)
CENTRELINES = (
    Column("n", "Images", "Images in which it was looked for.", _whole),
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


def models_of(kind: str) -> str:
    """Give what segments, where entries are called so: "networks", or the "models" of a "scenario"."""
    return "networks" if kind == "network" else "models"


def quality_table(comparison: Comparison, structure: str = MEAN, *, kind: str = "network") -> str:
    """Give the table of scores as HTML, the best by Dice first."""
    rows = _of_structure(comparison.table, structure).sort_values("dice", ascending=False)
    of = "mean over structures" if structure == MEAN else structure
    count = int(rows["n_subjects"].max()) if len(rows) else 0
    people = f"{count} patient{'s' * (count != 1)}"
    caption = f"How good: {of}, {people}, segmented by {models_of(kind)} that never saw them"
    return _table(rows, QUALITY, caption, first=kind.capitalize())


def cost_table(comparison: Comparison, *, kind: str = "network") -> str:
    """Give the table of what each entry costs as HTML, the best by Dice first."""
    rows = _of_structure(comparison.table, MEAN).sort_values("dice", ascending=False)
    return _table(rows, COST, "What it costs on this computer", first=kind.capitalize())


def centrelines_html(comparison: Comparison, *, kind: str = "network") -> str:
    """Give the table of how well centrelines were found as HTML; "" where none was looked for."""
    rows: dict[tuple[float, ...], dict[str, Any]] = {}
    for entry, run in comparison.runs.items():
        scores = [score for fold in run.folds for score in fold.centrelines]
        if scores and EntryName.read(entry).variant != EXACT:
            table = pd.DataFrame([asdict(score) for score in scores])
            values = (len(table), table["mean_mm"].mean(), table["max_mm"].max(), table["slices_cut"].mean())
            row = rows.setdefault(values, dict(zip(("n", "mean_mm", "max_mm", "slices_cut"), values, strict=True)))
            # Entries that share the centrelines share the row.
            row["title"] = ", ".join(filter(None, (row.get("title"), title_of(entry))))
    caption = "How well the centreline was found, beside that of your drawing"
    return _table(pd.DataFrame(rows.values()), CENTRELINES, caption, first=kind.capitalize()) if rows else ""


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
        Column("n_subjects", "Patients", "Patients whom both segmented.", _whole),
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


def _table(rows: pd.DataFrame, columns: Sequence[Column], caption: str, *, first: str) -> str:
    """Give rows as HTML; columns of which nothing is known are left out."""
    known = [
        replace(one, write=one.write or _alike(rows[one.field]))
        for one in columns
        if one.field in rows and rows[one.field].notna().any()
    ]
    dotted = '<span style="border-bottom:1px dotted">{}</span>'
    head = [Cell(dotted.format(escaped(one.title)), one.words, "cursor:help") for one in known]
    body = [[str(row["title"]), *(_cell(one, row) for one in known)] for row in rows.to_dict("records")]
    return html_table([first, *head], body, caption=caption)


def _cell(column: Column, row: Mapping[Any, Any]) -> str | Cell:
    value = float(row[column.field])
    if column.write is None or math.isnan(value):
        return "–"
    if column.ends is None:
        return column.write(value)
    low, high = (float(row[end]) for end in column.ends)
    if math.isnan(low) or math.isnan(high):
        return column.write(value)
    ends = f"[{column.write(low)}, {column.write(high)}]"
    return Cell(f'{escaped(column.write(value))}<div style="{_SMALL}">{escaped(ends)}</div>')


# --- one row a patient: nobody left out, outliers marked, four numbers below

_FEW = 40  # rows that are shown without scrolling
MARK = "▼"
WHY = f"Unusually low beside the others in this column (robust z-score below −{CUTOFF:g})"
NOBODY = "Nobody is unusually low beside the others."
TOO_FEW = f"With fewer than {FEWEST} patients nobody can be called unusually low."


def per_subject_html(
    comparison: Comparison, structure: str = MEAN, names: Mapping[str, str] | None = None, *, kind: str = "network"
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
        shown = (names or {}).get(who, who) if is_subject else who.capitalize()
        low = {entry: is_subject and bool(marked.at[row["subject_id"], entry]) for entry in entries}
        rows.append([shown, *(_dice_cell(float(row[entry]), is_low=low[entry]) for entry in entries)])
    four = {place: "font-weight:600" for place in range(count, len(rows))}
    four[count] += ";border-top:2px solid var(--jp-border-color1,#888)"
    of = "mean over structures" if structure == MEAN else structure
    words = tell_outliers(comparison.subjects, structure) or (NOBODY if count >= FEWEST else TOO_FEW)
    if words in comparison.notes:  # it stands above already
        words = f"{MARK} {WHY[0].lower()}{WHY[1:]}. They are in all four numbers."
    return html_table(
        ["Patient", *map(title_of, entries)],
        rows,
        caption=f"Dice of every patient: {of}, each segmented by {models_of(kind)} that never saw them",
        row_styles={place: "font-weight:400" for place in range(count)} | four,
        max_height="640px" if count > _FEW else "",
    ) + text(words)


def _dice_cell(dice: float, *, is_low: bool) -> str | Cell:
    if math.isnan(dice):
        return "–"
    if not is_low:
        return f"{dice:.3f}"
    mark = f'<span aria-label="outlier" style="color:var(--jp-error-color1,#d55e00)">{MARK}</span>'
    return Cell(f"{dice:.3f} {mark}", WHY, "font-weight:700")
