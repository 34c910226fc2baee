"""A button that hands the browser a file, whose bytes are made at the click, and rows in which it is a link."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import anywidget
import ipywidgets as widgets
import traitlets

from autoseg.errors import AutosegError
from autoseg.files.archives import zip_folder
from autoseg.words import escaped, size_words

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


def linked(name: DownloadButton, facts: str, meaning: str) -> widgets.HBox:
    """Give a row in which a download looks like a link, with facts and what it is behind it."""
    name.add_class("autoseg-link")
    name.layout = widgets.Layout(flex="0 0 270px")
    about = f'<span style="opacity:.75">{escaped(facts)}</span> {escaped(meaning)}'
    said = f'<div style="color:var(--jp-ui-font-color1,inherit);line-height:1.45">{about}</div>'
    return widgets.HBox([name, widgets.HTML(said, layout=widgets.Layout(flex="1 1 0", min_width="0"))])


def file_row(path: Path, meaning: str, *, saved_as: str = "") -> widgets.HBox:
    """Give a row with the name of a file, which downloads it when it is clicked, by default under that name."""
    name = DownloadButton(saved_as or path.name, path.read_bytes, description=path.name)
    return linked(name, size_words(path.stat().st_size), meaning)


def folder_row(folder: Path, meaning: str) -> widgets.HBox:
    """Give a row with the name of a folder, which downloads it as a zip when it is clicked."""
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    name = DownloadButton(f"{folder.name}.zip", partial(zip_folder, folder), description=folder.name)
    return linked(name, size_words(size), meaning)
