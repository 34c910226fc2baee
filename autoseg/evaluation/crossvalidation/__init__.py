"""Cross-validation: every subject scored once, by a model that never saw it."""

from autoseg.evaluation.crossvalidation.centrelines import Centrelines
from autoseg.evaluation.crossvalidation.fold import (
    RESULT,
    FoldCost,
    FoldResult,
    read_fold,
    read_model,
    read_prediction,
)
from autoseg.evaluation.crossvalidation.run import CrossValidation, FoldPlan, Tell, cross_validate, gather, run_fold
from autoseg.evaluation.crossvalidation.scenario import Scenario
from autoseg.evaluation.crossvalidation.scoring import score_fold
from autoseg.evaluation.crossvalidation.splits import Folds, prepare_folds

__all__ = [
    "RESULT",
    "Centrelines",
    "CrossValidation",
    "FoldCost",
    "FoldPlan",
    "FoldResult",
    "Folds",
    "Scenario",
    "Tell",
    "cross_validate",
    "gather",
    "prepare_folds",
    "read_fold",
    "read_model",
    "read_prediction",
    "run_fold",
    "score_fold",
]
