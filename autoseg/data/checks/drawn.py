"""How structures were named and drawn in DICOM objects and in files of their own: what was concluded, and said."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from autoseg.data.cases import Case, CaseFolder
from autoseg.data.checks.finding import Finding, Severity
from autoseg.errors import private
from autoseg.words import GraveNote, OutsideNote, name_some


def check_names(case_folder: CaseFolder) -> Iterator[Finding]:
    """Ask once whether names that look alike are one structure; until somebody answers they count as one."""
    first = {case.case_id: case for case in reversed(case_folder.cases)}
    for alike in case_folder.alike:
        cause = "Whoever drew them typed the name differently."
        if alike.both:
            cause = f"On {name_some(alike.both)} both names stand side by side; what they mark is put together."
        yield Finding(
            "warning",
            alike.cases[0] if len(alike.cases) == 1 else "",
            first[alike.cases[0]].label_path if alike.cases[0] in first else case_folder.folder,
            alike.words,
            "If it is one, keep that (on the command line with --same-names); if not, give each a row of its own "
            "in the table of structures (structures.csv).",
            kind="names",
            cause=cause,
            cases=alike.cases,
            label=alike.label,
        )


def check_drawn(case: Case, notes: Sequence[str]) -> Iterator[Finding]:
    """Tell how the labels of a case were drawn where that is not plain: contours that overlap, holes."""
    for note in notes:
        severity: Severity = "warning" if isinstance(note, GraveNote | OutsideNote) else "note"
        yield Finding(
            severity, case.case_id, case.label_path, f"{private(case.label_path)}: {note}", "", kind="contours"
        )
