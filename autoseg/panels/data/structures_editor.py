"""The table of structures: what each value in the label files is, typed once and kept beside the data."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import ipywidgets as widgets

from autoseg.data.cases import (
    CaseFolder,
    Naming,
    Pseudonyms,
    build_table,
    list_namings,
    name_structures,
    new_naming,
)
from autoseg.data.cases.naming import LEFT_OUT, UNNAMED
from autoseg.data.checks import StructureCount
from autoseg.errors import LabelError, OutdatedError
from autoseg.image.overlay import hex_colour
from autoseg.image.structures import default_colour
from autoseg.panels.parts.fields import button
from autoseg.panels.parts.panel import Panel
from autoseg.panels.parts.style import Kind, text

# Of each column, and the least that it is made narrower to beside an open side bar: the same in header and rows.
WIDTHS = ((58, 42), (158, 84), (52, 40), (72, 62), (68, 56), (138, 84), (84, 64), (108, 64))
HEADER = ("Value", "Name", "Colour", "Side", "Includes", "Counts as", "Pixels", "Images")
WORDS = (
    "What each value in your label files is. Give every structure a name; values that mean the same can be made "
    "part of one structure, others left out. Press Keep: the names stay beside your data (structures.csv)."
)

HINT = "Press Keep to use what you typed."


class StructuresPanel(Panel):
    """Shows the structures of a folder and lets them be named; `value` is what is kept, a tuple of Structure.

    Parameters
    ----------
    kept : callable, optional
        Is called after the table was written, so that the folder is read again.
    """

    def __init__(self, kept: Callable[[], None] | None = None) -> None:
        super().__init__()
        self.rows: tuple[StructureRow, ...] = ()
        self._kept = kept
        self._cases: CaseFolder | None = None
        self._shown: tuple[Naming, ...] = ()
        self._filling = self._is_hinted = False
        self.table = widgets.VBox()
        self.keep_button = button("Keep", self.keep, "Keep these names beside the data", style="primary")
        self.new_value = widgets.Text(
            placeholder="value",
            layout=widgets.Layout(width="90px"),
            **_said("A value of the label files that is not in the table yet"),
        )
        self.add_button = button(
            "Add this value",
            lambda: self.add(self.new_value.value),
            "Add a value of the label files to the table",
        )
        line = widgets.HBox([self.keep_button, self.new_value, self.add_button])
        self.body.children = [widgets.HTML(text(WORDS)), self.table, line]

    def show(
        self, cases: CaseFolder, counts: Sequence[StructureCount] = (), *, names: Pseudonyms | None = None
    ) -> None:
        """Show the structures of a folder, with how often each was drawn.

        What was typed and not kept yet stays if the same folder with the same values is shown again.
        """
        unnamed = [count.label for count in counts if not count.name]
        self._pseudonyms = names
        namings = list_namings(cases, unnamed=unnamed)
        typed = {row.value: row for row in self._typed(cases)}
        if self._cases is not None and self._cases.folder != cases.folder:
            self.say("")
        self._cases, self._shown, self._filling = cases, namings, True
        by_label = {count.label: count for count in counts}
        self.rows = tuple(
            StructureRow(
                typed.get(n.value, n), by_label.get(n.label) if n.counts_as in (n.label, UNNAMED) else None
            )
            for n in namings
        )
        for row in self.rows:
            self._observe(row)
        self.table.children = [_header(), *self.rows]
        self._filling = False
        self._changed()
        if not typed and self._is_hinted:
            self.say("")
        self.value = cases.structures

    def add(self, value: int | str) -> None:
        """Add a value of the label files that the table lacks, to be named."""
        with self.attempt():
            word = str(value).strip()
            if not word.isdecimal() or not 0 < int(word) < 65536:
                raise LabelError(
                    f"The value {word or '(empty)'} cannot be added; give a whole number from 1 to 65535."
                )
            if any(row.value == int(word) for row in self.rows):
                raise LabelError(f"The value {word} is in the table already.")
            naming = new_naming(int(word), [row.label for row in self.rows])
            row = StructureRow(naming, None)
            self._shown += (naming,)
            self._observe(row)
            self.rows += (row,)
            self.table.children = [*self.table.children, row]
            self.new_value.value = ""
            self._changed()

    def keep(self) -> None:
        """Write the table beside the data; if another program has changed it since it was shown, show that one."""
        with self.attempt():
            if self._cases is None:
                raise LabelError("No folder is chosen yet. Choose one first.")
            table = build_table([row.naming for row in self.rows])
            try:
                name_structures(self._cases, table)
            except OutdatedError as error:
                self.fail(error)
                if self._kept is not None:
                    self._kept()
                return
            self._shown = tuple(row.naming for row in self.rows)
            self.say("Kept beside your data (structures.csv).", "done")
            self.value = table.structures
            if self._kept is not None:
                self._kept()

    def say(self, words: str, kind: Kind = "note", *, details: str = "") -> None:
        """Show a sentence, in place of the last one."""
        self._is_hinted = False
        super().say(words, kind, details=details)

    def _observe(self, row: StructureRow) -> None:
        for control in (row.name, row.colour, row.side, row.includes, row.counts_as):
            control.observe(self._changed, "value")

    def _typed(self, cases: CaseFolder) -> Sequence[Naming]:
        """Give the rows that were changed since they were shown, if this is still the same folder."""
        if self._cases is None or self._cases.folder != cases.folder:
            return ()
        with self.attempt():
            return [row.naming for row, shown in zip(self.rows, self._shown, strict=True) if row.naming != shown]
        return ()

    def _changed(self, _: Any = None) -> None:
        if self._filling:
            return
        self._filling = True
        for row in self.rows:
            row.offer([other for other in self.rows if other is not row and other.is_own])
        self._filling = False
        with self.attempt():
            if any(row.naming != shown for row, shown in zip(self.rows, self._shown, strict=True)):
                self.say(HINT)
                self._is_hinted = True


class StructureRow(widgets.HBox):
    """One value of the label files, as controls."""

    def __init__(self, naming: Naming, count: StructureCount | None) -> None:
        self._naming = naming
        of = f"of value {naming.value}"
        layouts = _layouts("1px 4px 1px 0")
        self.name = widgets.Text(
            value=naming.name,
            placeholder="name",
            layout=layouts[1],
            continuous_update=False,
            **_said(f"Name {of}"),
        )
        self.colour = widgets.ColorPicker(
            value=hex_colour(naming.colour or default_colour(naming.label)),
            concise=True,
            layout=layouts[2],
            **_said(f"Colour {of}"),
        )
        self.side = widgets.Dropdown(
            options=[("–", ""), ("left", "left"), ("right", "right"), ("both", "both")],
            value=naming.side,
            layout=layouts[3],
            **_said(f"Side of the body {of}"),
        )
        self.includes = widgets.Text(
            value=" ".join(map(str, naming.includes)),
            layout=layouts[4],
            continuous_update=False,
            **_said(f"Numbers of structures that lie inside that {of}, such as 2 3"),
        )
        self.counts_as = widgets.Dropdown(
            options=[("…", naming.counts_as)], layout=layouts[5], **_said(f"What value {naming.value} counts as")
        )
        pixels, cases = _counted(count)
        fixed = [
            widgets.Label(str(naming.value), layout=layouts[0]),
            widgets.Label(pixels, layout=layouts[6]),
            widgets.Label(cases, layout=layouts[7]),
        ]
        controls = [self.name, self.colour, self.side, self.includes, self.counts_as]
        super().__init__([fixed[0], *controls, *fixed[1:]])

    @property
    def value(self) -> int | str:
        """What stands in the files."""
        return self._naming.value

    @property
    def label(self) -> int:
        """The label where the value is a structure of its own."""
        return self._naming.label

    @property
    def is_own(self) -> bool:
        """Whether the value is a structure of its own."""
        return self.counts_as.value == self._naming.label

    @property
    def naming(self) -> Naming:
        """What stands in the controls."""
        if not self.is_own:
            return replace(self._naming, counts_as=self.counts_as.value)
        if not re.fullmatch(r"[\d\s,;]*", self.includes.value):
            raise LabelError(
                f"{self.name.value} includes {self.includes.value!r}; give the numbers of structures, such as 2 3, "
                "or leave it empty."
            )
        red, green, blue = bytes.fromhex(_six_digits(self.colour.value))
        return replace(
            self._naming,
            name=self.name.value,
            colour=(red, green, blue) if (self._naming.colour or self.colour.value != self._default) else None,
            side=self.side.value,
            includes=tuple(map(int, re.findall(r"\d+", self.includes.value))),
            counts_as=self._naming.label,
        )

    @property
    def _default(self) -> str:
        return hex_colour(default_colour(self._naming.label))

    def offer(self, others: Sequence[StructureRow]) -> None:
        """Offer what the value can count as: a structure, part of one of the others, or nothing."""
        chosen = self.counts_as.value
        options = [("a structure", self._naming.label)]
        options += [(f"part of {other.name.value or other.value}", other.label) for other in others]
        options += [("left out", LEFT_OUT)]
        if self._naming.counts_as == UNNAMED:
            options.insert(0, ("not named yet", UNNAMED))
        if chosen not in [value for _, value in options]:
            options.append(("part of what is no structure", chosen))
        if tuple(options) != tuple(self.counts_as.options):
            self.counts_as.options = options
            self.counts_as.value = chosen
        for control in (self.name, self.colour, self.side, self.includes):
            control.disabled = not self.is_own


def _said(words: str) -> dict[str, Any]:
    """Give a control words that are spoken, and seen where the pointer rests."""
    return {"description": words, "tooltip": words, "style": {"description_width": "0px"}}


def _layouts(margin: str) -> list[widgets.Layout]:
    return [
        widgets.Layout(width=f"{width}px", min_width=f"{least}px", flex="0 1 auto", margin=margin)
        for width, least in WIDTHS
    ]


def _header() -> widgets.HBox:
    cells = zip(HEADER, _layouts("0 4px 0 0"), strict=True)
    return widgets.HBox([widgets.HTML(f"<b>{words}</b>", layout=layout) for words, layout in cells])


def _counted(count: StructureCount | None) -> tuple[str, str]:
    if count is None:
        return "", ""
    of = f" of {count.drawn_cases} drawn" if count.name else ""
    return f"{count.pixels:,}", f"{count.cases}{of}"


def _six_digits(colour: str) -> str:
    """Give a web colour's six digits; the page may also write it with three."""
    digits = colour.removeprefix("#")
    digits = "".join(2 * digit for digit in digits) if len(digits) == 3 else digits
    if not re.fullmatch(r"[0-9a-fA-F]{6}", digits):
        raise LabelError(f"The colour {colour!r} is not of the form #rrggbb. Choose it with the small square.")
    return digits
