"""A volume cropped around a centreline, slice by slice and by whole voxels, and put back."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from autoseg.errors import DataError
from autoseg.image.image import Image, LabelMap
from autoseg.model.centreline.curve import Centreline
from autoseg.model.preprocessing.volume_grids import VolumeGrid
from autoseg.model.settings.settings import VolumeSettings


@dataclass(frozen=True, eq=False)
class Crop:
    """Which part of each slice of a network's grid lies around a centreline.

    `axis` is the network's axis along which the structure runs, `size` the voxels across it (of the two other axes,
    in their order), `whole` the grid's sizes. `starts` (slices, 2) are the first voxels across, perhaps before the
    grid's beginning; slices are moved by whole voxels, so that every voxel can go back where it was.
    """

    axis: int
    size: tuple[int, int]
    whole: tuple[int, int, int]
    starts: npt.NDArray[np.intp]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Sizes of what is cut out."""
        sizes = list(self.size)
        sizes.insert(self.axis, self.whole[self.axis])
        return sizes[0], sizes[1], sizes[2]

    def cut(self, volume: Tensor, *, outside: float | None = None) -> Tensor:
        """Cut the crop out of a volume (channels, *whole); beyond it is `outside`, else the voxel at its edge."""
        slices = volume.movedim(1 + self.axis, 0)
        starts = torch.from_numpy(self.starts).to(volume.device)
        at = [starts[:, k, None] + torch.arange(n, device=volume.device) for k, n in enumerate(self.size)]
        inside = [one.clamp(0, n - 1) for one, n in zip(at, slices.shape[2:], strict=True)]
        which = torch.arange(len(slices), device=volume.device)[:, None, None]
        found = slices[which, :, inside[0][:, :, None], inside[1][:, None, :]].permute(3, 0, 1, 2)
        if outside is not None:
            beyond = (at[0] != inside[0])[:, :, None] | (at[1] != inside[1])[:, None, :]
            found = found.masked_fill(beyond, outside)
        return found.movedim(1, 1 + self.axis).contiguous()

    def count_cut_off(self, found: Tensor) -> int:
        """Count the slices on which something was found at an edge of the crop that is not the grid's own."""
        slices = found.movedim(self.axis, 0)
        sizes = [n for k, n in enumerate(self.whole) if k != self.axis]
        starts = torch.from_numpy(self.starts).to(found.device)
        touched = torch.zeros(len(slices), dtype=torch.bool, device=found.device)
        for k, lines in enumerate((slices.any(2), slices.any(1))):
            first, last = starts[:, k], starts[:, k] + self.size[k]
            touched |= (lines[:, 0] & (first > 0)) | (lines[:, -1] & (last < sizes[k]))
        return int(touched.sum())

    def put_back(self, part: Tensor, *, outside: Tensor) -> Tensor:
        """Put what was cut out (channels, *shape) back in its place; around it lies `outside` (channels,)."""
        whole = outside.to(part)[:, None, None, None].repeat(1, *self.whole)
        slices, parts = whole.movedim(1 + self.axis, 0), part.movedim(1 + self.axis, 0)
        for one, cropped, start in zip(slices, parts, self.starts.tolist(), strict=True):
            ranges = [
                (max(0, first), min(n, first + size))
                for first, n, size in zip(start, slices.shape[2:], self.size, strict=True)
            ]
            to = tuple(slice(low, high) for low, high in ranges)
            of = tuple(slice(low - first, high - first) for (low, high), first in zip(ranges, start, strict=True))
            one[(slice(None), *to)] = cropped[(slice(None), *of)]
        return whole


def plan_crop(centreline: Centreline, grid: VolumeGrid, image: Image | LabelMap, settings: VolumeSettings) -> Crop:
    """Choose the voxels around a centreline on the network's grid of an image, as `crop_mm` says.

    Its lengths are along the two axes across, in their order, rounded up to whole voxels. Where the centreline
    leaves the image on some slices, the crop stays at the edge there.
    """
    axis = next(k for k, letter in enumerate(settings.orientation) if letter in "IS")
    across = [k for k in range(3) if k != axis]
    on_grid, count = grid.affine(image.calibrated_affine), grid.network[axis]
    places = centreline.on_slices(on_grid, count, axis=axis)
    sizes = np.array([grid.network[k] for k in across])
    inside = ((places >= -0.5) & (places <= sizes - 0.5)).all(axis=1)
    points = np.linalg.inv(on_grid) @ np.column_stack([centreline.points_mm, np.ones(len(centreline.points_mm))]).T
    own = (points[axis].min() - 0.5 < np.arange(count)) & (np.arange(count) < points[axis].max() + 0.5)
    if not (inside & own).any():
        low, high = centreline.points_mm[[0, -1]].round(0).tolist()
        corners = on_grid @ np.array([[0, 0, 0, 1], [*(n - 1 for n in grid.network), 1]]).T
        first, last = corners[:3].T.round(0).tolist()
        raise DataError(
            f"{image.source.name}: the centreline ({centreline.source}) does not meet the image. It runs from "
            f"{low} to {high} (x, y, z in mm), and the image lies between {first} and {last}. Use the centreline "
            "of this image, or click it anew."
        )
    places = places.clip(0, sizes - 1)
    lengths = zip(settings.crop_mm or (), across, strict=True)
    size = [max(1, math.ceil(round(mm / grid.spacing_mm[k], 3))) for mm, k in lengths]
    starts = np.floor(places - (np.array(size) - 1) / 2 + 0.5).astype(np.intp)
    return Crop(axis, (size[0], size[1]), grid.network, starts)
