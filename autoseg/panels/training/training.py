"""The training panel: start, stop and keep the best, resume; curves, slices and lines while it learns."""

from __future__ import annotations

import base64
from datetime import datetime, timedelta
from pathlib import Path

import ipywidgets as widgets

from autoseg.evaluation.calibrate import (
    CalibrationPlan,
    TwinTried,
    Uncalibrated,
    find_uncalibrated,
    is_calibrated,
)
from autoseg.model.card import card_path
from autoseg.model.device import count_gpus
from autoseg.model.ended import Ended
from autoseg.panels.parts.background import State
from autoseg.panels.parts.download import file_row
from autoseg.panels.parts.fields import button, field, tick
from autoseg.panels.parts.follows_work import FollowsWork, describe_time
from autoseg.panels.parts.panel import Panel
from autoseg.panels.parts.style import legend, text
from autoseg.panels.parts.values import Data, Task
from autoseg.panels.training.running import RunningTraining, find_training, start_training
from autoseg.report.figures.live_curves import draw_curves
from autoseg.training.checkpoint import Unfinished, find_unfinished
from autoseg.training.shortfall import say_shortfall, say_unscored
from autoseg.words import counted, escaped

# --- what the training panel says: states, times, failures, and the slices with their captions


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
    if training.state in (State.WAITING, State.READING):
        split = training.task.split
        cases = len(split.training) + len(split.validation)
        then = "; then it goes on with the settings that it was started with" if training.is_resumed else ""
        return f"Reading {cases} labelled image{'s' * (cases != 1)}{then} …"
    if training.state is State.STOPPING:
        kept = "the twins that are done are" if training.twins is not None else "what it learnt is being"
        return f"Stopping; {kept} kept …"
    if training.state is State.FAILED:
        return f"Ended after epoch {count}." if count else "Nothing was learnt."
    # An epoch that was cut short is made up for by one more.
    epoch = f"epoch {count} of {max(count, planned)}" if planned is not None else f"epoch {count}"
    score = best_words(training)
    if training.state is State.FINISHED:
        return f"{'Stopped' if training.was_stopped else 'Done'} after {epoch}; {score}.{noted(training)}"
    if training.twins is not None:
        return describe_twins(training, training.twins)
    left = training.seconds_left()
    if left is None and training.finder is not None:
        return f"{training.finder.title}: learning to find the centreline; then the model itself learns …"
    if left is None:
        return "Learning: the first epoch is on its way …"
    minutes = ""
    if training.settings.minutes is not None:
        minutes = f", minute {training.share() * training.settings.minutes:.1f} of {training.settings.minutes:g}"
    return f"Learning: {epoch} done{minutes}, {describe_time(left)} left; {score}.{noted(training)}"


def describe_twins(training: RunningTraining, twins: CalibrationPlan) -> str:
    """Say how far the twins of a model are, which itself is done."""
    fold, left = training.fold, training.seconds_left()
    if fold is None:
        return "The model is saved. Reading the images for its twins …"
    if isinstance(fold, TwinTried):
        return f"The model is saved. {fold}"
    epochs = f", {counted(len(training.fold_epochs), 'epoch')} done" if training.fold_epochs else ""
    long = "" if left is None else f"; {describe_time(left)} left of learning"
    return (
        f"The model is saved. Fold {fold.fold} of {twins.folds}: a twin of it learns without the patients whom it "
        f"will measure{epochs}{long}."
    )


def noted(training: RunningTraining) -> str:
    """Give the latest note on what had to be changed on the way, such as the batch size; "" if there is none."""
    notes = training.last.origin.get("notes", ()) if training.last is not None else ()
    return f" {training.hidden(notes[-1])}" if notes else ""


def best_words(training: RunningTraining) -> str:
    """Say which epoch is kept so far, and its score."""
    best = training.best
    row = next((row for row in training.epochs if best is not None and row.epoch == best.best_epoch), None)
    if row is None:
        return "no epoch is done yet"
    if row.validation_dice is None and training.task.split.validation:
        return "no epoch was scored on validation patients yet"
    if row.validation_dice is None:
        return f"the latest epoch ({row.epoch}) is kept, for there is no score of validation patients"
    if training.settings.best_by == "last":
        return f"the latest is kept, epoch {row.epoch} with a validation Dice of {row.validation_dice:.3f}"
    words = f"the best is epoch {row.epoch} with a validation Dice of {row.validation_dice:.3f}"
    by_iou = training.settings.best_by == "iou" and row.validation_iou is not None
    return f"{words} and an IoU of {row.validation_iou:.3f}, which chose it" if by_iou else words


def describe_end(training: RunningTraining, unfinished: Unfinished | None) -> str:
    """Say what was kept, where it is, and whether it can be gone on with."""
    if training.trained is None:
        return ""
    model, path = training.trained.model, training.trained.path
    ended = str(model.origin.get("ended", ""))
    words = f"Epoch {model.best_epoch} of {len(model.history)} was kept. The model is in {path}"
    words += f" (learning ended because {ended})." if ended else "."
    if model.ended is Ended.NOT_A_NUMBER:
        words += " A smaller learning rate usually helps."
    if training.has_unsaved:
        words += f" What it takes to go on with it could not be saved, and is still in memory; {SAVE} writes it in "
        words += "the folder that stands beside it."
    elif unfinished is not None and not unfinished.problem:
        words += " Resume goes on where it stopped."
    if training.uncalibrated:
        words += f" How far areas can be off is not known from twins of it. {training.uncalibrated} "
        words += f"“{MEASURE}” goes on with the twins that are done."
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
        words += f"{SAVE} writes it, in the folder that stands beside it. Keep the notebook open until then."
    elif unfinished is not None and not unfinished.problem:
        words += " The unfinished training is still there; Resume tries again."
    return words


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
        head += " (there are no validation patients; on slices that it learns from, a network looks too good)"
    figures = "".join(
        '<figure style="margin:0">'
        f'<img alt="{escaped(one.caption)}, {what}" style="width:100%;border-radius:3px" '
        f'src="data:image/jpeg;base64,{base64.b64encode(one.jpeg).decode("ascii")}">'
        f'<figcaption style="font-size:11px;line-height:1.3">{escaped(one.caption)}</figcaption></figure>'
        for one in pictures
    )
    colours = legend(training.task.structures, "dashed black and white: the reference")
    return (
        '<div style="color:var(--jp-ui-font-color1,inherit);margin:6px 0">'
        f'<div style="font-weight:600">{escaped(head)}</div>'
        f'<div style="display:grid;grid-template-columns:repeat({len(pictures)},minmax(0,190px));gap:8px;'
        f'margin:4px 0">{figures}</div>'
        f'<div style="font-size:12px">{colours}</div></div>'
    )


SAVE = "Save what was learnt"
MEASURE = "Measure how far areas can be off"
GIVE_UP = "Start anew; the unfinished one is given up"


class TrainingPanel(FollowsWork[Task, RunningTraining]):
    """Start, stop and resume a training, and see it learn; `value` is a `values.Trained` afterwards.

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
    processes : int, optional
        How many processes can learn one model together; by default one for each GPU, where all are alike.
    """

    noun, first = "training", "Choose the settings above first."

    def __init__(
        self,
        settings: Panel,
        *,
        data: Panel | None = None,
        choose_post: bool = False,
        alone: bool = True,
        processes: int | None = None,
    ) -> None:
        super().__init__()
        self.choose_post, self.alone = choose_post, alone
        self.unfinished: Unfinished | None = None
        self.uncalibrated: Uncalibrated | None = None
        self._found_errors = 0
        self._is_asking = False
        self.resume_button = button("Resume", self.resume, "Go on where the training stopped")
        self.measure_button = button(
            MEASURE, self.measure, "By twins of the model, on patients whom they never saw; about as long again"
        )
        self.keep_button = button(SAVE, self.keep, "Save what could not be saved, in the folder beside")
        self.keep_folder = field(
            widgets.Text, "in the folder", "Any folder with room in which you may write", label="85px"
        )
        self.processes = count_gpus() if processes is None else processes
        self.use_all = tick(
            f"Use all {self.processes} GPUs",
            "They share the images of each step, and learn the same model sooner. It was tried on processors, "
            "not on GPUs yet",
        )
        self.use_all.layout.display = "" if self.processes > 1 else "none"
        self.curves, self.slices = widgets.HTML(), widgets.HTML()
        self.build(
            "Training",
            self.learn,
            (self.curves, self.slices),
            start_tooltip="Start learning",
            stop_words="Stop and keep the best",
            stop_tooltip="Stop learning and keep the best epoch so far, or the latest; Resume goes on later",
            more_buttons=(
                self.resume_button,
                self.measure_button,
                self.keep_button,
                self.keep_folder,
                self.use_all,
            ),
        )
        if data is not None:
            self.follow(data, self._take_data)
        self.follow(settings, self._take_task)

    # --- what it follows

    def _take_data(self, data: Data | None) -> None:
        findings = data.findings if data is not None else ()
        self._found_errors = sum(1 for finding in findings if finding.severity == "error")
        self.arrange()

    def _take_task(self, task: Task | None) -> None:
        self.asked, self._is_asking = task, False
        self._look_for_unfinished()
        self.ask(task)

    def find(self, asked: Task) -> RunningTraining | None:
        """Give the training of this name and folder; of other images or structures it is an earlier try."""
        found = find_training(asked.folder, asked.name)
        return found if found is not None and found.is_of(asked) else None

    # --- what a click does

    def learn(self, *, give_up: bool = False) -> None:
        """Start a training; asks first where one is unfinished or not saved, unless `give_up`."""
        would_lose = self.unfinished is not None or self._has_unsaved()
        if would_lose and not (give_up or self._is_asking):
            self._is_asking = True
            self.arrange()
            self.say(describe_question(self.unfinished), "warning")
            return
        self._begin(resume=False)

    def resume(self) -> None:
        """Go on with the unfinished training of this name."""
        self._begin(resume=True)

    def measure(self) -> None:
        """Let twins of the trained model measure how far its areas can be off, or go on with that."""
        self._is_asking = False
        path = self._to_measure()
        if path is not None:
            self.begin(lambda task: start_training(task, calibrates=path, alone=self.alone))

    def _to_measure(self) -> Path | None:
        """Give the model whose twins can learn now: that of the training shown, or one whose twins are not done."""
        running = self.running
        if running is not None and running.trained is not None:
            is_known = is_calibrated(running.trained.model) or running.has_unsaved
            can_go_on = self.unfinished is not None
            return None if is_known or can_go_on else running.trained.path
        return None if self.uncalibrated is None else self.uncalibrated.path

    def keep(self) -> None:
        """Save what a training had learnt and could not save, in the folder that is typed."""
        if self.running is not None:
            training, typed = self.running, self.keep_folder.value.strip()
            folder = Path(typed).expanduser() if typed else None
            self.start(lambda: training.keep_best(folder), lambda _: self.show(training), saying="Saving …")

    def _begin(self, *, resume: bool) -> None:
        self._is_asking = False
        count = self.processes if self.use_all.value else 1
        self.begin(
            lambda task: start_training(
                task, resume=resume, choose_post=self.choose_post, alone=self.alone, processes=count
            )
        )

    def _has_unsaved(self) -> bool:
        return self.running is not None and self.running.has_unsaved

    # --- what it shows

    def describe(self, running: RunningTraining) -> str:
        """Say how far the training is."""
        return describe_run(running)

    def draw(self, running: RunningTraining) -> None:
        """Draw the slices that are watched."""
        self.slices.value = slices_as_html(running)

    def draw_slowly(self, running: RunningTraining) -> None:
        """Draw the curves."""
        settings = running.settings
        self.curves.value = draw_curves(
            running.epochs, running.task.structures, planned=settings.epochs, best_by=settings.best_by
        )

    def conclude(self, running: RunningTraining) -> None:
        """Say what was kept, or why nothing was."""
        self._look_for_unfinished()
        self.arrange()
        if running.trained is None:
            self.say(describe_failure(running, self.unfinished), "error", details=running.details())
            return
        model, words = running.trained.model, describe_end(running, self.unfinished)
        shortfall = f"{say_shortfall(model)} {say_unscored(model)}".strip()
        is_sound = model.ended is not Ended.NOT_A_NUMBER and not shortfall and not running.has_unsaved
        is_sound = is_sound and not running.uncalibrated
        self.say(f"{words} {shortfall}".strip(), "done" if is_sound else "warning")
        there = {running.trained.path: "the model", card_path(running.trained.path): "what is known of it"}
        self.files.children = [file_row(path, meaning) for path, meaning in there.items() if path.is_file()]
        self.value = running.trained

    def describe_changes(self, running: RunningTraining, asked: Task) -> str:
        """Say what was chosen since has to do with the training that is shown."""
        return describe_changes(running, asked)

    def describe_ready(self) -> str:
        """Say whether a training can be started."""
        words = super().describe_ready()
        if self._found_errors and self.asked is not None:
            words += (
                f" The check of the data found {counted(self._found_errors, 'error')}: better mend them before."
            )
        return words

    def arrange(self) -> None:
        """Show the buttons that can be clicked now."""
        super().arrange()
        unfinished = self.unfinished
        self.start_button.description = GIVE_UP if self._is_asking else "Start"
        self.start_button.button_style = "warning" if self._is_asking else "primary"
        can_resume = not self.is_active and unfinished is not None and not unfinished.problem
        self.resume_button.layout.display = "" if can_resume else "none"
        to_measure = None if self.is_active or self.asked is None else self._to_measure()
        self.measure_button.layout.display = "" if to_measure is not None else "none"
        begun = self.uncalibrated
        is_begun = begun is not None and begun.path == to_measure
        done = f" ({begun.folds_done} of {begun.folds} twins are done)" if is_begun and begun is not None else ""
        self.measure_button.description = MEASURE + done
        if can_resume and unfinished is not None:
            self.resume_button.description = describe_resume(unfinished)
        for part in (self.keep_button, self.keep_folder):
            part.layout.display = "" if self._has_unsaved() else "none"
        if self.running is not None and not self._has_unsaved():
            self.keep_folder.value = str(self.running.task.folder)

    def _look_for_unfinished(self) -> None:
        task = self.asked
        found = find_unfinished(task.folder) if task is not None and task.folder.is_dir() else ()
        self.unfinished = next((one for one in found if task is not None and one.name == task.name), None)
        is_there = task is not None and task.folder.is_dir()
        self.uncalibrated = find_uncalibrated(task.folder, task.name) if task is not None and is_there else None
