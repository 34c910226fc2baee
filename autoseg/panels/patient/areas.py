"""The panel with the areas: the table, the slice behind a cell, plots along the slices, and a table by patient."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import ipywidgets as widgets
import pandas as pd

from autoseg.image.structures import Structure
from autoseg.panels.parts.area_table import AreaTable
from autoseg.panels.parts.fields import tick
from autoseg.panels.parts.panel import Panel
from autoseg.panels.parts.style import Drawn, heading, picture, text
from autoseg.panels.parts.table import Cell, html_table
from autoseg.panels.parts.viewer import SliceViewer
from autoseg.panels.patient.light import Lit, light_above, line_of, run_to_show, why_no_numbers
from autoseg.panels.patient.old_table import OldTablePanel
from autoseg.panels.patient.redrawn import Redrawn
from autoseg.panels.patient.tissue import TissueView
from autoseg.prediction.run import Run
from autoseg.report.area_tables import (
    HEADERS,
    LEAST,
    at_least,
    fixed_text,
    levels_table,
    patient_names,
    patients_table,
)
from autoseg.report.asymmetry import asymmetry_table
from autoseg.report.figures.charts import show_areas
from autoseg.report.run_folder import read_run_file

CUT_OFF = (
    "“At least … (cut off)”: the structure touches the edge of the image, or for a volume is on its first or last "
    "slice, and may go on there. Slices that cut it off count in no mean."
)
LEFT_AND_RIGHT = (
    "Above 0: the left is larger. Compared are the slices that show both sides whole. Whoever lies turned, or is "
    "cut obliquely, has unlike sides on a slice; volumes depend on that less."
)
DOWNLOADS = ("areas.csv", "areas.xlsx")


class AreasPanel(Panel):
    """The areas of a run, whose panel is `prediction`; `value` is the Run as soon as its areas are shown.

    Those of a run with a red light are shown once somebody asks for them (`light.show_numbers`, the button under
    the light). A click on a cell shows that slice and structure in a viewer below the table, and in the
    prediction's. Patients are numbered, unless `show_ids`. While outlines are corrected in the prediction's viewer
    all of it follows (`light.drawing`), and tells where it does not yet. Below, areas of an older workbench can be
    put right.
    """

    def __init__(self, prediction: Panel, *, show_ids: bool = False) -> None:
        super().__init__()
        self.prediction = prediction
        self.run: Run | None = None
        self.table: AreaTable | None = None
        self.viewer: SliceViewer | None = None
        self.tissue: TissueView | None = None
        self.ids = tick("Show patient IDs", "Show IDs on this page; files have them", value=show_ids)
        self.line, self.drawn = widgets.HTML(), widgets.HTML()
        self.plots, self.patients = widgets.HTML(), widgets.HTML()
        self.look = widgets.VBox()
        self.light = light_above(prediction)
        self.old_table = OldTablePanel()  # of other days, whatever the run
        self.stack(self.body, self.bar, self.message, self.old_table)
        self.ids.observe(lambda _: self._update(self.light.value), "value")
        self.follow(self.light, self._update)
        self.light.drawing.observe(lambda change: self._follow_drawing(change["new"]), "redrawn")

    def select(self, case_id: str, slice_index: int, label: int = 0) -> None:
        """Choose a cell of the table, as a click does."""
        with self.attempt():
            if self.table is not None:
                self.table.select(case_id, slice_index, label)

    def _update(self, lit: Lit | None) -> None:
        run = self.run = run_to_show(lit)
        self.value, self.table, self.viewer, self.tissue = None, None, None, None
        self.body.children, self.look.children = [], []
        if run is None:
            self.give_up("" if lit is not None else why_no_numbers(lit))
            self.body.children = [self.light] if lit is not None else []  # with the button that shows them
            return
        structures = structures_of(run)
        self.table = AreaTable(
            run.measurements,
            structures,
            files={f"{run.folder.name}_{name}": partial(read_run_file, run.folder, name) for name in DOWNLOADS},
            show_ids=self.ids.value,
        )
        self.table.observe(self._look, "selected")
        self.line.value, self.plots.value, self.patients.value = line_of(lit), "", ""
        parts = [self.ids, self.line, self.drawn, self.table, self.look, self.plots, self.patients]
        self.body.children = parts
        redrawn = self.light.drawing.redrawn
        self.drawn.value = ""
        if redrawn is None:
            self._draw(run)
        else:
            self._show_redrawn(redrawn)

    def _follow_drawing(self, redrawn: Redrawn | None) -> None:
        """Show the numbers of the outlines as they are drawn now, or that they are still those of before."""
        with self._lock, self.attempt():
            if redrawn is None:
                self._update(self.light.value)
            elif self.table is not None:
                self._show_redrawn(redrawn)

    def _show_redrawn(self, redrawn: Redrawn) -> None:
        self.drawn.value = redrawn.words
        self.viewer, self.look.children = None, []  # its slices are of the outlines before
        if redrawn.run is None or self.table is None:
            self.drop_work()
            return
        self.run = redrawn.run
        self.table.renew(redrawn.run.measurements)
        self._draw(redrawn.run)

    def _draw(self, run: Run) -> None:
        """Draw plots and tables by patient in the background."""
        structures, show_ids = structures_of(run), self.ids.value
        units = " or ".join(dict.fromkeys(row.unit for row in run.measurements))

        def draw() -> tuple[str, str]:
            figure = show_areas(run.measurements, structures=structures, show_ids=show_ids)
            plots = heading("Along the slices") + picture(
                cast(Drawn, figure), f"Areas in {units} along the slices, one line a structure"
            )
            return plots, describe_patients(run, show_ids=show_ids)

        def show(drawn: tuple[str, str]) -> None:
            if self.run is run:
                self.plots.value, self.patients.value = drawn
                children = [one for one in self.body.children if one is not self.tissue]
                self.tissue = TissueView(self, run, self.tissue) if run.tissue.intensities else None
                self.body.children = [*children, *filter(None, [self.tissue])]
                self.value = run

        self.start(draw, show, saying="Drawing the areas …")

    def _look(self, change: Any) -> None:
        """Show the slice of the chosen cell; the viewer comes with the first one."""
        chosen, run = change["new"], self.run
        if not chosen or run is None:
            return
        with self.attempt():
            if self.viewer is None:
                self.viewer = SliceViewer(run.results, run.measurements)
                self.look.children = [self.viewer]
            is_above = self.prediction.value is run_to_show(self.light.value)
            above = getattr(self.prediction, "viewer", None) if is_above else None
            for viewer in filter(None, (self.viewer, above)):
                viewer.show(chosen["case_id"], chosen["slice_index"], chosen["label"])


def structures_of(run: Run) -> tuple[Structure, ...]:
    """Give a run's structures, each once."""
    found = {s.label: s for _, label_map in run.results for s in label_map.structures}
    return tuple(found[label] for label in sorted(found))


def describe_patients(run: Run, *, show_ids: bool = False) -> str:
    """Give the tables by patient and, where levels are known, by level as HTML."""
    hidden = () if show_ids else ("subject_id",)
    table = patients_table(run.measurements, run.patient_intervals)
    table = table.drop(columns=["volume_mm3", "volume_at_least_mm3", *hidden], errors="ignore")
    if "suitability" in table:  # where it is seen before the numbers, on a narrow page too
        table.insert(list(table.columns).index("structure") + 1, "suitability", table.pop("suitability"))
    note = (
        "Images of one patient (time points, series) are not added up. The volume is the sum of the areas times "
        "the distance of the slices: what lies within the slices, no more."
    )
    if any(least in table for least in LEAST.values()):
        note += f" {CUT_OFF}"
    table = _in_one_column(table)
    sure = dict.fromkeys(f"{100 * one.level:.4g} %" for one in run.patient_intervals)
    note += f" Below a number in parentheses: its {' or '.join(sure)} interval." if sure else ""
    shown = heading("By patient") + text(note)
    shown += table_html(table.rename(columns=HEADERS), finer=[HEADERS["volume_ml"]])
    asymmetry = asymmetry_table(run.measurements)
    if len(asymmetry):
        beside = asymmetry.drop(columns=list(hidden)).rename(columns=HEADERS)
        shown += heading("Left and right") + text(LEFT_AND_RIGHT) + table_html(beside)
    levels = levels_table(run.measurements)
    if not len(levels):
        return shown
    if not show_ids:
        levels["subject_id"] = levels["subject_id"].map(patient_names(run.measurements))
    ids = {"subject_id": HEADERS["subject_id" if show_ids else "patient"]}
    return shown + heading("By level") + table_html(levels.rename(columns=HEADERS | ids))


@dataclass(frozen=True)
class AtLeast:
    """A number of which only the least is known."""

    number: float


def _in_one_column(table: pd.DataFrame) -> pd.DataFrame:
    """Put what is known in columns of their own to its number: both ends, (number, low, high), or `AtLeast`."""
    shown = table.drop(columns=["interval_level", "interval_basis"], errors="ignore")
    for name in table.columns:
        what, _, unit = str(name).rpartition("_")
        ends = [f"{what}_{end}_{unit}" for end in ("low", "high")]
        if set(ends) <= set(table.columns):
            cells = zip(table[name], *(table[end] for end in ends), strict=True)
            shown[name] = pd.Series(
                [cell[0] if any(map(pd.isna, cell)) else cell for cell in cells], index=table.index, dtype=object
            )
            shown = shown.drop(columns=ends)
    for name, least in LEAST.items():
        if least in shown:
            known = [
                value if pd.isna(part) else AtLeast(float(part))
                for value, part in zip(shown[name], shown[least], strict=True)
            ]
            shown[name] = pd.Series(known, index=table.index, dtype=object)
            shown = shown.drop(columns=least)
    return shown


def table_html(table: pd.DataFrame, *, decimals: int = 1, finer: Collection[str] = ()) -> str:
    """Give a small table as HTML: words on the left, numbers on the right, – for nothing.

    Columns that are `finer` have one decimal more. A number with its interval is a tuple of three, one that is only
    the least an `AtLeast`.
    """
    places = [decimals + (name in finer) for name in table.columns]

    def shown(value: object, decimals: int) -> str | Cell:
        if value is None or (isinstance(value, float) and pd.isna(value)):
            return "–"
        if isinstance(value, float):
            return fixed_text(value, decimals)
        if isinstance(value, AtLeast):
            return at_least(fixed_text(value.number, decimals))
        if isinstance(value, tuple):
            number, low, high = (fixed_text(one, decimals) for one in value)
            return Cell(f'{number}<div style="white-space:nowrap;opacity:.75">({low}–{high})</div>')
        return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)

    rows = table.astype(object).to_numpy().tolist()
    align = "".join(
        "l" if all(isinstance(value, str) for value in column) else "r" for column in zip(*rows, strict=True)
    )
    return html_table(
        list(map(str, table.columns)),
        [list(map(shown, row, places)) for row in rows],
        label=", ".join(map(str, table.columns[:3])),
        align=align,
        max_height="480px",
        wrap=True,
    )
