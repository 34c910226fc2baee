"""The panel that compares: start, stop and go on; what learns now, its curves, and scores as they come in."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean

import ipywidgets as widgets
import pandas as pd

from autoseg.errors import AutosegError, DataError
from autoseg.evaluation.comparison import estimate_seconds, title_of
from autoseg.evaluation.comparison.derived import finders_in_fold
from autoseg.evaluation.crossvalidation import Scenario
from autoseg.model.settings.settings import Settings
from autoseg.panels.comparison.contest import RunningComparison, find_running, finished_trainings, start_comparison
from autoseg.panels.parts.background import Budget
from autoseg.panels.parts.follows_work import describe_time, lines_as_html
from autoseg.panels.parts.panel import Panel
from autoseg.panels.parts.style import heading, notice, text
from autoseg.panels.parts.values import Compared, Contest
from autoseg.panels.training.score import table_html
from autoseg.report.figures.live_curves import draw_curves, draw_ways
from autoseg.training.finder import finder_settings

# --- what the panel says while networks are compared: what learns now, how far it is, and the scores so far

# Beside learning, images are read and predictions scored.
AROUND = 1.1


def describe_folder(contest: Contest) -> str:
    """Say where a comparison is kept, and whether something lies there already."""
    place, done = contest.folder, finished_trainings(contest)
    if not place.exists():
        return f"Kept in {place}."
    parts = f"{done} finished {_part(contest)}{'s' * (done != 1)}"
    return (
        f"{place.name} is there already, with {parts} of these: it goes on where it was, if images, settings and "
        "folds are the same. Another name begins anew."
    )


def describe_length(
    entries: Mapping[str, Settings | Scenario], folds: int, *, what: str = "network", finder: Settings | None = None
) -> str:
    """Say how long it takes: "5 networks × 3 folds × 2 minutes: about 33 minutes."."""
    scenarios = [one if isinstance(one, Scenario) else Scenario(one) for one in entries.values()]
    learning = [one for one in scenarios if one.learns]
    if not learning:
        return "Nothing learns: this takes a few minutes at most."
    first = learning[0].settings
    count = f"{len(learning)} {what}{'s' * (len(learning) != 1)}"
    if len(learning) < len(scenarios):
        count += " that learns" if len(learning) == 1 else " that learn"
    words = f"{count} × {folds} folds × {_amount(first)}"
    if finders := finders_in_fold(entries):
        words += f", and {folds * finders} × {_amount(finder or finder_settings())} to find centrelines"
    seconds = estimate_seconds(entries, folds, finder)
    whole = (
        describe_time(AROUND * seconds)
        if seconds is not None
        else "how long that takes is seen as soon as it learns"
    )
    return f"{words}: {whole}."


def _amount(settings: Settings) -> str:
    unit, amount = ("minute", settings.minutes) if settings.minutes is not None else ("epoch", settings.epochs)
    return f"{amount:g} {unit}{'s' * (amount != 1)}"


def _part(contest: Contest) -> str:
    """Give what is done fold by fold: a training, or a model where one is only scored."""
    return "training" if len(contest.learning) == len(contest.entries) else "model"


def describe_comparing(running: RunningComparison) -> str:
    """Give the line that says what learns now and how far all of it is."""
    done, in_all = running.folds_done(), running.folds_in_all()
    parts = f"{_part(running.contest)}s"
    how_far = f"{done} of {in_all} {parts} are done"
    if running.state in ("waiting", "reading"):
        return f"Reading the images, and the {parts} that are done already …"
    if running.state == "stopping":
        return "Stopping; finished folds are kept …"
    if running.state == "finished":
        return f"Done: {done} of {in_all} {parts}."
    if running.state == "stopped":
        return f"Stopped: {how_far} and kept. Go on does the rest."
    if running.state == "failed":
        return f"Ended: {how_far}." if done else "Nothing was compared."
    left = running.seconds_left()
    if left is not None:
        how_far += f", {describe_time(AROUND * left)} left"
    if running.current is None or not running.epochs:
        if not running.part:
            return f"Learning: {how_far}."
        does = "learning to find them" if running.part.startswith("Centrelines") else "reading or segmenting"
        return f"{running.part}: {does} … {how_far[0].upper()}{how_far[1:]}."
    entry, fold = running.current
    last = running.epochs[-1]
    where = f"fold {fold} of {running.contest.folds}, {title_of(entry)}"
    # Learnt again without outliers, an entry has a longer name than it tells.
    where = f"f{running.part[1:]}" if running.part.lower().startswith(f"{where.lower()}, ") else where
    now = f"{where}, epoch {last.epoch}"
    scored = [row.validation_dice for row in running.epochs if row.validation_dice is not None]
    now += f", Dice {scored[-1]:.2f} on validation patients" if scored else ""
    return f"Learning: {now}. {how_far[0].upper()}{how_far[1:]}."


def describe_outcome(running: RunningComparison) -> str:
    """Say why there is no result, and what is left."""
    words = running.failure()
    if "another folder" in words:
        words += " Another name above gives another folder."
    done = running.folds_done()
    if done:
        of = f"{done} of {running.folds_in_all()} {_part(running.contest)}s"
        words += f" Nothing of what is finished is lost: {of} are kept."
    return words


def progress_table(running: RunningComparison) -> str:
    """Give the table that fills in while it runs, as HTML: a row an entry, a column a fold, then the mean."""
    contest = running.contest
    folds = range(1, contest.folds + 1)
    mean = "Mean so far" if running.is_active else "Mean"
    head = [contest.what.capitalize(), *(f"Fold {n}" for n in folds), mean]
    rows = []
    for entry in contest.entries:
        scores = {fold: dice for (name, fold), dice in running.scores.copy().items() if name == entry}
        cells = [_cell_of(running, entry, fold, scores) for fold in folds]
        rows.append([title_of(entry), *cells, _mean([value for dice in scores.values() for value in dice])])
    return table_html(pd.DataFrame(rows, columns=head), caption="Dice of patients never seen (1 is perfect)")


def _cell_of(running: RunningComparison, entry: str, fold: int, scores: Mapping[int, Sequence[float]]) -> str:
    if fold in scores:
        return _mean(scores[fold])
    if running.is_active and running.current == (entry, fold):
        return "learning …"
    if running.has_failed(entry):
        return "failed"
    return "waits" if running.is_active else "not done"


def _mean(dice: Sequence[float]) -> str:
    return f"{fmean(dice):.3f}" if dice else "–"


SHOW = "Show the result"
FIRST = "Choose above what is to be compared."
GLANCE_S, CURVES_EVERY_S, CURVES_SHARE = 0.5, 2.0, 0.03


class ComparingPanel(Panel):
    """Start, stop and go on with a comparison, and see it learn; `value` is a `Compared` afterwards.

    The comparison belongs to the kernel: a panel that is made anew shows the one of its folder, running or done.
    What is finished lies in the folder, so that Start goes on where an earlier one stopped, whatever ended it.

    Parameters
    ----------
    contestants : Panel
        Its value is a `panels.values.Contest`, or None.
    alone : bool
        Refuse to start while another training learns on this computer.
    """

    def __init__(self, contestants: Panel, *, alone: bool = True) -> None:
        super().__init__()
        self.alone = alone
        self.contest: Contest | None = None
        self.running: RunningComparison | None = None
        self._news = threading.Event()
        self._build()
        self.follow(contestants, self._take_contest)

    def _build(self) -> None:
        auto = {"width": "auto"}
        self.start_button = widgets.Button(
            description="Start", tooltip="Begin, or go on where it was", button_style="primary", layout=dict(auto)
        )
        self.stop_button = widgets.Button(
            description="Stop",
            tooltip="Finished folds are kept; the training that learns now is begun anew next time",
            layout=dict(auto),
        )
        self.start_button.on_click(lambda _: self.compare())
        self.stop_button.on_click(lambda _: self.stop())
        self.state_line, self.note, self.scores = widgets.HTML(), widgets.HTML(), widgets.HTML()
        self.share_bar = widgets.FloatProgress(
            min=0,
            max=1,
            tooltip="How much of the comparison is done",
            layout=widgets.Layout(width="100%", max_width="900px", display="none"),
        )
        self.ways, self.curves, self.lines = widgets.HTML(), widgets.HTML(), widgets.HTML()
        # Its lowest end is its beginning, so that it stays at the newest line unless somebody scrolls up.
        self.lines_box = widgets.Box(
            [self.lines],
            tabbable=True,
            layout=widgets.Layout(
                display="none", flex_flow="column-reverse", max_height="150px", overflow="auto", flex="0 0 auto"
            ),
        )
        buttons = widgets.HBox([self.start_button, self.stop_button], layout={"flex_flow": "row wrap"})
        self.body.children = (self.scores, self.ways, self.curves, self.lines_box)
        top = (widgets.HTML(heading("Comparison")), buttons, self.state_line, self.share_bar)
        self.stack(*top, self.bar, self.message, self.note, self.body)

    # --- what it follows

    def _take_contest(self, contest: Contest | None) -> None:
        self.contest = contest
        if contest is not None and (self.running is None or not self.running.is_active):
            found = find_running(contest.folder)
            if found is not None and not found.contest.is_like(contest):
                found = None  # of other images, networks or settings: an earlier try
            if found is not self.running:
                self._show(found)
        self._arrange()

    # --- what a click does

    def compare(self) -> None:
        """Begin, or go on where it was."""
        try:
            if self.contest is None:
                raise DataError(f"There is nothing to start yet. {FIRST}")
            self._show(start_comparison(self.contest, alone=self.alone))
        except AutosegError as error:  # it did not start; what is shown stays
            self._arrange()
            self.say(str(error), "error")

    def stop(self) -> None:
        """Stop; finished folds are kept."""
        if self.running is not None:
            self.running.stop()

    # --- what it shows

    def _show(self, running: RunningComparison | None) -> None:
        """Show a comparison, running or done, or none."""
        with self._lock:
            self.value, self.running = None, running
            self.say("")
            for part in (self.ways, self.curves, self.scores, self.lines, self.state_line):
                part.value = ""
            self._arrange()
        if running is None:
            return
        running.viewer = self  # the newest panel draws; older ones only wait for the end
        end = running.listen(self._news.set)
        self._work = threading.Thread(
            target=self._look_on, args=(running, end), daemon=True, name=f"panel of {running.name}"
        )
        self._work.start()

    def _look_on(self, running: RunningComparison, end: Callable[[], None]) -> None:
        """Draw what changes until it is done, then hand on what came out."""
        curves = Budget(CURVES_EVERY_S, CURVES_SHARE)
        while running.is_active and self.running is running:
            if running.viewer is self:
                try:
                    self._draw(running, curves)
                except Exception as error:  # looking on must not end
                    self.say(f"This cannot be drawn at the moment: {error} The comparison goes on.", "warning")
            else:
                self.say("This comparison is shown by the panel that was made last.")
            self._news.wait(1.0)
            self._news.clear()
            time.sleep(GLANCE_S)
        end()
        with self._lock:
            if self.running is running:
                with self.attempt():
                    self._conclude(running)

    def _draw(self, running: RunningComparison, curves: Budget | None = None) -> None:
        self._arrange()
        self.state_line.value = text(describe_comparing(running))
        self.share_bar.value = running.share()
        if curves is None or curves.is_due():
            (curves or Budget(0, 1)).do(lambda: self._draw_slowly(running))

    def _draw_slowly(self, running: RunningComparison) -> None:
        self.scores.value = progress_table(running) if running.scores or running.is_active else ""
        self.lines.value = lines_as_html(running.lines)
        current, epochs = running.current, running.epochs
        if current is None or not epochs:
            self.curves.value = self.ways.value = ""
            return
        settings = running.contest.scenarios[current[0]].settings
        title = heading(f"{title_of(current[0])}, fold {current[1]}")
        structures = running.contest.cases.structures
        self.curves.value = title + draw_curves(epochs, structures, planned=settings.epochs)
        self.ways.value = draw_ways(
            {title_of(entry): curve for entry, curve in running.curves_of(current[1]).items()}, fold=current[1]
        )

    def _conclude(self, running: RunningComparison) -> None:
        """Show the end of a comparison."""
        self._draw(running)
        if running.state == "failed":
            self.say(describe_outcome(running), "error", details=running.details())
        if running.comparison is None:
            return
        so_far = "" if running.comparison.is_finished else " so far"
        self.say(f"The result{so_far} stands below, and in {running.contest.folder}.", "done")
        self.value = Compared(running.contest, running.comparison)

    def _arrange(self) -> None:
        """Show the buttons that can be clicked now."""
        running, contest = self.running, self.contest
        is_active = running is not None and running.is_active
        word = self._say_start()
        is_shown = contest is not None and running is not None and running.contest.is_like(contest)
        is_shown = is_shown and running is not None and running.state == "finished" and word == SHOW
        self.start_button.disabled = is_active or contest is None or is_shown
        self.start_button.description = word
        self.stop_button.disabled = not is_active or (running is not None and running.state == "stopping")
        self.share_bar.layout.display = "" if is_active else "none"
        self.lines_box.layout.display = "flex" if running is not None and running.lines else "none"
        self.note.value = notice(changes, "warning") if (changes := self._describe_changes()) else ""
        if running is None:
            self.state_line.value = text("Ready to start." if contest is not None else FIRST)

    def _say_start(self) -> str:
        """Give the word on the Start button."""
        done = finished_trainings(self.contest) if self.contest is not None else 0
        if self.contest is None or not done:
            return "Start"
        return SHOW if done == self.contest.folds * len(self.contest.entries) else "Go on"

    def _describe_changes(self) -> str:
        """Say what was chosen since has to do with what is shown."""
        running, contest = self.running, self.contest
        if running is None or contest is None or running.contest.is_like(contest):
            return ""
        if running.is_active:
            return "The comparison goes on as it was started; what you changed counts from the next start."
        return "Something was changed after this comparison was started; it counts from the next start."
