"""The panel that segments the chosen folder, shows how far it is, and then the slices with their structures."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ipywidgets as widgets

from autoseg.panels.panel import Panel
from autoseg.panels.style import notice, text
from autoseg.panels.values import ChosenModel, Patient
from autoseg.panels.viewer import SliceViewer
from autoseg.patient_run import Run, RunProgress, RunStopped, segment_folder

MOST_SKIPPED = 20
MOST_NOTES = 3  # on how series were read; more unfold at a click


class PredictionPanel(Panel):
    """A button that segments and measures; `value` is the `Run`.

    A result is shown only as long as the model and the patient are those that it was made with.

    Parameters
    ----------
    model : Panel
        Its value is a ChosenModel.
    patient : Panel
        Its value is a Patient.
    output : Path or str
        Where the run's folder is made.
    """

    def __init__(self, model: Panel, patient: Panel, *, output: Path | str = "../predictions") -> None:
        super().__init__()
        self.model, self.patient, self.output = model, patient, Path(output)
        self.viewer: SliceViewer | None = None
        self.stopping: threading.Event | None = None  # of the run that is under way
        self.button = widgets.Button(
            description="Segment and measure",
            button_style="primary",
            icon="play",
            tooltip="Segment the chosen series with the chosen model, measure, and write the files",
            layout=widgets.Layout(width="220px"),
        )
        self.stop_button = widgets.Button(
            description="Stop",
            icon="stop",
            tooltip="Stop; nothing is written then",
            disabled=True,
        )
        self.notes = widgets.HTML()
        self.shown = widgets.VBox()
        self.button.on_click(lambda _: self.segment())
        self.stop_button.on_click(lambda _: self.stop())
        self.body.children = [widgets.HBox([self.button, self.stop_button])]
        self.children = [*self.children, self.notes, self.shown]  # type: ignore[has-type]  # a trait of ipywidgets
        self._inputs: tuple[Any, Any] = (None, None)
        self.follow(model, self._changed)
        self.follow(patient, self._changed)

    def segment(self) -> None:
        """Segment the chosen folder in the background, as the button does."""
        with self.attempt():
            model, patient = self._inputs
            if self.stopping is not None or not self._can_start():
                return
            self._clear()
            stopping = self.stopping = threading.Event()
            self.button.disabled, self.stop_button.disabled = True, False
            self.start(self._job(model, patient, stopping), self._show, saying="Reading the images …")

    def stop(self) -> None:
        """Stop the run before it writes anything, as the button does."""
        if self.stopping is not None:
            self.stopping.set()
            self.stop_button.disabled = True
            self.say("Stopping …")

    def _job(
        self, model: ChosenModel, patient: Patient, stopping: threading.Event
    ) -> Callable[[], tuple[Run | None, tuple[Any, Any]]]:
        def tell(progress: RunProgress) -> bool:
            if stopping.is_set():
                return True
            if progress.stage == "writing":
                self.stop_button.disabled = True
            self.progress(progress.share)
            self.say(
                "\n".join(filter(None, [str(progress), progress.warning])),
                "warning" if progress.warning else "note",
            )
            return False

        def work() -> tuple[Run | None, tuple[Any, Any]]:
            try:
                run = segment_folder(
                    model.model,
                    patient.folder,
                    output=self.output,
                    field_of_view_mm=patient.field_of_view_mm,
                    matrix_size=patient.matrix_size,
                    prefer=patient.prefer,
                    only=patient.only,
                    on_progress=tell,
                )
            except RunStopped:
                return None, (model, patient)
            except Exception:
                if self._inputs == (model, patient):
                    raise
                return None, (model, patient)  # what failed is not what is chosen now
            finally:
                self._ended(stopping)
            return run, (model, patient)

        return work

    def _ended(self, stopping: threading.Event) -> None:
        if self.stopping is stopping:
            self.stopping = None
        self.stop_button.disabled = True
        self.button.disabled = not self._can_start(silently=True)

    def _show(self, result: tuple[Run | None, tuple[Any, Any]]) -> None:
        run, made_with = result
        is_current = self._inputs == made_with
        if run is None and is_current:
            self.say("Stopped. Nothing was written.", "warning")
        elif not is_current:
            kept = f" Its result stays in {run.folder.resolve()}." if run is not None else ""
            self.say(f"The model or the patient was changed during the run.{kept} Segment again.", "warning")
        elif run is not None:
            slices = sum(image.shape[0] for image, _ in run.results)
            self.viewer = SliceViewer(run.results, run.measurements)
            self.notes.value = describe_notes(run)
            self.shown.children = [self.viewer]
            self.say(
                f"Segmented {len(run.results)} image(s), {slices} slice(s), in {run.elapsed_s:.0f} s. "
                f"The files are in {run.folder.resolve()}.",
                "done",
            )
            self.value = run

    def _changed(self, _: object) -> None:
        """Take back a result that is not of the model and the patient that stand above now."""
        before, self._inputs = self._inputs, (self.model.value, self.patient.value)
        if self._inputs == before and before != (None, None):
            return
        earlier = self.value
        if self.stopping is not None:
            self.stop()
            return
        self._clear()
        self.button.disabled = not self._can_start()
        if earlier is not None:
            words = "The model or the patient was changed, so the earlier result is not shown any more"
            self.say(f"{words}. Its files stay in {earlier.folder.resolve()}.", "warning")

    def _can_start(self, *, silently: bool = False) -> bool:
        """Tell whether both are chosen; say what is missing."""
        model, patient = self._inputs
        missing = [w for w, v in (("a model", model), ("a patient's folder and series", patient)) if v is None]
        if not silently:
            self.say(f"First choose {' and '.join(missing)} above." if missing else "")
        return not missing

    def _clear(self) -> None:
        self.viewer = None
        self.notes.value = ""
        self.shown.children = []
        self.value = None


def describe_notes(run: Run) -> str:
    """Give a run's notes as HTML, and of the files that were left alone their number; the names unfold."""
    series = tuple({f"{image.source.case_id.rsplit('_', 1)[0]}: " for image, _ in run.results})
    series += tuple(f"{image.source.case_id}: " for image, _ in run.results)
    plain = [note for note in run.notes if note.startswith(series) and "left out" not in note]
    if len(plain) <= MOST_NOTES:
        plain = []
    parts = [
        notice(note, "warning" if "left out" in note.lower() else "note", announced=False)
        for note in run.notes
        if note not in plain
    ]
    parts += (
        [notice(f"{len(plain)} notes on how the series were read.", details="\n".join(plain), announced=False)]
        if plain
        else []
    )
    if run.skipped:
        lines = [f"{item.path.name}: {item.reason}" for item in run.skipped[:MOST_SKIPPED]]
        lines += [f"… and {len(run.skipped) - MOST_SKIPPED} more"] if len(run.skipped) > MOST_SKIPPED else []
        parts.append(
            notice(f"{len(run.skipped)} file(s) were left alone.", details="\n".join(lines), announced=False)
        )
    return "".join(parts) or text("")
