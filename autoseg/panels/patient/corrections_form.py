"""The fields and buttons with which labels are corrected, in three steps: write, read back, keep."""

from __future__ import annotations

import ipywidgets as widgets

from autoseg.panels.parts.download import DownloadButton
from autoseg.panels.parts.panel import Panel
from autoseg.panels.parts.style import heading, text

FINER = 3
WORDS = (
    "Mend the outlines by hand in ITK-SNAP, 3D Slicer or FSLeyes, read them back, and keep them as labels from "
    "which training and fine-tuning go on."
)
IN_PLACE = ""
CHANGED, ALL, SOME = "changed", "all", "some"
CHECKED_CHOICES = (
    ("the slices on which I changed something", CHANGED),
    ("every slice: I looked at all of them", ALL),
    ("these slices:", SOME),
)
UNCHANGED = (
    "Nothing was changed. If somebody looked at every slice and found it right, choose that below, and keep it."
)
ABOUT_CHECKED = (
    "Only slices that somebody looked at are learnt from; a model that sees volumes needs every slice of an image."
)
WIDE = {"description_width": "130px"}
PLACE = {"width": "520px"}
BUTTON = {"width": "auto", "align_self": "flex-start"}
ROW = {"align_items": "center", "flex_flow": "row wrap"}


class CorrectionForm(Panel):
    """What a person fills in and clicks; what it does is in `panels.corrections`."""

    def __init__(self, *, keep_in: str, by: str, is_open: bool) -> None:
        super().__init__()
        self._build_writing()
        self._build_reading(by)
        self._build_keeping(keep_in)
        parts = [self.writing, self.written, self.reading, self.keeping]
        self.fold = widgets.Accordion([widgets.VBox([widgets.HTML(text(WORDS)), *parts])])
        self.fold.set_title(0, "Correct by hand (optional)")
        self.fold.selected_index = 0 if is_open else None
        self.body.children = [self.fold]

    def _build_writing(self) -> None:
        self.finer = widgets.Checkbox(
            description=f"finer in plane, {FINER} times (for thin structures)", indent=False
        )
        self.write_button = _button(
            "Write for correction", "pencil", "Write images and labels into the run's folder"
        )
        self.folders = widgets.Dropdown(description="Folder", layout=PLACE, style=WIDE)
        self.guide = widgets.HTML()
        self.open_button = _button("Open the folder", "folder-open", "Show the files")
        self.zip = DownloadButton("to_correct.zip", lambda: b"", description="Download as zip")
        self.writing = widgets.VBox(
            [
                widgets.HTML(heading("1. Write the files")),
                widgets.HBox([self.write_button, self.finer], layout=ROW),
            ]
        )
        self.files = widgets.VBox([self.guide, widgets.HBox([self.open_button, self.zip], layout=ROW)])
        self.written = widgets.VBox([self.folders, self.files])

    def _build_reading(self, by: str) -> None:
        self.by = _field("Corrected by", by, "initials or a name")
        self.image = widgets.Dropdown(description="Image", layout=PLACE, style=WIDE)
        self.file = widgets.Dropdown(description="Which file", layout=PLACE, style=WIDE)
        self.exchanged = widgets.Checkbox(
            description="two structures were exchanged on purpose (left and right, say)",
            indent=False,
            layout={"width": "auto"},
        )
        self.read_button = _button(
            "Read the corrected file back", "refresh", "Show what was changed; nothing is kept yet"
        )
        self.changes, self.look = widgets.HTML(), widgets.VBox()
        above = widgets.HTML(heading("2. Correct, save, and read back"))
        fields = [self.by, self.image, self.file, self.exchanged]
        self.reading = widgets.VBox([above, *fields, self.read_button, self.changes, self.look])

    def _build_keeping(self, keep_in: str) -> None:
        self.checked = widgets.RadioButtons(options=CHECKED_CHOICES, layout={"width": "auto"})
        self.slices = _field("Slices", "", "counted from 1, such as 4-9 12")
        self.keep_in = _field("Keep in the folder", keep_in, "a folder of cases, or a new one")
        self.keep_button = _button("Keep as labels", "check", "Write the corrected labels to learn from them")
        self.replace_button = _button("Replace those labels", "warning", "The earlier ones stay in earlier_labels")
        self.keeping = widgets.VBox(
            [
                widgets.HTML(heading("3. Keep as labels") + text(ABOUT_CHECKED)),
                self.checked,
                self.slices,
                self.keep_in,
                widgets.HBox([self.keep_button, self.replace_button], layout=ROW),
            ]
        )


def _button(words: str, icon: str, tooltip: str) -> widgets.Button:
    return widgets.Button(description=words, icon=icon, tooltip=tooltip, layout=BUTTON)


def _field(words: str, value: str, placeholder: str) -> widgets.Text:
    return widgets.Text(value=value, placeholder=placeholder, description=words, layout=PLACE, style=WIDE)
