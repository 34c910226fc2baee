"""Centrelines over their image, from the side and from the front."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from autoseg.errors import DataError
from autoseg.image.geometry import Affine
from autoseg.image.image import Image, LabelMap
from autoseg.image.overlay import display_window, hex_colour
from autoseg.model.centreline import Centreline, axial_grid, axial_view
from autoseg.model.preprocessing.volume_grids import to_network
from autoseg.model.settings.settings import VolumeSettings
from autoseg.report.figures.layout import NotebookFigure, add_legend

# Bright on grey, and not those of structures; the dashes tell them apart too.
COLOURS = ("#ffffff", "#ff3fb4", "#7cff6b", "#ffe100")
# A dark edge, without which a white line is lost on a bright structure, and on a light page.
EDGE = [patheffects.withStroke(linewidth=3.2, foreground="#000000b0")]
DASHES: tuple[Any, ...] = ("-", (0, (4, 2)), (0, (1, 1.5)), "-.")
# What is shown on either side of the curves, and the finest pixels of the picture.
AROUND_MM, FINEST_MM = 35.0, 0.5
INCHES_WIDE, INCHES_TALL = 3.6, 7.0


def show_centrelines(
    image: Image,
    centrelines: Mapping[str, Centreline],
    label_map: LabelMap | None = None,
    *,
    crop_mm: tuple[float, float] | None = None,
) -> Figure:
    """Draw centrelines over an image, from the side (sagittal) and from the front (coronal).

    Both pictures follow the first curve: each line of the sagittal one runs through it from front to back, each
    line of the coronal one from the patient's right to the left. Short lines across mark where the structure begins
    and ends by each curve, dots what somebody clicked.

    Parameters
    ----------
    image : Image
        A volume with millimetres; its first channel is shown.
    centrelines : mapping of Centreline by what the legend calls it
        At most four; give the reference first.
    label_map : LabelMap, optional
        On the image's grid; its structures are outlined.
    crop_mm : (2,) tuple of float, optional
        From right to left and from front to back: also draw the edges of a crop around the last curve.

    Raises
    ------
    DataError
        If there is no centreline or more than four, or the image has a single slice.
    GeometryError
        If the image has no millimetres.
    """
    if not 1 <= len(centrelines) <= len(COLOURS):
        raise DataError(f"{len(centrelines)} centrelines were given; this figure shows 1 to {len(COLOURS)}.")
    settings = VolumeSettings(spacing_mm=(1.0, *_pixels(image)))
    view = axial_view(image, settings)
    masks = None if label_map is None else _axial_masks(label_map, settings)
    count, (_, row_mm, column_mm) = view.shape[0], view.spacing_mm
    heights = np.arange(count, dtype=np.float64) * view.spacing_mm[0]
    places = {name: line.on_slices(view.calibrated_affine, count) for name, line in centrelines.items()}
    first = next(iter(places.values()))
    tall = (count - 1) * view.spacing_mm[0]
    wide = 2 * AROUND_MM
    inches = min(INCHES_TALL, INCHES_WIDE * tall / wide)
    figure = NotebookFigure(figsize=(2 * max(2.2, inches * wide / tall) + 1.2, inches + 1.7), layout="compressed")
    axes = figure.subplots(1, 2, sharey=True)
    for axis, ax in enumerate(axes):
        mm = (row_mm, column_mm)[axis]
        through = first[:, 1 - axis].round().astype(int).clip(0, view.shape[2 - axis] - 1)
        extent = (-0.5 * mm, (view.shape[1 + axis] - 0.5) * mm, -0.5 * view.spacing_mm[0], tall + 0.5)
        picture = _reformat(view.channel_voxels[0], through, axis)
        window = display_window(picture)
        ax.imshow(
            picture, cmap="gray", origin="lower", extent=extent, vmin=window[0], vmax=window[1], aspect="equal"
        )
        if masks is not None and label_map is not None:
            for structure, mask in zip(label_map.structures, masks, strict=True):
                shown = _reformat(mask, through, axis)
                if shown.any():
                    across = np.arange(shown.shape[1]) * mm
                    ax.contour(
                        across, heights, shown, levels=[0.5], colors=[hex_colour(structure.rgb)], linewidths=0.7
                    )
        _draw_curves(ax, centrelines, places, heights, view.calibrated_affine, axis, mm)
        if crop_mm is not None:
            middle = list(places.values())[-1][:, axis] * mm
            for side in (-0.5, 0.5):
                ax.plot(middle + side * crop_mm[1 - axis], heights, color="white", linewidth=1.2, linestyle=":")
        middle_mm = float(np.median(first[:, axis])) * mm
        ax.set(xlim=(middle_mm - AROUND_MM, middle_mm + AROUND_MM), ylim=(extent[2], extent[3]), facecolor="black")
        ax.set_title(("From the side", "From the front")[axis], fontsize=10)
        ax.set_xlabel(("front   –   mm   –   back", "right   –   mm   –   left")[axis], fontsize=9)
        ax.tick_params(labelsize=8)
    axes[0].set_ylabel("mm, from the feet to the head", fontsize=9)
    lines = [
        Line2D([], [], color=colour, linestyle=dash, linewidth=1.6, label=name, path_effects=EDGE)
        for name, colour, dash in zip(centrelines, COLOURS, DASHES, strict=False)
    ]
    crop = (
        [Line2D([], [], color="white", linewidth=1.2, linestyle=":", path_effects=EDGE, label="crop")]
        if crop_mm
        else []
    )
    add_legend(figure, () if label_map is None else label_map.structures, [*lines, *crop])
    return figure


def _pixels(image: Image) -> tuple[float, float]:
    """Give the picture's pixels: the image's finest, within limits."""
    finest = max(FINEST_MM, min(image.spacing_mm))
    return finest, finest


def _axial_masks(label_map: LabelMap, settings: VolumeSettings) -> npt.NDArray[np.float32]:
    """Give the masks of all structures on the axial view, (structures, slices, rows, columns)."""
    masks = np.stack([label_map.mask(structure.label) for structure in label_map.structures]).astype(np.float32)
    return np.asarray(to_network(torch.from_numpy(masks), axial_grid(label_map, settings)).numpy())


def _reformat(voxels: npt.NDArray[np.generic], through: npt.NDArray[np.intp], axis: int) -> npt.NDArray[np.generic]:
    """Give the line of each slice along an axis (0 rows, 1 columns) at these places along the other."""
    numbers = np.arange(len(voxels))
    return voxels[numbers, :, through] if axis == 0 else voxels[numbers, through, :]


def _draw_curves(
    ax: Axes,
    centrelines: Mapping[str, Centreline],
    places: Mapping[str, npt.NDArray[np.float64]],
    heights: npt.NDArray[np.float64],
    affine: Affine,
    axis: int,
    mm: float,
) -> None:
    for (name, line), colour, dash in zip(centrelines.items(), COLOURS, DASHES, strict=False):
        across = places[name][:, axis] * mm
        ax.plot(across, heights, color=colour, linestyle=dash, linewidth=1.6, path_effects=EDGE)
        if line.clicks_mm:
            clicks = np.column_stack([np.array(line.clicks_mm), np.ones(len(line.clicks_mm))])
            slices, *others = np.linalg.inv(affine)[:3] @ clicks.T
            up = np.interp(slices, np.arange(len(heights)), heights)
            ax.plot(others[axis] * mm, up, "o", markersize=4, color=colour, markeredgecolor="black")
        for end in (line.begins_mm, line.ends_mm):
            if end is not None:
                index = np.column_stack([np.arange(len(heights)), places[name], np.ones(len(heights))])
                place = np.interp(end, index @ affine[2], heights)
                at = np.interp(place, heights, across)
                ax.plot([at - 4, at + 4], [place, place], color=colour, linewidth=1.6)
