"""Pair DICOM series with labels of the whole stack: NIfTI, segmentation objects, structure sets."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from autoseg.errors import DataError, ReadError
from autoseg.files.dicom.grids import plan_grids
from autoseg.files.dicom.rtstruct import StructureSet, read_structure_set
from autoseg.files.dicom.seg import Segmentation, read_segmentation
from autoseg.files.dicom.series import Series, SkippedFile, find_series
from autoseg.files.sources import (
    LEAVING_OUT,
    VOLUME_ENDINGS,
    FilePair,
    ImageFile,
    LabelFile,
    Pairing,
    ending,
    name_without_ending,
)
from autoseg.words import in_words


def pair_series(images: Path, label_files: Sequence[Path], *, unlabelled: Literal["refuse", "skip"]) -> Pairing:
    """Pair the DICOM series of a folder with labels that hold a whole stack.

    A segmentation object or a structure set belongs to the series whose instances it refers to. A NIfTI file
    belongs to the series that lies in a folder of its name, or to the only one there is.

    Parameters
    ----------
    images : Path
        Holds the series.
    label_files : sequence of Path
        Files among which the labels are, DICOM or NIfTI; others are left alone.
    unlabelled : {"refuse", "skip"}

    Raises
    ------
    DataError
        If there is no label, a label has no series, or a series has no label and `unlabelled` is "refuse".
    """
    found = find_series(images)
    used: dict[int, list[tuple[LabelFile, str]]] = defaultdict(list)
    read_as_image = {path for series in found.series for path in series.files}
    problems, skipped = [], []
    for path in label_files:
        if path in read_as_image:
            continue
        try:
            match = _series_of(path, found.series)
        except ReadError as error:
            problems.append(str(error))
            continue
        if match is None:
            skipped.append(SkippedFile(path, "no labels of one of the series"))
        else:
            used[match[0]].append((match[1], match[2]))
    if not used:
        more = f" {problems[0]}" if problems else ""
        raise DataError(
            f"No label file belongs to one of the {len(found.series)} DICOM series in {images}.{more} Put a label "
            "file for each slice into 'labels', or a NIfTI file, a DICOM segmentation or a structure set of the "
            "series."
        )
    lonely = [series for number, series in enumerate(found.series) if number not in used]
    if lonely and unlabelled == "refuse":
        raise DataError(
            f"{in_words([series.case_id for series in lonely], 'series')} in {images} without labels. Add them, or "
            f"leave these series out ({LEAVING_OUT})."
        )
    skipped += [SkippedFile(series.files[0], "a series without labels") for series in lonely]
    names = Counter(found.series[number].case_id for number in used)
    pairs = []
    for number, files in sorted(used.items()):
        series = found.series[number]
        several = len(plan_grids(series.slices)[0]) > 1
        image = ImageFile(series.files[0], others=series.files[1:], part=-1 if several else 0)
        name = series.case_id if names[series.case_id] == 1 else f"{series.case_id}_{number + 1}"
        rules = " or ".join(dict.fromkeys(rule for _, rule in files))
        labels = tuple(file for file, _ in files)
        if len(labels) > 1 and not all(file.binary for file in labels):
            raise DataError(
                f"{in_words([file.path.name for file in labels], 'label file')} would be the labels of one series "
                f"({series.files[0].parent}). Keep one of them, or save one file with a value for each structure."
            )
        pairs.append(FilePair(name, series.subject_id, (image,), labels, f"{rules}; subject: PatientID"))
    return Pairing(tuple(pairs), skipped=(*found.skipped, *skipped))


def _series_of(path: Path, series: Sequence[Series]) -> tuple[int, LabelFile, str] | None:
    """Give the number of the series that a label file belongs to, how it is read, and the rule."""
    if ending(path) in VOLUME_ENDINGS:
        name = name_without_ending(path)
        near = [n for n, one in enumerate(series) if name in one.files[0].parts or name == one.case_id]
        if len(near) == 1:
            return near[0], LabelFile(path), "the series of the same name"
        return (0, LabelFile(path), "the only series") if len(series) == 1 else None
    for read in (read_segmentation, read_structure_set):
        try:
            labels: Segmentation | StructureSet = read(path)
        except ReadError:
            continue
        instances = labels.sop_uids
        shares = [sum(h.sop_uid in instances for h in one.slices) for one in series]
        best = max(range(len(series)), key=shares.__getitem__)
        if shares[best]:
            return best, LabelFile(path, binary=True), "it refers to this series"
        raise ReadError(
            f"{path} refers to none of the images that were found. Put its images into the same folder."
        )
    return None
