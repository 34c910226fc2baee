"""Writing that is whole or not there, also if the program is killed or another one writes at the same time.

What is not whole yet lies in `.unfinished-…`, beside a lock that the system frees when its program ends, however
that was. So whoever comes next knows what nobody finishes any more: it is taken away, and of a step of several
files (`one_step`) what was changed is taken back.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, SoftFileLock, Timeout

from autoseg.errors import OutputError

BEGUN = ".unfinished-"
# How names end of what `spare_file` has not ended yet.
NEW = ".new"
# What may be deleted where nobody holds it: a lock, and the names that are given here or were by earlier versions.
LEFT = re.compile(rf"{re.escape(BEGUN)}([0-9a-z_]{{8,12}}(\.\w+)*|.*\.lock)")
STEP_LOCK = f"{BEGUN}step.lock"
JOURNAL = "journal.json"
# How long another program's step is waited for; the longest writes a few hundred megabytes.
LONGEST_WAIT_S = 60.0


@contextmanager
def whole_file(path: Path, *, mode: int = 0o644) -> Iterator[Path]:
    """Give a temporary path of the same name; it becomes `path` only if the block ends well.

    In a `one_step` that is taken back, `path` becomes again what it was. `mode` says who may read and write it.
    """
    path = Path(path)
    if _is_begun(path):  # the folder around it is not there yet, and takes its name as a whole
        with _explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                yield path
            except BaseException:
                path.unlink(missing_ok=True)
                raise
        return
    with _explained(path), _beside(path) as temporary:
        temporary.touch(mode)
        yield temporary
        os.chmod(temporary, mode)
        _keep((temporary,))
        _put(temporary, path)


@contextmanager
def spare_file(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`, which becomes `path` only if the block ends well.

    For what is checked when it is read, and made again where it is damaged (a cache): neither the disk nor another
    program is waited for, and what a killed one leaves stays until somebody deletes it.
    """
    path = Path(path)
    temporary = path.with_name(f"{path.name}-{secrets.token_hex(4)}{NEW}")
    with _explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder of the same name; it becomes `path` only if the block ends well."""
    path = Path(path)
    with _explained(path):
        if path.exists():
            raise OutputError(
                f"{path} exists already, and results of two runs are never mixed in one folder. "
                "Choose another name, or move the old folder away."
            )
        if _is_begun(path):
            path.mkdir(parents=True)
            yield path
            return
        with _beside(path) as temporary:
            temporary.mkdir()
            try:
                yield temporary
            except OutputError as error:
                if isinstance(error.__cause__, OSError) and str(temporary) in str(error):
                    raise error.__cause__ from None  # the sentence is about the folder, not the temporary name
                raise
            os.chmod(temporary, 0o755)
            _keep(temporary.rglob("*"))
            _put(temporary, path)


@contextmanager
def one_step(folder: Path) -> Iterator[None]:
    """Make all that is written and removed below a folder in this block one step: done, or taken back.

    It is taken back if the block ends with an exception; if the program is killed, by the next one that writes
    here or calls `settle`. As long as the block lasts no other program is in a step of this folder (others wait),
    so that what is read in it may be changed and written. Steps within it belong to it.

    Raises
    ------
    OutputError
        If another program does not end its step, the folder cannot be written, or what was there cannot be put
        back.
    """
    folder = Path(os.path.realpath(folder))
    if _step_of(folder) is not None:
        yield
        return
    with ExitStack() as stack:
        with _explained(folder):
            stack.enter_context(_folder_for(folder))
            stack.enter_context(_locked(folder / STEP_LOCK, f"Another program is writing in {folder}."))
            settle(folder)
            step = _Step(folder, stack.enter_context(_begun(folder)))
            step.place.mkdir()
        before = _STEPS.set((step, *_STEPS.get()))
        try:
            yield
            with _explained(folder):
                step.conclude()
        except BaseException:
            step.take_back()
            raise
        finally:
            _STEPS.reset(before)


def remove(path: Path) -> None:
    """Remove a file, if it is there; in a step that is taken back it comes back. A folder of its name stays."""
    path = Path(path)
    if path.is_dir() and not path.is_symlink():
        raise OutputError(
            f"{path} is a folder, in the place of a file that would have to go. Move it away, then try again."
        )
    step = _step_of(path)
    with _explained(path):
        if step is not None:
            step.move_away(_real(path))
        else:
            path.unlink(missing_ok=True)


def remove_folder(path: Path) -> None:
    """Remove a folder with all that is in it, if it is there; in a step that is taken back it comes back."""
    path = Path(path)
    if not path.is_dir():
        return
    step = _step_of(path)
    with _explained(path):
        if step is not None:
            step.move_away(_real(path))
        else:
            with _begun(path.parent) as place:  # gone at once, however long it takes to delete it
                place.mkdir()
                os.replace(path, place / path.name)


def settle(*folders: Path) -> None:
    """Take away what killed programs left unfinished in folders, and take their steps back; wait for living ones.

    It is called before several files of a folder are read that belong together.

    Raises
    ------
    OutputError
        If a step cannot be taken back, so that files there may not belong together.
    """
    own = {path for step in _STEPS.get() for path in (step.place, step.folder / STEP_LOCK.removesuffix(".lock"))}
    for folder in dict.fromkeys(Path(os.path.realpath(folder)) for folder in folders):
        try:
            names = [name for name in os.listdir(folder) if name.startswith(BEGUN) and LEFT.fullmatch(name)]
        except OSError:
            continue  # whoever reads there will say why it cannot be read
        for place in sorted({folder / name.removesuffix(".lock") for name in names} - own):
            is_step = (place / JOURNAL).exists() and not place.is_symlink()
            try:
                with _locked(
                    place.with_name(f"{place.name}.lock"),
                    f"Another program is writing in {folder}.",
                    None if is_step else 0.0,
                ):
                    if is_step and (place / JOURNAL).exists():
                        _Step.read(folder, place).take_back()
                    if place.is_dir() and not place.is_symlink():
                        shutil.rmtree(place, ignore_errors=True)
                    else:
                        place.unlink(missing_ok=True)
            except (OutputError, OSError):
                if is_step:
                    raise


@contextmanager
def held(path: Path, busy: str) -> Iterator[None]:
    """Hold a name, which need not exist, for as long as the block lasts; raise OutputError(`busy`) if another does.

    A program that dies holds nothing any more.
    """
    path = Path(path)
    lock = path.with_name(f"{BEGUN}{path.name}.lock")
    # It waits longer than `settle` in another program takes to see that the lock is free.
    with _explained(path), _folder_for(path.parent), _locked(lock, busy, 0.5):
        yield


def check_writable(folder: Path) -> None:
    """Try to write in a folder, making it if needed, before work is done whose result shall land there."""
    folder = Path(folder)
    # What is not there yet will be made in the nearest folder that is.
    existing = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    with _explained(folder), tempfile.TemporaryFile(dir=existing) as file:
        file.write(b"autoseg can write here")


# --- a step: what stood there is kept until all is done


class _Change(NamedTuple):
    """One change of a step, as the journal has it: a path below the folder, and what was there.

    `kept` is the name that it has in the step's own place, "" where nothing was. `made` is a folder that was made
    for what lies in it.
    """

    path: str
    kept: str = ""
    made: bool = False


@dataclass
class _Step:
    """What one program changes in a folder; in `place` lies what was there before, and the journal.

    A change stands in the journal, on the disk, before it is made.
    """

    folder: Path
    place: Path
    changes: list[_Change] = field(default_factory=list)

    @classmethod
    def read(cls, folder: Path, place: Path) -> _Step:
        """Read the journal that a killed program left; one that leads out of the folder is none of ours."""
        path = place / JOURNAL
        try:
            step = cls(folder, place, [_Change(*row) for row in json.loads(path.read_text("utf-8"))])
            ours = all(
                step.holds(_real(folder / change.path)) and re.fullmatch(r"(before-\d+)?", change.kept)
                for change in step.changes
            )
        except (ValueError, TypeError):
            ours = False
        if not ours:
            raise OutputError(
                f"{path} was not written by autoseg, or is damaged. Take {place.name} out of {folder}, compare the "
                "files there with a copy, then try again."
            )
        return step

    def holds(self, path: Path) -> bool:
        return self.folder in (path, *path.parents)

    def make_folder(self, path: Path) -> None:
        """Make a folder and those above it."""
        missing = [one for one in (path, *path.parents) if not one.exists()]
        for one in reversed(missing):
            self._note(one, made=True)
            one.mkdir(exist_ok=True)

    def put(self, temporary: Path, path: Path) -> None:
        """Let a whole file or folder take its name, and keep what has that name now."""
        kept = f"before-{len(self.changes)}" if os.path.lexists(path) else ""
        if kept:
            _copy(path, self.place / kept)
        self._note(path, kept)
        os.replace(temporary, path)

    def move_away(self, path: Path) -> None:
        """Keep a file or folder aside, to be deleted at the end."""
        if os.path.lexists(path):
            kept = f"before-{len(self.changes)}"
            self._note(path, kept)
            os.replace(path, self.place / kept)

    def conclude(self) -> None:
        """Let it be done: from here on nothing is taken back."""
        if self.changes:
            _keep_names({self.folder / change.path for change in self.changes})
            (self.place / JOURNAL).unlink()
            _keep_names((self.place / JOURNAL,))

    def take_back(self) -> None:
        """Put back what was there, the last change first; it can be ended and begun again at any moment."""
        try:
            while self.changes:
                self._take_back(self.changes[-1])
                # Twice would do harm: what is new in a place would be what was put back there.
                self.changes.pop()
                self._write_journal()
            (self.place / JOURNAL).unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(
                f"{self.folder} was left in the middle of being written, and could not be put back as it was: "
                f"{error.strerror or error} ({error.filename}). Close other programs that use its files, see that "
                "you may write there, then try again; nothing is lost."
            ) from error

    def _take_back(self, change: _Change) -> None:
        path, kept = self.folder / change.path, self.place / change.kept
        if change.made:
            with suppress(OSError):  # it is not empty: somebody else put something there
                path.rmdir()
        elif not change.kept or os.path.lexists(kept):  # else it is back already, or was not moved away yet
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            if change.kept:
                os.replace(kept, path)
            else:
                path.unlink(missing_ok=True)

    def _note(self, path: Path, kept: str = "", *, made: bool = False) -> None:
        self.changes.append(_Change(os.path.relpath(path, self.folder), kept, made))
        self._write_journal()

    def _write_journal(self) -> None:
        temporary = self.place / f"new-{JOURNAL}"
        temporary.write_text(json.dumps(self.changes), encoding="utf-8")
        _keep((temporary,))
        os.replace(temporary, self.place / JOURNAL)
        _keep_names((self.place / JOURNAL, *(self.folder / change.path for change in self.changes[-1:])))


_STEPS: ContextVar[tuple[_Step, ...]] = ContextVar("steps", default=())


def _step_of(path: Path) -> _Step | None:
    """Give the step that a path is changed in."""
    path = _real(path)
    return next((step for step in _STEPS.get() if step.holds(path)), None)


def _real(path: Path) -> Path:
    """Give where a file or folder of this name lies when links on the way to it are followed."""
    path = Path(os.path.abspath(path))
    return Path(os.path.realpath(path.parent)) / path.name


def _put(temporary: Path, path: Path) -> None:
    step = _step_of(path)
    if step is not None:
        step.put(temporary, _real(path))
    else:
        os.replace(temporary, path)
        _keep_names((path,))


def _copy(path: Path, kept: Path) -> None:
    """Keep a file under a second name; nothing changes a file in its place, so that the name is enough."""
    try:
        os.link(path, kept, follow_symlinks=False)
    except (OSError, NotImplementedError):  # a file system without a second name
        shutil.copy2(path, kept, follow_symlinks=False)
        _keep((kept,))


# --- what has begun, and whether somebody is still at it


def _is_begun(path: Path) -> bool:
    return any(part.startswith(BEGUN) for part in path.parts[:-1])


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """Give a place of the same name on the same disk, for what becomes `path`."""
    step = _step_of(path)
    if step is not None:
        step.make_folder(_real(path).parent)
    path.parent.mkdir(parents=True, exist_ok=True)
    if step is not None and step.place.stat().st_dev == path.parent.stat().st_dev:
        place = step.place / f"new-{secrets.token_hex(4)}"
        place.mkdir()
        try:
            yield place / path.name
        finally:
            shutil.rmtree(place, ignore_errors=True)
        return
    settle(path.parent)
    with _begun(path.parent) as place:
        place.mkdir()
        yield place / path.name


@contextmanager
def _begun(folder: Path) -> Iterator[Path]:
    """Give the name of a temporary folder that everybody knows to be in use; it is deleted at the end."""
    place = folder / f"{BEGUN}{secrets.token_hex(6)}"
    with _locked(place.with_suffix(".lock"), f"{place} is in use."):
        try:
            yield place
        finally:
            if not (place / JOURNAL).exists():  # else it could not be taken back now, and is the next time
                shutil.rmtree(place, ignore_errors=True)


@contextmanager
def _folder_for(folder: Path) -> Iterator[None]:
    """Make a folder, and those above it; what is empty at the end was not needed, and goes again."""
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        with suppress(OSError):  # the first that is not empty
            for one in missing:
                one.rmdir()


@contextmanager
def _locked(path: Path, busy: str, wait_s: float | None = None) -> Iterator[None]:
    """Hold a lock that the system frees when this program ends, however that is; leave no file behind."""
    lock = FileLock(path, thread_local=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on a drive without locks the file itself is one, with its owner in it
        try:
            lock.acquire(timeout=LONGEST_WAIT_S if wait_s is None else wait_s)
        except Timeout:
            raise OutputError(f"{busy} Wait until it is done, then try again.") from None
    is_native = not isinstance(lock, SoftFileLock)
    try:
        yield
    finally:
        if (
            os.name == "posix" and is_native
        ):  # who waits for a file that has lost its name sees that, and begins again
            path.unlink(missing_ok=True)
        lock.release()
        if os.name == "nt" and is_native:
            with suppress(OSError):  # Windows deletes no file that the next one has open
                path.unlink(missing_ok=True)


def _keep(paths: Iterable[Path]) -> None:
    """Have the system write files to the disk before their names are given to them."""
    files = [path for path in paths if path.is_file() and not path.is_symlink()]
    if len(files) == 1:
        _sync(files[0])
    elif files:
        with ThreadPoolExecutor(8) as pool:  # it is the disk that is waited for
            list(pool.map(_sync, files))


def _sync(path: Path) -> None:
    try:
        number = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    except PermissionError:
        return  # a copy of a file that may only be read
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _keep_names(paths: Iterable[Path]) -> None:
    """Have the system write the folders in which names were changed."""
    if os.name != "posix":
        return  # Windows keeps names in its own journal, and opens no folder
    for folder in {path.parent for path in paths if path.parent.is_dir()}:
        with suppress(OSError):  # some network drives cannot
            number = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(number)
            finally:
                os.close(number)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn the system's error into one sentence with the remedy."""
    try:
        yield
    except OSError as error:
        if error.filename is not None and not _is_about(Path(os.fsdecode(error.filename)), path):
            raise
        reason = error.strerror or str(error)
        raise OutputError(
            f"{path} could not be written: {reason}. Nothing was saved under that name. "
            "Free some space or choose a folder in which you may write, then try again."
        ) from error


def _is_about(culprit: Path, path: Path) -> bool:
    """Tell whether an error about `culprit` comes from writing `path`: in its folder, or a folder above it."""
    culprit, folder = Path(os.path.abspath(culprit)), Path(os.path.abspath(path.parent))
    if _is_begun(culprit):
        return True  # of a step, its place lies in the step's folder
    return culprit == folder or folder in culprit.parents or culprit in folder.parents
