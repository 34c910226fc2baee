"""How good a training is: a paragraph, a table, the curves and the worst slices."""

from __future__ import annotations

from typing import Any, cast

import ipywidgets as widgets
import pandas as pd

from autoseg.data.checks import Finding
from autoseg.evaluation.advice import Advice, advice_text, advise
from autoseg.evaluation.calibrate import is_calibrated
from autoseg.evaluation.validation_report import Appraisal, appraisal_table, appraise, errors_table
from autoseg.model.model import TrainedModel
from autoseg.panels.parts.fields import tick
from autoseg.panels.parts.panel import Panel
from autoseg.panels.parts.style import Drawn, Kind, heading, notice, picture, text
from autoseg.panels.parts.table import Cell, html_table
from autoseg.panels.parts.values import Data, Trained
from autoseg.prediction.intervals import about_intervals
from autoseg.report.figures import show_erosions, show_history, show_worst
from autoseg.report.kept_slices import slice_title
from autoseg.training.history import history_rows
from autoseg.words import counted, escaped

FIRST = "Train a model first: press Start above."
BETTER = (
    "To let all your patients count, press “Measure how far areas can be off” above, beside Start, or tick it in "
    "the settings before the next start."
)
KINDS: dict[str, Kind] = {"good": "done", "warning": "warning", "note": "note"}


class ScorePanel(Panel):
    """Appraises the training of another panel as soon as it is done, and says how good it is.

    `value` is the `Appraisal`. Names of cases and subjects, which may be patients' numbers, are shown where
    `show_ids` is ticked.

    Parameters
    ----------
    training : Panel
        Its value is a `panels.parts.values.Trained`.
    data : Panel, optional
        Its value is a `panels.parts.values.Data`, whose findings are taken into account.
    show_ids : bool
        Show names from the start.
    """

    def __init__(self, training: Panel, data: Panel | None = None, *, show_ids: bool = False) -> None:
        super().__init__()
        self._data = data
        self._trained: Trained | None = None
        self.advice: tuple[Advice, ...] = ()
        self.show_ids = tick("Show names of images and patient IDs", value=show_ids)
        self.paragraph, self.table, self.who = widgets.HTML(), widgets.HTML(), widgets.HTML()
        self.curves, self.worst, self.errors = widgets.HTML(), widgets.HTML(), widgets.HTML()
        self._all = (self.paragraph, self.table, self.who, self.errors, self.show_ids, self.worst, self.curves)
        self.show_ids.observe(self._name, "value")
        self.follow(training, self._follow)

    def _follow(self, trained: Trained | None) -> None:
        """Appraise a new training; without one, show none."""
        self.body.children = ()
        self._trained, self.advice = trained, ()
        self.hide_ids_of([case for side in trained.task.split.sides().values() for case in side] if trained else ())
        if trained is None:
            self.give_up(FIRST)
            return
        self.start(
            lambda: appraise(trained.model, trained.task.split, on_progress=self._tell_progress()),
            self._show,
            saying="Predicting the validation patients …",
        )

    def fail(self, error: BaseException) -> None:
        """Show why something failed, and nothing of an appraisal."""
        self.body.children = ()
        super().fail(error)

    def _tell_progress(self) -> Any:
        number = self._number

        def tell(share: float) -> None:
            if number == self._number:
                self.progress(share)

        return tell

    def _show(self, appraisal: Appraisal) -> None:
        trained = self._trained
        if trained is None:
            return
        model = trained.model
        self.advice = advise(model, appraisal, findings=self._findings(trained))
        words = "\n".join(advice_text([one]) for one in self.advice)
        self.paragraph.value = notice(self.hidden(words), KINDS[self.advice[0].severity])
        caption = f"{model.name}, epoch {model.best_epoch}: scores on validation slices"
        self.table.value = table_html(appraisal_table(appraisal), caption=caption)
        self.errors.value = errors_html(model, appraisal)
        rows = history_rows(model)
        curves = show_history(rows, structures=model.structures, best_by=model.settings.best_by)
        self.curves.value = heading("Learning curves") + picture(cast(Drawn, curves), _curves_in_words(model))
        if any(row.erosion_iou for row in model.history):
            self.curves.value += heading("What erosion would change") + picture(
                cast(Drawn, show_erosions(rows)), "IoU on validation patients after 0 to 3 erosions, epoch by epoch"
            )
        self._draw(appraisal)
        self.body.children = self._all
        self.value = appraisal

    def _findings(self, trained: Trained) -> tuple[Finding, ...]:
        """Give what the check found, if the data are still those of the training."""
        data = self._data.value if self._data is not None else None
        is_same = isinstance(data, Data) and set(trained.task.split.training) <= set(data.cases.cases)
        return data.findings if isinstance(data, Data) and is_same else ()

    def _draw(self, appraisal: Appraisal) -> None:
        """Show what holds names, or stands for them."""
        names = self.show_ids.value
        count = len(appraisal.subjects)
        who = f"{counted(count, 'validation patient')}, from whom it did not learn"
        who += f": {', '.join(appraisal.subjects)}" if names and count else ""
        notes = map(self.hidden, appraisal.notes)
        self.who.value = text("\n".join([f"Scored on {who}." if count else "", *notes]).strip())
        if appraisal.worst:
            alt = "; ".join(", ".join(slice_title(one, names)) for one in appraisal.worst)
            drawn = show_worst(appraisal, names=names)
            self.worst.value = heading("The worst slices, worst first") + picture(
                cast(Drawn, drawn), f"Worst slices: {alt}."
            )
        else:
            self.worst.value = ""

    def _name(self, change: Any) -> None:
        if self.value is not None:
            with self.attempt():
                self._draw(self.value)


def errors_html(model: TrainedModel, appraisal: Appraisal) -> str:
    """Say how far areas can be off, from whom that is known, and how it could be known better."""
    words, table = about_intervals([model], remedy=""), errors_table(model, appraisal)
    if not is_calibrated(model):
        words = f"{words} {BETTER}"
    level = model.trust.calibration.level if model.trust.calibration is not None else 0
    caption = f"How far a usual area can be off: in {100 * level:.0f} of 100 cases no further than this"
    shown = table_html(table, caption=caption) if len(table) else ""
    return heading("How far areas can be off") + text(words) + shown


def table_html(table: pd.DataFrame, *, caption: str) -> str:
    """Give a table of text as HTML, the first column naming its row."""
    rows = ([_whole(str(value)) for value in values] for values in table.itertuples(index=False))
    head = [_whole(str(name)) for name in table.columns]
    return html_table(head, rows, caption=caption, align="lr", wrap=True)


def _whole(words: str) -> Cell:
    """Let a cell break neither within its interval nor before its unit."""
    return Cell(escaped(words).replace(" to ", "&nbsp;to&nbsp;").replace(" %", "&nbsp;%"))


def _curves_in_words(model: Any) -> str:
    last = model.history[-1]
    words = [f"{counted(len(model.history), 'epoch')}, epoch {model.best_epoch} was kept"]
    for name, first, end in (
        ("training loss", model.history[0].training_loss, last.training_loss),
        ("validation loss", model.history[0].validation_loss, last.validation_loss),
        ("validation Dice", model.history[0].validation_dice, last.validation_dice),
        ("validation IoU", model.history[0].validation_iou, last.validation_iou),
    ):
        if first is not None and end is not None:
            words.append(f"{name} from {first:.2f} to {end:.2f}")
    return f"Loss and scores epoch by epoch: {', '.join(words)}."
