"""Work on several processes or computers at once, by Dask (`distributed`, the extra `cluster`).

Data stay where they are: what travels is small, and files are read and written by whoever works on them, in folders
that all see under the same names. A worker does one piece of work at a time, because random numbers and torch's
threads are the whole process's.
"""

from __future__ import annotations

import math
import os
import pickle
import platform
import queue
import secrets
import tempfile
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import torch

from autoseg.data.codes import KEY, is_key_marked, key_path, marked_key
from autoseg.errors import ClusterError, SettingsError
from autoseg.words import counted

if TYPE_CHECKING:
    from distributed import Client, Future

Item = TypeVar("Item")
MISSING = (
    "Several workers at once need the Python package distributed, which is not installed. "
    "'pip install \"autoseg[cluster]\"' installs it (in a copy of autoseg: 'pip install -c constraints.txt "
    "distributed cryptography'); without --workers and --scheduler everything is done one after the other."
)
# What must be the same on all computers; of torch the build (for a processor, for CUDA) may differ.
SAME = ("autoseg", "torch", "distributed")
# Ctrl+C reaches all processes of a terminal; the first of them stops the others.
DEAF = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
WAIT_S, COUNTED_EVERY_S, LONGEST_WAIT_S = 0.1, 1.0, 30.0


@dataclass(frozen=True)
class Workers:
    """Who works: so many processes of this computer, or those of a Dask scheduler.

    `scheduler` is its address (tls://…, tcp://…) or the file that it wrote (`dask scheduler --scheduler-file`).
    """

    count: int | None = None
    scheduler: str = ""

    def __post_init__(self) -> None:
        if (self.count is None) == (not self.scheduler):
            raise SettingsError(
                "Give either a number of workers for this computer, or the address of a scheduler, not both."
            )
        if self.count is not None and self.count < 1:
            raise SettingsError(f"workers is {self.count}; give 1 or more.")


@dataclass(frozen=True)
class Done(Generic[Item]):
    """A piece of work that has ended: with what it gave, or with the error that it raised."""

    item: Item
    result: Any = None
    error: Exception | None = None

    def get(self) -> Any:
        """Give the result, or raise the error."""
        if self.error is not None:
            raise self.error
        return self.result


@dataclass(frozen=True)
class Desk:
    """Where a piece of work is done: `tell` sends an event to who asked, who may say that it `should_stop`."""

    tell: Callable[[object], None]
    should_stop: Callable[[], bool]


# Called on a worker with what all pieces share, its own, and its desk.
Work = Callable[[Any, Any, Desk], Any]


# --- who works


@contextmanager
def team(
    workers: Workers, folder: Path, *, is_coded: bool = False, tell: Callable[[str], object] | None = None
) -> Iterator[Team]:
    """Give workers, who must see `folder`, for the time of a block; those of this computer end with it.

    Where codes stand for patients (`is_coded`) those of other computers must see this key of patient codes, too.

    Raises
    ------
    ClusterError
        If `distributed` is not installed, or the scheduler does not answer; the message tells the remedy.
    OutputError
        If the key cannot be marked, because nothing can be written beside it.
    """
    try:
        import dask
        from distributed import Client

        if workers.count:
            import cryptography  # noqa: F401 - for the keys of this moment
    except ImportError as error:
        raise ClusterError(MISSING) from error
    # A base model travels, once to each worker.
    with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1TB"}), _reached(workers) as reached:
        address, security = reached
        file = address if address.endswith(".json") else None
        client = Client.__new__(Client)  # held also where it does not come to be
        try:
            if file and not Path(file).is_file():
                raise FileNotFoundError("there is no such file")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # other versions are said by the workers, in words
                Client.__init__(
                    client,
                    None if file else address,
                    scheduler_file=file,
                    security=security,
                    set_as_default=False,
                    timeout=LONGEST_WAIT_S,
                )
        except (OSError, ValueError, TypeError, RuntimeError) as error:
            with suppress(AttributeError):  # one that has not even begun
                client.close()  # at the end of the program Dask would wait for it in vain
            raise _unreachable(workers, error) from error
        # Workers of this computer have its key as they have all its settings.
        mark = marked_key() if is_coded and workers.count is None else nullcontext("")
        with client, mark as word, tempfile.NamedTemporaryFile(dir=folder, prefix=".workers-") as seen:
            found = Team(client, workers, Path(seen.name).absolute(), word)
            if tell is not None:
                tell(found.words())
            yield found


def _reached(workers: Workers) -> AbstractContextManager[tuple[str, Any]]:
    if workers.count is not None:
        return local_cluster(workers.count)
    # Certificates are Dask's own settings (distributed.comm.tls), as for all programs of a cluster.
    return nullcontext((workers.scheduler, None))


@contextmanager
def local_cluster(count: int) -> Iterator[tuple[str, Any]]:
    """Start so many processes of this computer; give the scheduler's address and what is needed to speak to it.

    They share the threads that torch has here, or have a GPU each. What they say to each other is encrypted with
    keys of this moment: whoever may speak to a scheduler may run what he likes, and a computer can have many users.
    """
    import logging

    import dask
    from distributed import Nanny, Scheduler, Security, SpecCluster

    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if gpus and count > gpus:
        raise SettingsError(
            f"This computer has {counted(gpus, 'GPU')}, and each worker needs one of its own: give at most {gpus}."
        )
    threads = max(1, torch.get_num_threads() // count)
    security = Security.temporary()
    common = {"host": "127.0.0.1", "protocol": "tls://", "security": security}

    def worker(number: int) -> dict[str, Any]:
        own: dict[str, int | str] = {
            "OMP_NUM_THREADS": threads,
            "MKL_NUM_THREADS": threads,
            "OPENBLAS_NUM_THREADS": threads,
        }
        if gpus:
            seen = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
            own["CUDA_VISIBLE_DEVICES"] = seen[number] if len(seen) > number and seen[number] else number
        options = {"nthreads": 1, "memory_limit": 0, "dashboard": False, "env": own, "preload": [DEAF]}
        return {"cls": Nanny, "options": {**common, **options, "silence_logs": logging.CRITICAL}}

    pages = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}
    scheduler = {"cls": Scheduler, "options": {**common, **pages, "port": 0}}
    quiet = {
        "distributed.worker.profile.enabled": False,  # it looks at what runs 100 times a second
        "distributed.nanny.pre-spawn-environ": {},
        "distributed.scheduler.http.routes": [],  # pages that anybody of this computer may read
        "distributed.worker.http.routes": [],
    }
    environment = dict(os.environ)
    try:
        with (
            dask.config.set(quiet),
            SpecCluster(
                workers={number: worker(number) for number in range(count)},
                scheduler=scheduler,
                security=security,
                silence_logs=logging.CRITICAL,
            ) as cluster,
        ):
            yield cluster.scheduler_address, security
    finally:
        for name in set(os.environ) - set(environment):  # Dask sets some for its workers here, too
            del os.environ[name]
        os.environ.update(environment)


def _unreachable(workers: Workers, error: Exception) -> ClusterError:
    return ClusterError(
        f"The scheduler {workers.scheduler or 'of this computer'} does not answer "
        f"({error or type(error).__name__}). Check that it runs and that this computer may reach it; where "
        "certificates are used, that its address begins with tls:// and that this computer has them, too "
        "(~/.config/dask/tls.yaml)."
    )


class Team:
    """Workers that were reached; `do` gives them work."""

    def __init__(self, client: Client, workers: Workers, seen: Path, word: str) -> None:
        self.client, self.workers, self.seen, self.word = client, workers, seen, word
        self._counted, self._counted_at_s = 0, -math.inf

    def words(self) -> str:
        """Say how many work, and where."""
        here = self.workers.count
        if here is not None:
            threads = max(1, torch.get_num_threads() // here)
            return f"{counted(here, 'worker')} on this computer, {counted(threads, 'thread')} each."
        return f"{counted(self.count(), 'worker')} at {self.workers.scheduler}; others may come at any time."

    def count(self) -> int:
        """Count the workers that are there, once a second."""
        if time.monotonic() - self._counted_at_s >= COUNTED_EVERY_S:
            if self.client.status != "running":
                raise self.gone()
            try:
                self._counted = len(self.client.nthreads())
            except (OSError, RuntimeError) as error:  # at this moment
                raise self.gone() from error
            self._counted_at_s = time.monotonic()
        return self._counted

    def gone(self) -> ClusterError:
        """Give the error of a scheduler that was there before."""
        return ClusterError(
            f"The scheduler {self.workers.scheduler or 'of this computer'} is gone. What is finished is kept: "
            "start it again, give the same command, and it goes on where it was."
        )

    def do(
        self,
        work: Work,
        shared: object,
        items: Sequence[Item],
        *,
        hear: Callable[[Item, Any], object],
        again: Callable[[Item], object],
        should_stop: Callable[[], bool] | None = None,
    ) -> Iterator[Done[Item]]:
        """Do all pieces of work, as many at once as there are workers, and give each when it is done.

        `work(shared, item, desk)` is a function of a module. What it tells is heard here, in this thread; `again`
        is called where a worker was lost and another begins its piece anew. A generator that is closed stops the
        work.

        Raises
        ------
        ClusterError
            If the scheduler is gone, or a worker has other versions, or does not see the folder or the key of
            patient codes. Of a piece that has ended several workers it is the piece's own.
        KeyboardInterrupt
            Once `should_stop` says True.
        """
        return _Errand(self, work, shared, items, hear, again, should_stop).results()


@dataclass
class _Errand(Generic[Item]):
    """Some pieces of work that are being done."""

    team: Team
    work: Work
    shared: object
    items: Sequence[Item]
    hear: Callable[[Item, Any], object]
    again: Callable[[Item], object]
    should_stop: Callable[[], bool] | None
    token: str = field(default_factory=lambda: f"autoseg-{secrets.token_hex(8)}")
    told: queue.SimpleQueue[bytes] = field(default_factory=queue.SimpleQueue)
    at_work: dict[int, Future[Any]] = field(default_factory=dict)
    begun: set[int] = field(default_factory=set)

    def results(self) -> Iterator[Done[Item]]:
        client = self.team.client
        client.subscribe_topic(self.token, lambda event: self.told.put(event[1]))
        client.register_plugin(_shared_by(self.token, self.work, self.shared), name=self.token)
        waiting = deque(range(len(self.items)))
        try:
            while waiting or self.at_work:
                for _ in range(min(len(waiting), max(1, self.team.count()) - len(self.at_work))):
                    self._begin(waiting.popleft())
                if self.should_stop is not None and self.should_stop():
                    raise KeyboardInterrupt
                # Asked before what was told is heard: all of it came before the end.
                ended = [number for number, future in self.at_work.items() if future.done()]
                self._hear(0 if ended else WAIT_S)
                for number in ended:
                    future = self.at_work.pop(number)
                    yield self._done(number, future)
        finally:
            if client.status == "running":
                client.cancel(list(self.at_work.values()), force=True)
                client.unsubscribe_topic(self.token)
                client.unregister_worker_plugin(self.token)

    def _begin(self, number: int) -> None:
        team = self.team
        order = _Order(self.token, number, self.items[number], str(team.seen), _versions(), team.word)
        key = f"{self.token}-{number}"
        self.at_work[number] = team.client.submit(_do, order, key=key, pure=False)

    def _hear(self, wait_s: float) -> None:
        """Hand on what workers have told, or wait a moment for it."""
        end = time.monotonic() + wait_s
        while True:
            try:
                number, event = pickle.loads(self.told.get(timeout=max(0.0, end - time.monotonic())))
            except queue.Empty:
                return
            if event is not None:
                self.hear(self.items[number], event)
            elif number in self.begun:
                self.again(self.items[number])
            self.begun.add(number)

    def _done(self, number: int, future: Future[Any]) -> Done[Item]:
        from distributed import CancelledError, KilledWorker

        item = self.items[number]
        try:
            result, error = future.result(timeout=LONGEST_WAIT_S)
        except CancelledError as cancelled:
            raise self.team.gone() from cancelled
        except KilledWorker as killed:
            words = (
                f"Each of {killed.allowed_failures + 1} workers ended while it was at the same piece of work "
                f"({item}). Mostly their memory is not enough: let fewer work on one computer. What is finished "
                "is kept."
            )
            return Done(item, error=ClusterError(words))
        except (ImportError, AttributeError, pickle.PickleError) as other:
            raise ClusterError(
                f"A worker cannot read what it is to do ({other}): it has no autoseg, or another version. Install "
                f"the same as here ({_said(_versions())}) on all computers."
            ) from other
        if isinstance(error, ClusterError):
            raise error
        return Done(item, result, error)


# --- what runs on a worker


@dataclass(frozen=True)
class _Order:
    """A piece of work as it travels; `word` is of the mark beside the key, "" where no code is given."""

    token: str
    number: int
    item: object
    seen: str
    versions: Mapping[str, str]
    word: str


def _shared_by(token: str, work: Work, shared: object) -> Any:
    """Give what brings all that pieces share to each worker once, also to those who come later."""
    from distributed import WorkerPlugin

    class Shared(WorkerPlugin):
        def __init__(self, token: str, packed: bytes) -> None:
            self.token, self.packed = token, packed

        def setup(self, worker: Any) -> None:
            # Without a word of autoseg, which takes seconds to load, and may be missing: the first piece says so.
            vars(worker).setdefault("autoseg", {})[self.token] = self.packed

        def teardown(self, worker: Any) -> None:
            vars(worker)["autoseg"].pop(self.token, None)

    return Shared(token, pickle.dumps((work, shared)))


def _do(order: _Order) -> tuple[Any, Exception | None]:
    """Do a piece of work on a worker; give its result, or its error as a value, which no scheduler does again."""
    from distributed import get_worker

    worker = get_worker()
    key = f"{order.token}-{order.number}"

    def tell(event: object) -> None:
        worker.log_event(order.token, pickle.dumps((order.number, event)))

    def should_stop() -> bool:
        """Tell whether who asked has cancelled it, or is gone."""
        task = worker.state.tasks.get(key)
        return task is None or task.state == "cancelled"

    try:
        _check(order, worker)
        kept = vars(worker)["autoseg"]
        if isinstance(kept[order.token], bytes):
            kept[order.token] = pickle.loads(kept[order.token])
        work, shared = kept[order.token]
        tell(None)
        return work(shared, order.item, Desk(tell, should_stop)), None
    except KeyboardInterrupt:
        return None, ClusterError("It was stopped.")  # nobody waits for it any more
    except Exception as error:
        return None, error


def _check(order: _Order, worker: Any) -> None:
    """Refuse to work with other versions, another key, without the folder, or beside other work in the process."""
    here = _versions()
    if here != order.versions:
        raise ClusterError(
            f"The worker {worker.address} has {_said(here)}, and where the work was started there are "
            f"{_said(order.versions)}: results could differ. Install the same versions on all computers."
        )
    if worker.state.nthreads != 1:
        raise ClusterError(
            f"The worker {worker.address} was started for {worker.state.nthreads} pieces of work at once, which "
            "share random numbers in one process. Start it with --nthreads 1; the threads of torch are set by "
            "OMP_NUM_THREADS."
        )
    if not Path(order.seen).is_file():
        raise ClusterError(
            f"The worker {worker.address} does not see the folder {Path(order.seen).parent}. Images and results "
            "must lie in folders that all computers see under the same names; choose such a one (--output)."
        )
    if order.word and not is_key_marked(order.word):
        raise ClusterError(
            f"The worker {worker.address} would take the codes of patients from {key_path()}, which is not the key "
            "that is used where the work was started, so that one patient could get two codes. Put that key where "
            f"all computers see it, and set {KEY} to it on each of them, also where the work is started. A copy "
            "does not do: each computer would add other codes to its own."
        )


def _versions() -> dict[str, str]:
    """Give the versions on which results, and what travels, depend."""
    found = {"Python": ".".join(platform.python_version_tuple()[:2])}
    for name in SAME:
        try:
            found[name] = version(name).partition("+")[0]
        except PackageNotFoundError:
            found[name] = "unknown"
    return found


def _said(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in versions.items())
