"""The training panel: start, stop and keep the best, resume; curves, slices and lines while it learns."""

from __future__ import annotations

import threading
import time
from typing import Any

import ipywidgets as widgets

from autoseg.errors import AutosegError, DataError
from autoseg.panels.parts.panel import Panel
from autoseg.panels.parts.style import heading, notice, text
from autoseg.panels.parts.values import Data, Task
from autoseg.panels.training.running import RunningTraining, find_training, start_training
from autoseg.panels.training.training_words import (
    describe_changes,
    describe_end,
    describe_failure,
    describe_question,
    describe_resume,
    describe_run,
    lines_as_html,
    slices_as_html,
)
from autoseg.panels.training.watching import Budget
from autoseg.report.figures.live_curves import draw_curves
from autoseg.training.checkpoint import Unfinished, find_unfinished

GIVE_UP = "Start anew; the unfinished one is given up"
# The page is told something new at most so often; curves, and all that is drawn, more seldom.
GLANCE_S, CURVES_EVERY_S, CURVES_SHARE = 0.5, 2.0, 0.03


class TrainingPanel(Panel):
    """Start, stop and resume a training, and see it learn; `value` is a `values.Trained` afterwards.

    The training belongs to the kernel, not to the panel: a panel that is made anew, in a notebook that is opened
    again for instance, shows the training of its name and folder, running or done, and starts no second one.

    Parameters
    ----------
    settings : Panel
        Its value is a `values.Task`, or None.
    data : Panel, optional
        Its value is a `values.Data`; errors that the check found are pointed out before the start.
    choose_post : bool
        As for `autoseg.training.save.train_and_save`.
    alone : bool
        Refuse to start while another training learns on this computer.
    """

    def __init__(
        self, settings: Panel, *, data: Panel | None = None, choose_post: bool = False, alone: bool = True
    ) -> None:
        super().__init__()
        self.choose_post, self.alone = choose_post, alone
        self.task: Task | None = None
        self.training: RunningTraining | None = None
        self.unfinished: Unfinished | None = None
        self._found_errors = 0
        self._is_asking = False
        self._news = threading.Event()
        self._build()
        if data is not None:
            self.follow(data, self._take_data)
        self.follow(settings, self._take_task)

    def _build(self) -> None:
        self.start_button = _button("Start", "Start learning", "primary")
        self.stop_button = _button(
            "Stop and keep the best", "Stop learning and keep the best epoch so far; Resume goes on later"
        )
        self.resume_button = _button("Resume", "Go on where the training stopped")
        self.keep_button = _button("Save what was learnt", "Save the best epoch of the training that failed")
        self.start_button.on_click(lambda _: self.learn())
        self.stop_button.on_click(lambda _: self.stop())
        self.resume_button.on_click(lambda _: self.resume())
        self.keep_button.on_click(lambda _: self.keep())
        self.state_line, self.note = widgets.HTML(), widgets.HTML()
        self.share_bar = widgets.FloatProgress(
            min=0,
            max=1,
            tooltip="How much of the learning is done",
            layout=widgets.Layout(width="100%", max_width="900px", display="none"),
        )
        self.curves, self.slices, self.lines = widgets.HTML(), widgets.HTML(), widgets.HTML()
        # Its lowest end is its beginning, so that it stays at the newest line unless somebody scrolls up.
        self.lines_box = widgets.Box(
            [self.lines],
            tabbable=True,
            layout=widgets.Layout(
                display="none", flex_flow="column-reverse", max_height="150px", overflow="auto", flex="0 0 auto"
            ),
        )
        self.buttons = widgets.HBox(
            [self.start_button, self.stop_button, self.resume_button, self.keep_button],
            layout=widgets.Layout(flex_flow="row wrap"),
        )
        self.body.children = (self.curves, self.slices, self.lines_box)
        # What is said stands above the pictures, where it is seen without scrolling.
        top = (widgets.HTML(heading("Training")), self.buttons, self.state_line, self.share_bar)
        self.children = (*top, self.bar, self.message, self.note, self.body)

    # --- what it follows

    def _take_data(self, data: Data | None) -> None:
        findings = data.findings if data is not None else ()
        self._found_errors = sum(1 for finding in findings if finding.severity == "error")
        self._arrange()

    def _take_task(self, task: Task | None) -> None:
        self.task, self._is_asking = task, False
        if task is not None and (self.training is None or not self.training.is_active):
            found = find_training(task.folder, task.name)
            if found is not None and not found.is_of(task):
                found = None  # of other images or structures: an earlier try
            if found is not self.training:
                self._show(found)
        self._look_for_unfinished()
        self._arrange()

    # --- what a click does

    def learn(self, *, give_up: bool = False) -> None:
        """Start a training; asks first where one is unfinished or not saved, unless `give_up`."""
        would_lose = self.unfinished is not None or self._has_unsaved()
        if would_lose and not (give_up or self._is_asking):
            self._is_asking = True
            self._arrange()
            self.say(describe_question(self.unfinished), "warning")
            return
        self._begin(resume=False)

    def resume(self) -> None:
        """Go on with the unfinished training of this name."""
        self._begin(resume=True)

    def stop(self) -> None:
        """Stop the training; the best epoch is kept."""
        if self.training is not None:
            self.training.stop()

    def keep(self) -> None:
        """Save what a failed training had learnt."""
        if self.training is not None:
            training = self.training
            self.start(training.keep_best, lambda _: self._show(training), saying="Saving …")

    def _begin(self, *, resume: bool) -> None:
        self._is_asking = False
        try:
            if self.task is None:
                raise DataError("There is nothing to start yet. Choose the settings above first.")
            training = start_training(self.task, resume=resume, choose_post=self.choose_post, alone=self.alone)
            self._show(training)
        except AutosegError as error:  # it did not start; what is shown stays
            self._arrange()
            self.say(str(error), "error")

    def _has_unsaved(self) -> bool:
        training = self.training
        return training is not None and training.state == "failed" and training.best is not None

    # --- what it shows

    def _show(self, training: RunningTraining | None) -> None:
        """Show a training, running or done, or none."""
        with self._lock:
            self.value, self.training = None, training
            self.say("")
            for part in (self.curves, self.slices, self.lines, self.state_line):
                part.value = ""
            self._arrange()
        if training is None:
            return
        training.viewer = self  # the newest panel draws; older ones only wait for the end
        end = training.listen(self._news.set)
        self._work = threading.Thread(
            target=self._look_on, args=(training, end), daemon=True, name=f"panel of {training.task.name}"
        )
        self._work.start()

    def _look_on(self, training: RunningTraining, end: Any) -> None:
        """Draw what changes until the training is done, then hand on what came out."""
        curves = Budget(CURVES_EVERY_S, CURVES_SHARE)
        is_drawn = False
        while training.is_active and self.training is training:
            if training.viewer is self:
                try:
                    self._draw(training, curves)
                except Exception as error:  # looking on must not end
                    self.say(f"This cannot be drawn at the moment: {error} The training goes on.", "warning")
            elif not is_drawn:
                self.say("This training is shown by the panel that was made last.")
                is_drawn = True
            self._news.wait(1.0)
            self._news.clear()
            time.sleep(GLANCE_S)
        end()
        with self._lock:
            if self.training is training:
                with self.attempt():
                    self._conclude(training)

    def _draw(self, training: RunningTraining, curves: Budget | None = None) -> None:
        self._arrange()
        self.state_line.value = text(describe_run(training))
        self.share_bar.value = training.share()
        self.slices.value = slices_as_html(training)
        if curves is None or curves.is_due():

            def draw() -> None:
                planned = training.settings.epochs
                structures = training.task.structures
                self.curves.value = draw_curves(training.epochs, structures, planned=planned)
                self.lines.value = lines_as_html(training.lines)

            (curves or Budget(0, 1)).do(draw)

    def _conclude(self, training: RunningTraining) -> None:
        """Show the end of a training."""
        self._look_for_unfinished()
        self._draw(training)
        if training.trained is None:
            self.say(describe_failure(training, self.unfinished), "error", details=training.details())
            return
        is_sound = "NaN" not in str(training.trained.model.origin.get("ended"))
        self.say(describe_end(training, self.unfinished), "done" if is_sound else "warning")
        self.value = training.trained

    def _look_for_unfinished(self) -> None:
        task = self.task
        found = find_unfinished(task.folder) if task is not None and task.folder.is_dir() else ()
        self.unfinished = next((one for one in found if task is not None and one.name == task.name), None)

    def _arrange(self) -> None:
        """Show the buttons that can be clicked now."""
        training, unfinished = self.training, self.unfinished
        is_active = training is not None and training.is_active
        is_learning = is_active and training is not None and training.state != "stopping"
        self.start_button.disabled = is_active or self.task is None
        self.start_button.description = GIVE_UP if self._is_asking else "Start"
        self.start_button.button_style = "warning" if self._is_asking else "primary"
        self.stop_button.disabled = not is_learning
        can_resume = not is_active and unfinished is not None and not unfinished.problem
        self.resume_button.layout.display = "" if can_resume else "none"
        if can_resume and unfinished is not None:
            self.resume_button.description = describe_resume(unfinished)
        changes = describe_changes(training, self.task) if training is not None and self.task is not None else ""
        self.note.value = notice(changes, "warning") if changes else ""
        self.keep_button.layout.display = "" if self._has_unsaved() else "none"
        self.share_bar.layout.display = "" if is_active else "none"
        self.lines_box.layout.display = "flex" if training is not None and training.lines else "none"
        if training is None:
            ready = "Ready to start." if self.task is not None else "Choose the settings above first."
            if self._found_errors and self.task is not None:
                ready += (
                    f" The check of the data found {self._found_errors} error(s), which are better mended before."
                )
            self.state_line.value = text(ready)


def _button(words: str, tooltip: str, style: str = "") -> widgets.Button:
    layout = widgets.Layout(width="auto")  # one for each: a layout that two share hides both
    return widgets.Button(description=words, tooltip=tooltip, button_style=style, layout=layout)
