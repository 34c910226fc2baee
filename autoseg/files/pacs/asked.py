"""What is asked of a PACS, what it answers, and what both of its protocols can do."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from pydicom.dataset import Dataset

from autoseg.files.dicom.records import FileDataset

Level = Literal["STUDY", "SERIES", "IMAGE"]
# Given a path, writes one instance that has come, as it came.
Write = Callable[[Path], object]
# Hears of each instance that comes; True ends it.
Take = Callable[[Write], bool]


@dataclass(frozen=True)
class Wanted:
    """What is searched for, as DICOM matches it: * and ? stand for letters, dates are YYYYMMDD or from-to."""

    patient_id: str = ""
    patient_name: str = ""
    study_date: str = ""
    accession_number: str = ""
    study_description: str = ""
    study_uid: str = ""
    modality: str = ""
    series_description: str = ""
    series_uid: str = ""

    @property
    def of_study(self) -> dict[str, str]:
        """What is asked of studies, by DICOM's keywords."""
        return {
            "PatientID": self.patient_id,
            "PatientName": self.patient_name,
            "StudyDate": self.study_date,
            "AccessionNumber": self.accession_number,
            "StudyDescription": self.study_description,
            "StudyInstanceUID": self.study_uid,
        }

    @property
    def of_series(self) -> dict[str, str]:
        """What is asked of series, by DICOM's keywords."""
        return {
            "Modality": self.modality,
            "SeriesDescription": self.series_description,
            "SeriesInstanceUID": self.series_uid,
        }


@dataclass(frozen=True)
class FoundSeries:
    """A series in a PACS; `instances` is how many it says that there are, None where it does not say."""

    patient_id: str
    patient_name: str
    study_uid: str
    study_date: str
    study_description: str
    series_uid: str
    number: str
    modality: str
    description: str
    instances: int | None


@dataclass(frozen=True)
class ToSend:
    """A file that can be sent, and what is told of it before."""

    path: Path
    sop_class: str
    sop_uid: str
    syntax: str
    patient_id: str
    study_uid: str
    series_uid: str
    modality: str
    description: str
    size: int


class Session(Protocol):
    """An open connection to a PACS; PacsGoneError says that it is not there, PacsError that it refuses."""

    def check(self) -> None:
        """Ask whether the PACS is there and lets us in."""

    def find(self, level: Level, keys: Mapping[str, str]) -> Iterator[Dataset]:
        """Give what matches the keys that have a value, with all keys."""

    def get(self, series: FoundSeries, instances: Mapping[str, str], take: Take, *, is_all: bool) -> None:
        """Get instances (their SOP classes, by UID) of a series, or as many as come; `is_all` of it, or some."""

    def send(self, file: ToSend, dataset: FileDataset, more: Sequence[ToSend]) -> str:
        """Send one file, which `more` of the same kinds may follow; give a remark of the PACS, "" for none."""

    def close(self) -> None:
        """End it."""


def fits(pattern: str, value: str) -> bool:
    r"""Tell whether a value is what was searched for; what the PACS does not tell is.

    Examples
    --------
    >>> fits("MR*", "mr01"), fits("MR", "MR01"), fits("a[", "A["), fits("x", "")
    (True, False, True, True)
    """
    if not pattern or not value:
        return True
    letters = "".join({"*": ".*", "?": "."}.get(letter, re.escape(letter)) for letter in pattern)
    return re.fullmatch(letters, value, re.IGNORECASE | re.DOTALL) is not None
