"""The few questions that everybody answers before a training: its name, how long, by what, and on whom."""

from __future__ import annotations

import ipywidgets as widgets

from autoseg.model.settings.settings import Settings
from autoseg.model.settings.text import describe_fields


class Questions(widgets.HBox):
    """Fields for a model's name, the time to learn, what is best, and who validates; they do nothing themselves."""

    def __init__(self, name: str) -> None:
        wide, style = {"width": "350px"}, {"description_width": "135px"}
        told = describe_fields(Settings)
        self.name = widgets.Text(
            name,
            description="Name of the model",
            tooltip="Becomes a part of the file's name: letters and digits",
            layout=wide,
            style=style,
        )
        self.name_note = widgets.HTML()
        self.unit = widgets.Dropdown(
            options=["minutes", "epochs"],
            description="Learn for",
            tooltip="A time budget, or how often every slice is seen",
            layout={"width": "230px"},
            style=style,
        )
        self.amount = widgets.Text(
            description="How many minutes or epochs",
            continuous_update=False,
            tooltip="How many minutes or epochs",
            layout={"width": "70px"},
            style={"description_width": "0px"},  # spoken, not seen
        )
        self.again = widgets.Button(
            description="Plan for this time",
            tooltip="Plan pixel size and network anew for the time that stands here",
            layout={"width": "auto", "flex": "0 0 auto"},
        )
        self.best_by = widgets.Dropdown(
            options=["dice", "iou", "loss"],
            description="Keep the best by",
            tooltip=told["best_by"],
            layout=wide,
            style=style,
        )
        self.validation = widgets.SelectMultiple(
            description="Validate on",
            tooltip="Patients who are never trained on; Ctrl and click chooses several",
            rows=6,
            layout=wide,
            style=style,
        )
        self.show_ids = widgets.Checkbox(
            description="Show IDs", tooltip="Show patients by their IDs", indent=False, layout={"width": "120px"}
        )
        time = widgets.HBox([self.unit, self.amount, self.again])
        left = widgets.VBox([self.name, self.name_note, time, self.best_by], layout={"width": "454px"})
        right = widgets.VBox([self.validation, self.show_ids])
        super().__init__([left, right], layout={"flex_flow": "row wrap"})
