"""A document as a PDF on A4: set here line by line, so that no browser and no library of the system is needed."""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import datetime
from functools import cache

import numpy as np
import numpy.typing as npt
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.font_manager import FontProperties, findfont
from matplotlib.ft2font import FT2Font
from matplotlib.image import imread
from matplotlib.lines import Line2D
from matplotlib.patches import Ellipse, Patch, Polygon, Rectangle

from autoseg.model.trust import Light
from autoseg.report.figures.layout import NotebookFigure
from autoseg.report.lights import LOOKS
from autoseg.report.pages.document import (
    Document,
    Facts,
    Grid,
    Heading,
    Pictures,
    Points,
    Signal,
    Words,
)

# All in points, from the top left of the sheet.
WIDE, HIGH = 595.3, 841.9
SIDE, TOP, FOOT = 45.0, 45.0, 50.0
INSIDE = WIDE - 2 * SIDE
PLAIN, SMALL, TITLE, PART = 9.0, 7.5, 16.0, 11.5
LEADING = 1.38
GAP = 6.0  # between the columns of a table
SOFT, LINE, BELOW, GRAVE = "#555555", "#b4b4b4", "#f0f0f0", "#8a1c00"
LONGEST_NAME = 150.0  # of a fact
ICON = 26.0
UNIT = 100.0  # size at which letters are measured


def to_pdf(document: Document) -> bytes:
    """Give a document as a PDF with A4 pages, each with its number and the document's foot."""
    from matplotlib.backends.backend_pdf import PdfPages  # half a second, and few runs come here

    figures = lay_out(document)
    buffer = io.BytesIO()
    # Letters as such, which can be searched and copied.
    with rc_context({"pdf.fonttype": 42}):
        about = {"Title": document.title, "Creator": "autoseg", "CreationDate": datetime.now().astimezone()}
        with PdfPages(buffer, metadata=about) as pages:
            for figure in figures:
                pages.savefig(figure)
    return buffer.getvalue()


def to_pictures(document: Document, dpi: int = 150) -> list[npt.NDArray[np.uint8]]:
    """Give the pages of the PDF as pictures, each (rows, columns, 3)."""
    pictures = []
    for figure in lay_out(document):
        figure.set_dpi(dpi)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        pictures.append(np.array(canvas.buffer_rgba(), dtype=np.uint8)[..., :3])
    return pictures


def lay_out(document: Document) -> list[Sheet]:
    """Give the pages of a document, each a figure as large as A4."""
    sheets = _Sheets()
    sheets.words(document.title, size=TITLE, bold=True)
    if document.subtitle:
        sheets.words(document.subtitle, colour=SOFT)
    for block in document.blocks:
        if isinstance(block, Heading):
            sheets.heading(block.words)
        elif isinstance(block, Words):
            sheets.words(block.words, bold=block.is_grave, colour=GRAVE if block.is_grave else "black", after=4)
        elif isinstance(block, Points):
            for line in block.lines:
                sheets.point(line)
        elif isinstance(block, Facts):
            sheets.facts(block)
        elif isinstance(block, Signal):
            sheets.signal(block)
        elif isinstance(block, Grid):
            sheets.grid(block)
        elif isinstance(block, Pictures):
            sheets.pictures(block)
    for number, figure in enumerate(sheets.figures, start=1):
        sheets.foot(figure, document.foot, f"page {number} of {len(sheets.figures)}")
    return sheets.figures


class Sheet(NotebookFigure):
    """A page, whose lines were broken where they are too long."""

    longest = 10_000


# --- letters


@cache
def _font(bold: bool) -> FT2Font:
    # One of its own: whatever matplotlib draws sets another size of those that it keeps.
    font = FT2Font(findfont(FontProperties(family=["sans-serif"], weight="bold" if bold else "normal")))
    font.set_size(UNIT, 72)
    return font


@cache
def _letter(sign: str, bold: bool) -> float:
    """Give how far a sign reaches, as a share of the letters' size."""
    return float(_font(bold).load_char(ord(sign)).linearHoriAdvance / 65536 / UNIT)


def width_of(words: str, size: float, *, bold: bool = False) -> float:
    """Give how long a line of words is, in points."""
    return size * sum(_letter(sign, bold) for sign in words)


def broken(words: str, size: float, room: float, *, bold: bool = False) -> list[str]:
    """Break words into lines that are no longer than the room; a word that is too long is cut.

    Examples
    --------
    >>> broken("one two three", 10, 45)
    ['one two', 'three']
    >>> len(broken("x" * 40, 10, 100)) > 2
    True
    """
    lines = []
    for paragraph in words.split("\n"):
        line = ""
        for word in paragraph.split(" "):
            longer = f"{line} {word}" if line else word
            if width_of(longer, size, bold=bold) <= room:
                line = longer
                continue
            if line:
                lines.append(line)
            line = word
            while width_of(line, size, bold=bold) > room and len(line) > 1:
                fits = next(n for n in range(len(line) - 1, 0, -1) if n == 1 or width_of(line[:n], size) <= room)
                lines.append(line[:fits])
                line = line[fits:]
        lines.append(line)
    return lines


# --- sheets


class _Sheets:
    """The pages so far; `y` is how far the last one is full."""

    def __init__(self) -> None:
        self.figures: list[Sheet] = []
        self.y = HIGH

    @property
    def figure(self) -> Sheet:
        return self.figures[-1]

    def need(self, high: float) -> bool:
        """Begin a page where the last one has no room for so much; tell whether one was begun."""
        if self.y + high <= HIGH - FOOT:
            return False
        self.figures.append(Sheet(figsize=(WIDE / 72, HIGH / 72)))
        self.y = TOP
        return True

    def line(
        self, words: str, x: float, y: float, size: float, *, bold: bool = False, colour: str = "black",
        to_right: bool = False,
    ) -> None:  # fmt: skip
        """Write one line whose letters stand on y."""
        weight, side = "bold" if bold else "normal", "right" if to_right else "left"
        place = x / WIDE, 1 - y / HIGH
        self.figure.text(*place, words, size=size, weight=weight, color=colour, ha=side, va="baseline")

    def put(self, patch: Patch) -> None:
        """Put a shape, whose corners are points from the bottom left."""
        patch.set_transform(self.figure.dpi_scale_trans)
        self.figure.add_artist(patch)

    def rule(self, y: float, left: float = SIDE, right: float = WIDE - SIDE, wide: float = 0.5) -> None:
        """Draw a line across."""
        ends = [left / WIDE, right / WIDE], [1 - y / HIGH] * 2
        self.figure.add_artist(Line2D(*ends, color=LINE if wide < 1 else "black", linewidth=wide))

    def words(
        self, words: str, *, size: float = PLAIN, bold: bool = False, colour: str = "black", after: float = 3,
        left: float = SIDE,
    ) -> None:  # fmt: skip
        """Write a paragraph."""
        for one in broken(words, size, WIDE - SIDE - left, bold=bold):
            self.need(LEADING * size)
            self.y += LEADING * size
            self.line(one, left, self.y, size, bold=bold, colour=colour)
        self.y += after

    def heading(self, words: str) -> None:
        """Write a heading, with room for something below it."""
        if not self.need(80):
            self.y += 10
        self.words(words, size=PART, bold=True, after=4)
        self.rule(self.y)
        self.y += 3

    def point(self, words: str) -> None:
        """Write a sentence behind a dot."""
        self.need(LEADING * PLAIN)
        self.line("•", SIDE, self.y + LEADING * PLAIN, PLAIN)
        self.words(words, left=SIDE + 10)

    def facts(self, facts: Facts) -> None:
        """Write headings with what they stand for beside them."""
        longest = max((width_of(name, PLAIN, bold=True) for name, _ in facts.rows), default=0.0)
        names = min(longest + 2 * GAP, LONGEST_NAME)
        for name, words in facts.rows:
            left = broken(name, PLAIN, names - GAP, bold=True)
            right = broken(words, PLAIN, INSIDE - names)
            self.need(LEADING * PLAIN * min(max(len(left), len(right)), 40))
            for number in range(max(len(left), len(right))):
                self.need(LEADING * PLAIN)
                self.y += LEADING * PLAIN
                if number < len(left):
                    self.line(left[number], SIDE, self.y, PLAIN, bold=True)
                if number < len(right):
                    self.line(right[number], SIDE + names, self.y, PLAIN)
            self.y += 2
        self.y += 4

    def signal(self, signal: Signal) -> None:
        """Draw a light with its word and reasons in a frame."""
        left = SIDE + 14 + (ICON + 12 if signal.light else 0)
        lines = [one for reason in signal.reasons for one in broken(reason, PLAIN, WIDE - SIDE - 12 - left)]
        high = 10 + LEADING * (PLAIN + 2) + LEADING * PLAIN * len(lines) + 8
        self.need(high + 8)
        self.y += 4
        place = (SIDE / 72, (HIGH - self.y - high) / 72)
        self.put(Rectangle(place, INSIDE / 72, high / 72, fill=False, edgecolor="black", linewidth=1.2))
        if signal.light:
            self._icon(signal.light, SIDE + 12, self.y + 9)
        y = self.y + 8 + LEADING * PLAIN
        self.line(signal.word, left, y, PLAIN + 2, bold=True)
        for one in lines:
            y += LEADING * PLAIN
            self.line(one, left, y, PLAIN)
        self.y += high + 6

    def _icon(self, light: Light, x: float, y: float) -> None:
        look = LOOKS[light]
        if look.corners:
            corners = [((x + ICON * across) / 72, (HIGH - y - ICON * down) / 72) for across, down in look.corners]
            self.put(Polygon(corners, closed=True, facecolor=look.colour))
        else:
            middle = (x + ICON / 2) / 72, (HIGH - y - ICON / 2) / 72
            self.put(Ellipse(middle, ICON / 72, ICON / 72, facecolor=look.colour))
        lower = 0.8 if len(look.corners) == 3 else 0.7
        width = width_of(look.sign, 14, bold=True)
        self.line(look.sign, x + (ICON - width) / 2, y + lower * ICON, 14, bold=True, colour=look.ink)

    def grid(self, grid: Grid) -> None:
        """Draw a table; on each further page its columns are named again."""
        widths = _column_widths(grid)
        head = [broken(name, SMALL, width, bold=True) for name, width in zip(grid.columns, widths, strict=True)]
        step = LEADING * SMALL
        above = step * max(map(len, head)) + 5
        self.need(LEADING * PLAIN + above + 3 * step)
        self.words(grid.caption, bold=True, after=1)
        self._head(grid, head, widths)
        for number, row in enumerate(grid.rows):
            is_below = number in grid.below
            cells = [broken(cell, SMALL, width, bold=is_below) for cell, width in zip(row, widths, strict=True)]
            high = step * max(map(len, cells)) + 3
            if self.need(high):
                self._head(grid, head, widths)
            if is_below:
                place = SIDE / 72, (HIGH - self.y - high) / 72
                self.put(Rectangle(place, INSIDE / 72, high / 72, facecolor=BELOW, zorder=0))
            self._row(grid, cells, widths, bold=is_below)
            self.y += high
            self.rule(self.y)
        self.y += 10

    def _head(self, grid: Grid, head: Sequence[Sequence[str]], widths: Sequence[float]) -> None:
        most = max(map(len, head))
        self._row(grid, [[""] * (most - len(lines)) + list(lines) for lines in head], widths, bold=True)
        self.y += LEADING * SMALL * most + 3
        self.rule(self.y, wide=1.0)

    def _row(
        self, grid: Grid, cells: Sequence[Sequence[str]], widths: Sequence[float], *, bold: bool = False
    ) -> None:
        left = SIDE
        for column, (lines, width) in enumerate(zip(cells, widths, strict=True)):
            to_right = column in grid.numeric
            for number, one in enumerate(lines, start=1):
                x = left + width if to_right else left
                self.line(one, x, self.y + LEADING * SMALL * number - 1, SMALL, bold=bold, to_right=to_right)
            left += width + GAP

    def pictures(self, block: Pictures) -> None:
        """Draw pictures side by side with what stands below them."""
        wide = (INSIDE - 10 * (block.columns - 1)) / block.columns
        for start in range(0, len(block.pictures), block.columns):
            row = block.pictures[start : start + block.columns]
            drawn = [imread(io.BytesIO(one.png), format="png") for one in row]
            captions = [broken(one.caption, SMALL, wide) for one in row]
            highest = max(wide * pixels.shape[0] / pixels.shape[1] for pixels in drawn)
            shrunk = min(1.0, (HIGH - TOP - FOOT - 80) / highest)
            self.need(shrunk * highest + LEADING * SMALL * max(map(len, captions)) + 8)
            for number, (pixels, lines) in enumerate(zip(drawn, captions, strict=True)):
                left, high = SIDE + number * (wide + 10), shrunk * wide * pixels.shape[0] / pixels.shape[1]
                place = left / WIDE, 1 - (self.y + high) / HIGH, shrunk * wide / WIDE, high / HIGH
                ax = self.figure.add_axes(place)
                ax.imshow(pixels, aspect="auto", interpolation="none")
                ax.set_axis_off()
                for line, one in enumerate(lines, start=1):
                    self.line(one, left, self.y + high + LEADING * SMALL * line + 1, SMALL, colour=SOFT)
            self.y += shrunk * highest + LEADING * SMALL * max(map(len, captions)) + 8
        self.y += 4

    def foot(self, figure: Sheet, words: str, number: str) -> None:
        """Write what stands at the foot of a page."""
        lines = broken(words, SMALL, INSIDE - 70)[:2]
        for place, one in enumerate(lines):
            y = (FOOT - 14 - LEADING * SMALL * place) / HIGH
            figure.text(SIDE / WIDE, y, one, size=SMALL, color=SOFT, va="top")
        figure.text((WIDE - SIDE) / WIDE, (FOOT - 14) / HIGH, number, size=SMALL, color=SOFT, va="top", ha="right")


def _column_widths(grid: Grid) -> list[float]:
    """Share the width of a page among columns: what they need, and where that is too much the longest give way."""
    columns = list(zip(grid.columns, *grid.rows, strict=True))
    wished = [max(width_of(cell, SMALL, bold=True) for cell in column) + 1 for column in columns]
    room = INSIDE - GAP * (len(columns) - 1)
    least = [min(wish, room / len(columns)) for wish in wished]
    spare = room - sum(least)
    more = [wish - low for wish, low in zip(wished, least, strict=True)]
    if sum(more) > spare:
        return [low + spare * extra / sum(more) for low, extra in zip(least, more, strict=True)]
    # What nobody needs makes columns stand apart.
    apart = (room - sum(wished)) / len(columns)
    return [wish + apart for wish in wished]
