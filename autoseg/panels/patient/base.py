"""The model that a fine-tuning begins from."""

from __future__ import annotations

from pathlib import Path

from autoseg.panels.patient.models import ModelPanel

ONE = "A fine-tuning begins from one model: choose a single one in the list."


class BasePanel(ModelPanel):
    """Lists the models of a folder as a ModelPanel does, of which one alone is chosen; `value` is a ChosenModel.

    Parameters
    ----------
    folder : Path or str
        Where the models lie.
    name : str, optional
        Choose the newest model of this name at first; by default the newest of all.
    """

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
