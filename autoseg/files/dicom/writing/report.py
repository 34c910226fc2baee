"""Write measurements as a DICOM structured report (SR, TID 1500): areas on a segmentation's frames, and sums."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import generate_uid

from autoseg.errors import OutputError
from autoseg.files.dicom.records import items, quiet, read_dataset
from autoseg.files.dicom.writing.origin import Origin
from autoseg.files.dicom.writing.parts import (
    MANUFACTURER,
    PRODUCT,
    Algorithm,
    DrawnStructure,
    person_name,
    save,
    side_of,
    term_of,
)

HIGH, LOW = (
    Code("371886008", "SCT", "+, range of upper measurement uncertainty"),
    Code("371885007", "SCT", "-, range of lower measurement uncertainty"),
)
CUT_OFF = " (at least: cut off by the edge of the image)"
# What a decimal string of 16 letters may be off by.
ROUNDING = 1e-8


@dataclass(frozen=True)
class Reported:
    """A number of a structure, and between what the true one lies, if that is known.

    `what` is "area", "mean area", "largest area" (mm²) or "volume" (mm³). `slice_index` is the place of an area in
    the image, None of what is of the whole image. `at_least`: the image's edge cuts the structure off there.
    """

    number: int
    what: str
    value: float
    slice_index: int | None = None
    low: float | None = None
    high: float | None = None
    at_least: bool = False


def write_report(
    path: Path,
    origin: Origin,
    segmentation: Dataset,
    drawn: Sequence[DrawnStructure],
    reported: Sequence[Reported],
    algorithm: Algorithm,
) -> None:
    """Write numbers as a DICOM structured report that refers to the frames of a segmentation, and read it back.

    `segmentation` is what `write_segmentation` gave. An area of nothing has no frame, and is not in the report.

    Raises
    ------
    OutputError
        If the areas read back differently.
    """
    from highdicom import sr

    frames = _frames(segmentation, origin)
    wanted = [one for one in reported if one.slice_index is None or (one.number, one.slice_index) in frames]
    with quiet():
        groups = []
        for one in drawn:
            mine = [row for row in wanted if row.number == one.number]
            groups += [_whole(one, mine, segmentation, origin, algorithm)] if mine else []
            groups += [
                _planar(one, row, frames[one.number, row.slice_index], segmentation, origin, algorithm)
                for row in mine
                if row.slice_index is not None
            ]
        observer = sr.ObserverContext(
            observer_type=codes.DCM.Device,
            observer_identifying_attributes=sr.DeviceObserverIdentifyingAttributes(
                uid=generate_uid(), name=PRODUCT, manufacturer_name=MANUFACTURER, model_name=algorithm.name[:64]
            ),
        )
        content = sr.MeasurementReport(
            observation_context=sr.ObservationContext(_person(drawn), observer),
            procedure_reported=codes.LN.CTUnspecifiedBodyRegion
            if origin.header.Modality == "CT"
            else codes.SCT.ImagingProcedure,
            imaging_measurements=groups,
            title=codes.DCM.ImagingMeasurementReport,
        )
        dataset = sr.Comprehensive3DSR(
            evidence=[segmentation, *_evidence(origin)],
            content=content,
            series_instance_uid=generate_uid(),
            series_number=9002,
            sop_instance_uid=generate_uid(),
            instance_number=1,
            manufacturer=MANUFACTURER,
            manufacturer_model_name=PRODUCT,
            software_versions=algorithm.version[:64],
            series_description=f"autoseg: measurements{algorithm.warning}",
            is_complete=True,
        )
        origin.put_back(dataset)
    save(path, dataset)
    _check(path, wanted)


def read_report_areas(path: Path) -> list[tuple[str, int, float]]:
    """Read the areas of a report as written here: tracking identifier, frame of the segmentation (from 1), mm²."""
    found = []
    with quiet():
        for group in _groups(read_dataset(path)):
            references = [
                item.ReferencedSOPSequence[0]
                for item in group.ContentSequence
                if _name(item) == codes.DCM.ReferencedSegmentationFrame.value
            ]
            found += [
                (_tracked(group), int(reference.ReferencedFrameNumber), value)
                for reference in references
                for what, value in _numbers(group)
                if what == "area"
            ]
    return found


def _frames(segmentation: Dataset, origin: Origin) -> dict[tuple[int, int], int]:
    """Give the frame (from 1) of each segment's number and slice; a label map's serve all its segments."""
    into = np.linalg.inv(origin.image.calibrated_affine)
    found: dict[tuple[int, int], int] = {}
    numbers = [int(one.SegmentNumber) for one in segmentation.SegmentSequence]
    for frame, group in enumerate(segmentation.PerFrameFunctionalGroupsSequence, start=1):
        position = [float(value) for value in group.PlanePositionSequence[0].ImagePositionPatient]
        place = round(float((into @ [*position, 1.0])[0]))
        own = [int(one.ReferencedSegmentNumber) for one in items(group, "SegmentIdentificationSequence")]
        found |= {(number, place): frame for number in own or numbers}
    return found


def _source(origin: Origin, index: int) -> Any:
    from highdicom import sr

    one = origin.references[index]
    frames = None if one.frame is None else [one.frame]
    return sr.SourceImageForSegmentation(one.sop_class, one.sop_uid, frames)


def _planar(
    one: DrawnStructure, row: Reported, frame: int, segmentation: Dataset, origin: Origin, algorithm: Algorithm
) -> Any:
    from highdicom import sr

    number = origin.image.slice_number(row.slice_index or 0)
    reference = sr.ReferencedSegmentationFrame(
        sop_class_uid=segmentation.SOPClassUID,
        sop_instance_uid=segmentation.SOPInstanceUID,
        frame_number=frame,
        segment_number=one.number,
        source_image=_source(origin, row.slice_index or 0),
    )
    if "SegmentIdentificationSequence" in segmentation.PerFrameFunctionalGroupsSequence[0]:
        # The frame tells the segment, and DICOM wants no second word (PS3.3 table 10-3); a label map's does not.
        del reference[0].ReferencedSOPSequence[0].ReferencedSegmentNumber
    return sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=_tracking(one, f"slice {number}{CUT_OFF if row.at_least else ''}"),
        referenced_segment=reference,
        measurements=[_measurement(row)],
        **_about(one, algorithm),
    )


def _whole(
    one: DrawnStructure, rows: Sequence[Reported], segmentation: Dataset, origin: Origin, algorithm: Algorithm
) -> Any:
    from highdicom import sr

    shown = sorted({row.slice_index for row in rows if row.slice_index is not None})
    reference = sr.ReferencedSegment(
        sop_class_uid=segmentation.SOPClassUID,
        sop_instance_uid=segmentation.SOPInstanceUID,
        segment_number=one.number,
        source_images=[_source(origin, index) for index in shown],
    )
    return sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=_tracking(one, "whole"),
        referenced_segment=reference,
        measurements=[_measurement(row) for row in rows if row.slice_index is None],
        **_about(one, algorithm),
    )


def _tracking(one: DrawnStructure, what: str) -> Any:
    from highdicom import sr

    return sr.TrackingIdentifier(uid=generate_uid(), identifier=f"{one.structure.name}, {what}")


def _about(one: DrawnStructure, algorithm: Algorithm) -> dict[str, Any]:
    from highdicom import sr

    category, kind = term_of(one.structure)
    side = side_of(one.structure)
    corrected = [f"then corrected by {one.corrected_by}"] if one.corrected_by else []
    sites = [] if side is None else [sr.FindingSite(anatomic_location=kind, laterality=side)]
    return {
        "finding_type": kind,
        "finding_category": category,
        "finding_sites": sites or None,
        "algorithm_id": sr.AlgorithmIdentification(
            name=algorithm.name, version=algorithm.version, parameters=[*algorithm.parameters, *corrected] or None
        ),
    }


def _measurement(row: Reported) -> Any:
    from highdicom import sr

    is_volume = row.what == "volume"
    unit = codes.UCUM.CubicMillimeter if is_volume else codes.UCUM.SquareMillimeter
    derivation = {"mean area": codes.SCT.Mean, "largest area": codes.SCT.Maximum}.get(row.what)
    properties = None
    if row.low is not None and row.high is not None:
        # highdicom gives these ends no unit.
        properties = sr.MeasurementProperties()
        for name, end in ((HIGH, row.high - row.value), (LOW, row.value - row.low)):
            properties.append(
                sr.NumContentItem(
                    name=name, value=end, unit=unit, relationship_type=sr.RelationshipTypeValues.HAS_PROPERTIES
                )
            )
    return sr.Measurement(
        name=codes.SCT.Volume if is_volume else codes.SCT.Area,
        value=row.value,
        unit=unit,
        derivation=derivation,
        properties=properties,
    )


def _person(drawn: Sequence[DrawnStructure]) -> Any:
    """Give who corrected what is reported, beside the program that drew it; None where nobody did."""
    from highdicom import sr

    names = dict.fromkeys(one.corrected_by for one in drawn if one.corrected_by)
    if not names:
        return None
    return sr.ObserverContext(
        observer_type=codes.DCM.Person,
        observer_identifying_attributes=sr.PersonObserverIdentifyingAttributes(name=person_name(", ".join(names))),
    )


def _evidence(origin: Origin) -> Iterator[Dataset]:
    """Give what stands in the report's list of the instances that it rests on."""
    for kind, uid in dict.fromkeys((one.sop_class, one.sop_uid) for one in origin.references):
        item = Dataset()
        item.update(origin.header)
        item.SOPClassUID, item.SOPInstanceUID = kind, uid
        yield item


def _groups(dataset: Dataset) -> Iterator[Dataset]:
    for item in items(dataset, "ContentSequence"):
        if _name(item) == codes.DCM.ImagingMeasurements.value:
            yield from items(item, "ContentSequence")


def _tracked(group: Dataset) -> str:
    wanted = codes.DCM.TrackingIdentifier.value
    return next(str(item.TextValue) for item in group.ContentSequence if _name(item) == wanted)


def _name(item: Dataset) -> str:
    return str(item.ConceptNameCodeSequence[0].CodeValue)


def _numbers(group: Dataset) -> Iterator[tuple[str, float]]:
    for item in group.ContentSequence:
        if item.ValueType != "NUM":
            continue
        derived = [
            str(inner.ConceptCodeSequence[0].CodeValue)
            for inner in items(item, "ContentSequence")
            if _name(inner) == codes.DCM.Derivation.value
        ]
        what = {codes.SCT.Volume.value: "volume", codes.SCT.Area.value: "area"}[_name(item)]
        kinds = {codes.SCT.Mean.value: "mean area", codes.SCT.Maximum.value: "largest area"}
        what = kinds[derived[0]] if derived else what
        yield what, float(item.MeasuredValueSequence[0].NumericValue)


def _check(path: Path, wanted: Sequence[Reported]) -> None:
    told: dict[str, list[float]] = defaultdict(list)
    with quiet():
        for group in _groups(read_dataset(path)):
            for what, value in _numbers(group):
                told[what].append(value)
    meant: dict[str, list[float]] = defaultdict(list)
    for row in wanted:
        meant[row.what].append(row.value)
    alike = told.keys() == meant.keys() and all(
        len(told[what]) == len(values)
        and all(abs(a - b) <= ROUNDING * abs(b) for a, b in zip(sorted(told[what]), sorted(values), strict=True))
        for what, values in meant.items()
    )
    if not alike:
        raise OutputError(f"{path.name} reads back differently than it was written; it was not saved.")
