"""Write the images and labels of the chosen folder for other programs: nnU-Net and BIDS."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import ipywidgets as widgets

from autoseg.data.bids import SUFFIXES, write_bids
from autoseg.data.cases import CaseFolder
from autoseg.data.nnunet import exported_cases, write_nnunet
from autoseg.files.file_names import safe_name, untaken
from autoseg.panels.parts.download import folder_row
from autoseg.panels.parts.fields import button, field
from autoseg.panels.parts.panel import Panel
from autoseg.panels.parts.style import text

WORDS = (
    "Images and labels as other programs take them, in a new folder beside yours; yours stays as it is. Files are "
    'called after yours, and so may name patients. What to do with them then stands in the manual, "With nnU-Net".'
)
# Numbers that nnU-Net leaves to its users begin here.
DATASET = "Dataset501"
MEANINGS = {"nnunet": "Raw data set of nnU-Net", "bids": "Data set of BIDS"}


class ExportsPanel(Panel):
    """Buttons that write a folder of cases for other programs; `value` is the folder that was written last."""

    def __init__(self) -> None:
        super().__init__()
        self._cases: CaseFolder | None = None
        self.nnunet_button = button(
            "Write for nnU-Net",
            self.write_nnunet,
            "Images and labels as nnU-Net's raw data set, with dataset.json and the folds by patient",
            icon="share-square-o",
        )
        self.bids_button = button(
            "Write as BIDS", self.write_bids, "Images and labels as a BIDS data set", icon="share-square-o"
        )
        self.contrast = field(
            widgets.Combobox,
            "Contrast",
            "What BIDS calls your images; of several channels one name each, with spaces between",
            width="330px",
            label="80px",
            placeholder="for BIDS: as the names say",
            options=tuple(SUFFIXES),
        )
        row = widgets.HBox(
            [self.nnunet_button, self.bids_button, self.contrast],
            layout={"align_items": "center", "flex_flow": "row wrap"},
        )
        self.written = widgets.VBox()
        self.body.children = [widgets.HTML(text(WORDS)), row, self.written]

    def show(self, cases: CaseFolder) -> None:
        """Offer a folder that was read."""
        if self._cases is None or self._cases.folder != cases.folder:
            self.say("")
            self.value, self.written.children = None, ()
        self._cases = cases
        self.hide_ids_of(cases.cases, cases.folder)

    def write_nnunet(self) -> None:
        """Write nnU-Net's raw data set in the background, as the button does."""
        self._write("nnunet", lambda found, folder: write_nnunet(found, folder / f"{DATASET}_{_named(found)}"))

    def write_bids(self) -> None:
        """Write a BIDS data set in the background, as the button does."""
        suffixes = self.contrast.value.split()
        self._write("bids", lambda found, folder: write_bids(found, folder, suffixes=suffixes))

    def _write(self, what: str, make: Callable[[CaseFolder, Path], Sequence[str]]) -> None:
        found = self._cases
        if found is None:
            return
        self._allow(False)

        def work() -> tuple[Path, Sequence[str]]:
            try:
                folder = untaken(found.folder.resolve().with_name(f"{_named(found)}_{what}"))
                return folder, make(found, folder)
            finally:
                self._allow(True)

        def then(made: tuple[Path, Sequence[str]]) -> None:
            folder, notes = made
            self.value = folder
            if self._cases is not None and self._cases.folder == found.folder:
                self.written.children = [*self.written.children, folder_row(folder, MEANINGS[what])]
            is_whole = what != "nnunet" or len(exported_cases(found)) == len(found.cases)
            lines = [f"Written to {folder}", *map(self.hidden, map(str, notes))]
            self.say("\n".join(lines), "done" if is_whole else "warning")

        self.start(work, then, saying="Writing images and labels …")

    def _allow(self, can_start: bool) -> None:
        self.nnunet_button.disabled = self.bids_button.disabled = not can_start


def _named(found: CaseFolder) -> str:
    return safe_name(found.folder.resolve().name)
