"""From an image's own grid to the grid of a network that sees volumes, and back.

First axes are exchanged and turned round so that they run as the settings' `orientation` says: no voxel moves.
Then each axis is resampled by itself to the network's distance between voxels. Both grids span the same
millimetres, from the outer edge of the first voxel to that of the last; voxel centres are at whole coordinates.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from autoseg.errors import DataError, GeometryError
from autoseg.image.geometry import Affine, nearest_axes
from autoseg.image.image import Image, LabelMap
from autoseg.model.settings.settings import VolumeSettings

# Which way a letter points in patient coordinates: the axis (x to the left, y to the back, z to the head), and
# whether it grows away from that side.
AXIS_OF = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "I": (2, 1), "S": (2, -1)}
FEWEST_SLICES = 2
MOST_VOXELS = 2048
# By these parts of a voxel the middles at which labels are read go up or down, in turn. Not by whole eighths, with
# which middles at simple fractions would end between two voxels again.
SHIFTS = (-0.37, 0.12, -0.12, 0.37)


@dataclass(frozen=True)
class VolumeGrid:
    """How a volume lies on the network's grid.

    Axis k of the network is the image's axis `axes[k]` (of slices, rows, columns), turned round if `flipped[k]`.
    `native` are the image's sizes, in its own order; `network` and `spacing_mm` the network's, in the network's.
    """

    axes: tuple[int, int, int]
    flipped: tuple[bool, bool, bool]
    native: tuple[int, int, int]
    network: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]

    def affine(self, affine: Affine) -> Affine:
        """Give the affine of the network's grid, from the image's: index to patient coordinates in mm."""
        step = np.zeros((4, 4))
        step[3, 3] = 1
        for k, (axis, flip) in enumerate(zip(self.axes, self.flipped, strict=True)):
            scale = self.native[axis] / self.network[k]
            first = 0.5 * scale - 0.5
            step[axis, k] = -scale if flip else scale
            step[axis, 3] = self.native[axis] - 1 - first if flip else first
        return affine @ step


def plan_volume(settings: VolumeSettings, images: Sequence[Image]) -> VolumeSettings:
    """Fill in the distance between the network's voxels: the median of the training images' along each axis."""
    found = []
    for image in images:
        check_volume(image)
        spacing = image.spacing_mm
        axes, _ = axes_of(image.calibrated_affine, settings.orientation)
        found.append([spacing[axis] for axis in axes])
    if settings.spacing_mm is not None:
        return settings
    median = [round(float(mm), 4) for mm in np.median(found, axis=0)]
    return replace(settings, spacing_mm=(median[0], median[1], median[2]))


def check_volume(image: Image | LabelMap) -> None:
    """Raise an error, with what to do, unless the image can be seen as a volume."""
    if image.shape[0] < FEWEST_SLICES:
        raise DataError(
            f"{image.source.name} has a single slice, and a model that sees volumes (spatial_dims = 3) needs "
            "several. Choose the folder with the whole series, or learn from slices (spatial_dims = 2)."
        )
    if image.affine is None or image.source.slice_spacing_source == "none":
        what = "pixel spacing" if image.affine is None else "distance between its slices"
        if image.affine is None or image.source.slices:
            raise GeometryError(
                f"{image.source.name} has no {what} in its header, so it has no shape in space. Type what is "
                "missing beside the folder, or learn from slices (spatial_dims = 2)."
            )


def axes_of(affine: Affine, orientation: str) -> tuple[tuple[int, int, int], tuple[bool, bool, bool]]:
    """Give which axis of an image each axis of `orientation` is, and whether it is turned round.

    Examples
    --------
    Axial slices that run to the head, rows to the back and columns to the left:

    >>> from autoseg.image.geometry import affine_from_spacing
    >>> axes_of(affine_from_spacing((3, 1, 1)), "RPI")
    ((2, 1, 0), (False, True, False))
    """
    near = nearest_axes(affine)
    axes, flipped = [], []
    for letter in orientation:
        patient, sign = AXIS_OF[letter]
        axis = near.index(patient)
        axes.append(axis)
        flipped.append(bool(affine[patient, axis] * sign < 0))
    return (axes[0], axes[1], axes[2]), (flipped[0], flipped[1], flipped[2])


def grid_of(image: Image | LabelMap, settings: VolumeSettings) -> VolumeGrid:
    """Give how an image lies on the network's grid."""
    check_volume(image)
    if settings.spacing_mm is None:
        raise DataError("The network's grid is not chosen: give volume.spacing_mm.")
    axes, flipped = axes_of(image.calibrated_affine, settings.orientation)
    own = image.spacing_mm
    lengths = [image.shape[axis] * own[axis] for axis in axes]
    sizes = [max(1, round(length / mm)) for length, mm in zip(lengths, settings.spacing_mm, strict=True)]
    if max(sizes) > MOST_VOXELS:
        raise GeometryError(
            f"{image.source.name}: on the network's grid the volume would have {' × '.join(map(str, sizes))} "
            f"voxels and it has {image.shape} of its own, {' × '.join(f'{mm:.4g}' for mm in own)} mm apart. Check "
            "its spacing and volume.spacing_mm."
        )
    spacing = [length / n for length, n in zip(lengths, sizes, strict=True)]
    return VolumeGrid(
        axes, flipped, image.shape, (sizes[0], sizes[1], sizes[2]), (spacing[0], spacing[1], spacing[2])
    )


def to_network(voxels: Tensor, grid: VolumeGrid, *, mode: str = "linear") -> Tensor:
    """Bring voxels (channels, slices, rows, columns), on the processor, from the image's grid to the network's.

    "linear" averages where the network's voxels are larger; "nearest" is for labels.
    """
    turns = tuple(slice(None, None, -1 if flip else None) for flip in grid.flipped)
    given = voxels.numpy().transpose(0, *(1 + axis for axis in grid.axes))[(slice(None), *turns)]
    turned = torch.from_numpy(np.ascontiguousarray(given))
    if mode == "nearest":
        return turned if turned.shape[1:] == grid.network else _read_nearest(turned, grid.network)
    for axis, size in enumerate(grid.network, start=1):
        if turned.shape[axis] != size:
            turned = _resize(turned, axis, size)
    return turned


def _resize(voxels: Tensor, axis: int, size: int) -> Tensor:
    """Resample one axis linearly."""
    before, after = voxels.shape[:axis], voxels.shape[axis + 1 :]
    rows, columns = math.prod(before), math.prod(after)
    # Pictures one pixel wide come out of torch as nonsense, so the last axis is resampled as their width.
    flat = (1, 1, rows, voxels.shape[axis]) if columns == 1 else (1, rows, voxels.shape[axis], columns)
    resized = functional.interpolate(
        voxels.reshape(flat),
        (rows, size) if columns == 1 else (size, columns),
        mode="bilinear",
        align_corners=False,
        antialias=True,
    )
    return resized.reshape(*before, size, *after)


def _read_nearest(voxels: Tensor, size: Sequence[int]) -> Tensor:
    """Read labels at the nearest voxels.

    Rounding each middle all one way could move every label by a quarter of a voxel against its image: where voxels
    are twice as large, a middle lies between two of the image's again and again. So middles go up or down by a part
    of the voxel, in turn along the other two axes.
    """
    result = voxels.new_empty((len(voxels), *size))
    middles = [
        (torch.arange(n, device=voxels.device, dtype=torch.float64) + 0.5) * count / n
        for count, n in zip(voxels.shape[1:], size, strict=True)
    ]
    shifts = torch.tensor(SHIFTS, device=voxels.device, dtype=torch.float64)
    rows, columns = (torch.arange(n, device=voxels.device) for n in size[1:])
    rows = rows[:, None]

    def read(axis: int, middle: Tensor, turn: Tensor) -> Tensor:
        count, n = voxels.shape[1 + axis], size[axis]
        moved = middle if count == n else middle + shifts[turn % 4] * min(1.0, count / n)
        return moved.long().clamp(0, count - 1)

    for plane, middle in enumerate(middles[0]):
        result[:, plane] = voxels[
            :,
            read(0, middle, rows + 2 * columns),
            read(1, middles[1][:, None], plane + 2 * columns),
            read(2, middles[2], plane + 2 * rows),
        ]
    return result


def to_native(volume: Tensor, grid: VolumeGrid, chosen: slice) -> Tensor:
    """Bring some slices of a volume (classes, *network) back to the image's own grid, linearly along each axis.

    Gives (slices, classes, rows, columns) float32.
    """
    ranges = [range(n) for n in grid.native]
    ranges[0] = range(*chosen.indices(grid.native[0]))
    # The slices first: what is left out need not be resampled along the others.
    order = sorted(range(3), key=lambda k: grid.axes[k] != 0)
    for k in order:
        axis = grid.axes[k]
        count, size = grid.native[axis], grid.network[k]
        index = torch.tensor(ranges[axis], device=volume.device, dtype=torch.float64)
        index = count - 1 - index if grid.flipped[k] else index
        volume = _gather_linear(volume, 1 + k, (index + 0.5) * size / count - 0.5)
    back = [1 + grid.axes.index(axis) for axis in range(3)]
    return volume.permute(back[0], 0, back[1], back[2]).float()


def _gather_linear(volume: Tensor, axis: int, where: Tensor) -> Tensor:
    """Read one axis at these places, between voxels linearly, beyond the ends the last voxel."""
    where = where.clamp(0, volume.shape[axis] - 1)
    low = where.floor().long()
    part = (where - low).float()
    if not bool(part.any()):
        return volume.index_select(axis, low)
    high = (low + 1).clamp(max=volume.shape[axis] - 1)
    shape = [1] * volume.dim()
    shape[axis] = -1
    return torch.lerp(
        volume.index_select(axis, low).float(), volume.index_select(axis, high).float(), part.view(shape)
    )
