"""What the check found: each finding with its cause, its remedies as buttons, its picture, and an undo."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import ipywidgets as widgets

from autoseg.data.cases import (
    CaseFolder,
    Pseudonyms,
    declare_absent,
    declare_missing,
    declare_unknown,
    keep_names,
    leave_out_structure,
)
from autoseg.data.cases.sizes import answer_voxel_sizes
from autoseg.data.checks import SEVERITIES, Finding
from autoseg.data.repairs import Repair, add_repairs, leave_out, read_repairs, settle, undo_repairs
from autoseg.errors import DataError, OutdatedError
from autoseg.files.arrays import HALF
from autoseg.files.nifti.sizes import Holds, forget_answers, read_answers
from autoseg.panels.parts.fields import button
from autoseg.panels.parts.panel import Panel
from autoseg.panels.parts.style import heading, notice, picture, text
from autoseg.report.figures import show_findings
from autoseg.words import counted

# --- one finding on the page: words, buttons, and a picture that is drawn when it is asked for

# What several findings of one kind have in common.
TITLES = {
    "blank": "images that are empty",
    "blurred": "labels in JPEG",
    "broken": "images with broken pixels",
    "channels": "channels that are the same",
    "constant": "images that show nothing",
    "contours": "how contours were drawn",
    "empty": "labels that are empty",
    "encoding": "one structure by several numbers",
    "gap": "slices that were left undrawn",
    "inverted": "masks that are inside out",
    "grid": "labels that lie elsewhere than their image",
    "levels": "levels that do not fit",
    "names": "names that look alike",
    "never": "structures that are drawn nowhere",
    "order": "slices in another order",
    "palette": "palettes that differ",
    "permuted": "structures with each other's numbers",
    "rare": "structures of hardly any pixel",
    "rims": "labels with smoothed edges",
    "shape": "labels of another size than their image",
    "shares": "labels that are probabilities",
    "sides": "left and right exchanged",
    "sizes": "headers that contradict themselves",
    "small": "very small structures",
    "subjects": "patients who may be one",
    "twins": "images that are alike",
    "undrawn": "drawn, though said not to be",
    "unreadable": "files that cannot be read",
    "unrelated": "labels that do not fit their image",
    "values": "values without a name",
}
# Findings without a picture: nothing can be drawn of what cannot be read.
NOT_DRAWN = ("unreadable", "absent", "names", "sizes", "blurred", "shares")
ASKED = "Answer once; the answer is kept beside your data."


class FindingRow(widgets.VBox):
    """One finding: words (`hide` takes IDs out), buttons, and a picture, if `draw` gives one as HTML."""

    def __init__(
        self,
        finding: Finding,
        hide: Callable[[str], str],
        controls: Sequence[widgets.Widget],
        draw: Callable[[], str] | None = None,
    ) -> None:
        self.finding, self.controls, self._draw, self._hide = finding, tuple(controls), draw, hide
        self.words, self.picture = widgets.HTML(_words(finding, hide)), widgets.HTML()
        self.picture.layout.display = "none"
        self.unfold = widgets.ToggleButton(
            description="Picture", icon="image", tooltip="Show the picture of this finding, or hide it"
        )
        self.unfold.layout.width = "auto"
        self.unfold.observe(lambda _: self._show(), "value")
        line = widgets.HBox(
            [*([self.unfold] if draw else []), *controls],
            layout=widgets.Layout(flex_flow="row wrap", margin="0 0 4px 14px"),
        )
        super().__init__([self.words, line, self.picture])

    @property
    def can_be_drawn(self) -> bool:
        """Whether there is a picture of it."""
        return self._draw is not None

    def press(self, words: str) -> None:
        """Click the button whose text begins with these words."""
        for control in self.controls:
            if isinstance(control, widgets.Button) and control.description.startswith(words):
                control.click()
                return
        raise KeyError(words)

    def _show(self) -> None:
        if self.unfold.value and self._draw is not None and not self.picture.value:
            try:
                self.picture.value = self._draw()
            except Exception as error:  # of one picture; the finding and its buttons stay usable
                self.picture.value = notice(f"The picture could not be drawn: {self._hide(str(error))}", "warning")
        self.picture.layout.display = "" if self.unfold.value else "none"


def offers(finding: Finding) -> list[tuple[str, tuple[Repair, ...]]]:
    """Give what a finding offers to mend: words, and the repairs that belong together."""
    by_case: dict[str, list[Repair]] = {}
    for repair in finding.repairs:
        by_case.setdefault(repair.case_id, []).append(repair)
    alike: dict[str, list[list[Repair]]] = {}
    for repairs in by_case.values():
        alike.setdefault(", then ".join(repair.words for repair in repairs), []).append(repairs)
    return [
        (words + (f" (on {len(cases)} images)" if len(cases) > 1 else ""), tuple(r for case in cases for r in case))
        for words, cases in alike.items()
    ]


def _words(finding: Finding, hide: Callable[[str], str]) -> str:
    lines = [hide(finding.problem)]
    lines += [f"Why: {hide(finding.cause)}"] if finding.cause else []
    remedy = ASKED if finding.kind in ("absent", "names") else hide(finding.remedy).removeprefix("Or ").strip()
    remedy = remedy[:1].upper() + remedy[1:]
    lines += [f"What to do: {remedy}"] if remedy else []
    return notice("\n".join(lines), finding.severity, announced=False)


MOST_ROWS, MOST_OF_ONE_KIND, MORE_ROWS, FIRST_PICTURES, MOST_REPAIRS = 20, 5, 20, 3, 30
# To so many cases the buttons of one finding name each; to more, a list is offered.
MOST_BUTTONS = 2
# matplotlib draws one figure at a time.
DRAWING = threading.Lock()


_REASONS = {"leave_out": "a person left it out"}


class FindingsPanel(Panel):
    """Shows findings and mends them at a click; `value` is what is shown, a tuple of Finding.

    Parameters
    ----------
    changed : callable, optional
        Is called after something was mended, undone or answered, so that the folder is read again.
    """

    def __init__(self, changed: Callable[[], None] | None = None) -> None:
        super().__init__()
        self.overview, self.list, self.made = widgets.HTML(), widgets.VBox(), widgets.VBox()
        self._changed = changed
        self._cases: CaseFolder | None = None
        self._repairs: tuple[Repair, ...] = ()  # as the findings saw them, and what was mended here since
        self._groups: list[list[Finding]] = []
        self._most: list[int] = []
        self._answers: dict[str, _Answer] = {}
        self._drawn: dict[int, FindingRow] = {}
        # What a click led to is said where the eye is: above the list, which may be long.
        self.stack(self.overview, self.bar, self.message, self.list, self.made)

    @property
    def rows(self) -> list[FindingRow]:
        """The findings that are unfolded now."""
        return [child for child in self.list.children if isinstance(child, FindingRow)]

    # --- showing

    def show(self, cases: CaseFolder, findings: Sequence[Finding], *, names: Pseudonyms | None = None) -> None:
        """Show findings, sorted by severity and then by kind."""
        if self._cases is None or self._cases.folder != cases.folder:
            self._answers = {}
            self.say("")
        # An answer that another program has changed since is not said, nor taken back here.
        self._answers = {name: one for name, one in self._answers.items() if one.said == _said(cases, name)}
        self._cases, self._pseudonyms, self._drawn = cases, names, {}
        self._repairs = cases.repairs
        groups: dict[tuple[int, str], list[Finding]] = {}
        for finding in findings:
            groups.setdefault((SEVERITIES.index(finding.severity), finding.kind), []).append(finding)
        self._groups = [groups[key] for key in sorted(groups, key=lambda key: key[0])]
        self._most, left = [], MOST_ROWS
        for group in self._groups:
            self._most.append(min(len(group), MOST_OF_ONE_KIND, left))
            left -= self._most[-1]
        self.overview.value = text(_overview(findings))
        with self.attempt():
            self._lay_out()
            self._list_repairs(read_repairs(cases.folder))
            self.value = tuple(findings)
            self._draw_first()

    def lock(self, locked: bool) -> None:
        """Make the buttons wait while the folder is read again."""
        for box in (self.list, self.made):
            for control in _controls(box):
                control.disabled = locked

    def _lay_out(self) -> None:
        children: list[widgets.Widget] = []
        for number, (group, most) in enumerate(zip(self._groups, self._most, strict=True)):
            if len(group) > 1:
                children += [widgets.HTML(heading(f"{len(group)} × {_kind(group[0])}")), *self._for_all(group)]
            children += [self._row(finding) for finding in group[:most]]
            if most < len(group):
                more = min(len(group) - most, MORE_ROWS)
                words = f"Show {more} more of {len(group) - most}" if most else f"Show {_kind(group[0])}"
                children.append(button(words, partial(self.show_more, number), panel=self))
        self.list.children = children

    def show_more(self, group: int) -> None:
        """Show more findings of a group, counted from 0."""
        self._most[group] = min(len(self._groups[group]), self._most[group] + MORE_ROWS)
        self._lay_out()

    def _for_all(self, group: Sequence[Finding]) -> list[widgets.Widget]:
        """Give buttons that answer all findings of one kind at once."""
        controls = []
        if all(finding.repairs for finding in group):
            every = [repair for finding in group for repair in finding.repairs]
            words = f"Mend all {len(group)} as proposed"
            controls.append(button(words, lambda: self.mend(every), "Each as its own button would"))
        if group[0].severity == "error" and all(finding.case_id for finding in group):
            out = list(dict.fromkeys(leave_out(finding.case_id) for finding in group))
            controls.append(button(f"Leave all {len(out)} images out", lambda: self.mend(out)))
        return [widgets.HBox(controls, layout=widgets.Layout(margin="0 0 0 14px"))] if controls else []

    def _row(self, finding: Finding) -> FindingRow:
        if id(finding) not in self._drawn:
            drawable = bool(finding.cases) and finding.kind not in NOT_DRAWN
            self._drawn[id(finding)] = FindingRow(
                finding,
                self.hidden,
                self._controls_of(finding),
                (lambda: self._draw(finding)) if drawable else None,
            )
        return self._drawn[id(finding)]

    def _controls_of(self, finding: Finding) -> list[widgets.Widget]:
        name = self._structure(finding.label)
        if finding.kind == "absent" and name:
            drawn = f"{name} is to be seen there, but nobody drew it: nothing is learnt from these images about it"
            absent = f"Somebody looked for {name} there, and there is none: this is learnt"
            return [
                button("It was not drawn there", lambda: self.answer(name, drawn_everywhere=False), drawn),
                button("It really is not there", lambda: self.answer(name, drawn_everywhere=True), absent),
            ]
        if finding.kind == "names" and name:
            words = f"What these files call so is {name}: written into the table of structures"
            return [button(f"They are all {name}", self.keep_names, words)]
        if finding.kind == "sizes":
            words = "Areas are measured by it from now on; kept beside your data (voxel_sizes.csv)"
            return [
                button("The sform holds", lambda: self.answer_sizes("sform", finding.cases), words),
                button("The pixdim holds", lambda: self.answer_sizes("pixdim", finding.cases), words),
                *self._leaving_out(finding),
            ]
        if finding.kind == "shares":
            return [*self._thresholds(finding), *self._leaving_out(finding)]
        controls: list[widgets.Widget] = self._asking(finding, name) if finding.kind == "gap" and name else []
        controls += [
            button(f"Mend: {words}", partial(self.mend, repairs), words) for words, repairs in offers(finding)
        ]
        if finding.kind == "never" and name:
            controls.append(button(f"Leave {name} out", lambda: self.drop(name)))
        return controls + self._leaving_out(finding)

    def _asking(self, finding: Finding, name: str) -> list[widgets.Widget]:
        """Ask whether slices were left undrawn or show nothing; of a volume only the second can be said."""
        beside = finding.beside[0] if finding.beside else ""
        answer = partial(self.answer, name, case_ids=finding.cases)
        drawn = button("It was not drawn there", partial(answer, drawn_everywhere=False), "Nothing is learnt there")
        absent = button("It really is not there", partial(answer, drawn_everywhere=True), "This is learnt")
        return [absent] if beside in finding.cases else [drawn, absent]

    def _thresholds(self, finding: Finding) -> list[widgets.Widget]:
        share = widgets.BoundedFloatText(
            value=HALF, min=0.01, max=1, step=0.05, tooltip="Share from which a pixel belongs to the structure"
        )
        share.layout.width = "80px"

        def keep() -> None:
            self.mend([settle(case_id, "threshold", threshold=share.value) for case_id in finding.cases])

        return [share, button("Count pixels from this share on", keep, "Kept beside your data in repairs.csv")]

    def _leaving_out(self, finding: Finding) -> list[widgets.Widget]:
        known = {case.case_id for case in self._folder.cases}
        cases = [case_id for case_id in finding.cases if case_id in known]
        if len(cases) <= MOST_BUTTONS:
            return [
                button(
                    "Leave this image out" if len(cases) == 1 else f"Leave {self._case(case_id)} out",
                    partial(self.mend, [leave_out(case_id)]),
                    f"{self._case(case_id)} is neither learnt from nor tested on; the file stays",
                )
                for case_id in cases
            ]
        if len(cases) == len(known):
            return []
        choice = widgets.Dropdown(options=[(self._case(c), c) for c in cases], tooltip="Image to leave out")
        choice.layout.width = "220px"
        every = [leave_out(case_id) for case_id in cases]
        return [
            choice,
            button("Leave it out", lambda: self.mend([leave_out(choice.value)])),
            button(f"Leave all {len(cases)} out", lambda: self.mend(every)),
        ]

    # --- pictures

    def _draw(self, finding: Finding) -> str:
        if self._cases is None:
            return ""
        names = {case_id: self._case(case_id) for case_id in finding.cases}
        with DRAWING:
            figure = show_findings([finding], self._cases, most=1, names=names)
            alt = f"{self.hidden(finding.problem)} As it is, and as the repair would have it."
            return picture(figure, alt, width="560px")

    def _draw_first(self) -> None:
        rows = [row for row in self.rows if row.can_be_drawn][:FIRST_PICTURES]

        def run() -> None:
            for row in rows:
                if row in self._drawn.values():
                    row.unfold.value = True

        drawing = threading.Thread(target=run, daemon=True, name="pictures of findings")
        drawing.start()
        self._work = drawing

    # --- mending

    def mend(self, repairs: Iterable[Repair]) -> None:
        """Keep repairs beside the data; those that are kept already are passed over."""
        with self._saying("Kept beside your data in repairs.csv; your own files stay as they are."):
            new = [
                replace(repair, reason=repair.reason or _REASONS.get(repair.kind, "the check proposed it"))
                for repair in repairs
            ]
            add_repairs(self._folder.folder, new, seen=self._repairs)
            self._repairs += tuple(repair for repair in dict.fromkeys(new) if repair not in self._repairs)

    def undo(self, repairs: Iterable[Repair]) -> None:
        """Take repairs back."""
        with self._saying("Taken back."):
            gone = set(repairs)
            undo_repairs(self._folder.folder, gone)
            self._repairs = tuple(repair for repair in self._repairs if repair not in gone)

    def answer(self, name: str, *, drawn_everywhere: bool | None, case_ids: Collection[str] | None = None) -> None:
        """Say whether a structure was looked for everywhere, or not drawn where it is not seen; None: ask again.

        With `case_ids` it is said of these cases only.
        """
        with self._saying("Kept beside your data in annotated.csv."):
            if drawn_everywhere is None:
                self._cases = declare_unknown(self._folder, name)
                self._answers.pop(name, None)
                return
            if drawn_everywhere:
                self._cases = declare_absent(self._folder, name, case_ids=case_ids)
                words = f"{name} really is not there where it is not drawn."
            else:
                self._cases = declare_missing(self._folder, name, case_ids=case_ids)
                words = f"{name} was not drawn where it is not seen."
            self._answers[name] = _Answer(words, _said(self._cases, name))

    def keep_names(self) -> None:
        """Say that names that look alike are one structure each."""
        with self._saying("Kept beside your data in structures.csv."):
            keep_names(self._folder)

    def answer_sizes(self, holds: Holds | None, cases: Iterable[str] = ()) -> None:
        """Say which size of a voxel holds in the files of these cases; None: ask again."""
        with self._saying("Kept beside your data in voxel_sizes.csv." if holds else "Taken back."):
            chosen, folder = set(cases), self._folder
            if holds is None:
                forget_answers(folder.folder)
            else:
                mine = [case for case in folder.cases if case.case_id in chosen]
                files = [image.path for case in mine for image in case.images]
                files += [label.path for case in mine for label in case.labels]
                answer_voxel_sizes(folder.folder, holds, files)

    def drop(self, name: str) -> None:
        """Leave a structure out of the table of structures."""
        with self._saying("Kept beside your data in structures.csv."):
            leave_out_structure(self._folder, name)

    @contextmanager
    def _saying(self, words: str) -> Iterator[None]:
        """Say what was done and have the folder read again; read it too if another program has changed it."""
        try:
            yield
        except OutdatedError as error:
            self.fail(error)
        except Exception as error:
            self.fail(error)
            return
        else:
            self.say(words, "done")
        if self._changed is not None:
            self._changed()

    @property
    def _folder(self) -> CaseFolder:
        if self._cases is None:
            raise DataError("No folder is chosen yet. Choose one first.")
        return self._cases

    def _list_repairs(self, repairs: Sequence[Repair]) -> None:
        """List what was mended and answered, each with its undo."""
        rows: list[widgets.Widget] = []
        for name, answer in self._answers.items():
            undo = button("Undo", partial(self.answer, name, drawn_everywhere=None), f"Undo: {answer.words}")
            rows.append(widgets.HBox([undo, widgets.HTML(text(answer.words))]))
        for words in self._answered_sizes():
            undo = button("Undo", partial(self.answer_sizes, None), f"Undo: {words}")
            rows.append(widgets.HBox([undo, widgets.HTML(text(words))]))
        for repair in repairs[:MOST_REPAIRS]:
            words = f"{self._case(repair.case_id)}: {repair.words} ({repair.date or 'no date'})"
            undo = button("Undo", partial(self.undo, [repair]), f"Undo: {words}")
            rows.append(widgets.HBox([undo, widgets.HTML(text(words))]))
        if len(repairs) > 1:
            every = tuple(repairs)
            rows.append(button(f"Undo all {len(repairs)} repairs", lambda: self.undo(every)))
        title = [widgets.HTML(heading("Mended and answered so far"))] if rows else []
        self.made.children = [*title, *rows]

    def _answered_sizes(self) -> list[str]:
        answers = Counter(read_answers(self._folder.folder).values())
        return [
            f"Of headers with two sizes of a voxel the {holds} holds ({counted(n, 'file')})."
            for holds, n in answers.items()
        ]

    # --- words

    def _case(self, case_id: str) -> str:
        names = self.pseudonyms
        return case_id if names is None else names.name(case_id)

    def _structure(self, label: int | None) -> str:
        structures = self._cases.structures if self._cases else ()
        return next((s.name for s in structures if s.label == label), "")


class _Answer(NamedTuple):
    """What was answered about a structure, in words, and what is known of each case since."""

    words: str
    said: Mapping[str, tuple[bool, bool]]


def _said(cases: CaseFolder, name: str) -> dict[str, tuple[bool, bool]]:
    """Say of each case whether a structure was drawn there, and whether that is still open."""
    labels = [s.label for s in cases.structures if s.name.casefold() == name.casefold()]
    return {case.case_id: (case.is_drawn(one), case.is_open(one)) for one in labels for case in cases.cases}


def _overview(findings: Sequence[Finding]) -> str:
    if not findings:
        return "Nothing is wrong with these images and labels."
    counts = [(severity, sum(finding.severity == severity for finding in findings)) for severity in SEVERITIES]
    listed = ", ".join(counted(count, word) for word, count in counts if count)
    must = " Errors must be mended before training." if counts[0][1] else ""
    return f"The check found {listed}.{must}"


def _kind(finding: Finding) -> str:
    return f"{finding.severity}: {TITLES.get(finding.kind, finding.kind)}"


def _controls(box: widgets.Box) -> Iterable[widgets.Widget]:
    for child in box.children:
        if isinstance(child, widgets.Box):
            yield from _controls(child)
        elif isinstance(child, widgets.Button | widgets.Dropdown):
            yield child
