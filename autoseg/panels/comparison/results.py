"""The result of a comparison: the sentence, the tables, the curves, and the same slices by every network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import cast

import ipywidgets as widgets

from autoseg.errors import DataError, ReadError
from autoseg.evaluation.comparison import MEAN, Comparison, title_of
from autoseg.evaluation.comparison.verdict import has_learnt, order_of
from autoseg.evaluation.second_reader import read_predictions
from autoseg.evaluation.study import report_study, study_of
from autoseg.measurement.readers import Reading
from autoseg.panels.comparison.tables import (
    centrelines_html,
    cost_table,
    differences_html,
    models_of,
    per_subject_html,
    quality_table,
    structures_of,
)
from autoseg.panels.parts.download import DownloadButton
from autoseg.panels.parts.fields import button, field, tick
from autoseg.panels.parts.panel import Panel
from autoseg.panels.parts.readers import SecondReader
from autoseg.panels.parts.style import Drawn, heading, notice, picture, text
from autoseg.panels.parts.values import Compared
from autoseg.report.figures import show_comparison, show_learning_curves, show_side_by_side
from autoseg.report.figures.pdf import to_pdf
from autoseg.report.pages.document import Document
from autoseg.report.pages.html import to_page
from autoseg.training.plan import number_subjects

FIRST = "Compare first: press Start above."
CENTRELINES = "centrelines.csv"
REPORT = "study_report"
ABOUT_REPORT = (
    "The report of one of them as a study: patients and exclusions, labels, split, settings and reasons, scores, "
    "agreement of areas, failures, and a paragraph on the methods. It names patients where names are shown above."
)
FILES = (
    *("results.csv", "per_subject.csv", CENTRELINES, "differences.csv"),
    *("comparison.png", "learning_curves.png"),
)


class ResultsPanel(Panel):
    """Shows a finished comparison; `value` is the `Comparison`.

    Where several readers drew the same images, the best entry stands beside each of them.
    Names of cases, which may be patients' numbers, are shown where `show_ids` is ticked.

    Parameters
    ----------
    comparison : Panel
        Its value is a `panels.parts.values.Compared`.
    show_ids : bool
        Show names from the start.
    """

    def __init__(self, comparison: Panel, *, show_ids: bool = False) -> None:
        super().__init__()
        self._compared: Compared | None = None
        self._quiet = False
        self._build(show_ids)
        self.follow(comparison, self._take)

    def _build(self, show_ids: bool) -> None:
        self.verdict, self.notes = widgets.HTML(), widgets.HTML()
        self.overview, self.curves = widgets.HTML(), widgets.HTML()
        self.quality, self.costs, self.differences = widgets.HTML(), widgets.HTML(), widgets.HTML()
        self.subjects, self.centrelines = widgets.HTML(), widgets.HTML()
        self.readers = SecondReader()
        self.structure = field(
            widgets.Dropdown, "Scores of", "All structures together, or one of them", width="360px", label="90px"
        )
        self.place = field(
            widgets.IntSlider,
            "Slice",
            "1 is the worst; arrow keys go on",
            width="360px",
            label="90px",
            min=1,
            max=1,
            continuous_update=False,
        )
        self.next = button("Next", self.go_on, "The next slice, less bad", panel=self)
        self.show_ids = tick("Show names of images (they may be patients' numbers)", value=show_ids)
        self.slice = widgets.HTML()
        self.structure.observe(lambda _: self._when_shown(self._show_tables), "value")
        self.place.observe(lambda _: self._when_shown(self._show_slice), "value")
        self.show_ids.observe(lambda _: self._when_shown(self._show_words), "value")
        self.downloads = tuple(DownloadButton(name, partial(self._read_file, name)) for name in FILES)
        self.reported = field(
            widgets.Dropdown, "Report of", "The best is chosen first", width="360px", label="90px"
        )
        self.page = DownloadButton(f"{REPORT}.html", self.make_page, description="Study's report (web page)")
        self.pdf = DownloadButton(f"{REPORT}.pdf", self.make_pdf, description="Study's report (PDF)")
        reports = widgets.HBox(
            [self.reported, self.page, self.pdf], layout={"align_items": "center", "flex_flow": "row wrap"}
        )
        steps = widgets.HBox([self.place, self.next, self.show_ids], layout={"flex_flow": "row wrap"})
        self.slices_head = widgets.HTML()
        self.slices = widgets.VBox([self.slices_head, steps, self.slice])
        files = widgets.HBox(self.downloads, layout={"flex_flow": "row wrap"})
        tables = (self.structure, self.quality, self.subjects, self.centrelines, self.differences, self.costs)
        self._all = (
            self.verdict,
            self.notes,
            self.overview,
            *tables,
            self.readers,
            self.slices,
            self.curves,
            widgets.HTML(heading("To keep and to publish") + text(ABOUT_REPORT)),
            reports,
            files,
        )

    # --- what a click does

    def go_on(self) -> None:
        """Show the next slice; after the last comes the worst again."""
        self.place.value = self.place.value % self.place.max + 1

    def make_page(self) -> bytes:
        """Give the study's report of the chosen entry as a web page, as the download does."""
        return to_page(self._document()).encode()

    def make_pdf(self) -> bytes:
        """Give the study's report of the chosen entry as a PDF with A4 pages, as the download does."""
        return to_pdf(self._document())

    def _document(self) -> Document:
        compared, entry = self._compared, self.reported.value
        if compared is None or entry is None:
            raise DataError(FIRST)
        return report_study(study_of(compared.comparison.runs[entry]), show_ids=self.show_ids.value)

    # --- what it follows

    def _take(self, compared: Compared | None) -> None:
        self.body.children = ()
        self._compared = None
        self.hide_ids_of(compared.request.cases if compared is not None else ())
        if compared is None:
            self.give_up(FIRST)
            return
        self.start(
            lambda: (
                _draw_overview(compared.comparison),
                _draw_curves(compared.comparison),
                read_beside_best(compared),
            ),
            lambda drawn: self._show(compared, *drawn),
            saying="Drawing …",
        )

    def fail(self, error: BaseException) -> None:
        """Show why something failed, and nothing of a comparison."""
        self.body.children = ()
        super().fail(error)

    def _show(self, compared: Compared, overview: str, curves: str, readings: tuple[Reading, ...]) -> None:
        comparison = compared.comparison
        self._compared = compared
        self._quiet = True
        try:
            with self.structure.hold_sync():
                self.structure.options = [
                    ("all structures (mean)" if name == MEAN else name, name) for name in structures_of(comparison)
                ]
                self.structure.value = MEAN if len(comparison.table) else None
            with self.reported.hold_sync():
                entries = [one for one in _ranked(compared) if one in comparison.runs]
                self.reported.options = [(title_of(one), one) for one in entries]
                self.reported.value = entries[0] if entries else None
            self.page.disabled = self.pdf.disabled = not entries
            self.place.max = max(1, len(comparison.worst))
            self.place.value = 1
        finally:
            self._quiet = False
        of = comparison.folder.name
        self.page.name, self.pdf.name = (f"{of}_{REPORT}.{ending}" for ending in ("html", "pdf"))
        for name, file in zip(FILES, self.downloads, strict=True):
            file.name = f"{of}_{name}"
            file.disabled = not (comparison.folder / name).is_file()
            file.layout.display = "none" if file.disabled and name == CENTRELINES else ""
        self.slices.layout.display = "" if comparison.worst else "none"
        self.overview.value, self.curves.value = overview, curves
        self.readers.show(readings)
        self.slices_head.value = heading(f"The same slices by every {compared.request.kind}, worst first")
        self._show_words(compared)
        self.body.children = self._all
        self.value = comparison

    # --- what it shows

    def _when_shown(self, show: Callable[[Compared], None]) -> None:
        with self._lock:
            if self._compared is not None and not self._quiet:
                with self.attempt():
                    show(self._compared)

    def _show_words(self, compared: Compared) -> None:
        """Show all that may hold a patient's number."""
        is_good = has_learnt(compared.comparison.table, list(compared.request.entries))
        self.verdict.value = notice(self.hidden(compared.comparison.verdict), "done" if is_good else "warning")
        self.notes.value = text(self.hidden("\n".join(compared.comparison.notes)))
        self._show_tables(compared)
        self._show_slice(compared)

    def _show_tables(self, compared: Compared) -> None:
        comparison, kind, structure = compared.comparison, compared.request.kind, self.structure.value
        tables = (self.quality, self.subjects, self.differences, self.costs, self.centrelines)
        if structure is None:
            for table in tables:
                table.value = ""
            return
        names = None if self.show_ids.value else number_subjects(compared.request.cases)
        self.quality.value = quality_table(comparison, structure, kind=kind)
        self.subjects.value = per_subject_html(comparison, structure, names, kind=kind)
        self.differences.value = differences_html(comparison, structure)
        self.costs.value = cost_table(comparison, kind=kind)
        self.centrelines.value = centrelines_html(comparison, kind=kind)

    def _show_slice(self, compared: Compared) -> None:
        comparison = compared.comparison
        if not comparison.worst:
            self.slice.value = ""
            return
        one = comparison.worst[self.place.value - 1]
        drawn = show_side_by_side(replace(comparison, worst=(one,)), names=self.show_ids.value)
        where = one.case_id if self.show_ids.value else f"image {one.number}"
        scores = ", ".join(f"{title_of(entry)} {value:.2f}" for entry, value in one.dice.items())
        which = models_of(compared.request.kind)
        alt = f"{where}, slice {one.slice}, reference and {which}; Dice: {scores}."
        self.slice.value = picture(cast(Drawn, drawn), alt)

    def _read_file(self, name: str) -> bytes:
        path = self.value.folder / name
        try:
            return cast(bytes, path.read_bytes())
        except OSError as error:
            raise ReadError(
                f"{path} cannot be read: {error.strerror}. Press Start above to make it anew."
            ) from error


def read_beside_best(compared: Compared) -> tuple[Reading, ...]:
    """Give what the best entry found beside what several readers drew; empty where only one drew."""
    comparison, request, order = compared.comparison, compared.request, _ranked(compared)
    best = comparison.runs.get(order[0]) if order else None
    return read_predictions(request.cases, request.structures, best.folds if best is not None else ())


def _ranked(compared: Compared) -> list[str]:
    """Give the entries that were scored, the best first."""
    comparison = compared.comparison
    if not len(comparison.table):
        return []
    return order_of(comparison.table, comparison.differences, list(compared.request.entries))


def _draw_overview(comparison: Comparison) -> str:
    drawn = show_comparison(comparison)
    return picture(
        cast(Drawn, drawn), "Dice, area error, time and size of every network; the tables below say the same."
    )


def _draw_curves(comparison: Comparison) -> str:
    title = heading("How they learnt")
    try:
        drawn = show_learning_curves(comparison)
    except DataError as error:  # with two patients nobody validates
        return title + text(str(error))
    alt = "Dice on validation patients over the time of learning, a line a network."
    return title + picture(cast(Drawn, drawn), alt)
