"""Read from a DICOM header what autoseg uses of it."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from pydicom.dataset import Dataset, FileDataset
from pydicom.pixels.utils import get_expected_length
from pydicom.tag import Tag
from pydicom.uid import UID

from autoseg.files.arrays import PACKED
from autoseg.files.dicom.mosaic import split_mosaic
from autoseg.files.dicom.pixels import transfer_syntax, why_undecodable
from autoseg.files.dicom.records import (
    COMPONENTS,
    PYDICOM_ERRORS,
    FileHeader,
    SliceHeader,
    Taken,
    Vector,
    dataset_of,
    holder_of,
    items,
    number_of,
    numbers_of,
    pixels_words,
    quiet,
    reason_of,
    shown,
    text_of,
    value_of,
)
from autoseg.files.sources import SkippedFile, ending
from autoseg.image.geometry import PLAUSIBLE_MM
from autoseg.image.image import Acquisition
from autoseg.words import size_words

# --- pixel sizes and slice distances from a DICOM header, whichever attribute holds them

# RegionSpatialFormat and PhysicalUnits of an ultrasound region (DICOM PS3.3 C.8.5.5.1.1 and C.8.5.5.1.15).
TWO_DIMENSIONAL, CENTIMETRES = 1, 3
SAME_DELTA = 1e-4  # relative; regions that differ by more are of several magnifications


def pixel_spacing(dataset: Dataset, groups: Sequence[Dataset], faults: list[str]) -> Vector | None:
    """Give the distance in mm between rows and between columns, or None, with a sentence on what is odd.

    Sources: PixelSpacing (PS3.3 10.7.1.1) of the frame, its shared groups or the file; without it an ultrasound
    region's PhysicalDelta. ImagerPixelSpacing and NominalScannedPixelSpacing are not the body's and not used.
    """
    measures = holder_of(dataset, groups, "PixelMeasuresSequence", "PixelSpacing")
    if text_of(measures, "PixelSpacing"):
        numbers = numbers_of(measures, "PixelSpacing", 2)
        if numbers is None or not _plausible(numbers):
            text = text_of(measures, "PixelSpacing")
            faults.append(f"PixelSpacing in the header is {text}, which cannot be; it counts as unknown.")
            return None
        if numbers == numbers_of(dataset, "ImagerPixelSpacing", 2):
            faults.append(
                "PixelSpacing equals ImagerPixelSpacing, the size on the detector, where the body appears "
                "magnified: areas are too large unless the maker corrected it."
            )
        return numbers
    of_film = [word for word in ("ImagerPixelSpacing", "NominalScannedPixelSpacing") if text_of(dataset, word)]
    for keyword in of_film:
        faults.append(
            f"The header has no PixelSpacing, only {keyword} ({text_of(dataset, keyword)} mm), the size on the "
            "detector or film, where the body appears magnified; it is not used for areas."
        )
    of_ultrasound = _ultrasound_spacing(dataset, faults)
    if of_ultrasound is None and not of_film:
        faults.append("The header has no PixelSpacing: without a typed field of view there are no mm².")
    return of_ultrasound


def slice_spacing(dataset: Dataset, groups: Sequence[Dataset]) -> float | None:
    """Give SpacingBetweenSlices in mm, or else SliceThickness; None where neither can be."""
    for keyword in ("SpacingBetweenSlices", "SliceThickness"):
        for holder in (holder_of(dataset, groups, "PixelMeasuresSequence", keyword), dataset):
            number = number_of(holder, keyword)
            if number is not None and number >= PLAUSIBLE_MM[0]:
                return number
    return None


def _plausible(numbers: Sequence[float]) -> bool:
    return all(PLAUSIBLE_MM[0] <= number <= PLAUSIBLE_MM[1] for number in numbers)


def _ultrasound_spacing(dataset: Dataset, faults: list[str]) -> Vector | None:
    """Give the pixel size of the two-dimensional ultrasound regions, where all of them have the same."""
    found, places = [], []
    for region in value_of(dataset, "SequenceOfUltrasoundRegions") or ():
        units = [number_of(region, f"PhysicalUnits{axis}Direction") for axis in "YX"]
        deltas = [number_of(region, f"PhysicalDelta{axis}") for axis in "YX"]
        if number_of(region, "RegionSpatialFormat") == TWO_DIMENSIONAL and units == [CENTIMETRES] * 2:
            found.append(tuple(10 * abs(delta or 0.0) for delta in deltas))
            corners = ("MinY0", "MaxY1", "MinX0", "MaxX1")
            places.append([f"{number_of(region, f'RegionLocation{c}') or 0:.0f}" for c in corners])
    if not found:
        return None
    if not all(_plausible(mm) and _same(mm, found[0]) for mm in found):
        faults.append(
            f"Its {len(found)} ultrasound regions have pixels of several sizes, or of none, so none is used. "
            "Export each region as a picture of its own, or type the pixel size."
        )
        return None
    inside = " and ".join(
        f"rows {top} to {bottom}, columns {left} to {right}" for top, bottom, left, right in places
    )
    faults.append(
        f"The pixel size, {found[0][0]:.4g} × {found[0][1]:.4g} mm, is that of the ultrasound region; areas hold "
        f"inside it only ({inside})."
    )
    return found[0]


def _same(first: Vector, other: Vector) -> bool:
    return all(abs(a - b) <= SAME_DELTA * b for a, b in zip(first, other, strict=True))


MAX_FRAMES = 100_000
# A compressed frame is an item of its own, with a mark and a length.
LEAST_OF_FRAME = 10
UNDEFINED_LENGTH = 0xFFFFFFFF
# `.nii.gz` is an ending of its own.
PACKED_ENDINGS = {".gz", ".zip", ".7z", ".rar", ".tar", ".tgz", ".bz2", ".xz"}
ORIENTATION_TOLERANCE = (1e-3, 1e-2)  # on cosines: silently accepted, accepted with a note

DIRECTORY = "1.2.840.10008.1.3.10"
# Objects with pixels that are no pictures of the body (DICOM PS3.6, table A-1).
NOT_PICTURES = {
    "1.2.840.10008.5.1.4.1.1.66.4": "a DICOM segmentation: labels, not an image",
    "1.2.840.10008.5.1.4.1.1.66.7": "a DICOM label map: labels, not an image",
    "1.2.840.10008.5.1.4.1.1.481.2": "an RT dose distribution, not an image",
}

# When and how a slice was taken: field of `Taken`, functional group, keyword in it, keyword in a classic header.
TAKEN = (
    ("temporal", "FrameContentSequence", "TemporalPositionIndex", "TemporalPositionIdentifier"),
    ("trigger_ms", "CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime", "TriggerTime"),
    ("echo_ms", "MREchoSequence", "EffectiveEchoTime", "EchoTime"),
    ("b_value", "MRDiffusionSequence", "DiffusionBValue", "DiffusionBValue"),
    ("acquisition", "FrameContentSequence", "FrameAcquisitionNumber", "AcquisitionNumber"),
)
GE_RAW_DATA_TYPE, GE_CREATOR = Tag(0x0043, 0x102F), Tag(0x0043, 0x0010)

_KEYWORDS = (
    "ImageType", "SOPClassUID", "SOPInstanceUID", "StudyDate", "SeriesDate", "AcquisitionDate", "Modality",
    "SeriesDescription", "PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SeriesNumber", "InstanceNumber",
    "ImagePositionPatient", "ImageOrientationPatient", "SliceThickness", "SpacingBetweenSlices",
    "ImagerPixelSpacing", "NominalScannedPixelSpacing", "SamplesPerPixel", "PhotometricInterpretation",
    "NumberOfFrames", "Rows", "Columns", "BitsAllocated", "BitsStored", "PixelSpacing",
    "RescaleSlope", "RescaleIntercept",
    "ModalityLUTSequence", "SequenceOfUltrasoundRegions", "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
    "DiffusionGradientOrientation", "AcquisitionTime", "ContentTime", "ComplexImageComponent",
    "ContrastBolusAgent", "RepetitionTime", "ScanningSequence",
    *(classic for _, _, _, classic in TAKEN),
)  # fmt: skip
# Found once, not once a file.
_TAGS = [*(Tag(keyword) for keyword in _KEYWORDS), GE_CREATOR, GE_RAW_DATA_TYPE]


def read_header(path: Path) -> FileHeader | SkippedFile:
    """Read one file's header without its pixels; SkippedFile where it holds no DICOM image."""
    try:
        with path.open("rb") as file:
            start = file.read(132)
            if not may_be_dicom(start):
                return SkippedFile(path, _no_dicom(path) if start else "an empty file")
            file.seek(0)
            with quiet():
                dataset = dataset_of(path, file, pixels=False, tags=list(_TAGS))
                start = file.read(12)
                # A deflated file is inflated as a whole, so only an ordinary one shows that nothing follows.
                reason = _why_no_image(dataset, bool(start) or transfer_syntax(dataset).is_deflated)
                if reason:
                    return SkippedFile(path, reason)
                refusal = why_undecodable(
                    transfer_syntax(dataset), int(number_of(dataset, "BitsStored") or 8)
                ) or _cut_off(dataset, file, start)
                too_few = _too_few_bytes(dataset, path.stat().st_size)
                if too_few:
                    dataset.NumberOfFrames = 1  # a header is made for each
                return _file_header(path, dataset, refusal or too_few)
    except PYDICOM_ERRORS as error:
        return SkippedFile(path, f"the header cannot be read ({reason_of(error)})")


def _no_dicom(path: Path) -> str:
    packed = ending(path) in PACKED_ENDINGS
    return f"a packed file ({ending(path)}): unpack it first" if packed else "not a DICOM file"


def may_be_dicom(start: bytes) -> bool:
    """Tell by 132 bytes: the magic word, or a data set of group 2 or 8 that begins at once."""
    return start[128:132] == b"DICM" or start[:2] in (b"\x02\0", b"\x08\0", b"\0\x02", b"\0\x08")


def _why_no_image(dataset: FileDataset, pixels: bool) -> str:
    """Give the reason why a data set is no image, or ""."""
    kind = str(dataset.get("SOPClassUID") or dataset.file_meta.get("MediaStorageSOPClassUID") or "")
    if kind == DIRECTORY:
        return "a DICOMDIR, which is an index of other files"
    if kind in NOT_PICTURES:
        return NOT_PICTURES[kind]
    if not (dataset.get("Rows") and dataset.get("Columns")):
        return f"a DICOM object without an image ({UID(kind).name if kind else 'kind unknown'})"
    return "" if pixels else "a DICOM image header without pixel data"


def _cut_off(dataset: FileDataset, file: BinaryIO, start: bytes) -> str:
    """Say by the first 12 bytes of the pixels' element that some of them are missing, or ""."""
    if not start:
        return ""
    implicit, little = dataset.original_encoding
    length = int.from_bytes(start[4:8] if implicit else start[8:12], "little" if little else "big")
    ahead = file.tell() - (4 if implicit else 0)
    present = file.seek(0, os.SEEK_END) - ahead
    # One byte may be the padding that makes an odd length even; some writers forget it.
    if length == UNDEFINED_LENGTH or length - present <= 1:
        return ""
    return f"its pixels are cut off ({present} of {length} bytes): the file is truncated. Copy or export it again."


def _too_few_bytes(dataset: FileDataset, stored: int) -> str:
    """Say that a file is too small for the frames that it announces, or ""."""
    syntax = transfer_syntax(dataset)
    frames = int(number_of(dataset, "NumberOfFrames") or 1)
    if syntax.is_encapsulated:
        needed = LEAST_OF_FRAME * frames
    elif number_of(dataset, "BitsAllocated") is None or frames < 2:
        return ""  # decoding tells
    else:
        needed = get_expected_length(dataset) // (PACKED if syntax.is_deflated else 1)
    if needed <= stored + 1:
        return ""
    return (
        f"its header announces {pixels_words(dataset)}, at least {size_words(needed)}, and the file has "
        f"{size_words(stored)}: it is cut off or damaged. Copy or export it again."
    )


def _file_header(path: Path, dataset: FileDataset, refusal: str) -> FileHeader:
    number = number_of(dataset, "SeriesNumber")
    dates = (text_of(dataset, keyword) for keyword in ("StudyDate", "SeriesDate", "AcquisitionDate"))
    date = next((text for text in dates if len(text) == 8 and text.isdigit()), "")
    kind = text_of(dataset, "ImageType").upper()
    slices, cannot = _slices(path, dataset), ""
    if "MOSAIC" in kind and len(slices) == 1:
        slices, cannot = split_mosaic(slices[0])
    return FileHeader(
        path=path,
        series_uid=text_of(dataset, "SeriesInstanceUID"),
        series_number="" if number is None else f"{number:.0f}",
        subject_id=text_of(dataset, "PatientID") or stand_in(path, dataset),
        description=text_of(dataset, "SeriesDescription"),
        modality=text_of(dataset, "Modality"),
        date=f"{date[:4]}-{date[4:6]}-{date[6:]}".replace("-00", "") if date else "",
        localiser="LOCALIZER" in kind,
        refusal=refusal or cannot,
        slices=slices,
        acquisition=_acquisition(dataset),
    )


def _acquisition(dataset: Dataset) -> Acquisition:
    """Tell how an image was taken; of a file of many frames what they share counts, or what the first has."""
    groups = [
        item
        for name in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
        for item in list(dataset.get(name) or [])[:1]
    ]

    def first(sequence: str, keyword: str, classic: str) -> float | None:
        number = number_of(holder_of(dataset, groups, sequence, keyword), keyword)
        number = number_of(dataset, classic) if number is None else number
        return number if number is not None and number > 0 else None

    words = value_of(dataset, "ScanningSequence")
    kinds = [words] if isinstance(words, str) else list(words or ())
    agent = text_of(dataset, "ContrastBolusAgent").upper()
    return Acquisition(
        sequence="\\".join(sorted(str(kind).strip().upper() for kind in kinds if str(kind).strip())),
        repetition_ms=first("MRTimingAndRelatedParametersSequence", "RepetitionTime", "RepetitionTime"),
        echo_ms=first("MREchoSequence", "EffectiveEchoTime", "EchoTime"),
        contrast=agent not in ("NO", "NONE") if agent else None,
    )


def is_stand_in(subject_id: str) -> bool:
    """Tell whether a subject_id was made up for want of a PatientID.

    Examples
    --------
    >>> [is_stand_in(name) for name in ("study-0a1b2c3d", "folder-12345678", "study-7")]
    [True, True, False]
    """
    return re.fullmatch("(study|folder)-[0-9a-f]{8}", subject_id) is not None


def stand_in(path: Path, dataset: FileDataset) -> str:
    """Give what stands for a patient where the header has no PatientID: the study, or else the folder."""
    study = text_of(dataset, "StudyInstanceUID")
    kind, text = ("study", study) if study else ("folder", str(path.parent.resolve()))
    return f"{kind}-{hashlib.sha256(text.encode(errors='surrogateescape')).hexdigest()[:8]}"


def _slices(path: Path, dataset: FileDataset) -> tuple[SliceHeader, ...]:
    count = int(dataset.get("NumberOfFrames") or 1)
    if not 1 <= count <= MAX_FRAMES:
        raise ValueError(f"NumberOfFrames is {count}")
    shared = list(dataset.get("SharedFunctionalGroupsSequence") or [])[:1]
    per_frame = list(dataset.get("PerFrameFunctionalGroupsSequence") or [])
    located = count == 1 or bool(per_frame)
    slices = []
    for frame in range(count):
        groups = per_frame[frame : frame + 1] + shared
        slices.append(_slice(path, frame, dataset, groups, located=located))
    return tuple(slices)


def _slice(path: Path, frame: int, dataset: Dataset, groups: Sequence[Dataset], *, located: bool) -> SliceHeader:
    faults: list[str] = []
    position, orientation = _place(dataset, groups, faults) if located else (None, None)
    if not located:
        faults.append("Its frames carry no position of their own, so they are kept in the file's order.")
    slope, intercept = _rescale(dataset, groups, faults)
    return SliceHeader(
        path=path,
        frame=frame,
        sop_uid=text_of(dataset, "SOPInstanceUID"),
        instance=number_of(dataset, "InstanceNumber") or 0.0,
        taken=_taken(dataset, groups),
        rows=int(dataset.Rows),
        columns=int(dataset.Columns),
        photometric=text_of(dataset, "PhotometricInterpretation").upper(),
        position_mm=position,
        orientation=orientation,
        spacing_mm=pixel_spacing(dataset, groups, faults),
        slice_spacing_mm=slice_spacing(dataset, groups),
        slope=slope,
        intercept=intercept,
        faults=tuple(faults),
        kind=_component(dataset, groups),
    )


def _taken(dataset: Dataset, groups: Sequence[Dataset]) -> Taken:
    """Give when and how a slice was taken; what a frame's groups leave out stands where classic files have it."""
    numbers: dict[str, float | None] = {}
    for field, group, keyword, classic in TAKEN:
        number = number_of(holder_of(dataset, groups, group, keyword), keyword)
        numbers[field] = number_of(dataset, classic) if number is None else number
    directions = holder_of(dataset, groups, "MRDiffusionSequence", "DiffusionGradientDirectionSequence")
    inner = next(iter(items(directions, "DiffusionGradientDirectionSequence")), dataset)
    content = holder_of(dataset, groups, "FrameContentSequence", "FrameAcquisitionDateTime")
    return Taken(
        **numbers,
        gradient=numbers_of(inner, "DiffusionGradientOrientation", 3),
        image_type="\\".join(_image_type(dataset, groups)),
        acquired_s=_seconds(text_of(content, "FrameAcquisitionDateTime") or text_of(dataset, "AcquisitionTime")),
        content_s=_seconds(text_of(dataset, "ContentTime")),
    )


def _seconds(text: str) -> float | None:
    """Give a DICOM time (HHMMSS.FFFFFF), or one with a date before it, as seconds that grow with it.

    Examples
    --------
    >>> _seconds("101500.5"), _seconds("10:15:00"), _seconds("")
    (36900.5, 36900.0, None)
    """
    found = re.match(r"(\d{8})?(\d\d)(\d\d)?(\d\d(?:\.\d+)?)?(?![\d.])", text.replace(":", ""))
    if found is None:
        return None
    day, *clock = (float(part or 0) for part in found.groups())
    return 86400 * day + 3600 * clock[0] + 60 * clock[1] + clock[2]


def _image_type(dataset: Dataset, groups: Sequence[Dataset]) -> list[str]:
    for sequence in ("MRImageFrameTypeSequence", "CTImageFrameTypeSequence"):
        values = value_of(holder_of(dataset, groups, sequence, "FrameType"), "FrameType")
        if values:
            break
    else:
        values = value_of(dataset, "ImageType") or ()
    return [str(value).upper() for value in ([values] if isinstance(values, str) else values)]


def _component(dataset: Dataset, groups: Sequence[Dataset]) -> str:
    """Tell which part of a complex image a slice is; "" where the header does not say."""
    names = dict(zip("MPRI", COMPONENTS, strict=True)) | {name.upper(): name for name in COMPONENTS}
    holder = holder_of(dataset, groups, "MRImageFrameTypeSequence", "ComplexImageComponent")
    told = [text_of(holder, "ComplexImageComponent").upper()]
    creator, ge = (getattr(dataset.get(tag), "value", None) for tag in (GE_CREATOR, GE_RAW_DATA_TYPE))
    if str(creator).startswith("GEMS_PARM") and isinstance(ge, int) and 0 <= ge < len(COMPONENTS):
        told.append("MPRI"[ge])
    # The first two values tell original from derived, primary from secondary; Philips writes M_FFE and PHASE MAP.
    told += [re.split("[_ ]", value)[0] for value in _image_type(dataset, groups)[2:]]
    return next((names[word] for word in told if word in names), "")


def _place(dataset: Dataset, groups: Sequence[Dataset], faults: list[str]) -> tuple[Vector | None, Vector | None]:
    """Give position and orientation; one without the other is worth nothing."""
    holder = holder_of(dataset, groups, "PlanePositionSequence", "ImagePositionPatient")
    position = numbers_of(holder, "ImagePositionPatient", 3)
    orientation = _orientation(dataset, groups, faults)
    return (None, None) if position is None or orientation is None else (position, orientation)


def _orientation(dataset: Dataset, groups: Sequence[Dataset], faults: list[str]) -> Vector | None:
    """Give two unit vectors, or None where the header's are not perpendicular directions."""
    holder = holder_of(dataset, groups, "PlaneOrientationSequence", "ImageOrientationPatient")
    numbers = numbers_of(holder, "ImageOrientationPatient", 6)
    if numbers is None:
        return None
    axes = np.reshape(numbers, (2, 3))
    lengths = np.linalg.norm(axes, axis=1)
    error = max(abs(lengths - 1).max(), abs(float(axes[0] @ axes[1])))
    if error > ORIENTATION_TOLERANCE[1]:
        faults.append(f"ImageOrientationPatient {shown(numbers)} is no pair of axes and is not used.")
        return None
    if error > ORIENTATION_TOLERANCE[0]:
        faults.append(f"ImageOrientationPatient is inexact by {error:.2g}; it was brought to length 1.")
    # Unit length, because a direction of length 1.01 would make every area 1 % larger.
    return tuple((axes / lengths[:, None]).ravel().tolist())


def _rescale(dataset: Dataset, groups: Sequence[Dataset], faults: list[str]) -> tuple[float, float]:
    if dataset.get("ModalityLUTSequence"):
        faults.append("Intensities are those of the header's modality look-up table.")
        return 1.0, 0.0
    holder = holder_of(dataset, groups, "PixelValueTransformationSequence", "RescaleSlope")
    if not (text_of(holder, "RescaleSlope") or text_of(holder, "RescaleIntercept")):
        return 1.0, 0.0
    slope, intercept = number_of(holder, "RescaleSlope"), number_of(holder, "RescaleIntercept")
    if not slope:
        faults.append(f"RescaleSlope in the header is {text_of(holder, 'RescaleSlope') or 'empty'}; 1 is used.")
    return slope or 1.0, intercept or 0.0
