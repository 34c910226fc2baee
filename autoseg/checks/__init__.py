"""Look at every case before training; say what is wrong or odd, why, and what to do, and change nothing."""

from autoseg.checks.facts import LabelledImage, Origin
from autoseg.checks.finding import SEVERITIES, Finding, findings_table, raise_on_errors
from autoseg.checks.run import check_cases, check_images

__all__ = [
    "SEVERITIES",
    "Finding",
    "LabelledImage",
    "Origin",
    "check_cases",
    "check_images",
    "findings_table",
    "raise_on_errors",
]
