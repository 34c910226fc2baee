"""What more patients would do: points of the folds, the curve through them and its band."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

from autoseg.errors import DataError
from autoseg.measurement.learning_curve import FARTHEST, LearningCurve
from autoseg.report.figures.layout import NEUTRAL, NotebookFigure

OF_CURVE = "#0072b2"
# Curves are drawn until there are so many times as many patients.
UNTIL = 2.0


def show_forecast(curves: Mapping[str, LearningCurve]) -> Figure:
    """Draw scores by number of patients to learn from, one panel a measure, by what stands at its axis.

    Grey points are folds, black ones the means over patients with 80 % intervals. Where the curve can be told it
    is blue in its 80 % band, dashed beyond what was learnt from.
    """
    if not curves or not any(curve.n_patients for curve in curves.values()):
        raise DataError("Nothing was scored, so there is no forecast to draw.")
    figure = NotebookFigure(figsize=(4.6 * len(curves), 3.6), layout="constrained")
    for ax, (title, curve) in zip(np.atleast_1d(figure.subplots(1, len(curves))), curves.items(), strict=True):
        sizes = np.array(curve.sizes)
        for row in curve.by_fold:
            ax.plot(sizes, row, "o", color=NEUTRAL, alpha=0.45, markersize=3.5)
        values = np.array([[found.value, found.low, found.high] for found in curve.measured])
        ends = np.abs(values[:, 1:] - values[:, :1]).T
        ax.errorbar(sizes, values[:, 0], yerr=ends, fmt="D", color="black", markersize=5, linewidth=1.3)
        last = sizes[-1]
        if curve.doubt is None:
            until = min(FARTHEST, UNTIL) * last
            along = np.geomspace(sizes[0], until, 80)
            found = [curve.at(count) for count in along]
            middle = np.array([one.value for one in found])
            ax.fill_between(along, [f.low for f in found], [f.high for f in found], color=OF_CURVE, alpha=0.18)
            for part, style in ((along <= last, "-"), (along >= last * 0.97, "--")):
                ax.plot(along[part], middle[part], style, color=OF_CURVE, linewidth=1.8)
            ax.axvline(last, color=NEUTRAL, linewidth=0.7, linestyle=":")
        ax.set_xscale("log")
        shown = [*sizes, *([UNTIL * last] if curve.doubt is None else [])]
        ax.xaxis.set_major_locator(FixedLocator([float(size) for size in shown]))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.xaxis.set_major_formatter(StrMethodFormatter("{x:.0f}"))
        ax.set_xlabel("patients to learn from")
        ax.set_ylabel(title)
        ax.grid(alpha=0.25)
    return figure
