"""One training by several processes that this one starts by torchrun, one for each GPU; it hears all they tell.

Each of them opens a connection to this program, with a key of the moment. The first one gets the order there, tells
events and epochs, and is told to stop; any of them tells why it fails. Where this program is gone, all end.
"""

from __future__ import annotations

import json
import os
import pickle
import queue
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import Any

import torch

import autoseg
from autoseg.data.split import Split
from autoseg.errors import LEARN_SMALLER, AutosegError, DataError, in_words
from autoseg.image.structures import Structure
from autoseg.model.model import EpochResult, TrainedModel, load_model
from autoseg.model.networks import build_network
from autoseg.model.settings.settings import Settings
from autoseg.training.events import Event, OnEvent
from autoseg.training.inputs import sees_crop
from autoseg.training.keeping.alone import held_by_parent
from autoseg.training.processes import GoneError, join_processes, why_not_shared
from autoseg.training.save import train_and_save
from autoseg.training.training import OnEpoch, follow

PLACE = "AUTOSEG_TOGETHER"  # where the program that has started this process listens, and its key
GLANCE_S, LONGEST_END_S = 0.2, 60.0
FIRST, BEGUN, STOP, END = "first", "begun", b"stop", b"end"


@dataclass(frozen=True, eq=False)
class _Order:
    """What is to be learnt; all but the first two as for `train_and_save`."""

    split: Split
    settings: Settings
    options: dict[str, Any]


@dataclass(frozen=True, eq=False)
class _Epoch:
    """An epoch that was learnt; the best model has weights only where it is a new one."""

    result: EpochResult
    best: TrainedModel
    last: TrainedModel


def how_many(settings: Settings, count: int) -> tuple[int, str]:
    """Give how many of `count` processes can learn this together, and why only one, in words."""
    network = build_network(settings.network, in_channels=1, out_channels=2, spatial_dims=settings.spatial_dims)
    reason = why_not_shared(settings, network)
    if sees_crop(settings):
        reason = "sees a crop around a centreline"
    if reason:
        return 1, f"One GPU learns this: the network {settings.network.name!r} {reason}."
    return max(1, min(count, settings.batch_size)), ""


def train_together(
    split: Split,
    settings: Settings,
    *,
    count: int,
    structures: Sequence[Structure],
    name: str,
    folder: Path,
    choose_post: bool = False,
    on_event: OnEvent | None = None,
    on_epoch: OnEpoch | None = None,
    should_stop: Callable[[], bool] | None = None,
    resume: bool = False,
    base: TrainedModel | None = None,
) -> tuple[TrainedModel, Path]:
    """Train as `train_and_save` does, by `count` processes; this one, which holds the name, only listens.

    Raises what that raises, whichever process it was, and DataError where they end without a word.
    """
    options = {"structures": structures, "name": name, "folder": Path(folder), "choose_post": choose_post}
    order = _Order(split, settings, {**options, "resume": resume, "base": base})
    key = secrets.token_bytes(32)
    with Listener(authkey=key) as listener, tempfile.TemporaryFile() as said:
        environment = {
            **os.environ,
            PLACE: json.dumps([listener.address, key.hex()]),
            "PYTHONPATH": os.pathsep.join([str(Path(autoseg.__file__).parents[1]), *filter(None, sys.path)]),
            "OMP_NUM_THREADS": str(max(1, torch.get_num_threads() // count)),
        }
        if sys.platform == "win32":  # torch is built without it there
            environment["USE_LIBUV"] = "0"
        start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
        meeting = _Meeting(listener)
        # The notebook's interrupt is for this program alone, which says when to stop.
        started = subprocess.Popen(
            [*start, "-m", "autoseg.training.together"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            creationflags=0x200 if sys.platform == "win32" else 0,  # CREATE_NEW_PROCESS_GROUP
        )
        try:
            path = _listen(meeting, started, order, on_event, on_epoch, should_stop)
            if path is None:
                said.seek(0)
                lines = said.read().decode(errors="replace").strip().splitlines()
                raise DataError(
                    "The processes of this training have ended and did not say why"
                    f"{f' ({lines[-1][:200]})' if lines else ''}. What was saved can be resumed, on "
                    "one GPU, too."
                )
            with suppress(subprocess.TimeoutExpired):
                started.wait(LONGEST_END_S)
        finally:
            meeting.end(key)  # they end when they see it
            try:
                started.wait(LONGEST_END_S)
            except subprocess.TimeoutExpired:
                started.kill()
                started.wait()
    return load_model(path), path


class _Meeting:
    """The processes that have come, and what they have told."""

    def __init__(self, listener: Listener) -> None:
        self.listener, self.is_over = listener, False
        self.told: queue.SimpleQueue[tuple[Connection, Any]] = queue.SimpleQueue()
        self.come: list[tuple[Connection, threading.Thread]] = []
        self._door = threading.Thread(target=self._accept, daemon=True, name="processes come")
        self._door.start()

    def _accept(self) -> None:
        while not self.is_over:
            with suppress(OSError, EOFError, AuthenticationError):
                connection = self.listener.accept()
                reader = threading.Thread(target=self._read, args=(connection,), daemon=True)
                self.come.append((connection, reader))
                reader.start()

    def _read(self, connection: Connection) -> None:
        with suppress(EOFError, OSError):
            while True:
                packed = connection.recv_bytes()
                try:
                    told = pickle.loads(packed)
                except Exception as error:  # as an answer, or all would wait for each other
                    told = error
                self.told.put((connection, told))

    def settle(self) -> None:
        """Wait until all that was told by processes that have ended is here."""
        for _, reader in tuple(self.come):
            reader.join(1.0)

    def end(self, key: bytes) -> None:
        """Let nobody in any more, and leave."""
        self.is_over = True
        with suppress(OSError, EOFError, AuthenticationError):
            Client(self.listener.address, authkey=key).close()  # who waits at the door looks up
        self._door.join(1.0)
        for connection, _ in self.come:
            with suppress(OSError):  # it has ended
                connection.send_bytes(END)


def _listen(
    meeting: _Meeting,
    started: subprocess.Popen[bytes],
    order: _Order,
    on_event: OnEvent | None,
    on_epoch: OnEpoch | None,
    should_stop: Callable[[], bool] | None,
) -> Path | None:
    """Hear what they tell until they are done, and give the model's file; None where they ended without a word."""
    first: Connection | None = None
    has_begun = is_stopped = False
    wanted, weights, gone = False, dict[str, torch.Tensor](), list[Exception]()
    while True:
        wanted = wanted or (has_begun and should_stop is not None and should_stop())
        if wanted and not is_stopped and first is not None:
            is_stopped = True
            with suppress(OSError):  # it has ended, which will be seen
                first.send_bytes(STOP)
        has_ended = started.poll() is not None
        if has_ended:
            meeting.settle()
        try:
            connection, told = meeting.told.get(timeout=0 if has_ended else GLANCE_S)
        except queue.Empty:
            if not has_ended:
                continue
            if gone:
                raise gone[0] from None
            return None
        if told == FIRST:
            first = connection
            first.send_bytes(pickle.dumps(order))
        elif told == BEGUN:
            has_begun = True
        elif isinstance(told, GoneError):  # another one says why
            gone.append(told)
        elif isinstance(told, Exception):
            raise told
        elif isinstance(told, Path):
            return told
        elif isinstance(told, _Epoch):
            weights = told.best.weights or weights
            best = replace(told.best, weights=weights)
            wanted = bool(on_epoch is not None and on_epoch(told.result, best, told.last)) or wanted
        elif isinstance(told, Event) and on_event is not None:
            on_event(told)


# --- what runs in each of the processes


class _Home:
    """The connection to the program that has started this process."""

    def __init__(self) -> None:
        address, key = json.loads(os.environ[PLACE])
        self.connection = Client(address, authkey=bytes.fromhex(key))
        self.stopped, self.is_done, self._is_begun = False, False, False
        self._best = 0
        self._lock = threading.Lock()

    def tell(self, something: object) -> None:
        with self._lock, suppress(BrokenPipeError):
            self.connection.send_bytes(pickle.dumps(something))

    def watch(self) -> None:
        """Hear when to stop; where nobody is there any more, end at once."""
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        with suppress(EOFError, OSError):
            while self.connection.recv_bytes() != END:
                self.stopped = True
        if not self.is_done:
            os._exit(1)

    def should_stop(self) -> bool:
        if not self._is_begun:
            self._is_begun = True
            self.tell(BEGUN)
        return self.stopped

    def after_epoch(self, result: EpochResult, best: TrainedModel, last: TrainedModel) -> None:
        is_known = best.best_epoch == self._best
        self._best = best.best_epoch
        self.tell(_Epoch(result, replace(best, weights={}) if is_known else best, last))


def _lead(home: _Home) -> Path:
    home.tell(FIRST)
    order = pickle.loads(home.connection.recv_bytes())
    home.watch()
    with held_by_parent(order.options["folder"], order.options["name"]):
        _, path = train_and_save(
            order.split,
            order.settings,
            **order.options,
            on_event=home.tell,
            on_epoch=home.after_epoch,
            should_stop=home.should_stop,
        )
    return path.absolute()


def main() -> int:
    """Learn what the program that has started this process asks for; the first one leads, the others follow."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    home = _Home()
    try:
        with join_processes() as processes:
            if processes.is_first:
                path = _lead(home)
            else:
                home.watch()
                follow(processes)
        home.is_done = True
        if processes.is_first:
            home.tell(path)
    except Exception as error:
        told = error if isinstance(error, AutosegError) else in_words(error, "to learn", LEARN_SMALLER)
        home.tell(told or RuntimeError(f"{type(error).__name__}: {error}"))
        return 1
    return 0


if __name__ == "__main__":
    from autoseg.training import together  # by the name that the other side knows, for what is told

    sys.exit(together.main())
