"""The training panel: start, stop and keep the best, resume; curves, slices and lines while it learns."""

from __future__ import annotations

import base64
import html
import threading
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import ipywidgets as widgets

from autoseg.errors import AutosegError, DataError
from autoseg.image.overlay import hex_colour
from autoseg.panels.parts.panel import Panel
from autoseg.panels.parts.style import heading, notice, text
from autoseg.panels.parts.values import Data, Task
from autoseg.panels.training.running import Budget, RunningTraining, find_training, start_training
from autoseg.report.figures.live_curves import draw_curves
from autoseg.training.checkpoint import Unfinished, find_unfinished

# --- what the training panel says: states, times, failures, and the slices with their captions

# So many of the printed lines are kept on the page; the training has them all.
MOST_LINES = 200


def describe_time(seconds: float) -> str:
    """Give a time in words, as roughly as it is known.

    Examples
    --------
    >>> [describe_time(s) for s in (3, 50, 200, 3500, 5400, 200000)]
    ['a few seconds', 'about a minute', 'about 3 minutes', 'about 58 minutes', 'about 1 h 30 min', 'about 56 hours']
    """
    minutes = round(seconds / 60)
    if seconds < 20:
        return "a few seconds"
    if minutes < 2:
        return "about a minute"
    if minutes < 60:
        return f"about {minutes} minutes"
    if minutes < 10 * 60:
        return f"about {minutes // 60} h {minutes % 60} min"
    return f"about {round(minutes / 60)} hours"


def describe_date(date: str, *, now: datetime | None = None) -> str:
    """Give a date (ISO, any zone) as "today 14:03", "yesterday 14:03" or "12 March 14:03", in local time.

    Examples
    --------
    >>> now = datetime(2026, 5, 2, 9, 0)
    >>> [describe_date(f"2026-0{day}T14:03:00", now=now) for day in ("5-02", "5-01", "4-30")]
    ['today 14:03', 'yesterday 14:03', '30 April 14:03']
    """
    when = datetime.fromisoformat(date)
    when = when.astimezone().replace(tzinfo=None) if when.tzinfo is not None else when
    days = ((now or datetime.now()).date() - when.date()) // timedelta(days=1)
    day = {0: "today", 1: "yesterday"}.get(days, f"{when.day} {when:%B}")
    if when.year != (now or datetime.now()).year:
        day += f" {when.year}"
    return f"{day} {when:%H:%M}"


def describe_resume(unfinished: Unfinished) -> str:
    """Give the words on the Resume button: "Resume from epoch 12 of 40, of yesterday 14:03"."""
    done = f"epoch {unfinished.epochs_done}"
    if unfinished.epochs is not None:
        # An epoch that was cut short is made up for by one more.
        done += f" of {max(unfinished.epochs, unfinished.epochs_done + 1)}"
    elif unfinished.minutes is not None:
        done += f", minute {unfinished.minutes_done:.1f} of {unfinished.minutes:g}"
    return f"Resume from {done}, of {describe_date(unfinished.date)}"


def describe_run(training: RunningTraining) -> str:
    """Give the line that says how far a training is."""
    count, planned = len(training.epochs), training.settings.epochs
    if training.state in ("waiting", "reading"):
        split = training.task.split
        cases = len(split.training) + len(split.validation)
        then = "; then it goes on with the settings that it was started with" if training.is_resumed else ""
        return f"Reading {cases} labelled image{'s' * (cases != 1)}{then} …"
    if training.state == "stopping":
        return "Stopping; the best epoch is being kept …"
    if training.state == "failed":
        return f"Ended after epoch {count}." if count else "Nothing was learnt."
    # An epoch that was cut short is made up for by one more.
    epoch = f"epoch {count} of {max(count, planned)}" if planned is not None else f"epoch {count}"
    score = best_words(training)
    if training.state == "finished":
        return f"{'Stopped' if training.was_stopped else 'Done'} after {epoch}; {score}.{noted(training)}"
    left = training.seconds_left()
    if left is None and training.part:
        return f"{training.part}: learning to find the centreline; then the model itself learns …"
    if left is None:
        return "Learning: the first epoch is on its way …"
    minutes = ""
    if training.settings.minutes is not None:
        minutes = f", minute {training.share() * training.settings.minutes:.1f} of {training.settings.minutes:g}"
    return f"Learning: {epoch} done{minutes}, {describe_time(left)} left; {score}.{noted(training)}"


def noted(training: RunningTraining) -> str:
    """Give the latest note on what had to be changed on the way, such as the batch size; "" if there is none."""
    notes = training.last.origin.get("notes", ()) if training.last is not None else ()
    return f" {training.hidden(notes[-1])}" if notes else ""


def best_words(training: RunningTraining) -> str:
    """Say which epoch is the best so far, and its score."""
    best = training.best
    row = next((row for row in training.epochs if best is not None and row.epoch == best.best_epoch), None)
    if row is None:
        return "no epoch is done yet"
    if row.validation_dice is None and training.task.split.validation:
        return "no epoch was scored on validation subjects yet"
    if row.validation_dice is None:
        return f"the latest epoch ({row.epoch}) is kept, for there is no score of validation subjects"
    return f"the best is epoch {row.epoch} with a validation Dice of {row.validation_dice:.3f}"


def describe_end(training: RunningTraining, unfinished: Unfinished | None) -> str:
    """Say what was kept, where it is, and whether it can be gone on with."""
    if training.trained is None:
        return ""
    model, path = training.trained.model, training.trained.path
    ended = str(model.origin.get("ended", ""))
    words = f"Epoch {model.best_epoch} of {len(model.history)} was kept. The model is in {path}"
    words += f" (learning ended because {ended})." if ended else "."
    if "NaN" in ended:
        words += " A smaller learning rate usually helps."
    if unfinished is not None and not unfinished.problem:
        words += " Resume goes on where it stopped."
    return words


def describe_changes(training: RunningTraining, task: Task) -> str:
    """Say what a task that was chosen since has to do with a training that is shown; "" where it is the same."""
    mine = training.task
    if training.is_active and (mine.name, mine.folder) != (task.name, task.folder):
        return f"{mine.name!r} goes on learning; {task.name!r} can be started when it is done."
    if training.is_of(task, also_settings=True):
        return ""
    if training.is_active:
        return "The training goes on as it was started; what you changed counts from the next start."
    return "The settings were changed after this training was started; they count from the next start."


def describe_question(unfinished: Unfinished | None) -> str:
    """Say what a new start would give up; None: the epochs of a training that failed, not saved yet."""
    if unfinished is None:
        return "What was learnt is not saved yet. Save it first, or click again to give it up."
    if unfinished.problem:
        return (
            f"There is an unfinished training of this name, which cannot go on: {unfinished.problem} Click again "
            "to give it up, or choose another name."
        )
    return (
        f"There is an unfinished training of this name. {describe_resume(unfinished)}, or click again to give it "
        "up; a new one under another name leaves it as it is."
    )


def describe_failure(training: RunningTraining, unfinished: Unfinished | None) -> str:
    """Say why a training failed, and what is left of it."""
    words = training.failure()
    if training.best is not None:
        words += f" Nothing of what was learnt is lost: epoch {training.best.best_epoch} is still in memory; "
        words += "Save what was learnt writes it."
    elif unfinished is not None and not unfinished.problem:
        words += " The unfinished training is still there; Resume tries again."
    return words


def lines_as_html(lines: Sequence[str]) -> str:
    """Give the latest lines that were printed."""
    left_out = len(lines) - MOST_LINES
    shown = [f"… {left_out} earlier lines"] if left_out > 0 else []
    shown += lines[-MOST_LINES:]
    return (
        '<pre role="log" aria-label="Printed lines" style="margin:0;font-size:11px;line-height:1.4;'
        "white-space:pre-wrap;word-break:normal;"
        f'color:var(--jp-ui-font-color1,inherit)">{html.escape(chr(10).join(shown))}</pre>'
    )


def slices_as_html(training: RunningTraining) -> str:
    """Give the watched slices in a row, with a legend."""
    pictures = training.pictures
    if not pictures and training.watch.problem:
        return text(f"The slices cannot be shown: {training.watch.problem}")
    if not pictures:
        return ""
    epoch = pictures[0].epoch
    what = "with what the network finds after epoch " + str(epoch) if epoch else "as they were drawn"
    head = f"{training.watch.side.capitalize()} slices {what}"
    if training.watch.side == "training":
        head += " (there are no validation subjects; on slices that it learns from, a network looks too good)"
    figures = "".join(
        '<figure style="margin:0">'
        f'<img alt="{html.escape(one.caption, quote=True)}, {what}" style="width:100%;border-radius:3px" '
        f'src="data:image/jpeg;base64,{base64.b64encode(one.jpeg).decode("ascii")}">'
        f'<figcaption style="font-size:11px;line-height:1.3">{html.escape(one.caption)}</figcaption></figure>'
        for one in pictures
    )
    square = '<span style="display:inline-block;width:12px;height:12px;background:{};margin-right:4px"></span>'
    legend = "".join(
        f'<span style="margin-right:12px">{square.format(hex_colour(s.rgb))}{html.escape(s.name)}</span>'
        for s in training.task.structures
    )
    legend += "<span>dashed black and white: the reference</span>"
    return (
        '<div style="color:var(--jp-ui-font-color1,inherit);margin:6px 0">'
        f'<div style="font-weight:600">{html.escape(head)}</div>'
        f'<div style="display:grid;grid-template-columns:repeat({len(pictures)},minmax(0,190px));gap:8px;'
        f'margin:4px 0">{figures}</div>'
        f'<div style="font-size:12px">{legend}</div></div>'
    )


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
