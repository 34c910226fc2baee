"""Tables on the page: one look for all, with header cells for screen readers, scrolling where they are wide."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from autoseg.words import escaped

_EDGE = "border-bottom:1px solid var(--jp-border-color2,#bbb);padding:3px 14px 3px 0;vertical-align:top"
_TABLE = (
    "border-collapse:collapse;font-size:12px;color:var(--jp-ui-font-color1,inherit);line-height:1.35;"
    "font-variant-numeric:tabular-nums"
)
# Long words above short numbers break, so that a table fits a narrow page.
_HEAD = "font-weight:600;white-space:normal;vertical-align:bottom"
# Names of files have no spaces to break at; names of structures stay whole.
_LONG = "overflow-wrap:anywhere;min-width:9ch"
_LONGEST_WORD = 16
_SHORT = 12  # letters of words that stay in one line, such as "patient 12"
_STICKY = "position:sticky;top:0;background:var(--jp-layout-color1,#fff)"


@dataclass(frozen=True)
class Cell:
    """A cell that is more than words: `markup` is HTML as it is, `tooltip` words, `style` CSS of its own."""

    markup: str
    tooltip: str = ""
    style: str = ""


def html_table(
    head: Sequence[str | Cell],
    rows: Iterable[Sequence[str | Cell]],
    *,
    caption: str = "",
    label: str = "",
    align: str = "",
    row_styles: Mapping[int, str] | None = None,
    max_height: str = "",
    wrap: bool = False,
) -> str:
    """Give a table as HTML; words are escaped, a `Cell` is taken as it is.

    The first cell of each row names it. Without `head` there is no header row.

    Parameters
    ----------
    caption, label : str
        Words above the table, and what screen readers call it; either stands for the other one's name.
    align : str
        A letter a column, "l" or "r"; the last one counts for the columns after it. By default all "l".
    row_styles : mapping of str by int
        CSS of rows, counted from 0.
    max_height : str
        A CSS length from which on the table scrolls, below a header that stays.
    wrap : bool
        Break lines within cells, for sentences; beside numbers (`align`) words too, where they have no other room.
    """
    sides = [{"l": "left", "r": "right"}[letter] for letter in align or "l"]

    def cell(content: str | Cell, place: int, tag: str = "td", style: str = "") -> str:
        one = content if isinstance(content, Cell) else Cell(escaped(content))
        tooltip = f' title="{escaped(one.tooltip)}"' if one.tooltip else ""
        side = sides[min(place, len(sides) - 1)]
        words = re.sub("<[^>]*>", " ", one.markup).split()
        is_long = wrap and align and side == "left" and max(map(len, words), default=0) > _LONGEST_WORD
        is_short = wrap and align and side == "left" and len(" ".join(words)) <= _SHORT
        long = _LONG if is_long else "white-space:nowrap" if is_short else ""
        css = ";".join(filter(None, (_EDGE, f"text-align:{side}", long, style, one.style)))
        return f'<{tag}{tooltip} style="{css}">{one.markup}</{tag.partition(" ")[0]}>'

    body = []
    for number, row in enumerate(rows):
        style = (row_styles or {}).get(number, "")
        first, *others = row
        named = cell(first, 0, 'th scope="row"', "font-weight:inherit" if style else "font-weight:600")
        cells = named + "".join(cell(one, place) for place, one in enumerate(others, start=1))
        body.append(f'<tr style="{style}">{cells}</tr>' if style else f"<tr>{cells}</tr>")
    header = "".join(
        cell(one, place, 'th scope="col"', f"{_HEAD};{_STICKY if max_height else ''}")
        for place, one in enumerate(head)
    )
    words = escaped(label or caption)
    above = f'<caption style="text-align:left;padding:4px 0 2px">{escaped(caption)}</caption>' if caption else ""
    scroll = f"max-height:{max_height};overflow:auto" if max_height else "overflow-x:auto"
    return (
        # Where the page is narrow the table scrolls, also by the arrow keys, instead of being cut off.
        f'<div role="region" aria-label="{words}" tabindex="0" style="{scroll}">'
        f'<table style="{_TABLE};white-space:{"normal" if wrap else "nowrap"}">'
        + above
        + (f"<thead><tr>{header}</tr></thead>" if head else "")
        + f"<tbody>{''.join(body)}</tbody></table></div>"
    )
