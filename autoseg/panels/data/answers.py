"""What can be answered to the findings of a check, chosen on the page first and kept beside the data in one go."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import ipywidgets as widgets

from autoseg.data.checks import Finding
from autoseg.data.repairs import Repair, leave_out, settle
from autoseg.panels.parts.fields import button
from autoseg.panels.parts.style import text
from autoseg.words import counted

Kind = Literal[
    "mend", "threshold", "out", "missing", "absent", "drawn", "names", "drop", "sform", "pixdim", "slices"
]
# The same answer to several findings.
FOR_ALL: dict[Kind, str] = {
    "mend": "Mend as proposed",
    "out": "Leave these images out",
    "missing": "It was not drawn there",
    "slices": "Not drawn there: leave these slices out",
    "absent": "It really is not there",
    "names": "They are one structure",
    "drop": "Leave these structures out",
    "sform": "The sform holds",
    "pixdim": "The pixdim holds",
}
NOT_DRAWN, NOT_THERE = FOR_ALL["missing"], FOR_ALL["absent"]


@dataclass(frozen=True)
class Answer:
    """Something that a person says: which kind it is of, the words of its button, and the cases it is about.

    `repairs` are kept by it, `structure` is the one of which something is said; `is_of_all` that it is said of all
    cases, whichever are named.
    """

    kind: Kind
    words: str
    cases: tuple[str, ...] = ()
    tooltip: str = ""
    repairs: tuple[Repair, ...] = ()
    structure: str = ""
    is_of_all: bool = False

    def is_same(self, other: Answer) -> bool:
        """Whether the two say the same, whatever the page calls the cases; of a share it may be another number."""
        mine, theirs = ((one.kind, one.cases, one.structure) for one in (self, other))
        return mine == theirs and (self.kind == "threshold" or self.repairs == other.repairs)

    def excludes(self, other: Answer) -> bool:
        """Whether only one of the two can hold: both are about the same case."""
        return not (self.cases and other.cases) or not set(self.cases).isdisjoint(other.cases)


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


def answers_to(finding: Finding, name: str, known: Collection[str], called: Callable[[str], str]) -> list[Answer]:
    """Give what can be answered to a finding about the structure `name` ("": about none).

    `known` are the cases of the folder, `called` gives what the page calls them.
    """
    cases = finding.cases
    out = _leaving_out(finding, known, called)
    if finding.kind == "absent" and name:
        drawn = f"{name} is to be seen there, but nobody drew it: nothing is learnt from these images about it"
        absent = f"Somebody looked for {name} there, and there is none: this is learnt"
        return [
            Answer("missing", NOT_DRAWN, cases, drawn, structure=name, is_of_all=True),
            Answer("absent", NOT_THERE, cases, absent, structure=name, is_of_all=True),
        ]
    if finding.kind == "names" and name:
        words = f"What these files call so is {name}: written into the table of structures"
        return [Answer("names", f"They are all {name}", cases, words)]
    if finding.kind == "sizes":
        words = "Areas are measured by it from now on; kept beside your data (voxel_sizes.csv)"
        sform = Answer("sform", FOR_ALL["sform"], cases, words)
        return [sform, replace(sform, kind="pixdim", words=FOR_ALL["pixdim"]), *out]
    if finding.kind == "shares":
        repairs = tuple(settle(case_id, "threshold") for case_id in cases)
        words = "Kept beside your data in repairs.csv"
        return [Answer("threshold", "Count pixels from this share on", cases, words, repairs), *out]
    answers = []
    if finding.kind == "gap":
        told = "They are neither learnt from nor tested on; the other slices are, and the file stays"
        if finding.repairs:
            answers.append(Answer("slices", FOR_ALL["slices"], cases, told, finding.repairs))
        elif name:
            answers.append(Answer("missing", NOT_DRAWN, cases, "Nothing is learnt there", structure=name))
        if name:
            answers.append(Answer("absent", NOT_THERE, cases, "This is learnt", structure=name))
        return answers + out
    for words, repairs in offers(finding):
        mended = tuple(dict.fromkeys(repair.case_id for repair in repairs))
        answers.append(Answer("mend", f"Mend: {words}", mended, words, repairs))
    if finding.kind == "never" and name:
        answers.append(Answer("drop", f"Leave {name} out", cases, structure=name))
    return answers + out


def leaving_out(case_ids: Sequence[str], words: str = "", tooltip: str = "") -> Answer:
    """Give the answer that leaves cases out."""
    return Answer("out", words, tuple(case_ids), tooltip, tuple(map(leave_out, case_ids)))


def _leaving_out(finding: Finding, known: Collection[str], called: Callable[[str], str]) -> list[Answer]:
    cases = [case_id for case_id in finding.cases if case_id in known]
    stays = "{} is neither learnt from nor tested on; the file stays"
    if len(cases) == 1:
        return [leaving_out(cases, "Leave this image out", stays.format(called(cases[0])))]
    if len(cases) > 2 and len(cases) == len(known):
        return []
    each = [
        leaving_out([case_id], f"Leave {called(case_id)} out", stays.format(called(case_id))) for case_id in cases
    ]
    if len(cases) > 2:
        each.append(leaving_out(cases, f"Leave all {len(cases)} out", "They are not learnt from; the files stay"))
    return each


def answers_for_all(offered: Sequence[Sequence[Answer]]) -> dict[Kind, list[list[Answer]]]:
    """Give, by kind, the answers that several findings of a kind have in common: those to each of them.

    Several repairs of one finding belong together; of anything else there must be exactly one.
    """
    found: dict[Kind, list[list[Answer]]] = {}
    for kind in FOR_ALL:
        of_each = [[answer for answer in answers if answer.kind == kind] for answers in offered]
        if all(len(answers) == 1 or (answers and kind == "mend") for answers in of_each):
            found[kind] = of_each
    return found


class AnswersBar(widgets.HBox):
    """The button that keeps the answers that are chosen, and says how many they are."""

    def __init__(self, use: Callable[[], None]) -> None:
        self.button = button("", use, "Keep the chosen answers beside your data, and read the folder again once")
        self.words = widgets.HTML()
        super().__init__(
            [self.button, self.words], layout=widgets.Layout(flex_flow="row wrap", align_items="center")
        )
        self.show(0)

    def show(self, count: int) -> None:
        """Say how many answers are chosen."""
        self.button.disabled = not count
        self.button.button_style = "primary" if count else ""
        self.button.description = f"Use {counted(count, 'answer')}" if count else "Use the answers"
        told = "Nothing is changed until then. They are kept beside your data, and the folder is read again once."
        self.words.value = text(told if count else "Choose answers first, as many as you like.")
