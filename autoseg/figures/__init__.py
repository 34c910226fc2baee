"""Figures and the animation: the only place that knows matplotlib.

Nothing is shown: each function returns a matplotlib Figure, which a notebook shows and `savefig` writes.
"""

from autoseg.figures.agreement import show_bland_altman, show_subject_scores
from autoseg.figures.centreline import show_centrelines
from autoseg.figures.charts import show_areas, show_erosions, show_history
from autoseg.figures.comparison import show_comparison, show_learning_curves, show_side_by_side
from autoseg.figures.doctor import show_findings
from autoseg.figures.morphometry import show_morphometry
from autoseg.figures.panels import NotebookFigure
from autoseg.figures.series import show_series
from autoseg.figures.slices import show_animation, show_batch, show_cases, show_overlays
from autoseg.figures.worst import show_worst, slice_title

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
    "show_history",
    "show_learning_curves",
    "show_morphometry",
    "show_overlays",
    "show_series",
    "show_side_by_side",
    "show_subject_scores",
    "show_worst",
    "slice_title",
]
