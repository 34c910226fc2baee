"""Figures and the animation: the only place that knows matplotlib.

Nothing is shown: each function returns a matplotlib Figure, which a notebook shows and `savefig` writes.
"""

from autoseg.report.figures.centreline import show_centrelines
from autoseg.report.figures.charts import (
    show_areas,
    show_bland_altman,
    show_erosions,
    show_history,
    show_subject_scores,
)
from autoseg.report.figures.comparison import show_comparison, show_learning_curves, show_side_by_side
from autoseg.report.figures.findings import show_findings
from autoseg.report.figures.forecast import show_forecast
from autoseg.report.figures.layout import NotebookFigure
from autoseg.report.figures.morphometry import show_morphometry
from autoseg.report.figures.readers import show_limits
from autoseg.report.figures.series import show_series
from autoseg.report.figures.slices import show_animation, show_batch, show_cases, show_overlays, show_worst

__all__ = [
    "NotebookFigure",
    "show_animation",
    "show_areas",
    "show_batch",
    "show_bland_altman",
    "show_cases",
    "show_centrelines",
    "show_comparison",
    "show_erosions",
    "show_findings",
    "show_forecast",
    "show_history",
    "show_learning_curves",
    "show_limits",
    "show_morphometry",
    "show_overlays",
    "show_series",
    "show_side_by_side",
    "show_subject_scores",
    "show_worst",
]
