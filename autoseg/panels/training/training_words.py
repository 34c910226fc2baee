"""What the training panel says: states, times, failures, and the slices with their captions."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from datetime import datetime, timedelta

from autoseg.image.overlay import hex_colour
from autoseg.panels.parts.style import text
from autoseg.panels.parts.values import Task
from autoseg.panels.training.running import RunningTraining
from autoseg.training.checkpoint import Unfinished

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
