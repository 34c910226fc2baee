"""What every figure shares: panels side by side, a legend of structures, pictures in a notebook."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from autoseg.errors import DataError
from autoseg.image.overlay import hex_colour
from autoseg.image.structures import Structure

PANEL_INCHES = 2.6
NEUTRAL = "#555555"


class NotebookFigure(Figure):
    """A figure that a notebook shows as the last value of a cell, though pyplot never knew it."""

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
    handles: list[Any] = [Patch(color=hex_colour(s.rgb), label=s.name) for s in structures]
    handles += extra
    if handles:
        face = "#cccccc" if extra else "none"  # a white line needs a ground
        look: dict[str, Any] = {"fontsize": 9, "facecolor": face, "edgecolor": "none"}
        figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 4), **look)


def add_line_legend(figure: Figure, handles: Sequence[Artist], *, columns: int = 4) -> None:
    """Say below a chart what its lines and marks mean."""
    columns = min(columns, len(handles))
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, fontsize=8)
