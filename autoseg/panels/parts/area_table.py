"""The table of areas on the page: one row a slice, one column a structure; sort, copy, download, choose a cell."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from autoseg.errors import AutosegError, DataError
from autoseg.image.structures import Structure, default_colour
from autoseg.measurement.areas import PIXELS, Measurement, worst_light
from autoseg.model.trust import Light
from autoseg.panels.parts.light import light_values
from autoseg.panels.parts.viewer import SliceViewer, dice_text
from autoseg.report.area_tables import (
    AreaBlock,
    area_blocks,
    area_columns,
    explain_area,
    explain_flags,
    level_text,
    patient_names,
)
from autoseg.report.lights import light_word

Content = bytes | Callable[[], bytes]
HERE = Path(__file__).parent


class AreaTable(anywidget.AnyWidget):
    """Areas of every slice and structure, with mean, SD and n below each image as `areas_table` gives them.

    A click (or Enter) on a cell chooses it: `selected` holds its case_id, slice_index (from 0) and label (0 for a
    cell that is no structure's), and a line below the table says how the area came about. Slices count from 1 on
    the page. Where it is known the interval stands below each area, and a light that is not green above the slices
    of its image. What is downloaded are exactly the bytes of `files`.

    Parameters
    ----------
    measurements : sequence of Measurement
    structures : sequence of Structure, optional
        For the colours, and for what lies inside what.
    files : mapping of str to bytes or callable, optional
        What can be downloaded, by file name ("areas.csv"); a callable is asked at the click.
    show_ids : bool
        Name patients in the headings of series of single slices. Off, they are numbered.

    Raises
    ------
    DataError
        If two measurements are of the same case, slice and structure.
    """

    _esm = HERE / "area_table.js"
    _css = HERE / "area_table.css"
    selected = traitlets.Dict(default_value=None, allow_none=True).tag(sync=True)
    _content = traitlets.Dict().tag(sync=True)
    _line = traitlets.Dict().tag(sync=True)

    def __init__(
        self,
        measurements: Sequence[Measurement],
        structures: Sequence[Structure] = (),
        *,
        files: Mapping[str, Content] | None = None,
        show_ids: bool = False,
    ) -> None:
        self.measurements = tuple(measurements)
        self.structures = tuple(structures)
        self.files = dict(files or {})
        self._show_ids = show_ids
        super().__init__(_content=self._fill())
        self.on_msg(self._answer)

    def renew(self, measurements: Sequence[Measurement]) -> None:
        """Show other areas of the same slices; what is chosen and sorted stays so. The files are not of these."""
        self.measurements, self.files = tuple(measurements), {}
        self._content = self._fill()
        self._explain({"new": self.selected})

    def _fill(self) -> dict[str, Any]:
        self._rows = {(row.case_id, row.slice_index, row.label): row for row in self.measurements}
        self._slices = {(case_id, slice_index) for case_id, slice_index, _ in self._rows}
        content = table_content(self.measurements, self.structures, show_ids=self._show_ids)
        return content | {"files": list(self.files)}

    def select(self, case_id: str, slice_index: int, label: int = 0) -> None:
        """Choose a cell, as a click does; label 0 chooses the slice alone."""
        self.selected = {"case_id": case_id, "slice_index": slice_index, "label": label}

    def lead(self, viewer: SliceViewer) -> None:
        """Let the viewer show the slice and the structure of every cell that is chosen from now on."""

        def follow(change: Any) -> None:
            if change["new"]:
                viewer.show(**change["new"])

        self.observe(follow, "selected")

    @property
    def explanation(self) -> str:
        """The line below the table: how the chosen area came about; "" without one."""
        return str(self._line.get("text", ""))

    @traitlets.validate("selected")
    def _check_selected(self, proposal: Any) -> dict[str, Any] | None:
        chosen = proposal["value"]
        if not chosen:
            return None
        case_id, slice_index, label = chosen["case_id"], int(chosen["slice_index"]), int(chosen.get("label", 0))
        if (case_id, slice_index) not in self._slices or (
            label and (case_id, slice_index, label) not in self._rows
        ):
            raise DataError(
                f"The table has no area of label {label} on slice {slice_index} of {case_id!r}. "
                "Choose a case_id, slice_index and label of its measurements."
            )
        return {"case_id": case_id, "slice_index": slice_index, "label": label}

    @traitlets.observe("selected")
    def _explain(self, change: Any) -> None:
        chosen = change["new"]
        row = self._rows.get((chosen["case_id"], chosen["slice_index"], chosen["label"])) if chosen else None
        self._line = {"selected": chosen, "text": self._sentence(row) if row else ""}

    def _sentence(self, row: Measurement) -> str:
        several = len({case_id for case_id, _ in self._slices}) > 1
        place = f"{row.case_id}, slice {row.slice}" if several else f"Slice {row.slice}"
        flags = f". ⚠ The structure {explain_flags(row.flags)}." if row.flags else ""
        dice = f"; {dice_text(row)}" if row.expected_dice is not None else ""
        light = f" {light_word(Light(row.suitability))}." if row.suitability not in ("", Light.GREEN) else ""
        end = "." if light and not flags else ""
        return f"{place}, {row.name}: {explain_area(row, self.structures)}{dice}{flags}{end}{light}"

    def _answer(self, _: Any, message: Any, buffers: Any) -> None:
        """Send a file's bytes to the page, or say why there are none."""
        name = message.get("file", "") if isinstance(message, dict) else ""
        if name not in self.files:
            return
        content = self.files[name]
        try:
            data = content() if callable(content) else content
        except Exception as error:  # whatever the file's function meets, the click needs an answer
            words = str(error) if isinstance(error, AutosegError) else f"{name} could not be made: {error}"
            self.send({"file": name, "failed": words})
            return
        self.send({"file": name}, buffers=[data])


def table_content(
    measurements: Sequence[Measurement], structures: Sequence[Structure] = (), *, show_ids: bool = False
) -> dict[str, Any]:
    """Give what the page shows, as plain values: columns, and blocks with rows, cells and statistics.

    A cell is a number in its column's unit, None where the structure was not drawn on that slice, and "" where its
    area stands in the column of the other unit. The cells in "cut" are of structures that are cut off there.
    """
    blocks = area_blocks(measurements)
    first: dict[str, Measurement] = {}
    for row in sorted(measurements, key=lambda row: row.label):
        first.setdefault(row.column, row)
    names = area_columns(measurements)
    colours = {structure.label: structure.rgb for structure in structures}
    columns = [
        {
            "label": first[column].label,
            "name": first[column].name,
            "unit": first[column].unit,
            "colour": list(colours.get(first[column].label, default_colour(first[column].label))),
            "decimals": 0
            if first[column].unit == PIXELS
            else _decimals([row.area for row in measurements if row.column == column]),
        }
        for column in names
    ]
    titles = _titles(blocks, show_ids)
    several = len(blocks) > 1
    return {
        "columns": columns,
        "interval": next((level_text(row) for row in measurements if row.interval is not None), ""),
        "lights": any(row.suitability for row in measurements),
        "levels": any(row.level for row in measurements),
        "blocks": [
            {
                "title": title if several or block.is_single_slices else "",
                "single": block.is_single_slices,
                "light": _light(block),
                "rows": [_row(rows, names, first, show_ids) for rows in block.rows],
                "statistics": [
                    [word, [_plain(values.get(column, math.nan)) for column in names]]
                    for word, values in block.statistics.items()
                ],
            }
            for block, title in zip(blocks, titles, strict=True)
        ],
    }


def _row(
    rows: Sequence[Measurement], names: Sequence[str], first: Mapping[str, Measurement], show_ids: bool
) -> dict[str, Any]:
    place, of, drawn = rows[0], {row.column: row for row in rows}, {row.name for row in rows}
    return {
        "case": place.case_id,
        "slice": place.slice_index,
        "number": place.slice,
        "file": place.file if show_ids else "",  # a file's name may tell who it is
        "position": place.slice_position_mm,
        "level": place.level,
        "cells": [of[n].area if n in of else "" if first[n].name in drawn else None for n in names],
        "cut": [i for i, n in enumerate(names) if n in of and of[n].is_cut_off],
        # Only where another image gave the structure another label than the column's.
        "labels": {str(i): of[n].label for i, n in enumerate(names) if n in of and of[n].label != first[n].label},
        "flags": {str(i): explain_flags(of[n].flags) for i, n in enumerate(names) if n in of and of[n].flags},
        "intervals": {
            str(i): list(of[n].interval or ()) for i, n in enumerate(names) if n in of and of[n].interval
        },
        "dice": {str(i): dice_text(of[n]) for i, n in enumerate(names) if n in of and dice_text(of[n])},
        "light": place.suitability,
    }


def _light(block: AreaBlock) -> dict[str, str] | None:
    """Give the worst light of a block's slices; None where nobody compared them."""
    found = worst_light(row.suitability for rows in block.rows for row in rows)
    return light_values(Light(found)) if found else None


def _titles(blocks: Sequence[AreaBlock], show_ids: bool) -> list[str]:
    """Name each block; where there are several patients, beginning with whose it is."""
    singles = [block for block in blocks if block.is_single_slices]
    names = patient_names([row for block in blocks for rows in block.rows for row in rows])
    titles = []
    for block in blocks:
        number = f" {singles.index(block) + 1}" if block.is_single_slices and len(singles) > 1 else ""
        subject = block.rows[0][0].subject_id
        whose = f"{subject if show_ids else names[subject]}: " if len(names) > 1 else ""
        title = block.case_id if show_ids or not block.is_single_slices else f"series of slices{number}"
        titles.append(title if show_ids and block.is_single_slices else whose + title)
    return titles


def _decimals(areas: Sequence[float]) -> int:
    """Give the decimals of a column: its largest area has four digits that count."""
    most = max(areas, default=0.0)
    return min(6, max(0, 3 - math.floor(math.log10(most)))) if most > 0 else 0


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None
