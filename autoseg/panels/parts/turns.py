"""One training at a time on a computer: two at once would each take twice as long, or run out of memory."""

from __future__ import annotations

import contextlib
import errno
import getpass
import os
import re
import sys
import tempfile
from datetime import datetime
from pathlib import Path

from autoseg.errors import DataError

# A byte far behind the text is locked: on Windows a locked byte cannot be read by others.
_LOCKED_BYTE = 1 << 20
# How systems say that somebody else has the lock.
TAKEN = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)


class Turn:
    """The right to learn on this computer, held until `give_back`, or until the process ends, however it ends.

    Parameters
    ----------
    name : str
        Of the model; others who ask are told it.
    place : Path, optional
        The file that is locked; by default one for each user in the folder of temporary files.

    Raises
    ------
    DataError
        If another training has the turn; the message names it and says since when.
    """

    def __init__(self, name: str, *, place: Path | None = None) -> None:
        self._file: int | None = None
        place = place or turn_file()
        try:
            file = os.open(place, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError:  # a folder that cannot be written: rather no order than no training
            return
        try:
            _lock(file)
        except OSError as error:
            os.close(file)
            if error.errno not in TAKEN:  # a file system without locks: rather no order than no training
                return
            raise DataError(
                f"Another training ({_holder(place)}) is learning on this computer. Two at once would each take "
                "twice as long: wait until it is done, or stop it first."
            ) from None
        self._file = file
        os.ftruncate(file, 0)
        os.write(file, f"{name!r}, since {datetime.now():%H:%M}".encode())

    def give_back(self) -> None:
        """Let others learn."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                os.close(self._file)
            self._file = None


def turn_file() -> Path:
    """Give the file that trainings of this user on this computer lock."""
    try:
        user = re.sub(r"\W", "_", getpass.getuser())
    except (OSError, KeyError, ImportError):  # a user without a name, as in some containers
        user = "user"
    return Path(tempfile.gettempdir()) / f"autoseg-learning-{user}.lock"


def _holder(place: Path) -> str:
    try:
        return place.read_text(encoding="utf-8")[:200] or "of another notebook"
    except (OSError, UnicodeDecodeError):
        return "of another notebook"


def _lock(file: int) -> None:
    """Lock the file for this process, or raise OSError where another open file has it."""
    if sys.platform == "win32":
        import msvcrt

        os.lseek(file, _LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        os.lseek(file, 0, os.SEEK_SET)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
