"""What an image looks like to a model: some of its slices as the network sees them, in numbers that name nobody."""

from __future__ import annotations

import math
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from autoseg.image.image import Image
from autoseg.model.dataset import store_image
from autoseg.model.dataset.voxels import pad_to
from autoseg.model.device import choose_device, in_layout
from autoseg.model.model import TrainedModel
from autoseg.model.networks import deepest_of, strides_of
from autoseg.model.preprocessing.extents import extent_of, frame_size
from autoseg.model.preprocessing.neighbouring_slices import gather_slices, own_channel
from autoseg.model.preprocessing.preprocess import (
    frame_middles,
    frame_offsets,
    measure_intensities,
    sample_frames,
    store_slices,
)
from autoseg.model.preprocessing.volume_grids import grid_of
from autoseg.model.trust.turned import (
    BLOCKS,
    CELLS,
    DIRECTIONS,
    HALF_TURN,
    INVERTED,
    MIRRORED,
    UPSIDE_DOWN,
    Ways,
)
from autoseg.prediction.ensemble import Networks
from autoseg.prediction.volumes import IMAGE_BYTES, require_memory_for

Numbers = npt.NDArray[np.float32]
Window = tuple[int, int]

# So many slices are looked at, evenly over a stack.
SLICES = 6
QUANTILES = (0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98)
# Of the details of a slice, from those of two pixels to those of 32.
SCALES = 5
SMALL = 1e-4
AS_IT_IS = ""


@dataclass(frozen=True, eq=False)
class Appearance:
    """Numbers of some slices of an image: (slices, numbers) by the names of their kinds.

    Intensities are quantiles after preprocessing; texture is how much of a slice is detail of which size; layout is
    where it is bright and in which directions its edges run; network are the means of the network's deepest
    features, and `changed` what these would be of the image changed (`autoseg.model.trust.turned`).
    """

    parts: dict[str, Numbers]
    changed: dict[str, Numbers]

    @property
    def ways(self) -> Ways:
        """How it looks as it is and changed."""
        return Ways(self.parts["layout"], self.parts["network"], self.changed)


def window_for(model: TrainedModel, images: Iterable[Image]) -> Window:
    """Give the (rows, columns), in the network's pixels, that every one of the images shows around its middle."""
    sizes = np.array([_network_size(model, image) for image in images])
    rows, columns = (max(BLOCKS, int(size)) for size in sizes.min(axis=0))
    return rows, columns


def look_at(model: TrainedModel, image: Image, window: Window, networks: Networks | None = None) -> Appearance:
    """Describe some slices of an image as the model sees them, `window` of each around the middle.

    `networks` are kept for further images; without them the model's is built anew.
    """
    device = choose_device()
    network = (networks or Networks()).of(model)
    if model.settings.spatial_dims == 3:
        frames, features = _look_at_volume(model, image, network, device)
    else:
        frames, features = _look_at_slices(model, image, network, device)
    seen = _middle(frames, window).float().cpu()
    return Appearance(
        {
            "intensities": _intensities(seen).numpy(),
            "texture": _texture(seen).numpy(),
            "layout": _layout(seen).numpy(),
            "network": features.pop(AS_IT_IS),
        },
        features,
    )


def chosen_slices(count: int, most: int = SLICES) -> list[int]:
    """Choose slices evenly over a stack.

    Examples
    --------
    >>> chosen_slices(3), chosen_slices(20)
    ([0, 1, 2], [1, 5, 8, 11, 15, 18])
    """
    return sorted({int((n + 0.5) * count / min(most, count)) for n in range(min(most, count))})


def _network_size(model: TrainedModel, image: Image) -> tuple[int, int]:
    if model.settings.spatial_dims == 3:
        x, y, _ = grid_of(image, model.settings.volume).network
        return x, y
    return extent_of(image, model.settings.preprocess).network


@torch.inference_mode()
def _look_at_slices(
    model: TrainedModel, image: Image, network: nn.Module, device: torch.device
) -> tuple[Tensor, dict[str, Numbers]]:
    """Give frames (slices, channels, rows, columns), and features (slices, numbers) as it is and changed."""
    settings = model.settings.preprocess
    extent, k, last = extent_of(image, settings), settings.neighbours, image.shape[0] - 1
    frame = frame_size([extent], int(getattr(network, "stride", 1)))
    size = torch.tensor([extent.network], device=device)
    stored_size = torch.tensor([extent.stored], device=device)
    offsets = frame_offsets(frame, device) + frame_middles(frame, size)[:, None, None]
    frames, features = list[Tensor](), list[dict[str, Numbers]]()
    whole = measure_intensities(image, settings)
    for place in chosen_slices(image.shape[0]):
        read = slice(max(0, place - k), min(last, place + k) + 1)
        part = Image(image.channel_voxels[:, read], image.affine, image.channels)
        slices = store_slices(part, extent, settings, whole).to(device)
        own = torch.tensor([place - read.start], device=device)
        slices = gather_slices(slices, own, own.new_tensor([[0, len(slices) - 1]]), k)
        seen = sample_frames(slices, offsets, stored_size, size)
        features.append(_features(network, seen))
        first = own_channel(len(image.channels), k)
        frames.append(seen[:, first : first + len(image.channels)])
    return torch.cat(frames), {way: np.concatenate([one[way] for one in features]) for way in features[0]}


@torch.inference_mode()
def _look_at_volume(
    model: TrainedModel, image: Image, network: nn.Module, device: torch.device
) -> tuple[Tensor, dict[str, Numbers]]:
    """Give slices across the network's last axis, and the features of the patch in the volume's middle."""
    settings = model.settings
    grid = grid_of(image, settings.volume)
    voxels = math.prod(grid.network) + math.prod(grid.native)
    require_memory_for(image, grid, voxels * IMAGE_BYTES * len(image.channels))
    stored = store_image(image, grid, settings)
    strides = strides_of(network, 3)
    patch = settings.volume.patch_size or tuple(math.ceil(32 / step) * step for step in strides)
    starts = [max(0, (size - one) // 2) for size, one in zip(stored.shape[1:], patch, strict=True)]
    inner = tuple(slice(start, start + one) for start, one in zip(starts, patch, strict=True))
    seen = pad_to(stored[(slice(None), *inner)], patch, mode="edge")[None].to(device)
    features = _features(network, seen)
    frames = stored[..., chosen_slices(stored.shape[-1])].movedim(-1, 0)
    return frames, {way: np.repeat(numbers, len(frames), axis=0) for way, numbers in features.items()}


def _features(network: nn.Module, frames: Tensor) -> dict[str, Numbers]:
    """Give the means of the network's deepest features, (batch, numbers), of frames as they are and changed."""
    # In frames of slices and of volumes alike rows and columns come after batch and channels.
    middle = frames.flatten(2).mean(2).view(*frames.shape[:2], *[1] * (frames.ndim - 2))
    ways = {
        AS_IT_IS: frames,
        UPSIDE_DOWN: frames.flip(2),
        MIRRORED: frames.flip(3),
        HALF_TURN: frames.flip(2, 3),
        INVERTED: 2 * middle - frames,
    }
    return {way: _deepest(network, one) for way, one in ways.items()}


def _deepest(network: nn.Module, frames: Tensor) -> Numbers:
    kept: list[Tensor] = []

    def keep(_: nn.Module, __: object, answer: Tensor) -> None:
        # Tokens are (batch, tokens, numbers), and images have the numbers in front of their sizes.
        kept.append(answer.mean(1) if answer.ndim == 3 else answer.flatten(2).mean(2))
        raise _Reached  # what follows would be in vain

    handle = deepest_of(network).register_forward_hook(keep)
    try:
        with suppress(_Reached):
            network(in_layout(frames))
    finally:  # others use the network too
        handle.remove()
    return kept[0].float().cpu().numpy()


class _Reached(Exception):
    """The deepest features are there."""


def _middle(frames: Tensor, window: Window) -> Tensor:
    """Cut the middle out of frames; of smaller ones the edge is repeated."""
    for axis, size in zip((-2, -1), window, strict=True):
        have = frames.shape[axis]
        places = torch.arange(size, device=frames.device) + (have - size) // 2
        frames = frames.index_select(axis, places.clamp(0, have - 1))
    return frames


def _intensities(frames: Tensor) -> Tensor:
    flat = frames.flatten(2)
    quantiles = torch.quantile(flat, torch.tensor(QUANTILES), dim=2).permute(1, 2, 0)
    mean, deviation = flat.mean(2, keepdim=True), flat.std(2, keepdim=True).clamp(min=SMALL)
    lopsided = (((flat - mean) / deviation) ** 3).mean(2, keepdim=True)
    skewness = lopsided.sign() * lopsided.abs().log1p()
    return torch.cat([quantiles, skewness], dim=2).flatten(1)


def _texture(frames: Tensor) -> Tensor:
    """Give the logarithms of how much of a slice is detail of each size, of its noise, and of how edges run."""
    frames = _standardised(frames)
    found: list[Tensor] = []
    coarse = frames
    for _ in range(SCALES):
        if min(coarse.shape[-2:]) < 2:
            found.append(found[-1])
            continue
        smaller = functional.avg_pool2d(coarse, 2, ceil_mode=True, count_include_pad=False)
        back = functional.interpolate(smaller, coarse.shape[-2:], mode="bilinear", align_corners=False)
        found.append((coarse - back).square().mean((2, 3)))
        coarse = smaller
    down, across = frames.diff(dim=2), frames.diff(dim=3)
    second = frames[..., 1:-1, 1:-1] * 4 - (
        frames[..., :-2, 1:-1] + frames[..., 2:, 1:-1] + frames[..., 1:-1, :-2] + frames[..., 1:-1, 2:]
    )
    found.append(second.abs().flatten(2).median(2).values.square())
    found += [down.square().mean((2, 3)), across.square().mean((2, 3))]
    return torch.stack([(one + SMALL).log() for one in found], dim=2).flatten(1)


def _layout(frames: Tensor) -> Tensor:
    """Give the means of blocks, and the share of all edges that run in each direction in each cell."""
    frames = _standardised(frames)
    blocks = functional.adaptive_avg_pool2d(frames, BLOCKS).flatten(2)
    smooth = functional.avg_pool2d(frames, 3, stride=1, padding=1, count_include_pad=False)
    down, across = smooth.diff(dim=2)[..., :, 1:], smooth.diff(dim=3)[..., 1:, :]
    strength = torch.hypot(down, across)
    turn = (torch.atan2(down, across) / (2 * math.pi) * DIRECTIONS).round().long() % DIRECTIONS
    split = torch.stack([strength * (turn == one) for one in range(DIRECTIONS)], dim=2)
    cells = functional.adaptive_avg_pool2d(split.flatten(0, 1), CELLS).unflatten(0, split.shape[:2]).flatten(2)
    cells = cells / cells.sum(2, keepdim=True).clamp(min=SMALL) * cells.shape[2]
    return torch.cat([blocks, cells], dim=2).flatten(1)


def _standardised(frames: Tensor) -> Tensor:
    mean, deviation = frames.mean((2, 3), keepdim=True), frames.std((2, 3), keepdim=True)
    return (frames - mean) / deviation.clamp(min=SMALL)
