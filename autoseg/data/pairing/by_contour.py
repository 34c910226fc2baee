"""Pair DICOM slices with contours kept as text files, one file a structure and slice."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from autoseg.errors import DataError
from autoseg.files.dicom.series import SkippedFile, find_series
from autoseg.files.sources import LEAVING_OUT, FilePair, ImageFile, LabelFile, Pairing, name_without_ending
from autoseg.files.tables import read_rows, require_columns
from autoseg.words import in_words, natural

# IM-0001-0048-icontour-manual.txt: the slice's number and the structure.
NAME = re.compile(r"(?:^|[-_])(?P<number>\d+)[-_](?P<token>[A-Za-z]+)", re.IGNORECASE)


def pair_contours(
    images: Path, contours: Path, files: Sequence[Path], *, unlabelled: Literal["refuse", "skip"]
) -> Pairing:
    """Pair DICOM slices with contour files by patient and number.

    `contours/<patient>/…/IM-0001-0048-icontour-manual.txt` belongs to `images/<patient>/48.dcm`; where the
    patients' folders have other names, a `link.csv` beside them has the columns patient_id and original_id.

    Parameters
    ----------
    images, contours : Path
        Folders.
    files : sequence of Path
        The contour files.
    unlabelled : {"refuse", "skip"}
        What to do with slices without a contour.

    Raises
    ------
    DataError
        If a contour belongs to no slice, or a slice has none and `unlabelled` is "refuse".
    """
    found = find_series(images)
    slices: dict[tuple[str, int], set[tuple[Path, str]]] = defaultdict(set)
    for series in found.series:
        for path in series.files:
            for number in re.findall(r"\d+", name_without_ending(path))[-1:]:
                for folder in path.relative_to(images).parts[:-1] or ("",):
                    slices[folder, int(number)].add((path, series.subject_id))
    links = _read_links(images.parent / "link.csv")
    labels: dict[Path, list[LabelFile]] = defaultdict(list)
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
            labels[image].append(LabelFile(path, token=match["token"].lower() if match else "", binary=True))
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
    if without and unlabelled == "refuse":
        names = [path.relative_to(images).as_posix() for path in without]
        raise DataError(
            f"{in_words(names, 'image')} in {images} without a contour in {contours}. Leave these images out "
            f"({LEAVING_OUT}), or add their contours."
        )
    pairs = [
        FilePair(
            name="_".join((*path.relative_to(images).parts[:-1], name_without_ending(path))),
            subject_id=subjects[path],
            images=(ImageFile(path, 0),),
            labels=tuple(sorted(mine, key=lambda file: natural(file.path))),
            rule="patient and number; subject: PatientID",
        )
        for path, mine in sorted(labels.items(), key=lambda item: natural(item[0]))
    ]
    skipped = [SkippedFile(path, "an image without a contour") for path in without]
    return Pairing(tuple(pairs), skipped=(*found.skipped, *skipped))


def _read_links(path: Path) -> dict[str, str]:
    """Give the patient's folder of each folder of contours, where a table says it."""
    if not path.exists():
        return {}
    columns, rows = read_rows(path)
    require_columns(path, columns, ("patient_id", "original_id"), example="SCD0000101,SC-HF-I-1")
    return {row["original_id"]: row["patient_id"] for _, row in rows}
