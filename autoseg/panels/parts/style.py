"""How panels look: headings, notices and pictures as HTML that follows JupyterLab's light or dark theme."""

from __future__ import annotations

import base64
import struct
import threading
from collections.abc import Callable, Sequence
from typing import Literal, Protocol

import ipywidgets as widgets

from autoseg.image.overlay import hex_colour
from autoseg.image.structures import Structure
from autoseg.words import escaped

Kind = Literal["note", "warning", "error", "done"]

# Beside the colour a word or a sign says the same, for eyes that do not tell the colours apart.
_NOTICES: dict[Kind, tuple[str, str]] = {
    "note": ("var(--jp-info-color1, #0072b2)", "i"),
    "warning": ("var(--jp-warn-color1, #e69f00)", "⚠"),
    "error": ("var(--jp-error-color1, #d55e00)", "✖"),
    "done": ("var(--jp-success-color1, #009e73)", "✔"),
}


class Drawn(Protocol):
    """A picture that knows its PNG, for a light page and for a dark one: `figures.NotebookFigure`."""

    def pngs(self) -> tuple[bytes, bytes]:
        """Give both, the one for a light page first."""
        ...


def text(words: str) -> str:
    """Give words as HTML in the page's own colour; line breaks stay."""
    return f'<div style="color:var(--jp-ui-font-color1,inherit);line-height:1.45">{_lines(words)}</div>'


def heading(words: str) -> str:
    """Give a small heading."""
    return (
        '<div role="heading" aria-level="3" style="color:var(--jp-ui-font-color1,inherit);font-weight:600;'
        f'margin:8px 0 2px">{escaped(words)}</div>'
    )


def notice(words: str, kind: Kind = "note", *, details: str = "", announced: bool = True) -> str:
    """Give a sentence with a coloured edge and a sign; `details` unfold at a click.

    Errors are announced to screen readers at once, the rest when there is time; not so if not `announced`.
    """
    colour, sign = _NOTICES[kind]
    role = "alert" if kind == "error" else "status"
    unfold = (
        f'<details style="margin-top:4px"><summary style="cursor:pointer">Details</summary>'
        f'<pre style="white-space:pre-wrap;font-size:11px">{escaped(details)}</pre></details>'
        if details
        else ""
    )
    spoken = role if announced else "note"
    return (
        f'<div role="{spoken}" style="border-left:4px solid {colour};padding:4px 10px;margin:4px 0;'
        f'line-height:1.45;color:var(--jp-ui-font-color1,inherit)"><span aria-hidden="true">{sign}</span> '
        f"{_lines(words)}{unfold}</div>"
    )


def picture(drawn: Drawn | bytes, alt: str, *, width: str = "auto") -> str:
    """Give a figure (or PNG bytes) as an image with a text for those who cannot see it."""

    def image(png: bytes, look: str) -> str:
        data = base64.b64encode(png).decode("ascii")
        across, down = _size(png)
        # The page shows a picture some moments after the words around it. It keeps the place free by these numbers;
        # without them all below would jump up and down again.
        wide = f"{across}px" if width == "auto" else width
        return (
            f'<img alt="{escaped(alt)}" {look}width="{across}" height="{down}" '
            f'style="max-width:100%;width:{wide};height:auto;border-radius:4px" '
            f'src="data:image/png;base64,{data}">'
        )

    if isinstance(drawn, bytes):
        return image(drawn, "")
    # The page says which of the two is seen (`panel.css`), so that a change of theme needs no kernel.
    light, dark = drawn.pngs()
    return image(light, 'class="autoseg-in-light" ') + image(dark, 'class="autoseg-in-dark" hidden ')


def _size(png: bytes) -> tuple[int, int]:
    """Give how many pixels a PNG has across and down: they stand behind its first 16 bytes."""
    across, down = struct.unpack(">II", png[16:24])
    return across, down


def legend(structures: Sequence[Structure], more: str = "") -> str:
    """Give the colours of structures with their names, and `more` words behind them, in a line."""
    swatch = '<span aria-hidden="true" style="display:inline-block;width:12px;height:12px;background:{}"></span>'
    named = [f"{swatch.format(hex_colour(s.rgb))} {escaped(s.name)}" for s in structures]
    parts = [*named, escaped(more)] if more else named
    return "".join(f'<span style="margin-right:12px">{part}</span>' for part in parts)


def _lines(words: str) -> str:
    return escaped(words).replace("\n", "<br>")


# --- A picture that is drawn in the background; of several wishes only the latest is shown


class LaterPicture(widgets.HTML):
    """HTML that is made in the background, so that the page stays quick; the last picture stays until then."""

    def __init__(self) -> None:
        super().__init__()
        self._guard = threading.Lock()
        self._wish: Callable[[], str] | None = None
        self._work: threading.Thread | None = None

    def draw(self, make: Callable[[], str]) -> None:
        """Show what `make` gives as soon as it is done, unless something else is wished for until then."""
        with self._guard:
            self._wish = make
            if self._work is None:
                self._work = threading.Thread(target=self._draw, daemon=True, name="picture")
                self._work.start()

    def wait(self, timeout_s: float | None = None) -> None:
        """Wait until the picture is drawn."""
        work = self._work
        if work is not None:
            work.join(timeout_s)
            if work.is_alive():
                raise TimeoutError(f"The picture was not drawn after {timeout_s} s.")

    def _draw(self) -> None:
        while True:
            with self._guard:
                make = self._wish
            try:
                drawn = make() if make is not None else ""
            except Exception as error:  # a picture is no reason to lose what stands beside it
                drawn = notice(f"The picture could not be drawn: {error}", "warning")
            with self._guard:
                if make is self._wish:
                    self.value, self._work = drawn, None
                    return
