"""Volumes on the network's grid, sampled patch by patch."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from autoseg.errors import DataError
from autoseg.model.dataset.batch import Batch
from autoseg.model.dataset.voxels import is_inside, pad_to, padded_before, read_linear, read_nearest
from autoseg.model.device import in_layout
from autoseg.model.networks import Outputs, learn
from autoseg.model.preprocessing.augment import apply_intensity, draw_intensity, draw_volume_geometry
from autoseg.model.preprocessing.sliding_window import run_in_windows
from autoseg.model.settings.settings import AugmentationSettings, VolumeSettings

Size = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Volume:
    """One case on the network's grid.

    `image` (channels, x, y, z) float32, `labels` (x, y, z) uint8 classes, `drawn` (structures,) bool; `shares`
    (structures, x, y, z) float16 where raters drew shares. The axes are those of the settings' orientation.
    """

    image: Tensor
    labels: Tensor
    drawn: Tensor
    case_id: str
    subject_id: str
    shares: Tensor | None = None

    @property
    def size(self) -> Size:
        """Voxels along the three axes."""
        x, y, z = self.labels.shape
        return x, y, z


@dataclass(frozen=True, eq=False)
class VolumeSet:
    """Volumes ready to be learnt from, all on one device; a sample is a patch of one of them.

    `places` (n, 4) are the number of the volume and where the patch starts; patches cover every volume, with the
    settings' overlap. `holds` (n,) tells which of them have a structure. `patch` is their size, `spacing_mm` the
    distance between voxels, `sides` the classes after mirroring left to right, `outer` the class in which each
    lies.
    """

    volumes: tuple[Volume, ...]
    places: Tensor
    holds: Tensor
    patch: Size
    spacing_mm: tuple[float, float, float]
    settings: VolumeSettings
    sides: Tensor
    outer: Tensor

    def __len__(self) -> int:
        return len(self.places)

    @property
    def case_ids(self) -> tuple[str, ...]:
        """The case of every patch."""
        return tuple(self.volumes[number].case_id for number in self.places[:, 0].tolist())

    @property
    def subject_ids(self) -> tuple[str, ...]:
        """The subject of every patch."""
        return tuple(self.volumes[number].subject_id for number in self.places[:, 0].tolist())

    @property
    def drawn(self) -> Tensor:
        """Which structures were drawn, (n, structures) bool."""
        return torch.stack([volume.drawn for volume in self.volumes])[self.places[:, 0].to(self.device)]

    @property
    def device(self) -> torch.device:
        """Where everything lies."""
        return self.volumes[0].image.device

    @property
    def seen_size(self) -> tuple[int, ...]:
        """Voxels that the network sees at once."""
        return self.patch

    @property
    def with_structure(self) -> Tensor:
        """Which patches have a structure that was drawn, (n,) bool on the processor."""
        return self.holds

    @property
    def wholes(self) -> int:
        """Number of volumes."""
        return len(self.volumes)

    @property
    def wholes_at_once(self) -> int:
        """How many volumes can be seen together: one, unless each has the size of a patch."""
        return len(self.volumes) if all(volume.size == self.patch for volume in self.volumes) else 1

    def to(self, device: torch.device) -> VolumeSet:
        """Move every tensor to a device; where patches lie stays on the processor."""
        moved = tuple(
            replace(
                volume,
                image=volume.image.to(device),
                labels=volume.labels.to(device),
                drawn=volume.drawn.to(device),
                shares=None if volume.shares is None else volume.shares.to(device),
            )
            for volume in self.volumes
        )
        return replace(self, volumes=moved, sides=self.sides.to(device), outer=self.outer.to(device))

    def sample(
        self,
        indices: Tensor,
        *,
        augmentation: AugmentationSettings | None = None,
        generator: torch.Generator | None = None,
    ) -> Batch:
        """Give the patches with these indices; with `augmentation` each is moved, turned, zoomed and varied.

        Parameters
        ----------
        indices : (batch,) Tensor of int64
        augmentation : AugmentationSettings, optional
            None: as they are. Patches then move by up to half a step too. Mirrors are those of `volume.flips`;
            crops and quarter turns are of slices.
        generator : torch.Generator, optional
            On the processor; needed with augmentation.
        """
        if augmentation is not None and generator is None:
            raise DataError("Augmentation needs a random generator.")
        count, device = len(indices), self.device
        places = self.places[indices.cpu()]
        matrix, flipped = torch.eye(3).expand(count, 3, 3), torch.zeros(count, dtype=torch.bool)
        starts = places[:, 1:].float()
        if augmentation is not None and generator is not None:
            matrix, shift, across = draw_volume_geometry(
                count, augmentation, self.settings.flips, self.spacing_mm, generator
            )
            flipped = across.sum(1) % 2 == 1  # mirrored twice it is only turned
            starts = self._moved(starts, places[:, 0], generator) + shift * torch.tensor(self.patch)
        middle = (torch.tensor(self.patch) - 1) / 2
        offsets = torch.stack(
            torch.meshgrid(*(torch.arange(n, device=device) - (n - 1) / 2 for n in self.patch), indexing="ij"), -1
        )
        images, classes, targets = [], [], []
        for number, start, turn in zip(places[:, 0].tolist(), starts, matrix, strict=True):
            volume = self.volumes[number]
            placed = offsets @ turn.T.to(device) + (start + middle).to(device)
            images.append(read_linear(volume.image, placed))
            classes.append(read_nearest(volume.labels, placed))
            if volume.shares is not None:
                targets.append(read_linear(volume.shares, placed) * is_inside(volume.size, placed))
        drawn, labels = self.drawn[indices.to(device)], torch.stack(classes).long()
        mirrored = flipped.to(device)
        labels = torch.where(mirrored[:, None, None, None], self.sides[labels], labels)
        drawn = torch.where(mirrored[:, None], drawn[:, self.sides[1:] - 1], drawn)
        shares = None
        if targets:
            shares = torch.stack(targets)
            shares = torch.cat([1 - shares.sum(1, keepdim=True), shares], dim=1).clamp(min=0)
            shares = torch.where(mirrored[:, None, None, None, None], shares[:, self.sides], shares)
        seen = torch.stack(images)
        if augmentation is not None and generator is not None:
            seen = apply_intensity(seen, draw_intensity(count, augmentation, generator), generator)
        return Batch(in_layout(seen), labels, drawn, shares, self.outer)

    def whole(self, indices: Tensor) -> Batch:
        """Give whole volumes as they are; several have one size."""
        chosen = [self.volumes[number] for number in indices.tolist()]
        targets = None
        if all(volume.shares is not None for volume in chosen):
            shares = torch.stack([volume.shares for volume in chosen if volume.shares is not None]).float()
            targets = torch.cat([1 - shares.sum(1, keepdim=True), shares], dim=1).clamp(min=0)
        images, labels, drawn = (
            torch.stack([getattr(volume, name) for volume in chosen]) for name in ("image", "labels", "drawn")
        )
        return Batch(in_layout(images), labels.long(), drawn, targets, self.outer)

    def answer(self, network: nn.Module, batch: Batch) -> Outputs:
        """Give all that is compared in training too, where a patch is the volume; else the answer itself.

        As in prediction a smaller volume is padded, a larger one seen in windows. What was added counts nothing.
        """
        size = tuple(batch.images.shape[2:])
        if size == self.patch:
            return learn(network, batch.images, batch.labels, batch.drawn)
        padded = torch.stack([pad_to(image, self.patch, mode="edge") for image in batch.images])
        logits = run_in_windows(network, padded, self.patch, overlap=self.settings.overlap)
        inner = (slice(b, b + n) for b, n in zip(padded_before(size, self.patch), size, strict=True))
        return Outputs(logits[(slice(None), slice(None), *inner)])

    def _moved(self, starts: Tensor, numbers: Tensor, generator: torch.Generator) -> Tensor:
        """Move patches by up to half a step, but not out of their volumes."""
        patch = torch.tensor(self.patch).float()
        step = patch * (1 - self.settings.overlap)
        moved = starts + (torch.rand(starts.shape, generator=generator) - 0.5) * step
        room = torch.tensor([self.volumes[number].size for number in numbers.tolist()]).float() - patch
        return torch.where(room > 0, moved.clamp(min=0).minimum(room.clamp(min=0)), starts)
