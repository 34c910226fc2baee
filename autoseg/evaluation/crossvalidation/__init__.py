"""Cross-validation: every subject scored once, by a model that never saw it."""

from autoseg.evaluation.crossvalidation.events import FoldBegins, FoldEpoch, FoldFailed, OnEpoch, speaking
from autoseg.evaluation.crossvalidation.fold import (
    RESULT,
    FoldCost,
    FoldResult,
    OtherFoldsError,
    earlier_settings,
    read_fold,
    read_folds,
    read_model,
    read_prediction,
    settle_folds,
)
from autoseg.evaluation.crossvalidation.material import Material, describe_material, read_material, write_material
from autoseg.evaluation.crossvalidation.request import (
    LINES,
    CrossValidationRequest,
    FoldPlan,
    check_room_for,
    plan_entries,
)
from autoseg.evaluation.crossvalidation.run import (
    CrossValidation,
    cross_validate,
    gather,
    run_cross_validation,
    run_fold,
)
from autoseg.evaluation.crossvalidation.scenario import Scenario
from autoseg.evaluation.crossvalidation.scoring import score_fold
from autoseg.evaluation.crossvalidation.splits import prepare_folds

__all__ = [
    "LINES",
    "RESULT",
    "CrossValidation",
    "CrossValidationRequest",
    "FoldBegins",
    "FoldCost",
    "FoldEpoch",
    "FoldFailed",
    "FoldPlan",
    "FoldResult",
    "Material",
    "OnEpoch",
    "OtherFoldsError",
    "Scenario",
    "check_room_for",
    "cross_validate",
    "describe_material",
    "earlier_settings",
    "gather",
    "plan_entries",
    "prepare_folds",
    "read_fold",
    "read_folds",
    "read_material",
    "read_model",
    "read_prediction",
    "run_cross_validation",
    "run_fold",
    "score_fold",
    "settle_folds",
    "speaking",
    "write_material",
]
