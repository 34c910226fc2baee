"""What a check finds, and the table that shows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from autoseg.data.repairs import Repair
from autoseg.errors import DataError, Told
from autoseg.words import counted

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """Something to know before training.

    An error cannot be used as it is; with a warning it can, and results may be wrong; a note is good to know.
    `case_id` is empty where it is about several cases: `problem` then names some, `cases` all. `path` is the file
    or folder to look at; `problem` says what is wrong, with its value, `remedy` what to do, `cause` how it came
    about, most likely. `kind` is one word for findings of a sort ("turned", "shifted", "sides", "twins" …),
    `slice_index` the slice (from 0) that shows it best, `label` the structure, where it is about one, `beside` a
    case and slice to compare with. `repairs` would mend it if a person agrees (`autoseg.data.repairs.add_repair`
    keeps them); none where nobody can tell. The sentences are made `Told`, so that IDs in them can be hidden.
    """

    severity: Severity
    case_id: str
    path: Path
    problem: str
    remedy: str
    kind: str = ""
    cause: str = ""
    cases: tuple[str, ...] = ()
    slice_index: int | None = None
    label: int | None = None
    repairs: tuple[Repair, ...] = ()
    beside: tuple[str, int] | None = None

    def __post_init__(self) -> None:
        if self.case_id and not self.cases:
            object.__setattr__(self, "cases", (self.case_id,))
        for sentence in ("problem", "remedy", "cause"):
            object.__setattr__(self, sentence, Told(getattr(self, sentence)))


def findings_table(findings: Sequence[Finding]) -> pd.DataFrame:
    """Show findings as a table: severity, case_id, path (the file's name), problem, cause, remedy.

    Where nothing was found, one row says so: an empty table looks like a check that did not run.
    """
    findings = findings or [Finding("note", "", Path(), "Nothing is wrong with these cases.", "")]
    columns = ["severity", "case_id", "path", "problem", "cause", "remedy"]
    table = pd.DataFrame([[getattr(finding, name) for name in columns] for finding in findings], columns=columns)
    table["path"] = [finding.path.name for finding in findings]
    return table


def raise_on_errors(findings: Sequence[Finding]) -> None:
    """Raise a DataError that quotes the first three errors; do nothing if there is none."""
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors:
        quoted = "\n".join(f"- {finding.problem} {finding.remedy}" for finding in errors[:3])
        more = (
            f"\n… and {len(errors) - 3} more; the check in 1_train, or 'autoseg check', lists all."
            if len(errors) > 3
            else ""
        )
        raise DataError(f"These data cannot be used as they are, {counted(len(errors), 'error')}:\n{quoted}{more}")
