"""The panel that measures structures along their own curve, beside a cohort if there is one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import ipywidgets as widgets
import pandas as pd

from autoseg.errors import AutosegError, DataError
from autoseg.files.tables import csv_bytes
from autoseg.measurement.morphometry import (
    ALIGNMENTS,
    Along,
    Enlargement,
    Morphometry,
    arc_table,
    describe_enlargement,
    locate_enlargement,
    measure_morphometry,
    morphometry_levels,
    morphometry_tables,
    read_arc_tables,
    write_morphometry,
)
from autoseg.measurement.morphometry.cohort import without_band, without_subject
from autoseg.measurement.morphometry.tables import ARC_FILE, SECTIONS_FILE
from autoseg.panels.parts.chooser import FolderChooser
from autoseg.panels.parts.download import DownloadButton
from autoseg.panels.parts.fields import button, field, tick
from autoseg.panels.parts.panel import Panel
from autoseg.panels.parts.style import Drawn, LaterPicture, heading, notice, picture, text
from autoseg.panels.patient.areas import AtLeast, structures_of, table_html
from autoseg.panels.patient.centreline import draw_course
from autoseg.panels.patient.light import Lit, light_above, line_of, run_to_show, why_no_numbers
from autoseg.prediction.run import Run
from autoseg.report.figures.morphometry import Spread, show_morphometry

FOLDER = "morphometry"  # in the run's folder
CUT_OFF = (
    "“At least … (cut off)”: the structure is on the first or last section of the image and may go on there. "
    "Sections that touch the image's edge count in no mean."
)
WORDS = (
    "Each section is seen along the structure's own curve: its area is corrected for the angle at which it is cut, "
    "and its diameters are the axes of the ellipse with the same second moments. For long structures, such as the "
    "spinal cord."
)
ALONG_CHOICES: tuple[tuple[str, Along], ...] = (
    ("found by itself", "auto"),
    ("along the slices", "slices"),
    ("feet to head", "superior-inferior"),
    ("front to back", "anterior-posterior"),
    ("right to left", "right-left"),
)
SPREAD_CHOICES: tuple[tuple[str, Spread], ...] = (
    ("mean ± SD", "sd"),
    ("median, 5th to 95th percentile", "percentiles"),
)
NO_IMAGE = ""
MOST_NOTES = 6
HEADERS = {
    "area_corrected_mm2": "Area across (mm²)",
    "obliquity_deg": "Obliquity (°)",
    "diameter_ap_mm": "AP (mm)",
    "diameter_rl_mm": "RL (mm)",
    "diameter_si_mm": "SI (mm)",
    "eccentricity": "Eccentricity",
    "solidity": "Solidity",
}


class MorphometryPanel(Panel):
    """Size and shape along each structure's curve, of the Run of `prediction`; `value` is a `Morphometry`.

    It is folded until somebody wants it, or `is_open`, and of a run with a red light it shows nothing until
    somebody asks for the numbers. `cohort` is a folder with `morphometry_arc.csv` of other people, in it or below;
    their band is drawn behind the curve. Sections follow each other `along` a direction;
    places are counted from `align` (`autoseg.measurement.morphometry.places_along`).
    """

    def __init__(
        self,
        prediction: Panel,
        *,
        cohort: Path | str | None = None,
        along: Along = "auto",
        align: str = "lowest",
        is_open: bool = False,
    ) -> None:
        super().__init__()
        self.run: Run | None = None
        self.light = light_above(prediction)
        self.cohort: pd.DataFrame | None = None

        def choice(words: str, options: Sequence[Any], value: Any, act: Callable[[], None]) -> widgets.Dropdown:
            made = field(widgets.Dropdown, words, width="440px", options=options, value=value)
            made.observe(lambda _: act(), "value")
            return made

        choices = [(words, word) for word, words in ALIGNMENTS.items()]
        choices += [(align, align)] if align not in ALIGNMENTS else []
        self.along = choice("Sections follow", ALONG_CHOICES, along, self.measure)
        self.image = choice("Image", [("–", NO_IMAGE)], NO_IMAGE, self._redraw)
        self.align = choice("Places as", choices, align, self._redraw)
        self.spread = choice("Cohort's band", SPREAD_CHOICES, "sd", self._redraw)
        self.conus = tick("Find the lumbosacral enlargement and the tip of the conus")
        self.conus.observe(lambda _: self._redraw(), "value")
        self.chooser = FolderChooser(
            title="Other people's tables (optional): a folder with morphometry_arc.csv in it or below",
            chosen=None if cohort is None else Path(cohort),
        )
        self.save_button = button(
            "Save in the run's folder", self.save, "Write the tables into the folder of the run", icon="save"
        )
        self.downloads = [DownloadButton(name, self._maker(name)) for name in (SECTIONS_FILE, ARC_FILE)]
        self.line, self.results, self.plot = widgets.HTML(), widgets.HTML(), widgets.HTML()
        self.course = LaterPicture()
        self.shown = widgets.VBox()
        choosing = [self.along, self.image, self.align, self.conus, self.chooser, self.spread]
        inside = widgets.VBox([widgets.HTML(text(WORDS)), *choosing, self.shown])
        self.fold = widgets.Accordion(
            [inside], titles=("Along the structures (optional)",), selected_index=0 if is_open else None
        )
        self.body.children = [self.fold]
        self.fold.observe(lambda _: self._unfolded(), "selected_index")
        self.chooser.observe(lambda _: self.measure(), "value")
        self.image.observe(lambda _: self._draw_course(), "value")
        self.follow(self.light, self._follow_run)

    def measure(self) -> None:
        """Measure the run along its structures, in the background."""
        self._clear()
        run, along, folder = self.run, self.along.value, self.chooser.value
        if run is None or self.fold.selected_index is None:
            self.give_up(why_no_numbers(self.light.value) if self.fold.selected_index is not None else "")
            return

        def work() -> tuple[Morphometry, pd.DataFrame | None]:
            lights = {case_id: one.light.value for case_id, one in run.suitability.items()}
            drawn = [label_map for _, label_map in run.results]
            found = measure_morphometry(drawn, along=along, suitability=lights)
            return found, None if folder is None else read_arc_tables([folder])

        self.start(work, self._show, saying="Measuring along the structures …")

    def save(self) -> None:
        """Write the tables to the folder `morphometry` of the run, as the button does."""
        if self.run is None or self.value is None:
            return
        try:
            folder = write_morphometry(self.run.folder / FOLDER, self.value)
        except AutosegError as error:  # what was measured stays
            self.say(str(error), "error")
        else:
            self.say(f"The tables are in {folder.resolve()}.", "done")

    def wait(self, timeout_s: float | None = None) -> None:
        """Wait until folder, measuring and pictures are done."""
        self.chooser.wait(timeout_s)
        super().wait(timeout_s)
        self.course.wait(timeout_s)

    def _follow_run(self, lit: Lit | None) -> None:
        self.run, self.line.value = run_to_show(lit), line_of(lit)
        self.measure()

    def _unfolded(self) -> None:
        if self.fold.selected_index is not None and self.value is None:
            self.measure()

    def _clear(self) -> None:
        self.cohort = None
        self.results.value = self.plot.value = ""
        self.course.draw(str)
        self.shown.children = []

    def _show(self, result: tuple[Morphometry, pd.DataFrame | None]) -> None:
        found, self.cohort = result
        cases = list(dict.fromkeys(profile.rows[0].case_id for profile in found.profiles))
        before = self.image.value
        self.image.options = cases
        self.image.value = before if before in cases else cases[0]
        self.results.value = describe_morphometry(found)
        self._draw(found)
        buttons = widgets.HBox(
            [self.save_button, *self.downloads], layout=widgets.Layout(align_items="center", flex_flow="row wrap")
        )
        self.shown.children = [self.line, self.light.drawing.behind, self.plot, self.course, self.results, buttons]
        self.value = found
        self._draw_course()

    def _redraw(self) -> None:
        found = self.value
        if found is not None:
            with self._lock:
                self._draw(found)

    def _draw_course(self) -> None:
        """Draw the curves over the chosen image, in the background."""
        found, case_id = self.value, self.image.value
        shown = [pair for pair in (self.run.results if self.run else ()) if pair[0].source.case_id == case_id]
        if found is not None and shown:
            profiles = [profile for profile in found.profiles if profile.rows[0].case_id == case_id]
            self.course.draw(partial(draw_course, *shown[0], profiles))

    def _draw(self, found: Morphometry) -> None:
        """Draw the chosen image; what cannot be drawn is a sentence in the picture's place."""
        self.plot.value = ""
        try:
            self.plot.value = self._plotted(found)
        except AutosegError as error:
            self.plot.value = notice(str(error), "warning")

    def _plotted(self, found: Morphometry) -> str:
        run = self.run
        if run is None or not self.image.value:
            return ""
        whole = arc_table(found)
        table = whole[whole["case_id"] == self.image.value]
        measured = set(table["name"])
        cohort = None if self.cohort is None else without_subject(self.cohort, table)
        places = landmarks_of(table) if self.conus.value else {}
        drawn = show_morphometry(
            table,
            cohort=cohort,
            structures=[s for s in structures_of(run) if s.name in measured],
            align=self.align.value,
            spread=self.spread.value,
            landmarks=next(iter(places.values()), None),
        )
        words = "".join(text(f"{name}: {describe_enlargement(place)}") for name, place in places.items())
        if self.conus.value and not places:
            words = text("No structure of this image runs from the feet to the head.")
        lacking = without_band(table, cohort, align=self.align.value) if cohort is not None else []
        return (
            heading("Along the curve")
            + "".join(notice(note, "warning", announced=False) for note in lacking)
            + picture(cast(Drawn, drawn), "Area, diameters and shape along the structures, the head upwards")
            + words
        )

    def _maker(self, name: str) -> Any:
        def make() -> bytes:
            return csv_bytes(morphometry_tables(self.value)[name]) if self.value is not None else b""

        return make


def landmarks_of(table: pd.DataFrame) -> dict[str, Enlargement]:
    """Look for the enlargement and the tip of the conus on every structure of one image that could have them."""
    found = {}
    for name in dict.fromkeys(table["name"]):
        try:
            found[str(name)] = locate_enlargement(table, name=str(name))
        except DataError:  # it runs another way
            continue
    return found


def describe_morphometry(found: Morphometry) -> str:
    """Give what was measured as HTML: a row an image and structure, the levels where known, and the notes."""
    lines = []
    for profile in found.profiles:
        rows = pd.DataFrame([vars(row) for row in profile.rows])
        numbers = rows[["area_mm2", *HEADERS]].apply(pd.to_numeric)
        first = profile.rows[0]
        line: dict[str, object] = {"Image": first.case_id, "Structure": first.name, "Sections": len(rows)}
        length = profile.curve.length_mm
        line["Length (mm)"] = AtLeast(length) if profile.is_length_cut_off else length
        line |= {words: float(numbers[column].mean()) for column, words in HEADERS.items()}
        line["Flagged sections"] = int((rows["flags"] != "").sum())
        lines.append(line)
    table = pd.DataFrame(lines).dropna(axis="columns", how="all")
    by_level = describe_levels(morphometry_levels(found))
    notes = "".join(notice(note, announced=False) for note in found.notes[:MOST_NOTES])
    more = len(found.notes) - MOST_NOTES
    notes += text(f"… and {more} more, in morphometry_notes.txt.") if more > 0 else ""
    abbreviations = text(CUT_OFF) if any(profile.is_length_cut_off for profile in found.profiles) else ""
    abbreviations += text("AP: anteroposterior, RL: right-left, SI: superior-inferior diameter.")
    return heading("Means over the sections") + table_html(table, decimals=2) + abbreviations + by_level + notes


def describe_levels(levels: pd.DataFrame) -> str:
    """Give mean ± SD by level as HTML; "" without levels."""
    if levels.empty:
        return ""
    shown = levels[["level", "name", "n"]].rename(columns={"level": "Level", "name": "Structure", "n": "Sections"})
    for measure, words in HEADERS.items():
        if f"mean_{measure}" in levels:
            pairs = zip(levels[f"mean_{measure}"], levels[f"sd_{measure}"], strict=True)
            shown[words] = [
                "–" if pd.isna(mean) else f"{mean:.2f}" + ("" if pd.isna(sd) else f" ± {sd:.2f}")
                for mean, sd in pairs
            ]
    return heading("By level, mean ± SD of its sections") + table_html(shown)
