"""Cross-validation: every subject scored once, by a model that never saw it."""

from autoseg.crossvalidation.centrelines import Centrelines
from autoseg.crossvalidation.fold import RESULT, FoldCost, FoldResult, read_fold, read_model, read_prediction
from autoseg.crossvalidation.run import CrossValidation, FoldPlan, Tell, cross_validate, gather, run_fold
from autoseg.crossvalidation.scenario import Scenario
from autoseg.crossvalidation.scoring import score_fold
from autoseg.crossvalidation.splits import Folds, prepare_folds

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
