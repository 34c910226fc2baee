"""Figures and the animation: the only place that knows matplotlib.

Nothing is shown: each function returns a matplotlib Figure, which a notebook shows and `savefig` writes.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import imsave
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from autoseg.animation import Animation, caption_scenes, choose_scenes, draw_scenes
from autoseg.area_tables import measurements_table
from autoseg.errors import DataError
from autoseg.image import Image, LabelMap
from autoseg.measurement import Measurement
from autoseg.overlay import Rgb, choose_slices, display_scale, display_window, hex_colour, overlay_rgb, pixel_aspect
from autoseg.structures import Structure, default_colour

PANEL_INCHES = 2.6
MAX_PANELS = 12
NEUTRAL = "#555555"


class NotebookFigure(Figure):
    """A figure that a notebook shows as the last value of a cell, though pyplot never knew it."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=self.get_dpi())
        return buffer.getvalue()


def show_batch(
    images: npt.NDArray[np.floating],
    labels: npt.NDArray[np.integer],
    structures: Sequence[Structure],
    *,
    columns: int = 4,
    titles: Sequence[str] | None = None,
) -> Figure:
    """Draw a batch of slices with their structures, and a legend of names.

    Parameters
    ----------
    images : (n, rows, columns) ndarray of float
        For instance an augmented batch as the network sees it.
    labels : (n, rows, columns) ndarray of int
    structures : sequence of Structure
    columns : int
        Slices side by side.
    titles : sequence of str, optional
        One per slice.
    """
    names = list(titles) if titles is not None else [""] * len(images)
    if images.ndim != 3 or images.shape != labels.shape or len(names) != len(images):
        raise DataError(
            f"A batch to show has images and labels of one shape (n, rows, columns) and n titles, not "
            f"{images.shape}, {labels.shape} and {len(names)} titles."
        )
    figure, axes = _panels(len(images), columns, aspect=images.shape[1] / images.shape[2])
    scale = display_scale(images.shape)
    for place, ax in enumerate(axes):
        ax.imshow(overlay_rgb(images[place], labels[place], structures, scale=scale))
        ax.set_title(names[place], fontsize=9)
    _add_legend(figure, structures)
    return figure


def show_cases(cases: Sequence[tuple[Image, LabelMap | None]], *, columns: int = 4) -> Figure:
    """Draw one slice of each case: that with most labelled pixels, or the middle one without labels.

    Parameters
    ----------
    cases : sequence of (Image, LabelMap or None)
    columns : int
        Cases side by side.
    """
    figure, axes = _panels(len(cases), columns)
    structures: dict[str, Structure] = {}
    for (image, label_map), ax in zip(cases, axes, strict=True):
        index = image.shape[0] // 2
        if label_map is not None and label_map.voxels.any():
            index = int(np.count_nonzero(label_map.voxels, axis=(1, 2)).argmax())
        _draw_slice(ax, image, label_map, index, window=None)
        ax.set_title(f"{image.source.case_id}\nslice {index + 1} of {image.shape[0]}", fontsize=9)
        structures.update({s.name: s for s in (label_map.structures if label_map is not None else ())})
    _add_legend(figure, tuple(structures.values()))
    return figure


def show_overlays(
    image: Image,
    label_map: LabelMap,
    *,
    reference: LabelMap | None = None,
    slices: Sequence[int] | None = None,
    columns: int = 4,
) -> Figure:
    """Draw slices with the labels filled and, where there is one, the reference as a dashed white outline.

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
    figure, axes = _panels(len(chosen), columns, aspect=image.shape[1] / image.shape[2] * pixel_aspect(image))
    window = display_window(image.channel_voxels[0])
    located = image.affine is not None and image.source.slice_spacing_source != "none"
    for index, ax in zip(chosen, axes, strict=True):
        _draw_slice(ax, image, label_map, index, window=window)
        if reference is not None:
            _outline_reference(ax, reference, index)
        where = f", {image.slice_positions_mm[index]:.1f} mm" if located else ""
        ax.set_title(f"slice {index + 1}{where}", fontsize=9)
    outline = Line2D([], [], color="white", linestyle="--", label="reference")
    _add_legend(figure, label_map.structures, [outline] if reference is not None else [])
    figure.suptitle(image.source.case_id, fontsize=10)
    return figure


def show_history(
    history: Sequence[Mapping[str, Any]] | pd.DataFrame, *, structures: Sequence[Structure] = ()
) -> Figure:
    """Draw the loss and the Dice of every epoch, with the best epoch marked.

    Parameters
    ----------
    history : sequence of mapping, or DataFrame
        One row an epoch: epoch, training_loss, and where there are any validation_loss, validation_dice,
        dice_<name>, is_best. Without is_best the epoch with the highest validation Dice is the best.
    structures : sequence of Structure
        Gives the curves of dice_<name> their colours; by default in the order of labels 1, 2, …
    """
    table = pd.DataFrame(history)
    if table.empty or not {"epoch", "training_loss"} <= set(table.columns):
        raise DataError("A history to draw has rows with epoch and training_loss. Train at least one epoch.")
    numeric = table.apply(pd.to_numeric, errors="coerce")
    figure = NotebookFigure(figsize=(9, 3.4), layout="constrained")
    losses, scores = figure.subplots(1, 2)
    for column, colour, style in (("training_loss", NEUTRAL, "--"), ("validation_loss", "#0072b2", "-")):
        _draw_curve(losses, numeric, column, colour, style, column.replace("_", " "))
    colours = {structure.name: structure.rgb for structure in structures}
    named = [str(column) for column in table.columns if str(column).startswith("dice_")]
    for label, column in enumerate(named, start=1):
        name = column.removeprefix("dice_")
        _draw_curve(scores, numeric, column, hex_colour(colours.get(name, default_colour(label))), "-", name)
    if len(named) != 1:
        _draw_curve(scores, numeric, "validation_dice", NEUTRAL, "--", "mean")
    best = _best_epoch(table, numeric)
    for ax, title in ((losses, "Loss"), (scores, "Dice on validation subjects")):
        if best is not None:
            ax.axvline(best, color=NEUTRAL, linewidth=0.8, linestyle=":", label=f"best epoch {best:g}")
        ax.set(title=title, xlabel="epoch")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.grid(alpha=0.25)
        if ax.lines:
            ax.legend(fontsize=8)
    scores.set_ylim(0, 1)
    return figure


def show_areas(measurements: Sequence[Measurement], *, structures: Sequence[Structure] = ()) -> Figure:
    """Draw each structure's area along the stack, flagged areas marked by a cross; one panel a case.

    Parameters
    ----------
    measurements : sequence of Measurement
        From `measure_areas`.
    structures : sequence of Structure
        Gives the lines their colours; by default those of the labels.
    """
    table = measurements_table(measurements)
    if table.empty:
        raise DataError("There is no measurement to draw. Measure at least one image.")
    groups = [(case_id, table[table["case_id"] == case_id]) for case_id in table["case_id"].unique()]
    figure, axes = _panels(len(groups), 3, inches=4.2, aspect=0.65, is_picture=False)
    colours = {row.name: hex_colour(default_colour(row.label)) for row in measurements}
    colours.update({s.name: hex_colour(s.rgb) for s in structures if s.name in colours})
    is_located = bool(table["slice_position_mm"].notna().all())
    along = "slice_position_mm" if is_located else "slice_index"
    for (case_id, rows), ax in zip(groups, axes, strict=True):
        for name in rows.sort_values("label")["name"].unique():
            ordered = rows[rows["name"] == name].sort_values(along)
            ax.plot(ordered[along], ordered["area_mm2"], "o-", color=colours[name], markersize=4, label=name)
            flagged = ordered[ordered["flags"] != ""]
            ax.plot(flagged[along], flagged["area_mm2"], "x", color="black", markersize=8, zorder=3)
        ax.set(title=case_id, ylabel="area (mm²)", xlabel="position (mm)" if is_located else "slice")
        ax.set_ylim(bottom=0)
        ax.grid(alpha=0.25)
    lines = {name: Line2D([], [], color=colour, marker="o") for name, colour in colours.items()}
    if (table["flags"] != "").any():
        lines["flagged"] = Line2D([], [], color="black", marker="x", linestyle="")
    columns = min(4, len(lines))
    figure.legend(lines.values(), lines.keys(), loc="outside lower center", ncols=columns, fontsize=8)
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
    jpegs = tuple(_jpeg(frame) for frame in draw_scenes(scenes))
    return Animation(jpegs, caption_scenes(scenes), scenes, frame_ms)


def _panels(
    count: int, columns: int, *, aspect: float = 1.0, inches: float = PANEL_INCHES, is_picture: bool = True
) -> tuple[Figure, list[Axes]]:
    """Give a figure with `count` axes, at most `columns` side by side."""
    if count == 0:
        raise DataError("There is nothing to show. Choose at least one slice.")
    wide = min(columns, count)
    tall = math.ceil(count / wide)
    size = (inches * wide, (inches * aspect + 0.4) * tall + 0.4)
    # "compressed" is matplotlib's layout for pictures, whose proportions are fixed.
    figure = NotebookFigure(figsize=size, layout="compressed" if is_picture else "constrained")
    axes = [figure.add_subplot(tall, wide, place + 1) for place in range(count)]
    for ax in axes if is_picture else ():
        ax.set_axis_off()
    return figure, axes


def _draw_slice(
    ax: Axes, image: Image, label_map: LabelMap | None, index: int, *, window: tuple[float, float] | None
) -> None:
    rows, columns = image.shape[1:]
    labels = None if label_map is None else label_map.voxels[index]
    structures = () if label_map is None else label_map.structures
    grey, scale = image.channel_voxels[0, index], display_scale(image.shape)
    picture = overlay_rgb(grey, labels, structures, window=window, scale=scale)
    # In the image's own pixels, so that outlines of a reference fall on their place.
    ax.imshow(picture, extent=(-0.5, columns - 0.5, rows - 0.5, -0.5), aspect=pixel_aspect(image))


def _outline_reference(ax: Axes, reference: LabelMap, index: int) -> None:
    for structure in reference.structures:
        mask = reference.voxels[index] == structure.label
        if reference.is_annotated(structure.label) and mask.any():
            # Padded, so that a structure at the border of the image is closed too.
            padded = np.pad(mask, 1).astype(float)
            rows, columns = (np.arange(n) - 1 for n in padded.shape)
            ax.contour(columns, rows, padded, levels=[0.5], colors="white", linestyles="--", linewidths=0.9)


def _draw_curve(ax: Axes, table: pd.DataFrame, column: str, colour: str, style: str, label: str) -> None:
    if column in table and table[column].notna().any():
        known = table[table[column].notna()]
        marker = "o" if len(known) == 1 else ""
        ax.plot(known["epoch"], known[column], color=colour, linestyle=style, marker=marker, label=label)


def _best_epoch(table: pd.DataFrame, numeric: pd.DataFrame) -> float | None:
    if "is_best" in table and table["is_best"].astype(str).eq("True").any():
        return float(numeric["epoch"][table["is_best"].astype(str).eq("True")].iloc[-1])
    if "validation_dice" in numeric and numeric["validation_dice"].notna().any():
        return float(numeric["epoch"].iloc[int(numeric["validation_dice"].fillna(-1).to_numpy().argmax())])
    return None


def _add_legend(figure: Figure, structures: Sequence[Structure], extra: Sequence[Line2D] = ()) -> None:
    handles: list[Any] = [Patch(color=hex_colour(s.rgb), label=s.name) for s in structures]
    handles += extra
    if handles:
        face = "#cccccc" if extra else "none"  # a white line needs a ground
        look: dict[str, Any] = {"fontsize": 9, "facecolor": face, "edgecolor": "none"}
        figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 4), **look)


def _jpeg(rgb: Rgb) -> bytes:
    buffer = io.BytesIO()
    imsave(buffer, rgb, format="jpeg", pil_kwargs={"quality": 80})
    return buffer.getvalue()
