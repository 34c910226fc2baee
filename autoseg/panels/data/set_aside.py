"""Patients that are kept for a last test, before anything is learnt."""

from __future__ import annotations

from collections.abc import Callable, Collection

import ipywidgets as widgets

from autoseg.data.cases import CaseFolder, Pseudonyms
from autoseg.data.split import split_cases, subjects_of
from autoseg.data.test_subjects import freeze_test_subjects, read_ledger
from autoseg.errors import DataError
from autoseg.panels.parts.panel import Panel
from autoseg.panels.parts.style import text

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
        self.boxes: dict[str, widgets.Checkbox] = {}
        self.state = widgets.HTML()
        self.list = widgets.VBox(layout=widgets.Layout(max_height="220px", overflow="auto"))
        self.freeze_button = widgets.Button(
            description="Set aside",
            tooltip="Keep the ticked patients for a last test",
            layout=widgets.Layout(width="auto"),
        )
        self.freeze_button.on_click(lambda _: self._clicked())
        self.body.children = [widgets.HTML(text(WORDS)), self.state, self.list, widgets.HBox([self.freeze_button])]

    def show(self, cases: CaseFolder, *, names: Pseudonyms | None = None) -> None:
        """Show the patients of a folder, and which of them are set aside already."""
        if self._cases is not None and self._cases.folder != cases.folder:
            self.say("")  # what was kept was kept elsewhere
        self._cases = cases
        with self.attempt():
            ledger = read_ledger(cases.folder)
            frozen = ledger.subjects if ledger else ()
            looked = bool(ledger and ledger.looks)
            counts = {subject: 0 for subject in subjects_of(cases.cases)}
            for case in cases.cases:
                counts[case.subject_id] += 1
            self.boxes = {
                subject: widgets.Checkbox(
                    value=subject in frozen,
                    disabled=looked,
                    indent=False,
                    description=f"{names.of(subject) if names else subject} ({count} image{'s' * (count > 1)})",
                    tooltip="Keep this patient for a last test",
                )
                for subject, count in counts.items()
            }
            self.list.children = tuple(self.boxes.values())
            self.freeze_button.disabled = looked
            self.state.value = text(ledger.note if ledger else "Nobody is set aside yet.")
            self.value = ledger

    def freeze(self, subjects: Collection[str]) -> None:
        """Keep these patients for a last test."""
        with self.attempt():
            if self._cases is None:
                raise DataError("No folder is chosen yet. Choose one first.")
            split_cases(self._cases.cases, test_subjects=subjects)  # enough must remain to learn from
            self.value = freeze_test_subjects(self._cases.folder, subjects)
            self.state.value = text(self.value.note)
            self.say("Kept beside your data (test_subjects.json).", "done")
            if self._changed is not None:
                self._changed()

    def _clicked(self) -> None:
        self.freeze([subject for subject, box in self.boxes.items() if box.value])
