"""Slices as tensors: decoded and resampled once, kept in memory, batched without worker processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from autoseg.errors import DataError
from autoseg.image.image import Image, LabelMap
from autoseg.model.dataset.batch import Batch
from autoseg.model.device import in_layout
from autoseg.model.networks import Outputs, learn
from autoseg.model.preprocessing.augment import apply_intensity, draw_geometry, draw_intensity, place_offsets
from autoseg.model.preprocessing.classes import classes_of, mirrored_classes, outer_classes, shares_of
from autoseg.model.preprocessing.extents import crop_size, extent_of, frame_size
from autoseg.model.preprocessing.neighbouring_slices import gather_slices
from autoseg.model.preprocessing.preprocess import (
    check_memory,
    frame_middles,
    frame_offsets,
    pad_together,
    sample_frames,
    store_labels,
    store_shares,
    store_slices,
)
from autoseg.model.preprocessing.regions import Crops, region_centre
from autoseg.model.preprocessing.sliding_window import run_in_tiles
from autoseg.model.settings.settings import AugmentationSettings, PreprocessSettings


@dataclass(frozen=True, eq=False)
class SliceSet:
    """Slices ready to be sampled, all on one device.

    `images` (n, channels, rows, columns), `labels` (n, 1, rows, columns) float32 classes, `drawn`
    (n, structures) bool, `stored` and `network` (n, 2) sizes, `case_ids` and `subject_ids` of each slice.
    `frame` is the (rows, columns) of the network's input, `sides` the classes after mirroring left to right,
    `outer` the class in which each lies (`outer_classes`).
    `ends` (n, 2) are the places of the first and the last slice of each one's case, `neighbours` how many slices
    the network sees on either side.
    `shares` (n, structures, rows, columns) float16 are there if raters drew shares on any case. `crops` tell how
    they lie, if training sees crops.
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
    outer: Tensor
    ends: Tensor
    neighbours: int = 0
    shares: Tensor | None = None
    crops: Crops | None = None

    def __len__(self) -> int:
        return len(self.images)

    @property
    def device(self) -> torch.device:
        """Where everything lies."""
        return self.images.device

    @property
    def wholes(self) -> int:
        """Number of whole images: of slices."""
        return len(self)

    @property
    def wholes_at_once(self) -> int:
        """How many of them can be seen together: any number."""
        return max(1, len(self))

    @property
    def seen_size(self) -> tuple[int, ...]:
        """(rows, columns) that the network sees while it learns."""
        return self.frame if self.crops is None else self.crops.size

    @property
    def with_structure(self) -> Tensor:
        """Which slices have a structure that was drawn, (n,) bool on the processor."""
        return self.labels.flatten(1).any(1).cpu()

    def sample(
        self,
        indices: Tensor,
        *,
        augmentation: AugmentationSettings | None = None,
        generator: torch.Generator | None = None,
    ) -> Batch:
        """As `sample_batch`."""
        return sample_batch(self, indices, augmentation=augmentation, generator=generator)

    def whole(self, indices: Tensor) -> Batch:
        """Give whole slices as they are."""
        return sample_batch(self, indices)

    def answer(self, network: nn.Module, batch: Batch) -> Outputs:
        """Give all that is compared in training too, so that the losses can be; in tiles only the answer itself."""
        if self.tile is not None:
            return Outputs(run_in_tiles(network, batch.images, self.tile))
        return learn(network, batch.images, batch.labels, batch.drawn)

    @property
    def tile(self) -> tuple[int, int] | None:
        """Size of the tiles in which the network answers on whole slices (`windows.run_in_tiles`), if any."""
        return self.crops.size if self.crops is not None else None

    def to(self, device: torch.device) -> SliceSet:
        """Move every tensor to a device."""
        moved = {name: getattr(self, name).to(device) for name in ("images", "labels", "drawn", "stored")}
        if self.shares is not None:
            moved["shares"] = self.shares.to(device)
        crops = self.crops and replace(self.crops, centres=self.crops.centres.to(device))
        return replace(
            self,
            **moved,
            network=self.network.to(device),
            sides=self.sides.to(device),
            outer=self.outer.to(device),
            ends=self.ends.to(device),
            crops=crops,
        )


def build_slices(pairs: Sequence[tuple[Image, LabelMap]], settings: PreprocessSettings, *, stride: int) -> SliceSet:
    """Normalise and store every slice of the cases."""
    if not pairs:
        raise DataError("There are no cases to learn from.")
    channels = {image.channels for image, _ in pairs}
    if len({len(names) for names in channels}) > 1:
        raise DataError(f"The images have different channels: {sorted(channels)}. Use one kind of image.")
    extents = [extent_of(image, settings) for image, _ in pairs]
    frame = frame_size(extents, stride)
    crop = crop_size(settings, frame, stride)
    soft = any(label_map.shares is not None for _, label_map in pairs)
    shares_of_each = len(pairs[0][1].structures) if soft else 0
    check_memory(
        extents, [image.shape[0] for image, _ in pairs], channels=len(pairs[0][0].channels), shares=shares_of_each
    )
    structures = pairs[0][1].structures
    images: list[Tensor] = []
    labels: list[Tensor] = []
    shares: list[Tensor] = []
    drawn, sizes, owners, centres, ends = [], [], [], [], []
    for (image, label_map), extent in zip(pairs, extents, strict=True):
        count, classes = image.shape[0], classes_of(label_map)
        ends.extend([(len(images), len(images) + count - 1)] * count)
        images.extend(store_slices(image, extent, settings))
        labels.extend(store_labels(classes, extent))
        if soft:
            shares.extend(store_shares(shares_of(label_map), extent))
        if crop is not None:
            centres.extend([region_centre(classes > 0, extent, settings, crop, name=image.source.name)] * count)
        drawn.extend([[label_map.is_annotated(s.label) for s in structures]] * count)
        sizes.extend([(extent.stored, extent.network)] * count)
        owners.extend([(image.source.case_id, image.source.subject_id)] * count)
    return SliceSet(
        images=pad_together(images),
        labels=pad_together(labels)[:, None].float(),
        drawn=torch.tensor(drawn, dtype=torch.bool),
        stored=torch.tensor([stored for stored, _ in sizes]),
        network=torch.tensor([network for _, network in sizes]),
        frame=frame,
        case_ids=tuple(case for case, _ in owners),
        subject_ids=tuple(subject for _, subject in owners),
        sides=mirrored_classes(structures),
        outer=outer_classes(structures),
        ends=torch.tensor(ends),
        neighbours=settings.neighbours,
        shares=pad_together(shares) if soft else None,
        crops=crop and Crops(crop, torch.tensor(centres), settings.crop_shift, settings.crop_anywhere),
    )


def sample_batch(
    slices: SliceSet,
    indices: Tensor,
    *,
    augmentation: AugmentationSettings | None = None,
    generator: torch.Generator | None = None,
) -> Batch:
    """Bring the slices with these indices to the network's frame, varied if `augmentation` is given.

    Crops are seen with augmentation only; without, each slice is seen as a whole.
    """
    chosen = indices.to(slices.images.device)
    images = gather_slices(slices.images, chosen, slices.ends[chosen], slices.neighbours)
    labels = slices.labels[chosen]
    stored, network = slices.stored[chosen], slices.network[chosen]
    draw = None
    if augmentation is None:
        offsets = frame_offsets(slices.frame, images.device)
        placed = offsets + frame_middles(slices.frame, network)[:, None, None]
    else:
        if generator is None:
            raise DataError("Augmentation needs a random generator.")
        draw = draw_geometry(len(chosen), augmentation, generator)
        frame = slices.frame if slices.crops is None else slices.crops.size
        placed = place_offsets(frame_offsets(frame, images.device), draw)
        if slices.crops is None:
            middles = frame_middles(frame, network)
        else:
            middles = slices.crops.draw(chosen, network, generator)
        placed = placed + middles[:, None, None]
    images = sample_frames(images, placed, stored, network)
    classes = sample_frames(labels, placed, stored, network, mode="nearest")[:, 0].long()
    drawn, targets = slices.drawn[chosen], None
    if slices.shares is not None:
        shares = sample_frames(slices.shares[chosen].float(), placed, stored, network, mode="shares")
        targets = torch.cat([1 - shares.sum(1, keepdim=True), shares], dim=1).clamp(min=0)
    if draw is not None and augmentation is not None and generator is not None:
        flipped = draw.flipped.to(images.device)
        classes = torch.where(flipped[:, None, None], slices.sides[classes], classes)
        drawn = torch.where(flipped[:, None], drawn[:, slices.sides[1:] - 1], drawn)
        if targets is not None:
            targets = torch.where(flipped[:, None, None, None], targets[:, slices.sides], targets)
        images = apply_intensity(images, draw_intensity(len(chosen), augmentation, generator), generator)
    return Batch(in_layout(images), classes, drawn, targets, slices.outer)
