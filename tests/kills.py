"""Ends an action at every moment at which it touches a folder, and looks at what a reader then sees there.

A program that is killed leaves the disk as it is at that moment. So the action runs once, and before each of its
events in the folder (a file opened to be written, a rename, a removal ...) the folder is copied, once more with the
file that is being written cut in half; each copy is then put in the folder's place and looked at. What is copied is
held by no lock, as after a death. Works on every system, and needs no second process.
"""

import errno
import itertools
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from unittest.mock import patch

from autoseg.errors import AutosegError

# The places of the paths among what the audit tells, and of their folders' descriptors.
EVENTS = {
    "open": ((0, None),),
    "os.rename": ((0, 2), (1, 3)),
    "os.remove": ((0, 1),),
    "os.rmdir": ((0, 1),),
    "os.mkdir": ((0, 2),),
    "os.link": ((0, 2), (1, 3)),
    "os.symlink": ((0, 2), (1, 2)),
    "os.truncate": ((0, None),),
    "os.chmod": ((0, 2),),
    "os.utime": ((0, 3),),
}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# What needs room on the disk, and what needs none.
GROWING = ("open", "os.mkdir", "os.link", "os.symlink")
GIVING = ("os.remove", "os.rmdir", "os.chmod", "os.utime")

_watchers: list[Callable[[str, list[Path]], None]] = []
_inside = threading.local()
_one_at_a_time = threading.RLock()


def _audit(event, args):
    places = EVENTS.get(event)
    if places is None or not _watchers or getattr(_inside, "watching", False):
        return
    if event == "open" and not (isinstance(args[2], int) and args[2] & WRITING):
        return
    paths = [_place(args[at], None if folder is None else args[folder]) for at, folder in places]
    with _one_at_a_time:
        _inside.watching = True
        try:
            for watch in tuple(_watchers):
                watch(event, [path for path in paths if path is not None])
        finally:
            _inside.watching = False


def _place(path, folder):
    if isinstance(path, int):
        return None
    path = os.fsdecode(path)
    if isinstance(folder, int) and folder >= 0 and not os.path.isabs(path):
        path = os.path.join(os.path.realpath(f"/dev/fd/{folder}"), path)
    return Path(os.path.abspath(path))


@cache
def _hook():
    sys.addaudithook(_audit)  # stays for as long as the program runs


@contextmanager
def watching(folder, watch):
    """Call `watch(event, path)` before each event that changes something in a folder; it may raise an OSError."""
    _hook()
    root = Path(os.path.abspath(folder))

    def inside(event, paths):
        mine = [path for path in paths if root in (path, *path.parents)]
        if mine:
            watch(event, mine[-1])

    _watchers.append(inside)
    try:
        yield
    finally:
        _watchers.remove(inside)


@dataclass
class Survey:
    """What came of it: how many moments there were, and in words those at which something was wrong."""

    moments: int = 0
    wrong: list[str] = field(default_factory=list)

    def __bool__(self):
        return bool(self.moments) and not self.wrong


class Scene:
    """A folder that is put back as it was, again and again; `then` is the next command, which must work.

    `look()` gives what a reader sees: a value that can be compared.
    """

    def __init__(self, folder, look, then):
        self.folder, self.look, self.then = Path(folder), look, then
        self.store = Path(tempfile.mkdtemp(dir=self.folder.parent))
        self.survey = Survey()
        self.before, self.start = look(), self.copy()

    def copy(self):
        """Copy the folder as it stands; two names of one file stay so; None where there is none."""
        if not self.folder.exists():
            return None
        target = Path(tempfile.mkdtemp(dir=self.store)) / "folder"
        _copy(self.folder, target)
        return target

    def put(self, shot):
        """Put a copy in the folder's place."""
        if self.folder.exists():
            shutil.rmtree(self.folder)
        if shot is not None:
            _copy(shot, self.folder)

    def judge(self, moment, *wanted):
        """Look, give the next command, and look for what was left behind."""
        step, self.survey.moments = "reading", self.survey.moments + 1
        try:
            seen = self.look()
            if not any(seen == one for one in wanted):
                self.survey.wrong.append(f"{moment}: seen is {_difference(seen, wanted[0])}")
            step = "the next command"
            if self.then is not None:
                self.then()
        except Exception as error:
            self.survey.wrong.append(f"{moment}: {step} fails: {type(error).__name__} {error}")
        left = sorted(path.name for path in self.folder.rglob(".unfinished-*"))
        self.survey.wrong += [f"{moment}: {name} is left" for name in left]

    def close(self):
        """Put the folder back as it was at first."""
        self.put(self.start)
        shutil.rmtree(self.store)


@contextmanager
def _scene(folder, look, then):
    with patch.object(os, "fsync", lambda _: None):  # a killed program's files need not be on the disk to be seen
        scene = Scene(folder, look, then)
        try:
            yield scene
        finally:
            scene.close()


def kill_everywhere(folder, action, look, *, then=None):
    """Kill `action()` at each of its events in `folder`, and compare what `look()` gives with before and after.

    `then()`, the next command, must work on what was left (it may do what was to be done once more); after it no
    name that begins with .unfinished- may lie there. The folder need not exist before.
    """
    with _scene(folder, look, then) as scene:
        moments, written = [], []

        def watch(event, path):
            if written and written[-1].is_file() and written[-1].stat().st_size:
                half = scene.copy()
                _cut(half / written[-1].relative_to(scene.folder.absolute()))
                moments.append((f"while {written[-1].name} is written", None, half))
            written[:] = [path] if event == "open" else []
            state = _state(scene.folder)
            is_same = moments and moments[-1][1] == state
            moments.append((f"before {event} of {path.name}", state, moments[-1][2] if is_same else scene.copy()))

        with watching(folder, watch):
            action()
        moments.append(("when all is done", None, scene.copy()))
        after = look()
        assert after != scene.before, "The action changes nothing that a reader sees."
        for moment, shots in itertools.groupby(moments, key=lambda one: one[2]):
            words = [words for words, _, _ in shots]
            scene.put(moment)
            scene.judge(words[0], scene.before, after)
            scene.survey.moments += len(words) - 1  # nothing had changed between them
        return scene.survey


def fail_everywhere(folder, action, look, *, error=errno.ENOSPC, then=None):
    """Let the system refuse each of the action's events in turn, and from there on all that needs room on the disk.

    What `look()` gives must be as before where `action()` raised an AutosegError, as after where it ended well;
    another error is wrong.
    """
    with _scene(folder, look, then) as scene:
        action()
        after, number, refused = look(), 0, ["the first"]
        while refused:
            scene.put(scene.start)
            number, refused, count = number + 1, [], itertools.count(1)

            def refuse(event, path, number=number, refused=refused, count=count):
                if event in GIVING:
                    return
                now = next(count)
                if now == number or (now > number and event in GROWING):
                    refused.append(f"{number}, {event} of {path.name} refused")
                    raise OSError(error, os.strerror(error), str(path))

            words = _try(folder, action, refuse)
            if refused:
                scene.judge(f"{refused[0]} ({words})", after if words is None else scene.before)
                if words is not None and words.startswith("unexpected"):
                    scene.survey.wrong.append(f"{refused[0]}: {words}")
        return scene.survey


def hold_open(folder, action, look, *, then=None):
    """Hold each file of a folder as another program does on Windows: it is not written, renamed or removed.

    What `look()` gives must be as before where `action()` raised an AutosegError that names the file, as after
    where it ended well.
    """
    with _scene(folder, look, then) as scene:
        action()
        after = look()
        for held in sorted(path.relative_to(scene.start) for path in scene.start.rglob("*") if path.is_file()):
            scene.put(scene.start)
            place = (scene.folder / held).absolute()

            def refuse(event, path, place=place):
                if path == place and event not in ("os.chmod", "os.utime"):
                    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

            words = _try(folder, action, refuse)
            scene.judge(f"{held} open elsewhere ({words})", after if words is None else scene.before)
            if words is not None and (words.startswith("unexpected") or held.name not in words):
                scene.survey.wrong.append(f"{held} open elsewhere: {words}")
        return scene.survey


def _try(folder, action, refuse):
    """Give what the action said as it failed, None if it ended well."""
    with watching(folder, refuse):
        try:
            action()
        except AutosegError as error:
            return str(error)
        except Exception as error:
            return f"unexpected {type(error).__name__} {error}"
    return None


def _difference(seen, wanted):
    if isinstance(seen, dict) and isinstance(wanted, dict):
        return f"other in {', '.join(str(key) for key in {**seen, **wanted} if seen.get(key) != wanted.get(key))}"
    return str(seen)[:300]


def _state(folder):
    states = ((path, path.lstat()) for path in folder.rglob("*")) if folder.exists() else ()
    return {path: (state.st_ino, state.st_size, state.st_mtime_ns) for path, state in states}


def _copy(folder, target):
    target.mkdir(parents=True)
    copied = {}
    for place, folders, names in os.walk(folder):
        there = target / Path(place).relative_to(folder)
        for name in folders:
            (there / name).mkdir()
        for name in names:
            number = (Path(place) / name).stat().st_ino
            if number in copied:
                os.link(copied[number], there / name)
            else:
                copied[number] = shutil.copy2(Path(place) / name, there / name)


def _cut(path):
    content = path.read_bytes()
    path.unlink()  # another name of the file keeps its content
    path.write_bytes(content[: len(content) // 2])
