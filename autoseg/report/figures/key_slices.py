"""One slice with its outlines, for a page: each told by its number and its line, and not by its colour alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patheffects import Normal, Stroke

from autoseg.image.image import Image, LabelMap
from autoseg.image.overlay import Rgb, display_scale, display_window, hex_colour, overlay_rgb, pixel_aspect
from autoseg.image.structures import Structure
from autoseg.report.figures.layout import NotebookFigure
from autoseg.report.figures.slices import encode_picture, look_around
from autoseg.report.lights import carrying_light

INCHES, DPI = 2.4, 170
STYLES = ("solid", "dashed", "dotted", "dashdot")


def draw_key_slice(
    image: Image,
    label_map: LabelMap,
    index: int,
    *,
    numbers: Sequence[Structure],
    light: str = "",
    before: LabelMap | None = None,
) -> bytes:
    """Draw a slice, enlarged around its structures, as a PNG picture that carries the word of its light.

    A structure's number is its place in `numbers`, from 1. Outlines `before` a correction are thin and white.
    """
    labels = label_map.voxels[index]
    voxels = image.channel_voxels[0]
    rows, columns = labels.shape
    aspect = pixel_aspect(image)
    figure = NotebookFigure(figsize=(INCHES, INCHES), dpi=DPI)
    canvas = FigureCanvasAgg(figure)
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set_axis_off()
    figure.set_facecolor("black")
    picture = overlay_rgb(
        voxels[index], None, (), window=display_window(voxels), scale=display_scale(labels.shape, least=256)
    )
    ax.imshow(picture, extent=(-0.5, columns - 0.5, rows - 0.5, -0.5), aspect=aspect)
    there = labels > 0
    if before is not None:
        there = there | (before.voxels[index] > 0)
        for structure in before.structures:
            _outline(ax, before.mask(structure.label)[index], colors="white", linewidths=0.5)
    masks = [label_map.mask(structure.label)[index] for structure in numbers]
    # What lies within another is drawn over it: the one around it has another outline to be seen by.
    for place in sorted(range(len(masks)), key=lambda place: -_extent(masks[place])):
        if masks[place].any():
            _draw(ax, masks[place], numbers[place], place + 1)
    if there.any():
        look_around(ax, there, aspect)
    canvas.draw()
    drawn: Rgb = np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3])
    return encode_picture(carrying_light(drawn, light), "png")


def _extent(mask: npt.NDArray[np.bool_]) -> int:
    """Give how many pixels the rectangle around a structure has."""
    return int(np.prod([np.ptp(np.flatnonzero(mask.any(axis=axis))) for axis in (0, 1)])) if mask.any() else 0


def _draw(ax: Axes, mask: npt.NDArray[np.bool_], structure: Structure, number: int) -> None:
    colour = hex_colour(structure.rgb)
    # On a ground of the other brightness a line is seen on any tissue, in grey too.
    ground = "black" if np.dot(structure.rgb, (0.299, 0.587, 0.114)) > 110 else "white"
    _outline(ax, mask, colors=ground, linewidths=2.0)
    style = STYLES[(number - 1) % len(STYLES)]
    _outline(ax, mask, colors=colour, linewidths=1.1, linestyles=style)
    places = np.argwhere(mask)
    # One inside another would have its number at the same place.
    row, column, shift, side = (*places[0], 2, "bottom") if number % 2 else (*places[-1], -2, "top")
    edge = [Stroke(linewidth=1.6, foreground="black"), Normal()]
    look: dict[str, Any] = {"size": 7.5, "weight": "bold", "color": "white", "ha": "center", "va": side}
    place: dict[str, Any] = {"xycoords": "data", "textcoords": "offset points", "annotation_clip": True}
    ax.annotate(str(number), (column, row), (0, shift), path_effects=edge, **place, **look)


def _outline(ax: Axes, mask: npt.NDArray[np.bool_], **look: Any) -> None:
    if mask.any():
        # Padded, so that a structure at the border of the image is closed too.
        padded = np.pad(mask, 1).astype(float)
        rows, columns = (np.arange(count) - 1 for count in padded.shape)
        ax.contour(columns, rows, padded, levels=[0.5], **look)
