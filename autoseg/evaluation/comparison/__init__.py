"""Networks and settings side by side: the same folds, the same seeds, the same time."""

from autoseg.evaluation.comparison.compared import Comparison, OnEpoch, earlier_base, read_comparison
from autoseg.evaluation.comparison.derived import TOGETHER, estimate_seconds
from autoseg.evaluation.comparison.run import compare
from autoseg.evaluation.comparison.side_by_side import SideBySide
from autoseg.evaluation.comparison.tables import MEAN, title_of

__all__ = [
    "MEAN",
    "TOGETHER",
    "Comparison",
    "OnEpoch",
    "SideBySide",
    "compare",
    "earlier_base",
    "estimate_seconds",
    "read_comparison",
    "title_of",
]
