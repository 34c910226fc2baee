"""From an image's own grid to the network's frame and back.

A slice is kept *stored* as it is, or, where it has more than `KEPT` × the network's resolution, with
`OVERSAMPLING` × that; then *sampled* onto the frame that the network sees, by one bilinear resampling in which
training puts its augmentation. Prediction walks the same two steps, so the network meets in use what it
met in training. Frames are centred on the image; pixel centres are at whole coordinates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from autoseg.errors import DataError, GeometryError
from autoseg.image import Image
from autoseg.settings import PreprocessSettings

OVERSAMPLING = 2.0
KEPT = 3.0
# Without a wish, the network's pixels are chosen such that the widest image has about this many.
WIDEST = 192


@dataclass(frozen=True)
class Extent:
    """Sizes of one slice: `native` and `stored` (rows, columns) in pixels, `network` in the network's pixels.

    All three span the same millimetres, from the outer edge of the first pixel to that of the last.
    """

    native: tuple[int, int]
    stored: tuple[int, int]
    network: tuple[int, int]


def choose_spacing_mm(images: list[tuple[tuple[int, int], tuple[float, float]]]) -> float:
    """Choose the network's pixel size for images given as ((rows, columns), (row mm, column mm)).

    The median pixel size, enlarged where the widest image would otherwise have more than 192 pixels.
    """
    if not images:
        raise DataError("There are no images to choose a pixel size from.")
    spacing = float(np.median([mm for _, spacings in images for mm in spacings]))
    widest_mm = max(n * mm for shape, spacings in images for n, mm in zip(shape, spacings, strict=True))
    return round(max(spacing, widest_mm / WIDEST), 4)


def extent_of(image: Image, settings: PreprocessSettings) -> Extent:
    """Give the sizes of an image's slices on its own grid, in memory and on the network's grid.

    Raises
    ------
    GeometryError
        If the settings ask for a spacing in mm and the image has no known pixel size.
    """
    native = image.shape[1:]
    if settings.input_shape is not None:
        network = settings.input_shape
    elif settings.spacing_mm is not None:
        spacings = image.spacing_mm[1:]
        rows, columns = (
            max(1, round(n * mm / settings.spacing_mm)) for n, mm in zip(native, spacings, strict=True)
        )
        network = (rows, columns)
        if max(network) > 8192:
            raise GeometryError(
                f"{image.source.name}: at {settings.spacing_mm} mm the slice would have {network} pixels; "
                f"its own pixels of {spacings} mm are much larger. Check the pixel spacing."
            )
    else:
        raise DataError("The network's grid is not chosen: give spacing_mm or input_shape.")
    # Making a slice a little smaller would move labels by up to half a pixel, so it is done by much or not at all.
    stored = tuple(
        n if n <= KEPT * m else math.ceil(OVERSAMPLING * m) for n, m in zip(native, network, strict=True)
    )
    return Extent(native, (stored[0], stored[1]), (network[0], network[1]))


def store_slices(image: Image, extent: Extent, settings: PreprocessSettings) -> Tensor:
    """Normalise every slice of an image and bring it to its stored size.

    Each channel of each slice is clipped to its own percentiles, then brought to mean 0 and standard
    deviation 1. Making it smaller averages (antialiasing).

    Returns
    -------
    (slices, channels, stored rows, stored columns) Tensor of float32
    """
    voxels = np.ascontiguousarray(np.moveaxis(image.channel_voxels, 0, 1), dtype=np.float32)
    flat = voxels.reshape(*voxels.shape[:2], -1)
    if not np.isfinite(flat).all():
        raise DataError(f"{image.source.name} holds NaN or infinite intensities; export the image again.")
    low, high = np.percentile(flat, settings.clip_percentiles, axis=2, keepdims=True)
    clipped = np.clip(flat, low, high)
    mean, deviation = clipped.mean(axis=2, keepdims=True), clipped.std(axis=2, keepdims=True)
    normal = ((clipped - mean) / np.maximum(deviation, 1e-6)).astype(np.float32).reshape(voxels.shape)
    slices = torch.from_numpy(normal)
    if extent.stored == extent.native:
        return slices
    return functional.interpolate(slices, extent.stored, mode="bilinear", align_corners=False, antialias=True)


def store_labels(classes: np.ndarray, extent: Extent) -> Tensor:
    """Bring label slices (slices, rows, columns) to their stored size by nearest neighbour, as uint8."""
    labels = torch.from_numpy(np.ascontiguousarray(classes, dtype=np.uint8))
    if extent.stored == extent.native:
        return labels
    return functional.interpolate(labels[:, None], extent.stored, mode="nearest-exact")[:, 0]


def frame_size(extents: list[Extent], stride: int) -> tuple[int, int]:
    """Give the smallest (rows, columns) that hold every extent and are multiples of the network's stride."""
    rows = max(extent.network[0] for extent in extents)
    columns = max(extent.network[1] for extent in extents)
    return math.ceil(rows / stride) * stride, math.ceil(columns / stride) * stride


def pad_together(slices: list[Tensor]) -> Tensor:
    """Stack slices (…, rows, columns) of different sizes, each in the top left corner, edges repeated."""
    rows, columns = max(s.shape[-2] for s in slices), max(s.shape[-1] for s in slices)
    if all(s.shape[-2:] == (rows, columns) for s in slices):
        return torch.stack(slices)
    return torch.stack([_pad(s, rows, columns) for s in slices])


def _pad(one: Tensor, rows: int, columns: int) -> Tensor:
    if one.dtype == torch.uint8:  # labels: background beyond the edge
        return functional.pad(one, (0, columns - one.shape[-1], 0, rows - one.shape[-2]))
    below = one[..., -1:, :].expand(*one.shape[:-2], rows - one.shape[-2], one.shape[-1])
    one = torch.cat([one, below], dim=-2)
    beside = one[..., -1:].expand(*one.shape[:-1], columns - one.shape[-1])
    return torch.cat([one, beside], dim=-1)


def frame_offsets(frame: tuple[int, int], device: torch.device) -> Tensor:
    """Give each frame pixel's (row, column) distance from the frame's centre, shape (rows, columns, 2)."""
    rows, columns = (torch.arange(n, device=device) - (n - 1) / 2 for n in frame)
    return torch.stack(torch.meshgrid(rows, columns, indexing="ij"), dim=-1)


def sample_frames(
    slices: Tensor, offsets: Tensor, stored: Tensor, network: Tensor, *, mode: str = "bilinear"
) -> Tensor:
    """Sample stored slices where frame pixels lie.

    Parameters
    ----------
    slices : (batch, channels, rows, columns) Tensor of float32
        Stored slices, padded together.
    offsets : (batch or 1, frame rows, frame columns, 2) Tensor
        (row, column) distance from the image's centre in the network's pixels.
    stored, network : (batch, 2) Tensor
        Each slice's sizes.
    mode : {"bilinear", "nearest"}
        "nearest" for labels, which are 0 outside the image; intensities repeat the edge.

    Returns
    -------
    (batch, channels, frame rows, frame columns) Tensor
    """
    stored, network = stored.to(offsets.dtype), network.to(offsets.dtype)
    scale = (stored / network)[:, None, None]
    pixels = offsets * scale + ((stored - 1) / 2)[:, None, None]
    if mode == "nearest":
        pixels = pixels + _tie_break(offsets.shape[1:3], pixels)
    if mode == "bilinear":
        pixels = torch.minimum(pixels.clamp(min=0), (stored - 1)[:, None, None])
    size = torch.tensor(slices.shape[-2:], device=slices.device, dtype=offsets.dtype)
    grid = ((2 * pixels + 1) / size - 1).flip(-1)  # grid_sample wants (x, y)
    padding = "border" if mode == "bilinear" else "zeros"
    return functional.grid_sample(slices, grid, mode=mode, padding_mode=padding, align_corners=False)


def _tie_break(frame: torch.Size, like: Tensor) -> Tensor:
    """Give a quarter of a stored pixel up or down, in turn, shape (rows, columns, 2).

    Where the network's pixels are about twice the stored ones, each centre lies between two of them, and
    rounding all one way would move every label by a quarter of a pixel against its image. Where a centre
    lies well inside a stored pixel, a quarter changes nothing.
    """
    rows, columns = (1 - 2 * (torch.arange(n, device=like.device) % 2) for n in frame)
    grid = torch.meshgrid(rows, columns, indexing="ij")
    # Rows turn from column to column and columns from row to row, so that the two are independent.
    return 0.25 * torch.stack([grid[1], grid[0]], dim=-1).to(like.dtype)


def to_native(probabilities: Tensor, extent: Extent) -> Tensor:
    """Bring probabilities from the network's frame back to the image's own grid, bilinearly.

    Parameters
    ----------
    probabilities : (batch, classes, frame rows, frame columns) Tensor of float32
    extent : Extent
        Of every image in the batch.

    Returns
    -------
    (batch, classes, native rows, native columns) Tensor
    """
    frame = probabilities.shape[-2:]
    axes = []
    for native, network, size in zip(extent.native, extent.network, frame, strict=True):
        where = (torch.arange(native, device=probabilities.device) + 0.5) / native * network - network / 2
        axes.append(2 * where / size)
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).flip(-1)
    grid = grid.to(probabilities.dtype).expand(len(probabilities), *extent.native, 2)
    return functional.grid_sample(probabilities, grid, mode="bilinear", padding_mode="border", align_corners=False)
