"""A document as one self-contained web page: no script, nothing is loaded, pictures are inside."""

from __future__ import annotations

import base64
from functools import cache
from pathlib import Path

import jinja2

from autoseg.model.trust import Light
from autoseg.report.lights import LOOKS
from autoseg.report.pages.document import Document
from autoseg.words import seen

TEMPLATE = Path(__file__).parent / "page.html"


def to_page(document: Document) -> str:
    """Give a document as a page in UTF-8, light or dark as the screen is, always light on paper.

    Whatever names are in it, they stay words.
    """
    return _template().render(document=document)


@cache
def _template() -> jinja2.Template:
    pages = jinja2.Environment(
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: seen(value) if type(value) is str else value,
    )
    pages.filters["kind"] = lambda block: type(block).__name__
    pages.filters["inline"] = lambda png: "data:image/png;base64," + base64.b64encode(png).decode("ascii")
    pages.globals["look"] = _look
    return pages.from_string(TEMPLATE.read_text(encoding="utf-8"))


def _look(light: Light) -> dict[str, str]:
    """Give how a light is drawn, its shape as points of an SVG of 24 × 24 ("": a circle)."""
    look = LOOKS[light]
    corners = " ".join(f"{24 * across:g},{24 * down:g}" for across, down in look.corners)
    return {"colour": look.colour, "ink": look.ink, "sign": look.sign, "corners": corners}
