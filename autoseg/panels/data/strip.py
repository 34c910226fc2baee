"""The images of a folder one by one, in little: drawn, not drawn, or left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import ipywidgets as widgets

from autoseg.data.cases import Case, CaseFolder, Pseudonyms, pairs_table
from autoseg.image.structures import Structure
from autoseg.panels.data.answers import Answer, AnswersBar, leaving_out
from autoseg.panels.data.thumbnails import Thumbnails, Wish
from autoseg.panels.parts.fields import button, field, tick
from autoseg.panels.parts.panel import Panel
from autoseg.panels.parts.style import text
from autoseg.panels.parts.table import Cell, html_table
from autoseg.words import counted, escaped

PAGE = 24  # images at once
State = Literal["", "drawn", "absent", "missing", "out"]
STATES: dict[State, str] = {
    "": "not said yet",
    "drawn": "drawn",
    "absent": "is not there",
    "missing": "not drawn",
    "out": "leave out",
}
WORDS = (
    "Each image by the slice on which most is drawn. “Not drawn”: the structure may be there, and nothing is "
    "learnt about it from this image. “Is not there”: somebody looked, and that is learnt."
)
PARTS = "These images are parts of stacks: what was drawn on which slices stands in annotated.csv."
# Names of files have no place where they break.
_BREAKS = "overflow-wrap:anywhere"
_NAME = f"font-size:12px;line-height:1.2;color:var(--jp-ui-font-color1,inherit);{_BREAKS}"


class Card(widgets.VBox):
    """One image: its picture in little, its name, and what is said of it."""

    def __init__(self, changed: Callable[[Card], None]) -> None:
        self.case: Case | None = None
        self._quiet = False
        self.thumbnail = widgets.HTML(layout=widgets.Layout(min_height="124px"))
        self.name = widgets.HTML()
        self.state = field(widgets.Dropdown, "Of this image", width="120px", label="0px")
        self._changed = changed
        self.state.observe(self._picked, "value")
        super().__init__([self.thumbnail, self.name, self.state])
        self.layout = widgets.Layout(width="126px", flex="0 0 auto", margin="0 4px 6px 0")

    def show(self, case: Case, name: str, offered: Sequence[State], state: State) -> None:
        """Show a case, and what can be said of it."""
        self.case = case
        self.thumbnail.value = ""
        words = escaped(name)
        self.name.value = f'<div title="{words}" style="{_NAME}">{words}</div>'
        self._quiet = True
        self.state.tooltip = self.state.description = f"What is said of {name}"
        self.state.options = [(STATES[one], one) for one in offered]
        self.state.value = state
        self._quiet = False

    def _picked(self, _: Any) -> None:
        if not self._quiet:
            self._changed(self)


class StripPanel(Panel):
    """Shows the images of a folder page by page, and lets it be said of each whether a structure was drawn there.

    Parameters
    ----------
    changed : callable
        Is called when something else is chosen.
    bar_of_answers : AnswersBar
        With the button that keeps what is chosen.
    """

    def __init__(self, changed: Callable[[], None], bar_of_answers: AnswersBar) -> None:
        super().__init__()
        self._changed, self.bar_of_answers = changed, bar_of_answers
        self._cases: CaseFolder | None = None
        self._seen: Mapping[str, frozenset[int]] = {}
        self._said: dict[tuple[str, str], State] = {}  # by case and structure; of what is left out by case and ""
        self._shown = False
        self._thumbnails = Thumbnails()
        self._quiet = False
        self.page = 0
        self.cards: tuple[Card, ...] = ()
        self.structure = field(
            widgets.Dropdown, "Structure", "The structure that was drawn, or not", width="280px", label="70px"
        )
        self.unseen = tick("Only images where it is not seen", "Show only images whose labels do not show it")
        self.for_all = widgets.HBox(layout=widgets.Layout(flex_flow="row wrap", align_items="center"))
        self.where = widgets.HTML()
        self.before = button("", lambda: self.turn(-1), "Earlier images", icon="arrow-left")
        self.after = button("", lambda: self.turn(1), "Later images", icon="arrow-right")
        self.grid = widgets.HBox(layout=widgets.Layout(flex_flow="row wrap"))
        self.table = widgets.HTML()
        self.note = widgets.HTML()
        row = widgets.Layout(flex_flow="row wrap", align_items="center")
        self.body.children = [
            self.note,
            widgets.HBox([self.structure, self.unseen], layout=row),
            self.for_all,
            self.grid,
            widgets.HBox([self.before, self.where, self.after], layout=widgets.Layout(align_items="center")),
            self.bar_of_answers,
            self.table,
        ]
        for control in (self.structure, self.unseen):
            control.observe(self._begin_anew, "value")

    # --- what is shown

    def show(
        self, cases: CaseFolder, seen: Mapping[str, frozenset[int]], *, names: Pseudonyms | None = None
    ) -> None:
        """Show the images of a folder, with the values that stand in the labels of each."""
        if cases is not self._cases:
            self._said = {}
            self.page = 0
        self._cases, self._seen, self._pseudonyms = cases, seen, names
        self._quiet = True
        chosen, structures = self.structure.value, [s.name for s in cases.structures]
        self.structure.options = structures
        self.structure.value = chosen if chosen in structures else next(iter(structures), None)
        self._quiet = False
        self._draw()

    def unfold(self, shown: bool) -> None:
        """Draw the images, or let them go where nobody sees them."""
        self._shown = shown
        self._draw()

    def turn(self, pages: int) -> None:
        """Show other images, so many pages on."""
        self.page = max(0, min(self.page + pages, (len(self.listed) - 1) // PAGE))
        self._draw()

    def _begin_anew(self, _: Any) -> None:
        if not self._quiet:
            self.turn(-self.page)

    @property
    def listed(self) -> tuple[Case, ...]:
        """The images that can be turned to."""
        cases = self._cases.cases if self._cases is not None else ()
        return tuple(case for case in cases if not self.unseen.value or self._is_unseen(case))

    def wait(self, timeout_s: float | None = None) -> None:
        """Wait until the pictures are drawn."""
        super().wait(timeout_s)
        self._thumbnails.wait(timeout_s)

    # --- what is chosen

    @property
    def chosen(self) -> tuple[Answer, ...]:
        """What is said and not kept yet."""
        by: dict[tuple[str, State], list[str]] = {}
        for (case_id, name), state in self._said.items():
            by.setdefault((name, state), []).append(case_id)
        return tuple(
            leaving_out(case_ids)
            if state == "out"
            else Answer("missing" if state == "missing" else "drawn", "", tuple(case_ids), structure=name)
            for (name, state), case_ids in by.items()
        )

    def forget(self) -> None:
        """Take back what is chosen."""
        self._said = {}

    def say_of(self, case_id: str, state: State) -> None:
        """Choose what is said of an image about the structure that is shown."""
        case = next(case for case in self.listed if case.case_id == case_id)
        self._choose(case, state)
        self._draw()
        self._changed()

    def say_of_all(self, state: State) -> None:
        """Choose it for all images on which the structure is not seen."""
        for case in self._unseen():
            self._choose(case, state)
        self._draw()
        self._changed()

    def _choose(self, case: Case, state: State) -> None:
        name = str(self.structure.value)
        self._said.pop((case.case_id, ""), None)
        self._said.pop((case.case_id, name), None)
        if state == "out":
            self._said = {key: one for key, one in self._said.items() if key[0] != case.case_id}
            self._said[case.case_id, ""] = state
        elif state and state != self._state(case):
            self._said[case.case_id, name] = state

    # --- what is known

    @property
    def _structure(self) -> Structure | None:
        structures = self._cases.structures if self._cases is not None else ()
        return next((one for one in structures if one.name == self.structure.value), None)

    @property
    def _is_cut(self) -> bool:
        return self._cases is not None and any(case.is_part for case in self._cases.cases)

    def _is_unseen(self, case: Case) -> bool:
        one = self._structure
        if one is None or case.case_id not in self._seen:
            return False  # nobody knows
        return self._seen[case.case_id].isdisjoint((one.label, *one.includes))

    def _unseen(self) -> list[Case]:
        return [case for case in (self._cases.cases if self._cases is not None else ()) if self._is_unseen(case)]

    def _state(self, case: Case) -> State:
        """Tell what is known of an image about the structure that is shown."""
        one = self._structure
        if one is None or case.case_id not in self._seen or self._is_cut:
            return ""
        if not case.is_drawn(one.label):
            return "missing"
        if not self._is_unseen(case):
            return "drawn"
        return "" if case.is_open(one.label) else "absent"

    def _offered(self, case: Case) -> list[State]:
        state = self._state(case)
        if case.case_id not in self._seen or self._is_cut:
            return ["", "out"]
        if self._is_unseen(case):
            return [*([state] if not state else []), "absent", "missing", "out"]
        return ["drawn", *([state] if state == "missing" else []), "out"]

    # --- drawing

    def _draw(self) -> None:
        if self._cases is None or not self._shown:
            self.grid.children, self.table.value = (), ""
            return
        listed = self.listed
        self.page = min(self.page, max(0, len(listed) - 1) // PAGE)
        first = self.page * PAGE
        shown = listed[first : first + PAGE]
        self.cards += tuple(Card(self._picked) for _ in range(len(shown) - len(self.cards)))
        used = self.cards[: len(shown)]
        for card, case in zip(used, shown, strict=True):
            key = str(self.structure.value)
            said = self._said.get((case.case_id, ""), self._said.get((case.case_id, key), self._state(case)))
            card.show(case, self._called(case), self._offered(case), said)
        self.grid.children = used
        self._thumbnails.show(
            self._cases,
            [
                Wish(card.thumbnail, case.case_id, None, f"{self._called(case)}: the slice on which most is drawn")
                for card, case in zip(used, shown, strict=True)
            ],
        )
        several = len(listed) > PAGE
        self.before.layout.display = self.after.layout.display = "" if several else "none"
        self.before.disabled, self.after.disabled = not first, first + PAGE >= len(listed)
        of = f"{first + 1} to {first + len(shown)} of {counted(len(listed), 'image')}" if several else ""
        self.where.value = text(of or ("" if listed else "It is seen on every image."))
        self.note.value = text(PARTS if self._is_cut else WORDS)
        self.table.value = _files(replace(self._cases, cases=shown), self.pseudonyms) if shown else ""
        self._draw_for_all()

    def _draw_for_all(self) -> None:
        unseen = [] if self._is_cut else self._unseen()
        if len(unseen) < 2:
            self.for_all.children = ()
            return
        states: tuple[State, ...] = ("absent", "missing", "out")
        words = f"The same for all {len(unseen)} on which {self.structure.value} is not seen:"
        buttons = [button(STATES[one], partial(self.say_of_all, one)) for one in states]
        self.for_all.children = (widgets.HTML(text(words)), *buttons)

    def _picked(self, card: Card) -> None:
        if card.case is not None:
            self._choose(card.case, card.state.value)
            self._changed()

    def _called(self, case: Case) -> str:
        return case.case_id if self.pseudonyms is None else self.pseudonyms.name(case.case_id)


def _files(cases: CaseFolder, names: Pseudonyms | None) -> str:
    """Give the table of files and of why they belong together, to unfold."""
    table = pairs_table(cases)
    if names is not None:
        table["case_id"] = [names.name(case_id) for case_id in table["case_id"]]
        table["subject_id"] = [names.of(subject) for subject in table["subject_id"]]
        table["rule"] = [names.hide(rule) for rule in table["rule"]]
        table = table.drop(columns=["image", "label"])
    if not table["frame"].any():
        table = table.drop(columns="frame")
    words = {"case_id": "case", "subject_id": "patient", "label": "labels", "rule": "why they belong together"}
    head = [words.get(name, name) for name in table.columns]
    told = "" if names is None else text("Names of files are shown together with patient IDs.")
    shown = html_table(head, _rows(table.itertuples(index=False)), label="Images and labels", wrap=True)
    summary = "<summary style='cursor:pointer'>Files, and why image and labels belong together</summary>"
    return f"<details style='color:var(--jp-ui-font-color1,inherit)'>{summary}{told}{shown}</details>"


def _rows(rows: Any) -> Iterator[list[Cell]]:
    return ([Cell(escaped(str(value)), style=_BREAKS) for value in row] for row in rows)
