"""Labels drawn over a slice as a colour picture, for files and figures alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from autoseg.errors import DataError
from autoseg.image.image import Image, LabelMap
from autoseg.image.structures import Structure, default_colour

Rgb = npt.NDArray[np.uint8]
Number = TypeVar("Number", bound=np.generic)

# The outline must stay visible where the fill is faint.
OUTLINE_OPACITY = 0.95
SHARED_WINDOW_PIXELS = 1_000_000
THUMBNAIL_SOURCE = 2048  # what is larger is thinned for a small picture


def thinned(slice_: npt.NDArray[Number]) -> npt.NDArray[Number]:
    """Give every so manieth row and column of a slice that is far larger than what is shown of it."""
    every = max(1, max(slice_.shape) // THUMBNAIL_SOURCE)
    return slice_[::every, ::every]


def shrink(
    intensities: npt.NDArray[np.generic], labels: npt.NDArray[Number] | None, *, aspect: float, side: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[Number] | None]:
    """Give a slice and its labels in little: square pixels, `side` of them along the longer side.

    A pixel shows the mean of those that it stands for, so that fine texture gives no pattern; of labels it shows
    the middle one. `aspect` is a pixel's height over its width; what has no number is taken as 0.

    Examples
    --------
    >>> [shrink(np.ones(shape), None, aspect=aspect, side=144)[0].shape
    ...  for shape, aspect in (((512, 512), 1.0), ((100, 200), 2.0), ((50, 200), 1.0))]
    [(144, 144), (144, 144), (36, 144)]
    """
    rows, columns = intensities.shape[0] * aspect, float(intensities.shape[1])
    scale = side / max(rows, columns)
    shape = max(1, round(rows * scale)), max(1, round(columns * scale))
    counts = tuple(max(1, old // new) for old, new in zip(intensities.shape, shape, strict=True))
    filled = np.nan_to_num(intensities.astype(np.float32), posinf=0, neginf=0)
    at = np.ix_(*(((np.arange(n) + 0.5) * old / n).astype(int) for n, old in zip(shape, filled.shape, strict=True)))
    return ndimage.uniform_filter(filled, size=counts)[at], None if labels is None else labels[at]


def overlay_rgb(
    intensities: npt.NDArray[np.generic],
    labels: npt.NDArray[np.integer] | None,
    structures: Sequence[Structure],
    *,
    opacity: float = 0.45,
    window: tuple[float, float] | None = None,
    scale: tuple[int, int] = (1, 1),
) -> Rgb:
    """Draw one slice in grey with its structures filled in their colours and outlined more strongly.

    `opacity` is that of the fill, 0 (only the outline) to 1; `window` the intensities shown black and white; each
    pixel becomes `scale` (rows, columns) pixels, outlines stay one thin.

    Examples
    --------
    >>> picture = overlay_rgb(np.eye(4), np.eye(4, dtype=int), [Structure(1, "disc")], scale=(2, 3))
    >>> picture.shape
    (8, 12, 3)
    """
    if intensities.ndim != 2 or (labels is not None and labels.shape != intensities.shape):
        shape = None if labels is None else labels.shape
        raise DataError(f"A slice of shape {intensities.shape} cannot be drawn with labels of shape {shape}.")
    grey = _grey(intensities, window or display_window(intensities))
    if labels is None or not labels.any():
        return np.repeat(_enlarge(grey, scale)[..., None], 3, axis=2)
    colours = np.zeros((int(labels.max()) + 1, 3))
    for label in range(1, len(colours)):
        colours[label] = default_colour(label)
    for structure in structures:
        if structure.label < len(colours):
            colours[structure.label] = structure.rgb
    rgb = _enlarge(_shade(labels, grey, colours, opacity), scale)
    drawn = _enlarge(labels, scale)
    at = np.nonzero(_outline(drawn))
    beneath = grey[at[0] // scale[0], at[1] // scale[1]]
    rgb[at] = _shade(drawn[at], beneath, colours, max(OUTLINE_OPACITY, opacity))
    return rgb


def _shade(labels: npt.NDArray[np.integer], grey: Rgb, colours: npt.NDArray[np.float64], opacity: float) -> Rgb:
    """Give the pixels' greys below their labels' colours; where no label is, a grey stays as it is."""
    greys = np.arange(256.0)[None, :, None]
    shades = np.rint((1 - opacity) * greys + opacity * colours[:, None, :])
    shades[0] = greys[0]
    return shades.astype(np.uint8).reshape(-1, 3).take(labels.astype(np.intp) * 256 + grey, axis=0)


def display_window(voxels: npt.NDArray[np.generic]) -> tuple[float, float]:
    """Give the intensities to show black and white: the 0.5 and 99.5 percentiles.

    A few very bright pixels (a vessel, metal) therefore do not darken the rest. Of more than a million values
    a regular sample is taken. NaN and infinity are left out; (0, 1) where nothing remains.
    """
    values = voxels.ravel()[:: max(1, voxels.size // SHARED_WINDOW_PIXELS)].astype(np.float64)
    values = values[np.isfinite(values)]
    if not values.size:
        return (0.0, 1.0)
    low, high = np.percentile(values, (0.5, 99.5))
    if high <= low:  # a slice that is black but for a few pixels
        low, high = values.min(), values.max()
    return float(low), float(high)


def display_scale(shape: Sequence[int], *, aspect: float = 1.0, least: int = 512) -> tuple[int, int]:
    """Give whole factors (rows, columns) that make a small slice about `least` pixels long.

    With the aspect (height of a pixel over its width) non-square pixels get about their true proportions.

    Examples
    --------
    >>> display_scale((256, 256)), display_scale((128, 256), aspect=2.0)
    ((2, 2), (4, 2))
    """
    base = max(1, round(least / max(tuple(shape)[-2:])))
    return max(1, round(base * max(1.0, aspect))), max(1, round(base * max(1.0, 1 / aspect)))


def overlay_slices(
    image: Image, label_map: LabelMap | None, *, slices: Sequence[int] | None = None, least: int = 512
) -> Iterator[Rgb]:
    """Draw slices of one image one after the other, all with the same window and scale."""
    if label_map is not None:
        _check_shape(image, label_map)
    voxels = image.channel_voxels[0]
    window = display_window(voxels)
    scale = display_scale(image.shape, aspect=pixel_aspect(image), least=least)
    for index in range(image.shape[0]) if slices is None else slices:
        labels = None if label_map is None else label_map.voxels[index]
        structures = () if label_map is None else label_map.structures
        yield overlay_rgb(voxels[index], labels, structures, window=window, scale=scale)


def choose_slices(image: Image, label_maps: Sequence[LabelMap | None], *, most: int) -> list[int]:
    """Choose at most `most` slices, evenly among those that any label map has a label on; all if none has."""
    drawn = np.zeros(image.shape[0], dtype=bool)
    for label_map in filter(None, label_maps):
        _check_shape(image, label_map)
        drawn |= label_map.voxels.any(axis=(1, 2))
    candidates = np.flatnonzero(drawn) if drawn.any() else np.arange(image.shape[0])
    places = np.linspace(0, len(candidates) - 1, min(most, len(candidates))).round().astype(int)
    return candidates[places].tolist()


def pixel_aspect(image: Image) -> float:
    """Give the height of a pixel over its width; 1 where it is unknown."""
    return image.spacing_mm[1] / image.spacing_mm[2] if image.affine is not None else 1.0


def hex_colour(rgb: Sequence[int]) -> str:
    """Give a colour as web pages write it.

    Examples
    --------
    >>> hex_colour((230, 159, 0))
    '#e69f00'
    """
    return "#{:02x}{:02x}{:02x}".format(*rgb)


def pad_to_same(pictures: Sequence[Rgb]) -> list[Rgb]:
    """Put pictures of several sizes in the middle of black frames of one size."""
    rows, columns = (max((p.shape[axis] for p in pictures), default=0) for axis in (0, 1))
    padded = []
    for picture in pictures:
        above, before = (rows - picture.shape[0]) // 2, (columns - picture.shape[1]) // 2
        below, behind = rows - picture.shape[0] - above, columns - picture.shape[1] - before
        padded.append(np.pad(picture, ((above, below), (before, behind), (0, 0))))
    return padded


def _check_shape(image: Image, label_map: LabelMap) -> None:
    if label_map.shape != image.shape:
        raise DataError(
            f"{image.source.name}: labels of shape {label_map.shape} do not fit the image of {image.shape}."
        )


def _grey(intensities: npt.NDArray[np.generic], window: tuple[float, float]) -> Rgb:
    low, high = window
    values = np.nan_to_num(intensities.astype(np.float64), nan=low, posinf=high, neginf=low)
    share = (values - low) / (high - low) if high > low else np.full(values.shape, 0.5)
    return np.rint(np.clip(share, 0, 1) * 255).astype(np.uint8)


def _enlarge(values: npt.NDArray[Number], scale: tuple[int, int]) -> npt.NDArray[Number]:
    return values.repeat(scale[0], axis=0).repeat(scale[1], axis=1)


def _outline(labels: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
    """Tell which labelled pixels have another label above, below, before or behind."""
    edge = np.zeros(labels.shape, dtype=bool)
    across, along = labels[1:] != labels[:-1], labels[:, 1:] != labels[:, :-1]
    edge[1:] |= across
    edge[:-1] |= across
    edge[:, 1:] |= along
    edge[:, :-1] |= along
    return edge & (labels > 0)
