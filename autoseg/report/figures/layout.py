"""What every figure shares: panels side by side, a legend of structures, pictures in a notebook."""

from __future__ import annotations

import io
import math
import textwrap
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

from matplotlib import rc_context
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import Collection
from matplotlib.colors import same_color, to_rgb, to_rgba_array
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import AbstractPathEffect, withStroke
from matplotlib.text import Text
from matplotlib.ticker import AutoLocator

from autoseg.errors import DataError
from autoseg.image.overlay import hex_colour
from autoseg.image.structures import Structure
from autoseg.report.lights import banner_of

PANEL_INCHES = 2.6
LINE_INCHES = 0.16
NEUTRAL = "#555555"
BAR = "#9fb8d0"  # words stand on it
# On a dark page: the grey of the ground and of words, how dark a colour may be, and a bar.
DARK_GROUND, DARK_WORDS, DARKEST = 0.13, 0.88, 0.4
DARK_BAR = "#3f5f7d"
ROUND = (1, 2, 5, 10)  # steps of an axis
FEWEST_LETTERS = 8  # on a line of a title


# A name may have any length; beside an axis it takes the axis' place.
LONGEST_LINE, LONGEST_BESIDE, MOST_LINES = 90, 40, 15
# Signs that are not seen: control signs, marks of direction, halves of letters.
UNSEEN = ("Cc", "Cf", "Cs")
BOX = "\u25a1"


def shown(words: str, *, longest: int = LONGEST_LINE, families: Sequence[str] = ("sans-serif",)) -> str:
    """Give words as a figure can show them, whatever names are in them; a sign that no font has is a box."""
    lines = [line if len(line) <= longest else f"{line[: longest - 1]}…" for line in words.split("\n")]
    lines = lines if len(lines) <= MOST_LINES else [*lines[: MOST_LINES - 1], "…"]
    known = _signs_of(tuple(findfont(FontProperties(family=[family])) for family in families))
    seen = (sign for sign in "\n".join(lines) if sign == "\n" or unicodedata.category(sign) not in UNSEEN)
    return "".join(sign if sign == "\n" or ord(sign) in known else BOX for sign in seen)


@cache
def _signs_of(fonts: tuple[str, ...]) -> frozenset[int]:
    return frozenset(sign for font in fonts for sign in get_font(font).get_charmap())


def beside_axis(name: str) -> str:
    """Give a name as it can stand beside an axis."""
    return shown(name, longest=LONGEST_BESIDE)


def as_label(name: str) -> str:
    """Give a name as the label of a line; matplotlib leaves those out that begin with an underscore."""
    return f"\u200b{name}" if name.startswith("_") else name


class NotebookFigure(Figure):
    """A figure that a notebook shows as the last value of a cell, though pyplot never knew it.

    Its words are words: no name in it is read as a formula ("$"), whatever it holds. Lines end at the `longest`.
    """

    longest = LONGEST_LINE

    def draw(self, renderer: RendererBase) -> None:
        """Draw, with all words as they can be shown."""
        # Labels along an axis are made while it is drawn, of what `shown` gave.
        with rc_context({"text.parse_math": False}):
            self._arrange()
            super().draw(renderer)

    def _arrange(self) -> None:
        """Let words be words, and the steps of axes round."""
        for text in self.findobj(Text):
            text.set_parse_math(False)
            words = text.get_text()
            if (fit := shown(words, longest=self.longest, families=text.get_fontfamily())) != words:
                text.set_text(fit)
        for ax in self.axes:
            for locator in (ax.xaxis.get_major_locator(), ax.yaxis.get_major_locator()):
                if isinstance(locator, AutoLocator):
                    locator.set_params(steps=ROUND)

    def _fold_titles(self) -> None:
        """Break the lines of titles that are too long for their panels."""
        if self.get_layout_engine() is None:  # a page, on which everything has its place
            return
        with rc_context({"text.parse_math": False}):
            self._arrange()
            _fold_titles(self)

    def savefig(self, *places: Any, **how: Any) -> None:
        """Write the figure, with titles that do not run into each other."""
        self._fold_titles()
        super().savefig(*places, **how)

    def _repr_png_(self) -> bytes:
        self._fold_titles()
        return self._png()

    def _png(self) -> bytes:
        """Draw once; `savefig` draws twice, first only to lay out, which drawing does anyway."""
        buffer = io.BytesIO()
        FigureCanvasAgg(self).print_png(buffer)
        return buffer.getvalue()

    def pngs(self) -> tuple[bytes, bytes]:
        """Give the figure's PNG for a light page, and for a dark one with grounds, words and grey lines turned.

        Other colours stay, and so does all that lies upon a picture.
        """
        light = self._repr_png_()
        engine, ground = self.get_layout_engine(), self.get_facecolor()
        self.set_layout_engine("none")  # to lay out once more would move what is laid out
        turned = [one for artist in _beside_pictures(self) for one in _turn(artist)]
        self.set_facecolor(str(DARK_GROUND))
        try:
            dark = self._png()
        finally:
            self.set_facecolor(ground)
            for back, colour in turned:
                back(colour)
            self.set_layout_engine(engine)
        return light, dark


def _fold_titles(figure: NotebookFigure) -> None:
    """Break the lines of titles that would run into those beside them, or over the edge, and make room for them."""
    titled = [ax for ax in figure.axes if ax.get_title() and ax.get_subplotspec() is not None]
    engine = figure.get_layout_engine()
    if engine is None or not titled:
        return
    renderer = FigureCanvasAgg(figure).get_renderer()
    wide = {ax: ax.title.get_window_extent(renderer).width for ax in titled}
    # Where no title is wider than half of an even share of the figure, no place has to be known.
    if not any(wide[ax] > 0.5 * figure.bbox.width / _columns(ax) for ax in titled):
        return
    engine.execute(figure)
    places = {ax: ax.get_window_extent() for ax in titled}
    added: dict[int, float] = {}
    for ax, own in places.items():
        middle = (own.x0 + own.x1) / 2
        edges = [2 * middle, 2 * (figure.bbox.width - middle)]
        beside = [abs((at.x0 + at.x1) / 2 - middle) for at in places.values() if at.y0 < own.y1 and own.y0 < at.y1]
        room = 0.97 * min([*edges, *(distance for distance in beside if distance > 1)])
        if wide[ax] > room:
            lines = ax.get_title().split("\n")
            letters = int(max(map(len, lines)) * room / wide[ax]) + 1
            while letters > FEWEST_LETTERS and ax.title.get_window_extent(renderer).width > room:
                letters -= 1
                ax.title.set_text(shown("\n".join(textwrap.fill(line, letters) for line in lines)))
            more = 1 + ax.get_title().count("\n") - len(lines)
            row = round(own.y1)
            added[row] = max(added.get(row, 0.0), more * 1.25 * float(ax.title.get_fontsize()) / 72)
    if added:
        across, tall = figure.get_size_inches()
        figure.set_size_inches(across, tall + sum(added.values()))


def _columns(ax: Axes) -> int:
    place = ax.get_subplotspec()
    return 1 if place is None else int(place.get_gridspec().ncols)


def _beside_pictures(figure: Figure) -> Iterator[Artist]:
    """Give what lies on the figure's own ground, and not upon a picture."""
    with_picture = [ax for ax in figure.axes if ax.images]
    for ax in figure.axes:
        if ax in with_picture:
            around = [ax.title, *ax.spines.values(), ax.xaxis, ax.yaxis]
            yield from (one for part in around for one in part.findobj())
        else:
            yield from ax.findobj()
    for part in figure.get_children():
        if isinstance(part, Legend) and with_picture:  # its lines mean those upon the pictures
            yield from (part.get_frame(), *part.get_texts())
        elif not isinstance(part, Axes) and part is not figure.patch:
            yield from part.findobj()


def _turn(artist: Artist) -> Iterator[tuple[Callable[[Any], object], Any]]:
    """Give the colours of an artist for a dark page; yields what sets each back, and to what."""
    parts: list[tuple[Callable[[], Any], Callable[[Any], object]]]
    if isinstance(artist, Text):
        # A word in a box, such as that of a light, has its own ground.
        parts = [] if artist.get_bbox_patch() else [(artist.get_color, artist.set_color)]
    elif isinstance(artist, Line2D):
        parts = [
            (artist.get_color, artist.set_color),
            (artist.get_markerfacecolor, artist.set_markerfacecolor),
            (artist.get_markeredgecolor, artist.set_markeredgecolor),
        ]
    elif isinstance(artist, Patch | Collection):
        parts = [(artist.get_facecolor, artist.set_facecolor), (artist.get_edgecolor, artist.set_edgecolor)]
    else:
        parts = []
    known = [(back, give()) for give, back in parts]
    # What cannot be seen stays so: another colour would make it opaque.
    for back, colour in [(back, colour) for back, colour in known if to_rgba_array(colour)[:, 3:].any()]:
        dark = [[*_in_the_dark((r, g, b)), a] for r, g, b, a in to_rgba_array(colour)]
        back(dark if isinstance(artist, Collection) else tuple(dark[0]))
        yield back, colour


def _in_the_dark(rgb: tuple[float, float, float]) -> tuple[float, float, float]:
    """Give a colour for a dark page: greys from white to black go from the ground to the words."""
    if max(rgb) - min(rgb) < 0.02:
        grey = DARK_WORDS + (DARK_GROUND - DARK_WORDS) * rgb[0]
        return grey, grey, grey
    if same_color(rgb, BAR):
        return to_rgb(DARK_BAR)
    # A blue as deep as the ground would be lost on it.
    red, green, blue = rgb
    share = max(0.0, DARKEST - (0.3 * red + 0.59 * green + 0.11 * blue))
    return red + share * (1 - red), green + share * (1 - green), blue + share * (1 - blue)


def panels(
    count: int,
    columns: int,
    *,
    aspect: float = 1.0,
    inches: float = PANEL_INCHES,
    is_picture: bool = True,
    lines: int = 2,
) -> tuple[NotebookFigure, list[Axes]]:
    """Give a figure with `count` axes, at most `columns` side by side, below titles of so many lines."""
    if count == 0:
        raise DataError("There is nothing to show. Choose at least one slice.")
    wide = min(columns, count)
    tall = math.ceil(count / wide)
    size = (inches * wide, (inches * aspect + 0.4 + LINE_INCHES * (lines - 2)) * tall + 0.4)
    # "compressed" is matplotlib's layout for pictures, whose proportions are fixed.
    figure = NotebookFigure(figsize=size, layout="compressed" if is_picture else "constrained")
    axes = [figure.add_subplot(tall, wide, place + 1) for place in range(count)]
    for ax in axes if is_picture else ():
        ax.set_axis_off()
    return figure, axes


def add_legend(figure: Figure, structures: Sequence[Structure], extra: Sequence[Line2D] = ()) -> None:
    """Name the structures, and what `extra` lines mean, below the panels."""
    handles: list[Any] = [Patch(color=hex_colour(s.rgb), label=as_label(s.name)) for s in structures]
    handles += extra
    if handles:
        look: dict[str, Any] = {"fontsize": 9, "facecolor": "none", "edgecolor": "none", "handlelength": 2.4}
        figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 4), **look)


def dark_below(width: float) -> list[AbstractPathEffect]:
    """Give a dark line of this width below a light one, without which that is lost on what is bright.

    It has no gaps, so a dashed white line is one of white and black.
    """
    return [withStroke(linewidth=width, foreground="black", dashes={"dash_offset": 0, "dash_list": None})]


def outline_key(label: str) -> Line2D:
    """Give what stands for outlines of what was drawn (`slices.outline_reference`) in a legend."""
    return Line2D([], [], color="white", linestyle="--", linewidth=1.2, path_effects=dark_below(3.2), label=label)


def look_of_light(light: str) -> tuple[str, dict[str, Any]] | None:
    """Give the word of a light in a figure, and how its text looks; None of a green or an unknown one."""
    banner = banner_of(light)
    if banner is None:
        return None
    box = {"facecolor": hex_colour(banner.ground), "edgecolor": "none", "boxstyle": "square,pad=0.25"}
    return banner.words[1], {"fontsize": 9, "color": hex_colour(banner.ink), "bbox": box}


def add_line_legend(figure: Figure, handles: Sequence[Artist], *, columns: int = 4) -> None:
    """Say below a chart what its lines and marks mean."""
    columns = min(columns, len(handles))
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, fontsize=8)
