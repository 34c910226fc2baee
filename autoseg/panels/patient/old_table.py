"""The panel that puts a table of the published workbench right."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, cast

import ipywidgets as widgets

from autoseg.errors import DataError
from autoseg.files.old_table import Decimal, read_old_table
from autoseg.files.tables import csv_bytes
from autoseg.image.calibration import positive_pair
from autoseg.measurement.old_table import NativePixels, OldPixel, PutRight, put_right, read_native_pixels
from autoseg.panels.parts.chooser import FolderChooser
from autoseg.panels.parts.download import DownloadButton
from autoseg.panels.parts.fields import button, field
from autoseg.panels.parts.panel import Panel
from autoseg.panels.parts.style import heading, notice, text
from autoseg.panels.parts.table import html_table
from autoseg.words import read_numbers

TITLE = "Areas from the older, published workbench (optional)"
WORDS = (
    "That workbench counted pixels on a picture resized to 256 × 256 and multiplied by (field of view ÷ matrix "
    "size)², as they were typed: often areas were a third too large. Choose its table, type what was typed there, "
    "and choose the folder with the DICOM files of the same images."
)
IMAGES = "The DICOM files of the same images"
DECIMALS: tuple[tuple[str, Decimal | Literal[""]], ...] = (
    ("as the table tells", ""),
    ("1.5: a point", "point"),
    ("1,5: a comma", "comma"),
)


class OldTablePanel(Panel):
    """Puts right the areas of an uploaded table, folded until somebody wants it; `value` is a `PutRight`.

    Nothing is written: the new table is downloaded, the old one stays as it is.
    """

    def __init__(self) -> None:
        super().__init__()
        self._name, self._data = "", b""
        self.upload = widgets.FileUpload(
            accept=".csv,.txt,.tsv",
            multiple=False,
            description="Choose the old table (CSV)",
            layout={"width": "auto"},
        )
        self.table_line = widgets.HTML()
        self.field_of_view = _number("Field of view (mm)", "What was typed there; one number or two", "240")
        self.matrix_size = _number("Matrix size", "What was typed there; one number or two", "224")
        self.chooser = FolderChooser(title=IMAGES, remembers="old images")
        self.size = _number("Or: rows x columns", "Of the images as they came from the scanner", "512 x 512")
        self.spacing = _number("and pixel size (mm)", "Between rows, and between columns", "0.47 x 0.47")
        self.decimal = field(
            widgets.Dropdown, "Decimal sign", "Where numbers such as 1,239 leave it open", options=DECIMALS
        )
        self.areas = field(
            widgets.Text,
            "Columns of areas",
            "Their names with a semicolon between; empty: all columns of numbers that may be areas",
            placeholder="all that may be areas",
        )
        self.make_button = button(
            "Put right", self.make, "Multiply each area by what is true of its image", style="primary"
        )
        self.shown, self.download = widgets.HTML(), widgets.VBox()
        inside = [
            widgets.HTML(text(WORDS)),
            _row(self.upload, self.table_line),
            _row(self.field_of_view, self.matrix_size),
            self.chooser,
            _row(self.size, self.spacing),
            _row(self.decimal, self.areas),
            _row(self.make_button),
        ]
        self.fold = widgets.Accordion([widgets.VBox(inside)], titles=(TITLE,), selected_index=None)
        self.body.children = [self.fold]
        self.stack(self.body, self.bar, self.message, self.shown, self.download)
        self.upload.observe(self._uploaded, "value")
        for one in (self.field_of_view, self.matrix_size, self.size, self.spacing, self.decimal, self.areas):
            one.observe(lambda _: self._forget(), "value")
        self.chooser.observe(lambda _: self._forget(), "value")

    def use(self, name: str, data: bytes) -> None:
        """Take a table: what its file is called, and what is in it."""
        self._forget()
        self._name, self._data = name, data
        self.table_line.value = text(name)

    def make(self) -> None:
        """Put the table right, in the background."""
        self._forget()
        with self.attempt():
            work = self._work_to_do()
            self.start(work, self._show, saying="Reading the images …")

    def wait(self, timeout_s: float | None = None) -> None:
        """Wait until the folder is chosen and the table is put right."""
        self.chooser.wait(timeout_s)
        super().wait(timeout_s)

    def _work_to_do(self) -> Callable[[], PutRight]:
        view = read_numbers(self.field_of_view.value, "field of view")
        matrix = read_numbers(self.matrix_size.value, "matrix size")
        size = read_numbers(self.size.value, "rows and columns")
        spacing = read_numbers(self.spacing.value, "pixel size")
        if not self._name:
            raise DataError("No table is chosen yet. Choose the old table first.")
        if view is None or matrix is None:
            raise DataError("Type the field of view and the matrix size that were typed in the older workbench.")
        if (size is None) != (spacing is None):
            raise DataError("Of the images type both, rows and columns and the pixel size; or choose their folder.")
        typed = None
        if size is not None and spacing is not None:
            rows, columns = positive_pair(size, "size of the image (rows, columns)")
            if rows % 1 or columns % 1:
                raise DataError(f"An image has whole rows and columns, not {self.size.value.strip()}.")
            typed = NativePixels(int(rows), int(columns), positive_pair(spacing, "pixel size (mm)"))
        areas = [name.strip() for name in self.areas.value.split(";") if name.strip()]
        name, data, decimal, folder = self._name, self._data, self.decimal.value or None, self.chooser.value

        def work() -> PutRight:
            old = read_old_table(Path(name), data=data, areas=areas, decimal=decimal)
            native = None if folder is None else read_native_pixels(folder)
            return put_right(old, OldPixel(view, matrix), native=native, typed=typed)

        return work

    def _uploaded(self, change: dict[str, Any]) -> None:
        for file in change["new"]:
            self.use(file["name"], bytes(file["content"]))

    def _forget(self) -> None:
        """Take back what was made of other numbers."""
        self.give_up()
        self.shown.value, self.download.children = "", ()

    def _show(self, made: PutRight) -> None:
        table = made.shown
        name = f"{Path(self._name).stem}_put_right.csv"
        self.shown.value = "".join(
            [
                heading("Areas put right"),
                *(notice(line) for line in made.why),
                *(notice(note, announced=False) for note in made.notes),
                html_table([*map(str, table)], table.astype(str).to_numpy().tolist(), align="lr", label=name),
            ]
        )
        self.download.children = [DownloadButton(name, lambda: csv_bytes(made.table, marked=True))]
        self.say("")
        self.value = made


def _number(words: str, tooltip: str, example: str) -> widgets.Text:
    return cast(widgets.Text, field(widgets.Text, words, tooltip, width="300px", placeholder=f"such as {example}"))


def _row(*parts: widgets.Widget) -> widgets.HBox:
    return widgets.HBox(parts, layout=widgets.Layout(flex_flow="row wrap", align_items="center"))
