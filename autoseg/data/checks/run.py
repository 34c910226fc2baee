"""Read every case once, gather its facts, and ask all checks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from autoseg.data.cases import Case, CaseFolder, read_case_image
from autoseg.data.cases.read import read_labels
from autoseg.data.checks.anatomy import check_anatomy, check_areas, find_apart
from autoseg.data.checks.drawn import check_drawn, check_names
from autoseg.data.checks.duplicates import check_duplicates, check_subjects
from autoseg.data.checks.encoding import ask_of_labels, ask_of_sizes, check_encodings, check_palettes
from autoseg.data.checks.facts import (
    Cohort,
    Facts,
    LabelledImage,
    StructureCount,
    count_structures,
    gather_facts,
)
from autoseg.data.checks.finding import SEVERITIES, Finding
from autoseg.data.checks.images import (
    check_broken,
    check_channels,
    check_grid,
    check_levels,
    check_range,
    check_spacing,
)
from autoseg.data.checks.placement import check_placement, check_sides
from autoseg.data.checks.values import check_gaps, check_presence, check_surrounding, check_values
from autoseg.data.codes import hide, learn_folder
from autoseg.errors import AutosegError, TwoSizesError, UnclearLabelsError
from autoseg.image.structures import Structure


@dataclass(frozen=True)
class Examination:
    """What reading every case once told: the findings, and how often each structure was drawn.

    `seen` are the values other than 0 in the labels of each case; cases whose labels cannot be used are not there.
    """

    findings: tuple[Finding, ...]
    counts: tuple[StructureCount, ...]
    seen: Mapping[str, frozenset[int]] = field(default_factory=dict)


def check_cases(
    case_folder: CaseFolder, *, pixel_spacing_mm: tuple[float, float] | None = None
) -> tuple[Finding, ...]:
    """Read every case once and report what would stop or spoil a training.

    Parameters
    ----------
    case_folder : CaseFolder
        From `find_cases`.
    pixel_spacing_mm : (2,) tuple of float, optional
        Distance in mm between rows and between columns, typed in place of the header's.

    Returns
    -------
    tuple of Finding
        Errors first, then warnings, then notes; empty if all is well.
    """
    return examine_cases(case_folder, pixel_spacing_mm=pixel_spacing_mm).findings


def examine_cases(
    case_folder: CaseFolder,
    *,
    pixel_spacing_mm: tuple[float, float] | None = None,
    tell: Callable[[int], None] | None = None,
) -> Examination:
    """Check cases as `check_cases` does, and count the structures in the same reading.

    Parameters
    ----------
    case_folder : CaseFolder
    pixel_spacing_mm : (2,) tuple of float, optional
        Distance in mm between rows and between columns, typed in place of the header's.
    tell : callable, optional
        Is told after each case how many were read.

    Returns
    -------
    Examination
        Findings with errors first; counts in the order of the structures, then values without a name.
    """
    findings: list[Finding] = []
    facts: list[Facts] = []
    asked: list[tuple[Case, AutosegError]] = []
    for number, case in enumerate(case_folder.cases, start=1):
        labelled, problems, open_ = _read(case, case_folder.structures, pixel_spacing_mm)
        findings += problems if labelled is None else _gather(labelled, facts)
        asked += [(case, error) for error in open_]
        if tell is not None:
            tell(number)
    found = check_facts(facts, case_folder.structures, folder=case_folder.folder, cases=case_folder.cases)
    every = _in_order(
        [
            *ask_of_sizes([(case, error) for case, error in asked if isinstance(error, TwoSizesError)]),
            *ask_of_labels([(case, error) for case, error in asked if isinstance(error, UnclearLabelsError)]),
            *findings,
            *found,
            *check_palettes(case_folder),
            *check_levels(case_folder.cases),
            *check_names(case_folder),
        ]
    )
    if any(case.is_coded for case in case_folder.cases):
        learn_folder(case_folder.folder)
        every = tuple(map(_without_names, every))
    seen = {fact.case_id: frozenset(fact.values) for fact in facts}
    return Examination(every, count_structures(facts, case_folder.structures), seen)


def check_images(
    labelled: Iterable[LabelledImage], structures: Sequence[Structure], *, folder: Path = Path()
) -> tuple[Finding, ...]:
    """Check images and labels that were read already, one after the other; none is kept."""
    findings: list[Finding] = []
    facts: list[Facts] = []
    cases: list[Case] = []
    for one in labelled:
        cases.append(one.case)
        findings += _gather(one, facts)
    return _in_order([*findings, *check_facts(facts, structures, folder=folder, cases=cases)])


def check_facts(
    facts: Sequence[Facts],
    structures: Sequence[Structure],
    *,
    folder: Path = Path(),
    cases: Sequence[Case] | None = None,
) -> tuple[Finding, ...]:
    """Ask all checks that need only the facts of the cases, errors first.

    `cases` are all of them, also those without facts because they could not be read; by default those of `facts`.
    """
    known = tuple(fact.case for fact in facts) if cases is None else tuple(cases)
    cohort = Cohort(tuple(facts), tuple(structures), folder, known)
    findings: list[Finding] = []
    for fact in facts:
        findings += check_broken(fact)
    if known:
        findings += check_subjects(cohort)
    if not facts:
        return _in_order(findings)
    checks = (check_values, check_surrounding, check_spacing, check_channels, check_range, check_encodings)
    for check in (*checks, check_presence, check_gaps, check_duplicates):
        findings += check(cohort)
    areas = list(check_areas(cohort))
    # Where structures are of another size, or lie apart, it cannot be told where they belong together.
    unsure = find_apart(cohort) | {case_id for finding in areas for case_id in finding.cases}
    placed = list(check_placement(cohort, unsure=unsure))
    # What lies beside its image says nothing about sides and places, and spoils what is usual.
    displaced = {case_id for finding in placed if finding.repairs for case_id in finding.cases}
    sides = list(check_sides(cohort, leave_out=displaced))
    displaced |= {case_id for finding in sides for case_id in finding.cases}
    return _in_order([*findings, *areas, *placed, *sides, *check_anatomy(cohort, leave_out=displaced)])


def _gather(labelled: LabelledImage, facts: list[Facts]) -> list[Finding]:
    """Add the facts of a case whose labels have the shape of its image; give what its grids have against them."""
    if labelled.voxels.shape == labelled.image.shape:
        facts.append(gather_facts(labelled))
    return [*check_grid(labelled), *check_drawn(labelled.case, labelled.notes)]


def _read(
    case: Case, structures: Sequence[Structure], pixel_spacing_mm: tuple[float, float] | None
) -> tuple[LabelledImage | None, list[Finding], list[AutosegError]]:
    """Read one case; None if it cannot be used, with why not, and with what a person has to say of it first."""
    problems, image, labels = [], None, None
    open_: list[AutosegError] = []
    remedy = "Or move the image and its label file away."
    try:
        image = read_case_image(case, pixel_spacing_mm=pixel_spacing_mm)
    except TwoSizesError as question:
        return None, [], [question]
    except AutosegError as reason:
        problems.append(Finding("error", case.case_id, case.image_path, str(reason), remedy, kind="unreadable"))
    try:
        labels = read_labels(case, tuple(structures))
    except UnclearLabelsError as question:
        open_.append(question)
    except AutosegError as reason:
        problems.append(Finding("error", case.case_id, case.label_path, str(reason), remedy, kind="unreadable"))
    if image is None or labels is None:
        return None, problems, open_
    return LabelledImage(case, image, labels.voxels, notes=labels.notes), problems, open_


def _without_names(finding: Finding) -> Finding:
    """Give a finding whose sentences name no file, where codes stand for patients."""
    return replace(
        finding,
        path=Path(hide(str(finding.path))),
        problem=hide(finding.problem),
        cause=hide(finding.cause),
        remedy=hide(finding.remedy),
    )


def _in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity)))
