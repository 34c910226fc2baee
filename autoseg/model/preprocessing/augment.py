"""Varied copies of training slices: first draw the amounts, then apply them.

Geometry is one fused resampling of the batch (`preprocess.sample_frames`), the same for image and label,
labels by nearest neighbour. Everything runs on the device where the slices are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from autoseg.model.settings.settings import AugmentationSettings

# Voxels this many times as long along one axis as along another are of thick slices.
THICK = 3.0


@dataclass(frozen=True)
class GeometryDraw:
    """How each sample of a batch looks at its slice.

    `matrix` (batch, 2, 2) takes a frame pixel's (row, column) distance from the centre to the image's, and
    `shift` (batch, 2) is added, as a fraction of the frame. `flipped` (batch,) tells whose anatomy was mirrored;
    where both axes are, it is only turned.
    """

    matrix: Tensor
    shift: Tensor
    flipped: Tensor


@dataclass(frozen=True)
class IntensityDraw:
    """What is done to each sample's intensities; all (batch,): contrast and gamma 1, the rest 0 change nothing."""

    contrast: Tensor
    brightness: Tensor
    gamma: Tensor
    noise: Tensor


class _Draws:
    """Draws amounts for `count` samples, one amount after the other: their order decides what a seed gives."""

    def __init__(self, count: int, generator: torch.Generator) -> None:
        self.count, self.generator = count, generator

    def uniform(self, low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(self.count, generator=self.generator)

    def log_uniform(self, bounds: tuple[float, float]) -> Tensor:
        return self.uniform(math.log(bounds[0]), math.log(bounds[1])).exp()

    def happens(self, probability: float) -> Tensor:
        return torch.rand(self.count, generator=self.generator) < probability

    def maybe(self, probability: float, value: Tensor, otherwise: float) -> Tensor:
        return torch.where(self.happens(probability), value, torch.full_like(value, otherwise))

    def angle(self, settings: AugmentationSettings) -> Tensor:
        turn = self.uniform(-settings.rotation_deg, settings.rotation_deg) * (math.pi / 180)
        return self.maybe(settings.rotation_probability, turn, 0.0)

    def zoom(self, settings: AugmentationSettings, axes: int) -> list[Tensor]:
        """How much larger the anatomy becomes along each axis: all by the zoom, each by its own scaling."""
        zoom = self.maybe(settings.zoom_probability, self.log_uniform(settings.zoom), 1.0)
        return [
            zoom * self.maybe(settings.scaling_probability, self.uniform(*settings.scaling), 1.0)
            for _ in range(axes)
        ]


def draw_geometry(count: int, settings: AugmentationSettings, generator: torch.Generator) -> GeometryDraw:
    """Draw rotation, zoom, scaling, crop-and-zoom, shift, mirroring and quarter turns for `count` samples."""
    draws = _Draws(count, generator)
    angle = draws.angle(settings)
    rows, columns = draws.zoom(settings, 2)
    crop = draws.maybe(settings.crop_probability, draws.uniform(*settings.crop), 1.0)
    # A crop lies anywhere in the frame, so its centre may move by half of what it leaves out.
    shift = [draws.uniform(-0.5, 0.5) * (1 - crop) for _ in range(2)]
    moved = draws.happens(settings.shift_probability)
    shift = [s + torch.where(moved, draws.uniform(-settings.shift, settings.shift), 0.0) for s in shift]
    flipped = draws.happens(settings.flip_probability)
    columns = columns * torch.where(flipped, -1.0, 1.0)
    # What is off draws nothing, so that it leaves the random numbers of the rest as they are.
    if settings.flip_rows_probability > 0:
        upside_down = draws.happens(settings.flip_rows_probability)
        rows, flipped = rows * torch.where(upside_down, -1.0, 1.0), flipped ^ upside_down
    if settings.quarter_turn_probability > 0:
        quarters = torch.randint(1, 4, (count,), generator=generator) * (math.pi / 2)
        angle = angle + draws.maybe(settings.quarter_turn_probability, quarters, 0.0)
    cosine, sine = torch.cos(angle), torch.sin(angle)
    # Looking at a larger part makes things smaller, hence the division by the scaling.
    matrix = torch.stack(
        [
            torch.stack([cosine / rows, -sine / columns], dim=-1),
            torch.stack([sine / rows, cosine / columns], dim=-1),
        ],
        dim=-2,
    )
    return GeometryDraw(matrix * crop[:, None, None], torch.stack(shift, dim=-1), flipped)


def draw_volume_geometry(
    count: int,
    settings: AugmentationSettings,
    flips: Sequence[float],
    spacing_mm: Sequence[float],
    generator: torch.Generator,
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw rotation about every axis, zoom, scaling, shift and mirrors of `count` patches of volumes.

    Gives (count, 3, 3) matrices that take a patch voxel's distance from its centre to the volume's, (count, 3)
    shifts as fractions of the patch, and (count, 3) which axes were mirrored, each with its probability in `flips`.
    Turning is in millimetres. A rotation that would mix an axis with another whose voxels are three times as long
    or more is left out: thick slices are turned in their plane only.
    """
    draws, spacing = _Draws(count, generator), torch.tensor(spacing_mm, dtype=torch.float32)
    turn = torch.eye(3).expand(count, 3, 3)
    for axis in range(3):
        angle = draws.angle(settings)
        one, other = (k for k in range(3) if k != axis)
        lengths = sorted((float(spacing[one]), float(spacing[other])))
        if lengths[1] < THICK * lengths[0]:
            turn = turn @ _about(axis, angle)
    scales = torch.stack(draws.zoom(settings, 3), -1)
    shift = torch.stack([draws.uniform(-settings.shift, settings.shift) for _ in range(3)], -1)
    moved = draws.happens(settings.shift_probability)
    flipped = torch.rand(count, 3, generator=generator) < torch.tensor(flips)
    # In millimetres: from voxels of the patch, turned, back to voxels of the volume.
    matrix = turn * spacing / spacing[:, None]
    matrix = matrix / (scales * torch.where(flipped, -1.0, 1.0))[:, None, :]
    return matrix, torch.where(moved[:, None], shift, torch.zeros_like(shift)), flipped


def _about(axis: int, angle: Tensor) -> Tensor:
    """Give rotations (count, 3, 3) about one axis."""
    one, other = (k for k in range(3) if k != axis)
    matrix = torch.eye(3).repeat(len(angle), 1, 1)
    matrix[:, one, one] = matrix[:, other, other] = angle.cos()
    matrix[:, one, other], matrix[:, other, one] = -angle.sin(), angle.sin()
    return matrix


def place_offsets(offsets: Tensor, draw: GeometryDraw) -> Tensor:
    """Turn a frame's centre distances (rows, columns, 2) into each sample's, (batch, rows, columns, 2)."""
    size = torch.tensor(offsets.shape[:2], device=offsets.device, dtype=offsets.dtype)
    matrix, shift = draw.matrix.to(offsets.device), draw.shift.to(offsets.device)
    turned = torch.einsum("bij,rcj->brci", matrix, offsets)
    return turned + (shift * size)[:, None, None]


def draw_intensity(count: int, settings: AugmentationSettings, generator: torch.Generator) -> IntensityDraw:
    """Draw contrast, brightness, gamma and noise for `count` samples; factors evenly in their logarithm."""
    draws, most = _Draws(count, generator), settings.brightness
    return IntensityDraw(
        contrast=draws.maybe(settings.contrast_probability, draws.log_uniform(settings.contrast), 1.0),
        brightness=draws.maybe(settings.brightness_probability, draws.uniform(-most, most), 0.0),
        gamma=draws.maybe(settings.gamma_probability, draws.log_uniform(settings.gamma), 1.0),
        noise=draws.maybe(settings.noise_probability, draws.uniform(0.0, settings.noise), 0.0),
    )


def apply_intensity(images: Tensor, draw: IntensityDraw, generator: torch.Generator) -> Tensor:
    """Change contrast, brightness and gamma of (batch, channels, …) normalised intensities, and add noise.

    A constant channel (an absent contrast) stays as it is.
    """
    within = tuple(range(2, images.dim()))
    contrast, brightness, gamma, noise = (
        value.to(images.device).view(-1, *[1] * (images.dim() - 1))
        for value in (draw.contrast, draw.brightness, draw.gamma, draw.noise)
    )
    low, high = images.amin(within, keepdim=True), images.amax(within, keepdim=True)
    height = (high - low).clamp(min=1e-6)
    varied = ((images - low) / height).clamp(0, 1).pow(gamma) * height + low
    mean = varied.mean(within, keepdim=True)
    varied = (varied - mean) * contrast + mean + brightness
    if bool((draw.noise > 0).any()):
        grain = torch.randn(images.shape, generator=generator).to(images.device)
        varied = varied + grain * noise
    return torch.where(high > low, varied, images)
