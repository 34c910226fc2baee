"""The model to segment with, or several, chosen from a list that says what each was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import ipywidgets as widgets

from autoseg.model.model import GUESSED, can_be_guessed, load_model, model_files, write_sealed
from autoseg.model.model_list import ModelEntry, list_models, list_shipped, newest_model
from autoseg.panels.parts.beginning import Beginning
from autoseg.panels.parts.chooser import FolderChooser
from autoseg.panels.parts.fields import button
from autoseg.panels.parts.panel import Panel
from autoseg.panels.parts.remembered import remember, remembered
from autoseg.panels.parts.style import heading, notice, text
from autoseg.panels.parts.table import html_table
from autoseg.panels.parts.values import ChosenModel
from autoseg.prediction.ensemble import as_models

MOST_ROWS = 8
SHIPPED = (
    "There is no model of your own in {} yet. Those in the list come with autoseg: they learnt from few patients "
    "of public data, and show what it does. 1_train.ipynb trains one on yours."
)


class ModelPanel(Panel):
    """Lists the models of a folder, newest first, and loads the chosen one; `value` is a ChosenModel, or None.

    Those that come with autoseg stand below them.

    Labels, channels and input size come with the model: nothing is typed. Several models of the same structures may
    be chosen (of the folds of a cross-validation, for instance); the mean of what they answer counts then. At first
    the newest model of this `name`, or of each of these names, is chosen; by default the newest of all.
    `next_step` says what to do after it, for a notebook's first panel.
    """

    def __init__(
        self,
        folder: Path | str = "../trained_model",
        name: str | Sequence[str] | None = None,
        *,
        next_step: str = "",
    ) -> None:
        super().__init__()
        self.beginning = (Beginning(words=next_step),) if next_step else ()
        self.folder = Path(folder)
        self.names = (name,) if isinstance(name, str) else tuple(name or ())
        self.entries: tuple[ModelEntry, ...] = ()
        self.where = widgets.HTML()
        self.list = widgets.SelectMultiple(description="Models", layout=widgets.Layout(width="auto"))
        self.list.tooltip = (
            "The models of the folder, the newest first. Arrow keys choose one. Ctrl and click adds another: the "
            "mean of their answers is often a little better, and each takes its time."
        )
        self.details = widgets.HTML()
        self.again = button(
            "Look again", self.look, "Read the folder again, after a training for instance", icon="refresh"
        )
        self.other = button("Other folder…", self.browse, "Choose another folder with models", icon="folder-open")
        self.stay = button("Cancel", self._stay, "Leave it at the folder above")
        self.guessed = widgets.HTML()
        anew = button(
            "Write anew",
            self.seal,
            "Write the file anew in its place, so that every guess is slow. It recognises its patients as before; "
            "copies that were made of it earlier stay as they are.",
            panel=self,
            icon="lock",
        )
        self.sealing = widgets.VBox([self.guessed, anew], layout=widgets.Layout(display="none"))
        self.chooser: FolderChooser | None = None
        self._filling = False
        self.list.observe(lambda _: self._selected(), "index")
        self._show_body()
        self.look()

    # --- what a click does, for scripts as well

    def look(self, folder: Path | str | None = None) -> None:
        """Read the folder, or another one, and choose the newest model."""
        self.folder = Path(folder) if folder is not None else self.folder
        self._empty()
        self.start(lambda: _listed(self.folder), self._list, saying="Looking for models …")

    def choose(self, path: Path | str, *others: Path | str) -> None:
        """Choose a model by its file, which need not be in the list; or several, of which the mean counts."""
        paths = list(dict.fromkeys(Path(one).absolute() for one in (path, *others)))
        places = {entry.path.absolute(): number for number, entry in enumerate(self.entries)}
        known = [places[one] for one in paths if one in places]
        self._select(known)
        self.details.value = (
            _details([self.entries[number] for number in known]) if len(known) == len(paths) else ""
        )
        names = ", ".join(one.name for one in paths)
        self.start(lambda: _load(paths), self._take, saying=f"Loading {names} …")

    def seal(self) -> None:
        """Write what of the chosen models patients' IDs could be found from anew, in its place."""
        if self.value is None:
            return
        chosen = (self.value, *self.value.others)

        def write() -> tuple[ModelEntry, ...]:
            for one in chosen:
                if can_be_guessed(one.model):
                    write_sealed(one.path)
            return _listed(self.folder)

        def show(entries: tuple[ModelEntry, ...]) -> None:
            self.entries = entries
            self._fill()
            self.choose(*(one.path for one in chosen))

        self.start(write, show, saying="Writing the model anew …")

    def browse(self) -> None:
        """Show a folder chooser; the folder chosen there is read at once."""
        self.chooser = FolderChooser(
            self.folder, title="Folder with models", describe=_models_in, remembers="models"
        )
        self._show_body()
        self.chooser.observe(lambda change: self._browsed(change["new"]), "value")

    # --- what is shown

    def _show_body(self) -> None:
        parts = [*self.beginning, widgets.HTML(heading("Model")), self.where, self.list, self.details, self.sealing]
        buttons = widgets.HBox([self.again, self.stay if self.chooser else self.other])
        self.body.children = (*parts, buttons, *([self.chooser] if self.chooser else []))

    def _browsed(self, folder: Path | None) -> None:
        if folder is None:
            return
        self._stay()
        self.look(folder)

    def _stay(self) -> None:
        self.chooser = None
        self._show_body()

    def _empty(self) -> None:
        self.entries = ()
        self._fill()
        self.where.value = self.details.value = ""
        self.sealing.layout.display = "none"

    def _list(self, entries: tuple[ModelEntry, ...]) -> None:
        self.entries = entries
        self._fill()
        folder = self.folder.resolve()
        own = [entry for entry in entries if not entry.is_shipped]
        last = None if self.names else _last_time(type(self).__name__, entries)
        wanted = [newest_model(entries, name) for name in self.names] or [last or newest_model(own or entries)]
        lacking = [name for name, entry in zip(self.names, wanted, strict=False) if entry is None]
        found = [entry.path for entry in wanted if entry is not None]
        if not entries:
            self.say(
                f"There is no model in {folder}. Train one first: open 1_train.ipynb and run it; its model lands "
                "there, and Look again shows it. Or choose another folder.",
                "warning",
            )
            return
        told = f"\n{last.path.name} is chosen as last time." if last is not None else ""
        self.where.value = text((f"Folder: {folder}" if own else SHIPPED.format(folder)) + told)
        if found and not lacking:
            self.choose(*found)
        elif lacking and newest_model(entries):
            names = ", ".join(map(repr, lacking))
            self.say(f"No model here is named {names}. Choose one in the list, or look again.", "warning")
        else:
            self.say("None of these files can be used; choose one in the list to see why.", "warning")

    def _fill(self) -> None:
        with self.list.hold_sync():
            self._filling = True
            self.list.options = [(entry.line, number) for number, entry in enumerate(self.entries)]
            self.list.index = ()  # until one is chosen
            self.list.rows = max(2, min(MOST_ROWS, len(self.entries)))
            self.list.layout.display = "" if self.entries else "none"
            self._filling = False

    def _select(self, numbers: Sequence[int]) -> None:
        self._filling = True
        self.list.index = tuple(sorted(numbers))
        self._filling = False

    def _selected(self) -> None:
        if self._filling:
            return
        if self.list.index:
            remember(type(self).__name__, self.entries[self.list.index[0]].path.absolute())
            self.choose(*(self.entries[number].path for number in self.list.index))
        else:  # Ctrl and click took the last one away
            self.details.value = ""
            self.give_up("Choose a model in the list.")

    def _take(self, chosen: ChosenModel) -> None:
        self._offer_sealing(chosen)
        self.value = chosen

    def _offer_sealing(self, chosen: ChosenModel) -> None:
        """Say of which models patients' IDs can be found by trying, and offer what helps."""
        named = [one.path.name for one in (chosen, *chosen.others) if can_be_guessed(one.model)]
        words = "\n".join(f"{name} {GUESSED}. Write it anew before it leaves this computer." for name in named)
        self.guessed.value = notice(words, "warning") if named else ""
        self.sealing.layout.display = "" if named else "none"


def _listed(folder: Path) -> tuple[ModelEntry, ...]:
    """Give the models of a folder, and after them those that come with autoseg."""
    return (*list_models(folder), *list_shipped())


def _last_time(what: str, entries: Sequence[ModelEntry]) -> ModelEntry | None:
    """Give the model that was chosen last, unless the folder has a newer one since, or it cannot be used."""
    for chosen in remembered(what)[:1]:
        newer = [one for one in entries if not one.is_shipped and one.path.stat().st_mtime > chosen.when_s]
        found = [one for one in entries if one.path.absolute() == chosen.path and not one.problem]
        return found[0] if found and not newer else None
    return None


def _models_in(folder: Path) -> str:
    count = len(model_files(folder))
    return f"{count} model{'' if count == 1 else 's'}" if count else "no models"


def _load(paths: Sequence[Path]) -> ChosenModel:
    """Read the models; several must go together."""
    first, *others = (ChosenModel(load_model(path), path) for path in paths)
    chosen = ChosenModel(first.model, first.path, tuple(others))
    as_models(chosen.models)
    return chosen


def _details(entries: Sequence[ModelEntry]) -> str:
    """Say what is known of a model; of several which they are, and what is known of each in a line."""
    entries = [entry for entry in entries if not entry.problem]
    if not entries:
        return ""
    facts = entries[0].facts
    if len(entries) > 1:
        known = [(entry, dict(entry.facts)) for entry in entries]
        facts = (
            (
                f"{len(entries)} models",
                f"The mean of their answers counts; segmenting takes {len(entries)} times as long.",
            ),
            *(
                (entry.path.name, f"{its['Validation score']}; new images are {its['New images']}")
                for entry, its in known
            ),
        )
    return html_table((), facts, label="What is known of the model", wrap=True)


# --- the model that a fine-tuning begins from

ONE = "A fine-tuning begins from one model: choose a single one in the list."


class BasePanel(ModelPanel):
    """Lists the models of a folder as a ModelPanel does, of which one alone is chosen; `value` is a ChosenModel."""

    def __init__(self, folder: Path | str = "../trained_model", name: str | None = None) -> None:
        super().__init__(folder, name)
        self.list.tooltip = "The models of the folder, the newest first. Arrow keys choose one."

    def choose(self, path: Path | str, *others: Path | str) -> None:
        """Choose a model by its file, which need not be in the list; several are refused."""
        if others:
            self.details.value = ""
            self.give_up(ONE)
            return
        super().choose(path)
