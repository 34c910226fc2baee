"""Networks and settings side by side: the same folds, the same seeds, the same time."""

from autoseg.evaluation.comparison.compared import Comparison, earlier_base, read_comparison
from autoseg.evaluation.comparison.entries import TOGETHER, EntryName, title_of
from autoseg.evaluation.comparison.request import ComparisonRequest
from autoseg.evaluation.comparison.run import compare, run_comparison
from autoseg.evaluation.comparison.side_by_side import SideBySide
from autoseg.evaluation.comparison.tables import MEAN

__all__ = [
    "MEAN",
    "TOGETHER",
    "Comparison",
    "ComparisonRequest",
    "EntryName",
    "SideBySide",
    "compare",
    "earlier_base",
    "read_comparison",
    "run_comparison",
    "title_of",
]
