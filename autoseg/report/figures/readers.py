"""How readers and a model agree: bias and limits of each pair, side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from autoseg.errors import DataError
from autoseg.measurement.readers import MODEL, PairAgreement
from autoseg.report.figures.layout import NEUTRAL, NotebookFigure, beside_axis

OF_MODEL = "#0072b2"


def show_limits(pairs: Sequence[PairAgreement]) -> Figure:
    """Draw bias and 95 % limits of agreement of each pair on a slice, one panel a structure.

    Pairs with the model are blue bars, readers with each other grey dashed ones; a dot is the bias.
    """
    if not pairs:
        raise DataError("There is no pair of readers to draw.")
    names = list(dict.fromkeys((pair.label, pair.name) for pair in pairs))
    most = max(sum((pair.label, pair.name) == name for pair in pairs) for name in names)
    figure = NotebookFigure(figsize=(4.6 * min(len(names), 3), (0.9 + 0.32 * most) * -(-len(names) // 3) + 0.4))
    figure.set_layout_engine("constrained")
    for place, name in enumerate(names, start=1):
        own = [pair for pair in pairs if (pair.label, pair.name) == name]
        ax = figure.add_subplot(-(-len(names) // 3), min(len(names), 3), place)
        ax.axvline(0, color=NEUTRAL, linewidth=0.8)
        for row, pair in enumerate(own):
            is_model = MODEL in (pair.first, pair.second)
            colour, style = (OF_MODEL, "-") if is_model else (NEUTRAL, "--")
            if not math.isnan(pair.slice_low):
                ax.plot([pair.slice_low, pair.slice_high], [row, row], style, color=colour, linewidth=2, marker="|")
            ax.plot(pair.bias, row, "o", color=colour, markersize=5)
        ax.set_yticks(range(len(own)), [beside_axis(f"{pair.first}, {pair.second}") for pair in own])
        ax.set_ylim(len(own) - 0.5, -0.5)
        ax.set_title(beside_axis(name[1]), fontsize=10)
        ax.set_xlabel(f"second − first, {own[0].unit} on a slice")
    handles = [Patch(color=OF_MODEL, label="model and reader"), Patch(color=NEUTRAL, label="two readers")]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return figure
