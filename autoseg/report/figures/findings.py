"""Pictures of what `check_cases` found: a case as it is, and as the proposed repair would have it."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from autoseg.data.cases import Case, CaseFolder, read_case_image, read_case_labels
from autoseg.data.checks import Finding
from autoseg.data.repairs import apply_repairs
from autoseg.errors import AutosegError
from autoseg.image.image import Image
from autoseg.image.overlay import display_scale, overlay_rgb, pixel_aspect
from autoseg.image.structures import Structure
from autoseg.report.figures.layout import NotebookFigure, add_legend, panels

MOST_FINDINGS = 8
TITLE_LETTERS = 52
# Around the labels so much of their own length is shown as well, and at least so many pixels.
AROUND, AROUND_LEAST = 0.8, 30


@dataclass(frozen=True, eq=False)
class _Picture:
    """An image (None where the labels do not fit it) with labels, the slice to draw, and what stands above."""

    image: Image | None
    voxels: npt.NDArray[np.integer]
    index: int
    title: str


def show_findings(
    findings: Sequence[Finding],
    case_folder: CaseFolder,
    *,
    most: int = MOST_FINDINGS,
    names: Mapping[str, str] | None = None,
) -> NotebookFigure:
    """Draw the findings that a picture can show, one row each: as it is, and as the proposed repair would have it.

    Where two cases are alike, both are drawn. Findings that name no case, and files that cannot be read, have no
    picture. Labels of another shape than their image are drawn without it.

    Parameters
    ----------
    findings : sequence of Finding
        From `check_cases`.
    case_folder : CaseFolder
        From `find_cases`.
    most : int
        So many findings are drawn, the first ones.
    names : dict of str by str, optional
        What stands above a picture in place of the case_id.

    Returns
    -------
    NotebookFigure
        A line of text where none of the findings can be drawn.
    """
    cases = {case.case_id: case for case in case_folder.cases}
    rows: list[list[_Picture]] = []
    for finding in findings:
        if len(rows) < most and (pictures := _pictures(finding, cases, case_folder.structures, names or {})):
            rows.append(pictures)
    if not rows:
        sentence = NotebookFigure(figsize=(6, 0.6))
        sentence.text(0.02, 0.4, "No finding can be shown by a picture." if findings else "Nothing was found.")
        return sentence
    figure, axes = panels(2 * len(rows), 2, inches=3.6)
    for number, pictures in enumerate(rows):
        for place, picture in enumerate(pictures):
            _draw(axes[2 * number + place], picture, case_folder.structures)
            _look_closer(axes[2 * number + place], pictures)
    add_legend(figure, case_folder.structures)
    return figure


def _pictures(
    finding: Finding, cases: Mapping[str, Case], structures: Sequence[Structure], names: Mapping[str, str]
) -> list[_Picture]:
    """Give one or two pictures of a finding, none if there is nothing to draw."""
    shown = [cases[case_id] for case_id in finding.cases if case_id in cases]
    shown = shown[: 2 if finding.kind == "twins" else 1]
    read = [pair for case in shown if (pair := _read(case, structures)) is not None]
    if not read:
        return []
    called = [names.get(case.case_id, case.case_id) for case in shown]
    titles = [f"{finding.severity} ({finding.kind}): {called[0]}", *called[1:]]
    pictures = [
        _picture(image, voxels, finding.slice_index, title)
        for (image, voxels), title in zip(read, titles, strict=False)
    ]
    case_id, index = finding.beside or ("", 0)
    if case_id in cases and (pair := _read(cases[case_id], structures)) is not None:
        pictures.append(_picture(*pair, index, f"beside it: {names.get(case_id, case_id)}"))
    repairs = [repair for repair in finding.repairs if repair.case_id == shown[0].case_id and repair.mends]
    if repairs:
        image, voxels = read[0]
        mended = apply_repairs(voxels, repairs)
        words = ", then ".join(repair.words for repair in repairs)
        pictures.append(_picture(image, mended, finding.slice_index, f"if {words}"))
    return pictures


def _read(case: Case, structures: Sequence[Structure]) -> tuple[Image, npt.NDArray[np.integer]] | None:
    try:
        return read_case_image(case), read_case_labels(case, structures)
    except AutosegError:
        return None  # the finding itself says so


def _picture(image: Image, voxels: npt.NDArray[np.integer], index: int | None, title: str) -> _Picture:
    fits = voxels.shape == image.shape
    if index is None:
        index = int(np.count_nonzero(voxels, axis=(1, 2)).argmax())
    number = f", {image.say_slice(index)}" if len(voxels) > 1 else ""
    return _Picture(image if fits else None, voxels, min(index, len(voxels) - 1), title + number)


def _draw(ax: Axes, picture: _Picture, structures: Sequence[Structure]) -> None:
    labels = picture.voxels[picture.index]
    grey = np.zeros(labels.shape) if picture.image is None else picture.image.channel_voxels[0, picture.index]
    aspect = 1.0 if picture.image is None else pixel_aspect(picture.image)
    ax.imshow(
        overlay_rgb(grey, np.maximum(labels, 0), structures, scale=display_scale(labels.shape)),
        extent=(-0.5, labels.shape[1] - 0.5, labels.shape[0] - 0.5, -0.5),
        aspect=aspect,
    )
    title = picture.title if picture.image is not None else f"{picture.title} (the labels alone: another shape)"
    ax.set_title(textwrap.fill(title, TITLE_LETTERS), fontsize=8)


def _look_closer(ax: Axes, pictures: Sequence[_Picture]) -> None:
    """Show the labels of all pictures of one row and what lies around them, if these have one shape."""
    slices = [picture.voxels[picture.index] for picture in pictures]
    drawn = np.any([labels != 0 for labels in slices], axis=0) if len({s.shape for s in slices}) == 1 else None
    if drawn is None or not drawn.any():
        return
    for axis, limit in ((0, ax.set_xlim), (1, ax.set_ylim)):
        there = np.flatnonzero(drawn.any(axis=axis))
        around = max(AROUND * (there[-1] - there[0]), AROUND_LEAST)
        low, high = max(there[0] - around, -0.5), min(there[-1] + around, drawn.shape[1 - axis] - 0.5)
        limit(*((low, high) if axis == 0 else (high, low)))
