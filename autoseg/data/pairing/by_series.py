"""Pair DICOM series with labels of the whole stack: NIfTI, segmentation objects, structure sets."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from autoseg.data.pairing.layout import (
    TABLES_AND_TEXTS,
    FilePair,
    Pairing,
    Unlabelled,
    leave_out,
    pair,
)
from autoseg.errors import DataError, NoLabelsError, ReadError
from autoseg.files.dicom.grids import Grid, grid_affine, plan_grids
from autoseg.files.dicom.rtstruct import StructureSet
from autoseg.files.dicom.series import DicomFolder, Series, find_series
from autoseg.files.labels import DrawnPlace, drawn_places, read_drawn_object
from autoseg.files.nifti.volumes import nifti_header
from autoseg.files.sources import (
    VOLUME_ENDINGS,
    ImageFile,
    LabelFile,
    SkippedFile,
    ending,
    name_without_ending,
)
from autoseg.files.tables import read_rows, require_columns
from autoseg.image.orientation import arrangement_onto
from autoseg.words import counted, in_words, listed, natural


@dataclass(frozen=True)
class _Stack:
    """One uniform grid of a series, what one label volume can lie on; `number` of `of`, counted from 1."""

    series: Series
    grid: Grid
    number: int
    of: int
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.series.case_id + self.grid.suffix

    @cached_property
    def instances(self) -> frozenset[str]:
        return frozenset(header.sop_uid for header in self.grid.slices) - {""}

    @cached_property
    def files(self) -> tuple[Path, ...]:
        return tuple(dict.fromkeys(header.path for header in self.grid.slices))

    @property
    def is_separate(self) -> bool:
        """Whether no other stack of the series lies in the same files."""
        own = set(self.files)
        return self.of == 1 or sum(header.path in own for header in self.series.slices) == len(self.grid.slices)

    @property
    def image(self) -> ImageFile:
        """What reads as this stack alone."""
        return ImageFile(self.files[0], others=self.files[1:], part=self.number if self.of > 1 else 0)

    def shows(self, place: DrawnPlace) -> bool:
        """Tell whether a contour or a frame lies on one of its slices, by reference, or by place without one."""
        if place.sop_uids and not place.sop_uids & self.instances:
            return False
        if place.sop_uids and self.is_separate:
            return True
        affine = grid_affine(self.grid)
        if place.point_mm is None or affine is None:
            return False
        across = float((np.linalg.inv(affine) @ [*place.point_mm, 1.0])[0])
        return -0.5 < across < len(self.grid.slices) - 0.5

    def fits(self, path: Path) -> bool:
        """Tell whether a NIfTI file has this grid: shape and place, or where one says no place the shape."""
        header, affine, first = nifti_header(path), grid_affine(self.grid), self.grid.slices[0]
        shape = (len(self.grid.slices), first.rows, first.columns)
        if header.is_oriented and header.affine is not None and affine is not None and first.position_mm:
            return arrangement_onto(header.affine, header.shape[:3], affine, shape) is not None
        return sorted(header.shape[:3]) == sorted(shape)


Found = dict[int, list[tuple[LabelFile, str]]]
"""Label files by the number of their stack, each with the rule that found it."""


def pair_series(images: Path, label_files: Sequence[Path], *, unlabelled: Unlabelled) -> Pairing:
    """Pair the DICOM series of a folder with labels that hold a whole stack.

    A segmentation object or a structure set belongs to the stacks whose instances it was drawn on; where a slice is
    missing these are the parts before and behind it. A NIfTI file belongs to the series that lies in a folder of
    its name, or to the only one there is; of several (a localiser beside the scan) to the one whose grid it has.
    Further series of a patient with labels are left alone.
    """
    found = find_series(images)
    stacks = _stacks(found)
    used: Found = defaultdict(list)
    read_as_image = {path for series in found.series for path in series.files}
    left: dict[Path, SkippedFile] = {}
    notes: list[str] = []
    for path in label_files:
        if path in read_as_image or path.suffix.lower() in TABLES_AND_TEXTS:
            continue
        try:
            if ending(path) in VOLUME_ENDINGS:
                number, rule = _stack_of(path, found, stacks)
                used[number].append((LabelFile(path), rule))
            else:
                notes += _place_drawn(path, stacks, used)
        except ReadError as error:
            why = str(error).removeprefix(f"{path} ").removeprefix(f"{path}: ")
            is_object = path.suffix.lower() in ("", ".dcm", ".seg", *VOLUME_ENDINGS) or path.name.endswith(".gz")
            left[path] = SkippedFile(path, why if is_object else "no labels of one of the series")
    _check_used(images, found, used, left)
    taken = {file.path for files in used.values() for file, _ in files}
    skipped = {file.path: file for file in found.skipped if file.path not in taken} | left
    skipped |= {file.path: file for file in _without_labels(images, stacks, used, left, unlabelled)}
    parts = [stacks[number] for number in sorted(used) if stacks[number].of > 1]
    notes += [f"{stack.series.case_id}: {note}" for stack in parts for note in stack.notes]
    return Pairing(_pairs_of(stacks, used), skipped=tuple(skipped.values()), notes=tuple(dict.fromkeys(notes)))


def _stacks(found: DicomFolder) -> list[_Stack]:
    stacks = []
    for series in found.series:
        grids, notes = plan_grids(series.slices)
        stacks += [_Stack(series, grid, number, len(grids), notes) for number, grid in enumerate(grids, start=1)]
    return stacks


def _stack_of(path: Path, found: DicomFolder, stacks: Sequence[_Stack]) -> tuple[int, str]:
    """Give the number of the stack that a NIfTI file belongs to, and the rule; ReadError where none can be told."""
    name = name_without_ending(path)
    called = [one for one in found.series if name == one.case_id]
    for folder in (name, path.parent.name):
        called = called or [one for one in found.series if folder in one.files[0].relative_to(found.folder).parts]
    near = called or found.series
    places = [number for number, stack in enumerate(stacks) if any(stack.series is one for one in near)]
    only = "the series of the same name" if called else "the only series"
    if len(places) == 1:
        return places[0], only
    fitting = [number for number in places if stacks[number].fits(path)]
    if len(near) == 1:
        if len(fitting) == 1 and stacks[fitting[0]].is_separate:
            return fitting[0], f"{only}, the part with its grid"
        raise ReadError(
            f"{path}: {near[0].case_id} is {len(places)} stacks (time points, or parts with a gap between), and "
            "one label volume cannot lie on all of them. Keep the stack that was drawn on."
        )
    # Without a folder or a series of its name, a file that does not say where it lies could be anybody's.
    if len(fitting) == 1 and (called or nifti_header(path).is_oriented):
        return fitting[0], f"the only series {f'in the folder {name} ' if called else ''}with its grid"
    names = listed([stacks[number].name for number in fitting or places][:5])
    if called and fitting:
        raise ReadError(
            f"{path} could be drawn on {names}, which have the same grid. Give the label file the name of the one "
            "that was drawn on, or move the others out of the folder."
        )
    if called:
        raise ReadError(
            f"{path} has the grid of none of the series in the folder {name} ({names}). Save the label on the grid "
            "of the series that was drawn on."
        )
    raise ReadError(
        f"{path} could belong to any of {len(near)} series: none is called {name} or lies in a folder of that name."
        if fitting
        else f"{path} belongs to no series: none is called {name}, lies in a folder of that name, or has its grid."
    )


def _place_drawn(path: Path, stacks: Sequence[_Stack], used: Found) -> list[str]:
    """Add a segmentation or structure set to the stacks that it was drawn on; give notes on what is missing."""
    drawn = read_drawn_object(path)
    places = drawn_places(drawn)
    referred = drawn.sop_uids.union(*(place.sop_uids for place in places))
    near = [number for number, stack in enumerate(stacks) if referred & stack.instances]
    if not referred and len({id(stack.series) for stack in stacks}) == 1:
        near = list(range(len(stacks)))
    if not near:
        raise ReadError(
            f"{path} refers to none of the images that were found. Put its images into the same folder."
        )
    shown = [[number for number in near if stacks[number].shows(place)] for place in places]
    chosen = sorted({number for numbers in shown for number in numbers}) or near[:1]
    several = max(shown, key=len, default=[])
    if len(several) > 1 or not all(stacks[number].is_separate for number in chosen):
        names = listed([stacks[number].name for number in (several if len(several) > 1 else chosen)][:5])
        raise ReadError(
            f"{path} does not say on which of the stacks {names} it was drawn (time points, or parts with a gap "
            "between). Keep the stack that was drawn on."
        )
    for number in chosen:
        used[number].append((LabelFile(path, binary=True), "it refers to this series"))
    lost = sum(not numbers for numbers in shown)
    if not lost or lost == len(shown):
        return []
    what = "contour" if isinstance(drawn, StructureSet) else "frame"
    lies = "lies" if lost == 1 else "lie"
    return [
        f"{path.name}: {lost} of its {counted(len(shown), what)} {lies} on slices that are not there: "
        "they were lost or not copied. The others are used."
    ]


def _check_used(images: Path, found: DicomFolder, used: Found, left: Mapping[Path, SkippedFile]) -> None:
    """Refuse a folder where no label file has a series, and a series with several label files."""
    if not used:
        why = next((f" {file.path}: {file.reason}" for file in left.values()), "")
        raise (DataError if left else NoLabelsError)(
            f"No label file belongs to one of the {len(found.series)} DICOM series in {images}.{why} Put a label "
            "file for each slice into 'labels', or a NIfTI file, a DICOM segmentation or a structure set of the "
            "series."
        )
    for files in used.values():
        labels = [file for file, _ in files]
        if len(labels) > 1 and not all(file.binary for file in labels):
            raise DataError(
                f"{in_words([file.path.name for file in labels], 'label file')} would be the labels of one series. "
                "Keep one of them, or save one file with a value for each structure."
            )


def _without_labels(
    images: Path,
    stacks: Sequence[_Stack],
    used: Found,
    left: Mapping[Path, SkippedFile],
    unlabelled: Unlabelled,
) -> list[SkippedFile]:
    """Give the series without labels as left alone, or refuse those of patients of whom nothing was drawn."""
    labelled = {id(stacks[number].series) for number in used}
    drawn_on = {stacks[number].series.subject_id: stacks[number].name for number in used}
    lonely = {id(stack.series): stack.series for stack in stacks if id(stack.series) not in labelled}.values()
    others = [series for series in lonely if series.subject_id in drawn_on]
    skipped = [
        SkippedFile(
            series.files[0],
            f"{series.case_id} ({counted(len(series.slices), 'slice')}) has no labels; of this patient "
            f"{drawn_on[series.subject_id]} was drawn on",
        )
        for series in others
    ]
    why = next((f" ({file.path.name}: {file.reason})" for file in left.values()), "")
    return skipped + leave_out(
        {series.files[0]: series.case_id for series in lonely if series.subject_id not in drawn_on},
        unlabelled,
        f"labels{why}",
        folder=images,
        remedy="Add them",
        what="series",
    )


def _pairs_of(stacks: Sequence[_Stack], used: Found) -> tuple[FilePair, ...]:
    chosen = [(stacks[number], files) for number, files in sorted(used.items())]
    return tuple(pair(stack.name, stack.series.subject_id, [stack.image], files) for stack, files in chosen)


# --- pair DICOM slices with contours kept as text files, one file a structure and slice

# IM-0001-0048-icontour-manual.txt: the slice's number and the structure.
NAME = re.compile(r"(?:^|[-_])(?P<number>\d+)[-_](?P<token>[A-Za-z]+)", re.IGNORECASE)


def pair_contours(images: Path, contours: Path, files: Sequence[Path], *, unlabelled: Unlabelled) -> Pairing:
    """Pair DICOM slices with contour files by patient and number.

    `contours/<patient>/…/IM-0001-0048-icontour-manual.txt` belongs to `images/<patient>/48.dcm`; where the
    patients' folders have other names, a `link.csv` beside them has the columns patient_id and original_id.
    """
    found = find_series(images)
    slices: dict[tuple[str, int], set[tuple[Path, str]]] = defaultdict(set)
    for series in found.series:
        for path in series.files:
            for number in re.findall(r"\d+", name_without_ending(path))[-1:]:
                for folder in path.relative_to(images).parts[:-1] or ("",):
                    slices[folder, int(number)].add((path, series.subject_id))
    links = _read_links(images.parent / "link.csv")
    labels: dict[Path, list[tuple[LabelFile, str]]] = defaultdict(list)
    subjects, lonely = {}, []
    for path in files:
        numbers = list(NAME.finditer(path.stem))
        match = numbers[-1] if numbers else None
        patient = path.relative_to(contours).parts[0] if len(path.relative_to(contours).parts) > 1 else ""
        places = slices.get((links.get(patient, patient), int(match["number"])), set()) if match else set()
        if len(places) > 1:
            several = ", ".join(sorted(place.as_posix() for place, _ in places))
            raise DataError(f"{path} could be drawn on {several}. Keep one series a patient in {images}.")
        for image, subject_id in places if match else ():
            token = match["token"].lower() if match else ""
            labels[image].append((LabelFile(path, token=token, binary=True), "patient and number"))
            subjects[image] = subject_id
        if not places:
            lonely.append(path.relative_to(contours).as_posix())
    if lonely:
        raise DataError(
            f"{in_words(lonely, 'contour file')} in {contours} without a DICOM slice of that patient and number in "
            f"{images}. Correct the names, or write the columns patient_id and original_id into "
            f"{images.parent / 'link.csv'}."
        )
    without = [path for series in found.series for path in series.files if path not in labels]
    skipped = leave_out(
        {path: path.relative_to(images).as_posix() for path in without},
        unlabelled,
        "a contour",
        folder=images,
        remedy=f"Add contours to {contours}",
    )
    pairs = []
    for path, mine in sorted(labels.items(), key=lambda item: natural(item[0])):
        name = "_".join((*path.relative_to(images).parts[:-1], name_without_ending(path)))
        pairs.append(pair(name, subjects[path], [ImageFile(path, 0)], mine))
    return Pairing(tuple(pairs), skipped=(*found.skipped, *skipped))


def _read_links(path: Path) -> dict[str, str]:
    """Give the patient's folder of each folder of contours, where a table says it."""
    if not path.exists():
        return {}
    columns, rows = read_rows(path)
    require_columns(path, columns, ("patient_id", "original_id"), example="SCD0000101,SC-HF-I-1")
    return {row["original_id"]: row["patient_id"] for _, row in rows}
