"""How many more patients? One network learnt from few and from more, and what still more would do."""

from __future__ import annotations

from functools import partial
from statistics import fmean
from typing import Any, cast

import ipywidgets as widgets
import pandas as pd

from autoseg.data.split import k_folds, subjects_of
from autoseg.errors import DataError, ReadError
from autoseg.evaluation.comparison import MEAN, ComparisonRequest, EntryName, title_of
from autoseg.evaluation.comparison.forecast import MEASURES, Forecast, forecast_entries
from autoseg.evaluation.comparison.request import ENDING
from autoseg.evaluation.crossvalidation import Scenario
from autoseg.model.settings.text import parse_value, show_value
from autoseg.panels.comparison.best import time_of
from autoseg.panels.comparison.comparison import ComparisonPanel, amount_of, describe_folder
from autoseg.panels.comparison.entries import LABEL, MOST_FOLDS
from autoseg.panels.comparison.tables import best_entry
from autoseg.panels.parts.download import DownloadButton
from autoseg.panels.parts.fields import field
from autoseg.panels.parts.follows_work import describe_time
from autoseg.panels.parts.panel import Panel
from autoseg.panels.parts.style import Drawn, heading, notice, picture, text
from autoseg.panels.parts.table import html_table
from autoseg.panels.parts.values import Compared
from autoseg.report.figures import show_forecast
from autoseg.training.plan import change_settings
from autoseg.words import listed

FILES = ("forecast.csv", "forecast.png")
FIRST = "Compare first; then the best can be learnt from few patients and from more."
NOTHING = "Nothing learnt in this comparison, so there is nothing to learn from fewer patients."
WORDS = (
    "Dots: folds. Diamonds: the mean over patients, none of whom taught, with its 80 % interval. Line: the curve "
    "through them and its 80 % interval, dashed beyond what was learnt from. Area error: how far a patient's area "
    "over all slices is off, too large or too small."
)


class SizesPanel(Panel):
    """Choose which network is learnt from few patients and from more; `value` is a `ComparisonRequest`.

    Parameters
    ----------
    comparison : Panel
        Its value is a `panels.parts.values.Compared`.
    folds : int
        As many as there are patients where that is fewer.
    """

    def __init__(self, comparison: Panel, *, folds: int = 5) -> None:
        super().__init__()
        self._compared: Compared | None = None
        self._quiet = False
        self.entry = field(
            widgets.Dropdown, "Network", "The best by Dice is chosen first", width="360px", label=LABEL
        )
        self.amount = field(
            widgets.Text,
            "Learn for",
            "Each training, whether from few patients or from all, has this time",
            width="230px",
            label=LABEL,
        )
        self.unit = widgets.HTML()
        self.folds = field(
            widgets.BoundedIntText,
            "Folds",
            "Groups of patients, each scored by models that did not learn from it; five tell more than three",
            width="230px",
            label=LABEL,
            min=2,
            max=MOST_FOLDS,
            value=folds,
        )
        self.note = widgets.HTML()
        time = widgets.HBox([self.amount, self.unit], layout={"align_items": "center"})
        self._all = (self.entry, time, self.folds, self.note)
        for one in (self.entry, self.amount, self.folds):
            one.observe(self._changed, "value")
        self.follow(comparison, self._take)

    def _take(self, compared: Compared | None) -> None:
        self.body.children = ()
        self._compared = None
        self.hide_ids_of(compared.request.cases if compared is not None else ())
        if compared is None:
            self.give_up(FIRST)
            return
        request = compared.request
        entries = [one for one in request.learning if EntryName.read(one).subjects is None]
        if not entries:
            self.give_up(NOTHING)
            return
        self._quiet = True
        try:
            with self.entry.hold_sync():
                self.entry.options = [(title_of(one), one) for one in entries]
                self.entry.value = best_entry(compared.comparison, among=entries) or entries[0]
            self.entry.description = request.kind.capitalize()
            self.amount.value = show_value(time_of(request.entries[self.entry.value].settings)[1])
        finally:
            self._quiet = False
        self._compared = compared
        self.body.children = self._all
        self.say("")
        self._hand_on(compared)

    def _changed(self, _: Any) -> None:
        with self._lock:
            if not self._quiet and self._compared is not None:
                self._hand_on(self._compared)

    def _hand_on(self, compared: Compared) -> None:
        self.value, self.note.value = None, ""
        with self.attempt():
            asked, entry = compared.request, self.entry.value
            scenario = asked.entries[entry]
            unit, _ = time_of(scenario.settings)
            from_few = "" if unit == "minutes" else "; from fewer patients as many steps"
            self.unit.value = text(f"{unit}{from_few}")
            typed = parse_value(unit, self.amount.value, float if unit == "minutes" else int)
            settings = change_settings(scenario.settings, {unit: typed})
            groups = {"folds": self.folds.value, "test_subjects": asked.in_no_fold}
            start, stem = Scenario(settings, scenario.base), EntryName.read(entry).stem
            try:
                entries = forecast_entries(start, asked.cases, stem, **groups)
            except DataError as error:  # too few patients are no mistake of anybody's
                self.give_up(str(error))
                return
            request = ComparisonRequest(
                asked.cases,
                asked.structures,
                entries,
                asked.folder.parent / f"{asked.name}_forecast{ENDING}",
                folds=self.folds.value,
                test_subjects=asked.test_subjects,
                copies=asked.copies,
                finder=asked.finder,
                base=settings,
                few_by_fold=True,
                known=asked.known,
            )
            self.note.value = text(f"{describe_sizes(request)}\n{describe_folder(request)}")
            self.say("")
            self.value = request


def describe_sizes(request: ComparisonRequest) -> str:
    """Say from how many patients is learnt, and how long that takes."""
    splits = k_folds(request.cases, folds=request.folds, test_subjects=request.in_no_fold)
    most = round(fmean(len(subjects_of(split.training)) for split in splits))
    few = [str(one.subjects) for one in request.entries.values() if one.subjects is not None]
    amount = amount_of(request.entries[request.learning[-1]].settings)
    words = (
        f"Learnt from {listed([*few, f'all {most} patients of a fold'])}, in {len(splits)} folds, "
        f"{len(request.entries) * len(splits)} trainings of {amount}"
    )
    return f"{words}: {describe_time(request.seconds)}." if request.seconds is not None else f"{words}."


class ForecastPanel(Panel):
    """Learn one network from few patients and from more, and see what still more would do; `value` is a `Forecast`.

    `sizes` chooses, `comparing` learns (it can be stopped, and goes on where it was), and the answer stands below.

    Parameters
    ----------
    comparison : Panel
        Its value is a `panels.parts.values.Compared`: the best of it is taken, or another.
    folds : int
        As many as there are patients where that is fewer.
    alone : bool
        Refuse to start while another training learns on this computer.
    """

    def __init__(self, comparison: Panel, *, folds: int = 5, alone: bool = True) -> None:
        super().__init__()
        self.sizes = SizesPanel(comparison, folds=folds)
        self.comparing = ComparisonPanel(self.sizes, alone=alone)
        self.sentence, self.picture, self.table = widgets.HTML(), widgets.HTML(), widgets.HTML()
        self.structure = field(
            widgets.Dropdown, "Scores of", "All structures together, or one of them", width="360px", label="90px"
        )
        self.downloads = tuple(DownloadButton(name, partial(self._read_file, name)) for name in FILES)
        files = widgets.HBox(self.downloads, layout={"flex_flow": "row wrap"})
        self._answer = widgets.VBox([self.sentence, self.structure, self.picture, self.table, files])
        self._compared: Compared | None = None
        self._quiet = False
        self.structure.observe(lambda _: self._show_structure(), "value")
        self.body.children = (self.sizes,)
        for one in (self.sizes, self.comparing):
            self.follow(one, lambda _: self._update())

    def _update(self) -> None:
        """Show what learns where there is something to learn, and the answer of what was learnt."""
        is_shown = self.sizes.value is not None or self.comparing.is_active
        self.body.children = (self.sizes, *((self.comparing, self._answer) if is_shown else ()))
        self.value = None
        self._compared = self.comparing.value if is_shown else None
        forecast = self._compared.comparison.forecast if self._compared is not None else None
        self._answer.layout.display = "none" if forecast is None else ""
        if self._compared is None or forecast is None:
            return
        for name, file in zip(FILES, self.downloads, strict=True):
            file.name = f"{self._compared.comparison.folder.name}_{name}"
        names = list(forecast.structures)
        self._quiet = True
        try:
            with self.structure.hold_sync():
                self.structure.options = [("all structures (mean)" if one == MEAN else one, one) for one in names]
                self.structure.value = names[0] if names else None
        finally:
            self._quiet = False
        self.structure.layout.display = "" if len(names) > 1 else "none"
        is_told = any(curve.doubt is None for curve in forecast.curves.values())
        told = notice(forecast.sentence, "note" if is_told else "warning")
        self.sentence.value = heading("What more patients would do") + told
        self._show_structure()
        self.value = forecast

    def _show_structure(self) -> None:
        if self._quiet:
            return
        with self._lock, self.attempt():
            forecast = self._compared.comparison.forecast if self._compared is not None else None
            structure = self.structure.value
            if forecast is None or structure is None:
                self.picture.value = self.table.value = ""
                return
            drawn = show_forecast(forecast.shown(structure))
            alt = "Area error and Dice by patients to learn from; the table below says the same."
            self.picture.value = picture(cast(Drawn, drawn), alt) + text(WORDS)
            self.table.value = forecast_html(forecast, structure)

    def _read_file(self, name: str) -> bytes:
        if self._compared is None:
            raise ReadError("There is no forecast yet. Press Start above.")
        path = self._compared.comparison.folder / name
        try:
            return path.read_bytes()
        except OSError as error:
            raise ReadError(
                f"{path} cannot be read: {error.strerror}. Press Start above to make it anew."
            ) from error


def forecast_html(forecast: Forecast, structure: str) -> str:
    """Give the table of a structure as HTML: what was measured and what is expected, by number of patients."""
    table = forecast.table[forecast.table["structure"] == structure]
    rows = []
    for count, own in table.groupby("patients_to_learn_from"):
        by_measure = {row["measure"]: row for row in own.to_dict("records")}
        cells = [_cell(by_measure.get(one.column), 1 if one.unit else 3) for one in MEASURES]
        notes = dict.fromkeys(str(row["note"]) for row in by_measure.values() if row["note"])
        kind = " and ".join(dict.fromkeys(str(row["kind"]) for row in by_measure.values()))
        rows.append([f"{cast(float, count):.3g}", kind, *cells, "; ".join(notes)])
    head = ["Patients to learn from", "", *(one.axis for one in MEASURES), "Why not"]
    is_known = any(row[-1] for row in rows)
    caption = "In brackets: 80 % interval"
    if not is_known:
        head, rows = head[:-1], [row[:-1] for row in rows]
    return html_table(head, rows, caption=caption, align="rlll", wrap=True)


def _cell(row: dict[Any, Any] | None, decimals: int) -> str:
    if row is None or pd.isna(row["value"]):
        return "–"
    value, low, high = (f"{row[end]:.{decimals}f}" for end in ("value", "low", "high"))
    return value if pd.isna(row["low"]) else f"{value} [{low}, {high}]"
