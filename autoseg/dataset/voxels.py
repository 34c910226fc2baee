"""Volumes read at any places, and padded."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional


def pad_to(voxels: Tensor, patch: Sequence[int], *, mode: str = "zero") -> Tensor:
    """Pad (channels, x, y, z) evenly to a patch's size at least; edges repeated or 0."""
    widths: list[int] = []
    for n, one in zip(reversed(voxels.shape[1:]), reversed(patch), strict=True):
        before = -((n - one) // 2) if n < one else 0
        widths += [before, max(0, one - n) - before]
    if not any(widths):
        return voxels
    if mode == "edge":
        return functional.pad(voxels[None], widths, mode="replicate")[0]
    return functional.pad(voxels, widths)


def read_linear(voxels: Tensor, placed: Tensor) -> Tensor:
    """Read voxels (channels, x, y, z) at places (…, 3) between them; beyond the edge the last ones."""
    size = torch.tensor(voxels.shape[1:], device=voxels.device)
    grid = ((2 * placed + 1) / size - 1).flip(-1)
    return functional.grid_sample(
        voxels[None], grid[None], mode="bilinear", padding_mode="border", align_corners=False
    )[0]


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
