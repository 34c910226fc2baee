"""Copies of studies that can leave the hospital: DICOM files of which nothing in the header tells of a patient."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from autoseg.data.codes import Known, codes_of, key_folder, key_path
from autoseg.errors import DataError, ReadError
from autoseg.files.atomic import one_step, whole_file, whole_folder
from autoseg.files.dicom.headers import may_be_dicom, stand_in
from autoseg.files.dicom.records import PYDICOM_ERRORS, FileDataset, quiet, read_dataset, text_of
from autoseg.files.dicom.writing.confidentiality import EDITION, Done, Profile, StandIn, burnt_in, deidentify
from autoseg.files.dicom.writing.parts import save
from autoseg.files.records import write_record
from autoseg.files.sources import walk
from autoseg.files.tables import write_rows
from autoseg.words import counted

TABLE, RECORD, SECRET = "what_was_done.csv", "deidentified.json", "deidentification_secret.txt"
# Days by which a patient's dates move into the past.
LEAST_DAYS, MOST_DAYS = 100, 3650
# What has no pixels and is taken all the same, because its parts can be cleaned by rules.
WITHOUT_PIXELS = ("SEG", "RTSTRUCT", "SR")
NO_IMAGE = "no image, segmentation, structure set or measurement report; what it says cannot be cleaned by rules"
UNKNOWN = (
    "Text that is burnt into pixels cannot be seen in a header. Images that say so, or are of a kind in which it "
    "is usual, were left out unless they were asked for; look at the others all the same.",
    "A face can be made from the slices of a head, and recognised.",
    "Rare anatomy, implants, and what others know of the patient can tell who it is.",
    "Times of the day, the device's model and the scan's parameters stay. Names of structures are those that are "
    "words of the body; others became numbers.",
    "Whoever has the secret and the key of this computer can tell which patient is which: keep both here.",
)


@dataclass(frozen=True)
class Deidentified:
    """Copies that were made: `files` of `patients`, what was `done` to how many, and what was left out why."""

    folder: Path
    patients: int
    files: int
    done: tuple[tuple[Done, int], ...]
    left_out: tuple[tuple[str, int], ...] = ()
    not_known: tuple[str, ...] = field(default=UNKNOWN, repr=False)


def deidentify_folder(
    folder: Path,
    into: Path,
    *,
    profile: Profile | None = None,
    take_burnt_in: bool = False,
    on_file: Callable[[int, int], None] | None = None,
) -> Deidentified:
    """Copy the DICOM files of a folder without what tells of their patients (PS3.15 Annex E, Basic Profile).

    Patients get the codes that "without patient IDs" gives them; UIDs become others, the same in all files and in
    later copies made on this computer, so that references (of segmentations, reports and structure sets, too) stay
    right. Pixels stay as they are to the last bit. Files are named and sorted by patient, study and series.

    Parameters
    ----------
    folder : Path
        It stays as it is; what is no DICOM file is left alone.
    into : Path
        A new folder. `what_was_done.csv` in it lists attributes, `deidentified.json` options and what was left out.
    profile : Profile, optional
        By default dates are moved, descriptions and the patient's characteristics removed.
    take_burnt_in : bool
        Also copy images into whose pixels text may be burnt: somebody has looked.
    on_file : callable, optional
        Called with (files done, files in all).

    Raises
    ------
    DataError
        If no file can be copied; the message tells why.
    ReadError
        If the folder does not exist.
    """
    if not Path(folder).exists():
        raise ReadError(f"{folder} does not exist. Check the name and the folder.")
    files, skipped = walk(Path(folder))
    unread = [one.reason for one in skipped if not one.hidden]
    return deidentify_files(
        files, into, profile=profile, take_burnt_in=take_burnt_in, on_file=on_file, unread=unread
    )


def deidentify_files(
    files: Sequence[Path],
    into: Path,
    *,
    profile: Profile | None = None,
    take_burnt_in: bool = False,
    on_file: Callable[[int, int], None] | None = None,
    unread: Sequence[str] = (),
) -> Deidentified:
    """Copy DICOM files as `deidentify_folder` does; `unread` says why others were not even found."""
    copies = _Copies(profile or Profile(), take_burnt_in=take_burnt_in)
    copies.left_out.update(unread)
    with whole_folder(Path(into)) as temporary:
        for number, path in enumerate(files):
            if on_file is not None:
                on_file(number, len(files))
            copies.add(path, temporary)
        made = copies.made(Path(into))
        if not made.files:
            why = "; ".join(f"{counted(count, 'file')}: {reason}" for reason, count in made.left_out)
            raise DataError(f"There is no DICOM file that can be copied ({why or 'there is no file at all'}).")
        rows = [(*one, count) for one, count in made.done]
        write_rows(temporary / TABLE, ("tag", "attribute", "what_was_done", "files"), rows)
        write_record(temporary / RECORD, copies.record(made))
    return made


class _Copies:
    """The copies of one folder, as they are made: whom they show, what was done, what was left out."""

    def __init__(self, profile: Profile, *, take_burnt_in: bool) -> None:
        self.profile, self.take_burnt_in = profile, take_burnt_in
        self.secret = read_secret()
        self.patients: set[str] = set()
        self.left_out, self.done = Counter[str](), Counter[Done]()
        self.files = 0
        self.places: dict[tuple[str, ...], dict[str, int]] = {}
        self.counts = Counter[tuple[str, int, int]]()

    def add(self, path: Path, folder: Path) -> None:
        """Copy a file into the folder, or note why not."""
        try:
            with path.open("rb") as file:
                is_dicom = may_be_dicom(file.read(132))
        except OSError as error:
            self.left_out[f"cannot be opened ({error.strerror or error})"] += 1
            return
        if not is_dicom:
            self.left_out["no DICOM file"] += 1
            return
        with quiet():
            try:
                dataset = read_dataset(path)
                why = why_left_out(dataset) or ("" if self.take_burnt_in else burnt_in(dataset))
                if why:
                    self.left_out[why] += 1
                    return
                self._copy(path, dataset, folder)
            except PYDICOM_ERRORS as error:
                self.left_out[f"cannot be read or written ({type(error).__name__})"] += 1

    def _copy(self, path: Path, dataset: FileDataset, folder: Path) -> None:
        patient = text_of(dataset, "PatientID") or stand_in(path, dataset)
        code = codes_of([Known(patient)])[Known(patient)]
        pixels = dataset.get("PixelData", b"")
        who = StandIn(code, -days_of(self.secret, patient), lambda uid: other_uid(self.secret, uid))
        done = deidentify(dataset, who, self.profile)
        target = folder / self._place(code, dataset)
        save(target, dataset)
        kept = read_dataset(target).get("PixelData", b"")
        if kept[: len(pixels)] != pixels or len(kept) > len(pixels) + len(pixels) % 2:  # to an even length
            target.unlink()
            raise ValueError("its pixels were not the same when they were read back")
        self.files += 1
        self.patients.add(code)
        self.done.update(done)

    def _place(self, code: str, dataset: FileDataset) -> Path:
        """Give where a copy lies: by the order in which studies, series and files of a patient were met."""
        study, series = text_of(dataset, "StudyInstanceUID"), text_of(dataset, "SeriesInstanceUID")
        parts = self._number((code,), study), self._number((code, study), series)
        self.counts[code, *parts] += 1  # of a file that is there twice both are kept
        number = self.counts[code, *parts]
        return Path(code, f"study_{parts[0]:02d}", f"series_{parts[1]:03d}", f"{number:05d}.dcm")

    def _number(self, within: tuple[str, ...], uid: str) -> int:
        known = self.places.setdefault(within, {})
        return known.setdefault(uid, len(known) + 1)

    def made(self, folder: Path) -> Deidentified:
        """Give what was made so far."""
        done, left_out = tuple(sorted(self.done.items())), tuple(sorted(self.left_out.items()))
        return Deidentified(folder, len(self.patients), self.files, done, left_out)

    def record(self, made: Deidentified) -> dict[str, object]:
        """Give what stands beside the copies: what was chosen and left out, and nothing of the patients."""
        return {
            "profile": f"{EDITION}, Annex E, Basic Application Level Confidentiality Profile",
            "options": {**asdict(self.profile), "take_burnt_in": self.take_burnt_in},
            "methods": [code.meaning for code in self.profile.methods],
            "patients": made.patients,
            "files": made.files,
            "left_out": dict(made.left_out),
            "not_known": list(made.not_known),
        }


def why_left_out(dataset: FileDataset) -> str:
    """Say why a DICOM file is not copied at all; "" where it is."""
    kind = text_of(dataset, "Modality")
    if "PixelData" not in dataset and kind not in WITHOUT_PIXELS:
        return NO_IMAGE
    return "" if text_of(dataset, "SOPInstanceUID") else "has no SOPInstanceUID, by which others refer to it"


def read_secret() -> bytes:
    """Give the secret of this computer from which other UIDs and days follow; a new one is kept first."""
    path = key_path().with_name(SECRET)
    try:
        if not path.exists():
            with one_step(key_folder()):
                if not path.exists():  # another program may have made one just now
                    with whole_file(path, mode=0o600) as temporary:
                        temporary.write_text(secrets.token_hex(32), encoding="ascii")
        secret = path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise ReadError(
            f"{path} cannot be read ({error.strerror or error}), so nothing can be replaced."
        ) from error
    if len(secret) < 64:
        raise ReadError(f"{path} is damaged: it is to hold 64 letters and digits. Get it back from a backup.")
    return secret.encode("ascii")


def other_uid(secret: bytes, uid: str) -> str:
    """Give the UID that stands for one, the same each time (PS3.5 B.2: 2.25. and a number of 128 bits).

    Examples
    --------
    >>> other_uid(b"a", "1.2.3") == other_uid(b"a", "1.2.3") != other_uid(b"b", "1.2.3")
    True
    """
    return f"2.25.{int.from_bytes(_mixed(secret, f'uid {uid}')[:16], 'big')}"


def days_of(secret: bytes, patient: str) -> int:
    """Give by how many days the dates of a patient move into the past."""
    return LEAST_DAYS + int.from_bytes(_mixed(secret, f"days {patient}")[:8], "big") % (MOST_DAYS - LEAST_DAYS)


def _mixed(secret: bytes, text: str) -> bytes:
    return hmac.new(secret, text.encode("utf-8", "surrogateescape"), hashlib.sha256).digest()
