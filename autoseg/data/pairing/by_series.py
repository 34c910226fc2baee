"""Pair DICOM series with labels of the whole stack: NIfTI, segmentation objects, structure sets."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from autoseg.data.pairing.layout import Pairing, Unlabelled, leave_out, pair
from autoseg.errors import DataError, ReadError
from autoseg.files.dicom.grids import plan_grids
from autoseg.files.dicom.series import Series, find_series
from autoseg.files.labels import read_drawn_object
from autoseg.files.sources import (
    VOLUME_ENDINGS,
    ImageFile,
    LabelFile,
    SkippedFile,
    ending,
    name_without_ending,
)
from autoseg.files.tables import read_rows, require_columns
from autoseg.words import in_words, natural


def pair_series(images: Path, label_files: Sequence[Path], *, unlabelled: Unlabelled) -> Pairing:
    """Pair the DICOM series of a folder with labels that hold a whole stack.

    A segmentation object or a structure set belongs to the series whose instances it refers to. A NIfTI file
    belongs to the series that lies in a folder of its name, or to the only one there is.
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
    skipped += leave_out(
        {series.files[0]: series.case_id for series in lonely},
        unlabelled,
        "labels",
        folder=images,
        remedy="Add them",
        what="series",
    )
    names = Counter(found.series[number].case_id for number in used)
    pairs = []
    for number, files in sorted(used.items()):
        series = found.series[number]
        several = len(plan_grids(series.slices)[0]) > 1
        image = ImageFile(series.files[0], others=series.files[1:], part=-1 if several else 0)
        name = series.case_id if names[series.case_id] == 1 else f"{series.case_id}_{number + 1}"
        labels = [file for file, _ in files]
        if len(labels) > 1 and not all(file.binary for file in labels):
            raise DataError(
                f"{in_words([file.path.name for file in labels], 'label file')} would be the labels of one series "
                f"({series.files[0].parent}). Keep one of them, or save one file with a value for each structure."
            )
        pairs.append(pair(name, series.subject_id, [image], files))
    return Pairing(tuple(pairs), skipped=(*found.skipped, *skipped))


def _series_of(path: Path, series: Sequence[Series]) -> tuple[int, LabelFile, str] | None:
    """Give the number of the series that a label file belongs to, how it is read, and the rule."""
    if ending(path) in VOLUME_ENDINGS:
        name = name_without_ending(path)
        near = [n for n, one in enumerate(series) if name in one.files[0].parts or name == one.case_id]
        if len(near) == 1:
            return near[0], LabelFile(path), "the series of the same name"
        return (0, LabelFile(path), "the only series") if len(series) == 1 else None
    try:
        drawn = read_drawn_object(path)
    except ReadError:
        return None
    shares = [sum(header.sop_uid in drawn.sop_uids for header in one.slices) for one in series]
    best = max(range(len(series)), key=shares.__getitem__)
    if not shares[best]:
        raise ReadError(
            f"{path} refers to none of the images that were found. Put its images into the same folder."
        )
    return best, LabelFile(path, binary=True), "it refers to this series"


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
