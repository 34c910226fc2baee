"""The panel that shows the centreline around which a model looks, and lets a person click another one."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import ipywidgets as widgets
import numpy as np

from autoseg.errors import AutosegError
from autoseg.image.image import Image, LabelMap
from autoseg.measurement.morphometry import Profile
from autoseg.model.centreline import (
    Centreline,
    ChosenCurves,
    Point,
    add_click,
    check_on,
    place_on,
    places_along,
    point_on,
    read_centreline,
)
from autoseg.panels.parts.fields import button
from autoseg.panels.parts.panel import Panel
from autoseg.panels.parts.style import Drawn, LaterPicture, heading, notice, picture, text
from autoseg.panels.parts.values import Centrelines, Patient
from autoseg.panels.parts.viewer import SliceViewer, mark
from autoseg.prediction.centreline import (
    ImageCentreline,
    crop_of_model,
    cropping_model,
    save_clicked,
    saved_centrelines,
)
from autoseg.prediction.run import find_patient_centrelines
from autoseg.report.figures.centreline import show_centrelines

# --- what the centreline's panel says and draws: which curve is used, where it runs, and what lies around it

AUTOMATIC, CHOSEN, POINT = "#ffffff", "#ff3fb4", "#ffe100"  # the curves as in the figure; points stand out
NAMES = {"clicked": "clicked", "automatic": "loaded (automatic)", "labels": "loaded (from labels)"}
MOST_CURVES = 4
NOTHING = (
    "There is no automatic centreline, so the model cannot look at this image yet. Click the structure's middle on "
    "two slices or more."
)


def describe_use(one: ImageCentreline, chosen: Centreline | None, points: Sequence[Point]) -> str:
    """Say which curve is used for an image, and what is amiss with it, as HTML."""
    parts = [notice(note, "warning", announced=False) for note in one.notes]
    if chosen is None:
        if len(points) == 1:
            more = "Click one on another slice too" + (
                "; until then the automatic curve is used." if one.automatic is not None else "."
            )
            parts.append(notice(f"One point is no curve. {more}", "warning"))
        elif one.automatic is None:
            parts.append(notice(NOTHING, "warning"))
        else:
            parts.append(text("The automatic centreline is used (white)."))
    elif points:
        many = f"{len(points)} points" if len(points) > 1 else "a loaded curve; one more point begins a new one"
        parts.append(
            notice(f"The clicked curve is used (pink): {many}. Beyond its ends it goes on straight.", "done")
        )
    else:
        parts.append(notice("The curve that was loaded is used (pink).", "done"))
    line = chosen or one.automatic
    amiss = ""
    if line is not None:
        try:
            amiss = check_on(line, one.view)
        except AutosegError as error:
            amiss = str(error)
    return "".join(parts) + (notice(amiss, "warning") if amiss else "")


def marks_of(
    one: ImageCentreline,
    chosen: Centreline | None,
    points: Sequence[Point],
    *,
    crop_mm: tuple[float, float],
    image: int,
) -> list[dict[str, Any]]:
    """Give the marks on the slices: rings where the curves run, boxes of what is seen, crosses at the points.

    `crop_mm` is from right to left and from front to back, `image` the image's number in the viewer.
    """
    _, row_mm, column_mm = one.view.spacing_mm
    size = (crop_mm[1] / row_mm, crop_mm[0] / column_mm)
    marks = []
    for line, colour in ((one.automatic, AUTOMATIC), (chosen, CHOSEN)):
        for place in places_along(line, one.view) if line is not None else []:
            marks.append(mark(place, image=image, colour=colour))
            if line is (chosen or one.automatic):
                marks.append(mark(place, image=image, colour=colour, size=size))
    places = [place_on(one.view, point) for point in points]
    return marks + [mark(place, image=image, text=str(n), colour=POINT) for n, place in enumerate(places, start=1)]


def _where(view: Image, index: int) -> str:
    """Say which slice it is in the viewer's words; of a point beyond the image its number alone."""
    positions = view.known_positions_mm
    if not 0 <= index < len(view.channel_voxels[0]):
        return f"slice {index + 1}, outside the image"
    where = "position unknown" if positions is None else f"{positions[index]:.1f} mm"
    return f"{view.say_slice(index)} · {where}"


def draw_curves(one: ImageCentreline, chosen: Centreline | None, crop_mm: tuple[float, float]) -> str:
    """Draw the curves from the side and from the front as HTML; "" without a curve, a sentence where it fails."""
    curves = {} if one.automatic is None else {"automatic": one.automatic}
    if chosen is not None:
        # The second colour is the chosen curve's, also where there is no other.
        curves[NAMES[chosen.source]] = chosen
    return _drawn(curves, "The centreline", one.image, crop_mm=crop_mm)


def _drawn(
    curves: Mapping[str, Centreline], what: str, image: Image, label_map: LabelMap | None = None, **more: Any
) -> str:
    if not curves:
        return ""
    try:
        figure = show_centrelines(image, curves, label_map, **more)
    except AutosegError as error:
        return notice(str(error), "warning")
    return picture(cast(Drawn, figure), f"{what} over the image, from the side and from the front")


def draw_course(image: Image, label_map: LabelMap, profiles: Sequence[Profile]) -> str:
    """Draw the curves along which structures were measured over their image, as HTML.

    Only curves that rise from the feet to the head are drawn, four at most; "" if there is none.
    """
    curves: dict[str, Centreline] = {}
    for profile in profiles:
        points = profile.curve.points_mm
        if len(curves) < MOST_CURVES and bool((np.diff(points[:, 2]) > 0).all()):
            curves[f"{profile.rows[0].name}, its curve"] = Centreline(points, "labels")
    words = "Look whether the curve runs through the middle of the structure: sections are measured across it."
    drawn = _drawn(curves, "The curve", image, label_map)
    return heading("The curve over the image") + text(words) + drawn if drawn else ""


WHOLE = "This model sees whole images, so it needs no centreline."
WORDS = (
    "The model looks only at {right:g} × {front:g} mm (right to left × front to back) around this curve. Look "
    "whether it stays in the structure. Where it does not, click the structure's middle on some slices, from its "
    "lower end to its upper one: a smooth curve through your points is then used instead."
)
HINT = "Click the picture: the middle of the structure."
ROW = {"align_items": "center", "flex_flow": "row wrap"}
Key = tuple[Patient, str]


class CentrelinePanel(Panel):
    """The automatic centreline of each image, and points to click; `value` is a `Centrelines`, or None.

    `model` gives a ChosenModel and `patient` a Patient; curves are saved in `centrelines` of `output`. Where
    nothing was clicked the model uses what it finds by itself, and there is no value. What was clicked stays for
    each image as long as the notebook runs, also when another patient is looked at in between.
    """

    def __init__(self, model: Panel, patient: Panel, *, output: Path | str = "../predictions") -> None:
        super().__init__()
        self.model, self.patient, self.output = model, patient, Path(output)
        self.found: tuple[ImageCentreline, ...] = ()
        self.viewer: SliceViewer | None = None
        self._chosen = ChosenCurves()
        self._seen: tuple[Any, Any] = (None, None)
        self._crop_mm = (0.0, 0.0)
        self._build()
        self.follow(model, self._follow_any)
        self.follow(patient, self._follow_any)

    # --- what a click does, for scripts as well

    def click(self, slice_index: int, row: float, column: float) -> None:
        """Add a point on an axial slice of the image that is shown, as a click does; it moves one on that slice."""
        if self.viewer is not None:
            self._take_click(self.viewer.image_index, slice_index, row, column)

    def remove(self, number: int) -> None:
        """Take away a point of the image that is shown, counted from 1 at the feet."""
        points = self.points
        if 1 <= number <= len(points):
            self._keep(self._shown(), lambda: points[: number - 1] + points[number:])

    def remove_all(self) -> None:
        """Take away all points of the image that is shown; the automatic centreline is used again."""
        self._keep(self._shown(), tuple)

    def undo(self) -> None:
        """Take back the last change of points."""
        with self._lock, self.attempt():
            self._chosen.undo([self._key(one) for one in self.found])
            self._changed()

    def save(self) -> Path | None:
        """Save the centreline that is used for the image that is shown, as the button does."""
        one = self._shown()
        line = self.used(one) if one is not None else None
        if one is None or line is None:
            return None
        try:
            path = save_clicked(line, one.image, self.output)
        except AutosegError as error:  # the points stay
            self.say(str(error), "error")
            return None
        self._list_saved(one)
        self.say(f"The centreline is saved: {path.resolve()}.", "done")
        return path

    def load(self, path: Path | str, *, name: str = "") -> None:
        """Use a saved centreline for the image that is shown; its points can be changed if it was clicked."""
        one = self._shown()
        if one is None:
            return
        with self._lock:
            try:
                line = read_centreline(path)
                check_on(line, one.view)
            except AutosegError as error:  # what was there stays
                self.say(str(error).replace(str(path), name or str(path)), "error")
                return
            self._chosen.load(self._key(one), line)
            self._changed()

    @property
    def points(self) -> tuple[Point, ...]:
        """The points of the image that is shown, from the feet to the head, in patient coordinates in mm."""
        one = self._shown()
        return () if one is None else self._chosen.points(self._key(one))

    def used(self, one: ImageCentreline) -> Centreline | None:
        """Give the centreline that a person chose for an image; None where the automatic one is used."""
        return self._chosen.curve(self._key(one))

    def wait(self, timeout_s: float | None = None) -> None:
        """Wait until the centrelines are found and the picture is drawn."""
        super().wait(timeout_s)
        self.plot.wait(timeout_s)

    # --- the widgets

    def _build(self) -> None:
        self.words, self.state, self.plot = widgets.HTML(), widgets.HTML(), LaterPicture()
        self.look, self.list = widgets.VBox(), widgets.VBox()
        self.all_button = button("Remove all", self.remove_all, "Take away all points of this image", icon="trash")
        self.undo_button = button("Undo", self.undo, "Take back the last change of points", icon="undo")
        self.save_button = button("Save", self.save, "Save this curve, to load it another day", icon="save")
        self.saved = widgets.Dropdown(description="Saved", layout=widgets.Layout(width="420px"))
        self.load_button = button("Load", self._load_chosen, "Use the saved curve", icon="folder-open")
        self.upload = widgets.FileUpload(
            accept=".csv", multiple=False, description="Load a file (CSV)", layout={"width": "auto"}
        )
        self.upload.observe(lambda _: self._load_upload(), "value")
        self.buttons = widgets.HBox([self.all_button, self.undo_button, self.save_button, self.upload], layout=ROW)
        self.loading = widgets.HBox([self.saved, self.load_button], layout=ROW)

    def _follow_any(self, _: object) -> None:
        seen = (self.model.value, self.patient.value)
        if seen == self._seen and self.found:
            return
        self._seen = seen
        chosen, patient = seen
        self._hide()
        model = None if chosen is None else cropping_model(chosen.models)
        if chosen is None or patient is None or model is None:
            self.give_up()
            self.words.value = text(WHOLE) if chosen is not None and model is None else ""
            self.body.children = [self.words]
            return
        self._crop_mm = right, front = crop_of_model(model)
        self.words.value = heading("The centreline") + text(WORDS.format(right=right, front=front))
        self.body.children = [self.words]

        def tell(done: int, count: int) -> None:
            with self._lock:  # what is no longer wanted says nothing
                if self._seen is seen and not self.found:
                    self.progress(done / count)

        self.start(
            lambda: find_patient_centrelines(
                chosen.models, patient.folder, only=patient.only, typed=patient.typed, on_image=tell
            ),
            self._show,
            saying="Reading the images and looking for the centreline …",
        )

    def _hide(self) -> None:
        self.found, self.viewer = (), None
        self.look.children, self.list.children = [], []
        self.plot.draw(str)
        self.state.value = ""
        self.upload.value = ()

    def _show(self, found: tuple[ImageCentreline, ...]) -> None:
        self.found = found
        self.viewer = SliceViewer([(one.view, None) for one in found])
        self.viewer.on_click(self._take_click, hint=HINT)
        self.viewer.observe(lambda _: self._turn(), "image_index")
        self.look.children = [self.viewer]
        side = widgets.VBox([self.list, self.buttons, self.loading])
        self.body.children = [self.words, self.state, self.plot, self.look, side]
        self._changed()

    # --- points

    def _key(self, one: ImageCentreline) -> Key:
        return replace(self._seen[1], only=None), one.image.source.case_id

    def _shown(self) -> ImageCentreline | None:
        return self.found[self.viewer.image_index] if self.viewer is not None and self.found else None

    def _take_click(self, image: int, slice_index: int, row: float, column: float) -> None:
        if 0 <= image < len(self.found):
            one = self.found[image]
            with self._lock:
                before = self._chosen.points(self._key(one))
                self._keep(one, lambda: add_click(one.view, before, point_on(one.view, slice_index, row, column)))

    def _keep(self, one: ImageCentreline | None, points: Callable[[], tuple[Point, ...]]) -> None:
        """Take other points; where they cannot be, the former ones stay and a sentence says why."""
        if one is None:
            return
        with self._lock, self.attempt():
            try:
                self._chosen.keep(self._key(one), points())
            except AutosegError as error:
                self.say(str(error), "error")
            else:
                self._changed()

    def _changed(self) -> None:
        """Show the points as they are now, and hand on the curves."""
        self.say("")
        self._turn()
        curves = {one.image.source.case_id: line for one in self.found if (line := self.used(one)) is not None}
        before = {} if self.value is None else self.value.curves
        alike = curves.keys() == before.keys() and all(
            curves[name].points_mm.tolist() == line.points_mm.tolist() for name, line in before.items()
        )
        if not alike:
            self.value = Centrelines(self._seen[1], curves) if curves else None

    def _turn(self) -> None:
        """Show what belongs to the image that is looked at."""
        one = self._shown()
        if one is None or self.viewer is None:
            return
        self._list_points(one)
        self._list_saved(one)
        number, chosen, points = self.viewer.image_index, self.used(one), self.points
        self.viewer.marks = marks_of(one, chosen, points, crop_mm=self._crop_mm, image=number)
        self.state.value = describe_use(one, chosen, points)
        self.plot.draw(partial(draw_curves, one, chosen, self._crop_mm))

    def _list_points(self, one: ImageCentreline) -> None:
        rows: list[widgets.Widget] = []
        for number, point in enumerate(self.points, start=1):
            index = place_on(one.view, point)[0]
            show = button("Show", partial(self._go, index), f"Show point {number}")
            away = button("Remove", partial(self.remove, number), f"Take away point {number}")
            words = widgets.HTML(
                text(f"{number}: {_where(one.view, index)}"),
                layout=widgets.Layout(width="230px"),
            )
            rows.append(widgets.HBox([words, show, away], layout=widgets.Layout(align_items="center")))
        above = [widgets.HTML(heading("Your points, from the feet to the head"))] if rows else []
        self.list.children = [*above, *rows]
        self.save_button.disabled = self.used(one) is None
        self.all_button.disabled = self.used(one) is None and not rows
        self.undo_button.disabled = not self._chosen.can_undo([self._key(other) for other in self.found])

    def _go(self, index: int) -> None:
        if self.viewer is not None:
            self.viewer.slice_index = index

    # --- saved curves

    def _list_saved(self, one: ImageCentreline) -> None:
        names = [(path.stem, str(path)) for path in saved_centrelines(one.image, self.output)]
        self.loading.layout.display = "" if names else "none"
        if tuple(names) != tuple(self.saved.options):
            self.saved.options = names
            self.saved.index = 0 if names else None

    def _load_chosen(self) -> None:
        if self.saved.value:
            self.load(self.saved.value)

    def _load_upload(self) -> None:
        with self.attempt():
            for file in self.upload.value:
                with tempfile.TemporaryDirectory() as folder:
                    path = Path(folder) / "centreline.csv"
                    path.write_bytes(bytes(file["content"]))
                    self.load(path, name=file["name"])
            if self.upload.value:
                self.upload.value = ()
