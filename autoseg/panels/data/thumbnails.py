"""Small pictures of cases on the page, drawn in the background, those wished for last."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import ipywidgets as widgets

from autoseg.data.cases import CaseFolder
from autoseg.panels.parts.style import picture, text
from autoseg.report.figures.thumbnails import draw_thumbnail

WIDTH = "112px"
MOST_KEPT = 200


@dataclass(frozen=True, eq=False)
class Wish:
    """A place on the page, and what shall be drawn there: a slice of a case (None: where most is drawn)."""

    place: widgets.HTML
    case_id: str
    index: int | None
    alt: str


class Thumbnails:
    """Draws small pictures one after the other; what is wished for later takes the place of earlier wishes."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._number = 0
        self._work: threading.Thread | None = None
        self._cases: CaseFolder | None = None
        self._kept: dict[tuple[str, int | None], bytes | None] = {}  # of this reading of the folder

    def show(self, cases: CaseFolder, wishes: Sequence[Wish]) -> None:
        """Draw these, and no longer those of before."""
        with self._guard:
            self._number += 1
            if cases is not self._cases:
                self._cases, self._kept = cases, {}
            number, kept = self._number, self._kept

        def draw() -> None:
            of = {case.case_id: case for case in cases.cases}
            for wish in wishes:
                key = wish.case_id, wish.index
                if key not in kept and number == self._number:
                    try:
                        drawn = draw_thumbnail(of[wish.case_id], cases.structures, wish.index)
                    except Exception:  # of one picture, which is no reason to lose the others
                        drawn = None
                    with self._guard:
                        kept[key] = drawn
                        while len(kept) > MOST_KEPT:
                            del kept[next(iter(kept))]
                with self._guard:
                    if number != self._number:
                        return
                    png = kept.get(key)
                    wish.place.value = text("no picture") if png is None else picture(png, wish.alt, width=WIDTH)

        work = threading.Thread(target=draw, daemon=True, name="thumbnails")
        self._work = work
        work.start()

    def wait(self, timeout_s: float | None = None) -> None:
        """Wait until all is drawn, for scripts and tests."""
        if self._work is not None:
            self._work.join(timeout_s)
