"""Write label maps as DICOM structure sets (RTSTRUCT): outlines along the borders of pixels."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from autoseg.errors import OutputError
from autoseg.files.dicom.records import quiet
from autoseg.files.dicom.rtstruct import STRUCTURE_SET, read_structure_set
from autoseg.files.dicom.writing.origin import Origin
from autoseg.files.dicom.writing.parts import (
    MANUFACTURER,
    PRODUCT,
    Algorithm,
    DrawnStructure,
    decimal,
    person_name,
    save,
)
from autoseg.image.contours import contour_area
from autoseg.image.outlines import outline_mask

# Of the area that the outlines of a structure on a slice enclose.
ALLOWED = 0.001
STUDY_CLASS = "1.2.840.10008.3.1.2.3.1"  # Detached Study Management, as the module asks for


def write_structure_set(path: Path, origin: Origin, drawn: Sequence[DrawnStructure], algorithm: Algorithm) -> None:
    """Write masks as a DICOM structure set, and read it back.

    Each piece is one CLOSED_PLANAR contour; holes are joined to it by a keyhole.

    Raises
    ------
    OutputError
        If what was written reads back differently, or outlines enclose another area than that of the pixels.
    """
    now = datetime.now()
    with quiet():
        dataset = FileDataset(str(path), {}, preamble=b"\0" * 128, file_meta=FileMetaDataset())
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        origin.describe(dataset)
        dataset.SOPClassUID, dataset.SOPInstanceUID = STRUCTURE_SET, generate_uid()
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.Modality, dataset.SeriesInstanceUID = "RTSTRUCT", generate_uid()
        dataset.SeriesNumber, dataset.InstanceNumber = 9003, 1
        dataset.SeriesDescription, dataset.OperatorsName = f"autoseg: outlines{algorithm.warning}", ""
        dataset.Manufacturer, dataset.ManufacturerModelName = MANUFACTURER, PRODUCT
        dataset.SoftwareVersions = algorithm.version[:64]
        dataset.FrameOfReferenceUID, dataset.PositionReferenceIndicator = origin.header.FrameOfReferenceUID, ""
        dataset.StructureSetLabel, dataset.StructureSetName = "AUTOSEG", algorithm.name[:64]
        dataset.StructureSetDate = dataset.InstanceCreationDate = f"{now:%Y%m%d}"
        dataset.StructureSetTime = dataset.InstanceCreationTime = f"{now:%H%M%S}"
        dataset.ApprovalStatus = "UNAPPROVED"
        dataset.ReferencedFrameOfReferenceSequence = [_frame_of_reference(origin)]
        dataset.StructureSetROISequence = [_region(origin, one, algorithm) for one in drawn]
        dataset.ROIContourSequence = [_contours(origin, one) for one in drawn]
        dataset.RTROIObservationsSequence = [_observation(one) for one in drawn]
        origin.put_back(dataset)
    save(path, dataset)
    _check(path, origin, drawn)


def _item(**values: object) -> Dataset:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item


def _reference(origin: Origin, index: int) -> Dataset:
    one = origin.references[index]
    item = _item(ReferencedSOPClassUID=one.sop_class, ReferencedSOPInstanceUID=one.sop_uid)
    if one.frame is not None:
        item.ReferencedFrameNumber = one.frame
    return item


def _frame_of_reference(origin: Origin) -> Dataset:
    first = {one.sop_uid: index for index, one in reversed(list(enumerate(origin.references)))}
    instances = [_reference(origin, index) for index in sorted(first.values())]
    for item in instances:  # all of them: of a file with several frames not one alone
        if "ReferencedFrameNumber" in item:
            del item.ReferencedFrameNumber
    series = _item(SeriesInstanceUID=origin.header.SeriesInstanceUID, ContourImageSequence=instances)
    study = _item(
        ReferencedSOPClassUID=STUDY_CLASS,
        ReferencedSOPInstanceUID=origin.header.StudyInstanceUID,
        RTReferencedSeriesSequence=[series],
    )
    return _item(FrameOfReferenceUID=origin.header.FrameOfReferenceUID, RTReferencedStudySequence=[study])


def _region(origin: Origin, one: DrawnStructure, algorithm: Algorithm) -> Dataset:
    return _item(
        ROINumber=one.number,
        ReferencedFrameOfReferenceUID=origin.header.FrameOfReferenceUID,
        ROIName=one.structure.name[:64],
        ROIGenerationAlgorithm="SEMIAUTOMATIC" if one.corrected_by else "AUTOMATIC",
        ROIGenerationDescription=f"{algorithm.name} {algorithm.version}"[:64],
    )


def _contours(origin: Origin, one: DrawnStructure) -> Dataset:
    affine = origin.image.calibrated_affine
    contours: list[Dataset] = []
    for index in np.flatnonzero(one.mask.any(axis=(1, 2))).tolist():
        for points in outline_mask(one.mask[index]):
            places = np.c_[np.full(len(points), index), points, np.ones(len(points))] @ affine[:3].T
            contours.append(
                _item(
                    ContourImageSequence=[_reference(origin, index)],
                    ContourGeometricType="CLOSED_PLANAR",
                    NumberOfContourPoints=len(points),
                    ContourNumber=len(contours) + 1,
                    ContourData=[decimal(round(value, 6)) for value in places.ravel().tolist()],
                )
            )
    return _item(ReferencedROINumber=one.number, ROIDisplayColor=list(one.structure.rgb), ContourSequence=contours)


def _observation(one: DrawnStructure) -> Dataset:
    return _item(
        ObservationNumber=one.number,
        ReferencedROINumber=one.number,
        RTROIInterpretedType="ORGAN",
        ROIInterpreter=person_name(one.corrected_by),
    )


def _check(path: Path, origin: Origin, drawn: Sequence[DrawnStructure]) -> None:
    found = {roi.number: roi for roi in read_structure_set(path).rois}
    into = np.linalg.inv(origin.image.calibrated_affine)[:3]
    for one in drawn:
        filled, enclosed = np.zeros(origin.image.shape, dtype=int), np.zeros(origin.image.shape[0])
        for contour in found[one.number].contours:
            index = np.c_[contour.points_mm, np.ones(len(contour.points_mm))] @ into.T
            place = round(float(index[:, 0].mean()))
            filled[place] += _winding(index[:, 1:], origin.image.shape[1:])
            enclosed[place] += contour_area(index[:, 1:])
        counted = one.mask.sum(axis=(1, 2))
        if not np.array_equal(filled, one.mask) or (abs(enclosed - counted) > ALLOWED * counted).any():
            raise OutputError(f"{path.name} reads back differently than it was written; it was not saved.")


def _winding(points: npt.NDArray[np.float64], shape: tuple[int, int]) -> npt.NDArray[np.int_]:
    """Give how often a contour along the borders of pixels runs round each of them.

    `labels_on` asks the same of any contours, and first which of them lie in which: where a structure has hundreds
    of pieces that takes minutes.
    """
    steps = np.zeros((shape[0], shape[1] + 1), dtype=int)
    corners = np.round(points + 0.5).astype(int)
    for (row, column), (to_row, _) in zip(corners.tolist(), np.roll(corners, -1, axis=0).tolist(), strict=True):
        steps[min(row, to_row) : max(row, to_row), column] += np.sign(row - to_row)
    return np.cumsum(steps, axis=1)[:, :-1]
