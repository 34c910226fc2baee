"""The panel that writes labels to be corrected by hand, reads them back, and keeps them to learn from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import ipywidgets as widgets
import pandas as pd

from autoseg.data.corrections.keep import Keeping, corrected_image, keep_corrections
from autoseg.data.corrections.kit import RULES, STEPS, Kit, find_kits, further_files, read_kit, steps
from autoseg.data.corrections.read import (
    Correction,
    compare_structures,
    most_changed,
    read_correction,
    read_corrections,
    say_date,
)
from autoseg.errors import AutosegError
from autoseg.files.archives import zip_folder
from autoseg.files.tables import KeptCorrection
from autoseg.panels.parts.download import DownloadButton
from autoseg.panels.parts.fields import button, field, tick
from autoseg.panels.parts.panel import Panel
from autoseg.panels.parts.style import heading, notice, text
from autoseg.panels.parts.values import Corrected
from autoseg.panels.parts.viewer import SliceViewer
from autoseg.panels.patient.areas import table_html
from autoseg.prediction.run import Run, kit_folder, run_to_correct
from autoseg.report.run_folder import open_folder, why_not_openable
from autoseg.words import escaped

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
    "Only slices that somebody looked at are learnt from: one that was filled between two others counts once you "
    "drew on it or name it here. A model that sees volumes needs every slice of an image."
)
WIDTH = "520px"
ROW = {"align_items": "center", "flex_flow": "row wrap"}


# --- what the corrections' panel says: how to open the files, what was changed, and what became of it

HEADERS = {
    "name": "Structure",
    "slices": "Slices changed",
    "voxels_before": "Voxels before",
    "voxels_after": "Voxels now",
    "voxels_added": "Voxels added",
    "voxels_removed": "Voxels taken away",
    "added_mm2": "Added (mm²)",
    "removed_mm2": "Taken away (mm²)",
    "dice": "Dice",
}
ABOUT = (
    "Areas are summed over the slices. Dice tells how much before and now are alike: 1 where nothing was changed, "
    "0 where nothing is as it was. A structure that lies inside another counts to both."
)
MOST_PAIRS = 6


def describe_kit(kit: Kit) -> str:
    """Say which files to open, and how in each program, as HTML; each program unfolds at a click."""
    cases = kit.cases
    finer = cases[0].factor
    words = f"The files lie in {kit.folder.resolve()}."
    if finer > 1:
        words += (
            f" They are {finer} times finer in the plane of the slices; corrections come back to the image's grid."
        )
    pairs = [f"{', '.join(case.image_names)} with {case.labels_name}" for case in cases[:MOST_PAIRS]]
    pairs += [f"… and {len(cases) - MOST_PAIRS} more"] if len(cases) > MOST_PAIRS else []
    image, labels = cases[0].image_names[0], cases[0].labels_name
    programs = "".join(_program(name, steps(name, image=image, labels=labels)) for name in STEPS)
    notes = "".join(notice(note, announced=False) for note in kit.notes)
    return text(words) + text("Open together: " + "; ".join(pairs) + ".") + programs + text(RULES) + notes


def _program(name: str, lines: Sequence[str]) -> str:
    items = "".join(f"<li>{escaped(line)}</li>" for line in lines)
    return (
        '<details style="color:var(--jp-ui-font-color1,inherit);line-height:1.45;margin:2px 0">'
        f'<summary style="cursor:pointer">{escaped(name)}</summary>'
        f'<ol style="margin:2px 0 6px">{items}</ol></details>'
    )


def describe_corrections(corrections: Sequence[Correction]) -> str:
    """Say what was changed, image by image, and structure by structure, as HTML."""
    parts = []
    for correction in corrections:
        parts.append(notice(correction.words, "note" if correction.is_changed else "warning", announced=False))
        if correction.is_changed:
            table = compare_structures(correction.before, correction.label_map)[list(HEADERS)]
            if correction.case.affine is None:
                table = table.drop(columns=["added_mm2", "removed_mm2"])
            parts.append(table_html(_rounded(table).rename(columns=HEADERS)))
    about = text(ABOUT) if any(correction.is_changed for correction in corrections) else ""
    return heading("What was changed") + "".join(parts) + about


def _rounded(table: pd.DataFrame) -> pd.DataFrame:
    """Give Dice with the digits in which small corrections show."""
    dice = ["–" if pd.isna(value) else f"{value:.3f}" for value in table["dice"]]
    return table.assign(dice=dice)


def describe_kept(folder: Path, kept: Sequence[KeptCorrection]) -> str:
    """Say where corrections are kept and what is learnt from them."""
    lines = []
    for row in kept:
        others = "the others stay as they were" if row.earlier_file else "the others are not learnt from"
        which = "all slices" if row.checked == "all" else f"slices {row.checked}; {others}"
        lines.append(
            f"{row.case_id}, corrected by {row.by} ({say_date(row.date)}): {folder / row.label_file} ({which})."
        )
        if row.earlier_file:
            lines.append(f"The labels before are in {folder / row.earlier_file}.")
    lines.append(f"To learn from them, choose {folder.resolve()} as the data in 1_train.ipynb or 4_finetune.ipynb.")
    return "\n".join(lines)


class CorrectionsPanel(Panel):
    """Labels out to be corrected, and back; `value` is a `Corrected` as soon as corrections were read.

    `prediction` gives a Run, and folders that were written for correcting on other days are found in `output`,
    where runs are. Corrections by `by` are kept in the folder of cases `keep_in`, which is made where it is not
    there yet. The panel is folded, unless `is_open`.
    """

    def __init__(
        self,
        prediction: Panel,
        *,
        output: Path | str = "../predictions",
        keep_in: Path | str = "../data/corrected",
        by: str = "",
        is_open: bool = False,
    ) -> None:
        super().__init__()
        self.output = Path(output)
        self.run: Run | None = None
        self.kit: Kit | None = None
        self.viewer: SliceViewer | None = None
        self._build_writing()
        self._build_reading(by)
        self._build_keeping(str(keep_in))
        parts = [self.writing, self.written, self.reading, self.keeping]
        self.fold = widgets.Accordion(
            [widgets.VBox([widgets.HTML(text(WORDS)), *parts])],
            titles=("Correct by hand (optional)",),
            selected_index=0 if is_open else None,
        )
        self.body.children = [self.fold]
        self.folders.observe(lambda _: self._open_kit(), "value")
        self.checked.observe(lambda _: self._place_fields(), "value")
        for chosen in (self.checked, self.slices, self.keep_in):
            chosen.observe(lambda _: self._ask_no_more(), "value")
        self._list_folders(None)
        self.follow(prediction, self._follow_run)

    # --- what a click does, for scripts as well

    def write(self) -> None:
        """Write images and labels of the run to be corrected, as the button does; what is there already stays."""
        run, factor = self.run, FINER if self.finer.value else 1
        if run is None:
            self.say("First segment a patient above.", "warning")
            return
        self._forget()
        is_new = not kit_folder(run, factor).exists()
        self.start(
            lambda: run_to_correct(run, factor=factor),
            lambda kit: self._show_written(kit, is_new=is_new),
            saying="Writing images and labels …",
        )

    def read(self) -> None:
        """Read the corrected files back and show what was changed, as the button does; nothing is kept yet."""
        kit, by, file, case_id = self.kit, self.by.value, self.file.value, self.image.value or None
        self._forget()
        if kit is None:
            self.say("First write a folder to correct in, or choose one.", "warning")
            return
        exchanged = bool(self.exchanged.value)

        def work() -> tuple[Correction, ...]:
            if file != IN_PLACE or case_id:
                path = Path(file) if file != IN_PLACE else None
                one = read_correction(kit.folder, by=by, file=path, case_id=case_id, exchanged_on_purpose=exchanged)
                return (one,)
            return read_corrections(kit.folder, by=by, exchanged_on_purpose=exchanged)

        self.start(work, self._show_read, saying="Reading the corrected labels …")

    def keep(self, *, replace: bool = False) -> None:
        """Keep what was read as labels to learn from, as the button does.

        Labels that are there already are replaced only with `replace`; they stay in `earlier_labels` then.
        """
        value, folder = self.value, Path(self.keep_in.value.strip())
        if value is None:
            self.say("First read the corrected file back.", "warning")
            return
        if not self.keep_in.value.strip():
            self.say("Name the folder in which the labels are to be kept.", "warning")
            return
        checked = self.slices.value if self.checked.value == SOME else self.checked.value
        wanted = tuple(one for one in value.corrections if one.is_changed or checked != CHANGED)
        if not wanted:
            self.say(UNCHANGED, "warning")
            return

        def work() -> Keeping | AutosegError:
            try:
                return keep_corrections(wanted, folder, checked=checked, replace=replace)
            except AutosegError as error:  # what was read is not lost
                return error

        self._ask_no_more()
        self.start(work, lambda done: self._show_kept(value, folder, done), saying="Keeping the corrected labels …")

    def open_in_window(self) -> None:
        """Open the folder with the files in the computer's own way, as the button does."""
        try:
            if self.kit is not None:
                open_folder(self.kit.folder)
        except AutosegError as error:  # what was read is not lost
            self.say(str(error), "error")

    # --- the widgets

    def _build_writing(self) -> None:
        self.finer = tick(f"finer in plane, {FINER} times (for thin structures)")
        self.write_button = button(
            "Write for correction", self.write, "Write images and labels into the run's folder", icon="pencil"
        )
        self.folders = field(widgets.Dropdown, "Folder", width=WIDTH)
        self.guide = widgets.HTML()
        self.open_button = button("Open the folder", self.open_in_window, "Show the files", icon="folder-open")
        self.zip = DownloadButton("to_correct.zip", self._pack, description="Download as zip")
        heads = widgets.HTML(heading("1. Write the files"))
        self.writing = widgets.VBox([heads, widgets.HBox([self.write_button, self.finer], layout=ROW)])
        self.files = widgets.VBox([self.guide, widgets.HBox([self.open_button, self.zip], layout=ROW)])
        self.written = widgets.VBox([self.folders, self.files])

    def _build_reading(self, by: str) -> None:
        self.by = _typed("Corrected by", by, "initials or a name")
        self.image = field(widgets.Dropdown, "Image", width=WIDTH)
        self.file = field(widgets.Dropdown, "Which file", width=WIDTH)
        self.exchanged = tick("two structures were exchanged on purpose (left and right, say)")
        self.read_button = button(
            "Read the corrected file back", self.read, "Show what was changed; nothing is kept yet", icon="refresh"
        )
        self.changes, self.look = widgets.HTML(), widgets.VBox()
        heads = widgets.HTML(heading("2. Correct, save, and read back"))
        fields = [self.by, self.image, self.file, self.exchanged]
        self.reading = widgets.VBox([heads, *fields, widgets.HBox([self.read_button]), self.changes, self.look])

    def _build_keeping(self, keep_in: str) -> None:
        self.checked = widgets.RadioButtons(options=CHECKED_CHOICES, layout={"width": "auto"})
        self.slices = _typed("Slices", "", "counted from 1, such as 4-9 12")
        self.keep_in = _typed("Keep in the folder", keep_in, "a folder of cases, or a new one")
        self.keep_button = button(
            "Keep as labels", self.keep, "Write the corrected labels to learn from them", icon="check"
        )
        self.replace_button = button(
            "Replace those labels", self._replace, "The earlier ones stay in earlier_labels", icon="warning"
        )
        heads = widgets.HTML(heading("3. Keep as labels") + text(ABOUT_CHECKED))
        buttons = widgets.HBox([self.keep_button, self.replace_button], layout=ROW)
        self.keeping = widgets.VBox([heads, self.checked, self.slices, self.keep_in, buttons])

    def _place_fields(self) -> None:
        """Show what there is something to do with."""
        self.written.layout.display = "" if len(self.folders.options) > 1 else "none"
        for part in (self.files, self.reading):
            part.layout.display = "none" if self.kit is None else ""
        self.keeping.layout.display = "none" if self.value is None else ""
        self.slices.layout.display = "" if self.checked.value == SOME else "none"
        self.write_button.disabled = self.run is None
        reason = why_not_openable()
        self.open_button.disabled, self.open_button.tooltip = bool(reason), reason or "Show the files"

    def _pack(self) -> bytes:
        return b"" if self.kit is None else zip_folder(self.kit.folder)

    # --- 1. out

    def _follow_run(self, run: Run | None) -> None:
        if run is not self.run:
            self.run = run
            self._forget()
            self.give_up()
            self._list_folders(None)

    def _show_written(self, kit: Kit, *, is_new: bool) -> None:
        self._list_folders(kit.folder)
        words = "The files are written" if is_new else "The folder was written before and is used as it is"
        self.say(f"{words}: {kit.folder.resolve()}.", "done")

    def _list_folders(self, wanted: Path | None) -> None:
        """List what was written to be corrected, that of this run first; `wanted` is chosen, or the run's own."""
        found = find_kits(self.output)
        own = [path for path in found if self.run is not None and path.parent == kit_folder(self.run).parent]
        places = list(dict.fromkeys([*([wanted] if wanted is not None else []), *own, *found]))
        names = [
            (str(path.relative_to(self.output) if path.is_relative_to(self.output) else path), str(path))
            for path in places
        ]
        self.folders.options = [("–", ""), *names]
        chosen = wanted or (own[0] if own else None)
        self.folders.value = "" if chosen is None else str(chosen)
        self._open_kit()

    def _open_kit(self) -> None:
        self.give_up()  # what is being read is of another folder
        self._forget()
        self.kit, self.guide.value = None, ""
        with self.attempt():
            if self.folders.value:
                self.kit = read_kit(Path(self.folders.value))
                self.guide.value = describe_kit(self.kit)
                self.zip.name = f"{self.kit.folder.parent.name}_{self.kit.folder.name}.zip"
                names = [case.case_id for case in self.kit.cases]
                self.image.options = [("every image", ""), *((name, name) for name in names)]
                self.image.value = ""
                self.image.layout.display = "" if len(names) > 1 else "none"
                self._list_files(self.kit)
        self._place_fields()

    def _list_files(self, kit: Kit) -> None:
        further = further_files(kit)
        before = self.file.value
        options = [("in their places, under the same name", IN_PLACE), *((p.name, str(p)) for p in further)]
        if tuple(options) != tuple(self.file.options):
            self.file.options = options
            self.file.value = before if before in [value for _, value in options] else IN_PLACE
        self.file.layout.display = "" if further else "none"

    # --- 2. back

    def _forget(self) -> None:
        """Take back what was read."""
        self.value, self.viewer = None, None
        self.changes.value, self.look.children = "", []
        self._ask_no_more()
        self._place_fields()

    def _show_read(self, corrections: tuple[Correction, ...]) -> None:
        changed = [one for one in corrections if one.is_changed]
        self.changes.value = describe_corrections(corrections)
        if changed:
            self.viewer = SliceViewer(
                [(corrected_image(one), one.label_map) for one in changed],
                references=[one.before for one in changed],
                reference_name="before",
                flags={(one.case.case_id, index): "was changed" for one in changed for index in one.changed_slices},
            )
            self.viewer.show(changed[0].case.case_id, most_changed(changed[0].changes))
            self.look.children = [self.viewer]
        if self.kit is not None:
            self._list_files(self.kit)
        self.checked.value = CHANGED  # that every slice was looked at is for a person to say
        self.value = Corrected(corrections)
        self._place_fields()
        self._say_read(bool(changed))

    def _say_read(self, is_changed: bool) -> None:
        further = [name for name, value in self.file.options if value != IN_PLACE]
        if is_changed:
            self.say("Nothing is kept yet: look at the changes, then keep them below.", "warning")
        elif further and self.file.value == IN_PLACE:
            names = ", ".join(further[:3])
            self.say(
                f"Nothing was changed in its place, but the folder holds {names} too. If that is the corrected "
                "file, choose it under 'Which file' and read again.",
                "warning",
            )
        else:
            self.say(UNCHANGED, "warning")

    # --- 3. kept

    def _replace(self) -> None:
        self.keep(replace=True)

    def _ask_no_more(self) -> None:
        self.replace_button.layout.display = "none"

    def _show_kept(self, value: Corrected, folder: Path, done: Keeping | AutosegError) -> None:
        if isinstance(done, AutosegError):
            self.say(str(done), "error")
            self.value = value
        elif done.standing:
            self.replace_button.layout.display = ""
            asking = "Nothing was kept yet. Replace those labels? The earlier ones stay in earlier_labels."
            self.say("\n".join([*(one.words for one in done.standing), asking]), "warning")
            self.value = value
        else:
            lines = [describe_kept(folder, done.kept)] if done.kept else []
            lines += [f"{one.case_id} is kept already, in {one.label_path}." for one in done.already]
            lines += [f"The others were not kept: {done.error}"] if done.error is not None else []
            self.say("\n".join(lines), "done" if done.error is None else "warning")
            self.value = Corrected(value.corrections, folder, (*value.kept, *done.kept))
        self._place_fields()


def _typed(words: str, value: str, placeholder: str) -> widgets.Text:
    return field(widgets.Text, words, width=WIDTH, value=value, placeholder=placeholder, continuous_update=True)
