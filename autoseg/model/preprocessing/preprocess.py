"""From an image's own grid to the network's frame and back.

A slice is kept *stored* as it is, or, where it has more than `extents.KEPT` × the network's resolution, with
`extents.OVERSAMPLING` × that; then *sampled* onto the frame that the network sees, by one bilinear resampling
in which training puts its augmentation. Prediction walks the same two steps, so the network meets in use what
it met in training. Frames are centred on the image, or on a region of it where the settings ask for crops; pixel
centres are at whole coordinates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from autoseg.errors import DataError
from autoseg.image.image import Image
from autoseg.model.device import require_memory
from autoseg.model.preprocessing.extents import Extent
from autoseg.model.preprocessing.standardise import odd_step
from autoseg.model.settings.settings import PreprocessSettings
from autoseg.words import counted

# Voxels that are normalised at once (slices are never cut): a whole scan's copies would need many times its memory.
AT_ONCE = 2**20


def check_memory(extents: Sequence[Extent], counts: Sequence[int], *, channels: int, shares: int = 0) -> None:
    """Raise DataError if so many slices of each image would not fit into memory.

    `shares` are the structures of which raters' shares are stored too.
    """
    slices = sum(counts)
    rows, columns = (max(extent.stored[axis] for extent in extents) for axis in (0, 1))
    needed = slices * rows * columns * (4 * (channels + 1) + 2 * shares)
    # The slices themselves, and once more while they are put together.
    what = f"{counted(slices, 'slice')} of {rows} × {columns} pixels"
    require_memory(2 * needed, what, "use fewer slices, or choose larger pixels")


@dataclass(frozen=True, eq=False)
class Intensities:
    """What the channels of a whole image are clipped to, and mean and deviation: (channels, 1) float32 each."""

    low: npt.NDArray[np.float32]
    high: npt.NDArray[np.float32]
    mean: npt.NDArray[np.float32]
    deviation: npt.NDArray[np.float32]


def measure_intensities(image: Image, settings: PreprocessSettings) -> Intensities | None:
    """Measure what all slices of an image are normalised by; None where each is normalised by itself.

    Mean and deviation are those of what is brighter than the mean of a channel.
    """
    if settings.normalise == "slice" or settings.clahe:
        return None
    found = []
    for channel in image.channel_voxels:
        seen = channel.reshape(-1)[:: odd_step(channel.size, channel.shape[-1])].astype(np.float32)
        if not np.isfinite(seen).all():
            raise _not_finite(image)
        low, high = np.percentile(seen, settings.clip_percentiles)
        seen = np.clip(seen, low, high).astype(np.float64)
        bright = seen[seen > seen.mean()] if high > low else seen
        found.append((low, high, bright.mean(), max(bright.std(), (high - low) / 100)))
    return Intensities(*(column[:, None].astype(np.float32) for column in np.array(found).T))


def store_slices(
    image: Image, extent: Extent, settings: PreprocessSettings, whole: Intensities | None = None
) -> Tensor:
    """Normalise every slice of an image and bring it to its stored size.

    Each channel of each slice is clipped to its own percentiles, equalised if the settings ask for it, then
    brought to mean 0 and standard deviation 1; a constant channel is 0. Where the settings ask for what the image
    has as a whole, that is measured, unless `whole` gives it because these are a part of its slices. Making it
    smaller averages (antialiasing). Gives (slices, channels, *stored) float32.
    """
    voxels = image.channel_voxels
    whole = measure_intensities(image, settings) if whole is None else whole
    stored = torch.empty((image.shape[0], len(voxels), *extent.stored))
    step = max(1, AT_ONCE // voxels[:, 0].size)
    for start in range(0, image.shape[0], step):
        chosen = slice(start, start + step)
        part = np.ascontiguousarray(np.moveaxis(voxels[:, chosen], 0, 1), dtype=np.float32)
        if not np.isfinite(part).all():
            raise _not_finite(image)
        normal = _normalised(part, settings) if whole is None else _normalised_by(part, whole)
        slices = torch.from_numpy(normal)
        if extent.stored != extent.native:
            slices = functional.interpolate(
                slices, extent.stored, mode="bilinear", align_corners=False, antialias=True
            )
        stored[chosen] = slices
    return stored


def _not_finite(image: Image) -> DataError:
    voxels = image.channel_voxels
    return DataError(
        f"{image.source.name} holds NaN or infinite intensities in {_count_non_finite(voxels)} of "
        f"{voxels.size} voxels, as ratio and logarithm maps have them. Set them to a number (0, say) in "
        "the program that made the image, or leave it out."
    )


def _count_non_finite(voxels: npt.NDArray[np.generic]) -> int:
    """Count channel by channel and slice by slice: as float32, in which larger numbers are infinite too."""
    with np.errstate(over="ignore"):
        return sum(int((~np.isfinite(one.astype(np.float32))).sum()) for channel in voxels for one in channel)


def _normalised(voxels: npt.NDArray[np.float32], settings: PreprocessSettings) -> npt.NDArray[np.float32]:
    """Clip, equalise and normalise slices (slices, channels, rows, columns)."""
    flat = voxels.reshape(*voxels.shape[:2], -1)
    # In float64, as they are given, they would make the whole volume float64.
    low, high = np.percentile(flat, settings.clip_percentiles, axis=2, keepdims=True).astype(np.float32)
    normal = np.clip(flat, low, high)
    if settings.clahe:
        normal = _equalised(normal, low, high, voxels.shape[2:], settings.clahe_limit)
    normal -= normal.mean(axis=2, keepdims=True, dtype=np.float64).astype(np.float32)
    normal /= np.maximum(normal.std(axis=2, keepdims=True), np.float32(1e-6))
    # The mean of a constant channel may miss it by a rounding, which dividing by almost 0 would blow up.
    normal[np.broadcast_to(low == high, normal.shape)] = 0
    return normal.reshape(voxels.shape)


def _normalised_by(voxels: npt.NDArray[np.float32], whole: Intensities) -> npt.NDArray[np.float32]:
    """Clip and normalise slices (slices, channels, rows, columns) by what their image has as a whole."""
    flat = np.clip(voxels.reshape(*voxels.shape[:2], -1), whole.low, whole.high)
    flat -= whole.mean
    flat /= np.maximum(whole.deviation, np.float32(1e-6))
    flat[np.broadcast_to(whole.low == whole.high, flat.shape)] = 0
    return flat.reshape(voxels.shape)


def _equalised(
    flat: npt.NDArray[np.float32],
    low: npt.NDArray[np.float32],
    high: npt.NDArray[np.float32],
    shape: tuple[int, ...],
    limit: float,
) -> npt.NDArray[np.float32]:
    """Equalise (slices, channels, pixels) piece by piece (CLAHE, Zuiderveld 1994), in 256 grey levels."""
    grey = np.round(255 * (flat - low) / np.maximum(high - low, 1e-6)).astype(np.uint8)
    equaliser = cv2.createCLAHE(clipLimit=limit, tileGridSize=(8, 8))
    pictures = [equaliser.apply(picture) for picture in grey.reshape(-1, *shape)]
    return np.stack(pictures).reshape(flat.shape).astype(np.float32)


def store_labels(classes: np.ndarray, extent: Extent) -> Tensor:
    """Bring label slices (slices, rows, columns) to their stored size by nearest neighbour, as uint8."""
    labels = torch.from_numpy(np.ascontiguousarray(classes, dtype=np.uint8))
    if extent.stored == extent.native:
        return labels
    return functional.interpolate(labels[:, None], extent.stored, mode="nearest-exact")[:, 0]


def store_shares(shares: npt.NDArray[np.float32], extent: Extent) -> Tensor:
    """Bring raters' shares (slices, structures, rows, columns) to their stored size by averaging, as float16."""
    slices = torch.from_numpy(np.ascontiguousarray(shares, dtype=np.float32))
    if extent.stored != extent.native:
        slices = functional.interpolate(slices, extent.stored, mode="bilinear", align_corners=False, antialias=True)
    return slices.half()


def pad_together(slices: list[Tensor]) -> Tensor:
    """Stack slices (…, rows, columns) of different sizes, each in the top left corner, edges repeated."""
    rows, columns = max(s.shape[-2] for s in slices), max(s.shape[-1] for s in slices)
    return torch.stack([pad_to_size(s, rows, columns) for s in slices])


def pad_to_size(one: Tensor, rows: int, columns: int) -> Tensor:
    """Pad a slice (…, rows, columns) at its bottom and its right: repeat its edges, of labels and shares add 0."""
    if one.shape[-2:] == (rows, columns):
        return one
    if one.dtype in (torch.uint8, torch.float16):  # labels and shares: background beyond the edge
        return functional.pad(one, (0, columns - one.shape[-1], 0, rows - one.shape[-2]))
    below = one[..., -1:, :].expand(*one.shape[:-2], rows - one.shape[-2], one.shape[-1])
    one = torch.cat([one, below], dim=-2)
    beside = one[..., -1:].expand(*one.shape[:-1], columns - one.shape[-1])
    return torch.cat([one, beside], dim=-1)


def frame_offsets(frame: tuple[int, int], device: torch.device) -> Tensor:
    """Give each frame pixel's (row, column) distance from the frame's centre, shape (rows, columns, 2)."""
    rows, columns = (torch.arange(n, device=device) - (n - 1) / 2 for n in frame)
    return torch.stack(torch.meshgrid(rows, columns, indexing="ij"), dim=-1)


def frame_middles(frame: tuple[int, int], network: Tensor) -> Tensor:
    """Give where frames lie on whole images of the sizes `network`, (n, 2) from the image's centre.

    In the middle, or half a pixel beside it where one size is even and the other odd: pixels then lie on pixels,
    and an image that has the network's resolution is not blurred.
    """
    return (network - torch.tensor(frame, device=network.device)) % 2 / 2


def sample_frames(
    slices: Tensor, offsets: Tensor, stored: Tensor, network: Tensor, *, mode: str = "bilinear"
) -> Tensor:
    """Sample stored slices (batch, channels, rows, columns), padded together, where frame pixels lie.

    `offsets` (batch or 1, rows, columns, 2) are their distances from the image's centre in the network's pixels,
    `stored` and `network` (batch or 1, 2) each slice's sizes. Intensities are read bilinearly and repeat the edge;
    labels ("nearest") and raters' shares ("shares", bilinear) are 0 outside the image.
    """
    stored, network = stored.to(offsets.dtype), network.to(offsets.dtype)
    scale = (stored / network)[:, None, None]
    pixels = offsets * scale + ((stored - 1) / 2)[:, None, None]
    size = torch.tensor(slices.shape[-2:], device=slices.device, dtype=offsets.dtype)
    if mode == "nearest":
        grid = (2 * (pixels + _tie_break(offsets.shape[1:3], pixels)) + 1) / size - 1
        return read_places(slices, grid, mode="nearest", padding_mode="zeros")
    last = (stored - 1)[:, None, None]
    grid = (2 * torch.minimum(pixels.clamp(min=0), last) + 1) / size - 1
    sampled = read_places(slices, grid)
    if mode == "shares":
        inside = ((pixels >= -0.5) & (pixels <= last + 0.5)).all(-1)
        sampled = sampled * inside[:, None]
    return sampled


def read_places(slices: Tensor, places: Tensor, *, mode: str = "bilinear", padding_mode: str = "border") -> Tensor:
    """Read slices (batch, channels, rows, columns) at places (batch or 1, …, 2) from -1 to 1, rows first."""
    grid = places.flip(-1).expand(len(slices), -1, -1, -1)  # grid_sample wants (x, y)
    return functional.grid_sample(slices, grid, mode=mode, padding_mode=padding_mode, align_corners=False)


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


def to_native(probabilities: Tensor, extent: Extent, *, centres: Tensor | None = None) -> Tensor:
    """Bring (batch, classes, rows, columns) probabilities from the network's frame back to the image's own grid.

    `centres` (batch or 1, 2) are the frames' middles, from the image's centre in the network's pixels: beyond a
    frame all is background. None: frames that hold the whole image.
    """
    if probabilities.shape[-2:] == extent.network and (centres is None or not centres.any()):
        return functional.interpolate(probabilities, extent.native, mode="bilinear", align_corners=False)
    device, axes = probabilities.device, []
    for axis, size in enumerate(probabilities.shape[-2:]):
        count, network = extent.native[axis], extent.network[axis]
        where = ((torch.arange(count, device=device) + 0.5) / count * network - network / 2)[None]
        axes.append(2 * (where if centres is None else where - centres[:, axis, None]) / size)
    rows, columns = axes[0][:, :, None], axes[1][:, None, :]
    places = torch.stack(torch.broadcast_tensors(rows, columns), dim=-1).to(probabilities.dtype)
    native = read_places(probabilities, places)
    if centres is None:
        return native
    outside = (rows.abs() > 1) | (columns.abs() > 1)
    if outside.any():
        native.masked_fill_(outside[:, None], 0.0)
        native[:, 0].masked_fill_(outside, 1.0)
    return native
