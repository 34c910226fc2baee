"""What is kept of DICOM files: one small record per slice and per file, with no patient name in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from autoseg.files.dicom.values import Vector


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
    `TIMES` of dicom_headers. A slice of a mosaic is the tile number `frame` of a picture with `tiles` tiles
    across and down; `rows` and `columns` are the tile's. `faults` are sentences for the user.
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
    tiles: int = 1


@dataclass(frozen=True)
class FileHeader:
    """One DICOM image file: what names its series, and its slices.

    `subject_id` is the PatientID. Without one it is `study-` and eight hexadecimal digits made from the
    StudyInstanceUID, so that all series of a study stay together; without that too, `folder-` and eight digits
    made from the path of the file's folder, whose name may be a person's and is not shown. `refusal` says why
    the pixels cannot be read, or is empty.
    """

    path: Path
    series_uid: str
    series_number: str
    subject_id: str
    description: str
    modality: str
    date: str
    localiser: bool
    refusal: str
    slices: tuple[SliceHeader, ...]
