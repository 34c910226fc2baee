"""Look at every case before training; say what is wrong or odd, why, and what to do, and change nothing."""

from autoseg.data.checks.facts import LabelledImage, StructureCount, count_structures
from autoseg.data.checks.finding import SEVERITIES, Finding, findings_table, raise_on_errors
from autoseg.data.checks.run import Examination, check_cases, check_images, examine_cases
