"""Write label maps as DICOM segmentations (SEG): one segment a structure, drawn on the frames of the image."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from autoseg.errors import OutputError
from autoseg.files.dicom.records import items, quiet
from autoseg.files.dicom.seg import labels_on, read_segmentation
from autoseg.files.dicom.writing.origin import STAND_IN_CLASS, Origin
from autoseg.files.dicom.writing.parts import (
    MANUFACTURER,
    PRODUCT,
    Algorithm,
    DrawnStructure,
    code_item,
    save,
    side_of,
    term_of,
)

SegmentKind = Literal["binary", "labelmap"]


def write_segmentation(
    path: Path, origin: Origin, drawn: Sequence[DrawnStructure], algorithm: Algorithm, kind: SegmentKind = "binary"
) -> Dataset:
    """Write masks as a DICOM segmentation, and read it back; give it with the UIDs that stand in for others.

    A "binary" one holds a bit a pixel and segment, may overlap, and is what viewers have read for years; a
    "labelmap" one (2024) a number a pixel, so that no two structures may share one.

    Raises
    ------
    OutputError
        If what was written reads back differently.
    """
    from highdicom.seg import Segmentation  # a third of a second, and few runs come here

    image = origin.image
    with quiet():
        stand_ins = [_single_slice(origin, index) for index in range(image.shape[0])]
        if kind == "labelmap":
            pixels = np.zeros(image.shape, dtype=np.uint8)
            for one in drawn:
                pixels[one.mask] = one.number
        else:
            pixels = np.stack([one.mask for one in drawn], axis=-1).astype(np.uint8)
        built = Segmentation(
            source_images=stand_ins,
            pixel_array=pixels,
            segmentation_type="LABELMAP" if kind == "labelmap" else "BINARY",
            segment_descriptions=[_description(one, algorithm) for one in drawn],
            series_instance_uid=generate_uid(),
            series_number=9001,
            sop_instance_uid=generate_uid(),
            instance_number=1,
            manufacturer=MANUFACTURER,
            manufacturer_model_name=PRODUCT,
            software_versions=algorithm.version,
            device_serial_number="none",
            content_label="AUTOSEG",
            content_description=f"Structures found by a network{algorithm.warning}",
            series_description=f"autoseg: segmentation{algorithm.warning}",
            transfer_syntax_uid=ExplicitVRLittleEndian,
        )
        dataset = _copy(built)  # highdicom lets frames share items
        if origin.header.StudyDescription:
            dataset.StudyDescription = origin.header.StudyDescription
        _refer(dataset, origin, [one.SOPInstanceUID for one in stand_ins])
        finished = _copy(dataset)
        origin.put_back(finished)
    save(path, finished)
    _check(path, origin, drawn)
    return dataset


def _single_slice(origin: Origin, index: int) -> Dataset:
    """Give what stands for a slice while the segmentation is built, whatever file it was a part of."""
    image, affine = origin.image, origin.image.calibrated_affine
    step_mm, row_mm, column_mm = image.spacing_mm
    slice_mm = Dataset()
    slice_mm.update(origin.header)
    slice_mm.SOPClassUID, slice_mm.SOPInstanceUID = STAND_IN_CLASS, generate_uid()
    slice_mm.Rows, slice_mm.Columns = image.shape[1:]
    slice_mm.ImagePositionPatient = [round(value, 6) for value in (affine @ [index, 0, 0, 1])[:3]]
    along = [*(affine[:3, 2] / column_mm), *(affine[:3, 1] / row_mm)]
    slice_mm.ImageOrientationPatient = [round(value, 9) for value in along]
    slice_mm.PixelSpacing = [round(row_mm, 9), round(column_mm, 9)]
    slice_mm.SliceThickness = round(step_mm, 6)
    return slice_mm


def _description(one: DrawnStructure, algorithm: Algorithm) -> Any:
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.color import CIELabColor
    from highdicom.seg import SegmentDescription

    category, kind = term_of(one.structure)
    description = SegmentDescription(
        segment_number=one.number,
        segment_label=one.structure.name[:64],
        segmented_property_category=category,
        segmented_property_type=kind,
        algorithm_type="SEMIAUTOMATIC" if one.corrected_by else "AUTOMATIC",
        algorithm_identification=AlgorithmIdentificationSequence(
            name=algorithm.name[:64],
            family=codes.DCM.ArtificialIntelligence,
            version=algorithm.version[:64],
            parameters=None,
        ),
        tracking_uid=generate_uid(),
        tracking_id=one.structure.name[:64],
        display_color=CIELabColor.from_rgb(*one.structure.rgb),
    )
    side = side_of(one.structure)
    if side is not None:
        description.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [
            code_item(side)
        ]
    return description


def _refer(dataset: Dataset, origin: Origin, stand_ins: Sequence[str]) -> None:
    """Let frames name the instances, and the frames in them, that they were drawn on."""
    place = {uid: index for index, uid in enumerate(stand_ins)}
    for group in dataset.PerFrameFunctionalGroupsSequence:
        for derivation in items(group, "DerivationImageSequence"):
            for source in items(derivation, "SourceImageSequence"):
                reference = origin.references[place[str(source.ReferencedSOPInstanceUID)]]
                source.ReferencedSOPClassUID = reference.sop_class
                source.ReferencedSOPInstanceUID = reference.sop_uid
                if reference.frame is not None:
                    source.ReferencedFrameNumber = reference.frame
    listed = []
    for kind, uid in dict.fromkeys((one.sop_class, one.sop_uid) for one in origin.references):
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = kind, uid
        listed.append(item)
    dataset.ReferencedSeriesSequence[0].ReferencedInstanceSequence = listed


def _copy(dataset: Dataset) -> Dataset:
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    buffer.seek(0)
    return pydicom.dcmread(buffer)


def _check(path: Path, origin: Origin, drawn: Sequence[DrawnStructure]) -> None:
    masks, _ = labels_on(read_segmentation(path), origin.image)
    if any(not np.array_equal(masks[one.number], one.mask) for one in drawn):
        raise OutputError(f"{path.name} reads back differently than it was written; it was not saved.")
