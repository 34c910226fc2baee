"""What the corrections' panel says: how to open the files, what was changed, and what became of it."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from autoseg.data.corrections import (
    RULES,
    STEPS,
    Correction,
    KeptCorrection,
    Kit,
    compare_structures,
    say_date,
    steps,
)
from autoseg.panels.parts.style import heading, notice, text
from autoseg.panels.patient.areas import table_html

HEADERS = {
    "name": "Structure",
    "slices": "Slices changed",
    "voxels_before": "Voxels before",
    "voxels_after": "Voxels now",
    "voxels_added": "Voxels added",
    "voxels_removed": "Voxels taken away",
    "added_mm2": "Added (mm²)",
    "removed_mm2": "Taken away (mm²)",
    "dice": "Dice",
}
ABOUT = (
    "Areas are summed over the slices. Dice tells how much before and now are alike: 1 where nothing was changed, "
    "0 where nothing is as it was. A structure that lies inside another counts to both."
)
MOST_PAIRS = 6


def describe_kit(kit: Kit) -> str:
    """Say which files to open, and how in each program, as HTML; each program unfolds at a click."""
    cases = kit.cases
    finer = cases[0].factor
    words = f"The files lie in {kit.folder.resolve()}."
    if finer > 1:
        words += (
            f" They are {finer} times finer in the plane of the slices; corrections come back to the image's grid."
        )
    pairs = [f"{', '.join(case.image_names)} with {case.labels_name}" for case in cases[:MOST_PAIRS]]
    pairs += [f"… and {len(cases) - MOST_PAIRS} more"] if len(cases) > MOST_PAIRS else []
    image, labels = cases[0].image_names[0], cases[0].labels_name
    programs = "".join(_program(name, steps(name, image=image, labels=labels)) for name in STEPS)
    notes = "".join(notice(note, announced=False) for note in kit.notes)
    return text(words) + text("Open together: " + "; ".join(pairs) + ".") + programs + text(RULES) + notes


def _program(name: str, lines: Sequence[str]) -> str:
    items = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
    return (
        '<details style="color:var(--jp-ui-font-color1,inherit);line-height:1.45;margin:2px 0">'
        f'<summary style="cursor:pointer">{html.escape(name)}</summary>'
        f'<ol style="margin:2px 0 6px">{items}</ol></details>'
    )


def describe_corrections(corrections: Sequence[Correction]) -> str:
    """Say what was changed, image by image, and structure by structure, as HTML."""
    parts = []
    for correction in corrections:
        parts.append(notice(correction.words, "note" if correction.is_changed else "warning", announced=False))
        if correction.is_changed:
            table = compare_structures(correction.before, correction.label_map)[list(HEADERS)]
            parts.append(table_html(_rounded(table).rename(columns=HEADERS)))
    about = text(ABOUT) if any(correction.is_changed for correction in corrections) else ""
    return heading("What was changed") + "".join(parts) + about


def _rounded(table: pd.DataFrame) -> pd.DataFrame:
    """Give Dice with the digits in which small corrections show."""
    dice = ["–" if pd.isna(value) else f"{value:.3f}" for value in table["dice"]]
    return table.assign(dice=dice)


def describe_kept(folder: Path, kept: Sequence[KeptCorrection]) -> str:
    """Say where corrections are kept and what is learnt from them."""
    lines = []
    for row in kept:
        others = "the others stay as they were" if row.earlier_file else "the others are not learnt from"
        which = "all slices" if row.checked == "all" else f"slices {row.checked}; {others}"
        lines.append(
            f"{row.case_id}, corrected by {row.by} ({say_date(row.date)}): {folder / row.label_file} ({which})."
        )
        if row.earlier_file:
            lines.append(f"The labels before are in {folder / row.earlier_file}.")
    lines.append(f"To learn from them, choose {folder.resolve()} as the data in 1_train.ipynb or 4_finetune.ipynb.")
    return "\n".join(lines)
