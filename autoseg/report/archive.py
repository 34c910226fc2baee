"""Results as DICOM objects for an archive: SEG, SR and RTSTRUCT of each image, and the report's pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from autoseg.errors import DataError
from autoseg.files.atomic import whole_folder
from autoseg.files.dicom.writing.capture import write_captures
from autoseg.files.dicom.writing.origin import Origin, read_origin
from autoseg.files.dicom.writing.parts import Algorithm, DrawnStructure
from autoseg.files.dicom.writing.report import Reported, write_report
from autoseg.files.dicom.writing.segmentation import SegmentKind, write_segmentation
from autoseg.files.dicom.writing.structure_set import write_structure_set
from autoseg.files.file_names import safe_name, unique_names
from autoseg.image.image import Image, LabelMap
from autoseg.measurement.areas import Measurement, annotated_structures, worst_light
from autoseg.measurement.intervals import PatientInterval
from autoseg.report.area_tables import image_groups, patients_table
from autoseg.report.figures.pdf import to_pictures
from autoseg.report.pages.document import Document

Result = tuple[Image, LabelMap]
OVERLAPPING = (
    "Structures lie inside others, and a label map holds one a pixel: the segmentation was written as binary "
    "segments."
)
SEVERAL = (
    "The images are of several patients or studies, and the report is of all of them: its pages were not written "
    "as pictures."
)


@dataclass(frozen=True)
class Archived:
    """The folder of the files that were written, their names, and sentences on what was repaired or left out."""

    folder: Path
    names: tuple[str, ...]
    notes: tuple[str, ...]


def write_dicom(
    folder: Path,
    results: Sequence[Result],
    measurements: Sequence[Measurement],
    algorithm: Algorithm,
    *,
    intervals: Sequence[PatientInterval] = (),
    kind: SegmentKind = "binary",
    corrected_by: Mapping[tuple[str, int], str] = MappingProxyType({}),
    report: Document | None = None,
) -> Archived:
    """Write each image's labels and areas as DICOM objects to a new folder, all of them or none.

    `corrected_by` tells, by case_id and label, who corrected a structure. Pages of the `report` become pictures
    where all images are of one patient and study.

    Each file is read back and compared before the folder takes its name. An image to which no object can refer (no
    DICOM file, no known pixel size or place, nothing found on it) is left out with a note.

    Raises
    ------
    DataError
        If no image is left; the message says why.
    OutputError
        If something reads back differently than it was written, or the folder cannot be written.
    """
    notes, written, problems, origins = list[str](), list[str](), list[str](), list[Origin]()
    segmentations = list[Any]()
    stems = unique_names([safe_name(image.source.case_id) for image, _ in results])
    with whole_folder(Path(folder)) as temporary:
        for stem, (image, label_map) in zip(stems, results, strict=True):
            name = image.source.case_id
            label_map = label_map.on_grid_of(image)
            by = {label: who for (case_id, label), who in corrected_by.items() if case_id == name}
            drawn = _drawn(label_map, kind, by)
            try:
                if not drawn:
                    raise DataError(f"{name}: nothing was found, so there is nothing to write.")
                origin = read_origin(image)
            except DataError as error:
                problems.append(str(error))
                continue
            own: SegmentKind = kind
            if kind == "labelmap" and sum(np.int8(one.mask) for one in drawn).max() > 1:  # type: ignore[union-attr]
                own, drawn = "binary", _drawn(label_map, "binary", by)
                notes.append(f"{name}: {OVERLAPPING}")
            rows = _reported(name, drawn, measurements, intervals)
            light = worst_light(row.suitability for row in measurements if row.case_id == name)
            algorithm = replace(algorithm, light=light)
            segmentation = write_segmentation(temporary / f"{stem}_SEG.dcm", origin, drawn, algorithm, own)
            write_report(temporary / f"{stem}_SR.dcm", origin, segmentation, drawn, rows, algorithm)
            write_structure_set(temporary / f"{stem}_RTSTRUCT.dcm", origin, drawn, algorithm)
            origins.append(origin)
            segmentations.append(segmentation)
            notes += [f"{name}: {repair}" for repair in origin.repairs]
            written += [f"{stem}_{what}.dcm" for what in ("SEG", "SR", "RTSTRUCT")]
        if not written:
            raise DataError(" ".join(problems) or "There is no result to write.")
        if report is not None and len({origin.study for origin in origins}) > 1:
            notes.append(SEVERAL)
        elif report is not None:
            pages = to_pictures(report)
            names = [f"report_page{number}_SC.dcm" for number in range(1, len(pages) + 1)]
            light = worst_light(row.suitability for row in measurements)
            places, algorithm = [temporary / one for one in names], replace(algorithm, light=light)
            write_captures(places, origins, pages, algorithm, segmentations)
            written += names
    return Archived(Path(folder), tuple(written), (*problems, *notes))


def algorithm_of(model_name: str, version: str, records: Sequence[Mapping[str, Any]], about: str) -> Algorithm:
    """Say in DICOM's words what drew the labels: `records` are those of `model.identity.model_record`."""
    parameters = [
        f"model {one['name']}: digest {one['digest']}, settings {one['settings_digest']}, "
        f"cleaning {one['postprocess_digest']}"
        for one in records
    ]
    return Algorithm(f"autoseg: {model_name}", version, tuple(parameters + ([about] if about else [])))


def _drawn(label_map: LabelMap, kind: SegmentKind, corrected_by: Mapping[int, str]) -> list[DrawnStructure]:
    """Give the structures that were found; segments of bits are numbered from 1, those of a label map by labels."""
    masks = [(one, label_map.mask(one.label)) for one in annotated_structures(label_map)]
    found = [(one, mask) for one, mask in masks if mask.any()]
    return [
        DrawnStructure(one.label if kind == "labelmap" else number, one, mask, corrected_by.get(one.label, ""))
        for number, (one, mask) in enumerate(found, start=1)
    ]


def _reported(
    case_id: str,
    drawn: Sequence[DrawnStructure],
    measurements: Sequence[Measurement],
    intervals: Sequence[PatientInterval],
) -> list[Reported]:
    """Give the areas of an image, and its means and volumes where they are of this image alone."""
    number_of = {one.structure.label: one.number for one in drawn}
    rows = [row for row in measurements if row.case_id == case_id and row.label in number_of]
    found = [
        Reported(
            *(number_of[row.label], "area", row.area_mm2, row.slice_index, row.area_low_mm2, row.area_high_mm2),
            at_least=row.is_cut_off,
        )
        for row in rows
        if row.area_mm2 is not None and row.pixel_count
    ]
    alone = [
        (group, mine)
        for group, mine in image_groups(measurements).items()
        if {one.case_id for one in mine} == {case_id}
    ]
    for _, mine in alone:
        table = patients_table(mine, intervals)
        labels = {row.name: row.label for row in mine}
        for line in table.to_dict("records"):
            number = number_of.get(labels[line["structure"]])
            for what, column, ends in (
                ("mean area", "mean_area_mm2", "mean_area_{}_mm2"),
                ("largest area", "max_area_mm2", "max_area_{}_mm2"),
                ("volume", "volume_mm3", ""),
            ):
                value = line.get(column)
                if number is None or value is None or np.isnan(value):
                    continue
                low, high = (line.get(ends.format(end)) for end in ("low", "high")) if ends else _volume(line)
                if low is None or high is None or np.isnan([low, high]).any():
                    low = high = None
                found.append(Reported(number, what, float(value), None, low, high))
    return found


def _volume(line: Mapping[Any, Any]) -> tuple[float | None, float | None]:
    low, high = line.get("volume_low_ml"), line.get("volume_high_ml")
    return (None, None) if low is None or high is None else (1000 * low, 1000 * high)
