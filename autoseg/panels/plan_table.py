"""The plan as a table: each setting as it stands, and why."""

from __future__ import annotations

import html

from autoseg.panels.settings_form import show_value, value_of
from autoseg.panels.style import heading
from autoseg.plan import Choice, Plan
from autoseg.settings import Settings

_HEAD = ("Setting", "Value", "Why")
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
    return f'{title}<table style="{_TABLE}"><tr>{head}</tr>{rows}</table>'


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
    cells = (f"<code>{html.escape(choice.name.rpartition('.')[2])}</code>", html.escape(shown), html.escape(why))
    return "<tr>" + "".join(f'<td style="{_CELL}">{cell}</td>' for cell in cells) + "</tr>"
