"""A button that hands the browser a file, whose bytes are made at the click."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from autoseg.errors import AutosegError

HERE = Path(__file__).parent
# A message of more bytes than this is cut by some servers on the way to the page.
PIECE_BYTES = 4 * 2**20


class DownloadButton(anywidget.AnyWidget):
    """A button that downloads a file.

    Parameters
    ----------
    name : str
        Of the file, as the browser saves it.
    make : callable
        Gives the file's bytes; asked at every click. What it raises is shown beside the button as a sentence.
    description : str
        What the button says; by default "Download <name>".
    """

    _esm = HERE / "download.js"
    _css = HERE / "download.css"
    name = traitlets.Unicode().tag(sync=True)
    description = traitlets.Unicode().tag(sync=True)
    disabled = traitlets.Bool(False).tag(sync=True)

    def __init__(self, name: str, make: Callable[[], bytes], *, description: str = "") -> None:
        self.make = make
        super().__init__(name=name, description=description or f"Download {name}")
        self.on_msg(self._answer)

    def pieces(self) -> list[tuple[dict[str, Any], list[bytes]]]:
        """Give the messages that a click sends to the page: the file in pieces, or why there is none."""
        try:
            data = self.make()
        except Exception as error:  # whatever the function meets, the click needs an answer
            words = str(error) if isinstance(error, AutosegError) else f"{self.name} could not be made: {error}"
            return [({"failed": words}, [])]
        count = max(1, -(-len(data) // PIECE_BYTES))
        cuts = [data[number * PIECE_BYTES : (number + 1) * PIECE_BYTES] for number in range(count)]
        return [({"piece": number, "count": count}, [cut]) for number, cut in enumerate(cuts)]

    def _answer(self, _: Any, message: Any, buffers: Any) -> None:
        if message == {"wanted": True}:
            for description, parts in self.pieces():
                self.send(description, buffers=parts)
