"""The series of a folder side by side, from which one is chosen."""

from __future__ import annotations

import textwrap
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from autoseg.data.cases import find_images, read_case_image
from autoseg.data.codes import coded_series, hide, is_without_ids
from autoseg.errors import DataError, ReadError
from autoseg.files.dicom.grouping import Series
from autoseg.files.dicom.series import DicomFolder, find_series
from autoseg.files.dicom.table import series_table, thumbnail
from autoseg.report.figures.layout import panels
from autoseg.report.figures.slices import show_cases
from autoseg.words import counted

CAPTION_LETTERS = 34
REFUSAL_LETTERS = 260
MOST_FILES = 24


def show_series(found: DicomFolder | Path | str, *, columns: int = 4) -> Figure:
    """Draw the middle slice of every series, with what it is below its name; a refused one shows why.

    Parameters
    ----------
    found : DicomFolder, or Path or str
        From `find_series`; or a folder. Where that holds no DICOM, its NIfTI files or pictures are drawn, at most
        24 of them.
    columns : int
        Series side by side.

    Raises
    ------
    DataError
        If the folder holds no image.
    """
    if not isinstance(found, DicomFolder):
        folder = Path(found)
        try:
            found = find_series(folder)
            found = coded_series(found) if is_without_ids(folder) else found
        except DataError:
            cases = find_images(folder) if folder.is_dir() else ()
            if not cases:
                raise
            return show_cases([(read_case_image(case), None) for case in cases[:MOST_FILES]], columns=columns)
    figure, axes = panels(len(found.series), columns, lines=4)
    for series, row, ax in zip(found.series, series_table(found).to_dict("records"), axes, strict=True):
        moments = f" × {row['time_points']} times" if row["time_points"] > 1 else ""
        lines = [
            series.case_id,
            series.description,
            f"{series.modality} {series.rows} × {series.columns}, {counted(row['slices'], 'slice')}{moments}",
            f"{row['orientation']} {series.date}",
        ]
        ax.set_title("\n".join(_short(line) for line in map(str.strip, lines) if line), fontsize=8)
        try:
            _draw(ax, series)
        except ReadError as error:
            text = textwrap.shorten(series.refusal or hide(str(error)), REFUSAL_LETTERS, placeholder=" …")
            ax.text(0.5, 0.5, textwrap.fill(text, CAPTION_LETTERS), fontsize=6, ha="center", va="center")
    return figure


def _draw(ax: Axes, series: Series) -> None:
    between_rows, between_columns = series.slices[0].spacing_mm or (1.0, 1.0)
    ax.imshow(thumbnail(series), cmap="gray", vmin=0, vmax=255, aspect=between_rows / between_columns)


def _short(line: str) -> str:
    return line if len(line) <= CAPTION_LETTERS else line[: CAPTION_LETTERS - 1] + "…"
