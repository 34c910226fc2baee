"""What autoseg takes from a DICOM header: one small record per slice, with no patient name in it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import UID

from autoseg.files.dicom_values import (
    PYDICOM_ERRORS,
    Vector,
    number_of,
    numbers_of,
    quiet,
    shown,
    text_of,
)

MAX_FRAMES = 100_000
ORIENTATION_TOLERANCE = (1e-3, 1e-2)  # on cosines: silently accepted, accepted with a note

DIRECTORY = "1.2.840.10008.1.3.10"
# Objects with pixels that are no pictures of the body (DICOM PS3.6, table A-1).
NOT_PICTURES = {
    "1.2.840.10008.5.1.4.1.1.66.4": "a DICOM segmentation: labels, not an image",
    "1.2.840.10008.5.1.4.1.1.66.7": "a DICOM label map: labels, not an image",
    "1.2.840.10008.5.1.4.1.1.481.2": "an RT dose distribution, not an image",
}

# When and how a slice was taken, where several lie at one position: (functional group, keyword in it,
# keyword in a single-frame header), the first that tells all repeats apart is used.
TIMES = (
    ("FrameContentSequence", "FrameAcquisitionNumber", "AcquisitionNumber"),
    ("FrameContentSequence", "TemporalPositionIndex", "TemporalPositionIdentifier"),
    ("CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime", "TriggerTime"),
    ("MREchoSequence", "EffectiveEchoTime", "EchoTime"),
)

_KEYWORDS = [
    "ImageType", "SOPClassUID", "SOPInstanceUID", "StudyDate", "SeriesDate", "AcquisitionDate", "Modality",
    "SeriesDescription", "PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SeriesNumber", "InstanceNumber",
    "ImagePositionPatient", "ImageOrientationPatient", "SliceThickness", "SpacingBetweenSlices",
    "ImagerPixelSpacing", "NominalScannedPixelSpacing", "SamplesPerPixel", "PhotometricInterpretation",
    "NumberOfFrames", "Rows", "Columns", "PixelSpacing", "RescaleSlope", "RescaleIntercept",
    "ModalityLUTSequence", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
    *(classic for _, _, classic in TIMES),
]  # fmt: skip


@dataclass(frozen=True)
class SkippedFile:
    """A file or folder that was left alone, and why, in words."""

    path: Path
    reason: str


@dataclass(frozen=True)
class SliceHeader:
    """One slice: a single-frame file, or one frame of a multi-frame file.

    `position_mm` and `orientation` are DICOM's ImagePositionPatient and ImageOrientationPatient,
    `spacing_mm` is PixelSpacing (between rows, between columns); None where the header does not say, or
    says what cannot be. `slice_spacing_mm` is SpacingBetweenSlices, or else SliceThickness. `times` follows
    `TIMES`. `faults` are sentences for the user.
    """

    path: Path
    frame: int
    sop_uid: str
    instance: float
    times: tuple[float | None, ...]
    rows: int
    columns: int
    photometric: str
    position_mm: Vector | None
    orientation: Vector | None
    spacing_mm: Vector | None
    slice_spacing_mm: float | None
    slope: float
    intercept: float
    faults: tuple[str, ...] = ()


@dataclass(frozen=True)
class FileHeader:
    """One DICOM image file: what names its series, and its slices.

    `subject_id` is the PatientID. Without one it is `study-` and eight hexadecimal digits made from the
    StudyInstanceUID, so that all series of a study stay together; without that too, `folder-` and eight digits
    made from the path of the file's folder, whose name may be a person's and is not shown.
    """

    path: Path
    series_uid: str
    series_number: str
    subject_id: str
    description: str
    modality: str
    date: str
    mosaic: bool
    slices: tuple[SliceHeader, ...]


def read_header(path: Path) -> FileHeader | SkippedFile:
    """Read one file's header without its pixels; SkippedFile where it holds no DICOM image."""
    try:
        with path.open("rb") as file:
            start = file.read(132)
            if not _may_be_dicom(start):
                return SkippedFile(path, "not a DICOM file" if start else "an empty file")
            file.seek(0)
            with quiet():
                dataset = pydicom.dcmread(file, stop_before_pixels=True, force=True, specific_tags=list(_KEYWORDS))
                # A deflated file is inflated as a whole, so only an ordinary one shows that nothing follows.
                pixels = bool(file.read(1)) or _is_deflated(dataset)
                reason = _why_no_image(dataset, pixels)
                return SkippedFile(path, reason) if reason else _file_header(path, dataset)
    except PYDICOM_ERRORS as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        return SkippedFile(path, f"the header cannot be read ({reason})")


def _may_be_dicom(start: bytes) -> bool:
    """Tell by 132 bytes: the magic word, or a data set of group 2 or 8 that begins at once."""
    return start[128:132] == b"DICM" or start[:2] in (b"\x02\0", b"\x08\0", b"\0\x02", b"\0\x08")


def _is_deflated(dataset: FileDataset) -> bool:
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    return syntax is not None and UID(syntax).is_deflated


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


def _file_header(path: Path, dataset: FileDataset) -> FileHeader:
    number = number_of(dataset, "SeriesNumber")
    dates = (text_of(dataset, keyword) for keyword in ("StudyDate", "SeriesDate", "AcquisitionDate"))
    date = next((text for text in dates if len(text) == 8 and text.isdigit()), "")
    return FileHeader(
        path=path,
        series_uid=text_of(dataset, "SeriesInstanceUID"),
        series_number="" if number is None else f"{number:.0f}",
        subject_id=text_of(dataset, "PatientID") or _stand_in(path, dataset),
        description=text_of(dataset, "SeriesDescription"),
        modality=text_of(dataset, "Modality"),
        date=f"{date[:4]}-{date[4:6]}-{date[6:]}".replace("-00", "") if date else "",
        mosaic="MOSAIC" in text_of(dataset, "ImageType").upper(),
        slices=_slices(path, dataset),
    )


def is_stand_in(subject_id: str) -> bool:
    """Tell whether a subject_id was made up for want of a PatientID.

    Examples
    --------
    >>> [is_stand_in(name) for name in ("study-0a1b2c3d", "folder-12345678", "study-7")]
    [True, True, False]
    """
    return re.fullmatch("(study|folder)-[0-9a-f]{8}", subject_id) is not None


def _stand_in(path: Path, dataset: FileDataset) -> str:
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
    measures = _holder(dataset, groups, "PixelMeasuresSequence", "PixelSpacing")
    slope, intercept = _rescale(dataset, groups, faults)
    return SliceHeader(
        path=path,
        frame=frame,
        sop_uid=text_of(dataset, "SOPInstanceUID"),
        instance=number_of(dataset, "InstanceNumber") or 0.0,
        times=_times(dataset, groups),
        rows=int(dataset.Rows),
        columns=int(dataset.Columns),
        photometric=text_of(dataset, "PhotometricInterpretation").upper(),
        position_mm=position,
        orientation=orientation,
        spacing_mm=_pixel_spacing(dataset, measures, faults),
        slice_spacing_mm=_slice_spacing(dataset, groups),
        slope=slope,
        intercept=intercept,
        faults=tuple(faults),
    )


def _holder(dataset: Dataset, groups: Sequence[Dataset], sequence: str, keyword: str) -> Dataset:
    """Give the frame's or the shared functional group that holds the keyword, or else the header itself."""
    for group in groups:
        items = group.get(sequence)
        if items and keyword in items[0]:
            return items[0]
    return dataset


def _times(dataset: Dataset, groups: Sequence[Dataset]) -> tuple[float | None, ...]:
    if not groups:
        return tuple(number_of(dataset, classic) for _, _, classic in TIMES)
    return tuple(number_of(_holder(dataset, groups, group, keyword), keyword) for group, keyword, _ in TIMES)


def _place(dataset: Dataset, groups: Sequence[Dataset], faults: list[str]) -> tuple[Vector | None, Vector | None]:
    """Give position and orientation; one without the other is worth nothing."""
    holder = _holder(dataset, groups, "PlanePositionSequence", "ImagePositionPatient")
    position = numbers_of(holder, "ImagePositionPatient", 3)
    orientation = _orientation(dataset, groups, faults)
    return (None, None) if position is None or orientation is None else (position, orientation)


def _orientation(dataset: Dataset, groups: Sequence[Dataset], faults: list[str]) -> Vector | None:
    """Give two unit vectors, or None where the header's are not perpendicular directions."""
    holder = _holder(dataset, groups, "PlaneOrientationSequence", "ImageOrientationPatient")
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


def _pixel_spacing(dataset: Dataset, measures: Dataset, faults: list[str]) -> Vector | None:
    if text_of(measures, "PixelSpacing"):
        numbers = numbers_of(measures, "PixelSpacing", 2)
        if numbers is None or min(numbers) <= 0:
            text = text_of(measures, "PixelSpacing")
            faults.append(f"PixelSpacing in the header is {text}, which cannot be; it counts as unknown.")
            return None
        if numbers == numbers_of(dataset, "ImagerPixelSpacing", 2):
            faults.append(
                "PixelSpacing equals ImagerPixelSpacing, the size on the detector, where the body appears "
                "magnified: areas are too large unless the maker corrected it."
            )
        return numbers
    for keyword in ("ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        if text_of(dataset, keyword):
            faults.append(
                f"The header has no PixelSpacing, only {keyword} ({text_of(dataset, keyword)} mm), the size on "
                "the detector or film, where the body appears magnified; it is not used for areas."
            )
    return None


def _slice_spacing(dataset: Dataset, groups: Sequence[Dataset]) -> float | None:
    for keyword in ("SpacingBetweenSlices", "SliceThickness"):
        for holder in (_holder(dataset, groups, "PixelMeasuresSequence", keyword), dataset):
            number = number_of(holder, keyword)
            if number is not None and number > 0:
                return number
    return None


def _rescale(dataset: Dataset, groups: Sequence[Dataset], faults: list[str]) -> tuple[float, float]:
    holder = _holder(dataset, groups, "PixelValueTransformationSequence", "RescaleSlope")
    if "ModalityLUTSequence" in dataset:
        faults.append("Its modality look-up table is not applied: intensities are the stored values.")
    if not (text_of(holder, "RescaleSlope") or text_of(holder, "RescaleIntercept")):
        return 1.0, 0.0
    slope, intercept = number_of(holder, "RescaleSlope"), number_of(holder, "RescaleIntercept")
    if not slope:
        faults.append(f"RescaleSlope in the header is {text_of(holder, 'RescaleSlope') or 'empty'}; 1 is used.")
    return slope or 1.0, intercept or 0.0
