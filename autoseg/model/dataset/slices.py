"""Slices as tensors: decoded and resampled once, kept in memory, batched without worker processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any, TypeVar

import numpy.typing as npt
import torch
from torch import Tensor, nn

from autoseg.errors import DataError
from autoseg.image.image import Image, LabelMap, Source
from autoseg.image.structures import Structure
from autoseg.model.dataset.batch import Batch, check_channels, check_pairs, drawn_of, on_device, with_background
from autoseg.model.dataset.kept import KeptCase, KeptRows
from autoseg.model.networks import Outputs, learn
from autoseg.model.preprocessing.augment import draw_geometry, place_offsets
from autoseg.model.preprocessing.classes import classes_of, mirrored_classes, outer_classes, shares_of
from autoseg.model.preprocessing.extents import Extent, crop_size, extent_of, frame_size
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
from autoseg.model.preprocessing.regions import Crops, measure_region, region_centre
from autoseg.model.preprocessing.sliding_window import run_in_tiles
from autoseg.model.settings.settings import AugmentationSettings, PreprocessSettings

Value = TypeVar("Value")
Region = tuple[tuple[float, float], tuple[float, float]]


@dataclass(frozen=True, eq=False)
class SliceSet:
    """Slices ready to be sampled, all on one device.

    `images` (n, channels, rows, columns), `labels` (n, 1, rows, columns) float32 classes, `drawn` (n, structures)
    bool, `stored` and `network` (n, 2) sizes, `case_ids` and `subject_ids` of each slice. `frame` is the (rows,
    columns) of the network's input, `sides` the classes after mirroring left to right, `outer` the class in which
    each lies (`outer_classes`). `ends` (n, 2) are the places of the first and the last slice of each one's case,
    `neighbours` how many slices the network sees on either side. `shares` (n, structures, rows, columns) float16
    are there if raters drew shares on any case. `crops` tell how they lie, if training sees crops.
    Of cases that are too many for the memory, images, labels and shares lie in the cache.
    """

    images: Tensor | KeptRows
    labels: Tensor | KeptRows
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
    shares: Tensor | KeptRows | None = None
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
    def seen_size(self) -> tuple[int, int]:
        """(rows, columns) that the network sees while it learns."""
        return self.frame if self.crops is None else self.crops.size

    @property
    def with_structure(self) -> Tensor:
        """Which slices have a structure that was drawn, (n,) bool on the processor."""
        if isinstance(self.labels, KeptRows):
            return self.labels.holds
        return self.labels.flatten(1).any(1).cpu()

    def sample(
        self,
        indices: Tensor,
        *,
        augmentation: AugmentationSettings | None = None,
        generator: torch.Generator | None = None,
    ) -> Batch:
        """Bring the slices with these indices to the network's frame, varied if `augmentation` is given.

        Crops are seen with augmentation only; without, each slice is seen as a whole. The generator is on the
        processor.
        """
        if augmentation is None:
            return self._placed(indices, frame_offsets(self.frame, self.device), None).laid_out()
        if generator is None:
            raise DataError("Augmentation needs a random generator.")
        draw = draw_geometry(len(indices), augmentation, generator)
        offsets = place_offsets(frame_offsets(self.seen_size, self.device), draw)
        middles = None
        if self.crops is not None:
            chosen = indices.to(self.device)
            middles = self.crops.draw(chosen, self.network[chosen], generator)
        batch = self._placed(indices, offsets, middles)
        return batch.mirrored(draw.flipped, self.sides).varied(augmentation, generator).laid_out()

    def whole(self, indices: Tensor) -> Batch:
        """Give whole slices as they are."""
        return self.sample(indices)

    def around(self, indices: Tensor, size: tuple[int, int], middles: Tensor) -> Batch:
        """Give frames of a size around middles (batch, 2), from the images' own, as they are."""
        return self._placed(indices, frame_offsets(size, self.device), middles).laid_out()

    def _placed(self, indices: Tensor, offsets: Tensor, middles: Tensor | None) -> Batch:
        """Read slices at offsets ([batch,] rows, columns, 2) from middles (batch, 2), else the images' own."""
        chosen = indices.to(self.device)
        stored, network = self.stored[chosen], self.network[chosen]
        if middles is None:
            middles = frame_middles(self.frame, network)
        placed = offsets + middles[:, None, None]
        images = gather_slices(self.images, chosen, self.ends[chosen], self.neighbours)
        images = sample_frames(images, placed, stored, network)
        classes = sample_frames(self.labels[chosen], placed, stored, network, mode="nearest")[:, 0].long()
        targets = None
        if self.shares is not None:
            shares = sample_frames(self.shares[chosen].float(), placed, stored, network, mode="shares")
            targets = with_background(shares)
        return Batch(images, classes, self.drawn[chosen], targets, self.outer)

    def answer(self, network: nn.Module, batch: Batch) -> Outputs:
        """Give all that is compared in training too, so that the losses can be; in tiles only the answer itself."""
        if self.tile is not None:
            return Outputs(run_in_tiles(network, batch.images, self.tile))
        return learn(network, batch.images, batch.labels, batch.drawn)

    @property
    def tile(self) -> tuple[int, int] | None:
        """Size of the tiles in which the network answers on whole slices (`run_in_tiles`), if any."""
        return self.crops.size if self.crops is not None else None

    def to(self, device: torch.device) -> SliceSet:
        """Move every tensor to a device."""
        return replace(on_device(self, device), crops=self.crops and on_device(self.crops, device))


@dataclass(frozen=True)
class _Part:
    """What a case adds to a set beside its pixels; its `region` is that of `measure_region`."""

    count: int
    extent: Extent
    drawn: tuple[bool, ...]
    source: Source
    region: Region = ((0.0, 0.0), (0.0, 0.0))


def build_slices(pairs: Sequence[tuple[Image, LabelMap]], settings: PreprocessSettings, *, stride: int) -> SliceSet:
    """Normalise and store every slice of the cases, whose spacing or shape was chosen (`plan_spacing`)."""
    soft = check_pairs(pairs)
    extents = [extent_of(image, settings) for image, _ in pairs]
    structures = pairs[0][1].structures
    check_memory(
        extents,
        [image.shape[0] for image, _ in pairs],
        channels=len(pairs[0][0].channels),
        shares=len(structures) if soft else 0,
    )
    has_crop = crop_size(settings, frame_size(extents, stride), stride) is not None
    images: list[Tensor] = []
    labels: list[Tensor] = []
    shares: list[Tensor] = []
    parts: list[_Part] = []
    for (image, label_map), extent in zip(pairs, extents, strict=True):
        classes = classes_of(label_map)
        part = _Part(image.shape[0], extent, drawn_of(label_map), image.source)
        images.extend(store_slices(image, extent, settings))
        labels.extend(store_labels(classes, extent))
        if soft:
            shares.extend(store_shares(shares_of(label_map), extent))
        parts.append(replace(part, region=measure_region(classes > 0, extent)) if has_crop else part)
    return _put_together(
        parts,
        structures,
        settings,
        stride,
        images=pad_together(images),
        labels=pad_together(labels)[:, None].float(),
        shares=pad_together(shares) if soft else None,
    )


def _put_together(
    parts: Sequence[_Part],
    structures: Sequence[Structure],
    settings: PreprocessSettings,
    stride: int,
    **pixels: Tensor | KeptRows | None,
) -> SliceSet:
    """Make a set of the pixels of cases, and of what else they add to it."""
    frame = frame_size([part.extent for part in parts], stride)
    crop, crops = crop_size(settings, frame, stride), None
    if crop is not None:
        centres = [region_centre(part.region, settings, crop, name=part.source.name) for part in parts]
        middles = torch.tensor(_each(parts, centres))
        crops = Crops(crop, middles, settings.crop_shift, settings.crop_anywhere)
    stops = list(accumulate(part.count for part in parts))
    ends = [(stop - part.count, stop - 1) for stop, part in zip(stops, parts, strict=True)]
    return SliceSet(
        **pixels,  # type: ignore[arg-type]  # images and labels are always given
        drawn=torch.tensor(_each(parts, [part.drawn for part in parts]), dtype=torch.bool),
        stored=torch.tensor(_each(parts, [part.extent.stored for part in parts])),
        network=torch.tensor(_each(parts, [part.extent.network for part in parts])),
        frame=frame,
        case_ids=tuple(_each(parts, [part.source.case_id for part in parts])),
        subject_ids=tuple(_each(parts, [part.source.subject_id for part in parts])),
        sides=mirrored_classes(structures),
        outer=outer_classes(structures),
        ends=torch.tensor(_each(parts, ends)),
        neighbours=settings.neighbours,
        crops=crops,
    )


def _each(parts: Sequence[_Part], values: Sequence[Value]) -> list[Value]:
    """Give the value of each case once for each of its slices."""
    return [value for part, value in zip(parts, values, strict=True) for _ in range(part.count)]


# --- the same in the cache, for cases that are too many for the memory


def keep_slices(
    image: Image, label_map: LabelMap, settings: PreprocessSettings, *, soft: bool
) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
    """Give what the cache keeps of a case: what is noted, and arrays with a row for each slice.

    `native` are the classes on the image's own grid, where it has another size. With `soft` there are shares.
    """
    extent, classes = extent_of(image, settings), classes_of(label_map)
    labels = store_labels(classes, extent)
    arrays = {"images": store_slices(image, extent, settings).numpy(), "labels": labels.numpy()}
    if extent.stored != extent.native:
        arrays["native"] = classes
    if soft:
        arrays["shares"] = store_shares(shares_of(label_map), extent).numpy()
    region, holds = measure_region(classes > 0, extent), labels.flatten(1).any(1).tolist()
    return {"region": region, "holds": holds}, arrays


def open_slices(cases: Sequence[KeptCase], settings: PreprocessSettings, *, stride: int) -> SliceSet:
    """Give the set of `build_slices` of cases whose slices lie in the cache, all with shares or none."""
    check_channels([case.outline for case in cases])
    soft = any(case.is_soft for case in cases)
    parts = []
    for case in cases:
        image, (middle, largest) = case.outline, case.pixels.about["region"]
        region = (middle[0], middle[1]), (largest[0], largest[1])
        parts.append(_Part(image.shape[0], extent_of(image, settings), case.drawn, image.source, region))
    pixels = [case.pixels for case in cases]
    return _put_together(
        parts,
        cases[0].structures,
        settings,
        stride,
        images=KeptRows(pixels, "images"),
        labels=KeptRows(pixels, "labels", as_classes=True),
        shares=KeptRows(pixels, "shares") if soft else None,
    )


def open_native(cases: Sequence[KeptCase]) -> KeptRows:
    """Give the classes (slices, rows, columns) that were drawn on cases of one size, on their own grid."""
    return KeptRows(
        [case.pixels for case in cases], "native" if "native" in cases[0].pixels.entry.arrays else "labels"
    )
