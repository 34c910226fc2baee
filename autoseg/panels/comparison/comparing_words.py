"""What the panel says while networks are compared: what learns now, how far it is, and the scores so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

import pandas as pd

from autoseg.evaluation.comparison import estimate_seconds, title_of
from autoseg.evaluation.comparison.entries import finders_in_fold
from autoseg.evaluation.crossvalidation import Scenario
from autoseg.model.settings.settings import Settings
from autoseg.panels.comparison.contest import RunningComparison, finished_trainings
from autoseg.panels.parts.values import Contest
from autoseg.panels.training.score import table_html
from autoseg.panels.training.training_words import describe_time
from autoseg.training.finder import finder_settings

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
