"""Read contours kept as text files: one point a line, x and y in pixels."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import numpy.typing as npt

from autoseg.errors import LabelError, ReadError

MOST_BYTES = 20_000_000


def read_contour_file(path: Path) -> npt.NDArray[np.float64]:
    """Read one contour from a text file with "x y" on each line, as `autoseg.image.contours` takes it.

    x counts columns and y counts rows, in pixels from the centre of the first pixel, which is (0, 0). Blanks,
    tabs, commas or semicolons stand between the two; empty lines, lines that begin with #, and one line of column
    names at the start are passed over.
    """
    path = Path(path)
    points = []
    for number, line in enumerate(_lines(path), start=1):
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
        raise LabelError(f"{path} holds {len(points)} point(s); a contour has three or more, one on each line.")
    return np.array(points, dtype=np.float64)


def _is_heading(words: list[str]) -> bool:
    return len(words) == 2 and all(re.fullmatch(r"[^\W\d]\w*", word) is not None for word in words)


def _lines(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        text = content.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ReadError(
            f"{path} cannot be read as a contour ({error}). It should be a text file with x and y on each line."
        ) from error
    if len(content) > MOST_BYTES or "\0" in text:
        raise ReadError(f"{path} is no contour: a text file with x and y on each line, of a few kilobytes.")
    return text.splitlines()
