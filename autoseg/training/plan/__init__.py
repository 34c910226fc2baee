"""The plan: settings chosen from the data and the computer, each with its reason."""

from autoseg.training.plan.choice import Choice, Plan, change_settings
from autoseg.training.plan.choices import hide_ids, number_subjects, plan_comparison, plan_settings, set_aside
from autoseg.training.plan.fingerprint import (
    Fingerprint,
    StructureFacts,
    contrast_words,
    describe_fingerprint,
    measure_fingerprint,
)
from autoseg.training.plan.survey import (
    Looks,
    fingerprint_by_looks,
    fingerprint_of,
    looks_of,
    spread_cases,
    survey_cases,
)
