"""Search a PACS, get series as folders that are whole, and send files one by one with what became of each."""

from __future__ import annotations

import itertools
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from autoseg.errors import OutputError, PacsError, PacsGoneError
from autoseg.files.atomic import whole_folder
from autoseg.files.dicom.headers import may_be_dicom
from autoseg.files.dicom.records import PYDICOM_ERRORS, number_of, quiet, read_dataset, text_of
from autoseg.files.file_names import safe_name
from autoseg.files.pacs.asked import FoundSeries, Session, ToSend, Wanted, Write, fits
from autoseg.files.pacs.connection import EXTRA, Connection
from autoseg.files.room import check_room
from autoseg.files.sources import walk
from autoseg.words import counted, size_words

# Many a UID is not as it should be, which nobody here can mend. Both protocols look at each, one in threads of its
# own, and for minutes: `quiet` would keep from everybody else what they have to say meanwhile.
warnings.filterwarnings("ignore", "Invalid value for VR UI", UserWarning)

MOST_STUDIES = 100
# How long is waited before it is tried again.
WAITS_S = (1.0, 3.0)
STUDY_KEYS = ("PatientID", "PatientName", "StudyInstanceUID", "StudyDate", "StudyDescription", "AccessionNumber")
SERIES_KEYS = (
    *("StudyInstanceUID", "SeriesInstanceUID", "SeriesNumber", "Modality", "SeriesDescription"),
    "NumberOfSeriesRelatedInstances",
)


@dataclass(frozen=True)
class TransferProgress:
    """How far it is: `done` of `count` files, of series `number` of `series` (of one, where files are sent)."""

    what: Literal["got", "sent"]
    done: int
    count: int
    number: int = 1
    series: int = 1

    @property
    def share(self) -> float:
        """How much is done, 0 to 1."""
        return (self.number - 1 + self.done / max(self.count, 1)) / self.series

    def __str__(self) -> str:
        of = f"series {self.number} of {self.series}: " if self.series > 1 else ""
        return f"{of}{self.done} of {counted(self.count, 'file')} {self.what}"


# Called at each step; True ends the transfer before the next file.
OnTransfer = Callable[[TransferProgress], bool | None]


class TransferStopped(PacsError):
    """The user stopped a transfer."""


@contextmanager
def session_of(connection: Connection) -> Iterator[Session]:
    """Open a connection for as long as the block lasts."""
    try:
        if connection.url:
            from autoseg.files.pacs.web import WebSession as Opened
        else:
            from autoseg.files.pacs.dimse import DimseSession as Opened  # type: ignore[assignment]
    except ImportError as error:
        raise PacsError(f"Nothing that speaks with a PACS is installed ({error.name}). {EXTRA}.") from None
    session: Session = Opened(connection)
    try:
        yield session
    finally:
        session.close()


def check_connection(connection: Connection) -> None:
    """Ask a PACS whether it is there and lets us in; PacsError says what is wrong."""
    with session_of(connection) as session:
        session.check()


def search(connection: Connection, wanted: Wanted) -> tuple[FoundSeries, ...]:
    """Search for series, in order of patient, date, study and number.

    Raises
    ------
    PacsError
        If nothing was asked for, more than 100 studies match, or the PACS refuses.
    PacsGoneError
        If it does not answer.
    """
    if not any(wanted.of_study.values()):
        raise PacsError(
            f"Say what to search for in {connection.place}: a patient's ID or name, a date, an accession number or "
            "a study. All of an archive would be too much."
        )
    found = []
    with session_of(connection) as session:
        studies = []
        for study in session.find("STUDY", dict.fromkeys(STUDY_KEYS, "") | wanted.of_study):
            # Some archives ignore what they cannot search for, and give other patients' studies.
            if all(fits(wanted.of_study[key], text_of(study, key)) for key in ("PatientID", "StudyInstanceUID")):
                studies.append(study)
            if len(studies) > MOST_STUDIES:
                raise PacsError(
                    f"More than {MOST_STUDIES} studies in {connection.place} match. Search for a patient's ID, or "
                    "fewer days."
                )
        for study in studies:
            uid = text_of(study, "StudyInstanceUID")
            keys = dict.fromkeys(SERIES_KEYS, "") | wanted.of_series | {"StudyInstanceUID": uid}
            for one in session.find("SERIES", keys):
                if all(fits(value, text_of(one, key)) for key, value in wanted.of_series.items()):
                    count = number_of(one, "NumberOfSeriesRelatedInstances")
                    found.append(
                        FoundSeries(
                            patient_id=text_of(study, "PatientID"),
                            patient_name=text_of(study, "PatientName"),
                            study_uid=uid,
                            study_date=text_of(study, "StudyDate"),
                            study_description=text_of(study, "StudyDescription"),
                            series_uid=text_of(one, "SeriesInstanceUID"),
                            number=text_of(one, "SeriesNumber"),
                            modality=text_of(one, "Modality"),
                            description=text_of(one, "SeriesDescription"),
                            instances=None if count is None else int(count),
                        )
                    )
    return tuple(sorted(found, key=_order))


def _order(one: FoundSeries) -> tuple[object, ...]:
    number = int(one.number) if one.number.lstrip("-").isdecimal() else 0
    return one.patient_id, one.study_date, one.study_uid, number, one.series_uid


# --- getting


@dataclass(frozen=True)
class Fetched:
    """What came of getting series: `folders` of those that came now, or are there from before (`earlier`).

    `failed` has those of which nothing was kept, and why.
    """

    folder: Path
    folders: tuple[Path, ...] = ()
    earlier: tuple[Path, ...] = ()
    failed: tuple[tuple[FoundSeries, str], ...] = ()
    is_stopped: bool = False


def get_series(
    connection: Connection,
    series: Sequence[FoundSeries],
    into: Path,
    *,
    named: bool = True,
    on_progress: OnTransfer | None = None,
) -> Fetched:
    """Get series from a PACS into a folder, each into a folder of its own that is there once it is whole.

    Whole is what has all instances of which the PACS tells, each read back as a DICOM file of this series. What is
    missing is asked for again, three times in all. A series that is there from before is not got again.

    Parameters
    ----------
    connection : Connection
    series : sequence of FoundSeries
        From `search`, of one patient.
    into : Path
        The patient's folder.
    named : bool
        Call folders by number and description of their series; else by their numbers here.
    on_progress : callable, optional
        Called with a TransferProgress; a True from it stops between two files. Series that are whole are kept.

    Raises
    ------
    PacsError
        If the series are of several patients, or nothing came; the message says why.
    OutputError
        If the folder cannot be written, or the disk is full.
    """
    patients = {one.patient_id for one in series}
    if len(patients) != 1:
        raise PacsError(
            "A folder holds one patient. Choose series of one patient."
            if patients
            else f"Nothing was chosen to get from {connection.place}."
        )
    into = Path(into)
    _refuse_other_patient(into, patients)
    labels = [
        safe_name(f"{one.number}_{one.modality}_{one.description}") if named else "series_001" for one in series
    ]
    taken = set[str]()
    places = [_place_for(into, label, one.series_uid, taken) for label, one in zip(labels, series, strict=True)]
    folders, earlier, failed, is_stopped = list[Path](), list[Path](), list[tuple[FoundSeries, str]](), False
    first: PacsError | None = None
    with session_of(connection) as session:
        for number, (one, place) in enumerate(zip(series, places, strict=True), start=1):
            if isinstance(first, PacsGoneError):
                failed.append((one, str(first)))
                continue
            progress = TransferProgress("got", 0, one.instances or 0, number, len(series))
            try:
                is_new = _get_one(session, connection, one, place, progress, on_progress)
            except TransferStopped:
                is_stopped = True
                break
            except PacsError as error:
                first = first or error
                first = error if isinstance(error, PacsGoneError) else first
                failed.append((one, str(error)))
                continue
            (folders if is_new else earlier).append(place)
    if first is not None and not folders and not earlier:
        raise first
    return Fetched(into, tuple(folders), tuple(earlier), tuple(failed), is_stopped)


def _refuse_other_patient(into: Path, patients: Collection[str]) -> None:
    """Refuse a folder in which series of another patient are."""
    for place in sorted(path for path in into.glob("*") if path.is_dir()):
        first = next(iter(sorted(place.glob("*.dcm"))), None)
        with suppress(*PYDICOM_ERRORS), quiet():
            own = "" if first is None else text_of(read_dataset(first, pixels=False), "PatientID")
            if own and own not in patients:
                raise PacsError(
                    f"{into} holds series of another patient ({place.name}). A folder holds one patient: choose "
                    "another folder."
                )


def _place_for(into: Path, label: str, series_uid: str, taken: set[str]) -> Path:
    """Give the folder in which a series is already, or else a name of its own at which nothing is yet."""
    for number in itertools.count(1):
        name = label if number == 1 else f"series_{number:03d}" if label == "series_001" else f"{label}_{number}"
        place = into / name
        is_other = place.exists() and not (place.is_dir() and _uids_in(place, series_uid) - {""})
        if name.casefold() not in taken and not is_other:
            break
    taken.add(name.casefold())
    return place


def _get_one(
    session: Session,
    connection: Connection,
    series: FoundSeries,
    place: Path,
    progress: TransferProgress,
    on_progress: OnTransfer | None,
) -> bool:
    """Get a series into a new folder; give False where it is there already."""
    wanted = _again(lambda: _instances(session, connection, series))
    if place.exists():
        if _uids_in(place, series.series_uid) == set(wanted):
            return False
        raise OutputError(
            f"{place} exists already, and holds other files than {connection.place} has of this series now. Move "
            "it away, or choose another folder."
        )
    with whole_folder(place) as temporary:
        incoming = _Received(temporary, place, series, wanted, replace(progress, count=len(wanted)), on_progress)
        incoming.tell()
        for wait in (*WAITS_S, None):
            missing = incoming.missing
            try:
                session.get(series, missing, incoming.take, is_all=len(missing) == len(wanted))
            except PacsGoneError as error:
                if wait is None:
                    raise PacsGoneError(
                        f"{error} {len(incoming.files)} of {counted(len(wanted), 'file')} had come; an unfinished "
                        "series is not kept."
                    ) from error
            if incoming.is_stopped:
                raise TransferStopped(f"Getting images from {connection.place} was stopped.")
            if not incoming.missing:
                return True
            if wait is not None:
                time.sleep(wait)
        raise PacsError(
            f"{connection.place} gave {len(incoming.files)} of {counted(len(wanted), 'file')} of this series, "
            "though it was asked three times; an unfinished series is not kept. Ask who runs the PACS."
        )


class _Received:
    """The instances of one series as they come, each read back from the disk; at last they will lie at `place`."""

    def __init__(
        self,
        folder: Path,
        place: Path,
        series: FoundSeries,
        wanted: Mapping[str, str],
        progress: TransferProgress,
        on_progress: OnTransfer | None,
    ) -> None:
        self.folder, self.place, self.series, self.wanted = folder, place, series, wanted
        self.progress, self.on_progress = progress, on_progress
        self.files: dict[str, Path] = {}
        self.is_stopped = False
        self._lock = threading.Lock()  # what is sent on request (C-MOVE) may come from two sides at once

    @property
    def missing(self) -> dict[str, str]:
        """What has not come yet."""
        return {uid: kind for uid, kind in self.wanted.items() if uid not in self.files}

    def take(self, write: Write) -> bool:
        """Write one that has come; one that is damaged or not of this series counts as missing."""
        with self._lock:
            path = self.folder / f"{len(self.files) + 1:05d}.dcm"
            write(path)
            uid = _uid_of(path, self.series.series_uid)
            if uid in self.wanted and uid not in self.files:
                self.files[uid] = path
                if len(self.files) == 1:
                    rest = path.stat().st_size * (len(self.wanted) - 1)
                    check_room(self.place.parent, "this series", likely=rest, least=rest)
                self.tell()
            else:
                path.unlink()
            return self.is_stopped

    def tell(self) -> None:
        """Report progress, and remember where an end is wished for."""
        self.progress = replace(self.progress, done=len(self.files))
        if self.on_progress is not None and self.on_progress(self.progress):
            self.is_stopped = True


def _instances(session: Session, connection: Connection, series: FoundSeries) -> dict[str, str]:
    """Give the instances of a series that a PACS tells of, with their SOP classes."""
    keys = {"StudyInstanceUID": series.study_uid, "SeriesInstanceUID": series.series_uid}
    found = {
        text_of(one, "SOPInstanceUID"): text_of(one, "SOPClassUID")
        for one in session.find("IMAGE", {**keys, "SOPInstanceUID": "", "SOPClassUID": ""})
    }
    found.pop("", None)
    if not found:
        raise PacsError(f"{connection.place} tells of no image of this series. Search again.")
    if series.instances is not None and len(found) < series.instances:
        raise PacsError(
            f"{connection.place} says that this series has {counted(series.instances, 'file')}, and tells of "
            f"{len(found)}. Search again; if it stays so, ask who runs the PACS."
        )
    return found


def _again(ask: Callable[[], dict[str, str]]) -> dict[str, str]:
    """Ask three times before a PACS is gone."""
    for wait in WAITS_S:
        try:
            return ask()
        except PacsGoneError:
            time.sleep(wait)
    return ask()


def _uid_of(path: Path, series_uid: str) -> str:
    """Give the instance that a file holds; "" where it is damaged or of another series."""
    with quiet():
        try:
            dataset = read_dataset(path)
            is_own = text_of(dataset, "SeriesInstanceUID") == series_uid
            return text_of(dataset, "SOPInstanceUID") if is_own else ""
        except PYDICOM_ERRORS:
            return ""


def _uids_in(folder: Path, series_uid: str) -> set[str]:
    return {_uid_of(path, series_uid) for path in folder.iterdir() if path.suffix == ".dcm"}


# --- sending


@dataclass(frozen=True)
class Sending:
    """What would be sent where, to be shown before; `left_out` says of how many files why they would not."""

    connection: Connection
    files: tuple[ToSend, ...]
    left_out: tuple[tuple[str, int], ...] = ()

    @property
    def words(self) -> str:
        """What and where in one sentence."""
        patients = len({one.patient_id for one in self.files})
        size = size_words(sum(one.size for one in self.files))
        count, whose = counted(len(self.files), "file"), counted(patients, "patient")
        return f"{count} of {whose} ({size}) to {self.connection.words}"

    @property
    def rows(self) -> list[dict[str, object]]:
        """A row for each series: patient, modality, description, files."""
        counts = Counter((one.patient_id, one.modality, one.description, one.series_uid) for one in self.files)
        return [
            {"patient": patient, "modality": modality, "description": description, "files": count}
            for (patient, modality, description, _), count in counts.items()
        ]


@dataclass(frozen=True)
class Outcome:
    """What became of one file: sent, maybe with a remark of the PACS; failed; or not tried."""

    file: ToSend
    state: Literal["sent", "failed", "not sent"]
    why: str = ""


@dataclass(frozen=True)
class Sent:
    """What became of each file."""

    outcomes: tuple[Outcome, ...]
    is_stopped: bool = False

    def of(self, *states: str) -> tuple[Outcome, ...]:
        """Give those of certain states."""
        return tuple(one for one in self.outcomes if one.state in states)


def plan_sending(connection: Connection, paths: Sequence[Path]) -> Sending:
    """Look which DICOM files there are in files and folders, and send nothing yet.

    Raises
    ------
    PacsError
        If there is none; the message says what was left out.
    """
    files, left_out = list[ToSend](), Counter[str]()
    for path in dict.fromkeys(one for place in paths for one in _files_of(Path(place))):
        try:
            files.append(_to_send(path))
        except ValueError as error:
            left_out[str(error)] += 1
    if not files:
        why = "; ".join(f"{counted(count, 'file')}: {reason}" for reason, count in left_out.items())
        why = why or "there is no file at all"
        raise PacsError(f"There is no DICOM file to send to {connection.place} ({why}).")
    return Sending(connection, tuple(files), tuple(left_out.items()))


def _files_of(path: Path) -> Sequence[Path]:
    if not path.exists():
        raise PacsError(f"{path} does not exist, so nothing was sent. Check the name and the folder.")
    return sorted(walk(path)[0]) if path.is_dir() else [path]


def _to_send(path: Path) -> ToSend:
    """Read what is told of a file; ValueError with the reason where it cannot be sent."""
    try:
        with path.open("rb") as file:
            if not may_be_dicom(file.read(132)):
                raise ValueError("no DICOM file")
    except OSError as error:
        raise ValueError(f"cannot be opened ({error.strerror or error})") from error
    with quiet():
        try:
            dataset = read_dataset(path, pixels=False)
            syntax = text_of(dataset.file_meta, "TransferSyntaxUID")
            found = ToSend(
                path=path,
                sop_class=text_of(dataset, "SOPClassUID"),
                sop_uid=text_of(dataset, "SOPInstanceUID"),
                syntax=syntax,
                patient_id=text_of(dataset, "PatientID"),
                study_uid=text_of(dataset, "StudyInstanceUID"),
                series_uid=text_of(dataset, "SeriesInstanceUID"),
                modality=text_of(dataset, "Modality"),
                description=text_of(dataset, "SeriesDescription"),
                size=path.stat().st_size,
            )
        except PYDICOM_ERRORS as error:
            raise ValueError(f"cannot be read ({type(error).__name__})") from error
    if not all((syntax, found.sop_class, found.sop_uid, found.study_uid, found.series_uid)):
        raise ValueError("lacks a UID that an archive needs (class, instance, study, series or transfer syntax)")
    return found


def send(sending: Sending, *, on_progress: OnTransfer | None = None) -> Sent:
    """Send files to a PACS, one by one; one that fails stops no other, unless the PACS is gone.

    What fails because the PACS does not answer is tried three times. A file that is sent twice is there once.

    Parameters
    ----------
    sending : Sending
        From `plan_sending`, after somebody has looked at it.
    on_progress : callable, optional
        Called with a TransferProgress; a True from it stops between two files.

    Returns
    -------
    Sent
        In the order of the files; also where all of them failed.
    """
    outcomes, files = list[Outcome](), sending.files
    gone, is_stopped = "", False
    with session_of(sending.connection) as session:
        for number, file in enumerate(files):
            progress = TransferProgress("sent", number, len(files))
            is_stopped = is_stopped or bool(on_progress is not None and on_progress(progress))
            if is_stopped or gone:
                outcomes.append(Outcome(file, "not sent", gone))
                continue
            try:
                outcomes.append(Outcome(file, "sent", _send_one(session, file, files[number + 1 :])))
            except PacsError as error:
                outcomes.append(Outcome(file, "failed", str(error)))
                gone = str(error) if isinstance(error, PacsGoneError) else ""
    if on_progress is not None and not is_stopped:
        on_progress(TransferProgress("sent", len(files), len(files)))
    return Sent(tuple(outcomes), is_stopped)


def _send_one(session: Session, file: ToSend, more: Sequence[ToSend]) -> str:
    try:
        with quiet():
            dataset = read_dataset(file.path)
    except PYDICOM_ERRORS as error:
        raise PacsError(f"{file.path} cannot be read any more ({type(error).__name__}).") from error
    for wait in WAITS_S:
        try:
            return session.send(file, dataset, more)
        except PacsGoneError:
            time.sleep(wait)
    return session.send(file, dataset, more)
