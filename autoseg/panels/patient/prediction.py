"""The panel that segments the chosen folder, shows how far it is, and then the slices with their structures."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import ipywidgets as widgets

from autoseg.data.corrections.drawing import Drawing
from autoseg.data.corrections.read import Correction, read_corrections
from autoseg.errors import AutosegError, DataError
from autoseg.files.archives import zip_folder
from autoseg.files.file_names import untaken
from autoseg.model.exported import check_exportable, write_onnx
from autoseg.model.postprocess import MOST_EROSIONS, StructurePostprocess
from autoseg.panels.parts.download import DownloadButton, file_row, folder_row, linked
from autoseg.panels.parts.fields import button, field, tick
from autoseg.panels.parts.panel import Panel
from autoseg.panels.parts.style import heading, notice, text
from autoseg.panels.parts.values import Centrelines, ChosenModel, Patient
from autoseg.panels.parts.viewer import SliceViewer
from autoseg.panels.patient.archive import SendPanel
from autoseg.panels.patient.light import WITHHELD, LightPanel, Lit, run_to_show
from autoseg.prediction.cohort import Cohort, CohortProgress, segment_cohort
from autoseg.prediction.corrected import correct_run
from autoseg.prediction.ensemble import COPY_WORDS, Copies, copies_worth, runs_per_slice, unseen_note
from autoseg.prediction.run import (
    Run,
    RunProgress,
    RunRequest,
    RunStopped,
    Stage,
    mean_of,
    run_to_correct,
    segment_folder,
)
from autoseg.prediction.run_dicom import run_to_dicom, run_to_leave
from autoseg.prediction.run_report import run_document
from autoseg.report.area_tables import missing_notes
from autoseg.report.cohort import REPORT, count_results
from autoseg.report.figures.pdf import to_pdf
from autoseg.report.pages.document import Document
from autoseg.report.pages.html import to_page
from autoseg.report.run_folder import RunFile, list_run_files, open_folder, read_run_file, why_not_openable
from autoseg.words import GraveNote, ReadingNote, counted, size_words

MOST_SKIPPED = 20
AREAS, MOST_EARLIER = "areas.xlsx", 5
EARLIER = "Not of what is chosen above. A click downloads the areas; the folder of this name has all the rest."
FOR_TRAINING = (
    "Images and labels to learn from go to nnU-Net or BIDS in 1_train, below the folder that was checked."
)
OF_MODEL = "The model for other programs: the network, its steps, and segment.py, which runs it"
MOST_NOTES = 3  # on how series were read; more unfold at a click
COPY_CHOICES: tuple[tuple[str, Copies], ...] = (
    ("none", "none"),
    ("left-right (2 × the time)", "left-right"),
    ("mirrored (4 × the time)", "mirrored"),
    ("turned (4 × the time)", "turned"),
    ("mirrored and turned (8 × the time)", "both"),
)


@dataclass(frozen=True)
class Inputs:
    """What a result is made with."""

    model: ChosenModel | None = None
    patient: Patient | None = None
    copies: Copies = "none"
    look: bool = True
    lines: Centrelines | None = None
    postprocess: StructurePostprocess | None = None


class CleaningFields(widgets.VBox):
    """How every structure is cleaned on each slice: as the model does, or as is chosen here.

    `changed` is called when a person changes something.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self.choice = field(
            widgets.Dropdown,
            "Cleaning",
            "What is taken away from each structure, or filled, after it was found",
            width="400px",
            options=(("as the model does", False), ("as chosen here", True)),
        )
        self.erosions = field(
            widgets.Dropdown,
            "Erosions",
            "Layers of pixels that are taken off around each structure; areas become smaller by them",
            width="230px",
            options=[*range(MOST_EROSIONS + 1)],
        )
        self.largest = tick("Largest piece only", "Of each structure on each slice")
        self.holes = tick("Fill holes", "Background that a structure encloses becomes a part of it")
        self.own = widgets.VBox([self.erosions, self.largest, self.holes], layout={"display": "none"})
        super().__init__([self.choice, self.own])
        for one in (self.choice, self.erosions, self.largest, self.holes):
            one.observe(lambda _: self._show(changed), "value")

    def read(self) -> StructurePostprocess | None:
        """Give what was chosen; None: as the model does."""
        if not self.choice.value:
            return None
        return StructurePostprocess(None, self.erosions.value, self.largest.value, self.holes.value)

    def _show(self, changed: Callable[[], None]) -> None:
        self.own.layout.display = "" if self.choice.value else "none"
        changed()


class PredictionPanel(Panel):
    """A button that segments and measures; `value` is the `Run`, which is written to a folder in `output`.

    `model` gives a ChosenModel, `patient` a Patient, and `centreline`, which is shown above the button, Centrelines
    or None. A result is shown only as long as these, the copies of each slice (at first `copies`, see
    `autoseg.prediction.predict`) and the cleaning are those that it was made with. Its `light` stands above it;
    where that is red, areas are shown once somebody asks for them (`light.show_numbers`). `value` has them at once.
    Outlines can be corrected in the viewer (`correct`), and measured again then (`measure_corrected`): `value` is
    the run with the corrected labels.
    """

    def __init__(
        self,
        model: Panel,
        patient: Panel,
        *,
        output: Path | str = "../predictions",
        copies: Copies = "none",
        centreline: Panel | None = None,
    ) -> None:
        super().__init__()
        self.model, self.patient, self.output = model, patient, Path(output)
        self.centreline = centreline
        self.viewer: SliceViewer | None = None
        self.drawing: Drawing | None = None  # as long as outlines are corrected
        self.stopping: threading.Event | None = None  # of the run that is under way
        self.button = button(
            "Segment and measure",
            self.segment,
            "Segment the chosen series with the chosen model, measure, and write the files",
            style="primary",
            icon="play",
            width="220px",
        )
        self.stop_button = button("Stop", self.stop, "Stop; nothing is written then", icon="stop")
        self.all_button = button(
            "All patients of this folder",
            self.segment_all,
            "Segment and measure every patient whose folder lies in the chosen one, all series, into one table; "
            "started again, it goes on where it was",
            icon="users",
            width="240px",
        )
        self.stop_button.disabled = True
        self.copies = field(
            widgets.Dropdown,
            "Mirrored copies",
            "Also segment copies of each slice, mirrored or turned by quarters, and take the mean of the answers: "
            "often a little better, and as many times slower",
            width="400px",
            options=COPY_CHOICES,
            value=copies,
        )
        self.cost = widgets.HTML()
        self.judges = tick(
            "Judge each slice (takes up to twice the time)",
            "Let the model take a second look at each slice, which tells how well it was probably segmented",
            value=True,
        )
        self.cleaning = CleaningFields(self._switch)
        self.more = widgets.Accordion(
            [widgets.VBox([self.copies, self.cost, self.judges, self.cleaning, self.all_button])],
            titles=("More",),
            selected_index=None if copies == "none" else 0,
        )
        self.notes = widgets.HTML()
        self.files = widgets.VBox()  # of all patients of a folder
        self.shown = widgets.VBox()
        self._build_correcting()
        for one in (self.copies, self.judges):
            one.observe(lambda _: self._switch(), "value")
        above = [] if centreline is None else [centreline]
        self.body.children = [*above, widgets.HBox([self.button, self.stop_button]), self.more]
        self.light = LightPanel(self)
        self.light.observe(lambda change: self._follow_light(change["new"]), "value")
        self.stack(self.body, self.light, self.bar, self.message, self.files, self.notes, self.shown)
        self._inputs = Inputs()
        for panel in (model, patient, *above):
            self.follow(panel, self._changed)
        self._allow(self._can_start())

    def segment(self) -> None:
        """Segment the chosen folder in the background, as the button does."""
        with self.attempt():
            stopping = self._begin()
            if stopping is not None:
                self.start(self._job(self._inputs, stopping), self._show, saying="Reading the images …")

    def segment_all(self) -> None:
        """Segment all patients below the chosen folder in the background, as the button does."""
        with self.attempt():
            stopping = self._begin()
            if stopping is not None:
                job = self._job_of_all(self._inputs, stopping)
                self.start(job, self._show_all, saying="Looking for the patients …")

    def _begin(self) -> threading.Event | None:
        """Give what stops the run that begins; None where none can."""
        if self.stopping is not None or not self._can_start():
            return None
        self._clear()
        stopping = self.stopping = threading.Event()
        self._allow(False)
        self.stop_button.disabled = False
        return stopping

    def _allow(self, can_start: bool) -> None:
        self.button.disabled = self.all_button.disabled = not can_start

    def stop(self) -> None:
        """Stop the run before it writes anything, as the button does."""
        if self.stopping is not None:
            self.stopping.set()
            self.stop_button.disabled = True
            self.light.show_so_far(None)
            self.say("Stopping …")

    def _job(self, made_with: Inputs, stopping: threading.Event) -> Callable[[], tuple[Run | None, Inputs]]:
        model, patient, lines = made_with.model, made_with.patient, made_with.lines

        def tell(progress: RunProgress) -> bool:
            if stopping.is_set():
                return True
            if progress.stage == Stage.WRITING:
                self.stop_button.disabled = True
            else:
                self.light.show_so_far(progress)
            self.progress(progress.share)
            words = "\n".join(filter(None, [str(progress), progress.warning]))
            self.say(words, "warning" if progress.warning else "note")
            return False

        def work() -> tuple[Run | None, Inputs]:
            if model is None or patient is None:
                return None, made_with
            try:
                run = segment_folder(
                    model.models,
                    patient.folder,
                    output=self.output,
                    copies=made_with.copies,
                    look=made_with.look,
                    postprocess=made_with.postprocess,
                    only=patient.only,
                    centrelines=None if lines is None else lines.curves,
                    on_progress=tell,
                    **vars(patient.typed),
                )
            except RunStopped:
                return None, made_with
            except Exception:
                if self._inputs == made_with:
                    raise
                return None, made_with  # what failed is not what is chosen now
            finally:
                self._ended(stopping)
            return run, made_with

        return work

    def _job_of_all(self, made_with: Inputs, stopping: threading.Event) -> Callable[[], Cohort | None]:
        model, patient = made_with.model, made_with.patient

        def tell(progress: CohortProgress) -> bool:
            if not stopping.is_set():
                self.progress(progress.share)
                # Folders are often called like patients, so no name is shown.
                place = f"Patient {progress.number} of {progress.count}"
                self.say(place if progress.run is None else f"{place}: {progress.run}")
            return stopping.is_set()

        def work() -> Cohort | None:
            try:
                if model is None or patient is None:
                    return None
                segmenter = mean_of(model.models, made_with.copies, made_with.postprocess, look=made_with.look)
                request = RunRequest(segmenter, patient.folder, typed=patient.typed)
                return segment_cohort(request, self.output, on_progress=tell)
            finally:
                self._ended(stopping)

        return work

    def _show_all(self, cohort: Cohort | None) -> None:
        if cohort is None:
            return
        done = f"{counted(len(cohort.results), 'patient')}: {count_results(cohort.results)}."
        went_on = " Stopped; the same button goes on with the others." if cohort.is_stopped else ""
        report = cohort.folder.resolve() / REPORT
        where = f"What failed and why, and the patients to look at first, stand in {report}."
        is_whole = all(one.is_done for one in cohort.results)
        self.say(f"{done}{went_on}\n{where}", "done" if is_whole else "warning")
        self.files.children = cohort_rows(cohort.folder.resolve())

    def _ended(self, stopping: threading.Event) -> None:
        if self.stopping is stopping:
            self.stopping = None
        self.light.show_so_far(None)
        self.stop_button.disabled = True
        self._allow(self._can_start(silently=True))

    def _show(self, result: tuple[Run | None, Inputs]) -> None:
        run, made_with = result
        is_current = self._inputs == made_with
        if run is None and is_current:
            self.say("Stopped. Nothing was written.", "warning")
        elif not is_current:
            kept = f" Its result stays in {run.folder.resolve()}." if run is not None else ""
            what = self._what_changed(made_with)
            self.say(f"{what} changed during the run.{kept} Segment again.", "warning")
        elif run is not None:
            slices = sum(image.shape[0] for image, _ in run.results)
            # The light opens it, as soon as it is lit.
            self._show_run(run)
            lines = [
                f"Segmented {counted(len(run.results), 'image')}, {counted(slices, 'slice')}, in "
                f"{run.elapsed_s:.0f} s. The files are in {run.folder.resolve()}.",
                *missing_notes(run.not_found),
            ]
            self.say("\n".join(lines), "warning" if run.not_found else "done")
            self.value = run

    def _show_run(self, run: Run) -> None:
        before = () if run.before is None else [label_map for _, label_map in run.before.results]
        self.viewer = SliceViewer(
            run.results,
            run.measurements,
            references=before,
            reference_name="as the model drew it",
            withheld=WITHHELD,
            cuts=True,
        )
        self.notes.value = describe_notes(run)
        self._end_drawing()
        self._place_correcting()
        self.shown.children = [self.viewer, self.correcting]

    # --- outlines that a person corrects in the viewer

    def _build_correcting(self) -> None:
        self.by = field(
            widgets.Text, "Corrected by", "Initials or a name; kept with the outlines", width="320px", label="100px"
        )
        self.correct_button = button(
            "Correct the outlines",
            self.correct,
            "Draw in the viewer above: brush, eraser, polygon; what the model drew is kept",
            icon="pencil",
            width="190px",
        )
        self.measure_button = button(
            "Measure what was corrected",
            self.measure_corrected,
            "Areas, tables, pictures, NIfTI and report become those of the corrected outlines",
            icon="check",
            width="230px",
        )
        self.correcting = widgets.HBox(
            [self.by, self.correct_button, self.measure_button],
            layout={"align_items": "center", "flex_flow": "row wrap"},
        )

    def _place_correcting(self) -> None:
        self.correct_button.disabled = self.by.disabled = self.drawing is not None
        self.measure_button.disabled = self.drawing is None

    def correct(self) -> None:
        """Let outlines be corrected in the viewer, as the button does; what was drawn before is gone on with."""
        run, viewer = self.value, self.viewer
        if run is None or viewer is None or self.drawing is not None:
            return
        try:
            before = run.before or run
            drawing = Drawing(run_to_correct(before), before.results, by=self.by.value)
            self._draw(run, viewer, drawing)
        except AutosegError as error:  # the result is not lost
            self.say(self.hidden(str(error)), "error")
            return
        self.drawing = drawing
        self._place_correcting()
        self.say(
            "Draw in the viewer; each stroke is saved at once, and what the model drew is kept. The areas below "
            "follow when you pause. Then measure what was corrected: until then files are of the outlines before."
        )

    def _draw(self, run: Run, viewer: SliceViewer, drawing: Drawing) -> None:
        """Let outlines be corrected, and numbers follow."""
        follows = self.light.drawing
        viewer.draw(drawing, self.hidden, on_drawn=follows.follow)
        follows.begin(run, drawing)

    def _end_drawing(self) -> None:
        self.drawing = None
        self.light.drawing.end()

    def measure_corrected(self) -> None:
        """Measure the outlines as they were corrected and write their files, as the button does."""
        run, drawing, viewer = self.value, self.drawing, self.viewer
        if run is None or drawing is None or viewer is None:
            return

        def work() -> Run | AutosegError:
            try:
                drawing.save()
                return correct_run(run, read_corrections(drawing.kit.folder, by=drawing.by))
            except AutosegError as error:  # the result is not lost
                return error

        def show(found: Run | AutosegError) -> None:
            if isinstance(found, AutosegError):
                self.say(self.hidden(str(found)), "error")
                self.value = run
                self._draw(run, viewer, drawing)
                return
            where = (viewer.image_index, viewer.slice_index)
            self._show_run(found)
            if self.viewer is not None:
                self.viewer.image_index, self.viewer.slice_index = where
            words = "All below is of the corrected outlines" if found.before else "Nothing is corrected"
            self.say(f"{words}. The files are in {found.folder.resolve()}.", "done")
            self.value = found

        viewer.end_drawing()
        self.value = None
        self.light.drawing.end()
        self.start(work, show, saying="Measuring the corrected outlines …")

    def _follow_light(self, lit: Lit | None) -> None:
        """Show the viewer's areas as soon as they may be seen."""
        if self.viewer is not None and run_to_show(lit) is not None:
            self.viewer.withheld = ""

    def _switch(self) -> None:
        with self._lock, self.attempt():
            self._changed(None)

    def _changed(self, _: object) -> None:
        """Take back a result that is not of the model, the patient and the copies that stand above now."""
        patient, lines = self.patient.value, None if self.centreline is None else self.centreline.value
        lines = lines if lines is not None and lines.patient == patient else None
        before = self._inputs
        chosen = self.copies.value, self.judges.value, lines, self.cleaning.read()
        self._inputs = Inputs(self.model.value, patient, *chosen)
        if self._inputs == before:
            return
        self.cost.value = text(describe_cost(self.model.value, self.copies.value))
        earlier = self.value
        if self.stopping is not None:
            self.stop()
            return
        self._clear()
        self._allow(self._can_start())
        if earlier is not None:
            words = f"{self._what_changed(before)} changed, so the earlier result is not shown any more"
            self.say(f"{words}. Its files stay in {earlier.folder.resolve()}.", "warning")

    def _what_changed(self, before: Inputs) -> str:
        now = self._inputs
        if (now.model, now.patient) != (before.model, before.patient):
            return "The model or the patient was"
        if now.postprocess != before.postprocess:
            return "The cleaning was"
        if now.look != before.look:
            return "Whether slices are judged was"
        return "The centreline was" if now.copies == before.copies else "The choice of copies was"

    def _can_start(self, *, silently: bool = False) -> bool:
        """Tell whether both are chosen; say what is missing."""
        needed = {"a model": self._inputs.model, "a patient's folder and series": self._inputs.patient}
        missing = [words for words, value in needed.items() if value is None]
        if not silently:
            self.say(f"First choose {' and '.join(missing)} above." if missing else "")
        return not missing

    def _clear(self) -> None:
        self.viewer = None
        self.notes.value = ""
        self.shown.children = self.files.children = []
        self.value = None
        self._end_drawing()


def describe_cost(chosen: ChosenModel | None, copies: Copies) -> str:
    """Say how often a network runs for each slice, and which copies are worth it for these models."""
    if chosen is None:
        return ""
    count = runs_per_slice(chosen.models, copies)
    words = f"Each slice is computed {'once' if count == 1 else f'{count} times'}."
    wise = {copies_worth(model) for model in chosen.models}
    better: Copies = wise.pop() if len(wise) == 1 else "none"
    if copies == better != "none":
        worth = "Training saw such copies too."
    else:
        worth = f"Worth a try with what was chosen above: {COPY_WORDS[better] or 'no copies'}."
    return f"{words} {unseen_note(chosen.models, copies) or worth}"


def describe_notes(run: Run) -> str:
    """Give a run's notes as HTML, and of the files that were left alone their number.

    Many notes on how series were read, and the names of the files, unfold at a click.
    """
    reading = [note for note in run.notes if isinstance(note, ReadingNote)]
    folded = reading if len(reading) > MOST_NOTES else []
    parts = [
        notice(note, "warning" if isinstance(note, GraveNote) else "note", announced=False)
        for note in run.notes
        if not (folded and isinstance(note, ReadingNote))
    ]
    if folded:
        words = f"{len(folded)} notes on how the series were read."
        parts.append(notice(words, details="\n".join(folded), announced=False))
    if run.skipped:
        lines = [f"{item.path.name}: {item.reason}" for item in run.skipped[:MOST_SKIPPED]]
        lines += [f"… and {len(run.skipped) - MOST_SKIPPED} more"] if len(run.skipped) > MOST_SKIPPED else []
        words = f"Left alone: {counted(len(run.skipped), 'file')}."
        parts.append(notice(words, details="\n".join(lines), announced=False))
    return "".join(parts) or text("")


# --- the panel that tells where a run's files are, opens their folder, and hands them over as one zip


class OutputPanel(Panel):
    """Where the Run of `prediction` went; `value` is its folder.

    Its report is of the labels that `corrections` gives (a `Corrected`, or None), where it is of this run. It names
    no patient, unless `ids` is ticked.
    """

    def __init__(self, prediction: Panel, corrections: Panel | None = None) -> None:
        super().__init__()
        self.run: Run | None = None
        self.corrections = corrections
        self.ids = tick("with patient IDs", "Name the patient, the images and their files in the report")
        self.page = DownloadButton("report.html", self.make_page, description="Report (web page)")
        self.pdf = DownloadButton("report.pdf", self.make_pdf, description="Report (PDF)")
        self.open_button = button("Open the folder", self.open_in_window, icon="folder-open")
        self.download = DownloadButton("run.zip", self.pack, description="Download all as zip")
        self.dicom_button = button(
            "Write DICOM objects",
            self.write_dicom,
            "For an archive: segmentation (SEG), measurements (SR) and outlines (RTSTRUCT) of each image, and the "
            "report as pictures; of the corrected labels, where somebody corrected them. They name the patient",
            icon="archive",
        )
        self.leave_button = button(
            "Copies without the patient",
            self.write_copies,
            "The patient's DICOM images, and the DICOM objects where they were written, with codes in place of "
            "names and numbers and other dates, so that they can leave once somebody has looked at them",
            icon="user-secret",
        )
        self.onnx_button = button(
            "Model for other programs (ONNX)",
            self.write_model,
            "The model that drew this, with every step before and behind its network and a program that runs it "
            "without autoseg, into a new folder beside the result",
            icon="share-square-o",
        )
        self.files, self.archive = widgets.VBox(), SendPanel()
        self._exported: list[Path] = []  # folders of this run's models, which lie beside it
        self._told: dict[widgets.Button, str] = {}  # of what each button wrote
        self.told = widgets.HTML()
        light = getattr(prediction, "light", None)
        behind = [light.drawing.behind] if isinstance(light, LightPanel) else []
        self.stack(*behind, self.body, self.told, self.bar, self.message)
        self.reason = widgets.HTML()
        self.output, self._model = getattr(prediction, "output", None), getattr(prediction, "model", None)
        self.follow(prediction, self._update)

    def open_in_window(self) -> None:
        """Open the run's folder in the computer's own way, as the button does."""
        with self.attempt():
            if self.run is not None:
                open_folder(folder := self.run.folder.resolve())
                self.say(f"{folder} was opened in another window.", "done")

    def write_dicom(self) -> None:
        """Write SEG, SR and RTSTRUCT of each image, and the report, into the run's folder, as the button does."""

        def make(run: Run) -> str:
            archived = run_to_dicom(run, corrections=self._own_corrections(run))
            lines = [f"{counted(len(archived.names), 'file')} written, read back and compared.", *archived.notes]
            return "\n".join(lines)

        self._write(make, self.dicom_button, "Writing DICOM objects …")

    def write_copies(self) -> None:
        """Copy the images of the run without their patient into its folder, as the button does."""

        def make(run: Run) -> str:
            made = run_to_leave(run)
            left = [f"Left out: {counted(count, 'file')}: {why}" for why, count in made.left_out]
            lines = [f"{counted(made.files, 'file')} copied to {made.folder.name}.", *left, *made.not_known]
            return "\n".join(lines)

        self._write(make, self.leave_button, "Copying without the patient …")

    def write_model(self) -> None:
        """Write the models of the run for ONNX Runtime, each into a folder beside the run's, as the button does."""
        chosen = None if self._model is None else self._model.value

        def make(run: Run) -> str:
            if chosen is None:
                raise DataError("No model is chosen any more. Choose the one above, then segment again.")
            lines, models = [], (chosen, *chosen.others)
            for one in models:  # before anything of them is written
                check_exportable(one.model)
            for one in models:
                folder = untaken(run.folder.resolve().with_name(f"{one.path.stem}_onnx"))
                write_onnx(one.model, folder, model_file=one.path)
                if self.run is run:
                    self._exported.append(folder)
                lines.append(f"{one.model.name}: written to {folder}, compared with autoseg's own answers.")
            lines.append(
                "python segment.py IMAGE.npz LABELS.npz in there runs it with numpy and onnxruntime alone."
            )
            return "\n".join(lines)

        self._write(make, self.onnx_button, "Writing the model …")

    def _write(self, make: Callable[[Run], str], pressed: widgets.Button, saying: str) -> None:
        """Make files in the run's folder in the background; then list them and say what `make` tells of them."""
        run = self.run
        if run is None:
            return
        self._allow(False)  # what one tells would be lost where another begins

        def work() -> str:
            try:
                return make(run)
            finally:
                if self.run is run:
                    self._allow(True)

        def show(told: str) -> None:
            if self.run is not run:
                return
            self.value = run.folder.resolve()
            self.files.children = [*file_rows(self.value), *(folder_row(one, OF_MODEL) for one in self._exported)]
            self.archive.show(self.value)
            self._told[pressed] = told
            self.told.value = "".join(notice(words, "done") for words in self._told.values())

        self.start(work, show, saying=saying)

    def _allow(self, can_write: bool) -> None:
        for one in (self.dicom_button, self.leave_button, self.onnx_button):
            one.disabled = not can_write

    def pack(self) -> bytes:
        """Give all files of the run as a zip, as the download does."""
        return zip_folder(self.run.folder.resolve()) if self.run is not None else b""

    def make_page(self) -> bytes:
        """Give the report as a web page, as the download does."""
        return to_page(self._document()).encode()

    def make_pdf(self) -> bytes:
        """Give the report as a PDF with A4 pages, as the download does."""
        return to_pdf(self._document())

    def _document(self) -> Document:
        if self.run is None:
            raise DataError("There is no result. First segment a patient above.")
        corrections = self._own_corrections(self.run)
        return run_document(self.run, corrections=corrections, show_ids=self.ids.value)

    def _own_corrections(self, run: Run) -> list[Correction]:
        """Give what was corrected of this run."""
        value = None if self.corrections is None else self.corrections.value
        kits = () if value is None else value.corrections
        before = run.before or run
        return [one for one in kits if before.folder.resolve() in one.kit.folder.resolve().parents]

    def _update(self, run: Any) -> None:
        self.value, self.run, self._exported, self._told = None, run, [], {}
        self.told.value = ""
        self._allow(True)
        if run is None:
            self.body.children = [] if self.output is None else earlier_rows(self.output)
            self.say("First segment a patient above.")
            return
        folder = run.folder.resolve()
        self.say("")
        self.files.children = file_rows(folder)
        self.archive.show(folder)
        reason = why_not_openable()
        self.open_button.disabled, self.open_button.tooltip = bool(reason), reason or f"Open {folder}"
        self.reason.value = text(reason)
        self.download.name = f"{folder.name}.zip"
        self.page.name, self.pdf.name = (f"{folder.name}_report.{ending}" for ending in ("html", "pdf"))
        self.body.children = [
            widgets.HTML(heading("Where it went") + text(str(folder))),
            widgets.HBox(
                [self.open_button, self.download, self.dicom_button, self.leave_button, self.onnx_button],
                layout={"align_items": "center", "flex_flow": "row wrap"},
            ),
            self.reason,
            widgets.HBox(
                [self.page, self.pdf, self.ids], layout={"align_items": "center", "flex_flow": "row wrap"}
            ),
            self.files,
            self.archive,
            widgets.HTML(text(FOR_TRAINING)),
        ]
        self.value = folder


def file_rows(folder: Path) -> list[widgets.Widget]:
    """Give a row for each file of a run: its name, which downloads it when it is clicked, and what it is."""

    def row(file: RunFile) -> widgets.Widget:
        if file.name.endswith("/"):
            name, make = f"{folder.name}_{file.name[:-1]}.zip", partial(zip_folder, folder / file.name)
        else:
            name, make = f"{folder.name}_{file.name}", partial(read_run_file, folder, file.name)
        files = f"{counted(file.count, 'file')}, " if file.count > 1 else ""
        return linked(
            DownloadButton(name, make, description=file.name), f"{files}{size_words(file.size)}", file.meaning
        )

    return [row(file) for file in list_run_files(folder)]


def cohort_rows(folder: Path) -> list[widgets.Widget]:
    """Give a row for the report of all patients and for each of their tables, which is downloaded at a click."""
    about = {folder / REPORT: "what failed and why, and the patients to look at first"}
    about |= dict.fromkeys(sorted(folder.glob("*.csv")), "all patients in one table")
    return [file_row(path, words, saved_as=f"{folder.name}_{path.name}") for path, words in about.items()]


def earlier_rows(output: Path) -> list[widgets.Widget]:
    """Give a row for each of the latest runs of other times, whose table is downloaded at a click."""
    with suppress(OSError):
        runs = sorted(output.glob(f"*/{AREAS}"), key=lambda path: path.stat().st_mtime, reverse=True)[:MOST_EARLIER]
        rows: list[widgets.Widget] = [
            linked(
                DownloadButton(
                    f"{path.parent.name}_{AREAS}",
                    partial(read_run_file, path.parent, AREAS),
                    description=path.parent.name,
                ),
                time.strftime("%Y-%m-%d %H:%M", time.localtime(path.stat().st_mtime)),
                "",
            )
            for path in runs
        ]
        words = heading(f"Earlier results in {output.resolve()}") + text(EARLIER)
        return [widgets.HTML(words), *rows] if rows else []
    return []
