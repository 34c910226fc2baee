"""The plan: settings chosen from the data and the computer, each with its reason."""

from autoseg.plan.choice import Choice, Plan, change_settings
from autoseg.plan.choices import hide_ids, number_subjects, plan_settings, set_aside
from autoseg.plan.survey import Survey, spread_cases, survey_cases

__all__ = [
    "Choice",
    "Plan",
    "Survey",
    "change_settings",
    "hide_ids",
    "number_subjects",
    "plan_settings",
    "set_aside",
    "spread_cases",
    "survey_cases",
]
