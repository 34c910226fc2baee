"""What a person types into and clicks on: labelled fields, boxes to tick, and buttons."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import ipywidgets as widgets

from autoseg.data.codes import is_without_ids, keep_without_ids
from autoseg.errors import AutosegError
from autoseg.panels.parts.panel import Panel
from autoseg.panels.parts.style import notice, text

Kind = TypeVar("Kind", bound=widgets.DOMWidget)


def field(
    kind: type[Kind], words: str, tooltip: str = "", *, width: str = "350px", label: str = "135px", **more: Any
) -> Kind:
    """Give a widget with its words before it: `field(widgets.Text, "Name", "Of the model", value="leg")`.

    `label` is the width of the words; "0px" lets them be spoken and not seen. A text counts once it is left.
    """
    if kind is widgets.Text:
        more = {"continuous_update": False} | more
    return kind(
        description=words,
        tooltip=tooltip or words,
        layout=widgets.Layout(width=width),
        style={"description_width": label},
        **more,
    )


def tick(words: str, tooltip: str = "", *, value: bool = False, width: str = "auto") -> widgets.Checkbox:
    """Give a box to tick, with its words behind it."""
    return widgets.Checkbox(
        value=value, description=words, tooltip=tooltip or words, indent=False, layout=widgets.Layout(width=width)
    )


def button(
    words: str,
    act: Callable[[], object],
    tooltip: str = "",
    *,
    panel: Panel | None = None,
    style: str = "",
    icon: str = "",
    width: str = "auto",
) -> widgets.Button:
    """Give a button; with `panel`, what fails at a click is said there."""
    layout = widgets.Layout(width=width, max_width="100%")  # one for each: a layout that two share hides both
    made = widgets.Button(description=words, tooltip=tooltip or words, button_style=style, icon=icon, layout=layout)

    def clicked(_: widgets.Button) -> None:
        if panel is None:
            act()
            return
        with panel.attempt():
            act()

    made.on_click(clicked)
    return made


class WithoutIds(widgets.HBox):
    """A box to tick where codes shall stand for the patients of a folder, in all that is written of it.

    What is ticked is kept beside the images; `again` then looks into the folder anew.
    """

    def __init__(self, again: Callable[[], None]) -> None:
        self.box = tick("Without patient IDs", "Write codes in place of patient IDs and of names of files")
        self.said = widgets.HTML()
        self._again = again
        self._folder: Path | None = None
        super().__init__([self.box, self.said])
        self.layout.display = "none"
        self.box.observe(self._ticked, "value")

    def show(self, folder: Path | None) -> None:
        """Show what holds of a folder; nothing where there is none."""
        if folder != self._folder:
            self.said.value = ""
        self._folder = folder
        self.layout.display = "none" if folder is None else ""
        self.box.value = folder is not None and is_without_ids(folder)

    def _ticked(self, change: dict[str, Any]) -> None:
        if self._folder is None or change["new"] == is_without_ids(self._folder):
            return  # it was shown, not ticked
        try:
            self.said.value = text(keep_without_ids(self._folder, wanted=change["new"]))
        except AutosegError as error:
            self.said.value = notice(str(error), "error")
            self.box.value = is_without_ids(self._folder)
            return
        self._again()
