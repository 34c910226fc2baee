"""The cache: arrays that cost time to make and can be made again, in a folder of the user's own.

An entry is one file: a head that says what it holds, with a checksum of itself and one of each row, then the rows.
Its name is a digest. Whoever reads notices a file that is damaged, cut off or gone, and makes it again; so nothing
is waited for while it is written, and another program may take it away. What was used longest ago goes first when
the cache is full, but nothing goes while another program works with it.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import sys
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary, finalize

import numpy as np
import numpy.typing as npt

from autoseg.errors import OutputError, ReadError
from autoseg.files.atomic import BEGUN, NEW, held, settle, spare_file, whole_file
from autoseg.files.room import free_bytes
from autoseg.words import size_words

PLACE = "AUTOSEG_CACHE"
ENTRIES, USING, LIMIT, README = "cases", "using", "limit_gb.txt", "READ_ME.txt"
ENTRY = re.compile(rf"[0-9a-f]{{64}}(-[0-9a-f]{{8}}{re.escape(NEW)})?")
MAGIC = b"autoseg cache 1\n"
KINDS = ("<f4", "<f2", "|u1")
# Without a limit of the user's own the cache takes this part of what is free, and of what it has already.
PART_OF_DISK = 0.5
# Where a program is killed as it writes, something is left; nobody takes so long to write one file.
LEFT_AFTER_S = 3600.0
TEXT = """What is here was made by autoseg while it learnt from images that are too many for the memory: their
pixels and their labels, ready for a network. THESE ARE DATA OF PATIENTS, without their names. All of it can be made
again from the images. "autoseg cache" shows how much it is, "autoseg cache --clear" deletes it, and
"autoseg cache --limit-gb 50" limits it.
"""
GB = 1e9

Array = npt.NDArray[np.generic]


class DamagedError(ReadError):
    """An entry that is not what was written."""


@dataclass(frozen=True, eq=False)
class Entry:
    """One file of the cache: what it says `about` itself, and arrays whose rows are read when they are asked for.

    `arrays` has for each name its type, its shape, where it begins in the file and the checksum of every row.
    """

    path: Path
    about: Mapping[str, Any]
    arrays: Mapping[str, tuple[np.dtype[Any], tuple[int, ...], int, tuple[int, ...]]]
    cache: Cache
    checked: set[tuple[str, int]] = field(default_factory=set)

    def shape(self, name: str) -> tuple[int, ...]:
        """Give the shape of an array."""
        return self.arrays[name][1]

    def row(self, name: str, index: int) -> Array:
        """Read one row of an array, a copy; DamagedError where it is not there any more, or is not what it was."""
        kind, shape, start, sums = self.arrays[name]
        found = np.empty(shape[1:], kind)
        view = _bytes_of(found)
        try:
            with self.path.open("rb", buffering=0) as file:
                file.seek(start + index * len(view))
                done = 0
                while done < len(view) and (count := file.readinto(view[done:])):
                    done += count
        except OSError as error:
            raise DamagedError(f"{self.path} cannot be read: {error.strerror or error}.") from error
        if done < len(view) or ((name, index) not in self.checked and zlib.crc32(view) != sums[index]):
            raise DamagedError(f"{self.path} is damaged.")
        self.checked.add((name, index))  # once is enough: what was read is what was written
        return found


class Cache:
    """The cache in one folder, for as long as any of its entries is used; made by `open_cache`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.mark = folder, secrets.token_hex(6)
        self.used = WeakValueDictionary[Path, Entry]()
        self._limit, self._bytes, self._grown = 0.0, 0.0, 0.0  # as they were at the last look, and what came since
        with ExitStack() as stack:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            stack.enter_context(held(folder / USING / self.mark, "The cache is in use."))
            if not (folder / README).is_file():
                with whole_file(folder / README) as temporary:
                    temporary.write_text(TEXT, encoding="utf-8")
            self._release = finalize(self, stack.pop_all().close)

    def find(self, key: str) -> Entry | None:
        """Give an entry; None where there is none that is whole."""
        path = self._path(key)
        try:
            entry = _read_head(path, self)
        except FileNotFoundError:
            return None
        except (OSError, ReadError):
            with suppress(OSError):
                path.unlink()
            return None
        with suppress(OSError):  # what was used longest ago goes first
            os.utime(path)
        self.used[path] = entry
        return entry

    def put(self, key: str, about: Mapping[str, Any], arrays: Mapping[str, Array]) -> Entry:
        """Keep something; OutputError where there is no room for it, on the disk or within the limit."""
        path, head = self._path(key), _head(about, arrays)
        self._make_room(len(head) + sum(array.nbytes for array in arrays.values()))
        try:
            with spare_file(path) as temporary, temporary.open("wb") as file:
                file.write(head)
                for array in arrays.values():
                    file.write(_bytes_of(array))
        except OutputError:
            # On Windows nobody takes the name of a file that another program reads; then it is there already.
            if (there := self.find(key)) is not None:
                return there
            raise
        entry = self.used[path] = _read_head(path, self)
        return entry

    def check_room(self, needed: float) -> None:
        """Raise OutputError where so many bytes are more than the limit, or than is free on the disk."""
        limit, free = limit_of(self.folder), free_bytes(self.folder)
        if needed > limit:
            raise OutputError(
                f"The cache in {self.folder} may take {size_words(round(limit))}, and {size_words(round(needed))} "
                "would be needed. In a terminal 'autoseg cache --limit-gb N' allows more."
            )
        if free is not None and needed > free + size_of(self.folder):
            raise OutputError(
                f"On the disk of {self.folder} {size_words(free)} are free, and {size_words(round(needed))} would "
                f"be needed. The environment variable {PLACE} names another folder."
            )

    def _path(self, key: str) -> Path:
        return self.folder / ENTRIES / key[:2] / key

    def _make_room(self, needed: float) -> None:
        """Let what was used longest ago go where the limit would be passed."""
        self._grown += needed
        if self._grown > self._limit / 64:  # another program may have written, too
            self._limit, self._bytes, self._grown = limit_of(self.folder), size_of(self.folder), needed
        limit = self._limit
        if self._bytes + self._grown <= limit:
            return
        if not self._is_alone():
            raise OutputError(
                f"The cache in {self.folder} is full ({size_words(round(limit))}), and another training works with "
                "it. In a terminal 'autoseg cache --limit-gb N' allows more."
            )
        files = sorted((status.st_mtime_ns, path, status.st_size) for path, status in _files(self.folder))
        freed = 0.0
        for _, path, size in files:
            if self._bytes + self._grown - freed <= limit:
                break
            if path not in self.used:
                with suppress(OSError):  # another program has it open
                    path.unlink()
                    freed += size
        self._bytes -= freed
        if self._bytes + self._grown > limit:
            raise OutputError(
                f"The cache in {self.folder} is full ({size_words(round(limit))}) with what is learnt from now. "
                "In a terminal 'autoseg cache --limit-gb N' allows more."
            )

    def _is_alone(self) -> bool:
        return not _others(self.folder) - {self.mark}


_OPEN = WeakValueDictionary[Path, Cache]()


def open_cache(folder: Path | None = None) -> Cache:
    """Give the cache of a folder, by default `cache_folder`; OutputError where it cannot be used."""
    folder = Path(os.path.abspath(folder or cache_folder()))
    cache = _OPEN.get(folder)
    if cache is None:
        try:
            cache = _OPEN[folder] = Cache(folder)
        except OSError as error:
            raise OutputError(f"{folder} cannot be used for the cache: {error.strerror or error}.") from error
    return cache


def cache_folder() -> Path:
    """Give where the cache lies: AUTOSEG_CACHE, or a folder of the user's own, as the system has it for caches."""
    named = os.environ.get(PLACE)
    if named:
        return Path(named).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "autoseg" / "cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "autoseg"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "autoseg"


def size_of(folder: Path) -> int:
    """Give the bytes that all entries take; what killed programs left half written is taken away."""
    return sum(status.st_size for _, status in _files(folder))


def limit_of(folder: Path) -> float:
    """Give the bytes that the cache may take: the user's limit, or half of what would be free without it."""
    with suppress(OSError, ValueError):
        own = float((folder / LIMIT).read_text(encoding="utf-8"))
        if own > 0:
            return own * GB
    free = free_bytes(folder)
    return float("inf") if free is None else PART_OF_DISK * (free + size_of(folder))


def set_limit(folder: Path, gigabytes: float) -> None:
    """Write down how much the cache may take; what is more goes when something new comes."""
    if not 0 < gigabytes < 1e6:
        raise OutputError(f"The limit is {gigabytes:g} GB; give a number above 0.")
    Path(folder).mkdir(mode=0o700, parents=True, exist_ok=True)
    with whole_file(folder / LIMIT) as temporary:
        temporary.write_text(f"{gigabytes:g}\n", encoding="utf-8")


def clear(folder: Path) -> int:
    """Delete all entries, and nothing else, and give their bytes; OutputError while a program uses them."""
    if _others(folder):
        raise OutputError(
            f"A training works with what is in {folder}. Wait until it is done, or close its notebook, then try "
            "again."
        )
    freed = 0
    for path, status in _files(folder):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(
                f"{path} cannot be deleted: {error.strerror or error}. Close other programs that read it, then try "
                "again."
            ) from error
        freed += status.st_size
        with suppress(OSError):  # another one is in it
            path.parent.rmdir()
    return freed


def _files(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Give the files of all entries; what others have put there is left alone, and what is half written goes."""
    now = None
    for place in sorted((folder / ENTRIES).glob("[0-9a-f][0-9a-f]")):
        with suppress(OSError), os.scandir(place) as found:
            for one in found:
                if not ENTRY.fullmatch(one.name) or not one.is_file(follow_symlinks=False):
                    continue
                status = one.stat()
                if one.name.endswith(NEW):
                    now = now or _clock_of(folder)
                    if now - status.st_mtime > LEFT_AFTER_S:
                        with suppress(OSError):
                            os.unlink(one.path)
                        continue
                yield Path(one.path), status


def _clock_of(folder: Path) -> float:
    """Give what time it is where the folder lies: a drive of another computer has a clock of its own."""
    place = folder / f"{secrets.token_hex(4)}{NEW}"
    try:
        place.touch()
        return place.stat().st_mtime
    except OSError:
        return 0.0  # nothing is old then
    finally:
        with suppress(OSError):
            place.unlink(missing_ok=True)


def _others(folder: Path) -> set[str]:
    """Give the marks of all programs that use the cache, with this one."""
    settle(folder / USING)  # those of programs that were killed go
    with suppress(OSError):
        names = os.listdir(folder / USING)
        return {name.removeprefix(BEGUN).removesuffix(".lock") for name in names if name.endswith(".lock")}
    return set()


def _bytes_of(array: Array) -> memoryview:
    """Give the bytes of an array, without a copy where they lie one after the other."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def _head(about: Mapping[str, Any], arrays: Mapping[str, Array]) -> bytes:
    kept = {
        name: [
            array.dtype.str,
            list(array.shape),
            [zlib.crc32(_bytes_of(row)) for row in array],
        ]
        for name, array in arrays.items()
    }
    words = json.dumps({"about": about, "arrays": kept}).encode()
    return MAGIC + len(words).to_bytes(8, "little") + zlib.crc32(words).to_bytes(4, "little") + words


def _read_head(path: Path, cache: Cache) -> Entry:
    """Read what an entry holds; DamagedError unless its head and its length are as they were written."""
    with path.open("rb") as file:
        start, size = file.read(len(MAGIC) + 12), os.fstat(file.fileno()).st_size
        length = int.from_bytes(start[len(MAGIC) : -4], "little")
        words = file.read(length) if len(start) + length <= size else b""
    if not start.startswith(MAGIC) or zlib.crc32(words) != int.from_bytes(start[-4:], "little"):
        raise DamagedError(f"{path} is damaged.")
    try:
        content = json.loads(words)
        about, arrays, end = dict(content["about"]), {}, len(start) + length
        for name, (kind, shape, sums) in content["arrays"].items():
            if kind not in KINDS or len(sums) != shape[0]:
                raise ValueError(kind)
            arrays[name] = np.dtype(kind), tuple(shape), end, tuple(sums)
            end += int(np.prod(shape, dtype=np.int64)) * np.dtype(kind).itemsize
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise DamagedError(f"{path} is damaged.") from error
    if end != size:
        raise DamagedError(f"{path} is damaged.")
    return Entry(path, about, arrays, cache)
