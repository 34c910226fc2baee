"""One program at a time: who trains under a name, or does folds in a folder, holds it until that is done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

from autoseg.files.atomic import held
from autoseg.model.model import check_model_name

_HELD: ContextVar[frozenset[Path]] = ContextVar("held", default=frozenset())


def training_alone(folder: Path, name: str) -> AbstractContextManager[None]:
    """Hold a model's name in a folder; OutputError at once where another training has it."""
    folder = Path(folder)
    return _alone(
        folder / check_model_name(name),
        f"{name!r} is being trained in {folder.absolute()} by another program or notebook, and two would overwrite "
        "each other's files. A training with another name can be started now.",
    )


def folds_alone(folder: Path) -> AbstractContextManager[None]:
    """Hold the folder of a cross-validation or comparison; OutputError at once where another one works in it."""
    folder = Path(folder)
    return _alone(
        folder / "folds",
        f"Another program or notebook is learning folds in {folder.absolute()}, and two would overwrite each "
        "other's files. One with another name can be started now.",
    )


@contextmanager
def held_by_parent(folder: Path, name: str) -> Iterator[None]:
    """Train under a name that the program which has started this one holds, and waits."""
    before = _HELD.set(_HELD.get() | {(Path(folder) / check_model_name(name)).resolve()})
    try:
        yield
    finally:
        _HELD.reset(before)


@contextmanager
def _alone(path: Path, busy: str) -> Iterator[None]:
    """Hold a path; whoever holds it already (a command that reads first, and the training in it) goes on."""
    path = path.resolve()
    if path in _HELD.get():
        yield
        return
    is_new = not path.parent.exists()
    try:
        with held(path, busy):
            before = _HELD.set(_HELD.get() | {path})
            try:
                yield
            finally:
                _HELD.reset(before)
    finally:
        if is_new:
            with suppress(OSError):  # something was written there
                path.parent.rmdir()
