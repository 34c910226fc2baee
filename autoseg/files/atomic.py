"""Writing that is whole or not there: to a temporary name first, then renamed."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from autoseg.errors import OutputError


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; it takes the name `path` only if the block ends well.

    The ending is kept, so that libraries that look at it write the right format.
    """
    path = Path(path)
    with _explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".unfinished-", suffix=path.suffix, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def check_writable(folder: Path) -> None:
    """Try to write in a folder, making it if needed, before work is done whose result shall land there."""
    folder = Path(folder)
    # What is not there yet will be made in the nearest folder that is.
    existing = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    with _explained(folder), tempfile.TemporaryFile(dir=existing) as file:
        file.write(b"autoseg can write here")


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder beside `path`; it takes the name `path` only if the block ends well."""
    path = Path(path)
    with _explained(path):
        if path.exists():
            raise OutputError(
                f"{path} exists already, and results of two runs are never mixed in one folder. "
                "Choose another name, or move the old folder away."
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=path.parent))
        try:
            try:
                yield temporary
            except OutputError as error:
                if isinstance(error.__cause__, OSError) and str(temporary) in str(error):
                    raise error.__cause__ from None  # the sentence is about the folder, not the temporary name
                raise
            os.chmod(temporary, 0o755)
            os.replace(temporary, path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


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
    return culprit == folder or folder in culprit.parents or culprit in folder.parents
