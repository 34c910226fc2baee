"""Folders as somebody names or looks for them: typed paths, what lies in them, home and drives."""

from __future__ import annotations

import os
import re
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit
from urllib.request import url2pathname

from autoseg.errors import DataError
from autoseg.words import natural

Result = TypeVar("Result")
SLOW = "does not answer (a network drive that is away, perhaps)"


def sub_folders(folder: Path) -> tuple[Path, ...]:
    """Give the folders in a folder, 2 before 10, without the hidden ones.

    Raises
    ------
    DataError
        If the folder cannot be read, or does not answer.
    """
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

    Raises
    ------
    DataError
        If nothing was typed, or a path that only another computer can have.
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
    """Give the folder that somebody typed or pasted; of a file, the folder it lies in.

    Raises
    ------
    DataError
        If there is no such folder, and the message names the nearest that exists; or as for `typed_path`.
    """
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

    Parameters
    ----------
    system : str
        As `sys.platform`.
    drives : iterable of str, optional
        Letters of the drives of Windows; by default as Windows tells, without asking the drives themselves.
    volumes : Path, optional
        Where other disks are: `/Volumes` on macOS, `/media` on Linux.

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
    """Do something that may hang, such as asking a network drive, and stop waiting after `seconds`.

    Raises
    ------
    TimeoutError
        If it was not done by then; it is left to itself.
    """
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
