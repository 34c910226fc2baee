"""Work that belongs to the kernel, not to the panel that shows it: it can be looked at, stopped and waited for."""

from __future__ import annotations

import errno
import getpass
import os
import re
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Generic, TypeVar

from autoseg.data.cases import Case
from autoseg.errors import LEARN_SMALLER, AutosegError, DataError, in_words, let_go
from autoseg.training.events import Event
from autoseg.training.plan import hide_ids

# --- one training at a time on a computer: two at once would each take twice as long, or run out of memory

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
            with suppress(OSError):
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


# --- the work itself


class State(StrEnum):
    """Where work in the background stands."""

    WAITING = "waiting"
    READING = "reading"
    LEARNING = "learning"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FINISHED = "finished"
    FAILED = "failed"

    @property
    def is_active(self) -> bool:
        """Whether it is not done yet."""
        return self in (State.WAITING, State.READING, State.LEARNING, State.STOPPING)


class Background:
    """Work in a thread of its own; closing the page does not touch it.

    Subclasses do the work in `_work` and say whether it came to something in `_end_state`. They hand every `Event`
    of the work to `_hear`, which keeps its line in `lines`. `state`, `lines`, `error` (why it failed) and `begun`
    (when) may be read at any time. Work is started once.

    Parameters
    ----------
    name : str
        Of what is done, for the user.
    cases : sequence of Case
        Whose IDs stand in no line and in no failure.
    """

    def __init__(self, name: str, cases: Sequence[Case] = ()) -> None:
        self.name, self.begun = name, datetime.now()
        self.state = State.WAITING
        self.lines: list[str] = []
        self.error: Exception | None = None
        self.viewer: object = None  # the panel that shows it, if any
        self._pseudonyms = hide_ids(cases)
        self._listeners: list[Callable[[], object]] = []
        self._stop, self._lock = threading.Event(), threading.Lock()
        self._thread: threading.Thread | None = None

    # --- what a click does

    def begin(self, turn: Turn | None = None) -> None:
        """Begin; `turn` is given back when the work ends."""
        if self._thread is not None:
            raise DataError(f"{self.name!r} was started already. Start a new one.")
        self.state = State.READING
        self._thread = threading.Thread(target=self._run, args=(turn,), daemon=True, name=f"learning {self.name}")
        self._thread.start()

    def stop(self) -> None:
        """Ask it to stop; it does so after the step that it is at."""
        with self._lock:
            if not self.is_active:
                return
            self.state = State.STOPPING
            self._stop.set()
        self._tell()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until it is done; tell whether it is."""
        if self._thread is not None:
            self._thread.join(timeout_s)
        return not self.is_active

    def listen(self, listener: Callable[[], object]) -> Callable[[], None]:
        """Call `listener` whenever something changed, in the work's thread; give a function that ends it.

        It must be quick. What it raises is dropped: nobody who looks on can end the work.
        """
        self._listeners.append(listener)

        def end() -> None:
            with suppress(ValueError):
                self._listeners.remove(listener)

        return end

    # --- what it tells

    @property
    def is_active(self) -> bool:
        """Whether it waits, reads, learns or is stopping."""
        return self.state.is_active

    @property
    def was_stopped(self) -> bool:
        """Whether somebody asked it to stop."""
        return self._stop.is_set()

    def share(self) -> float:
        """Give how much is done, 0 to 1."""
        return 0.0 if self.is_active else 1.0

    def details(self) -> str:
        """Give the traceback of what failed, for whoever helps; "" where the sentence says it all."""
        if self.error is None or isinstance(self.error, AutosegError):
            return ""
        return "".join(traceback.format_exception(self.error))

    def failure(self) -> str:
        """Give why it failed as a sentence with the remedy, without patients' IDs; "" if it did not."""
        return self.hidden(sentence_of_failure(self.error)) if self.error is not None else ""

    def hidden(self, words: str) -> str:
        """Give words with numbers in place of patients' IDs."""
        return self._pseudonyms.hide(words)

    # --- inside its thread

    def _work(self) -> None:
        """Do it; what it raises is kept in `error`."""
        raise NotImplementedError

    def _end_state(self) -> State:
        """Give the state in which it ended."""
        return State.FAILED if self.error is not None else State.FINISHED

    def _run(self, turn: Turn | None) -> None:
        try:
            self._work()
        except Exception as error:
            self.error = error
            let_go(error)
        finally:
            with self._lock:
                self.state = self._end_state()
            if turn is not None:
                turn.give_back()
            self._tell()

    def _should_stop(self) -> bool:
        self._has_begun()
        return self._stop.is_set()

    def _has_begun(self) -> None:
        with self._lock:
            is_new = self.state is State.READING
            self.state = State.LEARNING if is_new else self.state
        if is_new:
            self._tell()

    def _hear(self, event: Event) -> None:
        """Keep the line of an event; what follows from the event itself is a subclass's."""
        self.lines.append(self.hidden(str(event)))

    def _tell(self) -> None:
        for listener in tuple(self._listeners):
            with suppress(Exception):
                listener()


def sentence_of_failure(error: Exception) -> str:
    """Say in plain words why learning failed, and what to do."""
    words = str(error)
    if isinstance(error, AutosegError):
        return words
    told = in_words(error, "to learn", LEARN_SMALLER)
    return str(told) if told is not None else f"The training ended by a fault: {words or type(error).__name__}."


Work = TypeVar("Work", bound=Background)


class Kernel(Generic[Work]):
    """The work of one kind in this kernel, by a key under which another panel finds it; none runs twice at once."""

    def __init__(self) -> None:
        self._known: dict[Hashable, Work] = {}
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[Work]:
        return iter(tuple(self._known.values()))

    def find(self, key: Hashable) -> Work | None:
        """Give what runs under this key or ran last, if anything did."""
        return self._known.get(key)

    def start(self, key: Hashable, make: Callable[[], Work], *, busy: str, alone: bool = True) -> Work:
        """Make the work, begin it and give it; `alone` refuses where another training learns on this computer.

        `busy` says what to do where the work under this key still runs.
        """
        with self._lock:
            earlier = self.find(key)
            if earlier is not None and earlier.is_active:
                raise DataError(busy)
            work = make()
            turn = Turn(work.name) if alone else None
            self._known[key] = work
            work.begin(turn)
        return work


class Budget:
    """Says when work beside the learning may be done again: not too often, and for a small share of the time.

    `every_s` are the seconds between two pieces of work, at least; after costly work the pause is so much longer
    that the `share` of the time (more than 0 to 1) is kept.
    """

    def __init__(self, every_s: float, share: float) -> None:
        self.every_s, self.share = every_s, share
        self.spent_s, self._next = 0.0, 0.0

    def is_due(self) -> bool:
        """Tell whether the work may be done now."""
        return time.monotonic() >= self._next

    def do(self, work: Callable[[], None]) -> None:
        """Do it, and note what it cost."""
        start = time.monotonic()
        try:
            work()
        finally:
            end = time.monotonic()
            self.spent_s += end - start
            self._next = end + max(self.every_s, (end - start) / self.share)
