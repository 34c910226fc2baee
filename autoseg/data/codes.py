"""Codes in place of patients' IDs for a folder whose results may be seen by others; the key stays with the user.

Identities are replaced once, where a folder's cases and images are found: whatever is written or said of them later
knows the codes only.
"""

from __future__ import annotations

import csv
import io
import os
import re
import secrets
import sys
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, TextIO, TypeVar

from autoseg.data.pairing.names import is_kind_folder
from autoseg.errors import AutosegError, DataError, OutputError, ReadError
from autoseg.files.atomic import one_step, whole_file
from autoseg.files.dicom.series import DicomFolder
from autoseg.files.own_folder import own_folder
from autoseg.files.sources import READABLE, WITHOUT_IDS, SkippedFile, ending, name_without_ending, walk
from autoseg.files.tables import plain_cell, write_rows
from autoseg.image.image import Image, Source

# --- the setting: a file beside the data

MARK = """\
Without patient IDs

autoseg writes codes in place of patient IDs, names of files and folders, and DICOM UIDs into everything that it
makes of the images in this folder and in the folders below. Which code is which patient stands in one file of your
own:
{key}

To have patient IDs written again, delete this file.
"""
_ASKED: set[Path] = set()  # folders in which nothing can be written, for as long as this program runs


def is_without_ids(folder: Path) -> bool:
    """Tell whether codes shall stand for the patients of a folder: said of it, or of a folder above it."""
    place = Path(os.path.realpath(folder))
    # os.path: a name that is too long for a file is none; pathlib raises.
    return any(one in _ASKED or os.path.isfile(one / WITHOUT_IDS) for one in (place, *place.parents))


def keep_without_ids(folder: Path, *, wanted: bool = True) -> str:
    """Keep beside the data that codes shall stand for its patients, or that they shall not; give what was done.

    Where nothing can be written beside the data it holds until this program ends.
    """
    folder = Path(folder)
    place = Path(os.path.realpath(folder if folder.is_dir() else folder.parent))
    if not wanted:
        _ASKED.discard(place)
        try:
            (place / WITHOUT_IDS).unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(
                f"{place / WITHOUT_IDS} could not be deleted: {error.strerror or error}. Delete it by hand to have "
                "patient IDs written again."
            ) from error
        above = [one for one in place.parents if one in _ASKED or (one / WITHOUT_IDS).is_file()]
        if above:
            raise OutputError(
                f"{above[0] / WITHOUT_IDS} says so for all folders in {above[0]}. If patient IDs shall be written "
                "again for all of them, delete that file by hand."
            )
        return "Patient IDs are written."
    if is_without_ids(place) or not folder.exists():  # of a folder that is not there its reader will tell
        return "Codes stand for patient IDs."
    try:
        with whole_file(place / WITHOUT_IDS) as temporary:
            temporary.write_text(MARK.format(key=key_path()), encoding="utf-8")
    except OutputError:
        _ASKED.add(place)
        return (
            "Codes stand for patient IDs until this program ends: nothing can be written beside the images, so say "
            "it again the next time."
        )
    return (
        f"Codes stand for patient IDs from now on; {WITHOUT_IDS} beside the images keeps it. The key: {key_path()}"
    )


# --- the key: which code is which patient, in one file of the user's own

KEY = "AUTOSEG_PATIENT_KEY"
COLUMNS = ("patient_id", "image", "code", "date")
LETTERS = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"  # none that looks like another
CODE = re.compile(rf"(?<![A-Za-z0-9])([PS]-[{LETTERS}]{{7}})(-\d+)?(?![A-Za-z0-9])")
# What names of images have behind that of their series or stack.
ENDS = re.compile(r"((?:_(?:magnitude|phase|real|imaginary|other))?(?:_t\d+)?(?:_part\d+)?(?:_s\d{3,}-\d{3,})?)$")


class Known(NamedTuple):
    """Whom a code stands for: a patient, or one image of that patient; or a series, known by its UID alone."""

    patient_id: str
    image: str = ""


@dataclass(frozen=True)
class Key:
    """What the file of codes holds, both ways."""

    codes: dict[Known, str]
    known: dict[str, Known]


def key_path() -> Path:
    """Give the file that says which code is which patient: AUTOSEG_PATIENT_KEY, or one in the user's own folder."""
    named = os.environ.get(KEY)
    if named:
        return Path(named).expanduser()
    return own_folder() / "patient_key.csv"


def key_folder() -> Path:
    """Give the folder of the key, made if it is not there, for the user alone."""
    place = key_path().parent
    place.parent.mkdir(parents=True, exist_ok=True)
    place.mkdir(mode=0o700, exist_ok=True)
    return place


@contextmanager
def marked_key() -> Iterator[str]:
    """Keep an empty file beside the key for the time of a block, and give the word by which others look for it.

    The word is chance and tells nothing of the key. Who sees the file has this key, and not a copy: of copies
    each would give a patient who comes later a code of its own.
    """
    word = secrets.token_hex(8)
    try:
        mark = key_folder() / _mark_name(word)
        mark.touch(0o600, exist_ok=False)
    except OSError as error:
        raise OutputError(
            f"Nothing can be written in {key_path().parent}, where the key of patient codes is kept "
            f"({error.strerror or error}), so no new patient can get a code. Let this user write there, or set "
            f"{KEY} to a key in another folder."
        ) from error
    try:
        yield word
    finally:
        with suppress(OSError):
            mark.unlink(missing_ok=True)


def is_key_marked(word: str) -> bool:
    """Tell whether the key of this program is the one that another has marked just now."""
    return (key_path().parent / _mark_name(word)).is_file()


def _mark_name(word: str) -> str:
    return f".{key_path().name}-{word}"


def codes_of(wanted: Iterable[Known]) -> dict[Known, str]:
    """Give the codes of patients and images, the same each time on this computer; new ones are kept first."""
    wanted = list(dict.fromkeys(wanted))
    needed = list(dict.fromkeys([*(Known(one.patient_id) for one in wanted if one.patient_id), *wanted]))
    key = _key()
    if not all(one in key.codes for one in needed):
        with one_step(key_folder()):
            key = _key()  # another program may have given some just now
            _write_key(_with_new(key.codes, [one for one in needed if one not in key.codes]))
        key = _key()
    found = {one: key.codes[one] for one in wanted}
    for one in needed:
        _learn({one.image or one.patient_id: key.codes[one]})
    return found


def original(text: str) -> str:
    """Give a text with the patients, images and UIDs that its codes stand for; a code that nobody knows stays."""
    if not CODE.search(text):
        return text
    known = _key().known

    def name(match: re.Match[str]) -> str:
        found = known.get(match[0])
        return match[0] if found is None else found.image or found.patient_id

    return CODE.sub(name, text)


def need_key(text: str) -> str:
    """Give `original`; DataError with the remedy if this computer's key does not know the code."""
    found = original(text)
    if CODE.search(found):
        raise DataError(
            f"{text} was written without patient IDs, and the key of this computer ({key_path()}) does not know "
            "whom it stands for. Do this on the computer where it was written, or bring the key from there."
        )
    return found


def _with_new(codes: dict[Known, str], new: Sequence[Known]) -> dict[Known, str]:
    """Add codes by chance, which tell nothing of whom they stand for; of a patient's images the next numbers."""
    codes = dict(codes)
    taken = set(codes.values())
    images = Counter(one.patient_id for one in codes if one.image)
    for one in new:
        if one.patient_id and one.image:
            images[one.patient_id] += 1
            codes[one] = f"{codes[Known(one.patient_id)]}-{images[one.patient_id]}"
            continue
        code = ""
        while not code or code in taken:
            code = f"{'P' if one.patient_id else 'S'}-{''.join(secrets.choice(LETTERS) for _ in range(7))}"
        taken.add(code)
        codes[one] = code
    return codes


def _key() -> Key:
    path = key_path()
    try:
        status = path.stat()
    except FileNotFoundError:
        return Key({}, {})
    except OSError as error:
        raise ReadError(f"{path} cannot be read ({error.strerror or error}), so no code can be given.") from error
    return _read_key(path, status.st_mtime_ns, status.st_size, status.st_ino)


@lru_cache(maxsize=4)
def _read_key(path: Path, *_stamp: int) -> Key:
    try:
        rows = _rows(path)
        if not rows or tuple(rows[0]) != COLUMNS:
            raise ValueError(f"its columns are not {', '.join(COLUMNS)}")
        codes = {Known(patient, image): code for patient, image, code, _ in rows[1:]}
    except (OSError, ValueError) as error:
        raise ReadError(
            f"{path} is not the key of patient codes, or is damaged ({error}). Get it back from a backup; "
            "without it nobody knows any more which code is which patient."
        ) from error
    return Key(codes, {code: known for known, code in codes.items()})


def _write_key(codes: dict[Known, str]) -> None:
    path = key_path()
    days = {code: day for _, _, code, day in _rows(path)} if path.exists() else {}
    rows = [(*one, code, days.get(code, date.today().isoformat())) for one, code in codes.items()]
    write_rows(path, COLUMNS, rows, mode=0o600)


def _rows(path: Path) -> list[list[str]]:
    """Give the rows of the key to the letter: a blank at the end of a name is a part of it."""
    reader = csv.reader(io.StringIO(path.read_bytes().decode("utf-8-sig"), newline=""))
    return [[plain_cell(cell) for cell in row] for row in reader if row]


# --- sentences: what names of patients, files and folders in them become

# In running text a shorter name could be any word, and shorter digits any number.
LEAST_LETTERS, LEAST_DIGITS = 4, 6
ENDINGS = (*READABLE, ".dcm", ".ima", ".txt", ".csv", ".xlsx", ".json", ".xml", ".pdf", ".zip", ".nrrd", ".mha")
ORDINARY = frozenset(
    (
        *("data", "file", "files", "folder", "image", "images", "label", "labels", "mask", "masks", "model"),
        *(
            "patient",
            "patients",
            "scan",
            "scans",
            "series",
            "slice",
            "slices",
            "study",
            "test",
            "train",
            "training",
        ),
    )
)
# What autoseg itself keeps beside the images tells of nobody by its name.
OWN_FILES = frozenset(
    (
        *("structures.csv", "annotated.csv", "subjects.csv", "repairs.csv", "corrections.csv", "voxel_sizes.csv"),
        *("test_subjects.json", "dataset.json", "run.json", "correction.json"),
    )
)
_WORDS: dict[str, str] = {}
_LONGEST_FIRST: list[str] = []
_KEPT: set[str] = set()
_LOCK = threading.Lock()


def keep_words(words: Iterable[str]) -> None:
    """Let sentences go on to say these words, which are names of structures, whatever files are called."""
    with _LOCK:
        _KEPT.update(words)


def hide(text: str) -> str:
    """Put codes in place of what this program has met of folders without patient IDs: IDs, files, folders, UIDs."""
    for word in _LONGEST_FIRST:
        if word in text and word not in _KEPT:
            text = re.sub(_alone(word), _WORDS[word].replace("\\", r"\\"), text)
    return text


One = TypeVar("One", bound=str)


def hide_note(note: One) -> One:
    """Give a note with codes in it, of the same kind."""
    return type(note)(hide(note))


@contextmanager
def hidden_errors(folder: Path | None) -> Iterator[None]:
    """Let errors about a folder name codes; None: as they are."""
    try:
        yield
    except AutosegError as error:
        if folder is not None:
            learn_folder(folder)
            error.args = tuple(hide(one) if isinstance(one, str) else one for one in error.args)
            error.__cause__ = error.__context__ = None  # which name the file too
        raise


def hide_skipped(skipped: Iterable[SkippedFile]) -> tuple[SkippedFile, ...]:
    """Give files that were left alone under names that tell nothing."""
    found = []
    for number, one in enumerate(skipped, start=1):
        name = hide(one.path.name)  # one that is too short to be told in a sentence is as it was
        name = name if name != one.path.name else f"left-alone-{number}{kind_of(one.path)}"
        found.append(replace(one, path=Path(name), reason=hide(one.reason)))
    return tuple(found)


def kind_of(path: Path) -> str:
    """Give the ending of a file's name if it is a usual one: what stands behind a point may be a part of a name."""
    return found if (found := ending(path)) in ENDINGS else ""


def learn_folder(folder: Path) -> None:
    """Learn what the files and folders of a folder are called, to know it in sentences."""
    folder = Path(folder)
    words = {str(place): "…" for place in (folder, Path(os.path.abspath(folder)), folder.resolve())}
    words[folder.resolve().name] = "the folder"
    root = folder if folder.is_dir() else folder.parent
    files = [path for path in walk(root)[0] if path.name.lower() not in OWN_FILES]
    for number, path in enumerate(files, start=1):
        code = f"file-{number}{kind_of(path)}"
        inside = path.relative_to(root)
        names = [str(inside), inside.as_posix(), path.name, path.stem, name_without_ending(path)]
        words.update(dict.fromkeys(names[:3], code) | dict.fromkeys(names[3:], f"file-{number}"))
    for number, place in enumerate(
        dict.fromkeys(path.parent.name for path in files if path.parent != root), start=1
    ):
        if not is_kind_folder(place):
            words[place] = f"folder-{number}"
    _learn(words, weak=True)


def _learn(words: dict[str, str], *, weak: bool = False) -> None:
    with _LOCK:
        new = {word: code for word, code in words.items() if _can_be_told(word) and _WORDS.get(word) != code}
        new = {word: code for word, code in new.items() if not (weak and word in _WORDS)}
        if new:
            _WORDS.update(new)
            _LONGEST_FIRST[:] = sorted(_WORDS, key=len, reverse=True)


def _can_be_told(word: str) -> bool:
    least = LEAST_DIGITS if word.isdecimal() else LEAST_LETTERS
    is_plain = is_kind_folder(word) or word.casefold() in ORDINARY or CODE.search(word) is not None
    return len(word) >= least and not is_plain


def _alone(word: str) -> str:
    """Give what finds a word that is no part of another; digits must be no part of a number either."""
    if word.isdecimal():
        return rf"(?<![\w.,]){re.escape(word)}(?![A-Za-z0-9]|[.,]\d)"
    before = r"(?<![A-Za-z0-9])" if word[0].isalnum() else ""
    return before + re.escape(word) + (r"(?![A-Za-z0-9])" if word[-1].isalnum() else "")


class HidingStream:
    """A stream on which codes are written in place of names."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write a text as `hide` gives it."""
        self._stream.write(hide(text))
        return len(text)

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


@contextmanager
def hidden_output(*folders: Path | None) -> Iterator[None]:
    """Let all that is printed name codes, if one of these folders is without patient IDs."""
    marked = [folder for folder in folders if folder is not None and is_without_ids(folder)]
    if not marked:
        yield
        return
    for folder in marked:
        learn_folder(folder)
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = HidingStream(sys.stdout), HidingStream(sys.stderr)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


# --- images: what they say of themselves


def coded_names(names: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Give the codes of (patient, image) pairs; what tells the part of a series or stack stays behind them."""
    parts = [(patient, *_parts_of(name)) for patient, name in names]
    images = codes_of(Known(patient, base) for patient, base, _ in parts)
    patients = codes_of(Known(patient) for patient, _, _ in parts if patient)
    return [(patients.get(Known(patient), ""), images[Known(patient, base)] + end) for patient, base, end in parts]


def _parts_of(name: str) -> tuple[str, str]:
    end = ENDS.search(name)
    cut = end.start() if end and end.start() else len(name)
    return name[:cut], name[cut:]


def coded_image(image: Image, names: tuple[str, str] | None = None) -> Image:
    """Give an image whose source names codes only; `names` are those of patient and image, if they are known.

    Where its slices were read from stays known to this program, to find other labels of the same files.
    """
    source = image.source
    patient, name = names or coded_names([(source.subject_id, source.case_id)])[0]
    uid = source.series_uid and codes_of([Known("", source.series_uid)])[Known("", source.series_uid)]
    return replace(image, source=coded_source(source, patient, name, uid))


def coded_source(source: Source, patient: str, name: str, uid: str) -> Source:
    """Give a source in which codes stand for patient, image and series; of files only their kind is left."""
    several = len({one.path for one in source.slices}) > 1
    slices = tuple(
        replace(
            one,
            path=Path(f"{name}{kind_of(one.path)}"),
            frame=index if several else one.frame,
            sop_uid="",
            origin=one,
        )
        for index, one in enumerate(source.slices)
    )
    notes = tuple(map(hide_note, source.notes))
    return replace(source, case_id=name, subject_id=patient, series_uid=uid, slices=slices, notes=notes)


def coded_series(found: DicomFolder) -> DicomFolder:
    """Give the series of a folder by codes, to be shown; without what a person typed and the date."""
    learn_folder(found.folder)
    names = coded_names([(one.subject_id, one.case_id) for one in found.series])
    series = tuple(
        replace(
            one,
            subject_id=patient,
            case_id=name,
            description="",
            date="",
            notes=tuple(map(hide_note, one.notes)),
            refusal=hide(one.refusal),
        )
        for one, (patient, name) in zip(found.series, names, strict=True)
    )
    return replace(found, series=series, skipped=hide_skipped(found.skipped))
