"""The panel that holds a run beside an expert's labels, if there are any."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ipywidgets as widgets
import pandas as pd

from autoseg.evaluation.expert import Comparison, UnmatchedLabels, compare_with_expert, comparison_table
from autoseg.measurement.scores import scores_table
from autoseg.panels.parts.chooser import FolderChooser
from autoseg.panels.parts.fields import tick
from autoseg.panels.parts.panel import Panel
from autoseg.panels.parts.readers import SecondReader
from autoseg.panels.parts.style import heading, text
from autoseg.panels.patient.areas import table_html
from autoseg.panels.patient.light import Lit, light_above, line_of, run_to_show, why_no_numbers
from autoseg.prediction.run import Run
from autoseg.report.area_tables import patient_names

SCORES = {
    "name": "Structure",
    "n": "Slices",
    "dice": "Dice",
    "iou": "IoU",
    "hd95_mm": "HD95 (mm)",
    "area_error_percent": "Mean area error (%)",
    "total_area_error_percent": "Error of the summed area (%)",
    "n_missed": "Slices missed",
    "n_invented": "Slices invented",
}
WORDS = (
    "Dice and IoU (1: the same, 0: nothing in common) are pooled over the patient's slices; 95 % of the outline "
    "stays within HD95. Structures that the expert did not draw on a slice are left out."
)


class ExpertPanel(Panel):
    """An expert's labels beside the run, folded as long as no folder is chosen; `value` is a `Comparison`.

    `prediction` gives a Run; `folder` is the same patient's, with images and labels. Patients and slices are
    numbered, unless `show_ids`. A run with a red light is compared once somebody asks for its numbers. Where
    several readers drew, the model stands beside each of them.
    """

    def __init__(self, prediction: Panel, folder: Path | str | None = None, *, show_ids: bool = False) -> None:
        super().__init__()
        self.run: Run | None = None
        self.light = light_above(prediction)
        self._given = None if folder is None else Path(folder).resolve()
        self.chooser = FolderChooser(
            title="The same patient's folder with an expert's labels (optional)",
            chosen=None if folder is None else Path(folder),
            remembers="expert",
        )
        self.ids = tick("Show patient IDs and file names", value=show_ids)
        self.line, self.tables, self.readers = widgets.HTML(), widgets.HTML(), SecondReader()
        shown = [self.line, self.light.drawing.behind, self.tables, self.readers]
        self.fold = widgets.Accordion(
            [widgets.VBox([self.chooser, self.ids, *shown])],
            titles=("Beside an expert's labels (optional)",),
            selected_index=None if folder is None else 0,
        )
        self.body.children = [self.fold]
        self.chooser.observe(lambda _: self.compare(), "value")
        self.ids.observe(lambda _: self._draw(), "value")
        self.follow(self.light, self._follow_run)

    def compare(self) -> None:
        """Compare the run with the chosen folder's labels, in the background."""
        run, folder = self.run, self.chooser.value
        self.tables.value = ""
        self.readers.show(())
        if run is None or folder is None:
            self.give_up(why_no_numbers(self.light.value) if folder is not None else "")
            return
        self.start(lambda: compare_with_expert(run, folder), self._show, saying="Comparing with the expert …")

    def fail(self, error: BaseException) -> None:
        """Show why it failed; that the folder which nobody chose here is another patient's is no fault."""
        super().fail(error)
        folder = self.chooser.value
        if isinstance(error, UnmatchedLabels) and folder is not None and folder.resolve() == self._given:
            self.say(
                f"The labels in {folder} are not of this patient, so there is nothing to compare. If an expert "
                "drew labels on these images, choose their folder."
            )

    def wait(self, timeout_s: float | None = None) -> None:
        """Wait until folder and comparison are done."""
        self.chooser.wait(timeout_s)
        super().wait(timeout_s)

    def _follow_run(self, lit: Lit | None) -> None:
        self.run, self.line.value = run_to_show(lit), line_of(lit)
        self.compare()

    def _show(self, comparison: Comparison) -> None:
        self._draw(comparison)
        self.readers.show(comparison.readings)
        self.value = comparison

    def _draw(self, comparison: Any = None) -> None:
        comparison = comparison or self.value
        if comparison is not None:
            self.tables.value = describe_comparison(comparison, self.run, show_ids=self.ids.value)


def describe_comparison(comparison: Comparison, run: Run | None = None, *, show_ids: bool = False) -> str:
    """Give a comparison as HTML: the patients' scores, then slice by slice, named as in the run's own tables.

    A labelled file's own name may hold an ID; it is shown only with `show_ids`.
    """
    subjects = scores_table(comparison.subjects)
    patients = subjects["subject_id"]
    if not show_ids:
        # Numbered as in the run's own tables, where they have the same IDs.
        names = patient_names(run.measurements) if run is not None else {}
        if not set(patients) <= set(names):
            names = {subject: f"patient {n}" for n, subject in enumerate(patients.drop_duplicates(), start=1)}
        patients = patients.map(names)
    scores = subjects[list(SCORES)].rename(columns=SCORES)
    scores.insert(0, "Patient", patients)
    slices = comparison_table(comparison.slices)
    images = [image for image, _ in comparison.places]
    slices["slice"] = [f"{image}, slice {n}" for image, n in zip(images, slices["slice"], strict=True)]
    slices.insert(0, "Slice", slices.pop("slice"))
    if not show_ids:
        slices = slices.drop(columns="case_id")
    slices = slices.rename(columns={"case_id": "File", "structure": "Structure"})
    return (
        heading("Patient by patient")
        + text(WORDS)
        + table_html(pd.DataFrame(scores), decimals=3)
        + heading("Slice by slice")
        + table_html(slices, decimals=2)
    )
