"""The headers of an image's files as an object that is made of it needs them: valid, with words on what was not.

What names something (UIDs) stays as it is, so that references stay right; highdicom takes no UID that is none, so
that valid ones stand in for those until all is built.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.uid import UID, generate_uid

from autoseg.errors import DataError, ReadError
from autoseg.files.dicom.records import PYDICOM_ERRORS, number_of, quiet, read_dataset, reason_of, text_of
from autoseg.image.image import Image

# Of the patient and the study, as text; a date, a time or a sex that is none is left empty.
DATES, TIMES = ("PatientBirthDate", "StudyDate"), ("StudyTime",)
TEXTS = {
    **{"PatientID": 64, "PatientName": 324, "PatientSex": 16, "StudyInstanceUID": 64, "AccessionNumber": 16},
    **{"StudyID": 16, "ReferringPhysicianName": 324, "StudyDescription": 64},
}
STAND_IN_CLASS = "1.2.840.10008.5.1.4.1.1.4"  # of single slices


@dataclass(frozen=True)
class Reference:
    """What a slice was read from: class and instance, and the frame (from 1) of an instance that has several."""

    sop_class: str
    sop_uid: str
    frame: int | None


@dataclass(frozen=True, eq=False)
class Origin:
    """Whom and what an image shows, for an object that is made of it.

    `header` holds patient, study and series with valid values only, `references` has one entry a slice, `repairs`
    are sentences. `real` gives the UID that a valid one stands in for.
    """

    image: Image
    header: Dataset
    references: tuple[Reference, ...]
    repairs: tuple[str, ...]
    real: dict[str, str]

    def describe(self, dataset: Dataset) -> None:
        """Write patient and study into an object that is begun."""
        for keyword in ("SpecificCharacterSet", *TEXTS, "PatientBirthDate", "StudyDate", "StudyTime"):
            setattr(dataset, keyword, getattr(self.header, keyword))

    @property
    def study(self) -> tuple[str, str]:
        """The patient and the study, by the UID that the images have."""
        uid = str(self.header.StudyInstanceUID)
        return str(self.header.PatientID), self.real.get(uid, uid)

    def put_back(self, dataset: Dataset) -> None:
        """Let a finished object name what it was made of by its own UIDs, valid or not."""
        with quiet():
            for element in dataset.iterall():
                if element.VR == "UI" and isinstance(element.value, str) and element.value in self.real:
                    element.value = self.real[element.value]


def read_origin(image: Image) -> Origin:
    """Read the headers of the files that an image was read from.

    Raises
    ------
    DataError
        If nothing can refer to the image: it comes from no DICOM file, has no place, no pixel size or no UIDs, or
        codes stand for its patient.
    ReadError
        If a file cannot be read any more.
    """
    slices, name = image.source.slices, image.source.case_id
    if any(one.origin is not None for one in slices):
        raise DataError(
            f"{name}: codes stand for patient IDs, and a DICOM object names the patient and the images that it was "
            "made of. None was made."
        )
    if not slices or not all(one.sop_uid for one in slices):
        raise DataError(
            f"{name} was read from no DICOM file, or from one without SOPInstanceUID; no DICOM object can refer to "
            "it."
        )
    if image.affine is None or not image.source.is_placed:
        raise DataError(
            f"{name}: its header does not say where the slices lie, or how large a pixel is; no DICOM object was "
            "made."
        )
    headers = {path: _read(path) for path in dict.fromkeys(one.path for one in slices)}
    real: dict[str, str] = {}

    def valid(uid: str) -> str:
        if UID(uid).is_valid and len(uid) <= 64:
            return uid
        known = {other: stand_in for stand_in, other in real.items()}
        stand_in = known.get(uid) or str(generate_uid())
        real[stand_in] = uid
        return stand_in

    with quiet():
        first = headers[slices[0].path]
        repairs: list[str] = []
        header = _whole(first, repairs)
        for keyword, what in (
            ("StudyInstanceUID", "study"),
            ("SeriesInstanceUID", "series"),
            ("FrameOfReferenceUID", "frame of reference"),
        ):
            uid = text_of(first, keyword)
            if not uid:
                repairs.append(
                    f"The images name no {what} ({keyword}); a new one was made for what autoseg writes."
                )
            elif not UID(uid).is_valid:
                repairs.append(
                    f"{keyword} is no valid UID; it stays as it is, so that the archive finds the {what}."
                )
            setattr(header, keyword, valid(uid) if uid else generate_uid())
        references = tuple(_reference(headers[one.path], one.sop_uid, one.frame, valid, repairs) for one in slices)
    return Origin(image, header, references, tuple(dict.fromkeys(repairs)), real)


def _read(path: Path) -> Dataset:
    try:
        with quiet():
            return read_dataset(path, pixels=False)
    except PYDICOM_ERRORS as error:
        raise ReadError(
            f"{path} cannot be read any more ({reason_of(error)}); it was moved or changed. Segment again."
        ) from error


def _whole(first: Dataset, repairs: list[str]) -> Dataset:
    """Give patient and study with what is valid of them; say what was not."""
    header = Dataset()
    for keyword, most in TEXTS.items():
        text = " ".join(re.sub(r"[\x00-\x1f\\]", " ", text_of(first, keyword)).split())
        if len(text) > most:
            repairs.append(f"{keyword} is longer than DICOM allows; it was cut off after {most} letters.")
        setattr(header, keyword, text[:most].strip())
    if header.PatientSex not in ("", "M", "F", "O"):
        repairs.append("PatientSex is none of M, F and O; it was left empty.")
        header.PatientSex = ""
    for keyword in (*DATES, *TIMES):
        text = text_of(first, keyword)
        is_right = not text or (_is_date(text) if keyword in DATES else _is_time(text))
        if not is_right:
            repairs.append(f"{keyword} is no {'date' if keyword in DATES else 'time'}; it was left empty.")
        setattr(header, keyword, text if is_right else "")
    header.Modality = text_of(first, "Modality") or "OT"
    header.Manufacturer = text_of(first, "Manufacturer")
    header.SeriesDescription = text_of(first, "SeriesDescription")[:64]
    if not header.PatientID:
        repairs.append("The images name no patient (PatientID).")
    # "Ä" in a name; structures may have such names too.
    header.SpecificCharacterSet = "ISO_IR 192"
    return header


def _is_date(text: str) -> bool:
    try:
        datetime.datetime.strptime(text, "%Y%m%d")  # a day has no time zone
    except ValueError:
        return False
    return len(text) == 8


def _is_time(text: str) -> bool:
    return re.fullmatch(r"([01]\d|2[0-3])([0-5]\d([0-5]\d(\.\d{1,6})?)?)?", text) is not None


def _reference(
    dataset: Dataset, uid: str, frame: int, valid: Callable[[str], str], repairs: list[str]
) -> Reference:
    kind = text_of(dataset, "SOPClassUID")
    if not kind:
        raise DataError(
            "An image does not say what it holds (SOPClassUID is missing); no DICOM object can refer to it."
        )
    if not UID(uid).is_valid:
        repairs.append(
            "SOPInstanceUID of some images is no valid UID; it stays as it is, so that references are right."
        )
    several = int(number_of(dataset, "NumberOfFrames") or 1) > 1
    return Reference(valid(kind), valid(uid), frame + 1 if several else None)
