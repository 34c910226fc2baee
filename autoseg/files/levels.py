"""Level files: which vertebral or spinal level each slice of a volume shows."""

from __future__ import annotations

import re
from pathlib import Path

from autoseg.errors import ReadError

LEVEL = re.compile(r"\d+(/\d+)?\+?|[CTLS]\d+(/[CTLS]?\d+)?\+?", re.IGNORECASE)
NONE = {"-", "", "na", "n/a", "none", "nan"}


def read_levels(path: Path) -> dict[int, str]:
    """Read the level of each slice."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ReadError(f"{path} cannot be read as a level file ({error}). Save it as text in UTF-8.") from error
    levels: dict[int, str] = {}
    for number, line in enumerate(lines, start=1):
        words = [word.strip() for word in re.split(r"[,;\t]|\s{1,}", line.strip(), maxsplit=1)]
        if words == [""] or (number == 1 and not words[0].isdecimal()):
            continue
        level = words[1].strip(" ,;") if len(words) == 2 else ""
        is_none = level.lower() in NONE
        if not words[0].isdecimal() or int(words[0]) in levels or not (is_none or LEVEL.fullmatch(level)):
            raise ReadError(
                f"{path}, line {number}: {line!r} is no pair of a slice (each once) and its level (2, 2/3, 2+ or "
                "-). Write, for instance: 4, 2/3"
            )
        levels[int(words[0])] = "" if is_none else level
    if not levels:
        raise ReadError(f"{path} holds no level. Write a line for each slice, for instance: 4, 2/3")
    first = 0 if 0 in levels else 1
    return {slice_number - first: level for slice_number, level in sorted(levels.items())}
