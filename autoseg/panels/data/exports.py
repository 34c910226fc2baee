"""Write the images and labels of the chosen folder for other programs: nnU-Net and BIDS."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
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
OnCase = Callable[[int, int], None]


class ExportsPanel(Panel):
    """Buttons that write a folder of cases for other programs; `value` is the folder that was written last."""

    def __init__(self) -> None:
        super().__init__()
        self._cases: CaseFolder | None = None
        self._stopping = threading.Event()  # of the writing that is under way; each has its own
        self.nnunet_button = button(
            "Write for nnU-Net",
            self.write_nnunet,
            "Images and labels as nnU-Net's raw data set, with dataset.json and the folds by patient",
            icon="share-square-o",
        )
        self.bids_button = button(
            "Write as BIDS", self.write_bids, "Images and labels as a BIDS data set", icon="share-square-o"
        )
        self.stop_button = button("Stop", self.stop, "Stop; nothing is written then", icon="stop")
        self.stop_button.disabled = True
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
            [self.nnunet_button, self.bids_button, self.stop_button, self.contrast],
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

        def make(found: CaseFolder, folder: Path, on_case: OnCase) -> Sequence[str]:
            return write_nnunet(found, folder / f"{DATASET}_{_named(found)}", on_case=on_case)

        self._write("nnunet", make)

    def write_bids(self) -> None:
        """Write a BIDS data set in the background, as the button does."""
        suffixes = self.contrast.value.split()

        def make(found: CaseFolder, folder: Path, on_case: OnCase) -> Sequence[str]:
            return write_bids(found, folder, suffixes=suffixes, on_case=on_case)

        self._write("bids", make)

    def stop(self) -> None:
        """Stop the writing, of which nothing is left then, as the button does."""
        self._stopping.set()
        self.stop_button.disabled = True
        self.say("Stopping …")

    def _write(self, what: str, make: Callable[[CaseFolder, Path, OnCase], Sequence[str]]) -> None:
        found = self._cases
        if found is None:
            return
        stopping = self._stopping = threading.Event()
        self._allow(False)

        def tell(done: int, count: int) -> None:
            if stopping.is_set():
                raise _Stopped
            self.progress(done / count)
            self.say(f"Writing image {done + 1} of {count} …")

        def work() -> tuple[Path, Sequence[str]] | None:
            try:
                folder = untaken(found.folder.resolve().with_name(f"{_named(found)}_{what}"))
                try:
                    return folder, make(found, folder, tell)
                except Exception as error:
                    with suppress(OSError):  # made around the data set, which is gone
                        folder.rmdir()
                    if isinstance(error, _Stopped):
                        return None
                    raise
            finally:
                self._allow(True)

        def then(made: tuple[Path, Sequence[str]] | None) -> None:
            if made is None:
                self.say("Stopped. Nothing was written.", "warning")
                return
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
        self.stop_button.disabled = can_start


class _Stopped(Exception):
    """Somebody pressed Stop."""


def _named(found: CaseFolder) -> str:
    return safe_name(found.folder.resolve().name)
