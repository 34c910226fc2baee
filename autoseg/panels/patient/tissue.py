"""How bright structures are, and how much of them is fat, below the areas of a run."""

from __future__ import annotations

from functools import partial
from typing import Any

import ipywidgets as widgets

from autoseg.files.tables import csv_bytes
from autoseg.measurement.tissue import (
    FatChannels,
    Tissue,
    find_water_and_fat,
    join_tissue,
    measure_tissue,
)
from autoseg.panels.parts.download import DownloadButton
from autoseg.panels.parts.fields import field
from autoseg.panels.parts.panel import Panel
from autoseg.panels.parts.style import heading, notice, text
from autoseg.panels.parts.table import html_table
from autoseg.prediction.run import Run
from autoseg.report.export import tissue_tables
from autoseg.report.shown_tissue import show_tissue


class TissueView(widgets.VBox):
    """The brightness of the structures of a run, and their fat where channels tell it.

    `found` is what is shown: of the run at first, or with the channels that were chosen, at first those of the view
    `before`. `panel` says what fails.
    """

    def __init__(self, panel: Panel, run: Run, before: TissueView | None = None) -> None:
        self.panel, self.run, self.found = panel, run, run.tissue
        channels = run.results[0][0].channels
        pair = find_water_and_fat(channels)
        names = [channels[place] for place in pair] if pair else ["", ""]
        options = [("by its name", ""), *((name, name) for name in channels)]
        self.water = field(widgets.Dropdown, "Water", "The water image of a Dixon scan", options=options)
        self.fat = field(widgets.Dropdown, "Fat", "The fat image of the same scan", options=options)
        self.water.value, self.fat.value = names
        options = [("not at all", ""), *((name, name) for name in channels)]
        self.estimate = field(
            widgets.Dropdown,
            "Estimate fat from",
            "A channel in which fat is bright; by a threshold",
            options=options,
        )
        self.shown, self.files = widgets.HTML(), widgets.HBox()
        several = [self.water, self.fat] if len(channels) > 1 else []
        super().__init__([widgets.HBox([*several, self.estimate]), self.shown, self.files])
        for choice in (self.water, self.fat, self.estimate):
            choice.observe(self._measure, "value")
        self._show(self.found)
        if before is not None and before.chosen != self.chosen and before.run.results[0][0].channels == channels:
            self.water.value, self.fat.value, self.estimate.value = before.chosen

    @property
    def chosen(self) -> tuple[str, str, str]:
        """The channels of water, of fat, and the one to estimate it from."""
        return self.water.value, self.fat.value, self.estimate.value

    def _measure(self, _: Any) -> None:
        """Measure with the chosen channels; with one of water and fat alone nothing yet."""
        if bool(self.water.value) != bool(self.fat.value):
            return
        run = self.run

        def measure() -> Tissue:
            wanted = FatChannels(self.water.value, self.fat.value, self.estimate.value)
            return join_tissue([measure_tissue(label_map, image, wanted) for image, label_map in run.results])

        self.panel.start(measure, self._show, saying="Measuring brightness …")

    def _show(self, found: Tissue) -> None:
        self.found = found
        self.shown.value = describe_tissue(found)
        tables = tissue_tables(found, self.run.measurements)
        self.files.children = [
            DownloadButton(
                f"{self.run.folder.name}_{name}.csv", partial(csv_bytes, table), description=f"Download {name}.csv"
            )
            for name, table in tables.items()
        ]


def describe_tissue(found: Tissue) -> str:
    """Give brightness and fat of all slices together as HTML."""
    parts = [heading("Brightness and fat")]
    parts += [notice(note, announced=False) for note in found.notes]
    for one in show_tissue(tissue_tables(found, ())):
        align = "".join("r" if at in one.numeric else "l" for at in range(len(one.columns)))
        table = html_table(one.columns, one.rows, label=one.title, align=align, wrap=True)
        parts += [text(one.words), table]
    return "".join(parts)
