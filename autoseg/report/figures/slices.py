"""Slices with their structures: batches, cases, predictions beside a reference, animations."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import imsave

from autoseg.errors import DataError
from autoseg.image.image import Image, LabelMap
from autoseg.image.overlay import (
    Rgb,
    choose_slices,
    display_scale,
    display_window,
    overlay_rgb,
    pad_to_same,
    pixel_aspect,
)
from autoseg.image.structures import Structure
from autoseg.report.animation import Animation, caption_scenes, choose_scenes, draw_scenes
from autoseg.report.figures.layout import (
    PANEL_INCHES,
    NotebookFigure,
    add_legend,
    dark_below,
    outline_key,
    panels,
)
from autoseg.report.kept_slices import WorstSlice, slice_title

MAX_PANELS = 12
TITLE_LETTERS = 36
# Around what is drawn or predicted so much of its own length is shown as well, and at least so many pixels.
AROUND, AROUND_LEAST = 0.5, 16
# Two slices side by side are drawn smaller.
PAIR_INCHES, PAIR_PIXELS = 3.4, 256


def show_batch(
    images: npt.NDArray[np.floating],
    labels: npt.NDArray[np.integer],
    structures: Sequence[Structure],
    *,
    columns: int = 4,
    titles: Sequence[str] | None = None,
    originals: tuple[npt.NDArray[np.floating], npt.NDArray[np.integer]] | None = None,
    opacity: float = 0.45,
) -> NotebookFigure:
    """Draw a batch of slices with their structures, and a legend of names.

    Parameters
    ----------
    images : (n, rows, columns) ndarray of float
        For instance an augmented batch as the network sees it.
    labels : (n, rows, columns) ndarray of int
    structures : sequence of Structure
    columns : int
        Slices, or pairs of them, side by side.
    titles : sequence of str, optional
        One per slice.
    originals : tuple of ndarray, optional
        Images and labels (n, rows, columns) of the same slices as they were, drawn to the left of each. Both
        are shown from black to white alike, so that changes of brightness and contrast are seen.
    opacity : float
        Of the structures' fill, 0 (only the outline) to 1.

    Raises
    ------
    DataError
        If shapes or numbers do not fit, or there is no slice.
    """
    names = list(titles) if titles is not None else [""] * len(images)
    for some, drawn in [(images, labels), *([originals] if originals is not None else [])]:
        if some.ndim != 3 or some.shape != drawn.shape or not len(names) == len(some) == len(images):
            raise DataError(
                f"A batch to show has images and labels of one shape (n, rows, columns) and n titles, not "
                f"{some.shape}, {drawn.shape} and {len(names)} titles."
            )
    if originals is None:
        scale, inches = display_scale(images.shape), PANEL_INCHES
        pictures = [
            overlay_rgb(*pair, structures, opacity=opacity, scale=scale)
            for pair in zip(images, labels, strict=True)
        ]
    else:
        names, inches = [f"{name}  as drawn | as varied".strip() for name in names], PAIR_INCHES
        pictures = list(_pairs(images, labels, structures, originals, opacity))
    aspect = pictures[0].shape[0] / pictures[0].shape[1] if pictures else 1.0
    figure, axes = panels(len(pictures), columns, aspect=aspect, inches=inches)
    for picture, name, ax in zip(pictures, names, axes, strict=True):
        ax.imshow(picture)
        ax.set_title(name, fontsize=9)
    add_legend(figure, structures)
    return figure


def pair_pictures(
    images: npt.NDArray[np.floating],
    labels: npt.NDArray[np.integer],
    structures: Sequence[Structure],
    originals: tuple[npt.NDArray[np.floating], npt.NDArray[np.integer]],
    *,
    opacity: float = 0.45,
) -> tuple[bytes, ...]:
    """Give each slice as it was and beside it as it is varied, as PNG pictures; quicker than a figure."""
    return tuple(encode_picture(pair, "png") for pair in _pairs(images, labels, structures, originals, opacity))


def _pairs(
    images: npt.NDArray[np.floating],
    labels: npt.NDArray[np.integer],
    structures: Sequence[Structure],
    originals: tuple[npt.NDArray[np.floating], npt.NDArray[np.integer]],
    opacity: float,
) -> Iterator[Rgb]:
    """Draw original and varied slices side by side; both from black to white as the original."""
    for place in range(len(images)):
        window = display_window(originals[0][place])
        before, after = pad_to_same(
            [
                overlay_rgb(
                    some[place],
                    drawn[place],
                    structures,
                    opacity=opacity,
                    window=window,
                    scale=display_scale(some.shape, least=PAIR_PIXELS),
                )
                for some, drawn in (originals, (images, labels))
            ]
        )
        gap = np.full((len(before), PAIR_PIXELS // 64, 3), 255, np.uint8)
        yield np.concatenate([before, gap, after], axis=1)


def show_cases(cases: Sequence[tuple[Image, LabelMap | None]], *, columns: int = 4) -> Figure:
    """Draw one slice of each case: that with most labelled pixels, or the middle one without labels."""
    figure, axes = panels(len(cases), columns)
    structures: dict[str, Structure] = {}
    for (image, label_map), ax in zip(cases, axes, strict=True):
        index = image.shape[0] // 2
        if label_map is not None and label_map.voxels.any():
            index = int(np.count_nonzero(label_map.voxels, axis=(1, 2)).argmax())
        draw_slice(ax, image, label_map, index, window=None)
        ax.set_title(f"{image.source.case_id}\n{image.say_slice(index)}", fontsize=9)
        structures.update({s.name: s for s in (label_map.structures if label_map is not None else ())})
    add_legend(figure, tuple(structures.values()))
    return figure


def show_overlays(
    image: Image,
    label_map: LabelMap,
    *,
    reference: LabelMap | None = None,
    slices: Sequence[int] | None = None,
    columns: int = 4,
) -> Figure:
    """Draw slices with the labels filled and, where there is one, the reference as a dashed outline.

    Parameters
    ----------
    image : Image
    label_map : LabelMap
        On the image's grid.
    reference : LabelMap, optional
        On the image's grid; structures that were not drawn in it get no outline.
    slices : sequence of int, optional
        By default up to 12, evenly chosen among those with a label.
    columns : int
        Slices side by side.
    """
    found = choose_slices(image, [label_map, reference], most=MAX_PANELS)
    chosen = found if slices is None else list(slices)
    figure, axes = panels(len(chosen), columns, aspect=image.shape[1] / image.shape[2] * pixel_aspect(image))
    window = display_window(image.channel_voxels[0])
    positions = image.known_positions_mm
    for index, ax in zip(chosen, axes, strict=True):
        draw_slice(ax, image, label_map, index, window=window)
        if reference is not None:
            outline_reference(ax, reference, index)
        where = f", {positions[index]:.1f} mm" if positions is not None else ""
        ax.set_title(f"slice {image.slice_number(index)}{where}", fontsize=9)
    add_legend(figure, label_map.structures, [outline_key("reference")] if reference is not None else [])
    figure.suptitle(image.source.case_id, fontsize=10)
    return figure


def show_animation(
    images: Image | Sequence[Image],
    label_maps: LabelMap | Sequence[LabelMap | None] | None,
    *,
    frame_ms: int = 200,
    max_frames: int = 200,
) -> Animation:
    """Animate the slices of one or several images with their labels.

    Parameters
    ----------
    images : Image or sequence of Image
    label_maps : LabelMap or None, or a sequence of them
        One for each image, on its grid.
    frame_ms : int
        Time for which each slice is shown, ms.
    max_frames : int
        Of longer stacks so many slices are shown, evenly chosen.

    Returns
    -------
    Animation
        Plays in a notebook, with a button and a slider; `save_gif(path)` writes a file.
    """
    scenes = choose_scenes(images, label_maps, max_frames=max_frames)
    jpegs = tuple(encode_picture(frame, "jpeg", quality=80) for frame in draw_scenes(scenes))
    return Animation(jpegs, caption_scenes(scenes), scenes, frame_ms)


class _Appraised(Protocol):
    """What is drawn of an `autoseg.evaluation.validation_report.Appraisal`: the worst slices, worst first."""

    @property
    def worst(self) -> Sequence[WorstSlice]: ...


def show_worst(appraisal: _Appraised, *, most: int = 8, columns: int = 4, names: bool = True) -> Figure:
    """Draw the worst slices: the prediction filled, the reference as a dashed outline, both areas above.

    Each is enlarged around what was drawn or predicted.

    Parameters
    ----------
    appraisal : Appraisal
        From `appraise`.
    most : int
        So many slices are drawn, the worst first.
    columns : int
        Slices side by side.
    names : bool
        Give the case's name, which may be a patient's number; otherwise its place among the validation cases.

    Raises
    ------
    DataError
        If no slice was scored.
    """
    shown = list(appraisal.worst)[:most]
    if not shown:
        raise DataError("No slice was scored, so there is none to show. Validate on a patient that has labels.")
    figure, axes = panels(len(shown), columns, inches=2.5, lines=4)
    structures: dict[str, Structure] = {}
    for one, ax in zip(shown, axes, strict=True):
        draw_slice(ax, one.image, one.predicted, 0, window=None)
        outline_reference(ax, one.reference, 0)
        label = one.score.label
        look_around(ax, one.reference.mask(label)[0] | one.predicted.mask(label)[0], pixel_aspect(one.image))
        ax.set_title("\n".join(textwrap.fill(line, TITLE_LETTERS) for line in slice_title(one, names)), fontsize=9)
        structures.update({s.name: s for s in one.predicted.structures})
    add_legend(figure, tuple(structures.values()), [outline_key("drawn")])
    return figure


def show_slice_scored(one: WorstSlice) -> Figure:
    """Draw a scored slice three times side by side: the image alone, with what was drawn, with what was predicted.

    It is enlarged around all structures that were drawn or predicted.
    """
    figure, axes = panels(3, 3, inches=3.4)
    labels = (None, one.reference, one.predicted)
    there = (one.reference.voxels[0] > 0) | (one.predicted.voxels[0] > 0)
    for ax, name, label_map in zip(axes, ("image", "drawn", "predicted"), labels, strict=True):
        draw_slice(ax, one.image, label_map, 0, window=None)
        look_around(ax, there, pixel_aspect(one.image))
        ax.set_title(name, fontsize=9)
    figure.suptitle(" · ".join(slice_title(one)), fontsize=10)
    add_legend(figure, one.predicted.structures)
    return figure


def draw_slice(
    ax: Axes, image: Image, label_map: LabelMap | None, index: int, *, window: tuple[float, float] | None
) -> None:
    """Draw one slice of an image with its labels, in the image's own pixels."""
    rows, columns = image.shape[1:]
    labels = None if label_map is None else label_map.voxels[index]
    structures = () if label_map is None else label_map.structures
    grey, scale = image.channel_voxels[0, index], display_scale(image.shape)
    picture = overlay_rgb(grey, labels, structures, window=window, scale=scale)
    # In the image's own pixels, so that outlines of a reference fall on their place.
    ax.imshow(picture, extent=(-0.5, columns - 0.5, rows - 0.5, -0.5), aspect=pixel_aspect(image))


def outline_reference(ax: Axes, reference: LabelMap, index: int) -> None:
    """Draw what was drawn on one slice as outlines dashed in white and black."""
    for structure in reference.structures:
        mask = reference.mask(structure.label)[index]
        if reference.is_annotated(structure.label) and mask.any():
            # Padded, so that a structure at the border of the image is closed too.
            padded = np.pad(mask, 1).astype(float)
            rows, columns = (np.arange(n) - 1 for n in padded.shape)
            drawn = ax.contour(columns, rows, padded, levels=[0.5], colors="white", linestyles="--", linewidths=0.9)
            drawn.set_path_effects(dark_below(1.7))


def look_around(ax: Axes, there: npt.NDArray[np.bool_], aspect: float) -> None:
    """Show a square around some pixels of a slice, of which a row is `aspect` times as high as a column is wide."""
    rows, columns = (np.flatnonzero(there.any(axis=axis)) for axis in (1, 0))
    # In columns; a row is `aspect` times as high as a column is wide.
    longest = max((rows[-1] - rows[0] + 1) * aspect, columns[-1] - columns[0] + 1)
    side = max((1 + 2 * AROUND) * longest, longest + 2 * AROUND_LEAST)
    top, bottom = _around(rows, side / aspect, there.shape[0])
    left, right = _around(columns, side, there.shape[1])
    ax.set(xlim=(left, right), ylim=(bottom, top))


def _around(places: npt.NDArray[np.intp], length: float, count: int) -> tuple[float, float]:
    """Give the ends of a stretch of this length around some pixels, moved into the image of so many pixels."""
    length = min(length, count)
    low = (places[0] + places[-1] - length) / 2
    low = min(max(low, -0.5), count - 0.5 - length)
    return float(low), float(low + length)


def encode_picture(rgb: Rgb, kind: str, **options: int) -> bytes:
    """Give a picture of shape (rows, columns, 3) as the bytes of a file; `kind` is "png" or "jpeg"."""
    buffer = io.BytesIO()
    imsave(buffer, rgb, format=kind, pil_kwargs=options)
    return buffer.getvalue()
