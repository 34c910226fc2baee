"""Training what finds centrelines, centrelines from folds that did not see the subject, and how good they are."""

from autoseg.training.finder.folds import (
    automatic_centrelines,
    automatic_inputs,
    exact_centrelines,
    inputs_of_folds,
    kept_inputs,
)
from autoseg.training.finder.learning import finder_settings, train_finder
from autoseg.training.finder.scoring import CentrelineScore, centreline_table, score_centreline
