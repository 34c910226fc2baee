"""The panel that compares: start, stop and go on; what learns now, its curves, and scores as they come in."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

import ipywidgets as widgets

from autoseg.evaluation.comparison import ComparisonRequest, title_of
from autoseg.evaluation.crossvalidation import OtherFoldsError
from autoseg.model.settings.settings import Settings
from autoseg.panels.comparison.running import (
    RunningComparison,
    find_running,
    finished_trainings,
    is_alike,
    start_comparison,
)
from autoseg.panels.parts.background import State
from autoseg.panels.parts.follows_work import FollowsWork, describe_time
from autoseg.panels.parts.panel import Panel
from autoseg.panels.parts.style import heading
from autoseg.panels.parts.table import html_table
from autoseg.panels.parts.values import Compared
from autoseg.report.figures.live_curves import draw_curves, draw_entries
from autoseg.training.events import Finder
from autoseg.training.finder import finder_settings

# --- what the panel says while entries are compared: what learns now, how far it is, and the scores so far

# Beside learning, images are read and predictions scored.
AROUND = 1.1


def describe_folder(request: ComparisonRequest) -> str:
    """Say where a comparison is kept, and whether something lies there already."""
    place, done = request.folder, finished_trainings(request)
    if not place.exists():
        return f"It will be kept in {place}."
    return (
        f"{place.name} is there already, with {done} finished {_part(request)}{'s' * (done != 1)} of these: it "
        "goes on where it was, if images, settings and folds are the same. Another name begins anew."
    )


def describe_length(request: ComparisonRequest) -> str:
    """Say how long it takes: "5 networks × 3 folds × 2 minutes: about 33 minutes."."""
    learning, folds = request.learning, request.folds
    if not learning:
        return "Nothing learns: this takes a few minutes at most."
    count = f"{len(learning)} {request.kind}{'s' * (len(learning) != 1)}"
    if len(learning) < len(request.entries):
        count += " that learns" if len(learning) == 1 else " that learn"
    words = f"{count} × {folds} folds × {amount_of(request.entries[learning[0]].settings)}"
    if request.finders_in_fold:
        each = amount_of(request.finder or finder_settings())
        words += f", and {folds * request.finders_in_fold} × {each} to find centrelines"
    seconds = request.seconds
    whole = (
        "how long that takes is seen as soon as it learns" if seconds is None else describe_time(AROUND * seconds)
    )
    return f"{words}: {whole}."


def amount_of(settings: Settings) -> str:
    """Say how long a training learns: "2 minutes", or "1 epoch"."""
    unit, amount = ("minute", settings.minutes) if settings.minutes is not None else ("epoch", settings.epochs)
    return f"{amount:g} {unit}{'s' * (amount != 1)}"


def _part(request: ComparisonRequest) -> str:
    """Give what is done fold by fold: a training, or a model where one is only scored."""
    return "training" if len(request.learning) == len(request.entries) else "model"


def describe_running(running: RunningComparison) -> str:
    """Give the line that says what learns now and how far all of it is."""
    request, done, in_all = running.request, running.folds_done(), running.folds_in_all()
    parts = f"{_part(request)}s"
    how_far = f"{done} of {in_all} {parts} are done"
    ended = {
        State.WAITING: f"Reading the images, and the {parts} that are done already …",
        State.READING: f"Reading the images, and the {parts} that are done already …",
        State.STOPPING: "Stopping; finished folds are kept …",
        State.FINISHED: f"Done: {done} of {in_all} {parts}.",
        State.STOPPED: f"Stopped: {how_far} and kept. Go on does the rest.",
        State.FAILED: f"Ended: {how_far}." if done else "Nothing was compared.",
    }
    if running.state in ended:
        return ended[running.state]
    left, doing = running.seconds_left(), running.doing
    if left is not None:
        how_far += f", {describe_time(AROUND * left)} left"
    if isinstance(doing, Finder):
        return f"{doing.title}: learning to find them … {how_far[0].upper()}{how_far[1:]}."
    if doing is None:
        return f"Learning: {how_far}."
    where = f"fold {doing.fold} of {request.folds}, {title_of(doing.entry)}"
    if not running.epochs:
        return f"{where[0].upper()}{where[1:]}: reading or segmenting … {how_far[0].upper()}{how_far[1:]}."
    now = f"{where}, epoch {running.epochs[-1].epoch}"
    scored = [row.validation_dice for row in running.epochs if row.validation_dice is not None]
    now += f", Dice {scored[-1]:.2f} on validation patients" if scored else ""
    return f"Learning: {now}. {how_far[0].upper()}{how_far[1:]}."


def describe_outcome(running: RunningComparison) -> str:
    """Say why there is no result, and what is left."""
    words, done = running.failure(), running.folds_done()
    if isinstance(running.error, OtherFoldsError):
        words += " Another name above gives another folder."
    if done:
        of = f"{done} of {running.folds_in_all()} {_part(running.request)}s"
        words += f" Nothing of what is finished is lost: {of} are kept."
    return words


def progress_table(running: RunningComparison) -> str:
    """Give the table that fills in while it runs, as HTML: a row an entry, a column a fold, then the mean."""
    request, scores = running.request, running.scores.copy()
    folds = range(1, request.folds + 1)

    def cell(entry: str, fold: int) -> str:
        if (entry, fold) in scores:
            return _mean(scores[entry, fold])
        if running.is_active and running.current == (entry, fold):
            return "learning …"
        if entry in running.failed:
            return "failed"
        return "waits" if running.is_active else "not done"

    rows = []
    for entry in request.entries:
        known = [value for fold in folds for value in scores.get((entry, fold), ())]
        rows.append([title_of(entry), *(cell(entry, fold) for fold in folds), _mean(known)])
    head = [request.kind.capitalize(), *(f"Fold {n}" for n in folds)]
    head.append("Mean so far" if running.is_active else "Mean")
    return html_table(head, rows, caption="Dice of patients never seen (1 is perfect)")


def _mean(dice: Sequence[float]) -> str:
    return f"{fmean(dice):.3f}" if dice else "–"


SHOW = "Show the result"


class ComparisonPanel(FollowsWork[ComparisonRequest, RunningComparison]):
    """Start, stop and go on with a comparison, and see it learn; `value` is a `Compared` afterwards.

    The comparison belongs to the kernel: a panel that is made anew shows the one of its folder, running or done.
    What is finished lies in the folder, so that Start goes on where an earlier one stopped, whatever ended it.

    Parameters
    ----------
    entries : Panel
        Its value is a `ComparisonRequest`, or None.
    alone : bool
        Refuse to start while another training learns on this computer.
    """

    noun = "comparison"
    first = "Choose above what is to be compared."

    def __init__(self, entries: Panel, *, alone: bool = True) -> None:
        super().__init__()
        self.alone = alone
        self.scores, self.all_curves, self.curves = widgets.HTML(), widgets.HTML(), widgets.HTML()
        self.build(
            "Comparison",
            self.compare,
            (self.scores, self.all_curves, self.curves),
            start_tooltip="Begin, or go on where it was",
            stop_words="Stop",
            stop_tooltip="Finished folds are kept; the training that learns now is begun anew next time",
        )
        self.follow(entries, self.ask)

    def compare(self) -> None:
        """Begin, or go on where it was."""
        self.begin(lambda request: start_comparison(request, alone=self.alone))

    # --- what it shows

    def find(self, asked: ComparisonRequest) -> RunningComparison | None:
        """Give the comparison of this folder; of other images, networks or settings it is an earlier try."""
        found = find_running(asked.folder)
        return found if found is not None and is_alike(found.request, asked) else None

    def describe(self, running: RunningComparison) -> str:
        """Say what learns now and how far all of it is."""
        return describe_running(running)

    def draw_slowly(self, running: RunningComparison) -> None:
        """Draw the scores so far, and the curves of what learns now."""
        self.scores.value = progress_table(running) if running.scores or running.is_active else ""
        current, epochs = running.current, running.epochs
        if current is None or not epochs:
            self.curves.value = self.all_curves.value = ""
            return
        entry, fold = current
        title, planned = heading(f"{title_of(entry)}, fold {fold}"), running.request.entries[entry].settings.epochs
        self.curves.value = title + draw_curves(epochs, running.request.structures, planned=planned)
        curves = {title_of(one): curve for one, curve in running.curves_of(fold).items()}
        self.all_curves.value = draw_entries(curves, fold=fold)

    def conclude(self, running: RunningComparison) -> None:
        """Say where the result is, or why there is none."""
        if running.state is State.FAILED:
            self.say(describe_outcome(running), "error", details=running.details())
        if running.comparison is None:
            return
        so_far = "" if running.comparison.is_finished else " so far"
        self.say(f"The result{so_far} stands below, and in {running.request.folder}.", "done")
        self.value = Compared(running.request, running.comparison)

    def describe_changes(self, running: RunningComparison, asked: ComparisonRequest) -> str:
        """Say what was chosen since has to do with what is shown."""
        if is_alike(running.request, asked):
            return ""
        if running.is_active:
            return "The comparison goes on as it was started; what you changed counts from the next start."
        return "Something was changed after this comparison was started; it counts from the next start."

    def arrange(self) -> None:
        """Show the buttons that can be clicked now."""
        super().arrange()
        asked, running = self.asked, self.running
        done = finished_trainings(asked) if asked is not None else 0
        word = "Start" if asked is None or not done else "Go on"
        if asked is not None and done == asked.folds * len(asked.entries):
            word = SHOW
            is_shown = running is not None and running.state is State.FINISHED
            if is_shown and running is not None and is_alike(running.request, asked):
                self.start_button.disabled = True
        self.start_button.description = word
