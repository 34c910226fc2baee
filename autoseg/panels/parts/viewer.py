"""The slice viewer on the page: slices with their labels, drawn in the browser from compressed numbers."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import numpy.typing as npt
import traitlets

from autoseg.data.corrections.drawing import Drawing, Place
from autoseg.errors import AutosegError, DataError
from autoseg.image.image import Image, LabelMap
from autoseg.image.overlay import display_window, pixel_aspect, shrink
from autoseg.image.structures import Structure
from autoseg.measurement.areas import MM2, Measurement, measure_areas
from autoseg.model.trust import Light
from autoseg.panels.parts.light import light_values
from autoseg.report.area_tables import area_text, at_least, explain_flags, interval_text, level_text
from autoseg.report.corrected import corrected_row
from autoseg.report.cuts import cuts_of
from autoseg.words import say_slices

# --- slices as the page's viewer needs them: whole numbers, windows to start with, letters at the edges

# Grey values between two display windows' widths beyond the window are kept; a spike far outside is cut, as it
# would leave too few steps for the rest.
CUT_WIDTHS = 20.0
SAMPLE_VALUES = 200_000
# Centre and width in Hounsfield units, as radiologists use them.
HOUNSFIELD_WINDOWS = (("soft tissue", 40.0, 400.0), ("bone", 400.0, 1800.0), ("lung", -600.0, 1500.0))

# In other images, between which percentiles of what is brighter than this part of the display window (air is not).
DARKEST = 0.05
PERCENTILES = (("more contrast", 10.0, 90.0), ("dark parts", 0.0, 60.0), ("bright parts", 40.0, 99.9))

Values = npt.NDArray[np.generic]


@dataclass(frozen=True)
class GreyScale:
    """How intensities become whole numbers: intensity = first + step * number.

    `most` is the largest number, 255 or 65535; values below `first` or without a number (NaN) become 0.
    """

    first: float
    step: float
    most: int

    @property
    def last(self) -> float:
        """The intensity of the largest number."""
        return self.first + self.step * self.most


@dataclass(frozen=True)
class Window:
    """What is shown black and white: centre and width, in the image's own intensities."""

    name: str
    centre: float
    width: float


def grey_scale(voxels: Values) -> GreyScale:
    """Choose a scale that loses nothing an eye could see.

    Whole numbers (all of CT, nearly all of MR) that span at most 65,536 values are kept exactly. Others get 65,536
    steps between the lowest and the highest finite value, cut 20 display windows beyond the display window.

    Examples
    --------
    >>> grey_scale(np.array([-1024, 3071], np.int16))
    GreyScale(first=-1024.0, step=1.0, most=65535)
    """
    low, high = intensity_range(voxels)
    if high - low <= 65535 and _whole(voxels):
        return GreyScale(low, 1.0, 255 if high - low <= 255 else 65535)
    black, white = display_window(voxels)
    reach = CUT_WIDTHS * (white - black)
    if reach > 0:
        low, high = max(low, black - reach), min(high, white + reach)
    return GreyScale(low, (high - low) / 65535 if high > low else 1.0, 65535)


def intensity_range(voxels: Values) -> tuple[float, float]:
    """Give the lowest and the highest finite intensity; (0, 0) where there is none."""
    if voxels.dtype.kind != "f":
        return float(voxels.min()), float(voxels.max())
    with np.errstate(all="ignore"):
        all_finite = np.isfinite(voxels.sum(dtype=np.float64))
    if not all_finite:  # no copy in the usual case
        voxels = voxels[np.isfinite(voxels)]
    return (float(voxels.min()), float(voxels.max())) if voxels.size else (0.0, 0.0)


def encode_slice(values: Values, scale: GreyScale) -> bytes:
    """Give the numbers of a slice or several, row by row: a byte each, or the lower bytes of all, then the upper.

    Upper bytes are nearly all alike, and pack better and faster if they stand together.
    """
    if values.dtype.kind == "f":
        finite = np.nan_to_num(values.astype(np.float64), nan=scale.first, posinf=scale.last, neginf=scale.first)
    else:
        finite = values.astype(np.float64)
    numbers = np.rint((finite - scale.first) / scale.step).clip(0, scale.most)
    if scale.most == 255:
        return numbers.astype("u1").tobytes()
    return numbers.astype("<u2").reshape(-1, 1).view("u1").T.tobytes()


def decode_slice(data: bytes, scale: GreyScale, shape: Sequence[int]) -> npt.NDArray[np.float64]:
    """Give back the intensities of encoded slices, as the page computes them."""
    numbers = np.frombuffer(data, "u1")
    if scale.most != 255:
        numbers = np.ascontiguousarray(numbers.reshape(2, -1).T).view("<u2")
    return np.asarray(scale.first + scale.step * numbers.reshape(tuple(shape)).astype(np.float64))


def pack(data: bytes) -> bytes:
    """Compress for the page (zlib), which waits: fast beats small here.

    Of repetitions only runs are looked for: noisy grey values have no others, and take half of the time so.
    """
    packer = zlib.compressobj(1, strategy=zlib.Z_RLE)
    return packer.compress(data) + packer.flush()


def windows(voxels: Values) -> tuple[Window, ...]:
    """Give the windows to choose from, "auto" first.

    Where values look like CT the others are soft tissue, bone and lung. Of other images, whose numbers have no
    unit, they show more contrast, what is dark, what is bright, and the whole range; those that differ.

    Examples
    --------
    >>> [window.name for window in windows(np.arange(10_000))]
    ['auto', 'more contrast', 'dark parts', 'bright parts', 'whole range']
    >>> windows(np.array([[0, 100], [100, 0]]))
    (Window(name='auto', centre=50.0, width=100.0),)
    """
    black, white = display_window(voxels)
    auto = _window("auto", black, white if white > black else black + 1)
    if looks_like_ct(voxels):
        return (auto, *(Window(*preset) for preset in HOUNSFIELD_WINDOWS))
    values = _sample(voxels)
    inside = values[values > black + DARKEST * auto.width]
    found = [auto]
    for name, low, high in PERCENTILES if inside.size else ():
        found.append(_window(name, *np.percentile(inside, (low, high)).tolist()))
    found.append(_window("whole range", *intensity_range(voxels)))
    edges = [(round(one.centre, 6), round(one.width, 6)) for one in found]
    return tuple(one for n, one in enumerate(found) if one.width > 0 and edges[n] not in edges[:n])


def _window(name: str, black: float, white: float) -> Window:
    return Window(name, (black + white) / 2, white - black)


def looks_like_ct(voxels: Values) -> bool:
    """Tell whether intensities look like Hounsfield units: air about -1000, and a body of about -150 to 250."""
    values = _sample(voxels)
    air = (values > -1100) & (values < -850)
    body = values[values > -500]
    tissue = (body > -150) & (body < 250)
    return bool(air.mean() > 0.01 and tissue.sum() > 0.5 * max(body.size, 1) and values.max() < 32768)


def edge_letters(image: Image) -> tuple[str, str, str, str]:
    """Give the letters for the left, right, top and bottom edge of the picture; empty where nothing is known.

    L and R are the patient's sides, A and P front and back, H and F head and feet. Where an edge looks between two
    directions both letters stand, the nearer one first. An image whose files do not tell how it
    lies was *taken* as axial; it gets no letters.
    """
    if image.affine is None or not image.source.is_placed:
        return ("", "", "", "")
    along_rows, along_columns = image.affine[:3, 2], image.affine[:3, 1]
    return _letters(-along_rows), _letters(along_rows), _letters(-along_columns), _letters(along_columns)


def _letters(direction: npt.NDArray[np.float64]) -> str:
    shares = direction / np.linalg.norm(direction)
    letters = [("L", "R"), ("P", "A"), ("H", "F")]  # of growing and falling x, y, z
    order = np.argsort(-np.abs(shares), kind="stable")
    return "".join(letters[axis][int(shares[axis] < 0)] for axis in order[:2] if abs(shares[axis]) > 0.35)


def _whole(voxels: Values) -> bool:
    """Tell whether all finite values are whole numbers; slice by slice, to stop at the first that is none."""
    if voxels.dtype.kind != "f":
        return True
    return all(bool((part == np.rint(part))[np.isfinite(part)].all()) for part in voxels)


def _sample(voxels: Values) -> npt.NDArray[np.float64]:
    values = voxels.ravel()[:: max(1, voxels.size // SAMPLE_VALUES)].astype(np.float64)
    finite = values[np.isfinite(values)]
    return finite if finite.size else np.zeros(1)


HERE = Path(__file__).parent
POOR = "poor"  # the flag of what was probably drawn badly
# A brush of more pixels across is none; a stroke of more points was not drawn by a hand.
MOST_SIZE, MOST_POINTS = 400, 100_000
# More slices than this in one message would keep the kernel from what the page asks next.
MOST_SLICES_AT_ONCE = 8
SMALL_SIDE = 96  # pixels of a slice in the strip; the page shows them smaller, on fine screens as they are


class SliceViewer(anywidget.AnyWidget):
    """Slices of one or several images with their structures, to play and to look at closely.

    The page fetches slices when it needs them, the one to show first and its neighbours after it, and draws them
    itself; window, opacity and structures therefore change without the kernel. While the kernel is busy the page
    keeps the last slice, under its own number, and says that it waits.

    `image_index` and `slice_index` (from 0; the page gives slices their numbers, from 1) tell what is shown,
    `highlight` is the label of a structure that stands out, or 0. They can be set; a number beyond the last is
    taken as the last.
    `marks` are drawn over the slices (`mark`), and `on_click` tells where the picture was clicked. From `draw` to
    `end_drawing` outlines are corrected in the page.

    Parameters
    ----------
    results : sequence of (Image, LabelMap or None)
        Each label map on its image's grid. The first channel is drawn.
    measurements : sequence of Measurement, optional
        For the areas beside the picture and the flagged slices; matched by the images' case_id.
    references : sequence of (LabelMap or None), optional
        One for each image: an expert's labels, drawn as dashed white outlines.
    reference_name : str
        What the page calls those outlines.
    flags : mapping of str by (case_id, slice_index), optional
        Further slices to be marked on the slider, and why.
    withheld : str
        Why no areas are shown; "" shows them. It can be changed at any time.
    cuts : bool
        Offer each stack, after all images, also cut from the side, from the front or from above (`cuts_of`).

    Raises
    ------
    DataError
        If there is no image, two have the same case_id, or labels have another shape than their image.
    """

    _esm = HERE / "viewer.js"
    _css = HERE / "viewer.css"
    image_index = traitlets.Int(0).tag(sync=True)
    slice_index = traitlets.Int(0).tag(sync=True)
    highlight = traitlets.Int(0).tag(sync=True)
    marks: Any = traitlets.List().tag(sync=True)
    withheld = traitlets.Unicode().tag(sync=True)
    _images: Any = traitlets.List().tag(sync=True)
    _reference_name = traitlets.Unicode().tag(sync=True)
    _click_hint = traitlets.Unicode().tag(sync=True)
    _drawn_images = traitlets.Int(0).tag(sync=True)  # so many, from the first, can be drawn in now
    _corrected: Any = traitlets.List().tag(sync=True)  # [image, slice] of those that are other than the model's

    def __init__(
        self,
        results: Sequence[tuple[Image, LabelMap | None]],
        measurements: Sequence[Measurement] = (),
        *,
        references: Sequence[LabelMap | None] = (),
        reference_name: str = "expert's outline",
        flags: Mapping[tuple[str, int], str] | None = None,
        withheld: str = "",
        cuts: bool = False,
    ) -> None:
        self.results = tuple((image, label_map) for image, label_map in results)
        self.references = tuple(references) or (None,) * len(self.results)
        _check(self.results, self.references)
        sources = [*range(len(self.results))]
        for number, (image, label_map) in enumerate(self.results if cuts else ()):
            drawn = self.references[number]
            for one, other in zip(cuts_of(image, label_map), cuts_of(image, drawn), strict=True):
                if one.is_upright:
                    self.results += ((one.image, one.label_map),)
                    self.references += (other.label_map,)
                    sources.append(number)
        self._areas: dict[tuple[str, int], list[Measurement]] = {}
        for row in measurements:
            self._areas.setdefault((row.case_id, row.slice_index), []).append(row)
        scales = [grey_scale(image.channel_voxels[0]) for image, _ in results]
        self._scales = [scales[number] for number in sources]
        self._flags = dict(flags or {})
        self._clicked: Callable[[int, int, float, float], None] | None = None
        self._drawing: Drawing | None = None
        self._drawn: Callable[[], object] | None = None
        self._hide: Callable[[str], str] = str
        self._stroke = 0  # the number of the page's last stroke that was drawn here
        images = [self._describe(number) for number in range(len(self.results))]
        start = images[0]["start"]
        super().__init__(_images=images, slice_index=start, _reference_name=reference_name, withheld=withheld)
        self.on_msg(self._answer)

    def on_click(self, act: Callable[[int, int, float, float], None], *, hint: str) -> None:
        """Call `act` with image, slice, row and column whenever a slice is clicked, and tell people so by `hint`.

        Rows and columns are of the image, whole numbers in the middle of a pixel; a drag is no click.
        """
        self._clicked, self._click_hint = act, hint

    def draw(
        self, drawing: Drawing, hide: Callable[[str], str] = str, *, on_drawn: Callable[[], object] | None = None
    ) -> None:
        """Let people correct the outlines of the images of a Drawing, which are the viewer's first ones.

        Each stroke is drawn here by its points, sent back with the areas that it gives, and saved; then `on_drawn`
        is called.
        """
        count = len(drawing.images)
        shown = [image.source.case_id for image, _ in self.results[:count]]
        if shown != [image.source.case_id for image in drawing.images]:
            raise DataError("The viewer shows other images than those that are to be corrected.")
        self._drawing, self._hide, self._drawn = drawing, hide, on_drawn
        self._show_drawn(drawing)
        self._drawn_images = count

    def end_drawing(self) -> None:
        """Let nobody draw any more; what was drawn stays to be seen, with its areas."""
        self._drawn_images = 0

    def _show_drawn(self, drawing: Drawing) -> None:
        count = len(drawing.images)
        drawn = [(image, drawing.label_map(number)) for number, (image, _) in enumerate(self.results[:count])]
        self.results = (*drawn, *self.results[count:])
        # The page has slices from before: what was drawn on another day is among what changes now.
        places = [(n, k) for n, (image, _) in enumerate(drawn) for k in range(image.shape[0])]
        self._send_drawn([place for place in places if drawing.is_changed(place)], "")
        self._corrected = sorted(map(list, drawing.changed))

    def show(self, case_id: str, slice_index: int, label: int = 0) -> None:
        """Show a slice of an image and let a structure stand out (0: none)."""
        names = [image.source.case_id for image, _ in self.results]
        if case_id not in names:
            raise DataError(f"The viewer has no image {case_id!r}; it has {', '.join(names)}.")
        number = names.index(case_id)
        slices = self.results[number][0].shape[0]
        if not 0 <= slice_index < slices:
            raise DataError(
                f"{case_id!r} has the places 0 to {slices - 1} (slice_index); there is no {slice_index}."
            )
        with self.hold_sync(), self.hold_trait_notifications():
            self.image_index, self.slice_index, self.highlight = number, slice_index, label

    def slice_message(self, image_index: int, slice_index: int) -> tuple[dict[str, Any], list[bytes]]:
        """Give what the page gets for one slice: a description with its areas, and compressed numbers (zlib).

        Those are the grey values, then the labels and the reference's labels, where there are any.
        """
        image, label_map = self.results[image_index]
        reference = self.references[image_index]
        parts = [encode_slice(image.channel_voxels[0, slice_index], self._scales[image_index])]
        for drawn in filter(None, (label_map, reference)):
            parts.append(np.ascontiguousarray(drawn.voxels[slice_index], dtype=np.uint8).tobytes())
        rows = [] if self.withheld else self._rows((image_index, slice_index))
        description = {
            "image": image_index,
            "slice": slice_index,
            "stroke": self._stroke,
            "gaps": not bool(np.isfinite(image.channel_voxels[0, slice_index]).all()),
            "labels": label_map is not None,
            "reference": reference is not None,
            "areas": {
                str(row.label): {
                    "area": _area_cell(row),
                    "interval": interval_text(row),
                    "pixels": row.pixel_count,
                    "flags": explain_flags(row.flags),
                    "dice": dice_text(row),
                    "poor": POOR in row.flags.split("; "),
                }
                for row in rows
            },
        }
        return description, [pack(part) for part in parts]

    def small_message(self, image_index: int, slices: Sequence[int]) -> tuple[dict[str, Any], list[bytes]]:
        """Give what the page gets for slices of an image in little, one below the other, as for whole slices."""
        image, label_map = self.results[image_index]
        scale, grey, labels = self._scales[image_index], [], []
        shape: tuple[int, ...] = ()
        for index in slices:
            drawn = None if label_map is None else label_map.voxels[index]
            small, inside = shrink(
                image.channel_voxels[0, index], drawn, aspect=pixel_aspect(image), side=SMALL_SIDE
            )
            shape = small.shape
            grey.append(small)
            labels += [] if inside is None else [inside.astype(np.uint8).tobytes()]
        parts = [encode_slice(np.stack(grey), scale), *([b"".join(labels)] if labels else [])]
        description = {
            "image": image_index,
            "slices": list(slices),
            "shape": list(shape),
            "labels": bool(labels),
            "stroke": self._stroke,
        }
        return {"small": description}, [pack(part) for part in parts]

    def _rows(self, place: Place) -> list[Measurement]:
        """Give the areas of a slice; of structures that were drawn since, as they are now."""
        number, index = place
        image, label_map = self.results[number]
        rows = self._areas.get((image.source.case_id, index), [])
        drawing = self._drawing
        if drawing is None or label_map is None or number >= len(drawing.images) or not drawing.is_changed(place):
            return rows
        now, first = (one.one_slice(index) for one in (label_map, drawing.original(number)))
        seen = {row.label: row for row in measure_areas(now)}
        changed = [row.label for row in rows if not np.array_equal(now.mask(row.label), first.mask(row.label))]
        return [corrected_row(row, seen[row.label], drawing.by) if row.label in changed else row for row in rows]

    @traitlets.validate("image_index")
    def _keep_image(self, proposal: Any) -> int:
        return min(max(int(proposal["value"]), 0), len(self.results) - 1)

    @traitlets.validate("slice_index")
    def _keep_slice(self, proposal: Any) -> int:
        image, _ = self.results[self.image_index]
        return min(max(int(proposal["value"]), 0), image.shape[0] - 1)

    @traitlets.observe("image_index")
    def _start_image(self, change: Any) -> None:
        if self.slice_index >= self.results[change["new"]][0].shape[0]:
            self.slice_index = self._images[change["new"]]["start"]

    def _describe(self, number: int) -> dict[str, Any]:
        """Give what the page must know of an image before its first slice."""
        image, label_map = self.results[number]
        reference, scale = self.references[number], self._scales[number]
        slices, rows, columns = image.shape
        shown = windows(image.channel_voxels[0])
        flagged: dict[str, str] = {}
        measured: list[Measurement] = []
        for index in range(slices):
            areas = self._areas.get((image.source.case_id, index), [])
            measured += areas
            words = [f"{row.name} {explain_flags(row.flags)}" for row in areas if row.flags]
            words += filter(None, [self._flags.get((image.source.case_id, index))])
            flagged |= {str(index): "; ".join(words)} if words else {}
        return {
            "name": image.source.case_id,
            "slices": slices,
            "first": image.source.first_slice,
            "rows": rows,
            "columns": columns,
            "aspect": pixel_aspect(image),
            "metric": _metric(image),
            "start": _start(label_map, slices),
            "scale": [scale.first, scale.step, scale.most],
            "range": list(intensity_range(image.channel_voxels[0])),
            "windows": [[w.name, w.centre, w.width] for w in shown],
            # Air takes most of auto's range in CT: begin with soft tissue.
            "window": int(shown[1:2] == (Window(*HOUNSFIELD_WINDOWS[0]),)),
            "letters": list(edge_letters(image)),
            "positions": _positions(image),
            "levels": [source.level for source in image.source.slices],
            "structures": [_describe_structure(s, label_map, reference) for s in _structures(label_map, reference)],
            "labelled": label_map is not None,
            "reference": reference is not None,
            "unit": next((row.unit for row in measured), ""),
            "level": next((level_text(row) for row in measured if row.interval is not None), ""),
            "light": next((light_values(Light(row.suitability)) for row in measured if row.suitability), None),
            "flagged": flagged,
        }

    def _answer(self, _: Any, message: Any, buffers: Any) -> None:
        """Send the slices that the page asks for, one message each, in its order; hand on a click."""
        if isinstance(message, dict) and "click" in message:
            self._take_click(message["click"])
        if isinstance(message, dict) and "draw" in message:
            self._take_stroke(message["draw"])
        if not isinstance(message, dict) or not isinstance(message.get("slices"), list):
            return
        number = message.get("image")
        if not isinstance(number, int) or not 0 <= number < len(self.results):
            return
        wanted = [i for i in message["slices"] if isinstance(i, int) and 0 <= i < self.results[number][0].shape[0]]
        wanted = wanted[:MOST_SLICES_AT_ONCE]
        if message.get("small") is True and wanted:
            description, parts = self.small_message(number, wanted)
            self.send(description, buffers=parts)
            return
        for index in wanted:
            description, parts = self.slice_message(number, index)
            self.send(description, buffers=parts)

    def _take_stroke(self, stroke: Any) -> None:
        """Draw what the page drew, show it with its areas, and save it; what does not work is said in the page."""
        drawing = self._drawing
        if (
            drawing is None
            or not self._drawn_images
            or not isinstance(stroke, dict)
            or not isinstance(stroke.get("number"), int)
        ):
            return
        self._stroke = max(self._stroke, stroke["number"])
        said, touched = "", list[Place]()
        try:
            touched = draw_stroke(drawing, stroke)
        except AutosegError as error:
            said = self._hide(str(error))
        place = stroke.get("image"), stroke.get("slice")
        # The page has drawn it already: it gets its slice back as it is, whatever became of the stroke.
        sent = list(touched)
        if place not in sent and self._is_slice(place):
            sent.append(place)  # type: ignore[arg-type]  # two whole numbers, as was just seen
        filled = say_slices([index for _, index in touched]) if len(touched) > 1 else ""
        words = said or (f"Drawn on slices {filled}." if filled else "")
        # Who takes a stroke back is led to it, where its slice is another than that which is seen.
        where = touched[0] if touched and place not in touched else ()
        self._send_drawn(sent, words, is_saved=False, where=where)
        try:
            drawing.save()
        except AutosegError as error:
            self._send_drawn([], f"Not saved: {self._hide(str(error))}", is_saved=False)
        else:
            self._send_drawn([], words)
        self._corrected = sorted(map(list, drawing.changed))
        if touched and self._drawn is not None:
            self._drawn()

    def _is_slice(self, place: tuple[Any, Any]) -> bool:
        number, index = place
        if not isinstance(number, int) or not isinstance(index, int) or not 0 <= number < self._drawn_images:
            return False
        return 0 <= index < self.results[number][0].shape[0]

    def _send_drawn(
        self, places: Sequence[Place], said: str, *, is_saved: bool = True, where: Sequence[int] = ()
    ) -> None:
        """Send slices that were drawn on, then how the drawing is, and where something became another."""
        drawing = self._drawing
        if drawing is None:
            return
        for number, index in places:
            description, parts = self.slice_message(number, index)
            self.send(description, buffers=parts)
        state = {"undo": drawing.can_undo, "redo": drawing.can_redo, "said": said, "saved": is_saved}
        self.send({"drawing": {**state, "stroke": self._stroke, "where": list(where)}})

    def _take_click(self, place: Any) -> None:
        numbers = place if isinstance(place, list) and len(place) == 4 else []
        is_place = bool(numbers) and all(isinstance(n, int | float) and math.isfinite(n) for n in numbers)
        if self._clicked is None or not is_place or not 0 <= numbers[0] < len(self.results):
            return
        number, index, row, column = int(numbers[0]), int(numbers[1]), float(numbers[2]), float(numbers[3])
        slices, rows, columns = self.results[number][0].shape
        if 0 <= index < slices and -0.5 <= row <= rows - 0.5 and -0.5 <= column <= columns - 0.5:
            self._clicked(number, index, row, column)


def draw_stroke(drawing: Drawing, stroke: Mapping[str, Any]) -> list[Place]:
    """Draw a stroke as the page tells of it, and give the slices that were changed.

    Raises
    ------
    DataError
        If it makes no sense, or there is nothing to draw.
    """
    tool, label = stroke.get("tool"), stroke.get("label")
    if tool == "undo":
        return drawing.undo()
    if tool == "redo":
        return drawing.redo()
    image, index = stroke.get("image"), stroke.get("slice")
    size, points = stroke.get("size", 1), stroke.get("points", [])
    if not (isinstance(image, int) and isinstance(index, int) and 0 <= image < len(drawing.images)):
        raise DataError("This image is not drawn in.")
    if not 0 <= index < drawing.images[image].shape[0] or not isinstance(label, int):
        raise DataError("There is no such slice, or no structure was chosen.")
    place = image, index
    rows, columns = drawing.images[image].shape[1:]
    try:
        found = [(float(row), float(column)) for row, column in points[:MOST_POINTS]]
        size = float(size)
        # However far outside somebody drew, the stroke ends a little way behind the edge.
        numbers = [size, *(number for point in found for number in point)]
        if not all(map(math.isfinite, numbers)) or not 0 < size <= MOST_SIZE:
            raise ValueError(size)
    except (TypeError, ValueError) as error:
        raise DataError("The stroke holds what is no place.") from error
    near = [
        (min(max(row, -MOST_SIZE), rows + MOST_SIZE), min(max(column, -MOST_SIZE), columns + MOST_SIZE))
        for row, column in found
    ]
    within = _range_of(stroke)
    steps = {"copy before": -1, "copy behind": 1}
    if tool in ("brush", "eraser"):
        return drawing.brush(place, label, near, size=size, erase=tool == "eraser", within=within)
    if tool in ("polygon", "cut"):
        return drawing.polygon(place, label, near, erase=tool == "cut", within=within)
    if tool in steps:
        return drawing.copy(place, label, steps[tool])
    if tool == "between":
        return drawing.fill_between(place, label)
    if tool == "smooth":
        return drawing.smooth(place, label)
    if tool == "holes":
        return drawing.fill_holes(place, label)
    if tool == "largest":
        return drawing.keep_largest(place, label)
    if tool == "restore":
        return drawing.restore(place)
    raise DataError(f"There is no tool {tool!r}.")


def _range_of(stroke: Mapping[str, Any]) -> tuple[float, float] | None:
    """Give the intensities of the pixels that a stroke may change; None where it may change any."""
    found = stroke.get("within")
    if found is None:
        return None
    try:
        low, high = map(float, found)
    except (TypeError, ValueError) as error:
        raise DataError("Type two grey values, or let the drawing reach all.") from error
    if not low <= high:
        raise DataError(f"No grey value lies between {low:g} and {high:g}. Type the lower one first.")
    return low, high


def _area_cell(row: Measurement) -> str:
    """Write an area below its unit."""
    area = area_text(row.area) if row.unit == MM2 else f"{row.pixel_count:,}"
    return at_least(area) if row.is_cut_off else area


def dice_text(row: Measurement) -> str:
    """Say how well a structure is likely to be found, and to look where that is poor; "" where nobody knows.

    By how much its area is likely to be off stands beside it, where that is known.

    Examples
    --------
    >>> from dataclasses import replace
    >>> from autoseg.image.geometry import affine_from_spacing
    >>> from autoseg.measurement.areas import measure_areas
    >>> affine = affine_from_spacing((3.0, 1.0, 1.0))
    >>> drawn = LabelMap(np.ones((1, 2, 2), np.uint8), affine, (Structure(1, "disc"),))
    >>> (row,) = measure_areas(drawn)
    >>> dice_text(replace(row, expected_dice=0.617, flags="poor")), dice_text(replace(row, expected_dice=0.93))
    ('expected Dice 0.62 – look', 'expected Dice 0.93')
    >>> dice_text(replace(row, expected_dice=0.617, expected_error_percent=24.3, flags="poor"))
    'expected Dice 0.62, area about 24 % off – look'
    """
    if row.expected_dice is None:
        return ""
    off = "" if row.expected_error_percent is None else f", area about {row.expected_error_percent:.0f} % off"
    look = " – look" if POOR in row.flags.split("; ") else ""
    return f"expected Dice {row.expected_dice:.2f}{off}{look}"


def mark(
    place: tuple[int, float, float],
    *,
    image: int = 0,
    text: str = "",
    colour: str = "#ffe100",
    size: tuple[float, float] | None = None,
) -> dict[str, Any]:
    """Give a mark for `SliceViewer.marks`: a cross with a text, a ring without, or a dotted box of a size.

    `place` is (slice, row, column), of a box its middle; `size` is (rows, columns).
    """
    index, row, column = place
    found = {"image": image, "slice": int(index), "row": float(row), "column": float(column), "colour": colour}
    return found | ({"text": text} if text else {}) | ({"size": [float(n) for n in size]} if size else {})


def _check(results: Sequence[tuple[Image, LabelMap | None]], references: Sequence[LabelMap | None]) -> None:
    if not results:
        raise DataError("There is no image to show. Choose a folder with images.")
    if len(references) != len(results):
        raise DataError(
            f"There are {len(results)} images but {len(references)} references; give one (or None) each."
        )
    names = [image.source.case_id for image, _ in results]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"Two images have the case_id {twice[0]!r}. Give every image a case_id of its own.")
    for (image, label_map), reference in zip(results, references, strict=True):
        for drawn in filter(None, (label_map, reference)):
            drawn.on_grid_of(image)


def _start(label_map: LabelMap | None, slices: int) -> int:
    """Give the slice to begin with: the middle one of those that show a structure."""
    drawn = np.flatnonzero(label_map.voxels.any(axis=(1, 2))) if label_map is not None else np.arange(0)
    return int(drawn[len(drawn) // 2]) if len(drawn) else slices // 2


def _metric(image: Image) -> list[float] | None:
    """Give mm² of rows squared, of rows times columns, and of columns squared, which make a distance in the slice.

    They hold on a sheared grid as well; None where the size of a pixel is not known.
    """
    if image.affine is None:
        return None
    row, column = image.affine[:3, 1], image.affine[:3, 2]
    return [float(row @ row), float(row @ column), float(column @ column)]


def _positions(image: Image) -> list[float] | None:
    """Give the slices' positions in mm; None where they are not known, as in the tables."""
    positions = image.known_positions_mm
    return None if positions is None else [round(float(position), 2) for position in positions]


def _structures(label_map: LabelMap | None, reference: LabelMap | None) -> list[Structure]:
    found: dict[int, Structure] = {}
    for drawn in filter(None, (label_map, reference)):
        for structure in drawn.structures:
            found.setdefault(structure.label, structure)
    return [found[label] for label in sorted(found)]


def _describe_structure(structure: Structure, *label_maps: LabelMap | None) -> dict[str, Any]:
    drawn = next(label_map for label_map in label_maps if label_map is not None)
    return {
        "label": structure.label,
        "name": structure.name,
        "colour": list(structure.rgb),
        "includes": list(structure.includes),
        "drawn": drawn.is_annotated(structure.label),
    }
