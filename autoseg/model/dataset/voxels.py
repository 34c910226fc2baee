"""Volumes read at any places, and padded."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional


def pad_to(voxels: Tensor, patch: Sequence[int], *, mode: str = "zero") -> Tensor:
    """Pad (channels, x, y, z) evenly to a patch's size at least; edges repeated or 0."""
    before = padded_before(voxels.shape[1:], patch)
    widths: list[int] = []
    for n, one, first in zip(reversed(voxels.shape[1:]), reversed(patch), reversed(before), strict=True):
        widths += [first, max(0, one - n) - first]
    if not any(widths):
        return voxels
    if mode == "edge":
        return functional.pad(voxels[None], widths, mode="replicate")[0]
    return functional.pad(voxels, widths)


def padded_before(size: Sequence[int], patch: Sequence[int]) -> tuple[int, ...]:
    """Give how many voxels `pad_to` puts in front along each axis."""
    return tuple(-((n - one) // 2) if n < one else 0 for n, one in zip(size, patch, strict=True))


def read_linear(voxels: Tensor, placed: Tensor) -> Tensor:
    """Read voxels (channels, x, y, z) at places (…, 3) between them, as float32; beyond the edge the last ones."""
    if voxels.dtype != torch.float32:
        voxels, placed = _only_around(voxels, placed)
    size = torch.tensor(voxels.shape[1:], device=voxels.device)
    grid = ((2 * placed + 1) / size - 1).flip(-1)
    return functional.grid_sample(
        voxels.float()[None], grid[None], mode="bilinear", padding_mode="border", align_corners=False
    )[0]


def _only_around(voxels: Tensor, placed: Tensor) -> tuple[Tensor, Tensor]:
    """Cut out what the places lie in: a whole volume would need its memory twice to be made float32."""
    flat = placed.reshape(-1, 3)
    last = torch.tensor(voxels.shape[1:], device=voxels.device) - 1
    low = flat.amin(0).floor().long().clamp(min=0).minimum(last)
    high = flat.amax(0).ceil().long().clamp(min=0).minimum(last)
    inner = (slice(a, b + 1) for a, b in zip(low.tolist(), high.tolist(), strict=True))
    return voxels[(slice(None), *inner)], placed - low


def read_nearest(labels: Tensor, placed: Tensor) -> Tensor:
    """Read labels (x, y, z) at the voxels nearest to places (…, 3); 0 outside."""
    index = (placed + 0.5).floor().long()
    size = torch.tensor(labels.shape, device=labels.device)
    inside = ((index >= 0) & (index < size)).all(-1)
    x, y, z = index.clamp(min=0).minimum(size - 1).unbind(-1)
    return torch.where(inside, labels[x, y, z], 0)


def is_inside(size: Sequence[int], placed: Tensor) -> Tensor:
    """Tell which places lie in a volume of this size."""
    most = torch.tensor(size, device=placed.device) - 0.5
    return ((placed >= -0.5) & (placed <= most)).all(-1)
