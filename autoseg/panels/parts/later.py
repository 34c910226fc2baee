"""A picture that is drawn in the background; of several wishes only the latest is shown."""

from __future__ import annotations

import threading
from collections.abc import Callable

import ipywidgets as widgets

from autoseg.panels.parts.style import notice


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
        """Wait until the picture is drawn.

        Raises
        ------
        TimeoutError
            If it takes longer than `timeout_s`.
        """
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
