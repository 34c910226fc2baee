"""File names that every system takes, and of which no two are alike."""

from __future__ import annotations

import re
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
    name = re.sub(r"[^\w.+-]+", "_", text).strip("._")[:100].rstrip("._") or "unnamed"
    reserved = re.fullmatch(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", name, re.IGNORECASE)
    return f"_{name}" if reserved else name


def unique_names(names: Sequence[str]) -> list[str]:
    """Give names of which no two are alike: append _2, _3, … to names that were there before."""
    taken: set[str] = set()
    unique = []
    for name in names:
        candidate, number = name, 1
        while candidate.casefold() in taken:
            number += 1
            candidate = f"{name}_{number}"
        taken.add(candidate.casefold())
        unique.append(candidate)
    return unique
