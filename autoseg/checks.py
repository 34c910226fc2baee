"""Look at every case before training; say what is wrong or odd and what to do, and change nothing."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from autoseg.cases import Case, CaseFolder, is_drawn, read_case_image, read_case_labels
from autoseg.errors import AutosegError, DataError
from autoseg.files.dicom_headers import is_stand_in
from autoseg.image import Image

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")

# One pixel more or less changes the area of so small a structure by a tenth.
SMALL_PIXELS = 10
# Above this share of label files without a structure, it was perhaps not drawn there.
OFTEN_ABSENT = 0.2
# Ratio of the largest to the smallest pixel length.
UNLIKE_SPACING = 1.5


@dataclass(frozen=True)
class Finding:
    """Something to know before training.

    "error": cannot be used as it is; "warning": can be used, and results may be wrong; "note": good to know.
    `case_id` is empty where a finding is about several cases; `problem` then names some.
    """

    severity: Severity
    case_id: str
    path: Path
    problem: str
    remedy: str


@dataclass(frozen=True)
class _Facts:
    """What is kept of a case that can be read: pixels of each label, pixel lengths, a digest of the image."""

    case: Case
    pixels: dict[int, int]
    spacing_mm: tuple[float, float] | None
    digest: str


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
    findings: list[Finding] = []
    facts: list[_Facts] = []
    for case in case_folder.cases:
        problems, fact = _check_case(case, case_folder, pixel_spacing_mm)
        findings += problems
        if fact is not None:
            facts.append(fact)
    findings += _check_subjects(case_folder)
    for check in (_check_spacing, _check_structures, _check_twins):
        findings += check(case_folder, facts)
    return tuple(sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity)))


def findings_table(findings: Sequence[Finding]) -> pd.DataFrame:
    """Show findings as a table: severity, case_id, path (the file's name), problem, remedy.

    Where nothing was found, one row says so: an empty table looks like a check that did not run.
    """
    findings = findings or [Finding("note", "", Path(), "Nothing is wrong with these cases.", "")]
    rows = [astuple(finding) for finding in findings]
    table = pd.DataFrame(rows, columns=[field.name for field in fields(Finding)])
    table["path"] = [finding.path.name for finding in findings]
    return table


def raise_on_errors(findings: Sequence[Finding]) -> None:
    """Raise a DataError that quotes the first three errors; do nothing if there is none."""
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors:
        quoted = "\n".join(f"- {finding.problem} {finding.remedy}" for finding in errors[:3])
        more = f"\n… and {len(errors) - 3} more; check_cases lists all." if len(errors) > 3 else ""
        raise DataError(f"These data cannot be used as they are, {len(errors)} error(s):\n{quoted}{more}")


def _check_case(
    case: Case, folder: CaseFolder, pixel_spacing_mm: tuple[float, float] | None
) -> tuple[list[Finding], _Facts | None]:
    """Read one case; without facts if it cannot be used."""

    def error(path: Path, problem: str, remedy: str) -> Finding:
        return Finding("error", case.case_id, path, problem, remedy)

    broken, image, voxels = [], None, None
    try:
        image = read_case_image(case, pixel_spacing_mm=pixel_spacing_mm)
    except AutosegError as reason:
        broken.append(error(case.image_path, str(reason), "Or move the image and its label file away."))
    try:
        voxels = read_case_labels(case, folder.structures)
    except AutosegError as reason:
        broken.append(error(case.label_path, str(reason), "Or move the image and its label file away."))
    if image is None or voxels is None:
        return broken, None
    if voxels.shape != image.shape:
        what = f"{case.label_path} has the shape {voxels.shape} (slices, rows, columns), but "
        what += f"{case.image_path} has {image.shape}."
        return [error(case.label_path, what, "Save the label on the image's own grid.")], None
    values, counts = (array.tolist() for array in np.unique(voxels, return_counts=True))
    pixels = {value: count for value, count in zip(values, counts, strict=True) if value}
    findings = [error(case.label_path, *words) for words in _check_values(case, folder, pixels, voxels.size)]
    return findings, _Facts(case, pixels, _pixel_spacing(image), _digest(image))


def _check_values(
    case: Case, folder: CaseFolder, pixels: Mapping[int, int], size: int
) -> Iterator[tuple[str, str]]:
    """Give problem and remedy of values that have no name, or that were not to be there."""
    names = {structure.label: structure.name for structure in folder.structures}
    unknown = {value: count for value, count in pixels.items() if value not in names}
    if unknown:
        listed = [f"{value} ({count} pixels, {count / size:.2%})" for value, count in unknown.items()]
        yield (
            f"{case.label_path} holds {len(unknown)} value(s) without a name: {_some(listed)}. Known: {names}.",
            "Add them to structures.csv, set them to 0, or save the labels without smoothed edges.",
        )
    undrawn = [names[value] for value in pixels if value in names and not is_drawn(case, value)]
    if undrawn:
        yield (
            f"annotated.csv says that {', '.join(undrawn)} was not drawn on {case.case_id}, but "
            f"{case.label_path} has it.",
            "Write 1 into annotated.csv, or remove the drawing.",
        )


def _pixel_spacing(image: Image) -> tuple[float, float] | None:
    return None if image.affine is None else image.spacing_mm[1:]


def _digest(image: Image) -> str:
    return hashlib.sha256(str(image.voxels.shape).encode() + image.voxels.tobytes()).hexdigest()


def _check_subjects(folder: CaseFolder) -> Iterator[Finding]:
    subjects = sorted({case.subject_id for case in folder.cases})
    if len(subjects) == 1:
        yield Finding(
            "warning",
            "",
            folder.folder,
            f"All {len(folder.cases)} case(s) are of one subject ({subjects[0]}): nothing can be set aside, "
            "so it stays unknown how well a model does on another person.",
            "Add cases of other subjects. Subjects are told apart by the PatientID in the DICOM files.",
        )
    nameless = [subject for subject in subjects if is_stand_in(subject)]
    if nameless:
        yield Finding(
            "warning",
            "",
            folder.folder / "dicoms",
            f"{len(nameless)} of {len(subjects)} subject(s) have no PatientID: each study is taken as one person "
            f"(each folder, where the study has no UID either): {_some(nameless)}. If one person has two studies "
            "here, validation would see a person who was trained on.",
            "Write a PatientID into the DICOM files, a code and not a name, the same in all studies of a person; "
            "or keep one study of each person.",
        )


def _check_spacing(folder: CaseFolder, facts: Sequence[_Facts]) -> Iterator[Finding]:
    unknown = [fact.case.case_id for fact in facts if fact.spacing_mm is None]
    if unknown:
        yield Finding(
            "warning",
            unknown[0] if len(unknown) == 1 else "",
            folder.folder / "dicoms",
            f"{len(unknown)} of {len(facts)} images have no pixel spacing in their header: {_some(unknown)}. "
            "Nothing on them can be measured in mm or mm².",
            "A model can be trained on them with a fixed input_shape: PreprocessSettings(input_shape=(rows, "
            "columns)), on the command line --input-shape ROWS COLUMNS. To measure areas later, type the field "
            "of view in mm.",
        )
    known = [(min(fact.spacing_mm), max(fact.spacing_mm), fact.case) for fact in facts if fact.spacing_mm]
    if not known:
        return
    smallest, largest = min(known, key=lambda item: item[0]), max(known, key=lambda item: item[1])
    if largest[1] > UNLIKE_SPACING * smallest[0]:
        yield Finding(
            "warning",
            "",
            folder.folder / "dicoms",
            f"Pixels differ in size from {smallest[0]:.3g} mm ({smallest[2].case_id}, subject "
            f"{smallest[2].subject_id}) to {largest[1]:.3g} mm ({largest[2].case_id}, subject "
            f"{largest[2].subject_id}).",
            "Check that all series are of one kind. Train at a spacing in mm, not with a fixed input_shape.",
        )


def _check_structures(folder: CaseFolder, facts: Sequence[_Facts]) -> Iterator[Finding]:
    labels = folder.folder / "labels"
    empty = [f.case.case_id for f in facts if not f.pixels and f.case.annotated != frozenset()]
    if empty:
        yield Finding(
            "warning",
            empty[0] if len(empty) == 1 else "",
            labels,
            f"{len(empty)} of {len(facts)} label files are empty: {_some(empty)}.",
            "If nothing is to be seen there, all is well. If nothing was drawn, move these cases away.",
        )
    for structure in folder.structures:
        drawn = [fact for fact in facts if is_drawn(fact.case, structure.label)]
        present = [fact for fact in drawn if structure.label in fact.pixels]
        absent = len(drawn) - len(present)
        if not present and facts:
            yield Finding(
                "error",
                "",
                labels,
                f"{structure.name} (label {structure.label}) is drawn on no case, so it cannot be learnt.",
                "Remove it from structures.csv, or draw it on some cases.",
            )
        elif absent >= OFTEN_ABSENT * len(facts) and all(fact.case.annotated is None for fact in facts):
            yield Finding(
                "warning",
                "",
                labels,
                f"{structure.name} is absent from {absent} of {len(facts)} label files: not drawn, or not "
                "there? What was not drawn would be learnt as absent.",
                f"If it was not drawn, say so in {folder.folder / 'annotated.csv'}: columns case_id and the "
                "names of the structures, 1 = drawn, 0 = not drawn.",
            )
        small = sorted((fact.pixels[structure.label], fact.case.case_id) for fact in present)
        small = [item for item in small if item[0] < SMALL_PIXELS]
        if small:
            yield Finding(
                "warning",
                small[0][1] if len(small) == 1 else "",
                labels,
                f"{structure.name} is smaller than {SMALL_PIXELS} pixels on {len(small)} case(s): "
                f"{_some([f'{name} ({count})' for count, name in small])}.",
                "Look for stray pixels; areas so small are uncertain by a tenth and more.",
            )


def _check_twins(folder: CaseFolder, facts: Sequence[_Facts]) -> Iterator[Finding]:
    """Find images whose pixels are identical: the same slice twice, perhaps under two subjects."""
    twins: dict[str, list[Case]] = defaultdict(list)
    for fact in facts:
        twins[fact.digest].append(fact.case)
    for cases in twins.values():
        if len(cases) > 1:
            subjects = sorted({case.subject_id for case in cases})
            across = f", under the subjects {_some(subjects)}" if len(subjects) > 1 else ""
            yield Finding(
                "error" if across else "warning",
                cases[0].case_id,
                cases[0].image_path,
                f"The images of {_some([case.case_id for case in cases])} have identical pixels{across}.",
                "Keep one of them" + (", or validation would see what was trained on." if across else "."),
            )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" … ({len(names)} in all)" if len(names) > 5 else "")
