"""What the check found: each finding with its cause, its remedies as buttons, its picture, and an undo."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import ipywidgets as widgets

from autoseg.data.cases import (
    CaseFolder,
    Pseudonyms,
    declare_absent,
    declare_drawn,
    declare_missing,
    declare_unknown,
    keep_names,
    leave_out_structures,
)
from autoseg.data.cases.sizes import answer_voxel_sizes
from autoseg.data.checks import SEVERITIES, Finding
from autoseg.data.repairs import Repair, add_repairs, read_repairs, settle, undo_repairs
from autoseg.errors import DataError, OutdatedError
from autoseg.files.arrays import HALF
from autoseg.files.nifti.sizes import forget_answers, read_answers
from autoseg.panels.data.answers import FOR_ALL, Answer, AnswersBar, Kind, answers_for_all, answers_to
from autoseg.panels.data.strip import StripPanel
from autoseg.panels.data.thumbnails import Thumbnails, Wish
from autoseg.panels.parts.fields import button, field
from autoseg.panels.parts.panel import Panel
from autoseg.panels.parts.style import heading, notice, picture, text
from autoseg.report.figures import show_findings
from autoseg.words import counted, listed

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
# Findings without a picture: nothing can be drawn of what cannot be read, nor compared where nothing is mended.
UNREADABLE = ("unreadable", "sizes", "blurred", "shares")
NOT_DRAWN = (*UNREADABLE, "absent", "names")
ASKED = "Answer once; the answer is kept beside your data."
# To so many cases the answers to one finding name each; to more, a list is offered.
MOST_BUTTONS = 2


class FindingRow(widgets.VBox):
    """One finding: its picture in little, words (`hide` takes IDs out), answers to choose from, and the picture.

    `draw` gives the picture as HTML, if there is one; `changed` is called when another answer is chosen. A brief
    one says what is wrong and no more.
    """

    def __init__(
        self,
        finding: Finding,
        hide: Callable[[str], str],
        answers: Sequence[Answer] = (),
        draw: Callable[[], str] | None = None,
        *,
        changed: Callable[[], None] | None = None,
        is_brief: bool = False,
    ) -> None:
        self.finding, self._draw, self._hide, self._changed = finding, draw, hide, changed
        self._quiet = False
        self.thumbnail, self.picture = widgets.HTML(), widgets.HTML()
        self.picture.layout.display = "none"
        self.words = widgets.HTML(_words(finding, hide, is_brief=is_brief), layout=widgets.Layout(flex="3 1 220px"))
        self.unfold = widgets.ToggleButton(
            description="Picture", icon="image", tooltip="Show the picture of this finding, or hide it"
        )
        self.unfold.layout.width = "auto"
        self.unfold.observe(lambda _: self._show(), "value")
        self.share: widgets.BoundedFloatText | None = None
        self.several: widgets.Dropdown | None = None
        self.ticks: list[tuple[widgets.ToggleButton, Answer]] = []
        self.controls = tuple(self._controls(answers))
        left = widgets.VBox([self.thumbnail, *([self.unfold] if draw else [])])
        left.layout = widgets.Layout(width="124px", flex="0 0 auto")
        right = widgets.VBox(self.controls, layout=widgets.Layout(flex="1 1 170px", max_width="250px"))
        line = widgets.HBox([left, self.words, right], layout=widgets.Layout(flex_flow="row wrap", margin="2px 0"))
        super().__init__([line, self.picture])

    @property
    def can_be_drawn(self) -> bool:
        """Whether there is a large picture of it."""
        return self._draw is not None

    @property
    def chosen(self) -> tuple[Answer, ...]:
        """What is answered."""
        answers = [answer for control, answer in self.ticks if control.value]
        if self.share is not None:
            every = [(one, settle(one, "threshold", threshold=self.share.value)) for one in self.finding.cases]
            repairs = tuple(repair for _, repair in every)
            answers = [replace(one, repairs=repairs) if one.kind == "threshold" else one for one in answers]
        if self.several is not None and self.several.value is not None:
            answers.append(self.several.value)
        return tuple(answers)

    def choose(self, answers: Sequence[Answer]) -> None:
        """Show these as answered, in place of what was, without calling `changed`."""
        self._quiet = True
        for control, answer in self.ticks:
            control.value = any(map(answer.is_same, answers))
        shares = [one.repairs[0] for one in answers if one.kind == "threshold" and one.repairs]
        if self.share is not None and shares:
            self.share.value = float(dict(shares[0].arguments)["from"])
        if self.several is not None:
            of_them = [one for _, one in self.several.options if one is not None and any(map(one.is_same, answers))]
            self.several.value = of_them[0] if of_them else None
        self._quiet = False

    def press(self, words: str) -> None:
        """Choose the answer whose text begins with these words."""
        for control, _ in self.ticks:
            if control.description.startswith(words):
                control.value = True
                return
        raise KeyError(words)

    def _controls(self, answers: Sequence[Answer]) -> Iterator[widgets.Widget]:
        out = [answer for answer in answers if answer.kind == "out"]
        for answer in answers:
            if answer.kind == "out" and len(out) > MOST_BUTTONS:
                continue
            if answer.kind == "threshold":
                self.share = field(
                    widgets.BoundedFloatText,
                    "Share",
                    "Share from which a pixel belongs to the structure",
                    width="150px",
                    label="50px",
                    value=HALF,
                    min=0.01,
                    max=1,
                    step=0.05,
                )
                self.share.observe(lambda _: self._tell(), "value")
                yield self.share
            control = widgets.ToggleButton(description=answer.words, tooltip=answer.tooltip or answer.words)
            control.layout = widgets.Layout(width="auto", max_width="100%", height="auto", min_height="28px")
            control.add_class("autoseg-answer")
            control.observe(partial(self._pressed, control, answer), "value")
            self.ticks.append((control, answer))
            yield control
        if len(out) > MOST_BUTTONS:
            options = [("Leave none out", None), *((answer.words, answer) for answer in out)]
            self.several = field(widgets.Dropdown, "Image to leave out", width="auto", label="0px", options=options)
            self.several.observe(self._picked, "value")
            yield self.several

    def _pressed(self, control: widgets.ToggleButton, answer: Answer, _: Any = None) -> None:
        control.icon = "check" if control.value else ""
        if self._quiet:
            return
        if control.value:
            self._take_back(answer, but=control)
        self._tell()

    def _picked(self, change: dict[str, Any]) -> None:
        if not self._quiet:
            if change["new"] is not None:
                self._take_back(change["new"], but=self.several)
            self._tell()

    def _take_back(self, answer: Answer, *, but: widgets.Widget | None) -> None:
        """Take back what this answer excludes."""
        self._quiet = True
        for control, other in self.ticks:
            if control is not but and control.value and answer.excludes(other):
                control.value = False
        if self.several is not None and self.several is not but:
            self.several.value = None
        self._quiet = False

    def _tell(self) -> None:
        if self._changed is not None and not self._quiet:
            self._changed()

    def _show(self) -> None:
        if self.unfold.value and self._draw is not None and not self.picture.value:
            try:
                self.picture.value = self._draw()
            except Exception as error:  # of one picture; the finding and its answers stay usable
                self.picture.value = notice(f"The picture could not be drawn: {self._hide(str(error))}", "warning")
        self.picture.layout.display = "" if self.unfold.value else "none"


def _words(finding: Finding, hide: Callable[[str], str], *, is_brief: bool) -> str:
    lines = [hide(finding.problem), *([] if is_brief else _advice(finding, hide))]
    return notice("\n".join(lines), finding.severity, announced=False)


def _advice(finding: Finding, hide: Callable[[str], str]) -> list[str]:
    lines = [f"Why: {hide(finding.cause)}"] if finding.cause else []
    remedy = ASKED if finding.kind in ("absent", "names") else hide(finding.remedy).removeprefix("Or ").strip()
    remedy = remedy[:1].upper() + remedy[1:]
    return [*lines, *([f"What to do: {remedy}"] if remedy else [])]


def _is_said_once(group: Sequence[Finding]) -> bool:
    """Tell whether several findings have the same cause and remedy."""
    return len(group) > 1 and len({(str(finding.cause), str(finding.remedy)) for finding in group}) == 1


MOST_ROWS, MOST_OF_ONE_KIND, MORE_ROWS, MOST_REPAIRS = 20, 5, 20, 30
ALL = ""  # the images of which nothing else is said
SHORT = 4  # so many rows need no second button below them
# matplotlib draws one figure at a time.
DRAWING = threading.Lock()
_REASONS = {"leave_out": "a person left it out", "leave_out_slices": "nobody drew on them"}


class FindingsPanel(Panel):
    """Shows findings and the images one by one, and keeps what is answered; `value` is what is shown, of Finding.

    Answers are chosen first, here and in `strip`, and kept together by `use`, after which the folder is read once.

    Parameters
    ----------
    changed : callable, optional
        Is called after something was mended, undone or answered, so that the folder is read again.
    """

    def __init__(self, changed: Callable[[], None] | None = None) -> None:
        super().__init__()
        self.overview, self.list, self.made = widgets.HTML(), widgets.VBox(), widgets.VBox()
        self.bars = (AnswersBar(self.use), AnswersBar(self.use))  # above the list, which may be long, and below
        self.strip = StripPanel(self._count, AnswersBar(self.use))
        self._changed = changed
        self._cases: CaseFolder | None = None
        self._findings: Sequence[Finding] = ()
        self._seen: Mapping[str, frozenset[int]] | None = None
        self._repairs: tuple[Repair, ...] = ()  # as the findings saw them, and what was mended here since
        self._groups: list[list[Finding]] = []
        self._most: list[int] = []
        self._answers: dict[str, _Answer] = {}
        self._offered: dict[int, list[Answer]] = {}
        self._chosen: dict[int, tuple[Answer, ...]] = {}
        self._drawn: dict[int, FindingRow] = {}
        self._thumbnails = Thumbnails()
        # What a click led to is said where the eye is: above the list.
        self.stack(self.overview, self.bar, self.message, self.bars[0], self.list, self.bars[1], self.made)

    @property
    def rows(self) -> list[FindingRow]:
        """The findings that are unfolded now."""
        return [child for child in self.list.children if isinstance(child, FindingRow)]

    @property
    def chosen(self) -> tuple[Answer, ...]:
        """The answers that are chosen and not kept yet."""
        of_findings = (answer for answers in self._chosen.values() for answer in answers)
        return (*of_findings, *self.strip.chosen)

    # --- showing

    def show(
        self,
        cases: CaseFolder,
        findings: Sequence[Finding],
        *,
        seen: Mapping[str, frozenset[int]] | None = None,
        names: Pseudonyms | None = None,
    ) -> None:
        """Show findings, sorted by severity and then by kind; `seen` is as in `Examination`."""
        if self._cases is None or self._cases.folder != cases.folder:
            self._answers = {}
            self.say("")
        if findings is not self._findings:
            self._chosen = {}
        # An answer that another program has changed since is not said, nor taken back here.
        self._answers = {name: one for name, one in self._answers.items() if one.said == _said(cases, name)}
        self._cases, self._findings, self._seen, self._pseudonyms = cases, findings, seen, names
        self._drawn, self._repairs = {}, cases.repairs
        groups: dict[tuple[int, str], list[Finding]] = {}
        for finding in findings:
            groups.setdefault((SEVERITIES.index(finding.severity), finding.kind), []).append(finding)
        self._groups = [groups[key] for key in sorted(groups, key=lambda key: key[0])]
        self._most, left = [], MOST_ROWS
        for group in self._groups:
            self._most.append(min(len(group), MOST_OF_ONE_KIND, left))
            left -= self._most[-1]
        known = {case.case_id for case in cases.cases}
        self._offered = {
            id(one): answers_to(one, self._structure(one.label), known, self._case) for one in findings
        }
        self.overview.value = text(_overview(findings))
        with self.attempt():
            self._lay_out()
            self._list_repairs(read_repairs(cases.folder))
            self.strip.show(cases, seen or {}, names=names)
            self.lock(False)
            self._count()
            self.value = tuple(findings)

    def lock(self, locked: bool) -> None:
        """Make the buttons wait while the folder is read again."""
        for box in (self.list, self.made, self.strip.body):
            for control in _controls(box):
                control.disabled = locked
        for bar in (*self.bars, self.strip.bar_of_answers):
            bar.button.disabled = locked or not self.chosen

    def wait(self, timeout_s: float | None = None) -> None:
        """Wait until all is shown, small pictures included."""
        super().wait(timeout_s)
        self._thumbnails.wait(timeout_s)
        self.strip.wait(timeout_s)

    def show_more(self, group: int) -> None:
        """Show more findings of a group, counted from 0."""
        self._most[group] = min(len(self._groups[group]), self._most[group] + MORE_ROWS)
        self._lay_out()

    def _lay_out(self) -> None:
        children: list[widgets.Widget] = []
        for number, (group, most) in enumerate(zip(self._groups, self._most, strict=True)):
            if len(group) > 1:
                children.append(widgets.HTML(heading(f"{len(group)} × {_kind(group[0])}")))
            is_said = _is_said_once(group)
            if is_said and (advice := _advice(group[0], self.hidden)):
                children.append(widgets.HTML(text("\n".join(advice))))
            children += self._for_all(group) if len(group) > 1 else []
            children += [self._row(finding, is_brief=is_said) for finding in group[:most]]
            if most < len(group):
                more = min(len(group) - most, MORE_ROWS)
                words = f"Show {more} more of {len(group) - most}" if most else f"Show {_kind(group[0])}"
                children.append(button(words, partial(self.show_more, number), panel=self))
        self.list.children = children
        self._draw_thumbnails()

    def _for_all(self, group: Sequence[Finding]) -> list[widgets.Widget]:
        """Give buttons that choose the same answer to all findings of one kind."""
        same = answers_for_all([self._offered[id(finding)] for finding in group])
        buttons = [
            button(FOR_ALL[kind], partial(self._choose_all, group, of_each), f"Choose it for all {len(group)}")
            for kind, of_each in same.items()
        ]
        if not buttons:
            return []
        words = widgets.HTML(text(f"The same for all {len(group)}:"))
        layout = widgets.Layout(flex_flow="row wrap", align_items="center", margin="0 0 0 14px")
        return [widgets.HBox([words, *buttons], layout=layout)]

    def _choose_all(self, group: Sequence[Finding], of_each: Sequence[Sequence[Answer]]) -> None:
        for finding, answers in zip(group, of_each, strict=True):
            self._chosen[id(finding)] = tuple(answers)
            if id(finding) in self._drawn:
                self._drawn[id(finding)].choose(answers)
        self._count()

    def _row(self, finding: Finding, *, is_brief: bool) -> FindingRow:
        if id(finding) not in self._drawn:
            drawable = bool(finding.cases) and finding.kind not in NOT_DRAWN
            row = FindingRow(
                finding,
                self.hidden,
                self._offered[id(finding)],
                (lambda: self._draw(finding)) if drawable else None,
                changed=lambda: self._take(finding),
                is_brief=is_brief,
            )
            row.choose(self._chosen.get(id(finding), ()))
            self._drawn[id(finding)] = row
        return self._drawn[id(finding)]

    def _take(self, finding: Finding) -> None:
        self._chosen[id(finding)] = self._drawn[id(finding)].chosen
        self._count()

    def _count(self) -> None:
        """Say how many answers are chosen; where none can be given, nothing."""
        count, is_asked = len(self.chosen), any(self._offered.values())
        for bar in self.bars:
            bar.show(count)
        self.strip.bar_of_answers.show(count)
        self.bars[0].layout.display = "" if is_asked else "none"
        self.bars[1].layout.display = "" if is_asked and len(self.rows) > SHORT else "none"

    # --- pictures

    def _draw(self, finding: Finding) -> str:
        if self._cases is None:
            return ""
        names = {case_id: self._case(case_id) for case_id in finding.cases}
        with DRAWING:
            figure = show_findings([finding], self._cases, most=1, names=names)
            alt = f"{self.hidden(finding.problem)} As it is, and as the repair would have it."
            return picture(figure, alt, width="560px")

    def _draw_thumbnails(self) -> None:
        shown = [row for row in self.rows if row.finding.cases and row.finding.kind not in UNREADABLE]
        alts = [f"{self._case(row.finding.cases[0])}: the slice concerned" for row in shown]
        self._thumbnails.show(
            self._folder,
            [
                Wish(row.thumbnail, row.finding.cases[0], row.finding.slice_index, alt)
                for row, alt in zip(shown, alts, strict=True)
            ],
        )

    # --- mending

    def use(self) -> None:
        """Keep all answers that are chosen, and have the folder read again once."""
        answers = self.chosen
        if answers:
            self.keep(answers)

    def mend(self, repairs: Iterable[Repair]) -> None:
        """Keep repairs beside the data; those that are kept already are passed over."""
        self.keep([Answer("mend", "", repairs=tuple(repairs))])

    def answer(self, name: str, *, drawn_everywhere: bool | None, case_ids: Collection[str] | None = None) -> None:
        """Say whether a structure was looked for everywhere, or not drawn where it is not seen; None: ask again.

        With `case_ids` it is said of these cases only.
        """
        if drawn_everywhere is None:
            with self._saying() as tables:
                tables.append("annotated.csv")
                self._cases = declare_unknown(self._folder, name)
                self._answers.pop(name, None)
            return
        kind: Kind = "absent" if drawn_everywhere else "missing"
        about = () if case_ids is None else tuple(case_ids)
        self.keep([Answer(kind, "", about, structure=name, is_of_all=case_ids is None)])

    def keep(self, answers: Sequence[Answer]) -> None:
        """Keep answers beside the data, and have the folder read again once."""
        with self._saying() as tables:
            repairs = [repair for answer in answers for repair in answer.repairs]
            if repairs:
                self._keep_repairs(repairs)
                tables.append("repairs.csv")
            for answer in answers:
                if answer.kind in ("missing", "absent", "drawn"):
                    self._declare(answer)
                    tables.append("annotated.csv")
            for answer in answers:
                if answer.kind in ("sform", "pixdim"):
                    chosen = [case for case in self._folder.cases if case.case_id in answer.cases]
                    files = [image.path for case in chosen for image in case.images]
                    files += [label.path for case in chosen for label in case.labels]
                    answer_voxel_sizes(self._folder.folder, answer.kind, files)
                    tables.append("voxel_sizes.csv")
            # Last, for the others are said of the structures as they were read.
            if any(answer.kind == "names" for answer in answers):
                self._cases = keep_names(self._folder)
                tables.append("structures.csv")
            dropped = [answer.structure for answer in answers if answer.kind == "drop"]
            if dropped:
                leave_out_structures(self._folder, dropped)
                tables.append("structures.csv")

    def _keep_repairs(self, repairs: Iterable[Repair]) -> None:
        new = [
            replace(repair, reason=repair.reason or _REASONS.get(repair.kind, "the check proposed it"))
            for repair in dict.fromkeys(repairs)
        ]
        add_repairs(self._folder.folder, new, seen=self._repairs)
        self._repairs += tuple(repair for repair in new if repair not in self._repairs)

    def _declare(self, answer: Answer) -> None:
        name, about = answer.structure, None if answer.is_of_all else answer.cases
        if answer.kind == "missing":
            self._cases = declare_missing(self._folder, name, case_ids=about, seen=self._seen)
        elif answer.kind == "drawn":
            self._cases = declare_drawn(self._folder, name, case_ids=answer.cases)
        else:
            self._cases = declare_absent(self._folder, name, case_ids=about)
        earlier = self._answers[name].missing if about is not None and name in self._answers else {}
        now = dict.fromkeys([ALL] if about is None else about, answer.kind == "missing")
        self._answers[name] = _Answer(name, {**earlier, **now}, _said(self._folder, name))

    def undo(self, repairs: Iterable[Repair]) -> None:
        """Take repairs back."""
        with self._saying("Taken back."):
            gone = set(repairs)
            undo_repairs(self._folder.folder, gone)
            self._repairs = tuple(repair for repair in self._repairs if repair not in gone)

    def ask_sizes_again(self) -> None:
        """Take back which size of a voxel holds."""
        with self._saying("Taken back."):
            forget_answers(self._folder.folder)

    @contextmanager
    def _saying(self, words: str = "") -> Iterator[list[str]]:
        """Say what was done and have the folder read again; read it too if another program has changed it.

        Without words it is said in which tables it was kept; the block puts their names into the list.
        """
        tables: list[str] = []
        try:
            yield tables
        except Exception as error:
            self.fail(error)
            if not tables and not isinstance(error, OutdatedError):
                return
        else:
            kept = listed(list(dict.fromkeys(tables)))
            self.say(words or f"Kept beside your data in {kept}; your own files stay as they are.", "done")
            self._chosen = {}
            self.strip.forget()
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
            words = f"Take back all that was said of {name}, of every image"
            undo = button("Undo", partial(self.answer, name, drawn_everywhere=None), words)
            rows.append(widgets.HBox([undo, widgets.HTML(text(answer.words))]))
        for words in self._answered_sizes():
            undo = button("Undo", self.ask_sizes_again, f"Undo: {words}")
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
    """What was answered about a structure, and what is known of each case since.

    `missing` tells by case whether it was not drawn there, or else looked for; under ALL, of all others.
    """

    name: str
    missing: Mapping[str, bool]
    said: Mapping[str, tuple[bool, bool]]

    @property
    def words(self) -> str:
        """What was answered, a sentence a line."""
        lines = []
        for is_missing in dict.fromkeys(self.missing.values()):
            count = sum(one is is_missing for case_id, one in self.missing.items() if case_id != ALL)
            images = f"on {counted(count, 'image')}"
            if self.missing.get(ALL) is is_missing:
                images = "where it is not seen" if is_missing else "everywhere"
            lines.append(
                f"{self.name} was not drawn {images}."
                if is_missing
                else f"{self.name} was looked for {images}: where it is not drawn, it is not there."
            )
        return "\n".join(lines)


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
        elif isinstance(child, widgets.Button | widgets.ToggleButton | widgets.Dropdown):
            yield child
