"""A study's report: what a cross-validation says, from its folds, as a page to read, to print and to write from."""

from autoseg.evaluation.study.document import report_study
from autoseg.evaluation.study.study import Study, read_study, study_of
from autoseg.evaluation.study.write import write_study_report

__all__ = ["Study", "read_study", "report_study", "study_of", "write_study_report"]
