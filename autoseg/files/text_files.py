"""Text files with a line for each point of a contour, or for the level of each slice."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from autoseg.errors import LabelError, ReadError
from autoseg.words import counted, size_words

MOST_BYTES = 20_000_000
LEVEL = re.compile(r"\d+(/\d+)?\+?|[CTLS]\d+(/[CTLS]?\d+)?\+?", re.IGNORECASE)
NONE = {"-", "", "na", "n/a", "none", "nan"}


def read_contour_file(path: Path) -> npt.NDArray[np.float64]:
    """Read one contour from a text file with "x y" on each line, as `autoseg.image.contours` takes it.

    x counts columns and y counts rows, in pixels from the centre of the first pixel, which is (0, 0). Blanks,
    tabs, commas or semicolons stand between the two; empty lines, lines that begin with #, and one line of column
    names at the start are passed over. The points are (row, column), shape (n, 2).
    """
    path = Path(path)
    points = []
    for number, line in enumerate(_lines(path, "contour", "x and y on each line"), start=1):
        words = re.split(r"[\s,;]+", line.strip(" \t\r,;"))
        if words == [""] or words[0].startswith("#") or (number == 1 and _is_heading(words)):
            continue
        try:
            x, y = (float(word) for word in words)
        except ValueError:
            x = y = float("nan")
        if not (np.isfinite(x) and np.isfinite(y)):
            raise LabelError(
                f"{path}, line {number}: {line.strip()[:40]!r} is no point. Write two numbers, x and y in pixels, "
                "with a decimal point."
            )
        points.append((y, x))
    if len(points) < 3:
        raise LabelError(
            f"{path} holds {counted(len(points), 'point')}; a contour has three or more, one on each line."
        )
    return np.array(points, dtype=np.float64)


def _is_heading(words: list[str]) -> bool:
    return len(words) == 2 and all(re.fullmatch(r"[^\W\d]\w*", word) is not None for word in words)


def read_levels(path: Path) -> dict[int, str]:
    """Read which vertebral or spinal level each slice of a volume shows, slices counted from 0; "" is no level.

    A file whose first slice is 1 counts from 1.
    """
    levels: dict[int, str] = {}
    for number, line in enumerate(_lines(path, "level file", "a slice and its level on each line"), start=1):
        words = [word.strip() for word in re.split(r"[,;\t]|\s{1,}", line.strip(), maxsplit=1)]
        if words == [""] or (number == 1 and not words[0].isdecimal()):
            continue
        level = words[1].strip(" ,;") if len(words) == 2 else ""
        is_none = level.lower() in NONE
        is_number = words[0].isdecimal() and len(words[0]) < 10
        if not is_number or int(words[0]) in levels or not (is_none or LEVEL.fullmatch(level)):
            raise ReadError(
                f"{path}, line {number}: {line[:40]!r} is no pair of a slice (each once) and its level (2, 2/3, 2+ "
                "or -). Write, for instance: 4, 2/3"
            )
        levels[int(words[0])] = "" if is_none else level
    if not levels:
        raise ReadError(f"{path} holds no level. Write a line for each slice, for instance: 4, 2/3")
    first = 0 if 0 in levels else 1
    return {slice_number - first: level for slice_number, level in sorted(levels.items())}


def unfitting_levels(path: Path, levels: Collection[int], slices: Collection[int], image: str) -> str:
    """Say that a level file names other slices than an image has; "" where they are the same."""
    if set(levels) == set(slices):
        return ""
    named = f"{path} names {counted(len(levels), 'slice')}, numbers {min(levels) + 1} to {max(levels) + 1},"
    return f"{named} and {image} has {len(slices)}."


def read_json(path: Path) -> Any:
    """Read what autoseg or nnU-Net keeps beside images as JSON; OSError or ValueError where it cannot be."""
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(f"it has {size_words(path.stat().st_size)}")
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except RecursionError as error:
        raise ValueError("it holds parts within parts without end") from error


def _lines(path: Path, what: str, content: str) -> list[str]:
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
        text = data.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ReadError(
            f"{path} cannot be read as a {what} ({error}). It should be a text file with {content}, in UTF-8."
        ) from error
    if len(data) > MOST_BYTES or "\0" in text:
        raise ReadError(f"{path} is no {what}: a text file with {content}, of a few kilobytes.")
    return text.splitlines()
