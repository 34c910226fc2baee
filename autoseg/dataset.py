"""Cases as tensors: decoded and resampled once, kept in memory, batched without worker processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import psutil
import torch
from torch import Tensor

from autoseg.augment import apply_intensity, draw_geometry, draw_intensity, place_offsets
from autoseg.cases import Case, read_case
from autoseg.device import in_layout
from autoseg.errors import DataError
from autoseg.image import Image, LabelMap
from autoseg.preprocess import (
    Extent,
    choose_spacing_mm,
    extent_of,
    frame_offsets,
    frame_size,
    pad_together,
    sample_frames,
    store_labels,
    store_slices,
)
from autoseg.settings import AugmentationSettings, PreprocessSettings, Settings
from autoseg.split import Split
from autoseg.structures import Structure, side_pairs


@dataclass(frozen=True)
class Batch:
    """What the network sees at once, and what it should answer.

    `images` (batch, channels, rows, columns) float32, `labels` (batch, rows, columns) int64 classes
    (0 background, k the k-th structure), `drawn` (batch, structures) bool.
    """

    images: Tensor
    labels: Tensor
    drawn: Tensor


@dataclass(frozen=True, eq=False)
class SliceSet:
    """Slices ready to be sampled, all on one device.

    `images` (n, channels, rows, columns), `labels` (n, 1, rows, columns) float32 classes, `drawn`
    (n, structures) bool, `stored` and `network` (n, 2) sizes, `case_ids` and `subject_ids` of each slice.
    `frame` is the (rows, columns) of the network's input, `sides` the classes after mirroring left to right.
    """

    images: Tensor
    labels: Tensor
    drawn: Tensor
    stored: Tensor
    network: Tensor
    frame: tuple[int, int]
    case_ids: tuple[str, ...]
    subject_ids: tuple[str, ...]
    sides: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: torch.device) -> SliceSet:
        """Move every tensor to a device."""
        moved = {name: getattr(self, name).to(device) for name in ("images", "labels", "drawn", "stored")}
        return replace(self, **moved, network=self.network.to(device), sides=self.sides.to(device))


def plan_spacing(settings: PreprocessSettings, images: Sequence[Image]) -> PreprocessSettings:
    """Fill in the network's pixel size from the training images, where neither it nor a shape was given."""
    if settings.spacing_mm is not None or settings.input_shape is not None:
        return settings
    sizes = [(image.shape[1:], image.spacing_mm[1:]) for image in images]
    return replace(settings, spacing_mm=choose_spacing_mm(sizes))


def read_cases(cases: Sequence[Case], structures: Sequence[Structure]) -> list[tuple[Image, LabelMap]]:
    """Read every case once, in order."""
    return [read_case(case, tuple(structures)) for case in cases]


def build_slices(pairs: Sequence[tuple[Image, LabelMap]], settings: PreprocessSettings, *, stride: int) -> SliceSet:
    """Normalise and store every slice of the cases.

    Parameters
    ----------
    pairs : sequence of (Image, LabelMap)
        On one grid each, with the same structures and the same number of channels.
    settings : PreprocessSettings
        With the spacing or the shape chosen (`plan_spacing`).
    stride : int
        The frame's size is a multiple of it.

    Raises
    ------
    DataError
        If there is no case, the channels differ, or memory would not suffice; nothing was stored then.
    """
    if not pairs:
        raise DataError("There are no cases to learn from.")
    channels = {image.channels for image, _ in pairs}
    if len({len(names) for names in channels}) > 1:
        raise DataError(f"The images have different channels: {sorted(channels)}. Use one kind of image.")
    extents = [extent_of(image, settings) for image, _ in pairs]
    _check_memory(pairs, extents)
    structures = pairs[0][1].structures
    images: list[Tensor] = []
    labels: list[Tensor] = []
    drawn, sizes, owners = [], [], []
    for (image, label_map), extent in zip(pairs, extents, strict=True):
        count = image.shape[0]
        images.extend(store_slices(image, extent, settings))
        labels.extend(store_labels(classes_of(label_map), extent))
        drawn.extend([[label_map.is_annotated(s.label) for s in structures]] * count)
        sizes.extend([(extent.stored, extent.network)] * count)
        owners.extend([(image.source.case_id, image.source.subject_id)] * count)
    return SliceSet(
        images=pad_together(images),
        labels=pad_together(labels)[:, None].float(),
        drawn=torch.tensor(drawn, dtype=torch.bool),
        stored=torch.tensor([stored for stored, _ in sizes]),
        network=torch.tensor([network for _, network in sizes]),
        frame=frame_size(extents, stride),
        case_ids=tuple(case for case, _ in owners),
        subject_ids=tuple(subject for _, subject in owners),
        sides=mirrored_classes(structures),
    )


def classes_of(label_map: LabelMap) -> np.ndarray:
    """Give the class of every voxel, uint8: 0 background, k the k-th structure; undrawn structures are 0."""
    table = np.zeros(256, dtype=np.uint8)
    for index, structure in enumerate(label_map.structures, start=1):
        table[structure.label] = index if label_map.is_annotated(structure.label) else 0
    return table[label_map.voxels.astype(np.uint8)]


def mirrored_classes(structures: Sequence[Structure]) -> Tensor:
    """Give for each class the class it becomes when left and right are exchanged, shape (classes,).

    Which structures are a pair is told by `structures.side_pairs`.
    """
    place = {structure.label: index for index, structure in enumerate(structures, start=1)}
    result = list(range(len(structures) + 1))
    for left, right in side_pairs(structures):
        result[place[left]], result[place[right]] = place[right], place[left]
    return torch.tensor(result)


def sample_batch(
    slices: SliceSet,
    indices: Tensor,
    *,
    augmentation: AugmentationSettings | None = None,
    generator: torch.Generator | None = None,
) -> Batch:
    """Bring the slices with these indices to the network's frame, varied if `augmentation` is given.

    Parameters
    ----------
    slices : SliceSet
    indices : (batch,) Tensor of int64
    augmentation : AugmentationSettings, optional
        None: as they are.
    generator : torch.Generator, optional
        On the processor; needed with augmentation.

    Returns
    -------
    Batch
    """
    chosen = indices.to(slices.images.device)
    images, labels = slices.images[chosen], slices.labels[chosen]
    stored, network = slices.stored[chosen], slices.network[chosen]
    offsets = frame_offsets(slices.frame, images.device)
    placed = offsets.expand(len(chosen), *offsets.shape)
    draw = None
    if augmentation is not None:
        if generator is None:
            raise DataError("Augmentation needs a random generator.")
        draw = draw_geometry(len(chosen), augmentation, generator)
        placed = place_offsets(offsets, draw)
    images = sample_frames(images, placed, stored, network)
    classes = sample_frames(labels, placed, stored, network, mode="nearest")[:, 0].long()
    drawn = slices.drawn[chosen]
    if draw is not None and augmentation is not None and generator is not None:
        flipped = draw.flipped.to(images.device)
        classes = torch.where(flipped[:, None, None], slices.sides[classes], classes)
        drawn = torch.where(flipped[:, None], drawn[:, slices.sides[1:] - 1], drawn)
        images = apply_intensity(images, draw_intensity(len(chosen), augmentation, generator), generator)
    return Batch(in_layout(images), classes, drawn)


def preview(
    split: Split, settings: Settings, *, structures: Sequence[Structure], count: int = 8
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
    """Give the first augmented batch that training on this split with these settings would see.

    Returns
    -------
    tuple of ndarray
        Images (count, rows, columns), of the first channel, and labels (count, rows, columns), as
        `figures.show_batch` takes them.
    """
    pairs = read_cases(split.training, structures)
    preprocess = plan_spacing(settings.preprocess, [image for image, _ in pairs])
    stride = 2 ** (len(settings.network.filters) - 1)
    slices = build_slices(pairs, preprocess, stride=stride)
    generator = torch.Generator().manual_seed(settings.seed)
    indices = torch.randperm(len(slices), generator=generator)[:count]
    batch = sample_batch(slices, indices, augmentation=settings.augmentation, generator=generator)
    table = np.array([0, *(structure.label for structure in structures)], dtype=np.uint8)
    return batch.images[:, 0].numpy(), table[batch.labels.numpy()]


def _check_memory(pairs: Sequence[tuple[Image, LabelMap]], extents: Sequence[Extent]) -> None:
    slices = sum(image.shape[0] for image, _ in pairs)
    rows, columns = (max(extent.stored[axis] for extent in extents) for axis in (0, 1))
    channels = len(pairs[0][0].channels)
    needed = slices * rows * columns * 4 * (channels + 1)
    free = psutil.virtual_memory().available
    if needed * 2 > free:  # the slices themselves, and once more while they are put together
        raise DataError(
            f"{slices} slices of {rows} × {columns} pixels need {2 * needed / 2**30:.1f} GiB of memory and "
            f"{free / 2**30:.1f} GiB are free. Close other programs, use fewer slices, or choose a larger "
            "spacing_mm."
        )
