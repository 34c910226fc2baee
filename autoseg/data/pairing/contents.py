"""What a folder holds, told quickly and in words, for someone who looks for the right one."""

from __future__ import annotations

import os
import re
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit
from urllib.request import url2pathname

from autoseg.data.pairing.names import is_label, is_label_folder
from autoseg.errors import DataError
from autoseg.files.dicom.headers import DIRECTORY, NOT_PICTURES, FileHeader, may_be_dicom, read_header
from autoseg.files.dicom.rtstruct import STRUCTURE_SET
from autoseg.files.dicom.seg import KINDS
from autoseg.files.sources import READABLE, Links, ending
from autoseg.words import counted, natural

# --- folders as somebody names or looks for them: typed paths, what lies in them, home and drives

Result = TypeVar("Result")
SLOW = "does not answer (a network drive that is away, perhaps)"


def sub_folders(folder: Path) -> tuple[Path, ...]:
    """Give the folders in a folder, 2 before 10, without the hidden ones."""
    try:
        return in_time(lambda: _sub_folders(folder), 4)
    except TimeoutError:
        raise DataError(f"The folder {folder} {SLOW}. Connect the drive, or choose another folder.") from None
    except OSError as error:
        raise DataError(f"The folder {folder} cannot be shown: {why(error)}. Choose another one.") from error


def typed_path(text: str) -> Path:
    """Give the absolute path that somebody typed or pasted, whether it exists or not.

    Quotes around it, `~`, `%USERPROFILE%` and `file://` are understood. Links and network drives are left as they
    are.
    """
    words = text.strip().strip("\"'\u2018\u2019\u201c\u201d«»").strip()
    if not words:
        raise DataError("No folder was typed. Paste its path into the field, or choose one in the list.")
    if os.name != "nt" and re.match(r"[A-Za-z]:[\\/]|\\\\", words):
        raise DataError(
            f"{words} is a folder on a Windows computer, and this notebook runs on another one, whose disk is "
            "shown here. Upload the images to it, or start the notebook on the computer that holds them."
        )
    if words.lower().startswith("file:"):
        words = url2pathname(urlsplit(words).path)
    return Path(os.path.abspath(os.path.expandvars(os.path.expanduser(words))))


def typed_folder(text: str) -> Path:
    """Give the folder that somebody typed or pasted; of a file, the folder it lies in."""
    path = typed_path(text)
    try:
        if "\\ " in text and not in_time(path.exists, 4):  # as a terminal writes blanks
            path = typed_path(text.replace("\\ ", " "))
        if in_time(path.is_file, 4):
            return path.parent
        if in_time(path.is_dir, 4):
            return path
    except (TimeoutError, OSError) as error:
        reason = SLOW if isinstance(error, TimeoutError) else f"cannot be reached: {why(error)}"
        raise DataError(f"The folder {path} {reason}. Connect the drive, or choose another folder.") from None
    near = nearest_folder(path)
    where = f"The nearest that exists is {near}." if near else "Nor does the drive exist."
    raise DataError(f"There is no folder {path}. {where} Check the spelling, or choose it in the list.")


def nearest_folder(path: Path) -> Path | None:
    """Give the folder itself if it exists, else the nearest above it that does; None if there is none."""
    for place in (path, *path.parents):
        try:
            if in_time(place.is_dir, 2):
                return place
        except (TimeoutError, OSError):
            continue
    return None


def roots(
    system: str = sys.platform, *, drives: Iterable[str] | None = None, volumes: Path | None = None
) -> tuple[tuple[str, Path], ...]:
    r"""Give the places to start from, each with its name: home, and the drives, volumes or `/`.

    Examples
    --------
    >>> [name for name, _ in roots("win32", drives="CZ")]
    ['Home', 'Drive C:', 'Drive Z:']
    """
    found = [("Home", Path.home())]
    if system == "win32":
        letters = _drive_letters() if drives is None else drives
        return (*found, *((f"Drive {letter}:", Path(f"{letter}:\\")) for letter in letters))
    found.append(("Computer (/)", Path("/")))
    place = volumes or Path("/Volumes" if system == "darwin" else "/media")
    try:
        inside = in_time(lambda: _sub_folders(place), 2)
    except (TimeoutError, OSError):
        inside = ()
    return (*found, *((f"Disk {path.name}", path) for path in inside))


def in_time(work: Callable[[], Result], seconds: float) -> Result:
    """Do something that may hang, such as asking a network drive, and stop waiting after `seconds`."""
    results: list[Result] = []
    errors: list[Exception] = []

    def run() -> None:
        try:
            results.append(work())
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True, name="waits for a drive")
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not results:
        raise TimeoutError(f"no answer in {seconds} s")
    return results[0]


def _sub_folders(folder: Path) -> tuple[Path, ...]:
    with os.scandir(folder) as entries:
        found = [Path(e.path) for e in entries if not e.name.startswith((".", "__MACOSX", "$")) and e.is_dir()]
    return tuple(sorted(found, key=lambda path: natural(path.name.lower())))


def _drive_letters() -> list[str]:
    import ctypes

    mask = ctypes.windll.kernel32.GetLogicalDrives()  # type: ignore[attr-defined]
    return [chr(ord("A") + number) for number in range(26) if mask >> number & 1]


def why(error: OSError) -> str:
    """Say in a few words why a folder or file cannot be reached."""
    if isinstance(error, PermissionError):
        return "not allowed to look inside"
    return "not there" if isinstance(error, FileNotFoundError) else error.strerror or str(error)


# DICOM objects that hold labels, by the UID of their kind: segmentation, label map, structure set.
LABEL_OBJECTS = (*KINDS, STRUCTURE_SET)
# Reports, presentation states, waveforms, raw data and the like, by the beginning of their UID: no images.
NO_IMAGES = tuple(f"1.2.840.10008.5.1.4.1.1.{number}" for number in ("88.", "11.", "9.", "66", "104.", "481.5"))
# Files of other programs, not worth opening. What ends otherwise, or not at all, may be DICOM.
OTHER_ENDINGS = re.compile(
    r"\.(bat|c|cfg|cpp|css|csv|db|dll|docx?|exe|gif|gz|h|html?|ini|ipynb|jar|js|json|lnk|md|mov|mp3|mp4|msi|pdf|pptx?|"
    r"pt|pyc?|pyd|rtf|so|svg|tar|toml|ts|tsv|xlsx?|xml|ya?ml|zip)"
)
NOT_ON_DISK = ("/proc", "/sys", "/dev", "/run")
# Windows: offline, or recalled when opened; macOS: without its data. To open such a file would download it.
AWAY_ON_WINDOWS, AWAY_ON_MACOS = 0x1000 | 0x400000, 0x40000000


@dataclass(frozen=True)
class Contents:
    """How many images and labels lie in a folder, its sub-folders included.

    `folders` counts only its own sub-folders. Where `whole` is False the counting ended early, after `files`
    files, and all numbers are lower bounds. `away` files are in a cloud and were not opened, `locked` folders could
    not. `problem` says why nothing is known.
    """

    folder: Path
    dicoms: int = 0
    images: int = 0
    labels: int = 0
    folders: int = 0
    files: int = 0
    away: int = 0
    locked: int = 0
    whole: bool = True
    problem: str = ""

    @property
    def words(self) -> str:
        """The numbers as a reader wants them.

        Examples
        --------
        >>> Contents(Path("a"), dicoms=200, labels=190, folders=2, files=390).words
        '200 DICOM images, 190 labels, 2 folders'
        >>> Contents(Path("a"), dicoms=2990, labels=10, files=3000, whole=False).words
        'more than 3,000 files: 2,990 DICOM images, 10 labels among them'
        """
        if self.problem:
            return self.problem
        parts = [
            _count(self.dicoms, "DICOM image"),
            _count(self.images, "other image" if self.dicoms else "image"),
            _count(self.labels, "label"),
        ]
        inside = [_count(self.folders, "folder")]
        inside += [f"{_count(self.away, 'file')} only in the cloud"] if self.away else []
        inside += [f"{_count(self.locked, 'folder')} locked"] if self.locked else []
        found = ", ".join(part for part in parts if part)
        if self.whole:
            nothing = "" if found else "empty" if not (self.files or self.folders) else "no images"
            return ", ".join(part for part in (found or nothing, *inside) if part)
        among = f"{found} among them" if found else "no image among the first"
        return ", ".join(part for part in (f"more than {_count(self.files, 'file')}: {among}", *inside) if part)


def folder_contents(folder: Path | str, *, most: int = 3000, seconds: float = 1.5) -> Contents:
    """Count the images and labels in a folder and below it; never raise, and never take long.

    DICOM is told by its content, whatever the file's name; other images (NIfTI, PNG, JPEG, TIFF, NPY) by their
    endings; labels by the folder they lie in or the words in their names, as `find_cases` tells them. Hidden files
    are passed over, and links to folders that are counted already.
    """
    tally = _Tally(Path(folder))
    deadline = time.monotonic() + seconds
    try:
        in_time(lambda: tally.count(most, deadline), seconds + 2)
    except TimeoutError:
        return Contents(tally.folder, whole=False, problem=SLOW)
    except OSError as error:
        return Contents(tally.folder, whole=False, problem=why(error))
    return Contents(tally.folder, whole=tally.whole, **tally.counts)


def is_away(facts: object) -> bool:
    """Tell by what `os.stat` gave whether a file lies in a cloud and would be downloaded if it were opened."""
    windows, macos = getattr(facts, "st_file_attributes", 0), getattr(facts, "st_flags", 0)
    return bool(windows & AWAY_ON_WINDOWS or macos & AWAY_ON_MACOS)


class _Tally:
    """Counts file by file, the folder's own first, then level by level."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.whole, self.links = folder, True, Links(folder)
        self.counts: dict[str, Any] = Counter()

    def count(self, most: int, deadline: float) -> None:
        """Look at `most` files, or until the deadline; OSError if not even the folder itself can be read."""
        waiting = deque([self.folder])
        while waiting:
            place = waiting.popleft()
            try:
                entries = os.scandir(place)
            except OSError:
                if place == self.folder:
                    raise
                self.counts["locked"] += 1
                continue
            with entries:
                for entry in entries:
                    if entry.name.startswith((".", "__MACOSX")):
                        continue
                    if self.counts["files"] >= most or time.monotonic() > deadline:
                        self.whole = False
                        return
                    try:
                        self._look(entry, waiting)
                    except OSError:  # gone, or not ours to read: it counts as a file of no kind
                        continue

    def _look(self, entry: os.DirEntry[str], waiting: deque[Path]) -> None:
        if entry.is_dir():
            self.counts["folders"] += Path(entry.path).parent == self.folder
            is_new = self.links.follow(Path(entry.path)) if entry.is_symlink() else entry.path not in NOT_ON_DISK
            if is_new and os.path.realpath(entry.path) not in NOT_ON_DISK:
                waiting.append(Path(entry.path))
        elif entry.is_file():
            self.counts["files"] += 1
            facts = entry.stat()
            kind = "away" if is_away(facts) else _kind(Path(entry.path), self.folder, facts.st_size)
            if kind:
                self.counts[kind] += 1


def _kind(path: Path, folder: Path, size: int) -> str:
    """Give "dicoms", "images" or "labels", or "" for anything else."""
    suffix = ending(path)
    if suffix in READABLE:
        # The name of the folder itself counts: somebody may have walked into labels.
        return "labels" if is_label(path, folder.parent) else "images"
    if suffix == ".txt" and is_label_folder(path.parent.name) and "contour" in path.stem.lower():
        return "labels"
    if OTHER_ENDINGS.fullmatch(suffix) or size < 132:
        return ""
    with path.open("rb") as file:
        start = file.read(512)
    if start[128:132] == b"DICM":
        # The kind stands near the beginning, in the element (0002,0002).
        _, found, rest = start[132:].partition(b"\x02\0\x02\0UI")
        uid = (
            rest[2 : 2 + int.from_bytes(rest[:2], "little")].strip(b"\0 ").decode("ascii", "replace")
            if found
            else ""
        )
        if uid in LABEL_OBJECTS:
            return "labels"
        return "" if uid == DIRECTORY or uid in NOT_PICTURES or uid.startswith(NO_IMAGES) else "dicoms"
    return "dicoms" if may_be_dicom(start) and isinstance(read_header(path), FileHeader) else ""


def _count(number: int, what: str) -> str:
    return counted(number, what) if number else ""
