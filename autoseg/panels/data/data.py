"""The data panel: choose a folder; see what it holds, what is wrong with it, and mend that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import ipywidgets as widgets

from autoseg.data.cases import CaseFolder, Pseudonyms, Reading, find_cases
from autoseg.data.checks import Examination, examine_cases
from autoseg.data.split import split_cases
from autoseg.data.test_subjects import freeze_test_subjects, read_ledger
from autoseg.errors import AutosegError, DataError, NoLabelsError, OutdatedError, UnlabelledError
from autoseg.image.structures import Structure
from autoseg.panels.data.exports import ExportsPanel
from autoseg.panels.data.findings import FindingsPanel
from autoseg.panels.data.first_labels import FirstLabelsPanel
from autoseg.panels.data.reading import HowToRead, ReadingPanel
from autoseg.panels.data.structures_editor import StructuresPanel
from autoseg.panels.parts.chooser import FolderChooser
from autoseg.panels.parts.fields import WithoutIds, button, tick
from autoseg.panels.parts.panel import Panel
from autoseg.panels.parts.style import text
from autoseg.panels.parts.values import Data
from autoseg.training.plan import Plan, plan_settings
from autoseg.training.rounds import Round
from autoseg.words import counted, escaped

# --- patients that are kept for a last test, before anything is learnt

WORDS = (
    "Nothing is learnt from these patients, and nothing is chosen by them: what a model scores on them at the very "
    "end is what you may expect of new patients. Tick a few before the first training. You can choose others until "
    "somebody has looked at their scores; from then on they stay, and every look is counted."
)


class SetAsidePanel(Panel):
    """Lets patients be set aside for a last test; `value` is the Ledger beside the data, or None.

    Parameters
    ----------
    changed : callable, optional
        Is called after patients were set aside, so that settings are planned anew.
    """

    def __init__(self, changed: Callable[[], None] | None = None) -> None:
        super().__init__()
        self._changed = changed
        self._cases: CaseFolder | None = None
        self._aside: tuple[str, ...] = ()  # as they were shown
        self.boxes: dict[str, widgets.Checkbox] = {}
        self.state = widgets.HTML()
        self.list = widgets.VBox(layout=widgets.Layout(max_height="220px", overflow="auto"))
        self.freeze_button = button(
            "Set aside",
            lambda: self.freeze([subject for subject, box in self.boxes.items() if box.value]),
            "Keep the ticked patients for a last test",
        )
        self.body.children = [widgets.HTML(text(WORDS)), self.state, self.list, widgets.HBox([self.freeze_button])]

    def show(self, cases: CaseFolder, *, names: Pseudonyms | None = None) -> None:
        """Show the patients of a folder, and which of them are set aside already."""
        if self._cases is not None and self._cases.folder != cases.folder:
            self.say("")  # what was kept was kept elsewhere
        self._cases, self._pseudonyms = cases, names
        with self.attempt():
            ledger = read_ledger(cases.folder)
            frozen = self._aside = ledger.subjects if ledger else ()
            looked = bool(ledger and ledger.looks)
            self.boxes = {
                subject: tick(
                    f"{names.of(subject) if names else subject} ({count} image{'s' * (count > 1)})",
                    "Keep this patient for a last test",
                    value=subject in frozen,
                )
                for subject, count in sorted(Counter(case.subject_id for case in cases.cases).items())
            }
            for box in self.boxes.values():
                box.disabled = looked
            self.list.children = tuple(self.boxes.values())
            self.freeze_button.disabled = looked
            self.state.value = text(ledger.note if ledger else "Nobody is set aside yet.")
            self.value = ledger

    def freeze(self, subjects: Collection[str]) -> None:
        """Keep these patients for a last test; if others were set aside since the panel was shown, show those."""
        with self.attempt():
            if self._cases is None:
                raise DataError("No folder is chosen yet. Choose one first.")
            split_cases(self._cases.cases, test_subjects=subjects)  # enough must remain to learn from
            try:
                self.value = freeze_test_subjects(self._cases.folder, subjects, instead_of=self._aside)
            except OutdatedError as error:
                self.fail(error)
            else:
                self._aside = self.value.subjects
                self.state.value = text(self.value.note)
                self.say("Kept beside your data (test_subjects.json).", "done")
            if self._changed is not None:
                self._changed()


TITLE = "Folder with your images and their labels"
IMAGES, STRUCTURES, READING, SET_ASIDE, EXPORTS = range(5)
SECTIONS = (
    "Images one by one: drawn, not drawn, or left out",
    "Structures: what each label value is",
    "How to read the files",
    "Set patients aside for a last test",
    "For other programs: nnU-Net, BIDS",
)


@dataclass(frozen=True, eq=False)
class _Read:
    """What reading a folder gave; no plan where there are errors, or where none can be made (`trouble`)."""

    cases: CaseFolder
    examined: Examination
    plan: Plan | None
    trouble: str = ""


class DataPanel(Panel):
    """Lets a person choose a folder, checks it and helps to mend it; `value` is a Data without errors, or None.

    Parameters
    ----------
    folder : Path or str, optional
        Is read at once.
    reading : Reading, optional
        What the files leave open.
    structures : dict of str by int, or sequence of Structure, optional
        As in `find_cases`; by default as in `structures.csv` beside the data, and once that is written, as it says.
    unlabelled : {"refuse", "skip"}
        What to do with images that have no label file.
    show_ids : bool
        Whether patients' IDs are on the screen.
    start : Path or str, optional
        Where choosing begins if no folder is given; by default the folder of the notebook.
    """

    def __init__(
        self,
        folder: Path | str | None = None,
        *,
        reading: Reading | None = None,
        structures: Mapping[int, str] | Sequence[Structure] | None = None,
        unlabelled: Literal["refuse", "skip"] = "refuse",
        show_ids: bool = False,
        start: Path | str | None = None,
    ) -> None:
        super().__init__()
        self._structures = structures
        self._read: _Read | None = None
        self._failed: BaseException | None = None
        self.chooser = FolderChooser(start, title=TITLE, chosen=folder, remembers="data")
        self.found = widgets.HTML()
        self.show_ids = tick("Show patient IDs", "Show the IDs of patients in place of numbers", value=show_ids)
        self.without_ids = WithoutIds(self.read)
        self.findings = FindingsPanel(self.read)
        self.structures = StructuresPanel(self._structures_kept)
        self.how = ReadingPanel(reading, unlabelled=unlabelled)
        self.leave_out = tick("Leave out images that have no label file")
        self.set_aside = SetAsidePanel(self.read)
        self.exports = ExportsPanel()
        self.first_labels = FirstLabelsPanel(self._use_drawn)
        inside = (self.findings.strip, self.structures, self.how, self.set_aside, self.exports)
        self.sections = tuple(
            widgets.Accordion([panel], titles=[title], selected_index=None)
            for panel, title in zip(inside, SECTIONS, strict=True)
        )
        self.sections[STRUCTURES].selected_index = 0
        # How files are read stays in its place: who types there would else lose it under the hands.
        self.above, self.below = widgets.VBox(), widgets.VBox()
        self.body.children = [self.above, self.sections[READING], self.below]
        self.remedy = widgets.VBox()  # beside the sentence that says what is wrong
        self.stack(self.chooser, self.bar, self.message, self.remedy, self.body)
        self.leave_out.observe(self._left_out, "value")
        self.show_ids.observe(lambda _: self._show(), "value")
        self.sections[IMAGES].observe(
            lambda change: self.findings.strip.unfold(change["new"] is not None), "selected_index"
        )
        self.follow(self.chooser, lambda _: self._choose())
        self.first_labels.observe(lambda change: self._drawing_begun(change["new"]), "value")
        self.how.observe(lambda _: self.read(), "value")

    # --- what a click does, for scripts as well

    def choose(self, folder: Path | str) -> None:
        """Choose a folder and read it."""
        self.chooser.choose(folder)

    def _use_drawn(self, folder: Path, channels: Sequence[str]) -> None:
        self.how.channels.value = ", ".join(channels)
        self.choose(folder)

    def read(self) -> None:
        """Read and check the chosen folder (again)."""
        folder, how = self.chooser.value, self.how.value
        if folder is None:
            return
        if how is None:
            self.start(_refuse_reading, lambda _: None)
            return
        self.hide_ids_of((), folder)
        self._failed, self.remedy.children = None, ()
        mine = self._number + 1
        self.findings.lock(True)

        def tell(number: int, total: int) -> None:
            if mine != self._number:
                raise DataError("The folder is being read again.")  # nobody waits for this reading
            self.progress(number / total)
            self.say(f"Checking image {number} of {total} …")

        self.start(lambda: self._look(folder, how, tell), self._take, saying=f"Looking through {folder} …")

    def wait(self, timeout_s: float | None = None) -> None:
        """Wait until the folder is chosen, read and shown, pictures included."""
        self.chooser.wait(timeout_s)
        super().wait(timeout_s)
        self.findings.wait(timeout_s)

    def fail(self, error: BaseException) -> None:
        """Show why the folder cannot be read; what was shown of it goes."""
        self._failed = error
        super().fail(error)
        self._forget()
        if isinstance(error, UnlabelledError):
            self.leave_out.value = False
            self.remedy.children = [self.leave_out]
        elif isinstance(error, NoLabelsError) and self.chooser.value is not None:
            self._say_failed()
            self.first_labels.offer(self.chooser.value)
            self.remedy.children = [self.first_labels]
        else:
            self.sections[READING].selected_index = 0

    def _say_failed(self) -> None:
        """Say why the folder cannot be read; labels that are missing can be drawn here, which is no error."""
        if isinstance(self._failed, NoLabelsError):
            self.say(self.hidden(str(self._failed)), "warning")
        elif self._failed is not None:
            super().fail(self._failed)

    def _drawing_begun(self, now: Round | None) -> None:
        """Whoever draws labels need not be told any more that there are none."""
        if now is not None and self.first_labels in self.remedy.children:
            self._failed = None
            self.say("")

    # --- reading

    def _choose(self) -> None:
        if self.chooser.value is not None:
            self._forget()
            self.read()
            return
        self.give_up()
        self._forget()

    def _left_out(self, change: dict[str, Any]) -> None:
        if change["new"]:
            self.how.skip.value = True  # with which the folder is read again

    def _structures_kept(self) -> None:
        self._structures = None
        self.read()

    def _look(self, folder: Path, how: HowToRead, tell: Callable[[int, int], None]) -> _Read:
        cases = find_cases(folder, structures=self._structures, unlabelled=how.unlabelled, reading=how.reading)
        examined = examine_cases(cases, tell=lambda number: tell(number, len(cases.cases)))
        if any(finding.severity == "error" for finding in examined.findings):
            return _Read(cases, examined, None)
        try:
            return _Read(cases, examined, plan_settings(cases))
        except AutosegError as error:  # the folder is shown all the same: it may be mended here
            return _Read(cases, examined, None, str(error))

    def _take(self, read: _Read) -> None:
        self._read = read
        self.hide_ids_of(read.cases.cases, read.cases.folder)
        self._show()
        errors = sum(finding.severity == "error" for finding in read.examined.findings)
        if errors:
            must = "One error must" if errors == 1 else f"{errors} errors must"
            self.say(f"{must} be mended before training. What to do stands with each, below.", "error")
        elif read.plan is None:
            self.say(self.hidden(read.trouble), "error")
        else:
            self.value = Data(read.cases, read.examined.findings, read.plan)

    # --- showing

    def _show(self) -> None:
        """Show what was read, with IDs or without."""
        if self._read is None:
            self._say_failed()
            return
        cases, examined = self._read.cases, self._read.examined
        names = self.pseudonyms
        self.found.value = _found(cases, names)
        self.findings.show(cases, examined.findings, seen=examined.seen, names=names)
        self.structures.show(cases, examined.counts, names=names)
        self.set_aside.show(cases, names=names)
        self.exports.show(cases)
        self.without_ids.show(cases.folder)
        sections = [self.sections[IMAGES], self.sections[STRUCTURES]]
        self.above.children = [self.found, self.show_ids, self.without_ids, self.findings, *sections]
        self.below.children = [self.sections[SET_ASIDE], self.sections[EXPORTS]]
        self.sections[READING].layout.display = ""

    def _forget(self) -> None:
        """Show nothing of a folder; how to read it may still be changed."""
        self._read = None
        self.remedy.children = ()
        is_chosen = self.chooser.value is not None
        self.above.children, self.below.children = [self.show_ids] if is_chosen else [], []
        self.sections[READING].layout.display = "" if is_chosen else "none"


def _refuse_reading() -> None:
    raise DataError("Correct first how the files are to be read (below).")


def _found(cases: CaseFolder, names: Pseudonyms | None) -> str:
    """Say in a line what was found, then what was concluded and left alone."""
    patients = len({case.subject_id for case in cases.cases})
    hide = names.hide if names else str
    rules = list(dict.fromkeys(hide(case.rules) for case in cases.cases if case.rules))
    lines = [
        f"{counted(len(cases.cases), 'image')} of {counted(patients, 'patient')}, every one with labels. "
        f"Found by: {'; or '.join(rules[:3])}.",
        *map(hide, cases.notes),
    ]
    if cases.skipped:
        lines.append(
            f"{counted(len(cases.skipped), 'file')} {'was' if len(cases.skipped) == 1 else 'were'} left alone:"
        )
    named = [f"{file.path.name}: {file.reason}" for file in cases.skipped]
    left = "\n".join(named if names is None else names.left_alone(cases.skipped))
    unfold = (
        '<details style="color:var(--jp-ui-font-color1,inherit)"><summary style="cursor:pointer">Which, and why'
        '</summary><pre style="white-space:pre-wrap;font-size:11px;max-height:200px;overflow:auto">'
        f"{escaped(left)}"
        "</pre></details>"
        if left
        else ""
    )
    return text("\n".join(lines)) + unfold
