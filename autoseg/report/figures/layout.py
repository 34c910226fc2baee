"""What every figure shares: panels side by side, a legend of structures, pictures in a notebook."""

from __future__ import annotations

import io
import math
import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import Any

from matplotlib import rc_context
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text

from autoseg.errors import DataError
from autoseg.image.overlay import hex_colour
from autoseg.image.structures import Structure
from autoseg.report.lights import banner_of

PANEL_INCHES = 2.6
NEUTRAL = "#555555"


# A name may have any length; beside an axis it takes the axis' place.
LONGEST_LINE, LONGEST_BESIDE, MOST_LINES = 90, 40, 15
# Signs that are not seen: control signs, marks of direction, halves of letters.
UNSEEN = ("Cc", "Cf", "Cs")
BOX = "\u25a1"


def shown(words: str, *, longest: int = LONGEST_LINE, families: Sequence[str] = ("sans-serif",)) -> str:
    """Give words as a figure can show them, whatever names are in them; a sign that no font has is a box."""
    lines = [line if len(line) <= longest else f"{line[: longest - 1]}…" for line in words.split("\n")]
    lines = lines if len(lines) <= MOST_LINES else [*lines[: MOST_LINES - 1], "…"]
    known = _signs_of(tuple(findfont(FontProperties(family=[family])) for family in families))
    seen = (sign for sign in "\n".join(lines) if sign == "\n" or unicodedata.category(sign) not in UNSEEN)
    return "".join(sign if sign == "\n" or ord(sign) in known else BOX for sign in seen)


@cache
def _signs_of(fonts: tuple[str, ...]) -> frozenset[int]:
    return frozenset(sign for font in fonts for sign in get_font(font).get_charmap())


def beside_axis(name: str) -> str:
    """Give a name as it can stand beside an axis."""
    return shown(name, longest=LONGEST_BESIDE)


def as_label(name: str) -> str:
    """Give a name as the label of a line; matplotlib leaves those out that begin with an underscore."""
    return f"\u200b{name}" if name.startswith("_") else name


class NotebookFigure(Figure):
    """A figure that a notebook shows as the last value of a cell, though pyplot never knew it.

    Its words are words: no name in it is read as a formula ("$"), whatever it holds. Lines end at the `longest`.
    """

    longest = LONGEST_LINE

    def draw(self, renderer: RendererBase) -> None:
        """Draw, with all words as they can be shown."""
        # Labels along an axis are made while it is drawn, of what `shown` gave.
        with rc_context({"text.parse_math": False}):
            for text in self.findobj(Text):
                text.set_parse_math(False)
                words = text.get_text()
                if (fit := shown(words, longest=self.longest, families=text.get_fontfamily())) != words:
                    text.set_text(fit)
            super().draw(renderer)

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=self.get_dpi())
        return buffer.getvalue()


def panels(
    count: int, columns: int, *, aspect: float = 1.0, inches: float = PANEL_INCHES, is_picture: bool = True
) -> tuple[NotebookFigure, list[Axes]]:
    """Give a figure with `count` axes, at most `columns` side by side."""
    if count == 0:
        raise DataError("There is nothing to show. Choose at least one slice.")
    wide = min(columns, count)
    tall = math.ceil(count / wide)
    size = (inches * wide, (inches * aspect + 0.4) * tall + 0.4)
    # "compressed" is matplotlib's layout for pictures, whose proportions are fixed.
    figure = NotebookFigure(figsize=size, layout="compressed" if is_picture else "constrained")
    axes = [figure.add_subplot(tall, wide, place + 1) for place in range(count)]
    for ax in axes if is_picture else ():
        ax.set_axis_off()
    return figure, axes


def add_legend(figure: Figure, structures: Sequence[Structure], extra: Sequence[Line2D] = ()) -> None:
    """Name the structures, and what `extra` lines mean, below the panels."""
    handles: list[Any] = [Patch(color=hex_colour(s.rgb), label=as_label(s.name)) for s in structures]
    handles += extra
    if handles:
        face = "#cccccc" if extra else "none"  # a white line needs a ground
        look: dict[str, Any] = {"fontsize": 9, "facecolor": face, "edgecolor": "none"}
        figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 4), **look)


def look_of_light(light: str) -> tuple[str, dict[str, Any]] | None:
    """Give the word of a light in a figure, and how its text looks; None of a green or an unknown one."""
    banner = banner_of(light)
    if banner is None:
        return None
    box = {"facecolor": hex_colour(banner.ground), "edgecolor": "none", "boxstyle": "square,pad=0.25"}
    return banner.words[1], {"fontsize": 9, "color": hex_colour(banner.ink), "bbox": box}


def add_line_legend(figure: Figure, handles: Sequence[Artist], *, columns: int = 4) -> None:
    """Say below a chart what its lines and marks mean."""
    columns = min(columns, len(handles))
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, fontsize=8)
