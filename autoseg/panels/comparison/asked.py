"""What every comparison is asked: its name, how long each learns, and into how many folds people are divided."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ipywidgets as widgets

from autoseg.model.settings.settings import Settings
from autoseg.model.settings.text import parse_value, show_value
from autoseg.panels.comparison.comparing_words import describe_folder
from autoseg.panels.comparison.earlier import EarlierRow
from autoseg.panels.parts.style import text
from autoseg.panels.parts.values import Contest
from autoseg.training.plan import change_settings

FIELD = {"description_width": "145px"}
USUAL_EPOCHS, MOST_FOLDS = 50, 10


class Asked(widgets.VBox):
    """The fields of a comparison that do not depend on what is compared; they do nothing themselves.

    Parameters
    ----------
    name : str
        Of the comparison.
    amount : float
        How long each learns.
    in_epochs : bool
        Whether that is epochs, not minutes.
    take_earlier : callable
        Called by the button that asks for what an earlier comparison was begun with.
    what : str
        What is compared: "network" or "way".
    """

    def __init__(
        self,
        name: str,
        amount: float,
        *,
        in_epochs: bool,
        take_earlier: Callable[[], object],
        what: str = "network",
    ) -> None:
        self.name = widgets.Text(
            name,
            description="Name",
            tooltip="Of the comparison; its folder gets this name",
            continuous_update=False,
            layout={"width": "360px"},
            style=FIELD,
        )
        self.amount = widgets.Text(
            show_value(amount),
            description="Each learns for",
            tooltip=f"How long each {what} learns in each fold",
            continuous_update=False,
            layout={"width": "230px"},
            style=FIELD,
        )
        self.unit = widgets.Dropdown(
            options=["minutes", "epochs"],
            value="epochs" if in_epochs else "minutes",
            description="Minutes or epochs",
            tooltip="The same time for all, or the same number of epochs",
            layout={"width": "105px"},
            style={"description_width": "0px"},  # spoken, not seen
        )
        models = "networks" if what == "network" else "models"
        self.folds = widgets.Dropdown(
            description="Folds",
            tooltip=f"Into how many groups the patients are divided; each group is scored once by {models} that "
            "never saw it. More folds: more patients to learn from in each, and longer.",
            layout={"width": "360px"},
            style=FIELD,
        )
        self.note, self.earlier = widgets.HTML(), EarlierRow(take_earlier)
        how_long = widgets.HBox([self.amount, self.unit])
        super().__init__([self.name, self.note, self.earlier, how_long, self.folds])

    def typed_time(self) -> dict[str, Any]:
        """Give the minutes or epochs that were typed, by their name.

        Raises
        ------
        SettingsError
            If it is no number, or one that cannot be.
        """
        hint: type = float if self.unit.value == "minutes" else int
        typed = {self.unit.value: parse_value(self.unit.value, self.amount.value, hint)}
        change_settings(Settings(), {"minutes": None, "epochs": None} | typed)  # says what cannot be
        return typed

    def show_time(self, minutes: float | None, epochs: int | None) -> None:
        """Show minutes, or epochs where they are given."""
        self.unit.value = "minutes" if epochs is None else "epochs"
        self.amount.value = show_value(minutes if epochs is None else epochs)

    def offer_folds(self, count: int, wanted: int) -> None:
        """Offer the folds that so many patients allow; choose those that are wanted, or the most there are."""
        most = min(MOST_FOLDS, count)
        with self.folds.hold_sync():
            self.folds.options = [
                (f"{n}, each patient alone" if n == count else str(n), n) for n in range(2, most + 1)
            ]
            if most >= 2:
                self.folds.value = min(wanted, most)

    def show_place(self, contest: Contest | None) -> None:
        """Say where a comparison is kept and what lies there already; nothing where there is none."""
        words = "" if contest is None else text(describe_folder(contest))
        self.note.value = f'<div style="margin-left:150px">{words}</div>' if words else ""
        self.earlier.show(contest)
