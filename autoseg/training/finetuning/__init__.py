"""Fine-tuning: a trained model goes on learning, for other structures, channels, spacing or images."""

from autoseg.training.finetuning.base import check_base, settings_from_base, split_for_base
from autoseg.training.finetuning.carry import carry_over
from autoseg.training.finetuning.fit import Fit, check_fit
from autoseg.training.finetuning.tuned import Tuned, check_same_base, go_on_from, seed_of
