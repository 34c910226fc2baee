"""The panel that chooses a patient's folder and the series in it, and takes typed millimetres where needed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import ipywidgets as widgets

from autoseg.data.cases.sizes import answer_voxel_sizes
from autoseg.data.patients import Candidate, PatientFolder, check_typed, find_patient, suggest_series
from autoseg.errors import GeometryError
from autoseg.files.nifti.sizes import Holds
from autoseg.image.calibration import FieldOfView
from autoseg.panels.parts.chooser import FolderChooser
from autoseg.panels.parts.fields import WithoutIds, button, field
from autoseg.panels.parts.panel import Panel
from autoseg.panels.parts.style import heading, notice, picture, text
from autoseg.panels.parts.values import Patient
from autoseg.panels.patient.archive import FetchPanel
from autoseg.prediction.ensemble import need_millimetres
from autoseg.words import counted, escaped, name_some, read_numbers

# --- A series of a patient's folder as one row: its middle slice, and its header in words

# A date must not break.
COLUMNS = "112px minmax(84px,1.3fr) minmax(34px,.5fr) minmax(64px,1.5fr) minmax(52px,1.2fr) minmax(52px,.8fr) 84px"
ROW_WIDTH = "530px"  # with less beside its box, a row goes below it
LONG = 14  # a longer name is cut off beside its box
HEADINGS = ("", "Description", "Kind", "Pixels", "Slices", "Plane", "Date")


def describe_candidate(candidate: Candidate) -> str:
    """Give a series as a row of HTML: its middle slice, then its header in words; a refused one tells why."""
    if candidate.refusal:
        return notice(f"{candidate.case_id} cannot be segmented: {candidate.refusal}", "warning", announced=False)
    image = picture(candidate.png, f"Middle slice of {candidate.case_id}") if candidate.png else "no picture"
    size = f"{candidate.rows} × {candidate.columns}"
    if candidate.spacing_mm is not None:
        pixel = f"{size}, {candidate.spacing_mm[0]:.4g} × {candidate.spacing_mm[1]:.4g} mm"
    else:
        pixel = f"{size}, mm unknown"
    moments = f" × {candidate.time_points} times" if candidate.time_points > 1 else ""
    distance = f", every {candidate.slice_spacing_mm:.4g} mm" if candidate.slice_spacing_mm else ""
    cells = (
        escaped(candidate.description or (candidate.case_id if len(candidate.case_id) > LONG else "–")),
        escaped(candidate.modality or "–"),
        pixel,
        f"{candidate.slices}{moments}{distance}",
        escaped(candidate.orientation or "–"),
        escaped(candidate.date or "–"),
    )
    notes = candidate.doubt if candidate.doubt and candidate.doubt not in candidate.notes else ""
    return lay_row((image, *cells), " ".join(filter(None, [notes, candidate.notes])))


def lay_row(cells: Sequence[str], below: str = "") -> str:
    """Lay cells (HTML) side by side, and words below them."""
    columns = "".join(f'<div style="overflow-wrap:anywhere">{cell}</div>' for cell in cells)
    weight = "400" if cells[0] else "600"
    note = f'<div style="grid-column:2/-1;opacity:.8;font-size:12px">{escaped(below)}</div>' if below else ""
    return (
        f'<div style="display:grid;grid-template-columns:{COLUMNS};gap:2px 8px;align-items:center;line-height:1.4;'
        f'text-align:left;font-weight:{weight};color:var(--jp-ui-font-color1,inherit)">{columns}{note}</div>'
    )


BOX = {"width": "150px", "flex": "0 0 auto"}
MANY = 3  # from more series than this on, all and none are a button each
TypedNumbers = float | Sequence[float] | None
Views = TypedNumbers | Mapping[tuple[int, int], FieldOfView]
IN_PIXELS = "Until then areas are in pixels, which cannot be compared with those of other images."


class PatientPanel(Panel):
    """A folder chooser, the series of the folder to tick, and typed millimetres; `value` is a `Patient`.

    The ChosenModel of `model` tells which channels and plane to look for where a folder holds no DICOM. `folder` is
    chosen to begin with; its case_ids in `only` are ticked (by default what `suggest_series` gives), and the rest
    is typed for it, as in `autoseg.segment_folder`. Another folder clears whatever was typed for the last one. What
    `fetch` gets from an archive is chosen at once.
    """

    def __init__(
        self,
        model: Panel | None = None,
        folder: Path | str | None = None,
        *,
        only: Collection[str] | None = None,
        field_of_view_mm: Views = None,
        matrix_size: int | Sequence[int] | None = None,
        prefer: str | None = None,
        pixel_spacing_mm: TypedNumbers = None,
    ) -> None:
        super().__init__()
        self.found: PatientFolder | None = None
        self.boxes: dict[str, widgets.Checkbox] = {}
        self.moments: dict[str, widgets.SelectMultiple] = {}  # of series that are several images
        self.rest = widgets.SelectMultiple(description="Further files", rows=6)
        self.rest.layout.width = "460px"
        self._given = (only, field_of_view_mm, matrix_size, prefer, pixel_spacing_mm)
        self._folder: Path | None = None
        self._looks_for: tuple[Any, ...] = ((), None, False)
        self._needs_mm = False  # the model sees images in their size
        self._learnt: tuple[str, ...] = ()  # the modalities that the model learnt from
        self.chooser = FolderChooser(
            title="The patient's folder", chosen=None if folder is None else Path(folder), remembers="patient"
        )
        self.fetch = FetchPanel()
        self.fetch.observe(self._take_fetched, "value")
        self.series = widgets.VBox()
        self.without_ids = WithoutIds(self._find_again)
        self._build_typed()
        self.body.children = [self.chooser, self.fetch, self.series, self.without_ids, self.typed]
        self._place_typed(())
        if model is not None:
            self.follow(model, self._follow_model)
        self.follow(self.chooser, self._follow_folder)

    def _take_fetched(self, change: Any) -> None:
        if change["new"] is not None:
            self.chooser.choose(change["new"])

    def wait(self, timeout_s: float | None = None) -> None:
        """Wait until the folder is chosen and looked into."""
        self.chooser.wait(timeout_s)
        super().wait(timeout_s)

    # --- the folder and its series

    def _follow_model(self, chosen: Any) -> None:
        origin = chosen.model.origin if chosen is not None else {}
        wanted: tuple[Any, ...] = ((), None, False)
        if chosen is not None:
            stacks = any(one.origin.get("picture_stacks") for one in chosen.models)
            wanted = (chosen.model.channels, origin.get("plane"), stacks)
        learnt = tuple(origin.get("modalities", ()))
        needs_mm = chosen is not None and need_millimetres(chosen.models)
        if needs_mm != self._needs_mm:
            self._needs_mm = needs_mm
            self._refresh()
        if wanted != self._looks_for or learnt != self._learnt:
            is_dicom_alike = learnt == self._learnt  # only files without DICOM are read in these ways
            self._looks_for, self._learnt = wanted, learnt
            if self.found is not None and not (self.found.is_dicom and is_dicom_alike):
                self._find(self.found.folder, None)

    def _follow_folder(self, folder: Path | None) -> None:
        """Look into another folder; nothing typed or ticked for the last one stays."""
        with self._lock:
            if folder is not None and folder == self._folder:
                return
            self._folder = folder
            if folder is None:
                self._clear()
                self.give_up("Choose the folder with the patient's images.")
                return
            # Arguments of the panel are meant for the first folder.
            given, self._given = self._given, (None,) * 5
            self._clear()
            self._set_typed(*given[1:])
            self._find(folder, given[0])

    def _clear(self) -> None:
        self.value, self.found, self.boxes, self.moments, self.series.children = None, None, {}, {}, []
        self.without_ids.show(None)
        self.rest.options = ()
        self._set_typed(None, None, None, None)
        self._place_typed(())

    def _find(self, folder: Path, only: Collection[str] | None) -> None:
        channels, plane, stacks = self._looks_for
        self.start(
            lambda: find_patient(folder, channels=channels, plane=plane, stacks=stacks),
            lambda found: self._show(found, only),
            saying=f"Looking into {folder} …",
        )

    def _show(self, found: PatientFolder, only: Collection[str] | None) -> None:
        self.found = found
        suggested, why = suggest_series(found, self._learnt)
        usable = {candidate.case_id for candidate in found.choose()}
        wanted = suggested if only is None else only
        ticked = {candidate.case_id for candidate in found.choose(wanted)}
        read = [candidate for candidate in found.candidates if candidate.is_read]
        rest = [candidate.case_id for candidate in found.candidates if not candidate.is_read]
        self.boxes = {candidate.case_id: self._box(candidate, candidate.case_id in ticked) for candidate in read}
        rows: list[widgets.Widget] = [
            widgets.HTML(heading("What to segment")),
            _beside(widgets.Label(layout=BOX), lay_row(HEADINGS)),
        ]
        self.moments = {c.case_id: _choose_images(c, wanted) for c in read if c.images}
        for candidate in read:
            rows.append(_beside(self.boxes[candidate.case_id], describe_candidate(candidate)))
            if candidate.case_id in self.moments:
                rows.append(widgets.HBox([widgets.Label(layout=BOX), self.moments[candidate.case_id]]))
        if rest:
            self.rest.options = rest
            self.rest.value = [name for name in rest if name in ticked]
            rows.append(self.rest)
        if any(candidate.has_two_sizes for candidate in found.candidates):
            words = "Areas are measured by it; kept beside the images (voxel_sizes.csv)"
            say: dict[str, Holds] = {"The sform holds": "sform", "The pixdim holds": "pixdim"}
            buttons = [button(name, partial(self.answer_sizes, holds), words) for name, holds in say.items()]
            rows.append(widgets.HBox(buttons))
        if len(usable) > MANY:
            rows.append(widgets.HBox([self._tick_button("All", True), self._tick_button("None", False)]))
        rows.append(widgets.HTML(text(why if only is None else "")))
        if found.skipped:
            lines = "\n".join(f"{item.path.name}: {item.reason}" for item in found.skipped[:50])
            rows.append(widgets.HTML(notice(f"Left alone: {counted(len(found.skipped), 'file')}.", details=lines)))
        self.without_ids.show(found.folder)
        for widget in (*self.boxes.values(), *self.moments.values(), self.rest):
            widget.observe(self._refresh, "value")
        self.series.children = rows
        self._refresh()

    def _find_again(self) -> None:
        if self.found is not None:
            self._find(self.found.folder, None)

    def answer_sizes(self, holds: Holds) -> None:
        """Say which size of a voxel holds in the files whose header gives two, and look again."""
        with self.attempt():
            if self.found is not None:
                answer_voxel_sizes(self.found.folder, holds)
                self._find(self.found.folder, None)

    def _box(self, candidate: Candidate, ticked: bool) -> widgets.Checkbox:
        return widgets.Checkbox(
            value=ticked,
            disabled=bool(candidate.refusal),
            description=candidate.case_id,
            tooltip=candidate.refusal or f"Segment {candidate.case_id}",
            indent=False,
            layout=BOX,
        )

    def _tick_button(self, words: str, ticked: bool) -> widgets.Button:
        def act() -> None:
            self.tick([c.case_id for c in self.found.choose()] if ticked and self.found else [])

        return button(words, act, f"Tick {words.lower()}", width="80px")

    def tick(self, only: Collection[str]) -> None:
        """Tick these series (case_ids), or single images of theirs, and no others."""
        for name, box in self.boxes.items():
            images = (
                [image for image in self.moments[name].options if image in only] if name in self.moments else []
            )
            box.value = (name in only or bool(images)) and not box.disabled
            if name in self.moments:
                self.moments[name].value = () if name in only else images
        self.rest.value = [name for name in self.rest.options if name in only]

    @property
    def ticked(self) -> tuple[str, ...]:
        """What is ticked, in the order of the folder: case_ids, or names of single images of a series."""
        ticked = [name for name, box in self.boxes.items() if box.value]
        marked = [self.moments[name].value if name in self.moments else () for name in ticked]
        return (
            *(name for one, images in zip(ticked, marked, strict=True) for name in images or (one,)),
            *self.rest.value,
        )

    # --- millimetres

    def _build_typed(self) -> None:
        self.field_of_view = field(
            widgets.Text,
            "Field of view (mm)",
            "What the whole image spans: rows first, then columns",
            width="380px",
            label="150px",
            placeholder="240, or 240 x 180",
        )
        self.views: dict[tuple[int, int], widgets.Text] = {}  # of each size, where images have several
        self.pixel = field(
            widgets.Text,
            "or pixel size (mm)",
            "In place of the field of view: between rows, then between columns",
            width="380px",
            label="150px",
            placeholder="0.5, or 0.5 x 0.4",
        )
        self.matrix = field(
            widgets.Text,
            "Matrix size",
            "As in the protocol; it is only checked",
            width="380px",
            label="150px",
            placeholder="256, or 256 x 192",
        )
        self.prefer = widgets.RadioButtons(
            options=[("Use the header's millimetres", "header"), ("Use the typed millimetres", "typed")],
            value=None,
            description="Which?",
        )
        self.type_button = widgets.ToggleButton(
            description="Type the millimetres",
            icon="pencil",
            tooltip="Type a field of view and a matrix size, to check the header's pixel size or to replace it",
            layout=widgets.Layout(width="220px"),
        )
        self.check = widgets.HTML()
        self.by_size = widgets.VBox()
        self.fields = widgets.VBox(
            [self.field_of_view, self.by_size, self.pixel, self.matrix, self.check, self.prefer]
        )
        self.typed = widgets.VBox([self.type_button, self.fields])
        for widget in (self.field_of_view, self.pixel, self.matrix):
            widget.observe(self._forget_choice, "value")
        for widget in (self.field_of_view, self.pixel, self.matrix, self.prefer, self.type_button):
            widget.observe(self._refresh, "value")

    def _forget_choice(self, _: object) -> None:
        """Ask again which to prefer: the effect on areas is another one now."""
        self.prefer.value = None

    def _set_typed(
        self, view: Views, matrix: int | Sequence[int] | None, prefer: str | None, pixel: TypedNumbers
    ) -> None:
        by_size = view if isinstance(view, Mapping) else {}
        for size in [*self.views, *by_size]:
            self._view_of(size).value = _words(by_size.get(size))
        self.field_of_view.value = "" if isinstance(view, Mapping) else _words(view)
        self.pixel.value, self.matrix.value, self.prefer.value = _words(pixel), _words(matrix), prefer
        self.type_button.value = any(typed is not None for typed in (view, matrix, pixel))

    def _view_of(self, size: tuple[int, int]) -> widgets.Text:
        """Give the field of the field of view of images of this size, which stays as it was typed."""
        if size not in self.views:
            box = field(
                widgets.Text,
                f"… of {size[0]} × {size[1]} pixels",
                "What images of this size span in mm: rows first, then columns",
                width="380px",
                label="150px",
                placeholder="240, or 240 x 180",
            )
            box.observe(self._refresh, "value")
            self.views[size] = box
        return self.views[size]

    def _place_typed(self, chosen: Sequence[Candidate]) -> bool:
        """Show the fields where they are wanted or asked for; tell whether an image has no millimetres without."""
        silent = [candidate for candidate in chosen if candidate.rows and candidate.spacing_mm is None]
        sizes = sorted({(candidate.rows, candidate.columns) for candidate in silent})
        several = len(sizes) > 1 and not self.field_of_view.value.strip()
        self.by_size.children = [self._view_of(size) for size in sizes] if several else []
        self.type_button.layout.display = "none" if silent or self.found is None else ""
        self.fields.layout.display = "" if silent or (self.type_button.value and self.found) else "none"
        return bool(silent)

    # --- what is handed on

    def _refresh(self, _: object = None) -> None:
        if self.found is None:
            return
        self.check.value, self.prefer.layout.display = "", "none"
        try:
            patient, missing = self._read(self.found)
        except GeometryError as error:
            patient, missing = None, str(error)
        self.say(missing, "warning")
        if patient is None:
            self.value = None
        elif patient != self.value:
            self.value = patient

    def _read(self, found: PatientFolder) -> tuple[Patient | None, str]:
        """Give what is chosen, or None and what is missing."""
        only = self.ticked
        chosen = found.choose(only)
        needed = self._place_typed(chosen)
        if not only:
            return None, "Tick what to segment." if found.choose() else "Choose another folder."
        if not (needed or self.type_button.value):
            return Patient(found.folder, only), ""
        view: Any = read_numbers(self.field_of_view.value, "field of view")
        if self.by_size.children:
            boxes = [(size, box) for size, box in self.views.items() if box in self.by_size.children]
            typed = {size: read_numbers(box.value, "field of view") for size, box in boxes}
            view = {size: mm for size, mm in typed.items() if mm is not None} or None
        pixel = read_numbers(self.pixel.value, "size of a pixel")
        matrix = _whole(read_numbers(self.matrix.value, "matrix size"))
        if view is None and pixel is None:
            patient = Patient(found.folder, only)
            lone = "A matrix size alone changes nothing: type the field of view too." if matrix else ""
            return self._without_mm(patient, chosen) if needed else (patient, lone)
        check = check_typed(chosen, field_of_view_mm=view, matrix_size=matrix, pixel_spacing_mm=pixel)
        self.check.value = text("\n".join(check.lines))
        self.prefer.layout.display = "" if check.differs else "none"
        if check.differs and self.prefer.value is None:
            return None, "Header and typed millimetres differ. Choose which to use."
        prefer = self.prefer.value if check.differs else None
        patient = Patient(found.folder, only, view, matrix, prefer, pixel)
        silent = [c for c in chosen if c.rows and c.spacing_mm is None]
        return self._without_mm(patient, [c for c in silent if not patient.typed.spacing_for((c.rows, c.columns))])

    def _without_mm(self, patient: Patient, chosen: Sequence[Candidate]) -> tuple[Patient | None, str]:
        """Say what images without millimetres mean; a model that must know sizes cannot see them."""
        silent = [c.case_id for c in chosen if c.rows and c.spacing_mm is None]
        if not silent:
            return patient, ""
        files = "The file of {} does" if len(silent) == 1 else "The files of {} do"
        told = f"{files.format(name_some(silent, 3))} not tell the size of a pixel."
        advice = "Type the field of view in mm, as it stands in the protocol"
        if self._needs_mm:
            return None, f"{told} {advice}: this model sees images in their size."
        return patient, f"{told} {advice}, for mm². {IN_PIXELS}"


def _choose_images(candidate: Candidate, wanted: Collection[str]) -> widgets.SelectMultiple:
    """Give the list of a series' images (time points, parts), to mark some; with none marked all are meant."""
    marked = () if candidate.case_id in wanted else tuple(name for name in candidate.images if name in wanted)
    return widgets.SelectMultiple(
        options=candidate.images,
        value=marked,
        rows=min(4, len(candidate.images)),
        description="Only these",
        tooltip=f"Mark single images of {candidate.case_id}; with none marked all are segmented",
        layout=widgets.Layout(width="460px"),
    )


def _whole(numbers: float | tuple[float, float] | None) -> int | tuple[int, int] | None:
    """Give a matrix size in whole numbers."""
    if numbers is None:
        return None
    pair = numbers if isinstance(numbers, tuple) else (numbers,)
    if any(number != int(number) for number in pair):
        raise GeometryError(
            f"The matrix size is {' x '.join(f'{n:g}' for n in pair)}; type whole numbers of pixels."
        )
    return int(pair[0]) if len(pair) == 1 else (int(pair[0]), int(pair[1]))


def _words(numbers: TypedNumbers) -> str:
    if numbers is None:
        return ""
    return f"{numbers:g}" if isinstance(numbers, int | float) else " x ".join(f"{number:g}" for number in numbers)


def _beside(box: widgets.Widget, row: str) -> widgets.HBox:
    shown = widgets.HTML(row, layout=widgets.Layout(flex=f"1 1 {ROW_WIDTH}", min_width="0"))
    layout = widgets.Layout(align_items="center", width="100%", flex_flow="row wrap")
    return widgets.HBox([box, shown], layout=layout)
