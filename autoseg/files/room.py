"""Whether a disk has room for what will be written, asked before the work is done."""

from __future__ import annotations

import shutil
from pathlib import Path

from autoseg.errors import OutputError
from autoseg.files.archives import size_words


def free_bytes(folder: Path) -> int | None:
    """Give the bytes that are free where a folder lies, or will lie; None where the system does not tell.

    How much of it a user may have (a quota) is not known.
    """
    folder = Path(folder).absolute()
    try:
        usage = shutil.disk_usage(next(place for place in (folder, *folder.parents) if place.exists()))
    except OSError:
        return None
    return usage.free if usage.total else None  # some network drives tell nothing but zeros


def check_room(folder: Path, what: str, *, likely: float, least: float = 0.0) -> str:
    """Say that a disk may become full; OutputError where `least` bytes surely do not fit, "" where all is well."""
    free = free_bytes(folder)
    if free is None or free >= likely:
        return ""
    there = f"On the disk of {Path(folder).absolute()} {size_words(free)} are free"
    remedy = "Free some space there, or choose another folder"
    if free < least:
        raise OutputError(f"{there}, and {what} needs {size_words(round(least))} at least. {remedy}.")
    return f"{there}, and {what} may need {size_words(round(likely))}. {remedy}, before the disk is full."
