"""A model beside several readers, on the page: a sentence a structure, limits of agreement, tables to take away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import ipywidgets as widgets

from autoseg.errors import AutosegError
from autoseg.files.tables import csv_bytes
from autoseg.measurement.readers import (
    MODEL,
    Answer,
    Margin,
    Reading,
    Verdict,
    agree,
    agreement_table,
    judge_model,
    short_table,
    verdicts_table,
)
from autoseg.panels.parts.download import DownloadButton
from autoseg.panels.parts.fields import field, tick
from autoseg.panels.parts.style import Drawn, Kind, heading, notice, picture, text
from autoseg.panels.parts.table import html_table
from autoseg.report.figures import show_limits

WORDS = (
    "Differences are second − first, in the unit beside the bias. Bias and the limits of a patient's mean are of "
    "each patient's mean area, the other limits of the area on one slice: within them 95 % of differences are "
    "expected. Detectable change: two measurements of one patient that differ by more differ by more than "
    "chance. ICC(2,1): two-way random effects, absolute agreement, of patients' mean areas."
)

KINDS: dict[Answer, Kind] = {"as good": "done", "unknown": "note", "worse": "warning"}


class SecondReader(widgets.VBox):
    """Shows `readings`, whoever they are of; without any it is not seen.

    The margin within which a mean difference counts as equal, and whether one reader read twice, are typed here.
    """

    def __init__(self) -> None:
        super().__init__()
        self.readings: tuple[Reading, ...] = ()
        self.margin = field(
            widgets.Text,
            "Equal within",
            "How far the model may be off on average: 40 (mm²) or 5 %; empty: the readers' own limits of agreement",
            width="300px",
            label="110px",
            placeholder="the readers' own limits",
        )
        self.one_reader = tick("One reader read twice", "The labels are of one person, who drew them twice or more")
        self.words, self.table = widgets.HTML(), widgets.HTML()
        self.downloads = (
            DownloadButton("readers.csv", lambda: csv_bytes(agreement_table(agree(self.readings)))),
            DownloadButton("readers_verdicts.csv", lambda: csv_bytes(verdicts_table(self._judge()))),
        )
        self.margin.observe(lambda _: self._answer(), "value")
        self.one_reader.observe(lambda _: self._answer(), "value")

    def show(self, readings: Sequence[Reading]) -> None:
        """Show these readings in place of earlier ones."""
        self.readings = tuple(readings)
        if not self.readings:
            self.children, self.words.value, self.table.value = (), "", ""
            return
        pairs = agree(self.readings)
        table = short_table(pairs)
        alt = "Bias and limits of agreement of each pair; the table below says the same."
        drawn = picture(cast(Drawn, show_limits(pairs)), alt)
        rows = html_table(
            list(table.columns), table.to_numpy().tolist(), align="llr", label="Agreement of each pair"
        )
        self.table.value = drawn + text(WORDS) + rows
        self._answer()
        is_asked = any(MODEL in one.pixels for one in self.readings)
        above = [widgets.HBox([self.margin, self.one_reader], layout={"flex_flow": "row wrap"})] if is_asked else []
        files = widgets.HBox(self.downloads[: 1 + is_asked], layout={"flex_flow": "row wrap"})
        self.children = (self.words, *above, self.table, files)

    def _judge(self) -> list[Verdict]:
        return judge_model(self.readings, margin=Margin.read(self.margin.value), one_reader=self.one_reader.value)

    def _answer(self) -> None:
        try:
            told = [notice(one.sentence, KINDS[one.answer]) for one in self._judge()]
        except AutosegError as error:
            self.words.value = notice(str(error), "error")
            return
        self.words.value = heading("Beside a second reader") + "".join(told)
