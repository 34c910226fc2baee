"""What the network sees at once, and where it comes from: slices or volumes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from autoseg.model.networks import Outputs
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
