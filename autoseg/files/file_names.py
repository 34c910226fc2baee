"""File names that every system takes, and of which no two are alike."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path


def file_stem(path: Path) -> str:
    """Give a file's name without its ending; the numbers of a UID are no ending.

    Examples
    --------
    >>> file_stem(Path("7.dcm")), file_stem(Path("1.2.840.7"))
    ('7', '1.2.840.7')
    """
    return path.name if path.suffix[1:].isdecimal() else path.stem


def safe_name(text: str) -> str:
    """Give a text as a file name that every system takes; never empty, never hidden."""
    name = shortened(re.sub(r"[^\w.+-]+", "_", text).strip("._")[:100]) or "unnamed"
    reserved = re.fullmatch(r"(con|prn|aux|nul|com[\d¹²³]|lpt[\d¹²³])(\..*)?", name, re.IGNORECASE)
    return f"_{name}" if reserved else name


def shortened(name: str) -> str:
    """Give a name that leaves room for an ending: Linux takes 255 bytes, and a letter may have four."""
    return name.encode("utf-8", "replace")[:MOST_BYTES].decode("utf-8", "ignore").rstrip("._")


MOST_BYTES = 200


def untaken(path: Path) -> Path:
    """Give a path at which nothing is yet: this one, or the first with _2, _3, … behind its name."""
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.name}_{number}")
    return free


def unique_names(names: Sequence[str], *, joint: str = "_") -> list[str]:
    """Give names of which no two are alike on any system: append _2, _3, … to names that were there before.

    Examples
    --------
    >>> unique_names(["a", "A"]), unique_names(["a", "a", "ax2"], joint="x")
    (['a', 'A_2'], ['a', 'ax2', 'ax2x2'])
    """
    taken: set[str] = set()
    unique = []
    for name in names:
        candidate, number = name, 1
        while _as_a_disk_has_it(candidate) in taken:
            number += 1
            candidate = f"{name}{joint}{number}"
        taken.add(_as_a_disk_has_it(candidate))
        unique.append(candidate)
    return unique


def _as_a_disk_has_it(name: str) -> str:
    # Windows does not tell capitals apart, macOS not how an accent is put on its letter.
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
