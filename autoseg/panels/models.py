"""The model to segment with, chosen from a list that says what each was trained on."""

from __future__ import annotations

import html
from pathlib import Path

import ipywidgets as widgets

from autoseg.model import load_model, model_files
from autoseg.model_list import ModelEntry, list_models, newest_model
from autoseg.panels.chooser import FolderChooser
from autoseg.panels.panel import Panel
from autoseg.panels.style import heading, text
from autoseg.panels.values import ChosenModel

MOST_ROWS = 8


class ModelPanel(Panel):
    """Lists the models of a folder, newest first, and loads the chosen one; `value` is a ChosenModel, or None.

    Labels, channels and input size come with the model: nothing is typed.

    Parameters
    ----------
    folder : Path or str
        Where the models lie.
    name : str, optional
        Choose the newest model of this name at first; by default the newest of all.
    """

    def __init__(self, folder: Path | str = "../trained_model", name: str | None = None) -> None:
        super().__init__()
        self.folder, self.name = Path(folder), name
        self.entries: tuple[ModelEntry, ...] = ()
        self.where = widgets.HTML()
        self.list = widgets.Select(description="Models", layout=widgets.Layout(width="auto"))
        self.list.tooltip = "The models of the folder, the newest first. Arrow keys choose one."
        self.details = widgets.HTML()
        self.again = widgets.Button(
            description="Look again",
            tooltip="Read the folder again, after a training for instance",
            icon="refresh",
            layout=widgets.Layout(width="120px"),
        )
        self.other = widgets.Button(
            description="Other folder…",
            tooltip="Choose another folder with models",
            icon="folder-open",
            layout=widgets.Layout(width="140px"),
        )
        self.chooser: FolderChooser | None = None
        self._filling = False
        self.list.observe(lambda _: self._selected(), "index")
        self.again.on_click(lambda _: self.look())
        self.other.on_click(lambda _: self.browse())
        self._show_body()
        self.look()

    # --- what a click does, for scripts as well

    def look(self, folder: Path | str | None = None) -> None:
        """Read the folder, or another one, and choose the newest model."""
        self.folder = Path(folder) if folder is not None else self.folder
        self._empty()
        self.start(lambda: list_models(self.folder), self._list, saying="Looking for models …")

    def choose(self, path: Path | str) -> None:
        """Choose a model by its file, which need not be in the list."""
        path = Path(path).absolute()
        number = next((n for n, entry in enumerate(self.entries) if entry.path.absolute() == path), None)
        entry = None if number is None else self.entries[number]
        self._select(number)
        self.details.value = _details(entry) if entry and not entry.problem else ""
        self.start(lambda: ChosenModel(load_model(path), path), self._take, saying=f"Loading {path.name} …")

    def browse(self) -> None:
        """Show a folder chooser; the folder chosen there is read at once."""
        self.chooser = FolderChooser(self.folder, title="Folder with models", describe=_models_in)
        self._show_body()
        self.chooser.observe(lambda change: self._browsed(change["new"]), "value")

    # --- what is shown

    def _show_body(self) -> None:
        parts = [widgets.HTML(heading("Model")), self.where, self.list, self.details]
        buttons = widgets.HBox([self.again, self.other])
        self.body.children = (*parts, buttons, *([self.chooser] if self.chooser else []))

    def _browsed(self, folder: Path | None) -> None:
        if folder is None:
            return
        self.chooser = None
        self._show_body()
        self.look(folder)

    def _empty(self) -> None:
        self.entries = ()
        self._fill()
        self.where.value = self.details.value = ""

    def _list(self, entries: tuple[ModelEntry, ...]) -> None:
        self.entries = entries
        self._fill()
        folder = self.folder.resolve()
        first = newest_model(entries, self.name)
        if not entries:
            self.say(
                f"There is no model in {folder}. Train one first: open 1_train.ipynb and run it; its model lands "
                "there, and Look again shows it. Or choose another folder.",
                "warning",
            )
            return
        self.where.value = text(f"Folder: {folder}")
        if first is not None:
            self.choose(first.path)
        elif self.name and newest_model(entries):
            self.say(f"No model here is named {self.name!r}. Choose one in the list, or look again.", "warning")
        else:
            self.say("None of these files can be used; choose one in the list to see why.", "warning")

    def _fill(self) -> None:
        with self.list.hold_sync():
            self._filling = True
            self.list.options = [(entry.line, number) for number, entry in enumerate(self.entries)]
            self.list.index = None  # until one is chosen
            self.list.rows = max(2, min(MOST_ROWS, len(self.entries)))
            self.list.layout.display = "" if self.entries else "none"
            self._filling = False

    def _select(self, number: int | None) -> None:
        self._filling = True
        self.list.index = number
        self._filling = False

    def _selected(self) -> None:
        if self._filling or self.list.index is None:
            return
        self.choose(self.entries[self.list.index].path)

    def _take(self, chosen: ChosenModel) -> None:
        self.value = chosen


def _models_in(folder: Path) -> str:
    count = len(model_files(folder))
    return f"{count} model{'' if count == 1 else 's'}" if count else "no models"


def _details(entry: ModelEntry) -> str:
    rows = "".join(
        '<tr><th scope="row" style="text-align:left;font-weight:600;padding:1px 12px 1px 0;vertical-align:top;'
        f'white-space:nowrap">{html.escape(heading_)}</th><td>{html.escape(words)}</td></tr>'
        for heading_, words in entry.facts
    )
    style = "color:var(--jp-ui-font-color1,inherit);line-height:1.45;margin:4px 0 4px 90px"
    return f'<table style="{style}">{rows}</table>'
