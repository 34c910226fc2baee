"""The plan as a table: each setting as it stands, and why."""

from __future__ import annotations

import html

from autoseg.model.settings.settings import Settings
from autoseg.model.settings.text import show_value, value_of
from autoseg.panels.parts.style import heading, text
from autoseg.training.plan import Choice, Fingerprint, Plan, StructureFacts, contrast_words, describe_fingerprint

_HEAD = ("Setting", "Value", "Why")
_FACTS = ("Structure", "Width", "Beside what is around it", "Part of the pixels", "Slices that show it")
# Settings whose last name alone says too little.
_SHOWN = {"network.name": "network.name"}
_CELL = "text-align:left;padding:2px 14px 2px 0;vertical-align:top"
_TABLE = "color:var(--jp-ui-font-color1,inherit);border-collapse:collapse;line-height:1.4"


def plan_table(plan: Plan, settings: Settings, validation: str, *, as_planned: bool = True) -> str:
    """Give the table as HTML.

    Parameters
    ----------
    plan : Plan
    settings : Settings
        As they stand; what differs from the plan is told to be the user's choice.
    validation : str
        Who validates, in words.
    as_planned : bool
        Whether those are the ones of the plan.
    """
    rows = "".join(_row(choice, settings, validation, as_planned) for choice in plan.choices)
    head = "".join(f'<th scope="col" style="{_CELL}">{words}</th>' for words in _HEAD)
    title = heading("Planned for your images and this computer")
    facts = "" if plan.fingerprint is None else fingerprint_table(plan.fingerprint)
    return f'{title}{facts}<table style="{_TABLE}"><tr>{head}</tr>{rows}</table>'


def fingerprint_table(fingerprint: Fingerprint) -> str:
    """Give what the plan saw of the images as HTML: two lines, and a table of the structures to unfold."""
    head = "".join(f'<th scope="col" style="{_CELL}">{words}</th>' for words in _FACTS)
    rows = "".join(_facts_row(structure, fingerprint.unit) for structure in fingerprint.structures)
    note = "SD: standard deviations of the intensities of a structure and of a ring around it."
    return (
        f"{text(describe_fingerprint(fingerprint))}"
        '<details style="color:var(--jp-ui-font-color1,inherit);margin-bottom:6px">'
        '<summary style="cursor:pointer">What the structures are like</summary>'
        f'<table style="{_TABLE}"><tr>{head}</tr>{rows}</table>{text(note)}</details>'
    )


def _facts_row(structure: StructureFacts, unit: str) -> str:
    width = "not seen" if structure.width is None else f"{structure.width:.1f} {unit}"
    part = f"{structure.pixels:.2%}" if structure.pixels < 0.1 else f"{structure.pixels:.0%}"
    shown = (structure.name, width, contrast_words(structure.contrast), part, f"{structure.slices:.0%}")
    return "<tr>" + "".join(f'<td style="{_CELL}">{html.escape(cell)}</td>' for cell in shown) + "</tr>"


def _row(choice: Choice, settings: Settings, validation: str, as_planned: bool) -> str:
    if choice.name == "validation_subjects":
        shown, why = validation or "nobody", choice.reason
        same, planned = as_planned, ""
    else:
        now = value_of(settings, choice.name)
        shown, why = show_value(now) or "none", choice.reason
        same, planned = now == choice.value, f" {show_value(choice.value) or 'none'}"
    if not same:
        why = f"Your choice. Planned{planned}: {why}"
    name = _SHOWN.get(choice.name, choice.name.rpartition(".")[2])
    cells = (f"<code>{html.escape(name)}</code>", html.escape(shown), html.escape(why))
    return "<tr>" + "".join(f'<td style="{_CELL}">{cell}</td>' for cell in cells) + "</tr>"
