"""What the network sees at once, and where it comes from: slices or volumes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from autoseg.errors import DataError
from autoseg.image.image import Image, LabelMap
from autoseg.model.dataset.kept import KeptRows
from autoseg.model.device import in_layout
from autoseg.model.networks import Outputs
from autoseg.model.preprocessing.augment import apply_intensity, draw_intensity
from autoseg.model.settings.settings import AugmentationSettings


@dataclass(frozen=True)
class Batch:
    """What the network sees at once, and what it should answer.

    `images` (batch, channels, rows, columns) float32, neighbouring slices as further channels
    (`autoseg.model.preprocessing.neighbouring_slices`), `labels` (batch, rows, columns) int64 classes
    (0 background, k the k-th structure), `drawn` (batch, structures) bool. Where raters drew shares, `targets`
    (batch, classes, rows, columns) float32 has the share of every class, which add up to 1. `outer` is that of
    the samples. Of volumes the three axes of the network's grid stand in place of rows and columns.
    """

    images: Tensor
    labels: Tensor
    drawn: Tensor
    targets: Tensor | None = None
    outer: Tensor | None = None

    @property
    def reference(self) -> Tensor:
        """What the loss compares with: the raters' shares where there are any, else the labels."""
        return self.labels if self.targets is None else self.targets

    def mirrored(self, flipped: Tensor, sides: Tensor) -> Batch:
        """Exchange left and right (`mirrored_classes`) where the anatomy was mirrored, (batch,) bool."""

        def where(exchanged: Tensor, own: Tensor) -> Tensor:
            return torch.where(flipped.to(own.device).view(-1, *[1] * (own.dim() - 1)), exchanged, own)

        return replace(
            self,
            labels=where(sides[self.labels], self.labels),
            drawn=where(self.drawn[:, sides[1:] - 1], self.drawn),
            targets=None if self.targets is None else where(self.targets[:, sides], self.targets),
        )

    def varied(self, augmentation: AugmentationSettings, generator: torch.Generator) -> Batch:
        """Vary the intensities."""
        draw = draw_intensity(len(self.images), augmentation, generator)
        return replace(self, images=apply_intensity(self.images, draw, generator))

    def laid_out(self) -> Batch:
        """Lay the images out as the network's filters are."""
        return replace(self, images=in_layout(self.images))


def check_pairs(pairs: Sequence[tuple[Image, LabelMap]]) -> bool:
    """Raise DataError unless there are cases with the same channels; tell whether raters drew shares on any."""
    check_channels([image for image, _ in pairs])
    return any(label_map.shares is not None for _, label_map in pairs)


def check_channels(images: Sequence[Image]) -> None:
    """Raise DataError unless there are images, with the same channels."""
    if not images:
        raise DataError("There are no cases to learn from.")
    channels = {image.channels for image in images}
    if len({len(names) for names in channels}) > 1:
        raise DataError(
            f"The images have different channels: {'; or '.join(', '.join(names) for names in sorted(channels))}. "
            "Use one kind of image."
        )


def drawn_of(label_map: LabelMap) -> tuple[bool, ...]:
    """Tell which of its structures were drawn on an image."""
    return tuple(label_map.is_annotated(structure.label) for structure in label_map.structures)


def with_background(shares: Tensor) -> Tensor:
    """Put what structures (batch, structures, …) leave to 1 before them, as the share of the background."""
    return torch.cat([1 - shares.sum(1, keepdim=True), shares], dim=1).clamp(min=0)


Part = TypeVar("Part")


def on_device(part: Part, device: torch.device) -> Part:
    """Give a dataclass with all its tensors on a device, and what stands for one."""
    values = {item.name: getattr(part, item.name) for item in fields(part)}  # type: ignore[arg-type]
    kinds = (Tensor, KeptRows)
    tensors: dict[str, Any] = {name: v.to(device) for name, v in values.items() if isinstance(v, kinds)}
    return replace(part, **tensors)  # type: ignore[type-var]


class Samples(Protocol):
    """Cases ready to be learnt from: what is drawn while a network learns, and whole images to validate on.

    `drawn` (n, structures) tells for each sample which structures were drawn; `wholes` is the number of whole
    images to validate on, of which at most `wholes_at_once` are seen together.
    """

    @property
    def case_ids(self) -> tuple[str, ...]:
        """The case of every sample."""

    @property
    def subject_ids(self) -> tuple[str, ...]:
        """The subject of every sample."""

    @property
    def drawn(self) -> Tensor:
        """Which structures were drawn, (n, structures) bool."""

    @property
    def wholes(self) -> int:
        """Number of whole images."""

    @property
    def wholes_at_once(self) -> int:
        """How many of them can be seen together."""

    @property
    def device(self) -> torch.device:
        """Where everything lies."""

    @property
    def seen_size(self) -> tuple[int, ...]:
        """Sizes of what the network sees while it learns."""

    @property
    def with_structure(self) -> Tensor:
        """Which samples have a structure that was drawn, (n,) bool on the processor."""

    def __len__(self) -> int: ...

    def to(self, device: torch.device) -> Samples:
        """Move everything to a device."""

    def sample(
        self,
        indices: Tensor,
        *,
        augmentation: AugmentationSettings | None = None,
        generator: torch.Generator | None = None,
    ) -> Batch:
        """Give the samples with these indices, varied if `augmentation` is given."""

    def whole(self, indices: Tensor) -> Batch:
        """Give whole images as they are."""

    def answer(self, network: nn.Module, batch: Batch) -> Outputs:
        """Run a network over whole images."""
