"""What a page holds, whatever it is written as: headings, words, facts, tables, pictures and a light, in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autoseg.model.trust import Light


@dataclass(frozen=True)
class Heading:
    """A heading of a part."""

    words: str


@dataclass(frozen=True)
class Words:
    """A paragraph; one that `is_grave` must not be overlooked."""

    words: str
    is_grave: bool = False


@dataclass(frozen=True)
class Points:
    """Sentences one below the other."""

    lines: tuple[str, ...]


@dataclass(frozen=True)
class Facts:
    """What is known, each as a heading and words."""

    rows: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Signal:
    """A light (None: nobody compared), its word, and its reasons."""

    light: Light | None
    word: str
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Grid:
    """A table: its caption, its columns, and rows of words as long as these.

    The first cell of a row names it. `numeric` are columns on the right; rows in `below` are statistics of those
    above them.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: frozenset[int] = frozenset()
    below: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        if any(len(row) != len(self.columns) for row in self.rows):
            raise ValueError(f"The table {self.caption!r} has a row of another length than its columns.")


@dataclass(frozen=True)
class Picture:
    """A picture as the bytes of a PNG file: what stands below it, and for who cannot see it what it shows."""

    png: bytes
    caption: str
    alt: str


@dataclass(frozen=True)
class Pictures:
    """Pictures side by side, at most so many in a row."""

    pictures: tuple[Picture, ...]
    columns: int = 3


Block = Heading | Words | Points | Facts | Signal | Grid | Pictures


@dataclass(frozen=True)
class Document:
    """A page with its title, a line below it, what it holds, and what stands at the foot of each sheet."""

    title: str
    subtitle: str
    blocks: tuple[Block, ...]
    foot: str = ""


def split_columns(grid: Grid, kept: int, most: int) -> list[Grid]:
    """Give a wide table as several that fit on paper: the first `kept` columns in each, and at most `most` others.

    Examples
    --------
    >>> wide = Grid("Areas", ("slice", "a", "b", "c"), (("1", "2", "3", "4"),), frozenset({1, 2, 3}))
    >>> [part.columns for part in split_columns(wide, 1, 2)]
    [('slice', 'a', 'b'), ('slice', 'c')]
    """
    others = range(kept, len(grid.columns))
    chosen = [[*range(kept), *others[start : start + most]] for start in range(0, max(1, len(others)), most)]
    return [
        Grid(
            grid.caption if len(chosen) == 1 else f"{grid.caption} ({number} of {len(chosen)})",
            _of(grid.columns, places),
            tuple(_of(row, places) for row in grid.rows),
            frozenset(new for new, old in enumerate(places) if old in grid.numeric),
            grid.below,
        )
        for number, places in enumerate(chosen, start=1)
    ]


def _of(cells: Sequence[str], places: Sequence[int]) -> tuple[str, ...]:
    return tuple(cells[place] for place in places)
